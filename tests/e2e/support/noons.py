"""Tests by hand, of which each begins at a noon: alone in a suite, or one after the other in a suite that they share, each of which moves time."""
import contextlib
from datetime import datetime, timedelta, timezone

from support import questions

START = datetime(1998, 7, 1, 12, tzinfo=timezone.utc)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


class Noon:
    """When the test begins that is under way, and what the names of its customers end with."""

    start, mark = START, ""


@contextlib.contextmanager
def later(suite, mark, days=1):
    """A test of a suite that is shared: it begins so many days behind whatever was there before, with customers of its own."""
    client = suite.client("admin")
    now = client.call("ClockService/GetAsOf").as_of.ToDatetime(timezone.utc)
    Noon.start, Noon.mark = datetime.combine(now.date() + days * DAY, START.timetz()), f"-{mark}"
    try:
        move(client, 0)
        yield
    finally:
        Noon.start, Noon.mark = START, ""


def named(who):
    """What the shop calls a customer of the test."""
    return f"{who}{Noon.mark}"


def find(client, who):
    return questions.find(client, named(who))


def midnight(days):
    """So many midnights behind the start."""
    return Noon.start - 12 * HOUR + days * DAY


def after(days):
    """So many noons behind the start."""
    return Noon.start + days * DAY


def move(client, days):
    questions.set_clock(client, after(days))
