"""Whom a playbook is not for, and why: the first reason that applies, by what is known once segments are as true as what happened."""
import itertools
from collections import Counter

import pytest

from support import facts, playbooks, questions, segments, waiting
from support.playbook_witness import DAY, Person
from support.playbooks import (HOUR, MINUTE, after, in_order, lead, number_of, on_segment, on_stages, runs_of, running, start, stop, task,
                               until_equal, wait, webhook, what_became, whole)
from support.refusals import NOT_FOUND, Refusal

HELD = "records::before_commit"  # Where segmentation stands still.
REASONS = ("AGAIN", "CONSENT", "AUDIENCE", "EXCLUDED")


@pytest.fixture
def office(backend):
    with playbooks.company(backend) as company:
        yield company


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


def is_gone(client, customer):
    """Whether lifecycle knows a customer no more."""
    try:
        client.call("StageService/GetStage", {"name": f"customers/{customer}/stage"})
    except Refusal as refusal:
        refusal.must_be(NOT_FOUND, "NOT_FOUND")
        return True
    return False
