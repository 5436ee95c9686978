"""What begins runs of playbooks: stages, warnings and segments, each change at its own instant, once, and not what is no change."""
from collections import Counter

import pytest

from support import facts, playbooks, questions, retention, segments, stage_policies, warnings
from support.noons import START, midnight
from support.playbook_witness import DAY
from support.playbooks import (MINUTE, STAGES, after, assert_begun, begun, in_order, lead, number_of, on_segment, on_stages, on_warnings, runs_of,
                               running, start, stop, task, until_equal, wait, what_became, whole)
from support.retention import HOUR, instant_of
from support.segments import number
from support.warnings import value_name
from support.watching import cause


@pytest.fixture
def office(backend):
    with playbooks.company(backend) as company:
        yield company


# -- stages ---------------------------------------------------------------------------------------------------------------

def changes_into(client, names, stages, before=STAGES):
    """[(customer, instant)] of the transitions that are told of some customers, but for those that a policy made."""
    told = [(number(name), retention.plain(each)) for name in names for each in retention.transitions(client, name)]
    return in_order((customer, at) for customer, (at, why, left, entered) in told
                    if why in ("EVENT", "TIME") and left in before and entered in stages)


def a_stage_begins_runs_by_facts_and_by_time_at_the_instant_of_the_change(office):
    client = office.client
    risk, back = running(client, "risk", on_stages("AT_RISK")), running(client, "back", on_stages("REACTIVATED", before=["DORMANT", "CHURNED"]))
    office.buy("ann", "bob", "cid")
    ann, bob, cid = map(office.number, ("ann", "bob", "cid"))
    office.move(after(5))
    office.complain("bob")
    assert_begun(office, risk, [(bob, after(5))])
    office.move(after(130), risk, back)
    assert_begun(office, risk, [(bob, after(5)), (ann, midnight(120)), (cid, midnight(120))])
    office.move(after(300), risk, back)
    office.buy("ann")
    assert_begun(office, back, [(ann, after(300))])
    [run] = runs_of(client, back)
    assert (run.playbook, run.version, what_became(run), run.variant, run.steps_done) == (back, 1, "FINISHED", "a", 1)
    assert run.name.startswith(f"{office.name('ann')}/runs/") and runs_of(client, office.name("ann"), ("FINISHED",))[0] == run
    assert instant_of(run.measure_time) == after(330) and not run.HasField("converted") and not run.HasField("next_step_time")


def time_that_jumps_over_everything_begins_each_run_at_its_own_instant(backend):
    """Of many customers: as transitions are told, by three playbooks."""
    with playbooks.company(backend, now=stage_policies.AS_OF) as office:
        client = office.client
        of_all = running(client, "all", on_stages(*STAGES))
        risk, gone = running(client, "risk", on_stages("AT_RISK"), again_after_days=1), running(
            client, "gone", on_stages("CHURNED", "DORMANT", before=["AT_RISK", "DORMANT"]), again_after_days=300)
        people = stage_policies.take_in(client, stage_policies.invented(paces=stage_policies.SELDOM), office.now)
        new = [(number(name), office.now) for name, person in people.items() if not person.orders or office.now - person.orders[-1][0] < 7 * DAY]
        assert_begun(office, of_all, new)
        office.move(office.now + 500 * DAY, of_all, risk, gone)
        expected = {of_all: new + changes_into(client, people, STAGES), risk: changes_into(client, people, ["AT_RISK"]),
                    gone: changes_into(client, people, ["CHURNED", "DORMANT"], ["AT_RISK", "DORMANT"])}
        for name, pairs in expected.items():
            assert_begun(office, name, pairs)
            ought = judged(pairs, {of_all: 4_000, risk: 1, gone: 300}[name])
            assert whole(office, name) == ought and len(ought) > 50
            assert name == risk or Counter(became for *_, became in ought)["AGAIN"] > 20


def judged(pairs, days):
    """Of several runs of a customer those that come too early are refused, and these alone."""
    counted, ought = {}, []
    for customer, at in in_order(pairs):
        is_again = customer in counted and at - counted[customer] < days * DAY
        counted |= {} if is_again else {customer: at}
        ought.append((customer, at, "AGAIN" if is_again else "FINISHED"))
    return ought


def whoever_is_new_comes_into_a_stage_and_whoever_brings_a_history_does_not(office):
    """Where no earlier stage is asked for: those without an order, and those whose last one is less than seven days ago."""
    client, ages = office.client, {"fresh": 7 * DAY - MINUTE / 60, "week": 7 * DAY, "month": 30 * DAY, "silent": 200 * DAY, "gone": 900 * DAY}
    of_all, late, leads = (running(client, "all", on_stages(*STAGES)), running(client, "new", on_stages("NEW", before=["LEAD"])),
                           running(client, "leads", on_stages("LEAD", "CHURNED")))
    office.take_in(lead("lead"), *(facts.order(key, f"{key}-o", order_time=facts.text_of(office.now - ago)) for key, ago in ages.items()),
                   *(facts.order("both", f"both-{days}", order_time=facts.text_of(office.now - days * DAY)) for days in (1, 100, 300)))
    waiting, fresh, both = map(office.number, ("lead", "fresh", "both"))
    assert_begun(office, of_all, [(each, office.now) for each in (waiting, fresh, both)])
    assert_begun(office, leads, [(waiting, office.now)])
    office.move(after(1))
    office.buy("lead")
    assert_begun(office, late, [(waiting, after(1))])
    assert_begun(office, leads, [(waiting, after(0))])
    assert_begun(office, of_all, [*((each, after(0)) for each in (waiting, fresh, both)), (waiting, after(1))])


def neither_another_policy_nor_a_history_that_is_taken_in_begins_anything(office):
    client = office.client
    active, of_all = running(client, "active", on_stages("ACTIVE")), running(client, "all", on_stages(*STAGES[1:], before=STAGES))
    office.take_in(lead("ann"))
    office.buy("bob", ago=10 * DAY)
    office.buy("cid", ago=2 * DAY)
    ann, cid = map(office.number, ("ann", "cid"))
    _, done = stage_policies.put_in_force(client, new_days=5)
    assert done.changed_customers == 1 and questions.stage(client, office.name("bob")) == "ACTIVE"
    office.take_in(*(facts.order("ann", f"ann-{days}", order_time=facts.text_of(office.now - days * DAY)) for days in (300, 200, 95)))
    assert questions.stage(client, office.name("ann")) == "ACTIVE"
    office.move(after(4), active, of_all)
    assert_begun(office, active, [(cid, midnight(3))])
    office.buy("ann", "bob")
    office.move(after(30), active, of_all)
    assert_begun(office, of_all, changes_into(client, map(office.name, ("ann", "bob", "cid")), STAGES))
    assert ann not in {customer for customer, at in begun(client, of_all) if at < after(4)}


def what_happens_before_it_runs_or_after_it_is_stopped_begins_nothing(office):
    client = office.client
    made = playbooks.create(client, "leads", on_stages("LEAD"))
    office.come("early")
    start(client, made.name)
    [first] = office.come("ann")
    assert_begun(office, made.name, [(first, after(0))])
    stop(client, made.name)
    office.come("bob")
    office.move(after(1))
    start(client, made.name)
    [third] = office.come("cid")
    assert_begun(office, made.name, [(first, after(0)), (third, after(1))])


# -- warnings -------------------------------------------------------------------------------------------------------------

ASKED = {"any": ((), None), "silence": (("SILENCE",), None), "high": ((), "HIGH"), "some": (("COMPLAINT", "FEWER_PURCHASES"), "MEDIUM")}


def raised(client, kinds=(), severity=None, since=START):
    """[(customer, instant)] of the warnings that are told and ought to begin something."""
    least = warnings.SEVERITIES.index(severity or "LOW")
    return in_order((number_of(each), instant_of(each.raise_time)) for each in warnings.every(client)
                    if (not kinds or value_name(each, "kind") in kinds) and warnings.SEVERITIES.index(value_name(each, "severity")) >= least
                    and instant_of(each.raise_time) >= since)


def a_warning_begins_runs_by_its_kind_and_its_severity(office):
    client = office.client
    names = {key: running(client, key, on_warnings(*kinds, severity=severity)) for key, (kinds, severity) in ASKED.items()}
    for key, cents in {"low": 300, "medium": 90_000, "high": 300_000}.items():
        office.buy(key, cents=cents)
    for days, keys in ((1, ["high"]), (2, ["low"]), (3, ["medium"])):
        office.move(after(days))
        office.complain(*keys)
    late = running(client, "late", on_warnings())
    office.move(after(130), late, *names.values())
    for key, (kinds, severity) in ASKED.items():
        assert raised(client, kinds, severity)
        assert_begun(office, names[key], raised(client, kinds, severity))
    assert_begun(office, late, raised(client, since=after(4)))
    assert len(raised(client)) == 6 and len(raised(client, since=after(4))) == 3 and len(raised(client, *ASKED["high"])) == 2
    assert {each[2] for each in whole(office, names["any"]) if each[1] == midnight(120)} == {"AGAIN"}


def a_warning_that_is_told_again_begins_nothing(office):
    """A restricted customer comes back with it."""
    client = office.client
    office.buy("ann", "bob")
    playbook = running(client, "any", on_warnings(), again_after_days=1)
    office.complain("ann")
    ann, bob = office.number("ann"), office.number("bob")
    assert_begun(office, playbook, [(ann, after(0))])
    office.move(after(5), playbook)
    for change in ("RestrictProcessing", "LiftRestriction"):
        office.passing(client.call(f"PrivacyService/{change}", {"name": office.name("ann")}))
    office.complain("bob")
    assert_begun(office, playbook, [(ann, after(0)), (bob, after(5))])


# -- segments -------------------------------------------------------------------------------------------------------------

def told_of(client, cursor, parent, entered):
    """[(customer, instant)] of the enters or exits that are told behind a cursor: by facts and by time."""
    return in_order((number(each.customer), instant_of(each.valid_time)) for each in segments.since(client, cursor, parents=[parent])
                    if each.entered == entered and cause(each) in ("RECORD", "TIME"))


def a_segment_begins_runs_of_those_who_enter_or_leave_it_by_facts(office):
    """And not because it became another one, or a customer went away."""
    client = office.client
    north = segments.create(client, "north", 'region == "north"').name
    segments.label_set(client, "care", {"in": 'region == "south"'})
    label = "labelSets/care/labels/in"
    cursor = segments.now(client)
    enters, leaves, labelled = (running(client, "enters", on_segment(north), again_after_days=1),
                                running(client, "leaves", on_segment(north, leaves=True)), running(client, "in", on_segment(label)))
    office.come("ann", "cid", region="north")
    office.come("bob", region="south")
    office.move(after(1))
    office.say("ann", region="south")
    office.say("bob", region="north")
    segments.redefine(client, north, 'region == "north" || region == "south"')
    assert len(segments.members(client, north)) == 3
    office.move(after(2))
    office.passing(client.call("PrivacyService/RestrictProcessing", {"name": office.name("cid")}))
    office.come("dan", region="north")
    office.say("bob", region="east")
    ann, bob, cid, dan = map(office.number, ("ann", "bob", "cid", "dan"))
    # Of whoever is restricted no run is told.
    assert_begun(office, enters, [(ann, after(0)), (bob, after(1)), (dan, after(2))])
    assert_begun(office, leaves, [(ann, after(1)), (bob, after(2))])
    assert_begun(office, labelled, [(bob, after(0)), (ann, after(1))])
    for name, parent, entered in ((enters, north, True), (leaves, north, False), (labelled, label, True)):
        assert begun(client, name) == [each for each in told_of(client, cursor, parent, entered) if each[0] != cid]


@pytest.mark.parametrize("days", [1, 13])
def a_segment_begins_runs_of_those_who_enter_or_leave_it_by_time(office, days):
    """Day by day, and where time jumps at the instant that followers are told."""
    client, rule = office.client, "days_since(last_order_at) >= 20 && days_since(last_order_at) < 40"
    quiet = segments.create(client, "quiet", rule).name
    cursor = segments.now(client)
    enters, leaves = running(client, "enters", on_segment(quiet)), running(client, "leaves", on_segment(quiet, leaves=True))
    for place, key in enumerate(("ann", "bob", "cid")):
        office.buy(key, ago=(5 + place) * DAY)
    for day in range(days, 53, days):
        office.move(after(day), enters, leaves)
    for name, entered in ((enters, True), (leaves, False)):
        expected = told_of(client, cursor, quiet, entered)
        assert len(expected) == 3
        assert_begun(office, name, expected)


def what_moved_while_a_playbook_was_stopped_begins_nothing_later(office):
    client = office.client
    north = segments.create(client, "north", 'region == "north"').name
    office.come("old", region="north")
    playbook = running(client, "enters", on_segment(north))
    [ann] = office.come("ann", region="north")
    assert_begun(office, playbook, [(ann, after(0))])
    stop(client, playbook)
    office.come("bob", region="north")
    start(client, playbook)
    [cid] = office.come("cid", region="north")
    assert_begun(office, playbook, [(ann, after(0)), (cid, after(0))])


def what_moves_right_behind_a_start_is_not_lost(office):
    """Where others run already that are about the same: many times, as the faster one wins by chance."""
    client = office.client
    north = segments.create(client, "north", 'region == "north"').name
    for turn in range(15):
        names = [running(client, f"p-{turn}-{place}", on_segment(north)) for place in range(3)]
        questions.take_in(client, lead(f"c-{turn}", region="north"))
        for name in names:
            assert_begun(office, name, [(office.number(f"c-{turn}"), office.now)])
        for name in names:
            stop(client, name)


def what_moved_right_before_a_start_begins_nothing(office):
    """At the same instant of business time, and where another one runs already that it begins something of."""
    client = office.client
    north = segments.create(client, "north", 'region == "north"').name
    first, number = running(client, "first", on_segment(north)), []
    for turn in range(10):
        number += office.come(f"c-{turn}", region="north")
        name = running(client, f"p-{turn}", on_segment(north))
        number += office.come(f"d-{turn}", region="north")
        assert_begun(office, first, [(each, office.now) for each in number])
        assert_begun(office, name, [(number[-1], office.now)])
        stop(client, name)


# -- whatever happens meanwhile ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("end", ["stop", "kill"])
def whatever_moment_the_suite_ends_at_nothing_is_lost_and_nothing_begins_twice(office, end):
    """What was taken in begins its runs, though the suite ends as soon as that was answered."""
    north = segments.create(office.client, "north", 'region == "north"').name
    names = [running(office.client, *each) for each in (("leads", on_stages("LEAD")), ("enters", on_segment(north)), ("warned", on_warnings()))]
    wards = [f"old-{n}" for n in range(5)]
    office.buy(*wards)
    expected = {name: [] for name in names}
    for day in range(1, 6):
        office.set_clock(after(day))
        rows = [lead(f"c-{day}-{n}", region="north" if n % 2 else "south") for n in range(6)]
        rows.append(warnings.complaint(wards[day - 1], "case", 1, True, interaction_time=facts.text_of(office.now - HOUR)))
        position = questions.take_in(office.client, *rows).facts_position
        office.restart(end)
        # What comes to lifecycle when it is another day is of that day.
        retention.wait_for(office.client, position, office.now)
        numbers = questions.numbers_of(office.client)
        new = [numbers[f"c-{day}-{n}"] for n in range(6)]
        for name, those in zip(names, (new, new[1::2], [numbers[wards[day - 1]]]), strict=True):
            expected[name] += [(number, after(day)) for number in those]
    for name in names:
        assert_begun(office, name, expected[name])
        until_equal(lambda name=name: {what_became(each) for each in runs_of(office.client, name)}, {"FINISHED"})
    assert len(playbooks.tasks_of(office.client)) == sum(map(len, expected.values()))


def another_tenant_has_playbooks_and_runs_of_its_own(office):
    other = playbooks.Company(office.suite, "other")
    playbook = running(office.client, "leads", on_stages("LEAD"))
    assert running(other.client, "leads", on_stages("LEAD"), wait(DAY), task()) == playbook
    other.come("nobody")
    [ann] = office.come("ann")
    [bob] = other.come("bob")
    until_equal(lambda: whole(office, playbook), [(ann, after(0), "FINISHED")])
    until_equal(lambda: [each for each in whole(other, playbook) if each[0] == bob], [(bob, after(0), "ACTIVE")])
    stop(office.client, playbook)
    playbooks.delete(office.client, playbook)
    office.move(after(2))
    other.now = office.now
    other.settle(playbook)
    assert {became for *_, became in whole(other, playbook)} == {"FINISHED"} and len(playbooks.tasks_of(other.client)) == 2
    assert len(playbooks.tasks_of(office.client)) == 1
