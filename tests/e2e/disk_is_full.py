"""A full disk is told to clients, loses nothing that was acknowledged, and is gone on from when there is room again, without a restart."""
from google.rpc import error_details_pb2

from support import quintile, sales
from support.ingest_stream import connection
from support.refusals import RESOURCE_EXHAUSTED, Refusal
from support.small_disk import fill, small_disk

DISK_MEBIBYTES = 48
STREAM, MOST_BATCHES = "sales", 1_000


def says_full(refusal):
    refusal.must_be(RESOURCE_EXHAUSTED, "OVERLOADED")
    retry = refusal.detail(error_details_pb2.RetryInfo)
    assert retry is not None and retry.retry_delay.ToMilliseconds() > 0, refusal


def send_until_refused(client, first):
    """Sends batches until one is refused, and returns how many were acknowledged, and the refusal."""
    acked = first
    try:
        with connection(client, STREAM) as stream:
            while acked < MOST_BATCHES:
                acked = stream.send(acked, sales.batch(acked)).acked_offset
    except Refusal as refusal:
        return acked, refusal
    raise AssertionError(f"{MOST_BATCHES} batches were taken in on a full disk")


def a_full_disk_is_told_and_gone_on_from_when_there_is_room():
    with quintile.suite("sqlite", started=False) as suite, small_disk(suite, DISK_MEBIBYTES) as disk:
        admin = suite.start().client("admin")
        sales.finish(admin, STREAM, 0, 3)
        filler = fill(disk)
        acked, refusal = send_until_refused(admin, 3)
        says_full(refusal)
        # It stays full, and says so again: nothing was written in part.
        again, refusal = send_until_refused(admin, acked)
        says_full(refusal)
        batches = again + 2
        filler.unlink()
        assert sales.assert_what_is_stored_is_there_once(admin, STREAM) == again
        sales.finish(admin, STREAM, again, batches)
        sales.assert_all_is_there_once(admin, batches)
        suite.kill()
        admin = suite.start(seconds=sales.READY_SECONDS).client("admin")
        sales.assert_all_is_there_once(admin, batches)
