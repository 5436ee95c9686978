"""What holds for all playbooks together: how often a customer is contacted, at which local hours it is not, and that everything stands still."""
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import grpc
import pytest

from support import playbook_witness, playbooks, policies, questions, segments
from support.noons import START
from support.playbook_witness import DAY, Book, Person, Policy, Witness
from support.playbooks import (MINUTE, after, begun, branch, content, deliveries_of, enum_name, now_in, number_of, on_segment, on_stages, on_warnings,
                               plain_delivery, policy_of, runs_of, running, set_policy, stop, task, tasks_of, until_equal, wait, webhook,
                               what_became)
from support.refusals import INVALID_ARGUMENT
from support.retention import HOUR, instant_of

ABORTED = grpc.StatusCode.ABORTED
GET, UPDATE = (f"{playbooks.SERVICE}/{verb}ContactPolicy" for verb in ("Get", "Update"))
NAME = "contactPolicy"
UTC, BERLIN, PAULO, YORK, DELHI = timezone.utc, *map(ZoneInfo, ("Europe/Berlin", "America/Sao_Paulo", "America/New_York", "Asia/Kolkata"))


@pytest.fixture
def office(backend):
    """A company with an endpoint."""
    with playbooks.messages() as inbox, playbooks.company(backend, webhooks=[inbox.table]) as company:
        yield company


@pytest.fixture(scope="module")
def desk(backend):
    """A company of which tests change the policy alone."""
    with playbooks.company(backend) as company:
        yield company.client


def sent(office):
    """[(customer, message, when)] of all deliveries, in the order of time."""
    told = [(number_of(each), each.message, instant_of(each.create_time)) for each in deliveries_of(office.client)]
    return sorted(told, key=lambda each: (each[2], each[0], each[1]))


def withheld(office, *names):
    """Of each playbook how often something was withheld from its customers."""
    return [sum(each.withheld for each in runs_of(office.client, name)) for name in names]


# -- how often ------------------------------------------------------------------------------------------------------------

def by_all_playbooks_together_a_customer_is_contacted_as_often_as_it_may_be(office):
    """In any so many days: what is exactly as long ago counts no more."""
    set_policy(office.client, max_contacts=2, cap_days=5)
    first, second = (running(office.client, name, on_stages("LEAD"), *steps) for name, steps in (
        ("first", [webhook("1"), wait(2 * DAY), webhook("2"), wait(3 * DAY), webhook("3"), task()]),
        ("second", [wait(DAY), webhook("4"), wait(2 * DAY), webhook("5"), wait(2 * DAY + MINUTE), webhook("6"), wait(4 * DAY), webhook("7")])))
    [ann] = office.come("ann")
    for day in (1, 2, 3, 4, 5, 6, 8, 10):
        office.move(after(day), first, second)
    # On days 2 and 3 there were two within five days; on day 5 the first is as long ago, and a minute later that of day 1 is not.
    assert sent(office) == [(ann, "1", after(0)), (ann, "4", after(1)), (ann, "3", after(5)), (ann, "7", after(9) + MINUTE)]
    assert withheld(office, first, second) == [1, 2]
    assert [what_became(each) for name in (first, second) for each in runs_of(office.client, name)] == ["FINISHED"] * 2
    assert len(tasks_of(office.client)) == 1, "tasks are people's own"


def caps_are_of_each_customer_and_of_those_who_are_not_capped_none_is_withheld(office):
    names = [running(office.client, f"p-{n}", on_stages("LEAD"), webhook(str(n))) for n in range(4)]
    ann, bob = office.come("ann", "bob")
    until_equal(lambda: len(sent(office)), 8)
    set_policy(office.client, max_contacts=1, cap_days=365)
    [cid] = office.come("cid")
    until_equal(lambda: len([each for each in sent(office) if each[0] == cid]), 1)
    office.settle(*names)
    assert sorted(withheld(office, *names)) == [0, 1, 1, 1]
    assert sorted(each[0] for each in sent(office)) == sorted([ann, bob] * 4 + [cid])


@pytest.mark.parametrize("places", [(0, 1), (1, 0)])
def where_time_jumps_the_cap_is_kept_in_the_order_of_instants(office, places):
    """Whichever playbook was there first, and however much of both comes due at once."""
    set_policy(office.client, max_contacts=1, cap_days=3)
    made = [("odd", [wait(DAY), webhook("1"), wait(4 * DAY), webhook("5"), wait(4 * DAY), webhook("9")]),
            ("even", [wait(2 * DAY), webhook("2"), wait(2 * DAY), webhook("4"), wait(4 * DAY), webhook("8")])]
    names = [running(office.client, name, on_stages("LEAD"), *steps) for name, steps in (made[place] for place in places)]
    numbers = office.come(*(f"c-{n}" for n in range(5)))
    office.move(after(30), *names)
    assert sent(office) == [(number, *each) for each in (("1", after(1)), ("4", after(4)), ("8", after(8))) for number in numbers]
    assert sorted(withheld(office, *names)) == [5, 10]


def what_was_cancelled_does_not_count_and_what_could_not_be_delivered_does(backend):
    """An endpoint of which nobody answers, and one that refuses."""
    with playbooks.messages() as inbox, playbooks.messages("refusing", 400) as refusing, playbooks.nobody("absent") as absent:
        with playbooks.company(backend, [inbox.table, refusing.table, absent]) as office:
            client = office.client
            set_policy(client, max_contacts=1, cap_days=30)
            lost, first = running(client, "lost", on_stages("LEAD"), webhook("lost", "absent")), running(
                client, "first", on_stages("LEAD"), wait(DAY), webhook("first"))
            office.come("ann")
            until_equal(lambda: [enum_name(each, "state") for each in deliveries_of(client)], ["WAITING"])
            stop(client, lost)
            until_equal(lambda: [enum_name(each, "state") for each in deliveries_of(client)], ["CANCELLED"])
            office.move(after(1), first)
            assert [each[1] for each in sent(office)] == ["lost", "first"] and withheld(office, first) == [0]
            failed, second = running(client, "failed", on_stages("LEAD"), webhook("failed", "refusing")), running(
                client, "second", on_stages("LEAD"), wait(DAY), webhook("second"))
            office.come("bob")
            until_equal(lambda: sorted(enum_name(each, "state") for each in deliveries_of(client, office.name("bob"))), ["FAILED"])
            office.move(after(2), first, second)
            assert withheld(office, second) == [1] and withheld(office, failed) == [0]


# -- at which hours -------------------------------------------------------------------------------------------------------

# (zone of the tenant, zone of the country, hours, when it begins, when it may be contacted): all by the clock on the wall.
NIGHTS = {
    "evening": (BERLIN, None, (21, 8), (1998, 7, 1, 21), (1998, 7, 2, 8)),
    "last-moment": (BERLIN, None, (21, 8), (1998, 7, 2, 7, 59), (1998, 7, 2, 8)),
    "before": (BERLIN, None, (21, 8), (1998, 7, 1, 20, 59), (1998, 7, 1, 20, 59)),
    "end": (BERLIN, None, (21, 8), (1998, 7, 2, 8), (1998, 7, 2, 8)),
    "noon": (BERLIN, None, (12, 14), (1998, 7, 1, 12, 30), (1998, 7, 1, 14)),
    "midnight": (BERLIN, None, (20, 0), (1998, 7, 1, 23, 59), (1998, 7, 2, 0)),
    "from-midnight": (BERLIN, None, (0, 6), (1998, 7, 2, 0), (1998, 7, 2, 6)),
    "nearly-always": (BERLIN, None, (9, 8), (1998, 7, 1, 9, 1), (1998, 7, 2, 8)),
    "country": (BERLIN, YORK, (21, 8), (1998, 7, 1, 21, 10), (1998, 7, 2, 8)),
    "country-by-day": (BERLIN, YORK, (21, 8), (1998, 7, 1, 19), (1998, 7, 1, 19)),
    "half-hours": (BERLIN, DELHI, (21, 8), (1998, 7, 1, 22, 7), (1998, 7, 2, 8)),
    "spring": (BERLIN, None, (22, 6), (1999, 3, 27, 23), (1999, 3, 28, 6)),
    "autumn": (BERLIN, None, (22, 6), (1998, 10, 24, 23), (1998, 10, 25, 6)),
    # The hour at which quiet ends is left out, and the day begins an hour later.
    "left-out": (BERLIN, None, (22, 2), (1999, 3, 27, 23), (1999, 3, 28, 3)),
    "no-midnight": (PAULO, None, (20, 0), (1998, 10, 10, 22), (1998, 10, 11, 1)),
    # The hour between two and three is there twice.
    "twice": (BERLIN, None, (1, 3), (1998, 10, 25, 1, 30), (1998, 10, 25, 3)),
    "to-the-first": (BERLIN, None, (22, 2), (1998, 10, 25, 1), (1998, 10, 25, 2)),
    "country-of-spring": (PAULO, YORK, (1, 4), (1999, 4, 4, 1, 30), (1999, 4, 4, 4)),
}


@pytest.mark.parametrize("night", NIGHTS)
def a_customer_is_contacted_when_its_quiet_is_over(backend, night):
    """What comes behind the contact waits too, and tasks do not wait."""
    home, abroad, hours, begins, ends = NIGHTS[night]
    zone = abroad or home
    start_time, instant, due = (now_in(zone, *each) for each in (begins, begins, ends))
    start_time -= DAY
    with playbooks.messages() as inbox, playbooks.company(backend, [inbox.table], "elsewhere", home.key, start_time) as office:
        set_policy(office.client, hours, {"US": zone.key} if abroad else {"US": "Asia/Tokyo"})
        name = running(office.client, "leads", on_stages("LEAD"), wait(instant - start_time), task("before"), webhook("one"), task("behind"),
                       wait(HOUR), webhook("two"))
        [ann] = office.come("ann", country="US" if abroad else "DE")
        assert due == playbook_witness.end_of_quiet(instant, zone, hours)
        office.move(instant, name)
        tasks = [("before", instant), ("behind", due)]
        [run] = runs_of(office.client, name)
        if due > instant:
            assert (run.steps_done, instant_of(run.next_step_time), sent(office)) == (2, due, [])
            assert [(each.title, instant_of(each.create_time)) for each in tasks_of(office.client)] == tasks[:1]
            office.move(due - MINUTE / 60, name)
            assert sent(office) == []
        office.move(due, name)
        assert sent(office) == [(ann, "one", due)]
        assert sorted((each.title, instant_of(each.create_time)) for each in tasks_of(office.client)) == sorted(tasks)
        office.move(due + 3 * DAY, name)
        second = playbook_witness.end_of_quiet(due + HOUR, zone, hours)
        assert sent(office) == [(ann, "one", due), (ann, "two", second)]


def quiet_is_of_the_policy_of_when_a_step_is_reached_and_time_may_jump_over_it(office):
    """Many customers of several countries, hour by hour: as the witness has it where time jumps over all of it at once."""
    zones = {"US": YORK.key, "IN": DELHI.key, "BR": PAULO.key}
    set_policy(office.client, (19, 7), zones)
    steps = [step for hour in range(15) for step in (webhook(f"m-{hour}"), wait(2 * HOUR + 7 * MINUTE))]
    made = content(on_stages("LEAD"), *steps)
    book = Book(running(office.client, "leads", on_stages("LEAD"), *steps), 1, made)
    witness = Witness()
    witness.policy = Policy(quiet=(19, 7), zones={key: ZoneInfo(zone) for key, zone in zones.items()})
    for country in ("", "US", "IN", "BR", "DE"):
        [number] = office.come(f"of-{country}", **({"country": country} if country else {}))
        witness.trigger(Person(number, country=country), book, office.now)
    office.move(after(1), book.name)
    office.move(after(100), book.name)
    witness.go(office.now)
    assert sorted(map(plain_delivery, deliveries_of(office.client)), key=str) == sorted(witness.deliveries, key=str)
    assert len({at for *_, at in witness.deliveries}) > 30


def whoever_withdraws_while_it_is_quiet_is_not_contacted(office):
    client = office.client
    set_policy(client, (10, 20))
    speaks = segments.create(client, "speaks", 'language == "de"').name
    steps = [webhook("one"), webhook("two"), wait(2 * HOUR), branch(speaks), webhook("three")]
    name = running(client, "speaks", on_segment(speaks), *steps, purpose="MARKETING")
    office.come("ann", language="en")
    office.consent({("ann", "MARKETING"): "GIVEN"})
    office.say("ann", language="de")
    until_equal(lambda: [instant_of(each.next_step_time) for each in runs_of(client, name) if each.HasField("next_step_time")], [START + 8 * HOUR])
    office.consent({("ann", "MARKETING"): "WITHDRAWN"})
    office.move(START + 9 * HOUR, name)
    assert sent(office) == [] and withheld(office, name) == [2]
    office.consent({("ann", "MARKETING"): "GIVEN"})
    office.move(START + 10 * HOUR, name)
    assert [each[1:] for each in sent(office)] == [("three", START + 10 * HOUR)] and withheld(office, name) == [2]


def another_policy_holds_for_steps_that_are_reached_from_then_on(office):
    client = office.client
    name = running(client, "leads", on_stages("LEAD"), *(step for n in range(4) for step in (webhook(str(n)), wait(DAY))))
    [ann] = office.come("ann")
    until_equal(lambda: len(sent(office)), 1)
    set_policy(client, (11, 13))
    office.move(after(1), name)
    assert sent(office) == [(ann, "0", after(0))]
    office.move(after(1) + HOUR, name)
    assert sent(office)[1:] == [(ann, "1", after(1) + HOUR)]
    set_policy(client, max_contacts=2, cap_days=10)
    office.move(after(2) + HOUR, name)
    assert len(sent(office)) == 2 and withheld(office, name) == [1]
    set_policy(client)
    office.move(after(4), name)
    assert sent(office)[2:] == [(ann, "3", after(3) + HOUR)]


# -- everything stands still ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("restarts", [False, True])
def while_it_is_paused_nothing_begins_and_what_comes_due_is_done_afterwards(office, restarts):
    """At its planned instants; and playbooks that are started meanwhile stand still too."""
    client = office.client
    north = segments.create(client, "north", 'region == "north"').name
    office.buy("old", "older")
    name = running(client, "leads", on_stages("LEAD"), wait(DAY), task("one"), wait(DAY), webhook("two"), wait(20 * DAY), task("last"))
    others = [running(client, "enters", on_segment(north)), running(client, "warned", on_warnings())]
    [ann] = office.come("ann")
    until_equal(lambda: [what_became(each) for each in runs_of(client, name)], ["ACTIVE"])
    assert set_policy(client, paused=True).paused
    office.come("bob", region="north")
    others.append(running(client, "late", on_stages("LEAD")))
    office.set_clock(after(5))
    if restarts:
        office.restart()
        client = office.client
    office.come("cid", region="north")
    office.complain("old")
    assert [(number_of(each), what_became(each), each.steps_done) for each in runs_of(client, name)] == [(ann, "ACTIVE", 1)]
    assert (tasks_of(client), sent(office), [runs_of(client, each) for each in others]) == ([], [], [[]] * 3)
    assert not set_policy(client).paused
    until_equal(lambda: sent(office), [(ann, "two", after(2))])
    assert [(each.title, instant_of(each.create_time)) for each in tasks_of(client)] == [("one", after(1))]
    [dan] = office.come("dan", region="north")
    office.complain("older")
    until_equal(lambda: sorted(begun(client, name)), sorted([(ann, after(0)), (dan, after(5))]))
    for each, number in zip(others, (dan, office.number("older"), dan), strict=True):
        until_equal(lambda each=each: begun(client, each), [(number, after(5))])  # noqa: B023


def what_waits_to_be_delivered_waits_while_it_is_paused(office):
    client = office.client
    name = running(client, "leads", on_stages("LEAD"), wait(DAY), webhook("one"))
    office.come("ann")
    set_policy(client, paused=True)
    office.set_clock(after(1))
    questions.wait_for(client, 0, office.now)
    assert deliveries_of(client) == []
    set_policy(client)
    office.settle(name)
    until_equal(lambda: [enum_name(each, "state") for each in deliveries_of(client)], ["DELIVERED"])


# -- the policy -----------------------------------------------------------------------------------------------------------

def a_policy_is_whole_and_changed_only_by_who_knows_it(desk):
    first = policy_of(desk)
    assert (first.name, first.paused, first.max_contacts, first.cap_days, list(first.zones)) == (NAME, False, 0, 0, [])
    assert not first.HasField("quiet_from_hour") and not first.HasField("quiet_to_hour") and first.etag
    zones = {"DE": "Europe/Berlin", "BR": "America/Sao_Paulo"}
    second = set_policy(desk, (0, 23), zones, max_contacts=1_000, cap_days=365, etag=first.etag, name="other")
    assert (second.name, second.max_contacts, second.cap_days, second.quiet_from_hour, second.quiet_to_hour) == (NAME, 1_000, 365, 0, 23)
    assert {each.country: each.zone for each in second.zones} == zones
    assert policy_of(desk) == second and second.etag != first.etag
    desk.refused(UPDATE, {"policy": {"etag": first.etag}}).must_be(ABORTED, "STALE_ETAG")
    assert policy_of(desk) == second
    third = set_policy(desk)
    assert not third.HasField("quiet_from_hour") and list(third.zones) == [] and policy_of(desk) == third


ZONES = [{"country": "DE", "zone": "Europe/Berlin"}]
WRONG = {
    "negative": {"max_contacts": -1, "cap_days": 1}, "too-many": {"max_contacts": 1_001, "cap_days": 1}, "no-days": {"max_contacts": 1},
    "no-cap": {"cap_days": 1}, "too-long": {"max_contacts": 1, "cap_days": 366}, "days-before": {"max_contacts": 1, "cap_days": -1},
    "from-alone": {"quiet_from_hour": 1}, "to-alone": {"quiet_to_hour": 1}, "the-same": {"quiet_from_hour": 1, "quiet_to_hour": 1},
    "no-hour": {"quiet_from_hour": 24, "quiet_to_hour": 1}, "less": {"quiet_from_hour": 1, "quiet_to_hour": -1}, "twice": {"zones": ZONES * 2},
    "no-country": {"zones": [{"zone": "Europe/Berlin"}]}, "no-zone": {"zones": [{"country": "DE"}]},
    "small": {"zones": [{"country": "de", "zone": "UTC"}]}, "longer": {"zones": [{"country": "DEU", "zone": "UTC"}]},
    "nowhere": {"zones": [{"country": "DE", "zone": "Europe/Nowhere"}]},
}


@pytest.mark.parametrize("wrong", WRONG)
def a_policy_that_makes_no_sense_is_refused(desk, wrong):
    before = policy_of(desk)
    refusal = desk.refused(UPDATE, {"policy": WRONG[wrong]})
    assert refusal.code == INVALID_ARGUMENT and refusal.bad_request.field_violations[0].field.startswith("policy."), refusal
    assert policy_of(desk) == before


def a_policy_outlives_a_restart(office):
    said = set_policy(office.client, (22, 7), {"DE": "Europe/Berlin"}, max_contacts=3, cap_days=7, paused=True)
    office.restart()
    assert policies.as_dict(policy_of(office.client)) == policies.as_dict(said)


def now_is_the_instant_of_a_wall():
    """Of two that look the same the first one is meant."""
    assert now_in(BERLIN, 1998, 10, 25, 2) == datetime(1998, 10, 25, 0, tzinfo=UTC)
    assert now_in(PAULO, 1998, 10, 11, 1) == datetime(1998, 10, 11, 3, tzinfo=UTC)
