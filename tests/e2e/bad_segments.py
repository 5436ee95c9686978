"""Requests about segments that cannot be meant, or are not the caller's to make, are refused, with the field that is wrong."""
import re
import uuid
from types import SimpleNamespace

import grpc
import pytest

from segment_expressions import WRONG
from support import facts, policies, questions, segments, waiting
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, UNAUTHENTICATED
from support.segments import refers_to

ABORTED, ALREADY_EXISTS = grpc.StatusCode.ABORTED, grpc.StatusCode.ALREADY_EXISTS
SERVICE = segments.SERVICE
RULE = "orders >= 1"
STATIC = {"kind": "SEGMENT_KIND_STATIC"}
IDS = ["", " ", "Upper", "1st", "-a", "a b", "a_b", "a/b", "a\0", "a\n", "a\u202eb", "段", "a" * 64, "a" * 300, "a'--", "%", "*"]
NAMES = ["", "x", "segments", "segments/", "Segments/base", "labelSets/rfm-11/labels/lost", "segments/base/versions/1", "segments/base ",
         *(f"segments/{each}" for each in IDS)]
# Every RPC that names a segment, with the field that does and what else is asked for.
OF_ONE = {"GetSegment": ("name", {}), "PreviewSegmentDraft": ("name", {}), "PublishSegment": ("name", {"etag": "x"}),
          "ListSegmentVersions": ("parent", {}), "DeleteSegment": ("name", {}), "AddMembers": ("parent", {"customers": ["customers/1"]}),
          "RemoveMembers": ("parent", {"customers": ["customers/1"]}),
          "UpdateSegment": ("segment.name", {"update_mask": "description"})}
CHANGING = ("CreateSegment", "UpdateSegment", "PreviewSegmentDraft", "PublishSegment", "DeleteSegment", "AddMembers", "RemoveMembers",
            "PreviewSegment")


@pytest.fixture(scope="module")
def desk(shared):
    """Two customers, a rule and a list of them, and one who may call everything and reads no money."""
    admin = shared.client("admin")
    names = segments.take_in(admin, *(facts.order(who, f"e{n}", cents=9_000) for who in ("ann", "ben") for n in range(3)))
    policies.publish(admin, policies.role_like(admin, "admin", "no-money", forms={"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}))
    base, listed = segments.create(admin, "base", RULE), segments.static(admin, "listed", RULE)
    return SimpleNamespace(suite=shared, admin=admin, names=sorted(names.values()), base=base, listed=listed,
                           blind=policies.client_of(shared, "no-money"))


@pytest.fixture(autouse=True)
def nothing(desk):
    """Whatever is refused leaves the rule and the list as they were."""
    def state():
        present = [segments.get(desk.admin, each.name) for each in (desk.base, desk.listed)]
        for each in present:
            each.ClearField("description")
        return [(each.expression, each.members, each.version, each.draft_expression, each.kind) for each in present]
    before = state()
    yield
    assert state() == before


def request_of(method, name):
    """The request of an RPC about a segment by name."""
    field, besides = OF_ONE[method]
    return ({"segment": {"name": name}} if field == "segment.name" else {field: name}) | besides


def must_name(refusal, field, reason="INVALID_FIELD"):
    """A bad argument, of a field that is named."""
    refusal.must_be(INVALID_ARGUMENT, reason)
    assert [each.field for each in refusal.bad_request.field_violations] == [field], refusal


# -- names and ids --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", OF_ONE)
def a_name_that_cannot_be_one_is_refused(desk, method):
    for name in NAMES:
        must_name(desk.admin.refused(f"{SERVICE}/{method}", request_of(method, name)), OF_ONE[method][0])


@pytest.mark.parametrize("segment_id", IDS)
def an_id_that_cannot_be_one_is_refused(desk, segment_id):
    for besides in ({}, {"draft_only": True}, {"segment": STATIC}):
        request = {"segment_id": segment_id, "segment": {"expression": RULE}} | besides
        must_name(desk.admin.refused(f"{SERVICE}/CreateSegment", request), "segment_id")


def what_is_not_there_is_not_found(desk):
    answers = {desk.admin.refused(f"{SERVICE}/{method}", request_of(method, "segments/nope")).must_be(NOT_FOUND, "NOT_FOUND").answer
               for method in OF_ONE}
    assert len(answers) == 1, "in the same words"


def an_id_is_given_once_whatever_it_is_of(desk, new):
    draft = segments.create(desk.admin, f"s{new}", RULE, draft_only=True)
    for segment_id in ("base", "listed", draft.name.split("/")[1]):
        for besides in ({}, {"draft_only": True}, {"segment": STATIC}):
            request = {"segment_id": segment_id, "segment": {"expression": "orders >= 2"}} | besides
            refusal = desk.admin.refused(f"{SERVICE}/CreateSegment", request)
            refusal.must_be({ALREADY_EXISTS, FAILED_PRECONDITION}, {"ALREADY_EXISTS", "BODY_CONFLICT"})
    assert segments.get(desk.admin, draft.name) == draft


def a_repeated_request_makes_one_segment_and_its_id_no_other(desk, new):
    for letter, besides, other in (("d", {"draft_only": True}, {"draft_only": False}), ("l", {"segment": STATIC}, {"segment": {"expression": RULE}})):
        request = {"segment_id": f"{letter}{new}", "segment": {"expression": RULE}, "request_id": str(uuid.uuid4())} | besides
        made = desk.admin.call(f"{SERVICE}/CreateSegment", request)
        assert desk.admin.call(f"{SERVICE}/CreateSegment", request) == made
        for change in (other, {"segment_id": f"x{new}"}):
            desk.admin.refused(f"{SERVICE}/CreateSegment", request | change).must_be(FAILED_PRECONDITION, "BODY_CONFLICT")
        assert segments.get(desk.admin, made.name) == made


# -- definitions ----------------------------------------------------------------------------------------------------------

BAD_CREATES = {
    "no segment": ({"segment": None}, "segment"),
    "an unknown kind": ({"segment": {"kind": 99, "expression": RULE}}, "segment.kind"),
    "a kind below none": ({"segment": {"kind": -1, "expression": RULE}}, "segment.kind"),
    "a draft of a list": ({"segment": STATIC, "draft_only": True}, "draft_only"),
    "a long description": ({"segment": {"expression": RULE, "description": "x" * 1_025}}, "segment.description"),
    "a description of many bytes": ({"segment": {"expression": RULE, "description": "段" * 342}}, "segment.description"),
    "a description with a NUL": ({"segment": {"expression": RULE, "description": "a\0b"}}, "segment.description"),
    "a description that turns round": ({"segment": {"expression": RULE, "description": "a\u202eb"}}, "segment.description"),
    "a list of a long description": ({"segment": STATIC | {"description": "x" * 1_025}}, "segment.description"),
    "a request id that is none": ({"request_id": "1"}, "request_id"),
    "a request id with a NUL": ({"request_id": "a\0b"}, "request_id"),
}


@pytest.mark.parametrize("wrong", BAD_CREATES)
def a_new_segment_that_cannot_be_meant_is_refused(desk, new, wrong):
    change, field = BAD_CREATES[wrong]
    request = {"segment_id": f"s{new}", "segment": {"expression": RULE}} | change
    request = {key: value for key, value in request.items() if value is not None}
    must_name(desk.admin.refused(f"{SERVICE}/CreateSegment", request), field)
    desk.admin.refused(f"{SERVICE}/GetSegment", {"name": f"segments/s{new}"}).must_be(NOT_FOUND, "NOT_FOUND")


@pytest.mark.parametrize("wrong", WRONG)
def a_rule_that_cannot_be_meant_is_no_draft_and_begins_no_list(desk, new, wrong):
    expression, create = WRONG[wrong], f"{SERVICE}/CreateSegment"
    reasons = {"INVALID_EXPRESSION", "INVALID_FIELD"}
    request = {"segment_id": f"s{new}", "segment": {"expression": expression}, "draft_only": True}
    must_name(desk.admin.refused(create, request), "segment.expression", reasons)
    if expression:  # Without one a list begins with nobody, and a draft is given up.
        request = {"segment_id": f"s{new}", "segment": STATIC | {"expression": expression}}
        must_name(desk.admin.refused(create, request), "segment.expression", reasons)
        refusal = desk.admin.refused(f"{SERVICE}/UpdateSegment", segments.draft(desk.base.name, expression))
        must_name(refusal, "segment.draft_expression", reasons)
    desk.admin.refused(f"{SERVICE}/GetSegment", {"name": f"segments/s{new}"}).must_be(NOT_FOUND, "NOT_FOUND")


def says(text, word):
    """Whether a text has a word, not only as a part of another."""
    return re.search(rf"(?<![\w.]){re.escape(word)}(?![\w.])", text)


def what_may_have_been_meant_is_told_with_its_place_and_no_value(desk, new):
    """An unknown field of a draft, and one to break customers down by, name the nearest; nothing of the request is said again."""
    secret = "zz-vorpal-zz"
    for rule, nearest in ((f'channel == "{secret}" && ordres >= 1', "orders"), (f'owner != "{secret}" || rfm.rr > 2', "rfm.r")):
        for request in ({"segment_id": f"s{new}", "segment": {"expression": rule}, "draft_only": True},
                        {"segment_id": f"s{new}", "segment": STATIC | {"expression": rule}}):
            refusal = desk.admin.refused(f"{SERVICE}/CreateSegment", request)
            must_name(refusal, "segment.expression", "INVALID_EXPRESSION")
            assert says(refusal.message, nearest) and any(each.isdigit() for each in refusal.message), refusal
            assert secret not in str(refusal.answer)
    for field, nearest in (("net_revenu", "net_revenue"), ("Orders", "orders"), ("chanel", "channel"), ("rfm.rr", "rfm.r"), ("stagee", "stage")):
        request = {"expression": RULE, "breakdown_fields": ["orders", field]}
        refusal = desk.admin.refused(f"{SERVICE}/PreviewSegment", request)
        must_name(refusal, "breakdown_fields[1]")
        assert says(refusal.bad_request.field_violations[0].description, nearest)
    for field in ("", " ", "orders ", "orders\0", "display_name", "phone", "now", 'segment("base")', secret, "x" * 300, "days_since(last_order_at)"):
        refusal = desk.admin.refused(f"{SERVICE}/PreviewSegment", {"expression": RULE, "breakdown_fields": [field]})
        must_name(refusal, "breakdown_fields[0]")
        assert secret not in str(refusal.answer) and "xxx" not in str(refusal.answer)


BAD_UPDATES = {
    "no segment": ({"update_mask": "description"}, "segment"),
    "no mask": ({"segment": {"description": "x"}}, "update_mask"),
    "an empty mask": ({"segment": {"description": "x"}, "update_mask": ""}, "update_mask"),
    **{f"a mask of {path}": ({"segment": {"description": "x"}, "update_mask": path}, "update_mask") for path in (
        "expression", "name", "members", "createTime", "etag", "kind", "version", "nope", "description,kind", "segment.description", "*")},
    "a long description": ({"segment": {"description": "x" * 1_025}, "update_mask": "description"}, "segment.description"),
    "a description with a NUL": ({"segment": {"description": "a\0"}, "update_mask": "description"}, "segment.description"),
}


@pytest.mark.parametrize("wrong", BAD_UPDATES)
def a_change_that_cannot_be_meant_is_refused(desk, wrong):
    request, field = BAD_UPDATES[wrong]
    if "segment" in request:
        request = request | {"segment": {"name": desk.base.name} | request["segment"]}
    before = segments.get(desk.admin, desk.base.name)
    must_name(desk.admin.refused(f"{SERVICE}/UpdateSegment", request), field)
    assert segments.get(desk.admin, desk.base.name) == before


def a_change_is_made_whole_or_not_at_all(desk):
    """One path that is right and one that is wrong, and a right path whose value is wrong."""
    before = segments.get(desk.admin, desk.base.name)
    change = {"name": desk.base.name, "description": "half", "draft_expression": "ordres >= 1"}
    request = {"segment": change, "update_mask": "description,draftExpression"}
    must_name(desk.admin.refused(f"{SERVICE}/UpdateSegment", request), "segment.draft_expression", "INVALID_EXPRESSION")
    assert segments.get(desk.admin, desk.base.name) == before


def an_etag_that_is_not_the_present_one_is_refused(desk, new):
    made = segments.create(desk.admin, f"s{new}", RULE, draft_only=True)
    must_name(desk.admin.refused(f"{SERVICE}/PublishSegment", {"name": made.name}), "etag")
    for etag in ("x", '""', made.etag[:-1], made.etag + "\0", made.etag.upper() + "X", desk.base.etag, "*", "x" * 10_000):
        for request in (("PublishSegment", {"name": made.name, "etag": etag}), ("DeleteSegment", {"name": made.name, "etag": etag}),
                        ("UpdateSegment", segments.draft(made.name, "orders >= 2", etag))):
            refusal = desk.admin.refused(f"{SERVICE}/{request[0]}", request[1])
            refusal.must_be({ABORTED, INVALID_ARGUMENT} if "\0" in etag or len(etag) > 256 else ABORTED, {"STALE_ETAG", "INVALID_FIELD"})
    assert segments.get(desk.admin, made.name) == made


# -- members and previews -------------------------------------------------------------------------------------------------

BAD_CUSTOMERS = ["", "x", "customers", "customers/", "customers/x", "customers/0", "customers/-1", "customers/01", "customers/1 ", "customers/1.0",
                 "customers/1/score", "customers/4294967296", "customers/18446744073709551617", "customers/1\0", "Customers/1", "segments/base"]


@pytest.mark.parametrize("method", ["AddMembers", "RemoveMembers"])
def customers_who_cannot_be_meant_are_refused(desk, method):
    method, name = f"{SERVICE}/{method}", desk.listed.name
    for wrong in BAD_CUSTOMERS:
        must_name(desk.admin.refused(method, {"parent": name, "customers": [desk.names[0], wrong, desk.names[1]]}), "customers[1]")
    for count in (0, 10_001):
        must_name(desk.admin.refused(method, {"parent": name, "customers": [desk.names[0]] * count}), "customers")


BAD_PREVIEWS = {
    "no rule": ({"expression": ""}, "expression"),
    "a sample of less than nobody": ({"sample_size": -1}, "sample_size"),
    "too large a sample": ({"sample_size": 101}, "sample_size"),
    "too many fields": ({"breakdown_fields": ["orders"] * 6}, "breakdown_fields"),
    "too many segments": ({"overlap_parents": ["segments/base"] * 51}, "overlap_parents"),
}


@pytest.mark.parametrize("wrong", BAD_PREVIEWS)
def a_preview_that_cannot_be_meant_is_refused(desk, wrong):
    change, field = BAD_PREVIEWS[wrong]
    reason = "INVALID_EXPRESSION" if field == "expression" else "INVALID_FIELD"
    must_name(desk.admin.refused(f"{SERVICE}/PreviewSegment", {"expression": RULE} | change), field, reason)


NO_LABELS = ["labelSets/rfm-11", "labelSets/rfm-11/labels/", "labelSets/RFM/labels/lost", "labelSets/rfm-11/labels/lost\0"]


def an_overlap_with_what_cannot_be_a_name_is_refused(desk):
    wrong = []
    for parent in (*(each for each in NAMES if not each.startswith("labelSets/")), *NO_LABELS):
        refusal = desk.admin.refused(f"{SERVICE}/PreviewSegment", {"expression": RULE, "overlap_parents": ["segments/base", parent]})
        if (refusal.code, refusal.reason) != (INVALID_ARGUMENT, "INVALID_FIELD"):
            wrong.append((parent, refusal.code.name))
    assert wrong == []


def an_overlap_with_what_is_not_there_is_not_found(desk):
    for parent in ("segments/nope", "labelSets/rfm-11/labels/nope", "labelSets/nope/labels/lost"):
        request = {"expression": RULE, "overlap_parents": ["segments/base", parent]}
        desk.admin.refused(f"{SERVICE}/PreviewSegment", request).must_be(NOT_FOUND, "NOT_FOUND")


def an_overlap_that_is_refused_is_told_by_its_place(desk):
    request = {"expression": RULE, "overlap_parents": ["segments/base", "nothing"]}
    must_name(desk.admin.refused(f"{SERVICE}/PreviewSegment", request), "overlap_parents[1]")


def a_sample_of_a_draft_is_of_a_hundred_at_most(desk, new):
    draft = segments.create(desk.admin, f"s{new}", RULE, draft_only=True)
    for size in (-1, 101, 2_147_483_647):
        refusal = desk.admin.refused(f"{SERVICE}/PreviewSegmentDraft", {"name": draft.name, "sample_size": size})
        must_name(refusal, "sample_size")
    assert segments.foresee(desk.admin, draft.name, sample_size=100).moves.entering == len(desk.names)


def a_page_token_of_a_list_is_good_for_that_list_alone(desk, new):
    other = segments.static(desk.admin, f"s{new}", RULE).name
    method, page = f"{SERVICE}/ListMembers", {"page_size": 1}
    token = desk.admin.call(method, {"parent": desk.listed.name} | page).next_page_token
    must_name(desk.admin.refused(method, {"parent": other, "page_token": token} | page), "page_token", "INVALID_TOKEN")
    for asked in (("ListMembers", {"parent": other}), ("ListSegments", {})):
        must_name(desk.admin.refused(f"{SERVICE}/{asked[0]}", asked[1] | {"page_size": -1}), "page_size")
    assert desk.admin.call(method, {"parent": desk.listed.name, "page_token": token} | page).customers == desk.names[1:2]


# -- who may --------------------------------------------------------------------------------------------------------------

def asked_of_everybody(desk, draft):
    """A request of every RPC about segments that would be answered."""
    customers = {"parent": desk.listed.name, "customers": desk.names}
    return {"CreateSegment": {"segment_id": "never", "segment": {"expression": RULE}}, "UpdateSegment": segments.draft(draft.name, RULE),
            "PreviewSegmentDraft": {"name": draft.name}, "PublishSegment": {"name": draft.name, "etag": draft.etag},
            "DeleteSegment": {"name": draft.name}, "AddMembers": customers, "RemoveMembers": customers, "PreviewSegment": {"expression": RULE},
            "ListSegmentVersions": {"parent": desk.base.name}, "GetSegment": {"name": desk.base.name}}


def who_may_not_change_segments_does_not(desk, new):
    """Those who talk to customers read segments, auditors do not, and nobody does without a token."""
    draft = segments.create(desk.admin, f"s{new}", RULE, draft_only=True)
    for method, request in asked_of_everybody(desk, draft).items():
        for role in ("support", "sales", "auditor"):
            client = desk.suite.client(role)
            if method in CHANGING or role == "auditor":
                client.refused(f"{SERVICE}/{method}", request).must_be(PERMISSION_DENIED, "METHOD_DENIED")
            else:
                client.call(f"{SERVICE}/{method}", request)
        desk.admin.refused(f"{SERVICE}/{method}", request, metadata=()).must_be(UNAUTHENTICATED, "UNAUTHENTICATED")
    assert segments.get(desk.admin, draft.name) == draft


def another_tenant_knows_nothing_of_a_segment(desk, new):
    tenant = f"segments-{new[:8]}"
    desk.admin.call("TenantService/CreateTenant", {"tenant_id": tenant})
    other = desk.suite.client("admin", tenant)
    waiting.until(lambda: policies.is_known(other), f"{tenant} to be known", policies.FORCE_SECONDS)
    for method in OF_ONE:
        refusals = [other.refused(f"{SERVICE}/{method}", request_of(method, name)).must_be(NOT_FOUND, "NOT_FOUND").answer
                    for name in (desk.listed.name, desk.base.name, "segments/nope")]
        assert len(set(refusals)) == 1, method
    theirs = segments.static(other, "listed").name
    other.refused(f"{SERVICE}/AddMembers", {"parent": theirs, "customers": desk.names}).must_be(NOT_FOUND, "NOT_FOUND")
    assert segments.members(desk.admin, desk.listed.name) == desk.names


def must_be_denied(refusal):
    refusal.must_be(PERMISSION_DENIED, "FIELD_DENIED")


def who_reads_no_money_prepares_and_sees_none_by_segments(desk, new):
    admin, blind, create = desk.admin, desk.blind, f"{SERVICE}/CreateSegment"
    rich = segments.create(admin, f"rich-{new[:8]}", "net_revenue >= 50")
    for rule in ("net_revenue >= 50", "false && revenue_90 > 1", refers_to(f"rich-{new[:8]}"), f"{RULE} || {refers_to(f'rich-{new[:8]}')}"):
        for besides in ({"draft_only": True}, {"segment": STATIC | {"expression": rule}}):
            must_be_denied(blind.refused(create, {"segment_id": f"s{new}", "segment": {"expression": rule}} | besides))
        must_be_denied(blind.refused(f"{SERVICE}/UpdateSegment", segments.draft(desk.base.name, rule)))
        # A draft of somebody who may is neither shown nor previewed nor put in force by one who may not.
        plain = segments.create(admin, f"p{uuid.uuid4().hex}", RULE)
        draft = segments.prepare(admin, plain.name, rule)
        assert segments.get(blind, plain.name).draft_expression == "" != draft.draft_expression
        must_be_denied(blind.refused(f"{SERVICE}/PreviewSegmentDraft", {"name": plain.name}))
        must_be_denied(blind.refused(f"{SERVICE}/PublishSegment", {"name": plain.name, "etag": draft.etag}))
        only = segments.create(admin, f"o{uuid.uuid4().hex}", rule, draft_only=True)
        for method in OF_ONE:
            request = request_of(method, only.name) | ({"customers": desk.names} if "Members" in method else {})
            must_be_denied(blind.refused(f"{SERVICE}/{method}", request))
        assert only.name not in {each.name for each in questions.everything(blind, f"{SERVICE}/ListSegments", "segments")}
        assert segments.get(admin, plain.name) == draft and segments.get(admin, only.name) == only
    for fields in (["net_revenue"], ["orders", "average_order_value"], ["revenue_365"]):
        must_be_denied(blind.refused(f"{SERVICE}/PreviewSegment", {"expression": RULE, "breakdown_fields": fields}))
    must_be_denied(blind.refused(f"{SERVICE}/PreviewSegment", {"expression": RULE, "overlap_parents": [desk.base.name, rich.name]}))


HIDDEN = {"FINANCIAL": ("net_revenue", "average_order_value"), "LOCATION": ("region", "country"), "DEMOGRAPHIC": ("gender", "household")}


@pytest.mark.parametrize("sensitivity", HIDDEN)
def nobody_breaks_down_by_what_is_not_read_in_clear(desk, sensitivity):
    role = f"no-{sensitivity.lower()}"
    policies.publish(desk.admin, policies.role_like(desk.admin, "analyst", role, forms={sensitivity: {"form": "MASK_FORM_HASH"}}))
    client = policies.client_of(desk.suite, role)
    for field in (field for fields in HIDDEN.values() for field in fields):
        request = {"expression": RULE, "breakdown_fields": ["orders", field]}
        if field in HIDDEN[sensitivity]:
            must_be_denied(client.refused(f"{SERVICE}/PreviewSegment", request))
        else:
            assert len(client.call(f"{SERVICE}/PreviewSegment", request).breakdowns) == 2


def a_draft_tells_who_reads_no_money_nothing_of_what_depends_on_it(desk, new):
    """Neither revenue, nor that customers would move into what reads money."""
    admin, blind, word = desk.admin, desk.blind, new[:8]
    name = segments.create(admin, f"open-{word}", "orders >= 9").name
    segments.create(admin, f"rich-{word}", f"net_revenue >= 50 && {refers_to(f'open-{word}')}")
    segments.create(admin, f"after-{word}", f"orders >= 1 && {refers_to(f'open-{word}')}")
    segments.prepare(admin, name, RULE)
    hidden, shown = (segments.foresee(client, name, sample_size=5) for client in (blind, admin))
    assert [each.parent for each in shown.dependents] == [f"segments/after-{word}", f"segments/rich-{word}"]
    assert [each.parent for each in hidden.dependents] == [f"segments/after-{word}"]
    assert (hidden.moves.entering, list(hidden.entering_sample)) == (len(desk.names), desk.names)
    assert not any(each.HasField(field) for each in (hidden.moves, *hidden.dependents) for field in ("entering_revenue", "leaving_revenue"))
    cursor = segments.now(blind)
    segments.publish(blind, name, hidden.etag)
    told = {change.parent for change in segments.since(blind, cursor)}
    assert told == {name, f"segments/after-{word}"}, "whoever may put it in force is not told whom it moves by their money"


def versions_that_read_money_are_told_to_nobody_who_does_not(desk, new):
    """Those that read it when they were in force, by what they referred to then, whatever has become of that."""
    admin, blind, word = desk.admin, desk.blind, new[:8]
    segments.create(admin, f"rich-{word}", "net_revenue >= 50")
    name = segments.create(admin, f"was-{word}", "net_revenue >= 70").name
    for rule in (refers_to(f"rich-{word}"), RULE):
        segments.redefine(admin, name, rule)
    assert [each.name for each in segments.versions(blind, name)] == [f"{name}/versions/3"]
    assert [each.name for each in segments.versions(admin, name)] == [f"{name}/versions/{number}" for number in (3, 2, 1)]
    segments.redefine(admin, f"segments/rich-{word}", RULE)
    assert [each.name for each in segments.versions(blind, name)] == [f"{name}/versions/3"], "it counted customers by their money"
    segments.delete(admin, f"segments/rich-{word}")
    assert [each.name for each in segments.versions(blind, name)] == [f"{name}/versions/3"]
