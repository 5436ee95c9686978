"""The demo's numbers, recomputed by a program that shares nothing with the product (`cdnow_witness.py`)."""
import random

import pytest

import cdnow_witness as witness
from support import facts, questions, quintile

SEED = 1998
SAMPLE = 200


@pytest.fixture(scope="module")
def told():
    """What the witness says of every customer: {id in the source: its features, scores, label and stage}."""
    with open(quintile.cdnow(), encoding="ascii") as stream:
        purchases = witness.read_purchases(stream)
    return {source_id: witness.customer_of(lines) for source_id, lines in purchases.items()}


@pytest.fixture(scope="module")
def sample(demo, told):
    """{id in the source: `customers/{number}`} of some customers, the same ones every time."""
    chosen = random.Random(SEED).sample(sorted(told), SAMPLE)
    return {source_id: questions.find(demo.admin, source_id, "cdnow") for source_id in chosen}


def the_label_table_is_the_witnesss_in_customers_and_in_revenue(demo, told):
    answer = questions.distribution(demo.analyst)
    table = {row.title: {"customers": row.customers, "revenue_cents": facts.cents_of(row.net_revenue)}
             for row in answer.labels if row.title in witness.RFM_11 or row.customers}
    report = witness.report(told.values(), witness.AS_OF, witness.POPULATION_P80)
    assert table == report["labels"]
    assert answer.population == len(told) == 23_570
    assert sum(row["revenue_cents"] for row in table.values()) == 250_031_563


def the_funnel_is_the_witnesss_with_every_stage_in_it(demo, told):
    answer = demo.analyst.call("StageService/GetFunnel")
    funnel = [(questions.stage_name(row), row.customers) for row in answer.stages]
    report = witness.report(told.values(), witness.AS_OF, witness.POPULATION_P80)
    assert funnel == list(report["stages"].items())


def the_preview_of_the_demo_counts_exactly_and_names_members_in_order(demo, told):
    members = [customer for customer in told.values() if witness.in_segment(customer)]
    answer = questions.preview(demo.analyst, facts.TARGET, sample_size=100)
    assert (answer.customers, answer.population) == (len(members), len(told))
    assert facts.cents_of(answer.net_revenue) == sum(customer["revenue_cents"] for customer in members)
    numbers = [int(name.removeprefix("customers/")) for name in answer.sample]
    assert len(numbers) == 100 and numbers == sorted(set(numbers))


def every_customer_is_listed_under_exactly_one_label(demo, told):
    seen, counted = set(), 0
    for title, parent in questions.labels(demo.analyst).items():
        members = questions.everything(demo.analyst, "SegmentService/ListMembers", "customers", parent=parent,
                                       page_size=10_000)
        assert len(members) == sum(customer["label"] == title for customer in told.values()), title
        seen |= set(members)
        counted += len(members)
    assert len(seen) == counted == len(told)


def the_label_set_is_proved_over_all_125_cells(demo):
    answer = demo.analyst.call("LabelService/GetLabelSet", {"name": questions.LABEL_SET})
    cells = {label.title: set(label.cells) for label in answer.labels if label.cells}
    assert cells == {title: set(codes.split()) for title, codes in witness.RFM_11.items()}
    assert answer.proved_cells == 125


def the_features_of_a_sample_of_customers_are_the_witnesss(demo, told, sample):
    for source_id, name in sample.items():
        customer, features = told[source_id], questions.features(demo.analyst, name)
        assert (features.orders, features.purchase_days) == (customer["orders"], customer["days"]), source_id
        assert facts.cents_of(features.net_revenue) == customer["revenue_cents"], source_id
        assert facts.day_of(features.first_order_time) == customer["first"], source_id
        assert facts.day_of(features.last_order_time) == customer["last"], source_id
        windows = {w.days: {"now": {"orders": w.orders, "revenue_cents": facts.cents_of(w.revenue)},
                            "before": {"orders": w.previous_orders, "revenue_cents": facts.cents_of(w.previous_revenue)}}
                   for w in features.windows}
        assert windows == customer["windows"], source_id


def the_scores_of_a_sample_of_customers_are_the_witnesss_one_by_one_and_in_a_batch(demo, told, sample):
    expected = {name: tuple(told[source_id][dimension] for dimension in "rfm") for source_id, name in sample.items()}
    assert {name: questions.scores(demo.analyst, name) for name in sample.values()} == expected
    names = [f"{name}/score" for name in sample.values()]
    batch = demo.analyst.call("ScoreService/BatchGetScores", {"names": names}).scores
    assert [score.name for score in batch] == names
    assert [(s.values.recency, s.values.frequency, s.values.monetary) for s in batch] == list(expected.values())


def the_stages_of_a_sample_of_customers_are_the_witnesss(demo, told, sample):
    for source_id, name in sample.items():
        values = demo.analyst.call("StageService/GetStage", {"name": f"{name}/stage"}).values
        assert questions.stage_name(values) == told[source_id]["stage"], source_id
        assert values.silent_days == told[source_id]["recency"], source_id


def an_explanation_gives_the_inputs_that_the_witness_has(demo, told, sample):
    for source_id, name in list(sample.items())[:20]:
        customer = told[source_id]
        answer = demo.analyst.call("ScoreService/ExplainScore", {"name": f"{name}/score"})
        assert [(d.dimension, d.score, d.input) for d in answer.dimensions] == [
            ("recency", customer["r"], customer["recency"]), ("frequency", customer["f"], customer["orders"]),
            ("monetary", customer["m"], customer["revenue_cents"])], source_id
