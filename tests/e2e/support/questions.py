"""What tests ask of a suite again and again. Every wait is for a watermark and has a bound."""
from support import facts, waiting

LABEL_SET = "labelSets/rfm-11"


def take_in(client, *rows):
    """Takes rows in by IngestBatch, every one of which has to be new, and returns the answer."""
    answer = client.call("IngestService/IngestBatch", facts.batch(*rows))
    assert (answer.applied, answer.duplicates, list(answer.rejects)) == (len(rows), 0, []), answer
    return answer


def find(client, customer, source=facts.SOURCE):
    """`customers/{number}` of the customer whom a source knows by this id."""
    return client.call("CustomerService/LookupCustomer", {"identity": facts.identity(customer, source)}).name


def names_of(client, source=None):
    """{the id by which a source knows a customer: `customers/{number}`}; of any source where none is given."""
    listed = everything(client, "CustomerService/ListCustomers", "customers", page_size=1_000)
    return {identity.id: each.name for each in listed for identity in each.identities if source in (None, identity.source)}


def numbers_of(client, source=None):
    """{the id by which a source knows a customer: its number}"""
    return {customer: int(name.split("/")[1]) for customer, name in names_of(client, source).items()}


def distribution(client):
    return client.call("LabelService/GetLabelDistribution", {"name": LABEL_SET})


def reached(watermark, position, instant):
    """Whether a watermark covers a facts position and, where given, an instant."""
    return watermark.facts_position >= position and (
        instant is None or (watermark.HasField("time") and watermark.time.seconds >= instant.timestamp()))


def wait_for(client, position, instant=facts.AS_OF):
    """Waits until the last service of the chain, and so every service, has taken in all facts up to a position."""
    waiting.until(lambda: reached(distribution(client).watermark, position, instant),
                  lambda: f"segmentation to reach {position} at {instant}: {distribution(client).watermark}")


def set_clock(client, instant):
    """Moves business time, and waits until every service has followed."""
    answer = client.call("ClockService/SetAsOf", {"as_of": facts.text_of(instant)})
    assert answer.as_of.seconds == instant.timestamp() and answer.frozen, answer
    wait_for(client, 0, instant)


def features(client, name):
    return client.call("FeatureService/GetFeatures", {"name": f"{name}/features"}).features


def scores(client, name):
    """(r, f, m) of a customer."""
    values = client.call("ScoreService/GetScore", {"name": f"{name}/score"}).values
    return values.recency, values.frequency, values.monetary


def stage(client, name):
    """The stage's name, as domain.md writes it."""
    values = client.call("StageService/GetStage", {"name": f"{name}/stage"}).values
    return stage_name(values)


def stage_name(message):
    """The name of the `stage` field's value, without the enum's prefix."""
    values = message.DESCRIPTOR.fields_by_name["stage"].enum_type.values_by_number
    return values[message.stage].name.removeprefix("STAGE_")


def labels(client):
    """{title: resource name} of the labels of rfm-11."""
    return {label.title: label.name for label in client.call("LabelService/GetLabelSet", {"name": LABEL_SET}).labels}


def is_member(client, parent, name):
    answer = client.call("SegmentService/CheckMembers", {"parent": parent, "customers": [name]})
    return list(answer.members) == [name]


def label(client, name):
    """The title of the one label that a customer is under."""
    under = [title for title, parent in labels(client).items() if is_member(client, parent, name)]
    assert len(under) == 1, under
    return under[0]


def save_segment(client, segment_id, expression):
    """Saves a rule segment and returns its name."""
    request = {"segment_id": segment_id, "segment": {"expression": expression}}
    return client.call("SegmentService/CreateSegment", request).name


def preview(client, expression, sample_size=0):
    return client.call("SegmentService/PreviewSegment", {"expression": expression, "sample_size": sample_size})


def everything(client, method, field, **request):
    """All items of a paged list."""
    items, page_token = [], ""
    while True:
        page = client.call(method, request | {"page_token": page_token})
        items += getattr(page, field)
        page_token = page.next_page_token
        if not page_token:
            return items


def without_watermark(message):
    """The bytes of an answer but for how far it is true."""
    copy = type(message)()
    copy.CopyFrom(message)
    copy.ClearField("watermark")
    return copy.SerializeToString(deterministic=True)


def export_pages(client, kind, cursor="", seconds=waiting.SECONDS):
    """All pages of an export of a kind such as `ORDER`, of which the last says that it is."""
    pages = list(client.start("ExportService/ExportRows", [{"kind": f"EXPORT_KIND_{kind}", "cursor": cursor}], seconds=seconds))
    assert [page.complete for page in pages] == [False] * (len(pages) - 1) + [True], pages[-1:]
    return pages


def rows_of(page):
    """The rows of a page of an export, whatever kind they are of."""
    return [*page.customers, *page.facts, *page.acquisition_spend, *page.exchange_rates]


def exported(client, kind, cursor=""):
    """All rows of a kind."""
    return [row for page in export_pages(client, kind, cursor) for row in rows_of(page)]
