"""An acknowledgement means durable: killed in the middle of an import, a suite comes back with exact totals."""
import itertools
from collections import Counter

import grpc
import pytest

import cdnow_witness as witness
from support import facts, questions, quintile, waiting
from support.ingest_stream import connection
from support.refusals import NOT_FOUND, Refusal

BATCH = 100
CUSTOMERS = 2_000
KILLED_AFTER = (3, 11, 23)  # Acknowledged batches of one connection, each time before a kill.


@pytest.fixture(scope="module")
def purchases():
    with open(quintile.cdnow(), encoding="ascii") as stream:
        return witness.read_purchases(stream)


def assert_exact(client, purchases):
    """Customers, orders, revenue, labels and stages are the witness's to the last one."""
    told = witness.report([witness.customer_of(lines) for lines in purchases.values()], witness.AS_OF,
                          witness.POPULATION_P80)
    answer = questions.distribution(client)
    assert answer.population == told["totals"]["customers"]
    assert {row.title: {"customers": row.customers, "revenue_cents": facts.cents_of(row.net_revenue)}
            for row in answer.labels if row.title in witness.RFM_11 or row.customers} == told["labels"]
    funnel = client.call("StageService/GetFunnel").stages
    assert {questions.stage_name(row): row.customers for row in funnel} == told["stages"]
    by_orders = Counter(len(lines) for lines in purchases.values())
    for orders in (1, 2, 5):
        assert questions.preview(client, f"orders == {orders}").customers == by_orders[orders]


def progress(client, stream_id):
    """The next batch that a stream expects; 0 before its first."""
    try:
        return client.call("IngestService/GetIngestStream", {"name": f"ingestStreams/{stream_id}"}).acked_offset
    except Refusal as refusal:
        assert refusal.code == NOT_FOUND, refusal
        return 0


def send_until_killed(suite, batches, first, kill_after):
    """Sends all batches from `first` without waiting, kills the suite after so many answers, and returns the last ack."""
    acked = first
    with connection(suite.client("service"), "own") as stream:
        for offset in range(first, len(batches)):
            stream.put(offset, batches[offset])
        for _ in range(kill_after):
            acked = stream.answer().acked_offset
        suite.process.kill()
        suite.process.wait(quintile.STOP_SECONDS)
        try:  # What was acknowledged and still on its way counts as well.
            while True:
                acked = stream.answer().acked_offset
        except (Refusal, grpc.RpcError, AssertionError):
            pass
    suite.kill()
    return acked


def nothing_acknowledged_is_lost_by_kill_9_and_nothing_counts_twice(fresh, purchases):
    some = dict(itertools.islice(purchases.items(), CUSTOMERS))
    rows = [facts.cdnow_order(customer, n, *line) for customer, lines in some.items() for n, line in enumerate(lines)]
    batches = [rows[start:start + BATCH] for start in range(0, len(rows), BATCH)]
    assert len(batches) > sum(KILLED_AFTER)
    acked = 0
    for kill_after in KILLED_AFTER:
        acked = send_until_killed(fresh, batches, acked, kill_after)
        assert acked < len(batches), "the suite was killed too late to tell anything"
        fresh.start()
        resumed = progress(fresh.client("service"), "own")
        assert acked <= resumed <= len(batches)
        acked = resumed
    position = 0
    with connection(fresh.client("service"), "own") as stream:
        for offset in range(max(acked - 2, 0), len(batches)):  # Two that are there already, then the rest.
            answer = stream.send(offset, batches[offset])
            position = max(position, answer.facts_position)
            assert list(answer.rejects) == []
    questions.wait_for(fresh.client("admin"), position)
    assert_exact(fresh.client("admin"), some)


def an_import_of_the_command_goes_on_after_kill_9_and_its_totals_are_exact(fresh, purchases):
    watcher = fresh.client("admin")
    with fresh.importing(quintile.cdnow(), "killed"):
        waiting.until(lambda: progress(watcher, "killed") > 0, "the first acknowledgement", interval=0.001)
        fresh.process.kill()
        fresh.kill()
    fresh.start()
    halfway = progress(fresh.client("admin"), "killed")
    assert halfway > 0
    position = fresh.import_cdnow(quintile.cdnow(), "killed")
    end = progress(fresh.client("admin"), "killed")
    assert halfway < end, "the import was over before the suite was killed: this run tells nothing"
    questions.wait_for(fresh.client("admin"), position)
    assert_exact(fresh.client("admin"), purchases)
