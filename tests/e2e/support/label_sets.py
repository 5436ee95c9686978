"""Label sets as requests write them, as answers tell them, and what they ought to say of customers: by predicates in Python alone."""
import itertools
from collections import Counter

import cdnow_witness as witness
from support import facts, questions, score_models, score_witness

SERVICE = "LabelService"
REST = "rest"
CELLS = [f"{r}{f}{m}" for r, f, m in itertools.product(range(1, 6), repeat=3)]
MISSING = float("nan")  # As in rules: no comparison with it holds.
CHECKED = 1_000


# -- what is asked --------------------------------------------------------------------------------------------------------

def name_of(set_id, label_id=""):
    return f"labelSets/{set_id}" + (f"/labels/{label_id}" if label_id else "")


def label(set_id, label_id, rule="", **fields):
    """A label as a request has it: of a rule, or of cells, which are a list."""
    made = {"cells": rule} if isinstance(rule, list) else {"expression": rule}
    return {"name": name_of(set_id, label_id), "title": f"The {label_id}"} | made | fields


def rules(set_id, rows, overlaps_allowed=False):
    """Labels as a request has them: rows of (id, rule or cells, ...), and the one for everybody else."""
    return {"labels": [label(set_id, *row[:2]) for row in rows] + [label(set_id, REST)], "overlaps_allowed": overlaps_allowed}


def creation(set_id, rows, description="", overlaps_allowed=False, **fields):
    """The request for a new set."""
    return {"label_set_id": set_id, "label_set": rules(set_id, rows, overlaps_allowed) | {"description": description}} | fields


def create(client, set_id, rows, **fields):
    return client.call(f"{SERVICE}/CreateLabelSet", creation(set_id, rows, **fields))


def create_preset(client, set_id, preset, **fields):
    return client.call(f"{SERVICE}/CreateLabelSet", {"label_set_id": set_id, "preset": preset} | fields)


def change(set_id, mask, **fields):
    """The request for a change of a set."""
    return {"label_set": {"name": name_of(set_id)} | fields, "update_mask": mask}


def update(client, set_id, mask, **fields):
    return client.call(f"{SERVICE}/UpdateLabelSet", change(set_id, mask, **fields))


def draft(client, set_id, rows, overlaps_allowed=False):
    """Prepares other labels for a set."""
    return update(client, set_id, "draft", draft=rules(set_id, rows, overlaps_allowed))


def preview(client, set_id):
    return client.call(f"{SERVICE}/PreviewLabelSetDraft", {"name": name_of(set_id)})


def publish(client, set_id, etag=""):
    """Publishes the draft: as it was seen, or as it is now."""
    return client.call(f"{SERVICE}/PublishLabelSet", {"name": name_of(set_id), "etag": etag or get(client, set_id).etag})


def delete(client, set_id, **fields):
    return client.call(f"{SERVICE}/DeleteLabelSet", {"name": name_of(set_id)} | fields)


def impact(client, set_id, version):
    return client.call(f"{SERVICE}/PreviewImpact", {"name": name_of(set_id), "score_model_version": version})


# -- what is read ---------------------------------------------------------------------------------------------------------

def get(client, set_id):
    return client.call(f"{SERVICE}/GetLabelSet", {"name": name_of(set_id)})


def versions(client, set_id):
    return list(client.call(f"{SERVICE}/ListLabelSetVersions", {"parent": name_of(set_id)}).versions)


def listed(client, **request):
    """The ids of the sets that a caller is told of, in the order of the answer."""
    sets = questions.everything(client, f"{SERVICE}/ListLabelSets", "label_sets", **request)
    return [each.name.removeprefix("labelSets/") for each in sets]


def id_of(name):
    """The id of a label by its resource name; that of nothing is nothing."""
    return name.rsplit("/", 1)[-1]


def ids(labels):
    return [id_of(each.name) for each in labels]


def distribution(client, set_id):
    """{label: (customers, cents)} in the set's order; they come to the population."""
    told = client.call(f"{SERVICE}/GetLabelDistribution", {"name": name_of(set_id)})
    assert sum(each.customers for each in told.labels) == told.population, told
    return {id_of(each.label): (each.customers, facts.cents_of(each.net_revenue)) for each in told.labels}


def members(client, set_id, label_id):
    """The numbers of those who have a label."""
    listed_names = questions.everything(client, "SegmentService/ListMembers", "customers", parent=name_of(set_id, label_id))
    return {int(each.split("/")[1]) for each in listed_names}


def checked(client, set_id, label_id, numbers):
    """Those among these numbers who have a label, by asking for each of them."""
    names, found = [f"customers/{number}" for number in sorted(numbers)], set()
    for start in range(0, len(names), CHECKED):
        asked = {"parent": name_of(set_id, label_id), "customers": names[start:start + CHECKED]}
        found |= {int(each.split("/")[1]) for each in client.call("SegmentService/CheckMembers", asked).members}
    return found


def held(client, set_id):
    """{number: label} of everybody, none of whom has two."""
    found = {}
    for label_id in ids(get(client, set_id).labels):
        those = members(client, set_id, label_id)
        assert not those & found.keys(), (label_id, those & found.keys())
        found |= dict.fromkeys(those, label_id)
    return found


def matrix(of):
    """{(from, to): (customers, cents)} of a preview; from nothing where nothing was in force."""
    found = {(id_of(getattr(each, "from")), id_of(each.to)): (each.customers, facts.cents_of(each.net_revenue)) for each in of.moves}
    assert len(found) == len(of.moves), of
    assert sum(customers for customers, _ in found.values()) == of.population, of
    assert sum(customers for (old, new), (customers, _) in found.items() if old != new) == of.moving_customers, of
    return found


def changes_of(watcher, set_id):
    """[(number, label, entered)] of what a watcher was told of a set's labels."""
    prefix = name_of(set_id) + "/"
    return [(int(each.customer.split("/")[1]), id_of(each.parent), each.entered) for each in watcher.changes()
            if each.parent.startswith(prefix)]


# -- what ought to be -----------------------------------------------------------------------------------------------------

def take_in(admin, start, end, visitors=3):
    """{number: what is known} of some customers of CDNOW, and of some visitors who have bought nothing."""
    names = [f"visitor-{place}" for place in range(visitors)]
    position = questions.take_in(admin, *(facts.interaction(each, "i") for each in names)).facts_position if names else 0
    people = score_models.take_in(admin, score_models.purchases_of(start, end))
    questions.wait_for(admin, position)
    nothing = score_witness.person("0", [])
    return people | {int(questions.find(admin, each).split("/")[1]): nothing for each in names}


def cell_of(told):
    """The cell under the scores that ship; None: no scores."""
    return f"{told['r']}{told['f']}{told['m']}" if told["orders"] else None


def values(told, scores=None):
    """The values that predicates read: of a customer as it is, or with other scores."""
    r, f, m = (scores or (told["r"], told["f"], told["m"])) if told["orders"] else (MISSING,) * 3
    label_of = witness.LABEL_OF[r, f, m] if told["orders"] else "Unscored"
    return told | {"r": r, "f": f, "m": m, "label": label_of.lower().replace(" ", "-")}


def expected(people, rows, rest=REST, scores=None):
    """{number: label}: of the first row whose predicate, the third of it, holds."""
    found = {number: values(told, scores and scores[number]) for number, told in people.items()}
    return {number: next((row[0] for row in rows if row[2](told)), rest) for number, told in found.items()}


def expected_distribution(people, holding, order):
    """{label: (customers, cents)} of {number: label}, in an order."""
    return {label_id: (sum(each == label_id for each in holding.values()),
                       sum(people[number]["revenue_cents"] for number, each in holding.items() if each == label_id))
            for label_id in order}


def expected_matrix(people, before, after):
    """{(from, to): (customers, cents)} of two of {number: label}."""
    customers, cents = Counter(), Counter()
    for number, told in people.items():
        pair = before[number], after[number]
        customers[pair] += 1
        cents[pair] += told["revenue_cents"]
    return {pair: (count, cents[pair]) for pair, count in customers.items()}


def expected_changes(before, after):
    """{(number, label, entered)} of who has another label than before; no label is nothing."""
    moved = {number for number in after if before.get(number, "") != after[number]}
    return {(number, before[number], False) for number in moved if before.get(number)} | {(number, after[number], True) for number in moved}
