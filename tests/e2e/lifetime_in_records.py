"""What customers will be worth, in records, in rules and in what is at stake by warnings: by the value model in force, as of every midnight, against
the formulas with the parameters that the model tells; who sees it; and that it is gone when the model is retired."""
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, time, timedelta, timezone
from fractions import Fraction
from threading import Barrier
from types import SimpleNamespace

import grpc
import pytest

from scores_of_lifetime_value import utc_company
from support import facts, lifetime, policies, questions, score_models, segments, value_models, waiting, warnings, worth
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, Refusal
from support.worth import DAY, publish_value_model, rescored_by

FIELD, TODAY = "lifetime_value", facts.AS_OF.date()
ABORTED = grpc.StatusCode.ABORTED
RETIRE = "ValueModelService/RetireValueModel"
REDACTED = {"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}


def settled(suite):
    """A company and two leads, with a value model in force that has come to all of them."""
    admin, people = suite.client("admin"), utc_company()
    worth.take_in(admin, people, facts.AS_OF)
    questions.wait_for(admin, questions.take_in(admin, *(facts.customer(f"lead-{n}") for n in range(2))).facts_position)
    numbers, bought = questions.numbers_of(admin), defaultdict(dict)
    for who, number in numbers.items():
        for instant, cents in people.get(who, ()):
            bought[number][instant.date()] = bought[number].get(instant.date(), 0) + cents
        bought[number] = dict(sorted(bought[number].items()))
    town = SimpleNamespace(suite=suite, admin=admin, numbers=numbers, bought=dict(bought))
    assert set(in_scores(town).values()) == {None} and counted(admin, f"has({FIELD})") == 0
    # With terms of its own, what anybody is worth is not what it brings in in a year.
    town.model = publish_value_model(admin, terms={"gross_margin_percent": 60, "months": 6})
    assert town.model.HasField("spend") and rescored_by(admin, town.model).changed_customers == 0, "it is no score"
    return town


@pytest.fixture(scope="module")
def still(shared):
    """One that several tests read: none moves time or makes another model."""
    return settled(shared)


@pytest.fixture
def town(fresh):
    return settled(fresh)


def counted(client, expression):
    return questions.preview(client, expression).customers


def in_scores(town):
    return lifetime.told(score_models.values(town.admin, town.numbers.values()))


def records(client):
    """{number: record} by lifecycle."""
    listed = questions.everything(client, "StageService/ListRecords", "records", page_size=1_000)
    return {record.customer_id: record for record in listed}


def in_rules(town, expected):
    """Waits until rules see what is expected of everybody."""
    amounts = sorted({amount for amount in expected.values() if amount is not None})
    rules = {f"has({FIELD})": sum(amount is not None for amount in expected.values())}
    rules |= {f"{FIELD} >= {least / 100:.2f}": sum(amount is not None and amount >= least for amount in expected.values()) for least in amounts}
    seen = lambda: {rule: counted(town.admin, rule) for rule in rules}  # noqa: E731
    waiting.until(lambda: seen() == rules, lambda: f"rules to see {rules}: {seen()}")


def assert_told(town, model, day):
    """Reads, both feeds and rules say of everybody what the formula says on a day."""
    expected = lifetime.of_everybody(model, town.bought, day)
    assert in_scores(town) == expected
    assert lifetime.told(score_models.streamed(town.admin)) == expected
    in_rules(town, expected)
    assert lifetime.told({number: record.scores for number, record in records(town.admin).items()}) == expected
    return expected


# -- what is told, and to whom --------------------------------------------------------------------------------------------

def records_and_rules_tell_the_step_that_the_formula_is_on(still):
    expected = assert_told(still, still.model, TODAY)
    assert len(set(expected.values())) > 6 and [expected[still.numbers[f"lead-{n}"]] for n in range(2)] == [None, None]
    assert {of.value_model for of in score_models.values(still.admin, expected).values()} == {still.model.name}
    exact = worth.told_values(still.admin, expected)
    assert {number: None if cents is None else lifetime.step(cents) for number, cents in exact.items()} == expected
    least = sorted(amount for amount in expected.values() if amount is not None)[-10]
    made = segments.create(still.admin, "precious", f"{FIELD} >= {least / 100:.2f}")
    precious = {f"customers/{number}" for number, amount in expected.items() if amount is not None and amount >= least}
    assert set(segments.members(still.admin, made.name)) == precious
    # Nothing of it is history.
    assert not any(worth.changes_of(still.admin, number) for number in list(expected)[::10])


def the_instant_is_told_at_which_time_alone_moves_a_customer(still):
    """It is no later than that at which the formula passes a step."""
    found = score_models.values(still.admin, still.numbers.values())
    for name, number in list(still.numbers.items())[::5]:
        if name.startswith("lead"):
            continue
        value = still.admin.call("ValueService/GetValue", {"name": f"customers/{number}/value"})
        spent = lifetime.spent(questions.features(still.admin, f"customers/{number}"))
        days = lifetime.next_step(still.model, (value.repeats, value.recency_weeks, value.age_weeks), spent)
        if days is not None:
            told = found[number]
            assert told.HasField("next_change_time") and told.next_change_time.seconds <= (facts.AS_OF + days * DAY).timestamp(), name


def who_reads_no_money_sees_none_of_it(still):
    policies.publish(still.admin, policies.role_like(still.admin, "admin", "no-money", forms=REDACTED))
    client = policies.client_of(still.suite, "no-money")
    made = segments.create(still.admin, "everybody", "true")
    ways = {"reads": score_models.values(client, still.numbers.values()), "the feed": score_models.streamed(client),
            "lifecycle": {number: record.scores for number, record in records(client).items()},
            "members": {each.customer_id: each.scores for each in questions.everything(
                client, "SegmentService/ListMemberRecords", "records", parent=made.name, page_size=1_000)}}
    mine = records(still.admin)
    for way, found in ways.items():
        assert found.keys() == mine.keys(), way
        for number, of in found.items():
            assert not of.HasField(FIELD) and (way == "reads" or of.value_model == mine[number].scores.value_model), way
            assert of.HasField("alive_percent") == mine[number].scores.HasField("alive_percent"), way
            # It would tell when a customer passes a step.
            assert not (of.HasField("next_change_time") and mine[number].scores.HasField(FIELD)), way
    assert any(record.scores.HasField("next_change_time") for record in mine.values())
    number = still.numbers["c-1"]
    profile = client.call("ProfileService/GetProfile", {"name": f"customers/{number}/profile"}).scores
    assert not profile.HasField(FIELD) and not profile.HasField("next_change_time") and profile.value_model == still.model.name
    for rule in (f"{FIELD} > 1.00", f"has({FIELD})", f"!({FIELD} < 5.00) || orders > 1"):
        client.refused("SegmentService/PreviewSegment", {"expression": rule}).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    usable = [{field.name: field.usable for field in each.call("ExpressionService/ListFields").fields}[FIELD] for each in (still.admin, client)]
    assert usable == [True, False]


def who_reaches_some_is_told_of_them(still):
    theirs = sorted(who for who in still.numbers if who.startswith("c-"))[::4]
    position = questions.take_in(still.admin, *(facts.customer(who, attributes={"owner": "sam"}) for who in theirs)).facts_position
    questions.wait_for(still.admin, position)
    expected = lifetime.of_everybody(still.model, still.bought, TODAY)
    sales = still.suite.client("sales", subject="sam")
    assert lifetime.told(score_models.values(sales, still.numbers.values())) == {still.numbers[who]: expected[still.numbers[who]] for who in theirs}


# -- as time passes, and with other models --------------------------------------------------------------------------------

def time_alone_moves_customers_at_the_midnight_that_was_announced(town):
    before = assert_told(town, town.model, TODAY)
    day, moved = lifetime.first_move(town.model, town.bought, TODAY)
    midnight = datetime.combine(day, time(), timezone.utc)
    announced = score_models.values(town.admin, moved)
    assert all(of.HasField("next_change_time") and of.next_change_time.seconds <= midnight.timestamp() for of in announced.values())
    questions.set_clock(town.admin, midnight - timedelta(seconds=1))
    assert lifetime.told(score_models.streamed(town.admin)) == before
    questions.set_clock(town.admin, midnight)
    after = assert_told(town, town.model, day)
    assert {number for number, amount in after.items() if amount != before[number]} == moved
    # What was bought today counts from tomorrow on, and what was spent at once.
    number = max(before, key=lambda number: len(town.bought[number]))
    who = next(who for who, known in town.numbers.items() if known == number)
    noon = midnight + timedelta(hours=12)
    questions.set_clock(town.admin, noon)
    row = facts.order(who, "today", order_time=facts.text_of(noon - timedelta(hours=2)), cents=90_000)
    questions.wait_for(town.admin, questions.take_in(town.admin, row).facts_position, noon)
    town.bought[number] = town.bought[number] | {day: 90_000}
    assert_told(town, town.model, day)
    for days in (1, 100):
        questions.set_clock(town.admin, midnight + days * DAY)
        assert_told(town, town.model, day + days * DAY)


def complaint(town, who, number, at):
    """The warning of a complaint of a customer, which is told from scratch."""
    row = warnings.complaint(who, f"{who}-{number}", number, True, interaction_time=facts.text_of(at - timedelta(hours=1)))
    questions.wait_for(town.admin, questions.take_in(town.admin, row).facts_position, at)
    [warning] = warnings.listed(town.admin, questions.find(town.admin, who), kinds=("COMPLAINT",))
    return warning


def assert_at_stake(warning, cents, value_model):
    assert (facts.cents_of(warning.customer_value), warning.value_model) == (cents, value_model)
    risk = {0.5: Fraction(1, 2), 0.8: Fraction(4, 5)}[warning.risk]
    assert facts.cents_of(warning.value_at_stake) == warnings.cents_at_stake(cents, risk)
    assert warnings.value_name(warning, "severity") == warnings.severity_of(warnings.cents_at_stake(cents, risk))


def better_year(town, number):
    """The revenue of the better one of the last two years of a customer, who bought at noons."""
    ago = {day: (TODAY - day).days for day in town.bought[number]}
    return max(sum(cents for day, cents in town.bought[number].items() if first < ago[day] <= first + 365) for first in (0, 365))


def what_is_at_stake_goes_by_the_model_that_is_in_force(town):
    """Another one is brought to everybody, and without one it goes by revenue."""
    at, bought = facts.AS_OF, town.bought
    expected = lifetime.of_everybody(town.model, bought, TODAY)
    alive = [who for who, number in town.numbers.items() if expected[number] and questions.stage(town.admin, f"customers/{number}") != "CHURNED"]
    first, second, third = sorted(alive, key=lambda who: -expected[town.numbers[who]])[:3]
    assert_at_stake(complaint(town, first, 1, at), expected[town.numbers[first]], town.model.name)
    client = no_money(town)
    [hidden] = warnings.listed(client, questions.find(town.admin, first), kinds=("COMPLAINT",))
    assert not hidden.HasField("customer_value") and not hidden.HasField("value_at_stake") and hidden.value_model == town.model.name
    text = warnings.command(town.suite, "show", hidden.name)
    assert f"by {town.model.name}, and to be lost" in text
    other = publish_value_model(town.admin, dropout="DROPOUT_KIND_AFTER_EVERY_PURCHASE", terms={"gross_margin_percent": 2})
    rescored_by(town.admin, other)
    told = assert_told(town, other, TODAY)
    assert told != expected
    assert_at_stake(complaint(town, second, 2, at), told[town.numbers[second]], other.name)
    town.admin.call(RETIRE, {"name": other.name})
    gone(town, other)
    assert_at_stake(complaint(town, third, 3, at), better_year(town, town.numbers[third]), "")
    # What was raised stays as it was.
    [warning] = warnings.listed(town.admin, questions.find(town.admin, first), kinds=("COMPLAINT",))
    assert_at_stake(warning, expected[town.numbers[first]], town.model.name)


def no_money(town):
    policies.publish(town.admin, policies.role_like(town.admin, "admin", "no-money", forms=REDACTED))
    return policies.client_of(town.suite, "no-money")


def gone(town, model):
    """What the retired model said is in no record any more, and its operation has said what it did to scores."""
    begun = [each for each in worth.operations_of(town.admin, model.name)
             if score_models.unpacked(town.admin, each.metadata).verb == "RetireValueModel"]
    assert len(begun) == 1
    done = score_models.rescored(town.admin, begun[0])
    for found in (score_models.values(town.admin, town.numbers.values()), score_models.streamed(town.admin)):
        assert {(of.HasField(FIELD), of.HasField("alive_percent"), of.value_model) for of in found.values()} == {(False, False, "")}
    waiting.until(lambda: counted(town.admin, f"has({FIELD}) || has(alive_percent)") == 0, "rules to see nothing of it")
    assert done.version == ""
    return done


def at_once(client, *calls):
    """Whether each of several calls was answered that begin together; the others were refused, since what they change is in no such state."""
    begun = Barrier(len(calls))

    def outcome(call):
        begun.wait()
        try:
            client.call(*call)
        except Refusal as refusal:
            refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
            return False
        return True
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(outcome, calls))


def a_model_that_is_published_while_another_or_it_is_retired_leaves_one_truth(town):
    admin = town.admin
    before, publish = town.model.name, "ValueModelService/PublishValueModel"
    for _ in range(3):
        draft = value_models.fit(admin, holdout_days=0)
        # Whoever comes first, the draft is in force, and the one before it is not.
        published, _ = at_once(admin, (publish, {"name": draft.name}), (RETIRE, {"name": before}))
        states = {model.name: score_models.enum_name(model, "state") for model in admin.call("ValueModelService/ListValueModels").models}
        assert published and (states.pop(draft.name), set(states.values())) == ("PUBLISHED", {"RETIRED"})
        # And now the same one: it is retired, where that did not come too early.
        again = value_models.fit(admin, holdout_days=0)
        published, retired = at_once(admin, (publish, {"name": again.name}), (RETIRE, {"name": again.name}))
        state = score_models.enum_name(admin.call("ValueModelService/GetValueModel", {"name": again.name}), "state")
        assert published and state == ("RETIRED" if retired else "PUBLISHED")
        before = again.name
    for name in states.keys() | {draft.name, again.name}:
        for operation in worth.operations_of(admin, name):
            score_models.rescored(admin, operation)
    # What everybody's records say is by the one that is in force, or by none. The feed says as much, though not by which: what stays is not written again.
    read, streamed = score_models.values(admin, town.numbers.values()), score_models.streamed(admin)
    assert {of.value_model for of in read.values() if of.HasField(FIELD)} == (set() if retired else {before})
    told = [{number: facts.cents_of(getattr(of, FIELD)) for number, of in each.items() if of.HasField(FIELD)} for each in (read, streamed)]
    assert told[0] == told[1]


def a_model_is_retired_by_who_may_and_by_what_is_known_of_it(town):
    """Scores of lifetime value follow, and a model that is published later takes its place."""
    admin, name = town.admin, town.model.name
    draft = value_models.fit(admin, holdout_days=0)
    for wrong in ("", "valueModels/0", "valueModels/x", "scoreModels/1"):
        admin.refused(RETIRE, {"name": wrong}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    admin.refused(RETIRE, {"name": "valueModels/999999"}).must_be(NOT_FOUND, "NOT_FOUND")
    admin.refused(RETIRE, {"name": name, "etag": '"0"'}).must_be(ABORTED, "STALE_ETAG")
    admin.refused(RETIRE, {"name": draft.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    no_money(town).refused(RETIRE, {"name": name}).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    values = {number: cents for number, cents in worth.told_values(admin, town.numbers.values()).items() if cents}
    median = sorted(values.values())[len(values) // 2]
    score_models.put_in_force(admin, "worth", score_models.dimension("worth", FIELD, cut_offs=[median], missing_score=1))
    etag = admin.call("ValueModelService/GetValueModel", {"name": name}).etag
    retired = admin.call(RETIRE, {"name": name, "etag": etag})
    assert score_models.enum_name(retired, "state") == "RETIRED" and retired.etag != etag
    assert gone(town, retired).changed_customers == sum(cents >= median for cents in values.values())
    assert set(worth.live(admin).values()) == {(1,)}
    admin.refused(RETIRE, {"name": name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    number = next(iter(values))
    admin.refused("ValueService/GetValue", {"name": f"customers/{number}/value"}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    admin.refused("ValueModelService/PublishValueModel", {"name": name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    published = value_models.publish(admin, draft)
    assert rescored_by(admin, published).changed_customers > 0
    assert_told(town, published, TODAY)
