"""Customers whose stages are lived through in São Paulo, where the midnight of October 11th 1998 is left out: who ordered when, when it was told,
and what the witness makes of it; and how long things last, counted plainly."""
import contextlib
import functools
import math
import random
import statistics
from collections import Counter
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction
from types import SimpleNamespace
from typing import NamedTuple

import cdnow_witness as witness
from support import facts, policies, questions, quintile, waiting
from support.worth import DAY, TENANT, ZONE, begin

FIRST_DAY, LAST_VISIT, LAST_DAY = date(1998, 6, 4), date(2000, 2, 10), date(2001, 4, 5)
SKIPPED = date(1998, 10, 11)  # Its midnight is left out.
PUNCTUAL = SKIPPED - 120 * DAY  # Whoever buys once then is at risk when that day begins.
HOUR, MICRO = timedelta(hours=1), timedelta(microseconds=1)
POPULATION = witness.POPULATION_P80
KEEPER = "tess"
SECONDS = 120


class Person(NamedTuple):
    """A customer: whether it is there before its first order, who looks after it, and its orders: (day, the day on which it is told)."""

    is_lead: bool
    owner: str
    orders: list


class Step(NamedTuple):
    """A change of a stage."""

    at: datetime
    cause: str
    before: str
    after: str
    silent: int
    rhythm: float


# -- what happens ---------------------------------------------------------------------------------------------------------

def visits(chance):
    """The days at whose noon something is told; the last is more than a year behind the others."""
    days, day = {FIRST_DAY, PUNCTUAL, LAST_VISIT, LAST_DAY}, FIRST_DAY
    while day < LAST_VISIT:
        days.add(day)
        day += chance.randrange(6, 50) * DAY
    return sorted(days)


def lives(chance, noons, customers=60):
    """{id: person}. No two orders are within 31 days, so that no quarter has the four which a decline is from."""
    people = {"punctual": Person(True, "", [(PUNCTUAL, PUNCTUAL)]), "waiting": Person(True, KEEPER, [])}
    for n in range(customers):
        day, orders = FIRST_DAY + chance.randrange(-500, 400) * DAY, []
        steady = chance.choice([(31, 50), (31, 50), (31, 130), (100, 420)])
        for _ in range(chance.randrange(1, 14)):
            visited = next((noon for noon in noons[:-1] if noon >= day), None)
            if visited is None:
                break
            late = chance.random() < 0.3 and visited < LAST_VISIT
            day = day if late or day < FIRST_DAY else visited
            orders.append((day, next(noon for noon in noons if noon >= day + 2 * DAY) if late else visited))
            low, high = steady if chance.random() < 0.85 else (240, 500)
            day += chance.randrange(low, high) * DAY
        people[f"c-{n}"] = Person(n % 3 == 0, KEEPER if n % 4 == 1 else "bob", orders)
    # In the last hour of a month, which in UTC is over then.
    for n, months in enumerate([(6, 8, 10), (7, 8, 9, 12), (10, 12)]):
        ends = [date(1998 + month // 12, month % 12 + 1, 1) - DAY for month in months]
        people[f"evening-{n}"] = Person(False, "bob", [(day, next(noon for noon in noons if noon > day)) for day in ends])
    return people


def ordered_at(key, day):
    return begin(day) + (23 if key.startswith("evening") else 9) * HOUR


def noon(day):
    return begin(day) + 12 * HOUR


def rows_of(key, person, day):
    """What is told of a customer on a day."""
    told = [(n, of) for n, (of, told) in enumerate(person.orders) if told == day]
    first = min((told for _, told in person.orders), default=None)
    rows = [facts.order(key, f"{key}-{n}", order_time=facts.text_of(ordered_at(key, of))) for n, of in told]
    if day == (FIRST_DAY if person.is_lead else first):
        rows.insert(0, facts.customer(key, attributes={"kind": "CUSTOMER_KIND_CUSTOMER", "owner": person.owner}))
    return rows


# -- what comes of it -----------------------------------------------------------------------------------------------------

def stage_on(known, day):
    return witness.stage_of(sorted(set(known)), len(known), 0, 0, day, POPULATION)[0]


def rhythm_of(days):
    days = sorted(set(days))
    return shrunk_p80(tuple((later - earlier).days for earlier, later in zip(days, days[1:])), POPULATION)


shrunk_p80 = functools.cache(witness.shrunk_p80)


def history(person, until=LAST_DAY):
    """Every change of a customer's stage up to the noon of a day, the earliest first, and the stage then; None: nobody has heard of it."""
    # Whoever comes with orders has never been seen as a lead.
    begins_as_lead = person.is_lead and all(told != FIRST_DAY for _, told in person.orders)
    known, stage, steps, day = [], "LEAD" if begins_as_lead else None, [], FIRST_DAY
    while day <= until:
        news = [of for of, told in person.orders if told == day]
        if stage and (now := stage_on(known, day)) != stage:
            steps.append(step(begin(day), "TIME", stage, now, known, day))
            stage = now
        if news:
            known += news
            now, counts = stage_on(known, day), begin(min(known) if stage == "LEAD" else max(known)) + 9 * HOUR
            is_told = stage and now != stage and counts >= noon(day) - 90 * DAY
            if is_told:
                steps.append(step(noon(day), "EVENT", stage, now, known, day))
            stage = now
        day += DAY
    return steps, stage


def step(at, cause, before, after, known, day):
    return Step(at, cause, before, after, (day - max(known)).days, float(rhythm_of(known)))


def known_days(person, until=LAST_DAY):
    """The days on which a customer is known to have bought."""
    return sorted({day for day, told in person.orders if told <= until})


def stage_at(history, instant):
    """The stage at an instant; before the first change, that which it was from."""
    steps, now = history
    behind = [each.after for each in steps if each.at <= instant]
    return behind[-1] if behind else steps[0].before if steps else now


# -- the suite ------------------------------------------------------------------------------------------------------------

def client_of(suite):
    client = suite.client("admin", TENANT)
    waiting.until(lambda: policies.is_known(client), "the tenant to be known", policies.FORCE_SECONDS)
    return client


def wait_for(client, position, instant):
    waiting.until(lambda: questions.reached(questions.distribution(client).watermark, position, instant),
                  lambda: f"segmentation to reach {position} at {instant}: {questions.distribution(client).watermark}", SECONDS)


def move(suite, instant):
    suite.client("admin").call("ClockService/SetAsOf", {"as_of": facts.text_of(instant)})


@functools.cache
def lived(seed):
    """What ought to be, whatever the database: the days of visits, the customers, and the histories of those who are heard of."""
    chance = random.Random(seed)
    noons = visits(chance)
    people = lives(chance, noons)
    return noons, people, {key: history(person) for key, person in people.items() if person.is_lead or person.orders}


@contextlib.contextmanager
def living(backend, seed=7):
    """The customers up to the last day, through an orderly restart and a kill as time moves."""
    noons, people, histories = lived(seed)
    with quintile.suite(backend, as_of=facts.text_of(noon(FIRST_DAY))) as suite:
        suite.client("admin").call("TenantService/CreateTenant", {"tenant_id": TENANT, "tenant": {"time_zone": ZONE.key}})
        client = client_of(suite)
        # Somebody else's customers.
        questions.take_in(suite.client("admin"), *(facts.order(f"else-{n}", f"e-{n}", days=30 * n + 28) for n in range(5)))
        for place, day in enumerate(noons):
            if place:
                move(suite, noon(day))
            if place in (len(noons) // 3, len(noons) // 2, len(noons) - 1):
                suite.as_of = facts.text_of(noon(day))
                suite.stop() if place == len(noons) // 3 else suite.kill()
                suite.start()
                client = client_of(suite)
            rows = [row for key, person in people.items() for row in rows_of(key, person, day)]
            position = questions.take_in(client, *rows).facts_position if rows else 0
            wait_for(client, position, noon(day))
        names = questions.names_of(client, facts.SOURCE)
        assert names.keys() == histories.keys()
        yield SimpleNamespace(suite=suite, client=client, noons=noons, people={key: people[key] for key in histories}, names=names,
                              now=noon(LAST_DAY), histories=histories)


# -- what is told ---------------------------------------------------------------------------------------------------------

def transitions(client, name, **request):
    """All transitions of a customer, the newest first."""
    return questions.everything(client, "StageService/ListStageTransitions", "transitions", parent=f"{name}/stage", **request)


def instant_of(timestamp):
    return timestamp.ToDatetime(timezone.utc)


def cause_of(transition):
    values = transition.DESCRIPTOR.fields_by_name["cause"].enum_type.values_by_number
    return values[transition.cause].name.removeprefix("STAGE_TRANSITION_CAUSE_")


def name_of(message, field):
    """The name of a stage in any field of a message."""
    values = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return values[getattr(message, field)].name.removeprefix("STAGE_")


def plain(transition):
    """(instant, cause, stage before, stage after)"""
    return instant_of(transition.valid_at), cause_of(transition), name_of(transition, "from"), questions.stage_name(transition.to)


def text_of(instant):
    """To the microsecond."""
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def flow(client, start, end=None):
    request = {"start_time": text_of(start)} | ({"end_time": text_of(end)} if end else {})
    return client.call("RetentionService/GetStageFlow", request)


def counts(told):
    """Counter of (stage before, stage after) of what a flow tells."""
    found = Counter({(name_of(each, "from"), name_of(each, "to")): each.count for each in told})
    assert len(found) == len(told) and all(found.values()), told
    return found


def funnel(client):
    return {questions.stage_name(each): each.customers for each in client.call("StageService/GetFunnel").stages if each.customers}


# -- how long things last -------------------------------------------------------------------------------------------------

class Curve:
    """A survival curve of [(days, whether it is over)], by Kaplan and Meier, day by day and exactly."""

    def __init__(self, durations):
        self.customers, self.ended = len(durations), sum(over for _, over in durations)
        self.longest = max((days for days, _ in durations), default=0)
        ended, lasted = Counter(days for days, over in durations if over), Counter(days for days, _ in durations)
        at_risk, share, spread = len(durations), Fraction(1), Fraction(0)
        self.shares, self.spreads = [], []
        for day in range(self.longest + 1):
            if ended[day]:
                share *= 1 - Fraction(ended[day], at_risk)
                spread += Fraction(ended[day], at_risk * (at_risk - ended[day])) if share else 0
            at_risk -= lasted[day]
            self.shares.append(share)
            self.spreads.append(spread)

    def median(self):
        return next((day for day, share in enumerate(self.shares) if share <= Fraction(1, 2)), None)

    def mean(self, days):
        """The mean of so many days; None: nobody was followed for so long."""
        if self.longest < days and self.shares[-1]:
            return None
        return float(sum(self.shares[min(day, self.longest)] for day in range(days)))

    def bounds(self, day):
        """The interval at 95 % on the scale of ln(-ln S)."""
        share, spread = float(self.shares[day]), float(self.spreads[day])
        if share in (0, 1):
            return share, share
        reach = statistics.NormalDist().inv_cdf(0.975) * math.sqrt(spread) / math.log(share)
        return tuple(sorted((share ** math.exp(reach), share ** math.exp(-reach))))


def stay(days, today):
    """(days from the first order until the silence that makes a customer churned, whether that is over) by its purchase days."""
    churned = max(days) + (math.floor(4 * rhythm_of(days)) + 1) * DAY
    return (min(today, churned) - min(days)).days, churned <= today


def month_of(day):
    return 12 * day.year + day.month - 1


def assert_cohorts(told, people, first, last, present):
    """Cohorts by the months [(of which somebody bought)] of people: everything that an answer has."""
    begun, bought, behind = Counter(map(min, people)), Counter((min(months), month) for months in people for month in months), {}
    assert [(12 * each.month.year + each.month.month - 1, each.month.day) for each in told.cohorts] == [(m, 1) for m in range(first, last + 1)]
    for cohort, month in zip(told.cohorts, range(first, last + 1)):
        assert cohort.customers == begun[month], month
        expected = [(since, begun[month], bought[month, month + since], month + since == present) for since in range(last - month + 1)]
        assert [(each.months_since, each.customers, each.active, each.partial) for each in cohort.cells] == expected, month
        for each in cohort.cells:
            assert each.share == (each.active / each.customers if each.customers else 0)
            if not each.partial:
                of_all = behind.setdefault(each.months_since, [0, 0])
                of_all[0] += each.customers
                of_all[1] += each.active
    assert [(each.months_since, each.customers, each.active, each.partial) for each in told.overall] == [
        (since, *of_all, False) for since, of_all in sorted(behind.items())]
    assert all(each.share == (each.active / each.customers if each.customers else 0) for each in told.overall)
