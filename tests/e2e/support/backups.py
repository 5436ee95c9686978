"""Backups as operators make them, and a client that keeps sending orders meanwhile and remembers what it was answered."""
import contextlib
import os
import subprocess
import threading
import uuid
from pathlib import Path

import postgres

from support import exports, facts, questions, quintile, waiting

CUSTOMERS = 24
MARGIN = 15  # Requests that are answered before a backup begins, and after it has ended.
SECONDS = 120


def command(*arguments, failpoints=""):
    """A finished command of the binary."""
    return subprocess.run([quintile.binary(), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=SECONDS, env=os.environ | {"FAILPOINTS": failpoints})


def succeeds(*arguments):
    done = command(*arguments)
    assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stderr}"
    return done.stdout


def refusal(*arguments):
    """Why a command refuses; it fails otherwise than by what was asked of it."""
    done = command(*arguments)
    assert done.returncode == 1 and not done.stdout, done
    return done.stderr


class Load:
    """Sends a request after the other until it is stopped, each with an id and facts of its own."""

    def __init__(self, client):
        self.client = client
        self.sent = []
        self.answered = 0
        self.problem = None
        self.stopped = threading.Event()

    @contextlib.contextmanager
    def going_on(self):
        thread = threading.Thread(target=self.send)
        thread.start()
        try:
            yield self
        finally:
            self.stopped.set()
            thread.join(waiting.SECONDS)
        assert self.problem is None, self.problem

    def send(self):
        try:
            while not self.stopped.is_set():
                self.sent.append(self.request(len(self.sent)))
                answer = self.client.call("IngestService/IngestBatch", self.sent[-1])
                assert (answer.applied, list(answer.rejects)) == (len(self.sent[-1]["rows"]), []), answer
                self.answered += 1
        except Exception as problem:  # noqa: BLE001 - told by whoever waits.
            self.problem = problem

    def request(self, number):
        orders = [facts.order(f"c{(number + each) % CUSTOMERS}", f"{number}-{each}", days=1 + number % 300, cents=100 + 7 * number + each)
                  for each in range(3)]
        return facts.batch(*orders, request_id=str(uuid.uuid4()))

    def until_answered(self, count):
        waiting.until(lambda: self.problem or self.answered >= count, f"{count} answers")
        assert self.problem is None, self.problem


def replay(client, request):
    """What a request does that may have come before: (rows that were new, rows that were there)."""
    answer = client.call("IngestService/IngestBatch", request)
    assert list(answer.rejects) == [], answer
    return answer.applied, answer.duplicates


def picture(suite, out):
    """Everything that follows from what a suite has taken in: every file of an export, who is under which label, and in which stage."""
    admin = suite.client("admin")
    position = admin.call("IngestService/IngestBatch", facts.batch(facts.interaction("c0", "the last one"))).facts_position
    questions.wait_for(admin, position)
    files = exports.export(suite, out)
    assert set(files) >= {"orders", "records", "memberships"} and files["records"], sorted(files)
    funnel = questions.without_watermark(admin.call("StageService/GetFunnel"))
    return {name: sorted(map(repr, rows)) for name, rows in files.items()} | {
        "labels": questions.without_watermark(questions.distribution(admin)), "stages": funnel}


def back_up(suite, target):
    """A backup of a suite, as its database has it done."""
    if suite.database_url:
        run_postgres("pg_dump", "--format", "custom", "--file", target, suite.database_url)
    else:
        suite.run("backup", target, seconds=SECONDS)


@contextlib.contextmanager
def restored(source, home, database_url, keys):
    """A suite of a backup, with the keys that were kept apart from it."""
    suite = quintile.Quintile(home, database_url)
    if database_url:
        run_postgres("pg_restore", "--exit-on-error", "--dbname", database_url, source)
        suite.data.mkdir(0o700)
    else:
        succeeds("restore", source, "--data-dir", suite.data)
    for name, text in keys.items():
        (suite.data / name).touch(0o600)
        (suite.data / name).write_text(text)
    try:
        yield suite.start()
    finally:
        suite.kill()


def keys_of(suite):
    return {name: (suite.data / name).read_text() for name in ("master.key", "bootstrap.secret")}


def run_postgres(program, *arguments):
    """A program of PostgreSQL's own, of the version of the server of the tests."""
    done = subprocess.run([postgres.find_programs() / program, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr


def files_of(folder):
    """{name: content} of a folder."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}
