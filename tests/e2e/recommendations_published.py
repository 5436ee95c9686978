"""Groceries and Online Retail: what recommendations foretell of them, held to a witness that reads the same files.

    QUINTILE_DATA  a folder with the data sets that are not ours to ship; these tests are skipped without it, and say so
"""
import csv
import functools
import json
import os
from collections import defaultdict
from datetime import date, datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as parquet
import pytest

from support import co_purchase_witness as witness
from support import facts, policies, questions, quintile, recommendations, waiting

FEES = ["POST", "DOT", "M", "C2", "D", "S", "PADS", "B", "CRUK", "AMAZONFEE", "BANK CHARGES"]
AS_OF = {"groceries": datetime(2015, 12, 31, tzinfo=timezone.utc), "retail": datetime(2011, 12, 10, tzinfo=timezone.utc)}
MAX_LINES = 200  # Of an order that is imported; of one with more the smallest become one.
ROWS_AT_ONCE = 5_000
ASKED = 200  # Customers whose recommendations are read one by one, evenly spread.


def file(name):
    folder = os.environ.get("QUINTILE_DATA")
    if not folder:
        pytest.skip(f"QUINTILE_DATA is not set: {name} was not read")
    return Path(folder) / name


# -- the witness ----------------------------------------------------------------------------------------------------------

@functools.cache
def groceries():
    """{(member, day): products}"""
    baskets = defaultdict(list)
    with open(file("groceries_members/Groceries_dataset.csv"), encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            baskets[line["Member_number"], datetime.strptime(line["Date"], "%d-%m-%Y").date()].append(line["itemDescription"])
    return baskets


@functools.cache
def retail():
    """{(customer, day): products} by the bundled mapping."""
    table, invoices = parquet.read_table(file("online_retail/online_retail.parquet")), defaultdict(list)
    columns = (table[name].to_pylist() for name in ("CustomerID", "StockCode", "InvoiceDate", "InvoiceNo", "Quantity", "UnitPrice"))
    for customer, code, time, invoice, quantity, price in zip(*columns):
        if customer and quantity > 0 and price > 0 and code not in FEES and not code.startswith("gift_"):
            invoices[str(customer), invoice].append((time.date(), code.upper(), round(100 * quantity * price)))
    baskets = defaultdict(list)
    for (customer, _), lines in invoices.items():
        baskets[customer, min(day for day, _, _ in lines)] += products_of(lines)
    return baskets


def products_of(lines):
    """The products of [(day, product, pence)] as an order has them."""
    if len(lines) <= MAX_LINES:
        return [product for _, product, _ in lines]
    largest = sorted(range(len(lines)), key=lambda place: (-lines[place][2], place))[:MAX_LINES - 1]
    return [lines[place][1] for place in largest] + ["other"]


@functools.cache
def purchases(name):
    """[(customer, product, day)]"""
    baskets = groceries() if name == "groceries" else retail()
    return [(customer, product, day.toordinal()) for (customer, day), products in baskets.items() for product in products]


@functools.cache
def model(name):
    return witness.fit(purchases(name), AS_OF[name].toordinal())


@functools.cache
def foretold(name, days):
    return witness.foretold(purchases(name), AS_OF[name].toordinal() - days)


# -- the shops ------------------------------------------------------------------------------------------------------------

def take_groceries_in(suite, client):
    """A basket is an order: the file tells no more of it than its day."""
    rows = [facts.order(member, f"{member} {day}", order_time=f"{day}T12:00:00Z", lines=[{"product": product} for product in products])
            for (member, day), products in groceries().items()]
    return max(questions.take_in(client, *rows[start:start + ROWS_AT_ONCE]).facts_position for start in range(0, len(rows), ROWS_AT_ONCE))


def import_retail(suite, client):
    said = suite.run("import", file("online_retail/online_retail.parquet"), "--mapping", "online-retail", "--tenant", "shop", "-o", "json",
                     seconds=quintile.IMPORT_SECONDS)
    sent = json.loads(said)["sent"]
    assert (sent["rejected"], sent["duplicates"]) == (0, 0), sent
    return sent["facts_position"]


TENANTS = {"groceries": {"base_currency": "USD", "time_zone": "UTC"}, "retail": {"base_currency": "GBP", "time_zone": "Europe/London"}}
TAKE_IN = {"groceries": take_groceries_in, "retail": import_retail}


@pytest.fixture(scope="module", params=TAKE_IN)
def shop(backend, request):
    """A tenant that has taken in a data set, and has a model of it in force."""
    name = request.param
    file(name)
    with quintile.suite(backend, as_of=facts.text_of(AS_OF[name])) as suite:
        suite.client("admin").call("TenantService/CreateTenant", {"tenant_id": "shop", "tenant": TENANTS[name]})
        client = suite.client("admin", "shop")
        waiting.until(lambda: policies.is_known(client), "the tenant to be known", policies.FORCE_SECONDS)
        questions.wait_for(client, TAKE_IN[name](suite, client), AS_OF[name])
        published = recommendations.put_in_force(client, holdout_days=0)
        yield SimpleNamespace(client=client, name=name, model=published, names=questions.names_of(client))


@pytest.mark.parametrize("days", [28, 91])
def purchases_of_the_last_weeks_are_foretold_as_the_witness_foretells_them(shop, days):
    holdout, expected = recommendations.fit(shop.client, holdout_days=days).holdout, foretold(shop.name, days)
    assert (holdout.days, holdout.customers, holdout.in_force_model) == (days, expected.customers, shop.model.name)
    assert recommendations.accuracy(holdout.accuracy) == pytest.approx(expected.model, rel=1e-9)
    assert recommendations.accuracy(holdout.popularity) == pytest.approx(expected.popularity, rel=1e-9)


def a_model_of_all_of_it_is_that_of_the_witness(shop):
    expected, told = model(shop.name), shop.model
    assert (told.customers, told.products, told.purchases) == (
        len(expected.bought), len(expected.customers), sum(map(len, expected.bought.values())))
    end = told.end_date
    assert date(end.year, end.month, end.day).toordinal() == AS_OF[shop.name].toordinal() - 1
    assert [(each.product, each.customers) for each in told.popular] == [(each, expected.lately[each]) for each in expected.popular[:100]]
    for product in expected.popular[::20]:
        assert recommendations.related(recommendations.relate(shop.client, product, max_products=20)) == expected.related[product], product


def customers_are_recommended_what_the_witness_says(shop):
    expected = model(shop.name)
    for customer in sorted(expected.bought)[::len(expected.bought) // ASKED]:
        own = expected.bought[customer]
        if len(own) > witness.OWN_PRODUCTS:
            continue  # Which of a day's purchases was the last, orders tell by their time, and the model by their day.
        ranked = witness.by_purchases(expected, witness.newest(own), own)[:10]
        products = [product for product, _, _ in ranked]
        told = recommendations.recommend(shop.client, shop.names[customer])
        assert recommendations.ranked(told) == (ranked, witness.filled(products, expected.popular[:100], own, 10)[len(products):]), customer


@pytest.mark.parametrize("shop", ["retail"], indirect=True)
def who_stops_reading_while_it_is_computed_cancels_it_too(shop):
    """All has been read then, and what was bought together is being counted."""
    before = {each.name for each in recommendations.models(shop.client)}
    call = shop.client.start(f"{recommendations.MODELS}/FitRecommendationModel", [{"holdout_days": 91}], seconds=waiting.SECONDS)
    for answer in call:
        if answer.progress.customers_read >= shop.model.customers - 100:
            break
    call.cancel()
    made = recommendations.fit(shop.client, holdout_days=0).name
    assert {each.name for each in recommendations.models(shop.client)} - before == {made}
