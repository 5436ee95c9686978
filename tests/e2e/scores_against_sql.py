"""Every scoring method against SQL: PostgreSQL scores the same features in its own words, and each customer has to have the same score.

Features are read from the service that computes them, which is not the one that scores them.
"""
import csv
import io
from contextlib import closing
from types import SimpleNamespace

import pytest

from support import facts, questions, quintile, score_models
from support.score_models import dimension, mapped
from support.watching import watch

BUYERS, INVENTED, SILENT = 1_300, 101, 99
TOWN = BUYERS + INVENTED + SILENT
COLUMNS = {
    "last_order_at": "date", "first_order_at": "date", "orders": "bigint", "revenue": "bigint", "average_order_value": "bigint",
    "revenue_90": "bigint", "gap_mean_days": "numeric", "last_nps": "bigint", "csat_mean": "numeric", "interactions": "bigint",
    "open_tickets": "bigint", "channel": "text"}
# {feature: (its value in SQL, bins, cut-offs of FIXED, the score of who has none)}
FEATURES = {
    "days_since(last_order_at)": ("DATE '1998-07-01' - last_order_at", 5, [30, 90, 180, 365], 0),
    "days_since(first_order_at)": ("DATE '1998-07-01' - first_order_at", 10, [60, 120, 180, 240, 300, 360, 420, 480, 540], 1),
    "orders": ("orders", 5, [2, 3, 5, 10], 0),
    "revenue": ("revenue", 7, [0, 1_177, 2_000, 5_000, 10_000, 50_000], 0),
    "average_order_value": ("average_order_value", 9, [1_000, 1_177, 1_200, 1_500, 2_000, 3_000, 5_000, 10_000], 0),
    "revenue_90": ("revenue_90", 5, [-20_000, -19_999, 0, 1], 2),
    "gap_mean_days": ("round(1000 * gap_mean_days)", 5, [10_000, 30_000, 60_500, 120_000], 3),
    "last_nps": ("last_nps", 3, [7, 9], 2),
    "csat_mean": ("round(1000 * csat_mean)", 5, [2_000, 3_333, 4_000, 4_667], 0),
    "interactions": ("interactions", 5, [1, 2, 3, 4], 0),
    "open_tickets": ("open_tickets", 2, [1], 0),
}


# -- the town -------------------------------------------------------------------------------------------------------------

def invented(n):
    """A customer who was given back more in a quarter than it bought in it, or as much as it ever bought; each is asked what it thinks."""
    customer = f"invented-{n}"
    yield facts.order(customer, "o", days=200 + n % 3, cents=30_000, channel="phone")
    yield facts.refund(customer, "r", days=10, cents=(20_000, 30_000, 19_999)[n % 3])
    if n % 2:
        yield facts.order(customer, "later", days=5, cents=n % 7 * 1_000, channel="phone")
    for place, score in enumerate((1 + n % 5, 1 + n % 4, 5)[:1 + n % 3]):
        yield facts.feedback(customer, f"f{place}", days=20 - place, score=score)
    if n < 30:
        yield facts.feedback(customer, "nps", kind="FEEDBACK_KIND_NPS", score=n % 11)


def silent(n):
    """A customer who has never bought, and mostly has come by."""
    visits = [facts.interaction(f"silent-{n}", f"i{place}", days=1 + place) for place in range(n % 6)]
    return visits or [facts.customer(f"silent-{n}")]


def columns_of(features):
    """What SQL is told of a customer; None: nothing."""
    present = {name: getattr(features, name) for name in ("gap_mean_days", "last_nps", "csat_mean") if features.HasField(name)}
    present |= {"interactions": features.interactions, "open_tickets": features.open_tickets, "channel": features.primary_channel or None}
    if features.orders:
        quarter = next(window for window in features.windows if window.days == 90)
        present |= {
            "last_order_at": features.last_order_time.ToDatetime().date(), "first_order_at": features.first_order_time.ToDatetime().date(),
            "orders": features.orders, "revenue": facts.cents_of(features.revenue), "revenue_90": facts.cents_of(quarter.revenue),
            "average_order_value": facts.cents_of(features.average_order_value)}
    return [present.get(name) for name in COLUMNS]


def features_of_everybody(client):
    """{number: Features}"""
    with watch(client, "FeatureService/WatchFeatures") as watcher:
        watcher.until_caught_up()
        return {record.customer_id: record.features for answer in list(watcher.responses) for record in answer.records}


@pytest.fixture(scope="module")
def town(shared):
    """A suite that has customers, and a connection to PostgreSQL that has a table of their features."""
    admin = shared.client("admin")
    rows = [row for n in range(INVENTED) for row in invented(n)] + [row for n in range(SILENT) for row in silent(n)]
    questions.take_in(admin, *rows)
    score_models.take_in(admin, score_models.purchases_of(0, BUYERS))
    features = features_of_everybody(admin)
    lines = io.StringIO()
    csv.writer(lines).writerows([number, *columns_of(of)] for number, of in sorted(features.items()))
    lines.seek(0)
    with closing(quintile.connect(quintile.postgres_url())) as sql:
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        sql.run(f"CREATE TEMPORARY TABLE customer (number bigint PRIMARY KEY, {columns})")
        sql.run("COPY customer FROM STDIN WITH (FORMAT csv)", stream=lines)
        yield SimpleNamespace(admin=admin, sql=sql, numbers=sorted(features))


# -- in the words of SQL --------------------------------------------------------------------------------------------------

def fixed(bins, higher, cut_offs):
    """From the best score on: at least so much, or at most."""
    ordered, sign = (reversed(cut_offs), ">=") if higher else (cut_offs, "<=")
    cases = " ".join(f"WHEN v {sign} {cut_off} THEN {score}" for cut_off, score in zip(ordered, range(bins, 1, -1)))
    return f"CASE {cases} ELSE 1 END"


def by_value(bins, higher, _):
    """What doubles add to an interpolated quantile is rounded off."""
    quantiles = (f"(SELECT round((percentile_cont({k}::float8 / {bins}) WITHIN GROUP (ORDER BY v))::numeric, 6) FROM valued)"
                 for k in range(1, bins))
    above = " + ".join(f"(v > {quantile})::int" for quantile in quantiles)
    return f"1 + {above}" if higher else f"{bins} - ({above})"


def by_share(bins, higher, _):
    """The same of shares."""
    return f"ceil(round(({bins} * cume_dist() OVER (ORDER BY v {'ASC' if higher else 'DESC'}))::numeric, 9))"


def by_percent_rank(bins, higher, _):
    """Who is better than all others would have one more."""
    rank = f"percent_rank() OVER (ORDER BY v {'ASC' if higher else 'DESC'})"
    return f"least(1 + floor(round(({bins} * {rank})::numeric, 9)), {bins})"


def by_rank(bins, higher, _):
    return f"ntile({bins}) OVER (ORDER BY v {'ASC' if higher else 'DESC'}, number)"


def by_width(bins, higher, _):
    """The greatest value is in the last bucket, and where all are alike that is every one."""
    ends = "(SELECT min(v)::numeric FROM valued), (SELECT max(v)::numeric FROM valued)"
    alike = "(SELECT min(v) = max(v) FROM valued)"
    bucket = f"CASE WHEN {alike} THEN {bins} ELSE least(width_bucket(v::numeric, {ends}, {bins}), {bins}) END"
    return bucket if higher else f"{bins + 1} - {bucket}"


METHODS = {"FIXED": ("FIXED", None, fixed), "VALUE": ("QUANTILE", "VALUE", by_value), "CUME_DIST": ("QUANTILE", "CUME_DIST", by_share),
           "PERCENT_RANK": ("QUANTILE", "PERCENT_RANK", by_percent_rank), "NTILE": ("QUANTILE", "NTILE", by_rank),
           "RANGE": ("RANGE", None, by_width)}


def query(value, score, missing):
    """The query of everybody's number and score, by the SQL of a value and that of its score; 0: none."""
    return (f"WITH valued AS (SELECT number, {value} AS v FROM customer WHERE {value} IS NOT NULL), "
            f"scored AS (SELECT number, {score} AS score FROM valued) "
            f"SELECT number, coalesce(score, {missing})::int AS score FROM customer LEFT JOIN scored USING (number)")


def by_sql(town, value, score, missing):
    """{number: score} of everybody; 0: none."""
    return dict(map(tuple, town.sql.run(query(value, score, missing))))


def a_dimension(name, feature, method, better):
    """A feature's dimension by a method."""
    scoring, ties, _ = METHODS[method]
    _, bins, cut_offs, missing = FEATURES[feature]
    fields = {"cut_offs": cut_offs} if method == "FIXED" else {"bins": bins}
    return dimension(name, feature, scoring, better, ties, missing_score=missing, **fields)


def words_of(feature, method, better):
    """The SQL of a feature's value and of its score by a method, and the score of who has none."""
    value, bins, cut_offs, missing = FEATURES[feature]
    return value, METHODS[method][2](bins, better == "HIGHER", cut_offs), missing


def expected(town, feature, method, better):
    return by_sql(town, *words_of(feature, method, better))


# -- the tests ------------------------------------------------------------------------------------------------------------

def the_town_has_what_is_hard_to_score(town):
    """Ties, missing values, negative money, values that are all alike; quantiles that are values and such that lie between; and whole shares."""
    [told] = town.sql.run("SELECT count(*), count(orders), count(last_nps), count(DISTINCT open_tickets), count(*) FILTER (WHERE orders = 1), "
                          "count(*) FILTER (WHERE revenue_90 = -20000), count(gap_mean_days) FROM customer")
    everybody, buyers, asked, tickets, once, refunded, returning = told
    assert (everybody, buyers, asked, tickets) == (TOWN, BUYERS + INVENTED, 30, 1)
    assert once > BUYERS / 3 and refunded > 10 and returning < buyers
    # The quantiles k / bins of type 7 are at (n - 1) k / bins.
    assert (buyers - 1) % FEATURES["revenue"][1] == 0 != (buyers - 1) % FEATURES["average_order_value"][1]
    assert everybody % FEATURES["interactions"][1] == 0


@pytest.mark.parametrize("better", ["HIGHER", "LOWER"])
@pytest.mark.parametrize("method", ["FIXED", "VALUE", "CUME_DIST", "PERCENT_RANK", "RANGE"])
def everybody_has_the_scores_that_sql_gives(town, method, better):
    model_id = f"{method}-{better}".lower().replace("_", "-")
    dimensions = [a_dimension(f"d{place}", feature, method, better) for place, feature in enumerate(FEATURES)]
    made = score_models.create(town.admin, model_id, *dimensions)
    seen = score_models.preview(town.admin, made.name)
    score_models.publish(town.admin, made.name, seen.version.etag)
    told = score_models.under(score_models.values(town.admin, town.numbers), model_id)
    assert len(told) == TOWN
    for place, feature in enumerate(FEATURES):
        scores = expected(town, feature, method, better)
        assert {number: each[place] for number, each in told.items()} == scores, feature
        counts = [list(scores.values()).count(score) for score in range(FEATURES[feature][1] + 1)]
        assert list(seen.dimensions[f"d{place}"].customers) == counts, feature


@pytest.mark.parametrize("better", ["HIGHER", "LOWER"])
@pytest.mark.parametrize("feature", FEATURES)
def a_preview_ranks_everybody_as_sql_does(town, feature, better):
    made = score_models.create(town.admin, "ntile", a_dimension("d", feature, "NTILE", better))
    # Of one dimension, the place of the cell is the score.
    told = score_models.preview(town.admin, made.name, include_cells=True).cells
    assert {number: told.get(number, 0) for number in town.numbers} == expected(town, feature, "NTILE", better)


def categories_have_the_points_that_sql_gives(town):
    """Two of the three channels have points, with a score of the others and of who has none, or without."""
    points, cases = {"store": 4, "online": 1}, [(other, missing) for other in (0, 2) for missing in (0, 3)]
    dimensions = [mapped(f"d{other}{missing}", "channel", points, 4, other_score=other, missing_score=missing) for other, missing in cases]
    score_models.put_in_force(town.admin, "map", *dimensions)
    told = score_models.under(score_models.values(town.admin, town.numbers), "map")
    for place, (other, missing) in enumerate(cases):
        score = f"CASE v WHEN 'store' THEN 4 WHEN 'online' THEN 1 ELSE {other or missing} END"
        assert {number: each[place] for number, each in told.items()} == by_sql(town, "channel", score, missing), (other, missing)


# What a grade is made of: (feature, method, what is better, weight). Of 5, 7, 5, 9, 5 and 3 bins; some have no score of some.
GRADED = [("days_since(last_order_at)", "CUME_DIST", "LOWER", 3), ("revenue", "VALUE", "HIGHER", 5), ("csat_mean", "FIXED", "HIGHER", 2),
          ("average_order_value", "RANGE", "LOWER", 1), ("interactions", "PERCENT_RANK", "HIGHER", 1), ("last_nps", "FIXED", "HIGHER", 0)]
BANDS = [{"name": "plain"}, {"name": "good", "from": 33}, {"name": "best", "from": 66}]


def everybody_has_the_composite_and_the_grade_that_sql_gives(town):
    dimensions = [a_dimension(f"d{place}", feature, method, better) | {"weight": weight}
                  for place, (feature, method, better, weight) in enumerate(GRADED)]
    score_models.put_in_force(town.admin, "graded", *dimensions, grading={"bands": BANDS, "middle_from": 45, "high_from": 60, "vip_from": 70})
    told = score_models.values(town.admin, town.numbers)
    each = " UNION ALL ".join(f"SELECT number, score, {FEATURES[feature][1]} AS bins, {weight} AS weight FROM "
                              f"({query(*words_of(feature, method, better))}) AS scored_{place}"
                              for place, (feature, method, better, weight) in enumerate(GRADED))
    # Who has no score that weighs anything has no composite. What division adds is rounded off before halves are rounded up.
    rows = town.sql.run(
        f"WITH each AS ({each}), summed AS (SELECT number, sum(weight * (score - 1)::numeric / (bins - 1)) FILTER (WHERE score > 0) AS reached, "
        "nullif(sum(weight) FILTER (WHERE score > 0), 0) AS weights FROM each GROUP BY number), "
        "graded AS (SELECT number, floor(round(100 * reached / weights, 9) + 0.5)::int AS c FROM summed) "
        "SELECT number, c, CASE WHEN c >= 66 THEN 'best' WHEN c >= 33 THEN 'good' ELSE 'plain' END, "
        "CASE WHEN c >= 60 THEN 'high' WHEN c >= 45 THEN 'middle' ELSE 'low' END, c >= 70 FROM graded")
    grades = {number: None if composite is None else (composite, *rest) for number, composite, *rest in rows}
    assert {number: score_models.grade_of(told[number], "graded") for number in town.numbers} == grades
    # It is about something: of each band, tier and kind of VIP there is somebody, and somebody has no grade of orders.
    bands, tiers, vips = (set(of) for of in zip(*(grade[1:] for grade in grades.values() if grade)))
    assert (bands, tiers, vips) == ({"plain", "good", "best"}, {"low", "middle", "high"}, {False, True})
