"""What a purchase changes, and what the passing of time changes by itself: scores, labels, stages and memberships."""
from datetime import timedelta

import pytest

from support import facts, questions, quintile
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT
from support.watching import cause, moves, watch

CUT_OFFS = [30, 31, 89, 90, 91, 180, 181, 365, 366]


def assert_as_told(client, name, told):
    """All services agree with the witness about one customer."""
    features = questions.features(client, name)
    assert (features.orders, facts.cents_of(features.net_revenue)) == (told["orders"], told["revenue_cents"])
    assert {w.days: (w.orders, w.previous_orders) for w in features.windows} == {
        days: (window["now"]["orders"], window["before"]["orders"]) for days, window in told["windows"].items()}
    assert questions.scores(client, name) == (told["r"], told["f"], told["m"])
    assert questions.stage(client, name) == told["stage"]
    assert questions.label(client, name) == told["label"]


def a_purchase_changes_score_label_and_membership_at_a_watcher(fresh):
    admin = fresh.client("admin")
    before = [(70, 6_000), (40, 6_000)]
    after = [*before, (1, 10_000)]
    start = questions.take_in(admin, *(facts.order("ann", f"e{n}", *fact) for n, fact in enumerate(before)))
    name, labels = questions.find(admin, "ann"), questions.labels(admin)
    target = questions.save_segment(admin, "target", facts.TARGET)
    rare = questions.save_segment(admin, "rare", "rfm.f <= 2 && orders >= 1")
    questions.wait_for(admin, start.facts_position)
    assert_as_told(admin, name, facts.expected(before))
    assert not questions.is_member(admin, target, name) and questions.is_member(admin, rare, name)

    with watch(fresh.client("analyst"), "SegmentService/WatchMemberships") as watcher:
        watcher.until_caught_up()
        answer = questions.take_in(admin, facts.order("ann", "e9", *after[-1]))
        old, new = facts.expected(before)["label"], facts.expected(after)["label"]
        assert old != new
        expected = {(target, True), (rare, False), (labels[old], False), (labels[new], True)}
        watcher.until(lambda _said: moves(watcher.changes(name)) >= expected, f"{expected}")
        questions.wait_for(admin, answer.facts_position)
        changes = watcher.changes(name)
        assert moves(changes) == expected and len(changes) == len(expected)
        assert {cause(change) for change in changes} == {"RECORD"}
    assert_as_told(admin, name, facts.expected(after))
    profile = admin.call("ProfileService/GetProfile", {"name": f"{name}/profile"})
    assert labels[new] in profile.labels and target in profile.segments and rare not in profile.segments


def moving_the_clock_alone_changes_score_label_stage_and_membership_at_a_watcher(fresh):
    admin = fresh.client("admin")
    history = [(age, 5_000) for age in (20, 50, 80, 110, 140)]
    start = questions.take_in(admin, *(facts.order("ben", f"e{n}", *fact) for n, fact in enumerate(history)))
    name, labels = questions.find(admin, "ben"), questions.labels(admin)
    target = questions.save_segment(admin, "target", facts.TARGET)
    questions.wait_for(admin, start.facts_position)
    now, then = facts.expected(history), facts.expected(history, facts.AS_OF + timedelta(days=100))
    assert all(now[what] != then[what] for what in ("r", "label", "stage"))
    assert_as_told(admin, name, now)
    assert questions.is_member(admin, target, name)

    with watch(fresh.client("analyst"), "SegmentService/WatchMemberships") as watcher:
        watcher.until_caught_up()
        later = facts.AS_OF + timedelta(days=100)
        questions.set_clock(admin, later)
        expected = {(target, False), (labels[now["label"]], False), (labels[then["label"]], True)}
        watcher.until(lambda _said: moves(watcher.changes(name)) >= expected, f"{expected}")
        changes = watcher.changes(name)
        assert moves(changes) == expected and len(changes) == len(expected)
        assert {cause(change) for change in changes} == {"TIME"}
        for change in changes:
            assert facts.AS_OF.timestamp() < change.valid_time.seconds <= later.timestamp()
    assert_as_told(admin, name, then)
    assert not questions.is_member(admin, target, name)


def each_day_over_a_cut_off_changes_what_the_witness_says_and_nothing_before_it(fresh):
    admin = fresh.client("admin")
    histories = {"once": [(20, 25_000)], "often": [(age, 5_000) for age in (20, 50, 80, 110, 140)],
                 "falling": [(20, 999), *((age, 4_000) for age in (100, 101, 102, 103))]}
    rows = [facts.order(customer, f"e{n}", *fact) for customer, history in histories.items()
            for n, fact in enumerate(history)]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    names = {customer: questions.find(admin, customer) for customer in histories}
    for silent_days in CUT_OFFS:
        now = facts.AS_OF + timedelta(days=silent_days - 20)
        questions.set_clock(admin, now)
        for customer, history in histories.items():
            assert_as_told(admin, names[customer], facts.expected(history, now))


def an_order_a_little_ahead_is_taken_in_and_counts_when_its_instant_has_passed(fresh):
    admin = fresh.client("admin")
    ahead = facts.AS_OF + timedelta(minutes=4)
    rows = [facts.order("eve", "now"), facts.order("eve", "ahead", order_time=facts.text_of(ahead))]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    name = questions.find(admin, "eve")
    assert questions.features(admin, name).orders == 1
    questions.set_clock(admin, ahead)
    assert questions.features(admin, name).orders == 1, "an order does not count at its own instant"
    questions.set_clock(admin, ahead + timedelta(seconds=1))
    assert questions.features(admin, name).orders == 2


def frozen_time_moves_forward_only_and_ten_years_at_most(fresh):
    admin = fresh.client("admin")
    for wrong in (facts.days_before(1), facts.days_after(3660)):
        refusal = admin.refused("ClockService/SetAsOf", {"as_of": wrong})
        refusal.must_be({INVALID_ARGUMENT, FAILED_PRECONDITION}, {"INVALID_TIME", "FAILED_PRECONDITION"})
    assert admin.call("ClockService/GetAsOf").as_of.seconds == facts.AS_OF.timestamp()


@pytest.mark.parametrize("instant", ["2100-01-01T00:00:00Z"])
def time_that_is_not_frozen_cannot_be_moved(backend, instant):
    with quintile.suite(backend, as_of=None) as suite:
        admin = suite.client("admin")
        assert not admin.call("ClockService/GetAsOf").frozen
        refusal = admin.refused("ClockService/SetAsOf", {"as_of": instant})
        refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
