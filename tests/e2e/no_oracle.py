"""What a caller may not read in clear can't be found out in another way: not by counting, paging, repeating or failing."""
import base64
import re
import uuid
from types import SimpleNamespace

import grpc
import pytest
from google.rpc import error_details_pb2

from support import canaries, facts, going_on, policies, questions
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, Refusal
from support.reflection import authorization
from support.watching import watch
from support.world import SEGMENT_ID, populate

RESOURCE_EXHAUSTED, ALREADY_EXISTS = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ALREADY_EXISTS
CLEAR = {"form": "MASK_FORM_CLEAR"}
# What they may not read in clear of everybody: money and places.
FORMS = {
    "blind": {"FINANCIAL": {"form": "MASK_FORM_REDACTED"}, "LOCATION": {"form": "MASK_FORM_REDACTED"}},
    "absent": {"FINANCIAL": {"form": "MASK_FORM_ABSENT"}, "LOCATION": {"form": "MASK_FORM_ABSENT"}},
    "blurred": {"FINANCIAL": {"form": "MASK_FORM_BUCKET", "bucket": 100_00}, "LOCATION": {"form": "MASK_FORM_HASH"}},
    "of-own": {"FINANCIAL": CLEAR | {"condition": "owner == caller.subject"},
               "LOCATION": CLEAR | {"condition": 'consent.marketing == "given"'}},
    "for-support": {"FINANCIAL": CLEAR | {"purposes": ["PURPOSE_SUPPORT"]}, "LOCATION": CLEAR | {"purposes": ["PURPOSE_SUPPORT"]}},
}
ROLES = sorted(FORMS)
PROBES = {
    "equality": "net_revenue == 270", "inequality": "net_revenue != 270", "range": "net_revenue >= 200 && net_revenue < 300",
    "backwards": "200 <= net_revenue", "presence": "has(net_revenue)", "absence": "!has(average_order_value)",
    "one of": "net_revenue in [270, 271]", "with itself": "net_revenue == net_revenue", "with another": "revenue_30 < revenue_90",
    "behind a truth": "true || net_revenue > 1", "behind a falsehood": "false && net_revenue > 1",
    "behind what may be asked": "orders >= 0 || revenue_365 > 1", "negated": "!(net_revenue > 1)",
    "a place": 'region == "north"', "not a place": 'region != "north"', "prefix": 'region.startsWith("n")',
    "part": 'region.contains("ort")', "one of some places": 'region in ["north", "south"]', "has a place": "has(region)",
    "has no place": "!has(region)", "order of places": 'region >= "n"',
    # By segments of somebody who may.
    "a segment": 'segment("rich")', "no segment": '!segment("rich")', "a segment of a segment": 'segment("nested")',
    "a segment of a place": 'segment("northern") && orders >= 1',
}
MAY = 'orders >= 1 && rfm.f >= 1 && stage != "lead" && kind == "customer"'
# What databases call what they enforce.
CONSTRAINTS = re.compile(r"constraint|unique|duplicate key|pkey|_key\b|_idx|index|sqlite|postgres|relation|violat(es|ion) ", re.I)


@pytest.fixture(scope="module")
def world(shared):
    return populate(shared)


@pytest.fixture(scope="module")
def scene(world):
    """Callers with each of the forms, all methods being theirs, and segments by an administrator of what they may not read."""
    admin = world.client("admin")
    roles = [policies.role_like(admin, "admin", name, forms) for name, forms in FORMS.items()]
    roles.append(policies.role_like(admin, "admin", "maker", {
        "NAME": {"form": "MASK_FORM_REDACTED"}, "PHONE": {"form": "MASK_FORM_PARTIAL"}, "EMAIL": {"form": "MASK_FORM_TYPE_NAME"},
        "ADDRESS": {"form": "MASK_FORM_REDACTED"}, "BIRTH_DATE": {"form": "MASK_FORM_YEAR"}}))
    roles.append(policies.role_like(admin, "support", "finder", lookups_per_minute=3))
    policies.publish(admin, *roles)
    # A second member of every segment, so that each has a page after the first.
    second = [facts.order("second", f"second-{n}", days=n, cents=10_000) for n in range(1, 4)]
    questions.wait_for(admin, questions.take_in(admin, *second).facts_position)
    segments = {"rich": "net_revenue >= 200", "nested": 'segment("rich") && orders >= 1', "northern": 'region == "north"',
                "allowed": MAY}
    for segment_id, expression in segments.items():
        questions.save_segment(admin, segment_id, expression)
    clients = {role["role"]: policies.client_of(world.suite, role["role"]) for role in roles}
    return SimpleNamespace(world=world, admin=admin, clients=clients,
                           hidden=["segments/rich", "segments/nested", "segments/northern", world.segment])


def must_be_denied(refusal):
    refusal.must_be(PERMISSION_DENIED, "FIELD_DENIED")


@pytest.mark.parametrize("role", ROLES)
def a_rule_that_reads_what_a_role_may_not_is_denied_whatever_it_asks(scene, role):
    client = scene.clients[role]
    for probe, expression in PROBES.items():
        assert questions.preview(scene.admin, expression).population > 0, probe
        must_be_denied(client.refused("SegmentService/PreviewSegment", {"expression": expression}))
        must_be_denied(client.refused("SegmentService/CreateSegment", {
            "segment_id": "probe", "segment": {"expression": expression}}))
    scene.admin.refused("SegmentService/GetSegment", {"name": "segments/probe"}).must_be(NOT_FOUND, "NOT_FOUND")


@pytest.mark.parametrize("role", ROLES)
def a_rule_that_reads_what_a_role_may_counts_as_it_does_for_everybody(scene, role):
    mine, everybody = (questions.preview(client, MAY, sample_size=100) for client in (scene.clients[role], scene.admin))
    assert (mine.customers, mine.population, list(mine.sample)) == (
        everybody.customers, everybody.population, list(everybody.sample))
    segment = scene.clients[role].call("SegmentService/GetSegment", {"name": "segments/allowed"})
    assert (segment.expression, segment.members) == (MAY, everybody.customers)


@pytest.mark.parametrize("role", ROLES)
def somebody_elses_rule_does_not_launder_a_field(scene, role):
    client, customer = scene.clients[role], scene.world.customer
    for name in scene.hidden:
        assert questions.is_member(scene.admin, name, customer)
        must_be_denied(client.refused("SegmentService/GetSegment", {"name": name}))
        must_be_denied(client.refused("SegmentService/ListMembers", {"parent": name}))
        must_be_denied(client.refused("SegmentService/CheckMembers", {"parent": name, "customers": [customer]}))
        must_be_denied(client.refused("SegmentService/WatchMemberships", {"parents": [name]}))
        must_be_denied(client.refused("SegmentService/WatchMemberships", {"parents": ["segments/allowed", name]}))
        must_be_denied(client.refused("SegmentService/DeleteSegment", {"name": name}))
    listed = questions.everything(client, "SegmentService/ListSegments", "segments", page_size=1)
    assert [segment.name for segment in listed] == ["segments/allowed"]
    profile = client.call("ProfileService/GetProfile", {"name": f"{customer}/profile"})
    assert list(profile.segments) == ["segments/allowed"]


@pytest.mark.parametrize("role", ROLES)
def enters_and_exits_of_somebody_elses_rule_are_not_told_even_when_it_is_gone(scene, role):
    admin, client, customer = scene.admin, scene.clients[role], scene.world.customer
    secret, opened = f"segments/secret-{role}", f"segments/open-{role}"
    told = lambda watched: {change.parent for change in watched.changes(customer)}  # noqa: E731
    with watch(client, "SegmentService/WatchMemberships") as watcher:
        watcher.until_caught_up()
        start = watcher.responses[0].cursor
        questions.save_segment(admin, secret.split("/")[1], "net_revenue >= 200")
        admin.call("SegmentService/DeleteSegment", {"name": secret})
        questions.save_segment(admin, opened.split("/")[1], MAY)
        try:
            # What was said of the secret one came before.
            watcher.until(lambda _said: opened in told(watcher), "the open segment to be entered")
            assert secret not in told(watcher)
            # Who comes afterwards, when the rule is gone, learns no more.
            with watch(client, "SegmentService/WatchMemberships", {"cursor": start}) as late:
                late.until(lambda _said: opened in told(late), "the open segment to be entered")
                assert secret not in told(late)
            listed = questions.everything(client, "ProfileService/ListMembershipChanges", "changes", parent=customer)
            assert {change.parent for change in listed} & {secret, *scene.hidden} == set()
            assert opened in {change.parent for change in listed}
        finally:
            admin.call("SegmentService/DeleteSegment", {"name": opened})


@pytest.mark.parametrize("role", ["blind", "absent", "blurred"])
def what_may_not_be_read_is_not_added_up_either(scene, role):
    client = scene.clients[role]
    assert not questions.preview(client, MAY).HasField("net_revenue")
    assert not questions.preview(client, f'{MAY} && owner == "{canaries.OWNER}"').HasField("net_revenue")
    assert not any(label.HasField("net_revenue") for label in questions.distribution(client).labels)


def a_masked_amount_tells_no_more_by_its_explanation_its_feed_or_its_profile(scene):
    client, customer = scene.clients["blind"], scene.world.customer
    explained = client.call("ScoreService/ExplainScore", {"name": f"{customer}/score"})
    whole = scene.admin.call("ScoreService/ExplainScore", {"name": f"{customer}/score"})
    assert any(dimension.HasField("input") for dimension in whole.dimensions)
    for dimension in explained.dimensions:
        assert not any(dimension.HasField(field) for field in ("input", "to_next_better", "to_next_worse"))
        assert "270" not in dimension.reason
    for method in ("FeatureService/WatchFeatures", "ScoreService/WatchScores", "StageService/WatchStages"):
        with watch(client, method) as watcher:
            watcher.until_caught_up()
            records = [record for said in watcher.responses for record in said.records]
        assert records and not any(record.features.HasField("net_revenue") or record.attributes.HasField("region") and
                                   record.attributes.region != "****" for record in records)
    profile = client.call("ProfileService/GetProfile", {"name": f"{customer}/profile"})
    assert profile.features.orders == 4 and not profile.features.HasField("net_revenue")


def whose_birthday_it_is_is_asked_by_nobody_who_does_not_read_dates_of_birth(scene):
    """Day by day they would be found out. Whoever reads the year alone asks in vain, and the day makes no difference."""
    for day in (canaries.BIRTHDAY, {"month": 3, "day": 15}):
        must_be_denied(scene.clients["maker"].refused("CustomerService/ListBirthdays", day))
    assert scene.world.customer in scene.admin.call("CustomerService/ListBirthdays", canaries.BIRTHDAY).customers
    assert scene.world.customer not in scene.admin.call("CustomerService/ListBirthdays", {"month": 3, "day": 15}).customers


@pytest.mark.parametrize("role", ROLES)
def an_export_holds_no_amount_and_no_rule_that_its_reader_may_not_see(scene, role):
    def exported(client):
        return list(client.start("PrivacyService/ExportPersonalData", [{"name": scene.world.customer}], seconds=60))
    hidden = set(scene.hidden)
    parts, whole = exported(scene.clients[role]), exported(scene.admin)
    assert hidden <= {name for part in whole for name in part.segments} and any(part.complete for part in parts)
    assert hidden & {name for part in parts for name in (
        *part.segments, *(change.parent for change in part.membership_changes))} == set()
    if role in ("blind", "absent", "for-support"):
        orders = [order for part in parts for order in part.orders]
        assert orders and not any(each.HasField("amount") for order in orders for each in (order, *order.lines))
        assert not any(part.features.HasField("net_revenue") for part in parts)


def a_form_for_a_purpose_is_had_by_calls_that_state_it_and_by_no_others(scene):
    client, customer = scene.clients["for-support"], scene.world.customer
    stating = lambda purpose: (*authorization(client.token), ("x-quintile-purpose", purpose))  # noqa: E731
    rule, name = {"expression": "net_revenue >= 200"}, {"name": f"{customer}/profile"}
    assert client.call("SegmentService/PreviewSegment", rule, stating("support")).customers >= 1
    profile = client.call("ProfileService/GetProfile", name, stating("support"))
    assert profile.customer.attributes.region == canaries.REGION and facts.cents_of(profile.features.net_revenue) == 27_000
    for purpose in ("marketing", "profiling", "analytics", "third_party"):
        must_be_denied(client.refused("SegmentService/PreviewSegment", rule, stating(purpose)))
        profile = client.call("ProfileService/GetProfile", name, stating(purpose))
        assert profile.customer.attributes.region != canaries.REGION and not profile.features.HasField("net_revenue")
    for purpose in ("Support", "PURPOSE_SUPPORT", "4", "", "unspecified", "support,marketing"):
        refusal = client.refused("SegmentService/PreviewSegment", rule, stating(purpose))
        refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")


def no_rpc_takes_a_filter_an_order_or_a_grouping_but_rules(scene):
    words = re.compile("filter|order_by|sort|group|aggregate|where|query")
    fields = {f"{path}.{field.name}" for path, method in scene.world.suite.api().methods.items()
              for field in method.request.DESCRIPTOR.fields if words.search(field.name)}
    # The filter of the published contract is refused, whatever it says, and that of a trait is a rule: own_traits.py asks both. Unit economics group
    # by one of three things that tell nothing, for who reads money in clear and everybody: unit_economics.py.
    known = {"google.longrunning.Operations/ListOperations.filter", "quintile.scoring.v1.EconomicsService/GetUnitEconomics.group_by"}
    assert fields == known, "an RPC asks in a way that has no case in this file"


# -- page tokens and cursors ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokens(scene):
    """{method: (field, request, token)} of every RPC that goes on, where it has given a token."""
    admin, world = scene.admin, scene.world
    for _ in range(2):
        rejected = facts.batch(*(facts.order("x", f"bad-{n}", cents=-1) for n in range(2)))
        assert admin.call("IngestService/IngestBatch", rejected).rejects
    found = {}
    for method, field in going_on.methods(world.suite.api()).items():
        fields = going_on.request(world, method, field)
        found[method] = field, fields, going_on.first_token(admin, method, field, fields)
    given = {method for method, (_, _, token) in found.items() if token}
    assert given >= {"CustomerService/ListCustomers", "IngestService/ListRejects", "SegmentService/ListSegments",
                     "FeatureService/WatchFeatures", "ScoreService/WatchScores", "StageService/WatchStages",
                     "SegmentService/WatchMemberships", "PlaybookService/ListPlaybooks", "PlaybookService/ListPlaybookRuns",
                     "TaskService/ListTasks", "DeliveryService/ListDeliveries", "CustomerService/ListBirthdays", "OfferService/ListOffers",
                     "OfferService/ListGrants", "LoyaltyService/ListLoyaltyTiers", "LoyaltyService/ListTierChanges"}
    return found


def a_page_token_or_cursor_that_was_changed_is_refused(scene, tokens):
    wrong = []
    for method, (field, fields, token) in tokens.items():
        for changed in going_on.tampered(token or tokens["CustomerService/ListCustomers"][2]):
            refusal = scene.admin.refused(method, fields | {field: changed})
            if (refusal.code, refusal.reason) != (INVALID_ARGUMENT, "INVALID_TOKEN"):
                wrong.append((method, changed, str(refusal)))
    assert wrong == []


def a_page_token_or_cursor_is_good_for_its_own_query_alone(scene, tokens):
    wrong = []
    for method, (field, fields, _) in tokens.items():
        for other, (_, _, token) in tokens.items():
            if token and other != method:
                refusal = scene.admin.refused(method, fields | {field: token})
                if (refusal.code, refusal.reason) != (INVALID_ARGUMENT, "INVALID_TOKEN"):
                    wrong.append((method, other, str(refusal)))
    members = scene.admin.call("SegmentService/ListMembers", {"parent": "segments/planted", "page_size": 1}).next_page_token
    refusal = scene.admin.refused("SegmentService/ListMembers", {"parent": "segments/rich", "page_size": 1, "page_token": members})
    refusal.must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
    token = tokens["CustomerService/ListBirthdays"][2]
    refusal = scene.admin.refused("CustomerService/ListBirthdays", {"month": 3, "day": 15, "page_size": 1, "page_token": token})
    refusal.must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
    assert wrong == []


def a_page_token_or_cursor_is_sealed(scene, tokens):
    number = int(scene.world.customer.split("/")[1])
    readable = [b"customers", b"segments", b"snapshot", b"tail", b"List", b"Watch", SEGMENT_ID.encode(), b"allowed",
                canaries.SOURCE_ID.encode(), number.to_bytes(8, "big"), number.to_bytes(8, "little")]
    for method, (_, _, token) in tokens.items():
        data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        assert [text for text in readable if text in data or text in token.encode()] == [], method


# -- repetitions and conflicts ------------------------------------------------------------------------------------------------


def a_request_that_a_weaker_caller_repeats_is_masked_for_that_caller(scene):
    contact = {"identities": [facts.identity("repeated")]}
    request = {"customer": canaries.CUSTOMER | contact, "request_id": str(uuid.uuid4())}
    whole = scene.admin.call("CustomerService/CreateCustomer", request)
    assert whole.phone == canaries.PHONE
    seen = scene.clients["maker"].call("CustomerService/CreateCustomer", request)
    assert (seen.name, seen.display_name, seen.phone, seen.email, seen.address) == (
        whole.name, "****", "138****0429", "<email>", "****")
    assert (seen.birth_date.year, seen.birth_date.month, seen.birth_date.day) == (1987, 0, 0)
    # Somebody without the right to other systems' ids could try them in this way.
    scene.world.client("analyst").refused("CustomerService/CreateCustomer", request).must_be(PERMISSION_DENIED, "METHOD_DENIED")


def a_definition_that_a_weaker_caller_repeats_is_denied(scene):
    request = {"segment_id": "repeated", "segment": {"expression": "net_revenue >= 200"}, "request_id": str(uuid.uuid4())}
    scene.admin.call("SegmentService/CreateSegment", request)
    must_be_denied(scene.clients["blind"].refused("SegmentService/CreateSegment", request))
    scene.admin.call("SegmentService/DeleteSegment", {"name": "segments/repeated"})


def conflicts(scene):
    """(request that conflicts with what is there, the values that it tries)."""
    twice = {"customer": canaries.CUSTOMER, "request_id": str(uuid.uuid4())}
    used = {"customer": canaries.CUSTOMER | {"identities": [facts.identity("body-conflict")]}, "request_id": str(uuid.uuid4())}
    scene.admin.call("CustomerService/CreateCustomer", used)
    return [
        ("CustomerService/CreateCustomer", twice, {ALREADY_EXISTS}),
        ("CustomerService/CreateCustomer", {"customer": canaries.CUSTOMER}, {ALREADY_EXISTS}),
        ("CustomerService/CreateCustomer", used | {"customer": canaries.CUSTOMER}, {FAILED_PRECONDITION}),
        ("SegmentService/CreateSegment", {"segment_id": "rich", "segment": {"expression": "net_revenue >= 1"}}, {ALREADY_EXISTS}),
        ("TenantService/CreateTenant", {"tenant_id": "default"}, {ALREADY_EXISTS}),
        ("CustomerService/LookupCustomer", {"phone": canaries.PHONE}, {FAILED_PRECONDITION}),
        ("CustomerService/LookupCustomer", {"email": canaries.EMAIL}, {FAILED_PRECONDITION}),
        ("CustomerService/UpdateCustomer", {"customer": {"name": scene.world.customer, "phone": canaries.PHONE, "etag": "old"},
                                            "update_mask": "phone"}, {grpc.StatusCode.ABORTED}),
    ]


def a_conflict_names_no_value_and_no_constraint(scene):
    for method, request, codes in conflicts(scene):
        refusal = scene.admin.refused(method, request)
        assert refusal.code in codes and refusal.info.domain == "quintile", (method, refusal)
        told = f"{refusal.message} {refusal.details.decode(errors='replace')}"
        assert not CONSTRAINTS.search(told), (method, told)
        assert canaries.found_in_refusal(refusal, canaries.FROM_ANALYSTS) == [], method


def an_email_or_phone_that_somebody_has_already_is_no_conflict_that_would_tell(scene):
    for n, contact in enumerate(({"email": canaries.EMAIL}, {"phone": canaries.PHONE})):
        new = scene.clients["maker"].call("CustomerService/CreateCustomer", {
            "customer": {"identities": [facts.identity(f"same-contact-{n}")]} | contact})
        assert new.name != scene.world.customer


def who_looks_up_more_people_than_the_role_allows_has_to_wait(scene):
    client = scene.clients["finder"]
    refused = None
    # A minute may end in between, once.
    for guess in range(2 * 3 + 1):
        try:
            client.call("CustomerService/LookupCustomer", {"phone": f"+86139000000{guess:02}"})
        except Refusal as refusal:
            if refusal.code == RESOURCE_EXHAUSTED:
                refused = refusal
                break
            refusal.must_be(NOT_FOUND, "NOT_FOUND")
    assert refused is not None, "seven look-ups were answered where three a minute are allowed"
    assert refused.must_be(RESOURCE_EXHAUSTED, "OVERLOADED").detail(error_details_pb2.RetryInfo).retry_delay.ToTimedelta()
    # The others have theirs, and so has the same role under another name.
    other = policies.client_of(scene.world.suite, "finder", "another")
    other.refused("CustomerService/LookupCustomer", {"phone": "+8613900000099"}).must_be(NOT_FOUND, "NOT_FOUND")
