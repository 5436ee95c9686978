"""Waiting for a condition, with a bound. Nothing here or in the tests sleeps in the hope that something has happened."""
import threading
import time

SECONDS = 60
INTERVAL_SECONDS = 0.02


def until(condition, what, seconds=SECONDS, interval=INTERVAL_SECONDS):
    """The first true value of `condition()`; an AssertionError that says `what` was waited for after `seconds`.

    `what` is a text, or makes one when it is needed.
    """
    end = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {seconds} s in vain for {what() if callable(what) else what}"
        pause.wait(interval)
