"""Stage policies: made, tried and put in force; and customers of every stage and sign, with where the rules put them by whatever parameters, told
plainly from the contract."""
import bisect
import functools
import itertools
import json
import math
import random
import subprocess
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import grpc

import cdnow_witness as witness
from support import facts, questions, quintile, retention, score_models, waiting
from support.refusals import Refusal

SERVICE = "StagePolicyService"
CREATE, GET, DELETE, PREVIEW, PUBLISH = (f"{SERVICE}/{verb}StagePolicyVersion" for verb in ("Create", "Get", "Delete", "Preview", "Publish"))
LIST = f"{SERVICE}/ListStagePolicyVersions"
POLICY = "stagePolicies/default"
FIRST = f"{POLICY}/versions/1"
KINDS = ("SILENCE", "FEWER_PURCHASES", "FEWER_INTERACTIONS", "COMPLAINT", "CHURN_RISK", "LOW_SCORE")
WARNING_STATES = ("OPEN", "ACKNOWLEDGED", "RESOLVED", "CLEARED", "EXPIRED")
HELD = "stages::before_restaged_part"
# What counts everybody: no role with a row scope has it.
OF_EVERYBODY = (PREVIEW, PUBLISH)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
WINDOW, HOLD_DAYS = 90 * DAY, 14
AS_OF = facts.AS_OF


class Rules(NamedTuple):
    """Parameters: those of version 1, unless others are given."""

    population_p80_days: int = 119
    new_days: int = 90
    new_orders: int = 3
    loyal_orders: int = 5
    dormant_factor: int = 2
    churned_factor: int = 4
    reactivated_days: int = 90
    decline_min_count: int = 4
    churned_below_alive_percent: int = 5
    dormant_below_alive_percent: int = 20
    at_risk_below_alive_percent: int = 50
    risk_warning_percent: int = 70


SHIPPED = Rules()
# Everything is another.
OTHERS = Rules(70, 200, 2, 3, 3, 5, 40, 2)
# Nor does anybody decline who buys seldom: what time does to such customers is of midnights alone.
CALM = OTHERS._replace(decline_min_count=4)
# Each parameter alone, and another value of it.
ALONE = {"population_p80_days": 50, "new_days": 300, "new_orders": 7, "loyal_orders": 2, "dormant_factor": 3, "churned_factor": 3,
         "reactivated_days": 20, "decline_min_count": 7}


# -- who there is, and where the rules put it -----------------------------------------------------------------------------

@dataclass(frozen=True, eq=False)
class Person:
    """A customer: its orders (instant, cents) and the instants of its contacts, the earliest first, and whether a complaint is open.

    Each is somebody else, be it of the same orders: where the rules put somebody is looked up by who it is.
    """

    orders: tuple = ()
    contacts: tuple = ()
    complains: bool = False

    @cached_property
    def bought(self):
        return [at for at, _ in self.orders]

    @cached_property
    def days(self):
        """The distinct days of purchase."""
        return sorted({at.date() for at in self.bought})

    @cached_property
    def gaps(self):
        return tuple((later - earlier).days for earlier, later in zip(self.days, self.days[1:]))

    @cached_property
    def cents(self):
        return sum(cents for _, cents in self.orders)


def declines(instants, now, least):
    """Whether there are at most half as many of the last 90 days as of the 90 before."""
    if len(instants) < least:
        return False
    start, middle, end = (bisect.bisect_left(instants, at) for at in (now - 2 * WINDOW, now - WINDOW, now))
    return middle - start >= least and 2 * (end - middle) <= middle - start


rhythm = functools.cache(witness.shrunk_p80)


@functools.cache
def explained(gaps, population, factor=1):
    """How long a silence is explained by so many times the rhythm. Silences are of whole days, so that what is beyond the last one does not count."""
    return math.floor(factor * rhythm(gaps, population))


def stage(person, now, rules=SHIPPED, alive=math.inf):
    """The first rule that matches decides. `alive` is how likely the person still buys, in hundredths, where that is known."""
    if not person.orders:
        return "LEAD"
    today, gaps, population = now.date(), person.gaps, rules.population_p80_days
    silent, since_first = ((today - day).days for day in (person.days[-1], person.days[0]))
    if silent > explained(gaps, population, rules.churned_factor) or alive < rules.churned_below_alive_percent:
        return "CHURNED"
    if silent > explained(gaps, population, rules.dormant_factor) or alive < rules.dormant_below_alive_percent:
        return "DORMANT"
    if silent < rules.reactivated_days and gaps and gaps[-1] > explained(gaps[:-1], population, rules.dormant_factor):
        return "REACTIVATED"
    fewer = any(declines(of, now, rules.decline_min_count) for of in (person.bought, person.contacts))
    if silent > explained(gaps, population) or alive < rules.at_risk_below_alive_percent or fewer or person.complains:
        return "AT_RISK"
    if since_first < rules.new_days and len(person.orders) < rules.new_orders:
        return "NEW"
    return "LOYAL" if len(person.orders) >= rules.loyal_orders else "ACTIVE"


def patience(gaps, rules):
    """The first day of a silence that warns."""
    return max(explained(gaps, rules.population_p80_days) + 1, HOLD_DAYS + 1)


def is_silent(person, today, rules):
    """Too long by now, or until lately: for fourteen days from when it became too long, though it has bought again."""
    days, gaps = person.days, person.gaps
    if (today - days[-1]).days >= patience(gaps, rules):
        return True
    for place in reversed(range(len(gaps))):
        if days[place + 1] + HOLD_DAYS * DAY <= today:
            return False
        begins = days[place] + patience(gaps[:place], rules) * DAY
        if begins <= days[place + 1] and today < begins + HOLD_DAYS * DAY:
            return True
    return False


def buys_less(person, today, rules):
    """By one of the last fourteen midnights."""
    if len(person.days) < rules.decline_min_count:
        return False

    def between(first, last):
        return bisect.bisect_right(person.days, last) - bisect.bisect_left(person.days, first)
    for midnight in (today - ago * DAY for ago in range(HOLD_DAYS)):
        before, now = between(midnight - 180 * DAY, midnight - 91 * DAY), between(midnight - 90 * DAY, midnight - DAY)
        if before >= rules.decline_min_count and 2 * now <= before:
            return True
    return False


def signs(person, now, rules=SHIPPED):
    """The kinds of warnings that a customer shows, by number."""
    return place(person, now, rules)[1]


@functools.lru_cache(maxsize=500_000)
def place(person, now, rules=SHIPPED):
    """(stage, signs)"""
    at = stage(person, now, rules)
    if at in ("LEAD", "CHURNED"):
        return at, ()
    today = now.date()
    writes_less = declines(person.contacts, now, rules.decline_min_count) and (today - person.contacts[-1].date()).days >= HOLD_DAYS
    shown = is_silent(person, today, rules), buys_less(person, today, rules), writes_less, person.complains
    return at, tuple(kind for kind, is_shown in zip(KINDS, shown) if is_shown)


def placed(people, now, rules=SHIPPED):
    """{customer: (stage, signs)}"""
    return {name: place(person, now, rules) for name, person in people.items()}


def differ(before, after, part=slice(None)):
    """Of whom a part of two placings differs."""
    return {name for name in after if before[name][part] != after[name][part]}


def passing(person, start, end, rules):
    """[(midnight, stage before, stage after)] between two instants: what time alone does to who buys seldom and does nothing else."""
    if not person.orders:
        return []
    steps, now, at = [], stage(person, start, rules), start
    while (at := datetime.combine(at.date() + DAY, datetime.min.time(), timezone.utc)) <= end:
        if (then := stage(person, at, rules)) != now:
            steps.append((at, now, then))
            now = then
    return steps


def population_p80(people):
    """The quantile of all days between purchases, rounded down; None: there are none."""
    gaps = list(itertools.chain.from_iterable(person.gaps for person in people))
    return math.floor(witness.quantile_type7(gaps, Fraction(4, 5))) if gaps else None


def foreseen(people, now, rules, in_force=SHIPPED):
    """What a preview has to tell, as `plain` puts it."""
    moves, cents, warnings = Counter(), Counter(), {kind: [0, 0] for kind in KINDS}
    for person in people:
        (before, shown), (after, shows) = place(person, now, in_force), place(person, now, rules)
        moves[before, after] += 1
        cents[before, after] += person.cents
        for which, kinds in enumerate((shows, shown)):
            for kind in kinds:
                warnings[kind][which] += 1
    changed = sum(count for (before, after), count in moves.items() if before != after)
    return {"customers": moves.total(), "changed": changed, "moves": {move: (count, cents[move]) for move, count in moves.items()},
            "warnings": {kind: tuple(both) for kind, both in warnings.items()}, "p80": population_p80(people)}


# -- an invented shop -----------------------------------------------------------------------------------------------------

OFTEN, SELDOM = [(1, 5), (3, 20), (20, 60), (40, 130)], [(31, 60), (31, 130), (100, 420)]


def phases(chance, paces):
    """How many days ago something was done, each phase at a pace of its own, with pauses between; twice on some days."""
    ago, days = chance.randrange(1, 600), []
    for _ in range(chance.randrange(1, 4)):
        low, high = chance.choice(paces)
        for _ in range(chance.randrange(1, 12)):
            if ago < 1:
                return days
            days.append(ago)
            ago -= chance.randrange(low, high)
        ago -= chance.choice([0, 0, 60, 100, 150, 260])
    return days


def instant(ago, hour=9):
    return AS_OF - ago * DAY + hour * HOUR


def invented(seed=3, customers=260, paces=None):
    """{id: person}. Given the paces, nobody does anything but buy."""
    chance, people = random.Random(seed), {}
    for n in range(customers):
        ago = [] if n % 13 == 5 else phases(chance, paces or OFTEN)
        orders = [(instant(each), chance.randrange(100, 90_000)) for each in ago]
        orders += [(instant(each, 10), 500) for each in ago if not paces and chance.random() < 0.2]
        contacts = [instant(each, 11) for each in phases(chance, [(2, 12), (5, 25)])] if n % 3 == 0 and not paces else []
        complains = n % 8 == 2 and not paces
        if complains:
            contacts.append(instant(chance.randrange(1, 40), 12))
        people[f"c-{n}"] = Person(tuple(sorted(orders)), tuple(sorted(contacts)), complains)
    return people


def rows_of(key, person):
    """A complaint is the contact at noon."""
    rows = [facts.customer(key)]
    rows += [facts.order(key, f"{key}-o{n}", order_time=facts.text_of(at), cents=cents) for n, (at, cents) in enumerate(person.orders)]
    for n, at in enumerate(person.contacts):
        complaint = {"kind": "INTERACTION_KIND_COMPLAINT", "about": "a case", "case_state": "CASE_STATE_OPENED"} if at.hour == 12 else {}
        rows.append(facts.interaction(key, f"{key}-i{n}", interaction_time=facts.text_of(at), **complaint))
    return rows


def take_in(client, people, now=AS_OF):
    """Takes people in, each at once, and waits for the end of the chain: {`customers/{number}`: person}."""
    batch, position = [], 0
    for key, person in people.items():
        batch += rows_of(key, person)
        if len(batch) > 9_000:
            position, batch = questions.take_in(client, *batch).facts_position, []
    position = questions.take_in(client, *batch).facts_position if batch else position
    retention.wait_for(client, position, now)
    names = questions.names_of(client, facts.SOURCE)
    return {names[key]: person for key, person in people.items()}


def cdnow():
    """{id in the source: person} of the demo."""
    with open(quintile.cdnow(), encoding="ascii") as stream:
        lines = witness.read_purchases(stream)
    at = lambda day: datetime(day.year, day.month, day.day, tzinfo=timezone.utc)  # noqa: E731
    return {source_id: Person(tuple((at(day), cents) for day, cents in bought)) for source_id, bought in lines.items()}


# -- versions -------------------------------------------------------------------------------------------------------------

def create(client, rules=None, description="", own=(), **parameters):
    """A draft of whole parameters, or of some; and of rules of its own, (stage, condition)."""
    made = {"description": description, "parameters": rules._asdict() if rules else parameters,
            "rules": [{"stage": f"STAGE_{at}", "condition": condition} for at, condition in own]}
    return client.call(CREATE, {"parent": POLICY, "version": made})


def policy(client):
    return client.call(f"{SERVICE}/GetStagePolicy", {"name": POLICY})


def get(client, name):
    return client.call(GET, {"name": name})


def versions(client, **request):
    return questions.everything(client, LIST, "versions", parent=POLICY, **request)


def delete(client, name, **request):
    return client.call(DELETE, {"name": name} | request)


def number(name):
    return int(name.split("/")[-1])


def state(version):
    return score_models.enum_name(version, "state")


def rules_of(version):
    """The parameters of a version, which are all said."""
    said = version.parameters
    assert all(said.HasField(name) for name in Rules._fields), version
    return Rules(*(getattr(said, name) for name in Rules._fields))


# -- dry runs -------------------------------------------------------------------------------------------------------------

def preview(client, name):
    """A dry run to its end: the preview. Progress is told before, and does not go back."""
    call = client.start(PREVIEW, [{"name": name}], seconds=waiting.SECONDS)
    try:
        answers = list(call)
    except grpc.RpcError as error:
        raise Refusal(error) from None
    *progress, last = answers
    assert last.HasField("preview") and not any(each.HasField("preview") for each in progress)
    read = [each.progress.customers_read for each in progress]
    assert all(each.HasField("progress") for each in progress) and read == sorted(read)
    return last.preview


def kind_name(message):
    return score_models.enum_name(message, "kind")


def plain(seen):
    """A preview as `foreseen` tells it. The moves are by the numbers of the stages, and every sign is there, by number."""
    pairs = [(getattr(each, "from"), each.to) for each in seen.moves]
    assert pairs == sorted(set(pairs)) and all(each.customers > 0 for each in seen.moves)
    assert [kind_name(each) for each in seen.warnings] == list(KINDS)
    ends = lambda each: (retention.name_of(each, "from"), retention.name_of(each, "to"))  # noqa: E731
    return {"customers": seen.customers, "changed": seen.changed_customers,
            "moves": {ends(each): (each.customers, facts.cents_of(each.revenue)) for each in seen.moves},
            "warnings": {kind_name(each): (each.customers, each.customers_in_force) for each in seen.warnings},
            "p80": seen.population_p80_days if seen.HasField("population_p80_days") else None}


# -- publishing -----------------------------------------------------------------------------------------------------------

def begin_publishing(client, name, **request):
    """The operation that a publishing begins."""
    return client.call(PUBLISH, {"name": name} | request)


def operations(client, method):
    """A method of the operations of lifecycle."""
    return client.api.method_on("lifecycle", f"Operations/{method}")


def done(client, operation):
    """An operation once it has ended."""
    wait = operations(client, "WaitOperation")
    waiting.until(lambda: client.call(wait, {"name": operation.name, "timeout": "10s"}).done, f"{operation.name} to end")
    return client.call(operations(client, "GetOperation"), {"name": operation.name})


def metadata(client, operation):
    return score_models.unpacked(client, operation.metadata)


def restaged(client, operation):
    """What a publishing did, once it has ended well."""
    ended = done(client, operation)
    assert not ended.HasField("error") and metadata(client, ended).progress_percent == 100, ended
    said = score_models.unpacked(client, ended.response)
    assert said.DESCRIPTOR.full_name == "quintile.lifecycle.v1.Restaging"
    return said


def publish(client, name, **request):
    """Publishes, and waits for what it did."""
    return restaged(client, begin_publishing(client, name, **request))


def put_in_force(client, rules=None, **parameters):
    """A new version, in force: its name and what it did."""
    made = create(client, rules, **parameters)
    return made.name, publish(client, made.name)


# -- what comes of it -----------------------------------------------------------------------------------------------------

def values(client, name):
    return client.call("StageService/GetStage", {"name": f"{name}/stage"}).values


def shown(said):
    """The signs of StageValues."""
    named = said.DESCRIPTOR.fields_by_name["warnings"].enum_type.values_by_number
    return tuple(named[kind].name.removeprefix("WARNING_KIND_") for kind in said.warnings)


def read(client, names):
    """{customer: (stage, signs)} by asking for each."""
    said = {name: values(client, name) for name in names}
    return {name: (questions.stage_name(each), shown(each)) for name, each in said.items()}


def streamed(client):
    """{customer: StageValues} by the feed from its start."""
    call = client.start("StageService/WatchStages", [{}], seconds=waiting.SECONDS)
    found = {}
    try:
        for answer in call:
            found |= {f"customers/{record.customer_id}": record.stage for record in answer.records}
            if answer.HasField("watermark"):
                return found
    finally:
        call.cancel()
    raise AssertionError("the feed ended")


def warned(client):
    """Counter of (customer, kind, when it was raised, state, when it ended) of all warnings."""
    asked = {"parent": "customers/-", "page_size": 1_000, "states": [f"WARNING_STATE_{each}" for each in WARNING_STATES]}
    found = questions.everything(client, "WarningService/ListWarnings", "warnings", **asked)
    ended = lambda each: retention.instant_of(each.end_time) if each.HasField("end_time") else None  # noqa: E731
    return Counter((each.name.rsplit("/warnings/", 1)[0], kind_name(each), retention.instant_of(each.raise_time), state(each), ended(each))
                   for each in found)


def funnel_of(placing):
    return Counter(at for at, _ in placing.values())


def told(client, name):
    """[(instant, cause, stage before, stage after)] of a customer, the earliest first. Each goes on from the one before."""
    steps = [retention.plain(each) for each in reversed(retention.transitions(client, name))]
    assert all(earlier[3] == later[2] and earlier[0] <= later[0] for earlier, later in zip(steps, steps[1:])), (name, steps)
    return steps


def by_policy(steps):
    return [step for step in steps if step[1] == "POLICY"]


def command(suite, *arguments, code=0):
    """What `quintile stages` prints, as JSON where it is asked for."""
    done = subprocess.run(suite.command("stages", *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=suite.home,
                          timeout=quintile.COMMAND_SECONDS)
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return json.loads(done.stdout) if "json" in arguments and not code else done.stdout + done.stderr
