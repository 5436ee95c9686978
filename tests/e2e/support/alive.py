"""How likely customers still buy, by the closed forms of the papers (Fader, Hardie and Lee 2005; Batislam, Denizel and Filiztekin 2007) with the
parameters that a fit tells, and the steps of it that records carry. Time is in weeks."""
import math

from support import score_models
from support.worth import DAY

AHEAD = 3_653  # The days within which a step is announced; where it comes later, that is looked at again then.
NEWCOMER = (0, 0.0, 0.0)


def history(days, today):
    """(repeat purchases, recency, age) by the end of the day before `today`, of who bought on these days. None: it had not bought by today."""
    if not days or min(days) > today:
        return None
    known = sorted({day for day in days if day < today})
    if not known:
        return NEWCOMER
    return len(known) - 1, (known[-1] - known[0]).days / 7, ((today - known[0]).days - 1) / 7


def probability(model, of):
    """That a customer with this history has not left by a value model."""
    (repeats, recency, age), fit = of, model.purchases
    chances = repeats + (score_models.enum_name(model, "dropout") == "AFTER_EVERY_PURCHASE")
    if not chances:
        return 1.0
    odds = math.log(fit.a / (fit.b + chances - 1)) + (fit.r + repeats) * math.log((fit.alpha + age) / (fit.alpha + recency))
    return 1 / (1 + math.exp(min(odds, 700)))


def percent(model, of):
    """The step that it is on. What is a step but for rounding is on it."""
    return math.floor(20 * probability(model, of) + 1e-9) * 5


def next_step(model, of):
    """After how many days of silence it is on another step; where that is more than ten years away, when it is looked again. None: never. Of who has
    not bought today."""
    repeats, recency, age = of
    now, later = percent(model, of), (repeats, recency, age + AHEAD / 7)
    if not now or probability(model, later) >= probability(model, of):
        return None
    return next((days for days in range(1, AHEAD) if percent(model, (repeats, recency, age + days / 7)) != now), AHEAD)


def percents(model, bought, today):
    """{customer: the step, or None} of {customer: the days on which it bought}."""
    found = {who: history(days, today) for who, days in bought.items()}
    return {who: None if of is None else percent(model, of) for who, of in found.items()}


def told(scores):
    """What records tell, of {customer: ScoreValues}."""
    return {who: of.alive_percent if of.HasField("alive_percent") else None for who, of in scores.items()}


def first_move(model, bought, today):
    """The first later day on which time alone moves somebody, and whom."""
    day = today + DAY
    before = percents(model, bought, today)
    while not (moved := {who for who, step in percents(model, bought, day).items() if step != before[who]}):
        day += DAY
    return day, moved
