"""Recommendations by item-to-item co-purchase, computed again from all purchases, as the method is published.

Products resemble one another by the customers who bought both: of a product j beside a product i, each such customer adds
2^(-age of its last purchase of j / 60 days) / (its products), and the sum is divided by the root of (customers of i × customers of j).
Beside each product the 20 that resemble it most are kept, and nothing that fewer than `min_customers` bought with it. A customer's
products are the 200 that it bought last. Shares are whole numbers of 1e-9 and similarities of 1e-12, so no order of adding decides
anything. A product that fewer than `min_customers` bought is not known, and counts for nothing. Customers may be anything that can be
told apart; products are texts, days are ordinals.
"""
import math
from collections import Counter, defaultdict
from itertools import islice
from types import SimpleNamespace

HALF_LIFE_DAYS = 60
POPULAR_DAYS = 91
NEIGHBOURS = 20
OWN_PRODUCTS = 200
REASONS = 3
AT = 10
MIN_CUSTOMERS = 5
# Customers who bought two products, and the sum of their shares, are added up as one number: how many places the sum has.
SHARE_ONE, SUM_BITS = 10**9, 72
SIMILARITY_ONE = 10**12


def rounded(value):
    """Half away from zero, of what is not negative."""
    return math.floor(value + 0.5)


def last_days(purchases, before):
    """{customer: {product: the last day on which it was bought}} of purchases (customer, product, day) before a day."""
    bought = defaultdict(dict)
    for customer, product, day in purchases:
        if product and day < before:
            own = bought[customer]
            own[product] = max(day, own.get(product, day))
    return dict(bought)


def newest(own):
    """The products that count of {product: last day}, the newest first, of one day by name."""
    return sorted(own, key=lambda product: (-own[product], product))[:OWN_PRODUCTS]


def shares(own, before):
    """{product: how much its purchase counts} of a customer."""
    kept = newest(own)
    return {product: rounded(2.0 ** (-(before - own[product]) / HALF_LIFE_DAYS) / len(kept) * SHARE_ONE) for product in kept}


def fit(purchases, before, min_customers=MIN_CUSTOMERS):
    """A model of what was bought before a day: `customers` and `lately` {product: customers}, `popular` products, and
    `related` {product: [(other, similarity, customers of both)]}."""
    bought = last_days(purchases, before)
    customers = Counter(product for own in bought.values() for product in own)
    customers = Counter({product: count for product, count in customers.items() if count >= min_customers})
    known = {customer: {product: day for product, day in own.items() if product in customers} for customer, own in bought.items()}
    lately = Counter(product for own in known.values() for product, day in own.items() if day >= before - POPULAR_DAYS)
    popular = sorted(customers, key=lambda product: (-lately[product], -customers[product], product))
    return SimpleNamespace(customers=customers, lately=lately, popular=popular, bought=bought,
                           related=related(known, before, min_customers))


def related(bought, before, min_customers):
    """{product: [(other, similarity, customers of both)]}, those that resemble it most first, then by name."""
    names = sorted({product for own in bought.values() for product in own})
    number, rows = {name: place for place, name in enumerate(names)}, defaultdict(list)
    for own in bought.values():
        row = [(number[product], (1 << SUM_BITS) + share) for product, share in shares(own, before).items()]
        for place, _ in row:
            rows[place].append(row)
    buyers = {place: len(of) for place, of in rows.items()}
    return {name: [(names[other], similarity, both) for other, similarity, both in beside(place, rows[place], buyers, min_customers)]
            for name, place in number.items()}


def beside(product, rows, buyers, min_customers):
    """[(other, similarity, customers of both)] of a product, by number, from the rows of those who bought it."""
    sums = defaultdict(int)
    for row in rows:
        for other, share in row:
            sums[other] += share
    found = []
    for other, packed in sums.items():
        both, share = packed >> SUM_BITS, packed & ((1 << SUM_BITS) - 1)
        similarity = rounded(share * (SIMILARITY_ONE // SHARE_ONE) / math.sqrt(buyers[product] * buyers[other]))
        if other != product and both >= min_customers and similarity:
            found.append((other, similarity, both))
    return sorted(found, key=lambda each: (-each[1], each[0]))[:NEIGHBOURS]


def by_purchases(model, products, unwanted):
    """[(product, score, because of)] by what a customer bought, the best first: all but the unwanted ones."""
    reasons = defaultdict(list)
    for own in products:
        for other, similarity, _ in model.related.get(own, ()):
            if other not in unwanted:
                reasons[other].append((-similarity, own))
    scored = [(product, -sum(similarity for similarity, _ in of), [own for _, own in sorted(of)[:REASONS]])
              for product, of in reasons.items()]
    return sorted(scored, key=lambda each: (-each[1], each[0]))


def filled(products, popular, unwanted, count):
    """The first of products, and of what is popular as much as there is room for."""
    first = products[:count]
    without = {*first, *unwanted}
    return first + list(islice((product for product in popular if product not in without), count - len(first)))


def accuracy(cases, recommended, known):
    """(recall, hit rate, coverage) of ten products for each of [(own, new)]."""
    hits = [len(new.intersection(ten)) / len(new) for (_, new), ten in zip(cases, recommended)]
    anybodys = {product for ten in recommended for product in ten if product in known}
    return math.fsum(hits) / len(cases), sum(hit > 0 for hit in hits) / len(cases), len(anybodys) / len(known)


def foretold(purchases, first_day, min_customers=MIN_CUSTOMERS, in_force=None):
    """How well a model of what came before a day foretells what came from it on: `customers`, and (recall, hit rate, coverage) of
    `model`, of `popularity` and of another model. None: there is nobody to judge by."""
    model, new = fit(purchases, first_day, min_customers), defaultdict(set)
    for customer, product, day in purchases:
        if day >= first_day and product in model.customers and product not in model.bought.get(customer, ()):
            new[customer].add(product)
    cases = [(model.bought[customer], products) for customer, products in new.items() if customer in model.bought]
    if not cases:
        return None

    def of(judged):
        tens = []
        for own, _ in cases:
            ranked = by_purchases(judged, newest(own), own) if judged else []
            ranked = [each for each in ranked if each[0] in model.customers]
            tens.append(filled([product for product, _, _ in ranked], model.popular, own, AT))
        return accuracy(cases, tens, model.customers)
    return SimpleNamespace(customers=len(cases), model=of(model), popularity=of(None), in_force=of(in_force) if in_force else None)
