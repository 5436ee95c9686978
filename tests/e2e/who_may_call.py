"""No token, a bad token, an expired token, a token of another tenant, a token of a role that may not."""
import uuid

import pytest

from support import facts, questions, quintile, tokens, waiting
from support.refusals import NOT_FOUND, PERMISSION_DENIED, UNAUTHENTICATED, Refusal
from support.rpc_cases import CASES
from support.watching import watch
from support.world import populate

# One RPC of every service, for each of which a good analyst's token is enough.
ONE_EACH = ["ClockService/GetAsOf", "ScoreModelService/ListScoreModels", "StageService/GetFunnel",
            "SegmentService/ListSegments"]
# Needs an administrator, but what is wrong with a token is found out before that.
ALL_SERVICES = [*ONE_EACH, "TenantService/ListTenants"]


@pytest.fixture(scope="module")
def world(shared):
    return populate(shared)


@pytest.fixture(scope="module")
def other(world):
    """An administrator of another tenant of the same suite."""
    tenant = f"other-{uuid.uuid4().hex[:8]}"
    world.client("admin").call("TenantService/CreateTenant", {"tenant_id": tenant})
    client = world.suite.client("admin", tenant)

    def known():
        """Whether all services have heard of the tenant."""
        try:
            return [client.call(method) for method in ALL_SERVICES]
        except Refusal as refusal:
            assert refusal.code.name in ("UNAUTHENTICATED", "UNAVAILABLE", "NOT_FOUND"), refusal
            return None
    waiting.until(known, "every service to know the new tenant", seconds=15)
    return client


@pytest.mark.parametrize("path", sorted(path for path, case in CASES.items() if not case.public))
def every_rpc_but_the_public_ones_refuses_a_call_without_a_token(world, path):
    stranger = world.suite.api().client(None)
    stranger.refused(path).must_be(UNAUTHENTICATED, "UNAUTHENTICATED")


def the_public_keys_are_had_without_a_token_and_a_token_is_not(world):
    stranger = world.suite.api().client(None)
    keys = stranger.call("TokenService/GetJwks")
    assert keys.issuer and all((k.kty, k.crv, k.alg) == ("OKP", "Ed25519", "EdDSA") for k in keys.keys) and keys.keys
    for secret in ("", "a guess", "x" * 300):
        refusal = stranger.refused("TokenService/IssueToken", {"role": "admin", "bootstrap_secret": secret})
        refusal.must_be(UNAUTHENTICATED, "UNAUTHENTICATED")


def a_token_that_is_not_ours_is_refused_by_every_service_whatever_is_wrong_with_it(world):
    good = world.suite.token("analyst")
    key = world.suite.api().client(None).call("TokenService/GetJwks").keys[0].x
    accepted = []
    for wrong, token in tokens.forgeries(good, key).items():
        for method in ALL_SERVICES:
            refusal = world.suite.api().client(token).refused(method)
            if refusal.code != UNAUTHENTICATED or refusal.reason != "UNAUTHENTICATED":
                accepted.append((wrong, method, str(refusal)))
            assert token == "" or len(token) < 9 or token not in str(refusal.answer), "a token was echoed"
    assert accepted == []
    for method in ONE_EACH:  # The one they were made from is good, so it was not that.
        world.client("analyst").call(method)


def an_authorization_that_is_not_one_bearer_token_is_refused(world):
    good, client = world.suite.token("analyst"), world.client("analyst")
    wrong = {"bare": [("authorization", good)], "basic": [("authorization", f"Basic {good}")],
             "no token": [("authorization", "Bearer")], "two words": [("authorization", f"Bearer {good} {good}")],
             "twice": [("authorization", f"Bearer {good}")] * 2,
             "elsewhere": [("x-authorization", f"Bearer {good}")]}
    for what, metadata in wrong.items():
        for method in ALL_SERVICES:
            refusal = client.refused(method, metadata=tuple(metadata))
            assert refusal.code == UNAUTHENTICATED, f"{what}: {refusal}"


def a_token_that_expires_ends_what_it_opened_and_opens_nothing_more(world):
    issued = world.client("admin").call("TokenService/IssueToken", {"role": "analyst", "lifetime": "1s"})
    client = world.suite.api().client(issued.token)
    with watch(client, "SegmentService/WatchMemberships") as watcher:
        watcher.until_caught_up()
        assert watcher.until_ended(seconds=60) == UNAUTHENTICATED  # 1 s and 30 s of leeway.
    client.refused("StageService/GetFunnel").must_be(UNAUTHENTICATED, "UNAUTHENTICATED")


@pytest.mark.parametrize("method,fields", [
    ("CustomerService/CreateCustomer", {"customer": {"identities": [facts.identity("denied")]}}),
    ("ClockService/SetAsOf", {"as_of": facts.days_after(1)}),
    ("TenantService/CreateTenant", {"tenant_id": "denied"}),
    ("TokenService/IssueToken", {"role": "admin"})])
def an_analyst_may_not_change_customers_time_tenants_or_tokens(world, method, fields):
    refusal = world.client("analyst").refused(method, fields)
    refusal.must_be(PERMISSION_DENIED, "METHOD_DENIED")
    assert "denied" not in [identity.id for customer in questions.everything(
        world.client("admin"), "CustomerService/ListCustomers", "customers") for identity in customer.identities]


@pytest.mark.parametrize("method,part", [
    ("CustomerService/GetCustomer", ""), ("FeatureService/GetFeatures", "/features"), ("ScoreService/GetScore", "/score"),
    ("ScoreService/ExplainScore", "/score"), ("StageService/GetStage", "/stage"), ("ProfileService/GetProfile", "/profile")])
def another_tenants_customer_is_answered_byte_by_byte_like_one_that_is_not_there(world, other, method, part):
    theirs = other.refused(method, {"name": world.customer + part})
    absent = other.refused(method, {"name": "customers/987654" + part})
    assert theirs.must_be(NOT_FOUND, "NOT_FOUND").answer == absent.answer


def another_tenants_definitions_streams_and_identities_are_not_there(world, other):
    pairs = [("SegmentService/GetSegment", "name", world.segment, "segments/absent"),
             ("SegmentService/DeleteSegment", "name", world.segment, "segments/absent"),
             ("SegmentService/ListMembers", "parent", world.segment, "segments/absent"),
             ("IngestService/GetIngestStream", "name", "ingestStreams/planted-stream", "ingestStreams/absent")]
    for method, field, present, absent in pairs:
        theirs = other.refused(method, {field: present}).must_be(NOT_FOUND, "NOT_FOUND")
        assert theirs.answer == other.refused(method, {field: absent}).answer, method
    known, unknown = ({"identity": facts.identity(each)} for each in ("bystander", "nobody"))
    theirs = other.refused("CustomerService/LookupCustomer", known).must_be(NOT_FOUND, "NOT_FOUND")
    assert theirs.answer == other.refused("CustomerService/LookupCustomer", unknown).answer


def another_tenant_lists_counts_and_batches_nobody(world, other):
    assert questions.everything(other, "CustomerService/ListCustomers", "customers") == []
    assert questions.everything(other, "IngestService/ListRejects", "rejects") == []
    assert questions.everything(other, "SegmentService/ListSegments", "segments") == []
    assert list(other.call("ScoreService/BatchGetScores", {"names": [f"{world.customer}/score"]}).scores) == []
    members = {"parent": world.label, "customers": [world.customer]}
    assert list(other.call("SegmentService/CheckMembers", members).members) == []
    assert questions.distribution(other).population == 0
    assert questions.preview(other, "orders >= 0").customers == 0
    assert sum(row.customers for row in other.call("StageService/GetFunnel").stages) == 0
