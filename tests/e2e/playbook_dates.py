"""Days that begin runs of playbooks: birthdays, and days of the calendar. At which instants they come, whatever time does and although the suite is
killed in the midst of one; for whom; and what passes while a playbook does not run, or everything stands still."""
from collections import Counter
from datetime import date, timezone
from zoneinfo import ZoneInfo

import pytest

from support import facts, playbooks, questions, quintile, retention, segments, waiting
from support.noons import START, midnight
from support.playbook_days import SECONDS, Diary, anniversary, birthdays, born, coming, on_birthdays, on_days
from support.playbook_witness import DAY
from support.playbooks import (HOUR, MINUTE, after, assert_begun, begun, end, in_order, lead, now_in, runs_of, running, set_policy, start, stop, task,
                               until_equal, wait, whole)

UTC, BERLIN, PAULO = timezone.utc, ZoneInfo("Europe/Berlin"), ZoneInfo("America/Sao_Paulo")
SECOND = MINUTE / 60


@pytest.fixture
def office(backend):
    with playbooks.company(backend) as company:
        yield company


# -- years, by the witness ------------------------------------------------------------------------------------------------

# To the spring of 2000: of the two Februaries the second has 29 days.
END = START + 645 * DAY
ZONES = {"paulo": PAULO, "berlin": BERLIN}
PEOPLE = {"leap": date(1960, 2, 29), "eve": date(1981, 2, 28), "spring": date(1997, 3, 1), "first": date(1970, 1, 1), "last": date(1869, 12, 31),
          "newborn": date(1998, 6, 30), "unknown": None}
# {id: (what begins runs, steps, other fields)}: some come in the hours that clocks leave out or show twice, in the one zone or the other, and some
# are of the year behind that in which they begin something.
BOOKS = {
    "birthday": (on_birthdays(), [task("congratulate")], {"again_after_days": 1, "holdout_basis_points": 5_000}),
    "evening": (on_birthdays(hour=23), [end()], {"again_after_days": 366}),
    # Whoever is still gone through when the day comes again begins no other run.
    "long": (on_birthdays(before=14, hour=2), [wait(300 * DAY), wait(100 * DAY), task("ask")], {"again_after_days": 1}),
    "midnight": (on_days((1, 1), (10, 3), (10, 11)), [end()], {"again_after_days": 1}),
    "night": (on_days((3, 26), (3, 28), (10, 25), hour=2), [end()], {"again_after_days": 1}),
    # In most years two of them are one day.
    "late": (on_days((2, 20), (2, 28), (2, 29), (12, 31), hour=23), [end()], {"again_after_days": 1}),
    "eve": (on_days((1, 1), (3, 1), date(1999, 3, 1), before=1, hour=12), [end()], {"again_after_days": 1}),
    "once": (on_days(date(1998, 6, 30), date(1999, 1, 15), date(2000, 2, 29), date(2000, 6, 30), before=90, hour=18), [end()],
             {"again_after_days": 0}),
}


def strides(diaries):
    """Instants to which time moves: mostly a month apart, day by day around the days that are not in every year, and to some that begin something and
    a second before those."""
    noons = {START + days * DAY for days in range(30, 645, 30)} | {END}
    for first, days in ((date(1998, 12, 30), 4), (date(1999, 2, 27), 3), (date(2000, 2, 27), 4)):
        noons |= {now_in(UTC, first.year, first.month, first.day, 12) + day * DAY for day in range(days)}
    begins = sorted({at for diary in diaries for at in diary.instants()})
    exactly = begins[5::len(begins) // 6]
    return sorted(noons | set(exactly) | {at - SECOND for at in exactly}), exactly


@pytest.mark.parametrize("goes_by", [False, True], ids=["jumps", "goes by"])
def days_begin_runs_at_their_hour_whether_time_jumps_or_goes_by(backend, goes_by):
    """In two zones: where time jumps over all the years at once as where it goes by."""
    with quintile.suite(backend, as_of=facts.text_of(START)) as suite:
        diaries = [Diary(playbooks.Company(suite, tenant, zone.key), zone, PEOPLE, BOOKS, END) for tenant, zone in ZONES.items()]
        instants, exactly = strides(diaries) if goes_by else ([END], [])
        for instant in instants:
            for diary in diaries:
                diary.office.set_clock(instant)
            for diary in diaries:
                retention.wait_for(diary.office.client, 0, instant)
                # Nothing begins a second too early, and everything when it is time.
                if instant in (END, *exactly) or instant + SECOND in exactly:
                    diary.assert_as_expected()
        for diary in diaries:
            became = Counter((run.state, run.refusal) for run in diary.witness.runs)
            assert diary.coming == [] and {state for state, _ in became} == {"REFUSED", "HELD_OUT", "ACTIVE", "FINISHED"}
            assert became["REFUSED", "AGAIN"] == sum(state == "REFUSED" and of for (state, _), of in became.items()) > 5


def the_witness_knows_the_calendar_and_what_clocks_do():
    """And that what is told of it happens in the years of these tests."""
    assert [anniversary(year, 2, 29).day for year in (1900, 1999, 2000, 2001, 2004)] == [28, 28, 29, 28, 29]
    leap = PEOPLE["leap"]
    of_years = [now_in(BERLIN, *moment) for moment in ((1999, 2, 28), (2000, 2, 29))]
    assert coming(on_birthdays(), BERLIN, START, END, leap) == of_years
    assert coming(on_days((2, 28), (2, 29)), BERLIN, START, END) == sorted([*of_years, now_in(BERLIN, 2000, 2, 28)])
    # Before a day of the next year; and the hour that is left out, or comes twice.
    assert coming(on_birthdays(before=14, hour=2), UTC, START, after(200), PEOPLE["first"]) == [now_in(UTC, 1998, 12, 18, 2)]
    hours = {(PAULO, "midnight"): [(1998, 10, 11, 3), (1999, 10, 3, 3)], (PAULO, "late"): [(1999, 2, 21, 1)],
             (BERLIN, "night"): [(1998, 10, 25, 0), (1999, 3, 28, 1), (2000, 3, 26, 1)]}
    for (zone, playbook), moments in hours.items():
        assert {now_in(UTC, *moment) for moment in moments} <= set(coming(BOOKS[playbook][0], zone, START, END))
    assert coming(on_days(date(1999, 7, 1), hour=12), UTC, START, after(365)) == [after(365)]
    assert coming(on_days(date(1998, 7, 1), hour=12), UTC, START, END) == [] == coming(on_birthdays(), UTC, START, END, None)


# -- when a playbook does not run -----------------------------------------------------------------------------------------

# START is the noon of the first.
JULY, BORN = ([date(year, 7, day) for day in range(1, 13)] for year in (1998, 1970))
HOURS = 11, 12, 13


def by_hours(client, *hours, playbook="at"):
    """Playbooks that begin runs on each day of July at an hour: {hour: its name}."""
    return {hour: running(client, f"{playbook}-{hour}", on_days(*JULY, hour=hour), end(), again_after_days=1) for hour in hours}


def assert_on_days(office, names, days, numbers):
    """These customers' runs have begun at the hours, so many days behind the first of July, and no others: {hour: days}."""
    for hour, name in names.items():
        assert_begun(office, name, [(number, midnight(day) + hour * HOUR) for number in numbers for day in days[hour]])


def what_passed_before_a_start_or_while_it_was_stopped_begins_nothing(office):
    """Nor does the very instant of the start; and time comes to an instant that it stops at."""
    client = office.client
    names, [ann] = by_hours(client, *HOURS), office.come("ann")
    days = {11: [1, 2], 12: [1, 2], 13: [0, 1]}
    office.move(after(2))
    assert_on_days(office, names, days, [ann])
    for name in names.values():
        stop(client, name)
    office.move(after(4))
    for name in names.values():
        start(client, name)
    office.move(after(6))
    days = {11: [*days[11], 5, 6], 12: [*days[12], 5, 6], 13: [*days[13], 4, 5]}
    assert_on_days(office, names, days, [ann])


def what_passes_while_everything_is_paused_begins_nothing_afterwards(office):
    """Neither of playbooks that were started meanwhile, nor where the suite is killed meanwhile."""
    client = office.client
    names, [ann] = by_hours(client, *HOURS[::2]), office.come("ann")
    days = {11: [1], 13: [0]}
    office.move(after(1))
    assert_on_days(office, names, days, [ann])
    set_policy(client, paused=True)
    late = by_hours(client, 11, playbook="late")
    office.set_clock(after(3))
    retention.wait_for(client, 0, office.now)
    set_policy(client)
    office.move(after(5))
    days = {11: [1, 4, 5], 13: [0, 3, 4]}
    assert_on_days(office, names, days, [ann])
    assert_on_days(office, late, {11: [4, 5]}, [ann])
    set_policy(client, paused=True)
    office.set_clock(after(7))
    office.restart()
    client = office.client
    set_policy(client)
    office.move(after(9))
    assert_on_days(office, names, {11: [*days[11], 8, 9], 13: [*days[13], 7, 8]}, [ann])
    assert_on_days(office, late, {11: [4, 5, 8, 9]}, [ann])


# -- for whom -------------------------------------------------------------------------------------------------------------

def runs_begin_of_those_alone_whom_a_playbook_is_for(office):
    """As customers are when the day comes; and of nobody else is there a run that was refused."""
    client = office.client
    meant, vip = (segments.create(client, *each).name for each in (("meant", 'department == "meant"'), ("vip", 'acquisition_channel == "vip"')))
    days = on_days(*JULY)
    books = {"both": {"purpose": "MARKETING", "audience": meant, "excluded": vip}, "audience": {"audience": meant}, "excluded": {"excluded": vip},
             "marketing": {"purpose": "MARKETING"}, "support": {}}
    names = {key: running(client, key, days, end(), again_after_days=1, **fields) for key, fields in books.items()}
    people = {"meant": ("meant", "ads"), "silent": ("meant", "ads"), "objects": ("meant", "ads"), "other": ("other", "ads"), "vip": ("meant", "vip"),
              "restricted": ("meant", "ads"), "erased": ("meant", "ads"), "merged": ("meant", "ads")}
    office.take_in(*(lead(key, department=department, acquisition_channel=channel) for key, (department, channel) in people.items()))
    office.consent({(key, "MARKETING"): "GIVEN" for key in people if key not in ("silent", "objects")} | {("objects", "MARKETING"): "OBJECTED",
                                                                                                       ("objects", "SUPPORT"): "OBJECTED"})
    numbers, of = questions.numbers_of(client), {key: office.name(key) for key in people}
    office.passing(client.call("PrivacyService/RestrictProcessing", {"name": of["restricted"]}))
    merge = office.passing(client.call("IdentityService/MergeCustomers", {"customer": of["meant"], "other": of["merged"]}))
    assert merge.customer == of["meant"]
    office.passing(client.call("PrivacyService/EraseCustomer", {"name": of["erased"]}))
    expected = {key: [] for key in names}

    def comes(day, **keys):
        """Time moves behind a midnight, and runs begin of these customers by the playbooks that are named."""
        office.set_clock(after(day))
        retention.wait_for(client, 0, office.now)
        for key, those in keys.items():
            expected[key] += [(numbers[each], midnight(day), "FINISHED") for each in those.split()]
        for key, name in names.items():
            until_equal(lambda name=name: whole(office, name), in_order(expected[key]))
    comes(1, both="meant", audience="meant silent vip", excluded="meant silent other", marketing="meant other vip",
          support="meant silent other vip")
    office.passing(client.call("PrivacyService/LiftRestriction", {"name": of["restricted"]}))
    office.consent({("silent", "MARKETING"): "GIVEN", ("meant", "MARKETING"): "WITHDRAWN", ("objects", "SUPPORT"): "WITHDRAWN"})
    office.say("other", department="meant")
    office.say("vip", acquisition_channel="ads")
    everybody = "meant silent objects other vip restricted"
    comes(2, both="silent other vip restricted", audience=everybody, excluded=everybody, marketing="silent other vip restricted", support=everybody)
    # Of a segment that is not there any more nobody is a member, and nobody is known not to be one.
    for name in (meant, vip):
        segments.delete(client, name)
    comes(3, marketing="silent other vip restricted", support=everybody)


def a_day_that_is_nobodys_holds_nothing_up(office):
    """Neither one on which nobody was born, nor one on which nobody who was born may be contacted or is in the audience."""
    client = office.client
    meant, vip = (segments.create(client, *each).name for each in (("meant", 'department == "meant"'), ("vip", 'acquisition_channel == "vip"')))
    fields = {"audience": meant, "excluded": vip, "again_after_days": 1}
    names = [running(client, "asks", on_birthdays(), end(), **fields),
             running(client, "asks-who-consents", on_birthdays(), end(), purpose="MARKETING", **fields)]
    days = {"nobody-s": BORN[1], "not-meant": BORN[2], "vip-s": BORN[3], "last": BORN[4]}
    office.take_in(born("nobody-s", days["nobody-s"], department="other"), born("not-meant", days["not-meant"], department="other"),
                   born("vip-s", days["vip-s"], department="meant", acquisition_channel="vip"), born("last", days["last"], department="meant"))
    office.consent({("last", "MARKETING"): "GIVEN"})
    last = questions.numbers_of(client)["last"]
    office.move(after(40))
    for name in names:
        trigger = on_birthdays()
        assert_begun(office, name, [(last, at) for at in coming(trigger, UTC, START, office.now, days["last"])])


def a_birthday_is_that_which_is_known_when_it_comes(office):
    """Whatever was said before, and of a merged customer the last that was said; and the next year again."""
    client, hour = office.client, 9
    trigger = on_birthdays(hour=hour)
    playbook = running(client, "birthday", trigger, end(), again_after_days=1)
    first = {"stays": BORN[2], "passed": BORN[0], "corrected": BORN[1], "moved": BORN[2], "emptied": BORN[2], "told": None, "left": BORN[2]}
    office.take_in(*(born(key, day) for key, day in first.items()))
    office.take_in(born("right", BORN[3]))
    office.move(after(1))
    office.take_in(born("late", BORN[1]))
    numbers, of = questions.numbers_of(client), {key: office.name(key) for key in (*first, "right")}
    expected = [(numbers["corrected"], midnight(1) + hour * HOUR)]
    assert_begun(office, playbook, expected)
    for key, day in {"corrected": BORN[3], "moved": BORN[4], "emptied": None}.items():
        said = {"birth_date": facts.date_of(day)} if day else {}
        client.call("CustomerService/UpdateCustomer", {"customer": {"name": of[key]} | said, "update_mask": "birthDate"})
    office.take_in(born("told", BORN[3]))
    merge = office.passing(client.call("IdentityService/MergeCustomers", {"customer": of["left"], "other": of["right"]}))
    known = first | {"corrected": BORN[3], "moved": BORN[4], "emptied": None, "told": BORN[3], "late": BORN[1], "left": BORN[3]}

    def comes(instant):
        """Time moves, and runs begin by what is known of birthdays."""
        begins = office.now
        office.move(instant, playbook)
        expected.extend((numbers[key], at) for key, day in known.items() for at in coming(trigger, UTC, begins, instant, day))
        assert_begun(office, playbook, expected)
    comes(after(8))
    assert Counter(customer for customer, _ in begun(client, playbook)) == Counter(
        {numbers[key]: 2 if key == "corrected" else 1 for key in ("stays", "corrected", "moved", "told", "left")})
    office.passing(client.call("IdentityService/UnmergeCustomers", {"name": merge.name}))
    known |= {"left": BORN[2], "right": BORN[3]}
    comes(after(373))
    assert len(expected) == 6 + 8


# -- whatever happens meanwhile -------------------------------------------------------------------------------------------

PART, MANY = "dates::before_part", 2_100  # More than a part, twice over.


def killed_in_the_midst_of_a_day_the_suite_begins_nobody_twice_and_misses_nobody(office):
    """Twice it is killed at the commit of a part, behind one that was committed or behind three."""
    client = office.client
    names = [running(client, "days", on_days((7, 2)), end(), again_after_days=1),
             running(client, "birthdays", on_birthdays(), end(), again_after_days=1)]
    # A quarter of them has another birthday.
    office.take_in(*(born(f"c-{n}", date(1970, 7, 2 if n % 4 else 3)) for n in range(MANY)))
    numbers = questions.numbers_of(client)
    office.suite.stop()
    held = lambda: office.suite.log.read_text(errors="replace").count(f"failpoint {PART} reached")  # noqa: E731
    for kills, committed in ((1, 1), (2, 3)):
        office.suite.start(failpoints=f"{PART}={committed}*off->1*return")
        if kills == 1:
            office.set_clock(after(1))
        waiting.until(lambda kills=kills: held() == kills, office.suite.log_tail, SECONDS)
        office.suite.kill()
        office.suite.as_of = facts.text_of(office.now)
    office.suite.start()
    retention.wait_for(office.client, 0, office.now)
    for name, those in zip(names, (range(MANY), [n for n in range(MANY) if n % 4]), strict=True):
        ought = in_order((numbers[f"c-{n}"], midnight(1), "FINISHED") for n in those)
        until_equal(lambda name=name: whole(office, name), ought, SECONDS)
    # Nor does a part come again by itself, when the next day comes.
    office.move(after(2))
    ought = in_order((numbers[f"c-{n}"], midnight(1 if n % 4 else 2), "FINISHED") for n in range(MANY))
    until_equal(lambda: whole(office, names[1]), ought, SECONDS)
    assert len(runs_of(office.client, names[0])) == MANY and len(birthdays(office.client, 7, 2)) == MANY * 3 // 4
