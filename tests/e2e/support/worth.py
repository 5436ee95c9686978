"""Lifetime value as a dimension of score models: a company in São Paulo, where the midnight of October 11th 1998 is left out, and what scores ought
to be by what `ValueService` says of each customer, which computes it when it is asked, and by the definition."""
import random
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from support import facts, questions, score_models, score_witness, value_models
from support.score_models import dimension

TENANT, ZONE, DAY = "paulo", ZoneInfo("America/Sao_Paulo"), timedelta(days=1)
FIRST_DAY, DAYS = date(1998, 9, 1), 75
FEATURE = "lifetime_value"
QUARTILES = dimension("frozen", FEATURE, "QUANTILE", ties="VALUE", weight=2)


def begin(day):
    """The instant at which a local day begins."""
    wall = datetime(day.year, day.month, day.day, tzinfo=ZONE)
    # A midnight that is left out begins with the hour behind it.
    return wall.astimezone(timezone.utc)


def company(seed=11, count=70, end=FIRST_DAY, leave=0.15):
    """{id: [(instant, cents)]}: each buys at a rate of its own until it leaves, for amounts around a mean of its own."""
    chance, people = random.Random(seed), {}
    for n in range(count):
        gap, mean = 1 / chance.gammavariate(1.2, 0.03), 5_000 / chance.gammavariate(3.5, 1)
        bought, day = [], end - timedelta(days=chance.randrange(30, 400))
        while day < end:
            bought.append((begin(day) + timedelta(hours=chance.randrange(23)), 100 + round(chance.gammavariate(5, mean / 5))))
            day += timedelta(days=1 + int(chance.expovariate(1 / gap)))
            if chance.random() < leave:
                break
        people[f"c-{n}"] = bought
    return people


def order(who, n, instant, cents):
    return facts.order(who, f"{who}-{n}", order_time=facts.text_of(instant), cents=cents)


def take_in(client, people, instant):
    rows = [order(who, n, *line) for who, bought in people.items() for n, line in enumerate(bought)]
    for start in range(0, len(rows), 10_000):
        position = questions.take_in(client, *rows[start:start + 10_000]).facts_position
    questions.wait_for(client, position, instant)


def told_values(client, numbers, minor_of=facts.cents_of):
    """{number: minor units or None} by `ValueService`."""
    found = value_models.values(client, [f"customers/{number}" for number in numbers])
    return {int(name.split("/")[1]): minor_of(each.lifetime_value) if each.HasField("lifetime_value") else None
            for name, each in found.items()}


def publish_value_model(client, **request):
    return value_models.publish(client, value_models.fit(client, **{"holdout_days": 0} | request))


def operations_of(client, target):
    """The operations of scoring that were begun for something."""
    listed = questions.everything(client, score_models.operations(client, "ListOperations"), "operations", name="operations")
    return [each for each in listed if score_models.unpacked(client, each.metadata).target == target]


def rescored_by(client, model):
    """What publishing a value model did to scores."""
    [operation] = operations_of(client, model.name)
    assert score_models.unpacked(client, operation.metadata).verb == "PublishValueModel"
    return score_models.rescored(client, operation)


class Worth:
    """The scorers of a model's dimensions, as the definition and the values at its publishing make them."""

    def __init__(self, dimensions, values):
        self.scorers = [score_witness.scorer(each, values.values()) for each in dimensions]

    def of(self, values):
        return {number: tuple(score(value) for score in self.scorers) for number, value in values.items()}


def live(client, model_id="worth"):
    """{number: scores} that the worker has made, by the feed."""
    found = {number: score_models.of_model(scored, model_id) for number, scored in score_models.streamed(client).items()}
    return {number: tuple(each.scores) for number, each in found.items() if each}


def read(client, numbers, model_id="worth"):
    """{number: scores} when they are asked for."""
    found = score_models.values(client, numbers)
    return {number: tuple(score_models.of_model(scored, model_id).scores) for number, scored in found.items()}


def assert_scores(client, expected):
    assert read(client, expected) == expected
    assert live(client) == expected


def cut_offs_between(values, shares):
    """Cut-offs between values that are there: what is at a cut-off today is under it tomorrow."""
    known = sorted(value for value in values.values() if value is not None)
    return sorted({known[int(share * (len(known) - 1))] for share in shares})


def changes_of(client, number):
    return questions.everything(client, "ScoreService/ListScoreChanges", "changes", parent=f"customers/{number}/score")


def under(scored):
    found = score_models.of_model(scored, "worth")
    return tuple(found.scores) if found else None
