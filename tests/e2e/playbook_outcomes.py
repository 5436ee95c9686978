"""What playbooks bring about: everybody who was assigned is counted, by what it has bought within the days of the goal, and the difference from those
who were held out is told with its bounds, as an independent witness has it."""
import random
from collections import Counter
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from support import facts, playbook_witness, playbooks, policies, questions, retention, segments
from support.playbook_witness import DAY, Book, Observed, side_of
from support.playbooks import (MINUTE, STAGES, after, content, end, enum_name, number_of, on_segment, on_stages, outcome_of, runs_of, running, start,
                               stop, task, until_equal, variant, wait, what_became)
from support.refusals import INVALID_ARGUMENT, NOT_FOUND
from support.retention import instant_of

# -- the witness, by what others have published ---------------------------------------------------------------------------


def hashes_are_the_published_ones():
    """From the tables of the draft of FNV, and the first numbers of SplitMix64 with two seeds."""
    for text, expected in ((b"", 0xcbf29ce484222325), (b"a", 0xaf63dc4c8601ec8c), (b"foobar", 0x85944171f73967e8)):
        assert playbook_witness.fnv(text) == expected
    assert playbook_witness.mixed(0) == 0xe220a8397b1dcdaf and playbook_witness.mixed(1_234_567) == 6_457_827_717_110_365_317


def intervals_are_the_published_ones():
    """The contrasts of Newcombe's table II by method 10, and quantiles of Student's distribution."""
    for one, of_one, other, of_other, low, high in ((56, 70, 48, 80, 0.0524, 0.3339), (9, 10, 3, 10, 0.1705, 0.8090), (6, 7, 2, 7, 0.0582, 0.8062),
                                                    (5, 56, 0, 29, -0.0381, 0.1926), (0, 10, 0, 20, -0.1611, 0.2775), (0, 10, 0, 10, -0.2775, 0.2775),
                                                    (10, 10, 0, 20, 0.6791, 1.0), (10, 10, 0, 10, 0.6075, 1.0)):
        assert playbook_witness.newcombe(one, of_one, other, of_other)[1:] == pytest.approx((low, high), abs=6e-5)
    for degrees, expected in ((20, 2.08596), (30, 2.04227), (60, 2.00030), (120, 1.97993)):
        assert playbook_witness.student(degrees) == pytest.approx(expected, abs=6e-6)


# -- a trial --------------------------------------------------------------------------------------------------------------

CUSTOMERS, LANDS = 640, 160
WAYS = [variant("wait", wait(2 * DAY), task("late"), wait(DAY), end(), weight=2), variant("none", end(), weight=0), variant("call", task(), weight=3)]
FIRST = content(on_stages(*STAGES), variants=WAYS, holdout_basis_points=4_500, goal_days=30)
SECOND = content(on_stages("AT_RISK"), variants=[variant("call", task(), weight=4), variant("wait", wait(90 * DAY), task("late"))],
                 holdout_basis_points=2_000, goal_days=30, again_after_days=25)


class Order(NamedTuple):
    """What a customer bought, in cents, the days from the start on which it did so and on which it was told: refunds are less than nothing."""

    day: float
    told: float
    cents: int


def history(chance):
    """Orders before the start, the last of them of the last days. None is near where the year before either assignment begins."""
    orders = [Order(-chance.randrange(1, 6), 0, chance.randrange(200, 9_000))]
    for _ in range(chance.randrange(5)):
        ago = chance.choice([chance.randrange(10, 190), chance.randrange(220, 350), chance.randrange(380, 700)])
        orders.append(Order(-ago, 0, chance.randrange(200, 9_000)))
    return orders


def purchases(chance, is_treated, before):
    """What a customer does within the days of the goal, and behind them: some of those who were meant buy more for it."""
    orders, day = [], chance.choice([10, 20])
    if chance.random() < (0.68 if is_treated else 0.5):
        orders.append(Order(day - 0.5, day, round(300 + before * chance.uniform(0.1, 0.4) + chance.randrange(2_000) + 800 * is_treated)))
    if chance.random() < 0.1:
        orders.append(Order(-9, 20, 700))  # Of before, and told afterwards.
    if chance.random() < 0.3:
        orders.append(Order(29.99, 30, 5_000))  # Told too late.
    if chance.random() < 0.3:
        orders.append(Order(LANDS + 4.5, LANDS + 5, 3_000))
    return orders


def told_on(shop, day):
    """The rows of a day: of some customers the last order of before is given back within the days of the goal."""
    rows = []
    for key, orders in shop.orders.items():
        for place, each in enumerate(orders):
            if each.told == day:
                at = facts.text_of(after(0) + each.day * DAY)
                rows.append(facts.order(key, f"{key}-{place}", order_time=at, cents=each.cents) if each.cents > 0 else
                            facts.refund(key, f"{key}-{place}", refund_time=at, cents=-each.cents, order_event_id=f"{key}-0"))
    return rows


def spent(orders, since, until):
    """Of orders that were told after one day and until another: (how many, cents)."""
    those = [each.cents for each in orders if since < each.told <= until]
    return sum(cents > 0 for cents in those), sum(those)


def year_before(orders, day):
    """What a customer had spent in the 365 days before a day, as it was known then."""
    return sum(each.cents for each in orders if each.told <= day and day - 365 < each.day)


def plant(chance, shop):
    """Customers with what they bought, and on which side of the first version they will be."""
    shop.orders = {f"c-{n}": history(chance) for n in range(CUSTOMERS)}
    shop.office.take_in(*told_on(shop, 0))
    shop.numbers = questions.numbers_of(shop.client)
    for place, (key, orders) in enumerate(shop.orders.items()):
        orders += purchases(chance, bool(side_of(Book(shop.name, 1, FIRST), shop.numbers[key])), year_before(orders, 0))
        if place % 25 == 7:
            orders.append(Order(14, 20, -orders[0].cents))
    shop.keys = {number: key for key, number in shop.numbers.items()}


def tell(shop, day):
    shop.office.move(after(day), shop.name)
    shop.office.take_in(*told_on(shop, day))


@pytest.fixture(scope="module")
def trial(backend):
    """A playbook that goes through two versions, and what was told of it on the way."""
    with playbooks.company(backend) as office:
        shop = SimpleNamespace(office=office, client=office.client, told={})
        shop.name = shop.client.call(playbooks.CREATE, {"playbook_id": "trial", "playbook": FIRST}).name
        start(shop.client, shop.name)
        plant(random.Random(3), shop)
        office.settle(shop.name)
        for day in (10, 20):
            tell(shop, day)
            shop.told[day] = outcome_of(shop.client, shop.name)
        tell(shop, 30)
        shop.told[30] = outcome_of(shop.client, shop.name)
        stop(shop.client, shop.name)
        shop.client.call(playbooks.UPDATE, {"playbook": SECOND | {"name": shop.name}})
        assert start(shop.client, shop.name).version == 2
        office.move(after(LANDS), shop.name)
        shop.told[LANDS] = outcome_of(shop.client, shop.name)
        stop(shop.client, shop.name)
        tell(shop, LANDS + 5)
        office.move(after(LANDS + 40), shop.name)
        yield shop


def of_version(shop, version):
    """The runs of a version that were assigned, by customer."""
    found = [each for each in runs_of(shop.client, shop.name) if each.version == version and what_became(each) in playbook_witness.ASSIGNED]
    return {number_of(each): each for each in found}


def sides_of(shop, version, made, measured):
    """{the id of a variant, or nothing for the holdout: [what each customer did]} of those that `measured` tells."""
    sides = {"": []} | {each["id"]: [] for each in made["variants"]}
    for number in of_version(shop, version):
        if observed := measured(number):
            sides[side_of(Book(shop.name, version, made), number)].append(observed)
    return sides


def in_first(shop):
    def measured(number):
        orders = shop.orders[shop.keys[number]]
        count, cents = spent(orders, 0, 20)
        return Observed(count > 0, cents, year_before(orders, 0))
    return sides_of(shop, 1, FIRST, measured)


def in_second(shop, day):
    """By a day. All are assigned where time lands, and whoever is measured by then has bought nothing since."""
    runs = of_version(shop, 2)

    def measured(number):
        over, orders = instant_of(runs[number].trigger_time) + 30 * DAY, shop.orders[shop.keys[number]]
        if over > after(day):
            return None
        count, cents = spent(orders, LANDS, LANDS + 5) if over > after(LANDS + 5) else (0, 0)
        return Observed(count > 0, cents, year_before(orders, LANDS))
    return sides_of(shop, 2, SECOND, measured)


def assert_arm(told, observed):
    assert (told.customers, told.converted) == (len(observed), sum(each.converted for each in observed))
    assert facts.cents_of(told.revenue) == sum(each.revenue for each in observed)


def assert_effect(told, treated, holdout):
    """As the witness has it: shares to nine digits, money to the cent. Where nobody is on one of the sides nothing is said."""
    if not treated or not holdout:
        assert not told.HasField("uplift") and not told.HasField("revenue_per_customer") and enum_name(told, "verdict") == "UNSPECIFIED"
        return
    share, money = playbook_witness.uplift(treated, holdout), playbook_witness.welch(treated, holdout)
    playbooks.assert_uplift(told.uplift, share)
    assert enum_name(told, "verdict") == playbook_witness.verdict(share)
    for name, value in zip(("value", "low", "high"), money, strict=True):
        assert told.revenue_per_customer.HasField(name) == (value is not None), (name, money)
        assert value is None or abs(facts.cents_of(getattr(told.revenue_per_customer, name)) - value) < 0.501, (name, money)


def assert_outcome(told, version, sides, waits):
    holdout, names = sides[""], [each for each in sides if each]
    assert (told.version, told.waiting_customers) == (version, waits)
    assert_arm(told.holdout, holdout)
    assert told.holdout.variant == "" and [each.variant for each in told.variants] == names
    for arm in told.variants:
        assert_arm(arm, sides[arm.variant])
    everybody = [each for name in names for each in sides[name]]
    assert [each.variant for each in told.effects] == ["", *names]
    for effect in told.effects:
        assert_effect(effect, sides[effect.variant] if effect.variant else everybody, holdout)


def every_customer_is_on_the_side_that_arithmetic_gives_it(trial):
    for version, made in ((1, FIRST), (2, SECOND)):
        book, runs = Book(trial.name, version, made), of_version(trial, version)
        assert {number: each.variant for number, each in runs.items()} == {number: side_of(book, number) for number in runs}
        assert all((what_became(each) == "HELD_OUT") == (each.variant == "") for each in runs.values())
        weights = {each["id"]: each["weight"] for each in made["variants"]}
        found, held = Counter(each.variant for each in runs.values()), made["holdout_basis_points"] / 10_000
        shares = {"": held} | {key: (1 - held) * weight / sum(weights.values()) for key, weight in weights.items()}
        for key, share in shares.items():
            assert abs(found[key] - len(runs) * share) <= 4 * (len(runs) * share * (1 - share)) ** 0.5, (version, found, shares)
    assert len(of_version(trial, 1)) == CUSTOMERS and len(of_version(trial, 2)) > CUSTOMERS / 2


def another_version_draws_everybody_anew(trial):
    """Those who were held out before are so again as often as the others."""
    first, second = of_version(trial, 1), of_version(trial, 2)
    both = [number for number in second if first[number].variant == second[number].variant == ""]
    held = sum(first[number].variant == "" for number in second)
    assert abs(len(both) - 0.2 * held) <= 4 * (0.2 * 0.8 * held) ** 0.5 and len(both) < held
    assert {(first[number].variant, second[number].variant) for number in second} == {(one, other) for one in ("", "call", "wait")
                                                                                      for other in ("", "call", "wait")}


def a_second_version_begins_for_those_whose_last_run_is_long_enough_ago_and_over(trial):
    """As transitions are told, of all those who were there already."""
    ought, book = [], Book(trial.name, 2, SECOND)
    for number in trial.keys:
        last, days = None, 90 if side_of(book, number) == "wait" else 25
        for step in reversed(retention.transitions(trial.client, f"customers/{number}")):
            at, why, _, entered = retention.plain(step)
            if why != "POLICY" and after(30) < at <= after(LANDS) and entered == "AT_RISK":
                is_again = last is not None and at - last < days * DAY
                ought.append((number, at, is_again))
                last = last if is_again else at
    second = [each for each in runs_of(trial.client, trial.name) if each.version == 2]
    assert sorted((number_of(each), instant_of(each.trigger_time), what_became(each) == "AGAIN") for each in second) == sorted(ought)


def of_every_run_is_told_what_its_customer_bought_within_the_days_of_the_goal(trial):
    for number, each in of_version(trial, 1).items():
        count, cents = spent(trial.orders[trial.keys[number]], 0, 20)
        assert (each.converted, facts.cents_of(each.revenue)) == (count > 0, cents), (number, trial.orders[trial.keys[number]])
        assert instant_of(each.measure_time) == instant_of(each.trigger_time) + 30 * DAY == after(30)
    told = [facts.cents_of(each.revenue) for each in of_version(trial, 1).values()]
    assert min(told) < 0 < max(told) and all(each.HasField("converted") for each in of_version(trial, 2).values())
    for each in runs_of(trial.client, trial.name, ("REFUSED",)):
        assert not any(each.HasField(name) for name in ("measure_time", "converted", "revenue"))


@pytest.mark.parametrize("day", [10, 20])
def nothing_is_told_before_anybody_is_measured(trial, day):
    assert_outcome(trial.told[day], 1, {"": []} | {each["id"]: [] for each in WAYS}, CUSTOMERS)


def an_outcome_is_what_the_witness_makes_of_it(trial):
    sides = in_first(trial)
    assert_outcome(trial.told[30], 1, sides, 0)
    both = [sum(each.revenue != 0 for each in some) for some in (sides[""], sides["call"] + sides["wait"])]
    assert min(both) >= 100 and trial.told[30].effects[0].revenue_per_customer.HasField("low") and sides["none"] == []


def an_outcome_of_a_version_stays_when_another_one_runs(trial):
    """But for a variant that nobody was given, which was told as long as it was the last version."""
    now, before = (policies.as_dict(outcome_of(trial.client, trial.name, 1)), policies.as_dict(trial.told[30]))
    assert [each["variant"] for each in before["variants"]] == ["wait", "none", "call"]
    for name in ("variants", "effects"):
        before[name] = [each for each in before[name] if each.get("variant") != "none"]
    assert now == before
    trial.client.refused(f"{playbooks.SERVICE}/GetPlaybookOutcome", {"name": trial.name, "version": 3}).must_be(
        {NOT_FOUND, INVALID_ARGUMENT}, {"NOT_FOUND", "INVALID_FIELD"})


def a_playbook_that_was_stopped_is_measured_to_its_end(trial):
    """Time lands where some are over and others are not; then it is stopped."""
    by_then, waits = in_second(trial, LANDS), len(of_version(trial, 2)) - sum(map(len, in_second(trial, LANDS).values()))
    assert waits > 20 and sum(map(len, by_then.values())) > 100
    assert_outcome(trial.told[LANDS], 2, by_then, waits)
    last, sides = outcome_of(trial.client, trial.name), in_second(trial, LANDS + 40)
    assert_outcome(last, 2, sides, 0)
    assert last == outcome_of(trial.client, trial.name, 2) and any(each.converted for some in sides.values() for each in some)
    assert Counter(what_became(each) for each in of_version(trial, 2).values())["STOPPED"] > 20


# -- by hand --------------------------------------------------------------------------------------------------------------

@pytest.fixture
def office(backend):
    with playbooks.company(backend) as company:
        yield company


def of_a_few_no_interval_is_told(office):
    client = office.client
    made = content(on_stages("LEAD"), holdout_basis_points=5_000)
    name = running(client, "few", on_stages("LEAD"), holdout_basis_points=5_000)
    assert playbooks.get(client, name).goal_days == 30
    numbers = office.come(*(f"c-{n}" for n in range(40)))
    office.move(after(1), name)
    office.buy("c-1", "c-2", "c-3", cents=700)
    office.move(after(30), name)
    sides = {"": [], "a": []}
    for n, number in enumerate(numbers):
        sides[side_of(Book(name, 1, made), number)].append(Observed(0 < n < 4, 700 if 0 < n < 4 else 0, 0))
    told = outcome_of(client, name)
    assert_outcome(told, 1, sides, 0)
    assert {enum_name(each, "verdict") for each in told.effects} == {"TOO_FEW"} and len(told.effects) == 2


def of_a_playbook_that_has_never_run_there_is_nothing_to_tell(office):
    name = playbooks.create(office.client, "draft", on_stages("LEAD"), holdout_basis_points=5_000).name
    assert_outcome(outcome_of(office.client, name), 0, {"": [], "a": []}, 0)


def without_a_holdout_there_is_nothing_to_compare_with(office):
    client = office.client
    name = running(client, "all", on_stages("LEAD"), goal_days=1)
    office.come("ann", "bob")
    office.move(after(0) + 60 * MINUTE, name)
    office.buy("ann", cents=300, ago=MINUTE)
    office.move(after(1) - MINUTE / 60, name)
    assert_outcome(outcome_of(client, name), 1, {"": [], "a": []}, 2)
    office.move(after(1), name)
    assert_outcome(outcome_of(client, name), 1, {"": [], "a": [Observed(True, 300, 0), Observed(False, 0, 0)]}, 0)


def time_that_jumps_over_the_days_of_the_goal_counts_what_is_known_where_it_lands(office):
    client = office.client
    name = running(client, "all", on_stages("LEAD"), goal_days=10)
    office.come("ann", "bob")
    office.move(after(2), name)
    office.buy("ann")
    office.set_clock(after(200))
    office.restart()
    office.settle(name)
    office.buy("bob", ago=195 * DAY)
    told = sorted(runs_of(office.client, name), key=number_of)
    assert [(each.converted, facts.cents_of(each.revenue)) for each in told] == [(True, 1_000), (False, 0)]


def whoever_is_gone_when_it_would_be_measured_never_is(office):
    client = office.client
    name = running(client, "all", on_stages("LEAD"), goal_days=10)
    office.come("ann", "bob")
    until_equal(lambda: [what_became(each) for each in runs_of(client, name)], ["FINISHED"] * 2)
    office.passing(client.call("PrivacyService/RestrictProcessing", {"name": office.name("bob")}))
    office.move(after(11), name)
    until_equal(lambda: outcome_of(client, name).waiting_customers, 0)
    office.passing(client.call("PrivacyService/LiftRestriction", {"name": office.name("bob")}))
    office.move(after(12), name)
    ann, bob = sorted(runs_of(client, name), key=number_of)
    assert (ann.HasField("measure_time"), ann.HasField("converted")) == (True, True)
    assert not any(bob.HasField(field) for field in ("measure_time", "converted", "revenue"))
    assert_outcome(outcome_of(client, name), 1, {"": [], "a": [Observed(False, 0, 0)]}, 0)


def whoever_is_measured_twice_counts_twice(office):
    """In one version, where runs may follow each other."""
    client = office.client
    speaks = segments.create(client, "speaks", 'language == "de"').name
    name = running(client, "all", on_segment(speaks), again_after_days=5, goal_days=10)
    office.come("ann", language="de")
    until_equal(lambda: len(runs_of(client, name)), 1)
    office.move(after(5), name)
    office.say("ann", language="en")
    office.say("ann", language="de")
    until_equal(lambda: [what_became(each) for each in runs_of(client, name)], ["FINISHED"] * 2)
    office.move(after(7), name)
    office.buy("ann")
    office.move(after(40), name)
    assert_outcome(outcome_of(client, name), 1, {"": [], "a": [Observed(True, 1_000, 0)] * 2}, 0)
