"""Customers of São Paulo who are about to leave: what happens to them, which signs they show day by day, and which warnings come of it, told
plainly; and what tests ask of warnings again and again."""
import bisect
import contextlib
import functools
import json
import math
import random
import subprocess
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from types import SimpleNamespace
from typing import NamedTuple

import cdnow_witness as witness
from support import facts, questions, quintile, retention, waiting
from support.noons import Noon, after, named
from support.retention import HOUR, KEEPER, POPULATION, instant_of, noon
from support.worth import DAY, TENANT, ZONE, begin

SERVICE = "WarningService"
LIST, GET, WATCH, RESOLVE = (f"{SERVICE}/{method}" for method in ("ListWarnings", "GetWarning", "WatchWarnings", "ResolveWarning"))
# Those that are shown without a churn model in force, of who gives no scores.
KINDS = ("SILENCE", "FEWER_PURCHASES", "FEWER_INTERACTIONS", "COMPLAINT")
STATES = ("OPEN", "ACKNOWLEDGED", "RESOLVED", "CLEARED", "EXPIRED")
SEVERITIES = ("LOW", "MEDIUM", "HIGH")
GOING_ON = ("OPEN", "ACKNOWLEDGED")
RESOLUTIONS = ("RETAINED", "LOST", "FALSE_ALARM", "NOT_PURSUED")
ACKNOWLEDGE = "ACKNOWLEDGE"
LASTS = timedelta(seconds=90 * 86_400)
HOLD_DAYS = 14
FIRST_DAY, LAST_VISIT, LAST_DAY = retention.FIRST_DAY, date(2000, 1, 20), date(2000, 4, 4)
CLOSED = date(1999, 4, 20), date(1999, 9, 1)  # Between these days nobody looks.


# -- what happens ---------------------------------------------------------------------------------------------------------

class Person(NamedTuple):
    """A customer: what it bought: (day, the day on which it is told, cents), its contacts: (day, told), its complaints: (day, number, whether it is
    opened), told on their days, and what a colleague does about its warnings: {day: a resolution or `ACKNOWLEDGE`}."""

    orders: list
    contacts: list
    cases: list
    tended: dict


def visits(chance):
    """The days at whose noon something is told; the last is a quarter of a year behind the others."""
    days, day = {FIRST_DAY, retention.SKIPPED, *CLOSED, LAST_VISIT, LAST_DAY}, FIRST_DAY
    while day < LAST_VISIT:
        days.add(day)
        day += chance.randrange(1, 28) * DAY
    return sorted(day for day in days if not CLOSED[0] < day < CLOSED[1])


def phases(chance, paces, pauses):
    """The days of something that is done at one pace, and then at another, with pauses between."""
    day, days = FIRST_DAY + chance.randrange(-400, 350) * DAY, []
    for _ in range(chance.randrange(1, 6)):
        low, high = chance.choice(paces)
        for _ in range(chance.randrange(3, 17)):
            days.append(day)
            day += chance.randrange(low, high) * DAY
        day += chance.choice(pauses) * DAY
    return [day for day in days if day <= LAST_VISIT]


def told_on(chance, noons, day):
    """The visit at which something of a day is told: mostly the first one."""
    behind = [noon for noon in noons[:-1] if noon >= day]
    return behind[chance.randrange(min(4, len(behind))) if chance.random() < 0.15 else 0]


def lives(chance, noons, customers=70):
    """{id: person}. Every seventh has never bought when its first contact is told."""
    people = {}
    for n in range(customers):
        orders = phases(chance, [(1, 4), (2, 9), (6, 25), (15, 45), (40, 130)], [0, 12, 25, 60, 130, 500])
        if n % 7 == 0:
            orders = [day for day in orders if day > FIRST_DAY + 60 * DAY]
        contacts = phases(chance, [(2, 12), (5, 25)], [0, 30, 100, 200]) if n % 3 != 1 else []
        cases = []
        for number in range(chance.randrange(1, 5) if n % 3 == 0 else 0):
            opened = chance.randrange(len(noons) - 3)
            cases.append((noons[opened], number, True))
            if chance.random() < 0.7:
                cases.append((noons[min(opened + chance.randrange(1, 20), len(noons) - 2)], number, False))
        tended = {noons[chance.randrange(len(noons) - 1)]: chance.choice([*RESOLUTIONS, ACKNOWLEDGE, ACKNOWLEDGE]) for _ in range(2 * (n % 4))}
        tended |= {noons[-1]: ACKNOWLEDGE} if n % 5 == 1 else {}
        people[f"c-{n}"] = Person([(day, told_on(chance, noons, day), round(10 ** chance.uniform(2, 5))) for day in orders],
                                  [(day, told_on(chance, noons, day)) for day in contacts], sorted(cases), tended)
    return people


def complaint(who, event, number, is_opened, **fields):
    """A complaint, or that it is resolved."""
    said = {"kind": "INTERACTION_KIND_COMPLAINT", "about": f"case {number}", "case_state": f"CASE_STATE_{'OPENED' if is_opened else 'RESOLVED'}"}
    return facts.interaction(who, event, **said | fields)


def rows_of(key, person, day):
    """What is told of a customer on a day. Whatever is of a day is of its morning."""
    morning = lambda of, hour=9: facts.text_of(begin(of) + hour * HOUR)  # noqa: E731
    rows = [facts.order(key, f"{key}-o{n}", order_time=morning(of), cents=cents) for n, (of, told, cents) in enumerate(person.orders) if told == day]
    rows += [facts.interaction(key, f"{key}-i{n}", interaction_time=morning(of)) for n, (of, told) in enumerate(person.contacts) if told == day]
    return rows + [complaint(key, f"{key}-c{n}", number, opens, interaction_time=morning(of, 9 if opens else 10))
                   for n, (of, number, opens) in enumerate(person.cases) if of == day]


# -- what is shown --------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Known:
    """What is known of a customer: purchases (day, cents), contacts, complaints that are open, and the day at whose noon the windows end."""

    bought: tuple = ()
    contacts: tuple = ()
    cases: frozenset = frozenset()
    seen: date = FIRST_DAY

    def with_news(self, person, day):
        """Also what is told on a day."""
        cases = set(self.cases)
        for _, number, opens in (case for case in person.cases if case[0] == day):
            (cases.add if opens else cases.discard)(number)
        contacts = [of for of, told in person.contacts if told == day] + [case[0] for case in person.cases if case[0] == day]
        return replace(self, bought=tuple(sorted([*self.bought, *((of, cents) for of, told, cents in person.orders if told == day)])),
                       contacts=tuple(sorted([*self.contacts, *contacts])), cases=frozenset(cases))

    @functools.cached_property
    def days(self):
        """The distinct days of purchase."""
        return sorted({day for day, _ in self.bought})

    @functools.cached_property
    def windows(self):
        """How many contacts lie in the window that ends with the day of the last look, and in the one before it."""
        return windows(self.contacts, self.seen)


def windows(days, last, length=90):
    """How many of some days lie in the window whose last day is given, and in the one before it."""
    age = [(last - day).days for day in days]
    return sum(0 <= each < length for each in age), sum(length <= each < 2 * length for each in age)


def gaps_of(days):
    return tuple((later - earlier).days for earlier, later in zip(days, days[1:]))


@functools.cache
def patience(gaps):
    """The first day of a silence that warns."""
    return max(math.floor(witness.shrunk_p80(gaps, POPULATION)) + 1, HOLD_DAYS + 1)


def is_silent(days, day):
    gaps = gaps_of(days)
    if (day - days[-1]).days >= patience(gaps):
        return True
    # A silence that was, for as long as a sign is held at least, whatever was bought since.
    return any(gap >= patience(gaps[:n]) and day < days[n] + (patience(gaps[:n]) + HOLD_DAYS) * DAY for n, gap in enumerate(gaps))


def counts_at(days, midnight):
    """On how many days of the 90 before a midnight it had bought, and of the 90 before those."""
    def between(first, last):
        return bisect.bisect_right(days, last) - bisect.bisect_left(days, first)
    return between(midnight - 90 * DAY, midnight - DAY), between(midnight - 180 * DAY, midnight - 91 * DAY)


def less_bought(days, day):
    """The counts at the last of fourteen midnights by which it buys on half as many days. None: by none of them."""
    counts = (counts_at(days, day - ago * DAY) for ago in range(HOLD_DAYS))
    return next((count for count in counts if count[1] >= 4 and 2 * count[0] <= count[1]), None)


def buys_less(days, day):
    """By one of the last fourteen midnights."""
    return less_bought(days, day) is not None


def days_that_tell(days, day):
    """The counts that evidence has: those by which it buys less, or the last ones, if the days that count for any of them are enough to tell."""
    enough = sum(each >= day - (180 + HOLD_DAYS - 1) * DAY for each in days) >= 4
    return (less_bought(days, day) or counts_at(days, day)) if enough else (0, 0)


def stage_of(known, day):
    """The stage as far as silences make it: none of the others matters to a sign."""
    return witness.stage_of(known.days, len(known.bought), 0, 0, day, POPULATION)[0]


def signs(known, day, stage):
    """The kinds that a customer of a stage shows on a day, by number."""
    if stage in ("LEAD", "CHURNED"):
        return ()
    now, before = known.windows
    fewer_contacts = before >= 4 and 2 * now <= before and (day - known.contacts[-1]).days >= HOLD_DAYS
    shown = (is_silent(known.days, day), buys_less(known.days, day), fewer_contacts, bool(known.cases))
    return tuple(kind for kind, is_shown in zip(KINDS, shown) if is_shown)


# -- what is warned of ----------------------------------------------------------------------------------------------------

@dataclass
class Expected:
    """A warning as it ought to be: where two things end it at once, either may be said to."""

    kind: str
    raised: datetime
    day: date
    known: Known
    by_time: bool
    ended: datetime = None
    states: set = field(default_factory=lambda: {"OPEN"})
    resolution: str = "UNSPECIFIED"
    assignee: str = ""

    def end(self, at, state):
        self.ended, self.states = at, {state}

    def worths(self):
        """What the customer may be taken to be worth in a year, in cents. Where time jumps, windows are seen where it lands, and nowhere between."""
        def of(last):
            revenue = [sum(cents for day, cents in self.known.bought if first <= (last - day).days < first + 365) for first in (0, 365)]
            return max(revenue)
        return {of(self.known.seen), of(self.day - DAY)} if self.by_time else {of(self.known.seen)}

    @property
    def risk(self):
        return Fraction(4, 5) if stage_of(self.known, self.day) == "DORMANT" else Fraction(1, 2)


class Life:
    """One customer as time passes."""

    def __init__(self):
        self.known, self.shown, self.warnings = None, (), []

    def going_on(self):
        return [each for each in self.warnings if each.ended is None]

    def expire(self, until):
        for each in self.going_on():
            if each.raised + LASTS <= until:
                each.end(each.raised + LASTS, "EXPIRED")

    def see(self, at, day, by_time=False):
        self.expire(at)
        stage = stage_of(self.known, day)
        shown, is_gone = signs(self.known, day, stage), stage == "CHURNED"
        for each in self.warnings:
            if each.kind not in shown and each.ended is None:
                each.end(at, "EXPIRED" if is_gone else "CLEARED")
            elif each.kind not in shown and each.kind in self.shown and each.ended == at == each.raised + LASTS:
                each.states = {"EXPIRED", "CLEARED"}
        self.warnings += [Expected(kind, at, day, self.known, by_time) for kind in shown if kind not in self.shown]
        self.shown = shown

    def tend(self, at, action):
        for each in self.going_on():
            each.assignee = KEEPER
            if action == ACKNOWLEDGE:
                each.states = {ACKNOWLEDGE + "D"}
            else:
                each.end(at, "RESOLVED")
                each.resolution = action


def history(person, noons):
    """A customer's life up to the noon of the last visit."""
    life, day = Life(), FIRST_DAY
    while day <= noons[-1]:
        if life.known:
            life.see(begin(day), day, by_time=True)
        if day in noons:
            if life.known:
                life.known = replace(life.known, seen=day)
                life.see(noon(day), day)
            if rows_of("", person, day):
                life.known = replace(life.known or Known(), seen=day).with_news(person, day)
                life.see(noon(day), day)
            if life.known and day in person.tended:
                life.tend(noon(day), person.tended[day])
        day += DAY
    return life


# -- the suite ------------------------------------------------------------------------------------------------------------

def tend(client, key, action, now):
    """A colleague looks after all that goes on of a customer."""
    name = questions.find(client, key)
    overdue = lambda: [each for each in listed(client, name) if instant_of(each.raise_time) + LASTS <= now]  # noqa: E731
    waiting.until(lambda: not overdue(), lambda: f"what is too late to expire: {overdue()}")
    for each in listed(client, name):
        client.call(f"{SERVICE}/AssignWarning", {"name": each.name, "assignee": KEEPER})
        if action == ACKNOWLEDGE:
            client.call(f"{SERVICE}/AcknowledgeWarning", {"name": each.name})
        else:
            client.call(RESOLVE, {"name": each.name, "resolution": f"WARNING_RESOLUTION_{action}"})


@functools.cache
def lived(seed):
    """What ought to be, whatever the database: the days of visits, the customers, and the lives of those who are heard of."""
    chance = random.Random(seed)
    noons = visits(chance)
    people = lives(chance, noons)
    lives_of = {key: history(person, noons) for key, person in people.items() if any(rows_of(key, person, day) for day in noons)}
    for life in lives_of.values():
        life.expire(noon(LAST_DAY))
    return noons, people, lives_of


@contextlib.contextmanager
def living(backend, seed=11):
    """The customers up to the last day, through an orderly restart and two kills as time moves."""
    noons, people, lives_of = lived(seed)
    with quintile.suite(backend, as_of=facts.text_of(noon(FIRST_DAY))) as suite:
        suite.client("admin").call("TenantService/CreateTenant", {"tenant_id": TENANT, "tenant": {"time_zone": ZONE.key}})
        client = retention.client_of(suite)
        for place, day in enumerate(noons):
            if place:
                retention.move(suite, noon(day))
            if place in (len(noons) // 3, len(noons) // 2, len(noons) - 1):
                suite.as_of = facts.text_of(noon(day))
                suite.stop() if place == len(noons) // 3 else suite.kill()
                suite.start()
                client = retention.client_of(suite)
            # What time alone has done is seen before the news.
            retention.wait_for(client, 0, noon(day))
            rows = [row for key, person in people.items() for row in rows_of(key, person, day)]
            if rows:
                retention.wait_for(client, questions.take_in(client, *rows).facts_position, noon(day))
            for key, person in people.items():
                if day in person.tended and any(rows_of(key, person, told) for told in noons[:place + 1]):
                    tend(client, key, person.tended[day], noon(day))
        names = questions.names_of(client, facts.SOURCE)
        assert names.keys() == lives_of.keys()
        settled = sum(len(life.going_on()) for life in lives_of.values())
        with contextlib.suppress(AssertionError):  # The tests tell better what is missing.
            waiting.until(lambda: len(listed(client)) == settled, "what is too late to expire", 20)
        yield SimpleNamespace(suite=suite, client=client, names=names, people={key: people[key] for key in lives_of}, lives=lives_of,
                              now=noon(LAST_DAY))


# -- what is asked and told -----------------------------------------------------------------------------------------------

def asked(states=(), kinds=(), **request):
    """The fields of a request for a list, by short names."""
    request |= {"states": [f"WARNING_STATE_{each}" for each in states]} if states else {}
    return request | ({"kinds": [f"WARNING_KIND_{each}" for each in kinds]} if kinds else {})


def listed(client, parent="customers/-", **request):
    """All warnings of a customer or of everybody; of those that go on, unless it is asked otherwise."""
    return questions.everything(client, LIST, "warnings", **{"parent": parent, "page_size": 1_000} | asked(**request))


def every(client, parent="customers/-", **request):
    """Those of all states."""
    return listed(client, parent, states=STATES, **request)


def get(client, warning):
    """A warning, or one of a name, as it is now."""
    return client.call(GET, {"name": getattr(warning, "name", warning)})


def act(client, method, warning, **fields):
    return client.call(f"{SERVICE}/{method}Warning", {"name": getattr(warning, "name", warning)} | fields)


def resolve(client, warning, resolution="RETAINED"):
    return act(client, "Resolve", warning, resolution=f"WARNING_RESOLUTION_{resolution}")


def value_name(message, name):
    """The name of the value of an enum's field, without the enum's own."""
    kind = message.DESCRIPTOR.fields_by_name[name].enum_type
    prefix = {"WarningKind": "WARNING_KIND_", "WarningState": "WARNING_STATE_", "WarningSeverity": "WARNING_SEVERITY_",
              "WarningResolution": "WARNING_RESOLUTION_"}[kind.name]
    return kind.values_by_number[getattr(message, name)].name.removeprefix(prefix)


def ended(warning):
    return instant_of(warning.end_time) if warning.HasField("end_time") else None


def plain(warning):
    """(kind, when it was raised, state, when it ended)"""
    return value_name(warning, "kind"), instant_of(warning.raise_time), value_name(warning, "state"), ended(warning)


def told(client, parent="customers/-"):
    """All warnings since the noon of a test plainly, the earliest first."""
    found = [each for each in map(plain, every(client, parent)) if not Noon.mark or each[1] >= Noon.start]
    return sorted(found, key=lambda each: (each[1], KINDS.index(each[0])))


def shown(client, name):
    """The signs that a customer shows now, by its stage."""
    values = client.call("StageService/GetStage", {"name": f"{name}/stage"}).values
    names = values.DESCRIPTOR.fields_by_name["warnings"].enum_type.values_by_number
    return tuple(names[number].name.removeprefix("WARNING_KIND_") for number in values.warnings)


def cents_at_stake(worth, risk):
    """Rounded half to even."""
    return round(worth * risk)


def severity_of(cents, medium_from=10_000, high_from=100_000):
    return "HIGH" if cents >= high_from else "MEDIUM" if cents >= medium_from else "LOW"


# -- by hand --------------------------------------------------------------------------------------------------------------

def tell(client, days, *rows):
    """Takes rows in at the noon so many days behind the start, at which time stands."""
    questions.wait_for(client, questions.take_in(client, *rows).facts_position, after(days))


def bought(who, event, days=0, ago=HOUR, **fields):
    """An order of a moment before a noon."""
    return facts.order(named(who), f"{named(who)}-{event}", order_time=facts.text_of(after(days) - ago), **fields)


def complained(who, days=0, number=1, is_opened=True, ago=HOUR):
    """A complaint of a moment before a noon, or its end."""
    return complaint(named(who), f"{named(who)}-{number}-{is_opened}", number, is_opened, interaction_time=facts.text_of(after(days) - ago))


def until_told(client, expected, parent="customers/-"):
    """Waits until all warnings are these: what time ends is looked for a few times in a second."""
    waiting.until(lambda: told(client, parent) == expected, lambda: f"{expected}, and not {told(client, parent)}", 20)


def command(suite, *arguments, code=0):
    """What `quintile warnings` prints, as JSON where it is asked for."""
    done = subprocess.run(suite.command("warnings", *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=suite.home, timeout=60)
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return json.loads(done.stdout) if "json" in arguments and not code else done.stdout + done.stderr
