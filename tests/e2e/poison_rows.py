"""Rows at the edge of what can be, and steps that panic: neither stops a stream, a worker, or what others send."""
import uuid
from datetime import date, timedelta

import pytest

from support import facts, questions, quintile, sales, waiting
from support.ingest_stream import connection
from support.refusals import INTERNAL, Refusal

DAY = facts.AS_OF.date()
MOST = {"units": 10_000_000_000_000, "nanos": 0}  # As many cents as an amount may have.
WIDE = "\U0001f9ff" * 64  # 256 bytes.
STREAM, BATCHES = "sales", 4
STEPS = ["intake::before_commit", "intake::before_answers", "features::before_begin",
         *(f"{feed}::{place}" for feed in ("features", "scores", "stages", "records") for place in ("before_commit", "after_commit"))]


def dollars(**parts):
    return {"currency_code": "USD"} | parts


def line(**fields):
    return {"product": "teapot", "quantity": 1} | fields


# {what is extreme: rows of one customer}. Whether they are taken in or refused is not the point.
EXTREMES = {
    "the largest amounts": [facts.order("?", f"e{n}", amount=dollars(**MOST)) for n in range(3)],
    "amounts beyond the largest": [facts.order("?", "e", amount=dollars(units=92_233_720_368_547_758, nanos=70_000_000))],
    "the largest amounts of a currency with a rate that is as large": [
        facts.rate("JPY", DAY - timedelta(days=3), "999999999.999999999"),
        *(facts.order("?", f"e{n}", days=3, amount={"currency_code": "JPY", "units": 10**15}) for n in range(3)),
        facts.refund("?", "r", days=2, amount={"currency_code": "JPY", "units": 10**15}, order_event_id="e0")],
    "amounts that a rate makes nothing of": [
        facts.rate("KWD", DAY - timedelta(days=4), "0.000000001"),
        facts.order("?", "e", days=4, amount={"currency_code": "KWD", "units": 0, "nanos": 1_000_000})],
    "the greatest loss": [facts.order("?", f"e{n}", profit=dollars(units=-10_000_000_000_000)) for n in range(3)],
    "lines of everything": [facts.order("?", "e", lines=[line(quantity=2**31 - 1, amount=dollars(**MOST), cost=dollars(**MOST))] * 200)],
    "more given back than was ever bought": [facts.refund("?", f"e{n}", amount=dollars(**MOST)) for n in range(3)],
    "the first and the last instant": [facts.order("?", "first", order_time="1970-01-01T00:00:00Z"),
                                       facts.order("?", "last", order_time="1998-07-01T00:05:00Z"),
                                       facts.order("?", "fine", order_time="1998-06-01T00:00:00.999999999Z")],
    "spend of ten years": [facts.spend("?", DAY - timedelta(days=3_653), DAY, amount=dollars(**MOST))],
    "texts of the longest": [facts.order("?", WIDE, channel=WIDE, lines=[line(product=WIDE, category=WIDE)]),
                             facts.feedback("?", WIDE, about=WIDE, text="\U0001f9ff" * 1_024)],
    "a birthday at the end of time": [facts.customer("?", birth_date=facts.date_of(date(9999, 12, 31)))],
    "one instant again and again": [facts.order("?", f"e{n}", days=5) for n in range(2_000)],
}


def of(rows, customer):
    """The rows, of this customer."""
    named = []
    for row in rows:
        (kind, fact), = row.items()
        if "customer" in fact:
            fact = fact | {"customer": facts.identity(customer)}
        elif "identities" in fact:
            fact = fact | {"identities": [facts.identity(customer)]}
        named.append({kind: fact})
    return named


@pytest.mark.parametrize("extreme", EXTREMES)
def a_row_at_the_edge_is_taken_in_or_refused_alone(shared, extreme):
    admin, new = shared.client("admin"), uuid.uuid4().hex
    rows = [facts.order(f"{new}-good", "one"), *of(EXTREMES[extreme], f"{new}-extreme"), facts.order(f"{new}-good", "two")]
    with connection(admin, new) as stream:
        answer = stream.send(0, rows)
        assert answer.applied + len(answer.rejects) == len(rows), answer
        assert not {0, len(rows) - 1} & {reject.row for reject in answer.rejects}, answer
        last = stream.send(1, [facts.order(f"{new}-good", "three")])
    # Every service of the chain gets past it, and can say what became of whom.
    questions.wait_for(admin, last.facts_position)
    good, extremes = questions.find(admin, f"{new}-good"), [reject.row for reject in answer.rejects]
    assert questions.features(admin, good).orders == 3
    questions.distribution(admin)
    admin.call("StageService/GetFunnel")
    if len(extremes) < len(rows) - 2 and "spend" not in extreme:  # What was spent is nobody's.
        name = questions.find(admin, f"{new}-extreme")
        questions.features(admin, name)
        questions.scores(admin, name)
        questions.stage(admin, name)
        questions.label(admin, name)
        admin.call("ProfileService/GetProfile", {"name": f"{name}/profile"})
    assert not shared.has_logged("panicked"), shared.log_tail()


def send_whatever_happens(client, stream_id, batches):
    """Sends batches, each again until it is acknowledged, and each when the one before it has gone all the way."""
    refusals = []
    for number in range(batches):
        while True:
            try:
                with connection(client, stream_id) as stream:
                    answer = stream.send(number, sales.batch(number))
                    break
            except Refusal as refusal:
                refusals.append(refusal)
                assert len(refusals) < 10, refusals
        questions.wait_for(client, answer.facts_position)
        assert questions.preview(client, f"orders == {number + 1}").customers == sales.CUSTOMERS
    return refusals


def a_step_that_panics_is_done_again_and_stops_nothing(backend):
    with quintile.suite(backend, started=False) as suite:
        admin = suite.start(failpoints=";".join(f"{step}=1*off->1*panic" for step in STEPS)).client("admin")
        listeners = sales.Listeners()
        segment = admin.call("SegmentService/CreateSegment", {"segment_id": "returning", "segment": {"expression": sales.RETURNING}})
        with listeners.listening(admin):
            refusals = send_whatever_happens(admin, STREAM, BATCHES)
        waiting.until(lambda: all(suite.has_logged(f"failpoint {step} panic") for step in STEPS), suite.log_tail)
        # Whoever brought what panicked is told; the chain behind it is nobody's call.
        assert [refusal.code for refusal in refusals] == [INTERNAL, INTERNAL], refusals
        sales.finish(admin, STREAM, 0, BATCHES)
        sales.assert_all_is_there_once(admin, BATCHES)
        listeners.assert_nothing_was_missed(admin, BATCHES, segment.name)
