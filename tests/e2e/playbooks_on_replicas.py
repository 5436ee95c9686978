"""Playbooks where lifecycle runs twice on one PostgreSQL: each run begins once, each step is gone through once, and when the process that goes
through them is killed the other one goes on."""
import base64
import contextlib
import os
import subprocess
from collections import Counter
from types import SimpleNamespace

import pytest

from one_process_per_role import ROLES, free_ports
from support import facts, playbooks, questions, quintile, retention, segments, waiting
from support.noons import START
from support.playbook_days import on_days
from support.playbook_witness import DAY
from support.playbooks import (HOUR, after, branch, deliveries_of, end, lead, number_of, on_segment, on_stages, runs_of, running, stop, task,
                               tasks_of, until_equal, wait, webhook, what_became)
from support.processes import command, serving, toml
from support.reflection import Api

TAKEN_OVER = 120  # Seconds until a lease of a killed process is another's, and more.
CUSTOMERS = 30
DAYS = 1, 2  # Behind the start: on both something begins for everybody, at nine.


def config_of(home, name, url, ports, listen, inbox):
    """A configuration file by which a process listens at some ports."""
    text = toml({
        "": {"data_dir": str(home / "data"), "database_url": url, "as_of": facts.text_of(START)}, "listen": listen,
        "peers": {key: f"http://127.0.0.1:{port}" for key, port in ports.items()},
        "secrets": {"bootstrap_file": str(home / "bootstrap"), "master_key_file": str(home / "master")}})
    (home / "hook").write_text(inbox.table["secret"])
    hook = {"name": inbox.table["name"], "url": inbox.table["url"], "secret_file": str(home / "hook"), "retry_after_seconds": 1}
    config = home / f"{name}.toml"
    config.write_text(text + toml({"[webhooks]": hook}))
    return config


@pytest.fixture
def replicas(tmp_path):
    """Each role in a process of its own, and lifecycle in two: an administrator's client of the suite by either of the two."""
    *ports, other = free_ports(len(ROLES) + 1)
    ports = dict(zip(ROLES, ports, strict=True))
    (tmp_path / "bootstrap").write_text("a secret of this test\n")
    (tmp_path / "master").write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
    with quintile.new_database() as url, playbooks.messages() as inbox, contextlib.ExitStack() as stack:
        config = config_of(tmp_path, "first", url, ports, ports, inbox)
        second = config_of(tmp_path, "second", url, ports, ports | {"lifecycle": other}, inbox)
        migrated = command(tmp_path, config, "migrate")
        assert migrated.returncode == 0, migrated.stderr
        # What is begun first has the lease. Segmentation follows the other one.
        processes = {"second": stack.enter_context(serving(tmp_path, second, "--role", "lifecycle", name="second"))}
        processes |= {key: stack.enter_context(serving(tmp_path, config, "--role", role, name=key)) for key, role in ROLES.items()}
        for port in (*ports.values(), other):
            waiting.until(lambda port=port: quintile.health_of(f"http://127.0.0.1:{port}") == "SERVING",
                          lambda: "\n".join(log.read_text()[-2000:] for log in tmp_path.glob("*.log")), quintile.START_SECONDS)
        token = subprocess.run([quintile.binary(), "token", "--config", str(config), "--role", "admin", "--subject", "case"],
                               capture_output=True, text=True, check=True, timeout=60).stdout.strip()

        def client_by(lifecycle):
            endpoints = {key: f"http://127.0.0.1:{port}" for key, port in (ports | {"lifecycle": lifecycle}).items()}
            return stack.enter_context(contextlib.closing(Api(endpoints, token))).client(token)
        yield SimpleNamespace(first=client_by(ports["lifecycle"]), second=client_by(other), processes=processes, inbox=inbox)


def move(client, instant):
    client.call("ClockService/SetAsOf", {"as_of": facts.text_of(instant)})
    retention.wait_for(client, 0, instant)


def begin(client):
    """Two playbooks that run, and customers of whom one third is outside of a branch."""
    north = segments.create(client, "north", 'region == "north"').name
    steps = [task("first"), wait(DAY), branch(north), webhook("second"), wait(DAY), task("third"), webhook("third")]
    names = [running(client, "leads", on_stages("LEAD"), *steps), running(client, "enters", on_segment(north), *steps)]
    running(client, "days", on_days(*(after(days).date() for days in DAYS), hour=9), end(), again_after_days=1)
    rows = [lead(f"c-{n}", region="north" if n % 3 else "south") for n in range(CUSTOMERS)]
    retention.wait_for(client, questions.take_in(client, *rows).facts_position, START)
    return names


def assert_done_once(replicas, client, names):
    """By either playbook, of everybody."""
    inside = CUSTOMERS * 2 // 3
    ended = lambda: [Counter(map(what_became, runs_of(client, name))) for name in names]  # noqa: E731
    until_equal(ended, [{"FINISHED": CUSTOMERS}, {"FINISHED": inside}], TAKEN_OVER)
    numbers = {int(each.split("/")[1]) for each in questions.names_of(client).values()}
    on_each = Counter((number, after(days) - 3 * HOUR, "FINISHED") for number in numbers for days in DAYS)
    until_equal(lambda: Counter(playbooks.whole(SimpleNamespace(client=client), "playbooks/days")), on_each, TAKEN_OVER)
    made = Counter((each.playbook, number_of(each), each.title) for each in tasks_of(client))
    sent = Counter((each.playbook, number_of(each), each.message) for each in deliveries_of(client))
    assert set(made.values()) == set(sent.values()) == {1}
    assert (len(made), len(sent)) == (CUSTOMERS + 3 * inside, 4 * inside)
    waiting.until(lambda: not playbooks.undelivered(client), "everything to be delivered", TAKEN_OVER)
    received = {each["id"] for each in replicas.inbox.received}
    assert len(received) == len(sent) and {each["data"]["delivery"] for each in replicas.inbox.received} == {
        each.name for each in deliveries_of(client)}


def two_replicas_go_through_every_step_once(replicas):
    names = begin(replicas.first)
    for hours in range(6, 60, 6):
        move(replicas.first, START + hours * DAY / 24)
    assert_done_once(replicas, replicas.second, names)
    assert len(replicas.inbox.received) == len(deliveries_of(replicas.second)), "nothing was sent twice"


def when_one_replica_is_killed_the_other_goes_on(replicas):
    client = replicas.first
    names = begin(client)
    client.call("ClockService/SetAsOf", {"as_of": facts.text_of(after(1))})
    replicas.processes["second"].kill()
    waiting.until(lambda: questions.reached(questions.distribution(client).watermark, 0, after(1)), "the other replica to take over", TAKEN_OVER)
    client.call("ClockService/SetAsOf", {"as_of": facts.text_of(after(3))})
    assert_done_once(replicas, client, names)


def what_one_replica_starts_or_stops_holds_for_the_other(replicas):
    for here, there, key in ((replicas.first, replicas.second, "a"), (replicas.second, replicas.first, "b")):
        name = running(here, key, on_stages("LEAD"), task(), wait(DAY), task())
        retention.wait_for(here, questions.take_in(here, lead(f"{key}-1")).facts_position, START)
        until_equal(lambda: [what_became(each) for each in runs_of(there, name)], ["ACTIVE"])  # noqa: B023
        stop(there, name)
        retention.wait_for(here, questions.take_in(here, lead(f"{key}-2")).facts_position, START)
        until_equal(lambda: [what_became(each) for each in runs_of(here, name)], ["STOPPED"])  # noqa: B023
        playbooks.start(here, name)
        retention.wait_for(here, questions.take_in(here, lead(f"{key}-3")).facts_position, START)
        until_equal(lambda: [what_became(each) for each in runs_of(there, name)], ["ACTIVE", "STOPPED"])  # noqa: B023
        stop(here, name)
