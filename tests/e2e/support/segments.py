"""Segments: made, prepared, put in force, and what their followers are told meanwhile."""
from typing import NamedTuple

import grpc

from support import facts, questions, waiting
from support.refusals import Refusal
from support.watching import cause

SERVICE = "SegmentService"
WATCH = f"{SERVICE}/WatchMemberships"
BATCH = 10_000


# -- who there is ---------------------------------------------------------------------------------------------------------

class Person(NamedTuple):
    """What was planted of a customer."""

    orders: int
    cents: int
    owner: str


def amounts(place):
    return [500 + 37 * (place % 100) + 100 * order for order in range(1 + place % 4)]


def planted(places):
    """Rows of customers with up to four orders of known amounts and one of two owners, and {id: person}."""
    rows, people = [], {}
    for place in places:
        key, cents, owner = f"c{place}", amounts(place), "ann" if place % 11 == 0 else "bob"
        rows.append(facts.customer(key, attributes={"kind": "CUSTOMER_KIND_CUSTOMER", "owner": owner}))
        rows += [facts.order(key, f"{key}-{n}", days=5 + 20 * n, cents=each) for n, each in enumerate(cents)]
        people[key] = Person(len(cents), sum(cents), owner)
    return rows, people


def settle(client, customers):
    """Takes so many planted customers in: {name: person}."""
    rows, people = planted(range(customers))
    names = take_in(client, *rows)
    return {names[key]: person for key, person in people.items()}


def those(people, holds):
    """The customers of whom something holds."""
    return {name for name, person in people.items() if holds(person)}


def frequent(person):
    return person.orders >= 3


def seldom(person):
    return person.orders <= 2


def take_in(client, *rows):
    """Takes rows in and waits for the end of the chain: {the id by which the shop knows a customer: its name}."""
    for start in range(0, len(rows), BATCH):
        position = questions.take_in(client, *rows[start:start + BATCH]).facts_position
    questions.wait_for(client, position)
    return questions.names_of(client, facts.SOURCE)


def number(name):
    return int(name.split("/")[1])


def by_number(names):
    return sorted(names, key=number)


# -- what is asked --------------------------------------------------------------------------------------------------------

def refers_to(reference):
    """The rule of those who are in another segment or label."""
    return f'segment("{reference}")'


def create(client, segment_id, expression="", draft_only=False, **fields):
    """A new segment of a rule, or of the kind that `fields` say."""
    request = {"segment_id": segment_id, "segment": {"expression": expression} | fields, "draft_only": draft_only}
    return client.call(f"{SERVICE}/CreateSegment", request)


def static(client, segment_id, expression="", **fields):
    """A new static list of those who match now."""
    return create(client, segment_id, expression, kind="SEGMENT_KIND_STATIC", **fields)


def get(client, name):
    return client.call(f"{SERVICE}/GetSegment", {"name": name})


def draft(name, expression, etag=""):
    """The request that sets the draft of a segment."""
    return {"segment": {"name": name, "draft_expression": expression, "etag": etag}, "update_mask": "draftExpression"}


def prepare(client, name, expression, etag=""):
    return client.call(f"{SERVICE}/UpdateSegment", draft(name, expression, etag))


def describe(client, name, description):
    request = {"segment": {"name": name, "description": description}, "update_mask": "description"}
    return client.call(f"{SERVICE}/UpdateSegment", request)


def foresee(client, name, sample_size=0):
    """What publishing the draft of a segment would mean."""
    return client.call(f"{SERVICE}/PreviewSegmentDraft", {"name": name, "sample_size": sample_size})


def publish(client, name, etag):
    return client.call(f"{SERVICE}/PublishSegment", {"name": name, "etag": etag})


def redefine(client, name, expression):
    """Prepares a rule and puts it in force."""
    return publish(client, name, prepare(client, name, expression).etag)


def delete(client, name, etag=""):
    client.call(f"{SERVICE}/DeleteSegment", {"name": name, "etag": etag})


def versions(client, name):
    return list(client.call(f"{SERVICE}/ListSegmentVersions", {"parent": name}).versions)


def add(client, name, customers):
    """How many were not on a list before."""
    return client.call(f"{SERVICE}/AddMembers", {"parent": name, "customers": list(customers)}).added


def remove(client, name, customers):
    """How many were on a list before."""
    return client.call(f"{SERVICE}/RemoveMembers", {"parent": name, "customers": list(customers)}).removed


def members(client, parent, page_size=10_000):
    """The members of a segment or label, by number."""
    listed = questions.everything(client, f"{SERVICE}/ListMembers", "customers", parent=parent, page_size=page_size)
    assert listed == by_number(set(listed)), "each once, by number"
    return listed


def label_set(client, set_id, rules, rest="others", **fields):
    """A new label set of {label: rule}, and of a label for everybody else."""
    labels = [{"name": f"labelSets/{set_id}/labels/{label}", "title": label, "expression": rule} for label, rule in rules.items()]
    labels.append({"name": f"labelSets/{set_id}/labels/{rest}", "title": rest})
    request = {"label_set_id": set_id, "label_set": {"labels": labels, "overlaps_allowed": True}} | fields
    return client.call("LabelService/CreateLabelSet", request)


# -- what followers are told ----------------------------------------------------------------------------------------------

def followed(client, cursor="", **fields):
    """The responses of a watch from a cursor on until it has caught up; without a cursor: where it stands now."""
    call = client.start(WATCH, [{"cursor": cursor} | fields], seconds=waiting.SECONDS)
    responses = []
    try:
        for response in call:
            responses.append(response)
            if response.HasField("watermark"):
                return responses
    except grpc.RpcError as error:
        raise Refusal(error) from None
    finally:
        call.cancel()
    raise AssertionError("the watch ended")


def now(client):
    """The cursor behind everything that was told."""
    return followed(client)[-1].cursor


def changes(responses):
    """The changes of responses, in their order."""
    return [change for response in responses for change in response.changes]


def since(client, cursor, **fields):
    """The changes behind a cursor."""
    return changes(followed(client, cursor, **fields))


def in_pieces(client, cursor, **fields):
    """The same by a follower who is cut off after each response and goes on from its cursor: the responses."""
    pieces = []
    while True:
        call = client.start(WATCH, [{"cursor": cursor} | fields], seconds=waiting.SECONDS)
        try:
            response = next(call)
        finally:
            call.cancel()
        if response.HasField("watermark") and not response.changes:
            return pieces
        pieces.append(response)
        cursor = response.cursor


def plain(told):
    """[(parent, customer, entered)] of changes."""
    return [(change.parent, change.customer, change.entered) for change in told]


def moved(parent, before, after):
    """{(parent, customer, entered)} of those who leave and enter when members are others."""
    return {(parent, name, False) for name in before - after} | {(parent, name, True) for name in after - before}


def assert_told(told, expected, of_cause="DEFINITION"):
    """Exactly these changes were told, each once, for one reason."""
    assert len(told) == len(expected) and set(plain(told)) == expected, (
        len(told), sorted(set(plain(told)) ^ expected)[:10])
    assert {cause(change) for change in told} <= {of_cause}


def replayed(told, members=None):
    """{parent: members} after changes. Nobody enters where it is, or leaves where it is not."""
    members = {} if members is None else members
    for parent, customer, entered in plain(told):
        of = members.setdefault(parent, set())
        assert (customer in of) != entered, f"{customer} {'enters' if entered else 'leaves'} {parent} twice"
        of.symmetric_difference_update({customer})
    return members
