"""Two replicas of ingestion of which each believes that it builds the features: the one that was stopped for a while does nothing twice."""
import base64
import contextlib
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from one_process_per_role import free_ports
from support import facts, sales, waiting
from support.processes import command, serving, toml
from support.quintile import START_SECONDS, binary, connect, health_of, new_database
from support.reflection import Api
from support.watching import watch

PORTS = ("access", "ingestion", "second", "elsewhere")
HOLDER = "SELECT holder FROM ingestion.lease WHERE name = 'features/1'"
COMMITS = "SELECT seq FROM ingestion.feed_head WHERE feed = 'features'"
# Where the first is stopped, and what it hears when it goes on: it has computed, or it has written and holds the place.
STOPPED_AT = {"before_begin": "another worker has gone on from this cursor", "before_commit": "idle-in-transaction timeout"}


class Replicas:
    """Access-control and two replicas of ingestion, of which the first stops at a failpoint."""

    def __init__(self, home, database_url):
        self.home, self.database_url, self.stack = home, database_url, contextlib.ExitStack()
        self.ports = dict(zip(PORTS, free_ports(len(PORTS))))
        (home / "bootstrap").write_text("a secret of this test\n")
        (home / "master").write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
        migrated = command(home, self.config("ingestion"), "migrate")
        assert migrated.returncode == 0, migrated.stderr

    def config(self, name):
        path, ports = self.home / f"{name}.toml", self.ports
        ours = {"ingestion": ports.get(name), "access": ports["access"]}
        peers = {role: f"http://127.0.0.1:{ports['elsewhere']}" for role in ("scoring", "lifecycle", "segmentation")}
        peers |= {"ingestion": f"http://127.0.0.1:{ports['ingestion']}", "access": f"http://127.0.0.1:{ports['access']}"}
        path.write_text(toml({
            "": {"data_dir": str(self.home / "data"), "database_url": self.database_url, "as_of": "1998-07-01T00:00:00Z"},
            "listen": {role: port for role, port in ours.items() if port}, "peers": peers,
            "secrets": {"bootstrap_file": str(self.home / "bootstrap"), "master_key_file": str(self.home / "master")}}))
        return path

    def start(self, name, role, failpoints=""):
        process = self.stack.enter_context(serving(self.home, self.config(name), "--role", role, name=name, failpoints=failpoints))
        waiting.until(lambda: health_of(f"http://127.0.0.1:{self.ports[name]}") == "SERVING", lambda: self.log(name), START_SECONDS)
        return process

    def client(self, name):
        token = subprocess.run([binary(), "token", "--config", str(self.home / "ingestion.toml"), "--role", "admin", "--subject", "case"],
                               capture_output=True, text=True, check=True, timeout=60).stdout.strip()
        api = Api({"ingestion": f"http://127.0.0.1:{self.ports[name]}"}, token)
        return self.stack.enter_context(contextlib.closing(api)).client(token)

    def log(self, name):
        return (self.home / f"{name}.log").read_text(errors="replace")

    def value(self, query):
        with contextlib.closing(connect(self.database_url)) as database:
            return database.run(query)[0][0]


def sell(client, number):
    answer = client.call("IngestService/IngestBatch", facts.batch(*sales.batch(number)))
    assert (answer.applied, list(answer.rejects)) == (sales.CUSTOMERS, []), answer


def orders_told(responses):
    """[(customer, orders)] as a watcher heard them, one after the other."""
    return [(record.customer_id, record.features.orders) for answer in responses for record in answer.records]


def until_told(watcher, orders):
    watcher.until(lambda heard: list(dict(orders_told(heard)).values()) == [orders] * sales.CUSTOMERS, f"{orders} orders of everybody")


def stop_and_resume(replicas, place):
    replicas.start("access", "access-control")
    first = replicas.start("ingestion", "ingestion", failpoints=f"features::{place}=1*off->1*return(3000)")
    replicas.start("second", "ingestion")
    client = replicas.client("second")
    with watch(client, "FeatureService/WatchFeatures") as watcher:
        sell(client, 0)
        until_told(watcher, 1)
        leader = replicas.value(HOLDER)
        sell(client, 1)
        waiting.until(lambda: f"failpoint features::{place} reached" in replicas.log("ingestion"), lambda: replicas.log("ingestion"))
        first.send_signal(signal.SIGSTOP)
        waiting.until(lambda: replicas.value(HOLDER) != leader, "the lease to go over")
        sell(client, 2)
        until_told(watcher, 3)
        commits = replicas.value(COMMITS)
        with contextlib.closing(connect(replicas.database_url)) as database:
            # The first must find out by its place: whom it asks about its lease does not answer.
            database.run("BEGIN")
            database.run(f"{HOLDER} FOR UPDATE")
            first.send_signal(signal.SIGCONT)
            waiting.until(lambda: STOPPED_AT[place] in replicas.log("ingestion"), lambda: replicas.log("ingestion")[-3000:])
        assert replicas.value(COMMITS) == commits, "the one that was stopped has published"
        sell(client, 3)
        until_told(watcher, 4)
    told = orders_told(watcher.responses)
    assert told == sorted(told, key=lambda each: each[1]), "a record was written over by an older one"


def the_builder_that_was_stopped_doubles_nothing_and_holds_up_nobody_for_long(tmp_path):
    def run(place):
        home = Path(tmp_path / place)
        home.mkdir()
        with new_database() as url:
            replicas = Replicas(home, url)
            with replicas.stack:
                stop_and_resume(replicas, place)
    with ThreadPoolExecutor() as pool:
        list(pool.map(run, STOPPED_AT))
