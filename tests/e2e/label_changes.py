"""What moves customers between the labels of a tenant's own sets: facts, the passing of time, and a suite that ends and comes back."""
import contextlib
import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from support import facts, label_sets, questions, score_models, traits, waiting
from support.label_sets import REST, name_of
from support.watching import cause, moves, watch

SILENT = [("warm", "days_since(last_order_at) <= 30", None), ("cool", "days_since(last_order_at) <= 90", None)]
BY_ORDERS = [("many", "orders >= 3", None), ("few", "orders >= 1", None)]
BY_SCORES = [("rich", "rfm.m >= 3", lambda c: c["m"] >= 3), ("others", "rfm.m < 3", lambda c: c["m"] < 3)]


def moved(set_id, old, new):
    return {(name_of(set_id, old), False), (name_of(set_id, new), True)}


def label_of(admin, set_id, customer):
    """The one label of a customer in a set."""
    profile = admin.call("ProfileService/GetProfile", {"name": f"{customer}/profile"})
    found = [each for each in profile.labels if each.startswith(f"{name_of(set_id)}/")]
    assert len(found) == 1, profile.labels
    assert [each for each in label_sets.ids(label_sets.get(admin, set_id).labels)
            if questions.is_member(admin, name_of(set_id, each), customer)] == [label_sets.id_of(found[0])]
    return label_sets.id_of(found[0])


def history(admin, customer, set_id):
    """[(label, entered, cause)] of what a customer entered and left of a set, oldest first."""
    told = questions.everything(admin, "ProfileService/ListMembershipChanges", "changes", parent=customer, page_size=2)
    return [(label_sets.id_of(each.parent), each.entered, cause(each)) for each in told if each.parent.startswith(f"{name_of(set_id)}/")]


def a_purchase_moves_a_customer_in_every_set_that_reads_it_and_says_so(fresh):
    admin = fresh.client("admin")
    start = questions.take_in(admin, facts.order("ann", "e1", 100), facts.order("ann", "e2", 95), facts.order("bob", "e3", 5))
    questions.wait_for(admin, start.facts_position)
    ann = questions.find(admin, "ann")
    for set_id, rows in (("orders", BY_ORDERS), ("silent", SILENT), ("spend", BY_SCORES)):
        label_sets.create(admin, set_id, rows)
    questions.save_segment(admin, "of-labels", 'segment("orders/many") && !segment("silent/rest")')
    assert [label_of(admin, each, ann) for each in ("orders", "silent", "spend")] == ["few", REST, "others"]
    with watch(fresh.client("analyst"), "SegmentService/WatchMemberships") as watcher:
        watcher.until_caught_up()
        answer = questions.take_in(admin, facts.order("ann", "e4", 2, cents=20_000), facts.order("cid", "e5", 1))
        expected = moved("orders", "few", "many") | moved("silent", REST, "warm") | moved("spend", "others", "rich")
        expected |= {("segments/of-labels", True)}
        watcher.until(lambda _said: moves(watcher.changes(ann)) >= expected, f"{expected}")
        questions.wait_for(admin, answer.facts_position)
        own = [each for each in watcher.changes(ann) if not each.parent.startswith("labelSets/rfm-11/")]
        assert moves(own) == expected and len(own) == len(expected)
        assert {cause(each) for each in watcher.changes()} == {"RECORD"}
        cid = questions.find(admin, "cid")
        entered = {(name_of(set_id, label), True) for set_id, label in (("orders", "few"), ("silent", "warm"), ("spend", "others"))}
        watcher.until(lambda _said: moves(watcher.changes(cid)) >= entered, f"{entered}")
        assert not any(each.parent in {name_of("orders", "many"), name_of("spend", REST)} for each in watcher.changes(cid))
    assert [label_of(admin, each, ann) for each in ("orders", "silent", "spend")] == ["many", "warm", "rich"]
    assert history(admin, ann, "orders") == [("few", True, "DEFINITION"), ("few", False, "RECORD"), ("many", True, "RECORD")]
    assert label_sets.distribution(admin, "orders") == {"many": (1, 22_000), "few": (2, 2_000), REST: (0, 0)}


def the_passing_of_days_moves_customers_at_midnight_by_itself(fresh):
    admin = fresh.client("admin")
    position = questions.take_in(admin, facts.order("ann", "e1", 20), facts.interaction("visitor", "i")).facts_position
    questions.wait_for(admin, position)
    ann, visitor = (questions.find(admin, each) for each in ("ann", "visitor"))
    label_sets.create(admin, "silent", SILENT)
    label_sets.create(admin, "orders", BY_ORDERS)
    with watch(fresh.client("analyst"), "SegmentService/WatchMemberships") as watcher:
        watcher.until_caught_up()
        for days, old, new in ((11, "warm", "cool"), (71, "cool", REST)):
            questions.set_clock(admin, facts.AS_OF + timedelta(days=days - 1))
            assert (label_of(admin, "silent", ann), label_of(admin, "silent", visitor)) == (old, REST)
            before = len(watcher.changes(ann))
            questions.set_clock(admin, facts.AS_OF + timedelta(days=days))
            expected = moved("silent", old, new)
            watcher.until(lambda _said, before=before, expected=expected: moves(watcher.changes(ann)[before:]) >= expected, f"{expected}")
            told = [each for each in watcher.changes(ann)[before:] if each.parent.startswith(name_of("silent"))]
            assert [(label_sets.id_of(each.parent), each.entered, cause(each)) for each in told] == [(old, False, "TIME"), (new, True, "TIME")]
            assert {each.valid_time.seconds for each in told} == {(facts.AS_OF + timedelta(days=days)).timestamp()}
            assert label_of(admin, "silent", ann) == new
        assert not [each for each in watcher.changes() if each.parent.startswith(name_of("orders"))]
    assert history(admin, ann, "silent") == [("warm", True, "DEFINITION"), ("warm", False, "TIME"), ("cool", True, "TIME"),
                                             ("cool", False, "TIME"), (REST, True, "TIME")]
    assert label_sets.distribution(admin, "silent") == {"warm": (0, 0), "cool": (0, 0), REST: (2, 1_000)}


def scores_that_time_lowers_move_customers_of_own_sets_too(fresh):
    admin = fresh.client("admin")
    questions.wait_for(admin, questions.take_in(admin, facts.order("ann", "e1", 20)).facts_position)
    ann = questions.find(admin, "ann")
    label_sets.create(admin, "recency", [(f"r{score}", f"rfm.r == {score}", None) for score in range(1, 6)])
    told = []
    for days in (10, 11, 70, 71, 160, 161, 345, 346):  # Each side of 30, 90, 180 and 365 days of silence.
        questions.set_clock(admin, facts.AS_OF + timedelta(days=days))
        told.append(label_of(admin, "recency", ann))
    assert told == ["r5", "r4", "r4", "r3", "r3", "r2", "r2", "r1"]
    assert {each[2] for each in history(admin, ann, "recency")[1:]} == {"TIME"}


NPS = {"kind": "FEEDBACK_KIND_NPS"}
COMPLAINT = {"kind": "INTERACTION_KIND_COMPLAINT", "about": "the tea", "case_state": "CASE_STATE_OPENED"}
# The labels of a set, and facts that move a customer from the last to the first.
MOVING = {
    "a refund": ([("poor", "net_revenue < 50", None), ("rich", "net_revenue >= 50", None)], facts.refund("ann", "r", 3, cents=8_000)),
    "a refund by its score": ([("poor", "rfm.m == 1", None), ("rich", "rfm.m >= 2", None)], facts.refund("ann", "r", 3, cents=8_000)),
    "an answer": ([("fan", "last_nps >= 9", None), ("critic", "last_nps < 9", None)], facts.feedback("ann", "f", **NPS, score=10)),
    "a complaint": ([("angry", "open_complaints >= 1", None), ("calm", "open_complaints == 0", None)],
                    facts.interaction("ann", "i", **COMPLAINT)),
    "a visit": ([("seen", "interactions >= 1", None), ("unseen", "interactions == 0", None)], facts.interaction("ann", "i")),
    "an attribute": ([("north", 'region == "north"', None), ("elsewhere", "orders >= 1", None)],
                     facts.customer("ann", attributes={"region": "north"})),
}


@pytest.mark.parametrize("what", MOVING)
def whatever_becomes_known_of_a_customer_moves_it_as_its_record(fresh, what):
    rows, fact = MOVING[what]
    admin = fresh.client("admin")
    position = questions.take_in(admin, facts.order("ann", "e1", 20, cents=9_000), facts.feedback("ann", "first", 9, **NPS, score=3)).facts_position
    questions.wait_for(admin, position)
    ann = questions.find(admin, "ann")
    label_sets.create(admin, "own", rows)
    assert label_of(admin, "own", ann) == rows[1][0]
    questions.wait_for(admin, admin.call("IngestService/IngestBatch", facts.batch(fact)).facts_position)
    assert label_of(admin, "own", ann) == rows[0][0]
    assert history(admin, ann, "own") == [(rows[1][0], True, "DEFINITION"), (rows[1][0], False, "RECORD"), (rows[0][0], True, "RECORD")]


def labels_of_traits_and_of_own_models_follow_them(fresh):
    admin = fresh.client("admin")
    questions.wait_for(admin, questions.take_in(admin, *(facts.order("ann", f"e{n}", channel="store") for n in range(2))).facts_position)
    ann = questions.find(admin, "ann")
    traits.done(admin, traits.define(admin, "store-orders", "ORDER", "COUNT", "", 'channel == "store"'))
    score_models.put_in_force(admin, "visits", score_models.dimension("orders", "orders", cut_offs=[3, 5]))
    wanted = {"trait.store_orders", "score.visits.d1"}
    waiting.until(lambda: wanted <= {each.name for each in admin.call("ExpressionService/ListFields").fields}, f"{wanted} to be known")
    rows = [("busy", "score.visits.d1 >= 3", None), ("fan", "trait.store_orders >= 3 && score.visits.d1 >= 2", None), ("few", "orders >= 1", None)]
    assert label_sets.create(admin, "own", rows).proved_cells == 0
    assert label_of(admin, "own", ann) == "few"
    for place, (old, new) in enumerate((("few", "fan"), ("fan", "busy"))):
        orders = [facts.order("ann", f"{new}-{n}", channel="store") for n in range(1 + place)]
        questions.wait_for(admin, questions.take_in(admin, *orders).facts_position)
        assert label_of(admin, "own", ann) == new
        assert history(admin, ann, "own")[-2:] == [(old, False, "RECORD"), (new, True, "RECORD")]
    fresh.stop()
    fresh.start()
    admin = fresh.client("admin")
    assert label_of(admin, "own", ann) == "busy" and len(history(admin, ann, "own")) == 5
    # Of whom the model says nothing any more.
    score_models.retire(admin, "visits")
    waiting.until(lambda: label_sets.distribution(admin, "own")["few"][0] == 1, "the label to follow the model")
    assert label_of(admin, "own", ann) == "few"


def who_is_out_of_derived_state_has_no_label_and_gets_one_again(fresh):
    admin = fresh.client("admin")
    questions.wait_for(admin, questions.take_in(admin, facts.order("ann", "e1"), facts.order("bob", "e2")).facts_position)
    ann = questions.find(admin, "ann")
    label_sets.create(admin, "orders", BY_ORDERS)
    with watch(admin, "SegmentService/WatchMemberships", {"parents": [name_of("orders", "few")]}) as watcher:
        watcher.until_caught_up()
        admin.call("PrivacyService/RestrictProcessing", {"name": ann})
        watcher.until(lambda _said: len(watcher.changes(ann)) == 1, "the customer to leave")
        assert (moves(watcher.changes(ann)), cause(watcher.changes(ann)[0])) == ({(name_of("orders", "few"), False)}, "REMOVAL")
        assert label_sets.distribution(admin, "orders") == {"many": (0, 0), "few": (1, 1_000), REST: (0, 0)}
        admin.call("PrivacyService/LiftRestriction", {"name": ann})
        watcher.until(lambda _said: len(watcher.changes(ann)) == 2, "the customer to enter")
        assert (watcher.changes(ann)[1].entered, cause(watcher.changes(ann)[1])) == (True, "RECORD")
    waiting.until(lambda: label_sets.distribution(admin, "orders")["few"] == (2, 2_000), "both to be counted")


# Labels that one set has after another, by what facts, time, scores and other sets say. Another set refers to one of them.
VERSIONS = [BY_ORDERS, [("warm", "days_since(last_order_at) <= 30", None), ("few", "days_since(last_order_at) <= 90", None)],
            [("many", "orders >= 2", None), ("few", "days_since(last_order_at) < 45 && rfm.r >= 3", None)],
            [("few", 'segment("spend/rich") || orders == 1', None), ("cool", 'segment("calm") && channel == "store"', None)],
            [("few", 'label in ["new", "promising"]', None), ("warm", 'stage in ["active", "loyal"]', None)],
            [("never", "orders < 0", None), ("few", "orders >= 0", None)]]


def story(changes, set_id, customer):
    """What was told of a customer and a set."""
    return [(label_sets.id_of(each.parent), each.entered, cause(each), each.valid_time.seconds) for each in changes
            if (each.customer, each.parent.split("/")[1]) == (customer, set_id)]


def replayed(changes):
    """{set: {customer: label}} of all changes in their order; nobody leaves what it is not in or enters a second label."""
    found = {}
    for each in changes:
        set_id, label = each.parent.split("/")[1], label_sets.id_of(each.parent)
        of_set = found.setdefault(set_id, {})
        assert of_set.get(each.customer) == (None if each.entered else label), (each, story(changes, set_id, each.customer))
        if each.entered:
            of_set[each.customer] = label
        else:
            del of_set[each.customer]
    return found


@pytest.mark.parametrize("seed", range(3))
def what_a_watcher_was_told_comes_to_who_has_which_label(fresh, seed):
    """While customers buy, days pass and one version of a set follows another."""
    admin, chance, days = fresh.client("admin"), random.Random(seed), 0
    with watch(fresh.client("analyst"), "SegmentService/WatchMemberships") as watcher, ThreadPoolExecutor(1) as beside:
        watcher.until_caught_up()
        questions.wait_for(admin, questions.take_in(admin, *(facts.order(f"c{n}", "first", 1 + n % 120) for n in range(60))).facts_position)
        label_sets.create(admin, "spend", BY_SCORES)
        questions.save_segment(admin, "calm", '!segment("spend/rich") && orders < 6')
        label_sets.create(admin, "own", VERSIONS[0])
        label_sets.create(admin, "other", [("few", 'segment("own/few")', None), ("calm", 'segment("calm")', None)])
        for turn in range(12):
            rows = [facts.order(f"c{chance.randrange(80)}", f"e{turn}-{n}", channel=chance.choice(["store", "online"]), cents=chance.randrange(9_000),
                                order_time=facts.days_after(days - chance.randrange(60) - 1)) for n in range(20)]
            bought = beside.submit(questions.take_in, admin, *rows)
            label_sets.draft(admin, "own", chance.choice(VERSIONS))
            label_sets.publish(admin, "own")
            if chance.random() < 0.5:
                days += chance.randrange(1, 40)
                questions.set_clock(admin, facts.AS_OF + timedelta(days=days))
            position = bought.result().facts_position
        questions.wait_for(admin, position, facts.AS_OF + timedelta(days=days))
        # Somebody new comes behind all of it.
        questions.wait_for(admin, questions.take_in(admin, facts.order("last", "e", 1)).facts_position)
        last = questions.find(admin, "last")
        watcher.until(lambda _said: len(watcher.changes(last)) >= 4, "the last one to be told")
        told = replayed([each for each in watcher.changes() if each.parent.startswith("labelSets/")])
    for set_id in ("own", "other", "spend", "rfm-11"):
        held = {f"customers/{number}": label for number, label in label_sets.held(admin, set_id).items()}
        assert told[set_id] == held, set_id
        assert len(held) == len(questions.numbers_of(admin)), "everybody has one"


def every_watcher_is_told_of_everybody_whom_a_publishing_moves(fresh):
    """Of forty and of ten who change places, again and again: many together and few one by one, in one commit. Others buy meanwhile."""
    admin, watchers, publishings, done = fresh.client("admin"), 8, 60, threading.Event()
    rows = [facts.order(f"c{n}", f"e{m}") for n in range(50) for m in range(1 + (n >= 40))]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    ways = [[("a", f"orders == {first}", None), ("b", f"orders == {3 - first}", None)] for first in (1, 2)]
    label_sets.create(admin, "own", ways[0])

    def buy():
        for number in itertools.takewhile(lambda _: not done.is_set(), itertools.count()):
            questions.take_in(admin, *(facts.order(f"other-{number % 9}", f"e{number}-{n}") for n in range(3)))
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as beside:
        watching = [stack.enter_context(watch(admin, "SegmentService/WatchMemberships", {"parents": [name_of("own", "a"), name_of("own", "b")]}))
                    for _ in range(watchers)]
        for watcher in watching:
            watcher.until_caught_up()
        buying = beside.submit(buy)
        try:
            for turn in range(publishings):
                label_sets.draft(admin, "own", ways[(turn + 1) % 2])
                label_sets.publish(admin, "own")
        finally:
            done.set()
        buying.result()
        questions.take_in(admin, facts.order("last", "e"))
        last = questions.find(admin, "last")
        for watcher in watching:
            watcher.until(lambda _said, watcher=watcher: watcher.changes(last), "the last one to be told")
        told = [sum(each.customer != last for each in watcher.changes()) for watcher in watching]
    assert told == [publishings * 100] * watchers


@pytest.mark.parametrize("end", ["stop", "kill"])
def what_time_did_before_a_set_was_made_is_not_told_when_the_suite_comes_back(fresh, end):
    admin = fresh.client("admin")
    questions.wait_for(admin, questions.take_in(admin, facts.order("ann", "e1", 10)).facts_position)
    ann = questions.find(admin, "ann")
    for days in (1, 2, 3, 4, 100):  # One soon after the other: what is written down now and then alone is behind.
        questions.set_clock(admin, facts.AS_OF + timedelta(days=days))
    label_sets.create(admin, "silent", SILENT)
    questions.save_segment(admin, "quiet", "days_since(last_order_at) > 90")
    before = [(REST, True, "DEFINITION")]
    assert history(admin, ann, "silent") == before
    getattr(fresh, end)()
    fresh.start()
    admin = fresh.client("admin")
    # What comes behind it: the log is read to its end.
    questions.wait_for(admin, questions.take_in(admin, facts.order("bob", "e2")).facts_position, facts.AS_OF + timedelta(days=100))
    assert history(admin, ann, "silent") == before
    told = questions.everything(admin, "ProfileService/ListMembershipChanges", "changes", parent=ann)
    assert [(each.entered, cause(each)) for each in told if each.parent == "segments/quiet"] == [(True, "DEFINITION")]


def told_of(admin):
    """Everything that is told of label sets, but for how far it is true."""
    ids = label_sets.listed(admin)
    answers = [label_sets.get(admin, each) for each in ids]
    answers += [each for set_id in ids for each in label_sets.versions(admin, set_id)]
    counts = [questions.without_watermark(admin.call("LabelService/GetLabelDistribution", {"name": name_of(each)})) for each in ids]
    previews = [questions.without_watermark(label_sets.preview(admin, each)) for each in ("drafted", "prepared")]
    held = [label_sets.held(admin, each) for each in ids]
    return ids, [each.SerializeToString(deterministic=True) for each in answers], counts, previews, held


@pytest.mark.parametrize("end", ["stop", "kill"])
def a_suite_that_comes_back_has_forgotten_nothing_of_label_sets(fresh, end):
    admin = fresh.client("admin")
    label_sets.take_in(admin, 0, 60)
    label_sets.create(admin, "drafted", BY_SCORES, description="名单")
    label_sets.draft(admin, "drafted", BY_ORDERS)
    label_sets.create(admin, "prepared", BY_ORDERS, draft_only=True)
    label_sets.create(admin, "published", [("rich", ["555", "554"], None), ("others", "!(rfm.r == 5 && rfm.f == 5 && rfm.m >= 4)", None)])
    label_sets.draft(admin, "published", SILENT, overlaps_allowed=True)
    label_sets.publish(admin, "published")
    label_sets.create_preset(admin, "preset", "rfm-cn-8")
    label_sets.create(admin, "gone", BY_ORDERS)
    label_sets.delete(admin, "gone")
    questions.save_segment(admin, "of-labels", 'segment("published/warm") || segment("preset/key-value")')
    questions.wait_for(admin, questions.take_in(admin, facts.order("ann", "e1", 100)).facts_position)
    ann, before = questions.find(admin, "ann"), told_of(admin)
    with watch(admin, "SegmentService/WatchMemberships") as watcher:
        cursor = watcher.until_caught_up() and watcher.responses[-1].cursor
    getattr(fresh, end)()
    fresh.start()
    admin = fresh.client("admin")
    assert told_of(admin) == before
    with watch(admin, "SegmentService/WatchMemberships", {"cursor": cursor}) as watcher:
        watcher.until_caught_up()
        assert watcher.changes() == [], "nobody has moved"
        questions.take_in(admin, facts.order("ann", "e2", 3))
        expected = moved("published", REST, "warm")
        watcher.until(lambda _said: moves(watcher.changes(ann)) >= expected, f"{expected}")
        watcher.until(lambda _said: ("segments/of-labels", True) in moves(watcher.changes(ann)), "the segment to follow")
    # What was seen before is what is published now.
    after = label_sets.publish(admin, "drafted")
    assert after.version == 2 and label_sets.ids(after.labels) == ["many", "few", REST]
