"""Recommendations that make no sense, or that somebody may not have."""
import pytest

from support import facts, invented_shop, policies, questions, recommendations
from support.invented_shop import newcomer
from support.refusals import INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED


@pytest.fixture(scope="module")
def shop(shared):
    return invented_shop.opened(shared)


# -- what is refused ------------------------------------------------------------------------------------------------------

def what_makes_no_sense_is_refused(shop):
    admin, name = shop.admin, shop.names["c1"]
    terms = {"history_days": (-1, 3_654, 2**31 - 1), "min_customers": (-1, 1, 1_001)}
    wrong = [({"terms": {field: value}}, f"terms.{field}") for field, values in terms.items() for value in values]
    wrong += [({"holdout_days": value}, "holdout_days") for value in (-1, 1_827, -2**31)]
    for request, field in wrong:
        assert recommendations.fit_refused(admin, **request).must_be(INVALID_ARGUMENT, "INVALID_FIELD").message.startswith(f"{field}:")
    for wrong in ("", "recommendationModels/", "recommendationModels/0", "recommendationModels/01", "recommendationModels/-1",
                  "recommendationModels/1 ", "recommendationModels/99999999999999999999", "valueModels/1", "recommendationModels/1/x"):
        for method in ("GetRecommendationModel", "PublishRecommendationModel"):
            admin.refused(f"{recommendations.MODELS}/{method}", {"name": wrong}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    for method in ("GetRecommendationModel", "PublishRecommendationModel"):
        admin.refused(f"{recommendations.MODELS}/{method}", {"name": "recommendationModels/999999"}).must_be(NOT_FOUND, "NOT_FOUND")
    for wrong in ("", name, f"{name}/score", f"{name}/recommendations/", "customers/0/recommendations", "customers/x/recommendations",
                  "customers/4294967296/recommendations"):
        admin.refused(f"{recommendations.SERVICE}/GetRecommendations", {"name": wrong}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    for count in (-1, 101, 2**31 - 1):
        request = {"name": f"{name}/recommendations", "max_products": count}
        refusal = admin.refused(f"{recommendations.SERVICE}/GetRecommendations", request).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        assert refusal.message.startswith("max_products:")
    absent = {"name": "customers/4000000000/recommendations"}
    admin.refused(f"{recommendations.SERVICE}/GetRecommendations", absent).must_be(NOT_FOUND, "NOT_FOUND")
    for page in ({"page_token": "x"}, {"page_size": -1}):
        refusal = admin.refused(f"{recommendations.MODELS}/ListRecommendationModels", page)
        refusal.must_be(INVALID_ARGUMENT, {"INVALID_FIELD", "INVALID_TOKEN"})


def products_that_nobody_can_have_bought_are_refused_or_not_found(shop):
    method = f"{recommendations.SERVICE}/GetRelatedProducts"
    for product in ("", " ", "x" * 257, "é" * 129, "\0", "assam\0", "a\nb", "\u202eassam"):
        shop.admin.refused(method, {"product": product}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    for count in (-1, 21):
        shop.admin.refused(method, {"product": "assam", "max_products": count}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    for product in ("x" * 256, "ASSAM", "assam ", "shelf 25", "seed", "naan\u0301"):
        shop.admin.refused(method, {"product": product}).must_be(NOT_FOUND, "NOT_FOUND")


# -- who may --------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def anns(shop):
    """The name of a customer whom ann looks after, and who buys today."""
    attributes = {"kind": "CUSTOMER_KIND_CUSTOMER", "owner": "ann"}
    questions.take_in(shop.admin, facts.customer("of-ann", attributes=attributes))
    return newcomer(shop, "of-ann", "assam", "rye")


def who_reaches_some_is_not_told_what_was_learnt_from_everybody(shop, anns):
    sales = shop.suite.client("sales", subject="ann")
    told = recommendations.recommend(sales, anns, max_products=30)
    full = recommendations.recommend(shop.admin, anns, max_products=30)
    assert recommendations.names(told) == recommendations.names(full) and recommendations.basis(told) == "PURCHASES"
    assert [list(each.because_of) for each in told.products] == [list(each.because_of) for each in full.products]
    assert not any(each.HasField("score") for each in told.products) and full.products[0].HasField("score")
    beside, all_beside = (recommendations.relate(client, "assam") for client in (sales, shop.admin))
    assert [each.product for each in beside.related] == [each.product for each in all_beside.related] and beside.related
    assert not beside.HasField("customers") and all_beside.HasField("customers")
    assert not any(each.HasField("similarity") or each.HasField("customers") for each in beside.related)
    foreign = sales.refused(f"{recommendations.SERVICE}/GetRecommendations", {"name": f"{shop.names['c1']}/recommendations"})
    nobody = sales.refused(f"{recommendations.SERVICE}/GetRecommendations", {"name": "customers/4000000000/recommendations"})
    assert foreign.must_be(NOT_FOUND, "NOT_FOUND").answer == nobody.answer


def who_reaches_some_sees_of_a_model_only_that_it_is_there(shop, anns):
    sales = shop.suite.client("sales", subject="ann")
    listed = sales.call(f"{recommendations.MODELS}/ListRecommendationModels", {"page_size": 100}).models
    got = sales.call(f"{recommendations.MODELS}/GetRecommendationModel", {"name": shop.model.name})
    for model in (got, *listed):
        told = {descriptor.name for descriptor, _ in model.ListFields()}
        assert told <= {"name", "state", "terms", "end_date", "create_time", "publish_time", "etag"} and "terms" in told
    recommendations.fit_refused(sales).must_be(PERMISSION_DENIED, "METHOD_DENIED")
    sales.refused(f"{recommendations.MODELS}/PublishRecommendationModel", {"name": shop.model.name}).must_be(
        PERMISSION_DENIED, "METHOD_DENIED")


def who_may_not_list_what_a_customer_did_is_recommended_nothing(shop, anns, new):
    role = f"no-facts-{new[:8]}"
    policies.publish(shop.admin, policies.role_like(shop.admin, "admin", role, without=("FactService/ListCustomerFacts",)))
    client = policies.client_of(shop.suite, role)
    request = {"name": f"{anns}/recommendations"}
    client.refused(f"{recommendations.SERVICE}/GetRecommendations", request).must_be(PERMISSION_DENIED, "METHOD_DENIED")
    assert recommendations.relate(client, "assam").related


def no_role_with_a_row_scope_may_fit_publish_or_schedule(shop):
    for method in ("RecommendationModelService/FitRecommendationModel", "RecommendationModelService/PublishRecommendationModel",
                   "RefitService/UpdateRefitSchedule"):
        kept = [each for each in policies.TAKING_IN if each != method]
        role = policies.role_like(shop.admin, "admin", "too-much", without=kept, row_scope="owner == caller.subject")
        shop.admin.refused("PolicyService/PreviewPolicy", {"roles": [role]}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
