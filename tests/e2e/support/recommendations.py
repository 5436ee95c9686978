"""Models of recommendations: what they are fitted to, fitted, put in force, and what they recommend."""
import uuid
from collections import Counter
from datetime import timedelta

import grpc
import pytest

from support import facts, questions, score_models, waiting
from support.refusals import Refusal

MODELS, SERVICE = "RecommendationModelService", "RecommendationService"
SIMILARITY_ONE = 10**12
ROWS_AT_ONCE = 1_000


# -- what is bought: (customer, days ago, [(product, category)]) for each order --------------------------------------------

def row(order, event=None):
    """An order as a row: it has an id of its own where none is given."""
    customer, days, lines = order
    return facts.order(customer, event or uuid.uuid4().hex, days=days,
                       lines=[{"product": product, "category": category, "quantity": 1} for product, category in lines])


def take_in(client, *orders, as_of=facts.AS_OF):
    """Takes orders in, and waits for the end of the chain."""
    rows = [row(order) for order in orders]
    for start in range(0, len(rows), ROWS_AT_ONCE):
        position = questions.take_in(client, *rows[start:start + ROWS_AT_ONCE]).facts_position
    questions.wait_for(client, position, as_of)


def plain(customer, days, *products):
    """An order of products without categories."""
    return customer, days, [(product, "") for product in products]


def new_fashion():
    """Who had bought ale buys hops in the last three weeks, which five customers knew before; a crowd has bought a dozen other things."""
    crowd = [plain(f"crowd-{number}", 60, *(f"common {place}" for place in range(12))) for number in range(12)]
    pioneers = [plain(f"pioneer-{number}", 60, "hops") for number in range(5)]
    return [*crowd, *pioneers, *(plain(f"follower-{number}", 60, "ale") for number in range(20)),
            *(plain(f"follower-{number}", 1 + number, "hops") for number in range(20))]


def day(days):
    """The ordinal of the day so many days ago."""
    return (facts.AS_OF - timedelta(days=days)).toordinal()


def purchases(orders):
    """[(customer, product, day)], as the witness reads it."""
    return [(customer, product, day(days)) for customer, days, lines in orders for product, _ in lines]


def categories(orders, min_customers=5):
    """{product: the category that the orders of most customers tell, of several the first by name}, where enough do. Of what one customer's orders
    call a product the last by name counts."""
    told = {}
    for customer, _, lines in orders:
        for product, category in lines:
            told[product, customer] = max(category, told.get((product, customer), ""))
    votes = Counter((product, category) for (product, _), category in told.items() if category)
    best = {}
    for (product, category), count in votes.items():
        best[product] = min(best.get(product, (0, "")), (-count, category))
    return {product: category for product, (votes, category) in best.items() if -votes >= min_customers}


# -- models ---------------------------------------------------------------------------------------------------------------

def fit(client, **request):
    """A draft, fitted to what everybody bought; progress is told before."""
    call = client.start(f"{MODELS}/FitRecommendationModel", [request], seconds=waiting.SECONDS)
    try:
        answers = list(call)
    except grpc.RpcError as error:
        raise Refusal(error) from None
    *progress, last = answers
    assert all(answer.HasField("progress") for answer in progress) and last.HasField("model")
    return last.model


def fit_refused(client, **request):
    """The refusal of a fit."""
    with pytest.raises(Refusal) as raised:
        fit(client, **request)
    return raised.value


def publish(client, model, **request):
    return client.call(f"{MODELS}/PublishRecommendationModel", {"name": model.name, "etag": model.etag} | request)


def put_in_force(client, **request):
    """A model that was fitted and published."""
    return publish(client, fit(client, **request))


def models(client):
    """All models, the newest first."""
    return list(client.call(f"{MODELS}/ListRecommendationModels", {"page_size": 100}).models)


# -- what is recommended --------------------------------------------------------------------------------------------------

def recommend(client, name, **request):
    """The answer for a customer by its name."""
    return client.call(f"{SERVICE}/GetRecommendations", {"name": f"{name}/recommendations"} | request)


def relate(client, product, **request):
    """The answer for a product."""
    return client.call(f"{SERVICE}/GetRelatedProducts", {"product": product} | request)


def basis(recommendations):
    return score_models.enum_name(recommendations, "basis")


def names(recommendations):
    """The products."""
    return [each.product for each in recommendations.products]


def ranked(recommendations):
    """[(product, score in whole numbers, because of)] of what is recommended by purchases, and the products that fill the places behind."""
    scored = [(each.product, whole(each.score), list(each.because_of)) for each in recommendations.products if each.HasField("score")]
    others = [each for each in recommendations.products[len(scored):]]
    assert not any(each.HasField("score") or each.because_of for each in others)
    return scored, [each.product for each in others]


def related(answer):
    """[(product, similarity in whole numbers, customers of both)]"""
    return [(each.product, whole(each.similarity), each.customers) for each in answer.related]


def whole(share):
    """A number of at most 1 or a sum of such as whole numbers of 1e-12."""
    return round(share * SIMILARITY_ONE)


def accuracy(told):
    """(recall, hit rate, coverage)"""
    return told.recall_at_10, told.hit_rate_at_10, told.coverage
