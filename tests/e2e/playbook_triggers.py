"""What begins runs of playbooks: stages, warnings and segments, each change at its own instant and only once; and who is refused, and why."""
import itertools
from collections import Counter

import pytest

from support import facts, playbooks, questions, retention, segments, stage_policies, waiting, warnings
from support.playbook_witness import DAY, Person
from support.playbooks import (MINUTE, STAGES, after, begun, lead, number_of, on_segment, on_stages, on_warnings, runs_of, running, start, stop, task,
                               until_equal, wait, webhook, what_became)
from support.refusals import NOT_FOUND, Refusal
from support.retention import HOUR, instant_of
from support.segments import number
from support.warnings import START, midnight, value_name
from support.watching import cause

HELD = "records::before_commit"  # Where segmentation stands still.


@pytest.fixture
def office(backend):
    with playbooks.company(backend) as company:
        yield company


def whole(office, name):
    """[(customer, trigger_time, what became of it)] of a playbook's runs, in the order of time."""
    told = [(number_of(each), instant_of(each.trigger_time), what_became(each)) for each in runs_of(office.client, name)]
    return sorted(told, key=lambda each: (each[1], each[0]))


def in_order(pairs):
    return sorted(pairs, key=lambda each: (each[1], each[0]))


def assert_begun(office, name, pairs):
    """Exactly these runs have begun: (customer, trigger_time)."""
    until_equal(lambda: begun(office.client, name), in_order(pairs))


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


# -- who is refused -------------------------------------------------------------------------------------------------------

REASONS = ("AGAIN", "CONSENT", "AUDIENCE", "EXCLUDED")


def of_several_reasons_the_first_one_is_told(office):
    client = office.client
    speaks, meant, vip = (segments.create(client, *each).name for each in (
        ("speaks", 'language == "de"'), ("meant", 'department == "meant"'), ("vip", 'acquisition_channel == "vip"')))
    playbook = running(client, "all", on_segment(speaks), purpose="MARKETING", audience=meant, excluded=vip)
    cases = {f"c{place}": of for place, of in enumerate(itertools.chain.from_iterable(itertools.combinations(REASONS, n) for n in range(5)))}
    office.take_in(*(lead(key, language="en", department="meant", acquisition_channel="ads") for key in cases))
    office.consent({(key, "MARKETING"): "GIVEN" for key in cases})
    before = [key for key, of in cases.items() if "AGAIN" in of]
    office.take_in(*(lead(key, language="de") for key in before))
    numbers = questions.numbers_of(client)
    until_equal(lambda: whole(office, playbook), in_order((numbers[key], after(0), "FINISHED") for key in before))
    office.move(after(1), playbook)
    office.consent({(key, "MARKETING"): "WITHDRAWN" for key, of in cases.items() if "CONSENT" in of})
    office.take_in(*(lead(key, language="fr", department="other" if "AUDIENCE" in of else "meant",
                          acquisition_channel="vip" if "EXCLUDED" in of else "ads") for key, of in cases.items()))
    office.take_in(*(lead(key, language="de") for key in cases))
    ought = [(numbers[key], after(1), of[0] if of else "FINISHED") for key, of in cases.items()]
    until_equal(lambda: [each for each in whole(office, playbook) if each[1] == after(1)], in_order(ought))
    for each in runs_of(client, playbook, ("REFUSED",)):
        assert (each.variant, each.steps_done, each.HasField("measure_time"), each.HasField("next_step_time")) == ("", 0, False, False)
    assert len(playbooks.tasks_of(client)) == len(before) + 1


def whoever_was_contacted_lately_or_still_is_begins_no_other_run(office):
    """What was refused counts for nothing, and so many days are times of 24 hours."""
    client = office.client
    speaks = segments.create(client, "speaks", 'language == "de"').name
    brief, long = (running(client, key, on_segment(speaks), *steps, again_after_days=10) for key, steps in (
        ("brief", [task()]), ("long", [wait(25 * DAY), task()])))
    ever = running(client, "ever", on_segment(speaks))
    [ann] = office.come("ann", language="de")
    instants = [after(0), after(10) - MINUTE, after(10), after(12), after(26)]
    for at in instants[1:]:
        office.move(at, brief, long, ever)
        office.say("ann", language="en")
        office.say("ann", language="de")
    expected = {brief: ["FINISHED", "AGAIN", "FINISHED", "AGAIN", "FINISHED"], long: ["FINISHED"] + ["AGAIN"] * 3 + ["ACTIVE"],
                ever: ["FINISHED"] + ["AGAIN"] * 4}
    for name, became in expected.items():
        until_equal(lambda name=name: whole(office, name), [(ann, at, each) for at, each in zip(instants, became, strict=True)])


def another_version_forgets_nobody_who_was_contacted(office):
    client = office.client
    speaks = segments.create(client, "speaks", 'language == "de"').name
    playbook = running(client, "all", on_segment(speaks), again_after_days=10)
    [ann] = office.come("ann", language="de")
    expected = [(ann, after(0), "FINISHED")]
    for day, version, became in ((9, 2, "AGAIN"), (10, 3, "FINISHED")):
        until_equal(lambda: whole(office, playbook), expected)
        office.move(after(day), playbook)
        stop(client, playbook)
        playbooks.update(client, playbook, on_segment(speaks), again_after_days=10, display_name=str(version))
        assert start(client, playbook).version == version
        office.say("ann", language="en")
        office.say("ann", language="de")
        expected.append((ann, after(day), became))
    until_equal(lambda: whole(office, playbook), expected)


def many_who_come_at_once_are_all_told_apart(office):
    """More than may be asked about in one question."""
    north = segments.create(office.client, "north", 'region == "north"').name
    playbook = running(office.client, "all", on_stages("LEAD"), audience=north)
    office.come_many(2_500, lambda n: {"region": "north" if n % 5 else "south"})
    numbers = questions.numbers_of(office.client)
    ought = in_order((numbers[f"c-{n}"], after(0), "FINISHED" if n % 5 else "AUDIENCE") for n in range(2_500))
    until_equal(lambda: whole(office, playbook), ought, 120)
    assert len(playbooks.tasks_of(office.client)) == 2_000


def marketing_needs_consent_and_support_that_nobody_objects(office):
    client = office.client
    speaks = segments.create(client, "speaks", 'language == "de"').name
    names = {purpose: running(client, purpose.lower(), on_segment(speaks), purpose=purpose) for purpose in ("MARKETING", "SUPPORT")}
    words = {(f"{purpose.lower()}-{word.lower()}", purpose): word for purpose in (*names, "PROFILING") for word in ("GIVEN", "OBJECTED", "WITHDRAWN")}
    office.take_in(*(lead(key, language="en") for key in ("silent", *(key for key, _ in words))))
    office.consent({each: "GIVEN" for each, word in words.items() if word == "WITHDRAWN"})
    office.consent(words)
    office.take_in(*(lead(key, language="de") for key in ("silent", *(key for key, _ in words))))
    numbers = questions.numbers_of(client)
    people = {"silent": Person(numbers["silent"])}
    for (key, purpose), word in words.items():
        said = {"GIVEN": "consents", "OBJECTED": "objections"}.get(word)
        people[key] = Person(numbers[key], **({said: {purpose}} if said else {}))
    for purpose, name in names.items():
        ought = [(each.number, after(0), "FINISHED" if each.may_be_contacted(purpose) else "CONSENT") for each in people.values()]
        until_equal(lambda name=name: whole(office, name), in_order(ought))
        assert Counter(became for *_, became in ought)["FINISHED"] == {"MARKETING": 1, "SUPPORT": 9}[purpose]


def an_audience_that_is_not_there_any_more_has_nobody_and_nobody_is_known_to_be_outside_the_excluded(office):
    client = office.client
    meant, vip = (segments.create(client, each, 'region == "north"').name for each in ("meant", "vip"))
    by_audience, by_exclusion = running(client, "one", on_stages("LEAD"), audience=meant), running(client, "other", on_stages("LEAD"), excluded=vip)
    [ann] = office.come("ann", region="north")
    [bob] = office.come("bob", region="south")
    for name, became in ((by_audience, ["FINISHED", "AUDIENCE"]), (by_exclusion, ["EXCLUDED", "FINISHED"])):
        until_equal(lambda name=name: whole(office, name), [(each, after(0), of) for each, of in zip((ann, bob), became, strict=True)])
    segments.delete(client, meant)
    segments.delete(client, vip)
    office.move(after(1))
    [cid] = office.come("cid", region="north")
    [dan] = office.come("dan", region="south")
    for name, became in ((by_audience, "AUDIENCE"), (by_exclusion, "EXCLUDED")):
        until_equal(lambda name=name: whole(office, name)[2:], [(each, after(1), became) for each in (cid, dan)])


def a_run_waits_until_segments_are_as_true_as_its_trigger(backend):
    """Segmentation stands still: whoever goes meanwhile is refused for it, and of two runs the second is one too many."""
    with playbooks.messages() as inbox, playbooks.company(backend, webhooks=[inbox.table]) as office:
        north = segments.create(office.client, "north", 'region == "north"').name
        playbook = running(office.client, "all", on_stages("LEAD", "NEW"), webhook(), audience=north, again_after_days=1)
        office.come("first", region="north")
        until_equal(lambda: [what_became(each) for each in runs_of(office.client, playbook)], ["FINISHED"])
        office.suite.stop()
        office.suite.start(failpoints=f"{HELD}=1*return")
        client = office.client
        questions.take_in(client, *(lead(key, region="north") for key in ("ann", "bob", "cid", "dan")), lead("eve", region="south"))
        waiting.until(lambda: office.suite.has_logged(f"failpoint {HELD} reached"), "segmentation to stand still")
        numbers = questions.numbers_of(client)
        five = sorted(numbers[key] for key in ("ann", "bob", "cid", "dan", "eve"))
        until_equal(lambda: sorted(map(number_of, runs_of(client, playbook, ("TRIGGERED",)))), five)
        questions.take_in(client, facts.order("dan", "o", order_time=facts.text_of(office.now - HOUR)))
        until_equal(lambda: sorted(map(number_of, runs_of(client, playbook, ("TRIGGERED",)))), sorted([*five, numbers["dan"]]))
        client.call("PrivacyService/RestrictProcessing", {"name": office.name("ann")})
        merge = client.call("IdentityService/MergeCustomers", {"customer": office.name("bob"), "other": office.name("cid")})
        for key in ("ann", "cid"):
            waiting.until(lambda key=key: is_gone(client, numbers[key]), f"{key} to be gone")
        assert {what_became(each) for each in runs_of(client, playbook) if number_of(each) in five} == {"TRIGGERED"}
        office.restart()
        became = lambda: sorted((number_of(each), what_became(each)) for each in runs_of(office.client, playbook))  # noqa: E731
        there = sorted([(numbers["first"], "FINISHED"), (numbers["bob"], "FINISHED"), (numbers["dan"], "FINISHED"), (numbers["dan"], "AGAIN"),
                        (numbers["eve"], "AUDIENCE")])
        until_equal(became, there)
        office.passing(office.client.call("PrivacyService/LiftRestriction", {"name": f"customers/{numbers['ann']}"}))
        office.passing(office.client.call("IdentityService/UnmergeCustomers", {"name": merge.name}))
        until_equal(became, sorted([*there, (numbers["ann"], "GONE"), (numbers["cid"], "GONE")]))


def what_was_not_decided_when_a_playbook_was_stopped_counts_for_nothing(office):
    """Segmentation stands still when it is stopped: nobody was assigned, so that nobody is measured, and the next run is the first."""
    north = segments.create(office.client, "north", 'region == "north"').name
    playbook = running(office.client, "all", on_stages("LEAD", "NEW"), audience=north, goal_days=1)
    office.suite.stop()
    office.suite.start(failpoints=f"{HELD}=1*return")
    client = office.client
    questions.take_in(client, lead("ann", region="north"))
    until_equal(lambda: [what_became(each) for each in runs_of(client, playbook)], ["TRIGGERED"])
    stop(client, playbook)
    office.restart()
    client, ann = office.client, office.number("ann")
    until_equal(lambda: whole(office, playbook), [(ann, after(0), "STOPPED")])
    start(client, playbook)
    office.move(after(1), playbook)
    office.buy("ann")
    until_equal(lambda: whole(office, playbook), [(ann, after(0), "STOPPED"), (ann, after(1), "FINISHED")])
    office.move(after(3), playbook)
    second, first = runs_of(client, playbook)
    assert (first.variant, first.HasField("measure_time"), first.HasField("converted")) == ("", False, False) and second.HasField("converted")


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


def is_gone(client, customer):
    """Whether lifecycle knows a customer no more."""
    try:
        client.call("StageService/GetStage", {"name": f"customers/{customer}/stage"})
    except Refusal as refusal:
        refusal.must_be(NOT_FOUND, "NOT_FOUND")
        return True
    return False
