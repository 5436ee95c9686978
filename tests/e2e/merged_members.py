"""Static lists and merges: who is merged away counts as the customer that it has become, and is as it was when they are parted."""
from types import SimpleNamespace

import pytest

from one_person import merge, unmerge
from support import facts, questions, segments
from support.refusals import NOT_FOUND
from support.segments import refers_to
from support.watching import cause

RECORD, REMOVAL = "RECORD", "REMOVAL"


@pytest.fixture
def people(shared, new):
    """Four customers in the order of their numbers, each with an order."""
    admin, keys = shared.client("admin"), [f"{new}-{n}" for n in range(4)]
    for key in keys:
        questions.take_in(admin, facts.order(key, "o", days=9))
    questions.wait_for(admin, questions.take_in(admin, facts.interaction(keys[0], "i")).facts_position)
    names = [questions.find(admin, key) for key in keys]
    assert names == segments.by_number(names)
    return SimpleNamespace(admin=admin, names=names, id=lambda word: f"{word}-{new[:12]}")


def put_on(people, word, *customers):
    """A list with these customers on it."""
    name = segments.static(people.admin, people.id(word)).name
    assert segments.add(people.admin, name, customers) == len(customers)
    return name


def merged(admin, one, other):
    made = merge(admin, one, other)
    questions.wait_for(admin, made.facts_position)
    return made


def parted(admin, made):
    questions.wait_for(admin, unmerge(admin, made))


def must_have(admin, name, *customers):
    """Whatever tells of the members of a list tells these."""
    expected = segments.by_number(customers)
    asked = {"parent": name, "customers": [f"customers/{number}" for number in range(1, 200)]}
    assert segments.members(admin, name) == list(admin.call("SegmentService/CheckMembers", asked).members) == expected
    assert segments.get(admin, name).members == len(expected)
    assert questions.preview(admin, refers_to(name.split("/")[1])).customers == len(expected)


def told(admin, cursor, *parents):
    return {(each.parent, each.customer, each.entered, cause(each)) for each in segments.since(admin, cursor, parents=parents)}


def a_list_follows_merges_and_is_as_it_was_when_they_are_taken_back(people):
    admin, (one, two, three, four) = people.admin, people.names
    list_of_two, list_of_many = put_on(people, "two", two), put_on(people, "many", three, one, four)
    often = segments.create(admin, people.id("often"), f"{refers_to(people.id('two'))} && orders >= 2").name
    cursor = segments.now(admin)
    first = merged(admin, two, one)
    must_have(admin, list_of_two, one)
    must_have(admin, list_of_many, one, three, four)
    # What refers to a list follows it: the two have two orders together.
    must_have(admin, often, one)
    assert told(admin, cursor, list_of_two, list_of_many, often) == {
        (list_of_two, one, True, RECORD), (often, one, True, RECORD), (list_of_two, two, False, REMOVAL)}
    assert list_of_two in admin.call("ProfileService/GetProfile", {"name": f"{one}/profile"}).segments
    # Over two links, and with two on the list who are one.
    second = merged(admin, three, two)
    must_have(admin, list_of_two, one)
    must_have(admin, list_of_many, one, four)
    # The first link is taken away: those of the second are one still.
    cursor = segments.now(admin)
    parted(admin, first)
    must_have(admin, list_of_two, two)
    must_have(admin, list_of_many, one, two, four)
    assert told(admin, cursor, list_of_two, often) == {
        (list_of_two, one, False, RECORD), (often, one, False, RECORD), (list_of_two, two, True, RECORD), (often, two, True, RECORD)}
    parted(admin, second)
    must_have(admin, list_of_two, two)
    must_have(admin, list_of_many, one, three, four)
    must_have(admin, often)


def who_is_put_on_or_taken_off_as_one_is_so_when_they_are_parted(people):
    admin, (one, two, three, four) = people.admin, people.names
    of_both, of_two, of_four = put_on(people, "both", one, two), put_on(people, "two", two), put_on(people, "four", four)
    first, second = merged(admin, one, two), merged(admin, three, four)
    for absent in (two, four):
        for method in ("AddMembers", "RemoveMembers"):
            admin.refused(f"SegmentService/{method}", {"parent": of_both, "customers": [absent]}).must_be(NOT_FOUND, "NOT_FOUND")
    assert segments.remove(admin, of_both, [one]) == 1 and segments.remove(admin, of_both, [one]) == 0
    # It is on this list already, and is now put on it as itself.
    cursor = segments.now(admin)
    assert segments.add(admin, of_two, [one, three]) == 1
    assert told(admin, cursor, of_two) == {(of_two, three, True, "DEFINITION")}
    assert segments.remove(admin, of_four, [three]) == 1
    must_have(admin, of_both)
    must_have(admin, of_two, one, three)
    must_have(admin, of_four)
    parted(admin, first)
    parted(admin, second)
    must_have(admin, of_both)
    must_have(admin, of_two, one, two, three)
    must_have(admin, of_four)


def a_merge_is_followed_by_a_suite_that_was_killed_and_ended_by_an_erasure(fresh):
    admin = fresh.client("admin")
    names = segments.take_in(admin, *(facts.order(key, "o") for key in ("a", "b", "c", "d")))
    one, two, three, four = segments.by_number(names.values())
    name = segments.static(admin, "list").name
    segments.add(admin, name, [two, four])
    made = merged(admin, one, two)
    merged(admin, three, four)
    for stop in (fresh.kill, fresh.stop):
        stop()
        fresh.start()
        admin = fresh.client("admin")
        questions.wait_for(admin, 0)
        must_have(admin, name, one, three)
    erased = admin.call("PrivacyService/EraseCustomer", {"name": three})
    questions.wait_for(admin, erased.facts_position)
    must_have(admin, name, one)
    parted(admin, made)
    must_have(admin, name, two)
    left = {"name": four, "facts_position": erased.facts_position}
    assert admin.call("quintile.segmentation.v1.ErasureService/GetErasureReceipt", left).remaining == 0
