"""Clusters as they are found: by the nearest centre or the most probable ellipsoid, how many, and the factors behind fields."""
import itertools
import math
import random
import uuid
from types import SimpleNamespace

import pytest

from support import clusters, facts, label_sets, questions
from support.clusters import MIXTURE, REST, Person, Space, by
from support.refusals import FAILED_PRECONDITION

ZONE = "Asia/Shanghai"
ALL = ("orders", "net_revenue", "last_order_at", "interactions", "last_nps")
TRIED = {"as they are by default": by(*ALL), "as they are": by(*ALL, linear=ALL),
         "both": by("net_revenue", "last_order_at", "first_order_at", linear=["last_order_at"]),
         "one alone": by("last_order_at"), "days": by("purchase_days", "last_nps", "interactions", linear=["last_nps"])}


@pytest.fixture(scope="module")
def town(shared):
    """Customers whom the tests of this file only read, where it is eight hours later."""
    admin = clusters.new_tenant(shared, "town", time_zone=ZONE)
    people = clusters.take_in(admin, clusters.likely(1, 160))
    return SimpleNamespace(suite=shared, admin=admin, people=people, zone=clusters.zone_of(ZONE))


@pytest.fixture
def new(request):
    """The id of a set that no other test uses, and that is gone afterwards: a tenant has few."""
    set_id = f"s{uuid.uuid4().hex[:12]}"
    yield set_id
    admin = request.getfixturevalue("town").admin
    if set_id in label_sets.listed(admin):
        label_sets.delete(admin, set_id)


def space_of(town, features, people=None):
    return Space(features, (people or town.people).values(), zone=town.zone)


# -- the nearest centre ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("tried", TRIED)
def everybody_has_the_label_of_the_nearest_centre(town, new, tried, count):
    features = TRIED[tried]
    drafted = clusters.fit(town.admin, new, features, clusters=count)
    assert (drafted.name, drafted.draft, drafted.customers) == (clusters.clustering_of(new), True, len(town.people))
    assert [(each.field, each.linear) for each in drafted.features] == [(each["field"], each.get("linear", False)) for each in features]
    assert [each.number for each in drafted.clusters] == list(range(1, count + 1))
    assert [each.size for each in drafted.clusters] == sorted((each.size for each in drafted.clusters), reverse=True)
    assert (drafted.fit_time.seconds, len(drafted.candidates)) == (facts.AS_OF.timestamp(), 0)
    label_sets.publish(town.admin, new, drafted.etag)
    told, held = clusters.get(town.admin, new), label_sets.held(town.admin, new)
    assert not told.draft and told.clusters == drafted.clusters
    assert held.keys() == town.people.keys() and set(held.values()) == set(clusters.cluster_ids(told))
    clusters.assert_found(told, held, town.people, space_of(town, features))
    assert all(each.moved == 0 for each in told.clusters)


def a_set_of_clusters_is_read_like_any_other(town, new):
    told = clusters.put_in_force(town.admin, new, ALL, clusters=3)
    made, held = label_sets.get(town.admin, new), label_sets.held(town.admin, new)
    labels = [*clusters.cluster_ids(told), REST]
    assert (made.clustered, made.version, made.proved_cells, label_sets.ids(made.labels)) == (True, 1, 0, labels)
    assert not any(each.expression or each.cells for each in made.labels) and made.etag == told.etag
    assert [each.title for each in made.labels[:-1]] == [each.title for each in told.clusters]
    assert [each.label for each in told.clusters] == [each.name for each in made.labels[:-1]]
    cents = {number: {"revenue_cents": sum(amount for _, amount in person.orders)} for number, person in town.people.items()}
    assert label_sets.distribution(town.admin, new) == label_sets.expected_distribution(cents, held, labels)
    for label in labels:
        assert label_sets.checked(town.admin, new, label, town.people) == {number for number, each in held.items() if each == label}
        rule = f'segment("{new}/{label}")'
        assert questions.preview(town.admin, rule).customers == sum(each == label for each in held.values())
    for number in list(held)[::17]:
        profile = town.admin.call("ProfileService/GetProfile", {"name": f"customers/{number}/profile"})
        assert [each for each in profile.labels if each.startswith(f"{label_sets.name_of(new)}/")] == [label_sets.name_of(new, held[number])]
    assert new in label_sets.listed(town.admin)


@pytest.mark.parametrize("rule,holds", [("orders > 0", lambda person: person.orders), ("!has(last_nps)", lambda person: person.nps is None)])
def who_does_not_match_the_rule_is_not_clustered(town, new, rule, holds):
    features = by("orders", "net_revenue", "last_order_at")
    told = clusters.put_in_force(town.admin, new, features, within=rule, clusters=3)
    within = {number: person for number, person in town.people.items() if holds(person)}
    held = label_sets.held(town.admin, new)
    assert told.within == rule and 0 < len(within) < len(town.people)
    assert {number for number, label in held.items() if label == REST} == town.people.keys() - within.keys()
    clusters.assert_found(told, {number: held[number] for number in within}, town.people, space_of(town, features, within))


def a_field_that_is_the_same_of_all_sets_nobody_apart(town, new):
    rule = "orders == 1"
    within = [person for person in town.people.values() if len(person.orders) == 1]
    told = clusters.put_in_force(town.admin, new, ("orders", "net_revenue"), within=rule, clusters=2)
    assert all(each.centre[0].deviations == 0 and each.centre[0].typical_value == pytest.approx(1) for each in told.clusters if each.centre)
    held = {number: label for number, label in label_sets.held(town.admin, new).items() if label != REST}
    clusters.assert_found(told, held, town.people, space_of(town, by("orders", "net_revenue"), dict(enumerate(within))))


def titles_say_what_sets_clusters_apart(town, new):
    """In the words of the field with the largest difference, which is first."""
    words = {"orders": ("many orders", "few orders"), "net_revenue": ("high net revenue", "low net revenue"),
             "last_order_at": ("last bought long ago", "bought recently")}
    for each in clusters.fit(town.admin, new, tuple(words), within="orders > 0", clusters=3).clusters:
        largest = max(each.centre, key=lambda coordinate: abs(coordinate.deviations))
        assert abs(largest.deviations) > 0.5
        assert each.description.startswith(words[largest.field][largest.deviations < 0]), each
        assert each.title.lower() == each.description.lower() and each.title[0].isupper()


def the_same_seed_finds_the_same_and_says_so(town, new):
    told = [clusters.fit(town.admin, f"{new}-{n}", ALL, clusters=4, seed=seed) for n, seed in enumerate((7, 7, -(2**63), 2**63 - 1))]
    for n in range(4):
        label_sets.delete(town.admin, f"{new}-{n}")
    plain = [[(each.number, each.size, [c.deviations for c in each.centre]) for each in of.clusters] for of in told]
    assert plain[0] == plain[1] and told[0].inertia == told[1].inertia
    assert [of.seed for of in told] == [7, 7, -(2**63), 2**63 - 1]
    # Of well separated kinds every seed finds the same, but for rounding.
    assert [of.inertia for of in told] == pytest.approx([told[0].inertia] * 4, rel=1e-6)


# -- how many -------------------------------------------------------------------------------------------------------------

def each_number_of_a_range_is_tried_and_a_good_one_is_taken(town, new):
    told = clusters.fit(town.admin, new, ("orders", "net_revenue", "last_order_at"))
    tried = {each.clusters: each for each in told.candidates}
    assert list(tried) == list(range(3, 9)) and clusters.is_falling([each.inertia for each in told.candidates])
    taken, best = tried[len(told.clusters)], max(told.candidates, key=lambda each: each.silhouette)
    assert taken.silhouette >= best.silhouette - 0.05 and all(-1 <= each.silhouette <= 1 for each in told.candidates)
    assert told.inertia == pytest.approx(taken.inertia, rel=1e-9)
    told = clusters.fit(town.admin, new, ("orders", "net_revenue"), min_clusters=2, max_clusters=2)
    assert [each.clusters for each in told.candidates] == [2] and len(told.clusters) == 2
    for fields, expected in (({"min_clusters": 10}, [10]), ({"max_clusters": 2}, [2]), ({"min_clusters": 4, "max_clusters": 6}, [4, 5, 6])):
        assert [each.clusters for each in clusters.fit(town.admin, new, ("net_revenue",), **fields).candidates] == expected


def the_silhouette_of_each_number_is_that_of_its_clusters(town, new):
    features = by("orders", "net_revenue", "last_order_at")
    tried = clusters.fit(town.admin, new, features, min_clusters=2, max_clusters=5).candidates
    space = space_of(town, features)
    for each in tried:
        told = clusters.put_in_force(town.admin, f"{new}-{each.clusters}", features, clusters=each.clusters)
        held = label_sets.held(town.admin, f"{new}-{each.clusters}")
        label_sets.delete(town.admin, f"{new}-{each.clusters}")
        assert told.inertia == pytest.approx(each.inertia, rel=1e-9)
        points = {number: space.point(town.people[number]) for number in held}
        assert each.silhouette == pytest.approx(silhouette(points, held), abs=1e-9), each.clusters


def silhouette(points, held):
    """The mean of (b - a) / max(a, b), by all pairs."""
    members = {label: [number for number, each in held.items() if each == label] for label in set(held.values())}
    total = 0
    for number, own in held.items():
        means = {label: math.fsum(math.dist(points[number], points[other]) for other in those) / max(len(those) - (label == own), 1)
                 for label, those in members.items()}
        a, b = means.pop(own), min(means.values())
        total += (b - a) / max(a, b) if len(members[own]) > 1 else 0
    return total / len(held)


def blobs_are_told_apart_as_they_were_made(town, new):
    """Of kinds that are far apart, each is a cluster of its own, however they are looked for."""
    people, kinds = blobs()
    admin = clusters.new_tenant(town.suite, f"blobs-{new}")
    known = clusters.take_in(admin, people)
    kind = {number: kinds[next(key for key, each in people.items() if each is person)] for number, person in known.items()}
    for name, fields in (("k", {"clusters": 4}), ("chosen", {}), ("m", {"clusters": 4, "method": MIXTURE}), ("mc", {"method": MIXTURE})):
        told = clusters.put_in_force(admin, f"{name}-{new}", ("orders", "net_revenue"), **fields)
        held = label_sets.held(admin, f"{name}-{new}")
        assert len({(kind[number], label) for number, label in held.items()}) == 4 == len(told.clusters), name
        assert sorted(each.size for each in told.clusters) == [20, 25, 30, 35]
        if told.method == 2:
            space = Space(by("orders", "net_revenue"), known.values())
            members = [[space.point(known[number]) for number, each in held.items() if each == label] for label in clusters.cluster_ids(told)]
            assert told.log_likelihood == pytest.approx(math.fsum(likelihood_of(those, len(known)) for those in members), rel=1e-6)
            for each, those in zip(told.clusters, members):
                assert [coordinate.deviations for coordinate in each.centre] == pytest.approx(clusters.mean_of(those), abs=1e-6)


def likelihood_of(points, everybody):
    """The logarithm for the points of a cluster that nobody else could belong to: normal in two dimensions, thin but for a thousandth."""
    mean = clusters.mean_of(points)
    gaps = [(a - mean[0], b - mean[1]) for a, b in points]
    one, other = (math.fsum(gap[place] ** 2 for gap in gaps) / len(gaps) + 1e-3 for place in (0, 1))
    both = math.fsum(a * b for a, b in gaps) / len(gaps)
    volume = one * other - both ** 2
    squares = math.fsum(other * a * a - 2 * both * a * b + one * b * b for a, b in gaps) / volume
    return len(points) * (math.log(len(points) / everybody) - math.log(2 * math.pi) - math.log(volume) / 2) - squares / 2


def blobs():
    """{key: person} and {key: kind} of four kinds."""
    chance, people, kinds = random.Random(3), {}, {}
    for kind, (orders, cents, count) in enumerate([(1, 1_000, 20), (1, 900_000, 25), (24, 300, 30), (24, 200_000, 35)]):
        for place in range(count):
            key = f"{kind}-{place}"
            number = orders if orders == 1 else orders + chance.randint(0, 3)
            people[key] = Person([(clusters.days_ago(chance, 1, 300), round(cents * chance.uniform(0.8, 1.25))) for _ in range(number)])
            kinds[key] = kind
    return people, kinds


# -- mixtures -------------------------------------------------------------------------------------------------------------

def a_mixture_tells_how_likely_it_is_and_what_its_freedom_costs(town, new):
    features = ("orders", "net_revenue", "interactions")
    for count in (2, 3, 4):
        told = clusters.fit(town.admin, f"{new}", features, clusters=count, method=MIXTURE)
        free = count - 1 + count * (3 + 3 * 4 // 2)
        assert told.bic == pytest.approx(free * math.log(len(town.people)) - 2 * told.log_likelihood, rel=1e-12)
        assert told.inertia == 0 and math.isfinite(told.log_likelihood) and told.method == 2
        assert sum(each.size for each in told.clusters) == told.customers == len(town.people)
        # It is likelier than one ball around the mean, from which it could not get worse.
        alone = -len(town.people) / 2 * (3 * math.log(2 * math.pi) + 3)
        assert told.log_likelihood > alone
    held = assert_mixture_counts(town, new)
    assert len(held) == len(town.people)


def assert_mixture_counts(town, new):
    told = label_sets.publish(town.admin, new)
    held = label_sets.held(town.admin, new)
    sizes = {label: sum(each == label for each in held.values()) for label in set(held.values())}
    assert {f"cluster-{each.number}": each.size for each in clusters.get(town.admin, new).clusters if each.size} == sizes
    assert told.clustered
    return held


# -- factors --------------------------------------------------------------------------------------------------------------

def correlations(points):
    """Of columns of mean 0 and deviation 1."""
    columns = list(zip(*points, strict=True))
    return [[math.fsum(a * b for a, b in zip(one, other)) / len(points) for other in columns] for one in columns]


@pytest.mark.parametrize("tried", ["log", "linear", "within"])
def components_come_to_the_correlations_and_factors_to_what_fields_share(town, tried):
    within = "orders > 0" if tried == "within" else ""
    people = {number: person for number, person in town.people.items() if person.orders or not within}
    features = by(*ALL, "purchase_days", linear=ALL if tried == "linear" else ())
    told, space = clusters.factors(town.admin, features, within=within), space_of(town, features, people)
    of = correlations([space.point(person) for person in people.values()])
    # What is not known stands at the mean, and varies less.
    scale = [math.sqrt(of[place][place]) for place in range(len(of))]
    of = [[of[a][b] / (scale[a] * scale[b]) for b in range(len(of))] for a in range(len(of))]
    names = [each["field"] for each in features]
    assert told.customers == len(people) and len(told.components) == len(names)
    loadings = [[each.loading for each in component.loadings] for component in told.components]
    assert all([each.field for each in one.loadings] == names for one in [*told.components, *told.factors])
    for a, b in itertools.product(range(len(names)), repeat=2):
        assert math.fsum(one[a] * one[b] for one in loadings) == pytest.approx(of[a][b], abs=1e-8), (names[a], names[b])
    assert math.fsum(one.explained for one in told.components) == pytest.approx(1)
    for one in [*told.components, *told.factors]:
        assert one.explained == pytest.approx(math.fsum(each.loading ** 2 for each in one.loadings) / len(names), abs=1e-9)
    # Components are at right angles.
    for one, other in itertools.combinations(loadings, 2):
        assert math.fsum(a * b for a, b in zip(one, other)) == pytest.approx(0, abs=1e-8)
    for kind in (told.components, told.factors):
        assert [each.explained for each in kind] == sorted((each.explained for each in kind), reverse=True)
    above = sum(each.explained * len(names) > 1 for each in told.components)
    assert len(told.factors) == min(above, 3), "of six fields three are determined"
    assert [each.field for each in told.uniquenesses] == names
    for place, unique in enumerate(told.uniquenesses):
        shared = math.fsum(one.loadings[place].loading ** 2 for one in told.factors)
        # Some of the variance is left to each field, although factors may account for all of it.
        assert abs(shared + unique.loading - 1) < (1e-6 if unique.loading > 0.005 else 0.005 + 1e-9), unique.field
        assert 0.005 <= unique.loading <= 1 and shared <= 1 + 1e-9, unique.field
    assert_most_likely(of, [[each.loading for each in one.loadings] for one in told.factors], [each.loading for each in told.uniquenesses])
    assert_turned([[each.loading for each in one.loadings] for one in told.factors])


def assert_most_likely(of, loadings, unique):
    """No other loadings are likelier with these uniquenesses: R U^-1 L = L (I + L' U^-1 L), however L is turned (Lawley and Maxwell 1971)."""
    fields, count = range(len(of)), range(len(loadings))
    inner = [[(j == k) + math.fsum(loadings[j][b] * loadings[k][b] / unique[b] for b in fields) for k in count] for j in count]
    for a, k in itertools.product(fields, count):
        left = math.fsum(of[a][b] * loadings[k][b] / unique[b] for b in fields)
        assert left == pytest.approx(math.fsum(loadings[j][a] * inner[j][k] for j in count), abs=1e-4 / min(unique)), (a, k)


def assert_turned(loadings):
    """No other turn of two factors makes the squares of their loadings vary more, fields counting alike (Kaiser 1958)."""
    lengths = [math.sqrt(math.fsum(one[place] ** 2 for one in loadings)) for place in range(len(loadings[0]))]
    for one, other in itertools.combinations([[each / length for each, length in zip(of, lengths)] for of in loadings], 2):
        for degrees in range(1, 90):
            cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            turned = [cosine * a + sine * b for a, b in zip(one, other)], [cosine * b - sine * a for a, b in zip(one, other)]
            assert sum(map(variance_of_squares, turned)) <= sum(map(variance_of_squares, (one, other))) + 1e-9, degrees


def variance_of_squares(values):
    squares = [each ** 2 for each in values]
    return math.fsum(each ** 2 for each in squares) / len(squares) - (math.fsum(squares) / len(squares)) ** 2


def as_many_factors_are_found_as_are_asked_for_and_determined(town):
    for fields, most in ((ALL[:3], 1), (ALL, 2), ((*ALL, "purchase_days"), 3)):
        for count in range(1, most + 1):
            assert len(clusters.factors(town.admin, fields, factors=count).factors) == count
        asked = {"features": by(*fields), "factors": most + 1}
        town.admin.refused("ClusterService/FindFactors", asked).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def fields_that_do_not_vary_have_no_factor(town):
    told = clusters.factors(town.admin, ("orders", "net_revenue", "interactions", "last_order_at"), within="orders == 1")
    assert {each.field for each in told.uniquenesses} == {"net_revenue", "interactions", "last_order_at"} and len(told.components) == 3
    asked = {"features": by("orders", "purchase_days", "net_revenue"), "within": "orders == 1"}
    town.admin.refused("ClusterService/FindFactors", asked).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def finding_factors_keeps_nothing_and_is_the_same_again(town):
    before = label_sets.listed(town.admin)
    one, other = (clusters.factors(town.admin, ALL, seed=5) for _ in range(2))
    assert questions.without_watermark(one) == questions.without_watermark(other) and one.watermark.facts_position
    assert label_sets.listed(town.admin) == before
