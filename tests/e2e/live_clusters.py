"""Clusters in force: who comes to which, what of them is kept when they are found anew, and whether they still fit."""
import contextlib
import math
from datetime import timedelta

import grpc
import pytest
from google.protobuf import json_format

from label_changes import history, label_of
from segment_followers import assert_erased
from support import clusters, facts, label_sets, questions
from support.clusters import REST, Person, Space, by
from support.label_sets import name_of
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, Refusal
from support.watching import cause, watch

ABORTED = grpc.StatusCode.ABORTED
FEATURES = by("orders", "net_revenue", "last_order_at")
SET = "found"


class Town:
    """A suite with clusters of those who were there at first, and what ought to come of whoever comes or changes."""

    def __init__(self, suite, count=60, **fields):
        self.suite, self.as_of, self.moves = suite, facts.AS_OF, []
        self.people = clusters.take_in(self.admin, clusters.likely(2, count))
        self.told = clusters.put_in_force(self.admin, SET, FEATURES, **({"clusters": 4} | fields))
        self.space = Space(FEATURES, self.people.values())
        self.centres = clusters.centres(self.told)
        assert len(self.centres) == len(self.told.clusters)

    @property
    def admin(self):
        return self.suite.client("admin")

    def label(self, person):
        """Where somebody ought to belong by now."""
        return clusters.nearest(self.space.point(person, self.as_of), self.centres)

    def expected(self):
        return {number: self.label(person) for number, person in self.people.items()}

    def assert_all(self):
        """Everybody is where arithmetic says, by lists and by counts."""
        expected = self.expected()
        assert label_sets.held(self.admin, SET) == expected
        counted = {label: customers for label, (customers, _) in label_sets.distribution(self.admin, SET).items()}
        assert counted == {label: sum(each == label for each in expected.values()) for label in [*self.centres, REST]}

    @contextlib.contextmanager
    def step(self):
        """Something that moves customers: who moved is told so, and by nothing else."""
        before = self.expected()
        yield
        after = self.expected()
        self.moves += sorted(label_sets.expected_changes(before, after))
        self.moves += [(number, label, False) for number, label in before.items() if number not in after]

    def take_in(self, key, person):
        """Takes more of a customer in, or a new one: its number."""
        with self.step():
            return self.take(key, person)

    def take(self, key, person):
        numbers = questions.numbers_of(self.admin, facts.SOURCE)
        known = self.people.get(numbers.get(key), Person())
        rows = [facts.order(key, f"{key}-more-{len(known.orders) + n}", order_time=facts.text_of(at), cents=cents)
                for n, (at, cents) in enumerate(person.orders)]
        questions.wait_for(self.admin, questions.take_in(self.admin, *rows).facts_position, self.as_of)
        number = questions.numbers_of(self.admin, facts.SOURCE)[key]
        self.people[number] = Person(known.orders + person.orders, known.visits, known.nps)
        return number

    def pass_days(self, days):
        with self.step():
            self.as_of += timedelta(days=days)
            questions.set_clock(self.admin, self.as_of)


@contextlib.contextmanager
def followed(town):
    """A watcher, who in the end has heard of exactly the moves that arithmetic says, each at its step."""
    town.moves.clear()
    with watch(town.suite.client("analyst"), "SegmentService/WatchMemberships") as watcher:
        watcher.until_caught_up()
        yield watcher
        watcher.until(lambda _said: len(label_sets.changes_of(watcher, SET)) >= len(town.moves), f"{len(town.moves)} changes")
        assert sorted(label_sets.changes_of(watcher, SET)) == sorted(town.moves)


def bought(*facts_of):
    """A person with orders of (days ago, cents)."""
    return Person([(facts.AS_OF - timedelta(days=days), cents) for days, cents in facts_of])


# -- who comes to which ---------------------------------------------------------------------------------------------------

def a_purchase_moves_a_customer_to_the_nearest_cluster_at_once(fresh):
    town = Town(fresh)
    segment = questions.save_segment(town.admin, "those", f'segment("{SET}/{town.label(bought((500, 1_500), (1, 500_000)))}")')
    first = next(iter(town.people))
    key = next(key for key, number in questions.numbers_of(town.admin, facts.SOURCE).items() if number == first)
    with followed(town) as watcher:
        number = town.take_in("new", bought((500, 1_500)))
        old = town.label(town.people[number])
        assert label_sets.changes_of(watcher, SET)[-1:] in ([], [(number, old, True)])
        town.take_in("new", bought((1, 500_000)))
        assert (later := town.label(town.people[number])) != old
        town.take_in(key, bought(*((20 + n, 10) for n in range(9))))
    customer = f"customers/{number}"
    assert history(town.admin, customer, SET) == [(old, True, "RECORD"), (old, False, "RECORD"), (later, True, "RECORD")]
    assert label_of(town.admin, SET, customer) == later and questions.is_member(town.admin, segment, customer)
    town.assert_all()


def days_that_pass_move_customers_at_midnight_and_no_sooner(fresh):
    town = Town(fresh)
    with followed(town) as watcher:
        for days in (1, 2, 7, 30, 30, 60, 120, 365):
            town.pass_days(days - 1)
            # To the last second of the day nothing changes.
            questions.set_clock(town.admin, town.as_of + timedelta(days=1, seconds=-1))
            town.assert_all()
            town.pass_days(1)
            town.assert_all()
            number = town.take_in(f"since-{days}", Person([(town.as_of - timedelta(days=days), 4_000)]))
            assert label_of(town.admin, SET, f"customers/{number}") == town.label(town.people[number])
        assert len(town.moves) > 40
    assert {cause(each) for each in watcher.changes() if each.parent.startswith(name_of(SET))} == {"TIME", "RECORD"}


def midnight_is_that_of_the_tenant(fresh):
    """Which is eight hours before that of Greenwich."""
    zone, features = clusters.zone_of("Asia/Shanghai"), by("last_order_at", "first_order_at", linear=["last_order_at", "first_order_at"])
    client = clusters.new_tenant(fresh, "east", time_zone=zone.key)
    people = clusters.take_in(client, {f"c{n}": Person([(facts.AS_OF - timedelta(hours=n, minutes=1), 1_000)]) for n in range(240)})
    told = clusters.put_in_force(client, SET, features, within="orders > 0", clusters=6)
    space, held = Space(features, people.values(), zone=zone), []
    for hours in (0, 15, 15.99, 16, 23, 24, 39.99, 40):
        as_of = facts.AS_OF + timedelta(hours=hours)
        questions.set_clock(fresh.client("admin"), as_of)
        questions.wait_for(client, 0, as_of)
        held.append(label_sets.held(client, SET))
        clusters.assert_nearest(held[-1], people, space, clusters.centres(told), as_of)
    assert held[0] == held[2] != held[3] == held[6] != held[7]
    assert label_sets.distribution(client, SET)[REST] == (0, 0)


def plain(message):
    """As a dict, since messages of two runs of the suite are of two classes."""
    return json_format.MessageToDict(message)


def titles_of(told):
    return [each.title for each in told.clusters]


@pytest.mark.parametrize("end", ["stop", "kill"])
def a_suite_that_comes_back_knows_its_clusters(fresh, end):
    town = Town(fresh)
    label_sets.update(town.admin, SET, "draft", draft={"labels": titles(town.admin, SET, {"cluster-2": "Zweite 二"})})
    names, drafted = titles_of(clusters.get(town.admin, SET)), plain(clusters.get(town.admin, SET, draft=True))
    told = plain(town.told)
    town.take_in("late", bought((3, 70_000), (2, 60_000)))
    town.pass_days(45)
    fell = clusters.drift(town.admin, SET)
    town.assert_all()
    getattr(fresh, end)()
    fresh.start()
    questions.wait_for(town.admin, 0, town.as_of)
    town.assert_all()
    assert plain(clusters.get(town.admin, SET)) | {"etag": told["etag"]} == told and plain(clusters.get(town.admin, SET, draft=True)) == drafted
    assert titles_of(clusters.get(town.admin, SET)) == names and drafted["clusters"][1]["title"] == "Zweite 二"
    again = clusters.drift(town.admin, SET)
    assert questions.without_watermark(again) == questions.without_watermark(fell)
    town.take_in("later", bought((400, 900)))
    town.pass_days(200)
    town.assert_all()
    # What is found of the same customers is the same.
    assert len({clusters.fit(town.admin, each, FEATURES, seed=9, clusters=3).inertia for each in ("a", "b")}) == 1


def who_is_merged_or_erased_is_in_one_cluster_or_in_none(fresh):
    town = Town(fresh)
    with followed(town):
        one, other = town.take_in("one", bought((400, 1_000))), town.take_in("other", bought(*((n + 1, 9_000) for n in range(12))))
        pair = {"customer": f"customers/{one}", "other": f"customers/{other}"}
        before = town.people[one], town.people[other]
        with town.step():
            merged = town.admin.call("IdentityService/MergeCustomers", pair)
            questions.wait_for(town.admin, merged.facts_position)
            town.people[one] = Person(before[0].orders + before[1].orders)
            del town.people[other]
        town.assert_all()
        with town.step():
            parted = town.admin.call("IdentityService/UnmergeCustomers", {"name": merged.name})
            questions.wait_for(town.admin, parted.facts_position)
            town.people[one], town.people[other] = before
        town.assert_all()
        with town.step():
            restricted = town.admin.call("PrivacyService/RestrictProcessing", {"name": f"customers/{one}"})
            questions.wait_for(town.admin, restricted.facts_position)
            del town.people[one]
        town.assert_all()
        with town.step():
            lifted = town.admin.call("PrivacyService/LiftRestriction", {"name": f"customers/{one}"})
            questions.wait_for(town.admin, lifted.facts_position)
            town.people[one] = before[0]
        town.assert_all()
        # Whoever is erased leaves without a word of where from.
        assert_erased(town.admin, f"customers/{other}")
        del town.people[other]
        town.assert_all()


def who_is_clustered_follows_the_rule_for_it(fresh):
    """A segment to which the rule refers, by which customers come and go."""
    people = clusters.take_in(fresh.client("admin"), clusters.likely(4, 100))
    admin = fresh.client("admin")
    segment = questions.save_segment(admin, "buyers", "orders >= 2")
    told = clusters.put_in_force(admin, SET, FEATURES, within='segment("buyers")', clusters=3)
    space = Space(FEATURES, [person for person in people.values() if len(person.orders) >= 2])
    centres = clusters.centres(told)

    def expected(least):
        return {number: clusters.nearest(space.point(person), centres) if len(person.orders) >= least else REST
                for number, person in people.items()}
    assert label_sets.held(admin, SET) == expected(2)
    admin.refused("SegmentService/DeleteSegment", {"name": segment}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    with watch(admin, "SegmentService/WatchMemberships") as watcher:
        watcher.until_caught_up()
        admin.call("SegmentService/UpdateSegment", {"segment": {"name": segment, "draft_expression": "orders >= 1"},
                                                    "update_mask": "draftExpression"})
        admin.call("SegmentService/PublishSegment", {"name": segment, "etag": admin.call("SegmentService/GetSegment", {"name": segment}).etag})
        due = label_sets.expected_changes(expected(2), expected(1))
        watcher.until(lambda _said: len(label_sets.changes_of(watcher, SET)) >= len(due), f"{len(due)} changes")
        assert sorted(label_sets.changes_of(watcher, SET)) == sorted(due) and due
    assert label_sets.held(admin, SET) == expected(1)
    assert_no_circle(admin, segment)


def assert_no_circle(admin, segment):
    """Neither is the segment made of the clusters, nor the clusters of themselves."""
    drafted = admin.call("SegmentService/UpdateSegment", {
        "segment": {"name": segment, "draft_expression": f'segment("{SET}/cluster-1")'}, "update_mask": "draftExpression"})
    refused = admin.refused("SegmentService/PublishSegment", {"name": segment, "etag": drafted.etag})
    refused.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    for within in (f'segment("{SET}/cluster-1")', f'!segment("{SET}/{REST}")'):
        with pytest.raises(Refusal) as raised:
            label_sets.publish(admin, SET, clusters.fit(admin, SET, FEATURES, within=within, clusters=2).etag)
        raised.value.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert clusters.get(admin, SET).within == 'segment("buyers")'


def rules_refer_to_clusters_and_keep_them(fresh):
    town = Town(fresh, clusters=3)
    segment = questions.save_segment(town.admin, "mine", f'segment("{SET}/cluster-1") || segment("{SET}/cluster-3")')
    label_sets.create(town.admin, "of-clusters", [("first", f'segment("{SET}/cluster-2")', None)])
    expected = town.expected()
    mine = {number for number, label in expected.items() if label in ("cluster-1", "cluster-3")}
    assert {int(each.split("/")[1]) for each in questions.everything(
        town.admin, "SegmentService/ListMembers", "customers", parent=segment)} == mine
    assert label_sets.held(town.admin, "of-clusters") == {number: "first" if each == "cluster-2" else "rest" for number, each in expected.items()}
    town.admin.refused("LabelService/DeleteLabelSet", {"name": name_of(SET)}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    # Two clusters leave one of the numbers out, to which something refers.
    seen = clusters.fit(town.admin, SET, FEATURES, clusters=2)
    town.admin.refused("LabelService/PublishLabelSet", {"name": name_of(SET), "etag": seen.etag}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    town.assert_all()
    with followed(town):
        town.take_in("new", bought((1, 500_000), (2, 400_000)))
        town.pass_days(90)
    assert label_sets.held(town.admin, "of-clusters") == {
        number: "first" if each == "cluster-2" else "rest" for number, each in town.expected().items()}
    label_sets.delete(town.admin, "of-clusters")
    town.admin.call("SegmentService/DeleteSegment", {"name": segment})
    label_sets.delete(town.admin, SET)
    town.admin.refused("ClusterService/GetClustering", {"name": clusters.clustering_of(SET)}).must_be(NOT_FOUND, "NOT_FOUND")


# -- found anew -----------------------------------------------------------------------------------------------------------

def titles(client, set_id, changed):
    """The labels of a set with other titles, as a draft has them."""
    return [{"name": each.name, "title": changed.get(label_sets.id_of(each.name), each.title)} for each in label_sets.get(client, set_id).labels]


def a_draft_for_whom_nobody_can_be_found_any_longer_is_not_published(fresh):
    """The rule for who is clustered refers to a segment that is gone, as rules of labels might, which are refused then."""
    admin = fresh.client("admin")
    clusters.take_in(admin, clusters.likely(1, 40))
    segment = questions.save_segment(admin, "gone", "orders > 0")
    etags = {"found": clusters.fit(admin, "found", FEATURES, within='segment("gone")', clusters=2).etag,
             "ruled": label_sets.create(admin, "ruled", [("in", 'segment("gone")', None)], draft_only=True).etag}
    admin.call("SegmentService/DeleteSegment", {"name": segment})
    for set_id, etag in etags.items():
        for method, request in (("PreviewLabelSetDraft", {}), ("PublishLabelSet", {"etag": etag})):
            refusal = admin.refused(f"LabelService/{method}", {"name": name_of(set_id)} | request)
            refusal.must_be({INVALID_ARGUMENT, FAILED_PRECONDITION}, {"INVALID_EXPRESSION", "FAILED_PRECONDITION"})


def clusters_that_are_found_anew_are_a_draft_until_they_are_published(fresh):
    town = Town(fresh)
    before = town.expected()
    cents = {number: {"revenue_cents": sum(each for _, each in person.orders)} for number, person in town.people.items()}
    with watch(fresh.client("analyst"), "SegmentService/WatchMemberships") as watcher:
        watcher.until_caught_up()
        drafted = clusters.fit(town.admin, SET, ("net_revenue",), within="orders > 0", clusters=2)
        town.assert_all()
        assert clusters.get(town.admin, SET).clusters == town.told.clusters and clusters.get(town.admin, SET, draft=True) == drafted
        space = Space(by("net_revenue"), [person for person in town.people.values() if person.orders])
        after = {number: clusters.nearest(space.point(person), clusters.centres(drafted)) if person.orders else REST
                 for number, person in town.people.items()}
        seen = label_sets.preview(fresh.client("analyst"), SET)
        assert label_sets.matrix(seen) == label_sets.expected_matrix(cents, before, after) and seen.etag == drafted.etag
        for stale in (town.told.etag, "x"):
            town.admin.refused("LabelService/PublishLabelSet", {"name": name_of(SET), "etag": stale}).must_be(ABORTED, "STALE_ETAG")
            asked = clusters.request(SET, FEATURES, etag=stale)
            town.admin.refused("ClusterService/FitClusters", asked).must_be(ABORTED, "STALE_ETAG")
        label_sets.publish(town.admin, SET, seen.etag)
        due = label_sets.expected_changes(before, after)
        watcher.until(lambda _said: len(label_sets.changes_of(watcher, SET)) >= len(due), f"{len(due)} changes")
        assert sorted(label_sets.changes_of(watcher, SET)) == sorted(due)
        assert {cause(each) for each in watcher.changes()} == {"DEFINITION"}
    assert label_sets.held(town.admin, SET) == after
    versions = label_sets.versions(town.admin, SET)
    assert [each.name for each in versions] == [f"{name_of(SET)}/versions/{n}" for n in (2, 1)]
    assert [each.moved for each in versions] == [seen.moving_customers, len(town.people)]
    assert [label_sets.ids(each.rules.labels) for each in versions] == [[*clusters.cluster_ids(of), REST] for of in (drafted, town.told)]
    asked = {"name": clusters.clustering_of(SET), "draft": True}
    town.admin.refused("ClusterService/GetClustering", asked).must_be(NOT_FOUND, "NOT_FOUND")


def the_nearest_cluster_keeps_its_number_and_the_title_that_people_gave_it(fresh):
    town = Town(fresh)
    given = {"cluster-3": "重要客户 \U0001f600", "cluster-1": "Ours"}
    label_sets.update(town.admin, SET, "draft", draft={"labels": titles(town.admin, SET, given | {REST: "Others"})})
    assert label_sets.preview(town.admin, SET).moving_customers == 0
    label_sets.publish(town.admin, SET)
    for n in range(24):
        town.take_in(f"more-{n}", bought((450 + 5 * n, 1_200 + 50 * n)))
    for seed in range(3):
        refit = clusters.fit(town.admin, SET, FEATURES, clusters=4, seed=seed)
        space = Space(FEATURES, town.people.values())
        assert clusters.cluster_ids(refit) == clusters.cluster_ids(town.told)
        for old, new in zip(town.told.clusters, refit.clusters):
            # The kinds are far apart: each is still nearest to itself, and moved by as much as is told, in deviations of now.
            values = [clusters.compressed(each.typical_value) for each in old.centre]
            point = [(each - mean) / deviation for each, (mean, deviation) in zip(values, space.scale)]
            distance = {each.number: math.sqrt(clusters.squared(point, [c.deviations for c in each.centre])) for each in refit.clusters}
            assert min(distance, key=distance.get) == new.number == old.number
            assert new.moved == pytest.approx(distance[new.number], rel=1e-6, abs=1e-9)
            label = f"cluster-{new.number}"
            assert new.title == given.get(label, new.title) and (new.title in given.values()) == (label in given)
        # Without regard to size, by which they are numbered at first.
        assert [each.size for each in refit.clusters] != sorted((each.size for each in refit.clusters), reverse=True)
    label_sets.publish(town.admin, SET, refit.etag)
    labels = {label_sets.id_of(each.name): each.title for each in label_sets.get(town.admin, SET).labels}
    assert (labels["cluster-3"], labels[REST]) == (given["cluster-3"], "Others")


def a_number_whose_cluster_is_gone_is_not_given_again(fresh):
    town = Town(fresh)
    fewer = clusters.put_in_force(town.admin, SET, FEATURES, clusters=3)
    gone = {1, 2, 3, 4} - {each.number for each in fewer.clusters}
    assert len(gone) == 1
    more = clusters.put_in_force(town.admin, SET, FEATURES, clusters=6)
    numbers = [each.number for each in more.clusters]
    assert numbers == sorted({1, 2, 3, 4, 5, 6, 7} - gone)
    assert [each.moved for each in more.clusters if each.number > 4] == [0] * 3
    assert label_sets.held(town.admin, SET).keys() == town.people.keys()


def a_draft_of_clusters_changes_titles_and_nothing_else(fresh):
    town = Town(fresh)
    label_sets.update(town.admin, SET, "draft", draft={"labels": titles(town.admin, SET, {"cluster-1": "One"})})
    drafted = clusters.get(town.admin, SET, draft=True)
    assert [each.title for each in drafted.clusters] == ["One", *(each.title for each in town.told.clusters[1:])]
    assert [each.title for each in clusters.get(town.admin, SET).clusters] == [each.title for each in town.told.clusters]
    assert [each.centre for each in drafted.clusters] == [each.centre for each in town.told.clusters]
    label_sets.update(town.admin, SET, "draft")
    assert not label_sets.get(town.admin, SET).HasField("draft")
    label_sets.update(town.admin, SET, "draft", draft={"labels": titles(town.admin, SET, {"cluster-4": "Four"})})
    label_sets.publish(town.admin, SET)
    assert [each.title for each in clusters.get(town.admin, SET).clusters][3] == "Four"
    town.assert_all()


# -- whether they fit -----------------------------------------------------------------------------------------------------

def assert_drift(town, then):
    """What is told of {number: label} at the fit and of where arithmetic has them now."""
    told, now = clusters.drift(town.admin, SET), town.expected()
    share = lambda of, label: sum(each == label for each in of.values()) / len(of)  # noqa: E731
    assert [label_sets.id_of(each.label) for each in told.shares] == list(town.centres)
    for each in told.shares:
        label = label_sets.id_of(each.label)
        assert (each.then, each.now) == (pytest.approx(share(then, label)), pytest.approx(share(now, label)))
    pairs = [(max(each.then, 1e-4), max(each.now, 1e-4)) for each in told.shares]
    index = math.fsum((b - a) * math.log(b / a) for a, b in pairs)
    assert told.stability_index == pytest.approx(index, abs=1e-12)
    assert told.index_by_chance == pytest.approx((len(pairs) - 1) * (1 / len(then) + 1 / len(now)))
    distance = math.fsum(math.dist(town.space.point(town.people[number], town.as_of), town.centres[label])
                         for number, label in now.items()) / len(now)
    ratio = distance / town.distance
    assert told.distance_ratio == pytest.approx(ratio, rel=1e-9)
    worse = max(sum(index >= each for each in (0.1, 0.25)), sum(ratio >= each for each in (1.25, 1.5)))
    assert (told.verdict, told.customers) == (1 + worse, len(now))
    counts = label_sets.distribution(town.admin, SET)
    assert [each.now for each in told.shares] == pytest.approx([counts[label_sets.id_of(each.label)][0] / len(now) for each in told.shares])
    return told


def clusters_fit_at_first_and_no_longer_when_customers_have_changed(fresh):
    town = Town(fresh)
    then = town.expected()
    town.distance = math.fsum(math.dist(town.space.point(town.people[number]), town.centres[label]) for number, label in then.items()) / len(then)
    told = assert_drift(town, then)
    assert (told.verdict, told.stability_index) == (1, 0) and told.distance_ratio == pytest.approx(1) and told.watermark.facts_position
    keys = {number: key for key, number in questions.numbers_of(town.admin, facts.SOURCE).items()}
    for number in list(town.people)[::2]:
        town.take_in(keys[number], bought((1, 900_000)))
    assert assert_drift(town, then).verdict == 3
    town.pass_days(300)
    assert assert_drift(town, then).verdict == 3
    drafted = clusters.fit(town.admin, SET, FEATURES, clusters=4)
    assert assert_drift(town, then).verdict == 3, "a draft changes nothing"
    label_sets.publish(town.admin, SET, drafted.etag)
    again = clusters.drift(town.admin, SET)
    assert (again.verdict, again.stability_index) == (1, 0) and again.distance_ratio == pytest.approx(1)


def where_nobody_is_clustered_any_longer_nothing_is_told_of_it(fresh):
    admin = fresh.client("admin")
    clusters.take_in(admin, clusters.likely(6, 20))
    clusters.put_in_force(admin, SET, ("net_revenue",), within="orders_90 > 0", clusters=2)
    questions.set_clock(admin, facts.AS_OF + timedelta(days=400))
    asked = {"name": clusters.clustering_of(SET)}
    admin.refused("ClusterService/GetClusterDrift", asked).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert label_sets.distribution(admin, SET)[REST][0] == 20
    asked = clusters.request("nobody", ("orders",), within="orders_90 > 0")
    admin.refused("ClusterService/FitClusters", asked).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
