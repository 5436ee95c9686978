"""Recommendations: invented purchases, and all that a model says of them held to a witness that reads the same purchases."""
import random

import pytest

from support import co_purchase_witness as witness
from support import facts, invented_shop, policies, questions, recommendations, score_models, waiting
from support.invented_shop import CATEGORIES, END, FORETOLD, HELD_OUT, HOARDER, LADDERS, MODEL, NEWEST, ORDERS, PURCHASES, SHELF, TWINS, basis_of, expected, in_categories, newcomer, own_of, today
from support.recommendations import plain
from support.refusals import NOT_FOUND, Refusal


@pytest.fixture(scope="module")
def shop(shared):
    return invented_shop.opened(shared)


# -- models ---------------------------------------------------------------------------------------------------------------

def a_model_counts_what_the_witness_counts(shop):
    model = shop.model
    assert (score_models.enum_name(model, "state"), model.terms.min_customers, model.terms.history_days) == ("PUBLISHED", 5, 0)
    end = model.end_date
    assert (end.year, end.month, end.day) == (1998, 6, 30)
    products = {product for own in MODEL.bought.values() for product in own}
    assert (model.customers, model.products) == (len(MODEL.bought), len(MODEL.customers))
    assert model.products_left_out == len(products - set(MODEL.customers)) > 0
    assert model.purchases == sum(map(len, MODEL.bought.values()))
    assert model.related_products == sum(bool(others) for others in MODEL.related.values()) < model.products
    told = [(each.product, each.category, each.customers) for each in model.popular]
    assert told == [(product, CATEGORIES.get(product, ""), MODEL.lately[product]) for product in MODEL.popular[:100]] and len(told) == 100
    assert model.HasField("create_time") and model.HasField("publish_time") and model.holdout_problem == ""
    assert recommendations.models(shop.admin)[-1] == shop.admin.call(
        f"{recommendations.MODELS}/GetRecommendationModel", {"name": model.name}) == model


def a_report_says_what_the_witness_says(shop):
    holdout = shop.model.holdout
    assert (holdout.days, holdout.customers, holdout.in_force_model) == (HELD_OUT, FORETOLD.customers, "")
    assert recommendations.accuracy(holdout.accuracy) == pytest.approx(FORETOLD.model, rel=1e-12)
    assert recommendations.accuracy(holdout.popularity) == pytest.approx(FORETOLD.popularity, rel=1e-12)
    assert not holdout.HasField("in_force") and FORETOLD.model[0] > FORETOLD.popularity[0] > 0


def the_model_in_force_is_judged_on_the_same_days(shop):
    seen = recommendations.fit(shop.admin, holdout_days=HELD_OUT).holdout
    foretold = witness.foretold(PURCHASES, END - HELD_OUT, in_force=MODEL)
    assert (seen.customers, seen.in_force_model) == (foretold.customers, shop.model.name)
    assert recommendations.accuracy(seen.in_force) == pytest.approx(foretold.in_force, rel=1e-12)
    assert recommendations.accuracy(seen.accuracy) == pytest.approx(foretold.model, rel=1e-12)


@pytest.mark.parametrize("min_customers", [2, 9])
def terms_say_what_counts(shop, min_customers):
    draft = recommendations.fit(shop.admin, terms={"history_days": 365, "min_customers": min_customers}, holdout_days=28)
    lately = [(customer, product, day) for customer, product, day in PURCHASES if day >= END - 365]
    model, foretold = witness.fit(lately, END, min_customers), witness.foretold(lately, END - 28, min_customers, in_force=MODEL)
    assert (draft.customers, draft.products) == (len(model.bought), len(model.customers))
    assert draft.related_products == sum(bool(others) for others in model.related.values())
    assert [each.product for each in draft.popular] == model.popular[:100]
    assert recommendations.accuracy(draft.holdout.accuracy) == pytest.approx(foretold.model, rel=1e-12)
    assert recommendations.accuracy(draft.holdout.popularity) == pytest.approx(foretold.popularity, rel=1e-12)
    assert recommendations.accuracy(draft.holdout.in_force) == pytest.approx(foretold.in_force, rel=1e-12)


def the_order_in_which_purchases_come_decides_nothing(shop):
    """In another tenant, shuffled, in batches of other sizes, and half of them twice."""
    shop.admin.call("TenantService/CreateTenant", {"tenant_id": "shuffled", "tenant": {"base_currency": "USD"}})
    client = shop.suite.client("admin", "shuffled")
    waiting.until(lambda: policies.is_known(client), "the tenant to be known", policies.FORCE_SECONDS)
    rows = [recommendations.row(order, f"o{place}") for place, order in enumerate(ORDERS)]
    rows += rows[::2]
    random.Random(3).shuffle(rows)
    for start in range(0, len(rows), 777):
        position = client.call("IngestService/IngestBatch", facts.batch(*rows[start:start + 777])).facts_position
    questions.wait_for(client, position)
    model = recommendations.put_in_force(client, holdout_days=HELD_OUT)
    assert recommendations.accuracy(model.holdout.accuracy) == pytest.approx(FORETOLD.model, rel=1e-12)
    assert told_alike(model) == told_alike(shop.model)
    names = questions.names_of(client)
    for customer in sorted({customer for customer, _, _ in ORDERS})[::7]:
        one = recommendations.recommend(client, names[customer], max_products=50)
        other = recommendations.recommend(shop.admin, shop.names[customer], max_products=50)
        assert list(one.products) == list(other.products), customer


def told_alike(model):
    """What a model says but for its report, its name and when it was made."""
    copy = type(model)()
    copy.CopyFrom(model)
    for field in ("name", "holdout", "create_time", "publish_time", "etag"):
        copy.ClearField(field)
    return copy


# -- what is recommended --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("count", [1, 10, 100])
def customers_are_recommended_what_the_witness_says(shop, count):
    for customer in {customer for customer, _, _ in ORDERS}:
        told = recommendations.recommend(shop.admin, shop.names[customer], max_products=count)
        own = own_of(customer)
        assert recommendations.ranked(told) == expected(own, count), customer
        assert (told.name, told.model, recommendations.basis(told)) == (
            f"{shop.names[customer]}/recommendations", shop.model.name, basis_of(own)), customer
        assert [each.category for each in told.products] == [CATEGORIES.get(each.product, "") for each in told.products]
    assert len(own_of(HOARDER)) > NEWEST and {product for product, _, _ in expected(own_of(HOARDER), 3)[0]} == set(LADDERS)


def ten_are_recommended_where_nobody_says_how_many(shop):
    name = shop.names["c1"]
    assert recommendations.recommend(shop.admin, name).products == recommendations.recommend(shop.admin, name, max_products=10).products
    assert len(recommendations.relate(shop.admin, SHELF[200]).related) == 10


def products_resemble_those_that_the_witness_says(shop):
    for product in MODEL.customers:
        told = recommendations.relate(shop.admin, product, max_products=20)
        assert recommendations.related(told) == MODEL.related[product], product
        assert (told.model, told.product, told.category, told.customers) == (
            shop.model.name, product, CATEGORIES.get(product, ""), MODEL.customers[product])
        assert [each.category for each in told.related] == [CATEGORIES.get(each.product, "") for each in told.related]
    # Each of them resembles the others alike, and names part them.
    twins = [product for product, _, _ in MODEL.related[TWINS[0]]][:len(TWINS) - 1]
    assert twins == sorted(TWINS[1:]) and not MODEL.related["relic"]


def own_categories_are_left_out_where_it_is_asked(shop):
    bought = {customer: {category for each, _, lines in ORDERS if each == customer for _, category in lines} for customer, _, _ in ORDERS}
    for customer, categories in list(bought.items())[::5]:
        told = recommendations.recommend(shop.admin, shop.names[customer], max_products=20, exclude_own_categories=True)
        own = own_of(customer)
        categories |= {CATEGORIES.get(product, "") for product in own if product in MODEL.customers}
        assert recommendations.ranked(told) == expected(own, 20, in_categories(categories)), customer


def a_products_own_category_is_left_out_where_it_is_asked(shop):
    for product in MODEL.customers:
        told = recommendations.relate(shop.admin, product, max_products=20, exclude_own_category=True)
        same = in_categories({CATEGORIES.get(product, "")})
        assert recommendations.related(told) == [each for each in MODEL.related[product] if each[0] not in same], product


def a_purchase_takes_a_product_out_of_what_is_recommended(shop, new):
    name, own = newcomer(shop, new, "assam"), today("assam")
    for _ in range(3):
        told = recommendations.recommend(shop.admin, name, max_products=5)
        assert recommendations.ranked(told) == expected(own, 5) and recommendations.basis(told) == "PURCHASES"
        first = told.products[0].product
        recommendations.take_in(shop.admin, plain(new, 0, first))
        own |= today(first)
    # What is given back was bought.
    refunds = [facts.refund(new, f"{new}-{number}", days=0, cents=500) for number in range(4)]
    questions.wait_for(shop.admin, questions.take_in(shop.admin, *refunds).facts_position)
    assert recommendations.ranked(recommendations.recommend(shop.admin, name, max_products=5)) == expected(own, 5)


def who_has_bought_nothing_that_is_known_gets_what_is_popular(shop, new):
    lead = shop.admin.call("CustomerService/CreateCustomer", {"customer": {"identities": [facts.identity(f"{new}-lead")]}}).name
    questions.wait_for(shop.admin, questions.take_in(shop.admin, facts.order(f"{new}-without-lines", "o", days=0)).facts_position)
    strangers = [lead, questions.find(shop.admin, f"{new}-without-lines"), newcomer(shop, f"{new}-else", "never heard of", "relic")]
    for name in strangers:
        waiting.until(lambda name=name: is_there(shop.admin, name), f"{name} to reach scoring")
        told = recommendations.recommend(shop.admin, name, max_products=30)
        assert (recommendations.basis(told), recommendations.ranked(told)[0]) == ("NO_PURCHASES", [])
        own = today("never heard of", "relic") if name == strangers[-1] else {}
        assert recommendations.names(told) == expected(own, 30)[1]


def is_there(client, name):
    """Whether scoring knows a customer."""
    try:
        return questions.features(client, name) is not None
    except Refusal as refusal:
        assert refusal.code == NOT_FOUND, refusal
        return False


@pytest.mark.parametrize("purpose", ["PROFILING", "MARKETING"])
def who_objects_gets_what_is_popular(shop, new, purpose):
    bought = MODEL.popular[:3]
    name = newcomer(shop, new, *bought)
    by_purchases = recommendations.recommend(shop.admin, name)
    consent(shop, name, purpose, "OBJECTED", "PURCHASES")
    for request in ({"max_products": 20}, {"max_products": 20, "exclude_own_categories": True}):
        told = recommendations.recommend(shop.admin, name, **request)
        # Whatever it has bought: that too.
        assert (recommendations.basis(told), recommendations.ranked(told)) == ("OBJECTION", ([], MODEL.popular[:20]))
    consent(shop, name, purpose, "GIVEN", "OBJECTION")
    assert recommendations.recommend(shop.admin, name).products == by_purchases.products


def consent(shop, name, purpose, state, basis):
    """Says what a customer said, and waits until recommendations go by something else than this."""
    shop.admin.call("PrivacyService/SetConsent", {"name": name, "purpose": f"PURPOSE_{purpose}", "state": f"CONSENT_STATE_{state}"})
    waiting.until(lambda: recommendations.basis(recommendations.recommend(shop.admin, name)) != basis, f"{state} to reach scoring")


def who_objects_to_something_else_is_recommended_what_it_was(shop, new):
    name = newcomer(shop, new, "assam")
    shop.admin.call("PrivacyService/SetConsent", {"name": name, "purpose": "PURPOSE_SUPPORT", "state": "CONSENT_STATE_OBJECTED"})
    recommendations.take_in(shop.admin, plain(new, 0, "sencha"))
    assert recommendations.ranked(recommendations.recommend(shop.admin, name)) == expected(today("assam", "sencha"), 10)


def days_are_those_of_the_tenant(shop):
    """In Tokyo the evening of the last UTC day is the morning of a day that is not over."""
    tenant = {"base_currency": "USD", "time_zone": "Asia/Tokyo"}
    shop.admin.call("TenantService/CreateTenant", {"tenant_id": "tokyo", "tenant": tenant})
    client = shop.suite.client("admin", "tokyo")
    waiting.until(lambda: policies.is_known(client), "the tenant to be known", policies.FORCE_SECONDS)
    times = {"14:59:59": ("ale", "bread"), "15:00:00": ("ale", "cake")}
    rows = [facts.order(f"c{number}", f"o{number} {time}", order_time=f"1998-06-30T{time}Z",
                        lines=[{"product": product} for product in products])
            for number in range(5) for time, products in times.items()]
    questions.wait_for(client, questions.take_in(client, *rows).facts_position)
    model = recommendations.put_in_force(client, holdout_days=0)
    assert (model.customers, model.products, model.purchases) == (5, 2, 10)
    expected = witness.fit(recommendations.purchases([plain(f"c{number}", 1, "ale", "bread") for number in range(5)]), END)
    assert recommendations.related(recommendations.relate(client, "ale")) == expected.related["ale"]


# -- as much as there can be ----------------------------------------------------------------------------------------------

def the_last_thousand_orders_are_looked_at(shop, new):
    """What was bought before them is recommended again."""
    [first, *_] = MODEL.related["assam"]
    orders = [plain(new, 0, "assam")] * 999
    recommendations.take_in(shop.admin, plain(new, 2, first[0]), *orders)
    name = questions.find(shop.admin, new)
    assert first[0] not in recommendations.names(recommendations.recommend(shop.admin, name, max_products=100))
    recommendations.take_in(shop.admin, plain(new, 0, "assam"))
    assert recommendations.ranked(recommendations.recommend(shop.admin, name)) == expected(today("assam"), 10)
