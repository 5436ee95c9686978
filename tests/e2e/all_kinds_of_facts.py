"""Every kind of fact: what it amounts to, how it waits for what it needs, and what becomes of rows that were refused."""
import itertools
import subprocess
from datetime import timedelta

import pytest

from support import facts, policies, questions, quintile, waiting
from support.refusals import INVALID_ARGUMENT, NOT_FOUND

EURO_DAY = (facts.AS_OF - timedelta(days=9)).date()


@pytest.fixture
def service(shared):
    return shared.client("service")


def money(units, currency="USD", cents=0):
    return {"currency_code": currency, "units": units, "nanos": cents * 10_000_000}


def features_of(client, customer):
    return questions.features(client, questions.find(client, customer))


def listed(client, customer, **request):
    name = questions.find(client, customer)
    return questions.everything(client, "FactService/ListCustomerFacts", "facts", parent=name, **request)


def kind_and_id(fact):
    kind = next(field.name for field, _ in fact.ListFields() if field.name != "customer")
    return kind, getattr(fact, kind).event_id


def waiting_of(client, customer, reason):
    """{event id: cents that wait, or None} of a customer's facts that wait."""
    name = questions.find(client, customer)
    found = questions.everything(client, "FactService/ListWaitingFacts", "facts", reason=f"WAITING_REASON_{reason}", page_size=1_000)
    return {kind_and_id(each.fact)[1]: facts.cents_of(each.waiting_amount) if each.HasField("waiting_amount") else None
            for each in found if each.fact.customer == name}


def history(customer):
    """Facts of every kind of one customer, with everything that they may say."""
    line = {"product": "teapot", "category": "kitchen", "quantity": 2, "amount": money(60), "cost": money(25)}
    return [
        facts.order(customer, "o1", days=200, cents=10_000, lines=[line], channel="store"),
        facts.order(customer, "o2", days=40, cents=4_000, profit=money(15), channel="online"),
        facts.refund(customer, "r1", days=20, cents=2_500, order_event_id="o2"),
        facts.interaction(customer, "i1", days=30, channel="store", about="teapots", text="looked at\nteapots"),
        facts.interaction(customer, "i2", days=3, kind="INTERACTION_KIND_COMPLAINT", about="case 1", case_state="CASE_STATE_OPENED"),
        facts.interaction(customer, "i3", days=2, kind="INTERACTION_KIND_SUPPORT_TICKET", about="t1", case_state="CASE_STATE_OPENED"),
        facts.feedback(customer, "f1", days=10, score=2, about="o2", channel="survey", text="it leaks"),
        facts.feedback(customer, "f2", days=5, kind="FEEDBACK_KIND_NPS", score=0),
        facts.feedback(customer, "f3", days=4, score=4),
    ]


def every_kind_counts_and_is_listed_as_it_came_newest_first(service, new):
    rows = history(new)
    questions.take_in(service, *rows)
    got = features_of(service, new)
    assert [facts.cents_of(each) for each in (got.gross_revenue, got.refunded, got.net_revenue, got.unmatched_refunds)] == [
        14_000, 2_500, 11_500, 0]
    assert (got.orders, got.refunds, got.interactions, got.feedback_count) == (2, 1, 3, 3)
    assert (facts.cents_of(got.profit), facts.cents_of(got.repeat_revenue)) == (10_000 - 2_500 + 1_500, 4_000)
    assert (got.top_category, got.category_count, got.csat_mean, got.last_nps) == ("kitchen", 1, 3.0, 0)
    assert got.HasField("last_nps"), "a willingness of 0 is one"
    assert got.last_low_score_time.ToJsonString() == facts.days_before(5)
    assert (got.complaints, got.open_complaints, got.open_tickets) == (1, 1, 1)
    # Of the last 30 days, which begin with the instant 30 days ago.
    assert (facts.cents_of(got.windows[0].revenue), got.windows[0].interactions) == (-2_500, 3)
    assert got.primary_channel == "store"

    seen = [kind_and_id(fact) for fact in listed(service, new)]
    assert seen == [("interaction", "i3"), ("interaction", "i2"), ("feedback", "f3"), ("feedback", "f2"), ("feedback", "f1"),
                    ("refund", "r1"), ("interaction", "i1"), ("order", "o2"), ("order", "o1")]
    by_id = {kind_and_id(fact)[1]: fact for fact in listed(service, new)}
    assert by_id["i1"].interaction.text == "looked at\nteapots" and by_id["f1"].feedback.text == "it leaks"
    assert by_id["o1"].order.lines[0].category == "kitchen" and by_id["r1"].refund.order_event_id == "o2"
    assert not by_id["i2"].interaction.HasField("text") and by_id["f2"].feedback.score == 0
    assert by_id["o1"].order.customer.id == new
    for size, kind in itertools.product((1, 2, 4), (0, 1, 3)):
        whole = [kind_and_id(fact) for fact in listed(service, new, kind=kind)]
        assert [kind_and_id(fact) for fact in listed(service, new, page_size=size, kind=kind)] == whole and whole


def facts_of_one_instant_are_each_listed_once_whatever_the_page(service, new):
    rows = [make(new, f"e{n}", days=7) for make in (facts.order, facts.refund, facts.interaction, facts.feedback) for n in range(3)]
    questions.take_in(service, *rows)
    whole = [kind_and_id(fact) for fact in listed(service, new)]
    assert len(set(whole)) == len(whole) == len(rows)
    for size in (1, 2, 3, 5):
        assert [kind_and_id(fact) for fact in listed(service, new, page_size=size)] == whole


def the_order_of_arrival_does_not_show(service, new):
    first, second = f"{new}-1", f"{new}-2"
    questions.take_in(service, *history(first))
    for row in reversed(history(second)):
        questions.take_in(service, row)
    one, other = features_of(service, first), features_of(service, second)
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def a_refund_before_its_purchase_counts_once_the_purchase_is_there(service, new):
    questions.take_in(service, facts.refund(new, "r", days=3, cents=300, order_event_id="o"))
    assert waiting_of(service, new, "NO_PURCHASE") == {"r": 300}
    assert facts.cents_of(features_of(service, new).unmatched_refunds) == 300
    questions.take_in(service, facts.order(new, "o", days=5, cents=1_000))
    assert waiting_of(service, new, "NO_PURCHASE") == {}
    got = features_of(service, new)
    assert (facts.cents_of(got.net_revenue), facts.cents_of(got.unmatched_refunds)) == (700, 0)


def refunds_take_back_no_more_than_their_purchase_and_the_excess_is_listed(service, new):
    questions.take_in(service, facts.order(new, "o", days=5, cents=1_000), facts.order(new, "other", days=5, cents=5_000),
                      facts.refund(new, "r1", days=4, cents=800, order_event_id="o"),
                      facts.refund(new, "r2", days=3, cents=800, order_event_id="o"))
    assert waiting_of(service, new, "NO_PURCHASE") == {"r2": 600}
    assert facts.cents_of(features_of(service, new).net_revenue) == 5_000


def a_fact_in_another_currency_waits_for_the_rate_of_its_day(service, new):
    questions.take_in(service, facts.order(new, "dollars", days=9, cents=100),
                      facts.order(new, "francs", days=9, amount=money(50, "CHF", 10)),
                      facts.refund(new, "back", days=8, amount=money(10, "CHF"), order_event_id="francs"))
    assert waiting_of(service, new, "NO_EXCHANGE_RATE") == {"francs": None, "back": None}
    got = features_of(service, new)
    assert (got.facts_without_rate, got.orders, facts.cents_of(got.gross_revenue)) == (2, 1, 100)

    answer = questions.take_in(service, facts.rate("CHF", EURO_DAY, "0.7"))
    # The refund is converted at the rate of its purchase: that of its own day is not asked for.
    assert waiting_of(service, new, "NO_EXCHANGE_RATE") == {}
    questions.wait_for(service, answer.facts_position)
    got = features_of(service, new)
    assert (got.facts_without_rate, got.orders) == (0, 2)
    assert [facts.cents_of(each) for each in (got.gross_revenue, got.refunded)] == [100 + 3_507, 700]

    corrected = questions.take_in(service, facts.rate("CHF", EURO_DAY, "0.75"))
    questions.wait_for(service, corrected.facts_position)
    # 50.10 francs at 0.75 are 37.575 dollars: halves go to the even cent.
    assert facts.cents_of(features_of(service, new).gross_revenue) == 100 + 3_758
    again = service.call("IngestService/IngestBatch", facts.batch(facts.rate("CHF", EURO_DAY, "0.750")))
    assert (again.applied, again.duplicates) == (0, 1)
    rates = questions.everything(service, "FactService/ListExchangeRates", "exchange_rates", page_size=1)
    assert [each.rate for each in rates if each.currency_code == "CHF"] == ["0.75"]


def what_was_refused_for_its_body_does_not_wait(service, new):
    questions.take_in(service, facts.order(new, "o", days=9))
    assert refused(service, facts.order(new, "o", days=9, amount=money(5, "NOK")))
    assert waiting_of(service, new, "NO_EXCHANGE_RATE") == {}


def a_purchase_in_another_currency_that_is_given_back_whole_comes_to_nothing(service, new):
    day = EURO_DAY + timedelta(days=2)
    questions.take_in(service, facts.rate("SEK", EURO_DAY, "0.1"), facts.rate("SEK", day, "0.2"),
                      facts.order(new, "o", days=9, amount=money(1_000, "SEK")),
                      facts.refund(new, "r", days=7, amount=money(1_000, "SEK"), order_event_id="o"))
    got = features_of(service, new)
    assert [facts.cents_of(each) for each in (got.gross_revenue, got.refunded, got.unmatched_refunds)] == [10_000, 10_000, 0]


def nor_is_there_a_cent_left_of_one_that_is_given_back_in_parts(service, new):
    # A krona of this day is 33.5 cents, and a tenth of it 3.35.
    day = EURO_DAY - timedelta(days=3)
    questions.take_in(service, facts.rate("DKK", day, "0.335"), facts.order(new, "o", days=12, amount=money(1, "DKK")),
                      *(facts.refund(new, f"r{n}", days=5 - n / 10, amount=money(0, "DKK", 10), order_event_id="o") for n in range(10)))
    got = features_of(service, new)
    assert [facts.cents_of(each) for each in (got.gross_revenue, got.refunded, got.unmatched_refunds, got.net_revenue)] == [34, 34, 0, 0]
    questions.take_in(service, facts.refund(new, "too-much", days=1, amount=money(1, "DKK"), order_event_id="o"))
    got = features_of(service, new)
    assert [facts.cents_of(each) for each in (got.refunded, got.unmatched_refunds)] == [34, 33]


def a_refund_that_is_earlier_than_its_purchase_takes_nothing_from_others(service, new):
    questions.take_in(service, facts.order(new, "first", days=30, cents=5_000), facts.order(new, "later", days=10, cents=10_000),
                      facts.refund(new, "r1", days=29, cents=10_000, order_event_id="later"),
                      facts.refund(new, "r2", days=28, cents=5_000, order_event_id="first"))
    assert waiting_of(service, new, "NO_PURCHASE") == {}
    assert facts.cents_of(features_of(service, new).net_revenue) == 0


def spend_is_listed_as_it_came_and_known_again(service, new):
    start, end = EURO_DAY, EURO_DAY + timedelta(days=30)
    rows = [facts.spend(f"{new}-{n}", start, end, cents=n, source=f"ads-{new}") for n in range(3)]
    questions.take_in(service, *rows)
    again = service.call("IngestService/IngestBatch", facts.batch(*rows))
    assert (again.applied, again.duplicates) == (0, 3)
    found = questions.everything(service, "FactService/ListAcquisitionSpend", "acquisition_spend", page_size=2)
    mine = [each for each in found if each.source == f"ads-{new}"]
    assert [(each.event_id, facts.cents_of(each.amount), each.campaign) for each in mine] == [(f"{new}-{n}", n, "spring") for n in range(3)]
    assert (mine[0].start_date.day, mine[0].end_date.month) == (start.day, end.month)


EVENTS = {"order": facts.order, "refund": facts.refund, "interaction": facts.interaction, "feedback": facts.feedback}


@pytest.mark.parametrize("kind", EVENTS)
def the_same_fact_again_changes_nothing_and_another_body_is_refused_with_its_row(service, new, kind):
    make = EVENTS[kind]
    questions.take_in(service, make(new, "e", days=5))
    request = facts.batch(make(new, "e", days=5), make(new, "e", days=6))
    answer = service.call("IngestService/IngestBatch", request)
    assert (answer.applied, answer.duplicates, [each.row for each in answer.rejects]) == (0, 1, [1])
    assert answer.rejects[0].field == f"{kind}.event_id"
    # The ids of kinds are apart.
    others = [other(new, "e", days=5) for name, other in EVENTS.items() if name != kind]
    questions.take_in(service, *others)
    rejected = service.call("IngestService/GetReject", {"name": reject_of(service, request).name})
    assert getattr(rejected, kind).event_id == "e" and rejected.known_customer == questions.find(service, new)


def a_complaint_puts_at_risk_until_it_is_resolved_and_segments_know_it(service, new):
    rows = [facts.order(new, f"o{n}", days=10 * n + 1) for n in range(6)]
    complaint = {"kind": "INTERACTION_KIND_COMPLAINT", "about": "case"}
    answer = questions.take_in(service, *rows, facts.interaction(new, "i1", days=2, case_state="CASE_STATE_OPENED", **complaint))
    name = questions.find(service, new)
    questions.wait_for(service, answer.facts_position)
    complaining = questions.save_segment(service, f"complaining-{new}", "open_complaints >= 1 && interactions_90 == 1")
    assert questions.stage(service, name) == "AT_RISK" and questions.is_member(service, complaining, name)
    answer = questions.take_in(service, facts.interaction(new, "i2", days=1, case_state="CASE_STATE_RESOLVED", **complaint))
    questions.wait_for(service, answer.facts_position)
    assert questions.stage(service, name) == "LOYAL" and not questions.is_member(service, complaining, name)


def reject_of(client, request):
    """The one reject of a batch."""
    rejects = questions.everything(client, "IngestService/ListRejects", "rejects", page_size=1_000)
    found = [each for each in rejects if each.stream_id == request["request_id"]]
    assert len(found) == 1, found
    return found[0]


def refused(client, row):
    """A batch of one row that is refused, and its reject."""
    request = facts.batch(row)
    answer = client.call("IngestService/IngestBatch", request)
    assert (answer.applied, len(answer.rejects)) == (0, 1), answer
    return reject_of(client, request)


def a_refused_row_is_taken_in_when_it_was_corrected(service, new):
    reject = refused(service, facts.order(new, "e", cents=700, channel="\u0001"))
    shown = service.call("IngestService/GetReject", {"name": reject.name})
    assert facts.cents_of(shown.order.amount) == 700 and shown.reject == reject and shown.known_customer == ""

    wrong = service.call("IngestService/ReplayReject", {"name": reject.name, "row": facts.order(new, "", cents=700)})
    assert (wrong.applied, [each.field for each in wrong.rejects]) == (0, ["order.event_id"])
    still = service.call("IngestService/GetReject", {"name": reject.name})
    assert still.reject.reject.field == "order.event_id" and still.order.event_id == ""

    right = service.call("IngestService/ReplayReject", {"name": reject.name, "row": facts.order(new, "e", cents=700)})
    assert (right.applied, list(right.rejects)) == (1, [])
    assert facts.cents_of(features_of(service, new).net_revenue) == 700
    for method in ("GetReject", "ReplayReject", "DeleteReject"):
        service.refused(f"IngestService/{method}", {"name": reject.name}).must_be(NOT_FOUND, "NOT_FOUND")


def a_refused_row_is_taken_in_as_it_was_when_what_it_lacked_is_there(shared, service, new):
    admin = shared.client("admin")
    row = facts.customer(new, custom_attributes=[{"key": f"size-{new}", "text": "XL"}])
    reject = refused(service, row)
    again = service.call("IngestService/ReplayReject", {"name": reject.name})
    assert (again.applied, len(again.rejects)) == (0, 1)
    admin.call("AttributeService/CreateAttribute", {"attribute_id": f"size-{new}", "attribute": {"sensitivity": "SENSITIVITY_NONE"}})
    replayed = waiting.until(lambda: next(iter(a for a in [service.call("IngestService/ReplayReject", {"name": reject.name})]
                                               if a.applied), None), "the attribute to be known everywhere")
    assert list(replayed.rejects) == []
    customer = admin.call("CustomerService/GetCustomer", {"name": questions.find(service, new)})
    assert [each.text for each in customer.custom_attributes] == ["XL"]


def a_refused_row_that_is_dropped_is_gone(service, new):
    reject = refused(service, facts.order(new, ""))
    service.call("IngestService/DeleteReject", {"name": reject.name})
    service.refused("IngestService/GetReject", {"name": reject.name}).must_be(NOT_FOUND, "NOT_FOUND")
    assert reject.name not in [each.name for each in questions.everything(service, "IngestService/ListRejects", "rejects")]


def a_refused_row_of_a_customer_out_of_reach_is_not_shown(shared, service, new):
    admin = shared.client("admin")
    attributes = {"kind": "CUSTOMER_KIND_CUSTOMER", "owner": "bob"}
    questions.take_in(service, facts.customer(new, attributes=attributes))
    reject = refused(service, facts.order(new, ""))
    role, absent = f"pipelines-{new}", {"name": "rejects/999999999"}
    policies.publish(admin, policies.role_like(admin, "data-engineer", role, without=policies.TAKING_IN,
                                               row_scope="owner == caller.subject"))
    bob, ann = (policies.client_of(shared, role, subject) for subject in ("bob", "ann"))
    shown = bob.call("IngestService/GetReject", {"name": reject.name})
    assert (shown.known_customer, shown.order.customer.id) == ("", "****")
    refusal = ann.refused("IngestService/GetReject", {"name": reject.name}).must_be(NOT_FOUND, "NOT_FOUND")
    assert refusal.answer == ann.refused("IngestService/GetReject", absent).answer


def the_operators_command_lists_shows_replays_and_drops_refused_rows(shared, service, new):
    key = f"colour-{new}"
    request = facts.batch(*(facts.customer(f"{new}-{n}", custom_attributes=[{"key": key, "text": "red"}]) for n in range(2)),
                          facts.order(new, ""))
    assert len(service.call("IngestService/IngestBatch", request).rejects) == 3
    stream = ("--stream-id", request["request_id"])

    def run(*arguments):
        command = [quintile.binary(), "rejects", *arguments, "--data-dir", str(shared.data)]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    listed = run("list", *stream)
    assert listed.stdout.count("rejects/") == 3 and "order.event_id" in listed.stdout, listed
    broken = reject_with(service, request, "order.event_id")
    assert '"eventId": ""' in run("show", broken).stdout
    again = run("replay", broken)
    assert (again.returncode, again.stdout) == (1, "0 taken in, 1 refused again\n"), again
    assert run("drop", broken).stdout == "1 dropped\n"
    shared.client("admin").call("AttributeService/CreateAttribute",
                                {"attribute_id": key, "attribute": {"sensitivity": "SENSITIVITY_NONE"}})
    waiting.until(lambda: run("replay", *stream).returncode == 0, "the attribute to be known everywhere")
    assert run("show", broken).returncode == 3 and "rejects/" not in run("list", *stream).stdout


def reject_with(client, request, field):
    rejects = questions.everything(client, "IngestService/ListRejects", "rejects", page_size=1_000)
    return next(each.name for each in rejects if each.stream_id == request["request_id"] and each.reject.field == field)


MALFORMED = {
    "a parent that is none": ("FactService/ListCustomerFacts", {"parent": "customers/x"}),
    "no parent": ("FactService/ListCustomerFacts", {}),
    "a kind that nobody knows": ("FactService/ListCustomerFacts", {"parent": "customers/1", "kind": 99}),
    "a page size below zero": ("FactService/ListCustomerFacts", {"parent": "customers/1", "page_size": -1}),
    "a page token that is none": ("FactService/ListCustomerFacts", {"parent": "customers/1", "page_token": "x"}),
    "no reason": ("FactService/ListWaitingFacts", {}),
    "a reason that nobody knows": ("FactService/ListWaitingFacts", {"reason": 99}),
    "rates, a page size below zero": ("FactService/ListExchangeRates", {"page_size": -1}),
    "spend, a page token that is none": ("FactService/ListAcquisitionSpend", {"page_token": "x"}),
    "a reject's name that is none": ("IngestService/GetReject", {"name": "rejects/x"}),
    "a reject's name below zero": ("IngestService/DeleteReject", {"name": "rejects/-1"}),
    "a reject without a name": ("IngestService/ReplayReject", {}),
}


@pytest.mark.parametrize("wrong", MALFORMED)
def a_malformed_request_is_an_invalid_argument(service, wrong):
    method, request = MALFORMED[wrong]
    reason = "INVALID_TOKEN" if "page_token" in request else "INVALID_FIELD"
    service.refused(method, request).must_be(INVALID_ARGUMENT, reason)


def a_page_token_belongs_to_its_customer_and_kind(service, new):
    for customer in (f"{new}-1", f"{new}-2"):
        questions.take_in(service, *(facts.order(customer, f"e{n}") for n in range(3)))
    ask = {"parent": questions.find(service, f"{new}-1"), "page_size": 1}
    token = service.call("FactService/ListCustomerFacts", ask).next_page_token
    assert token
    for other in ({"parent": questions.find(service, f"{new}-2")}, {"kind": "FACT_KIND_ORDER"}):
        service.refused("FactService/ListCustomerFacts", ask | other | {"page_token": token}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
