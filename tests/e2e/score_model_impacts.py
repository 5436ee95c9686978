"""What a draft of a score model other than RFM would mean for label sets and segments: as told before, and as it is once it is published."""
from types import SimpleNamespace

import pytest

from label_impacts import segment_impact
from own_fields_in_rules import wait_for_fields
from support import label_sets, policies, questions, score_models, score_witness, segments, waiting
from support.label_sets import MISSING, REST, name_of
from support.refusals import INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED
from support.score_models import dimension, mapped

CUSTOMERS = 300
# Bins of several sizes, odd weights, a dimension that many lack; and then another order, other bins and other bands.
FIRST = [dimension("days", "days_since(last_order_at)", better="LOWER", cut_offs=[30, 90, 180, 365], weight=3),
         dimension("orders", "orders", cut_offs=[2, 3, 5], weight=2), dimension("spend", "revenue", "QUANTILE", ties="VALUE", bins=10, weight=7),
         mapped("place", "channel", {"store": 2, "online": 1}, 2, weight=1)]
SECOND = [dimension("orders", "orders", "QUANTILE", ties="CUME_DIST", bins=5, weight=5),
          dimension("days", "days_since(last_order_at)", better="LOWER", cut_offs=[60, 200], weight=1),
          dimension("basket", "average_order_value", "RANGE", bins=4, weight=3)]
BANDS = {"bands": [{"name": "low"}, {"name": "fair", "from": 20}, {"name": "A", "from": 55}], "middle_from": 30, "high_from": 60, "vip_from": 80}
# Id, rule, and whom the rule is meant for, by what is known of a customer and what a model says of it.
GRADES = [("best", 'grade.vip == "yes" || grade.band == "A"', lambda c: c["vip"] or c["band"] == "A"),
          ("fair", 'grade.tier != "low" && grade.value < 60', lambda c: c["tier"] in ("middle", "high") and c["value"] < 60),
          ("steady", 'segment("steady") && net_revenue >= 30', lambda c: is_steady(c) and c["revenue_cents"] >= 3_000),
          ("ungraded", "!has(grade.value) && orders >= 1", lambda c: c["band"] is None and c["orders"])]
OWN = [("deep", 'score.my_shop.d3 >= 4 && score.my_shop.band != "D"', lambda c: c["d"][3] >= 4 and c["band"] not in (None, "D")),
       ("even", "score.my_shop.d1 > score.my_shop.d2 && score.my_shop.value in [10, 25, 33, 50, 66, 75]",
        lambda c: c["d"][1] > c["d"][2] and c["value"] in (10, 25, 33, 50, 66, 75)),
       ("solid", 'score.my_shop.tier == "middle" && score.my_shop.vip == "no" && rfm.f >= 2',
        lambda c: c["tier"] == "middle" and c["vip"] is False and c["orders"] and c["f"] >= 2),
       ("nowhere", "!has(score.my_shop.d4)", lambda c: c["d"][4] is MISSING)]
PLAIN = [("late", "score.plain.d1 <= 2", lambda c: c["d"][1] <= 2),
         ("often", "score.plain.d2 == 4 || score.plain.d3 >= 4", lambda c: c["d"][2] == 4 or c["d"][3] >= 4)]


def is_steady(customer):
    return customer["channel"] == "store" and customer["value"] >= 20


@pytest.fixture(scope="module")
def town(shared):
    """Customers whom the tests of this file only read; each test has a model of its own."""
    admin = shared.client("admin")
    people = label_sets.take_in(admin, 0, CUSTOMERS)
    return SimpleNamespace(suite=shared, admin=admin, analyst=shared.client("analyst"), people=people)


def said(people, dimensions=(), grading=None):
    """{number: what rules read of it by a version of a model}; without dimensions there is none. A grading of {} is the usual one."""
    scored = score_witness.scores(dimensions, people)
    bins, weights = [score_witness.bins_of(each) for each in dimensions], [each.get("weight", 0) for each in dimensions]

    def of(given):
        composite = None if grading is None else score_witness.composite(given, bins, weights)
        grade = (MISSING, None, None, None) if composite is None else score_witness.grade(composite, grading)
        by_place = dict.fromkeys(range(1, 17), MISSING) | {place: score for place, score in enumerate(given, 1) if score}
        return dict(zip(("value", "band", "tier", "vip"), grade)) | {"d": by_place}
    return {number: of(given) for number, given in scored.items()}


def labelled(people, rows, model):
    """{number: label}: of the first row whose predicate holds."""
    return {number: next((row[0] for row in rows if row[2](told | model[number])), REST) for number, told in people.items()}


def follow(town, set_id, rows, after):
    """Waits until labels are these."""
    expected = label_sets.expected_distribution(town.people, after, [*(row[0] for row in rows), REST])
    waiting.until(lambda: label_sets.distribution(town.admin, set_id) == expected, lambda: f"{set_id} to be {expected}")


def comes_true(town, set_id, rows, made, before, after):
    """Asserts that what an impact promises is what comes of publishing the draft: customers and revenue, from label to label."""
    assert label_sets.held(town.admin, set_id) == before
    impact = label_sets.impact(town.analyst, set_id, made.name)
    assert label_sets.matrix(impact) == label_sets.expected_matrix(town.people, before, after) and impact.moving_customers > 0
    assert label_sets.held(town.admin, set_id) == before, "nothing is changed"
    score_models.publish(town.admin, made.name, impact.etag)
    follow(town, set_id, rows, after)
    held = label_sets.held(town.admin, set_id)
    assert held == after and label_sets.matrix(impact) == label_sets.expected_matrix(town.people, before, held)


def the_impact_of_the_first_grades_and_of_others_is_what_comes_of_publishing_them(town):
    questions.save_segment(town.admin, "steady", 'grade.value >= 20 && channel == "store"')
    label_sets.create(town.admin, "grades", GRADES, overlaps_allowed=True)
    versions = [said(town.people), said(town.people, FIRST, {}), said(town.people, SECOND, BANDS)]
    now, first, second = (labelled(town.people, GRADES, model) for model in versions)
    made = score_models.create(town.admin, "grade", *FIRST, grading={})
    comes_true(town, "grades", GRADES, made, now, first)
    made = score_models.create(town.admin, "grade", *SECOND, grading=BANDS)
    # The same of the segment that the set goes through.
    name, cents = "segments/steady", {number: told["revenue_cents"] for number, told in town.people.items()}
    before, after = ({number for number, told in town.people.items() if is_steady(told | model[number])} for model in versions[1:])
    parts = {(name, name): before & after, (name, ""): before - after, ("", name): after - before, ("", ""): town.people.keys() - before - after}
    assert segment_impact(town.analyst, name, made.name) == {
        pair: (len(those), sum(cents[number] for number in those)) for pair, those in parts.items() if those}
    comes_true(town, "grades", GRADES, made, first, second)
    waiting.until(lambda: {segments.number(each) for each in segments.members(town.admin, name)} == after, f"{name} to follow")
    # Back to what was; and of what is in force nobody moves.
    again = score_models.create(town.admin, "grade", *FIRST, grading={})
    assert label_sets.matrix(label_sets.impact(town.analyst, "grades", again.name)) == label_sets.expected_matrix(town.people, second, first)
    assert label_sets.impact(town.analyst, "grades", made.name).moving_customers == 0


def the_impact_of_a_model_of_ones_own_is_what_comes_of_publishing_it(town):
    score_models.put_in_force(town.admin, "my-shop", *FIRST, grading=BANDS)
    wait_for_fields(town.admin, "score.my_shop.value", "score.my_shop.d4")
    label_sets.create(town.admin, "own", OWN, overlaps_allowed=True)
    first, second = (labelled(town.people, OWN, said(town.people, *version)) for version in ((FIRST, BANDS), (SECOND, {})))
    follow(town, "own", OWN, first)
    # The draft has a dimension less: nobody has a score there.
    comes_true(town, "own", OWN, score_models.create(town.admin, "my-shop", *SECOND, grading={}), first, second)


def the_impact_of_a_model_without_grades_is_what_comes_of_publishing_it(town):
    score_models.put_in_force(town.admin, "plain", *FIRST[:3])
    wait_for_fields(town.admin, "score.plain.d3")
    label_sets.create(town.admin, "plain", PLAIN, overlaps_allowed=True)
    first, second = (labelled(town.people, PLAIN, said(town.people, version)) for version in (FIRST[:3], SECOND))
    follow(town, "plain", PLAIN, first)
    comes_true(town, "plain", PLAIN, score_models.create(town.admin, "plain", *SECOND), first, second)


def nobody_moves_by_what_the_rules_do_not_read(town):
    label_sets.create(town.admin, "others", [("many", "orders >= 2", None), ("good", 'grade.value >= 50 && channel == "store"', None)],
                      overlaps_allowed=True)
    made = score_models.create(town.admin, "new-one", *FIRST, grading={})
    impact = label_sets.impact(town.analyst, "others", made.name)
    assert (impact.moving_customers, impact.population) == (0, len(town.people))
    assert impact.etag == score_models.get(town.admin, made.name).etag, "it is a preview of the draft all the same"
    assert {(name, name) for name in ("", "segments/by-orders")} == set(segment_impact(
        town.analyst, questions.save_segment(town.admin, "by-orders", "orders >= 2"), made.name))


def models_of_other_kinds_are_refused_and_so_is_what_is_not_there(town):
    label_sets.create(town.admin, "asked", [("many", "orders >= 2", None)])
    wrong = ("valueModels/1", "churnModels/1", "recommendationModels/1", "scoreModels/grade", "scoreModels/Grade/versions/1",
             "scoreModels//versions/1", "scoreModels/grade/versions/0")
    for version in wrong:
        request = {"name": name_of("asked"), "score_model_version": version}
        refusal = town.admin.refused("LabelService/PreviewImpact", request)
        assert "scoreModels/{model}/versions/{number}" in refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD").message, version
    for version in ("scoreModels/nobodys/versions/1", "scoreModels/grade/versions/99"):
        town.admin.refused("LabelService/PreviewImpact", {"name": name_of("asked"), "score_model_version": version}).must_be(NOT_FOUND, "NOT_FOUND")


def a_draft_that_reads_money_is_for_who_reads_money(town):
    policies.publish(town.admin, policies.role_like(town.admin, "admin", "no-money", forms={"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}))
    client = policies.client_of(town.suite, "no-money")
    label_sets.create(town.admin, "unpaid", [("good", "grade.value >= 50", None)], overlaps_allowed=True)
    of_money = score_models.create(town.admin, "grade", *FIRST, grading={})
    refusal = client.refused("LabelService/PreviewImpact", {"name": name_of("unpaid"), "score_model_version": of_money.name})
    refusal.must_be(PERMISSION_DENIED, "FIELD_DENIED")
    days = [dimension(f"d{n}", "days_since(last_order_at)", better="LOWER", cut_offs=[100 * n], weight=1) for n in (1, 2, 3)]
    of_days = score_models.create(town.admin, "grade", *days, grading={})
    told = label_sets.impact(client, "unpaid", of_days.name)
    assert told.population == len(town.people) and not any(each.HasField("net_revenue") for each in told.moves)
