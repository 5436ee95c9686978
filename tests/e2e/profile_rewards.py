"""The loyalty tier and the grants in a profile: those that their own RPCs tell the same caller, in the same form, and named where they could not be
had."""
from datetime import timedelta
from types import SimpleNamespace

import pytest

from support import facts, policies, questions, quintile, rewards
from support.playbook_kit import come, consent
from support.rewards import GRANT, REVOKE, create, grant, grants, redeem, set_tier, tier, tier_of

CALLERS = ("admin", "service", "support", "sales", "marketer", "analyst")
# Of whom codes are in clear, of a customer of ann's.
READERS = {"admin", "service", "support", "sales"}
MOST = 100


@pytest.fixture(scope="module")
def club(backend):
    """A customer of ann's in a tier, with grants of every state but expired; one that has nothing; and callers of several roles."""
    with quintile.suite(backend) as suite:
        admin = suite.client("admin")
        rich, poor = come(admin, "rich", "poor", owner="ann")
        for name in (rich, poor):
            consent(admin, name)
        # A fact that comes later is behind what they said.
        questions.wait_for(admin, questions.take_in(admin, facts.interaction("poor", "visit")).facts_position)
        ours = create(admin, "ours", max_per_customer=100)
        made = [grant(admin, rich, ours) for _ in range(4)]
        redeem(admin, made[0])
        admin.call(REVOKE, {"name": made[1].name})
        set_tier(admin, rich, tier(admin, 1, "gold", valid_days=30))
        policies.publish(admin, policies.role_like(admin, "admin", "plain", without=("GetCustomerTier", "ListGrants")))
        clients = {role: suite.client(role, subject="ann" if role == "sales" else None) for role in CALLERS}
        clients["plain"] = policies.client_of(suite, "plain")
        yield SimpleNamespace(suite=suite, admin=admin, rich=rich, poor=poor, made=made, clients=clients)


def profile(client, name):
    return client.call("ProfileService/GetProfile", {"name": f"{name}/profile"})


@pytest.mark.parametrize("role", CALLERS)
def a_profile_tells_what_the_rpcs_of_the_parts_tell_the_same_caller(club, role):
    client = club.clients[role]
    told, own = profile(client, club.rich), tier_of(client, club.rich)
    assert told.loyalty_tier == own and own.tier == "loyaltyTiers/gold" and own.HasField("until_time")
    assert list(told.grants) == grants(client, club.rich, ["OPEN"]) and list(told.missing_parts) == []
    assert [each.name for each in told.grants] == [each.name for each in club.made[:1:-1]], "the last granted first, and none that was ended"
    whole = {each.name: each.code for each in club.made}
    assert {each.code == whole[each.name] for each in told.grants} == {role in READERS}


def whoever_is_in_no_tier_and_has_no_grant_lacks_no_part(club):
    told = profile(club.admin, club.poor)
    assert (told.HasField("loyalty_tier"), list(told.grants), list(told.missing_parts)) == (False, [], [])


def parts_that_are_not_for_the_caller_are_named_and_the_others_are_there(club):
    told = profile(club.clients["plain"], club.rich)
    assert list(told.missing_parts) == ["loyalty_tier", "grants"]
    assert (told.HasField("loyalty_tier"), list(told.grants)) == (False, []) and told.HasField("stage") and told.customer.name == club.rich


def the_command_shows_them_to_people(club):
    number = club.rich.split("/")[1]
    shown = club.suite.run("customer", "show", number, "--as", "support")
    assert "loyaltyTiers/gold until " in shown and all(each.code in shown for each in club.made[2:])
    assert not any(each.code in shown for each in club.made[:2])
    hidden = club.suite.run("customer", "show", number, "--as", "analyst")
    assert "offers/o-ours" in hidden and not any(each.code in hidden for each in club.made)
    nothing = club.suite.run("customer", "show", club.poor.split("/")[1], "--as", "support")
    assert "loyalty tier" not in nothing and "granted" not in nothing and "missing" not in nothing


def there_are_a_hundred_grants_at_most_and_none_that_time_has_ended(fresh):
    admin = fresh.client("admin")
    name = come(admin, "many")
    short, long = create(admin, "short", days=1), create(admin, "long", days=30, max_per_customer=MOST)
    other = create(admin, "other", days=30)
    for each in (short, other, *[long] * MOST):
        admin.call(GRANT, {"parent": name, "offer": each.name})
    set_tier(admin, name, tier(admin, 1, valid_days=1))
    told = profile(admin, name)
    assert len(told.grants) == MOST and {each.offer for each in told.grants} == {long.name} and told.HasField("loyalty_tier")
    questions.set_clock(admin, rewards.end_of(facts.AS_OF, 1) + timedelta(hours=1))
    last = grants(admin, name, ["OPEN"])[0]
    redeem(admin, last)
    told = profile(admin, name)
    assert {each.offer for each in told.grants} == {long.name, other.name} and len(told.grants) == MOST
    assert not told.HasField("loyalty_tier")
