"""Score models: a tenant defines how its customers are scored, sees what it would mean, and puts it in force."""
from collections import Counter
from types import SimpleNamespace

import pytest

from support import facts, questions, score_models, score_witness, traits, waiting
from support.refusals import FAILED_PRECONDITION
from support.score_models import dimension, mapped
from support.watching import watch

CUSTOMERS = 2_000  # More than are gone through at once.
PRESETS = ["loyalty", "luxury", "published-example", "retail", "subscription", "value-grade"]
# Every method, both directions, and values that are missing.
WIDE = [
    dimension("days", "days_since(last_order_at)", better="LOWER", cut_offs=[60, 200, 400]),
    dimension("orders", "orders", "QUANTILE", ties="VALUE"),
    dimension("spend", "revenue", "QUANTILE", ties="CUME_DIST", bins=4),
    dimension("silence", "days_since(last_order_at)", "QUANTILE", better="LOWER", ties="CUME_DIST"),
    dimension("rank", "revenue", "QUANTILE", ties="PERCENT_RANK", bins=10),
    dimension("staleness", "days_since(last_order_at)", "QUANTILE", better="LOWER", ties="PERCENT_RANK"),
    dimension("basket", "average_order_value", "RANGE", bins=10),
    dimension("since", "days_since(first_order_at)", "QUANTILE", better="LOWER", ties="VALUE", bins=3),
    dimension("rhythm", "purchase_days", "RANGE", better="LOWER", bins=4),
    mapped("place", "channel", {"store": 3, "online": 1}, 3),
    mapped("anywhere", "channel", {"store": 2}, 2, other_score=1, missing_score=2),
    dimension("advice", "last_nps", cut_offs=[7, 9], missing_score=2),
    dimension("busy", "orders_365", cut_offs=[1, 2, 4]),
]
# 5 × 5 × 3 cells.
CUBE = [dimension("days", "days_since(last_order_at)", better="LOWER", cut_offs=[30, 90, 180, 365]),
        dimension("spend", "revenue", "QUANTILE", ties="VALUE"), mapped("place", "channel", {"store": 3, "online": 1}, 3)]


@pytest.fixture(scope="module")
def town(shared):
    """Customers whom the tests of this file only read; each test has a model of its own."""
    admin = shared.client("admin")
    people = score_models.take_in(admin, score_models.purchases_of(0, CUSTOMERS))
    return SimpleNamespace(admin=admin, analyst=shared.client("analyst"), people=people)


def few(client, cents):
    """One customer for each amount, in cents; {amounts in order: number}."""
    orders = [facts.order(f"c{place}", "o", cents=each) for place, each in enumerate(cents)]
    questions.wait_for(client, questions.take_in(client, *orders).facts_position)
    return [int(questions.find(client, f"c{place}").split("/")[1]) for place in range(len(cents))]


def assert_counts(seen, dimensions, expected):
    for place, each in enumerate(dimensions):
        of = seen.dimensions[each["name"]]
        assert list(of.customers) == score_witness.counts(expected, place, score_witness.bins_of(each)), each["name"]
    assert [each.dimension for each in seen.whole.dimensions] == [each["name"] for each in dimensions]


# -- from the start -------------------------------------------------------------------------------------------------------

def the_first_version_of_rfm_is_there_and_in_force(fresh):
    admin = fresh.client("admin")
    model = score_models.get(admin, score_models.RFM)
    assert (model.name, model.latest_version, model.published.name) == (score_models.RFM, 1, "scoreModels/rfm/versions/1")
    assert score_models.enum_name(model.published, "state") == "PUBLISHED"
    told = [(each.name, each.feature, list(each.cut_offs), each.bins, each.weight, each.unit) for each in model.published.dimensions]
    units = ["days", "orders", "USD minor"]
    assert told == [(each["name"], each["feature"], each["cut_offs"], 5, 0, unit)
                    for each, unit in zip(score_models.SHIPPED, units)]
    assert [score_models.enum_name(each, "side") for each in model.published.dimensions] == ["BELOW", "ABOVE", "ABOVE"]
    assert not model.published.HasField("grading") and not model.published.HasField("preview")
    assert list(admin.call("ScoreModelService/ListScoreModels").score_models) == [model]


def every_preset_can_be_made_and_published(fresh):
    admin = fresh.client("admin")
    score_models.take_in(admin, score_models.purchases_of(0, 30))
    presets = admin.call("ScoreModelService/ListScoreModelPresets").presets
    assert [each.preset_id for each in presets] == PRESETS
    assert {each.model_id for each in presets} == {"rfm", "grade", "loyalty"}
    for preset in presets:
        made = score_models.create_preset(admin, preset.model_id, preset.preset_id)
        # What the server alone says of a dimension may come with the preset or not.
        assert [(each.name, each.feature, each.method, each.weight) for each in made.dimensions] == [
            (each.name, each.feature, each.method, each.weight) for each in preset.version.dimensions]
        seen = score_models.preview(admin, made.name)
        done = score_models.publish(admin, made.name, seen.version.etag)
        assert done.version == made.name
        assert score_models.get(admin, f"scoreModels/{preset.model_id}").published.name == made.name


def the_published_example_scores_as_it_says(fresh):
    """Last purchase over three months ago, 5 purchases and over 60,000 in all: (1, 4, 4)."""
    admin = fresh.client("admin")
    ages = [100, 130, 160, 190, 220]
    orders = [facts.order("example", f"o{age}", days=age, cents=1_250_000) for age in ages]
    questions.wait_for(admin, questions.take_in(admin, *orders).facts_position)
    made = score_models.create_preset(admin, "rfm", "published-example")
    score_models.publish(admin, made.name, score_models.preview(admin, made.name).version.etag)
    assert questions.scores(admin, questions.find(admin, "example")) == (1, 4, 4)


# -- dry runs -------------------------------------------------------------------------------------------------------------

def a_preview_says_what_a_draft_would_mean(town):
    made = score_models.create(town.admin, "wide", *WIDE)
    assert (made.name, score_models.enum_name(made, "state")) == ("scoreModels/wide/versions/1", "DRAFT")
    assert [list(each.cut_offs) for each in made.dimensions if each.name in ("orders", "basket")] == [[], []]
    seen = score_models.preview(town.admin, made.name)
    expected = score_witness.scores(WIDE, town.people)
    assert_counts(seen, WIDE, expected)
    assert 0 < seen.dimensions["place"].customers[0] < CUSTOMERS, "some have no channel of this year"
    by_name = {each.name: each for each in seen.version.dimensions}
    for each in (each for each in WIDE if each.get("tie_rule") == "TIE_RULE_VALUE"):
        cut_offs = score_witness.quantiles([score_witness.value(each["feature"], told) for told in town.people.values()],
                                           score_witness.bins_of(each))
        of = seen.dimensions[each["name"]]
        assert (list(by_name[each["name"]].cut_offs), of.repeated_cut_offs) == (cut_offs, score_witness.repeated(cut_offs))
    assert seen.dimensions["orders"].repeated_cut_offs >= 1, "half of them ordered once"
    sides = {each.name: score_models.enum_name(each, "side") for each in by_name.values() if each.cut_offs}
    assert sides == {"days": "BELOW", "orders": "BELOW", "spend": "ABOVE", "silence": "BELOW", "rank": "BELOW",
                     "staleness": "ABOVE", "basket": "ABOVE", "since": "BELOW", "rhythm": "ABOVE", "advice": "ABOVE", "busy": "ABOVE"}
    # Nothing is in force that it could be held against, and its cells are too many to list.
    assert not any(each.moves or each.HasField("stability_index") for each in seen.whole.dimensions)
    assert not seen.whole.cells and not seen.whole.HasField("grades")
    assert [each.customers for each in seen.progress] == [CUSTOMERS] * len(seen.progress)
    assert [each.customers_read for each in seen.progress] == sorted(each.customers_read for each in seen.progress)
    # The draft keeps it.
    kept = seen.version.preview
    assert (kept.customers, kept.changed_customers, kept.as_of.seconds) == (CUSTOMERS, CUSTOMERS, facts.AS_OF.timestamp())
    assert [list(each.customers) for each in kept.dimensions] == [list(each.customers) for each in seen.whole.dimensions]
    assert seen.version == score_models.get(town.admin, made.name) and seen.version.etag != made.etag


def a_draft_scores_nobody_however_often_it_is_previewed(town):
    made = score_models.create(town.admin, "only-a-draft", *CUBE)
    first = score_models.preview(town.admin, made.name)
    again = score_models.preview(town.admin, made.name)
    assert list(first.whole.cells) == list(again.whole.cells)
    assert score_models.under(score_models.values(town.admin, town.people), "only-a-draft") == {}
    assert score_models.under(score_models.streamed(town.admin), "only-a-draft") == {}
    model = score_models.get(town.admin, "scoreModels/only-a-draft")
    assert (model.HasField("published"), model.latest_version) == (False, 1)
    town.admin.call("ScoreModelService/DeleteScoreModelVersion", {"name": made.name, "etag": again.version.etag})
    assert town.admin.refused("ScoreModelService/GetScoreModelVersion", {"name": made.name}).reason == "NOT_FOUND"


def the_cells_of_a_preview_are_those_of_its_customers(town):
    made = score_models.create(town.admin, "cube", *CUBE)
    seen = score_models.preview(town.admin, made.name, include_cells=True)
    expected, bins = score_witness.scores(CUBE, town.people), [5, 5, 3]
    # Who is not there, or lacks a score, is 0.
    numbers = set(seen.cells) | set(expected)
    assert {number: seen.cells.get(number, 0) for number in numbers} == {
        number: score_witness.cell(expected[number], bins) if number in expected else 0 for number in numbers}
    customers, revenue = Counter(expected.values()), Counter()
    for number, cell in expected.items():
        revenue[cell] += town.people[number]["revenue_cents"]
    told = [(tuple(each.scores), each.customers, facts.cents_of(each.revenue)) for each in seen.whole.cells]
    assert told == [(cell, customers[cell], revenue[cell]) for cell in sorted(customers)]


def the_scores_of_a_preview_are_those_of_its_customers_in_the_dimensions_that_are_asked_for(town):
    """Of more dimensions than cells can be told of, in the order of the request; one of them is not there."""
    dimensions = [each | {"weight": place % 3} for place, each in enumerate(WIDE)]
    made = score_models.create(town.admin, "asked", *dimensions, grading={})
    asked = {"name": made.name, "include_scores": [5, 0, 11, 16]}
    call = town.admin.start("ScoreModelService/PreviewScoreModelVersion", [asked], seconds=waiting.SECONDS)
    told = {each.scores.place: each.scores for each in call if each.HasField("scores")}
    expected, bins = score_witness.scores(dimensions, town.people), [score_witness.bins_of(each) for each in dimensions]
    composites = {number: score_witness.composite(scores, bins, [each["weight"] for each in dimensions]) for number, scores in expected.items()}
    assert list(told) == [5, 0, 11, 16] and {each.first_customer_id for each in told.values()} == {1}
    for place, part in told.items():
        of = {0: lambda number: composites[number] + 1, 16: lambda _number: 0}.get(place, lambda number, place=place: expected[number][place - 1])
        assert {number: part.scores[number - 1] for number in expected} == {number: of(number) for number in expected}, place
        assert not part.scores_in_force and not part.grades_in_force, "nothing is in force that it could be held against"
    grades = [(each.composite, each.band, each.tier, each.vip) for each in told[0].grades]
    assert grades == [score_witness.grade(composite) for composite in range(101)] and not told[5].grades


def a_preview_of_rfm_says_who_moves_between_scores(town):
    dimensions = score_models.rfm([10, 100, 300, 500], [2, 4, 6, 8], [1_500, 4_000, 9_000, 30_000])
    seen = score_models.preview(town.analyst, score_models.create(town.analyst, "rfm", *dimensions).name)
    now, then = (score_witness.scores(each, town.people) for each in (score_models.SHIPPED, dimensions))
    assert_counts(seen, dimensions, then)
    for place, each in enumerate(dimensions):
        assert score_models.moves(seen.dimensions[each["name"]]) == score_models.told_moves(now, then, place)
    assert seen.version.preview.changed_customers == sum(now[number] != then[number] for number in now) > 0
    # The one in force was never previewed itself.
    assert not any(each.HasField("stability_index") for each in seen.whole.dimensions)


def a_command_shows_a_preview_as_histograms_and_a_heat_map(shared, town):
    made = score_models.create(town.admin, "shown", *CUBE)
    told = shared.run("score", "preview", made.name)
    expected = score_witness.scores(CUBE, town.people)
    rows = [[cell.strip() for cell in line.strip("│").split("┆")] for line in told.splitlines() if "┆" in line]
    # Each dimension: who has no score, then those with 1, 2 and so on.
    for place, each in enumerate(CUBE):
        counts = [f"{count:,}" for count in score_witness.counts(expected, place, score_witness.bins_of(each))]
        assert next(row for row in rows if row[0] == each["name"])[1:len(counts) + 1] == counts
    heat = rows[1 + next(place for place, row in enumerate(rows) if row == ["", "1", "2", "3", "4", "5"]):]
    customers, revenue = Counter(), Counter()
    for number, (days, spend, _place) in expected.items():
        customers[days, spend] += 1
        revenue[days, spend] += town.people[number]["revenue_cents"]
    labelled = [place for place, row in enumerate(heat) if row[0]]
    assert [heat[place][0] for place in labelled] == ["5", "4", "3", "2", "1"]
    for place in labelled:
        cells = [(int(heat[place][0]), spend) for spend in range(1, 6)]
        assert heat[place][1:] == [f"{customers[cell]:,}" if customers[cell] else "" for cell in cells]
        # In whole dollars, half up.
        assert heat[place + 1][1:] == [f"{(revenue[cell] + 50) // 100:,}" if customers[cell] else "" for cell in cells]
    assert "days down, spend across: customers, revenue and, where it is known, mean lifetime value in USD" in told


def bins_of_equally_many_are_for_previews_alone(town):
    made = score_models.create(town.admin, "ntile", dimension("spend", "revenue", "QUANTILE", ties="NTILE", bins=7),
                               dimension("days", "days_since(last_order_at)", "QUANTILE", better="LOWER", ties="NTILE", bins=3))
    seen = score_models.preview(town.admin, made.name)
    for name, bins in (("spend", 7), ("days", 3)):
        unscored, *balanced = seen.dimensions[name].customers
        assert (unscored, len(balanced), sum(balanced)) == (0, bins, CUSTOMERS) and max(balanced) - min(balanced) <= 1, name
    refusal = town.admin.refused("ScoreModelService/PublishScoreModelVersion", {"name": made.name, "etag": seen.version.etag})
    refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


# Amounts in cents, and the scores of five bins that they have by each rule: counted by hand.
TIES = {
    "many alike": ([100] * 6 + [200] * 2 + [300] * 2, [1] * 6 + [4] * 2 + [5] * 2, [3] * 6 + [4] * 2 + [5] * 2,
                   [1] * 6 + [4] * 2 + [5] * 2, [1] * 6 + [3] * 2 + [5] * 2, 1),
    "all alike": ([500] * 10, [1] * 10, [5] * 10, [1] * 10, [5] * 10, 3),
    "fewer than bins": ([100, 200, 400], [1, 3, 5], [2, 4, 5], [1, 3, 5], [1, 2, 5], 0),
    "one": ([300], [1], [5], [1], [5], 3),
}


@pytest.mark.parametrize("case", TIES)
def equal_values_and_few_customers_have_defined_scores(fresh, case):
    """Quantiles of type 7 of 100 × 6, 200 × 2, 300 × 2 lie at 100, 100, 140 and 220: one is as the one before it."""
    amounts, by_value, by_share, by_rank, by_range, repeated = TIES[case]
    admin = fresh.client("admin")
    numbers = few(admin, amounts)
    rules = [dimension("value", "revenue", "QUANTILE", ties="VALUE"), dimension("share", "revenue", "QUANTILE", ties="CUME_DIST"),
             dimension("rank", "revenue", "QUANTILE", ties="PERCENT_RANK"), dimension("range", "revenue", "RANGE"),
             dimension("less", "revenue", "RANGE", better="LOWER")]
    version, _ = score_models.put_in_force(admin, "ties", *rules)
    scored = score_models.under(score_models.values(admin, numbers), "ties")
    found = [list(each) for each in zip(*(scored[number][:4] for number in numbers))]
    assert found == [by_value, by_share, by_rank, by_range]
    if len(set(amounts)) == 1:
        assert {scored[number][4] for number in numbers} == {1}, "where all values are alike, they are at every cut-off"
    assert score_witness.repeated(version.dimensions[0].cut_offs) == repeated


def where_nobody_has_a_value_there_are_no_cut_offs_to_find(town):
    for method, ties in (("QUANTILE", "VALUE"), ("RANGE", None)):
        made = score_models.create(town.admin, "nobody", dimension("advice", "last_nps", method, ties=ties))
        refusal = town.admin.refused("ScoreModelService/PreviewScoreModelVersion", {"name": made.name})
        refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def who_stops_reading_cancels_a_preview_be_it_under_way_or_waiting_for_its_turn(fresh):
    """Previews of a tenant take turns. The one under way has read everybody; neither is kept with its draft, as a preview that ends is."""
    place, customers = "previews::before_scored", 200
    score_models.take_in(fresh.client("admin"), score_models.purchases_of(0, customers))
    fresh.stop()
    fresh.start(failpoints=f"{place}=1*return(3000)")
    admin = fresh.client("admin")
    questions.wait_for(admin, 0)
    drafts = [score_models.create(admin, name, *CUBE) for name in ("under-way", "waiting", "whole")]
    calls = []
    for draft in drafts[:2]:
        calls.append(admin.start("ScoreModelService/PreviewScoreModelVersion", [{"name": draft.name}], seconds=waiting.SECONDS))
        waiting.until(lambda: fresh.has_logged(f"failpoint {place} reached"), "a preview to stand still")
    # What is asked for behind the second is answered: that one has come, and waits.
    assert score_models.get(admin, drafts[1].name) == drafts[1]
    for call in calls:
        call.cancel()
    # Another one has its turn behind them, and goes to its end.
    assert sum(score_models.preview(admin, drafts[2].name).dimensions["days"].customers) == customers
    *cancelled, whole = (score_models.get(admin, draft.name) for draft in drafts)
    assert cancelled == drafts[:2] and not any(each.HasField("preview") for each in cancelled)
    assert whole.HasField("preview") and whole.etag != drafts[2].etag


# -- in force -------------------------------------------------------------------------------------------------------------

def publishing_scores_everybody_at_once_and_tells_the_feed(town):
    made = score_models.create(town.admin, "value", *WIDE)
    seen, expected = score_models.preview(town.admin, made.name), score_witness.scores(WIDE, town.people)
    with watch(town.admin, "ScoreService/WatchScores") as watcher:
        watcher.until_caught_up()
        operation = score_models.begin_publishing(town.admin, made.name, seen.version.etag)
        assert score_models.under(score_models.values(town.admin, town.people), "value") == expected, "reads are by it at once"
        assert score_models.unpacked(town.admin, operation.metadata).target == made.name
        done = score_models.rescored(town.admin, operation)
        assert done.version == made.name
        assert done.changed_customers == done.predicted_changed_customers == seen.version.preview.changed_customers == CUSTOMERS

        def told(said):
            return score_models.under({record.customer_id: record.scores for each in said for record in each.records}, "value")
        watcher.until(lambda said: told(said) == expected, "the feed to tell everybody's scores")
    model = score_models.get(town.admin, "scoreModels/value")
    assert (model.published.name, score_models.enum_name(model.published, "state")) == (made.name, "PUBLISHED")
    assert model.published.HasField("publish_time") and model.published.preview == seen.version.preview
    # rfm goes on beside it.
    rfm = score_witness.scores(score_models.SHIPPED, town.people)
    assert {number: score_models.of_rfm(each) for number, each in score_models.values(town.admin, town.people).items()} == rfm


def a_newcomer_is_scored_by_frozen_cut_offs_and_a_purchase_changes_scores_live(fresh):
    names = ("orders", "spend", "silence", "rank", "staleness", "basket", "since")
    admin, dimensions = fresh.client("admin"), [each for each in WIDE if each["name"] in names]
    people = score_models.take_in(admin, score_models.purchases_of(0, 300))
    score_models.put_in_force(admin, "value", *dimensions)
    frozen = score_witness.scorers(dimensions, people)
    history = [(200, 2_345), (30, 45_601)]
    for bought in (history[:1], history):
        days, cents = bought[-1]
        answer = questions.take_in(admin, facts.order("newcomer", f"o{days}", days=days, cents=cents))
        questions.wait_for(admin, answer.facts_position)
        number = int(questions.find(admin, "newcomer").split("/")[1])
        told = {number: facts.expected(bought) | {"as_of": facts.AS_OF.date(), "channel": "online"}}
        expected = score_witness.scores(dimensions, told, frozen)
        assert score_models.under(score_models.values(admin, [number]), "value") == expected
        assert score_models.under(score_models.streamed(admin), "value")[number] == expected[number]
    # Nobody else has moved, though the quantiles would now be others.
    rest = score_models.under(score_models.values(admin, people), "value")
    assert rest == score_witness.scores(dimensions, people)


def a_trait_is_a_feature_like_any_other(fresh):
    admin = fresh.client("admin")
    purchases = score_models.purchases_of(0, 200)
    score_models.take_in(admin, purchases)
    traits.done(admin, traits.define(admin, "large", "ORDER", "SUM", "amount", "amount >= 20"))
    numbers = questions.numbers_of(admin, "cdnow")
    cut_offs = [1, 3_000, 9_000]
    sums = {source_id: sum(cents for _, cents in lines if cents >= 2_000) for source_id, lines in purchases.items()}
    expected = {numbers[source_id]: (1 + sum(total >= each for each in cut_offs),) for source_id, total in sums.items()}
    made = score_models.create(admin, "large", dimension("large", "traits/large", cut_offs=cut_offs))
    assert made.dimensions[0].unit == "", "of a trait the explanation tells it"
    # The trait goes through customers, and then down the chain to scoring.
    waiting.until(lambda: list(score_models.preview(admin, made.name).dimensions["large"].customers)
                  == score_witness.counts(expected, 0, 4), "the trait to reach scoring")
    score_models.publish(admin, made.name)
    assert score_models.under(score_models.values(admin, numbers.values()), "large") == expected
