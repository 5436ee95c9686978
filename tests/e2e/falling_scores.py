"""Scores of lifetime value over some months: they fall from day to day with nobody doing anything, and are what `ValueService` says on every day."""
import random
from collections import defaultdict
from datetime import date, timedelta
from types import SimpleNamespace

import pytest

from support import alive, facts, lifetime, policies, questions, quintile, score_models, value_models, waiting
from support.score_models import dimension
from support.worth import (
    DAY, DAYS, FEATURE, FIRST_DAY, QUARTILES, TENANT, ZONE, Worth, assert_scores, begin, changes_of, company, cut_offs_between, order,
    publish_value_model, rescored_by, take_in, told_values, under)


def dimensions_by(values):
    """Both directions, every method, cut-offs at values, at nothing and below, and scores of the missing."""
    return [dimension("worth", FEATURE, cut_offs=cut_offs_between(values, (0.2, 0.5, 0.8, 0.95)), missing_score=1, weight=5),
            dimension("little", FEATURE, better="LOWER", cut_offs=cut_offs_between(values, (0.1, 0.4, 0.6)), weight=1), QUARTILES,
            dimension("even", FEATURE, "RANGE", bins=7, missing_score=3),
            dimension("shares", FEATURE, "QUANTILE", ties="CUME_DIST", bins=4),
            dimension("any", FEATURE, cut_offs=[-500, 0, 1], missing_score=2)]


class Diary:
    """What was seen of everybody's scores, moment by moment."""

    def __init__(self, client, numbers):
        self.client, self.numbers = client, numbers
        self.worth, self.moments = None, []

    def look(self, cause, instant):
        """Compares what is told with the definition of what `ValueService` tells, and keeps it."""
        values = told_values(self.client, self.numbers.values())
        if self.worth is None:
            self.worth = Worth(dimensions_by(values), values)
        expected = self.worth.of(values)
        if self.moments or cause != "MODEL":
            assert_scores(self.client, expected)
        self.moments.append(SimpleNamespace(cause=cause, instant=instant, values=values, scores=expected))
        return expected

    def changes(self, number):
        """[(cause, before, after, instant)] of a customer."""
        pairs = zip(self.moments, self.moments[1:])
        return [(later.cause, earlier.scores.get(number), later.scores[number], later.instant) for earlier, later in pairs
                if number in earlier.scores and earlier.scores[number] != later.scores[number]]


@pytest.fixture(scope="module")
def months(backend):
    """Ten weeks of the company, moved midnight by midnight, with purchases on every seventh day and another value model on the 50th."""
    with quintile.suite(backend, as_of=facts.text_of(begin(FIRST_DAY))) as suite:
        suite.client("admin").call("TenantService/CreateTenant", {"tenant_id": TENANT, "tenant": {"time_zone": ZONE.key}})
        client = suite.client("admin", TENANT)
        waiting.until(lambda: policies.is_known(client), "the tenant to be known", policies.FORCE_SECONDS)
        people, now = company(), begin(FIRST_DAY)
        take_in(client, people, now)
        questions.wait_for(client, questions.take_in(client, *(facts.customer(f"lead-{n}") for n in range(3))).facts_position, now)
        first = publish_value_model(client)
        diary, chance = Diary(client, questions.numbers_of(client)), random.Random(3)
        values = told_values(client, diary.numbers.values())
        score_models.put_in_force(client, "worth", *dimensions_by(values))
        diary.look("START", now)
        foretold = {number: score_models.explain(client, number, "scoreModels/worth") for number in diary.numbers.values()}
        scored = score_models.values(client, foretold)
        worth = value_models.values(client, [f"customers/{number}" for number in foretold])
        for number, explained in foretold.items():
            both = explained, score_models.explain(client, number)
            # Or at the midnight at which it is likelier that it has left.
            value = worth[f"customers/{number}"]
            bought = value.HasField("alive_probability")
            steps = alive.next_step(first, (value.repeats, value.recency_weeks, value.age_weeks)) if bought else None
            instants = [each.next_change_time.seconds for each in both if each.HasField("next_change_time")]
            instants += [] if steps is None else [begin(FIRST_DAY + steps * DAY).timestamp()]
            # Or at which it is worth so much less that records tell it.
            history, spent = (value.repeats, value.recency_weeks, value.age_weeks), lifetime.spent(questions.features(client, f"customers/{number}"))
            steps = lifetime.next_step(first, history, spent) if bought else None
            instants += [] if steps is None else [begin(FIRST_DAY + steps * DAY).timestamp()]
            assert scored[number].next_change_time.seconds == min(instants, default=0), number
        buyers, told_late = defaultdict(list), {}
        for passed in range(1, DAYS + 1):
            day = FIRST_DAY + passed * DAY
            now = begin(day)
            move(suite, client, now)
            diary.look("TIME", now)
            if passed % 7 == 3:
                now = begin(day) + timedelta(hours=20)
                move(suite, client, now)
                who = chance.sample(sorted(set(diary.numbers) - {"lead-0"}), 4) + (["lead-1"] if passed == 17 else [])
                hours = [timedelta(hours=chance.choice([0, 12, 19])) for _ in who]
                rows = [order(each, f"new-{passed}", begin(day) + after, chance.randrange(500, 20_000)) for each, after in zip(who, hours)]
                questions.wait_for(client, questions.take_in(client, *rows).facts_position, now)
                # And one is told of late.
                late = chance.choice(sorted(set(diary.numbers) - set(who) - {"lead-0"}))
                told = questions.take_in(client, order(late, f"late-{passed}", begin(day - 16 * DAY) + timedelta(hours=9), 7_000))
                questions.wait_for(client, told.facts_position, now)
                told_late[diary.numbers[late]] = now
                for each in (*who, late):
                    buyers[diary.numbers[each]].append(day)
                diary.look("EVENT", now)
            if passed == 50:
                model = publish_value_model(client, terms={"gross_margin_percent": 70}, dropout="DROPOUT_KIND_AFTER_EVERY_PURCHASE")
                rescored = rescored_by(client, model)
                diary.look("MODEL", now)
        yield SimpleNamespace(client=client, diary=diary, buyers=buyers, told_late=told_late, foretold=foretold,
                              rescored=rescored, model=model)


def move(suite, client, instant):
    suite.client("admin").call("ClockService/SetAsOf", {"as_of": facts.text_of(instant)})
    questions.wait_for(client, 0, instant)


def scores_are_those_of_what_customers_are_worth_on_every_day(months):
    """The fixture has compared everybody, read and by the feed, on every one of them."""
    diary = months.diary
    assert len(diary.moments) > DAYS + 10
    falls = [change for number in diary.numbers.values() for change in diary.changes(number) if change[0] == "TIME"]
    assert len(falls) > 100 and len({instant for *_, instant in falls}) > 50
    assert all(moment.values[diary.numbers["lead-0"]] is None for moment in diary.moments)
    # Where a day begins at 1 o'clock, something changed too.
    assert any(instant == begin(date(1998, 10, 11)) for *_, instant in falls)


def whoever_does_nothing_is_worth_less_from_day_to_day(months):
    """From the second midnight behind a purchase on."""
    for number in months.diary.numbers.values():
        touched = {day + n * DAY for day in months.buyers[number] for n in (0, 1)}
        for earlier, later in zip(months.diary.moments, months.diary.moments[1:]):
            today = later.instant.astimezone(ZONE).date()
            if later.cause == "TIME" and today not in touched and earlier.values[number] is not None:
                assert later.values[number] <= earlier.values[number], (number, today)


def history_tells_every_change_with_its_cause(months):
    """Falls by time, at the midnight that they are of; purchases by events, and by time when their day is over; and the model."""
    causes = set()
    for number in months.diary.numbers.values():
        expected = months.diary.changes(number)
        listed = changes_of(months.client, number)
        told = [(score_models.enum_name(each, "cause"), *(under(side) for side in (each.before, each.after)), each.valid_at.seconds)
                for each in reversed(listed) if under(each.after)]
        first = next((place for place, each in enumerate(told) if each[1]), len(told))  # Behind what the model's publishing was.
        assert [each[:3] for each in told[first:]] == [each[:3] for each in expected], number
        for (cause, _, _, seconds), (*_, instant) in zip(told[first:], expected):
            assert cause != "TIME" or seconds == instant.timestamp(), (number, instant)
        causes |= {each[0] for each in expected}
    assert causes == {"TIME", "EVENT", "MODEL"}


def the_next_change_is_the_first_day_on_which_a_score_is_another(months):
    diary, seen = months.diary, 0
    until = next(moment.instant for moment in diary.moments if moment.cause == "MODEL")
    for number, explained in months.foretold.items():
        undisturbed = min([begin(day) for day in months.buyers[number]], default=until)
        start = diary.moments[0].scores[number]
        changes = [moment.instant for moment in diary.moments
                   if moment.cause == "TIME" and moment.scores[number] != start and moment.instant <= min(until, undisturbed)]
        if explained.HasField("next_change_time"):
            told = explained.next_change_time.seconds
            assert not changes or told == changes[0].timestamp(), number
            assert changes or told >= min(until, undisturbed).timestamp(), number
            seen += bool(changes)
        else:
            assert not changes, number
    assert seen > 20


def a_past_day_is_explained_by_what_was_told_on_it(months):
    """By the model in force now: of every tenth day since that model is, but for those of whom something was told late."""
    diary = months.diary
    place = next(n for n, moment in enumerate(diary.moments) if moment.cause == "MODEL")
    for moment in diary.moments[place::10]:
        known = [number for number in diary.numbers.values() if months.told_late.get(number, moment.instant) <= moment.instant]
        for number in known[::6]:
            explained = score_models.explain(months.client, number, "scoreModels/worth", as_of=facts.text_of(moment.instant))
            found = [each.input if each.HasField("input") else None for each in explained.dimensions]
            assert found == [moment.values[number]] * len(found), (number, moment.instant)
            assert tuple(each.score for each in explained.dimensions) == moment.scores[number]
            assert {each.unit for each in explained.dimensions} == {"USD minor"}


def publishing_another_value_model_says_whom_it_changed(months):
    place = next(n for n, moment in enumerate(months.diary.moments) if moment.cause == "MODEL")
    before, after = (months.diary.moments[n].scores for n in (place - 1, place))
    assert months.rescored.version == months.model.name and not months.rescored.HasField("predicted_changed_customers")
    assert months.rescored.changed_customers == sum(before[number] != after[number] for number in before) > 0
