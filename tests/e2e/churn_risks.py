"""Risks of leaving by the model in force: who has one, what makes it up, by pages; and what became of everybody, which only the generator knew."""
import math
from types import SimpleNamespace

import pytest

from support import churn, facts, policies, questions, retention, waiting
from support.churn import AS_OF, DAY, DRIFT, FEATURES, HORIZON, HOUR, MONEY, RISK, RISKS, SECOND, TEXTS, measure, publish, retire, risk, risks, train
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND
from support.score_models import enum_name

ABSENT = "customers/987654"
# In the afternoon of the day that begins when the horizon is over, and long after nobody has bought any more.
OVER, FAR = AS_OF + HORIZON * DAY + 15 * HOUR, AS_OF + (HORIZON + 200) * DAY
LEAD, NEWCOMER = "only-looks", "just-came"


@pytest.fixture(scope="module")
def town(shared):
    """The invented shop with those whose orders are on the edge and one who has never bought, a model in force, and everybody's risk:
    as it is listed, and as it is read one by one."""
    people = churn.shop() | churn.on_the_edge()
    town = churn.settled(shared, people, churn.rows(people, AS_OF + SECOND) + [facts.interaction(LEAD, "looks")])
    town.model = publish(town.admin, train(town.admin))
    town.risks = risks(town.admin, page_size=1_000)
    town.singles = {name: risk(town.admin, name) for name in town.risks}
    town.keys = {name: key for key, name in town.names.items()}
    return town


@pytest.fixture(scope="module")
def village(shared):
    """A small shop with a model in force, in which each test changes some customers."""
    return with_model(churn.settled(shared, churn.village(), tenant="village"))


@pytest.fixture
def hamlet(backend):
    """The same, of the test's own."""
    with churn.company(backend, churn.village()) as hamlet:
        yield with_model(hamlet)


def with_model(shop):
    shop.model = publish(shop.admin, train(shop.admin))
    return shop


def names_at(town, instant):
    """The names of those who have a risk at an instant."""
    return {town.names[key] for key in churn.customers_at(town.orders, instant)}


def refused_like_nobody(client, name):
    """Whether a customer's risk is refused byte by byte as that of somebody who never was."""
    absent = client.refused(RISK, {"name": f"{ABSENT}/churnRisk"}).must_be(NOT_FOUND, "NOT_FOUND")
    return client.refused(RISK, {"name": f"{name}/churnRisk"}).answer == absent.answer


# -- who has a risk -------------------------------------------------------------------------------------------------------

def whoever_has_bought_in_a_year_has_a_risk_and_nobody_else(town):
    expected = names_at(town, AS_OF)
    assert town.risks.keys() == expected and len(expected) > 250
    others = [name for name in town.names.values() if name not in expected]
    assert town.names[LEAD] in others and len(others) > 100
    edge = [town.names[key] for key in ("older-3", "older-2", "old-0") if key in town.names]
    for name in [*others[::9], *edge, town.names[LEAD]]:
        town.admin.refused(RISK, {"name": f"{name}/churnRisk"}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert refused_like_nobody(town.admin, "customers/987655")


def risks_are_of_the_model_and_of_now(town):
    for name, each in town.risks.items():
        assert (each.name, each.model, retention.instant_of(each.as_of)) == (f"{name}/churnRisk", town.model.name, AS_OF)
        assert 0 <= each.risk <= 1 and not each.factors and each.base_log_odds == 0
    assert len({each.risk for each in town.risks.values()}) > 10


def a_list_has_what_single_reads_have_by_number(town):
    assert list(town.risks) == sorted(town.risks, key=lambda name: int(name.split("/")[1]))
    for name, listed in town.risks.items():
        single = type(listed)()
        single.CopyFrom(town.singles[name])
        assert single.factors and math.isfinite(single.base_log_odds)
        single.ClearField("factors")
        single.ClearField("base_log_odds")
        assert single == listed, name


@pytest.mark.parametrize("size", [1, 7, 1_000, 5_000])
def pages_come_to_the_whole(town, size):
    if size > 1:
        assert risks(town.admin, page_size=size) == town.risks
    start, token = [], ""
    for _ in range(5):
        page = town.admin.call(RISKS, {"page_size": size, "page_token": token})
        start, token = start + list(page.risks), page.next_page_token
        assert len(page.risks) <= min(size, 1_000)
        if not token:
            break
    assert start == list(town.risks.values())[:len(start)] and start
    assert list(town.admin.call(RISKS).risks) == list(town.risks.values())[:100]


def the_smallest_risk_that_is_asked_for_decides_who_is_listed(town):
    told = sorted(each.risk for each in town.risks.values())
    for least in (0, told[0], told[len(told) // 2], math.nextafter(told[len(told) // 2], 1), 0.5, told[-1], 1):
        expected = {name: each for name, each in town.risks.items() if each.risk >= least}
        for size in (37, 1_000):
            assert risks(town.admin, min_risk=least, page_size=size) == expected, least
    assert len(risks(town.admin, min_risk=told[-1])) < len(told)


def factors_are_of_known_features_the_largest_first(town):
    seen = set()
    for single in town.singles.values():
        sizes = [abs(each.contribution) for each in single.factors]
        assert sizes == sorted(sizes, reverse=True) and all(map(math.isfinite, sizes)) and math.isfinite(single.base_log_odds)
        features = [each.feature for each in single.factors]
        assert set(features) <= FEATURES and len(set(features)) == len(features)
        for each in single.factors:
            assert not each.HasField("number") or (each.feature not in MONEY | TEXTS and math.isfinite(each.number))
            assert not each.text or each.feature in TEXTS
        seen |= set(features)
    assert {"days_since_last_order", "open_complaints"} & seen and MONEY & seen


def factors_tell_what_the_customer_is(town):
    told = 0
    for name, single in town.singles.items():
        numbers = churn.numbers(town.people[town.keys[name]], AS_OF)
        for each in single.factors:
            if each.feature in numbers:
                expected = numbers[each.feature]
                assert each.HasField("number") == (expected is not None), (name, each)
                assert expected is None or each.number == pytest.approx(expected, rel=1e-9), (name, each)
                told += 1
    assert told > 500


def the_more_the_factors_come_to_the_higher_is_the_risk(town):
    """What is before calibration has the order that risks have."""
    found = []
    for single in town.singles.values():
        found.append((single.base_log_odds + math.fsum(each.contribution for each in single.factors), single.risk))
    found.sort()
    assert len({base for base, _ in found}) > 50
    for (lower, one), (higher, other) in zip(found, found[1:]):
        assert one <= other + 1e-12 or higher - lower < 1e-9, (lower, one, higher, other)


def a_model_is_no_better_than_itself(town):
    """The model in force is what another training makes of the same customers."""
    again = train(town.admin)
    of_itself = again.baselines[-1]
    assert (of_itself.baseline, again.evaluation) == (town.model.name, town.model.evaluation)
    assert of_itself.area_gained == pytest.approx(0, abs=0.02) and of_itself.brier_gained == pytest.approx(0, abs=0.02)
    assert not of_itself.better and not again.better, of_itself


# -- who is not there any more, or again ----------------------------------------------------------------------------------

def who_is_restricted_or_erased_or_merged_away_has_no_risk(village):
    admin, before = village.admin, risks(village.admin)
    restricted, erased, one, other = list(before)[3:7]
    questions.wait_for(admin, admin.call("PrivacyService/RestrictProcessing", {"name": restricted}).facts_position)
    erasure = admin.call("PrivacyService/EraseCustomer", {"name": erased}).name
    merged = admin.call("IdentityService/MergeCustomers", {"customer": one, "other": other})
    questions.wait_for(admin, merged.facts_position)
    waiting.until(lambda: admin.call("PrivacyService/GetErasure", {"name": erasure}).HasField("complete_time"), "the erasure")
    [away] = {one, other} - risks(admin).keys()
    stayed = ({one, other} - {away}).pop()
    assert risks(admin).keys() == before.keys() - {restricted, erased, away}
    assert [refused_like_nobody(admin, name) for name in (restricted, erased)] == [True, True]
    seen = {feature.feature: feature.number for feature in risk(admin, stayed).factors if feature.HasField("number")}
    keys = {name: key for key, name in village.names.items()}
    both = village.people[keys[one]], village.people[keys[other]]
    merged_one = churn.Buyer(sorted([*both[0].orders, *both[1].orders]), (), sorted([*both[0].complaints, *both[1].complaints]))
    expected = churn.numbers(merged_one, AS_OF)
    assert seen and {name: seen[name] for name in seen.keys() & {"orders", "purchase_days", "days_since_last_order", "orders_90"}} == {
        name: expected[name] for name in seen.keys() & {"orders", "purchase_days", "days_since_last_order", "orders_90"}}
    questions.wait_for(admin, admin.call("PrivacyService/LiftRestriction", {"name": restricted}).facts_position)
    assert risks(admin)[restricted] == before[restricted]


def restricted_customers_are_not_learnt_from(hamlet):
    admin, gone = hamlet.admin, list(hamlet.names)[::6]
    for key in gone:
        position = admin.call("PrivacyService/RestrictProcessing", {"name": hamlet.names[key]}).facts_position
    questions.wait_for(admin, position)
    left = {key: instants for key, instants in hamlet.orders.items() if key not in gone}
    model = train(admin)
    assert churn.told_periods(model) == [period.plain for period in churn.periods(left, AS_OF)]
    assert measure(admin).customers == len(churn.customers_at(left, AS_OF))


def a_risk_follows_what_the_customer_does(village):
    """Whoever buys or complains has another one as soon as that is known; somebody new has one with the first order."""
    admin = village.admin
    quiet = max(risks(admin).values(), key=lambda each: each.risk).name.removesuffix("/churnRisk")
    key = next(key for key, name in village.names.items() if name == quiet)
    rows = [facts.order(key, f"again-{n}", days=1 + 9 * n) for n in range(8)] + [facts.order(NEWCOMER, "first")]
    rows += [facts.interaction(key, "settled", kind="INTERACTION_KIND_COMPLAINT", about="the last", case_state="CASE_STATE_RESOLVED")]
    before = risk(admin, quiet)
    churn.take_in(admin, rows)
    assert risk(admin, quiet).risk < before.risk
    assert questions.find(admin, NEWCOMER) in risks(admin)


# -- without a model ------------------------------------------------------------------------------------------------------

def nobody_has_a_risk_when_no_model_is_in_force(village):
    admin, name = village.admin, next(iter(risks(village.admin)))
    retire(admin, village.model)
    for method, request in ((RISK, {"name": f"{name}/churnRisk"}), (RISKS, {}), (DRIFT, {})):
        admin.refused(method, request).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    publish(admin, churn.get(admin, village.model.name))
    assert risk(admin, name).model == village.model.name


# -- what came of it ------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def future(backend):
    """The shop by the model of one day: its risks then, and what is told when the horizon is over, and when nobody has bought for long."""
    people = churn.shop(1)
    with churn.company(backend, people) as town:
        admin, seen = town.admin, SimpleNamespace(town=town)
        seen.model = publish(admin, train(admin))
        seen.risks, seen.drift = risks(admin, page_size=1_000), measure(admin)
        questions.set_clock(admin, OVER)
        churn.take_in(admin, churn.rows(people, OVER, AS_OF), OVER)
        names = questions.names_of(admin, facts.SOURCE)
        seen.names_over = {names[key] for key in churn.customers_at(town.orders, OVER)}
        seen.risks_over, seen.drift_over, seen.second = risks(admin, page_size=1_000), measure(admin), train(admin)
        seen.singles_over = {name: risk(admin, name).risk for name in list(seen.risks_over)[::5]}
        questions.set_clock(admin, FAR)
        known = {key: [at for at in instants if at < OVER] for key, instants in town.orders.items()}
        seen.names_far = {names[key] for key in churn.customers_at(known, FAR)}
        seen.risks_far, seen.drift_far = risks(admin, page_size=1_000), measure(admin)
        yield seen


def outcomes(future):
    """(risk, whether it left) of those who had a risk."""
    town = future.town
    return [(future.risks[town.names[key]].risk, not churn.returns(town.orders[key], AS_OF, AS_OF + HORIZON * DAY))
            for key in churn.customers_at(town.orders, AS_OF)]


def risks_tell_who_will_leave(future):
    told, left = zip(*outcomes(future))
    assert churn.area(told, left) > 0.7
    assert sum(told) / len(told) == pytest.approx(sum(left) / len(left), abs=0.1)
    high, low = ([gone for value, gone in outcomes(future) if (value >= 0.5) is over] for over in (True, False))
    assert sum(high) / len(high) > 0.7 and sum(low) / len(low) < 0.3


def a_model_in_force_is_judged_by_what_became_of_its_risks(future):
    """The last of the periods of a model that is trained when the horizon is over begins when the risks were told."""
    told, left = zip(*outcomes(future))
    expected = churn.periods(future.town.orders, OVER)
    assert churn.told_periods(future.second) == [period.plain for period in expected]
    assert expected[-1].day == AS_OF.date() and expected[-1].plain[1:] == (len(told), sum(left))
    in_force = future.second.baselines[-1]
    assert in_force.baseline == future.model.name and in_force.evaluation.left == sum(left)
    assert in_force.evaluation.area_under_curve == pytest.approx(churn.area(told, left), abs=0.02)
    assert in_force.evaluation.brier == pytest.approx(sum((value - gone) ** 2 for value, gone in zip(told, left)) / len(told), abs=0.02)


def later_those_have_a_risk_who_have_bought_in_the_year_before(future):
    assert future.risks_over.keys() == future.names_over != future.risks.keys()
    assert future.risks_far.keys() == future.names_far < future.names_over
    assert {retention.instant_of(each.as_of) for each in future.risks_over.values()} == {OVER}
    assert future.singles_over == {name: future.risks_over[name].risk for name in future.singles_over}


def mean_risk(found):
    return sum(each.risk for each in found.values()) / len(found)


def drift_tells_how_risks_have_moved(future):
    bins, judged = future.model.evaluation.reliability, future.model.evaluation.customers
    before = sum(each.customers * each.mean_risk for each in bins) / judged
    for drift, found in ((future.drift, future.risks), (future.drift_over, future.risks_over), (future.drift_far, future.risks_far)):
        assert (drift.model, drift.customers) == (future.model.name, len(found))
        assert drift.mean_risk_change == pytest.approx(mean_risk(found) - before, abs=1e-9)
        bands = 1 + drift.index_by_chance / (1 / judged + 1 / len(found))
        assert bands == pytest.approx(round(bands), abs=1e-6) and 2 <= round(bands) <= 10
        verdict = "STABLE" if drift.stability_index < 0.1 else "SHIFTING" if drift.stability_index < 0.25 else "SHIFTED"
        assert enum_name(drift, "verdict") == verdict
    assert enum_name(future.drift, "verdict") == "STABLE" and abs(future.drift.mean_risk_change) < 0.1
    assert enum_name(future.drift_over, "verdict") != "SHIFTED"
    assert enum_name(future.drift_far, "verdict") == "SHIFTED" and future.drift_far.mean_risk_change > 0.1


# -- what makes no sense --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("least", ["NaN", 2, -0.1, 1.0000001, -1e-9, "Infinity", "-Infinity"])
def a_risk_that_none_can_have_is_not_asked_for(town, least):
    refusal = town.admin.refused(RISKS, {"min_risk": least}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert [each.field for each in refusal.bad_request.field_violations] == ["min_risk"]


def a_page_of_risks_that_makes_no_sense_is_refused(town):
    for size in (-1, -2**31):
        refusal = town.admin.refused(RISKS, {"page_size": size}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        assert [each.field for each in refusal.bad_request.field_violations] == ["page_size"]
    token = town.admin.call(RISKS, {"page_size": 1}).next_page_token
    of_models = town.admin.call(churn.LIST, {"page_size": 1}).next_page_token
    for wrong in ("x", token[:-1], token + "A", *([of_models] if of_models else []), "customers/1"):
        town.admin.refused(RISKS, {"page_token": wrong}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
    town.admin.refused(RISKS, {"page_token": token, "min_risk": 0.5}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")


def a_name_that_is_no_risk_is_refused(town):
    name = next(iter(town.risks))
    for wrong in ("", name, f"{name}/", f"{name}/churnrisk", f"{name}/stage", f"{name}/churnRisk/", f" {name}/churnRisk", "customers/x/churnRisk",
                  "customers/0/churnRisk", "customers/-1/churnRisk", "customers/-/churnRisk", "customers/01/churnRisk",
                  f"customers/{10**30}/churnRisk", "churnModels/1"):
        refusal = town.admin.refused(RISK, {"name": wrong}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        assert [each.field for each in refusal.bad_request.field_violations] == ["name"], wrong


def another_tenant_has_none_of_these_risks(town):
    admin = town.suite.client("admin")
    admin.call("TenantService/CreateTenant", {"tenant_id": "other"})
    there = town.suite.client("admin", "other")
    waiting.until(lambda: policies.is_known(there), "the tenant to be known", policies.FORCE_SECONDS)
    there.refused(RISKS).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    name = next(iter(town.risks))
    there.refused(RISK, {"name": f"{name}/churnRisk"}).must_be(NOT_FOUND, "NOT_FOUND")
