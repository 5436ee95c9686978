"""A deadline is kept by the server itself, and SIGTERM ends it in order, with nothing lost."""
import contextlib
import sqlite3

import pytest

from support import facts, questions, quintile, raw_http2, waiting
from support.ingest_stream import connection
from support.refusals import DEADLINE_EXCEEDED, UNAVAILABLE
from support.watching import watch

STATUS_DEADLINE_EXCEEDED = "4"


@pytest.mark.parametrize("name,fields", [
    ("ClockService/GetAsOf", {}), ("ScoreModelService/ListScoreModels", {}), ("StageService/GetFunnel", {}),
    ("SegmentService/PreviewSegment", {"expression": facts.TARGET}), ("PolicyService/GetPolicy", {})])
def the_server_itself_gives_up_when_the_time_that_a_caller_gave_is_over(shared, name, fields):
    client = shared.client("admin")
    method = client.api.method(name)
    answer = raw_http2.call(shared.endpoints[method.port], method.path, client.message(name, fields),
                            [*client.metadata(), ("grpc-timeout", "1n")])
    assert answer.get("grpc-status") == STATUS_DEADLINE_EXCEEDED, answer


def a_watch_ends_at_its_deadline(shared):
    with watch(shared.client("analyst"), "SegmentService/WatchMemberships", seconds=1) as watcher:
        assert watcher.until_ended(seconds=10) == DEADLINE_EXCEEDED
    client = shared.client("analyst")
    method = client.api.method("SegmentService/WatchMemberships")
    answer = raw_http2.call(shared.endpoints[method.port], method.path, client.message(method.path, {}),
                            [*client.metadata(), ("grpc-timeout", "500m")])
    assert answer.get("grpc-status") == STATUS_DEADLINE_EXCEEDED, answer


def sigterm_ends_watches_and_streams_and_the_process_with_0_and_loses_nothing(fresh):
    admin = fresh.client("admin")
    with watch(admin, "SegmentService/WatchMemberships") as watcher, connection(admin, "open") as stream:
        watcher.until_caught_up()
        position = stream.send(0, [facts.order("ann", "e0")]).facts_position
        fresh.process.terminate()
        assert watcher.until_ended() == UNAVAILABLE
        code = waiting.until(lambda: (fresh.process.poll() is not None) and [fresh.process.returncode],
                             "the process to end", seconds=40)
        assert code == [0], fresh.log_tail()
    fresh.kill()
    fresh.start()
    again = fresh.client("admin")
    questions.wait_for(again, position)
    assert questions.features(again, questions.find(again, "ann")).orders == 1
    assert fresh.stop() == 0


def sigterm_on_an_idle_suite_ends_it_with_0_again_and_again(fresh):
    for _ in range(3):
        assert fresh.stop() == 0
        fresh.start()


def held_leases(suite):
    """How many leases are held in the databases of the services of the chain."""
    leases = 0
    for service in ("ingestion", "scoring", "lifecycle", "segmentation"):
        if suite.database_url:
            with contextlib.closing(quintile.connect(suite.database_url)) as database:
                leases += database.run(f"SELECT count(*) FROM {service}.lease")[0][0]
        else:
            with contextlib.closing(sqlite3.connect(suite.data / f"{service}.sqlite")) as database:
                leases += database.execute("SELECT count(*) FROM lease").fetchone()[0]
    return leases


def a_suite_that_ends_in_order_lets_go_of_its_leases(fresh):
    """Or whoever comes next would wait for them to run out, and every customer with it."""
    for _ in range(3):
        waiting.until(lambda: held_leases(fresh) >= 4, "the workers to begin")
        assert fresh.stop() == 0
        assert held_leases(fresh) == 0
        fresh.start()
