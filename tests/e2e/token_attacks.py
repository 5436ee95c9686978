"""The attack list of tokens, over the wire, against every service; and what external issuers may and may not.

Almost all are signed with a key that the suite accepts: what has them refused is what is wrong with them, not a bad signature.
"""
import time
from types import SimpleNamespace

import pytest

from support import attacks, canaries, facts, oidc, policies, tokens, waiting
from support.oidc import Key
from support.verdicts import is_accepted, let_through
from support.reflection import authorization
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, PERMISSION_DENIED, UNAUTHENTICATED
from support.world import populate


@pytest.fixture(scope="module")
def server():
    with oidc.serving() as server:
        yield server


@pytest.fixture(scope="module")
def world(shared):
    return populate(shared)


@pytest.fixture(scope="module")
def issuers(world, server):
    """Two issuers that the suite accepts, in force in every service; the third key of the first is not accepted of it."""
    first, second = server.issuer(Key("RS256"), Key("ES256"), Key("EdDSA")), server.issuer()
    for issuer in (first, second):
        world.client("admin").call("IssuerService/CreateIssuer", issuer.message())
    for issuer in (first, second):
        client = world.suite.api().client(issuer.token())
        waiting.until(lambda: policies.is_known(client), "every service to know the issuer", policies.FORCE_SECONDS)
    return SimpleNamespace(first=first, second=second)


def tokens_of_an_external_issuer_are_accepted_with_the_roles_that_they_are_mapped_to(world, issuers):
    for key in issuers.first.keys[:2]:
        assert is_accepted(world.suite, issuers.first.token(key)), key.algorithm
        assert is_accepted(world.suite, issuers.first.token(key, roles="reader", aud=["other", "quintile"])), key.algorithm
    name = {"name": world.customer}
    for role, seen in (("reader", "****"), ("helper", canaries.NAME)):
        # What else it says of itself counts for nothing.
        token = issuers.first.token(role=role, tenant="other", role_name="admin", scope="admin", department="all")
        client = world.suite.api().client(token)
        assert client.call("CustomerService/GetCustomer", name).display_name == seen
        client.refused("TenantService/CreateTenant", {"tenant_id": "theirs"}).must_be(PERMISSION_DENIED, "METHOD_DENIED")
        client.refused("TokenService/IssueToken", {"role": "admin"}).must_be(PERMISSION_DENIED, "METHOD_DENIED")


def headers_that_name_keys_are_not_read_in_good_tokens_either(world, server, issuers):
    decoy = server.issuer()
    before = len(server.asked)
    token = issuers.first.token(header={"jku": f"{decoy.url}/keys", "x5u": f"{decoy.url}/keys", "jwk": decoy.keys[0].jwk()})
    assert is_accepted(world.suite, token)
    assert len(server.asked) == before


@pytest.mark.parametrize("family", ["algorithms", "signatures", "claims", "documents"])
def a_token_with_one_thing_wrong_is_refused_by_every_service(world, issuers, family):
    forgeries = getattr(attacks, family)(issuers.first)
    assert len(forgeries) >= 15
    assert let_through(world.suite, forgeries) == []
    assert is_accepted(world.suite, issuers.first.token())


def a_token_that_says_which_key_to_believe_is_refused_and_nothing_is_fetched(world, server, issuers):
    decoy, stranger = server.issuer(), Key("RS256")
    decoy.keys = [stranger]
    assert let_through(world.suite, attacks.headers(issuers.first, f"{decoy.url}/keys", stranger)) == []
    assert [path for path in server.asked if path.startswith(decoy.url.removeprefix(server.base))] == []


def the_leeway_is_for_clocks_that_differ_and_ends_with_it(world, issuers):
    now = int(time.time())
    assert is_accepted(world.suite, issuers.first.token(exp=now - 5, iat=now - 60, nbf=now - 60))
    assert is_accepted(world.suite, issuers.first.token(nbf=now + 20, iat=now + 20))
    assert let_through(world.suite, {"a second after it": issuers.first.token(exp=now - 31, iat=now - 60, nbf=now - 60)}) == []


def an_issuer_speaks_for_itself_alone(world, issuers):
    first, second = issuers.first, issuers.second
    own = world.suite.token("analyst")
    header, claims, _ = tokens.parts(own)
    forgeries = {
        "one's key, the other's name": first.token(iss=second.url),
        "one's key under the other's id, the other's name": first.token(header={"kid": second.keys[0].kid}, iss=second.url),
        "the other's key, one's name": first.token(second.keys[0]),
        "its key, our name and claims": tokens.put_together(first.header(), claims, first.keys[0].sign),
        "its key under our id": tokens.put_together(first.header() | {"kid": header["kid"]}, claims, first.keys[0].sign),
        "our header, its key": tokens.put_together(header, claims, first.keys[0].sign),
        "our key's id, its name": first.token(header={"kid": header["kid"], "alg": "EdDSA"}),
    }
    assert let_through(world.suite, forgeries) == []
    assert is_accepted(world.suite, second.token()) and is_accepted(world.suite, own)


def nobody_from_elsewhere_is_one_of_the_suites_services(world, server):
    admin = world.client("admin")
    for n, roles in enumerate(([{"value": "machine", "role": "service"}],
                               [{"value": "a", "role": "analyst"}, {"value": "machine", "role": "service"}],
                               [{"value": "a", "role": "no-such-role"}], [])):
        message = server.issuer(Key("ES256")).message()
        message["issuer"]["roles"] = roles
        refusal = admin.refused("IssuerService/CreateIssuer", message | {"issuer_id": f"machines-{n}"})
        refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")


def an_issuer_that_can_not_be_trusted_is_not_made(world, server):
    admin = world.client("admin")
    for n, url in enumerate(("http://issuer.example", "ftp://127.0.0.1/x", "127.0.0.1", "", f"{server.base}/a?b", f"{server.base}/#",
                             "http://u:p@127.0.0.1/x", "http://127.0.0.1.issuer.example/x")):
        message = server.issuer(Key("ES256")).message() | {"issuer_id": f"wrong-{n}"}
        message["issuer"]["issuer"] = url
        admin.refused("IssuerService/CreateIssuer", message).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    out = server.issuer(Key("ES256"))
    out.out = True
    admin.refused("IssuerService/CreateIssuer", out.message()).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    impostor = server.issuer(Key("ES256"))
    own = tokens.parts(world.suite.token("analyst"))[1]["iss"]
    message = impostor.message()
    message["issuer"]["issuer"] = own
    refusal = admin.refused("IssuerService/CreateIssuer", message)
    refusal.must_be({INVALID_ARGUMENT, FAILED_PRECONDITION}, {"INVALID_FIELD", "FAILED_PRECONDITION"})


def only_a_service_speaks_for_somebody_else_and_then_for_one_who_may(world, issuers):
    suite, admin = world.suite, world.suite.token("admin")
    name = {"name": world.customer}
    on_behalf = lambda token, of: (*authorization(token), ("x-quintile-on-behalf-of", f"Bearer {of}"))  # noqa: E731
    client = world.client("analyst")
    for speaker in (suite.token("analyst"), admin, suite.token("support"), issuers.first.token()):
        refusal = client.refused("CustomerService/GetCustomer", name, on_behalf(speaker, admin))
        refusal.must_be(UNAUTHENTICATED, "UNAUTHENTICATED")
    service = suite.token("service")
    customer = client.call("CustomerService/GetCustomer", name, on_behalf(service, suite.token("analyst")))
    assert customer.display_name == "****"
    refusal = client.refused("ClockService/SetAsOf", {"as_of": facts.text_of(facts.AS_OF)}, on_behalf(service, suite.token("analyst")))
    refusal.must_be(PERMISSION_DENIED, "METHOD_DENIED")
    for forged in (issuers.first.token(exp=1), attacks.by_secret(issuers.first, issuers.first.keys[0], b""), "", "x"):
        refusal = client.refused("CustomerService/GetCustomer", name, on_behalf(service, forged))
        refusal.must_be(UNAUTHENTICATED, "UNAUTHENTICATED")
    two = (*on_behalf(service, admin), ("x-quintile-on-behalf-of", f"Bearer {admin}"))
    client.refused("CustomerService/GetCustomer", name, two).must_be(UNAUTHENTICATED, "UNAUTHENTICATED")


def an_issuer_that_is_deleted_or_changed_counts_as_it_is_now(world, server):
    admin, issuer = world.client("admin"), server.issuer(Key("ES256"))
    name = admin.call("IssuerService/CreateIssuer", issuer.message()).name
    waiting.until(lambda: is_accepted(world.suite, issuer.token()), "the issuer to be known", policies.FORCE_SECONDS)
    admin.call("IssuerService/UpdateIssuer", {"issuer": {"name": name, "audience": "api://quintile"}, "update_mask": "audience"})
    waiting.until(lambda: is_accepted(world.suite, issuer.token(aud="api://quintile")), "the audience", policies.FORCE_SECONDS)
    assert let_through(world.suite, {"the audience that was": issuer.token()}) == []
    admin.call("IssuerService/UpdateIssuer", {"issuer": {"name": name, "algorithms": ["RS256"]}, "update_mask": "algorithms"})
    good = issuer.token(aud="api://quintile")
    waiting.until(lambda: let_through(world.suite, {"an algorithm that was": good}) == [], "the algorithm", policies.FORCE_SECONDS)
    admin.call("IssuerService/DeleteIssuer", {"name": name})
    waiting.until(lambda: let_through(world.suite, {"of no issuer": good}) == [], "the issuer to be gone", policies.FORCE_SECONDS)
