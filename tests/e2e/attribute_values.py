"""Values of attributes in bulk, for services that learn from them: what they tell, of whom, and how they are read on."""
import grpc
import pytest

from support import facts, labels, questions, waiting
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, PERMISSION_DENIED, Refusal

READ = "AttributeService/ReadAttributeValues"
ASKED = ["attributes/plan", "attributes/fee", "attributes/churn"]
MANY = 1_200  # More than two responses hold.


def answers(client, attributes=ASKED, **request):
    """All responses of a reading, of which the last says that it is, and has nothing else."""
    call = client.start(READ, [{"attributes": attributes} | request], seconds=waiting.SECONDS)
    try:
        found = list(call)
    except grpc.RpcError as error:
        raise Refusal(error) from None
    assert [each.complete for each in found] == [False] * (len(found) - 1) + [True]
    assert not found[-1].customers and not found[-1].cursor and all(each.cursor for each in found[:-1])
    read = [each.customers_read for each in found]
    assert read == sorted(read) and ("cursor" in request or read[-1] == found[-1].customer_count)
    return found


def told(client, attributes=ASKED, **request):
    """[(customer, the id of its first identity, {attribute: text})] in the order in which they come."""
    return [(each.customer, each.identity.id, {value.key: value.text for value in each.values})
            for answer in answers(client, attributes, **request) for each in answer.customers]


@pytest.fixture(scope="module")
def gym(shared):
    """Members, and a crowd without values."""
    admin = shared.client("admin")
    people = labels.members() | {f"crowd-{number}": {} for number in range(MANY)}
    names = labels.settle(admin, people)
    asked = [attribute.split("/")[1] for attribute in ASKED]
    expected = [(names[key], key, {each: said[each] for each in asked if each in said}) for key, said in people.items()]
    return admin, names, sorted(expected, key=lambda each: number_of(each[0]))


def number_of(name):
    return int(name.split("/")[1])


def everybody_comes_once_with_the_values_that_are_asked_for(gym):
    admin, _, expected = gym
    assert told(admin) == expected
    assert all(len(answer.customers) <= 500 for answer in answers(admin))
    [fee] = [value for answer in answers(admin, ["attributes/fee"]) for each in answer.customers for value in each.values][:1]
    assert (fee.key, fee.sensitivity) == ("fee", 12)


def those_who_are_named_come_alone(gym):
    admin, names, expected = gym
    named = [names[key] for key in ("member-9", "crowd-700", "member-2")]
    assert told(admin, customers=[*named, named[0], "customers/987654"]) == [each for each in expected if each[0] in named]


def whoever_goes_on_behind_a_cursor_reads_the_rest(gym):
    admin, _, expected = gym
    whole = answers(admin)
    assert len(whole) > 3
    read = 0
    for answer in whole[:-1]:
        read += len(answer.customers)
        assert told(admin, cursor=answer.cursor) == expected[read:]
    cursor = whole[0].cursor
    for request in ({"attributes": ASKED[:2]}, {"attributes": ASKED, "one_in": 2}, {"attributes": ASKED, "customers": ["customers/1"]}):
        admin.refused(READ, request | {"cursor": cursor}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")


@pytest.mark.parametrize("one_in", [2, 7])
def one_in_so_many_is_told_of(gym, one_in):
    admin, _, expected = gym
    found, share = told(admin, one_in=one_in), 1 / one_in
    assert found == [each for each in expected if each in found] == told(admin, one_in=one_in)
    assert abs(len(found) - len(expected) * share) < 5 * (len(expected) * share * (1 - share)) ** 0.5


def who_is_restricted_or_erased_is_left_out(shared, new):
    admin = labels.tenant(shared, f"t{new}")
    names = labels.settle(admin, labels.members(count=6))
    restricted, erased = names["member-1"], names["member-4"]
    admin.call("PrivacyService/RestrictProcessing", {"name": restricted})
    erasure = admin.call("PrivacyService/EraseCustomer", {"name": erased}).name
    waiting.until(lambda: admin.call("PrivacyService/GetErasure", {"name": erasure}).HasField("complete_time"), "the erasure")
    assert [name for name, *_ in told(admin)] == sorted(set(names.values()) - {restricted, erased}, key=number_of)
    assert told(admin, customers=[restricted, erased]) == []


def what_came_under_another_class_is_told_no_more(shared, new):
    admin = labels.tenant(shared, f"t{new}")
    labels.settle(admin, labels.members(count=4))
    admin.call("AttributeService/DeleteAttribute", {"name": "attributes/fee"})
    refusal = admin.refused(READ, {"attributes": ASKED})
    refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert "attributes[1]" in refusal.message
    labels.declare(admin, {"fee": "NONE"})
    assert all("fee" not in values for *_, values in told(admin))
    questions.take_in(admin, labels.row("member-2", {"fee": "12"}))
    assert [values["fee"] for *_, values in told(admin) if "fee" in values] == ["12"]


@pytest.mark.parametrize("role", ["support", "sales", "marketer", "analyst", "data-engineer", "auditor"])
def who_is_no_service_reads_no_values_in_bulk(shared, gym, role):
    shared.client(role).refused(READ, {"attributes": ASKED}).must_be(PERMISSION_DENIED, "METHOD_DENIED")
    assert told(shared.client("service"), customers=["customers/1"]) == gym[2][:1]


@pytest.mark.parametrize("request_fields,field", [
    ({}, "attributes"), ({"attributes": [f"attributes/a{n}" for n in range(66)]}, "attributes"), ({"attributes": ["plan"]}, "attributes[0]"),
    ({"attributes": ["attributes/plan", "attributes/plan"]}, "attributes[1]"), ({"attributes": ["attributes/Plan"]}, "attributes[0]"),
    ({"attributes": ASKED, "one_in": -1}, "one_in"), ({"attributes": ASKED, "one_in": 1_000_001}, "one_in"),
    ({"attributes": ASKED, "one_in": 2, "customers": ["customers/1"]}, "one_in"),
    ({"attributes": ASKED, "customers": ["customers/1", "segments/1"]}, "customers[1]"),
    ({"attributes": ASKED, "customers": [f"customers/{n + 1}" for n in range(1_001)]}, "customers"),
    ({"attributes": ASKED, "cursor": "x"}, "cursor")], ids=[f"{n}" for n in range(11)])
def what_is_no_question_is_refused(gym, request_fields, field):
    refusal = gym[0].refused(READ, request_fields).must_be(INVALID_ARGUMENT, {"INVALID_FIELD", "INVALID_TOKEN"})
    assert [each.field for each in refusal.bad_request.field_violations] == [field]


def nobody_is_there_in_a_new_tenant(shared, new):
    admin = labels.tenant(shared, f"t{new}")
    labels.declare(admin)
    assert told(admin) == []
    questions.take_in(admin, facts.customer("first"))
    assert [(key, values) for _, key, values in told(admin)] == [("first", {})]
