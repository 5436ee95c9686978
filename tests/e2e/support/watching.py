"""A watcher of a stream: it collects in a thread of its own what a test then waits for."""
import contextlib
import threading

import grpc

from support import waiting


class Watcher:
    """What a server stream has said so far, and how it ended if it did."""

    def __init__(self, call):
        self.call = call
        self.responses = []
        self.ended = None
        self.thread = threading.Thread(target=self.collect, daemon=True)
        self.thread.start()

    def collect(self):
        try:
            for response in self.call:
                self.responses.append(response)
            self.ended = grpc.StatusCode.OK
        except grpc.RpcError as error:
            self.ended = error.code()

    def until(self, condition, what, seconds=waiting.SECONDS):
        """Waits until `condition(responses so far)` holds; fails at once when the stream has ended before."""
        def holds():
            ended = self.ended  # Read first: what was said before the end is then in `responses`.
            value = condition(list(self.responses))
            assert value or ended is None, f"the stream ended with {ended} before {what}"
            return value
        return waiting.until(holds, lambda: f"{what}, after {str(self.responses)[-2000:]}", seconds)

    def until_caught_up(self):
        return self.until(lambda said: any(r.HasField("watermark") for r in said), "the watch to catch up")

    def until_ended(self, seconds=waiting.SECONDS):
        """The status with which the stream ends."""
        return waiting.until(lambda: self.ended, "the stream to end", seconds)

    def changes(self, customer=None):
        """The membership changes so far, of all customers or of one."""
        return [change for response in list(self.responses) for change in response.changes
                if customer in (None, change.customer)]

    def close(self):
        self.call.cancel()
        self.thread.join(waiting.SECONDS)
        assert not self.thread.is_alive(), "the watch cannot be ended"


@contextlib.contextmanager
def watch(client, method, fields=None, seconds=600):
    """A watcher, ended afterwards."""
    watcher = Watcher(client.start(method, [fields or {}], seconds=seconds))
    try:
        yield watcher
    finally:
        watcher.close()


def moves(changes):
    """{(parent, entered)} of membership changes."""
    return {(change.parent, change.entered) for change in changes}


def cause(change):
    """The cause's name without the enum's prefix."""
    values = change.DESCRIPTOR.fields_by_name["cause"].enum_type.values_by_number
    return values[change.cause].name.removeprefix("MEMBERSHIP_CAUSE_")
