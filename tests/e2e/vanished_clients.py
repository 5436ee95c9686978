"""Clients that are gone in the middle of a batch: theirs is taken in whole or not at all, the server lets go of them, and others go on."""
import os
import uuid

import pytest

from support import questions, sales, waiting
from support.ingest_stream import connection
from support.raw_http2 import OpenCall

TIMES = 40
# Connections to a database are sockets too, of which a pool may have opened more meanwhile.
OTHERS = TIMES // 2
# How much of its last batch a client sends before it vanishes. Half a batch is none; a whole one may have been committed.
SENT = {"half of it": 40, "all but a byte": 1, "all of it": 0}


def sockets(suite):
    """How many sockets the process holds."""
    folder, found = f"/proc/{suite.process.pid}/fd", 0
    for name in os.listdir(folder):
        try:
            found += os.readlink(f"{folder}/{name}").startswith("socket:")
        except FileNotFoundError:
            pass  # Closed while we looked.
    return found


def vanish_after(suite, client, stream_id, bytes_kept_back):
    """A client that has had one batch acknowledged and vanishes with the next."""
    method = client.api.method("IngestService/Ingest")
    call = OpenCall(suite.endpoints["ingestion"], method.path, client.metadata())
    message = lambda offset: client.message(method, {"stream_id": stream_id, "offset": offset, "rows": sales.batch(offset)})  # noqa: E731
    call.send(message(0))
    call.until_answered()
    call.send(message(1), bytes_kept_back)
    call.vanish()


@pytest.mark.parametrize("sent", SENT)
def a_client_that_vanishes_leaves_whole_batches_and_nothing_else(fresh, sent):
    admin = fresh.client("admin")
    stream_id = uuid.uuid4().hex
    with connection(admin, "other") as other:
        # Another client's stream, over another connection, goes on beside all of them.
        assert other.send(0, sales.batch(0)).applied == sales.CUSTOMERS
        before = sockets(fresh)
        for each in range(TIMES):
            vanish_after(fresh, admin, f"{stream_id}-{each}", SENT[sent])
        waiting.until(lambda: sockets(fresh) <= before + OTHERS, lambda: f"{sockets(fresh)} sockets to become {before} again")
        assert other.send(1, [sales.batch(9)[0]]).acked_offset == 2
    there = {sales.progress(admin, f"{stream_id}-{each}") for each in range(TIMES)}
    orders = questions.features(admin, questions.find(admin, "c1")).orders
    assert (there, orders) == ({1}, 1) if SENT[sent] else there <= {1, 2} and orders <= 2, (there, orders)
