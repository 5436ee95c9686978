"""Warnings of customers who are about to leave: each raised and ended at its own instant, once, upon what the customer was then, whatever happens."""
import itertools
from collections import Counter

import pytest

from support import facts, questions, quintile, retention, waiting, warnings
from support.noons import START, after, find, later, midnight, move, named
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND
from support.retention import DAY, HOUR, KEEPER, instant_of
from support.warnings import (GOING_ON, KINDS, LASTS, LIST, SERVICE, SEVERITIES, STATES, act, bought, complained, every, get, listed, plain, resolve,
                              severity_of, shown, tell, told, until_told, value_name)


@pytest.fixture(scope="module")
def shop(backend):
    with warnings.living(backend) as shop:
        yield shop


@pytest.fixture(scope="module")
def whole(shop):
    """All warnings of the shop, in which nothing happens any more."""
    return every(shop.client)


@pytest.fixture
def alone(backend):
    """An empty suite at a noon."""
    with quintile.suite(backend, as_of=facts.text_of(START)) as suite:
        yield suite


@pytest.fixture(scope="module")
def hall(backend):
    """A suite that tests share, one after the other, each of which moves time."""
    with quintile.suite(backend, as_of=facts.text_of(START)) as suite:
        yield suite


@pytest.fixture
def office(hall, new):
    """A suite at a noon at which nobody is warned of."""
    with later(hall, new, days=500):
        # Whoever was there before is churned.
        waiting.until(lambda: not listed(hall.client("admin")), "what others were warned of to end")
        yield hall


# -- everybody, by the witness --------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def pairs(shop):
    """Of every customer's warnings what is told beside what ought to be, by kind and instant; None: there is none."""
    return list(paired(shop))


def paired(shop):
    for key, life in shop.lives.items():
        found = {plain(each)[:2]: each for each in every(shop.client, shop.names[key])}
        ought = {(each.kind, each.raised): each for each in life.warnings}
        assert len(ought) == len(life.warnings)
        yield from ((key, found.get(at), ought.get(at)) for at in found.keys() | ought.keys())


@pytest.fixture(scope="module")
def both(pairs):
    """Those of them that are told and ought to be."""
    return [(key, found, ought) for key, found, ought in pairs if found and ought]


def every_warning_is_raised_and_ended_once_at_its_own_instant(shop, pairs, whole):
    wrong, seen = [], Counter()
    for key, found, ought in pairs:
        kind, at, state, end = plain(found) if found else (None,) * 4
        if ought is None or (kind, at, end) != (ought.kind, ought.raised, ought.ended) or state not in ought.states:
            wrong.append((key, found and plain(found), ought and (ought.kind, ought.raised, ought.states, ought.ended)))
        seen[kind, state, end is not None and end == at + LASTS] += 1
    assert not wrong, "\n".join(f"{key}: told {found}, and not {ought}" for key, found, ought in sorted(wrong, key=str))
    assert len(whole) == sum(len(life.warnings) for life in shop.lives.values()) > 300
    for kind, how in itertools.product(KINDS, [("CLEARED", False), ("EXPIRED", False), ("EXPIRED", True), ("RESOLVED", False)]):
        assert seen[(kind, *how)], (kind, how, seen)
    assert {kind for kind, state, _ in seen if state == "ACKNOWLEDGED"} >= {"SILENCE"}


def nobody_has_two_of_a_kind_at_once(shop):
    for key, name in shop.names.items():
        of_all = told(shop.client, name)
        for kind in KINDS:
            spans = sorted((at, end) for of, at, _, end in of_all if of == kind)
            assert all(end is not None and end <= later for (_, end), (later, _) in zip(spans, spans[1:])), (key, kind, spans)


def a_stage_tells_the_signs_that_are_shown_now(shop):
    now = {key: shown(shop.client, name) for key, name in shop.names.items()}
    assert now == {key: life.shown for key, life in shop.lives.items()}
    assert {kind for kinds in now.values() for kind in kinds} == set(KINDS)


def a_warning_carries_what_the_customer_was(both):
    """Where time jumps, windows are seen where it lands: of what is raised between, only what silence makes is told exactly."""
    for key, found, ought in both:
        evidence, stage = found.evidence, found.evidence.stage
        last, rhythm = ought.known.days[-1], retention.rhythm_of(ought.known.days)
        assert (instant_of(stage.as_of), stage.silent_days, stage.rhythm_p80_days) == (ought.raised, (ought.day - last).days, float(rhythm)), key
        assert found.kind in stage.warnings and stage.reason and questions.stage_name(stage) not in ("LEAD", "CHURNED"), (key, stage)
        assert evidence.open_complaints == len(ought.known.cases)
        counted = evidence.purchase_days, evidence.previous_purchase_days
        assert counted == warnings.days_that_tell(ought.known.days, ought.day), (key, ought)
        contacts = warnings.windows(ought.known.contacts, ought.known.seen)
        if not ought.by_time:
            assert (evidence.interactions, evidence.previous_interactions) == contacts, (key, ought)


def as_much_is_at_stake_as_the_customer_may_be_worth(both):
    for key, found, ought in both:
        worth, stake = facts.cents_of(found.customer_value), facts.cents_of(found.value_at_stake)
        assert worth in ought.worths() and found.risk == float(ought.risk), (key, ought)
        assert stake == warnings.cents_at_stake(worth, ought.risk) and value_name(found, "severity") == severity_of(stake)
    assert {found.risk for _, found, _ in both} == {0.5, 0.8}
    assert {value_name(found, "severity") for _, found, _ in both} == set(SEVERITIES)


def what_people_did_stays_with_a_warning(shop, both):
    for key, found, ought in both:
        assert (found.assignee, value_name(found, "resolution")) == (ought.assignee, ought.resolution), (key, ought)
        assert (found.resolved_by == "admin") == (value_name(found, "state") == "RESOLVED") and found.resolved_by in ("", "admin")
        assert found.HasField("acknowledge_time") == (found.acknowledged_by == "admin") and found.acknowledged_by in ("", "admin")
        assert found.name.startswith(f"{shop.names[key]}/warnings/") and get(shop.client, found) == found


# -- lists ----------------------------------------------------------------------------------------------------------------

QUESTIONS = [{}, {"states": ("OPEN",)}, {"states": ("EXPIRED", "CLEARED")}, {"states": STATES, "kinds": ("SILENCE", "COMPLAINT")},
             {"min_severity": "WARNING_SEVERITY_HIGH"}, {"states": STATES, "min_severity": "WARNING_SEVERITY_MEDIUM", "kinds": ("FEWER_PURCHASES",)},
             {"assignee": KEEPER}, {"assignee": KEEPER, "states": ("RESOLVED", "ACKNOWLEDGED")}, {"assignee": "nobody", "states": STATES},
             {"states": ("OPEN", "OPEN", "RESOLVED"), "kinds": ("FEWER_INTERACTIONS", "FEWER_INTERACTIONS"), "min_severity": "WARNING_SEVERITY_LOW"}]


def matches(warning, states=GOING_ON, kinds=KINDS, min_severity="WARNING_SEVERITY_LOW", assignee=None):
    least = SEVERITIES.index(min_severity.removeprefix("WARNING_SEVERITY_"))
    return (value_name(warning, "state") in states and value_name(warning, "kind") in kinds and assignee in (None, warning.assignee)
            and SEVERITIES.index(value_name(warning, "severity")) >= least)


@pytest.mark.parametrize("asked", QUESTIONS)
def a_list_has_those_that_are_asked_for_the_last_raised_first(shop, whole, asked):
    raised = [instant_of(each.raise_time) for each in whole]
    assert raised == sorted(raised, reverse=True) and len({each.name for each in whole}) == len(whole)
    expected = [each for each in whole if matches(each, **asked)]
    assert listed(shop.client, **asked) == expected == listed(shop.client, order="WARNING_ORDER_RAISED", **asked)
    assert expected or asked.get("assignee") == "nobody"
    for name in list(shop.names.values())[::14]:
        assert listed(shop.client, name, **asked) == [each for each in expected if each.name.startswith(f"{name}/")]


@pytest.mark.parametrize("asked", QUESTIONS)
def by_value_the_most_valuable_come_first(shop, whole, asked):
    found = listed(shop.client, order="WARNING_ORDER_VALUE", **asked)
    values = [facts.cents_of(each.value_at_stake) for each in found]
    assert values == sorted(values, reverse=True)
    assert sorted(each.name for each in found) == sorted(each.name for each in whole if matches(each, **asked))


@pytest.mark.parametrize("order", ["RAISED", "VALUE"])
@pytest.mark.parametrize("page_size", [1, 3, 100, 5_000])
def pages_come_to_the_whole_in_its_order(shop, order, page_size):
    asked = {"kinds": ("SILENCE",), "states": STATES, "order": f"WARNING_ORDER_{order}"}
    assert listed(shop.client, page_size=page_size, **asked) == listed(shop.client, **asked)
    page = shop.client.call(LIST, warnings.asked(parent="customers/-", page_size=page_size, **asked))
    assert len(page.warnings) <= min(page_size, 1_000) and page.watermark.HasField("time")


def a_page_token_is_of_its_whole_question(shop, whole):
    first = warnings.asked(parent="customers/-", page_size=2, states=STATES, kinds=("SILENCE",))
    token = shop.client.call(LIST, first).next_page_token
    busy, _ = Counter(each.name.rsplit("/warnings/", 1)[0] for each in whole).most_common(1)[0]
    assert token and shop.client.call(LIST, first | {"page_token": token, "page_size": 5}).warnings
    others = [{"parent": busy}, {"states": []}, {"states": first["states"][:-1]}, {"kinds": []}, {"kinds": ["WARNING_KIND_COMPLAINT"]},
              {"min_severity": "WARNING_SEVERITY_HIGH"}, {"assignee": KEEPER}, {"order": "WARNING_ORDER_VALUE"}]
    for other in [*({**each, "page_token": token} for each in others), *({"page_token": each} for each in ("x", token[:-1], token + "A"))]:
        refusal = shop.client.refused(LIST, first | other).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
        assert [each.field for each in refusal.bad_request.field_violations] == ["page_token"], other
    there = shop.suite.client("admin")
    there.refused(LIST, first | {"page_token": token}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")


def another_tenant_has_none_of_them(shop):
    there = shop.suite.client("admin")
    assert every(there) == []
    for some in listed(shop.client)[:3]:
        for method in ("GetWarning", "AcknowledgeWarning", "AssignWarning"):
            there.refused(f"{SERVICE}/{method}", {"name": some.name}).must_be(NOT_FOUND, "NOT_FOUND")
        assert get(shop.client, some) == some


# -- a silence, by hand ---------------------------------------------------------------------------------------------------

def a_silence_is_warned_of_at_its_midnight_and_held_for_a_fortnight(office):
    """With fewer than three gaps a rhythm is 119 days."""
    client = office.client("admin")
    tell(client, 0, bought("ann", "first", cents=90_000), bought("ann", "second", cents=30_001))
    name = find(client, "ann")
    move(client, 119)
    assert told(client) == [] and shown(client, name) == ()
    move(client, 120)
    assert told(client) == [("SILENCE", midnight(120), "OPEN", None)] and shown(client, name) == ("SILENCE",)
    [warning] = listed(client, name)
    evidence = warning.evidence
    assert (questions.stage_name(evidence.stage), evidence.stage.silent_days, evidence.stage.rhythm_p80_days) == ("AT_RISK", 120, 119)
    assert (evidence.purchase_days, evidence.interactions, evidence.open_complaints) == (0, 0, 0)
    assert [facts.cents_of(each) for each in (warning.customer_value, warning.value_at_stake)] == [120_001, 60_000], "half to even"
    assert (warning.risk, value_name(warning, "severity"), warning.assignee, warning.resolved_by) == (0.5, "MEDIUM", "", "")
    # It has come back, and may go again.
    tell(client, 120, bought("ann", "back", 120))
    move(client, 133)
    assert told(client) == [("SILENCE", midnight(120), "OPEN", None)]
    move(client, 134)
    assert told(client) == [("SILENCE", midnight(120), "CLEARED", midnight(134))] and shown(client, name) == ()
    move(client, 240)
    until_told(client, [("SILENCE", midnight(120), "CLEARED", midnight(134)), ("SILENCE", midnight(240), "OPEN", None)])
    assert get(client, warning).evidence == evidence, "what it was raised upon stays"


def time_that_jumps_over_everything_leaves_each_at_its_instant(office):
    """One who buys every five days is churned before 90 days are over; of who buys once the warning has become too old by then."""
    client = office.client("admin")
    tell(client, 0, bought("slow", "o"), *(bought("fast", n, ago=5 * n * DAY + HOUR) for n in range(31)))
    move(client, 800)
    # Of thirty gaps of 5 days a rhythm is (30 * 5 + 3 * 119) / 33 = 15.36 days: 16, and 62.
    until_told(client, [("SILENCE", midnight(120), "EXPIRED", midnight(210))], find(client, "slow"))
    # When day 46 begins there are nine days of purchase in the last 90, and eighteen in those before.
    assert told(client, find(client, "fast")) == [
        ("SILENCE", midnight(16), "EXPIRED", midnight(62)), ("FEWER_PURCHASES", midnight(46), "EXPIRED", midnight(62))]
    assert shown(client, find(client, "fast")) == ()


def silences_of_under_a_fortnight_are_nobodys_business(office):
    """Whoever buys every day is at risk after seven days, and warned of after fifteen: too late, as it is dormant by then."""
    client = office.client("admin")
    tell(client, 0, *(bought("ann", n, ago=n * DAY + HOUR) for n in range(61)))
    name = find(client, "ann")
    for day, stage in ((7, "AT_RISK"), (14, "DORMANT")):
        move(client, day)
        assert (questions.stage(client, name), told(client)) == (stage, [])
    move(client, 15)
    [warning] = listed(client)
    assert plain(warning) == ("SILENCE", midnight(15), "OPEN", None)
    assert (warning.risk, questions.stage_name(warning.evidence.stage)) == (0.8, "DORMANT")


# -- the other signs, by hand ---------------------------------------------------------------------------------------------

def fewer_days_of_purchase_are_warned_of_by_the_day(office):
    """As told plainly by the days; several orders of a day are one."""
    client, days = office.client("admin"), [0, 11, 22, 33, 44, 55, 66, 77, 95, 120, 160, 161, 162, 163]
    tell(client, 0, *(bought("ann", f"0-{n}") for n in range(3)))
    for day in sorted({*days[1:], *range(5, 200, 24), 199}):
        move(client, day)
        if day in days:
            tell(client, day, *(bought("ann", f"{day}-{n}", day) for n in range(1 + day % 3)))
    known = lambda day: [after(each).date() for each in days if each < day]  # noqa: E731
    shows = [day for day in range(1, 200) if warnings.buys_less(known(day), after(day).date())]
    begins = [day for day in shows if day - 1 not in shows]
    ends = [day + 1 for day in shows if day + 1 not in shows]
    ought = [("FEWER_PURCHASES", midnight(begin), "CLEARED", midnight(end)) for begin, end in zip(begins, ends)]
    assert ought and [each for each in told(client) if each[0] == "FEWER_PURCHASES"] == ought
    assert all(end - begin >= 14 for begin, end in zip(begins, ends))


def fewer_contacts_are_warned_of_after_a_fortnight_without_any(office):
    client = office.client("admin")
    contact = lambda day, n=0: facts.interaction(named("ann"), f"{named(day)}-{n}", interaction_time=facts.text_of(after(day) - HOUR))  # noqa: E731
    tell(client, 0, bought("ann", "o"), *(contact(-day) for day in (5, 10, 15, 20)))
    name = find(client, "ann")
    move(client, 79)
    # Four were in the window before from the 85th day on, when the last of them had been 90 days ago.
    tell(client, 79, contact(79))
    move(client, 84)
    assert told(client) == []
    move(client, 85)
    assert told(client) == [] and shown(client, name) == (), "half as many, but one of six days ago"
    move(client, 92)
    assert told(client) == []
    move(client, 93)
    [warning] = listed(client)
    assert plain(warning) == ("FEWER_INTERACTIONS", midnight(93), "OPEN", None)
    assert (warning.evidence.interactions, warning.evidence.previous_interactions) == (1, 4)
    # One more contact ends it: the last one is no fortnight ago.
    move(client, 95)
    tell(client, 95, contact(95))
    assert told(client) == [("FEWER_INTERACTIONS", midnight(93), "CLEARED", after(95))]


def fewer_contacts_by_a_window_that_ends_are_told_from_that_instant(office):
    """As in live time, in which everything that time does is looked at within the minute."""
    client = office.client("admin")
    rows = [facts.interaction(named("ann"), f"i{n}", interaction_time=facts.text_of(after(0) - HOUR)) for n in range(4)]
    tell(client, 0, bought("ann", "o"), *rows)
    ends = after(90) - HOUR
    questions.set_clock(client, ends - HOUR / 60)
    assert told(client) == []
    questions.set_clock(client, ends + HOUR / 120)
    [warning] = listed(client)
    # A fact counts from the instant behind its own, and leaves a window so.
    assert plain(warning) == ("FEWER_INTERACTIONS", ends + retention.MICRO, "OPEN", None)
    assert (warning.evidence.interactions, warning.evidence.previous_interactions) == (0, 4)


def a_complaint_is_warned_of_when_it_comes_and_until_all_are_resolved(office):
    client = office.client("admin")
    tell(client, 0, complained("ann"))
    assert told(client) == [], "a lead is not about to leave"
    move(client, 1)
    tell(client, 1, bought("ann", "o", 1))
    assert told(client) == [("COMPLAINT", after(1), "OPEN", None)]
    move(client, 2)
    tell(client, 2, complained("ann", 2, number=2), bought("ann", "p", 2))
    move(client, 3)
    tell(client, 3, complained("ann", 3, is_opened=False))
    assert told(client) == [("COMPLAINT", after(1), "OPEN", None)] and listed(client)[0].evidence.open_complaints == 1
    tell(client, 3, complained("ann", 3, number=2, is_opened=False))
    assert told(client) == [("COMPLAINT", after(1), "CLEARED", after(3))]
    move(client, 5)
    tell(client, 5, complained("ann", 5, number=3))
    assert told(client) == [("COMPLAINT", after(1), "CLEARED", after(3)), ("COMPLAINT", after(5), "OPEN", None)]


def each_kind_is_warned_of_for_itself(office):
    client = office.client("admin")
    tell(client, 0, bought("ann", "o"))
    move(client, 120)
    tell(client, 120, complained("ann", 120))
    assert told(client) == [("SILENCE", midnight(120), "OPEN", None), ("COMPLAINT", after(120), "OPEN", None)]
    newest = listed(client)
    assert [value_name(each, "kind") for each in newest] == ["COMPLAINT", "SILENCE"]
    resolve(client, newest[0])
    assert [value_name(each, "kind") for each in listed(client)] == ["SILENCE"]
    move(client, 477)
    until_told(client, [("SILENCE", midnight(120), "EXPIRED", midnight(210)), ("COMPLAINT", after(120), "RESOLVED", after(120))])


# -- what becomes of them -------------------------------------------------------------------------------------------------

def ninety_days_are_the_end_of_a_warning_and_no_other_comes_while_the_sign_lasts(office):
    client = office.client("admin")
    tell(client, 0, bought("ann", "o"), complained("ann"))
    move(client, 60)
    tell(client, 60, bought("ann", "p", 60))
    questions.set_clock(client, after(90) - HOUR)
    assert told(client) == [("COMPLAINT", after(0), "OPEN", None)]
    [warning] = listed(client)
    act(client, "Acknowledge", warning)
    move(client, 90)
    expired = ("COMPLAINT", after(0), "EXPIRED", after(90))
    until_told(client, [expired])
    assert shown(client, find(client, "ann")) == ("COMPLAINT",) and get(client, warning).acknowledged_by == "admin"
    tell(client, 90, bought("ann", "q", 90), complained("ann", 90, number=2))
    move(client, 100)
    assert told(client) == [expired]
    refusal = client.refused(warnings.RESOLVE, {"name": warning.name, "resolution": "WARNING_RESOLUTION_LOST"})
    refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    tell(client, 100, complained("ann", 100, is_opened=False), complained("ann", 100, number=2, is_opened=False))
    assert told(client) == [expired]
    move(client, 101)
    tell(client, 101, complained("ann", 101, number=3))
    assert told(client) == [expired, ("COMPLAINT", after(101), "OPEN", None)]


def what_was_too_old_before_anything_else_ended_it_has_expired(office):
    """Everything happens at once when time has jumped: what came first is what is told."""
    client = office.client("admin")
    tell(client, 0, *(bought(who, "o") for who in ("ann", "bob", "cid")), *map(complained, ("ann", "bob", "cid")))
    names = {who: find(client, who) for who in ("ann", "bob", "cid")}
    client.call("ClockService/SetAsOf", {"as_of": facts.text_of(after(100))})
    client.call("PrivacyService/RestrictProcessing", {"name": names["bob"]})
    tell(client, 100, complained("ann", 100, is_opened=False), bought("cid", "p", 100))
    position = client.call("PrivacyService/LiftRestriction", {"name": names["bob"]}).facts_position
    questions.wait_for(client, position, after(100))
    expired = ("COMPLAINT", after(0), "EXPIRED", after(90))
    # Of who comes back from a restriction, nobody knows whether it has complained all the time.
    for name in names.values():
        until_told(client, [expired], name)


def of_what_somebody_resolved_there_is_no_second_before_the_sign_has_stopped(office):
    client = office.client("admin")
    tell(client, 0, bought("ann", "o"), complained("ann"), bought("bob", "o"))
    [warning] = listed(client)
    done = resolve(client, warning, "FALSE_ALARM")
    first = ("COMPLAINT", after(0), "RESOLVED", after(0))
    assert plain(done) == first and (done.resolved_by, value_name(done, "resolution")) == ("admin", "FALSE_ALARM")
    move(client, 5)
    tell(client, 5, complained("ann", 5, number=2), bought("ann", "p", 5))
    assert told(client) == [first] and shown(client, find(client, "ann")) == ("COMPLAINT",)
    tell(client, 5, complained("ann", 5, is_opened=False), complained("ann", 5, number=2, is_opened=False))
    move(client, 6)
    tell(client, 6, complained("ann", 6, number=3))
    assert told(client) == [first, ("COMPLAINT", after(6), "OPEN", None)]
    # A silence that somebody has resolved goes on until the customer buys.
    move(client, 120)
    [silence] = listed(client, kinds=("SILENCE",))
    assert plain(resolve(client, silence, "LOST")) == ("SILENCE", midnight(120), "RESOLVED", after(120))
    move(client, 400)
    tell(client, 400, bought("bob", "p", 400))
    move(client, 520)
    silences = [each for each in told(client, find(client, "bob"))]
    assert silences == [("SILENCE", midnight(120), "RESOLVED", after(120)), ("SILENCE", midnight(520), "OPEN", None)]


def whoever_comes_with_a_history_is_warned_of_at_once(office):
    client = office.client("admin")
    move(client, 3)
    ages = {"silent": 200, "dormant": 300, "churned": 500, "fresh": 20}
    tell(client, 3, *(bought(who, "e", 3, ago=days * DAY) for who, days in ages.items()), bought("cross", "e", 3), complained("cross", 3))
    ought = {"silent": "SILENCE", "dormant": "SILENCE", "cross": "COMPLAINT"}
    assert {who: told(client, find(client, who)) for who in (*ages, "cross")} == {
        who: [(ought[who], after(3), "OPEN", None)] if who in ought else [] for who in (*ages, "cross")}
    assert {who: listed(client, find(client, who))[0].risk for who in ought} == {"silent": 0.5, "dormant": 0.8, "cross": 0.5}
    until_told(client, [("SILENCE", after(3), "OPEN", None)] * 2 + [("COMPLAINT", after(3), "OPEN", None)])


def nothing_is_raised_twice_whatever_comes_again(alone):
    client = alone.client("admin")
    rows = [bought("ann", "o"), complained("ann"), bought("bob", "o")]
    tell(client, 0, *rows)
    move(client, 130)
    until_told(client, [("COMPLAINT", START, "EXPIRED", after(90)), *[("SILENCE", midnight(120), "OPEN", None)] * 2])
    whole = [each.SerializeToString(deterministic=True) for each in every(client)]
    questions.wait_for(client, client.call("IngestService/IngestBatch", facts.batch(*rows)).facts_position, after(130))
    for end in (alone.stop, alone.kill):
        end()
        alone.as_of = facts.text_of(after(130))
        alone.start()
        client = alone.client("admin")
        tell(client, 130, bought(end.__name__, "o", 130))
        until_told(client, [("COMPLAINT", START, "EXPIRED", after(90)), *[("SILENCE", midnight(120), "OPEN", None)] * 2])
        assert [each.SerializeToString(deterministic=True) for each in every(client)] == whole


def kills_as_time_moves_leave_each_warning_raised_and_ended_once(alone):
    """Each time the suite is killed at once, and goes on at a later instant."""
    client, count = alone.client("admin"), 1_200  # More than expire at once.
    tell(client, 0, *(bought(f"c{n}", "e", ago=(1 + n % 20) * DAY) for n in range(count)), *(complained(f"c{n}") for n in range(0, count, 5)))
    for days in (80, 95, 104, 119, 240, 500):
        client.call("ClockService/SetAsOf", {"as_of": facts.text_of(after(days))})
        alone.kill()
        alone.as_of = facts.text_of(after(days) + HOUR)
        alone.start()
        client = alone.client("admin")
    questions.wait_for(client, 0, after(500))
    waiting.until(lambda: not listed(client), lambda: f"what is too late to expire: {len(listed(client))}")
    numbers = {name: int(key[1:]) for key, name in questions.names_of(client, facts.SOURCE).items()}
    found = Counter((each.name.rsplit("/warnings/", 1)[0], *plain(each)) for each in every(client))
    ought = Counter({(name, "SILENCE", midnight(119 - n % 20), "EXPIRED", midnight(209 - n % 20)): 1 for name, n in numbers.items()})
    ought.update((name, "COMPLAINT", START, "EXPIRED", after(90)) for name, n in numbers.items() if n % 5 == 0)
    assert found == ought, (list((found - ought).items())[:5], list((ought - found).items())[:5])
