"""Which identities are one person: joined where it is certain, listed where people have to decide, merged, and parted exactly."""
import itertools

import pytest

from support import facts, questions
from support.refusals import INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED

KIND = {"kind": "CUSTOMER_KIND_CUSTOMER"}


def person(*ids, **fields):
    return {"customer": {"identities": [facts.identity(each) for each in ids]} | fields}


def get(client, name):
    return client.call("CustomerService/GetCustomer", {"name": name})


def ids_of(client, name):
    return sorted(each.id for each in get(client, name).identities)


def merge(client, one, other):
    return client.call("IdentityService/MergeCustomers", {"customer": one, "other": other})


def unmerge(client, merged):
    return client.call("IdentityService/UnmergeCustomers", {"name": merged.name}).facts_position


def conflicts_of(client, *names, state="OPEN"):
    found = questions.everything(client, "IdentityService/ListIdentityConflicts", "conflicts", page_size=1_000,
                                 state=f"CONFLICT_STATE_{state}")
    return [each for each in found if set(names) & set(each.customers)]


def reason_of(conflict):
    values = conflict.DESCRIPTOR.fields_by_name["reason"].enum_type.values_by_number
    return values[conflict.reason].name.removeprefix("CONFLICT_REASON_")


def refused(client, row):
    answer = client.call("IngestService/IngestBatch", facts.batch(row))
    assert (answer.applied, len(answer.rejects)) == (0, 1), answer
    return answer.rejects[0]


def features(client, name):
    """The features, without the instant of the reading."""
    got = questions.features(client, name)
    got.ClearField("as_of")
    return got.SerializeToString(deterministic=True)


def snapshot(client, name):
    """Everything of a customer that a merge and its undoing must leave as it was."""
    customer = get(client, name)
    for field in ("etag", "update_time"):
        customer.ClearField(field)
    consents = client.call("PrivacyService/GetConsents", {"name": name})
    listed = questions.everything(client, "FactService/ListCustomerFacts", "facts", parent=name)
    return (customer.SerializeToString(deterministic=True), features(client, name), consents.SerializeToString(deterministic=True),
            [each.SerializeToString(deterministic=True) for each in listed])


def an_identity_that_is_named_with_a_known_one_joins_its_customer(admin, new):
    questions.take_in(admin, person(f"{new}-1", display_name="Ann"))
    questions.take_in(admin, person(f"{new}-1", f"{new}-2"))
    questions.take_in(admin, facts.order(f"{new}-2", "e"))
    name = questions.find(admin, f"{new}-2")
    assert name == questions.find(admin, f"{new}-1")
    assert ids_of(admin, name) == [f"{new}-1", f"{new}-2"] and questions.features(admin, name).orders == 1


@pytest.mark.parametrize("together", [True, False])
def what_a_device_did_becomes_that_of_the_person_who_is_known_later(admin, new, together):
    """In one batch or one after the other: what came together must not show."""
    rows = [facts.interaction(f"{new}-device", "visit", kind="INTERACTION_KIND_PAGE_VIEW", about="teapots"),
            person(f"{new}-crm", display_name="Ann"), facts.order(f"{new}-crm", "o"), person(f"{new}-crm", f"{new}-device")]
    if together:
        admin.call("IngestService/IngestBatch", facts.batch(*rows))
    else:
        for row in rows:
            admin.call("IngestService/IngestBatch", facts.batch(row))
    name = questions.find(admin, f"{new}-device")
    assert name == questions.find(admin, f"{new}-crm")
    got = questions.features(admin, name)
    assert (got.interactions, got.orders, get(admin, name).display_name) == (1, 1, "Ann")
    assert conflicts_of(admin, name) == []
    # A replay finds everything done.
    again = admin.call("IngestService/IngestBatch", facts.batch(*rows))
    assert (again.applied, again.duplicates, list(again.rejects)) == (0, 4, [])


def two_who_are_known_are_never_merged_silently(admin, new):
    one, other = f"{new}-1", f"{new}-2"
    questions.take_in(admin, person(one, display_name="Ann"), person(other, display_name="Bob"))
    names = [questions.find(admin, each) for each in (one, other)]
    row = person(one, other, display_name="Ann B")
    assert refused(admin, row).field == "customer.identities"
    conflict, = conflicts_of(admin, *names)
    assert (sorted(conflict.customers), reason_of(conflict)) == (sorted(names), "IDENTITIES")
    decided = admin.call("IdentityService/ResolveIdentityConflict", {"name": conflict.name, "state": "CONFLICT_STATE_MERGED"})
    assert decided.HasField("decide_time") and conflicts_of(admin, *names) == []
    questions.take_in(admin, row)
    assert get(admin, questions.find(admin, other)).display_name == "Ann B"


def a_shared_contact_is_listed_and_once_decided_not_asked_about_again(admin, new):
    email = f"{new}@example.com"
    questions.take_in(admin, person(f"{new}-1", email=email), person(f"{new}-2", email=email.upper()),
                      person(f"{new}-3", email=email))
    names = [questions.find(admin, f"{new}-{n}") for n in (1, 2, 3)]
    found = conflicts_of(admin, *names)
    assert sorted(tuple(sorted(each.customers)) for each in found) == [
        tuple(sorted((names[0], names[1]))), tuple(sorted((names[0], names[2])))]
    assert {reason_of(each) for each in found} == {"SAME_EMAIL"}
    for each in found:
        admin.call("IdentityService/ResolveIdentityConflict", {"name": each.name, "state": "CONFLICT_STATE_KEPT_APART"})
    questions.take_in(admin, person(f"{new}-2", email=email, display_name="Bob"))
    assert conflicts_of(admin, *names) == [] and len(conflicts_of(admin, *names, state="KEPT_APART")) == 2


def a_merge_unites_identities_facts_fields_and_consents_and_undoing_it_parts_them_exactly(admin, new):
    one, other = f"{new}-1", f"{new}-2"
    questions.take_in(admin, person(one, display_name="Ann", phone="+8613800138001", attributes=KIND | {"language": "en"}),
                      facts.order(one, "o", days=30, cents=1_000), facts.refund(one, "r", days=20, cents=100, order_event_id="o"))
    questions.take_in(admin, person(other, display_name="Anna", email=f"{new}@example.com", attributes=KIND | {"region": "north"}),
                      facts.order(other, "o", days=10, cents=500), facts.feedback(other, "f", days=5, text="fine"))
    first, second = questions.find(admin, one), questions.find(admin, other)
    for name, state, days in ((first, "GIVEN", 9), (second, "OBJECTED", 8)):
        admin.call("PrivacyService/SetConsent", {"name": name, "purpose": "PURPOSE_MARKETING", "state": f"CONSENT_STATE_{state}",
                                                 "event_time": facts.days_before(days), "source": f"by {name}"})
    before = [snapshot(admin, each) for each in (first, second)]

    merged = merge(admin, second, first)
    assert merged.customer == first
    questions.wait_for(admin, merged.facts_position)
    whole = get(admin, first)
    assert get(admin, second) == whole and questions.find(admin, other) == first
    # Of every field what was said last; the second was said later.
    assert (whole.display_name, whole.phone, whole.email) == ("Anna", "+8613800138001", f"{new}@example.com")
    assert whole.attributes.region == "north"
    assert ids_of(admin, first) == sorted((one, other))
    got = questions.features(admin, first)
    assert (got.orders, facts.cents_of(got.net_revenue), got.feedback_count) == (2, 1_400, 1)
    consents = admin.call("PrivacyService/GetConsents", {"name": first})
    assert (list(consents.consents), len(consents.objections), [each.source for each in consents.history]) == (
        [], 1, [f"by {second}", f"by {first}"])
    for lookup in ({"phone": "+8613800138001"}, {"email": f"{new}@example.com"}):
        assert admin.call("CustomerService/LookupCustomer", lookup).name == first
    admin.refused("ScoreService/GetScore", {"name": f"{second}/score"}).must_be(NOT_FOUND, "NOT_FOUND")
    again = admin.call("IngestService/IngestBatch", facts.batch(facts.order(other, "o", days=10, cents=500)))
    assert (again.applied, again.duplicates) == (0, 1)

    questions.wait_for(admin, unmerge(admin, merged))
    assert [snapshot(admin, each) for each in (first, second)] == before
    assert questions.scores(admin, second)
    assert admin.call("CustomerService/LookupCustomer", {"email": f"{new}@example.com"}).name == second
    assert get(admin, first).etag != whole.etag
    admin.refused("IdentityService/UnmergeCustomers", {"name": merged.name}).must_be(NOT_FOUND, "NOT_FOUND")


def what_is_said_while_they_are_one_is_with_whose_identity_said_it(admin, new):
    one, other = f"{new}-1", f"{new}-2"
    questions.take_in(admin, person(one, display_name="Ann"))
    questions.take_in(admin, person(other, display_name="Bob"))
    first, second = questions.find(admin, one), questions.find(admin, other)
    merged = merge(admin, first, second)
    questions.take_in(admin, person(other, email=f"{new}@example.com"), facts.order(other, "o"))
    assert get(admin, first).email == f"{new}@example.com" and get(admin, first).display_name == "Bob"
    unmerge(admin, merged)
    assert not get(admin, first).HasField("email") and get(admin, second).email == f"{new}@example.com"
    assert (questions.features(admin, first).orders, questions.features(admin, second).orders) == (0, 1)


def a_field_that_is_emptied_or_changed_on_the_whole_holds(admin, new):
    one, other = f"{new}-1", f"{new}-2"
    questions.take_in(admin, person(one, phone="+8613800138002"))
    questions.take_in(admin, person(other, phone="+8613800138003", address="7, Mill Lane"))
    first = questions.find(admin, one)
    merge(admin, first, questions.find(admin, other))
    assert get(admin, first).phone == "+8613800138003"
    update = {"customer": {"name": first, "display_name": "Ann"}, "update_mask": "phone,displayName"}
    after = admin.call("CustomerService/UpdateCustomer", update)
    assert (after.HasField("phone"), after.display_name, after.address) == (False, "Ann", "7, Mill Lane")
    assert get(admin, first) == after


def the_order_of_merges_does_not_show_and_each_is_undone_by_itself(admin, new):
    links = [(0, 1), (1, 2), (3, 2)]
    results = []
    for turn, order in enumerate(itertools.permutations(links)):
        ids = [f"{new}-{turn}-{n}" for n in range(4)]
        questions.take_in(admin, *(person(each, display_name=f"P{n}") for n, each in enumerate(ids)),
                          *(facts.order(each, "o", days=n + 1) for n, each in enumerate(ids)))
        names = [questions.find(admin, each) for each in ids]
        merges = {}
        for left, right in order:
            merges[left, right] = merge(admin, names[left], names[right])
            merge(admin, names[right], names[left])  # The same again.
        assert {questions.find(admin, each) for each in ids} == {names[0]}
        got = get(admin, names[0])
        assert questions.features(admin, names[0]).orders == 4
        results.append((got.display_name, len(got.identities)))
        unmerge(admin, merges[1, 2])
        assert [questions.find(admin, each) for each in ids] == [names[0], names[0], names[2], names[2]]
        assert [questions.features(admin, names[n]).orders for n in (0, 2)] == [2, 2]
    assert len(set(results)) == 1


def a_merge_with_oneself_or_nobody_and_malformed_names_are_refused(admin, new):
    questions.take_in(admin, person(new))
    name = questions.find(admin, new)
    for request, field in (({"customer": name, "other": name}, "other"), ({"customer": name, "other": "x"}, "other"), ({}, "customer")):
        refusal = admin.refused("IdentityService/MergeCustomers", request).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        assert refusal.message.startswith(field), refusal
    admin.refused("IdentityService/MergeCustomers", {"customer": name, "other": "customers/4000000000"}).must_be(NOT_FOUND, "NOT_FOUND")
    for bad in ("", "merges/1", "merges/2-1", "merges/1-1", "merges/1-x", "identityConflicts/1-2"):
        admin.refused("IdentityService/UnmergeCustomers", {"name": bad}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    for bad in ({"state": 99}, {"page_size": -1}):
        admin.refused("IdentityService/ListIdentityConflicts", bad).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    for state in (0, "CONFLICT_STATE_OPEN", 99):
        request = {"name": "identityConflicts/1-2", "state": state}
        admin.refused("IdentityService/ResolveIdentityConflict", request).must_be(INVALID_ARGUMENT, "INVALID_FIELD")


def those_who_see_nobody_may_not_ask_who_is_whom(shared):
    for role in ("analyst", "marketer", "data-engineer", "sales"):
        shared.client(role).refused("IdentityService/ListIdentityConflicts", {}).must_be(PERMISSION_DENIED, "METHOD_DENIED")


def an_erasure_takes_everybody_whom_the_customer_was_merged_with(fresh):
    admin = fresh.client("admin")
    questions.take_in(admin, person("one", display_name="Ann"), facts.order("one", "o"))
    answer = questions.take_in(admin, person("two", email="two@example.com"), facts.order("two", "o"))
    first, second = questions.find(admin, "one"), questions.find(admin, "two")
    questions.wait_for(admin, answer.facts_position)
    merge(admin, first, second)
    erasure = admin.call("PrivacyService/EraseCustomer", {"name": second})
    assert erasure.customer == first
    questions.wait_for(admin, erasure.facts_position)
    for name in (first, second):
        admin.refused("CustomerService/GetCustomer", {"name": name}).must_be(NOT_FOUND, "NOT_FOUND")
    erasures = questions.everything(admin, "PrivacyService/ListErasures", "erasures")
    assert {each.customer for each in erasures} == {first, second}
    admin.refused("CustomerService/LookupCustomer", {"email": "two@example.com"}).must_be(NOT_FOUND, "NOT_FOUND")
    assert questions.everything(admin, "IdentityService/ListMerges", "merges") == []


def a_refused_row_leaves_no_identity_behind(admin, new):
    questions.take_in(admin, person(f"{new}-1", display_name="Ann"), person(f"{new}-2", display_name="Bob"))
    refused(admin, person(f"{new}-1", f"{new}-2", f"{new}-3"))
    admin.refused("CustomerService/LookupCustomer", {"identity": facts.identity(f"{new}-3")}).must_be(NOT_FOUND, "NOT_FOUND")
    many = [{"key": f"k{n}-{new}", "text": "x"} for n in range(33)]
    refused(admin, person(f"{new}-1", f"{new}-4", custom_attributes=many))
    admin.call("PrivacyService/EraseCustomer", {"name": questions.find(admin, f"{new}-1")})
    questions.take_in(admin, *(facts.order(f"{new}-{n}", "o") for n in (1, 3, 4)))
    assert len({questions.find(admin, f"{new}-{n}") for n in (1, 2, 3, 4)}) == 4


def restriction_and_objection_by_a_merged_name_are_those_of_the_whole(admin, new):
    questions.take_in(admin, person(f"{new}-1"), facts.order(f"{new}-1", "o"), person(f"{new}-2"))
    first, second = questions.find(admin, f"{new}-1"), questions.find(admin, f"{new}-2")
    questions.wait_for(admin, merge(admin, first, second).facts_position)
    assert questions.scores(admin, first) and features(admin, second) == features(admin, first)
    assert questions.everything(admin, "FactService/ListCustomerFacts", "facts", parent=second)
    restricted = admin.call("PrivacyService/RestrictProcessing", {"name": second})
    questions.wait_for(admin, restricted.facts_position)
    admin.refused("ScoreService/GetScore", {"name": f"{first}/score"}).must_be(NOT_FOUND, "NOT_FOUND")
    lifted = admin.call("PrivacyService/LiftRestriction", {"name": second})
    questions.wait_for(admin, lifted.facts_position)
    assert questions.scores(admin, first)
    consenting = questions.save_segment(admin, f"consenting-{new}", 'consent.marketing == "given"')
    for state, member in (("GIVEN", True), ("OBJECTED", False)):
        admin.call("PrivacyService/SetConsent", {"name": second, "purpose": "PURPOSE_MARKETING", "state": f"CONSENT_STATE_{state}"})
        questions.wait_for(admin, questions.take_in(admin, facts.order(f"{new}-1", state)).facts_position)
        assert questions.is_member(admin, consenting, first) == member


def a_contact_that_the_lower_of_two_gets_later_is_asked_about_too(admin, new):
    email = f"{new}@example.com"
    questions.take_in(admin, person(f"{new}-1", display_name="Ann"))
    questions.take_in(admin, person(f"{new}-2", email=email))
    questions.take_in(admin, person(f"{new}-1", email=email))
    names = [questions.find(admin, f"{new}-{n}") for n in (1, 2)]
    assert [reason_of(each) for each in conflicts_of(admin, *names)] == ["SAME_EMAIL"]


def a_conflict_is_between_those_who_have_the_contact_also_after_an_unmerge(admin, new):
    email = f"{new}@example.com"
    questions.take_in(admin, person(f"{new}-1", display_name="Ann"))
    questions.take_in(admin, person(f"{new}-2", email=email))
    first, second = questions.find(admin, f"{new}-1"), questions.find(admin, f"{new}-2")
    merged = merge(admin, first, second)
    questions.take_in(admin, person(f"{new}-3", email=email))
    third = questions.find(admin, f"{new}-3")
    assert conflicts_of(admin, third)
    unmerge(admin, merged)
    assert [sorted(each.customers) for each in conflicts_of(admin, first, second, third)] == [sorted((second, third))]


def what_was_parted_by_people_is_not_joined_again_by_the_next_import(admin, new):
    questions.take_in(admin, facts.interaction(f"{new}-device", "visit"), person(f"{new}-crm", display_name="Ann"))
    row = person(f"{new}-crm", f"{new}-device")
    questions.take_in(admin, row)
    name = questions.find(admin, f"{new}-crm")
    assert questions.find(admin, f"{new}-device") == name
    merges = questions.everything(admin, "IdentityService/ListMerges", "merges", page_size=1_000)
    joined = next(each for each in merges if each.customer == name)
    unmerge(admin, joined)
    assert refused(admin, row).field == "customer.identities"
    assert questions.find(admin, f"{new}-device") != questions.find(admin, f"{new}-crm")


def what_is_said_again_is_what_was_said_last(admin, new):
    questions.take_in(admin, person(f"{new}-1", phone="+8613800138011"))
    questions.take_in(admin, person(f"{new}-2", phone="+8613800138012"))
    first = questions.find(admin, f"{new}-1")
    merge(admin, first, questions.find(admin, f"{new}-2"))
    for who, phone in ((1, "+8613800138011"), (2, "+8613800138012"), (1, "+8613800138013"), (2, "+8613800138012")):
        questions.take_in(admin, person(f"{new}-{who}", phone=phone))
        assert get(admin, first).phone == phone


def each_custom_attribute_has_its_own_time_and_home(admin, new):
    plate, vip = f"plate-{new}", f"vip-{new}"
    for key in (plate, vip):
        admin.call("AttributeService/CreateAttribute", {"attribute_id": key, "attribute": {"sensitivity": "SENSITIVITY_NONE"}})
    custom = lambda **values: {"custom_attributes": [{"key": f"{key}-{new}", "text": text} for key, text in values.items()]}  # noqa: E731
    told = lambda name: {each.key: each.text for each in get(admin, name).custom_attributes}  # noqa: E731
    questions.take_in(admin, person(f"{new}-1", **custom(plate="AAA1")))
    questions.take_in(admin, person(f"{new}-2", **custom(plate="BBB2")))
    first, second = questions.find(admin, f"{new}-1"), questions.find(admin, f"{new}-2")
    merged = merge(admin, first, second)
    questions.take_in(admin, person(f"{new}-1", **custom(vip="yes")))
    assert told(first) == {plate: "BBB2", vip: "yes"}
    update = {"customer": {"name": first} | custom(plate="BBB2", vip="very"), "update_mask": "customAttributes"}
    admin.call("CustomerService/UpdateCustomer", update)
    unmerge(admin, merged)
    assert (told(first), told(second)) == ({plate: "AAA1", vip: "very"}, {plate: "BBB2"})


def many_devices_join_their_persons_in_one_batch(admin, new):
    count = 400
    questions.take_in(admin, *(facts.interaction(f"{new}-d{n}", "visit") for n in range(count)))
    questions.take_in(admin, *(person(f"{new}-p{n}", display_name=f"P{n}") for n in range(count)))
    questions.take_in(admin, *(person(f"{new}-p{n}", f"{new}-d{n}") for n in range(count)))
    for n in (0, 7, count - 1):
        assert questions.find(admin, f"{new}-d{n}") == questions.find(admin, f"{new}-p{n}")


def whoever_reads_no_identities_learns_none_by_taking_in(shared, admin, new):
    engineer = shared.client("data-engineer")
    questions.take_in(admin, person(new, phone="+8613800138021"), facts.interaction(new, "i", text="the truth"))
    name = questions.find(admin, new)
    for phone in ("+8613800138021", "+8613800138021"):
        before = get(admin, name).etag
        answer = engineer.call("IngestService/IngestBatch", facts.batch(person(new, phone=phone)))
        assert (answer.applied, answer.duplicates) == (1, 0) and get(admin, name).etag != before
    for guess in ("the truth", "a guess"):
        answer = engineer.call("IngestService/IngestBatch", facts.batch(facts.interaction(new, "i", text=guess)))
        assert (answer.applied, answer.duplicates, list(answer.rejects)) == (0, 1, [])
    request = facts.batch(facts.order(new, ""))
    engineer.call("IngestService/IngestBatch", request)
    rejects = questions.everything(engineer, "IngestService/ListRejects", "rejects", page_size=1_000)
    reject = next(each.name for each in rejects if each.stream_id == request["request_id"])
    assert engineer.call("IngestService/GetReject", {"name": reject}).known_customer == ""
    # The same request again stores nothing again.
    engineer.call("IngestService/IngestBatch", request)
    rejects = questions.everything(engineer, "IngestService/ListRejects", "rejects", page_size=1_000)
    assert len([each for each in rejects if each.stream_id == request["request_id"]]) == 1
