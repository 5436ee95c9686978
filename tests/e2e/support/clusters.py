"""Clusters: asked for, and what ought to be true of them, by arithmetic in Python alone on facts that tests know."""
import dataclasses
import math
import random
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from support import facts, label_sets, policies, questions, waiting

SERVICE = "ClusterService"
REST = "not-clustered"
MIXTURE, K_MEANS = "CLUSTER_METHOD_MIXTURE", "CLUSTER_METHOD_K_MEANS"
UTC = timezone.utc
TOLD = 5  # Of fewer customers no centre is told.
SLOW = 120  # Seconds for a search, which waits for those before it.
BATCH = 5_000


# -- what is asked --------------------------------------------------------------------------------------------------------

def clustering_of(set_id):
    return f"{label_sets.name_of(set_id)}/clustering"


def by(*fields, linear=()):
    """Features as a request has them."""
    return [{"field": field} | ({"linear": True} if field in linear else {}) for field in fields]


def request(set_id, features, **fields):
    features = by(*features) if isinstance(features[0], str) else features
    return {"name": label_sets.name_of(set_id), "features": features} | fields


def fit(client, set_id, features, **fields):
    """Finds clusters: the draft."""
    return client.call(f"{SERVICE}/FitClusters", request(set_id, features, **fields), seconds=SLOW)


def get(client, set_id, draft=False):
    return client.call(f"{SERVICE}/GetClustering", {"name": clustering_of(set_id), "draft": draft})


def drift(client, set_id):
    return client.call(f"{SERVICE}/GetClusterDrift", {"name": clustering_of(set_id)})


def factors(client, features, **fields):
    features = by(*features) if isinstance(features[0], str) else features
    return client.call(f"{SERVICE}/FindFactors", {"features": features} | fields, seconds=SLOW)


def put_in_force(client, set_id, features, **fields):
    """Finds clusters and publishes them as they were seen."""
    label_sets.publish(client, set_id, fit(client, set_id, features, **fields).etag)
    return get(client, set_id)


def cluster_ids(told):
    """The ids of the labels, by number."""
    return [f"cluster-{each.number}" for each in told.clusters]


def new_tenant(suite, tenant, **fields):
    """A client of a new tenant's administrator."""
    suite.client("admin").call("TenantService/CreateTenant", {"tenant_id": tenant, "tenant": fields})
    client = suite.client("admin", tenant)
    waiting.until(lambda: policies.is_known(client), f"{tenant} to be known", policies.FORCE_SECONDS)
    return client


# -- customers ------------------------------------------------------------------------------------------------------------

@dataclasses.dataclass
class Person:
    """What was planted of a customer: orders of (instant, cents), visits at instants, and what was said of recommending."""

    orders: list = dataclasses.field(default_factory=list)
    visits: list = dataclasses.field(default_factory=list)
    nps: int | None = None


def rows_of(key, person):
    """The facts of a customer."""
    yield from (facts.order(key, f"{key}-o{n}", order_time=facts.text_of(at), cents=cents) for n, (at, cents) in enumerate(person.orders))
    yield from (facts.interaction(key, f"{key}-i{n}", interaction_time=facts.text_of(at)) for n, at in enumerate(person.visits))
    if person.nps is not None:
        yield facts.feedback(key, f"{key}-f", days=3, kind="FEEDBACK_KIND_NPS", score=person.nps)


def take_in(client, people):
    """Takes {key: person} in, and returns {number: person} of them."""
    rows = [row for key, person in people.items() for row in rows_of(key, person)]
    for start in range(0, len(rows), BATCH):
        position = questions.take_in(client, *rows[start:start + BATCH]).facts_position
    questions.wait_for(client, position)
    numbers = questions.numbers_of(client, facts.SOURCE)
    return {numbers[key]: person for key, person in people.items()}


def days_ago(chance, least, most):
    """An instant at any hour so many days before the tests' first business time."""
    return facts.AS_OF - timedelta(days=chance.randint(least, most), hours=chance.randrange(24), minutes=chance.randrange(60))


def invented(chance, count, prefix="c"):
    """{key: person} of four kinds who have little in common: who orders often, who is long gone, who buys dear things, who only looks."""
    people = {}
    for place in range(count):
        kind, nps = place % 4, chance.choice([None, None, 3, 9])
        visits = [days_ago(chance, 1, 300) for _ in range(chance.randint(0, 6) if kind < 3 else chance.randint(1, 4))]
        number, least, most, cents = [(chance.randint(8, 16), 1, 90, (3_000, 9_000)), (chance.randint(1, 2), 400, 700, (1_000, 3_000)),
                                      (chance.randint(2, 4), 30, 120, (80_000, 200_000)), (0, 1, 1, (1, 1))][kind]
        orders = [(days_ago(chance, least, most), chance.randint(*cents)) for _ in range(number)]
        people[f"{prefix}{place}"] = Person(orders, visits, nps)
    return people


def likely(seed, count, prefix="c"):
    return invented(random.Random(seed), count, prefix)


# -- what ought to be -----------------------------------------------------------------------------------------------------

def local_days(instant, as_of, zone):
    """Local calendar days since an instant."""
    return (as_of.astimezone(zone).date() - instant.astimezone(zone).date()).days


def value(person, field, as_of=facts.AS_OF, zone=UTC):
    """What a field says of a customer, as features count it; None: nothing."""
    times = [at for at, _ in person.orders]
    match field:
        case "orders":
            return len(times)
        case "net_revenue":
            return sum(cents for _, cents in person.orders) / 100
        case "purchase_days":
            return len({at.astimezone(zone).date() for at in times})
        case "last_order_at" | "first_order_at":
            chosen = max if field.startswith("last") else min
            return local_days(chosen(times), as_of, zone) if times else None
        case "interactions":
            return len(person.visits)
        case "last_nps":
            return person.nps
    raise AssertionError(field)


def compressed(number):
    return math.copysign(math.log1p(abs(number)), number)


class Space:
    """How customers become points: learnt of those who were looked at, and kept for whoever comes."""

    def __init__(self, features, people, as_of=facts.AS_OF, zone=UTC):
        self.features = [(each["field"], each.get("linear", False)) for each in features]
        self.zone, self.scale = zone, []
        for place in range(len(self.features)):
            known = [told[place] for told in (self.compared(person, as_of) for person in people) if told[place] is not None]
            mean = math.fsum(known) / len(known) if known else 0
            self.scale.append((mean, math.sqrt(math.fsum((each - mean) ** 2 for each in known) / len(known)) if known else 0))

    def compared(self, person, as_of):
        """Values or their logarithms."""
        values = [value(person, field, as_of, self.zone) for field, _ in self.features]
        return [told if told is None or linear else compressed(told) for told, (_, linear) in zip(values, self.features)]

    def point(self, person, as_of=facts.AS_OF):
        """In deviations from the mean, at which what is not known stands."""
        return [0 if told is None or not deviation else (told - mean) / deviation
                for told, (mean, deviation) in zip(self.compared(person, as_of), self.scale)]

    def typical(self, place, deviations):
        """The value that stands so far from the mean."""
        mean, deviation = self.scale[place]
        there = mean + deviations * deviation
        return there if self.features[place][1] else math.copysign(math.expm1(abs(there)), there)


def squared(one, other):
    return math.fsum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def mean_of(points):
    return [math.fsum(column) / len(points) for column in zip(*points, strict=True)]


def centres(told):
    """{label: centre} of those that are told."""
    return {label: [each.deviations for each in of.centre] for label, of in zip(cluster_ids(told), told.clusters) if of.centre}


def nearest(point, of_centres):
    """The label of the nearest centre, of which there has to be one."""
    ranked = sorted((squared(point, centre), label) for label, centre in of_centres.items())
    assert ranked[0][0] < ranked[1][0] - 1e-9, "half way between two centres"
    return ranked[0][1]


def assert_nearest(held, people, space, of_centres, as_of=facts.AS_OF):
    """Everybody of {number: label} who is clustered has the label of the nearest centre."""
    wrong = {}
    for number, label in held.items():
        distances = {each: squared(space.point(people[number], as_of), centre) for each, centre in of_centres.items()}
        if label not in distances or distances[label] > min(distances.values()) + 1e-9:
            wrong[number] = (label, distances)
    assert wrong == {}


def assert_found(told, held, people, space):
    """What is told of k-means among {number: label} of everybody who was looked at, right after they were found: its centres, sizes, shares
    and inertia are those of its members, and nobody is nearer to another centre."""
    points = {number: space.point(people[number]) for number in held}
    members = {label: [points[number] for number, each in held.items() if each == label] for label in cluster_ids(told)}
    assert all(members.values()) and sum(map(len, members.values())) == len(held) == told.customers
    own = {label: mean_of(those) for label, those in members.items()}
    for label, each in zip(cluster_ids(told), told.clusters):
        assert (each.size, each.share) == (len(members[label]), pytest.approx(len(members[label]) / len(held)))
        assert bool(each.centre) == (each.size >= TOLD)
        for place, coordinate in enumerate(each.centre):
            assert coordinate.field == space.features[place][0]
            assert coordinate.deviations == pytest.approx(own[label][place], abs=1e-9), (label, coordinate)
            assert coordinate.typical_value == pytest.approx(space.typical(place, own[label][place]), rel=1e-9, abs=1e-9), (label, coordinate)
    assert_nearest(held, people, space, own)
    assert told.inertia == pytest.approx(math.fsum(squared(points[number], own[label]) for number, label in held.items()), rel=1e-9, abs=1e-9)


def is_falling(numbers):
    return all(later < before for before, later in pairwise(numbers))


def zone_of(name):
    return ZoneInfo(name)


def at(text):
    return datetime.fromisoformat(text)
