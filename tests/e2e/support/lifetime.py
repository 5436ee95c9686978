"""What customers will be worth, by the formulas of the papers (Fader, Hardie and Lee 2005; Batislam, Denizel and Filiztekin 2007; Fader and Hardie
2013) with the parameters that a fit tells, and the steps of it that records carry. Time is in weeks, money in cents."""
import bisect

from support import alive, facts, score_models

MONTH = 365.25 / 12 / 7
STEPS = (1, 1.5, 2, 3, 5, 7)
UNIT = 100  # Cents of a dollar, below which nothing is told apart.


def hypergeometric(a, b, c, z):
    """Gauss's 2F1, by its series: all its terms are positive here."""
    total, term, n = 1.0, 1.0, 0
    while term > 1e-17 * total:
        term *= (a + n) * (b + n) / ((c + n) * (n + 1)) * z
        total, n = total + term, n + 1
    return total


def purchases(model, of, time):
    """How often a customer with this history is expected to buy within so much time, by a value model."""
    (repeats, _, age), fit = of, model.purchases
    if not fit.dropout_identified:
        return (fit.never_leaving_r + repeats) / (fit.never_leaving_alpha + age) * time
    chances = repeats + (score_models.enum_name(model, "dropout") == "AFTER_EVERY_PURCHASE")
    passed = fit.alpha + age
    grown, c = passed / (passed + time), fit.a + fit.b + chances - 1
    shape = fit.r + repeats
    left_over = grown ** shape * hypergeometric(shape, fit.b + chances, c, 1 - grown)
    return alive.probability(model, of) * c / (fit.a - 1) * (1 - left_over)


def spend(model, of):
    """What it is expected to spend on each, of (purchase days but the first, cents spent on them in all)."""
    fit, (days, cents) = model.spend, of
    v = fit.v_nanos / 1e9 * 100
    if days <= 0 or cents <= 0:
        return fit.p * v / (fit.q - 1)
    return fit.p * (v + cents) / (fit.p * days + fit.q - 1)


def cents(model, history, spent):
    """What it will be worth."""
    terms, before, discounted = model.terms, 0.0, 0.0
    for month in range(1, terms.months + 1):
        until = purchases(model, history, month * MONTH)
        discounted += (until - before) / (1 + terms.monthly_discount_percent / 100) ** month
        before = until
    return round(terms.gross_margin_percent / 100 * spend(model, spent) * discounted)


def step(amount):
    """The step that an amount is on."""
    if amount < UNIT:
        return 0
    power = 10 ** (len(str(amount)) - 1)
    return max(round(each * power) for each in STEPS if each * power <= amount)


def next_step(model, history, spent):
    """After how many days of silence it is on another step; where that is more than ten years away, when it is looked again. None: never. Of who has
    not bought today: it falls from day to day."""
    repeats, recency, age = history
    after = lambda days: step(cents(model, (repeats, recency, age + days / 7), spent))  # noqa: E731
    now = after(0)
    return bisect.bisect_left(range(1, alive.AHEAD), True, key=lambda days: after(days) != now) + 1 if now else None


def spent(features):
    """What was spent after the first day of purchase, as a customer's features tell it."""
    return features.purchase_days - 1, facts.cents_of(features.repeat_revenue) if features.HasField("repeat_revenue") else 0


def told(scores):
    """What records tell, of {customer: ScoreValues}."""
    return {who: facts.cents_of(of.lifetime_value) if of.HasField("lifetime_value") else None for who, of in scores.items()}


def of_everybody(model, bought, today):
    """{customer: its step, or None} of {customer: {day: cents}}, as of the end of the day before."""
    def of(days):
        history = alive.history(days, today)
        # What was spent is known at once, while purchases count from the next day on.
        first = min(days, default=None)
        later = [amount for day, amount in days.items() if first < day <= today]
        return None if history is None else step(cents(model, history, (len(later), sum(later))))
    return {who: of(days) for who, days in bought.items()}


def first_move(model, bought, today):
    """The first later day on which time alone moves somebody, and whom."""
    before, day = of_everybody(model, bought, today), today
    while True:
        day += alive.DAY
        after = of_everybody(model, bought, day)
        moved = {who for who, amount in after.items() if amount != before[who]}
        if moved:
            return day, moved
