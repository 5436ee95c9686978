"""Clusters as roles may use them: of what they read in clear, of everybody or not at all, without telling of one, and on record."""
import uuid
from datetime import timedelta
from types import SimpleNamespace

import pytest

from support import clusters, facts, label_sets, policies, questions
from support.clusters import REST, Person, Space, by
from support.label_sets import name_of
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED
from support.watching import watch

HIDDEN_MONEY = {"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}
METHODS = {"FitClusters": clusters.request("theirs", ("orders",), clusters=2), "GetClustering": {"name": clusters.clustering_of("orders")},
           "GetClusterDrift": {"name": clusters.clustering_of("orders")}, "FindFactors": {"features": by("orders", "interactions", "last_nps")}}
MONEY = ("orders", "net_revenue")


@pytest.fixture(scope="module")
def town(shared):
    """Customers, a set of orders and one of money, and clients of who reads no money."""
    admin = shared.client("admin")
    people = clusters.take_in(admin, clusters.likely(12, 60))
    clusters.put_in_force(admin, "orders", ("orders", "interactions"), clusters=3)
    clusters.put_in_force(admin, "money", MONEY, clusters=3)
    clusters.put_in_force(admin, "rule-of-money", ("orders",), within="net_revenue > 100", clusters=2)
    policies.publish(admin, policies.role_like(admin, "admin", "no-money", forms=HIDDEN_MONEY))
    clients = {"analyst": shared.client("analyst"), "no_money": policies.client_of(shared, "no-money")}
    return SimpleNamespace(suite=shared, admin=admin, people=people, **clients)


@pytest.fixture
def new():
    """The id of a set that no other test uses."""
    return f"s{uuid.uuid4().hex[:12]}"


# -- who may call ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("role", ["support", "sales", "marketer", "auditor"])
@pytest.mark.parametrize("method", METHODS)
def who_talks_to_customers_or_audits_finds_no_clusters(town, role, method):
    town.suite.client(role).refused(f"ClusterService/{method}", METHODS[method]).must_be(PERMISSION_DENIED, "METHOD_DENIED")


@pytest.mark.parametrize("method", METHODS)
def a_role_with_a_row_scope_is_not_given_what_is_learnt_from_everybody(town, method):
    others = [each for each in policies.TAKING_IN if each != f"ClusterService/{method}"]
    role = policies.role_like(town.admin, "admin", "scoped", without=others, row_scope='owner == "ann"')
    assert any(each.endswith(f"ClusterService/{method}") for each in role["methods"])
    refusal = town.admin.refused("PolicyService/PreviewPolicy", {"roles": [role]})
    refusal.must_be(INVALID_ARGUMENT, {"INVALID_FIELD", "INVALID_POLICY"})


def a_role_with_a_row_scope_reads_the_labels_of_its_own_customers(town):
    """Those are found by everybody, and are theirs to use."""
    rows = [facts.customer(f"ann-{n}", attributes={"kind": "CUSTOMER_KIND_CUSTOMER", "owner": "ann"}) for n in range(3)]
    questions.wait_for(town.admin, questions.take_in(town.admin, *rows).facts_position)
    client = town.suite.client("sales", subject="ann")
    own = {int(questions.find(town.admin, f"ann-{n}").split("/")[1]) for n in range(3)}
    assert label_sets.held(client, "orders").keys() == own
    assert sum(customers for customers, _ in label_sets.distribution(client, "orders").values()) == 3


# -- what is not read -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("set_id", ["money", "rule-of-money"])
def who_reads_no_money_does_nothing_with_clusters_of_it(town, set_id):
    etag = label_sets.get(town.admin, set_id).etag
    for method, request in (
            ("ClusterService/GetClustering", {"name": clusters.clustering_of(set_id)}),
            ("ClusterService/GetClusterDrift", {"name": clusters.clustering_of(set_id)}),
            ("ClusterService/FitClusters", clusters.request(set_id, ("orders",), clusters=2)),
            ("LabelService/GetLabelSet", {"name": name_of(set_id)}), ("LabelService/GetLabelDistribution", {"name": name_of(set_id)}),
            ("LabelService/ListLabelSetVersions", {"parent": name_of(set_id)}), ("LabelService/PreviewLabelSetDraft", {"name": name_of(set_id)}),
            ("LabelService/PublishLabelSet", {"name": name_of(set_id), "etag": etag}), ("LabelService/DeleteLabelSet", {"name": name_of(set_id)}),
            ("LabelService/UpdateLabelSet", label_sets.change(set_id, "description", description="x")),
            ("SegmentService/ListMembers", {"parent": name_of(set_id, "cluster-1")}),
            ("SegmentService/CheckMembers", {"parent": name_of(set_id, REST), "customers": ["customers/1"]}),
            ("SegmentService/WatchMemberships", {"parents": [name_of(set_id, "cluster-2")]}),
            ("SegmentService/PreviewSegment", {"expression": f'segment("{set_id}/cluster-1")'}),
            ("AnalysisService/CompareSegments", {"first": name_of(set_id, "cluster-1")}),
            ("AnalysisService/GetOverlapMatrix", {"parents": [name_of(set_id, "cluster-1"), name_of("orders", "cluster-1")]})):
        town.no_money.refused(method, request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    assert set_id not in label_sets.listed(town.no_money) and "orders" in label_sets.listed(town.no_money)


def who_reads_no_money_finds_no_clusters_of_it_be_it_by_way_of_others(town, new):
    for fields in ({"features": by("orders", "net_revenue")}, {"features": by("orders"), "within": "net_revenue > 3"},
                   {"features": by("orders"), "within": 'segment("money/cluster-1")'},
                   {"features": by("orders"), "within": 'segment("rule-of-money/not-clustered")'}, {"features": by("average_order_value")}):
        request = {"name": name_of(new), "clusters": 2} | fields
        town.no_money.refused("ClusterService/FitClusters", request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
        asked = {"features": [*fields["features"], *by("interactions", "last_nps")], "within": fields.get("within", "")}
        town.no_money.refused("ClusterService/FindFactors", asked).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    town.admin.refused("LabelService/GetLabelSet", {"name": name_of(new)}).must_be(NOT_FOUND, "NOT_FOUND")
    told = clusters.put_in_force(town.no_money, new, ("orders",), within='segment("orders/cluster-1")', clusters=2)
    assert clusters.drift(town.no_money, new).customers == told.customers
    label_sets.delete(town.no_money, new)


def a_draft_of_money_is_nothing_to_who_does_not_read_it(town, new):
    clusters.put_in_force(town.admin, new, ("orders",), clusters=2)
    etag = clusters.fit(town.admin, new, MONEY, clusters=2).etag
    assert not label_sets.get(town.no_money, new).HasField("draft") and not clusters.get(town.no_money, new).draft
    for method, request in (("ClusterService/GetClustering", {"name": clusters.clustering_of(new), "draft": True}),
                            ("LabelService/PreviewLabelSetDraft", {"name": name_of(new)}),
                            ("LabelService/PublishLabelSet", {"name": name_of(new), "etag": etag})):
        town.no_money.refused(method, request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    with watch(town.no_money, "SegmentService/WatchMemberships") as watcher, watch(town.admin, "SegmentService/WatchMemberships") as of_all:
        watcher.until_caught_up()
        of_all.until_caught_up()
        label_sets.publish(town.admin, new, etag)
        clusters.put_in_force(town.admin, new, ("interactions",), clusters=2)
        clusters.put_in_force(town.admin, f"{new}-2", ("orders",), clusters=2)
        count = len(label_sets.held(town.admin, f"{new}-2"))
        of_all.until(lambda _said: len(label_sets.changes_of(of_all, f"{new}-2")) == count, "all to be told")
        watcher.until(lambda _said: len(label_sets.changes_of(watcher, f"{new}-2")) == count, "what comes behind it")
        assert label_sets.changes_of(of_all, new) and label_sets.changes_of(watcher, new) == []
    assert [each.name.rsplit("/", 1)[1] for each in label_sets.versions(town.no_money, new)] == ["3", "1"]
    # What is prepared alone is not theirs to see, nor to find anew.
    clusters.fit(town.admin, f"{new}-3", MONEY, clusters=2)
    for method, request in (("GetClustering", {"name": clusters.clustering_of(f"{new}-3"), "draft": True}),
                            ("FitClusters", clusters.request(f"{new}-3", ("orders",), clusters=2))):
        town.no_money.refused(f"ClusterService/{method}", request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    for each in (new, f"{new}-2", f"{new}-3"):
        label_sets.delete(town.admin, each)


def profiles_of_who_reads_no_money_have_no_clusters_of_it(town):
    for number in list(town.people)[:5]:
        labels = town.no_money.call("ProfileService/GetProfile", {"name": f"customers/{number}/profile"}).labels
        sets = {each.split("/")[1] for each in labels}
        assert sets >= {"orders", "rfm-11"} and not sets & {"money", "rule-of-money"}
        changes = questions.everything(town.no_money, "ProfileService/ListMembershipChanges", "changes", parent=f"customers/{number}")
        assert changes and not any(each.parent.startswith((name_of("money"), name_of("rule-of-money"))) for each in changes)


# -- what would tell of one -----------------------------------------------------------------------------------------------

def a_cluster_of_few_customers_is_not_described(fresh):
    admin = fresh.client("admin")
    people = {f"c{n}": Person([(facts.AS_OF - timedelta(days=1 + n), 1_000 + n)]) for n in range(20)}
    people |= {f"rich-{n}": Person([(facts.AS_OF - timedelta(days=3), 98_765_432 + n)]) for n in range(4)}
    people |= {f"poor-{n}": Person([(facts.AS_OF - timedelta(days=3), 3 + n)]) for n in range(5)}
    clusters.take_in(admin, people)
    for method in (clusters.K_MEANS, clusters.MIXTURE):
        told = clusters.put_in_force(admin, "few", ("net_revenue",), clusters=3, method=method)
        # Five alone would be told of; but then the four would follow from the others.
        assert {each.size: bool(each.centre) for each in told.clusters} == {20: True, 4: False, 5: False}
        few = next(each for each in told.clusters if each.size == 4)
        assert "revenue" not in few.description + few.title and few.description == "too few customers to describe"


def what_is_told_of_the_others_does_not_tell_of_one(fresh):
    """Deviations from everybody's mean add up to nothing over all customers, and so tell the mean of those of whom no centre is told."""
    admin = fresh.client("admin")
    people = {f"c{n}": Person([(facts.AS_OF - timedelta(days=1 + n), 1_000 + n)]) for n in range(20)}
    clusters.take_in(admin, people | {"rich": Person([(facts.AS_OF - timedelta(days=3), 98_765_432)])})
    for count in (2, 3, 4):
        told = clusters.fit(admin, "few", by("net_revenue", "last_order_at", linear=["net_revenue"]), clusters=count)
        assert min(each.size for each in told.clusters) == 1
        assert sum(each.size for each in told.clusters if not each.centre) >= clusters.TOLD, told


def how_far_a_cluster_moved_does_not_tell_of_one(fresh):
    """Where it was, it had many customers, and was told of."""
    admin = fresh.client("admin")
    people = clusters.take_in(admin, {f"c{n}": Person([(facts.AS_OF - timedelta(days=5), 1_000 + n)] * (1 + n % 2)) for n in range(20)})
    clusters.put_in_force(admin, "moved", ("orders",), clusters=2)
    questions.wait_for(admin, questions.take_in(admin, *(facts.order("c1", f"more-{n}") for n in range(50))).facts_position)
    told = clusters.fit(admin, "moved", ("orders",), clusters=2)
    assert len(people) == 20 and [each.moved for each in told.clusters if each.size < clusters.TOLD] == [0]


# -- on record, and elsewhere ---------------------------------------------------------------------------------------------

def what_is_found_is_audited_with_its_set(town, new):
    town.analyst.call("ClusterService/FitClusters", clusters.request(new, ("orders",), clusters=2))
    town.analyst.refused("ClusterService/FitClusters", clusters.request(new, ("orders",), clusters=2, etag="x"))
    town.no_money.refused("ClusterService/FitClusters", clusters.request(new, MONEY, clusters=2))
    label_sets.publish(town.analyst, new)
    label_sets.delete(town.analyst, new)
    method = town.suite.api().method_on("segmentation", "AuditService/ListAuditEvents")
    told = questions.everything(town.admin, method, "events", kind="AUDIT_KIND_CHANGE_ENDED", page_size=1_000)
    assert [(each.method.split("/")[-1], each.outcome, each.role) for each in told if each.resource == name_of(new)] == [
        ("FitClusters", "OK", "analyst"), ("FitClusters", "ABORTED", "analyst"), ("FitClusters", "PERMISSION_DENIED", "no-money"),
        ("PublishLabelSet", "OK", "analyst"), ("DeleteLabelSet", "OK", "analyst")]


def another_tenant_knows_nothing_of_clusters_and_has_its_own(town, new):
    other = clusters.new_tenant(town.suite, f"other-{new}")
    for method, request in (("GetClustering", {"name": clusters.clustering_of("orders")}),
                            ("GetClusterDrift", {"name": clusters.clustering_of("orders")}),
                            ("FitClusters", clusters.request("orders", ("orders",), etag=label_sets.get(town.admin, "orders").etag))):
        absent = town.admin.refused(f"ClusterService/{method}", swapped(request, new))
        assert other.refused(f"ClusterService/{method}", request).answer == absent.answer, method
    asked = clusters.request("orders", ("orders",), clusters=2)
    other.refused("ClusterService/FitClusters", asked).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    people = clusters.take_in(other, clusters.likely(13, 40))
    told = clusters.put_in_force(other, "orders", ("net_revenue",), clusters=3)
    clusters.assert_found(told, label_sets.held(other, "orders"), people, Space(by("net_revenue"), people.values()))
    assert [each.field for each in clusters.get(town.admin, "orders").features] == ["orders", "interactions"]


def swapped(request, absent):
    """A request for a set that is not there."""
    return {key: value.replace("labelSets/orders", f"labelSets/{absent}") if isinstance(value, str) else value for key, value in request.items()}
