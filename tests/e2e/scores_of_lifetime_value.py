"""Lifetime value as a dimension of score models: dry runs, explanations, cut-offs and terms of every kind, and another value model in force."""
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from own_fields_in_rules import wait_for_fields
from support import facts, label_sets, policies, questions, quintile, score_models, score_witness, waiting
from support.refusals import FAILED_PRECONDITION, PERMISSION_DENIED, Refusal
from support.score_models import dimension
from support.worth import (
    DAY, FEATURE, QUARTILES, Worth, assert_scores, changes_of, company, cut_offs_between, live, operations_of, order,
    publish_value_model, read, rescored_by, take_in, told_values, under)


BEGIN = facts.AS_OF


def utc_company(**fields):
    """The same where days begin at midnight UTC, for those who buy at noon."""
    return {who: [((instant - timedelta(hours=4)).replace(hour=12), cents) for instant, cents in bought]
            for who, bought in company(end=BEGIN.date(), **fields).items()}


def settled(suite):
    """A company with a value model in force."""
    client = suite.client("admin")
    take_in(client, utc_company(), BEGIN)
    model = publish_value_model(client)
    numbers = questions.numbers_of(client)
    return SimpleNamespace(suite=suite, client=client, numbers=numbers, model=model, values=told_values(client, numbers.values()))


@pytest.fixture
def town(fresh):
    return settled(fresh)


@pytest.fixture(scope="module")
def still(shared):
    """One that several tests share: each has score models of its own, and none moves time or makes another value model."""
    return settled(shared)


def a_score_is_explained_with_what_is_missing_to_the_next_one(still):
    cut_offs = cut_offs_between(still.values, (0.25, 0.5, 0.75))
    worth = dimension("worth", FEATURE, cut_offs=cut_offs)
    score_models.put_in_force(still.client, "explained", worth)
    for number, value in still.values.items():
        of = score_models.explain(still.client, number, "scoreModels/explained").dimensions[0]
        assert (of.feature, of.input, of.unit, list(of.cut_offs)) == (FEATURE, value, "USD minor", cut_offs)
        steps = score_witness.steps(worth, value)
        assert tuple(getattr(of, field) if of.HasField(field) else None for field in ("to_next_better", "to_next_worse")) == steps
        assert of.score == score_witness.scorer(worth, [])(value)


def what_nobody_is_worth_is_explained_as_if_it_were(still):
    worth = dimension("worth", FEATURE, cut_offs=[-7, 0, 9], missing_score=2)
    made = score_models.create(still.client, "unlikely", worth)
    number = min(still.values)
    for value in (-8, -7, -1, 0, 8, 9, 2**62, None):
        inputs = [{"feature": FEATURE} | ({} if value is None else {"value": value})]
        explained = score_models.explain(still.client, number, made.name, hypothetical_inputs=inputs)
        of = explained.dimensions[0]
        assert (of.score, of.input if of.HasField("input") else None) == (score_witness.scorer(worth, [])(value), value)
        assert not explained.HasField("next_change_time")


def a_dry_run_finds_quantiles_of_what_customers_are_worth(town):
    questions.wait_for(town.client, questions.take_in(town.client, facts.customer("lead")).facts_position)
    values = told_values(town.client, questions.numbers_of(town.client).values())
    made = {}
    for model_id, ties in (("by-value", "VALUE"), ("by-rank", "CUME_DIST")):
        dimensions = [dimension("worth", FEATURE, "QUANTILE", ties=ties, bins=5), dimension("orders", "orders", cut_offs=[2, 4])]
        made[score_models.create(town.client, model_id, *dimensions).name] = dimensions

    def assert_seen(values):
        orders = {number: questions.features(town.client, f"customers/{number}").orders for number in values}
        for name, dimensions in made.items():
            seen = score_models.preview(town.client, name, include_cells=True)
            assert_cells(seen, Worth(dimensions[:1], values), values, orders)
            if dimensions[0]["tie_rule"] == "TIE_RULE_VALUE":
                known = [value for value in values.values() if value is not None]
                assert list(seen.version.dimensions[0].cut_offs) == score_witness.quantiles(known, 5)
    assert_seen(values)
    # Tomorrow all are worth less, and another dry run finds it, without a purchase.
    questions.set_clock(town.client, BEGIN + DAY)
    later = told_values(town.client, values)
    assert all(later[number] is None or later[number] <= value for number, value in values.items() if value is not None) and later != values
    assert_seen(later)
    # And by another value model.
    publish_value_model(town.client, terms={"months": 120, "gross_margin_percent": 3})
    assert_seen(told_values(town.client, values))


def the_impact_of_what_customers_are_worth_is_what_comes_of_publishing_it(still):
    client = still.client
    first, other = (dimension("worth", FEATURE, cut_offs=cut_offs_between(still.values, shares)) for shares in ((0.5,), (0.25, 0.75)))
    now, then = ({number: "high" if value is not None and score_witness.scorer(each, [])(value) >= 2 else label_sets.REST
                  for number, value in still.values.items()} for each in (first, other))
    score_models.put_in_force(client, "promised", first)
    wait_for_fields(client, "score.promised.d1")
    label_sets.create(client, "promised", [("high", "score.promised.d1 >= 2", None)], overlaps_allowed=True)
    waiting.until(lambda: label_sets.held(client, "promised") == now, "labels to follow")
    made = score_models.create(client, "promised", other)
    impact = label_sets.impact(client, "promised", made.name)
    moves = Counter((now[number], then[number]) for number in then)
    assert {pair: customers for pair, (customers, _) in label_sets.matrix(impact).items()} == moves and impact.moving_customers > 0
    score_models.publish(client, made.name, impact.etag)
    waiting.until(lambda: label_sets.held(client, "promised") == then, "labels to follow")


def assert_cells(seen, worth, values, orders):
    """Cells count whom they ought to, with the mean of what they are worth, rounded half away from zero."""
    scores = {number: (*of, 1 + (orders[number] >= 2) + (orders[number] >= 4) if orders[number] else 0)
              for number, of in worth.of(values).items()}
    cells = defaultdict(list)
    for number, of in scores.items():
        cells[of].append(values[number])
    told = {tuple(each.scores): each for each in seen.whole.cells}
    assert {of: each.customers for of, each in told.items()} == {of: len(members) for of, members in cells.items()}
    for of, members in cells.items():
        known = [value for value in members if value is not None]
        assert told[of].HasField("mean_lifetime_value") == bool(known), of
        if known:
            assert abs(facts.cents_of(told[of].mean_lifetime_value) - sum(known) / len(known)) <= 0.5, of
    assert {number: score_witness.cell(of, (5, 3)) for number, of in scores.items()} == {number: seen.cells[number] for number in scores}


def without_a_value_model_it_is_missing_and_cells_have_no_mean(fresh):
    client = fresh.client("admin")
    take_in(client, utc_company(), BEGIN)
    numbers = questions.numbers_of(client)
    made = score_models.create(client, "worth", dimension("worth", FEATURE, "QUANTILE", ties="VALUE"))
    with pytest.raises(Refusal) as raised:
        score_models.preview(client, made.name)
    raised.value.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    dimensions = [dimension("worth", FEATURE, cut_offs=[1_000, 5_000], missing_score=2), dimension("orders", "orders", cut_offs=[2])]
    seen = score_models.preview(client, score_models.create(client, "worth", *dimensions).name)
    assert not any(each.HasField("mean_lifetime_value") for each in seen.whole.cells)
    assert list(seen.dimensions["worth"].customers) == [0, 0, len(numbers), 0]
    score_models.publish(client, seen.version.name, seen.version.etag)
    assert {of[0] for of in live(client).values()} == {2}
    of = score_models.explain(client, min(numbers.values()), "scoreModels/worth").dimensions[0]
    assert (of.score, of.HasField("input"), of.unit) == (2, False, "USD minor")
    # The first value model gives everybody a value, by an operation; the score that nobody had a value for is told as one of the model.
    model = publish_value_model(client)
    values = told_values(client, numbers.values())
    rescored_by(client, model)
    expected = {number: (1 + (value >= 1_000) + (value >= 5_000),) for number, value in values.items()}
    assert {number: of[:1] for number, of in live(client).items()} == expected
    assert {number: of[:1] for number, of in read(client, numbers.values()).items()} == expected


def a_value_model_changes_nobodys_scores_where_none_looks_at_it(fresh):
    """It is brought to everybody all the same: records tell how likely each still buys."""
    client = fresh.client("admin")
    take_in(client, utc_company(), BEGIN)
    dimensions = [dimension("worth", FEATURE, cut_offs=[1_000])]
    score_models.create(client, "worth", *dimensions)
    assert rescored_by(client, publish_value_model(client)).changed_customers == 0
    score_models.put_in_force(client, "worth", *dimensions)
    assert rescored_by(client, publish_value_model(client, terms={"gross_margin_percent": 1})).changed_customers > 0
    score_models.retire(client, "worth")
    assert rescored_by(client, publish_value_model(client)).changed_customers == 0


def what_another_value_model_says_is_previewed_again_before_it_is_published(town):
    version = score_models.create(town.client, "fifths", QUARTILES)
    seen = score_models.preview(town.client, version.name)
    assert seen.version.preview.value_model.startswith("valueModels/")
    publish_value_model(town.client, terms={"gross_margin_percent": 5})
    stale = {"name": version.name, "etag": seen.version.etag}
    town.client.refused("ScoreModelService/PublishScoreModelVersion", stale).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    again = score_models.preview(town.client, version.name)
    assert again.version.preview.value_model != seen.version.preview.value_model
    score_models.publish(town.client, version.name, again.version.etag)


def what_was_bought_today_counts_from_midnight_on(town):
    """Whoever buys today is expected to do, to spend and to be worth what it was by the end of yesterday, until the day is over."""
    features = {who: questions.features(town.client, f"customers/{number}") for who, number in town.numbers.items()}
    who = next(who for who, of in features.items() if of.purchase_days == 3)
    number = town.numbers[who]
    score_models.put_in_force(town.client, "worth", dimension("worth", FEATURE, cut_offs=[town.values[number], 10 * town.values[number]]))
    before = town.client.call("ValueService/GetValue", {"name": f"customers/{number}/value"})
    questions.set_clock(town.client, BEGIN + timedelta(hours=12))
    questions.wait_for(town.client, questions.take_in(town.client, order(who, "new", BEGIN + timedelta(hours=8), 90_000)).facts_position)
    assert questions.features(town.client, f"customers/{number}").purchase_days == 4
    told = town.client.call("ValueService/GetValue", {"name": f"customers/{number}/value"})
    explained = score_models.explain(town.client, number, "scoreModels/worth")
    assert explained.next_change_time.seconds == (BEGIN + DAY).timestamp()
    questions.set_clock(town.client, BEGIN + DAY)
    after = town.client.call("ValueService/GetValue", {"name": f"customers/{number}/value"})
    assert (before.repeats, told.repeats, after.repeats) == (2, 2, 3)
    assert live(town.client)[number] == (1 + (facts.cents_of(after.lifetime_value) >= town.values[number])
                                         + (facts.cents_of(after.lifetime_value) >= 10 * town.values[number]),)
    # What was spent is known at once.
    assert told.expected_purchases == before.expected_purchases and told.expected_spend == after.expected_spend != before.expected_spend


def time_that_jumps_leaves_no_score_behind(town):
    """Behind a jump each customer has the scores of its end, and history tells falls by time within it, one after the other."""
    dimensions = [dimension("worth", FEATURE, cut_offs=cut_offs_between(town.values, (0.1, 0.3, 0.5, 0.7, 0.9)))]
    score_models.put_in_force(town.client, "worth", *dimensions)
    worth = Worth(dimensions, town.values)
    # Some buy on the day before it.
    now, end = BEGIN + timedelta(hours=12), BEGIN + timedelta(days=200)
    questions.set_clock(town.client, now)
    rows = [order(who, "new", BEGIN + timedelta(hours=5), 6_000) for who in list(town.numbers)[::9]]
    questions.wait_for(town.client, questions.take_in(town.client, *rows).facts_position, now)
    start = worth.of(told_values(town.client, town.values))
    assert_scores(town.client, start)
    questions.set_clock(town.client, end)
    expected = worth.of(told_values(town.client, town.values))
    assert_scores(town.client, expected)
    assert sum(start[number] != expected[number] for number in start) > 20
    for number in town.values:
        listed = changes_of(town.client, number)
        falls = [each for each in reversed(listed) if under(each.after) and each.valid_at.seconds > now.timestamp()]
        sides = [(under(each.before), under(each.after)) for each in falls]
        assert [before for before, _ in sides] == [start[number], *(after for _, after in sides)][:len(sides)]
        assert not sides or sides[-1][1] == expected[number]
        for each in falls:
            assert score_models.enum_name(each, "cause") == "TIME" and each.valid_at.seconds <= end.timestamp()
            # It holds from then on, and not before.
            instant = datetime.fromtimestamp(each.valid_at.seconds, timezone.utc)
            then, day_before = (score_models.explain(town.client, number, "scoreModels/worth", as_of=facts.text_of(at)).dimensions[0].score
                                for at in (instant, instant - timedelta(seconds=1)))
            assert then == under(each.after)[0] and day_before == under(each.before)[0], (number, instant)


def a_fall_that_is_more_than_ten_years_ahead_comes_too(fresh):
    """Where nobody leaves, who does nothing is worth as much as `1 / (alpha + age)`: a cut-off that is passed twelve years from now."""
    client = fresh.client("admin")
    take_in(client, utc_company(count=150, leave=0), BEGIN)
    model = publish_value_model(client, terms={"monthly_discount_percent": 0})
    assert not model.purchases.dropout_identified and model.HasField("spend")
    numbers = questions.numbers_of(client)
    values, alpha = told_values(client, numbers.values()), model.purchases.never_leaving_alpha
    number = numbers["c-1"]
    age = client.call("ValueService/GetValue", {"name": f"customers/{number}/value"}).age_weeks
    cut_off = round(values[number] * (alpha + age) / (alpha + age + 12 * 52.18))
    score_models.put_in_force(client, "worth", dimension("worth", FEATURE, cut_offs=[cut_off]))
    for years in (2, 7, 11, 13):
        now = BEGIN + timedelta(days=round(365.25 * years))
        questions.set_clock(client, now)
        value = told_values(client, [number])[number]
        assert (value >= cut_off) == (years < 12), (years, value, cut_off)
        assert live(client)[number] == (1 + (value >= cut_off),), years


@pytest.mark.parametrize("terms", [{"gross_margin_percent": 1e-9}, {"gross_margin_percent": 100, "months": 1},
                                   {"gross_margin_percent": 100, "months": 120}, {"monthly_discount_percent": 100, "months": 120}])
def extreme_terms_score_as_they_are(town, terms):
    dimensions = [dimension("any", FEATURE, cut_offs=[-1, 0, 1, 100_000], missing_score=1), QUARTILES]
    publish_value_model(town.client, terms=terms)
    values = told_values(town.client, town.values)
    score_models.put_in_force(town.client, "worth", *dimensions)
    worth = Worth(dimensions, values)
    assert_scores(town.client, worth.of(values))
    questions.set_clock(town.client, BEGIN + timedelta(days=45))
    assert_scores(town.client, worth.of(told_values(town.client, town.values)))


def yen_are_scored_in_yen(fresh):
    """Who first bought ten years ago is among them."""
    tenant = {"base_currency": "JPY", "time_zone": "Asia/Tokyo"}
    fresh.client("admin").call("TenantService/CreateTenant", {"tenant_id": "kyoto", "tenant": tenant})
    client = fresh.client("admin", "kyoto")
    waiting.until(lambda: policies.is_known(client), "the tenant to be known", policies.FORCE_SECONDS)
    people = utc_company() | {"old": [(BEGIN - timedelta(days=3_700), 4_000), (BEGIN - timedelta(days=3_000), 5_000)]}
    rows = [facts.order(who, f"{who}-{n}", order_time=facts.text_of(instant), amount={"currency_code": "JPY", "units": cents})
            for who, bought in people.items() for n, (instant, cents) in enumerate(bought)]
    questions.wait_for(client, questions.take_in(client, *rows).facts_position)
    publish_value_model(client)
    numbers = questions.numbers_of(client)

    def yen(money):
        assert (money.currency_code, money.nanos) == ("JPY", 0)
        return money.units
    values = told_values(client, numbers.values(), yen)
    dimensions = [dimension("worth", FEATURE, cut_offs=cut_offs_between(values, (0.2, 0.5, 0.8))), QUARTILES]
    seen = score_models.preview(client, score_models.create(client, "worth", *dimensions).name)
    assert seen.version.dimensions[0].unit == "JPY minor"
    assert all(each.mean_lifetime_value.currency_code == "JPY" and each.mean_lifetime_value.nanos == 0 for each in seen.whole.cells)
    score_models.publish(client, seen.version.name, seen.version.etag)
    worth = Worth(dimensions, values)
    assert_scores(client, worth.of(values))
    # Midnight in Tokyo is at 15:00.
    for hours in (15, 15 + 24 * 20):
        questions.set_clock(fresh.client("admin"), BEGIN + timedelta(hours=hours))
        questions.wait_for(client, 0, BEGIN + timedelta(hours=hours))
        assert_scores(client, worth.of(told_values(client, numbers.values(), yen)))


def a_grade_falls_with_what_a_customer_is_worth_and_segments_follow(town):
    dimensions = [dimension("worth", FEATURE, cut_offs=cut_offs_between(town.values, (0.3, 0.6, 0.8)), weight=8),
                  dimension("orders", "orders", cut_offs=[2], weight=1), dimension("spend", "revenue", cut_offs=[1], weight=1)]
    score_models.put_in_force(town.client, "grade", *dimensions, grading={})
    orders = {number: questions.features(town.client, f"customers/{number}").orders for number in town.values}

    def expected():
        of = Worth(dimensions[:1], {}).of(told_values(town.client, town.values))
        composites = [score_witness.composite((*of[number], 1 + (orders[number] >= 2), 2), (4, 2, 2), (8, 1, 1)) for number in of]
        return sum(composite >= 75 for composite in composites)
    counts = []
    for days in (0, 30, 90, 200):
        questions.set_clock(town.client, BEGIN + timedelta(days=days))
        counts.append(expected())
        waiting.until(lambda: questions.preview(town.client, 'grade.band == "A"').customers == counts[-1],
                      lambda: f"{counts[-1]} of band A")
    assert counts[0] > counts[-1]


def who_does_not_read_money_makes_no_model_of_it(still):
    policies.publish(still.client, policies.role_like(still.client, "admin", "no-money", forms={"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}))
    client = policies.client_of(still.suite, "no-money")
    worth = dimension("worth", FEATURE, "QUANTILE", ties="VALUE")
    request = {"parent": "scoreModels/secret", "version": score_models.version(worth)}
    client.refused("ScoreModelService/CreateScoreModelVersion", request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    version, _ = score_models.put_in_force(still.client, "secret", worth)
    draft = score_models.create(still.client, "secret", worth)
    for method, name in (("PreviewScoreModelVersion", draft.name), ("PreviewScoreModelVersion", version.name),
                         ("PublishScoreModelVersion", draft.name), ("RefitScoreModel", "scoreModels/secret")):
        client.refused(f"ScoreModelService/{method}", {"name": name}).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    number = max(still.values, key=still.values.get)
    explained = score_models.explain(client, number, "scoreModels/secret")
    of = explained.dimensions[0]
    assert of.score == 5 and not any(of.HasField(field) for field in ("input", "to_next_better", "to_next_worse")) and not of.cut_offs
    assert not explained.HasField("next_change_time")
    asking = {"name": f"customers/{number}/score", "model": "scoreModels/secret", "hypothetical_inputs": [{"feature": FEATURE, "value": 5}]}
    client.refused("ScoreService/ExplainScore", asking).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    # Of a model of something else it sees no means.
    made = score_models.create(client, "secret-count", dimension("orders", "orders", cut_offs=[2]))
    cells = score_models.preview(client, made.name).whole.cells
    assert cells and not any(each.HasField("mean_lifetime_value") for each in cells)
    assert all(each.HasField("mean_lifetime_value") for each in score_models.preview(still.client, made.name).whole.cells)


# -- many, and in the middle of it ----------------------------------------------------------------------------------------

def a_killed_suite_goes_on_with_what_another_value_model_changes(backend):
    """More customers than are gone through at once: it is killed when it has come to the second part."""
    with quintile.suite(backend) as suite:
        admin = suite.client("admin")
        people = score_models.take_in(admin, score_models.purchases_of(0, 520))
        publish_value_model(admin)
        values = told_values(admin, people)
        dimensions = [dimension("worth", FEATURE, cut_offs=cut_offs_between(values, (0.2, 0.5, 0.8))), QUARTILES]
        score_models.put_in_force(admin, "worth", *dimensions)
        worth = Worth(dimensions, values)
        before = worth.of(values)
        assert_scores(admin, before)
        suite.stop()
        suite.start(failpoints="scores::before_rescored_part=1*off->1*return")
        admin = suite.client("admin")
        model = publish_value_model(admin, terms={"gross_margin_percent": 60})
        waiting.until(lambda: suite.has_logged("failpoint scores::before_rescored_part reached"), "the second part to be reached")
        then = worth.of(told_values(admin, people))
        assert read(admin, people) == then, "reads are by it at once"
        half = live(admin)
        changed = [number for number in then if then[number] != before[number]]
        assert 0 < sum(half[number] == then[number] for number in changed) < len(changed)
        # An event comes to one before the model has: its scores are the model's doing all the same.
        late = next(number for number in changed if half[number] != then[number])
        who = next(who for who, known in questions.numbers_of(admin, "cdnow").items() if known == late)
        questions.take_in(admin, facts.interaction(who, "late", source="cdnow"))
        suite.kill()
        suite.start()
        admin = suite.client("admin")
        done = rescored_by(admin, model)
        assert done.version == model.name
        assert_scores(admin, then)
        for number in [late, *changed[::30]]:
            [change] = [each for each in changes_of(admin, number) if under(each.before)]
            assert score_models.enum_name(change, "cause") == "MODEL"
            assert (under(change.before), under(change.after)) == (before[number], then[number])
        # Whoever changed by an event meanwhile is not among them.
        assert len(changed) - done.changed_customers in (0, 1)
