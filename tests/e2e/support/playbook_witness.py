"""What playbooks ought to do and to bring about, told plainly from their contract: who is held out, which steps are gone through when, what is
withheld from whom, and what can be said of those who were meant against those who were held out."""
import math
import statistics
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from typing import NamedTuple

DAY = timedelta(seconds=86_400)  # Wherever the contract speaks of days of playbooks.
QUARTER = timedelta(minutes=15)
BITS = 2 ** 64 - 1
ASSIGNED = ("HELD_OUT", "ACTIVE", "FINISHED", "STOPPED")


# -- who is held out ------------------------------------------------------------------------------------------------------

def fnv(data):
    """FNV-1a of 64 bits."""
    value = 0xcbf29ce484222325
    for each in data:
        value = (value ^ each) * 0x100000001b3 & BITS
    return value


def mixed(value):
    """The finaliser of SplitMix64."""
    value = value + 0x9e3779b97f4a7c15 & BITS
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9 & BITS
    value = (value ^ value >> 27) * 0x94d049bb133111eb & BITS
    return value ^ value >> 31


def draw(playbook, version, purpose, number, bound):
    """A number below a bound. `purpose` tells the draw for the holdout, 0, from that for the variant, 1."""
    name = playbook.encode()
    key = mixed(fnv(len(name).to_bytes(8, "little") + name + str(version).encode() + bytes([purpose])))
    return mixed(mixed(number) ^ key) * bound >> 64


def side(playbook, version, holdout_basis_points, weights, number):
    """The place of the variant that a customer is given by its number. None: it is held out."""
    if draw(playbook, version, 0, number, 10_000) < holdout_basis_points:
        return None
    drawn = draw(playbook, version, 1, number, sum(weights))
    return next(place for place in range(len(weights)) if drawn < sum(weights[:place + 1]))


def side_of(book, number):
    """The id of a customer's variant. Empty: it is held out."""
    weights = [each["weight"] for each in book.content["variants"]]
    place = side(book.name, book.version, book.content.get("holdout_basis_points", 0), weights, number)
    return "" if place is None else book.content["variants"][place]["id"]


# -- quiet hours ----------------------------------------------------------------------------------------------------------

def is_quiet(instant, zone, hours):
    """Whether an instant is within the local hours (from, to) of quiet, perhaps over midnight."""
    begin, end = hours
    hour = instant.astimezone(zone).hour
    return begin <= hour < end if begin < end else hour >= begin or hour < end


def end_of_quiet(instant, zone, hours):
    """The first instant from one on at which it is not quiet. Local hours begin at quarters of an hour, whatever a clock is put forward or back."""
    while is_quiet(instant, zone, hours):
        since = (instant - datetime(1970, 1, 1, tzinfo=timezone.utc)) % QUARTER
        instant += QUARTER - since
    return instant


# -- the machine ----------------------------------------------------------------------------------------------------------

class Book(NamedTuple):
    """A version of a playbook that runs: its content is that of the request that made it."""

    name: str
    version: int
    content: dict

    def variant(self, variant_id):
        return next(each for each in self.content["variants"] if each["id"] == variant_id)


@dataclass
class Policy:
    """What holds for all playbooks."""

    max_contacts: int = 0
    cap_days: int = 0
    quiet: tuple = None
    zones: dict = field(default_factory=dict)


@dataclass
class Person:
    """A customer as its record is now."""

    number: int
    owner: str = ""
    country: str = ""
    consents: set = field(default_factory=set)
    objections: set = field(default_factory=set)
    segments: set = field(default_factory=set)

    def may_be_contacted(self, purpose):
        return purpose in self.consents if purpose == "MARKETING" else purpose not in self.objections


@dataclass
class Run:
    """A playbook for one customer."""

    person: Person
    book: Book
    trigger_time: datetime
    state: str = "TRIGGERED"
    refusal: str = "UNSPECIFIED"
    variant: str = ""
    steps_done: int = 0
    next_step_time: datetime = None
    withheld: int = 0

    def plain(self):
        """As `playbooks.plain` tells a run."""
        return (self.person.number, self.book.name, self.book.version, self.trigger_time, self.state, self.refusal, self.variant, self.steps_done,
                self.next_step_time, self.withheld)


def seconds(text):
    """Of a duration as requests have it."""
    return timedelta(seconds=int(text.removesuffix("s")))


class Witness:
    """All runs, tasks and deliveries of a tenant, of whose customers nobody is ever restricted."""

    def __init__(self, zone=timezone.utc):
        self.zone, self.policy = zone, Policy()
        self.runs, self.tasks, self.deliveries = [], [], []

    # -- how a run begins

    def trigger(self, person, book, at):
        """Something happens that a playbook is triggered by; it is decided at once."""
        run = Run(person, book, at)
        run.refusal = self.refusal(run)
        if run.refusal != "UNSPECIFIED":
            run.state = "REFUSED"
        else:
            run.variant = side_of(book, person.number)
            run.state = "ACTIVE" if run.variant else "HELD_OUT"
            run.next_step_time = at if run.variant else None
        self.runs.append(run)
        return run

    def refusal(self, run):
        """The first reason that applies."""
        content, person = run.book.content, run.person
        if any(self.is_in_the_way(other, run) for other in self.runs if (other.person, other.book.name) == (person, run.book.name)):
            return "AGAIN"
        if not person.may_be_contacted(content["purpose"].removeprefix("PURPOSE_")):
            return "CONSENT"
        if content.get("audience") and content["audience"] not in person.segments:
            return "AUDIENCE"
        if content.get("excluded") and content["excluded"] in person.segments:
            return "EXCLUDED"
        return "UNSPECIFIED"

    @staticmethod
    def is_in_the_way(other, run):
        days = run.book.content.get("again_after_days", 0)
        return other.state == "ACTIVE" or (other.state in ASSIGNED and (days == 0 or run.trigger_time - other.trigger_time < days * DAY))

    # -- how it goes on

    def go(self, now):
        """All that is due by now, in the order of its instants."""
        while True:
            due = [run for run in self.runs if run.state == "ACTIVE" and run.next_step_time <= now]
            if not due:
                return
            self.step(min(due, key=lambda run: run.next_step_time))

    def step(self, run):
        steps, at = run.book.variant(run.variant)["steps"], run.next_step_time
        step = steps[run.steps_done]
        if "wait" in step:
            run.next_step_time = at + seconds(step["wait"]["duration"])
        elif "branch" in step and step["branch"]["segment"] not in run.person.segments:
            return self.go_elsewhere(run, steps, step["branch"].get("otherwise"))
        elif "task" in step or "webhook" in step:
            if not self.contact(run, step, at):
                return None  # It is quiet.
        run.steps_done += 1
        if "end" in step or run.steps_done == len(steps):
            self.finish(run)
        return None

    @staticmethod
    def finish(run):
        run.state, run.next_step_time = "FINISHED", None

    def go_elsewhere(self, run, steps, otherwise):
        """On the side of a branch for those who are no members."""
        if not otherwise:
            run.steps_done += 1
            return self.finish(run)
        run.steps_done = next(place for place, step in enumerate(steps) if step.get("id") == otherwise)
        return None

    def contact(self, run, step, at):
        """A step that contacts the customer. False: it has to wait until it is not quiet."""
        if not run.person.may_be_contacted(run.book.content["purpose"].removeprefix("PURPOSE_")):
            run.withheld += 1
        elif "task" in step:
            self.add_task(run, step["task"], at)
        else:
            zone = self.policy.zones.get(run.person.country, self.zone)
            if self.policy.quiet and is_quiet(at, zone, self.policy.quiet):
                run.next_step_time = end_of_quiet(at, zone, self.policy.quiet)
                return False
            if self.policy.max_contacts and self.contacts(run.person, at) >= self.policy.max_contacts:
                run.withheld += 1
            else:
                self.deliveries.append((run.person.number, run.book.name, step["webhook"]["endpoint"], step["webhook"]["message"], at))
        return True

    def add_task(self, run, task, at):
        due = at + seconds(task["due_after"]) if "due_after" in task else None
        kind, assignee = task["kind"].removeprefix("TASK_KIND_"), task.get("assignee") or run.person.owner
        self.tasks.append((run.person.number, run.book.name, kind, task["title"], task.get("note", ""), assignee, at, due))

    def contacts(self, person, at):
        """The contacts of a customer in the days of the cap up to an instant."""
        since = at - self.policy.cap_days * DAY
        return sum(number == person.number and since < made <= at for number, *_, made in self.deliveries)

    # -- how it is stopped

    def stop(self, book):
        for run in self.runs:
            if run.book.name == book.name and run.state in ("TRIGGERED", "ACTIVE"):
                run.state, run.next_step_time = "STOPPED", None


# -- what came of it ------------------------------------------------------------------------------------------------------

class Observed(NamedTuple):
    """What a customer did who was measured, in cents."""

    converted: bool
    revenue: int
    before: int


class Interval(NamedTuple):
    """An estimate and its bounds at 95 %; None: there are too few to tell."""

    value: float
    low: float = None
    high: float = None


NORMAL = statistics.NormalDist().inv_cdf(0.975)
MIN_CUSTOMERS, MIN_BUYERS = 50, 100


def wilson(converted, customers):
    """A share and the bounds of its score interval: the roots of a quadratic in the share."""
    square = NORMAL ** 2
    middle, spread = 2 * converted + square, NORMAL * math.sqrt(square + 4 * converted * (1 - converted / customers))
    low, high = ((middle + sign * spread) / (2 * (customers + square)) for sign in (-1, 1))
    return converted / customers, 0.0 if converted == 0 else low, 1.0 if converted == customers else high


def newcombe(converted, customers, other_converted, other_customers):
    """The difference of two shares by Newcombe's method 10 of 1998."""
    one, low, high = wilson(converted, customers)
    other, other_low, other_high = wilson(other_converted, other_customers)
    difference = one - other
    return Interval(difference, difference - math.hypot(one - low, other_high - other), difference + math.hypot(high - one, other - other_low))


def student(degrees, share=0.475, steps=1_000):
    """The quantile of Student's distribution that has a share of it between 0 and itself, by Simpson's rule and halving."""
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)

    def mass(end):
        of = lambda x: scale * (1 + x * x / degrees) ** (-(degrees + 1) / 2)  # noqa: E731
        width = end / steps
        return width / 3 * sum((1 if n in (0, steps) else 4 if n % 2 else 2) * of(n * width) for n in range(steps + 1))
    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if mass(middle) < share else (low, middle)
    return (low + high) / 2


def products(ones, others):
    """The sum of the products of the distances to the means, exactly."""
    return Fraction(sum(one * other for one, other in zip(ones, others, strict=True))) - Fraction(sum(ones) * sum(others), len(ones))


def welch(treated, holdout):
    """The difference of mean revenue, each less so many times the revenue before as both sides together vary with it."""
    sides = [([each.revenue for each in side], [each.before for each in side]) for side in (treated, holdout)]
    varies = sum(products(before, before) for _, before in sides)
    slope = sum(products(revenue, before) for revenue, before in sides) / varies if varies else Fraction(0)
    means, errors = [], []
    for revenue, before in sides:
        adjusted = [each - slope * earlier for each, earlier in zip(revenue, before, strict=True)]
        means.append(sum(adjusted, Fraction(0)) / len(adjusted))
        errors.append(float(products(adjusted, adjusted) / max(len(adjusted) - 1, 1) / len(adjusted)))
    difference = float(means[0] - means[1])
    are_enough = min(map(len, (treated, holdout))) >= MIN_CUSTOMERS and min(sum(each.revenue != 0 for each in side)
                                                                              for side in (treated, holdout)) >= MIN_BUYERS
    if not are_enough or not sum(errors):
        return Interval(difference)
    degrees = sum(errors) ** 2 / sum(error ** 2 / (len(side) - 1) for error, side in zip(errors, (treated, holdout), strict=True))
    reach = student(degrees) * math.sqrt(sum(errors))
    return Interval(difference, difference - reach, difference + reach)


def uplift(treated, holdout):
    """The difference of those who have bought."""
    counts = [(sum(each.converted for each in side), len(side)) for side in (treated, holdout)]
    whole = newcombe(*counts[0], *counts[1])
    return whole if min(counts[0][1], counts[1][1]) >= MIN_CUSTOMERS else Interval(whole.value)


def verdict(difference):
    if difference.low is None:
        return "TOO_FEW"
    return "HELPS" if difference.low > 0 else "HARMS" if difference.high < 0 else "UNDECIDED"


# -- what to do next ------------------------------------------------------------------------------------------------------

STANDINGS = ("PROVEN", "PROMISING", "UNKNOWN", "DOUBTFUL", "HARMFUL")  # The best first.


def standing(difference):
    """How much is known of a playbook by its uplift. None: it was not measured on both sides."""
    said = "TOO_FEW" if difference is None else verdict(difference)
    known = {"TOO_FEW": "UNKNOWN", "HELPS": "PROVEN", "HARMS": "HARMFUL"}
    return known.get(said) or ("PROMISING" if difference.value > 0 else "DOUBTFUL")


def rank(difference, value, name):
    """What playbooks are sorted by for a customer to whom a purchase is worth so much: those shown to help by what they bring at least, those of which
    nothing is known by the value, and others by what they bring."""
    known, brings = standing(difference), ()
    if known != "UNKNOWN":
        expected, at_least = -difference.value * value, -difference.low * value
        brings = (at_least, expected) if known == "PROVEN" else (expected, at_least)
    return STANDINGS.index(known), brings, -value, name
