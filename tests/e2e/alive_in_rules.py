"""How likely customers still buy, in records and in rules: by the value model in force, as of every midnight, against the closed form with the
parameters that the model tells."""
from datetime import datetime, time, timedelta, timezone
from types import SimpleNamespace

import pytest

from lifetime_value import sample
from scores_of_lifetime_value import utc_company
from support import alive, facts, questions, score_models, segments, waiting, worth
from support.worth import DAY, operations_of, publish_value_model, rescored_by

FIELD = "alive_percent"
TODAY = facts.AS_OF.date()
EVERY = 4  # One in so many customers of the sample: some 590.
THRESHOLDS = (5, 20, 50, 95, 100)


def bought_of(lines):
    """{customer: the days on which it bought}"""
    found = {}
    for who, day, _ in lines:
        found.setdefault(who, set()).add(day)
    return found


@pytest.fixture
def town(fresh):
    """Some of the customers of CDNOW and two leads, with a value model in force that has come to all of them."""
    admin, all_lines = fresh.client("admin"), sample()
    some = set(sorted(bought_of(all_lines))[::EVERY])
    lines = [line for line in all_lines if line[0] in some]
    rows = [facts.cdnow_order(who, n, day, cents) for n, (who, day, cents) in enumerate(lines)]
    rows += [facts.customer(f"lead-{n}", source="cdnow") for n in range(2)]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    numbers = questions.numbers_of(admin, "cdnow")
    bought = {numbers[who]: days for who, days in bought_of(lines).items()} | {numbers[f"lead-{n}"]: set() for n in range(2)}
    assert set(alive.told(score_models.values(admin, numbers.values())).values()) == {None}
    assert counted(admin, f"has({FIELD})") == 0
    model = publish_value_model(admin)
    assert model.purchases.dropout_identified
    assert rescored_by(admin, model).changed_customers == 0, "it is no score"
    return SimpleNamespace(suite=fresh, admin=admin, numbers=numbers, bought=bought, model=model)


def counted(client, expression):
    return questions.preview(client, expression).customers


def in_rules(client, expected):
    """Waits until rules see what is expected of everybody."""
    buyers = sum(step is not None for step in expected.values())
    below = {threshold: sum(step is not None and step < threshold for step in expected.values()) for threshold in THRESHOLDS}
    rules = {f"has({FIELD})": buyers} | {f"{FIELD} < {threshold}": count for threshold, count in below.items()}
    seen = lambda: {rule: counted(client, rule) for rule in rules}  # noqa: E731
    waiting.until(lambda: seen() == rules, lambda: f"rules to see {rules}: {seen()}")


def assert_told(town, model, day):
    """Reads, the feed and rules say of everybody what the closed form says on a day."""
    expected = alive.percents(model, town.bought, day)
    assert alive.told(score_models.values(town.admin, expected)) == expected
    assert alive.told(score_models.streamed(town.admin)) == expected
    in_rules(town.admin, expected)
    return expected


def records_and_rules_tell_what_the_closed_form_says(town):
    expected = assert_told(town, town.model, TODAY)
    assert len({step for step in expected.values() if step is not None}) > 10, "customers of many steps"
    assert [expected[town.numbers[f"lead-{n}"]] for n in range(2)] == [None, None]
    assert {of.value_model for of in score_models.values(town.admin, town.bought).values()} == {town.model.name}
    made = segments.create(town.admin, "gone", f"{FIELD} < 20")
    gone = {f"customers/{number}" for number, step in expected.items() if step is not None and step < 20}
    assert gone and set(segments.members(town.admin, made.name)) == gone
    # Nothing of it is history, and of who may see some the value says the same.
    assert not any(worth.changes_of(town.admin, number) for number in list(town.bought)[::40])


def time_alone_moves_customers_at_the_midnight_that_was_announced(town):
    made = segments.create(town.admin, "half", f"{FIELD} < 50")
    before = assert_told(town, town.model, TODAY)
    day, moved = alive.first_move(town.model, town.bought, TODAY)
    midnight = datetime.combine(day, time(), timezone.utc)
    # Scores of recency may change before.
    announced = score_models.values(town.admin, moved)
    assert all(of.HasField("next_change_time") and of.next_change_time.seconds <= midnight.timestamp() for of in announced.values())
    questions.set_clock(town.admin, midnight - timedelta(seconds=1))
    assert alive.told(score_models.streamed(town.admin)) == before
    questions.set_clock(town.admin, midnight)
    after = assert_told(town, town.model, day)
    assert {number for number, step in after.items() if step != before[number]} == moved
    # And over many midnights at once.
    later = day + 100 * DAY
    questions.set_clock(town.admin, midnight + 100 * DAY)
    after = assert_told(town, town.model, later)
    assert sum(after[number] != step for number, step in before.items()) > 50
    inside = {f"customers/{number}" for number, step in after.items() if step is not None and step < 50}
    assert set(segments.members(town.admin, made.name)) == inside


def what_was_bought_today_counts_from_tomorrow_on(town):
    """Somebody who had hardly been thought alive, and a newcomer."""
    before = alive.percents(town.model, town.bought, TODAY)
    number = min(number for number, step in before.items() if step is not None and 0 < step < 40)
    who = next(who for who, known in town.numbers.items() if known == number)
    noon = facts.AS_OF + timedelta(hours=12)
    questions.set_clock(town.admin, noon)
    rows = [facts.order(each, "today", source="cdnow", order_time=facts.text_of(noon - timedelta(hours=2))) for each in (who, "lead-0")]
    questions.wait_for(town.admin, questions.take_in(town.admin, *rows).facts_position, noon)
    for each in (number, town.numbers["lead-0"]):
        town.bought[each] = town.bought[each] | {TODAY}
    today = assert_told(town, town.model, TODAY)
    assert (today[number], today[town.numbers["lead-0"]]) == (before[number], 100)
    announced = score_models.values(town.admin, [number])[number].next_change_time.seconds
    assert announced == (facts.AS_OF + DAY).timestamp()
    questions.set_clock(town.admin, facts.AS_OF + DAY)
    assert assert_told(town, town.model, TODAY + DAY)[number] > before[number]


def another_model_in_force_is_brought_to_everybody(town):
    other = publish_value_model(town.admin, dropout="DROPOUT_KIND_AFTER_EVERY_PURCHASE")
    [operation] = operations_of(town.admin, other.name)
    assert score_models.rescored(town.admin, operation).version == other.name
    assert assert_told(town, other, TODAY) != alive.percents(town.model, town.bought, TODAY)


def who_reaches_some_is_told_of_them_what_value_tells(fresh):
    admin, people = fresh.client("admin"), utc_company()
    worth.take_in(admin, people, facts.AS_OF)
    theirs = sorted(people)[::3]
    questions.wait_for(admin, questions.take_in(admin, *(facts.customer(who, attributes={"owner": "sam"}) for who in theirs)).facts_position)
    model = publish_value_model(admin)
    rescored_by(admin, model)
    numbers = questions.numbers_of(admin)
    sales = fresh.client("sales", subject="sam")
    own = score_models.values(sales, numbers.values())
    assert own.keys() == {numbers[who] for who in theirs} and model.purchases.dropout_identified
    for number, of in own.items():
        value = sales.call("ValueService/GetValue", {"name": f"customers/{number}/value"})
        assert of.alive_percent == alive.percent(model, (value.repeats, value.recency_weeks, value.age_weeks))
        assert of.alive_percent <= 100 * value.alive_probability + 1e-6 < of.alive_percent + 5 + 1e-5


def where_nobody_is_known_to_leave_nobody_has_it(fresh):
    """Customers who buy each at a rate of their own, and all to the end."""
    admin = fresh.client("admin")
    rows = [facts.order(f"c{n}", f"o{m}", days=1 + m * (4 + n), cents=1_000 + n) for n in range(60) for m in range(1 + 360 // (4 + n))]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    model = publish_value_model(admin)
    assert not model.purchases.dropout_identified
    rescored_by(admin, model)
    assert set(alive.told(score_models.streamed(admin)).values()) == {None}
    assert counted(admin, f"has({FIELD})") == 0 < counted(admin, "has(rfm.r)")
    # Nobody has a risk either, and nobody is warned of.
    fields = {field.name: field.value_type for field in admin.call("ExpressionService/ListFields").fields}
    assert fields[FIELD] == fields["churn_risk_percent"] == fields["grade.value"] and fields["warning.churn_risk"] == fields["warning.silence"]
    for rule in (f"{FIELD} < 20", "churn_risk_percent >= 80", 'warning.churn_risk == "yes"'):
        assert counted(admin, rule) == 0
