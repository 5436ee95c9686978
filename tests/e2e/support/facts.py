"""The facts that tests send, and what ought to come of them by the independent witness."""
import uuid
from datetime import date, datetime, timedelta, timezone

import cdnow_witness as witness

AS_OF = datetime(1998, 7, 1, tzinfo=timezone.utc)
SOURCE = "shop"
TARGET = "rfm.r >= 4 && rfm.f >= 3 && net_revenue >= 200"


def text_of(instant):
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def days_before(days, as_of=AS_OF):
    """Midnight UTC so many days before business time."""
    return text_of(as_of - timedelta(days=days))


def days_after(days, as_of=AS_OF):
    return text_of(as_of + timedelta(days=days))


def dollars(cents):
    return {"currency_code": "USD", "units": cents // 100, "nanos": cents % 100 * 10_000_000}


def cents_of(money):
    """Minor units of a google.type.Money in dollars."""
    assert money.currency_code == "USD", money
    assert money.nanos % 10_000_000 == 0, money
    return money.units * 100 + money.nanos // 10_000_000


def identity(customer, source=SOURCE):
    return {"source": source, "id": customer}


def order(customer, event, days=1, cents=1000, source=SOURCE, **fields):
    """An order row: so many days before the tests' first business time, for so many cents."""
    fact = {"customer": identity(customer, source), "event_id": event, "order_time": days_before(days),
            "channel": "online", "amount": dollars(cents)}
    return {"order": fact | fields}


def refund(customer, event, days=1, cents=1000, source=SOURCE, **fields):
    """A refund row."""
    fact = {"customer": identity(customer, source), "event_id": event, "refund_time": days_before(days), "amount": dollars(cents)}
    return {"refund": fact | fields}


def interaction(customer, event, days=1, source=SOURCE, **fields):
    """An interaction row: a visit, unless it says otherwise."""
    fact = {"customer": identity(customer, source), "event_id": event, "interaction_time": days_before(days),
            "kind": "INTERACTION_KIND_VISIT"}
    return {"interaction": fact | fields}


def feedback(customer, event, days=1, source=SOURCE, **fields):
    """A feedback row: satisfied, unless it says otherwise."""
    fact = {"customer": identity(customer, source), "event_id": event, "feedback_time": days_before(days),
            "kind": "FEEDBACK_KIND_CSAT", "score": 5}
    return {"feedback": fact | fields}


def date_of(day):
    return {"year": day.year, "month": day.month, "day": day.day}


def rate(currency, day, value):
    """An exchange rate row."""
    return {"exchange_rate": {"currency_code": currency, "date": date_of(day), "rate": value}}


def spend(event, start, end, cents=1000, source="ads", **fields):
    """A row of acquisition spend."""
    fact = {"source": source, "event_id": event, "start_date": date_of(start), "end_date": date_of(end), "channel": "search",
            "campaign": "spring", "amount": dollars(cents)}
    return {"acquisition_spend": fact | fields}


def customer(customer_id, source=SOURCE, **fields):
    """A customer row."""
    return {"customer": {"identities": [identity(customer_id, source)]} | fields}


def batch(*rows, request_id=None):
    """A request of IngestBatch."""
    return {"request_id": request_id or str(uuid.uuid4()), "rows": list(rows)}


def cdnow_order(customer_id, number, day, cents):
    """A line of CDNOW as an order of source `cdnow`."""
    time = datetime.combine(day, datetime.min.time(), timezone.utc)
    return order(customer_id, f"{customer_id}-{number}", source="cdnow", cents=cents, order_time=text_of(time),
                 channel="")


def expected(facts, as_of=AS_OF):
    """What the witness says of a customer with purchases [(days before AS_OF, cents)], at `as_of`."""
    purchases = sorted((AS_OF.date() - timedelta(days=age), cents) for age, cents in facts)
    return witness.customer_of(purchases, as_of.date())


def day_of(timestamp):
    """The UTC day of a google.protobuf.Timestamp, which has to be a midnight."""
    assert timestamp.nanos == 0 and timestamp.seconds % 86400 == 0, timestamp
    return date(1970, 1, 1) + timedelta(days=timestamp.seconds // 86400)


def reason_of(reject):
    """The reason's name without the enum's prefix."""
    values = reject.DESCRIPTOR.fields_by_name["reason"].enum_type.values_by_number
    return values[reject.reason].name.removeprefix("ERROR_REASON_")
