"""Customers who are put into stages anew: one publishing behind the other, beside whatever happens meanwhile, through kills and on other replicas,
each change told once, in its order and with its cause."""
import base64
import contextlib
import os
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
                                    create, differ, foreseen, funnel_of, invented, metadata, passing, placed, plain, policy, preview, put_in_force,
                                    read, restaged, signs, stage, state, streamed, take_in, told, values, versions, warned)

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
    rows = [facts.order(keys[name], f"{keys[name]}-{turn.buys}-new", order_time=facts.text_of(turn.until - HOUR), cents=4_200)
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
            before, shown, end = going_on[name], signs(person, at, rules), "EXPIRED" if stage(person, at, rules) == "CHURNED" else "CLEARED"
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


def assert_lives(client, people, *turns):
    """Everybody's changes are told as they ought to be: all of them."""
    expected = lives(people, *turns)
    found = {name: [retention.plain(each) for each in reversed(retention.transitions(client, name))] for name in people}
    wrong = {name: (found[name], ought) for name, ought in expected.items() if found[name] != ought}
    assert not wrong, f"{len(wrong)} of {len(people)}: told, and what ought to be: {list(wrong.items())[:4]}"


# -- one behind the other -------------------------------------------------------------------------------------------------

def earlier_parameters_put_everybody_back(fresh):
    client = fresh.client("admin")
    people = take_in(client, invented(seed=4))
    placings = {rules: placed(people, AS_OF, rules) for rules in (SHIPPED, OTHERS, SHIPPED._replace(population_p80_days=40))}
    expected, now = {name: [] for name in people}, SHIPPED
    for rules in [*placings, OTHERS, SHIPPED]:
        before, after = placings[now], placings[rules]
        name, done = put_in_force(client, rules)
        assert (done.version, done.changed_customers) == (name, len(differ(before, after)))
        assert read(client, people) == after and retention.funnel(client) == funnel_of(after)
        for each in differ(before, after, 0):
            expected[each].append((AS_OF, "POLICY", before[each][0], after[each][0]))
        now = rules
    assert {name: told(client, name) for name in people} == expected and max(map(len, expected.values())) >= 4
    assert {name: questions.stage_name(of) for name, of in streamed(client).items()} == {name: at for name, (at, _) in after.items()}


def publishings_that_follow_at_once_end_in_their_order_and_the_last_one_holds(fresh):
    client = fresh.client("admin")
    people = take_in(client, invented(customers=1_200, paces=SELDOM))
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
    assert_lives(client, people, Turn(CALM, now))
    for name in people:
        seen.update(step[1:] for step in told(client, name))
    assert {("TIME", "AT_RISK", "DORMANT"), ("TIME", "DORMANT", "CHURNED"), ("TIME", "NEW", "AT_RISK"), ("POLICY", "ACTIVE", "LOYAL")} <= seen.keys()
    assert {retention.transitions(client, name)[0].to.policy_version for name in people if told(client, name)} == {made}


@pytest.mark.parametrize("rules", [OTHERS, SHIPPED._replace(decline_min_count=2), SHIPPED._replace(decline_min_count=9)])
def signs_go_on_by_the_version_in_force(fresh, rules):
    """Of those who do a lot, day by day. How often somebody gets in touch is seen by the hour, and left out."""
    client, last = fresh.client("admin"), AS_OF + 25 * DAY
    people = take_in(client, invented())
    put_in_force(client, rules)
    for days in range(1, 26):
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
# Time passes, customers buy, or both, as soon as a version is published: often before it has come to them.
MEANWHILE = {"time": [Turn(rules, AS_OF + 9 * n * DAY) for n, rules in enumerate([CALM, BLUNT, SHIPPED, CALM, SHIPPED, BLUNT], 1)],
             "orders": [Turn(rules, AS_OF, n) for n, rules in enumerate([CALM, BLUNT, SHIPPED, CALM, SHIPPED, BLUNT])],
             "both": [Turn(rules, AS_OF + 9 * n * DAY, n) for n, rules in enumerate([CALM, BLUNT, SHIPPED, CALM, SHIPPED, BLUNT], 1)]}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def what_a_version_makes_of_customers_is_told_before_all_that_comes_behind_it(fresh, meanwhile):
    client, turns = fresh.client("admin"), MEANWHILE[meanwhile]
    first = people = take_in(client, invented(paces=SELDOM))
    now, rules = AS_OF, SHIPPED
    for turn in turns:
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
        assert read(client, people) == placed(people, now, rules) and retention.funnel(client) == funnel_of(placed(people, now, rules))
    assert_lives(client, first, *turns)
    assert warned(client) == warnings_of(first, *turns)


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

@pytest.fixture
def held(fresh):
    """A publishing that stands still before its second part."""
    people = take_in(fresh.client("admin"), invented(customers=MANY, paces=SELDOM))
    fresh.stop()
    fresh.start(failpoints=f"{HELD}=1*off->1*return")
    client = fresh.client("admin")
    draft = create(client, CALM)
    operation = begin_publishing(client, draft.name)
    waiting.until(lambda: fresh.has_logged(f"failpoint {HELD} reached"), "the second part to be reached")
    return SimpleNamespace(suite=fresh, client=client, people=people, draft=draft, operation=operation)


def killed(held, now=AS_OF):
    """The suite is killed, and goes on at an instant: its client, and what the publishing did."""
    held.suite.kill()
    held.suite.as_of = facts.text_of(now)
    held.suite.start()
    client = held.suite.client("admin")
    done = restaged(client, held.operation)
    assert done.version == held.draft.name == policy(client).published.name
    return client, done


def reads_are_by_a_version_that_has_not_come_to_everybody(held):
    client, people = held.client, held.people
    before, after = placed(people, AS_OF), placed(people, AS_OF, CALM)
    some = dict(list(after.items())[::20])
    assert read(client, some) == some and retention.funnel(client) == funnel_of(after)
    assert client.call("RetentionService/GetSurvival").churned == funnel_of(after)["CHURNED"]
    assert {values(client, name).policy_version for name in some} == {held.draft.name}
    records = questions.everything(client, "StageService/ListRecords", "records", page_size=1_000)
    assert {f"customers/{each.customer_id}": questions.stage_name(each.stage) for each in records} == stages_of(after)
    ends = Counter()
    for (_, now), count in retention.counts(retention.flow(client, AS_OF - HOUR).customers).items():
        ends[now] += count
    assert ends == funnel_of(after), "a flow up to now ends with the funnel"
    assert plain(preview(client, FIRST)) == foreseen(people.values(), AS_OF, SHIPPED, CALM)
    # The feed has come to half of it.
    half, changed = {name: questions.stage_name(of) for name, of in streamed(client).items()}, differ(before, after, 0)
    assert 0 < sum(half[name] == after[name][0] for name in changed) < len(changed)
    assert {name: at for name, at in half.items() if name not in changed} == {name: at for name, (at, _) in after.items() if name not in changed}


def a_killed_suite_goes_on_and_tells_each_change_once(held):
    people = held.people
    client, done = killed(held)
    before, after = placed(people, AS_OF), placed(people, AS_OF, CALM)
    assert done.changed_customers == len(differ(before, after))
    assert {name: questions.stage_name(of) for name, of in streamed(client).items()} == stages_of(after)
    assert_lives(client, people, Turn(CALM))
    moves = Counter((before[name][0], after[name][0]) for name in differ(before, after, 0))
    assert retention.counts(retention.flow(client, AS_OF - HOUR).moves) == moves


def orders_in_the_middle_are_of_customers_whom_it_has_moved(held):
    turn = Turn(CALM, AS_OF, 4)
    position = buy(held.client, held.people, turn)
    client, _ = killed(held)
    questions.wait_for(client, position)
    assert retention.funnel(client) == funnel_of(placed(richer(held.people, turn), AS_OF, CALM))
    assert_lives(client, held.people, turn)


def time_that_passes_in_the_middle_is_by_the_new_version(held):
    set_clock(held.client, LATER)
    client, _ = killed(held, LATER)
    questions.wait_for(client, 0, LATER)
    assert retention.funnel(client) == funnel_of(placed(held.people, LATER, CALM))
    assert_lives(client, held.people, Turn(CALM, LATER))


def kills_at_any_moment_leave_each_change_told_once(fresh):
    """One after the other, wherever it is then."""
    client = fresh.client("admin")
    people, now = take_in(client, invented(customers=MANY, paces=SELDOM)), SHIPPED
    expected = {name: [] for name in people}
    for turn, rules in enumerate([CALM, SHIPPED, SHIPPED._replace(population_p80_days=50), CALM]):
        operation = begin_publishing(client, create(client, rules).name)
        if turn % 2:
            waiting.until(lambda: metadata(client, reading(client, operation)).progress_percent > 0, "it to have begun")  # noqa: B023
        fresh.kill()
        fresh.start()
        client = fresh.client("admin")
        restaged(client, operation)
        for name, person in people.items():
            step = (AS_OF, "POLICY", stage(person, AS_OF, now), stage(person, AS_OF, rules))
            expected[name] += [step] if step[2] != step[3] else []
        now = rules
        assert retention.funnel(client) == funnel_of(placed(people, AS_OF, rules))
    assert {name: told(client, name) for name in people} == expected


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


def what_one_replica_publishes_another_reads_by_in_a_moment(replicas):
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


def when_a_replica_is_killed_another_goes_on_by_the_version_in_force(replicas):
    """Also where it was begun and read by the one that is gone, and long before."""
    first, second = replicas.first, replicas.second
    people = settle(first, invented(paces=SELDOM))
    before, after = placed(people, AS_OF), placed(people, AS_OF, CALM)
    operation = begin_publishing(first, create(first, CALM).name)
    replicas.processes["lifecycle"].kill()
    waiting.until(lambda: reading(second, operation).done, "the other replica to take over", 120)
    assert read(second, people) == after
    turn = Turn(CALM, AS_OF, 4)
    buy(second, people, turn)
    ought = placed(richer(people, turn), AS_OF, CALM)
    waiting.until(lambda: read(second, people) == ought, "orders to come through", 120, 1)
    assert_lives(second, people, turn)
    assert len(differ(before, after, 0)) > 50
