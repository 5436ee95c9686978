"""Customers who are put into stages anew: one publishing behind the other, beside whatever happens meanwhile, through kills and on other replicas,
each change told once, in its order and with its cause."""
import base64
import contextlib
import os
import random
import subprocess
from collections import Counter
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from one_process_per_role import ROLES, free_ports
from support import facts, questions, quintile, retention, stage_policies, waiting
from support.processes import command, serving, toml
from support.reflection import Api
from support.stage_policies import (AS_OF, CALM, DAY, FIRST, HELD, HOUR, OTHERS, SELDOM, SHIPPED, Person, Rules, begin_publishing, by_policy,
                                    create, differ, foreseen, funnel_of, instant, invented, metadata, passing, place, placed, plain, policy, preview,
                                    put_in_force, read, restaged, stage, state, streamed, take_in, told, values, versions, warned)

MANY = 2_700  # More than are gone through at once.
LATER = AS_OF + 45 * DAY
ELSEWHERE_SECONDS = 2  # A quarter of one, and what a busy machine takes.


def set_clock(client, now):
    """Moves time, and waits for nobody."""
    client.call("ClockService/SetAsOf", {"as_of": facts.text_of(now)})


def stages_of(placing):
    return {name: at for name, (at, _) in placing.items()}


class Turn(NamedTuple):
    """A version is put in force, time passes at once until an instant, and every ninth customer buys then, from a place on; None: nobody does."""

    rules: Rules
    until: datetime = AS_OF
    buys: int = None


def buyers(people, turn):
    return [] if turn.buys is None else list(people)[turn.buys::9]


def richer(people, turn):
    """Everybody behind a turn."""
    bought = set(buyers(people, turn))
    return {name: Person((*person.orders, (turn.until - HOUR, 4_200))) if name in bought else person for name, person in people.items()}


def buy(client, people, turn):
    """The orders of a turn are taken in: the position of the facts."""
    keys = {name: key for key, name in questions.names_of(client, facts.SOURCE).items()}
    rows = [facts.order(keys[name], f"{keys[name]}-{turn.until:%j}-{turn.buys}", order_time=facts.text_of(turn.until - HOUR), cents=4_200)
            for name in buyers(people, turn)]
    return questions.take_in(client, *rows).facts_position


def lives(people, *turns):
    """{customer: [(instant, cause, stage before, stage after)]} as they ought to be told: of a version from when it was published on."""
    steps, now, rules = {name: [] for name in people}, AS_OF, SHIPPED
    for turn in turns:
        after = richer(people, turn)
        for name, person in people.items():
            told_of = [(now, "POLICY", stage(person, now, rules), stage(person, now, turn.rules))]
            told_of += [(at, "TIME", *ends) for at, *ends in passing(person, now, turn.until, turn.rules)]
            told_of.append((turn.until, "EVENT", stage(person, turn.until, turn.rules), stage(after[name], turn.until, turn.rules)))
            steps[name] += [step for step in told_of if step[2] != step[3]]
        people, now, rules = after, turn.until, turn.rules
    return steps


def warnings_of(people, *turns):
    """The warnings that ought to be, as `warned` tells them."""
    going_on, ended, now = {name: {} for name in people}, Counter(), AS_OF

    def see(people, at, rules):
        for name, person in people.items():
            (now_in, shown), before = place(person, at, rules), going_on[name]
            end = "EXPIRED" if now_in == "CHURNED" else "CLEARED"
            ended.update((name, kind, before[kind], end, at) for kind in before.keys() - set(shown))
            going_on[name] = {kind: before.get(kind, at) for kind in shown}
    see(people, now, SHIPPED)
    for turn in turns:
        see(people, now, turn.rules)
        while now < turn.until:
            now += DAY
            see(people, now, turn.rules)
        people = richer(people, turn)
        see(people, now, turn.rules)
    return ended + Counter((name, kind, at, "OPEN", None) for name, of in going_on.items() for kind, at in of.items())


def assert_told(expected, changes):
    """The changes of customers, {name: the newest first}, are those that ought to be: all of them."""
    found = {name: [retention.plain(each) for each in reversed(of)] for name, of in changes.items()}
    wrong = {name: (of, expected[name]) for name, of in found.items() if of != expected[name]}
    assert not wrong, f"{len(wrong)} of {len(found)}: told, and what ought to be: {list(wrong.items())[:4]}"


def assert_lives(client, people, *turns):
    """Everybody's changes are told as they ought to be, and what is told of them: {name: the newest first}."""
    changes = {name: retention.transitions(client, name) for name in people}
    assert_told(lives(people, *turns), changes)
    return changes


def assert_read(client, placing, turn):
    """Everybody is counted where they are, and some, others at each turn, are read there."""
    names = list(placing)[turn % 4::4]
    assert read(client, names) == {name: placing[name] for name in names} and retention.funnel(client) == funnel_of(placing)


# -- one behind the other -------------------------------------------------------------------------------------------------

def earlier_parameters_put_everybody_back(fresh):
    client = fresh.client("admin")
    people = take_in(client, invented(seed=4))
    placings = {rules: placed(people, AS_OF, rules) for rules in (SHIPPED, OTHERS, SHIPPED._replace(population_p80_days=40))}
    expected, now = {name: [] for name in people}, SHIPPED
    for turn, rules in enumerate([*placings, OTHERS, SHIPPED]):
        before, after = placings[now], placings[rules]
        name, done = put_in_force(client, rules)
        assert (done.version, done.changed_customers) == (name, len(differ(before, after)))
        assert_read(client, after, turn)
        for each in differ(before, after, 0):
            expected[each].append((AS_OF, "POLICY", before[each][0], after[each][0]))
        now = rules
    assert read(client, people) == after
    assert {name: told(client, name) for name in people} == expected and max(map(len, expected.values())) >= 4
    assert {name: questions.stage_name(of) for name, of in streamed(client).items()} == {name: at for name, (at, _) in after.items()}


def publishings_that_follow_at_once_end_in_their_order_and_the_last_one_holds(fresh):
    client = fresh.client("admin")
    people = take_in(client, invented(customers=500, paces=SELDOM))
    drafts = [create(client, rules) for rules in (OTHERS, SHIPPED._replace(new_days=10), OTHERS._replace(churned_factor=9), SHIPPED)]
    begun = [begin_publishing(client, each.name) for each in drafts]
    assert read(client, list(people)[:50]) == dict(list(placed(people, AS_OF).items())[:50])
    ended = [stage_policies.done(client, each) for each in begun]
    assert [restaged(client, each).version for each in begun] == [each.name for each in drafts]
    times = [metadata(client, each).update_time.ToNanoseconds() for each in ended]
    assert times == sorted(times) and [metadata(client, each).target for each in ended] == [each.name for each in drafts]
    assert [state(each) for each in versions(client)] == ["PUBLISHED"] + ["RETIRED"] * 4
    assert {name: questions.stage_name(of) for name, of in streamed(client).items()} == {name: at for name, (at, _) in placed(people, AS_OF).items()}
    for name, person in people.items():
        steps = told(client, name)
        assert {step[1] for step in steps} <= {"POLICY"} and (not steps or steps[0][2] == steps[-1][3] == stage(person, AS_OF)), (name, steps)


def time_goes_on_by_the_version_in_force(fresh):
    """Through a restart and a kill, over which time jumps."""
    client = fresh.client("admin")
    people = take_in(client, invented(paces=SELDOM))
    made, _ = put_in_force(client, CALM)
    seen = Counter()
    for days, end in ((1, None), (30, None), (31, fresh.stop), (90, fresh.kill), (200, None)):
        now = AS_OF + days * DAY
        if end:
            end()
            fresh.as_of = facts.text_of(now)
            fresh.start()
            client = fresh.client("admin")
            questions.wait_for(client, 0, now)
        questions.set_clock(client, now)
        assert read(client, people) == placed(people, now, CALM)
        assert retention.funnel(client) == funnel_of(placed(people, now, CALM))
    changes = assert_lives(client, people, Turn(CALM, now))
    for of in changes.values():
        seen.update(retention.plain(each)[1:] for each in of)
    assert {("TIME", "AT_RISK", "DORMANT"), ("TIME", "DORMANT", "CHURNED"), ("TIME", "NEW", "AT_RISK"), ("POLICY", "ACTIVE", "LOYAL")} <= seen.keys()
    assert {of[0].to.policy_version for of in changes.values() if of} == {made}


@pytest.mark.parametrize("rules", [OTHERS, SHIPPED._replace(decline_min_count=2), SHIPPED._replace(decline_min_count=9)])
def signs_go_on_by_the_version_in_force(fresh, rules):
    """Of those who do a lot, by the day, over some of which time jumps. How often somebody gets in touch is seen by the hour, and left out."""
    client, last = fresh.client("admin"), AS_OF + 25 * DAY
    people = take_in(client, invented())
    put_in_force(client, rules)
    for days in (1, 2, 3, 5, 8, 9, 14, 25):
        questions.set_clock(client, AS_OF + days * DAY)
    assert read(client, people) == placed(people, last, rules)
    left_out = lambda found: Counter({each: count for each, count in found.items() if each[1] != "FEWER_INTERACTIONS"})  # noqa: E731
    told_of, ought = left_out(warned(client)), left_out(warnings_of(people, Turn(rules, last)))
    assert told_of == ought, (list((told_of - ought).items())[:5], list((ought - told_of).items())[:5])
    assert len({each[2] for each in ought}) > 10 and len(ought) > 100


def in_live_time_a_change_holds_from_when_it_was_made(backend):
    with quintile.suite(backend, as_of=None) as suite:
        client, begun = suite.client("admin"), datetime.now(timezone.utc)
        rows = [facts.order(f"c{n}", "e", order_time=facts.text_of(begun - n * DAY - HOUR)) for n in range(40)]
        questions.wait_for(client, questions.take_in(client, *rows).facts_position, None)
        names = questions.names_of(client, facts.SOURCE)
        before = datetime.now(timezone.utc)
        _, done = put_in_force(client, new_days=20)
        assert done.changed_customers in (19, 20, 21)  # By the day on which this runs, at which hour.
        changed = [step for name in names.values() for step in told(client, name)]
        assert len(changed) == done.changed_customers and {step[1:] for step in changed} == {("POLICY", "NEW", "ACTIVE")}
        # The worker goes through time in steps: the last one may have been a moment before.
        assert all(before - timedelta(seconds=1) <= step[0] <= datetime.now(timezone.utc) for step in changed)


# -- beside whatever else happens -----------------------------------------------------------------------------------------

BLUNT = SHIPPED._replace(population_p80_days=50)
RULES = [CALM, BLUNT, SHIPPED, CALM, SHIPPED, BLUNT]
# Time passes, customers buy, or both, as soon as a version is published: often before it has come to them.
MEANWHILE = [*(Turn(rules, AS_OF + 7 * n * DAY) for n, rules in enumerate(RULES, 1)),
             *(Turn(rules, AS_OF + 42 * DAY, n) for n, rules in enumerate(RULES)),
             *(Turn(rules, AS_OF + (42 + 7 * n) * DAY, n) for n, rules in enumerate(RULES, 1))]


def what_a_version_makes_of_customers_is_told_before_all_that_comes_behind_it(fresh):
    client = fresh.client("admin")
    first = people = take_in(client, invented(paces=SELDOM))
    now, rules = AS_OF, SHIPPED
    for number, turn in enumerate(MEANWHILE):
        draft = create(client, turn.rules)
        operation = begin_publishing(client, draft.name)
        if turn.until > now:
            set_clock(client, turn.until)
        position = buy(client, people, turn) if turn.buys is not None else 0
        done = restaged(client, operation)
        questions.wait_for(client, position, turn.until)
        changed = differ(placed(people, now, rules), placed(people, now, turn.rules))
        # To some it comes with a change of their own: they may be counted or not.
        least = len(changed - set(buyers(people, turn))) if turn.until == now else 0
        assert least <= done.changed_customers <= len(changed), turn
        people, now, rules = richer(people, turn), turn.until, turn.rules
        assert_read(client, placed(people, now, rules), number)
    assert read(client, people) == placed(people, now, rules)
    assert_lives(client, first, *MEANWHILE)
    assert warned(client) == warnings_of(first, *MEANWHILE)


def a_publishing_right_behind_time_that_passes_is_told_once(fresh):
    """Whether time has been gone through by then is nobody's to know: it may be by either version."""
    client = fresh.client("admin")
    people, draft = take_in(client, invented(paces=SELDOM)), create(client, CALM)
    set_clock(client, LATER)
    restaged(client, begin_publishing(client, draft.name))
    questions.wait_for(client, 0, LATER)
    assert read(client, people) == placed(people, LATER, CALM)
    for name, person in people.items():
        steps = told(client, name)
        by_time = {step for rules in (SHIPPED, CALM) for step in passing(person, AS_OF, LATER, rules)}
        assert all((at, *ends) in by_time for at, why, *ends in steps if why == "TIME"), (name, steps, by_time)
        ends = [(stage(person, at), stage(person, at, CALM)) for at in (AS_OF, LATER)]
        assert [tuple(step[2:]) for step in by_policy(steps)] in [[each] for each in ends if each[0] != each[1]] + [[]] * any(
            each[0] == each[1] for each in ends), (name, steps, ends)


# -- in the middle of it --------------------------------------------------------------------------------------------------

class Crowd:
    """More customers than are gone through at once, and what has befallen them so far. Most have bought once, others more often."""

    def __init__(self, suite):
        self.suite, self.turns, self.holds = suite, [], 0
        chance, known = random.Random(5), list(invented(paces=SELDOM).items())
        once = {f"once-{n}": Person(((instant(chance.randrange(1, 600)), 900),)) for n in range(MANY - len(known))}
        self.first = self.people = take_in(self.client(), {**dict(known[::2]), **once, **dict(known[1::2])})
        self.rules, self.now = SHIPPED, AS_OF
        names = sorted(self.first, key=stage_policies.number)
        # Those of whom more is known, every twentieth of the others, and those between whom the first part ends.
        self.asked = {name for name, person in self.first.items() if len(person.orders) != 1} | {*names[::20], *names[2_480:2_520]}

    def client(self):
        return self.suite.client("admin")

    def others(self):
        """Rules that are not in force."""
        return SHIPPED if self.rules == CALM else CALM

    def placed(self, rules=None):
        """Where everybody is now: by the rules in force, unless by others."""
        return placed(self.people, self.now, rules or self.rules)

    def kill(self, now=None):
        """The suite is killed, and goes on at an instant."""
        self.suite.kill()
        self.suite.as_of = facts.text_of(now or self.now)
        self.suite.start()
        return self.client()

    def turn(self, turn):
        """Behind a further turn everybody is where they ought to be."""
        self.turns.append(turn)
        self.people, self.rules, self.now = richer(self.people, turn), turn.rules, turn.until
        assert retention.funnel(self.client()) == funnel_of(self.placed())

    def assert_told(self):
        """Each change is told once: by customer of some, and counted of all."""
        client, expected = self.client(), lives(self.first, *self.turns)
        assert_told(expected, {name: retention.transitions(client, name) for name in self.asked})
        moves = Counter(step[2:] for steps in expected.values() for step in steps)
        assert retention.counts(retention.flow(client, AS_OF - HOUR).moves) == moves


@pytest.fixture(scope="module")
def crowd(backend):
    with quintile.suite(backend) as suite:
        yield Crowd(suite)


@pytest.fixture
def held(crowd):
    """A publishing to a crowd that stands still before its second part: its client, its draft and its operation."""
    crowd.suite.stop()
    crowd.suite.as_of = facts.text_of(crowd.now)
    crowd.suite.start(failpoints=f"{HELD}=1*off->1*return")
    crowd.holds += 1
    client = crowd.client()
    draft = create(client, crowd.others())
    operation = begin_publishing(client, draft.name)
    waiting.until(lambda: crowd.suite.log.read_text().count(f"failpoint {HELD} reached") == crowd.holds, "the second part to be reached")
    return SimpleNamespace(client=client, rules=crowd.others(), draft=draft, operation=operation)


def goes_on(crowd, held, now=None):
    """The suite is killed, and goes on at an instant: its client, and what the publishing did."""
    client = crowd.kill(now)
    done = restaged(client, held.operation)
    assert done.version == held.draft.name == policy(client).published.name
    return client, done


def reads_are_by_a_version_that_has_not_come_to_everybody_and_a_killed_suite_goes_on(crowd, held):
    client, people, now = held.client, crowd.people, crowd.now
    before, after = crowd.placed(), crowd.placed(held.rules)
    some = dict(list(after.items())[::20])
    assert read(client, some) == some and retention.funnel(client) == funnel_of(after)
    assert client.call("RetentionService/GetSurvival").churned == funnel_of(after)["CHURNED"]
    assert {values(client, name).policy_version for name in some} == {held.draft.name}
    records = questions.everything(client, "StageService/ListRecords", "records", page_size=1_000)
    assert {f"customers/{each.customer_id}": questions.stage_name(each.stage) for each in records} == stages_of(after)
    ends = Counter()
    for (_, at), count in retention.counts(retention.flow(client, now - HOUR).customers).items():
        ends[at] += count
    assert ends == funnel_of(after), "a flow up to now ends with the funnel"
    assert plain(preview(client, FIRST)) == foreseen(people.values(), now, SHIPPED, held.rules)
    # The feed has come to half of it.
    half, changed = {name: questions.stage_name(of) for name, of in streamed(client).items()}, differ(before, after, 0)
    assert 0 < sum(half[name] == after[name][0] for name in changed) < len(changed)
    assert {name: at for name, at in half.items() if name not in changed} == {name: at for name, (at, _) in after.items() if name not in changed}
    client, done = goes_on(crowd, held)
    assert done.changed_customers == len(differ(before, after))
    assert {name: questions.stage_name(of) for name, of in streamed(client).items()} == stages_of(after)
    crowd.turn(Turn(held.rules, now))
    crowd.assert_told()


def orders_in_the_middle_are_of_customers_whom_it_has_moved(crowd, held):
    turn = Turn(held.rules, crowd.now, 4)
    position = buy(held.client, crowd.people, turn)
    client, _ = goes_on(crowd, held)
    questions.wait_for(client, position, crowd.now)
    crowd.turn(turn)
    crowd.assert_told()


def time_that_passes_in_the_middle_is_by_the_new_version(crowd, held):
    later = crowd.now + 45 * DAY
    set_clock(held.client, later)
    client, _ = goes_on(crowd, held, later)
    questions.wait_for(client, 0, later)
    crowd.turn(Turn(held.rules, later))
    crowd.assert_told()


@pytest.mark.parametrize("begun", [True, False])
def kills_at_any_moment_leave_each_change_told_once(crowd, begun):
    """One after the other, wherever it is then."""
    for turn in [Turn(rules, crowd.now) for rules in (BLUNT, crowd.others())]:
        client = crowd.client()
        operation = begin_publishing(client, create(client, turn.rules).name)
        if begun:
            waiting.until(lambda: metadata(client, reading(client, operation)).progress_percent > 0, "it to have begun")  # noqa: B023
        restaged(crowd.kill(), operation)
        crowd.turn(turn)
    crowd.assert_told()


def reading(client, operation):
    return client.call(stage_policies.operations(client, "GetOperation"), {"name": operation.name})


# -- on other replicas ----------------------------------------------------------------------------------------------------

@pytest.fixture
def replicas(tmp_path):
    """Each role in a process of its own, and lifecycle in two, on one PostgreSQL: an administrator's client of the suite by either of the two."""
    *ports, second = free_ports(len(ROLES) + 1)
    ports = dict(zip(ROLES, ports))
    (tmp_path / "bootstrap").write_text("a secret of this test\n")
    (tmp_path / "master").write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
    with quintile.new_database() as url, contextlib.ExitStack() as stack:
        def config_of(name, listen):
            config = tmp_path / f"{name}.toml"
            config.write_text(toml({
                "": {"data_dir": str(tmp_path / "data"), "database_url": url, "as_of": facts.text_of(AS_OF)}, "listen": listen,
                "peers": {key: f"http://127.0.0.1:{port}" for key, port in ports.items()},
                "secrets": {"bootstrap_file": str(tmp_path / "bootstrap"), "master_key_file": str(tmp_path / "master")}}))
            return config
        config, other = config_of("first", ports), config_of("second", ports | {"lifecycle": second})
        assert command(tmp_path, config, "migrate").returncode == 0
        processes = {key: stack.enter_context(serving(tmp_path, config, "--role", role, name=key)) for key, role in ROLES.items()}
        processes["second"] = stack.enter_context(serving(tmp_path, other, "--role", "lifecycle", name="second"))
        for port in (*ports.values(), second):
            waiting.until(lambda port=port: quintile.health_of(f"http://127.0.0.1:{port}") == "SERVING",
                          lambda: "\n".join(log.read_text()[-2000:] for log in tmp_path.glob("*.log")), quintile.START_SECONDS)
        token = subprocess.run([quintile.binary(), "token", "--config", str(config), "--role", "admin", "--subject", "case"],
                               capture_output=True, text=True, check=True, timeout=60).stdout.strip()

        def client_by(lifecycle):
            endpoints = {key: f"http://127.0.0.1:{port}" for key, port in (ports | {"lifecycle": lifecycle}).items()}
            return stack.enter_context(contextlib.closing(Api(endpoints, token))).client(token)
        yield SimpleNamespace(first=client_by(ports["lifecycle"]), second=client_by(second), processes=processes)


def settle(client, people):
    """Takes people in, and waits until lifecycle knows them: {`customers/{number}`: person}."""
    questions.take_in(client, *(row for key, person in people.items() for row in stage_policies.rows_of(key, person)))
    waiting.until(lambda: retention.funnel(client) == funnel_of(placed(people, AS_OF)), lambda: f"{retention.funnel(client)} to be all")
    names = questions.names_of(client, facts.SOURCE)
    return {names[key]: person for key, person in people.items()}


def what_one_replica_publishes_another_reads_by_in_a_moment_and_brings_to_everybody_when_that_one_is_killed(replicas):
    first, second = replicas.first, replicas.second
    people = settle(first, invented(paces=SELDOM))
    some = list(people)[:30]
    for here, there, rules, earlier in ((first, second, CALM, SHIPPED), (second, first, SHIPPED, CALM), (first, second, CALM, SHIPPED)):
        assert read(there, some) == {name: of for name, of in placed(people, AS_OF, earlier).items() if name in some}
        ought = funnel_of(placed(people, AS_OF, rules))
        draft = create(here, rules)
        operation = begin_publishing(here, draft.name)
        assert retention.funnel(here) == ought, "at once"
        waiting.until(lambda: retention.funnel(there) == ought, "the other replica to hear of it", ELSEWHERE_SECONDS, 0.005)  # noqa: B023
        assert read(there, some) == {name: of for name, of in placed(people, AS_OF, rules).items() if name in some}
        assert restaged(there, operation).changed_customers == len(differ(placed(people, AS_OF, earlier), placed(people, AS_OF, rules)))
    for name, person in people.items():
        move = stage(person, AS_OF), stage(person, AS_OF, CALM)
        expected = [(AS_OF, "POLICY", *ends) for ends in (move, move[::-1], move)] if move[0] != move[1] else []
        assert told(first, name) == told(second, name) == expected, name
    # Also where it was begun and read by the one that is gone, and long before.
    before, after = placed(people, AS_OF, CALM), placed(people, AS_OF, BLUNT)
    operation = begin_publishing(first, create(first, BLUNT).name)
    replicas.processes["lifecycle"].kill()
    waiting.until(lambda: reading(second, operation).done, "the other replica to take over", 120)
    assert read(second, people) == after
    turn = Turn(BLUNT, AS_OF, 4)
    buy(second, people, turn)
    ought = placed(richer(people, turn), AS_OF, BLUNT)
    waiting.until(lambda: retention.funnel(second) == funnel_of(ought), "orders to come through", 120, 0.1)
    waiting.until(lambda: read(second, people) == ought, "orders to come through", 120, 1)
    assert_lives(second, people, Turn(CALM), Turn(SHIPPED), Turn(CALM), turn)
    assert len(differ(before, after, 0)) > 50
