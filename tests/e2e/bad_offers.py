"""Offers, grants and loyalty tiers that make no sense are refused by their field, and nothing of a value is told again; so are steps and e-mails that
name what they can't."""
from types import SimpleNamespace

import pytest

from support import quintile, rewards
from support.playbook_kit import CREATE as CREATE_PLAYBOOK
from support.playbook_kit import SECRET, come, email, is_refused, playbook, text
from support.rewards import (CHANGES, CLEAR_TIER, CREATE, CREATE_TIER, DELETE_TIER, GET, GET_GRANT, GET_TIER, GRANT, LIST, LIST_GRANTS, LIST_TIERS,
                             OF_CUSTOMER, REDEEM, RETIRE, REVOKE, SET_TIER, UPDATE, UPDATE_TIER, USE, grant_offer, grant_tier, offer)

NO_IDS = ("", "1a", "A", "a b", "a/b", "x" * 64, SECRET.upper())
NO_OFFERS = ["", "offers/", "offers/A", "offer/a", "loyaltyTiers/a", "offers/a/b", f"offers/{'x' * 64}"]
NO_TIERS = ["", "loyaltyTiers/", "loyaltyTiers/A", "offers/a", "loyaltyTiers/a/b"]
NO_GRANTS = ["customers/1", "customers/1/grants/", "customers/1/grants/1", "customers/1/grants/01-0", "customers/0/grants/1-0",
             "customers/1/tasks/1-0"]
LONG = "x" * 257


def benefit(**kind):
    return {"benefit": kind}


def amount(units=5, code="USD", **fields):
    return benefit(amount_off={"currency_code": code, "units": units} | fields)


def titles(*texts):
    return {"texts": list(texts)}


def together(field, size):
    """Nine texts of a title of one byte, and of so many bytes more each."""
    return titles(*({"title": "x", field: "x" * size} | ({"language": f"x-{place}"} if place else {}) for place in range(9)))


TEXTS = [
    (titles(), "texts"), (titles({"title": "x", "language": "de"}), "texts"), (titles(*({"title": "x"} for _ in range(21))), "texts"),
    (titles({"title": "x"}, {"title": "y"}), "texts[1].language"), (titles({"title": "x"}, {"title": "y", "language": "d_e"}), "texts[1].language"),
    (titles({"title": ""}), "texts[0].title"), (titles({"title": " "}), "texts[0].title"), (titles({"title": LONG}), "texts[0].title"),
    (titles({"title": "a\nb"}), "texts[0].title"), (titles({"title": f"{SECRET}\0"}), "texts[0].title")]
OFFERS = [(wrong, f"offer.{field}") for wrong, field in [
    *TEXTS, (titles({"title": "x", "description": "x" * 2_049}), "texts[0].description"), (titles({"title": "{{code}}"}), "texts[0].title"),
    (together("description", 1_820), "texts"), ({"benefit": None}, "benefit"), (benefit(), "benefit"),
    *((benefit(percent_off=percent), "benefit.percent_off") for percent in (0, -1, 101)),
    (amount(code="EUR"), "benefit.amount_off"), (amount(code=SECRET), "benefit.amount_off"), (amount(0), "benefit.amount_off"),
    (amount(-5), "benefit.amount_off"), (amount(5, nanos=1), "benefit.amount_off"), (amount(5, nanos=-10_000_000), "benefit.amount_off"),
    (amount(2**62), "benefit.amount_off"), (benefit(gift=" "), "benefit.gift"), (benefit(gift=LONG), "benefit.gift"),
    *(({"valid_days": days}, "valid_days") for days in (0, -1, 3_651)), *(({"max_grants": most}, "max_grants") for most in (-1, 10**9 + 1)),
    *(({"max_per_customer": most}, "max_per_customer") for most in (-1, 101))]]
TIERS = [(wrong, f"tier.{field}") for wrong, field in [
    *TEXTS, (together("benefits", 1_820), "texts"), *(({"rank": rank}, "rank") for rank in (0, -1, 1_001)),
    (titles({"title": "x", "benefits": "x" * 2_049}), "texts[0].benefits"),
    *(({"offers": ["offers/b", name]}, "offers[1]") for name in NO_OFFERS), ({"offers": ["offers/b"] * 2}, "offers[1]"),
    ({"offers": [f"offers/o-{n}" for n in range(6)]}, "offers"), *(({"valid_days": days}, "valid_days") for days in (-1, 3_651))]]
A_TIER = {"rank": 5, "texts": [{"title": "x"}]}

BAD = [(CREATE, {"offer_id": each, "offer": offer()}, "offer_id") for each in NO_IDS]
BAD += [(CREATE, {"offer_id": "bad"}, "offer")]
BAD += [(CREATE, {"offer_id": "bad", "offer": {key: value for key, value in (offer() | wrong).items() if value is not None}}, field)
        for wrong, field in OFFERS]
BAD += [(method, {"name": name}, "name") for method in (GET, RETIRE, USE) for name in NO_OFFERS]
BAD += [(UPDATE, {"offer": {"name": "offers/there", "valid_days": 5}} | mask, "update_mask") for mask in (
    {}, {"update_mask": ""}, {"update_mask": "benefit"}, {"update_mask": "name"}, {"update_mask": SECRET})]
BAD += [(UPDATE, {"update_mask": "validDays"}, "offer"), (UPDATE, {"offer": {"name": "x"}, "update_mask": "state"}, "offer.name")]
BAD += [(UPDATE, {"offer": {"name": "offers/there", "state": number}, "update_mask": "state"}, "offer.state") for number in (0, 3, 4, -1)]
BAD += [(UPDATE, {"offer": {"name": "offers/there"}, "update_mask": "validDays"}, "offer.valid_days")]
BAD += [(GRANT, {"parent": parent, "offer": "offers/there"}, "parent") for parent in ("", "x", "customers/-", "customers/0", "customers/1/grants")]
BAD += [(GRANT, {"parent": "customers/1", "offer": name}, "offer") for name in NO_OFFERS]
BAD += [(GRANT, {"parent": "customers/1", "offer": "offers/there", "request_id": SECRET}, "request_id")]
BAD += [(method, {"name": name}, "name") for method in (GET_GRANT, REVOKE) for name in ["", *NO_GRANTS]]
BAD += [(LIST_GRANTS, {"parent": parent}, "parent") for parent in ("", "customers", "customers/0", "offers/there")]
BAD += [(LIST_GRANTS, {"parent": "customers/-", "offer": name}, "offer") for name in NO_OFFERS[1:]]
BAD += [(LIST_GRANTS, {"parent": "customers/-", "states": [1, number]}, "states[1]") for number in (0, 5, -1)]
BAD += [(LIST_GRANTS, {"parent": "customers/-", "states": [1] * 17}, "states")]
BAD += [(method, besides | {"page_size": -1}, "page_size") for method, besides in (
    (LIST, {}), (LIST_TIERS, {}), (LIST_GRANTS, {"parent": "customers/-"}), (CHANGES, {"parent": "customers/1"}))]
BAD += [(REDEEM, {"order_id": "x"}, "name"), (REDEEM, {"name": "customers/1/grants/1-0", "code": "2" * 16, "order_id": "x"}, "code")]
BAD += [(REDEEM, {"name": name, "order_id": "x"}, "name") for name in NO_GRANTS]
BAD += [(REDEEM, {"code": code, "order_id": "x"}, "code") for code in ("2", "2" * 15, "2" * 17, "0" * 16, "O" * 16, SECRET, "2" * 15 + "é")]
BAD += [(REDEEM, {"name": "customers/1/grants/1-0", "order_id": order}, "order_id") for order in ("", " ", LONG, "a\nb", f"{SECRET}\0")]
BAD += [(CREATE_TIER, {"loyalty_tier_id": each, "tier": A_TIER}, "loyalty_tier_id") for each in NO_IDS]
BAD += [(CREATE_TIER, {"loyalty_tier_id": "bad", "tier": A_TIER | wrong}, field) for wrong, field in TIERS]
BAD += [(CREATE_TIER, {"loyalty_tier_id": "bad"}, "tier"), (UPDATE_TIER, {"update_mask": "rank"}, "tier")]
BAD += [(method, {"name": name}, "name") for method in (GET_TIER, DELETE_TIER) for name in NO_TIERS]
BAD += [(UPDATE_TIER, {"tier": {"name": "loyaltyTiers/there", "rank": 5}} | mask, "update_mask") for mask in ({}, {"update_mask": "createTime"})]
BAD += [(UPDATE_TIER, {"tier": {"name": "loyaltyTiers/there"}, "update_mask": "rank"}, "tier.rank")]
BAD += [(method, {"name": name} | besides, "name")
        for method, besides in ((OF_CUSTOMER, {}), (CLEAR_TIER, {}), (SET_TIER, {"tier": "loyaltyTiers/there"}))
        for name in ("", "customers/1", "customers/1/tier", "customers/0/loyaltyTier", "customers/-/loyaltyTier")]
BAD += [(SET_TIER, {"name": "customers/1/loyaltyTier", "tier": name}, "tier") for name in NO_TIERS]
BAD += [(CHANGES, {"parent": parent}, "parent") for parent in ("", "customers/-", "customers/0", "customers/1/loyaltyTier")]

STEP = "playbook.variants[0].steps[{}]"
STEPS = [((grant_offer(name),), STEP.format(0) + ".grant_offer.offer") for name in NO_OFFERS]
STEPS += [((grant_tier(name),), STEP.format(0) + ".grant_tier.tier") for name in NO_TIERS]
# Of a grant it can be told behind the step that makes it alone.
STEPS += [((email("x", text(**{field: words})), grant_offer("offers/there")), f"{STEP.format(0)}.email.texts[0].{field}")
          for field in ("subject", "body", "html") for words in ("{{offer}}", "x {{code}}", "{{expires}}")]
STEPS += [((grant_offer("offers/there"), email("x", text("{{ code }}"))), f"{STEP.format(1)}.email.texts[0].subject"),
          ((grant_offer("offers/there"), email("x", text(unnamed="{{code}}", subject="{{gift}}"))), f"{STEP.format(1)}.email.texts[0].subject")]


@pytest.fixture(scope="module")
def town(backend):
    """A suite with a customer, an offer and a tier."""
    with quintile.suite(backend) as suite:
        admin = suite.client("admin")
        rewards.create(admin, offer_id="there")
        rewards.tier(admin, 1, "there")
        yield SimpleNamespace(admin=admin, name=come(admin, "ann"))


@pytest.mark.parametrize("method, wrong, field", BAD)
def what_makes_no_sense_is_refused_by_its_field(town, method, wrong, field):
    is_refused(town.admin, method, wrong, field)


def texts_are_as_long_together_as_a_page_of_them_may_be(town):
    made = rewards.create(town.admin, offer_id="long", **together("description", 1_819))
    assert sum(len(each.title) + len(each.description) for each in made.texts) == 16_380
    # No e-mail has the title of a tier.
    texts = together("benefits", 1_819)["texts"]
    assert rewards.tier(town.admin, 7, "long", texts=[texts[0] | {"title": "{{"}, *texts[1:]]).texts[0].title == "{{"


@pytest.mark.parametrize("steps, field", STEPS)
def a_step_that_names_what_it_cannot_is_refused_by_its_field(town, steps, field):
    is_refused(town.admin, CREATE_PLAYBOOK, {"playbook_id": "bad", "playbook": playbook(*steps)}, field)
