"""Grades: the scores of several dimensions as one number, band and tier, of which segments know."""
from types import SimpleNamespace

import pytest

from support import facts, questions, score_models, score_witness, waiting
from support.refusals import FAILED_PRECONDITION
from support.score_models import dimension, mapped

CUSTOMERS = 500
# Bins of several sizes, odd weights, a dimension that many lack and one that weighs nothing.
DIMENSIONS = [dimension("days", "days_since(last_order_at)", better="LOWER", cut_offs=[30, 90, 180, 365], weight=3),
              dimension("orders", "orders", cut_offs=[2, 3, 5], weight=2),
              dimension("spend", "revenue", "QUANTILE", ties="VALUE", bins=10, weight=7),
              mapped("place", "channel", {"store": 2, "online": 1}, 2, weight=1),
              dimension("basket", "average_order_value", "RANGE", bins=4)]
GRADING = {"bands": [{"name": "low"}, {"name": "fair", "from": 20}, {"name": "good", "from": 55}], "middle_from": 30, "high_from": 60,
           "vip_from": 80}
# TODO: whether segments know a VIP by a text or by a truth. If it is a truth: "grade.vip".
VIP = 'grade.vip == "yes"'


@pytest.fixture(scope="module")
def town(shared):
    """Customers whom the tests of this file only read."""
    admin = shared.client("admin")
    return SimpleNamespace(admin=admin, people=score_models.take_in(admin, score_models.purchases_of(0, CUSTOMERS)))


def told_grades(scored, dimensions, grading):
    """{number: grade} by the witness, of who has one."""
    bins, weights = ([of(each) for each in dimensions] for of in (score_witness.bins_of, lambda each: each.get("weight", 0)))
    composites = {number: score_witness.composite(each, bins, weights) for number, each in scored.items()}
    return {number: score_witness.grade(each, grading) for number, each in composites.items() if each is not None}


def assert_segments_know(admin, grades):
    """Rules on grades count whom they ought to."""
    def wanted(condition):
        return sum(condition(*grade) for grade in grades.values())
    rules = {"grade.value >= 40": lambda value, *_: value >= 40, "has(grade.value)": lambda *_: True,
             'grade.tier == "middle" && grade.value < 50': lambda value, _, tier, __: tier == "middle" and value < 50,
             VIP: lambda *grade: grade[3]}
    for band in {grade[1] for grade in grades.values()}:
        rules[f'grade.band == "{band}" && grade.value >= 75'] = lambda value, of, *_, band=band: of == band and value >= 75
    # The chain brings them.
    for rule, condition in rules.items():
        waiting.until(lambda rule=rule, condition=condition: questions.preview(admin, rule).customers == wanted(condition),
                      lambda rule=rule, condition=condition: f"{rule} to count {wanted(condition)}")


@pytest.mark.parametrize("grading", [GRADING, {}], ids=["own", "by default"])
def a_grade_is_the_weighted_mean_of_scores_and_segments_know_it(town, grading):
    made = score_models.create(town.admin, "grade", *DIMENSIONS, grading=grading)
    seen = score_models.preview(town.admin, made.name)
    expected = told_grades(score_witness.scores(DIMENSIONS, town.people), DIMENSIONS, grading)
    assert set(expected) == set(town.people) and len({grade[0] for grade in expected.values()}) > 10
    before = {number: score_models.grade_of(each) for number, each in score_models.values(town.admin, town.people).items()}
    bands = [each["name"] for each in grading.get("bands", [])] or ["D", "C", "B", "A"]
    grades, told = seen.whole.grades, list(expected.values())
    assert list(grades.composites) == [sum(grade[0] == value for grade in told) for value in range(101)]
    assert list(grades.bands) == [sum(grade[1] == band for grade in told) for band in bands]
    assert list(grades.tiers) == [sum(grade[2] == tier for grade in told) for tier in ("low", "middle", "high")]
    assert (grades.vips, grades.ungraded) == (sum(grade[3] for grade in told), 0) and grades.vips > 0
    assert grades.changed_customers == sum((before[number] or (None,))[1:] != grade[1:] for number, grade in expected.items())
    score_models.publish(town.admin, made.name, seen.version.etag)
    assert {number: score_models.grade_of(each) for number, each in score_models.values(town.admin, town.people).items()} == expected
    streamed = score_models.streamed(town.admin)
    assert {number: score_models.grade_of(streamed[number]) for number in town.people} == expected
    assert_segments_know(town.admin, expected)


def the_preset_of_value_grades_by_what_its_version_says(fresh):
    admin = fresh.client("admin")
    people = score_models.take_in(admin, score_models.purchases_of(0, CUSTOMERS))
    made = score_models.create_preset(admin, "grade", "value-grade")
    version = score_models.preview(admin, made.name).version
    score_models.publish(admin, made.name, version.etag)
    scored = score_models.values(admin, people)
    under, bins, weights = score_models.under(scored, "grade"), [each.bins for each in version.dimensions], [
        each.weight for each in version.dimensions]
    assert len(version.dimensions) >= 3 and sum(weight > 0 for weight in weights) >= 3
    grading = {"bands": [{"name": band.name, "from": getattr(band, "from")} for band in version.grading.bands]} | {
        name: getattr(version.grading, name) for name in ("middle_from", "high_from", "vip_from")}
    composites = {number: score_witness.composite(each, bins, weights) for number, each in under.items()}
    expected = {number: score_witness.grade(each, grading) for number, each in composites.items() if each is not None}
    assert expected and {number: score_models.grade_of(scored[number]) for number in expected} == expected
    assert_segments_know(admin, expected)
    score_models.retire(admin, "grade")
    assert all(score_models.grade_of(each) is None for each in score_models.values(admin, people).values())
    for rule in ("has(grade.value)", "has(grade.band)", "has(grade.tier)", VIP):
        waiting.until(lambda rule=rule: questions.preview(admin, rule).customers == 0, f"nobody to have {rule}")
    refusal = admin.refused("ScoreModelService/RefitScoreModel", {"name": "scoreModels/grade"})
    refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def whoever_lacks_a_score_is_graded_by_the_others_and_who_has_none_by_none(fresh):
    """Of weights 1, 1 and 2 and bins 2, 2 and 5: by hand."""
    admin = fresh.client("admin")
    position = questions.take_in(
        admin, facts.order("both", "o", cents=4_000), facts.feedback("both", "f", kind="FEEDBACK_KIND_NPS", score=9),
        facts.order("buys", "o", cents=4_000), facts.feedback("speaks", "f", kind="FEEDBACK_KIND_NPS", score=9),
        facts.interaction("visits", "i")).facts_position
    questions.wait_for(admin, position)
    score_models.put_in_force(
        admin, "grade", dimension("spend", "revenue", cut_offs=[1_000, 2_000, 3_000, 5_000], weight=2),
        dimension("orders", "orders", cut_offs=[2], weight=1), dimension("advice", "last_nps", cut_offs=[7], weight=1), grading={})
    expected = {
        "both": (63, "B", "middle", False),  # (2 × 3/4 + 0 + 1) / 4 = 62.5, half up.
        "buys": (50, "B", "middle", False),  # (2 × 3/4 + 0) / 3
        "speaks": (100, "A", "high", True),
        "visits": None,
    }
    numbers = {customer: int(questions.find(admin, customer).split("/")[1]) for customer in expected}
    scored = score_models.values(admin, numbers.values())
    assert {customer: score_models.grade_of(scored[number]) for customer, number in numbers.items()} == expected
    # An order more: (2 × 4/4 + 1 + 1) / 4.
    questions.wait_for(admin, questions.take_in(admin, facts.order("both", "p", cents=4_000)).facts_position)
    assert score_models.grade_of(score_models.values(admin, [numbers["both"]])[numbers["both"]]) == (100, "A", "high", True)
    waiting.until(lambda: questions.preview(admin, VIP).customers == 2, "segments to know two VIPs")
