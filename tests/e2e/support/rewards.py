"""Offers, grants and loyalty tiers by hand: what tests make of them and ask about them, when a grant expires, and what callers of every RPC ask."""
import uuid
from datetime import datetime, time, timedelta, timezone

from support import questions
from support.playbook_kit import EVERYBODY, listed

OFFERS, LOYALTY = "OfferService", "LoyaltyService"
CREATE, GET, LIST, UPDATE, RETIRE, USE = (f"{OFFERS}/{verb}" for verb in (
    "CreateOffer", "GetOffer", "ListOffers", "UpdateOffer", "RetireOffer", "GetOfferUse"))
GRANT, GET_GRANT, LIST_GRANTS, REDEEM, REVOKE = (f"{OFFERS}/{verb}" for verb in (
    "GrantOffer", "GetGrant", "ListGrants", "RedeemGrant", "RevokeGrant"))
CREATE_TIER, GET_TIER, LIST_TIERS, UPDATE_TIER, DELETE_TIER = (f"{LOYALTY}/{verb}" for verb in (
    "CreateLoyaltyTier", "GetLoyaltyTier", "ListLoyaltyTiers", "UpdateLoyaltyTier", "DeleteLoyaltyTier"))
OF_CUSTOMER, CHANGES, SET_TIER, CLEAR_TIER = (f"{LOYALTY}/{verb}" for verb in (
    "GetCustomerTier", "ListTierChanges", "SetCustomerTier", "ClearCustomerTier"))
STATES = ("OPEN", "REDEEMED", "EXPIRED", "REVOKED")
# Letters and digits of codes: those that nobody takes for one another.
ALPHABET = set("23456789ABCDEFGHJKLMNPQRSTUVWXYZ")


def offer(title="Ten percent", days=30, **fields):
    """An offer of ten percent in one language, unless it is said otherwise."""
    return {"texts": [{"title": title}], "benefit": {"percent_off": 10}, "valid_days": days} | fields


def create(client, name=None, offer_id=None, **fields):
    return client.call(CREATE, {"offer_id": offer_id or f"o-{name or uuid.uuid4().hex}", "offer": offer(**fields)})


def update(client, found, **fields):
    mask = ",".join("".join(part if not place else part.capitalize() for place, part in enumerate(field.split("_"))) for field in fields)
    return client.call(UPDATE, {"offer": {"name": found.name} | fields, "update_mask": mask})


def pause(client, found):
    return update(client, found, state="OFFER_STATE_PAUSED")


def grant(client, customer, found, **fields):
    return client.call(GRANT, {"parent": customer, "offer": found.name} | fields)


def grants(client, parent=EVERYBODY, states=(), **request):
    """The grants of a customer or of everybody, the last made first."""
    return listed(client, LIST_GRANTS, "grants", parent, states, **request)


def redeem(client, found, order="order-1"):
    return client.call(REDEEM, {"name": found.name, "order_id": order})


def use(client, found):
    """(granted, open, redeemed, expired, revoked)"""
    counted = client.call(USE, {"name": found.name})
    return counted.granted, counted.open, counted.redeemed, counted.expired, counted.revoked


def tier(client, rank, tier_id=None, **fields):
    made = {"rank": rank, "texts": [{"title": f"Tier {rank}", "benefits": "a smile"}]} | fields
    return client.call(CREATE_TIER, {"loyalty_tier_id": tier_id or f"t-{uuid.uuid4().hex}", "tier": made})


def set_tier(client, customer, found):
    return client.call(SET_TIER, {"name": f"{customer}/loyaltyTier", "tier": found.name})


def tier_of(client, customer):
    return client.call(OF_CUSTOMER, {"name": f"{customer}/loyaltyTier"})


def changes(client, customer, **request):
    return questions.everything(client, CHANGES, "changes", parent=customer, **request)


def end_of(granted, days, zone=timezone.utc):
    """The midnight behind the rest of a day and so many days: computed from the calendar, and not by ours."""
    last = granted.astimezone(zone).date() + timedelta(days=days)
    return datetime.combine(last + timedelta(days=1), time(), tzinfo=zone)


# -- steps of playbooks ---------------------------------------------------------------------------------------------------

def grant_offer(found):
    return {"grant_offer": {"offer": getattr(found, "name", found)}}


def grant_tier(found, **fields):
    return {"grant_tier": {"tier": getattr(found, "name", found)} | fields}


# -- for those who call every RPC -----------------------------------------------------------------------------------------

PLANTED = [f"7731aaaa-0000-4000-8000-00000000000{n}" for n in range(3)]
ORDER = "planted-order"


def plant(admin, customer):
    """Two offers and two tiers; three grants of the canary, one of which is redeemed and one revoked, and two changes of its tier."""
    ours = create(admin, offer_id="planted", days=3_650, max_per_customer=100)
    create(admin, offer_id="planted-too")
    made = [grant(admin, customer, ours, request_id=each) for each in PLANTED]
    redeem(admin, made[1], ORDER)
    admin.call(REVOKE, {"name": made[2].name})
    for rank in (1, 2):
        set_tier(admin, customer, tier(admin, rank, f"planted-{rank}"))


def planted_grant(place):
    """The request for a grant of the canary, with other fields."""
    def build(world, **fields):
        return {"name": grants(world.client("admin"), world.customer)[::-1][place].name} | fields
    return build


def new_offer(_world):
    return {"offer_id": f"case-{uuid.uuid4().hex}", "offer": offer()}


def made_offer(world):
    """A new offer, of nobody."""
    return {"name": create(world.client("admin")).name}


def new_rank(admin):
    """A rank that no tier has."""
    taken = {each.rank for each in admin.call(LIST_TIERS).tiers}
    return next(rank for rank in range(3, 1_001) if rank not in taken)


def new_tier(world):
    """A tier that can be made: of those that cases have made none is left."""
    admin = world.client("admin")
    for each in admin.call(LIST_TIERS).tiers:
        if each.name.startswith("loyaltyTiers/case-"):
            admin.call(DELETE_TIER, {"name": each.name})
    made = {"rank": new_rank(admin), "texts": [{"title": "Case"}]}
    return {"loyalty_tier_id": f"case-{uuid.uuid4().hex}", "tier": made}


def made_tier(world):
    """A new tier, of nobody."""
    return {"name": world.client("admin").call(CREATE_TIER, new_tier(world)).name}


def of_customer(world, **fields):
    return {"name": f"{world.customer}/loyaltyTier"} | fields


# {`Service/Method`: its request}, by who may call them.
READ = {
    GET: lambda _world: {"name": "offers/planted"},
    LIST: lambda _world: {},
    USE: lambda _world: {"name": "offers/planted"},
    GET_GRANT: planted_grant(0),
    LIST_GRANTS: lambda world: {"parent": world.customer},
    GET_TIER: lambda _world: {"name": "loyaltyTiers/planted-1"},
    LIST_TIERS: lambda _world: {},
    OF_CUSTOMER: of_customer,
    CHANGES: lambda world: {"parent": world.customer},
}
MADE = {
    CREATE: new_offer,
    UPDATE: lambda world: {"offer": made_offer(world) | {"max_grants": 5}, "update_mask": "maxGrants"},
    RETIRE: made_offer,
    CREATE_TIER: new_tier,
    UPDATE_TIER: lambda world: {"tier": made_tier(world) | {"valid_days": 5}, "update_mask": "validDays"},
}
# Of customers whom a role does not reach, too.
DELETED = {DELETE_TIER: made_tier}
# What was done already stays as it is: it is answered alike to everybody.
GRANTED = {
    GRANT: lambda world: {"parent": world.customer, "offer": "offers/planted", "request_id": PLANTED[0]},
    REVOKE: planted_grant(2),
    SET_TIER: lambda world: of_customer(world, tier="loyaltyTiers/planted-2"),
    CLEAR_TIER: of_customer,
}
REDEEMED = {REDEEM: lambda world: planted_grant(1)(world, order_id=ORDER)}
