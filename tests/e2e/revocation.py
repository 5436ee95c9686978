"""Tokens, accounts and rights end before their time: in every service, within five seconds, open streams included."""
import contextlib
import time
import uuid

import pytest

from support import facts, policies, tokens, waiting
from support.policies import ONE_EACH
from support.refusals import FAILED_PRECONDITION, PERMISSION_DENIED, UNAUTHENTICATED, Refusal
from support.watching import watch

SECONDS = 5  # In which every connected service follows.
STREAMS = ("FeatureService/WatchFeatures", "ScoreService/WatchScores", "StageService/WatchStages",
           "SegmentService/WatchMemberships")


def is_refused(client):
    """Whether every service refuses who the client is."""
    for method in ONE_EACH:
        try:
            client.call(method)
            return False
        except Refusal as refusal:
            if refusal.code != UNAUTHENTICATED:
                refusal.must_be(PERMISSION_DENIED, "METHOD_DENIED")
                return False
    return True


def until_refused(client, what):
    waiting.until(lambda: is_refused(client), f"every service to refuse {what}", SECONDS)


def new_tenant(suite, tenant):
    """An administrator of a new tenant that every service knows."""
    suite.client("admin").call("TenantService/CreateTenant", {"tenant_id": tenant})
    client = suite.client("admin", tenant)
    waiting.until(lambda: policies.is_known(client), "every service to know the tenant", policies.FORCE_SECONDS)
    return client


def revoke(admin, **target):
    return admin.call("RevocationService/CreateRevocation", {"revocation": target})


def fresh_client(suite, role, subject, admin=None):
    """A client with a token that is good, even if its subject's earlier ones were revoked in this very second."""
    def good():
        client = suite.api().client(policies.token_of(suite, role, subject, admin))
        return client if policies.is_known(client) else None
    return waiting.until(good, "a token that is not revoked", SECONDS)


def one_token_is_revoked_and_its_siblings_are_not(shared):
    admin = shared.client("admin")
    revoked, sibling = (policies.token_of(shared, "analyst", "tim") for _ in range(2))
    client = shared.api().client(revoked)
    assert policies.is_known(client) and not is_refused(client)
    made = revoke(admin, token_id=tokens.parts(revoked)[1]["jti"])
    until_refused(client, "a token")
    assert policies.is_known(shared.api().client(sibling))
    assert made.name in [each.name for each in admin.call("RevocationService/ListRevocations").revocations]


def all_tokens_of_a_subject_are_revoked_and_new_ones_are_not(shared):
    admin = shared.client("admin")
    old = [shared.api().client(policies.token_of(shared, role, "tom")) for role in ("analyst", "support")]
    bystander = shared.api().client(policies.token_of(shared, "analyst", "tommy"))
    revoke(admin, subject="tom")
    for client in old:
        until_refused(client, "a subject")
    assert policies.is_known(bystander)
    assert not is_refused(fresh_client(shared, "analyst", "tom"))
    assert all(is_refused(client) for client in old)


def what_was_issued_before_an_instant_is_revoked_in_one_tenant(shared):
    admin = new_tenant(shared, "emptied")
    analyst = shared.api().client(policies.token_of(shared, "analyst", "tess", admin))
    elsewhere = shared.api().client(policies.token_of(shared, "analyst", "tess"))
    instant = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # Tokens know whole seconds: those of the second before are older for certain.
    waiting.until(lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) != instant, "the second to end", SECONDS)
    revoke(admin, issued_before=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    for client in (analyst, admin):
        until_refused(client, "what was issued before")
    assert policies.is_known(elsewhere)
    printed = shared.run("token", "--role", "admin", "--tenant", "emptied").strip()
    new = shared.api().client(printed)
    waiting.until(lambda: policies.is_known(new), "the new token to be good", SECONDS)
    # The suite's own services go on.
    name = new.call("CustomerService/CreateCustomer", {"customer": {"identities": [facts.identity("after")]}}).name
    waiting.until(lambda: profile_of(new, name), "the new customer's profile, every part of it")


def profile_of(client, name):
    """The profile, once every service has its part of it."""
    try:
        profile = client.call("ProfileService/GetProfile", {"name": f"{name}/profile"})
    except Refusal as refusal:
        assert refusal.code.name in ("NOT_FOUND", "UNAVAILABLE"), refusal
        return None
    return None if profile.missing_parts else profile


@contextlib.contextmanager
def following(client):
    """Watchers of every stream, caught up."""
    with contextlib.ExitStack() as stack:
        watchers = [stack.enter_context(watch(client, method)) for method in STREAMS]
        for watcher in watchers:
            watcher.until_caught_up()
        yield watchers


@pytest.mark.parametrize("by", ["token_id", "subject"])
def streams_that_a_revoked_token_opened_end(shared, by):
    admin, subject = shared.client("admin"), f"streamer-{by}"
    token = policies.token_of(shared, "data-engineer", subject)
    with following(shared.api().client(token)) as watchers:
        revoke(admin, **{by: subject if by == "subject" else tokens.parts(token)[1]["jti"]})
        assert [watcher.until_ended(SECONDS) for watcher in watchers] == [UNAUTHENTICATED] * len(STREAMS)


def streams_of_a_role_that_loses_them_end(shared):
    admin = shared.client("admin")
    policies.publish(admin, policies.role_like(admin, "data-engineer", "follower"))
    client = policies.client_of(shared, "follower")
    with following(client) as watchers:
        policies.publish(admin, policies.role_like(admin, "data-engineer", "follower", without=STREAMS))
        assert [watcher.until_ended(SECONDS) for watcher in watchers] == [PERMISSION_DENIED] * len(STREAMS)
    client.refused(STREAMS[0]).must_be(PERMISSION_DENIED, "METHOD_DENIED")
    assert client.call("StageService/GetFunnel").stages


def streams_of_a_role_that_goes_end_and_its_tokens_are_nobodys(shared):
    admin = shared.client("admin")
    policies.publish(admin, policies.role_like(admin, "data-engineer", "passing"))
    client = policies.client_of(shared, "passing")
    with following(client) as watchers:
        policies.publish_all(admin, [])
        ends = {watcher.until_ended(SECONDS) for watcher in watchers}
        assert ends <= {PERMISSION_DENIED, UNAUTHENTICATED}, ends
    until_refused(client, "a role that is gone")


def new_account(admin, role="data-engineer"):
    """A new service account: its id and name."""
    account = f"robot-{uuid.uuid4().hex[:8]}"
    principal = {"kind": "PRINCIPAL_KIND_SERVICE_ACCOUNT", "role": role}
    return account, admin.call("PrincipalService/CreatePrincipal", {"principal_id": account, "principal": principal}).name


def exchange(suite, account, secret):
    """A client by an account's secret; nobody else's token is needed."""
    request = {"principal": account, "client_secret": secret}
    return suite.api().client(suite.api().client(None).call("TokenService/IssueToken", request).token)


def secrets_of_a_service_account_rotate_without_a_gap(shared):
    admin, stranger = shared.client("admin"), shared.api().client(None)
    account, name = new_account(admin)
    first, second = (admin.call("PrincipalService/CreateSecret", {"parent": name}) for _ in range(2))
    clients = [exchange(shared, account, secret.client_secret) for secret in (first, second)]
    assert all(policies.is_known(client) for client in clients)
    refusal = admin.refused("PrincipalService/CreateSecret", {"parent": name})
    refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    admin.call("PrincipalService/DeleteSecret", {"name": first.secret.name})
    wrong = {"principal": account, "client_secret": first.client_secret}
    refusals = [stranger.refused("TokenService/IssueToken", request) for request in (
        wrong, wrong | {"client_secret": "x" * 43}, wrong | {"principal": "nobody"}, wrong | {"tenant": "emptied"},
        wrong | {"tenant": "no-such-tenant"}, {"principal": "nobody", "client_secret": second.client_secret})]
    # Which of them was wrong is not told.
    assert {refusal.must_be(UNAUTHENTICATED, "UNAUTHENTICATED").answer for refusal in refusals} == {refusals[0].answer}
    assert policies.is_known(clients[0]), "a token that a deleted secret bought is good until it expires"
    assert policies.is_known(exchange(shared, account, second.client_secret))
    third = admin.call("PrincipalService/CreateSecret", {"parent": name})
    assert policies.is_known(exchange(shared, account, third.client_secret))
    kept = admin.call("PrincipalService/GetPrincipal", {"name": name})
    assert len(kept.secrets) == 2 and third.client_secret not in str(kept)


def an_account_that_is_shut_out_is_out_with_its_tokens_and_streams(shared):
    admin, stranger = shared.client("admin"), shared.api().client(None)
    account, name = new_account(admin)
    secret = admin.call("PrincipalService/CreateSecret", {"parent": name}).client_secret
    client = exchange(shared, account, secret)
    disable = lambda disabled: admin.call("PrincipalService/UpdatePrincipal", {  # noqa: E731
        "principal": {"name": name, "disabled": disabled}, "update_mask": "disabled"})
    with watch(client, "FeatureService/WatchFeatures") as watcher:
        watcher.until_caught_up()
        disable(True)
        assert watcher.until_ended(SECONDS) == UNAUTHENTICATED
    until_refused(client, "an account that is shut out")
    request = {"principal": account, "client_secret": secret}
    stranger.refused("TokenService/IssueToken", request).must_be(UNAUTHENTICATED, "UNAUTHENTICATED")
    admin.refused("TokenService/IssueToken", {"subject": account}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    disable(False)
    waiting.until(lambda: policies.is_known(exchange(shared, account, secret)), "the account to be let in again", SECONDS)
    assert is_refused(client)


def a_principal_whose_role_changes_or_that_is_deleted_is_not_what_it_was(shared):
    admin = shared.client("admin")
    account, name = new_account(admin)
    secret = admin.call("PrincipalService/CreateSecret", {"parent": name}).client_secret
    client = exchange(shared, account, secret)
    assert policies.is_known(client)
    admin.call("PrincipalService/UpdatePrincipal", {"principal": {"name": name, "role": "auditor"}, "update_mask": "role"})
    until_refused(client, "a role that was")
    new = waiting.until(lambda: known(exchange(shared, account, secret)), "the new role", SECONDS)
    new.refused("StageService/GetFunnel").must_be(PERMISSION_DENIED, "METHOD_DENIED")
    admin.call("PrincipalService/DeletePrincipal", {"name": name})
    until_refused(new, "a principal that is gone")
    request = {"principal": account, "client_secret": secret}
    shared.api().client(None).refused("TokenService/IssueToken", request).must_be(UNAUTHENTICATED, "UNAUTHENTICATED")


def known(client):
    return client if policies.is_known(client) else None


def revocations_are_of_one_tenant(shared):
    subject = "twin"
    here = shared.api().client(policies.token_of(shared, "analyst", subject))
    there_admin = new_tenant(shared, "twins")
    there = shared.api().client(policies.token_of(shared, "analyst", subject, there_admin))
    revoke(shared.client("admin"), subject=subject)
    until_refused(here, "a subject")
    assert policies.is_known(there)
    assert [each for each in there_admin.call("RevocationService/ListRevocations").revocations if each.subject == subject] == []
