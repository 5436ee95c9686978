"""The master key rotates while business goes on: nothing is lost, no call fails, and in the end the new key alone is enough."""
import base64
import contextlib
import json
import os
import subprocess
import threading

import pytest

from one_process_per_role import ROLES, free_ports
from support import canaries, facts, questions, quintile, receiver, waiting
from support.processes import command, serving, toml
from support.refusals import Refusal
from support.world import STREAM_ID, populate

SERVICES = {"ingestion", "scoring", "lifecycle", "segmentation", "access-control"}


def key_file(suite):
    return suite.data / "master.key"


def fresh_key():
    return base64.b64encode(os.urandom(32)).decode()


def keys(suite, *arguments):
    """A finished `quintile keys`."""
    return subprocess.run([quintile.binary(), "keys", *arguments, "--data-dir", str(suite.data)], cwd=suite.home,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=quintile.COMMAND_SECONDS)


def done(suite, *arguments):
    """Standard output of a `quintile keys` that has to succeed."""
    finished = keys(suite, *arguments)
    assert finished.returncode == 0, finished
    return finished.stdout


def states(suite):
    """{service: state} of the instances that are there, and the generation."""
    told = json.loads(done(suite, "status", "-o", "json"))
    return {state["service"]: state for state in told["states"] if not state["silent"]}, int(told["generation"])


def answers(suite, page_token):
    """What is to be the same whatever the master key: an identity, both look-ups, rejects, and the rest of a page."""
    admin = suite.client("admin")
    name = questions.find(admin, canaries.SOURCE_ID)
    customer = admin.call("CustomerService/GetCustomer", {"name": name})
    by_phone = admin.call("CustomerService/LookupCustomer", {"phone": canaries.PHONE})
    rejects = admin.call("IngestService/ListRejects").rejects
    rest = admin.call("CustomerService/ListCustomers", {"page_size": 1, "page_token": page_token}).customers
    assert customer.display_name == canaries.NAME and [each.name for each in rest] and rejects
    # As text: every run of the suite is asked for its descriptors anew, and messages of two pools are never equal.
    return [str(message) for message in (customer, by_phone, *rejects, *rest)]


class Business:
    """Calls that go on in a thread: facts come in for new customers of one source, and are read back."""

    def __init__(self, suite):
        self.client = suite.client("admin")
        self.made, self.failed = [], []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        number = 0
        while not self.over.is_set():
            number += 1
            name = f"during-{number}"
            try:
                questions.take_in(self.client, facts.customer(name, display_name=name))
                assert questions.find(self.client, name)
                self.made.append(name)
            except (Refusal, AssertionError) as error:
                self.failed.append(str(error))

    def __enter__(self):
        self.thread.start()
        waiting.until(lambda: self.made or self.failed, "business to begin")
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(waiting.SECONDS)
        assert not self.thread.is_alive() and self.failed == [] and self.made


def failure(suite, **environment):
    """Standard error of a `serve` that does not start."""
    start = suite.command("serve", "--port-base", "0")
    start += ["--database-url", suite.database_url] if suite.database_url else []
    ended = subprocess.run(start, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=suite.home,
                           timeout=quintile.START_SECONDS, env=os.environ | environment)
    assert ended.returncode == 1, ended
    return ended.stderr


def a_populated_suite_rotates_while_business_goes_on(fresh):
    world = populate(fresh)
    old = key_file(fresh).read_text().strip()
    page = world.client("admin").call("CustomerService/ListCustomers", {"page_size": 1}).next_page_token
    assert page
    before = answers(fresh, page)
    with Business(fresh) as business:
        printed = done(fresh, "rotate")
        rotated = len(business.made)
        waiting.until(lambda: len(business.made) > rotated or business.failed, "business to go on")
    assert answers(fresh, page) == before
    lines = key_file(fresh).read_text().split()
    assert len(lines) == 2 and lines[1] == old and lines[0] != old
    assert key_file(fresh).stat().st_mode & 0o777 == 0o600
    told, generation = states(fresh)
    assert set(told) == SERVICES and generation == 2
    assert len({state["keyId"] for state in told.values()}) == 1
    for service, state in told.items():
        assert int(state["rowsLeft"]) == 0 and int(state["generation"]) == 2, state
        assert int(state["rowsRewrapped"]) >= 1 and service in printed, state
    done(fresh, "retire")
    assert key_file(fresh).read_text().split() == lines[:1]
    # From the disk alone, by the new key alone.
    fresh.stop()
    fresh.start()
    assert answers(fresh, page) == before
    admin = fresh.client("admin")
    assert all(questions.find(admin, name) for name in business.made[:3] + business.made[-3:])
    assert admin.call("IngestService/GetIngestStream", {"name": f"ingestStreams/{STREAM_ID}"}).acked_offset == 1
    fresh.stop()
    key_file(fresh).write_text(old + "\n")
    said = failure(fresh)
    assert "is not among the master keys" in said and told["access-control"]["keyId"] in said, said
    assert old.rstrip("=") not in said and lines[0].rstrip("=") not in said
    assert not [secret for secret in (old, lines[0]) if secret.rstrip("=") in fresh.log.read_text() + printed]


def a_suite_of_five_processes_rotates_by_one_command(tmp_path):
    ports = dict(zip(ROLES, free_ports(len(ROLES))))
    (tmp_path / "bootstrap").write_text("a secret of this test\n")
    (tmp_path / "master").write_text(fresh_key() + "\n")
    config = tmp_path / "quintile.toml"
    with quintile.new_database() as url, contextlib.ExitStack() as stack:
        config.write_text(toml({
            "": {"data_dir": str(tmp_path / "data"), "database_url": url}, "listen": ports,
            "peers": {key: f"http://127.0.0.1:{port}" for key, port in ports.items()},
            "secrets": {"bootstrap_file": str(tmp_path / "bootstrap"), "master_key_file": str(tmp_path / "master")}}))
        for key, role in ROLES.items():
            stack.enter_context(serving(tmp_path, config, "--role", role, name=key))
        for port in ports.values():
            waiting.until(lambda port=port: quintile.health_of(f"http://127.0.0.1:{port}") == "SERVING",
                          lambda: "\n".join(log.read_text()[-2000:] for log in tmp_path.glob("*.log")), 60)
        for name in ("rotate", "retire", "rotate"):
            ended = command(tmp_path, config, "keys", name, "-o", "json")
            assert ended.returncode == 0, ended
        told = json.loads(ended.stdout)
        assert {state["service"] for state in told["states"]} == SERVICES and int(told["generation"]) == 4, told
        assert len({state["instance"] for state in told["states"]}) == 5, told
        assert not any(int(state["rowsLeft"]) for state in told["states"]), told
    assert len((tmp_path / "master").read_text().split()) == 2


def an_operator_may_place_the_keys_and_have_them_used(fresh):
    admin = populate(fresh).client("admin")
    page = admin.call("CustomerService/ListCustomers", {"page_size": 1}).next_page_token
    before = answers(fresh, page)
    old = key_file(fresh).read_text().strip()
    # First where everybody can open with it, then where it wraps.
    new = fresh_key()
    key_file(fresh).write_text(f"{new}\n{old}\n")
    refused = keys(fresh, "retire")
    assert refused.returncode == 1 and "nothing was retired" in refused.stderr, refused
    done(fresh, "rotate", "--rewrap-only")
    key_file(fresh).write_text(new + "\n")
    fresh.stop()
    fresh.start()
    assert answers(fresh, page) == before


def the_environment_may_hold_the_keys(tmp_path, monkeypatch):
    old, new = fresh_key(), fresh_key()
    monkeypatch.setenv("QUINTILE_MASTER_KEY", old)
    with quintile.suite("sqlite", webhooks=receiver.refusing()) as suite:
        populate(suite)
        assert not key_file(suite).exists()
        printed = subprocess.run([quintile.binary(), "config", "print"], capture_output=True, text=True, check=True)
        assert json.loads(printed.stdout)["secrets"]["master_key"] == "<secret>"
        page = suite.client("admin").call("CustomerService/ListCustomers", {"page_size": 1}).next_page_token
        before = answers(suite, page)
        refused = keys(suite, "rotate")
        assert refused.returncode == 1 and "--rewrap-only" in refused.stderr, refused
        suite.stop()
        monkeypatch.setenv("QUINTILE_MASTER_KEY", f"{new},{old}")
        suite.start()
        done(suite, "rotate", "--rewrap-only")
        suite.stop()
        monkeypatch.setenv("QUINTILE_MASTER_KEY", new)
        suite.start()
        assert answers(suite, page) == before
        suite.stop()
        assert "is not among the master keys" in failure(suite, QUINTILE_MASTER_KEY=old)
        both = failure(suite, QUINTILE_SECRETS__MASTER_KEY_FILE=str(tmp_path / "file"))
        assert "set one of them" in both, both
        for secret in (old, new):
            assert secret.rstrip("=") not in suite.log.read_text() + both


@pytest.mark.parametrize("text", ["", "not base64 !", "c2hvcnQ="])
def what_is_no_key_is_refused_without_a_word_of_it(tmp_path, monkeypatch, text):
    monkeypatch.delenv("QUINTILE_MASTER_KEY", raising=False)
    (tmp_path / "keys").write_text(text)
    ended = subprocess.run([quintile.binary(), "serve", "--data-dir", str(tmp_path / "data"), "--port-base", "0"],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=quintile.START_SECONDS,
                           env=os.environ | {"QUINTILE_SECRETS__MASTER_KEY_FILE": str(tmp_path / "keys")}, cwd=tmp_path)
    assert ended.returncode == 1 and "key" in ended.stderr, ended
    assert not text or text not in ended.stderr
