"""The RPCs that go on from a page token or a cursor, found by reflection, and what each asks for besides."""
import base64

from support import canaries, facts, waiting

# The fields that requests need besides; a page of one item gives a token where there are two.
BESIDES = {"SegmentService/ListMembers": {"parent": "segments/planted"}, "SegmentService/ListMemberRecords": {"parent": "segments/planted"},
           "CheckpointService/ListCheckpoints": {"service": "scoring"}, "CustomerService/ListBirthdays": canaries.BIRTHDAY,
           "ExportService/ExportRows": {"kind": "EXPORT_KIND_CUSTOMER"},
           "AttributeService/ReadAttributeValues": {"attributes": [f"attributes/{canaries.NOTE_KEY}"]},
           "FeatureService/ReadPastFeatures": {"as_of": [facts.days_before(1)]},
           "FactService/ListWaitingFacts": {"reason": "WAITING_REASON_NO_PURCHASE"},
           "ScoreModelService/ListScoreModelVersions": {"parent": "scoreModels/rfm"},
           **{f"{one}Service/List{one}s": {"parent": "customers/-"} for one in ("Warning", "Task")},
           "DeliveryService/ListDeliveries": {"parent": "customers/-"}, "OfferService/ListGrants": {"parent": "customers/-"},
           "StagePolicyService/ListStagePolicyVersions": {"parent": "stagePolicies/default"}}
PAGE_TOKEN, CURSOR = "page_token", "cursor"


def methods(api):
    """{`Service/Method`: the field of its request that says where to go on}."""
    found = {}
    for path, method in api.methods.items():
        field = next((name for name in (PAGE_TOKEN, CURSOR) if name in method.request.DESCRIPTOR.fields_by_name), None)
        if field:
            found[path.split(".")[-1]] = field
    return found


def request(world, method, field):
    """The first request of a method: for a small page, where there are pages."""
    of_customer = {"ListMembershipChanges": world.customer, "ListCustomerFacts": world.customer, "ListScoreChanges": f"{world.customer}/score",
                   "ListStageTransitions": f"{world.customer}/stage", "ListPlaybookRuns": world.customer,
                   "ListTierChanges": world.customer}
    parent = of_customer.get(method.split("/")[-1])
    besides = dict(BESIDES.get(method, {"parent": parent} if parent else {}))
    return besides | ({"page_size": 1} if field == PAGE_TOKEN else {})


def for_lists(customer, label):
    """{method: its request} of RPCs that list and ask for something: of what is another tenant's, such as a customer, and of what every tenant
    has, such as a label."""
    theirs = {"ListMembershipChanges": customer, "ListCustomerFacts": customer, "ListPlaybookRuns": customer, "ListScoreChanges": f"{customer}/score",
              "ListStageTransitions": f"{customer}/stage", "ListScoreModelVersions": "scoreModels/theirs", "ListSegmentVersions": "segments/theirs",
              "ListLabelSetVersions": "labelSets/theirs", "ListSegmentSizes": "segments/theirs", "ListTierChanges": customer}
    everybody = {method: {"parent": "customers/-"} for method in ("ListWarnings", "ListTasks", "ListDeliveries", "ListGrants")}
    ours = everybody | {"ListMembers": {"parent": label}, "ListMemberRecords": {"parent": label}, "ListCheckpoints": {"service": "scoring"},
                        "ListWaitingFacts": {"reason": "WAITING_REASON_NO_PURCHASE"}, "ListBirthdays": canaries.BIRTHDAY}
    return {method: {"parent": parent} for method, parent in theirs.items()}, ours


def first_token(client, method, field, fields):
    """Where the first answer says to go on. Empty: that was all."""
    if field == PAGE_TOKEN:
        return client.call(method, fields).next_page_token
    call = client.start(method, [fields], seconds=waiting.SECONDS)
    try:
        return next(call).cursor
    finally:
        call.cancel()


def tampered(token):
    """Tokens that are nearly this one."""
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    encode = lambda changed: base64.urlsafe_b64encode(changed).rstrip(b"=").decode()  # noqa: E731
    yield from (encode(data[:place] + bytes([data[place] ^ 1]) + data[place + 1:]) for place in {0, len(data) // 2, len(data) - 1})
    yield from (token[:-1], token[:len(token) // 2], token + "A", token + token, "A" * len(token), "x", "0", "%00", "customers/1")
