"""One bad row rejects that row only, says why, is kept with its reason, and its value is never echoed."""
import uuid
from datetime import timedelta

import pytest

from support import facts, questions

CANARY = "wrenfeather-8841"
MONEY = "INVALID_MONEY"
TIME = "INVALID_TIME"
DAY = facts.AS_OF.date()
FIELD = "INVALID_FIELD"


def paying(**money):
    return facts.order("bad", "bad", amount=money)


def bought_at(text):
    return facts.order("bad", "bad", order_time=text)


def named(text):
    return facts.order("bad", text)


def without(field):
    row = facts.order("bad", "bad")
    del row["order"][field]
    return row


def person(**fields):
    return facts.customer(f"bad-{CANARY}", **fields)


# What is wrong: (the row, the reasons that are right for it).
BAD_ROWS = {
    "no fact": ({}, {FIELD}),
    "no amount": (without("amount"), {MONEY, FIELD}),
    "no currency": (paying(units=5), {MONEY}),
    "no such currency": (paying(currency_code="QQQ", units=5), {MONEY}),
    "a currency in small letters": (paying(currency_code="usd", units=5), {MONEY}),
    "signs that clash": (paying(currency_code="USD", units=5, nanos=-10_000_000), {MONEY}),
    "a whole unit in nanos": (paying(currency_code="USD", nanos=1_000_000_000), {MONEY}),
    "more decimals than cents": (paying(currency_code="USD", nanos=5_000_000), {MONEY}),
    "an amount that overflows": (paying(currency_code="USD", units=2**63 - 1), {MONEY}),
    "an amount below zero": (paying(currency_code="USD", units=-5), {MONEY, FIELD}),
    "no time": (without("order_time"), {TIME, FIELD}),
    "a time six minutes ahead": (bought_at(facts.text_of(facts.AS_OF + timedelta(minutes=6))), {TIME}),
    "a time years ahead": (bought_at("2031-01-01T00:00:00Z"), {TIME}),
    "a time before 1970": (bought_at("1969-12-31T23:59:59Z"), {TIME}),
    "no event id": (without("event_id"), {FIELD}),
    "a blank event id": (named("   "), {FIELD}),
    "an event id with a zero byte": (named(f"{CANARY}\u0000"), {FIELD}),
    "an event id with a control character": (named(f"{CANARY}\u0007"), {FIELD}),
    "an event id with a bidi character": (named(f"{CANARY}\u202e"), {FIELD}),
    "an event id that is too long": (named(CANARY * 20), {FIELD}),
    "no customer": (without("customer"), {FIELD}),
    "a customer without an id": (facts.order("", "bad"), {FIELD}),
    "a customer without a source": (facts.order("bad", "bad", source=""), {FIELD}),
    "a customer's id that is too long": (facts.order(CANARY * 20, "bad"), {FIELD}),
    "a customer's id with a line break": (facts.order(f"{CANARY}\n", "bad"), {FIELD}),
    "a channel with a control character": (facts.order("bad", "bad", channel=f"{CANARY}\u0001"), {FIELD}),
    "a quantity below zero": (facts.order("bad", "bad", lines=[{"product": CANARY, "quantity": -1}]), {FIELD}),
    "a product without a name": (facts.order("bad", "bad", lines=[{"product": "", "quantity": 1}]), {FIELD}),
    "201 lines": (facts.order("bad", "bad", lines=[{"product": CANARY, "quantity": 1}] * 201), {FIELD}),
    "a line in another currency": (facts.order("bad", "bad", lines=[
        {"product": CANARY, "quantity": 1, "amount": {"currency_code": "EUR", "units": 1}}]), {MONEY}),
    "a line's cost in another currency": (facts.order("bad", "bad", lines=[
        {"product": CANARY, "quantity": 1, "cost": {"currency_code": "EUR", "units": 1}}]), {MONEY}),
    "a profit in another currency": (facts.order("bad", "bad", profit={"currency_code": "EUR", "units": 1}), {MONEY}),
    "a line's amount below zero": (facts.order("bad", "bad", lines=[
        {"product": CANARY, "quantity": 1, "amount": {"currency_code": "USD", "units": -1}}]), {MONEY}),
    "a refund without an amount": (facts.refund("bad", "bad", amount=None), {MONEY}),
    "a refund below zero": (facts.refund("bad", "bad", cents=-500), {MONEY}),
    "a refund six minutes ahead": (facts.refund("bad", "bad", days=-1), {TIME}),
    "a refund without an id": (facts.refund("bad", ""), {FIELD}),
    "a refund whose purchase has a bidi character": (facts.refund("bad", "bad", order_event_id=f"{CANARY}\u202e"), {FIELD}),
    "an interaction of no kind": (facts.interaction("bad", "bad", kind=0), {FIELD}),
    "an interaction of a kind that nobody knows": (facts.interaction("bad", "bad", kind=99), {FIELD}),
    "a complaint without a state": (facts.interaction("bad", "bad", kind="INTERACTION_KIND_COMPLAINT", about=CANARY), {FIELD}),
    "a complaint about nothing": (facts.interaction("bad", "bad", kind="INTERACTION_KIND_COMPLAINT",
                                                    case_state="CASE_STATE_OPENED"), {FIELD}),
    "a visit that is resolved": (facts.interaction("bad", "bad", case_state="CASE_STATE_RESOLVED"), {FIELD}),
    "a case state that nobody knows": (facts.interaction("bad", "bad", case_state=99), {FIELD}),
    "an interaction with too much text": (facts.interaction("bad", "bad", text=CANARY * 300), {FIELD}),
    "an interaction with a zero byte": (facts.interaction("bad", "bad", text=f"{CANARY}\u0000"), {FIELD}),
    "feedback of no kind": (facts.feedback("bad", "bad", kind=0), {FIELD}),
    "satisfaction of 0": (facts.feedback("bad", "bad", score=0), {FIELD}),
    "satisfaction of 6": (facts.feedback("bad", "bad", score=6), {FIELD}),
    "a recommendation of 11": (facts.feedback("bad", "bad", kind="FEEDBACK_KIND_NPS", score=11), {FIELD}),
    "an effort of 8": (facts.feedback("bad", "bad", kind="FEEDBACK_KIND_CES", score=8), {FIELD}),
    "a comment with a score": (facts.feedback("bad", "bad", kind="FEEDBACK_KIND_COMMENT", text=CANARY), {FIELD}),
    "a comment without words": ({"feedback": facts.feedback("bad", "bad")["feedback"] | {
        "kind": "FEEDBACK_KIND_COMMENT", "score": None}}, {FIELD}),
    "feedback without a time": (facts.feedback("bad", "bad", feedback_time=None), {TIME, FIELD}),
    "a rate of the base currency": (facts.rate("USD", DAY, "1"), {MONEY}),
    "a rate of no currency": (facts.rate("QQQ", DAY, "1"), {MONEY}),
    "a rate of nothing": (facts.rate("EUR", DAY, "0"), {MONEY}),
    "a rate that is no number": (facts.rate("EUR", DAY, CANARY), {MONEY}),
    "a rate below zero": (facts.rate("EUR", DAY, "-1.2"), {MONEY}),
    "a rate that is too fine": (facts.rate("EUR", DAY, "0.0000000001"), {MONEY}),
    "a rate without a day": ({"exchange_rate": {"currency_code": "EUR", "rate": "1.2"}}, {FIELD}),
    "a rate of a day that is none": ({"exchange_rate": {
        "currency_code": "EUR", "rate": "1.2", "date": {"year": 1998, "month": 2, "day": 29}}}, {FIELD}),
    "spend that ends before it begins": (facts.spend("bad", DAY, DAY - timedelta(days=1)), {TIME}),
    "spend of eleven years": (facts.spend("bad", DAY, DAY + timedelta(days=4_018)), {TIME}),
    "spend without a source": (facts.spend("bad", DAY, DAY, source=""), {FIELD}),
    "spend without a channel": (facts.spend("bad", DAY, DAY, channel=""), {FIELD}),
    "spend without an amount": (facts.spend("bad", DAY, DAY, amount=None), {MONEY}),
    "a person without identities": ({"customer": {"display_name": CANARY}}, {FIELD}),
    "17 identities": ({"customer": {"identities": [facts.identity(f"{CANARY}{n}") for n in range(17)]}}, {FIELD}),
    "a name with a bidi character": (person(display_name=f"{CANARY}\u202e"), {FIELD}),
    "a name that is too long": (person(display_name=CANARY * 20), {FIELD}),
    "a referrer of a source with a control character": (person(referrer="r", referrer_source=f"{CANARY}\n"), {FIELD}),
    "a telephone number that is none": (person(phone=CANARY), {FIELD}),
    "a telephone number without its country": (person(phone="13871658841"), {FIELD}),
    "an e-mail address that is none": (person(email=CANARY), {FIELD}),
    "an address that is too long": (person(address=CANARY * 70), {FIELD}),
    "a birthday that is not in the calendar": (person(birth_date={"year": 2001, "month": 2, "day": 30}), {FIELD, TIME}),
    "a kind that nobody knows": (person(attributes={"kind": 99}), {FIELD}),
}


def echoed(message):
    """The canary's two halves, and the digits of the bad telephone number, in an answer."""
    data = message.SerializeToString()
    return [part for part in (b"wrenfeather", b"8841") if part in data]


@pytest.mark.parametrize("wrong", BAD_ROWS)
def a_bad_row_rejects_that_row_only_and_its_value_is_never_echoed(shared, wrong):
    row, reasons = BAD_ROWS[wrong]
    client, good = shared.client("service"), f"good-{uuid.uuid4().hex}"
    request = facts.batch(facts.order(good, "one"), row, facts.order(good, "two"))
    answer = client.call("IngestService/IngestBatch", request)
    assert (answer.applied, answer.duplicates, [reject.row for reject in answer.rejects]) == (2, 0, [1]), answer
    assert facts.reason_of(answer.rejects[0]) in reasons, answer
    assert answer.rejects[0].message and answer.rejects[0].field, answer
    assert echoed(answer) == []
    assert questions.features(client, questions.find(client, good)).orders == 2

    stored = questions.everything(client, "IngestService/ListRejects", "rejects", page_size=1_000)
    mine = [each for each in stored if each.stream_id == request["request_id"]]
    assert [each.reject.row for each in mine] == [1] and mine[0].reject == answer.rejects[0]


def a_row_that_was_corrected_is_taken_in(shared):
    client, new = shared.client("service"), uuid.uuid4().hex
    answer = client.call("IngestService/IngestBatch", facts.batch(facts.order(new, "e", amount={"units": 5})))
    assert (answer.applied, len(answer.rejects)) == (0, 1)
    questions.take_in(client, facts.order(new, "e"))


def quotes_and_wildcards_in_values_are_values(shared):
    client = shared.client("service")
    for value in ("'; DROP TABLE orders; --", 'a"b', "%", "_", "\\", "客户", "é\u0301"):
        questions.take_in(client, facts.order(value, f"{value}-event"))
        assert questions.features(client, questions.find(client, value)).orders == 1
