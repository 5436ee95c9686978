"""After everybody has called everything, right and wrong, no canary is in a log, the audit log or a data file."""
import uuid
from dataclasses import replace
from types import SimpleNamespace

import pytest

from analyst_sees_nobody import REFUSED
from support import canaries, facts, quintile, receiver
from support.field_forms import ROLES
from support.refusals import Refusal
from support.rpc_cases import CASES
from support.world import populate

# Of a person, not even the ids of other systems are in what is written down about calls.
FROM_AUDIT = canaries.FROM_ANALYSTS
# Enough entries that one page is not all.
PAGE = 200


@pytest.fixture(scope="module")
def run(backend):
    """A suite that was asked everything by everybody, a few calls of which carry canaries where they do not belong."""
    with quintile.suite(backend, webhooks=receiver.refusing()) as suite:
        world = populate(suite)
        answered = sum(call_all(world, role) for role in ROLES)
        assert answered > len(CASES), "hardly anything was answered"
        call_wrongly(world)
        yield SimpleNamespace(suite=suite, client=world.client, secrets=secrets_of(world))


def secrets_of(world):
    """What lets its bearer in: the signatures of all tokens so far, one that an account's secret bought, and that secret."""
    admin, account = world.client("admin"), f"robot-{uuid.uuid4().hex[:8]}"
    made = admin.call("PrincipalService/CreatePrincipal", {
        "principal_id": account, "principal": {"kind": "PRINCIPAL_KIND_SERVICE_ACCOUNT", "role": "analyst"}})
    secret = admin.call("PrincipalService/CreateSecret", {"parent": made.name}).client_secret
    stranger = world.suite.api().client(None)
    token = stranger.call("TokenService/IssueToken", {"principal": account, "client_secret": secret}).token
    world.suite.api().client(token).call("StageService/GetFunnel")
    return [secret, *(each.split(".")[2] for each in (token, *world.suite.tokens.values()))]


def call_all(world, role):
    """Calls every RPC as a role, and returns how many answered."""
    answered = 0
    for path, case in CASES.items():
        try:
            answered += bool(case.call(world, world.client(role), path))
        except Refusal as refusal:
            assert canaries.found_in_refusal(refusal, canaries.FROM_OUTPUT) == [], path
            assert refusal.code.name not in ("UNKNOWN", "INTERNAL"), (path, refusal)
    return answered


def call_wrongly(world):
    """Refused values, and canaries in ids, names, tokens, headers and expressions."""
    admin, texts = world.client("admin"), (canaries.NAME, canaries.PHONE, canaries.EMAIL, canaries.ADDRESS)
    for method, request, codes in REFUSED:
        assert admin.refused(method, request).code in codes
    for text in texts:
        ascii_text = text if text.isascii() else text.encode().hex()
        calls = [
            ("CustomerService/GetCustomer", {"name": f"customers/{text}"}, None),
            ("CustomerService/GetCustomer", {"name": text}, None),
            ("CustomerService/ListCustomers", {"page_token": text}, None),
            ("CustomerService/LookupCustomer", {"identity": {"source": text, "id": text}}, None),
            ("CustomerService/UpdateCustomer", {"customer": {"name": world.customer, "etag": text}, "update_mask": "phone"}, None),
            ("SegmentService/PreviewSegment", {"expression": f'display_name == "{text}"'}, None),
            ("SegmentService/PreviewSegment", {"expression": text}, None),
            ("SegmentService/CreateSegment", {"segment_id": text, "segment": {"expression": "true"}}, None),
            ("SegmentService/GetSegment", {"name": f"segments/{text}"}, None),
            ("ScoreService/BatchGetScores", {"names": [text]}, None),
            ("IngestService/GetIngestStream", {"name": f"ingestStreams/{text}"}, None),
            ("IngestService/IngestBatch", {"request_id": text, "rows": [facts.order("x", "y")]}, None),
            ("StageService/GetFunnel", {}, (("authorization", f"Bearer {ascii_text}"),)),
            ("StageService/GetFunnel", {}, (("authorization", f"Bearer {admin.token}"), ("x-quintile-purpose", ascii_text))),
            ("StageService/GetFunnel", {}, (("authorization", f"Bearer {admin.token}"), ("grpc-timeout", ascii_text))),
            ("TokenService/IssueToken", {"role": "admin", "bootstrap_secret": text}, ()),
            ("TokenService/IssueToken", {"principal": text, "client_secret": text}, ()),
        ]
        for method, request, metadata in calls:
            try:
                admin.refused(method, request, metadata)
            except AssertionError as answered:  # grpcio may keep a header to itself.
                assert metadata and "was not refused" in str(answered), answered
    rejected = admin.call("IngestService/IngestBatch", facts.batch(
        facts.customer("odd-1", display_name=canaries.NAME + "\u202e"), facts.customer("odd-2", phone=f"tel {canaries.NATIONAL_PHONE}"),
        facts.order("odd-3", "e", cents=-1, channel=canaries.NAME)))
    assert len(rejected.rejects) == 3


def the_log_holds_no_canary_whatever_was_called(run):
    log = run.suite.log.read_text(errors="replace")
    assert len(log.splitlines()) > 20
    assert canaries.found_in_json_log(log, canaries.FROM_OUTPUT) == []
    assert "panicked" not in log


@pytest.mark.parametrize("port", quintile.PORTS)
def the_audit_log_of_a_service_holds_no_value_of_anybody(run, port):
    admin, api = run.client("admin"), run.suite.api()
    read = 0
    for method, field in (("AuditService/ListAuditEvents", "events"), ("AuditService/ListAuditEntries", "entries")):
        token = ""
        while True:
            page = admin.call(api.method_on(port, method), {"page_size": PAGE, "page_token": token})
            read += len(getattr(page, field))
            assert canaries.found_in_message(page, FROM_AUDIT) == []
            token = page.next_page_token
            if not token:
                break
    assert read > 10, f"only {read} entries were searched"


def the_log_the_data_files_and_tables_hold_no_canary_and_no_secret_while_it_runs_and_afterwards(run):
    for stopped in (False, True):
        if stopped:
            assert run.suite.stop() == 0
        places = {str(path): path.read_bytes() for path in run.suite.home.rglob("*") if path.is_file()}
        places |= dict(run.suite.at_rest())
        assert len(places) >= 6
        hidden = replace(canaries.FROM_OUTPUT, texts=(*canaries.FROM_OUTPUT.texts, *run.secrets))
        found = {place: canaries.found_in_bytes(data, hidden) for place, data in places.items()}
        assert {place: canary for place, canary in found.items() if canary} == {}
