"""A database that is stopped in the middle of everything and started again: clients are told, and the suite goes on by itself."""
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import postgres
from support import facts, sales, waiting
from support.ingest_stream import connection
from support.quintile import Quintile
from support.refusals import UNAVAILABLE, Refusal

STREAM, MOST_BATCHES = "sales", 2_000


@pytest.fixture
def server():
    """A PostgreSQL of the test's own, which keeps what it has acknowledged."""
    programs = postgres.find_programs()
    assert programs, "no PostgreSQL here: tests/postgres.py installs it"
    own = postgres.Server(programs, postgres.FAST | {"synchronous_commit": "on"})
    try:
        own.start()
        yield own
    finally:
        own.stop()


@pytest.fixture
def suite(server, tmp_path):
    own = Quintile(tmp_path, server.url)
    try:
        yield own.start()
    finally:
        own.kill()


class Sender(threading.Thread):
    """Sends batches, each when the one before it was acknowledged, until one is refused."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.acked, self.refusal = client, 0, None

    def run(self):
        try:
            with connection(self.client, STREAM) as stream:
                for number in range(MOST_BATCHES):
                    self.acked = stream.send(number, sales.batch(number)).acked_offset
        except Refusal as refusal:
            self.refusal = refusal


def is_taken_in(client, request):
    try:
        return client.call("IngestService/IngestBatch", request)
    except Refusal as refusal:
        assert refusal.code == UNAVAILABLE, refusal
        return None


def a_database_that_is_stopped_hard_loses_nothing_and_the_suite_goes_on(suite, server):
    admin, listeners = suite.client("admin"), sales.Listeners()
    segment = admin.call("SegmentService/CreateSegment", {"segment_id": "returning", "segment": {"expression": sales.RETURNING}})
    with listeners.listening(admin):
        sender = Sender(admin)
        sender.start()
        waiting.until(lambda: sender.acked >= 3, "three batches to be acknowledged")
        server.crash()
        sender.join(waiting.SECONDS)
    assert sender.refusal, "the database was stopped too late to tell anything"
    sender.refusal.must_be(UNAVAILABLE, "UNAVAILABLE")
    late = facts.batch(facts.order("late", "late"))
    with ThreadPoolExecutor() as pool:  # Each waits for a connection for a while.
        refusals = [pool.submit(admin.refused, "IngestService/IngestBatch", late),
                    pool.submit(admin.refused, "FeatureService/GetFeatures", {"name": "customers/1/features"})]
    for refusal in refusals:
        refusal.result().must_be(UNAVAILABLE, "UNAVAILABLE")

    server.start_on_port()
    waiting.until(lambda: is_taken_in(admin, late | {"rows": sales.batch(0)}), "the suite to go on", sales.READY_SECONDS)
    resumed = sales.assert_what_is_stored_is_there_once(admin, STREAM)
    # The last batch may have been committed and not acknowledged.
    assert sender.acked <= resumed <= sender.acked + 1
    batches = resumed + 2
    sales.finish(admin, STREAM, sender.acked - 1, batches)
    sales.assert_all_is_there_once(admin, batches)
    listeners.assert_nothing_was_missed(admin, batches, segment.name)
