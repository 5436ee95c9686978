"""Label sets by the command: made of a file, drafted, compared, published, and read back as they were written."""
import json

import pytest

from support import label_sets, segments
from support.label_sets import REST, name_of


@pytest.fixture(scope="module")
def people(shared):
    return segments.settle(shared.client("admin"), 40)


@pytest.fixture
def desk(shared, people, new):
    """Customers by their orders; the command; and files."""
    admin, set_id = shared.client("admin"), f"habit-{new[:12]}"

    def run(*arguments):
        return shared.run("labels", *arguments, "--as", "analyst")

    def file(rows, **fields):
        labels = [{"name": name, "title": f"The {name}"} | ({"expression": rule} if rule else {}) for name, rule in rows]
        path = shared.home / f"{new}.json"
        path.write_text(json.dumps({"labels": labels} | fields))
        return path
    return admin, set_id, people, run, file


def held(admin, set_id, people, *least):
    """Whether everybody has the first label for which there are orders enough, else the rest."""
    expected = {segments.number(name): next((label for label, orders in least if person.orders >= orders), REST) for name, person in people.items()}
    told = label_sets.held(admin, set_id)
    return {number: told[number] for number in expected} == expected


def a_set_is_made_of_a_file_drafted_compared_and_published(desk):
    admin, set_id, people, run, file = desk
    name, first = name_of(set_id), [("often", "orders >= 3"), (REST, "")]
    said = run("create", set_id, "--file", file(first), "--draft", "--description", "by hand")
    etag = label_sets.get(admin, set_id).etag
    assert name in said and etag in said and "orders >= 3" in said and label_sets.get(admin, set_id).version == 0
    assert etag in run("diff", name)
    assert "The often" in run("publish", name, etag)
    assert held(admin, set_id, people, ("often", 3)) and label_sets.get(admin, set_id).description == "by hand"
    # Another order of labels, and one more.
    said = run("draft", name, "--file", file([("always", "orders >= 4"), ("often", "orders >= 2"), (REST, "")], overlapsAllowed=True))
    drafted = label_sets.get(admin, set_id)
    assert label_sets.ids(drafted.draft.labels) == ["always", "often", REST] and drafted.draft.overlaps_allowed
    assert drafted.etag in said and said.count("The often") == 2, "what is in force, and what is prepared"
    moving = sum(person.orders in (2, 4) for person in people.values())
    told = json.loads(run("diff", name, "-o", "json"))
    assert int(told["movingCustomers"]) >= moving > 0 and told["etag"] == drafted.etag
    run("publish", name, told["etag"])
    assert held(admin, set_id, people, ("always", 4), ("often", 2))
    lines = [line for line in run("history", name).splitlines() if "The often" in line]
    assert ["The always" in line for line in lines] == [True, False]


def what_is_shown_can_be_drafted_again_and_a_draft_given_up(desk):
    admin, set_id, people, run, file = desk
    name = name_of(set_id)
    run("create", set_id, "--preset", "rfm-8", "--description", "by hand")
    printed = json.loads(run("show", name, "-o", "json"))
    path = file([])
    path.write_text(json.dumps(printed))
    # As it was, in another set and as a draft of its own.
    run("create", f"{set_id}-2", "--file", path)
    assert label_sets.get(admin, f"{set_id}-2").description == "by hand"
    rules = [[(each.title, each.expression) for each in label_sets.get(admin, each).labels] for each in (set_id, f"{set_id}-2")]
    assert rules[0] == rules[1] and len(rules[0]) == 8 + 1, "eight, and the rest"
    printed["labels"][0]["title"] = "Known by heart"
    path.write_text(json.dumps(printed))
    run("draft", name, "--file", path)
    drafted = label_sets.get(admin, set_id)
    assert [each.title for each in drafted.draft.labels] == ["Known by heart", *(title for title, _ in rules[0][1:])]
    assert label_sets.matrix(label_sets.preview(admin, set_id)).keys() == {
        (label, label) for label, (customers, _) in label_sets.distribution(admin, set_id).items() if customers}
    run("draft", name, "--give-up")
    assert not label_sets.get(admin, set_id).HasField("draft")
