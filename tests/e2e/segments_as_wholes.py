"""Segments as wholes: how they overlap, in what they differ, what they are as targets, how large they were and who went where."""
import math
from collections import Counter
from datetime import datetime
from decimal import Decimal

import pytest

from segment_previews import INSTANT, INT, MONEY, TEXT, cents, kinds_of, town, value_of  # noqa: F401
from support import facts, policies, questions, segments
from support.refusals import PERMISSION_DENIED

SERVICE = "AnalysisService"
MOST_GROUPS, LARGEST_EFFECT = 10, 1_000
LOST = "labelSets/rfm-11/labels/lost"


def overlap(client, *parents):
    return client.call(f"{SERVICE}/GetOverlapMatrix", {"parents": list(parents)})


def compare(client, first, second="", fields=()):
    return client.call(f"{SERVICE}/CompareSegments", {"first": first, "second": second, "fields": list(fields)})


def rank(client, *parents, **fields):
    return client.call(f"{SERVICE}/RankTargets", {"parents": list(parents)} | fields)


def sizes(client, parent, **fields):
    return client.call(f"{SERVICE}/ListSegmentSizes", {"parent": parent} | fields)


def migration(client, name, start, end=None):
    times = {"start_time": facts.text_of(start)} | ({"end_time": facts.text_of(end)} if end else {})
    return client.call(f"{SERVICE}/GetMigration", {"name": name} | times)


def share(part, whole):
    return part / whole if whole else 0


@pytest.fixture(scope="module")
def many(town):  # noqa: F811
    """Segments of every kind, a label among them, and their members by name."""
    admin = town.admin
    rules = {"often": "orders >= 3", "north": 'region == "N"', "nobody": "false", "all": "true", "seldom": "orders <= 1",
             "rich": "net_revenue >= 300"}
    names = [segments.create(admin, f"whole-{word}", rule).name for word, rule in rules.items()]
    names.append(segments.create(admin, "whole-draft", "true", draft_only=True).name)
    listed = segments.static(admin, "whole-listed")
    segments.add(admin, listed.name, segments.by_number(town.records)[::3])
    names += [listed.name, *questions.labels(admin).values()]
    return {name: set(segments.members(admin, name)) for name in names}


# -- overlaps -------------------------------------------------------------------------------------------------------------

def a_matrix_tells_of_every_ordered_pair_how_much_it_shares(town, many):  # noqa: F811
    parents = list(many)
    told = overlap(town.admin, *parents)
    assert list(told.members) == [len(many[each]) for each in parents] and told.watermark.facts_position
    assert [(each.first, each.second) for each in told.cells] == [(a, b) for a in parents for b in parents if a != b]
    for each in told.cells:
        first, second = many[each.first], many[each.second]
        assert each.shared == len(first & second), each
        assert each.share_of_first == pytest.approx(share(each.shared, len(first)), abs=1e-12)
        assert each.jaccard == pytest.approx(share(each.shared, len(first | second)), abs=1e-12)
    assert any(0 < each.jaccard < 1 for each in told.cells) and len(told.cells) == len(parents) * (len(parents) - 1)


def a_role_is_told_overlaps_of_its_own_customers_alone(town, many):  # noqa: F811
    client, parents = scoped(town), list(many)
    mine = {name for name, record in town.records.items() if record.attributes.region == "N"}
    told = overlap(client, *parents)
    assert list(told.members) == [len(many[each] & mine) for each in parents]
    assert all(each.shared == len(many[each.first] & many[each.second] & mine) for each in told.cells)
    seen = compare(client, "segments/whole-often", fields=["orders"])
    often = many["segments/whole-often"] & mine
    assert (seen.first_members, seen.second_members, seen.shared) == (len(often), len(mine - often), 0)
    ranked = rank(client, *parents).targets
    assert {each.parent: each.members for each in ranked} == {each: len(many[each] & mine) for each in parents}
    assert {(each.growth, each.HasField("growth_since")) for each in ranked} == {(1, False)}
    client.refused(f"{SERVICE}/ListSegmentSizes", {"parent": "segments/whole-often"}).must_be(PERMISSION_DENIED, "METHOD_DENIED")


def scoped(town):  # noqa: F811
    role = policies.role_like(town.admin, "admin", "northern", without=policies.TAKING_IN, row_scope='region == "N"')
    policies.publish(town.admin, role)
    return policies.client_of(town.suite, "northern")


# -- comparisons ----------------------------------------------------------------------------------------------------------

def quantile(values, hundredths):
    """The lowest value that so many hundredths of them are at most."""
    return next(value for place, value in enumerate(values, 1) if place * 100 >= hundredths * len(values))


def plain(value):
    """A number for what is compared: of instants seconds."""
    return value.timestamp() if isinstance(value, datetime) else float(value)


def assert_summary(told, kind, values):
    """What is told of those with a value."""
    values = sorted(value for value in values if value is not None)
    assert told.customers == len(values)
    if kind == TEXT:
        counted = Counter(values)
        assert [each.customers for each in told.groups] == sorted(counted.values(), reverse=True)[:MOST_GROUPS]
        assert all(each.customers == counted[each.value] and not each.highest for each in told.groups)
        assert (told.mean, told.p10, told.median, told.p90) == ("",) * 4
        return
    assert not told.groups
    if not values:
        assert (told.mean, told.p10, told.median, told.p90) == ("",) * 4
        return
    parse = {INT: int, MONEY: Decimal, INSTANT: datetime.fromisoformat}[kind]
    assert [parse(each) for each in (told.p10, told.median, told.p90)] == [quantile(values, each) for each in (10, 50, 90)]
    mean = math.fsum(map(plain, values)) / len(values)
    if kind == INSTANT:
        assert plain(parse(told.mean)) == pytest.approx(mean, abs=1e-5)
    else:
        assert len(told.mean.partition(".")[2]) == 2 and float(told.mean) == pytest.approx(mean, abs=0.005 + 1e-9)


def effect_of(kind, first, second):
    """How much values differ, and whether the first have the higher mean."""
    if kind == TEXT:
        a, b = Counter(first), Counter(second)
        if not first or not second:
            return 0, False
        return sum(abs(share(a[each], len(first)) - share(b[each], len(second))) for each in a.keys() | b.keys()), False
    a, b = ([plain(value) for value in values if value is not None] for values in (first, second))
    if not a or not b:
        return 0, False
    means = [math.fsum(values) / len(values) for values in (a, b)]
    squares = math.fsum((value - mean) ** 2 for values, mean in zip((a, b), means) for value in values)
    difference, deviation = abs(means[0] - means[1]), math.sqrt(squares / (len(a) + len(b)))
    return (min(difference / deviation, LARGEST_EFFECT) if deviation else LARGEST_EFFECT if difference else 0), means[0] > means[1]


def assert_compared(town, told, first, second, fields):  # noqa: F811
    kinds = kinds_of(town.admin)
    assert (told.first_members, told.second_members, told.shared) == (len(first), len(second), len(first & second))
    assert sorted(each.field for each in told.fields) == sorted(fields)
    effects = [each.effect for each in told.fields]
    assert effects == sorted(effects, reverse=True)
    wrong = []
    for each in told.fields:
        values = [[value_of(town, each.field, name) for name in of] for of in (first, second)]
        effect, higher = effect_of(kinds[each.field], *values)
        assert each.effect == pytest.approx(effect, rel=1e-6, abs=1e-6), each.field
        assert each.first_is_higher == higher or effect < 1e-6, each.field
        for side, of in zip(("first", "second"), values):
            try:
                assert_summary(getattr(each, side), kinds[each.field], of)
            except AssertionError as error:
                wrong.append((each.field, side, str(error)[:200]))
    assert wrong == []
    return effects


def two_segments_are_compared_in_all_fields_as_their_records_do(town, many):  # noqa: F811
    fields = [each for each in kinds_of(town.admin)]
    first, second = "segments/whole-often", "segments/whole-seldom"
    told = compare(town.admin, first, second)
    effects = assert_compared(town, told, many[first], many[second], fields)
    assert effects[0] > 1 and told.watermark.facts_position


def segments_that_share_members_are_compared_too(town, many):  # noqa: F811
    asked = ["owner", "net_revenue", "last_order_at", "grade.band", "orders_90", "region", "department"]
    for first, second in [("segments/whole-rich", "segments/whole-listed"), ("segments/whole-all", LOST), (LOST, "segments/whole-all")]:
        assert_compared(town, compare(town.admin, first, second, asked), many[first], many[second], asked)


def without_a_second_everybody_else_is_compared(town, many):  # noqa: F811
    asked = ["orders", "net_revenue", "last_order_at", "region", "owner", "stage", "last_nps"]
    for first in ("segments/whole-north", "segments/whole-all", "segments/whole-nobody", LOST):
        assert_compared(town, compare(town.admin, first, fields=asked), many[first], town.records.keys() - many[first], asked)


def values_that_are_the_same_do_not_differ_however_many_have_them(fresh):
    """Instants are large numbers: what is lost of their sum must not become a difference."""
    admin = fresh.client("admin")
    at = "1997-03-05T07:11:13.123457Z"
    rows = [facts.order(f"{kind}-{n}", "o", order_time=at, cents=cents) for kind, cents, count in (("a", 1_000, 11), ("b", 3_000, 13))
            for n in range(count)]
    segments.take_in(admin, *rows)
    segments.create(admin, "a", "net_revenue == 10.00")
    told = {each.field: each for each in compare(admin, "segments/a", fields=["first_order_at", "net_revenue", "orders"]).fields}
    assert told["net_revenue"].effect == LARGEST_EFFECT and not told["net_revenue"].first_is_higher
    assert (told["orders"].effect, told["orders"].first_is_higher) == (0, False)
    assert {getattr(told["first_order_at"], side).mean for side in ("first", "second")} == {at}
    assert (told["first_order_at"].effect, told["first_order_at"].first_is_higher) == (0, False)


def who_reads_no_money_compares_the_other_fields(town):  # noqa: F811
    policies.publish(town.admin, policies.role_like(town.admin, "analyst", "moneyless", forms={"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}))
    client = policies.client_of(town.suite, "moneyless")
    usable = {each.name for each in client.call("ExpressionService/ListFields").fields if each.usable}
    segments.create(town.admin, "whole-customers", 'kind == "customer"')
    told = compare(client, "segments/whole-customers")
    assert {each.field for each in told.fields} == usable < kinds_of(town.admin).keys()
    request = {"first": "segments/whole-customers", "fields": ["orders", "net_revenue"]}
    client.refused(f"{SERVICE}/CompareSegments", request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    request = {"parents": ["segments/whole-customers"]}
    client.refused(f"{SERVICE}/RankTargets", request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    # Nor what somebody else made of money.
    for method, fields in (("GetOverlapMatrix", {"parents": ["segments/whole-customers", "segments/whole-rich"]}),
                           ("CompareSegments", {"first": "segments/whole-rich"}), ("ListSegmentSizes", {"parent": "segments/whole-rich"})):
        client.refused(f"{SERVICE}/{method}", fields).must_be(PERMISSION_DENIED, "FIELD_DENIED")


# -- targets --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("purpose", [0, 1, 2, 5])
def targets_are_ranked_by_what_those_who_can_be_reached_are_worth(town, many, purpose):  # noqa: F811
    told = rank(town.admin, *many, purpose=purpose)
    scores = [facts.cents_of(each.score) for each in told.targets]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0 and told.watermark.facts_position
    assert {each.parent for each in told.targets} == many.keys() and len(told.targets) == len(many)
    for each, score in zip(told.targets, scores):
        members = many[each.parent]
        revenue = sum(window_revenue(town.records[name]) for name in members)
        consenting = sum((purpose or 1) in town.records[name].attributes.consents for name in members)
        assert (each.members, each.growth, each.HasField("growth_since")) == (len(members), 1, False)
        assert each.reach == pytest.approx(share(consenting, len(members)), abs=1e-12)
        assert facts.cents_of(each.mean_revenue) == pytest.approx(share(revenue, len(members)), abs=0.5001)
        assert score == pytest.approx(revenue * share(consenting, len(members)), abs=0.5001), each.parent


def window_revenue(record):
    return next(cents(each, "revenue") for each in record.features.windows if each.days == 365)
