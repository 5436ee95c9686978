"""A database that stands still makes clients wait, and what they would send does not pile up in the server."""
import contextlib
import sqlite3
import threading

from support import facts, questions, waiting
from support.quintile import connect

BATCHES, ORDERS, LINES = 240, 10, 200
STILL_SECONDS = 1


@contextlib.contextmanager
def standing_still(suite):
    """Keeps everybody else from committing facts."""
    if suite.database_url:
        with contextlib.closing(connect(suite.database_url)) as database:
            database.run("BEGIN")
            database.run("LOCK TABLE ingestion.feed_head IN EXCLUSIVE MODE")
            yield
    else:
        with contextlib.closing(sqlite3.connect(suite.data / "ingestion.sqlite", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            yield


def memory_bytes(suite):
    """What the process has in memory."""
    with open(f"/proc/{suite.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


class Batches:
    """Requests that are as large as they are quick to make, and how many of them were asked for."""

    def __init__(self, client):
        line = {"product": "p" * 250, "quantity": 1}
        rows = [facts.order("c", f"e{n}", cents=100, lines=[line] * LINES) for n in range(ORDERS)]
        self.request = client.message("IngestService/Ingest", {"stream_id": "large", "rows": rows})
        self.taken = 0

    def __iter__(self):
        for offset in range(BATCHES):
            request = type(self.request)()
            request.CopyFrom(self.request)
            request.offset = offset
            self.taken += 1
            yield request

    def until_nobody_takes(self):
        """Waits until none was asked for in a while."""
        def still():
            before = self.taken
            threading.Event().wait(STILL_SECONDS)
            return before == self.taken
        waiting.until(still, "the client to be held up")


def a_database_that_stands_still_slows_its_clients_and_fills_no_memory(fresh):
    admin = fresh.client("admin")
    questions.take_in(admin, facts.order("c", "before", cents=100))
    batches = Batches(admin)
    with standing_still(fresh):
        before = memory_bytes(fresh)
        call = admin.start("IngestService/Ingest", batches)
        batches.until_nobody_takes()
        assert batches.taken < BATCHES / 3, "the server reads what it cannot commit"
        grown, sent = memory_bytes(fresh) - before, batches.request.ByteSize() * BATCHES
        assert grown < sent / 2, f"{grown >> 20} MiB more for {sent >> 20} MiB"
    # It has not failed meanwhile: all of it is taken in, and the same orders count once.
    assert [answer.acked_offset for answer in call][-1] == BATCHES
    assert questions.features(admin, questions.find(admin, "c")).orders == ORDERS + 1
