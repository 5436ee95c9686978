"""Versions of score models follow one another: published anew, refitted, retired; whatever is made of scores follows them."""
from collections import Counter

import cdnow_witness as witness
import grpc
import pytest

from support import facts, questions, score_models, score_witness, waiting
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, Refusal
from support.score_models import dimension
from support.watching import watch

ABORTED = grpc.StatusCode.ABORTED
# Other cut-offs of rfm than it ships with.
OWN = score_models.rfm([10, 100, 300, 500], [2, 4, 6, 8], [1_500, 4_000, 9_000, 30_000])
BY_QUANTILES = [dimension("recency", "days_since(last_order_at)", "QUANTILE", better="LOWER", ties="CUME_DIST", bins=5),
                dimension("frequency", "orders", "QUANTILE", ties="CUME_DIST", bins=5),
                dimension("monetary", "revenue", "QUANTILE", ties="VALUE", bins=5)]
VALUE = [dimension("spend", "revenue", "QUANTILE", ties="VALUE"),
         dimension("since", "days_since(first_order_at)", "QUANTILE", better="LOWER", ties="CUME_DIST", bins=4),
         dimension("orders", "orders", cut_offs=[2, 3, 5])]


def assert_labels(admin, cells):
    """The labels of rfm-11, and a segment, are those of the scores."""
    labels = Counter(witness.LABEL_OF[cell] for cell in cells.values())

    def told():
        return {each.title: each.customers for each in questions.distribution(admin).labels if each.customers}
    waiting.until(lambda: told() == labels, lambda: f"labels {dict(labels)}, not {told()}")
    best = sum(cell[0] == 5 for cell in cells.values())
    members = lambda: admin.call("SegmentService/GetSegment", {"name": "segments/recent"}).members  # noqa: E731
    waiting.until(lambda: members() == best, lambda: f"{best} members, not {members()}")
    assert questions.preview(admin, "rfm.r == 5").customers == best


@pytest.mark.parametrize("dimensions", [OWN, BY_QUANTILES], ids=["fixed", "quantiles"])
def rfm_published_anew_changes_scores_labels_and_segments_and_tells_whom_it_changed(fresh, dimensions):
    admin = fresh.client("admin")
    people = score_models.take_in(admin, score_models.purchases_of(0, 600))
    questions.save_segment(admin, "recent", "rfm.r == 5")
    now, then = (score_witness.scores(each, people) for each in (score_models.SHIPPED, dimensions))
    changed = {number for number in people if now[number] != then[number]}
    assert 0 < len(changed) < len(people)
    assert_labels(admin, now)
    before_all = score_models.values(admin, people)
    made = score_models.create(admin, "rfm", *dimensions)
    seen = score_models.preview(admin, made.name)
    with watch(admin, "ScoreService/WatchScores") as watcher:
        watcher.until_caught_up()
        before = sum(len(each.records) for each in list(watcher.responses))
        done = score_models.publish(admin, made.name, seen.version.etag)
        assert (done.changed_customers, done.predicted_changed_customers) == (len(changed), len(changed))
        assert_labels(admin, then)
        # Somebody new comes behind all of it in the feed.
        questions.take_in(admin, facts.order("last", "o"))
        last = int(questions.find(admin, "last").split("/")[1])
        watcher.until(lambda said: any(record.customer_id == last for each in said for record in each.records), "the last one to be told")
        records = [record for each in list(watcher.responses) for record in each.records][before:]
    told = {record.customer_id: record.scores for record in records if record.customer_id != last}
    assert len(told) == len(records) - 1 and changed <= told.keys() <= people.keys()
    assert {number: score_models.of_rfm(scored) for number, scored in told.items()} == {number: then[number] for number in told}
    # Besides, only of whom time will change the scores at another instant than it would have.
    at_first = {number: each.next_change_time for number, each in before_all.items()}
    assert all(number in changed or told[number].next_change_time != at_first[number] for number in told)
    scored = score_models.values(admin, people)
    assert {number: score_models.of_rfm(each) for number, each in scored.items()} == then
    assert {each.model_version for each in scored.values()} == {"scoreModels/rfm/versions/2"}


@pytest.mark.parametrize("dimensions", [OWN, BY_QUANTILES], ids=["fixed", "quantiles"])
def the_impact_of_a_version_is_who_moves_from_label_to_label_with_what_revenue(fresh, dimensions):
    admin = fresh.client("admin")
    people = score_models.take_in(admin, score_models.purchases_of(0, 600))
    made = score_models.create(admin, "rfm", *dimensions)
    request = {"name": "labelSets/rfm-11", "score_model_version": made.name}
    impact = fresh.client("analyst").call("LabelService/PreviewImpact", request)
    now, then = (score_witness.scores(each, people) for each in (score_models.SHIPPED, dimensions))
    expected = {}
    for number, told in people.items():
        pair = witness.LABEL_OF[now[number]], witness.LABEL_OF[then[number]]
        customers, cents = expected.get(pair, (0, 0))
        expected[pair] = customers + 1, cents + told["revenue_cents"]
    titles = {each.label: each.title for each in questions.distribution(admin).labels}
    moves = {(titles[getattr(each, "from")], titles[each.to]): (each.customers, facts.cents_of(each.net_revenue)) for each in impact.moves}
    assert moves == expected and impact.population == len(people)
    assert impact.moving_customers == sum(customers for (old, new), (customers, _) in expected.items() if old != new) > 0
    # What was seen is what is published, and what comes of it.
    score_models.publish(admin, made.name, impact.etag)
    questions.save_segment(admin, "recent", "rfm.r == 5")
    assert_labels(admin, then)


def an_impact_is_of_a_version_that_is_there(fresh):
    admin = fresh.client("admin")
    rows = (("scoreModels/rfm/versions/01", INVALID_ARGUMENT, "INVALID_FIELD"), ("", INVALID_ARGUMENT, "INVALID_FIELD"),
            ("scoreModels/rfm/versions/9", NOT_FOUND, "NOT_FOUND"))
    for name, status, reason in rows:
        admin.refused("LabelService/PreviewImpact", {"name": "labelSets/rfm-11", "score_model_version": name}).must_be(status, reason)
    version = "scoreModels/rfm/versions/1"
    admin.refused("LabelService/PreviewImpact", {"name": "labelSets/none", "score_model_version": version}).must_be(NOT_FOUND, "NOT_FOUND")
    made = score_models.create(admin, "rfm", *BY_QUANTILES)  # Of nobody there are no quantiles.
    refusal = admin.refused("LabelService/PreviewImpact", {"name": "labelSets/rfm-11", "score_model_version": made.name})
    refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def earlier_versions_are_retired_and_stay_as_they_were(fresh):
    admin = fresh.client("admin")
    score_models.take_in(admin, score_models.purchases_of(0, 50))
    first = score_models.get(admin, score_models.RFM).published
    for _ in range(3):
        made = score_models.create(admin, "rfm", *OWN)
        done = score_models.publish(admin, made.name)
        assert not done.HasField("predicted_changed_customers"), "nobody asked for a preview"
    listed = score_models.versions(admin, "rfm", page_size=1)
    assert [each.name for each in listed] == [f"scoreModels/rfm/versions/{n}" for n in (4, 3, 2, 1)]
    assert [score_models.enum_name(each, "state") for each in listed] == ["PUBLISHED", "RETIRED", "RETIRED", "RETIRED"]
    assert [each.HasField("retire_time") for each in listed] == [False, True, True, True]
    assert listed[-1].dimensions == first.dimensions and listed[-1].publish_time == first.publish_time
    for name in (listed[0].name, listed[-1].name):
        for method in ("PublishScoreModelVersion", "DeleteScoreModelVersion"):
            refusal = admin.refused(f"ScoreModelService/{method}", {"name": name})
            refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    # A preview of what is in force tells how its customers are, and changes nothing of it.
    again = score_models.preview(admin, listed[0].name)
    assert again.version == listed[0] == score_models.get(admin, score_models.RFM).published


def what_was_previewed_is_what_is_published(fresh):
    admin = fresh.client("admin")
    score_models.take_in(admin, score_models.purchases_of(0, 50))
    made = score_models.create(admin, "value", *VALUE)
    publishing = "ScoreModelService/PublishScoreModelVersion"
    admin.refused(publishing, {"name": made.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    first = score_models.preview(admin, made.name).version
    admin.refused(publishing, {"name": made.name, "etag": made.etag}).must_be(ABORTED, "STALE_ETAG")
    second = score_models.preview(admin, made.name).version
    assert len({made.etag, first.etag, second.etag}) == 3
    for method in (publishing, "ScoreModelService/DeleteScoreModelVersion"):
        admin.refused(method, {"name": made.name, "etag": first.etag}).must_be(ABORTED, "STALE_ETAG")
    assert score_models.state(admin, made.name) == "DRAFT"
    assert score_models.publish(admin, made.name, second.etag).version == made.name
    published = score_models.get(admin, made.name)
    assert published.dimensions == second.dimensions and published.etag != second.etag
    retiring = {"name": "scoreModels/value", "etag": second.etag}
    admin.refused("ScoreModelService/RetireScoreModel", retiring).must_be(ABORTED, "STALE_ETAG")


def a_refit_says_what_has_drifted_and_who_would_move(fresh):
    admin = fresh.client("admin")
    first = score_models.take_in(admin, score_models.purchases_of(0, 300))
    fitted, _ = score_models.put_in_force(admin, "value", *VALUE)
    frozen = score_witness.scorers(VALUE, first)
    before = score_witness.scores(VALUE, first)
    # More customers, of later months, who are scored by what is frozen.
    everybody = first | score_models.take_in(admin, score_models.purchases_of(20_000, 20_250))
    draft = admin.call("ScoreModelService/RefitScoreModel", {"name": "scoreModels/value"})
    assert (draft.name, score_models.enum_name(draft, "state")) == ("scoreModels/value/versions/2", "DRAFT")
    assert [list(each.cut_offs) for each in draft.dimensions] == [[], [], [2, 3, 5]] and not draft.HasField("preview")
    refusal = admin.refused("ScoreModelService/PublishScoreModelVersion", {"name": draft.name})
    refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    seen = score_models.preview(admin, draft.name)
    now, then = score_witness.scores(VALUE, everybody, frozen), score_witness.scores(VALUE, everybody)
    for place, each in enumerate(VALUE):
        bins, of = score_witness.bins_of(each), seen.dimensions[each["name"]]
        assert list(of.customers) == score_witness.counts(then, place, bins)
        drift = score_witness.stability(score_witness.counts(before, place, bins), score_witness.counts(now, place, bins))
        assert of.stability_index == pytest.approx(drift, rel=1e-9, abs=1e-12), each["name"]
        assert score_models.moves(of) == score_models.told_moves(now, then, place)
    assert seen.dimensions["since"].stability_index > 0.25, "who came later is of another time"
    assert list(seen.version.dimensions[0].cut_offs) != list(fitted.dimensions[0].cut_offs)
    done = score_models.publish(admin, draft.name, seen.version.etag)
    changed = sum(now[number] != then[number] for number in everybody)
    assert (done.changed_customers, done.predicted_changed_customers) == (changed, changed)
    assert score_models.under(score_models.values(admin, everybody), "value") == then


def a_retired_model_leaves_no_score_and_can_be_published_again(fresh):
    admin = fresh.client("admin")
    people = score_models.take_in(admin, score_models.purchases_of(0, 200))
    _, made = score_models.put_in_force(admin, "value", *VALUE)
    score_models.put_in_force(admin, "kept", *VALUE[2:])
    expected = score_witness.scores(VALUE, people)
    assert score_models.under(score_models.values(admin, people), "value") == expected
    done = score_models.retire(admin, "value")
    assert (done.version, done.changed_customers) == ("", len(people))
    assert score_models.under(score_models.values(admin, people), "value") == {}
    streamed = score_models.streamed(admin)
    assert score_models.under(streamed, "value") == {} and set(score_models.under(streamed, "kept")) == set(people)
    assert score_models.state(admin, made.version) == "RETIRED"
    models = admin.call("ScoreModelService/ListScoreModels").score_models
    assert [(each.name, each.HasField("published")) for each in models] == [
        ("scoreModels/kept", True), ("scoreModels/rfm", True), ("scoreModels/value", False)]
    retire = "ScoreModelService/RetireScoreModel"
    for name in ("scoreModels/value", score_models.RFM):
        admin.refused(retire, {"name": name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    admin.refused(retire, {"name": "scoreModels/none"}).must_be(NOT_FOUND, "NOT_FOUND")
    again, done = score_models.put_in_force(admin, "value", *VALUE)
    assert (again.name, done.changed_customers) == ("scoreModels/value/versions/2", len(people))
    assert score_models.under(score_models.values(admin, people), "value") == expected


def a_killed_suite_goes_on_with_a_rescoring_that_cannot_be_cancelled(fresh):
    admin = fresh.client("admin")
    people = score_models.take_in(admin, score_models.purchases_of(0, 2_500))
    made = score_models.create(admin, "value", *VALUE)
    seen = score_models.preview(admin, made.name)
    operation = score_models.begin_publishing(admin, made.name, seen.version.etag)
    try:
        admin.call(score_models.operations(admin, "CancelOperation"), {"name": operation.name})
    except Refusal as refusal:  # Unless it is over already.
        refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    fresh.kill()
    fresh.start()
    admin = fresh.client("admin")
    done = score_models.rescored(admin, operation)
    assert (done.version, done.changed_customers) == (made.name, len(people))
    expected = score_witness.scores(VALUE, people)
    assert score_models.under(score_models.values(admin, people), "value") == expected
    assert score_models.under(score_models.streamed(admin), "value") == expected
