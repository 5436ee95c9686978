"""Score models that make no sense, or are not the caller's to make, are refused, with the field that is wrong."""
import uuid

import grpc
import pytest

from support import facts, policies, questions, score_models, traits, waiting
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED
from support.score_models import dimension, mapped, version

CREATE = "ScoreModelService/CreateScoreModelVersion"
GOOD = dimension("orders", "orders", cut_offs=[2, 5])
QUANTILE = dimension("spend", "revenue", "QUANTILE", ties="VALUE")
PLACE = mapped("place", "channel", {"store": 2}, 3)
WEIGHED = [GOOD | {"name": f"d{place}", "weight": 1} for place in range(3)]
BANDS = [{"name": "D"}, {"name": "C", "from": 50}]


@pytest.fixture
def new():
    """The id of a model that no other test uses. A test deletes the drafts it makes: a tenant has few models."""
    return f"m{uuid.uuid4().hex}"


def category(name, score=1):
    return {"category": name, "score": score}


# What is wrong with a dimension: the dimension it is made of, the fields that are changed, and what the refusal names.
BAD_DIMENSIONS = {
    "without a name": (GOOD, {"name": ""}, "name"),
    "a name in capitals": (GOOD, {"name": "Orders"}, "name"),
    "a name of a digit": (GOOD, {"name": "1st"}, "name"),
    "a name with a NUL": (GOOD, {"name": "a\0b"}, "name"),
    "a long name": (GOOD, {"name": "x" * 64}, "name"),
    "without a feature": (GOOD, {"feature": ""}, "feature"),
    "an unknown feature": (GOOD, {"feature": "recency_score"}, "feature"),
    "a feature with a NUL": (GOOD, {"feature": "orders\0"}, "feature"),
    "an identifying field": (GOOD, {"feature": "display_name"}, "feature"),
    "an instant": (GOOD, {"feature": "last_order_at"}, "feature"),
    "a trait of no name": (GOOD, {"feature": "traits/"}, "feature"),
    "an unknown trait": (GOOD, {"feature": "traits/nope"}, "feature"),
    "without a direction": (GOOD, {"direction": 0}, "direction"),
    "an unknown direction": (GOOD, {"direction": 99}, "direction"),
    "without a method": (GOOD, {"method": 0}, "method"),
    "an unknown method": (GOOD, {"method": 99}, "method"),
    "cut-offs of a text": (GOOD, {"feature": "channel"}, "method"),
    "points for a number": (PLACE, {"feature": "orders"}, "method"),
    "fixed without cut-offs": (GOOD, {"cut_offs": []}, "cut_offs"),
    "a cut-off twice": (GOOD, {"cut_offs": [2, 2]}, "cut_offs"),
    "cut-offs descending": (GOOD, {"cut_offs": [5, 2]}, "cut_offs"),
    "ten cut-offs": (GOOD, {"cut_offs": list(range(10))}, "cut_offs"),
    "cut-offs of other bins": (GOOD, {"bins": 4}, "cut_offs"),
    "one bin": (QUANTILE, {"bins": 1}, "bins"),
    "eleven bins": (QUANTILE, {"bins": 11}, "bins"),
    "fewer bins than none": (QUANTILE, {"bins": -1}, "bins"),
    "a tie rule of given cut-offs": (GOOD, {"tie_rule": "TIE_RULE_VALUE"}, "tie_rule"),
    "an unknown tie rule": (QUANTILE, {"tie_rule": 99}, "tie_rule"),
    "a score of the missing below none": (GOOD, {"missing_score": -1}, "missing_score"),
    "a score of the missing above all": (GOOD, {"missing_score": 4}, "missing_score"),
    "less than no weight": (GOOD, {"weight": -1}, "weight"),
    "too much weight": (GOOD, {"weight": 1_001}, "weight"),
    "categories of a number": (GOOD, {"categories": [category("store")]}, "categories"),
    "no categories": (PLACE, {"categories": []}, "categories"),
    "too many categories": (PLACE, {"categories": [category(f"c{place}") for place in range(1_001)]}, "categories"),
    "an empty category": (PLACE, {"categories": [category("store"), category("")]}, "categories[1].category"),
    "a long category": (PLACE, {"categories": [category("x" * 257)]}, "categories[0].category"),
    "a category twice": (PLACE, {"categories": [category("store"), category("store", 2)]}, "categories[1].category"),
    "a category worth nothing": (PLACE, {"categories": [category("store", 0)]}, "categories[0].score"),
    "a category worth too much": (PLACE, {"categories": [category("store", 4)]}, "categories[0].score"),
    "others worth too much": (PLACE, {"other_score": 4}, "other_score"),
    "others worth less than nothing": (PLACE, {"other_score": -1}, "other_score"),
    "others of a number": (GOOD, {"other_score": 1}, "other_score"),
}


@pytest.mark.parametrize("wrong", BAD_DIMENSIONS)
def a_dimension_that_makes_no_sense_is_refused(admin, new, wrong):
    good, change, field = BAD_DIMENSIONS[wrong]
    request = {"parent": f"scoreModels/{new}", "version": version(good | {"name": "first"}, good | change)}
    refusal = admin.refused(CREATE, request).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert refusal.bad_request.field_violations[0].field == f"version.dimensions[1].{field}"


def an_unknown_feature_names_the_nearest_that_is_known(admin, new):
    for wrong, nearest in (("ordres", "orders"), ("revenu", "revenue"), ("days_since(last_order)", "days_since(last_order_at)")):
        refusal = admin.refused(CREATE, {"parent": f"scoreModels/{new}", "version": version(GOOD | {"feature": wrong})})
        refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        violation = refusal.bad_request.field_violations[0]
        assert violation.field == "version.dimensions[0].feature" and nearest in violation.description, violation


def graded(**fields):
    return version(*WEIGHED, grading=fields)


# What is wrong with a version as a whole, and what the refusal names.
BAD_VERSIONS = {
    "no dimensions": (version(), "version.dimensions"),
    "seventeen dimensions": (version(*(GOOD | {"name": f"d{place}"} for place in range(17))), "version.dimensions"),
    "a dimension twice": (version(GOOD, PLACE, GOOD), "version.dimensions[2].name"),
    "a long description": (version(GOOD, description="x" * 1_025), "version.description"),
    "a description with a NUL": (version(GOOD, description="a\0b"), "version.description"),
    "grades of two dimensions": (version(*WEIGHED[:2], GOOD, grading={}), "version.grading"),
    "one band": (graded(bands=BANDS[:1]), "version.grading.bands"),
    "eleven bands": (graded(bands=[{"name": f"b{place}", "from": place} for place in range(11)]), "version.grading.bands"),
    "a first band above 0": (graded(bands=[{"name": "D", "from": 1}, BANDS[1]]), "version.grading.bands[0].from"),
    "bands descending": (graded(bands=[*BANDS, {"name": "B", "from": 40}]), "version.grading.bands[2].from"),
    "bands of one start": (graded(bands=[*BANDS, {"name": "B", "from": 50}]), "version.grading.bands[2].from"),
    "a band above 100": (graded(bands=[*BANDS, {"name": "B", "from": 101}]), "version.grading.bands[2].from"),
    "a band below 0": (graded(bands=[{"name": "D", "from": -1}, BANDS[1]]), "version.grading.bands[0].from"),
    "a band without a name": (graded(bands=[BANDS[0], {"from": 50}]), "version.grading.bands[1].name"),
    "a band of a long name": (graded(bands=[BANDS[0], {"name": "x" * 17, "from": 50}]), "version.grading.bands[1].name"),
    "middle value above 100": (graded(middle_from=101), "version.grading.middle_from"),
    "middle value below 0": (graded(middle_from=-1), "version.grading.middle_from"),
    "high value above 100": (graded(high_from=101), "version.grading.high_from"),
    "high value below middle": (graded(middle_from=60, high_from=59), "version.grading.high_from"),
    "high value at middle": (graded(middle_from=60, high_from=60), "version.grading.high_from"),
    "high value below the middle that is not said": (graded(high_from=40), "version.grading.high_from"),
    "VIPs above 100": (graded(vip_from=101), "version.grading.vip_from"),
    "VIPs below 0": (graded(vip_from=-1), "version.grading.vip_from"),
}


@pytest.mark.parametrize("wrong", BAD_VERSIONS)
def a_version_that_makes_no_sense_is_refused(admin, new, wrong):
    body, field = BAD_VERSIONS[wrong]
    refusal = admin.refused(CREATE, {"parent": f"scoreModels/{new}", "version": body}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert refusal.bad_request.field_violations[0].field == field


RFM = score_models.SHIPPED
# What labels could not be made of.
BAD_RFM = {
    "a dimension less": (version(*RFM[:2]), "version.dimensions"),
    "a dimension more": (version(*RFM, GOOD), "version.dimensions"),
    "in another order": (version(RFM[1], RFM[0], RFM[2]), "version.dimensions"),
    "of another name": (version(*RFM[:2], RFM[2] | {"name": "money"}), "version.dimensions"),
    "of four bins": (version(RFM[0] | {"cut_offs": [30, 90, 180]}, *RFM[1:]), "version.dimensions[0].bins"),
    "with a weight": (version(RFM[0], RFM[1] | {"weight": 1}, RFM[2]), "version.dimensions[1].weight"),
    "with a score of the missing": (version(RFM[0], RFM[1] | {"missing_score": 1}, RFM[2]), "version.dimensions[1].missing_score"),
    "with grades": (version(*RFM, grading={}), "version.grading"),
}


@pytest.mark.parametrize("wrong", BAD_RFM)
def rfm_is_of_three_dimensions_and_nothing_else(admin, wrong):
    body, field = BAD_RFM[wrong]
    refusal = admin.refused(CREATE, {"parent": score_models.RFM, "version": body}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    # Whether a dimension or the list of them is named is left to the server.
    assert refusal.bad_request.field_violations[0].field.startswith("version." if field == "version.grading" else "version.dimensions")


NAME = {"scoreModels/rfm", "scoreModels/rfm/versions/", "scoreModels/rfm/versions/0", "scoreModels/rfm/versions/01",
        "scoreModels/rfm/versions/-1", "scoreModels/Rfm/versions/1", "scoreModels//versions/1", "scoreModels/rfm/versions/1/x", "x", ""}
MODEL = {"scoreModels/", "scoreModels/Upper", "scoreModels/a_b", "scoreModels/rfm/versions/1",
         f"scoreModels/{'x' * 64}", "scoreModels/a\0b", "rfm", ""}
OF_A_VERSION = ("GetScoreModelVersion", "DeleteScoreModelVersion", "PreviewScoreModelVersion", "PublishScoreModelVersion")
OF_A_MODEL = (("GetScoreModel", "name"), ("RetireScoreModel", "name"), ("RefitScoreModel", "name"), ("ListScoreModelVersions", "parent"),
              ("CreateScoreModelVersion", "parent"))


@pytest.mark.parametrize("method,field,names", [*((method, "name", NAME) for method in OF_A_VERSION),
                                                *((method, field, MODEL) for method, field in OF_A_MODEL)])
def a_name_that_is_none_is_refused(admin, method, field, names):
    for name in sorted(names):
        request = {field: name} | ({"version": version(GOOD)} if method == "CreateScoreModelVersion" else {})
        refusal = admin.refused(f"ScoreModelService/{method}", request).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        violation = refusal.bad_request.field_violations[0]
        assert violation.field == field and "a-z, 0-9 and -" in violation.description, name


SCORE = {"name": "customers/1/score"}
BAD_REQUESTS = {
    "neither a version nor a preset": (CREATE, {"parent": "scoreModels/x"}, "version"),
    "an unknown preset": (CREATE, {"parent": "scoreModels/x", "preset": "wholesale"}, "preset"),
    "a request id that is none": (CREATE, {"parent": "scoreModels/x", "version": version(GOOD), "request_id": "1"}, "request_id"),
    "a refit's request id that is none": ("ScoreModelService/RefitScoreModel", {"name": score_models.RFM, "request_id": "1"}, "request_id"),
    "a page of less than nothing": ("ScoreModelService/ListScoreModelVersions", {"parent": score_models.RFM, "page_size": -1}, "page_size"),
    "changes of less than nothing": ("ScoreService/ListScoreChanges", {"parent": SCORE["name"], "page_size": -1}, "page_size"),
    "changes of nobody": ("ScoreService/ListScoreChanges", {"parent": "customers/x/score"}, "parent"),
    "changes of a customer": ("ScoreService/ListScoreChanges", {"parent": "customers/1"}, "parent"),
    "a model that is none": ("ScoreService/ExplainScore", SCORE | {"model": "rfm"}, "model"),
    "a version that is none": ("ScoreService/ExplainScore", SCORE | {"model": "scoreModels/rfm/versions/x"}, "model"),
    "too many inputs": ("ScoreService/ExplainScore", SCORE | {"hypothetical_inputs": [{"feature": "orders"}] * 17}, "hypothetical_inputs"),
    "an input twice": ("ScoreService/ExplainScore", SCORE | {"hypothetical_inputs": [{"feature": "orders"}] * 2},
                       "hypothetical_inputs[1].feature"),
    "an input of no feature": ("ScoreService/ExplainScore", SCORE | {"hypothetical_inputs": [{"value": 3}]},
                               "hypothetical_inputs[0].feature"),
    "an input that the model does not read": ("ScoreService/ExplainScore", SCORE | {"hypothetical_inputs": [{"feature": "complaints"}]},
                                              "hypothetical_inputs[0].feature"),
    "fewer orders than none": ("ScoreService/ExplainScore", SCORE | {"hypothetical_inputs": [{"feature": "revenue", "value": -1},
                                                                                             {"feature": "orders", "value": -1}]},
                               "hypothetical_inputs[1].value"),
    "days that have not come": ("ScoreService/ExplainScore", SCORE | {"hypothetical_inputs": [
        {"feature": "days_since(last_order_at)", "value": -(2**63)}]}, "hypothetical_inputs[0].value"),
    "a text for a number": ("ScoreService/ExplainScore", SCORE | {"hypothetical_inputs": [{"feature": "orders", "text": "3"}]},
                            "hypothetical_inputs[0].text"),
    "a number and a text": ("ScoreService/ExplainScore", SCORE | {"hypothetical_inputs": [{"feature": "orders", "value": 3, "text": "3"}]},
                            "hypothetical_inputs[0].text"),
}


@pytest.mark.parametrize("wrong", BAD_REQUESTS)
def a_request_that_is_not_whole_is_refused(shared, admin, wrong):
    method, request, field = BAD_REQUESTS[wrong]
    position = admin.call("IngestService/IngestBatch", facts.batch(facts.order("somebody", "o"))).facts_position
    number = questions.find(admin, "somebody")
    questions.wait_for(admin, position)
    if request.get("name") == SCORE["name"]:
        request = request | {"name": f"{number}/score"}
    refusal = admin.refused(method, request).must_be(INVALID_ARGUMENT, {"INVALID_FIELD", "INVALID_TOKEN"})
    assert refusal.bad_request.field_violations[0].field == field


def a_page_token_of_versions_belongs_to_its_model(admin, new):
    for _ in range(2):
        score_models.create(admin, new, GOOD)
    listing = "ScoreModelService/ListScoreModelVersions"
    token = admin.call(listing, {"parent": f"scoreModels/{new}", "page_size": 1}).next_page_token
    for wrong in ({"page_token": token}, {"page_token": "x"}):
        admin.refused(listing, {"parent": score_models.RFM} | wrong).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
    assert [each.name for each in score_models.versions(admin, new, page_size=1)] == [f"scoreModels/{new}/versions/{n}" for n in (2, 1)]
    take_back(admin, new, 2)


def take_back(admin, model_id, count):
    for number in range(1, count + 1):
        admin.call("ScoreModelService/DeleteScoreModelVersion", {"name": f"scoreModels/{model_id}/versions/{number}"})


def what_is_not_there_is_not_found(admin):
    for method, field in OF_A_MODEL[:-1]:
        refusal = admin.refused(f"ScoreModelService/{method}", {field: "scoreModels/none"})
        refusal.must_be(NOT_FOUND, "NOT_FOUND")
    for method in OF_A_VERSION:
        for name in ("scoreModels/none/versions/1", "scoreModels/rfm/versions/999"):
            admin.refused(f"ScoreModelService/{method}", {"name": name}).must_be(NOT_FOUND, "NOT_FOUND")
    score = {"name": "customers/987654/score"}
    admin.refused("ScoreService/ExplainScore", score).must_be(NOT_FOUND, "NOT_FOUND")
    admin.refused("ScoreService/ListScoreChanges", {"parent": score["name"]}).must_be(NOT_FOUND, "NOT_FOUND")
    questions.wait_for(admin, admin.call("IngestService/IngestBatch", facts.batch(facts.order("somebody", "o"))).facts_position)
    score = {"name": f"{questions.find(admin, 'somebody')}/score"}
    for model in ("scoreModels/none", "scoreModels/rfm/versions/999"):
        admin.refused("ScoreService/ExplainScore", score | {"model": model}).must_be(NOT_FOUND, "NOT_FOUND")
    for method in ("GetOperation", "WaitOperation", "CancelOperation", "DeleteOperation"):
        admin.refused(score_models.operations(admin, method), {"name": "operations/987654"}).must_be(NOT_FOUND, "NOT_FOUND")


def cells_are_told_of_versions_that_have_few(admin, new):
    questions.wait_for(admin, admin.call("IngestService/IngestBatch", facts.batch(facts.order("somebody", "o"))).facts_position)
    made = score_models.create(admin, new, *(dimension(f"d{n}", "orders", cut_offs=[2, 3, 4]) for n in range(4)))  # 256 cells.
    refusal = admin.refused("ScoreModelService/PreviewScoreModelVersion", {"name": made.name, "include_cells": True})
    refusal.must_be({INVALID_ARGUMENT, FAILED_PRECONDITION}, {"INVALID_FIELD", "FAILED_PRECONDITION"})
    for places in ([-1], [17], [1, 1], [0, 3, 0]):
        refusal = admin.refused("ScoreModelService/PreviewScoreModelVersion", {"name": made.name, "include_scores": places})
        refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    take_back(admin, new, 1)


def a_repeated_request_makes_one_version(admin, new):
    request = {"parent": f"scoreModels/{new}", "version": version(GOOD), "request_id": str(uuid.uuid4())}
    made = admin.call(CREATE, request)
    assert admin.call(CREATE, request) == made
    assert len(score_models.versions(admin, new)) == 1
    for other in ({"version": version(PLACE)}, {"parent": f"scoreModels/{new}x"}):
        admin.refused(CREATE, request | other).must_be(FAILED_PRECONDITION, "BODY_CONFLICT")
    take_back(admin, new, 1)
    questions.wait_for(admin, admin.call("IngestService/IngestBatch", facts.batch(facts.order("somebody", "o"))).facts_position)
    score_models.put_in_force(admin, new, QUANTILE)
    refit = {"name": f"scoreModels/{new}", "request_id": str(uuid.uuid4())}
    first, again = (admin.call("ScoreModelService/RefitScoreModel", refit) for _ in range(2))
    assert first == again and len(score_models.versions(admin, new)) == 2
    score_models.retire(admin, new)


def a_model_of_which_nothing_is_found_is_not_fitted_anew(admin):
    before = score_models.get(admin, score_models.RFM)
    refusal = admin.refused("ScoreModelService/RefitScoreModel", {"name": score_models.RFM})
    assert "found from the population" in refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION").message
    assert score_models.get(admin, score_models.RFM) == before, "it has no draft more"


def who_may_not_make_models_does_not(shared, admin, new):
    """Whoever reads customers reads models; who talks to customers makes none."""
    made = score_models.create(admin, new, GOOD)
    support = shared.client("support")
    assert support.call("ScoreModelService/GetScoreModelVersion", {"name": made.name}) == made
    for method, request in (("CreateScoreModelVersion", {"parent": f"scoreModels/{new}", "version": version(GOOD)}),
                            ("DeleteScoreModelVersion", {"name": made.name}), ("RefitScoreModel", {"name": score_models.RFM}),
                            ("PreviewScoreModelVersion", {"name": made.name}), ("PublishScoreModelVersion", {"name": made.name}),
                            ("RetireScoreModel", {"name": f"scoreModels/{new}"})):
        support.refused(f"ScoreModelService/{method}", request).must_be(PERMISSION_DENIED, "METHOD_DENIED")
    take_back(admin, new, 1)


def who_does_not_read_money_makes_no_model_of_it_and_sees_none(shared, admin, new):
    # Whoever may call everything, so that the field alone is what is denied.
    policies.publish(admin, policies.role_like(admin, "admin", "no-money", forms={"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}))
    client, trait = policies.client_of(shared, "no-money"), f"{new[:20]}-large"
    position = questions.take_in(admin, facts.order(new, "o", cents=7_000)).facts_position
    traits.done(admin, traits.define(admin, trait, "ORDER", "COUNT", "", "amount > 10"))
    questions.wait_for(admin, position)
    for feature in ("revenue", "net_revenue", "gross_revenue", "refunded", "profit", "average_order_value", "revenue_30", "revenue_90",
                    "revenue_365", f"traits/{trait}"):
        request = {"parent": f"scoreModels/{new}", "version": version(GOOD, GOOD | {"name": "money", "feature": feature})}
        client.refused(CREATE, request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    client.refused(CREATE, {"parent": score_models.RFM, "preset": "retail"}).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    theirs = score_models.create(admin, f"{new[:20]}-money", QUANTILE)
    refusal = client.refused("ScoreModelService/PreviewScoreModelVersion", {"name": theirs.name})
    refusal.must_be(PERMISSION_DENIED, "FIELD_DENIED")
    # Of a model without money they see the cells, and not what the customers in them are worth.
    mine = score_models.create(client, new, GOOD)
    hidden, shown = (score_models.preview(each, mine.name, include_cells=True) for each in (client, admin))
    assert [(list(each.scores), each.customers) for each in hidden.whole.cells] == [
        (list(each.scores), each.customers) for each in shown.whole.cells] and hidden.cells == shown.cells
    assert not any(each.HasField("revenue") for each in hidden.whole.cells)
    assert sum(facts.cents_of(each.revenue) for each in shown.whole.cells) >= 7_000
    take_back(admin, new, 1)
    take_back(admin, f"{new[:20]}-money", 1)
    admin.call("TraitService/DeleteTrait", {"name": f"traits/{trait}"})


def another_tenant_knows_nothing_of_a_model_and_has_twenty_of_its_own(shared, admin, new):
    score_models.create(admin, new, GOOD)
    tenant = f"models-{new[:8]}"
    admin.call("TenantService/CreateTenant", {"tenant_id": tenant})
    other = shared.client("admin", tenant)
    waiting.until(lambda: policies.is_known(other), f"{tenant} to be known", policies.FORCE_SECONDS)
    other.refused("ScoreModelService/GetScoreModel", {"name": f"scoreModels/{new}"}).must_be(NOT_FOUND, "NOT_FOUND")
    other.refused("ScoreModelService/ListScoreModelVersions", {"parent": f"scoreModels/{new}"}).must_be(NOT_FOUND, "NOT_FOUND")
    for method in OF_A_VERSION:
        other.refused(f"ScoreModelService/{method}", {"name": f"scoreModels/{new}/versions/1"}).must_be(NOT_FOUND, "NOT_FOUND")
    for n in range(19):  # With rfm, 20.
        assert score_models.create(other, f"m{n:02}", GOOD).name == f"scoreModels/m{n:02}/versions/1"
    refusal = other.refused(CREATE, {"parent": f"scoreModels/{new}", "version": version(GOOD)})
    refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert score_models.create(other, "m00", GOOD).name == "scoreModels/m00/versions/2", "another version of one is no other model"
    models = other.call("ScoreModelService/ListScoreModels").score_models
    assert [each.name for each in models] == [*(f"scoreModels/m{n:02}" for n in range(19)), score_models.RFM]
    take_back(admin, new, 1)


def a_published_version_is_not_deleted(fresh):
    admin = fresh.client("admin")
    delete = "ScoreModelService/DeleteScoreModelVersion"
    made = score_models.create(admin, "value", GOOD)
    admin.refused(delete, {"name": made.name, "etag": f"{made.etag}x"}).must_be(grpc.StatusCode.ABORTED, "STALE_ETAG")
    score_models.publish(admin, made.name)
    for name in (made.name, f"{score_models.RFM}/versions/1"):
        admin.refused(delete, {"name": name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    score_models.retire(admin, "value")
    admin.refused(delete, {"name": made.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    # The number of a draft that is gone is not given again.
    draft = score_models.create(admin, "value", GOOD)
    admin.call(delete, {"name": draft.name})
    assert score_models.create(admin, "value", GOOD).name == "scoreModels/value/versions/3"
