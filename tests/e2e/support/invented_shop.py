"""An invented shop of many tastes: what was bought there, and what the witness makes of it."""
import random
from types import SimpleNamespace

from support import co_purchase_witness as witness
from support import questions, recommendations
from support.recommendations import plain

HELD_OUT = 56
TASTES = {
    "tea": ["assam", "Assam", "darjeeling", "大吉岭红茶", "茉莉花茶", "sencha", "tea, 10 bags", "té verde", "te\u0301 verde", "🫖"],
    "bread": ["rye", "wheat", "Brötchen", "pain de mie", "лаваш", "naan", "roti", "žemlja", "zopf", "b" * 256],
    "garden": [f"seed {number}" for number in range(9, 19)],
    "books": [f"«{letter}»" for letter in "abcdefghij"],
    "tools": ["saw", "saw ", "axe", "'; DROP TABLE model_product; --", "100 %", "a_b", "%", "nail", "screw", "plane"],
    "": [f"loose {number}" for number in range(10)],
}
# Bought by the same customers on the same days: nothing but their names tells them apart.
TWINS = [f"twin {name}" for name in ("Z", "a", "é", "z", "ß", "ı", "中", "🙂")]
SHELF = [f"shelf {number:03}" for number in range(250)]
LADDERS = ["ladder 1", "ladder 2", "ladder 3"]
HOARDER, NEWEST = "hoarder", 200


def invented(chance, customers=300):
    """Orders of customers who have a taste each, over four years, of which the last months are the busiest."""
    for customer in range(customers):
        taste = chance.choice(list(TASTES))
        for _ in range(chance.randrange(2, 14)):
            days = min(chance.randrange(1, 1_500), chance.randrange(1, 1_500), chance.randrange(1, 700))
            own = TASTES[taste if chance.random() < 0.8 else chance.choice(list(TASTES))]
            products = {own[min(chance.randrange(10), chance.randrange(10))] for _ in range(chance.randrange(1, 5))}
            products |= set(TWINS) if customer % 25 == 3 else set()
            yield f"c{customer}", days, [(product, category_of(product, days)) for product in sorted(products)]


def category_of(product, days):
    """What an order of that day calls the product's category: some were called otherwise once, and of a few it depends on who tells."""
    taste = next((taste for taste, products in TASTES.items() if product in products), "")
    if taste == "garden" and days > 400:
        return "plants"
    return f"{taste} {days % 3}" if product in ("saw", "«c»") else taste


def shelved():
    """A customer with more products than count, a day for each, and some who bought the same of them."""
    yield from ((HOARDER, days, [(product, "shelf")]) for days, product in enumerate(SHELF, start=60))
    for customer in range(8):
        yield plain(f"browser-{customer}", 5 + customer, *LADDERS)
        for place in range(3):
            yield f"browser-{customer}", 30 + 11 * place + customer, [(product, "shelf") for product in SHELF[170 + 20 * place:][:30]]


def relics():
    """Bought so long ago that it counts for nothing."""
    return [plain(f"antiquary-{customer}", 2_500, "relic", "reliquary") for customer in range(6)]


ORDERS = [*invented(random.Random(20)), *shelved(), *relics(), plain("odd", 40, "only once"), ("lineless", 20, [])]
PURCHASES, CATEGORIES = recommendations.purchases(ORDERS), recommendations.categories(ORDERS)
END = recommendations.day(0)
MODEL = witness.fit(PURCHASES, END)
FORETOLD = witness.foretold(PURCHASES, END - HELD_OUT)


def opened(shared):
    """A model of what was bought, in force. Tests add customers who buy today, which no fit sees."""
    admin = shared.client("admin")
    recommendations.take_in(admin, *ORDERS)
    model = recommendations.put_in_force(admin, holdout_days=HELD_OUT)
    return SimpleNamespace(suite=shared, admin=admin, model=model, names=questions.names_of(admin))


def newcomer(shop, customer, *products):
    """The name of a customer who buys products today."""
    recommendations.take_in(shop.admin, plain(customer, 0, *products))
    return questions.find(shop.admin, customer)


def own_of(customer):
    """{product: last day} of what a customer has bought."""
    return MODEL.bought.get(customer, {})


def expected(own, count, unwanted=()):
    """(ranked by purchases, popular ones in the places behind) for who bought {product: last day}."""
    without = {*own, *unwanted}
    ranked = witness.by_purchases(MODEL, witness.newest(own), without)[:count]
    products = [product for product, _, _ in ranked]
    return ranked, witness.filled(products, MODEL.popular[:100], without, count)[len(products):]


def basis_of(own):
    return "PURCHASES" if any(MODEL.related.get(product) for product in witness.newest(own)) else "NO_PURCHASES"


def in_categories(categories):
    """All products of some categories."""
    return {product for product in MODEL.customers if CATEGORIES.get(product, "") in categories - {""}}


def today(*products):
    """{product: last day} of who bought these today."""
    return dict.fromkeys(products, END)
