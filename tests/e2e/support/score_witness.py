"""What scores and grades ought to be: by the words of the contract alone, exact, and without a line of the product's.

A dimension is the dict that a request has; a population is {customer number: what the witness of CDNOW says of its facts}.
"""
import bisect
import math
from collections import Counter
from datetime import timedelta
from fractions import Fraction

import cdnow_witness as witness
from support import facts

BANDS = (("D", 0), ("C", 25), ("B", 50), ("A", 75))
MIDDLE_FROM, HIGH_FROM, VIP_FROM = 40, 70, 90
LEAST_SHARE = 0.0001
CHANNELS = ("store", "online", "")


def channel_of(source_id):
    """Through which channel a customer of CDNOW buys; CDNOW does not say it, so this does."""
    return CHANNELS[int(source_id) % len(CHANNELS)]


def person(source_id, purchases, as_of=facts.AS_OF):
    """What is known of a customer of CDNOW at a midnight: the witness's words and the channel, which counts for 365 days."""
    told = witness.customer_of(purchases, as_of.date())
    return told | {"as_of": as_of.date(), "channel": channel_of(source_id) if told["windows"][365]["now"]["orders"] else ""}


def value(feature, told):
    """A feature's value, in its unit; None: none."""
    if not told["orders"]:
        return None
    windows = told["windows"]
    return {
        "days_since(last_order_at)": told["recency"], "days_since(first_order_at)": (told["as_of"] - told["first"]).days,
        "orders": told["orders"], "purchase_days": told["days"], "revenue": told["revenue_cents"],
        "average_order_value": round(Fraction(told["revenue_cents"], told["orders"])),  # Half to even.
        "orders_90": windows[90]["now"]["orders"], "previous_orders_90": windows[90]["before"]["orders"],
        "orders_365": windows[365]["now"]["orders"], "revenue_365": windows[365]["now"]["revenue_cents"],
        "channel": told["channel"] or None,
        "last_nps": None,
    }[feature]


def bins_of(dimension):
    given = len(dimension.get("cut_offs", [])) + 1 if dimension["method"].endswith("FIXED") else 5
    return dimension.get("bins") or given


def is_higher_better(dimension):
    return dimension["direction"].endswith("HIGHER_IS_BETTER")


def quantiles(values, bins):
    """The cut-offs of VALUE: quantiles of type 7, rounded down."""
    return [math.floor(witness.quantile_type7(values, Fraction(k, bins))) for k in range(1, bins)]


def repeated(cut_offs):
    return sum(one == other for one, other in zip(cut_offs, cut_offs[1:]))


def binned(cut_offs, side, bins, higher, number):
    """1 plus the cut-offs that a value is above; from the other end where lower is better."""
    above = sum(cut_off < number or (cut_off == number and side == "ABOVE") for cut_off in cut_offs)
    return 1 + above if higher else bins - above


def cume_dist(ordered, bins, higher, number):
    """`bins` times the share of customers that are not better, rounded up."""
    not_better = bisect.bisect_right(ordered, number) if higher else len(ordered) - bisect.bisect_left(ordered, number)
    return max(1, math.ceil(Fraction(bins * not_better, len(ordered))))


def percent_rank(ordered, bins, higher, number):
    """1 plus `bins` times the share, among the other customers, of those that are worse, rounded down; `bins` at most."""
    worse = bisect.bisect_left(ordered, number) if higher else len(ordered) - bisect.bisect_right(ordered, number)
    return min(bins, 1 + bins * worse // max(1, len(ordered) - 1))


def equal_distances(ordered, bins):
    return [ordered[0] + Fraction(k * (ordered[-1] - ordered[0]), bins) for k in range(1, bins)]


def scorer(dimension, values):
    """value -> score, by cut-offs that come from these values where the method finds them so. 0: none."""
    method, bins = dimension["method"].removeprefix("SCORING_METHOD_"), bins_of(dimension)
    missing, ordered = dimension.get("missing_score", 0), None
    if method == "MAP":
        points = {each["category"]: each["score"] for each in dimension["categories"]}
        other = dimension.get("other_score", 0) or missing
        return lambda text: missing if text is None else points.get(text, other)
    higher = is_higher_better(dimension)
    ordered = sorted(number for number in values if number is not None)
    by_rank = {"TIE_RULE_CUME_DIST": cume_dist, "TIE_RULE_PERCENT_RANK": percent_rank}.get(dimension.get("tie_rule"))
    if method == "QUANTILE" and by_rank:
        def of(number):
            return by_rank(ordered, bins, higher, number)
    else:
        cut_offs, side = {
            "FIXED": lambda: (dimension["cut_offs"], "ABOVE" if higher else "BELOW"),
            "QUANTILE": lambda: (quantiles(ordered, bins), "BELOW"),
            "RANGE": lambda: (equal_distances(ordered, bins), "ABOVE"),
        }[method]()

        def of(number):
            return binned(cut_offs, side, bins, higher, number)
    return lambda number: missing if number is None else of(number)


def scorers(dimensions, people):
    """The scorers of dimensions over a population; what they find in it is frozen."""
    return [scorer(each, [value(each["feature"], told) for told in people.values()]) for each in dimensions]


def scores(dimensions, people, frozen=None):
    """{number: scores in the order of the dimensions}; `frozen`: scorers of an earlier population."""
    found = frozen or scorers(dimensions, people)
    return {number: tuple(of(value(each["feature"], told)) for of, each in zip(found, dimensions)) for number, told in people.items()}


def counts(given, place, bins):
    """Customers without a score in a dimension, then with 1, 2 and so on."""
    found = Counter(each[place] for each in given.values())
    return [found[score] for score in range(bins + 1)]


def cell(given, bins):
    """The byte of a customer's cell."""
    if 0 in given:
        return 0
    place = 0
    for score, most in zip(given, bins):
        place = place * most + score - 1
    return 1 + place


def stability(before, now):
    """The population stability index of two lists of counts."""
    shares = [[max(Fraction(count, sum(of)), Fraction(LEAST_SHARE)) for count in of] for of in (before, now)]
    return sum(float(b - a) * math.log(b / a) for a, b in zip(*shares))


def composite(given, bins, weights):
    """The weighted mean of (score - 1) / (bins - 1), times 100, rounded half up; None: no score with a weight."""
    scored = [(Fraction(score - 1, most - 1), weight) for score, most, weight in zip(given, bins, weights) if score and weight]
    if not scored:
        return None
    mean = sum(share * weight for share, weight in scored) / sum(weight for _, weight in scored)
    return math.floor(mean * 100 + Fraction(1, 2))


def grade(number, grading=None):
    """(composite, band, tier, vip) of a composite under a grading as a request has it."""
    grading = grading or {}
    bands = [(each["name"], each.get("from", 0)) for each in grading.get("bands", [])] or BANDS
    middle, high, vip = (grading.get(name) or otherwise for name, otherwise in
                         (("middle_from", MIDDLE_FROM), ("high_from", HIGH_FROM), ("vip_from", VIP_FROM)))
    band = [name for name, least in bands if least <= number][-1]
    return number, band, "high" if number >= high else "middle" if number >= middle else "low", number >= vip


def steps(dimension, number):
    """(to_next_better, to_next_worse) of a value under given cut-offs: the least changes that matter, by trying."""
    of, higher = scorer(dimension, []), is_higher_better(dimension)
    # Next to a cut-off on either side: nowhere else a score begins.
    tried = sorted({abs(cut_off + around - number) for cut_off in dimension["cut_offs"] for around in (-1, 0, 1)} - {0})
    up = 1 if higher else -1
    better = next((step for step in tried if of(number + up * step) > of(number)), None)
    worse = next((step for step in tried if of(number - up * step) < of(number)), None)
    return better, worse


def recency_changes(dimension, told):
    """The midnight at which the score of `days_since(last_order_at)` changes by time alone; None: never again."""
    of, days = scorer(dimension, []), told["recency"]
    later = sorted({cut_off + 1 for cut_off in dimension["cut_offs"] if cut_off + 1 > days})
    return next((facts.text_of(facts.AS_OF + timedelta(days=then - days)) for then in later if of(then) != of(days)), None)
