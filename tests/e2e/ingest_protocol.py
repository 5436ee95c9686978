"""The promises of the ingest stream and of single batches: offsets, replays, sizes and request ids."""
import pytest

from support import facts, questions
from support.ingest_stream import connection
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, OUT_OF_RANGE


@pytest.fixture
def service(shared):
    return shared.client("service")


def orders_of(client, customer):
    return questions.features(client, questions.find(client, customer)).orders


def a_replayed_offset_is_answered_and_not_applied_again(service, new):
    rows = [facts.order(new, f"e{n}") for n in range(3)]
    with connection(service, new) as stream:
        assert stream.send(0, rows[:2]).acked_offset == 1
        assert stream.send(1, rows[2:]).acked_offset == 2
        assert stream.send(1, rows[2:]).acked_offset == 2
    with connection(service, new) as stream:
        again = stream.send(0, rows[:2])
        assert again.acked_offset >= 1 and list(again.rejects) == []
        assert stream.send(2, [facts.order(new, "e3")]).acked_offset == 3
    state = service.call("IngestService/GetIngestStream", {"name": f"ingestStreams/{new}"})
    assert state.acked_offset == 3
    assert orders_of(service, new) == 4


@pytest.mark.parametrize("first,offset", [(False, 1), (True, 2), (True, 7), (True, 2**62)])
def a_gap_is_out_of_range_and_leaves_the_stream_where_it_was(service, new, first, offset):
    with connection(service, new) as stream:
        if first:
            stream.send(0, [facts.order(new, "e0")])
        stream.refused(offset, [facts.order(new, "e1")]).must_be(OUT_OF_RANGE, "OFFSET_GAP")
    with connection(service, new) as stream:
        assert stream.send(int(first), [facts.order(new, "e2")]).acked_offset == int(first) + 1


def an_offset_below_zero_and_a_stream_without_a_name_are_refused(service, new):
    with connection(service, new) as stream:
        stream.refused(-1, [facts.order(new, "e")]).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    for bad in ("", " ", "x" * 257, "a\u0000b", "a\u202eb"):
        with connection(service, bad) as stream:
            stream.refused(0, [facts.order(new, "e")]).must_be(INVALID_ARGUMENT, "INVALID_FIELD")


def a_stream_keeps_its_name_for_as_long_as_it_lasts(service, new):
    with connection(service, new) as stream:
        stream.send(0, [facts.order(new, "e0")])
        refusal = stream.refused(1, [facts.order(new, "e1")], stream_id=f"{new}-other")
        refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")


@pytest.mark.parametrize("count", [0, 10_001], ids=["empty", "too_many_rows"])
def a_batch_that_is_empty_or_too_large_is_refused_whole(service, new, count):
    rows = [facts.order(new, "same")] * count
    with connection(service, new) as stream:
        stream.refused(0, rows).must_be(INVALID_ARGUMENT, "INVALID_BATCH")
    service.refused("IngestService/IngestBatch", facts.batch(*rows)).must_be(INVALID_ARGUMENT, "INVALID_BATCH")
    service.refused("IngestService/GetIngestStream", {"name": f"ingestStreams/{new}"}).must_be(NOT_FOUND, "NOT_FOUND")


def answers_come_in_order_and_cover_all_that_was_sent_ahead(service, new):
    with connection(service, new) as stream:
        for offset in range(20):
            stream.put(offset, [facts.order(new, f"e{offset}")])
        assert [stream.answer().acked_offset for _ in range(20)] == list(range(1, 21))
    assert orders_of(service, new) == 20


def the_same_row_twice_in_one_batch_counts_once(service, new):
    row = facts.order(new, "e")
    answer = service.call("IngestService/IngestBatch", facts.batch(row, row))
    assert (answer.applied, answer.duplicates) == (1, 1)
    assert orders_of(service, new) == 1


def an_event_with_another_body_is_rejected_and_the_first_one_stays(service, new):
    first = facts.order(new, "e", cents=1_000)
    questions.take_in(service, first)
    answer = service.call("IngestService/IngestBatch", facts.batch(facts.order(new, "e", cents=770_077),
                                                                   facts.order(new, "other")))
    assert (answer.applied, answer.duplicates, [reject.row for reject in answer.rejects]) == (1, 0, [0])
    assert facts.reason_of(answer.rejects[0]) == "BODY_CONFLICT"
    assert b"7700" not in answer.SerializeToString()
    features = questions.features(service, questions.find(service, new))
    assert facts.cents_of(features.net_revenue) == 2_000


def the_same_event_id_of_another_customer_or_source_is_another_event(service, new):
    questions.take_in(service, facts.order(new, "e"), facts.order(f"{new}-b", "e"), facts.order(new, "e", source="crm"))


def a_repeated_request_id_takes_nothing_in_again(service, new):
    request = facts.batch(facts.order(new, "e0"), facts.order(new, "e1"))
    first = service.call("IngestService/IngestBatch", request)
    again = service.call("IngestService/IngestBatch", request)
    assert first.applied == 2 and again.facts_position >= first.facts_position
    other = request | {"rows": [facts.order(new, "e2")]}
    service.refused("IngestService/IngestBatch", other).must_be(FAILED_PRECONDITION, "BODY_CONFLICT")
    assert orders_of(service, new) == 2


@pytest.mark.parametrize("request_id", ["", "not-a-uuid", "x" * 300, "12345678-1234-1234-1234-12345678901g"])
def a_request_id_that_is_no_uuid_is_refused(service, new, request_id):
    request = {"request_id": request_id, "rows": [facts.order(new, "e")]}
    service.refused("IngestService/IngestBatch", request).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
