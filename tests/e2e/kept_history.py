"""For how long segmentation keeps what it writes down: as its operator says, and from the next start on."""
import subprocess
from datetime import date, datetime, time, timedelta, timezone

import pytest

from support import facts, questions, quintile, segments, waiting
from support.refusals import FAILED_PRECONDITION, Refusal

DAYS = 12
KEPT = {"membership_days": 3, "size_days": 5, "label_days": 4, "monthly_label_days": 4}
LESS = {"membership_days": 1, "size_days": 2, "label_days": 1, "monthly_label_days": 1}
PARENT = "segments/silent"


def noon(day):
    """The noon of a day, counted from the first one."""
    return datetime.combine(facts.AS_OF.date(), time(12), timezone.utc) + timedelta(days=day)


def settings(kept):
    return "[history]\n" + "".join(f"{name} = {days}\n" for name, days in kept.items())


def ago(day):
    return (noon(DAYS).date() - date(day.year, day.month, day.day)).days


def told_or_refused(ask):
    try:
        return ask()
    except Refusal as refusal:
        refusal.must_be(FAILED_PRECONDITION, refusal.reason)
        return None


def what_is_there(client, cursors):
    """By how many days ago it was: the changes behind cursors, sizes, and labels."""
    changes = {days: told_or_refused(lambda: len(segments.since(client, cursor, parents=[PARENT]))) for days, cursor in cursors.items()}
    sizes = [ago(each.date) for each in client.call("AnalysisService/ListSegmentSizes", {"parent": PARENT}).sizes]
    starts = {days: facts.text_of(noon(DAYS - days) + timedelta(minutes=1)) for days in range(1, DAYS)}
    labels = [days for days, start in starts.items() if told_or_refused(
        lambda: client.call("AnalysisService/GetMigration", {"name": "labelSets/rfm-11", "start_time": start}))]
    return {days: count for days, count in changes.items() if count is not None}, sizes, labels


def must_be_kept(client, cursors, kept):
    """What is as old as it is kept, and nothing older. Of each day there are two changes."""
    days = kept["membership_days"]
    expected = list(range(kept["size_days"], -1, -1)), list(range(1, kept["label_days"] + 1))
    waiting.until(lambda: what_is_there(client, cursors)[1:] == expected, lambda: f"{expected}, and not {what_is_there(client, cursors)}")
    changes = waiting.until(lambda: next((each for each, *_ in [what_is_there(client, cursors)] if days + 2 not in each), None), "old changes to go")
    # A cursor from the end of the last day that is gone is as good as one behind it.
    assert {each: changes.get(each) for each in range(days + 1)} == {each: 2 * each for each in range(days + 1)}
    assert max(changes) <= days + 1 and changes.get(days + 1) in (None, 2 * days + 2)


def what_is_older_than_it_is_kept_is_let_go_and_nothing_else(backend):
    with quintile.suite(backend, settings=settings(KEPT)) as suite:
        admin = suite.client("admin")
        segments.take_in(admin, *(facts.order(f"c{days}", "o", days=days) for days in range(1, 21)))
        segments.create(admin, "silent", "days_since(last_order_at) == 14")
        cursors = {DAYS: segments.now(admin)}
        for day in range(1, DAYS + 1):
            questions.set_clock(admin, noon(day))
            cursors[DAYS - day] = segments.now(admin)
        must_be_kept(admin, cursors, KEPT)
        suite.stop()
        suite.settings = settings(LESS)
        suite.start()
        admin = suite.client("admin")
        questions.wait_for(admin, 0, noon(DAYS))
        must_be_kept(admin, cursors, LESS)
        suite.stop()
        for wrong in ({"membership_days": 0}, {"size_days": 3_654}, {"monthly_label_days": 99}, {"weeks": 1}):
            suite.settings = settings(wrong)
            with pytest.raises(AssertionError, match=next(iter(wrong))):
                suite.start()
            printed = subprocess.run([quintile.binary(), "config", "print", *suite.configured()], capture_output=True, text=True, check=False)
            assert printed.returncode and next(iter(wrong)) in printed.stderr and not printed.stdout, "what is not served by is not printed"
