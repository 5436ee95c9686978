"""An independent recomputation of what Quintile's CDNOW demo must print.

Nothing here shares code, or an algorithm library, with the product: Python 3 standard library only.

    cdnow_witness.py CDNOW_master.txt [--as-of 1998-07-01] [--population-p80 119] [--customers FILE]

Exact readings implemented (the witness and the product must agree on every one):

Input       Blank-separated, CRLF, one header line: customer yyyymmdd cds dollars. Every line is one purchase,
            exact duplicates and zero-dollar lines too. Each is an instant at midnight UTC; the zone is UTC.
Money       Integer cents, parsed from the decimal text, never through a float. No refunds: net = gross.
As of       Exclusive: only purchases before midnight UTC of the as-of day exist.
R           As-of date minus date of the last purchase, in calendar days.
Windows     [as_of - w, as_of), w = 30, 90, 365, and the one before, [as_of - 2w, as_of - w). As all instants are
            midnights, the first is 1 <= age <= w days and the second w + 1 <= age <= 2w.
Scores      R <=30:5 <=90:4 <=180:3 <=365:2 else 1.  F (orders, i.e. lines) 1|2|3-4|5-9|10+ gives 1..5.
            M (net revenue) half-open at 50|100|200|500 dollars: >= 50 gives 2 ... >= 500 gives 5.
Label       The rfm-11 map below: 125 cells, each once. A customer without orders has no scores and no label.
Gaps        Whole days between consecutive DISTINCT purchase days. The current gap is R.
p80         (n * own + 3 * population) / (n + 3), exact rational. own = type-7 (linear interpolation) 0.8 quantile
            of the n own gaps. With n < 3 gaps own is undefined and contributes nothing: n = 0, p80 = population.
            The population's p80 is a parameter frozen in the policy version; 119 days here.
Beyond      Strictly greater. "Under 90 days ago" is a difference of days < 90.
Stage       First match wins; no P(alive), no interactions, no complaints:
  LEAD         no order
  CHURNED      R > 4 * p80
  DORMANT      R > 2 * p80
  REACTIVATED  R < 90, and the last completed gap g (between the last two purchase days) had g > 2 * p80_then, where
               p80_then is the p80 of the gaps that ended before g did (all gaps but the last)
  AT_RISK      R > p80, or orders of the 90 days * 2 <= orders of the 90 days before, these being >= 4
  NEW          first order under 90 days ago, and fewer than 3 orders (lines)
  LOYAL        5 orders (lines) or more
  ACTIVE       the rest
Segment     rfm.r >= 4 && rfm.f >= 3 && net_revenue >= 200 (dollars).
"""
import argparse
import csv
import json
import re
import sys
from collections import Counter
from datetime import date, timedelta
from fractions import Fraction

AS_OF = date(1998, 7, 1)
POPULATION_P80 = 119
WINDOWS = (30, 90, 365)
STAGES = ("LEAD", "NEW", "ACTIVE", "LOYAL", "AT_RISK", "DORMANT", "CHURNED", "REACTIVATED")

RFM_11 = {
    "Champions": "555 554 544 545 454 455 445",
    "Loyal": "543 444 435 355 354 345 344 335",
    "Potential Loyalist": "553 551 552 541 542 533 532 531 452 451 442 441 431 453 433 432 423"
                          " 353 352 351 342 341 333 323",
    "New": "512 511 422 421 412 411 311",
    "Promising": "525 524 523 522 521 515 514 513 425 424 413 414 415 315 314 313",
    "Need Attention": "535 534 443 434 343 334 325 324",
    "About To Sleep": "331 321 312 221 213 231 241 251",
    "At Risk": "255 254 245 244 253 252 243 242 235 234 225 224 153 152 145 143 142 135 134 133 125 124",
    "Cannot Lose": "155 154 144 214 215 115 114 113",
    "Hibernating": "332 322 233 232 223 222 132 123 122 212 211",
    "Lost": "111 112 121 131 141 151",
}


def label_cells(table):
    """The map from cell (r, f, m) to label; refuses anything but all 125 cells, each once."""
    cells = {}
    for label, codes in table.items():
        for code in codes.split():
            cell = tuple(int(digit) for digit in code)
            if len(cell) != 3 or not all(1 <= score <= 5 for score in cell):
                raise ValueError(f"not a cell: {code}")
            if cell in cells:
                raise ValueError(f"cell {code} is both {cells[cell]} and {label}")
            cells[cell] = label
    if len(cells) != 125:
        raise ValueError(f"{len(cells)} cells instead of 125")
    return cells


LABEL_OF = label_cells(RFM_11)
LINE = re.compile(r"\s*(\d+)\s+(\d{4})(\d\d)(\d\d)\s+(\d+)\s+(\d+)\.(\d\d)\s*")


def read_purchases(lines):
    """{customer id as written: [(day, cents), ...] by day} from the lines of the file, header first."""
    lines = iter(lines)
    header = next(lines, "")
    if LINE.fullmatch(header) or "customer" not in header:
        raise ValueError(f"no header line: {header!r}")
    purchases = {}
    for number, line in enumerate(lines, start=2):
        match = LINE.fullmatch(line)
        if not match:
            raise ValueError(f"line {number}: {line!r}")
        customer, year, month, day, _cds, dollars, cents = match.groups()
        fact = (date(int(year), int(month), int(day)), int(dollars) * 100 + int(cents))
        purchases.setdefault(customer, []).append(fact)
    for facts in purchases.values():
        facts.sort()
    return purchases


def score_r(days):
    for score, most in ((5, 30), (4, 90), (3, 180), (2, 365)):
        if days <= most:
            return score
    return 1


def score_f(orders):
    return 1 + sum(orders >= least for least in (2, 3, 5, 10))


def score_m(cents):
    return 1 + sum(cents >= least for least in (5000, 10000, 20000, 50000))


def quantile_type7(values, probability):
    """Hyndman-Fan type 7 of a non-empty list, exact."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * probability
    low = position.numerator // position.denominator
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


def shrunk_p80(gaps, population):
    n = len(gaps)
    if n < 3:
        return Fraction(population)
    return (n * quantile_type7(gaps, Fraction(4, 5)) + 3 * Fraction(population)) / (n + 3)


def in_window(facts, start, end):
    """Orders and revenue of the half-open [start, end)."""
    hits = [cents for day, cents in facts if start <= day < end]
    return {"orders": len(hits), "revenue_cents": sum(hits)}


def windows_of(facts, as_of):
    result = {}
    for width in WINDOWS:
        start, before = as_of - timedelta(width), as_of - timedelta(2 * width)
        result[width] = {"now": in_window(facts, start, as_of), "before": in_window(facts, before, start)}
    return result


def stage_of(days, orders, last_90, before_90, as_of, population):
    """Stage and the condition that decided, from the ascending distinct purchase days before as_of."""
    if orders == 0:
        return "LEAD", "no order"
    gaps = [(later - earlier).days for earlier, later in zip(days, days[1:])]
    since_first, since_last = (as_of - days[0]).days, (as_of - days[-1]).days
    p80 = shrunk_p80(gaps, population)
    if since_last > 4 * p80:
        return "CHURNED", "gap"
    if since_last > 2 * p80:
        return "DORMANT", "gap"
    if since_last < 90 and gaps and gaps[-1] > 2 * shrunk_p80(gaps[:-1], population):
        return "REACTIVATED", "back after a dormant gap"
    if since_last > p80:
        return "AT_RISK", "gap"
    if before_90 >= 4 and 2 * last_90 <= before_90:
        return "AT_RISK", "orders down by half"
    if since_first < 90 and orders < 3:
        return "NEW", "recent first order"
    if orders >= 5:
        return "LOYAL", "orders"
    return "ACTIVE", "rest"


def customer_of(facts, as_of=AS_OF, population=POPULATION_P80):
    """Every feature, score, label and stage of one customer, from its ascending (day, cents) facts."""
    facts = [fact for fact in facts if fact[0] < as_of]
    days = sorted({day for day, _ in facts})
    orders, revenue = len(facts), sum(cents for _, cents in facts)
    windows = windows_of(facts, as_of)
    stage, reason = stage_of(days, orders, windows[90]["now"]["orders"], windows[90]["before"]["orders"],
                             as_of, population)
    result = {"orders": orders, "days": len(days), "revenue_cents": revenue, "windows": windows,
              "stage": stage, "reason": reason, "first": None, "last": None, "recency": None,
              "r": None, "f": None, "m": None, "label": None}
    if orders:
        recency = (as_of - days[-1]).days
        cell = score_r(recency), score_f(orders), score_m(revenue)
        result.update(first=days[0], last=days[-1], recency=recency,
                      r=cell[0], f=cell[1], m=cell[2], label=LABEL_OF[cell])
    return result


def in_segment(customer):
    """rfm.r >= 4 && rfm.f >= 3 && net_revenue >= 200; a comparison with a missing value is false."""
    return bool(customer["orders"]) and (customer["r"] >= 4 and customer["f"] >= 3
                                         and customer["revenue_cents"] >= 20000)


def window_totals(customers):
    return {str(width): {part: {key: sum(c["windows"][width][part][key] for c in customers)
                                for key in ("orders", "revenue_cents")}
                         for part in ("now", "before")}
            for width in WINDOWS}


def report(customers, as_of, population):
    customers = list(customers)
    stages = Counter(c["stage"] for c in customers)
    labels = {label: {"customers": 0, "revenue_cents": 0} for label in RFM_11}
    for customer in customers:
        if customer["label"]:
            labels[customer["label"]]["customers"] += 1
            labels[customer["label"]]["revenue_cents"] += customer["revenue_cents"]
    members = [c for c in customers if in_segment(c)]
    return {
        "as_of": f"{as_of}T00:00:00Z",
        "population_p80_days": population,
        "totals": {
            "customers": len(customers),
            "orders": sum(c["orders"] for c in customers),
            "purchase_days": sum(c["days"] for c in customers),
            "revenue_cents": sum(c["revenue_cents"] for c in customers),
            "first_order": min((str(c["first"]) for c in customers if c["first"]), default=None),
            "last_order": max((str(c["last"]) for c in customers if c["last"]), default=None),
        },
        "windows": window_totals(customers),
        "labels": labels,
        "stages": {stage: stages[stage] for stage in STAGES},
        "at_risk_by_condition": dict(sorted(Counter(c["reason"] for c in customers
                                                    if c["stage"] == "AT_RISK").items())),
        "scores": {dimension: {str(score): sum(c[dimension] == score for c in customers)
                               for score in range(1, 6)} for dimension in "rfm"},
        "segment": {"expression": "rfm.r >= 4 && rfm.f >= 3 && net_revenue >= 200",
                    "customers": len(members), "revenue_cents": sum(c["revenue_cents"] for c in members)},
    }


def write_customers(path, customers):
    columns = ("r", "f", "m", "label", "stage", "orders", "revenue_cents", "last")
    with open(path, "w", newline="", encoding="ascii") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("source_id", "r", "f", "m", "label", "stage", "orders", "revenue_cents", "last_date"))
        for source_id in sorted(customers):
            customer = customers[source_id]
            writer.writerow([source_id] + ["" if customer[c] is None else customer[c] for c in columns])


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Recompute the CDNOW demo independently.")
    parser.add_argument("path", help="CDNOW_master.txt")
    parser.add_argument("--as-of", type=date.fromisoformat, default=AS_OF, help="exclusive, midnight UTC")
    parser.add_argument("--population-p80", type=int, default=POPULATION_P80, metavar="DAYS")
    parser.add_argument("--customers", metavar="FILE", help="also write one CSV row per customer")
    options = parser.parse_args(arguments)
    with open(options.path, encoding="ascii") as stream:
        purchases = read_purchases(stream)
    customers = {source_id: customer_of(facts, options.as_of, options.population_p80)
                 for source_id, facts in purchases.items()}
    if options.customers:
        write_customers(options.customers, customers)
    json.dump(report(customers.values(), options.as_of, options.population_p80), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
