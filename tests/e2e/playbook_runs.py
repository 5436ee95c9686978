"""Runs of playbooks: every step at its planned instant, once, whatever time does and however often the suite is killed; and playbooks that are
started, stopped, changed and deleted."""
import random
from datetime import datetime, timezone
from types import SimpleNamespace

import grpc
import pytest

from support import playbooks, questions, quintile, segments
from support.playbook_witness import DAY, Book, Person, Policy, Witness, side_of
from support.playbooks import (HOUR, MINUTE, after, begun, branch, content, create, deliveries_of, end, enum_name, get, lead, number_of,
                               on_segment, on_stages, plain, plain_delivery, plain_task, runs_of, running, start, stop, task, tasks_of, until_equal,
                               variant, wait, webhook, what_became)
from support.refusals import FAILED_PRECONDITION, NOT_FOUND
from support.retention import instant_of
from support.worth import ZONE

ABORTED = grpc.StatusCode.ABORTED


@pytest.fixture
def office(backend):
    """A company with an endpoint."""
    with playbooks.messages() as inbox, playbooks.company(backend, webhooks=[inbox.table]) as company:
        company.inbox = inbox
        yield company


# -- everybody, by the witness --------------------------------------------------------------------------------------------

TEAMS, OWNERS, COUNTRIES = range(5), ("ann", "bob", ""), ("", "DE", "US", "JP")
POLICY = Policy(max_contacts=2, cap_days=6, quiet=(21, 8), zones={"DE": "Europe/Berlin", "US": "America/New_York", "JP": "Asia/Tokyo"})


def invented_step(chance, place, count):
    """A step of any kind: a branch goes on at any of those behind it."""
    kind, step_id = chance.choice(["wait"] * 3 + ["webhook"] * 2 + ["task"] * 2 + ["branch", "end" if place > 2 else "wait"]), f"s-{place}"
    if kind == "wait":
        return wait(chance.choice([HOUR, 7 * HOUR, 31 * HOUR, 3 * DAY]) + chance.randrange(90) * MINUTE, id=step_id)
    if kind == "webhook":
        return webhook(f"message-{place}", id=step_id)
    if kind == "task":
        return task(f"task {place}", chance.choice(["CALL", "VISIT", "MESSAGE", "OTHER"]), chance.choice([None, 2 * DAY]), id=step_id,
                    note=chance.choice(["", "be kind"]), assignee=chance.choice(["", "tess"]))
    if kind == "branch":
        return branch("segments/north", chance.choice(["", *(f"s-{later}" for later in range(place + 1, count))]), id=step_id)
    return end(id=step_id)


def invented_steps(chance):
    count = chance.randrange(3, 12)
    return [invented_step(chance, place, count) for place in range(count)]


def invented_book(chance, team):
    """A playbook for the customers of a team."""
    ways = [variant(f"way-{n}", *invented_steps(chance), weight=chance.randrange(1, 4)) for n in range(chance.randrange(1, 4))]
    return content(on_segment("segments/begins"), variants=ways, purpose=chance.choice(["MARKETING", "SUPPORT"]), audience=f"segments/team-{team}",
                   excluded=chance.choice(["", "segments/vip"]), holdout_basis_points=1_500, again_after_days=chance.choice([2, 9, 30]))


class Life:
    """The company beside what the witness makes of it, day by day."""

    def __init__(self, office, seed):
        self.office, self.chance, self.people, self.said = office, random.Random(seed), {}, {}
        client = office.client
        rules = {"begins": 'language == "de"', "north": 'region == "north"', "vip": 'acquisition_channel == "vip"'}
        rules |= {f"team-{team}": f'department == "team-{team}"' for team in TEAMS}
        for segment, rule in rules.items():
            segments.create(client, segment, rule)
        playbooks.set_policy(client, POLICY.quiet, POLICY.zones, max_contacts=POLICY.max_contacts, cap_days=POLICY.cap_days)
        self.witness = Witness(ZONE)
        self.witness.policy = Policy(POLICY.max_contacts, POLICY.cap_days, POLICY.quiet, {key: zone_of(zone) for key, zone in POLICY.zones.items()})
        self.books = []
        for team in TEAMS:
            made = invented_book(self.chance, team)
            name = client.call(playbooks.CREATE, {"playbook_id": f"team-{team}", "playbook": made}).name
            self.books.append(Book(name, start(client, name).version, made))

    def say(self, changes):
        """Says something of customers: {key: attributes}."""
        self.office.take_in(*(lead(key, **attributes) for key, attributes in changes.items()))
        for key, attributes in changes.items():
            said = self.said.setdefault(key, {})
            said |= attributes
            person = self.people.setdefault(key, Person(self.office.number(key), said["owner"], said.get("country", "")))
            person.segments = {f"segments/{said['department']}"} | {f"segments/{name}" for name, field, value in (
                ("north", "region", "north"), ("vip", "acquisition_channel", "vip")) if said[field] == value}

    def consent(self, words):
        self.office.consent(words)
        for (key, purpose), word in words.items():
            person = self.people[key]
            for state, kept in (("GIVEN", person.consents), ("OBJECTED", person.objections)):
                (kept.add if word == state else kept.discard)(purpose)

    def day(self, arrivals):
        """What happens on a visit: some come, some become others, and some do what begins runs."""
        chance, new = self.chance, [f"c-{len(self.people) + n}" for n in range(arrivals)]
        self.say({key: {"language": "en", "owner": chance.choice(OWNERS), "department": f"team-{chance.choice(TEAMS)}",
                        "region": chance.choice(["north", "south"]), "acquisition_channel": chance.choice(["vip", "ads", "ads", "ads"])}
                  | ({"country": country} if (country := chance.choice(COUNTRIES)) else {}) for key in new})
        some = chance.sample(sorted(self.people), len(self.people) // 4)
        self.say({key: {"region": chance.choice(["north", "south"]), "language": "fr"} for key in some})
        words = {(key, "MARKETING"): "GIVEN" if chance.random() < 0.9 else "OBJECTED" for key in new}
        words |= {(key, chance.choice(["MARKETING", "SUPPORT"])): chance.choice(["GIVEN", "GIVEN", "OBJECTED", "WITHDRAWN"])
                  for key in chance.sample(sorted(self.people), len(self.people) // 5)}
        self.consent(words)
        beginning = [key for key in self.people if self.said[key]["language"] != "de"]
        self.say({key: {"language": "de"} for key in beginning})
        for key in beginning:
            for book in self.books:
                self.witness.trigger(self.people[key], book, self.office.now)

    def assert_as_expected(self):
        """All that is told is what the witness makes of it."""
        client, witness = self.office.client, self.witness
        witness.go(self.office.now)
        runs = sorted((each.plain() for each in witness.runs), key=str)
        until_equal(lambda: sorted((plain(each) for book in self.books for each in runs_of(client, book.name)), key=str), runs)
        assert sorted(map(plain_task, tasks_of(client)), key=str) == sorted(witness.tasks, key=str)
        assert sorted(map(plain_delivery, deliveries_of(client)), key=str) == sorted(witness.deliveries, key=str)


def zone_of(name):
    return type(ZONE)(name)


@pytest.fixture(scope="module")
def busy(backend):
    """Two weeks and a half of a company in São Paulo, through an orderly restart and kills, of which two come while time moves."""
    with playbooks.messages() as inbox, playbooks.company(backend, [inbox.table], "paulo", ZONE.key) as office:
        life = Life(office, 5)
        for visit in range(14):
            if visit:
                hours = life.chance.randrange(3, 60)
                life.office.set_clock(office.now + hours * HOUR + life.chance.randrange(60) * MINUTE)
            if visit in (4, 6, 9, 12):
                office.restart("stop" if visit == 4 else "kill")
            questions.wait_for(office.client, 0, office.now)
            life.assert_as_expected()
            life.day(12 if visit < 8 else 0)
            life.assert_as_expected()
        yield SimpleNamespace(office=office, life=life, inbox=inbox, client=office.client)


def every_step_is_gone_through_once_at_its_planned_instant(busy):
    """Compared on every visit; and everything has happened to somebody."""
    life = busy.life
    life.assert_as_expected()
    runs = life.witness.runs
    assert {run.state for run in runs} == {"REFUSED", "HELD_OUT", "ACTIVE", "FINISHED"}
    assert {run.refusal for run in runs} == {"UNSPECIFIED", "AGAIN", "CONSENT", "AUDIENCE", "EXCLUDED"}
    assert sum(run.withheld for run in runs) > 10 and len(life.witness.tasks) > 30 and len(life.witness.deliveries) > 30
    assert {due is None for *_, due in life.witness.tasks} == {True, False}
    waited = {made for *_, made in life.witness.deliveries if made.minute == 0}
    assert len(waited) > 3, "some deliveries have waited for the end of quiet"


def what_is_sent_is_what_is_listed(busy):
    playbooks.waiting.until(lambda: not playbooks.undelivered(busy.client), "all to be sent")
    told = {(each["data"]["customer"], each["data"]["playbook"], each["data"]["message"], each["time"], each["id"]) for each in busy.inbox.received}
    assert len(told) == len({each["id"] for each in busy.inbox.received}) == len(busy.life.witness.deliveries)
    listed = deliveries_of(busy.client)
    assert {each["data"]["delivery"] for each in busy.inbox.received} == {each.name for each in listed}
    assert {each["data"]["run"] for each in busy.inbox.received} == {each.run for each in listed} <= {
        run.name for book in busy.life.books for run in runs_of(busy.client, book.name)}


@pytest.mark.parametrize("page_size", [1, 7, 5_000])
def pages_of_runs_come_to_the_whole_the_last_begun_first(busy, page_size):
    for parent in (busy.life.books[0].name, f"customers/{busy.life.people['c-1'].number}"):
        whole = runs_of(busy.client, parent)
        assert runs_of(busy.client, parent, page_size=page_size) == whole and len({each.name for each in whole}) == len(whole) > 1
        if parent.startswith("playbooks/"):
            begins = [instant_of(each.trigger_time) for each in whole]
            assert begins == sorted(begins, reverse=True)
    wanted = ("FINISHED", "HELD_OUT")
    whole = runs_of(busy.client, busy.life.books[0].name)
    asked = runs_of(busy.client, busy.life.books[0].name, wanted, page_size=page_size)
    assert asked == [each for each in whole if enum_name(each, "state") in wanted]


# -- steps, by hand -------------------------------------------------------------------------------------------------------

def became(office, name):
    """[(what became of it, steps that are done, when the next is due)] of a playbook's runs, by customer."""
    told = sorted(runs_of(office.client, name), key=lambda each: (number_of(each), instant_of(each.trigger_time)))
    return [(what_became(each), each.steps_done, playbooks.instant_or_none(each, "next_step_time")) for each in told]


def made(office):
    """[(customer, title, when)] of all tasks, in the order of time."""
    told = [(number_of(each), each.title, instant_of(each.create_time)) for each in tasks_of(office.client)]
    return sorted(told, key=lambda each: (each[2], each[0], each[1]))


def steps_come_when_they_are_planned_and_not_when_they_are_done(office):
    steps = [task("first"), wait(3 * DAY), task("second"), wait(90 * MINUTE), wait(DAY), task("third"), wait(10 * DAY), end(), task("never")]
    playbook = running(office.client, "leads", on_stages("LEAD"), *steps)
    [ann] = office.come("ann")
    until_equal(lambda: became(office, playbook), [("ACTIVE", 2, after(3))])
    office.move(after(3) - MINUTE / 60, playbook)
    assert made(office) == [(ann, "first", after(0))]
    office.move(after(3), playbook)
    until_equal(lambda: became(office, playbook), [("ACTIVE", 4, after(3) + 90 * MINUTE)])
    [bob] = office.come("bob")
    until_equal(lambda: len(made(office)), 3)
    office.move(after(30), playbook)
    assert became(office, playbook) == [("FINISHED", 8, None)] * 2
    later = 4 * DAY + 90 * MINUTE
    assert made(office) == sorted([*((ann, *each) for each in (("first", after(0)), ("second", after(3)), ("third", after(0) + later))),
                                   *((bob, *each) for each in (("first", after(3)), ("second", after(6)), ("third", after(3) + later)))],
                                  key=lambda each: (each[2], each[0], each[1]))


def a_branch_parts_those_who_are_members_when_it_is_reached(office):
    """Whoever is no member goes on elsewhere, or nowhere; of a segment that is not there any more nobody is one."""
    client = office.client
    north, there = (segments.create(client, *each).name for each in (("north", 'region == "north"'), ("there", 'region != "west"')))
    steps = [wait(DAY), branch(north, "south"), task("north"), end(), task("skipped"), branch(there, id="south"), task("south"), wait(DAY),
             branch(there, "last"), task("still"), task("last", id="last")]
    playbook = running(client, "leads", on_stages("LEAD"), *steps)
    [ann] = office.come("ann", region="north")
    [bob] = office.come("bob", region="south")
    [cid] = office.come("cid", region="west")
    [dan] = office.come("dan", region="south")
    office.say("dan", region="north")
    office.move(after(1), playbook)
    assert became(office, playbook) == [("FINISHED", 4, None), ("ACTIVE", 8, after(2)), ("FINISHED", 6, None), ("FINISHED", 4, None)]
    assert made(office) == [(ann, "north", after(1)), (bob, "south", after(1)), (dan, "north", after(1))]
    segments.delete(client, there)
    office.move(after(3), playbook)
    assert made(office)[3:] == [(bob, "last", after(2))] and became(office, playbook)[1] == ("FINISHED", 11, None) and cid


def a_task_is_somebodys_and_due_as_the_step_says(office):
    """That of the customer's owner as it is when the task is made, unless somebody is named."""
    steps = [task("Ring", "CALL", due=3 * DAY, note="Ask how it goes."), wait(DAY), task("Visit", "VISIT", assignee="tess"), task("Write", "MESSAGE")]
    playbook = running(office.client, "leads", on_stages("LEAD"), *steps)
    [ann] = office.come("ann", owner="olga")
    [bob] = office.come("bob")
    office.say("ann", owner="pete")
    office.move(after(1), playbook)
    ring, visit, write = (ann, playbook, "CALL", "Ring", "Ask how it goes."), (playbook, "VISIT", "Visit", ""), (playbook, "MESSAGE", "Write", "")
    expected = [(*ring, "olga", after(0), after(3)), (bob, *ring[1:], "", after(0), after(3))]
    for number, owner in ((ann, "pete"), (bob, "")):
        expected += [(number, *visit, "tess", after(1), None), (number, *write, owner, after(1), None)]
    listed = tasks_of(office.client)
    assert sorted(map(plain_task, listed), key=str) == sorted(expected, key=str)
    assert {enum_name(each, "state") for each in listed} == {"OPEN"} and {instant_of(each.create_time) for each in listed[:4]} == {after(1)}
    assert len(tasks_of(office.client, assignee="tess")) == 2 and len(tasks_of(office.client, office.name("ann"))) == 3
    assert {each.run for each in listed} == {each.name for each in runs_of(office.client, playbook)}


def whoever_withdraws_is_not_contacted_and_the_run_goes_on(office):
    client = office.client
    steps = [wait(DAY), task("one"), webhook("one"), wait(DAY), task("two"), webhook("two")]
    speaks = segments.create(client, "speaks", 'language == "de"').name
    names = {purpose: running(client, purpose.lower(), on_segment(speaks), *steps, purpose=purpose) for purpose in ("MARKETING", "SUPPORT")}
    [ann] = office.come("ann", language="en")
    office.consent({("ann", "MARKETING"): "GIVEN"})
    office.say("ann", language="de")
    until_equal(lambda: [became(office, name) for name in names.values()], [[("ACTIVE", 1, after(1))]] * 2)
    office.consent({("ann", "MARKETING"): "WITHDRAWN", ("ann", "SUPPORT"): "OBJECTED"})
    office.move(after(1), *names.values())
    assert made(office) == [] and deliveries_of(client) == []
    assert [[each.withheld for each in runs_of(client, name)] for name in names.values()] == [[2], [2]]
    office.consent({("ann", "MARKETING"): "GIVEN", ("ann", "SUPPORT"): "WITHDRAWN"})
    office.move(after(2), *names.values())
    assert made(office) == [(ann, "two", after(2))] * 2 and {each.message for each in deliveries_of(client)} == {"two"}
    assert [[(what_became(each), each.withheld) for each in runs_of(client, name)] for name in names.values()] == [[("FINISHED", 2)]] * 2


# -- started, stopped, changed and deleted --------------------------------------------------------------------------------

STEPS = [task("first"), wait(5 * DAY), task("second"), webhook()]


HALF = content(on_stages("LEAD"), variants=[variant("a", *STEPS), variant("b", wait(2 * DAY), task("other"))], holdout_basis_points=4_000)


def many(office, playbook, keys):
    """Some customers come: {number: the id of its variant, empty for whoever is held out}."""
    book = Book(playbook, get(office.client, playbook).version, HALF)
    return {number: side_of(book, number) for number in office.come(*keys)}


def half(office):
    """A playbook that runs, with a holdout and two variants."""
    name = office.client.call(playbooks.CREATE, {"playbook_id": "half", "playbook": HALF}).name
    assert start(office.client, name).version == 1
    return name


def a_playbook_that_is_stopped_ends_what_is_under_way_and_leaves_the_rest(office):
    client, playbook = office.client, half(office)
    sides = many(office, playbook, [f"c-{n}" for n in range(12)])
    assert set(sides.values()) == {"", "a", "b"}
    office.move(after(3), playbook)
    state = {"": "HELD_OUT", "a": "ACTIVE", "b": "FINISHED"}
    assert {number_of(each): what_became(each) for each in runs_of(client, playbook)} == {number: state[side] for number, side in sides.items()}
    before = made(office)
    stopped = stop(client, playbook)
    assert (enum_name(stopped, "state"), stopped.version, instant_of(stopped.stop_time), instant_of(stopped.start_time)) == (
        "STOPPED", 1, after(3), after(0))
    assert stopped.etag and client.call(playbooks.STOP, {"name": playbook}) == get(client, playbook)
    state["a"] = "STOPPED"
    assert {number_of(each): (what_became(each), each.variant) for each in runs_of(client, playbook)} == {
        number: (state[side], side) for number, side in sides.items()}
    assert not any(each.HasField("next_step_time") for each in runs_of(client, playbook))
    office.move(after(40), playbook)
    assert made(office) == before and deliveries_of(client) == []
    assert all(each.HasField("converted") and not each.converted for each in runs_of(client, playbook))


def a_restart_keeps_the_version_unless_something_was_changed(office):
    client, playbook = office.client, half(office)
    first = many(office, playbook, [f"c-{n}" for n in range(10)])
    other = HALF | {"display_name": "other"}
    for changed, version in ((None, 1), (HALF, 1), (other, 2), (other, 2), (None, 2), (HALF, 3)):
        stop(client, playbook)
        if changed:
            told = client.call(playbooks.UPDATE, {"playbook": changed | {"name": playbook}})
            assert (enum_name(told, "state"), told.display_name) == ("STOPPED", changed.get("display_name", ""))
        assert start(client, playbook).version == version == get(client, playbook).version
    later = many(office, playbook, [f"d-{n}" for n in range(10)])
    until_equal(lambda: {number_of(each): (each.version, each.variant) for each in runs_of(client, playbook)},
                {number: (version, side) for version, sides in ((1, first), (3, later)) for number, side in sides.items()})
    assert {side_of(Book(playbook, version, HALF), number) for number in first for version in (1, 3)} == {"", "a", "b"}


def what_runs_is_neither_changed_nor_deleted_nor_started_again(office):
    client, playbook = office.client, half(office)
    running_one = get(client, playbook)
    for method, request in ((playbooks.UPDATE, {"playbook": HALF | {"name": playbook}}), (playbooks.DELETE, {"name": playbook}),
                            (playbooks.BEGIN, {"name": playbook})):
        client.refused(method, request).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    client.refused(playbooks.CREATE, {"playbook_id": "half", "playbook": HALF}).must_be(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    assert get(client, playbook) == running_one
    stopped = stop(client, playbook)
    for method, request in ((playbooks.UPDATE, {"playbook": HALF | {"name": playbook, "etag": running_one.etag}}),
                            (playbooks.DELETE, {"name": playbook, "etag": running_one.etag}),
                            (playbooks.BEGIN, {"name": playbook, "etag": running_one.etag})):
        client.refused(method, request).must_be(ABORTED, "STALE_ETAG")
    assert start(client, playbook, etag=stopped.etag).etag != stopped.etag
    for method in (playbooks.BEGIN, playbooks.STOP, playbooks.DELETE, f"{playbooks.SERVICE}/GetPlaybook", f"{playbooks.SERVICE}/GetPlaybookOutcome"):
        client.refused(method, {"name": "playbooks/absent"}).must_be(NOT_FOUND, "NOT_FOUND")


def what_a_playbook_names_has_to_be_there_when_it_is_started(office):
    client = office.client
    north = segments.create(client, "north", 'region == "north"').name
    leads, absent = on_stages("LEAD"), "segments/absent"
    wrong = {"trigger": [on_segment(absent)], "audience": [leads], "excluded": [leads], "branch": [leads, branch(absent)],
             "label": [leads, branch("labelSets/absent/labels/x")], "endpoint": [leads, webhook(endpoint="absent")]}
    for key, arguments in wrong.items():
        fields = {key: absent} if key in ("audience", "excluded") else {}
        name = create(client, key, *arguments, **fields).name
        client.refused(playbooks.BEGIN, {"name": name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
        assert (enum_name(get(client, name), "state"), get(client, name).version) == ("DRAFT", 0)
    name = create(client, "right", on_segment(north), branch(north), webhook(), audience=north,
                  excluded=questions.labels(client)["Lost"]).name
    assert enum_name(start(client, name), "state") == "RUNNING"


def a_playbook_that_is_deleted_forgets_its_runs_and_its_tasks_stay(office):
    client, playbook = office.client, half(office)
    other = running(client, "other", on_stages("LEAD"))
    sides = many(office, playbook, [f"c-{n}" for n in range(8)])
    until_equal(lambda: len(begun(client, other)), 8)
    stop(client, playbook)
    before = made(office)
    playbooks.delete(client, playbook)
    for method, field in (("GetPlaybook", "name"), ("ListPlaybookRuns", "parent"), ("GetPlaybookOutcome", "name")):
        client.refused(f"{playbooks.SERVICE}/{method}", {field: playbook}).must_be(NOT_FOUND, "NOT_FOUND")
    for number in sides:
        until_equal(lambda number=number: [each.playbook for each in runs_of(client, f"customers/{number}")], [other])
    assert made(office) == before and len(before) > 8
    # One of the same name is another one.
    assert half(office) == playbook and runs_of(client, playbook) == []
    later = many(office, playbook, ["late"])
    until_equal(lambda: [number_of(each) for each in runs_of(client, playbook)], list(later))


# -- those who are gone ---------------------------------------------------------------------------------------------------

def whoever_is_restricted_or_merged_away_is_gone_through_no_further(office):
    client = office.client
    playbook = running(client, "leads", on_stages("LEAD"), *STEPS)
    office.come("ann", "bob", "cid", "dan")
    names = {key: office.name(key) for key in ("ann", "bob", "cid", "dan")}
    until_equal(lambda: len(made(office)), 4)
    office.passing(client.call("PrivacyService/RestrictProcessing", {"name": names["ann"]}))
    merge = office.passing(client.call("IdentityService/MergeCustomers", {"customer": names["bob"], "other": names["cid"]}))
    until_equal(lambda: sorted(map(number_of, runs_of(client, playbook))), sorted(int(names[key].split("/")[1]) for key in ("bob", "dan")))
    # All four are due by then.
    office.move(after(6), playbook)
    office.passing(client.call("PrivacyService/LiftRestriction", {"name": names["ann"]}))
    office.passing(client.call("IdentityService/UnmergeCustomers", {"name": merge.name}))
    office.move(after(50), playbook)
    told = {key: [(what_became(each), each.HasField("converted")) for each in runs_of(client, names[key])] for key in names}
    assert told["bob"] == told["dan"] == [("FINISHED", True)] and told["ann"][0][0] == told["cid"][0][0] == "STOPPED"
    titles = {key: sorted(each.title for each in tasks_of(client, names[key])) for key in names}
    assert titles == {"ann": ["first"], "bob": ["first", "second"], "cid": ["first"], "dan": ["first", "second"]}


# -- in live time ---------------------------------------------------------------------------------------------------------

def in_live_time_a_run_begins_by_itself(backend):
    with quintile.suite(backend, as_of=None) as suite:
        client, begins = suite.client("admin"), datetime.now(timezone.utc)
        playbook = running(client, "leads", on_stages("LEAD"), task("first", due=DAY), wait(HOUR), task("second"), goal_days=1)
        assert begins - DAY / 86_400 <= instant_of(get(client, playbook).start_time) <= datetime.now(timezone.utc)
        questions.take_in(client, lead("ann"))
        until_equal(lambda: [what_became(each) for each in runs_of(client, playbook)], ["ACTIVE"])
        [run], [made_then] = runs_of(client, playbook), tasks_of(client)
        at = instant_of(run.trigger_time)
        assert begins - DAY / 86_400 <= at <= datetime.now(timezone.utc)
        assert (instant_of(run.next_step_time), instant_of(run.measure_time)) == (at + HOUR, at + DAY)
        assert (instant_of(made_then.create_time), instant_of(made_then.due_time)) == (at, at + DAY)
