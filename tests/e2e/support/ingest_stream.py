"""The client's end of the bidirectional ingest stream: batches out of a queue, answers in order."""
import contextlib
import queue

import grpc

from support.refusals import Refusal

END = object()
ANSWER_SECONDS = 60


class IngestStream:
    """One connection of a stream. Many connections may bear the same `stream_id`, one after the other."""

    def __init__(self, client, stream_id):
        self.stream_id = stream_id
        self.outbox = queue.Queue()
        self.call = client.start("IngestService/Ingest", iter(self.outbox.get, END), seconds=ANSWER_SECONDS)

    def put(self, offset, rows, stream_id=None):
        """Sends a batch without waiting for its answer."""
        self.outbox.put({"stream_id": stream_id or self.stream_id, "offset": offset, "rows": rows})

    def answer(self):
        """The next answer; a refusal is raised."""
        try:
            return next(self.call)
        except StopIteration:
            raise AssertionError("the server ended the stream without an answer") from None
        except grpc.RpcError as error:
            raise Refusal(error) from None

    def send(self, offset, rows, stream_id=None):
        """Sends a batch and waits for its answer."""
        self.put(offset, rows, stream_id)
        return self.answer()

    def refused(self, offset, rows, stream_id=None):
        """The refusal that ends the stream."""
        try:
            answer = self.send(offset, rows, stream_id)
        except Refusal as refusal:
            return refusal
        raise AssertionError(f"batch {offset} was not refused: {answer}")

    def close(self):
        self.outbox.put(END)
        self.call.cancel()


@contextlib.contextmanager
def connection(client, stream_id):
    stream = IngestStream(client, stream_id)
    try:
        yield stream
    finally:
        stream.close()
