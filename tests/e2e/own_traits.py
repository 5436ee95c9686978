"""Traits: features that a tenant defines while the suite runs. They reach every customer, follow facts and time, and go again."""
import uuid
from collections import defaultdict
from datetime import datetime, timedelta, timezone

import grpc
import pytest

import cdnow_witness as witness
from support import facts, policies, questions, quintile, traits, waiting
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED
from support.watching import watch

CUSTOMERS, SOME = 2_600, 300  # More than the service goes through at once, and fewer.
ALREADY_EXISTS, ABORTED = grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.ABORTED
CANCELLED = grpc.StatusCode.CANCELLED.value[0]


@pytest.fixture
def new():
    """The id of a trait, and of a customer, that no other test uses."""
    return f"t{uuid.uuid4().hex}"


def purchases_of(count):
    """{customer: [(day, cents)]} of the first customers of CDNOW."""
    with open(quintile.cdnow(), encoding="ascii") as stream:
        purchases = witness.read_purchases(stream)
    return dict(list(purchases.items())[:count])


def take_in_purchases(client, purchases):
    rows = [facts.cdnow_order(customer, n, *line) for customer, lines in purchases.items() for n, line in enumerate(lines)]
    for start in range(0, len(rows), 10_000):
        position = questions.take_in(client, *rows[start:start + 10_000]).facts_position
    questions.wait_for(client, position)


def values_of_all(client):
    """{trait: its values, sorted, each as often as it occurs in the feed of features}; nobody has one of a trait that is not there."""
    with watch(client, "FeatureService/WatchFeatures") as watcher:
        watcher.until_caught_up()
        records = {record.customer_id: record for said in watcher.responses for record in said.records}
    found = defaultdict(list)
    for record in records.values():
        for value in record.features.traits:
            found[value.key].append(traits.of(value))
    return {trait_id: sorted(values) for trait_id, values in found.items()}


def sum_of_large(lines, days=None):
    """What ought to be the sum of the orders of 20 dollars and more, in the last days: by the facts alone."""
    start = None if days is None else (facts.AS_OF - timedelta(days=days)).date()
    return sum(cents for day, cents in lines if cents >= 2_000 and (start is None or day >= start))


def a_trait_brings_its_values_to_all_customers_and_takes_them_away(fresh):
    admin, purchases = fresh.client("admin"), purchases_of(SOME)
    take_in_purchases(admin, purchases)
    operation = traits.define(admin, "large", "ORDER", "SUM", "amount", "amount >= 20")
    assert (operation.name.startswith("operations/"), traits.progress(admin, operation).target) == (True, "traits/large")
    ended = traits.done(admin, operation)
    made = traits.unpacked(admin, ended.response)
    assert (made.complete, traits.progress(admin, ended).progress_percent) == (True, 100)
    assert made == admin.call("TraitService/GetTrait", {"name": "traits/large"})
    recent = traits.define(fresh.client("analyst"), "large-recently", "ORDER", "SUM", "amount", "amount >= 20", window_days=200)
    traits.done(admin, recent)
    expected = sorted(sum_of_large(lines, 200) for lines in purchases.values())
    assert values_of_all(admin) == {"large": sorted(sum_of_large(lines) for lines in purchases.values()), "large-recently": expected}
    assert 0 < expected[-1]
    # What is live has it at once.
    questions.take_in(admin, facts.order("newcomer", "1", cents=2_000), facts.order("newcomer", "2", cents=1_999))
    assert traits.values(admin, questions.find(admin, "newcomer"))["large"] == 2_000
    gone = admin.call("TraitService/DeleteTrait", {"name": "traits/large", "etag": made.etag})
    admin.refused("TraitService/GetTrait", {"name": "traits/large"}).must_be(NOT_FOUND, "NOT_FOUND")
    assert traits.done(admin, gone).response.type_url.endswith("google.protobuf.Empty")
    assert values_of_all(admin).keys() == {"large-recently"}


def every_kind_of_fact_and_every_type_of_value(shared, admin, new):
    """Each kind of fact with its fields, each aggregate: counted by hand."""
    tea = {"product": "assam", "category": "tea", "quantity": 2, "amount": facts.dollars(900), "cost": facts.dollars(300)}
    pot = {"product": "pot", "category": "kitchen", "quantity": 1, "amount": facts.dollars(4_001)}
    position = questions.take_in(
        admin, facts.order(new, "o1", days=30, cents=900, lines=[tea]),
        facts.order(new, "o2", days=10, cents=4_901, channel="store", lines=[tea, pot], profit={"currency_code": "USD", "nanos": -50_000_000}),
        facts.refund(new, "r1", days=5, cents=400, order_event_id="o2"),
        facts.interaction(new, "i1", days=20, about="/assam"), facts.interaction(new, "i2", days=2, about="/pot"),
        facts.interaction(new, "i3", kind="INTERACTION_KIND_CALL"),
        facts.feedback(new, "f1", days=9, kind="FEEDBACK_KIND_NPS", score=3),
        facts.feedback(new, "f2", days=8, kind="FEEDBACK_KIND_NPS", score=10)).facts_position
    expected = {
        ("ORDER", "COUNT", "", 'channel == "store"'): 1,
        ("ORDER", "SUM", "profit"): 595,  # 900 - 2 × 300 is not known of the second line: 600 of the first order, -5 of the second.
        ("ORDER", "MEAN", "amount"): 2_900,  # (900 + 4,901) / 2 = 2,900.5, half to even.
        ("ORDER", "MAX", "at"): facts.days_before(10),
        ("ORDER_LINE", "SUM", "quantity", 'category == "tea"'): 4,
        ("ORDER_LINE", "SUM", "cost"): 600,
        ("ORDER_LINE", "DISTINCT", "product"): 2,
        ("ORDER_LINE", "LAST", "product", 'category == "tea"'): "assam",
        ("REFUND", "SUM", "amount"): 400,
        ("INTERACTION", "COUNT", "", 'kind == "visit"'): 2,
        ("INTERACTION", "LAST", "about", 'has(about)'): "/pot",
        ("FEEDBACK", "MEAN", "score", 'kind == "nps"'): 6.5,
        ("FEEDBACK", "MIN", "score"): 3,
    }
    ids = {definition: f"{new[:20]}-{n}" for n, definition in enumerate(expected)}
    for definition, trait_id in ids.items():
        operation = traits.define(admin, trait_id, *definition)
    traits.done(admin, operation)
    questions.wait_for(admin, position)
    values = traits.values(admin, questions.find(admin, new))
    assert {definition: values[trait_id] for definition, trait_id in ids.items()} == expected
    for trait_id in ids.values():
        admin.call("TraitService/DeleteTrait", {"name": f"traits/{trait_id}"})


def a_window_follows_time_to_the_microsecond(fresh):
    admin = fresh.client("admin")
    position = questions.take_in(admin, facts.interaction("c", "i", days=10), facts.interaction("c", "later", days=0)).facts_position
    questions.wait_for(admin, position)
    traits.done(admin, traits.define(admin, "visits", "INTERACTION", "COUNT", window_days=30))
    name = questions.find(admin, "c")
    leaves = facts.AS_OF + timedelta(days=20)
    for moment, count in [(facts.AS_OF, 1), (facts.AS_OF + timedelta(microseconds=1), 2), (leaves, 2),
                          (leaves + timedelta(microseconds=1), 1)]:
        instant = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if moment > facts.AS_OF:
            admin.call("ClockService/SetAsOf", {"as_of": instant})
        # Read, and as the feed has it: by time alone.
        assert traits.values(admin, name)["visits"] == count, moment
        waiting.until(lambda: values_of_all(admin).get("visits") == [count], f"the feed to say {count} at {instant}")


def a_killed_suite_goes_on_with_its_operations_and_one_can_be_cancelled(fresh):
    admin, purchases, windows = fresh.client("admin"), purchases_of(CUSTOMERS), range(1, 41, 3)
    take_in_purchases(admin, purchases)
    begun = [traits.define(admin, f"t{days}", "ORDER", "SUM", "amount", window_days=days) for days in windows]
    admin.call("Operations/CancelOperation", {"name": begun[-1].name})
    fresh.kill()
    fresh.start()
    admin = fresh.client("admin")
    ended = [traits.done(admin, operation) for operation in begun]
    assert [operation.error.code for operation in ended] == [0] * (len(windows) - 1) + [CANCELLED]
    assert traits.progress(admin, ended[-1]).cancel_requested
    admin.refused("TraitService/GetTrait", {"name": "traits/t40"}).must_be(NOT_FOUND, "NOT_FOUND")
    listed = questions.everything(admin, "Operations/ListOperations", "operations", page_size=10)
    # The newest first: what takes away the values of the one that was cancelled.
    assert traits.progress(admin, listed[0]).verb == "DeleteTrait" and len(listed) == len(windows) + 1
    traits.done(admin, listed[0])
    found = values_of_all(admin)
    assert found.keys() == {f"t{days}" for days in windows[:-1]}
    since = lambda days, lines: sum(cents for day, cents in lines  # noqa: E731
                                    if datetime(day.year, day.month, day.day, tzinfo=timezone.utc) >= facts.AS_OF - timedelta(days=days))
    for days in windows[:-1]:
        assert found[f"t{days}"] == sorted(since(days, lines) for lines in purchases.values()), days
    # One that everybody has goes again.
    traits.done(admin, admin.call("TraitService/DeleteTrait", {"name": "traits/t1"}))
    assert values_of_all(admin).keys() == found.keys() - {"t1"}
    # What is over can be forgotten, and cancelling it does nothing.
    admin.call("Operations/CancelOperation", {"name": begun[0].name})
    assert not traits.done(admin, begun[0]).HasField("error")
    admin.call("Operations/DeleteOperation", {"name": begun[0].name})
    admin.refused("Operations/GetOperation", {"name": begun[0].name}).must_be(NOT_FOUND, "NOT_FOUND")


def a_trait_is_read_as_what_it_reads_may_be_read(shared, admin, new):
    """Who does not see money defines no trait of it, not even by a filter, and sees no value of one."""
    hidden = policies.role_like(admin, "analyst", "no-money", forms={"FINANCIAL": {"form": "MASK_FORM_REDACTED"}})
    policies.publish(admin, hidden)
    client = policies.client_of(shared, "no-money")
    for definition in [("ORDER", "SUM", "amount"), ("ORDER", "COUNT", "", "amount > 10"), ("ORDER_LINE", "MAX", "cost")]:
        request = {"trait_id": new, "trait": traits.definition(*definition)}
        client.refused("TraitService/CreateTrait", request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    position = questions.take_in(admin, facts.order(new, "o", cents=2_000)).facts_position
    traits.define(client, f"{new[:20]}-count", "ORDER", "COUNT")
    traits.done(admin, traits.define(admin, f"{new[:20]}-large", "ORDER", "COUNT", "", "amount > 10"))
    questions.wait_for(admin, position)
    name = questions.find(admin, new)
    mine = lambda client: {key[21:]: value for key, value in traits.values(client, name).items() if key.startswith(new[:20])}  # noqa: E731
    assert mine(admin) == {"count": 1, "large": 1}
    assert mine(client) == {"count": 1, "large": None}
    assert mine(shared.client("analyst")) == mine(admin)
    for trait_id in ("count", "large"):
        admin.call("TraitService/DeleteTrait", {"name": f"traits/{new[:20]}-{trait_id}"})


def whether_a_hidden_trait_has_a_value_does_not_show(fresh):
    admin = fresh.client("admin")
    policies.publish(admin, policies.role_like(admin, "analyst", "no-money", forms={"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}))
    client = policies.client_of(fresh, "no-money")
    # Two who differ in nothing but what they paid.
    position = questions.take_in(admin, facts.order("much", "o", days=40, cents=150_000), facts.order("little", "o", days=40, cents=700),
                                 facts.order("much", "p", days=9, cents=1_000), facts.order("little", "p", days=9, cents=1_000)).facts_position
    traits.define(admin, "last-large", "ORDER", "LAST", "at", "amount >= 1000")
    traits.done(admin, traits.define(admin, "large", "ORDER", "COUNT", "", "amount >= 1000", window_days=100))
    questions.wait_for(admin, position)
    much, little = (questions.find(admin, customer) for customer in ("much", "little"))
    assert traits.values(admin, much) == {"last-large": facts.days_before(40), "large": 1}
    assert traits.values(admin, little) == {"last-large": None, "large": 0}
    seen = [client.call("FeatureService/GetFeatures", {"name": f"{name}/features"}).features for name in (much, little)]
    assert seen[0] == seen[1] and [value.key for value in seen[0].traits] == ["large", "last-large"]


def a_trait_is_defined_once_and_a_repeated_request_is_known(admin, new):
    request = {"trait_id": new, "trait": traits.definition("ORDER", "COUNT"), "request_id": str(uuid.uuid4())}
    begun = admin.call("TraitService/CreateTrait", request)
    assert admin.call("TraitService/CreateTrait", request).name == begun.name
    other = request | {"trait": traits.definition("REFUND", "COUNT")}
    admin.refused("TraitService/CreateTrait", other).must_be(FAILED_PRECONDITION, "BODY_CONFLICT")
    admin.refused("TraitService/CreateTrait", request | {"request_id": ""}).must_be(ALREADY_EXISTS, "ALREADY_EXISTS")
    admin.refused("TraitService/DeleteTrait", {"name": f"traits/{new}", "etag": '"1"'}).must_be(ABORTED, "STALE_ETAG")
    # Defined anew under its id it is another one, whatever is under way of the first.
    admin.call("TraitService/DeleteTrait", {"name": f"traits/{new}"})
    traits.done(admin, traits.define(admin, new, "REFUND", "COUNT"))
    made = admin.call("TraitService/GetTrait", {"name": f"traits/{new}"})
    assert (made.complete, made.fact) == (True, 3)
    assert made in questions.everything(admin, "TraitService/ListTraits", "traits", page_size=1)
    admin.call("TraitService/DeleteTrait", {"name": made.name})


@pytest.mark.parametrize("wrong,field,reason", [
    ({"fact": "TRAIT_FACT_UNSPECIFIED"}, "trait.fact", "INVALID_FIELD"),
    ({"fact": 99}, "trait.fact", "INVALID_FIELD"),
    ({"aggregate": "TRAIT_AGGREGATE_UNSPECIFIED"}, "trait.aggregate", "INVALID_FIELD"),
    ({"aggregate": 99}, "trait.aggregate", "INVALID_FIELD"),
    ({"value": ""}, "trait.value", "INVALID_FIELD"),
    ({"value": "amuont"}, "trait.value", "INVALID_FIELD"),
    ({"value": "channel"}, "trait.value", "INVALID_FIELD"),
    ({"aggregate": "TRAIT_AGGREGATE_COUNT"}, "trait.value", "INVALID_FIELD"),
    ({"window_days": -1}, "trait.window_days", "INVALID_FIELD"),
    ({"window_days": 3_654}, "trait.window_days", "INVALID_FIELD"),
    ({"filter": "amount >"}, "trait.filter", "INVALID_EXPRESSION"),
    ({"filter": 'kind == "visit"'}, "trait.filter", "INVALID_EXPRESSION"),
    ({"filter": "days_since(at) < 3"}, "trait.filter", "INVALID_EXPRESSION"),
    ({"filter": 'segment("vip")'}, "trait.filter", "INVALID_EXPRESSION"),
    ({"filter": "(" * 40 + "true" + ")" * 40}, "trait.filter", "INVALID_EXPRESSION"),
    ({"filter": 'channel == "a\0"'}, "trait.filter", "INVALID_EXPRESSION"),
    ({"description": "x" * 1_025}, "trait.description", "INVALID_FIELD")], ids=[f"{n}" for n in range(17)])
def a_definition_that_makes_no_sense_is_refused(admin, new, wrong, field, reason):
    request = {"trait_id": new, "trait": traits.definition("ORDER", "SUM", "amount") | wrong}
    refusal = admin.refused("TraitService/CreateTrait", request).must_be(INVALID_ARGUMENT, reason)
    assert refusal.bad_request.field_violations[0].field == field


@pytest.mark.parametrize("method,request_fields,field", [
    ("TraitService/CreateTrait", {"trait_id": "Upper", "trait": traits.definition("ORDER", "COUNT")}, "trait_id"),
    ("TraitService/CreateTrait", {"trait_id": "x"}, "trait"),
    ("TraitService/CreateTrait", {"trait_id": "x", "trait": traits.definition("ORDER", "COUNT"), "request_id": "1"}, "request_id"),
    ("TraitService/GetTrait", {"name": "traits/"}, "name"),
    ("TraitService/DeleteTrait", {"name": "x"}, "name"),
    ("Operations/GetOperation", {"name": "operations/x"}, "name"),
    ("Operations/GetOperation", {"name": "operations/01"}, "name"),
    ("Operations/WaitOperation", {"name": "operations/-1"}, "name"),
    ("Operations/ListOperations", {"name": "traits"}, "name"),
    ("Operations/ListOperations", {"filter": "done=true"}, "filter"),
    ("Operations/ListOperations", {"return_partial_success": True}, "return_partial_success"),
    ("Operations/ListOperations", {"page_size": -1}, "page_size")], ids=[f"{n}" for n in range(12)])
def a_request_that_is_not_whole_is_refused(admin, method, request_fields, field):
    refusal = admin.refused(method, request_fields)
    assert refusal.code == INVALID_ARGUMENT and refusal.bad_request.field_violations[0].field == field


def what_is_not_there_is_not_found(shared, admin):
    for method in ("GetOperation", "WaitOperation", "CancelOperation", "DeleteOperation"):
        admin.refused(f"Operations/{method}", {"name": "operations/7"}).must_be(NOT_FOUND, "NOT_FOUND")
    for method in ("GetTrait", "DeleteTrait"):
        admin.refused(f"TraitService/{method}", {"name": "traits/none"}).must_be(NOT_FOUND, "NOT_FOUND")
