"""Searches for clusters beside each other and beside all else, given up, stopped and killed: whatever befalls them, nothing is kept by halves."""
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import grpc

from live_clusters import FEATURES, SET, Town, plain
from support import clusters, facts, label_sets, questions, quintile, waiting
from support.clusters import Person
from support.refusals import UNAVAILABLE, Refusal

ABORTED = grpc.StatusCode.ABORTED
# What takes long to compare by: many fields, many numbers of clusters.
LONG = ("orders", "net_revenue", "last_order_at", "first_order_at", "interactions", "last_nps", "purchase_days", "average_order_value", "orders_30",
        "orders_90", "orders_365", "revenue", "revenue_30", "revenue_90", "revenue_365", "last_interaction_at", "interactions_90", "rfm.r", "rfm.f",
        "rfm.m", "previous_orders_90", "previous_interactions_90", "acquired_at", "open_tickets", "open_complaints", "grade.value")
STOP_SECONDS = 30


def of_several_who_find_clusters_of_one_set_at_once_one_does(fresh):
    admin = fresh.client("admin")
    clusters.take_in(admin, clusters.likely(7, 60))

    def attempt(seed):
        try:
            return clusters.fit(admin, SET, ("orders", "net_revenue"), seed=seed)
        except Refusal as refusal:
            return refusal.must_be(ABORTED, "STALE_ETAG")
    with ThreadPoolExecutor(6) as pool:
        for _ in range(2):
            told = list(pool.map(attempt, range(6)))
            kept = [each for each in told if not isinstance(each, Refusal)]
            assert kept and clusters.get(admin, SET, draft=True) in kept
    label_sets.publish(admin, SET)


def a_search_for_which_nobody_waits_keeps_nothing_and_a_killed_suite_keeps_what_it_said(fresh):
    people = clusters.take_in(fresh.client("admin"), clusters.likely(8, 400))
    chance = random.Random(5)
    for turn in range(2):
        admin = fresh.client("admin")
        before = [(each, label_sets.get(admin, each).etag) for each in label_sets.listed(admin)]
        for _ in range(6):
            asked = clusters.request(SET, ("orders", "net_revenue", "last_order_at", "interactions"), min_clusters=2, max_clusters=20)
            code = admin.refused("ClusterService/FitClusters", asked, seconds=chance.uniform(0.001, 0.05)).code
            assert code.name in ("DEADLINE_EXCEEDED", "CANCELLED")
        drafted = plain(clusters.fit(admin, f"kept-{turn}", ("orders",), clusters=2))
        assert [(each, label_sets.get(admin, each).etag) for each in label_sets.listed(admin) if each != f"kept-{turn}"] == before
        fresh.kill()
        fresh.start()
        assert plain(clusters.get(fresh.client("admin"), f"kept-{turn}", draft=True)) == drafted
    label_sets.publish(fresh.client("admin"), "kept-0")
    assert label_sets.held(fresh.client("admin"), "kept-0").keys() == people.keys()


def a_search_does_not_keep_a_suite_from_ending(backend):
    """Nor does it go on for others to wait for, when nobody waits for it any longer."""
    with quintile.suite(backend, settings="[server]\ndrain_seconds = 1\n") as suite:
        cut_off(suite)


def cut_off(suite):
    admin = suite.client("admin")
    chance = random.Random(3)
    # Many of whom little is known: what takes long is to compare them.
    clusters.take_in(admin, {f"c{n}": Person([(clusters.days_ago(chance, 1, 700), chance.randint(1_000, 200_000)) for _ in range(1 + n % 3)],
                                             [clusters.days_ago(chance, 1, 300) for _ in range(n % 2)]) for n in range(6_000)})
    asked = clusters.request("long", LONG, min_clusters=2, max_clusters=20)
    with ThreadPoolExecutor(1) as pool:
        searching = pool.submit(lambda: admin.refused("ClusterService/FitClusters", asked, seconds=clusters.SLOW))
        # It has its turn when the next one does not get it.
        waiting.until(lambda: searching.running() and waits_in_vain(admin), "a search to be under way")
        suite.process.terminate()
        waiting.until(lambda: suite.process.poll() is not None, "the process to end", STOP_SECONDS)
        assert searching.result().code == UNAVAILABLE
    suite.kill()
    suite.start()
    assert label_sets.listed(suite.client("admin")) == ["rfm-11"]


def waits_in_vain(client):
    """Whether a search that takes next to no time gets no turn within a second."""
    try:
        client.call("ClusterService/FindFactors", {"features": clusters.by(*LONG[:3])}, seconds=1)
        return False
    except Refusal as refusal:
        assert refusal.code.name in ("DEADLINE_EXCEEDED", "CANCELLED"), refusal
        return True


def customers_come_and_days_pass_while_clusters_are_looked_for(fresh):
    town, over, chance = Town(fresh, 200), threading.Event(), random.Random(4)

    def search(seed):
        told = []
        while not over.is_set():
            told.append(clusters.fit(fresh.client("analyst"), f"other-{seed}", FEATURES, seed=seed, min_clusters=2, max_clusters=4).customers)
        return told

    def read(_):
        while not over.is_set():
            counted = label_sets.distribution(fresh.client("analyst"), SET)
            assert sum(customers for customers, _ in counted.values()) >= 200 and clusters.drift(fresh.client("analyst"), SET).customers >= 200
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(search, seed) for seed in range(2)] + [pool.submit(read, n) for n in range(2)]
        try:
            for turn in range(15):
                bought = [(town.as_of - timedelta(days=chance.randint(1, 30)), chance.randint(100, 500_000)) for _ in range(chance.randint(1, 9))]
                town.take(f"c{chance.randrange(230)}", Person(bought))
                if turn % 5 == 4:
                    town.pass_days(chance.randint(1, 20))
        finally:
            over.set()
        found = [each.result() for each in work]
    town.assert_all()
    assert all(told == sorted(told) for told in found[:2])
    last = clusters.put_in_force(town.admin, "other-0", FEATURES, clusters=3)
    assert last.customers == len(town.people) == len(label_sets.held(town.admin, "other-0"))
    assert questions.reached(questions.distribution(town.admin).watermark, 1, facts.AS_OF)
