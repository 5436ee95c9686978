"""Waiting for a condition, with a bound. Nothing here or in the tests sleeps in the hope that something has happened."""
import threading
import time

SECONDS = 60
# How soon it is looked again, each time later: what takes longer need not be asked about so often, which costs whom it waits for.
INTERVALS_SECONDS, LATER = (0.02, 0.1), 1.3


def until(condition, what, seconds=SECONDS, interval=None):
    """The first true value of `condition()`; an AssertionError that says `what` was waited for after `seconds`.

    `what` is a text, or makes one when it is needed. With an interval, it is looked again so often.
    """
    shortest, longest = INTERVALS_SECONDS if interval is None else (interval, interval)
    interval = shortest
    end = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {seconds} s in vain for {what() if callable(what) else what}"
        pause.wait(interval)
        interval = min(longest, interval * LATER)
