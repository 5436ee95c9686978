"""Why scores are what they are: now or at any past instant, what if, what would raise them; and how they have changed."""
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

import cdnow_witness as witness
from support import facts, questions, score_models, score_witness, value_models, waiting
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT
from support.score_models import dimension, mapped

CUSTOMERS = 400
# All of given cut-offs: what a past instant is explained by has nothing to do with anybody else.
VALUE = [dimension("days", "days_since(last_order_at)", better="LOWER", cut_offs=[20, 45, 100, 300], weight=2),
         dimension("orders", "orders", cut_offs=[2, 3, 5], weight=3), dimension("spend", "revenue", cut_offs=[2_500, 9_900], weight=1),
         dimension("busy", "orders_90", cut_offs=[1, 2], weight=1), dimension("since", "days_since(first_order_at)", cut_offs=[90, 365])]
BINS, WEIGHTS = [5, 4, 3, 3, 3], [2, 3, 1, 1, 0]
PAST = ["1997-01-01T00:00:00Z", "1997-01-03T00:00:00Z", "1997-04-10T00:00:00Z", "1997-12-31T00:00:00Z", "1998-06-30T00:00:00Z"]


@pytest.fixture(scope="module")
def town(shared):
    """Customers of CDNOW, and a model with grades in force."""
    admin = shared.client("admin")
    purchases = score_models.purchases_of(0, CUSTOMERS)
    people = score_models.take_in(admin, purchases)
    score_models.put_in_force(admin, "value", *VALUE, grading={})
    numbers = questions.numbers_of(admin, "cdnow")
    # Those with the most orders have lived through the most.
    busiest = sorted(purchases, key=lambda source_id: (-len(purchases[source_id]), source_id))[:12] + sorted(purchases)[:12]
    return SimpleNamespace(admin=admin, people=people, purchases=purchases, numbers={each: numbers[each] for each in busiest})


def told_at(source_id, purchases, instant):
    """What the witness says by the facts before an instant."""
    last = instant.date() + timedelta(days=instant.time() > datetime.min.time())
    told = score_witness.person(source_id, purchases, instant)
    # A fact of midnight is before every later instant of its day.
    if last > instant.date():
        known = [line for line in purchases if line[0] < last]
        told |= {"orders": len(known), "revenue_cents": sum(cents for _, cents in known), "recency": (instant.date() - known[-1][0]).days,
                 "first": known[0][0]}
    return told


def assert_explained(explained, dimensions, told):
    """Each dimension's input, score and distances are those of the witness."""
    for of, each in zip(explained.dimensions, dimensions, strict=True):
        value = score_witness.value(each["feature"], told)
        score = score_witness.scorer(each, [])(value)
        assert (of.dimension, of.feature, of.score, of.weight) == (each["name"], each["feature"], score, each.get("weight", 0))
        assert list(of.cut_offs) == each["cut_offs"]
        assert (of.input if of.HasField("input") else None) == value, of
        steps = (None, None) if value is None else score_witness.steps(each, value)
        assert tuple(getattr(of, field) if of.HasField(field) else None for field in ("to_next_better", "to_next_worse")) == steps, of


def scores_of(explained):
    return tuple(each.score for each in explained.dimensions)


def grade_of(explained):
    of = explained.grade
    return (of.composite, of.band, of.tier, of.vip) if explained.HasField("grade") else None


@pytest.mark.parametrize("instant", [*PAST, None])
def a_score_is_explained_for_any_past_instant_by_the_facts_before_it(town, instant):
    request = {"as_of": instant} if instant else {}
    moment = datetime.fromisoformat(instant.replace("Z", "+00:00")) if instant else facts.AS_OF
    for source_id, number in town.numbers.items():
        told = told_at(source_id, town.purchases[source_id], moment)
        for model, dimensions in (("", score_models.SHIPPED), ("scoreModels/value", VALUE)):
            explained = score_models.explain(town.admin, number, model, **request)
            assert explained.as_of.seconds == moment.timestamp()
            assert explained.model_version == f"{model or score_models.RFM}/versions/1"
            assert_explained(explained, dimensions, told)
        composite = score_witness.composite(scores_of(explained), BINS, WEIGHTS)
        assert grade_of(explained) == (None if composite is None else score_witness.grade(composite))
        if not instant:
            assert scores_of(explained) == tuple(score_models.of_model(score_models.values(town.admin, [number])[number], "value").scores)


def a_past_instant_within_a_day_knows_what_was_before_it(town):
    """An order of that midnight is of the past at noon, and its recency is 0 days."""
    source_id = max(town.numbers, key=lambda each: len(town.purchases[each]))
    day = town.purchases[source_id][-1][0]
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=timezone.utc)
    explained = score_models.explain(town.admin, town.numbers[source_id], as_of=facts.text_of(noon))
    told = told_at(source_id, town.purchases[source_id], noon)
    assert told["recency"] == 0
    assert_explained(explained, score_models.SHIPPED, told)
    midnight = score_models.explain(town.admin, town.numbers[source_id], as_of=facts.text_of(noon - timedelta(hours=12)))
    assert midnight.dimensions[1].input < explained.dimensions[1].input


def features_of_a_past_instant_are_those_of_the_facts_before_it(town):
    for source_id, number in list(town.numbers.items())[:6]:
        for instant in PAST:
            told = witness.customer_of(town.purchases[source_id], datetime.fromisoformat(instant.replace("Z", "+00:00")).date())
            got = town.admin.call("FeatureService/GetFeatures", {"name": f"customers/{number}/features", "as_of": instant}).features
            assert (got.orders, got.purchase_days, facts.cents_of(got.revenue) if got.orders else 0) == (
                told["orders"], told["days"], told["revenue_cents"])
            assert {w.days: (w.orders, w.previous_orders) for w in got.windows} == {
                days: (window["now"]["orders"], window["before"]["orders"]) for days, window in told["windows"].items()}


def an_instant_that_has_not_come_is_not_explained(town):
    number = next(iter(town.numbers.values()))
    later = facts.text_of(facts.AS_OF + timedelta(seconds=1))
    for method, name in (("ScoreService/ExplainScore", "score"), ("FeatureService/GetFeatures", "features")):
        refusal = town.admin.refused(method, {"name": f"customers/{number}/{name}", "as_of": later})
        refusal.must_be(FAILED_PRECONDITION, {"FAILED_PRECONDITION", "INVALID_TIME"})


def any_version_explains_a_score_be_it_a_draft(town):
    other = score_models.rfm([10, 100, 300, 500], [2, 4, 6, 8], [1_500, 4_000, 9_000, 30_000])
    draft = score_models.create(town.admin, "rfm", *other)
    for source_id, number in town.numbers.items():
        explained = score_models.explain(town.admin, number, draft.name)
        assert explained.model_version == draft.name and not explained.HasField("grade")
        assert_explained(explained, other, town.people[number])
        assert_explained(score_models.explain(town.admin, number), score_models.SHIPPED, town.people[number])


def inputs_that_nobody_has_are_explained_as_if_they_were(town):
    source_id, number = next(iter(town.numbers.items()))
    told = town.people[number] | {"orders": 2, "revenue_cents": 2_499}
    inputs = [{"feature": "orders", "value": 2}, {"feature": "revenue", "value": 2_499}]
    explained = score_models.explain(town.admin, number, "scoreModels/value", hypothetical_inputs=inputs)
    assert_explained(explained, VALUE, told)
    assert grade_of(explained) == score_witness.grade(score_witness.composite(scores_of(explained), BINS, WEIGHTS))
    # At a past instant too, and as if there were none.
    past = told_at(source_id, town.purchases[source_id], datetime(1997, 4, 10, tzinfo=timezone.utc))
    explained = score_models.explain(town.admin, number, "scoreModels/value", as_of=PAST[2], hypothetical_inputs=[{"feature": "revenue"}])
    expected = [score_witness.scorer(each, [])(score_witness.value(each["feature"], past)) for each in VALUE]
    assert list(scores_of(explained)) == [0 if each["name"] == "spend" else score for each, score in zip(VALUE, expected)]
    composite = score_witness.composite(scores_of(explained), BINS, WEIGHTS)
    assert grade_of(explained) == score_witness.grade(composite)
    # Nobody's score has changed by it.
    scored = score_models.values(town.admin, [number])
    assert score_models.under(scored, "value") == score_witness.scores(VALUE, {number: town.people[number]})


def a_text_that_nobody_has_is_explained_too(town):
    made = score_models.create(town.admin, "place", mapped("place", "channel", {"store": 3, "online": 2}, 3, other_score=1))
    number = next(iter(town.numbers.values()))
    for text, score in (("store", 3), ("online", 2), ("fair", 1)):
        inputs = [{"feature": "channel", "text": text}]
        of = score_models.explain(town.admin, number, made.name, hypothetical_inputs=inputs).dimensions[0]
        assert (of.score, of.text_input, of.unit, of.HasField("input")) == (score, text, "", False)
    inputs = [{"feature": "channel"}]
    of = score_models.explain(town.admin, number, made.name, hypothetical_inputs=inputs).dimensions[0]
    assert (of.score, of.HasField("text_input")) == (0, False)


def cells_of(line):
    """The cells of a line of a table."""
    return [cell.strip() for cell in line.strip("│").split("┆")]


def a_command_explains_scores_in_the_units_of_features_as_they_are_and_might_be(shared, town):
    number = next(iter(town.numbers.values()))
    explained = score_models.explain(town.admin, number, "scoreModels/value")

    def told(*what_if):
        lines = shared.run("score", "explain", number, "--model", "scoreModels/value", *what_if).splitlines()
        return {cells[0]: cells for cells in map(cells_of, lines) if cells[0] in ("days", "orders", "spend")}
    now, spend = told(), explained.dimensions[2]
    assert now["spend"][1:6:2] == [str(spend.score), now["spend"][3], "USD"] and now["spend"][2] == f"{spend.input / 100:.2f}"
    assert now["orders"][2:6:3] == [str(explained.dimensions[1].input), "orders"] and now["days"][5] == "days"
    # Cut-offs lie at 25.00 and 99.00, and at 2, 3 and 5 orders.
    assert told("--if", "revenue=98.99", "--if", "orders=2")["spend"][1:] == [
        "2", "98.99", "0.01", "74.00", "USD", "between 25.00 and 98.99 USD of revenue"]
    assert told("--if", "orders=2")["orders"][1:] == ["2", "2", "1", "1", "orders", "exactly 2 orders"]
    assert told("--if", "orders=")["orders"][1:3] == ["-", "-"]


def an_explanation_says_what_one_better_score_would_make_of_the_composite(town):
    for number in town.numbers.values():
        explained = score_models.explain(town.admin, number, "scoreModels/value")
        scores = scores_of(explained)
        # What weighs nothing is left out here: whether it is said that it changes nothing is not said.
        for place, of in enumerate(explained.dimensions[:4]):
            if scores[place] == BINS[place]:
                assert not of.HasField("composite_if_better")
            elif scores[place]:
                better = (*scores[:place], scores[place] + 1, *scores[place + 1:])
                assert of.composite_if_better == score_witness.composite(better, BINS, WEIGHTS), of
    rfm = score_models.explain(town.admin, number)
    assert not any(each.HasField("composite_if_better") for each in rfm.dimensions), "it has no composite"


def the_next_better_score_is_one_that_can_be_had(fresh):
    """Of quantiles that repeat, the scores between are given to nobody. Of 1, 1, 1, 1, 5 orders they lie at 1, 1, 1 and 9/5."""
    admin = fresh.client("admin")
    orders = [facts.order(f"c{customer}", f"o{n}") for customer, count in enumerate([1, 1, 1, 1, 5]) for n in range(count)]
    questions.wait_for(admin, questions.take_in(admin, *orders).facts_position)
    score_models.put_in_force(
        admin, "few", dimension("orders", "orders", "QUANTILE", ties="VALUE", weight=1),
        dimension("days", "orders_30", cut_offs=[9], weight=1), dimension("spend", "orders_90", cut_offs=[9], weight=2), grading={})
    number = int(questions.find(admin, "c0").split("/")[1])
    of = score_models.explain(admin, number, "scoreModels/few").dimensions[0]
    assert list(of.cut_offs) == [1, 1, 1, 1]  # 9/5, rounded down: whole numbers part alike.
    assert (of.score, of.to_next_better, of.composite_if_better) == (1, 1, 25)  # To 5 of 5: (1 + 0 + 2 × 0) / 4.


def time_alone_changes_recency_when_it_is_said(town):
    for number in town.numbers.values():
        explained = score_models.explain(town.admin, number)
        expected = score_witness.recency_changes(score_models.SHIPPED[0], town.people[number])
        assert (explained.next_change_time.ToJsonString() if explained.HasField("next_change_time") else None) == expected


# -- how scores have changed ----------------------------------------------------------------------------------------------

def changes_of(client, number, **request):
    return questions.everything(client, "ScoreService/ListScoreChanges", "changes", parent=f"customers/{number}/score", **request)


def cause(change):
    return score_models.enum_name(change, "cause")


def a_customers_changes_are_listed_with_their_causes(fresh):
    admin = fresh.client("admin")
    questions.wait_for(admin, questions.take_in(admin, facts.order("ann", "e1", days=20, cents=6_000)).facts_position)
    number = int(questions.find(admin, "ann").split("/")[1])
    assert changes_of(admin, number) == [], "the first scores are not a change"
    questions.wait_for(admin, questions.take_in(admin, facts.order("ann", "e2", days=5, cents=6_000)).facts_position)
    first = [(20, 6_000)]
    history = [*first, (5, 6_000)]
    later = facts.AS_OF + timedelta(days=40)
    questions.set_clock(admin, later)
    score_models.put_in_force(admin, "rfm", *score_models.rfm([30, 90, 180, 365], [3, 4, 5, 6], [5_000, 10_000, 20_000, 50_000]))
    score_models.put_in_force(admin, "value", dimension("orders", "orders", cut_offs=[2, 9]))
    cell = lambda *args: tuple(facts.expected(*args)[part] for part in "rfm")  # noqa: E731
    once, twice, then = cell(first), cell(history), cell(history, later)
    assert once[0] == twice[0] == 5 != then[0] and once[1:] != twice[1:] == then[1:]
    waiting.until(lambda: len(changes_of(admin, number)) >= 4, "four changes")
    by_model, by_rfm, by_time, by_event = changes_of(admin, number)
    assert [cause(each) for each in (by_model, by_rfm, by_time, by_event)] == ["MODEL", "MODEL", "TIME", "EVENT"]
    assert all(each.name == f"customers/{number}/score" for each in (by_model, by_rfm, by_time, by_event))
    told = [(score_models.of_rfm(each.before), score_models.of_rfm(each.after)) for each in (by_rfm, by_time, by_event)]
    assert told == [(then, (then[0], 1, then[2])), (twice, then), (once, twice)]
    versions = [(each.before.model_version, each.after.model_version) for each in (by_rfm, by_time, by_event)]
    assert versions == [("scoreModels/rfm/versions/1", f"scoreModels/rfm/versions/{n}") for n in (2, 1, 1)]
    # Of a change, the models that changed alone.
    assert (by_model.before.model_version, by_model.after.model_version, list(by_model.before.models)) == ("", "", [])
    assert [(each.model_version, list(each.scores)) for each in by_model.after.models] == [("scoreModels/value/versions/1", [2])]
    assert not by_rfm.after.models and not by_event.after.models
    assert facts.AS_OF.timestamp() < by_time.valid_at.seconds <= later.timestamp()
    assert by_time.valid_at.ToJsonString() == facts.days_before(5 - 31), "31 days after the last order it was another score"
    told = [cells_of(line)[1:] for line in fresh.run("score", "history", number).splitlines() if "scoreModels/" in line]
    spelled = [" ".join(map(str, scores)) for scores in (once, twice, then, (then[0], 1, then[2]))]
    assert told == [["model", "scoreModels/value/versions/1", "-", "2"], ["model", "scoreModels/rfm/versions/2", spelled[2], spelled[3]],
                    ["time", "scoreModels/rfm/versions/1", spelled[1], spelled[2]], ["event", "scoreModels/rfm/versions/1", spelled[0], spelled[1]]]
    assert len(fresh.run("score", "history", f"customers/{number}", "--limit", "2").splitlines()) < len(
        fresh.run("score", "history", f"customers/{number}").splitlines())


def changes_come_in_pages_and_a_page_token_is_of_its_customer(fresh):
    admin = fresh.client("admin")
    numbers = []
    for customer in ("ann", "bob"):
        # Each makes the frequency another: 1, 2, 3 and 5 orders.
        for events in (["a"], ["b"], ["c"], ["d", "e"]):
            rows = [facts.order(customer, event) for event in events]
            questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
        numbers.append(int(questions.find(admin, customer).split("/")[1]))
    ann, bob = numbers
    whole = changes_of(admin, ann)
    assert [each.after.frequency for each in whole] == [4, 3, 2] and {cause(each) for each in whole} == {"EVENT"}
    assert changes_of(admin, ann, page_size=1) == whole
    listing = {"parent": f"customers/{ann}/score", "page_size": 1}
    token = admin.call("ScoreService/ListScoreChanges", listing).next_page_token
    refusal = admin.refused("ScoreService/ListScoreChanges", listing | {"parent": f"customers/{bob}/score", "page_token": token})
    refusal.must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
    refusal = admin.refused("ScoreService/ListScoreChanges", listing | {"page_token": "x"})
    refusal.must_be(INVALID_ARGUMENT, "INVALID_TOKEN")


def records_tell_who_reaches_some_no_time_at_which_scores_change(fresh):
    admin = fresh.client("admin")
    questions.wait_for(admin, questions.take_in(admin, facts.order("own", "o", days=9)).facts_position)
    consent = {"name": questions.find(admin, "own"), "purpose": "PURPOSE_MARKETING", "state": "CONSENT_STATE_GIVEN"}
    admin.call("PrivacyService/SetConsent", consent)
    marketer = fresh.client("marketer")
    records = waiting.until(lambda: marketer.call("StageService/ListRecords").records, "the consent to reach lifecycle")
    [whole] = admin.call("StageService/ListRecords").records
    assert whole.scores.HasField("next_change_time") and not records[0].scores.HasField("next_change_time")
    assert records[0].scores.recency == whole.scores.recency == 5


def what_was_found_from_everybody_is_not_told_to_who_reaches_some(fresh):
    admin = fresh.client("admin")
    score_models.take_in(admin, score_models.purchases_of(0, 300))
    own = facts.customer("own", attributes={"owner": "sam"})
    questions.wait_for(admin, questions.take_in(admin, own, facts.order("own", "o", days=9, cents=4_321)).facts_position)
    version, _ = score_models.put_in_force(
        admin, "money", dimension("spend", "revenue", "QUANTILE", ties="CUME_DIST"),
        dimension("since", "days_since(last_order_at)", "QUANTILE", better="LOWER", ties="CUME_DIST"), dimension("orders", "orders", cut_offs=[2]))
    number = int(questions.find(admin, "own").split("/")[1])
    sales = fresh.client("sales", subject="sam")
    told, whole = (score_models.explain(client, number, "scoreModels/money") for client in (sales, admin))
    assert [each.score for each in told.dimensions] == [each.score for each in whole.dimensions] and whole.HasField("next_change_time")
    for each in told.dimensions[:2]:
        assert not each.cut_offs and not each.HasField("to_next_better") and not each.HasField("to_next_worse")
        assert "found from all customers" in each.reason
    assert not told.HasField("next_change_time") and list(told.dimensions[2].cut_offs) == [2]
    for client, tells in ((sales, False), (admin, True)):
        one = client.call("ScoreService/GetScore", {"name": f"customers/{number}/score"}).values
        [of_batch] = client.call("ScoreService/BatchGetScores", {"names": [f"customers/{number}/score"]}).scores
        assert one.HasField("next_change_time") == of_batch.values.HasField("next_change_time") == tells
    seen = score_models.get(sales, version.name)
    assert [len(each.cut_offs) for each in seen.dimensions] == [0, 0, 1] and not seen.HasField("preview")
    value_models.publish(admin, value_models.fit(admin))
    model = sales.call("ValueModelService/GetValueModel", {"name": "valueModels/1"})
    assert model.terms.months == 12 and not any(model.HasField(part) for part in ("purchases", "spend", "holdout"))
    assert sales.call("ValueService/GetValue", {"name": f"customers/{number}/value"}).HasField("lifetime_value")
