"""Killed with `kill -9` at the worst moments, a suite comes back by itself, within 30 seconds, with everything that it acknowledged, once."""
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import grpc

from support import facts, questions, quintile, sales, waiting
from support.refusals import Refusal

STREAM, BATCHES = "sales", 4
AT_ONCE = 6  # Suites that are killed side by side: on PostgreSQL each then waits for the leases of the killed process.
NOT_COMMITTED, NOT_ANSWERED = "intake::before_commit", "intake::before_answers"
WORKERS = [f"{feed}::{place}" for feed in ("features", "scores", "stages", "records") for place in ("before_commit", "after_commit")]


def side_by_side(backend, scenarios):
    """Runs each scenario at its point, on a suite of its own, and tells of every failure."""
    def run(case):
        scenario, point = case
        with quintile.suite(backend, started=False) as suite:
            try:
                # Nothing is there when the point is passed for the first time.
                scenario(suite.start(failpoints=f"{point}=1*off->1*return"), point)
            except Exception as problem:  # noqa: BLE001 - each is told, with its point.
                return f"{scenario.__name__} at {point}: {problem!r}\n{suite.log_tail()}"
        return None
    with ThreadPoolExecutor(AT_ONCE) as pool:
        problems = [problem for problem in pool.map(run, scenarios) if problem]
    assert not problems, "\n\n".join(problems)


def kill_and_start(suite):
    suite.kill()
    suite.start(seconds=sales.READY_SECONDS)
    return suite.client("admin")


def lose_a_stream(suite, point):
    listeners = sales.Listeners()
    admin = suite.client("admin")
    segment = admin.call("SegmentService/CreateSegment", {"segment_id": "returning", "segment": {"expression": sales.RETURNING}})
    with listeners.listening(admin):
        heard, sent = sales.send_until_reached(suite, point, STREAM, BATCHES)
        suite.process.kill()
        heard.until_ended()
    acked = heard.responses[-1].acked_offset
    # A worker may come to its point for the batch before, while the last one is on its way.
    assert acked == sent - 1 or (point in WORKERS and acked == sent)
    admin = kill_and_start(suite)
    # What comes later would make up for what was lost, since it touches the same customers.
    stored = sales.assert_what_is_stored_is_there_once(admin, STREAM)
    assert stored in {NOT_COMMITTED: [sent - 1], NOT_ANSWERED: [sent]}.get(point, range(acked, sent + 1))
    sales.finish(admin, STREAM, acked - 1, BATCHES)
    sales.assert_all_is_there_once(admin, BATCHES)
    listeners.assert_nothing_was_missed(admin, BATCHES, segment.name)


def lose_a_request(suite, point):
    admin = suite.client("admin")
    admin.call("IngestService/IngestBatch", facts.batch(*sales.batch(0)))
    request = facts.batch(*sales.batch(1), request_id=str(uuid.uuid4()))
    answers = []

    def send():
        try:
            answers.append(admin.call("IngestService/IngestBatch", request))
        except (Refusal, grpc.RpcError) as error:
            answers.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    waiting.until(lambda: suite.has_logged(f"failpoint {point} reached"), f"{point} to be reached")
    suite.process.kill()
    sender.join(waiting.SECONDS)
    assert len(answers) == 1 and isinstance(answers[0], Exception), f"a request was acknowledged before its time: {answers}"
    admin = kill_and_start(suite)
    fresh = sales.CUSTOMERS if point == NOT_COMMITTED else 0
    for applied in (fresh, 0):
        answer = admin.call("IngestService/IngestBatch", request)
        assert (answer.applied, answer.duplicates) == (applied, sales.CUSTOMERS - applied), answer
    questions.wait_for(admin, answer.facts_position)
    sales.assert_all_is_there_once(admin, 2)


def killed_at_any_step_of_the_chain_a_suite_loses_and_doubles_nothing(backend):
    at_commit = (NOT_COMMITTED, NOT_ANSWERED)
    side_by_side(backend, [*((lose_a_stream, point) for point in (*at_commit, *WORKERS)), *((lose_a_request, point) for point in at_commit)])
