"""Loyalty tiers: who comes into which, by steps of playbooks and by hand, for how long, and what is granted with it; who may say so, and of whom."""
from datetime import timedelta
from types import SimpleNamespace

import pytest

from support import facts, questions, quintile, rewards, waiting
from support.playbook_kit import ABSENT, begin, come, consent, running, runs, state, stop, until_ended
from support.playbook_kit import create as create_playbook
from support.refusals import FAILED_PRECONDITION, NOT_FOUND, PERMISSION_DENIED
from support.retention import instant_of
from support.rewards import (CHANGES, CLEAR_TIER, CREATE_TIER, DELETE_TIER, GET_TIER, LIST_TIERS, OF_CUSTOMER, SET_TIER, UPDATE_TIER, changes, create,
                             grant_offer, grant_tier, grants, new_rank, pause, set_tier, tier, tier_of)
from support.score_models import enum_name

KEPT = 100
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def club(backend):
    """A suite of which no test moves the time, with three tiers for as long as somebody likes, and colleagues of several roles."""
    with quintile.suite(backend) as suite:
        admin = suite.client("admin")
        silver, gold, black = (tier(admin, 100 * rank, name) for rank, name in enumerate(("silver", "gold", "black"), 1))
        yield SimpleNamespace(suite=suite, admin=admin, silver=silver, gold=gold, black=black, sue=suite.client("support", subject="sue"),
                              ann=suite.client("sales", subject="ann"), marketer=suite.client("marketer"))


@pytest.fixture
def office(backend):
    """An empty suite of a test's own."""
    with quintile.suite(backend) as suite:
        yield suite


def by_steps(client, who, *steps, before=None):
    """The customer and its run by a playbook of some steps, once that has ended; `before` is the tier that it was put into by others."""
    playbook = begin(client, *(([grant_tier(before, may_lower=True)] if before else []) + list(steps)))
    name = come(client, who)
    [run] = until_ended(client, playbook)
    stop(client, playbook)
    return name, run


def skipped(run):
    return [(each.step, enum_name(each, "reason")) for each in run.skipped]


# -- tiers ----------------------------------------------------------------------------------------------------------------

def tiers_are_listed_by_rank_and_a_rank_is_one_tiers(club):
    listed = [each.name for each in club.admin.call(LIST_TIERS).tiers]
    names = [club.silver.name, club.gold.name, club.black.name]
    assert [each for each in listed if each in names] == names
    assert [each.name for each in questions.everything(club.admin, LIST_TIERS, "tiers", page_size=1)] == listed
    text = [{"title": "Second"}]
    for request in ({"loyalty_tier_id": "second", "tier": {"rank": club.gold.rank, "texts": text}},
                    {"loyalty_tier_id": "gold", "tier": {"rank": new_rank(club.admin), "texts": text}}):
        assert club.admin.refused(CREATE_TIER, request).code.name == "ALREADY_EXISTS"
    taken = {"tier": {"name": club.silver.name, "rank": club.gold.rank}, "update_mask": "rank"}
    assert club.admin.refused(UPDATE_TIER, taken).code.name == "ALREADY_EXISTS"


def a_tier_changes_under_its_etag_and_names_offers_that_are_there(club, new):
    made = tier(club.admin, new_rank(club.admin))
    ours = create(club.admin, new)
    change = {"tier": {"name": made.name, "offers": [ours.name], "etag": made.etag}, "update_mask": "offers"}
    changed = club.admin.call(UPDATE_TIER, change)
    assert list(changed.offers) == [ours.name] and changed.etag != made.etag
    assert club.admin.refused(UPDATE_TIER, change).code.name == "ABORTED"
    absent = {"tier": {"name": made.name, "offers": ["offers/absent"]}, "update_mask": "offers"}
    club.admin.refused(UPDATE_TIER, absent).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert club.admin.call(GET_TIER, {"name": made.name}) == changed
    club.marketer.refused(DELETE_TIER, {"name": made.name}).must_be(PERMISSION_DENIED, "METHOD_DENIED")
    club.admin.call(DELETE_TIER, {"name": made.name})
    club.admin.refused(GET_TIER, {"name": made.name}).must_be(NOT_FOUND, "NOT_FOUND")


# -- by hand --------------------------------------------------------------------------------------------------------------

def a_customer_is_in_the_tier_that_was_said_last(club, new):
    name = come(club.admin, new)
    assert tier_of(club.admin, name).tier == "" and changes(club.admin, name) == []
    said = set_tier(club.sue, name, club.gold)
    assert (said.name, said.tier, said.set_by, said.run) == (f"{name}/loyaltyTier", club.gold.name, "sue", "")
    assert instant_of(said.since_time) == facts.AS_OF and not said.HasField("until_time") and tier_of(club.admin, name) == said
    assert set_tier(club.admin, name, club.silver).tier == club.silver.name, "downwards too"
    left = club.sue.call(CLEAR_TIER, {"name": f"{name}/loyaltyTier"})
    assert left.tier == "" and club.sue.call(CLEAR_TIER, {"name": f"{name}/loyaltyTier"}) == left == tier_of(club.admin, name)
    assert [each.tier for each in changes(club.admin, name)] == ["", club.silver.name, club.gold.name]
    assert changes(club.admin, name, page_size=1) == changes(club.admin, name)


def the_last_hundred_changes_are_kept(club, new):
    name = come(club.admin, new)
    turns = [club.silver, club.gold, club.black]
    for n in range(KEPT + 3):
        set_tier(club.admin, name, turns[n % 3])
    assert [each.tier for each in changes(club.admin, name)] == [turns[n % 3].name for n in range(KEPT + 2, 2, -1)]


def a_tier_lapses_when_its_days_are_over_and_holds_longer_when_it_is_said_again(office, new):
    admin = office.client("admin")
    brief = tier(admin, 1, "brief", valid_days=2)
    name = come(admin, new)
    first = set_tier(admin, name, brief)
    assert instant_of(first.until_time) == rewards.end_of(facts.AS_OF, 2)
    questions.set_clock(admin, facts.AS_OF + DAY)
    again = set_tier(admin, name, brief)
    assert instant_of(again.until_time) == rewards.end_of(facts.AS_OF + DAY, 2) and again.since_time == first.since_time
    end = instant_of(again.until_time)
    questions.set_clock(admin, end - timedelta(seconds=1))
    assert tier_of(admin, name).tier == brief.name
    questions.set_clock(admin, end)
    assert tier_of(admin, name).tier == ""
    late = set_tier(admin, name, brief)
    assert instant_of(late.since_time) == end


def whoever_is_in_a_tier_that_is_deleted_is_in_none(club, new):
    made = tier(club.admin, new_rank(club.admin), "short-lived")
    name = come(club.admin, new)
    set_tier(club.admin, name, made)
    club.admin.call(DELETE_TIER, {"name": made.name})
    assert tier_of(club.admin, name).tier == "" and [each.tier for each in changes(club.admin, name)] == [made.name]
    again = tier(club.admin, made.rank, "short-lived")
    assert tier_of(club.admin, name).tier == "", "another one of the same id is another one"
    club.admin.call(DELETE_TIER, {"name": again.name})
    club.admin.refused(SET_TIER, {"name": f"{name}/loyaltyTier", "tier": made.name}).must_be(NOT_FOUND, "NOT_FOUND")


# -- by steps -------------------------------------------------------------------------------------------------------------

def a_step_raises_and_lowers_only_where_it_may(club, new):
    cases = {"raised": (club.silver, grant_tier(club.gold), club.gold, []),
             "kept": (club.black, grant_tier(club.gold), club.black, [(2, "HIGHER_TIER")]),
             "lowered": (club.black, grant_tier(club.gold, may_lower=True), club.gold, []), "new": (None, grant_tier(club.gold), club.gold, [])}
    for case, (before, step, after, reasons) in cases.items():
        name, run = by_steps(club.admin, f"{new}-{case}", step, before=before)
        told = tier_of(club.admin, name)
        assert (state(run), skipped(run)) == ("FINISHED", reasons), case
        assert (told.tier, told.playbook, told.run, told.set_by) == (after.name, run.playbook, run.name, ""), case


def whoever_comes_into_a_tier_is_granted_its_offers_once(club, new):
    welcome, gone = create(club.admin, f"w-{new}", max_per_customer=9), create(club.admin, f"g-{new}")
    made = tier(club.admin, new_rank(club.admin), offers=[welcome.name, gone.name])
    pause(club.admin, gone)
    name, run = by_steps(club.admin, new, grant_tier(made), grant_tier(made))
    # The step did what it was to, and of the paused offer nothing is told.
    assert skipped(run) == []
    [found] = grants(club.admin, name)
    assert (found.offer, found.run) == (welcome.name, run.name)
    set_tier(club.admin, name, club.silver)
    set_tier(club.sue, name, made)
    assert [(each.offer, each.granted_by) for each in grants(club.admin, name)] == [(welcome.name, "sue"), (welcome.name, "")]


def a_step_into_a_tier_whose_offer_the_customer_has_is_not_skipped(club, new):
    gift = create(club.admin, f"gift-{new}")
    made = tier(club.admin, new_rank(club.admin), offers=[gift.name])
    name, run = by_steps(club.admin, new, grant_offer(gift), grant_tier(made))
    assert (skipped(run), tier_of(club.admin, name).tier) == ([], made.name)
    assert [each.offer for each in grants(club.admin, name)] == [gift.name]


def a_step_for_a_tier_that_is_no_more_is_skipped(club, new):
    made = tier(club.admin, new_rank(club.admin))
    playbook = begin(club.admin, grant_tier(made))
    club.admin.call(DELETE_TIER, {"name": made.name})
    name = come(club.admin, new)
    [run] = until_ended(club.admin, playbook)
    stop(club.admin, playbook)
    assert (skipped(run), tier_of(club.admin, name).tier) == ([(1, "NO_TIER")], "")
    drafted = create_playbook(club.admin, None, grant_tier(made))
    club.admin.refused("PlaybookService/StartPlaybook", {"name": drafted.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def whoever_is_held_out_comes_into_no_tier(club, new):
    with running(club.admin, grant_tier(club.black), holdout_basis_points=9_999) as playbook:
        name = come(club.admin, new)
        until_ended(club.admin, playbook)
    assert [state(each) for each in runs(club.admin, playbook)] == ["HELD_OUT"] and tier_of(club.admin, name).tier == ""


# -- of whom --------------------------------------------------------------------------------------------------------------

def the_tier_of_whom_a_role_does_not_reach_is_not_there_for_it(club, new):
    mine, theirs = come(club.admin, f"{new}-1", owner="ann"), come(club.admin, f"{new}-2", owner="bob")
    consent(club.admin, mine)
    for name in (mine, theirs):
        set_tier(club.admin, name, club.gold)

    def is_reached(client):
        try:
            return tier_of(client, mine).tier == club.gold.name
        except Exception as refusal:  # noqa: BLE001 - what it is is asserted below.
            return refusal.code == NOT_FOUND and None
    for client in (club.ann, club.marketer):
        waiting.until(lambda client=client: is_reached(client), "the customer to be reached")
        for method, field, part in ((OF_CUSTOMER, "name", "/loyaltyTier"), (CHANGES, "parent", "")):
            nobody = client.refused(method, {field: ABSENT + part}).must_be(NOT_FOUND, "NOT_FOUND")
            assert client.refused(method, {field: theirs + part}).answer == nobody.answer
    for method, fields in ((SET_TIER, {"tier": club.silver.name}), (CLEAR_TIER, {})):
        club.ann.refused(method, {"name": f"{mine}/loyaltyTier"} | fields).must_be(PERMISSION_DENIED, "METHOD_DENIED")
        answers = [club.marketer.refused(method, {"name": f"{name}/loyaltyTier"} | fields).must_be(NOT_FOUND, "NOT_FOUND").answer
                   for name in (theirs, ABSENT)]
        assert answers[0] == answers[1]
    assert tier_of(club.admin, theirs).tier == club.gold.name, "nothing was done"
    assert set_tier(club.marketer, mine, club.silver).tier == club.silver.name


def of_whoever_is_erased_no_tier_is_left(club, new):
    name = come(club.admin, new)
    set_tier(club.admin, name, club.gold)
    exported = club.admin.start("PrivacyService/ExportPersonalData", [{"name": name}], seconds=waiting.SECONDS)
    assert [each.tier for part in exported for each in part.tier_changes] == [club.gold.name]
    begun = club.admin.call("PrivacyService/EraseCustomer", {"name": name}).name
    erasure = lambda: club.admin.call("PrivacyService/GetErasure", {"name": begun})  # noqa: E731
    waiting.until(lambda: erasure().HasField("complete_time"), "the erasure")
    for method, request in ((OF_CUSTOMER, {"name": f"{name}/loyaltyTier"}), (CHANGES, {"parent": name})):
        club.admin.refused(method, request).must_be(NOT_FOUND, "NOT_FOUND")
