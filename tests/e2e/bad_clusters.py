"""Requests about clusters that cannot be meant are refused, with the field that is wrong; what customers are like stands in the way of others."""
import uuid
from datetime import timedelta
from types import SimpleNamespace

import grpc
import pytest

from support import clusters, facts, label_sets, questions
from support.clusters import MIXTURE, REST, Person, by
from support.label_sets import name_of
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, Refusal

ABORTED, ALREADY_EXISTS = grpc.StatusCode.ABORTED, grpc.StatusCode.ALREADY_EXISTS
INVALID = {"INVALID_FIELD", "INVALID_EXPRESSION", "INVALID_TOKEN"}
FIT, FACTORS = "ClusterService/FitClusters", "ClusterService/FindFactors"
READ = ("ClusterService/GetClustering", "ClusterService/GetClusterDrift")
GOOD = by("orders", "net_revenue", "last_order_at")
NAMES = ["", "x", "labelSets", "labelSets/", "labelSets/A", "labelSets/1a", "labelSets/-a", "labelSets/a b", "labelSets/a\0", "labelSets/段",
         "labelSets/é", f"labelSets/{'a' * 64}", "labelSets/a\u202e", "labelSets/a_b", "labelSets/a/labels/cluster-1", "segments/a",
         "LabelSets/a", " labelSets/a", "labelSets/a "]
FIELDS = ["", " ", "phone", "net_revenu", "orders ", " orders", "Orders", "orders\0", "订单", "rfm", "o" * 10_000,
          "'; DROP TABLE definition; --", "segment(\"x\")", "stage", "region", "label", "owner", "consent.marketing", "grade.band", "display_name",
          "now", "days_since(last_order_at)"]
RULES = [" ", "orders", "orders >", "orders > \"3\"", "nowhere > 3", "phone == \"1\"", 'segment("nowhere")', 'segment("rfm-11")',
         'segment("rfm-11/nowhere")',
         "(" * 40 + "orders > 3" + ")" * 40, " || ".join(["orders > 3"] * 1_001), "orders > 3" + " " * 16_384, "orders > 99999999999999999999",
         "orders > 1\0"]
YESTERDAY = facts.AS_OF - timedelta(days=1)
NUMBERS = [-1, 1, 21, 2**31 - 1, -(2**31)]


@pytest.fixture(scope="module")
def desk(shared):
    """Customers, a set of clusters in force, one in preparation and one of rules."""
    admin = shared.client("admin")
    people = clusters.take_in(admin, clusters.likely(5, 48))
    clusters.put_in_force(admin, "found", GOOD, clusters=3)
    clusters.fit(admin, "drafted", GOOD, clusters=3)
    label_sets.create(admin, "rules", [("few", "orders < 3", None)])
    return SimpleNamespace(suite=shared, admin=admin, analyst=shared.client("analyst"), people=people)


@pytest.fixture
def new():
    """The id of a set that no other test uses."""
    return f"s{uuid.uuid4().hex[:12]}"


def must_name(client, method, request, field):
    """Refused as a bad argument, in this field or within it."""
    refusal = client.refused(method, request, seconds=clusters.SLOW).must_be(INVALID_ARGUMENT, INVALID)
    places = [each.field for each in refusal.bad_request.field_violations]
    assert places and all(place == field or place.startswith((f"{field}.", f"{field}[")) for place in places), refusal
    return refusal.bad_request.field_violations[0].description


def fitting(new, features=None, **fields):
    return clusters.request(new, features or GOOD, **fields)


def sets_of(desk):
    return [label_sets.get(desk.admin, each).SerializeToString(deterministic=True) for each in label_sets.listed(desk.admin)]


@pytest.fixture(autouse=True)
def kept(desk):
    """What is refused changes nothing."""
    before = sets_of(desk)
    yield
    assert sets_of(desk) == before


# -- bad arguments --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", range(len(NAMES)))
def a_name_that_cannot_be_one_is_refused(desk, name):
    must_name(desk.analyst, FIT, {"name": NAMES[name], "features": GOOD}, "name")
    for method in READ:
        must_name(desk.analyst, method, {"name": f"{NAMES[name]}/clustering"}, "name")
        must_name(desk.analyst, method, {"name": NAMES[name]}, "name")


@pytest.mark.parametrize("name", ["labelSets/found", "labelSets/found/clusterings", "labelSets/found/clustering/", "labelSets/found/Clustering",
                                  "labelSets//clustering", "labelSets/found/labels/cluster-1", "clustering", "/clustering",
                                  "labelSets/found/clustering/clustering"])
def the_name_of_clusters_is_that_of_a_set_and_one_word(desk, name):
    for method in READ:
        must_name(desk.analyst, method, {"name": name}, "name")


@pytest.mark.parametrize("field", range(len(FIELDS)))
def a_field_that_has_no_distances_or_is_none_is_refused(desk, new, field):
    for method, request in ((FIT, fitting(new)), (FACTORS, {})):
        for place in range(3):
            features = [*GOOD[:place], {"field": FIELDS[field]}, *GOOD[place + 1:]]
            said = must_name(desk.analyst, method, request | {"features": features}, f"features[{place}]")
            assert FIELDS[field] != "net_revenu" or "net_revenue" in said


def there_are_neither_too_few_nor_too_many_fields_and_each_is_there_once(desk, new):
    many = [{"field": "orders"}] * 33
    for method, least, request in ((FIT, 1, fitting(new)), (FACTORS, 3, {})):
        for features in (GOOD[:least - 1], many, many * 100):
            must_name(desk.analyst, method, request | {"features": features}, "features")
        twice = [*GOOD, {"field": "orders", "linear": True}]
        must_name(desk.analyst, method, request | {"features": twice}, "features[3]")
    numeric = ["orders", "purchase_days", "net_revenue", "average_order_value", "orders_30", "orders_90", "orders_365", "revenue_30", "revenue_90",
               "revenue_365", "interactions", "last_nps", "first_order_at"]
    must_name(desk.analyst, FIT, fitting(new, by(*numeric), method=MIXTURE, clusters=2), "features")


@pytest.mark.parametrize("rule", range(len(RULES)))
def a_rule_that_is_none_is_refused(desk, new, rule):
    must_name(desk.analyst, FIT, fitting(new, within=RULES[rule]), "within")
    must_name(desk.analyst, FACTORS, {"features": GOOD, "within": RULES[rule]}, "within")


@pytest.mark.parametrize("number", NUMBERS)
def a_number_of_clusters_that_is_not_offered_is_refused(desk, new, number):
    for field in ("clusters", "min_clusters", "max_clusters"):
        must_name(desk.analyst, FIT, fitting(new, **{field: number}), field)
    if number not in (1, 21):
        must_name(desk.analyst, FACTORS, {"features": GOOD, "factors": number}, "factors")
    must_name(desk.analyst, FACTORS, {"features": GOOD, "factors": 32}, "factors")


def numbers_of_clusters_do_not_contradict_each_other(desk, new):
    must_name(desk.analyst, FIT, fitting(new, min_clusters=5, max_clusters=4), "max_clusters")
    for fields in ({"min_clusters": 2}, {"max_clusters": 4}, {"min_clusters": 3, "max_clusters": 3}):
        must_name(desk.analyst, FIT, fitting(new, clusters=3, **fields), "clusters")


@pytest.mark.parametrize("method", [3, 99, -1, 2**31 - 1])
def a_method_that_is_none_is_refused(desk, new, method):
    must_name(desk.analyst, FIT, fitting(new, method=method, clusters=2), "method")


# -- what is there --------------------------------------------------------------------------------------------------------

def clusters_are_not_found_where_there_are_none(desk, new):
    for name in ("rfm-11", "rules", new, "drafted"):
        for method in READ:
            desk.analyst.refused(method, {"name": clusters.clustering_of(name)}).must_be(NOT_FOUND, "NOT_FOUND")
    for name in ("rfm-11", "rules", new, "found"):
        asked = {"name": clusters.clustering_of(name), "draft": True}
        desk.analyst.refused(READ[0], asked).must_be(NOT_FOUND, "NOT_FOUND")
    assert clusters.get(desk.analyst, "found").draft is False and clusters.get(desk.analyst, "drafted", draft=True).draft


def no_clusters_are_found_for_the_set_that_ships_and_for_a_set_of_rules(desk):
    for name in ("rfm-11", "rules"):
        desk.analyst.refused(FIT, fitting(name)).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def an_etag_is_the_present_one_or_none(desk, new):
    for etag in ("x", "\0" * 300, "\"0-0\"", label_sets.get(desk.admin, "rules").etag, label_sets.get(desk.admin, "found").etag.upper() + " "):
        desk.analyst.refused(FIT, fitting("found", etag=etag)).must_be(ABORTED, "STALE_ETAG")
        desk.analyst.refused(FIT, fitting(new, etag=etag)).must_be({ABORTED, NOT_FOUND}, {"STALE_ETAG", "NOT_FOUND"})


LABELS = ["cluster-1", "cluster-2", "cluster-3", REST]
# What is wrong with the draft of {id: title}.
DRAFTS = {
    "one is missing": LABELS[:2] + LABELS[3:], "the rest is missing": LABELS[:3], "one is there twice": ["cluster-1", *LABELS],
    "one more": ["cluster-4", *LABELS], "another order": LABELS[::-1],
    "the rest first": [REST, *LABELS[:3]], "of rules": ["few", "many", "some", "rest"], "none": []}


@pytest.mark.parametrize("wrong", DRAFTS)
@pytest.mark.parametrize("set_id", ["found", "drafted"])
def the_labels_of_clusters_are_neither_more_nor_fewer_nor_others(desk, set_id, wrong):
    labels = [{"name": name_of(set_id, each), "title": "x"} for each in DRAFTS[wrong]]
    must_name(desk.analyst, "LabelService/UpdateLabelSet", label_sets.change(set_id, "draft", draft={"labels": labels}), "label_set.draft.labels")


@pytest.mark.parametrize("change,place", [
    ({"expression": "orders > 3"}, ""), ({"cells": ["111"]}, ""), ({"name": "labelSets/other/labels/cluster-2"}, ""),
    ({"name": "cluster-2"}, ""), ({"name": ""}, ""),
    ({"title": "é" * 65}, "[1].title"), ({"title": "a\0b"}, "[1].title"), ({"title": "a\nb"}, "[1].title"), ({"title": "a\u202eb"}, "[1].title")])
def a_label_of_a_cluster_has_a_title_and_nothing_else(desk, change, place):
    for set_id in ("found", "drafted"):
        labels = [{"name": name_of(set_id, each), "title": each} for each in LABELS]
        labels[1] |= change
        request = label_sets.change(set_id, "draft", draft={"labels": labels})
        must_name(desk.analyst, "LabelService/UpdateLabelSet", request, f"label_set.draft.labels{place}")


def a_set_of_clusters_is_not_made_of_rules_nor_made_twice(desk):
    for set_id in ("found", "drafted"):
        desk.analyst.refused("LabelService/CreateLabelSet", label_sets.creation(set_id, [("few", "orders < 3", None)])).must_be(
            ALREADY_EXISTS, "ALREADY_EXISTS")
    # What is being prepared is all that there is of one.
    desk.analyst.refused("LabelService/UpdateLabelSet", label_sets.change("drafted", "draft")).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    desk.analyst.refused("LabelService/PublishLabelSet", {"name": name_of("drafted")}).must_be(INVALID_ARGUMENT, INVALID)
    etag = label_sets.get(desk.admin, "found").etag
    desk.analyst.refused("LabelService/PublishLabelSet", {"name": name_of("found"), "etag": etag}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    desk.analyst.refused("LabelService/PreviewLabelSetDraft", {"name": name_of("found")}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


# -- what customers are like ----------------------------------------------------------------------------------------------

def too_few_customers_or_equal_ones_are_no_clusters(desk, new):
    numbers = sum(len(person.orders) == 2 for person in desk.people.values())
    assert 2 < numbers < 20
    for fields in ({"within": "orders == 2", "clusters": 20}, {"within": "orders == 2", "min_clusters": 19},  # Fewer than clusters.
                   {"within": "false"}, {"within": "false", "clusters": 2},  # Nobody.
                   {"within": f"orders == {max(len(person.orders) for person in desk.people.values()) + 1}", "clusters": 2}):
        desk.analyst.refused(FIT, fitting(new, **fields)).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
        for method in (MIXTURE, clusters.K_MEANS):
            desk.analyst.refused(FIT, fitting(new, method=method, **fields)).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    # The same of everybody.
    for within, features in (("orders == 1", by("orders")), ("orders == 0", by("net_revenue", "last_order_at")), ("", by("open_tickets"))):
        for clusters_wanted in (0, 2):
            asked = fitting(new, features, within=within, clusters=clusters_wanted)
            desk.analyst.refused(FIT, asked).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    for within in ("false", "orders == 0"):
        asked = {"features": GOOD, "within": within}
        desk.analyst.refused(FACTORS, asked).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def a_suite_without_customers_has_no_clusters(fresh):
    admin = fresh.client("admin")
    for fields in ({}, {"clusters": 2}, {"method": MIXTURE}):
        admin.refused(FIT, fitting("none", **fields)).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    admin.refused(FACTORS, {"features": GOOD}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    # One customer, and two who are the same, and at last two who are not.
    for n, cents in enumerate((1_000, 1_000, 2_000)):
        questions.wait_for(admin, questions.take_in(admin, facts.order(f"c{n}", "o", cents=cents)).facts_position)
        if n < 2:
            admin.refused(FIT, fitting("none", clusters=2)).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    told = clusters.put_in_force(admin, "two", GOOD, clusters=2)
    assert [(each.size, len(each.centre)) for each in told.clusters] == [(2, 0), (1, 0)] and told.inertia == 0
    assert len(set(label_sets.held(admin, "two").values())) == 2


def as_many_clusters_as_customers_are_each_their_own(fresh):
    """And of values that are as large as they get."""
    admin = fresh.client("admin")
    people = clusters.take_in(admin, {f"c{n}": Person([(YESTERDAY, 10 ** (n % 5 + 10) + n * 10 ** 9)], [YESTERDAY] * n) for n in range(20)})
    for method in (clusters.K_MEANS, MIXTURE):
        for linear in ((), ("interactions", "net_revenue")):
            told = clusters.put_in_force(admin, "own", by("interactions", "net_revenue", linear=linear), clusters=20, method=method)
            assert len(told.clusters) == 20 and not any(each.centre for each in told.clusters)
            held = label_sets.held(admin, "own")
            assert held.keys() == people.keys() and (method == MIXTURE or len(set(held.values())) == 20)
    admin.refused(FIT, fitting("own", clusters=20, within="interactions > 0")).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def whoever_comes_later_with_what_nobody_had_has_a_label_too(fresh):
    """However far from everybody."""
    admin = fresh.client("admin")
    clusters.take_in(admin, {f"c{n}": Person([(YESTERDAY, 1_000 + n)]) for n in range(12)})
    for name, method in (("k", clusters.K_MEANS), ("m", MIXTURE)):
        clusters.put_in_force(admin, name, by("net_revenue", linear=["net_revenue"]), clusters=2, method=method)
    clusters.take_in(admin, {"rich": Person([(YESTERDAY, 9 * 10 ** 14)])})
    rich = int(questions.find(admin, "rich").split("/")[1])
    highest = max(clusters.get(admin, "k").clusters, key=lambda each: each.centre[0].deviations)
    assert label_sets.held(admin, "k")[rich] == f"cluster-{highest.number}"
    assert rich in label_sets.held(admin, "m")
    for name in ("k", "m"):
        assert clusters.drift(admin, name).customers == 13 and clusters.drift(admin, name).verdict == 3


def a_tenant_keeps_up_to_fifty_sets_and_finds_clusters_of_those(fresh):
    admin = fresh.client("admin")
    clusters.take_in(admin, clusters.likely(9, 24))
    for n in range(49):  # Beside the one that ships.
        clusters.fit(admin, f"set-{n}", ("orders",), clusters=2)
    admin.refused(FIT, fitting("one-more", clusters=2)).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    clusters.put_in_force(admin, "set-7", GOOD, clusters=3)
    label_sets.delete(admin, "set-8")
    clusters.fit(admin, "one-more", GOOD, clusters=3)
    with pytest.raises(Refusal):
        clusters.get(admin, "set-8", draft=True)
