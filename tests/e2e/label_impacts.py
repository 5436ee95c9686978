"""What a version of the RFM model would mean for a tenant's own label sets: as told before, and as it is once the version is in force."""
import pytest

from support import facts, label_sets, questions, score_models, score_witness, segments, waiting
from support.label_sets import REST, name_of
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND
from support.score_models import dimension
from support.watching import cause, watch

CUSTOMERS = 500
FIXED = score_models.rfm([10, 100, 300, 500], [2, 4, 6, 8], [1_500, 4_000, 9_000, 30_000])
QUANTILES = [dimension("recency", "days_since(last_order_at)", "QUANTILE", better="LOWER", ties="CUME_DIST", bins=5),
             dimension("frequency", "orders", "QUANTILE", ties="CUME_DIST", bins=5),
             dimension("monetary", "revenue", "QUANTILE", ties="VALUE", bins=5)]
BEST = ("champions", "loyal", "potential-loyalist")
# Id, rule, and whom the rule is meant for.
SETS = {
    "scores": [("high", "rfm.m >= 4", lambda c: c["m"] >= 4), ("often", "rfm.m < 4 && rfm.f >= 2", lambda c: c["f"] >= 2),
               ("others", "rfm.m < 4 && rfm.f < 2", lambda c: c["f"] < 2)],
    "cells": [("left", [f"{r}{f}{m}" for r in (1, 2) for f in range(1, 6) for m in range(1, 6)], lambda c: c["r"] <= 2),
              ("here", [f"{r}{f}{m}" for r in (3, 4, 5) for f in range(1, 6) for m in range(1, 6)], lambda c: c["r"] >= 3)],
    "stages": [("lost-rich", 'stage in ["churned", "dormant"] && rfm.m >= 3', lambda c: c["stage"] in ("CHURNED", "DORMANT") and c["m"] >= 3),
               ("lost", 'stage in ["churned", "dormant"] && rfm.m < 3', lambda c: c["stage"] in ("CHURNED", "DORMANT") and c["m"] < 3),
               ("there", 'stage != "churned" && stage != "dormant"', lambda c: c["stage"] not in ("CHURNED", "DORMANT"))],
    "channels": [("shop", 'channel == "store" && rfm.f >= 2', lambda c: c["channel"] == "store" and c["f"] >= 2),
                 ("nowhere", "!has(channel) && !(rfm.r >= 3)", lambda c: not c["channel"] and not c["r"] >= 3),
                 ("better", "rfm.r > rfm.f", lambda c: c["r"] > c["f"])],
    "money": [("worth", "rfm.m >= 3 && net_revenue >= 60", lambda c: c["m"] >= 3 and c["revenue_cents"] >= 6_000),
              ("silent", "days_since(last_order_at) > 300 && rfm.r <= 2", lambda c: c["orders"] and c["recency"] > 300 and c["r"] <= 2)],
    "names": [("best", 'label in ["champions", "loyal", "potential-loyalist"]', lambda c: c["label"] in BEST),
              ("sad", 'label.contains("-") && orders >= 2', lambda c: "-" in c["label"] and c["orders"] >= 2)],
    "referring": [("store-rich", 'segment("stores") && rfm.m >= 3', lambda c: c["channel"] == "store" and c["m"] >= 3),
                  ("many", 'segment("orders/many") && rfm.r >= 2', lambda c: c["orders"] >= 3 and c["r"] >= 2)],
    "scoreless": [("many", "orders >= 2", lambda c: c["orders"] >= 2)],
}


def prepared(suite):
    """Customers, and every set in force."""
    admin = suite.client("admin")
    people = label_sets.take_in(admin, 0, CUSTOMERS)
    questions.save_segment(admin, "stores", 'channel == "store"')
    label_sets.create(admin, "orders", [("many", "orders >= 3", None)])
    for set_id, rows in SETS.items():
        label_sets.create(admin, set_id, rows)
    return admin, people


def scores_of(people, dimensions):
    """{number: (r, f, m)}; nothing of who has bought nothing."""
    bought = {number: told for number, told in people.items() if told["orders"]}
    return dict.fromkeys(people) | score_witness.scores(dimensions, bought)


@pytest.mark.parametrize("dimensions", [FIXED, QUANTILES], ids=["fixed", "quantiles"])
def the_impact_on_every_set_is_what_comes_of_publishing_the_version(fresh, dimensions):
    admin, people = prepared(fresh)
    now, then = (scores_of(people, each) for each in (score_models.SHIPPED, dimensions))
    before = {set_id: label_sets.held(admin, set_id) for set_id in SETS}
    assert before == {set_id: label_sets.expected(people, rows, scores=now) for set_id, rows in SETS.items()}
    made, told = score_models.create(admin, "rfm", *dimensions), {}
    for set_id, rows in SETS.items():
        impact = label_sets.impact(fresh.client("analyst"), set_id, made.name)
        after = label_sets.expected(people, rows, scores=then)
        assert label_sets.matrix(impact) == label_sets.expected_matrix(people, before[set_id], after), set_id
        order = [*(row[0] for row in rows), REST]
        places = [(order.index(old), order.index(new)) for old, new in label_sets.matrix(impact)]
        assert places == sorted(places), "by both in the set's order"
        assert (impact.moving_customers > 0) == (set_id != "scoreless"), set_id
        told[set_id] = impact
    assert {set_id: label_sets.held(admin, set_id) for set_id in SETS} == before, "nothing is changed"
    score_models.publish(admin, made.name, told["scoreless"].etag)  # The last one.
    after = {set_id: label_sets.expected(people, rows, scores=then) for set_id, rows in SETS.items()}
    for set_id, rows in SETS.items():
        expected = label_sets.expected_distribution(people, after[set_id], [*(row[0] for row in rows), REST])
        waiting.until(lambda set_id=set_id, expected=expected: label_sets.distribution(admin, set_id) == expected, f"{set_id} to be {expected}")
        for label_id in expected:
            assert label_sets.checked(admin, set_id, label_id, people) == {
                number for number, each in after[set_id].items() if each == label_id}
        assert label_sets.matrix(told[set_id]) == label_sets.expected_matrix(people, before[set_id], label_sets.held(admin, set_id))


def a_version_that_is_published_moves_customers_as_their_records_and_as_it_was_told(fresh):
    admin, people = prepared(fresh)
    made = score_models.create(admin, "rfm", *FIXED)
    impact = label_sets.impact(admin, "stages", made.name)
    now, then = (label_sets.expected(people, SETS["stages"], scores=scores_of(people, each)) for each in (score_models.SHIPPED, FIXED))
    expected = label_sets.expected_changes(now, then)
    with watch(admin, "SegmentService/WatchMemberships") as watcher:
        watcher.until_caught_up()
        score_models.publish(admin, made.name, impact.etag)
        watcher.until(lambda _said: len(label_sets.changes_of(watcher, "stages")) >= len(expected), f"{len(expected)} changes")
        # Somebody new comes behind all of it.
        questions.wait_for(admin, questions.take_in(admin, facts.order("last", "o")).facts_position)
        last = int(questions.find(admin, "last").split("/")[1])
        watcher.until(lambda _said: watcher.changes(f"customers/{last}"), "the last one to be told")
        told = [each for each in label_sets.changes_of(watcher, "stages") if each[0] != last]
        of_others = [each for each in watcher.changes() if each.customer != f"customers/{last}"]
        causes = {cause(each) for each in of_others if each.parent.startswith(name_of("stages"))}
    assert sorted(told) == sorted(expected) and len(told) == 2 * impact.moving_customers
    assert causes == {"TIME"}, "no fact of theirs has changed"


def segment_impact(client, name, version):
    """{(from, to): (customers, cents)} of a segment; who is no member is nowhere."""
    of = client.call("LabelService/PreviewImpact", {"name": name, "score_model_version": version})
    moves = {(getattr(each, "from"), each.to): (each.customers, facts.cents_of(each.net_revenue)) for each in of.moves}
    assert sum(customers for customers, _ in moves.values()) == of.population
    assert sum(customers for (old, new), (customers, _) in moves.items() if old != new) == of.moving_customers
    return moves


THROUGH = [("steady", 'segment("steady")', lambda c: c["r"] >= 3 and c["channel"] == "store" and not (c["f"] >= 4 and c["orders"] >= 2)),
           ("best", 'segment("rfm-11/loyal") || segment("money/worth")',
            lambda c: c["label"] == "loyal" or (c["m"] >= 3 and c["revenue_cents"] >= 6_000)),
           ("panel", 'segment("panel") && rfm.f >= 2', lambda c: c["panel"] and c["f"] >= 2)]


def an_impact_is_told_through_segments_labels_and_lists(fresh):
    """The set itself reads scores in one rule alone; what it refers to reads them, over a reference more."""
    admin, people = prepared(fresh)
    questions.save_segment(admin, "recent", "rfm.r >= 3")
    questions.save_segment(admin, "frequent", "rfm.f >= 4 && orders >= 2")
    questions.save_segment(admin, "steady", 'segment("recent") && segment("stores") && !segment("frequent")')
    # Who is on a list stays on it, though scores were read when it began.
    segments.static(admin, "panel", "rfm.m >= 3")
    panel = {segments.number(name) for name in segments.members(admin, "segments/panel")}
    people = {number: told | {"panel": number in panel} for number, told in people.items()}
    label_sets.create(admin, "through", THROUGH, overlaps_allowed=True)
    now, then = (label_sets.expected(people, THROUGH, scores=scores_of(people, each)) for each in (score_models.SHIPPED, FIXED))
    assert label_sets.held(admin, "through") == now
    made = score_models.create(admin, "rfm", *FIXED)
    impact = label_sets.impact(fresh.client("analyst"), "through", made.name)
    assert label_sets.matrix(impact) == label_sets.expected_matrix(people, now, then) and impact.moving_customers > 0
    # The same of the segments themselves, and of the list, which nobody leaves.
    told = {name: segment_impact(admin, name, made.name) for name in ("segments/steady", "segments/panel", "segments/stores")}
    name, scores = "segments/steady", scores_of(people, FIXED)
    before = {segments.number(each) for each in segments.members(admin, name)}
    after = {number for number, each in people.items() if THROUGH[0][2](label_sets.values(each, scores[number]))}
    parts = {(name, name): before & after, (name, ""): before - after, ("", name): after - before, ("", ""): people.keys() - before - after}
    assert told[name] == {pair: (len(those), sum(people[each]["revenue_cents"] for each in those)) for pair, those in parts.items() if those}
    assert before != after
    assert all(old == new for name in ("segments/panel", "segments/stores") for old, new in told[name])
    # The last preview's.
    impact = label_sets.impact(admin, "through", made.name)
    score_models.publish(admin, made.name, impact.etag)
    order = [*(row[0] for row in THROUGH), REST]
    waiting.until(lambda: label_sets.distribution(admin, "through") == label_sets.expected_distribution(people, then, order), "labels to follow")
    assert label_sets.held(admin, "through") == then
    assert {segments.number(name) for name in segments.members(admin, "segments/steady")} == after


def an_impact_of_a_later_version_begins_at_the_one_in_force(fresh):
    admin, people = prepared(fresh)
    rows, third = SETS["channels"], score_models.rfm([20, 60, 120, 200], [3, 5, 7, 9], [2_000, 6_000, 12_000, 24_000])
    made = score_models.create(admin, "rfm", *FIXED)
    score_models.publish(admin, made.name)
    now, then = (label_sets.expected(people, rows, scores=scores_of(people, each)) for each in (FIXED, third))
    # In one answer: who has which label is told label by label, while customers still move.
    order = [*(row[0] for row in rows), REST]
    waiting.until(lambda: label_sets.distribution(admin, "channels") == label_sets.expected_distribution(people, now, order), "labels to follow")
    assert label_sets.held(admin, "channels") == now
    later = score_models.create(admin, "rfm", *third)
    assert label_sets.matrix(label_sets.impact(admin, "channels", later.name)) == label_sets.expected_matrix(people, now, then)
    # Back to what ships; and of what is in force nobody moves.
    first = score_models.create(admin, "rfm", *score_models.SHIPPED)
    shipped = label_sets.expected(people, rows, scores=scores_of(people, score_models.SHIPPED))
    assert label_sets.matrix(label_sets.impact(admin, "channels", first.name)) == label_sets.expected_matrix(people, now, shipped)
    assert label_sets.impact(admin, "channels", made.name).moving_customers == 0


def an_impact_is_of_labels_that_are_in_force_and_of_versions_that_are_there(fresh):
    admin = fresh.client("admin")
    label_sets.take_in(admin, 0, 20)
    label_sets.create(admin, "own", SETS["scores"])
    made = score_models.create(admin, "rfm", *FIXED)
    for version in ("scoreModels/rfm/versions/01", "scoreModels/rfm", ""):
        request = {"name": name_of("own"), "score_model_version": version}
        admin.refused("LabelService/PreviewImpact", request).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    rows = (("own", "scoreModels/rfm/versions/9"), ("none", made.name))
    for set_id, version in rows:
        request = {"name": name_of(set_id), "score_model_version": version}
        admin.refused("LabelService/PreviewImpact", request).must_be(NOT_FOUND, "NOT_FOUND")
    # Nobody has a label of it yet.
    label_sets.create(admin, "drafted", SETS["scores"], draft_only=True)
    refusal = admin.refused("LabelService/PreviewImpact", {"name": name_of("drafted"), "score_model_version": made.name})
    refusal.must_be({NOT_FOUND, FAILED_PRECONDITION}, {"NOT_FOUND", "FAILED_PRECONDITION"})
    # A draft is not what is in force.
    before = label_sets.matrix(label_sets.impact(admin, "own", made.name))
    label_sets.draft(admin, "own", SETS["cells"])
    assert label_sets.matrix(label_sets.impact(admin, "own", made.name)) == before
