"""Retention: facts that are older than they are kept go, behind live work, and features stay as they are where nothing was dropped."""
import random
import uuid
from datetime import timedelta

import grpc
import pytest

from support import facts, policies, questions, quintile, traits, waiting
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, PERMISSION_DENIED

ABORTED = grpc.StatusCode.ABORTED
DAYS = {"order_days": 731, "interaction_days": 900, "feedback_days": 1_000}
OLDEST = 2_500  # Days before the tests' first business time.
CUSTOMERS = 40
EURO_DAY = 1_800
AFTER_COMMIT = "retention::after_commit"


def days_of(row):
    """The kind of a row, and how many days before AS_OF its fact was."""
    (kind, fact), = row.items()
    time = next(value for key, value in fact.items() if key.endswith("_time"))
    return kind, next(days for days in range(OLDEST + 1) if facts.days_before(days) == time)


def kept_days(kind):
    return {"order": 731, "refund": 731, "interaction": 900, "feedback": 1_000}[kind]


def orders_of(customer, chance):
    rows = []
    for n in range(chance.randrange(12)):
        lines = [{"product": f"p{chance.randrange(9)}", "category": f"c{chance.randrange(4)}", "amount": facts.dollars(700)}]
        profit = {"profit": facts.dollars(chance.randrange(900))} if chance.random() < 0.5 else {}
        rows.append(facts.order(customer, f"o{n}", days=chance.randrange(1, OLDEST), cents=chance.randrange(1, 20_000), lines=lines,
                                **profit))
    if chance.random() < 0.5:
        rows.append(facts.order(customer, "euros", days=EURO_DAY, amount={"currency_code": "EUR", "units": 7}))
    return rows


def refunds_of(customer, orders, chance):
    rows = []
    for n in range(chance.randrange(4)):
        named = chance.choice([None, "not there", *(row["order"]["event_id"] for row in orders)])
        fields = {"order_event_id": named} if named else {}
        rows.append(facts.refund(customer, f"r{n}", days=chance.randrange(1, OLDEST), cents=chance.randrange(1, 9_000), **fields))
    return rows


def history(number):
    """What a customer did in seven years, the same in every tenant."""
    chance, customer = random.Random(number), f"c{number}"
    orders = orders_of(customer, chance)
    rows = orders + refunds_of(customer, orders, chance)
    for n in range(chance.randrange(10)):
        kind, state = chance.choice([("VISIT", "UNSPECIFIED"), ("COMPLAINT", "OPENED"), ("COMPLAINT", "RESOLVED"), ("SUPPORT_TICKET", "OPENED")])
        rows.append(facts.interaction(customer, f"i{n}", days=chance.randrange(1, OLDEST), kind=f"INTERACTION_KIND_{kind}",
                                      case_state=f"CASE_STATE_{state}", about=f"case {chance.randrange(3)}"))
    for n in range(chance.randrange(6)):
        kind, score = chance.choice([("CSAT", chance.randrange(1, 6)), ("NPS", chance.randrange(11))])
        rows.append(facts.feedback(customer, f"f{n}", days=chance.randrange(1, OLDEST), kind=f"FEEDBACK_KIND_{kind}", score=score))
    # Somebody who did nothing at all is no customer.
    return rows or [facts.order(customer, "only", days=OLDEST)]


def all_rows():
    euro = (facts.AS_OF - timedelta(days=EURO_DAY)).date()
    return [facts.rate("EUR", euro, "1.25"), *(row for number in range(CUSTOMERS) for row in history(number))]


def with_two_tenants(suite):
    """Administrators of a tenant that drops facts, and of one that keeps them and is fed the same."""
    admin = suite.client("admin")
    admin.call("TenantService/CreateTenant", {"tenant_id": "keeping"})
    keeping = suite.client("admin", "keeping")
    waiting.until(lambda: policies.is_known(keeping), "the tenant to be known", policies.FORCE_SECONDS)
    return admin, keeping


def keep(client, **days):
    """Says for how long facts are kept."""
    return client.call("RetentionService/UpdateRetention", {"retention": days})


def retention(client):
    return client.call("RetentionService/GetRetention")


def wait_until_dropped(client):
    waiting.until(lambda: retention(client).complete, lambda: f"old facts to be dropped: {retention(client)}")


def features_of(client, customers):
    return {customer: questions.features(client, questions.find(client, customer)) for customer in customers}


def assert_same_features(one, other, customers=tuple(f"c{number}" for number in range(CUSTOMERS))):
    of_one, of_other = features_of(one, customers), features_of(other, customers)
    for customer in customers:
        assert of_one[customer] == of_other[customer], customer


def facts_of(client, customer):
    """{(kind, event id)} of the facts of a customer that are kept."""
    listed = questions.everything(client, "FactService/ListCustomerFacts", "facts", parent=questions.find(client, customer), page_size=1_000)
    kinds = [[field.name for field, _ in each.ListFields() if field.name != "customer"] for each in listed]
    return {(kind, getattr(each, kind).event_id) for each, (kind,) in zip(listed, kinds, strict=True)}


def may_stay(row, rows):
    """Whether a fact that is too old may be kept for a while: an order or a refund, where a refund waits or names what is newer."""
    kind = next(iter(row))
    return kind in ("order", "refund") and any("refund" in other for other in rows)


def assert_kept(client, number, moved=0):
    """What there is of a customer is what is new enough, `moved` days after AS_OF, and perhaps what hangs together with it."""
    rows = history(number)
    kept = facts_of(client, f"c{number}")
    for row in rows:
        kind, days = days_of(row)
        is_there = (kind, row[kind]["event_id"]) in kept
        is_old = days + moved > kept_days(kind)
        assert is_there or is_old, row
        assert not (is_there and is_old) or may_stay(row, rows), row


def facts_go_and_features_stay_as_they_are_where_nothing_is_dropped(fresh):
    admin, keeping = with_two_tenants(fresh)
    rows = all_rows()
    for client in (admin, keeping):
        questions.wait_for(client, questions.take_in(client, *rows).facts_position)
    said = keep(admin, **DAYS)
    assert (said.name, said.order_days, said.interaction_days, said.feedback_days) == ("retention", *DAYS.values())
    wait_until_dropped(admin)
    horizon = retention(admin)
    for field, days in (("order", 731), ("interaction", 900), ("feedback", 1_000)):
        assert facts.day_of(getattr(horizon, f"{field}_horizon_time")) == (facts.AS_OF - timedelta(days=days)).date()
    assert_same_features(admin, keeping)
    for number in range(CUSTOMERS):
        assert_kept(admin, number)
        assert facts_of(keeping, f"c{number}") == {(next(iter(row)), next(iter(row.values()))["event_id"]) for row in history(number)}
    # Time moves on, and the horizons with it.
    for moved in (1, 400):
        questions.set_clock(admin, facts.AS_OF + timedelta(days=moved))
        waiting.until(lambda moved=moved: retention(admin).order_horizon_time.seconds - horizon.order_horizon_time.seconds == moved * 86_400,
                      "the horizon to move")
        wait_until_dropped(admin)
        for client in (admin, keeping):
            questions.wait_for(client, 0, facts.AS_OF + timedelta(days=moved))
        assert_same_features(admin, keeping)
        for number in range(CUSTOMERS):
            assert_kept(admin, number, moved)
    # What is new still finds what it is about: orders add up, and a case of long ago is resolved.
    for client in (admin, keeping):
        resolved = {"kind": "INTERACTION_KIND_COMPLAINT", "case_state": "CASE_STATE_RESOLVED"}
        new = [row for n in range(CUSTOMERS) for row in (
            facts.order(f"c{n}", "new", days=-399, cents=5_000 + n),
            *(facts.interaction(f"c{n}", f"resolved-{case}", days=-399, about=f"case {case}", **resolved) for case in range(3)))]
        questions.wait_for(client, questions.take_in(client, *new).facts_position, None)
    assert_same_features(admin, keeping)
    assert all(features.open_complaints == 0 for features in features_of(admin, [f"c{n}" for n in range(CUSTOMERS)]).values())
    # Kept for ever again: nothing comes back, nothing more goes.
    before = facts_of(admin, "c1"), retention(admin).order_horizon_time
    assert keep(admin).complete
    questions.set_clock(admin, facts.AS_OF + timedelta(days=800))
    assert (facts_of(admin, "c1"), retention(admin).order_horizon_time) == before


def what_is_older_than_the_horizon_is_refused_and_what_is_not_is_taken_in(fresh):
    admin = fresh.client("admin")
    keep(admin, order_days=731)
    wait_until_dropped(admin)
    rows = [facts.order("ann", "at", days=731), facts.order("ann", "before", order_time="1996-06-29T23:59:59.999999Z"),
            facts.refund("ann", "refund", days=732), facts.interaction("ann", "visit", days=2_000), facts.feedback("ann", "word", days=2_000)]
    request = facts.batch(*rows)
    answer = admin.call("IngestService/IngestBatch", request)
    assert [(each.row, facts.reason_of(each), each.field) for each in answer.rejects] == [
        (1, "TOO_OLD", "order.order_time"), (2, "TOO_OLD", "refund.refund_time")], answer
    assert answer.applied == 3
    questions.wait_for(admin, answer.facts_position)
    assert facts_of(admin, "ann") == {("order", "at"), ("interaction", "visit"), ("feedback", "word")}
    # A copy of what was dropped is refused rather than counted again.
    questions.set_clock(admin, facts.AS_OF + timedelta(days=1))
    waiting.until(lambda: facts_of(admin, "ann") == {("interaction", "visit"), ("feedback", "word")}, "the order to go")
    again = admin.call("IngestService/IngestBatch", facts.batch(rows[0]))
    assert (again.applied, again.duplicates, len(again.rejects)) == (0, 0, 1), again
    # The request that brought it is known: nothing that was taken in then is refused now.
    repeated = admin.call("IngestService/IngestBatch", request)
    assert (repeated.applied, repeated.duplicates, [each.row for each in repeated.rejects]) == (0, 5, []), repeated
    assert questions.features(admin, questions.find(admin, "ann")).orders == 1


def merged_parted_and_erased_customers_have_the_balances_of_their_identities(fresh):
    admin, keeping = with_two_tenants(fresh)
    rows = all_rows()
    names = {}
    for client in (admin, keeping):
        questions.wait_for(client, questions.take_in(client, *rows).facts_position)
        names[client] = [questions.find(client, f"c{n}") for n in range(CUSTOMERS)]
    keep(admin, **DAYS)
    wait_until_dropped(admin)
    pairs = [(n, n + 1) for n in range(0, CUSTOMERS, 2)]
    merges = {client: [client.call("IdentityService/MergeCustomers", {"customer": names[client][one], "other": names[client][other]})
                       for one, other in pairs] for client in (admin, keeping)}
    for client in (admin, keeping):
        questions.wait_for(client, merges[client][-1].facts_position)
    lifetime = [(features.orders, features.gross_revenue, features.purchase_days, features.interactions, features.feedback_count)
                for features in features_of(admin, [f"c{one}" for one, _ in pairs]).values()]
    assert lifetime == [(features.orders, features.gross_revenue, features.purchase_days, features.interactions, features.feedback_count)
                        for features in features_of(keeping, [f"c{one}" for one, _ in pairs]).values()]
    for client in (admin, keeping):
        for merged in merges[client]:
            position = client.call("IdentityService/UnmergeCustomers", {"name": merged.name}).facts_position
        questions.wait_for(client, position)
    assert_same_features(admin, keeping)
    # Nothing is left of who is erased.
    erasure = admin.call("PrivacyService/EraseCustomer", {"name": names[admin][1]})
    waiting.until(lambda: admin.call("PrivacyService/GetErasure", {"name": erasure.name}).HasField("complete_time"), "the erasure")
    assert all(each.remaining == 0 for each in admin.call("PrivacyService/GetErasure", {"name": erasure.name}).receipts)
    questions.wait_for(admin, questions.take_in(admin, facts.order("c1", "after")).facts_position)
    assert questions.features(admin, questions.find(admin, "c1")).orders == 1


def what_is_left_of_dropped_facts_is_given_to_the_person(fresh):
    admin = fresh.client("admin")
    lines = [{"product": "p", "category": category, "amount": facts.dollars(cents)} for category, cents in (("tea", 400), ("pots", 100))]
    opened = {"kind": "INTERACTION_KIND_COMPLAINT", "case_state": "CASE_STATE_OPENED", "about": "case 7"}
    rows = [facts.order("ann", "o1", days=2_000, cents=500, lines=lines, profit=facts.dollars(120)),
            facts.order("ann", "o2", days=1_500, cents=900), facts.refund("ann", "r1", days=1_400, cents=950),
            facts.interaction("ann", "i1", days=1_300, **opened), facts.feedback("ann", "f1", days=1_200, score=4),
            facts.feedback("ann", "f2", days=1_100, kind="FEEDBACK_KIND_NPS", score=9), facts.order("ann", "new", days=3, cents=50),
            *(facts.feedback("ann", f"f{days}", days=days, kind="FEEDBACK_KIND_STARS", score=score)
              for days, score in ((1_170, 1), (1_150, 2), (1_120, 3)))]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    name = questions.find(admin, "ann")
    assert not given(admin, name).HasField("opening_balance")
    keep(admin, **DAYS)
    wait_until_dropped(admin)
    assert questions.features(admin, name).last_low_score_time.ToJsonString() == facts.days_before(1_150)
    admin.call("PrivacyService/RestrictProcessing", {"name": name})
    export = given(admin, name)
    held = export.opening_balance
    assert (export.restricted, [order.event_id for order in export.orders]) == (True, ["new"])
    assert (held.orders, held.refunds, held.interactions, held.feedback_count) == (2, 1, 1, 5)
    moneys = (held.gross_revenue, held.profit, held.first_date_revenue, held.refunded, held.unmatched_refunds)
    assert [facts.cents_of(money) for money in moneys] == [1_400, 120, 500, 950, 0]
    assert {each.category: facts.cents_of(each.revenue) for each in held.categories} == {"tea": 400, "pots": 100}
    assert (held.csat_count, held.csat_sum, held.last_nps) == (1, 4, 9)
    assert [(each.complaint, each.source, each.about, each.resolved) for each in held.cases] == [(True, facts.SOURCE, "case 7", False)]
    times = {"first_order_time": 2_000, "last_order_time": 1_500, "last_interaction_time": 1_300, "last_nps_time": 1_100,
             "last_low_score_time": 1_150}
    for field, days in times.items():
        assert getattr(held, field).ToJsonString() == facts.days_before(days), field
    assert [facts.days_before(days)[:10] for days in (2_000, 1_500)] == [
        f"{date.year:04}-{date.month:02}-{date.day:02}" for date in held.purchase_dates]


def given(client, name):
    """Everything that is held about a person, in one message."""
    parts = list(client.start("PrivacyService/ExportPersonalData", [{"name": name}], seconds=waiting.SECONDS))
    assert parts[-1].complete
    whole = type(parts[0])()
    for part in parts:
        whole.MergeFrom(part)
    return whole


def killed_while_it_drops_a_suite_drops_the_rest_and_counts_nothing_twice(backend):
    for point in ("retention::before_commit", AFTER_COMMIT):
        with quintile.suite(backend, started=False) as suite:
            suite.start(failpoints=f"{point}=1*off->1*return")
            admin = suite.client("admin")
            rows = [facts.order(f"c{n}", f"{n}-{order}", days=800 + order, cents=100 + order) for n in range(500) for order in range(12)]
            rows += [facts.order(f"c{n}", f"{n}-new", days=10, cents=50) for n in range(500)]
            questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
            keep(admin, order_days=731)
            waiting.until(lambda suite=suite, point=point: suite.has_logged(f"failpoint {point} reached"), f"{point} to be reached")
            added = {"c1": (1, 9)}
            if point == AFTER_COMMIT:  # Before it, SQLite has one writer, and that is held up.
                questions.take_in(admin, facts.order("c0", "meanwhile", days=5, cents=7))
                added["c0"] = (1, 7)
            suite.kill()
            suite.start()
            admin = suite.client("admin")
            wait_until_dropped(admin)
            questions.wait_for(admin, questions.take_in(admin, facts.order("c1", "afterwards", days=5, cents=9)).facts_position)
            for n in range(0, 500, 7):
                more, cents = added.get(f"c{n}", (0, 0))
                features = questions.features(admin, questions.find(admin, f"c{n}"))
                expected = (13 + more, sum(100 + order for order in range(12)) + 50 + cents)
                assert (features.orders, facts.cents_of(features.gross_revenue)) == expected, f"c{n} after {point}"
                assert len(facts_of(admin, f"c{n}")) == 1 + more


def windows_of_traits_are_never_cut_short(fresh):
    admin = fresh.client("admin")
    traits.done(admin, traits.define(admin, "long", "ORDER", "COUNT", window_days=1_000))
    traits.done(admin, traits.define(admin, "visits", "INTERACTION", "COUNT", window_days=3_000))
    request = {"retention": {"order_days": 999}}
    refusal = admin.refused("RetentionService/UpdateRetention", request).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert "traits/long" in refusal.message
    keep(admin, order_days=1_000)
    too_long = {"trait_id": "longer", "trait": traits.definition("ORDER_LINE", "COUNT", window_days=1_001)}
    admin.refused("TraitService/CreateTrait", too_long).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    traits.done(admin, traits.define(admin, "lifetime", "ORDER", "COUNT"))


@pytest.mark.parametrize("wrong", [{"order_days": 730}, {"interaction_days": -1}, {"feedback_days": 36_501}, {"order_days": 1}])
def days_out_of_range_are_refused(shared, wrong):
    (field, _), = wrong.items()
    refusal = shared.client("admin").refused("RetentionService/UpdateRetention", {"retention": wrong})
    refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert [each.field for each in refusal.bad_request.field_violations] == [f"retention.{field}"]


def who_may_say_for_how_long_facts_are_kept(shared):
    admin = shared.client("admin")
    admin.refused("RetentionService/UpdateRetention", {}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    first = keep(admin, feedback_days=20_000)
    stale = {"retention": {"feedback_days": 20_001, "etag": f'"{uuid.uuid4().hex}"'}}
    admin.refused("RetentionService/UpdateRetention", stale).must_be(ABORTED, "STALE_ETAG")
    second = keep(admin, feedback_days=20_001, etag=first.etag)
    assert second.etag != first.etag and retention(shared.client("analyst")).feedback_days == 20_001
    for role in ("marketer", "support", "analyst"):
        shared.client(role).refused("RetentionService/UpdateRetention", stale).must_be(PERMISSION_DENIED, "METHOD_DENIED")
