"""Models of who will leave: what they are trained on, how they are judged, put in force and taken out of it; many at once."""
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import grpc
import pytest

from support import churn, facts, policies, questions, quintile, retention, score_models, waiting
from support.churn import (AS_OF, DRIFT, FEATURES, GET, LIST, PUBLISH, RETIRE, RISKS, SECOND, TEXTS, TRAIN, figures, get, models,
                           publish, retire, risks, state, states, told_periods, train, train_failed)
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, Refusal
from support.worth import TENANT, ZONE

ABORTED = grpc.StatusCode.ABORTED
ONE_IN_EIGHTY = 2.2414027  # Of either difference of either candidate: one in twenty of all.
# The day that begins when the midnight of October 6th 1997 is left out is three horizons before this one.
IN_ZONE = datetime(1998, 7, 3, 20, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def town(shared):
    """The invented shop with those whose orders are on the edge, and its first two models, of which none is in force."""
    people = churn.shop() | churn.on_the_edge()
    town = churn.settled(shared, people, churn.rows(people, AS_OF + SECOND))
    town.model, town.again = train(town.admin), train(town.admin)
    town.fit, town.calibration, town.holdout = churn.periods(town.orders, AS_OF)
    return town


@pytest.fixture(scope="module")
def village_of_all(shared):
    return churn.settled(shared, churn.village(), tenant="village")


@pytest.fixture
def village(village_of_all):
    """A small shop of people who say when they leave, and no model in force. What there is to learn from stays as it is."""
    for model in models(village_of_all.admin):
        if state(model) == "PUBLISHED":
            retire(village_of_all.admin, model)
    return village_of_all


@pytest.fixture
def hamlet(backend):
    """The same, of the test's own."""
    with churn.company(backend, churn.village()) as hamlet:
        yield hamlet


# -- what it is trained on ------------------------------------------------------------------------------------------------

def training_gives_a_draft_of_the_periods_that_the_orders_have(town):
    model = town.model
    assert (model.name, state(model), model.horizon_days, model.sampled_one_in) == ("churnModels/1", "DRAFT", 90, 1)
    assert told_periods(model) == [town.fit.plain, town.calibration.plain, town.holdout.plain]
    assert 100 < len(town.holdout.left) < len(town.holdout.silent) - 100
    assert set(model.features) == FEATURES and len(model.features) == len(FEATURES)
    assert score_models.enum_name(model, "method") in ("LOGISTIC", "BOOSTING") and model.etag
    assert model.HasField("create_time") and not model.HasField("publish_time")
    assert get(town.admin, model.name) == model


@pytest.mark.parametrize("horizon", [7, 30, 45, 180])
def every_horizon_has_periods_of_its_own(town, horizon):
    expected = [period.plain for period in churn.periods(town.orders, AS_OF, horizon)]
    model = train(town.admin, horizon_days=horizon)
    assert (told_periods(model), model.horizon_days) == (expected, horizon)


def the_same_training_again_gives_the_same_figures(town):
    assert town.again.name == "churnModels/2" and town.again.etag
    assert figures(town.again) == figures(town.model)
    assert figures(train(town.admin, horizon_days=90)) == figures(town.model), "90 is what is taken where nothing is said"


def periods_begin_when_local_days_do(backend):
    """Of a tenant whose clocks were put forward at one of the midnights, and are some hours behind."""
    people = churn.shop(5, 260, churn.candid) | churn.on_the_edge(IN_ZONE, zone=ZONE)
    with quintile.suite(backend, as_of=facts.text_of(IN_ZONE)) as suite:
        suite.client("admin").call("TenantService/CreateTenant", {"tenant_id": TENANT, "tenant": {"time_zone": ZONE.key}})
        client = retention.client_of(suite)
        churn.take_in(client, churn.rows(people, IN_ZONE), IN_ZONE)
        orders = {key: [at for at in instants if at < IN_ZONE] for key, instants in churn.bought(people).items()}
        expected = churn.periods(orders, IN_ZONE, zone=ZONE)
        assert churn.begin(expected[0].day, ZONE).hour == 3 and expected != churn.periods(orders, IN_ZONE)
        model = train(client)
        assert told_periods(model) == [period.plain for period in expected]
        publish(client, model)
        names = questions.names_of(client, facts.SOURCE)
        assert risks(client).keys() == {names[key] for key in churn.customers_at(orders, IN_ZONE, ZONE)}


def of_too_little_nothing_is_learnt(fresh):
    """Ten who left and ten who stayed are enough in each period, and nine are not."""
    admin = fresh.client("admin")
    train_failed(admin).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    stays = [facts.order(f"stays-{n}", f"o{m}", days=5 + 20 * m) for n in range(10) for m in range(22)]
    leaves = [facts.order(f"leaves-{n}", "o", days=300 + n) for n in range(9)]
    churn.take_in(admin, stays + leaves)
    train_failed(admin).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    churn.take_in(admin, [facts.order("leaves-9", "o", days=300)])
    model = train(admin)
    assert [(period.customers, period.left) for period in (model.fit, model.calibration, model.holdout)] == [(20, 10)] * 3
    train_failed(admin, horizon_days=365).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert list(states(admin)) == ["churnModels/1"]


def what_facts_do_not_tell_any_more_is_not_learnt(hamlet):
    admin = hamlet.admin
    admin.call("RetentionService/UpdateRetention", {"retention": {"order_days": 730 + 3 * 90 - 1}})
    waiting.until(lambda: admin.call("RetentionService/GetRetention").complete, "old facts to be dropped")
    train_failed(admin).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert told_periods(train(admin, horizon_days=60)) == [period.plain for period in churn.periods(hamlet.orders, AS_OF, 60)]


# -- how it is judged -----------------------------------------------------------------------------------------------------

def assert_consistent(evaluation, period):
    """The figures agree with each other, and with the witness on who there was."""
    assert (evaluation.customers, evaluation.left) == period.plain[1:]
    bins, count = evaluation.reliability, evaluation.customers
    assert sum(each.customers for each in bins) == count and all(each.customers > 0 for each in bins)
    assert sum(each.customers * each.share_left for each in bins) == pytest.approx(evaluation.left, abs=1e-6)
    assert [each.mean_risk for each in bins] == sorted({each.mean_risk for each in bins}) and 0 <= bins[0].mean_risk <= bins[-1].mean_risk <= 1
    gaps = [(each.customers / count, abs(each.mean_risk - each.share_left)) for each in bins]
    assert evaluation.calibration_error == pytest.approx(sum(share * gap for share, gap in gaps), abs=1e-9)
    assert sum(share * gap ** 2 for share, gap in gaps) <= evaluation.brier <= evaluation.log_loss and evaluation.brier < 1
    distance = evaluation.kolmogorov_smirnov
    assert 0 < distance <= evaluation.area_under_curve <= 1 - (1 - distance) ** 2 / 2
    assert 1 < evaluation.lift_in_top_tenth <= count / evaluation.left + 1e-9


def figures_of_a_model_and_what_it_is_held_against_agree(town):
    model = town.model
    assert [each.baseline for each in model.baselines] == ["recency", "silence", "p_alive"]
    assert_consistent(model.evaluation, town.holdout)
    for each in model.baselines:
        assert_consistent(each.evaluation, town.holdout)
        assert each.area_gained == pytest.approx(model.evaluation.area_under_curve - each.evaluation.area_under_curve, abs=1e-9)
        assert each.brier_gained == pytest.approx(model.evaluation.brier - each.evaluation.brier, abs=1e-9)
        assert 0 < each.area_gained_standard_error < 0.05 and 0 < each.brier_gained_standard_error < 0.05
        by_chance = ONE_IN_EIGHTY * each.area_gained_standard_error
        is_nearer = -each.brier_gained > ONE_IN_EIGHTY * each.brier_gained_standard_error
        assert each.better == (each.area_gained > by_chance and each.brier_gained <= 0 or is_nearer and each.area_gained >= -by_chance)
    assert model.better == all(each.better for each in model.baselines)


def rules_of_thumb_are_worth_what_the_orders_say(town):
    recency, silence, _ = (each.evaluation for each in town.model.baselines)
    at, labels = churn.begin(town.holdout.day), town.holdout.labels
    days = list(town.holdout.silent.values())
    rhythms = [silent / churn.rhythm(town.orders[key], at) for key, silent in town.holdout.silent.items()]
    assert recency.area_under_curve == pytest.approx(churn.area(days, labels), abs=1e-9)
    assert silence.area_under_curve == pytest.approx(churn.area(rhythms, labels), abs=1e-9)


def it_is_known_by_rhythm_alone_who_has_left_where_customers_buy_as_the_model_has_it(fresh):
    """Of rates that differ, and chances to leave after every purchase but the first: who buys often has left sooner than its recency says."""
    chance, people = random.Random(17), {}
    for number in range(900):
        at, gap, leaves = churn.OPENED + chance.randrange(200, 600) * churn.DAY, 1 / chance.gammavariate(1.5, 0.06), chance.betavariate(1, 12)
        orders, stays = [], True
        while stays and at < AS_OF:
            orders.append(churn.ordered(chance, at))
            at += (1 + round(chance.expovariate(1 / gap) * 1_440)) * churn.MINUTE
            stays = len(orders) == 1 or chance.random() > leaves
        people[f"c-{number}"] = churn.Buyer(orders)
    model = train(churn.settled(fresh, people).admin)
    of = {each.baseline: each.evaluation.area_under_curve for each in model.baselines}
    assert 0.5 < of["recency"] < of["p_alive"] < 1
    assert told_periods(model) == [period.plain for period in churn.periods(churn.bought(people), AS_OF)]


def a_model_that_knows_more_is_better(town):
    model, recency = town.model, town.model.baselines[0]
    assert model.better and recency.better and recency.area_gained > 0.02
    assert model.evaluation.area_under_curve > max(each.evaluation.area_under_curve for each in model.baselines)
    assert model.evaluation.brier < recency.evaluation.brier and model.evaluation.calibration_error < 0.1


def drivers_are_of_its_features_the_strongest_first(town):
    model, count = town.model, len(town.holdout.silent)
    drivers = {each.feature: each for each in model.drivers}
    assert drivers.keys() <= set(model.features) and len(drivers) == len(model.drivers)
    strengths = [each.strength for each in model.drivers]
    assert strengths == sorted(strengths, reverse=True) and strengths[0] > 0.1 and strengths[-1] >= 0
    for name, each in drivers.items():
        assert not each.HasField("direction") or (name not in TEXTS and -1 <= each.direction <= 1)
        assert all(50 <= level.customers <= count for level in each.levels) and sum(level.customers for level in each.levels) <= count
        means = [level.mean_contribution for level in each.levels]
        assert means == sorted(means, reverse=True)
        assert not any(level.missing and level.level for level in each.levels)
        assert name in TEXTS or all(level.missing for level in each.levels)
    told = {"days_since_last_order", "days_since_last_interaction", "interactions_90", "open_complaints", "orders_30", "silence_ratio"}
    assert told & {each.feature for each in model.drivers[:3]}


# -- drafts, in force, retired --------------------------------------------------------------------------------------------

def held_against(model):
    """What it is held against, whether or not the days of purchases tell that anybody leaves."""
    return [each.baseline for each in model.baselines if each.baseline != "p_alive"]


def a_draft_is_put_in_force_and_taken_out_of_it(village):
    admin, others = village.admin, states(village.admin)
    draft = train(admin)
    for method, request in ((RISKS, {}), (DRIFT, {}), (churn.RISK, {"name": f"{next(iter(village.names.values()))}/churnRisk"})):
        admin.refused(method, request).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert draft.better
    for method in (PUBLISH, RETIRE):
        admin.refused(method, {"name": draft.name, "etag": '"0"'}).must_be(ABORTED, "STALE_ETAG")
    admin.refused(RETIRE, {"name": draft.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    before = datetime.now(timezone.utc)
    published = publish(admin, draft)
    assert (state(published), published.etag != draft.etag, figures(published)) == ("PUBLISHED", True, figures(draft))
    assert before <= retention.instant_of(published.publish_time) <= datetime.now(timezone.utc) and published.create_time == draft.create_time
    assert get(admin, draft.name) == published and {each.model for each in risks(admin).values()} == {draft.name}
    admin.refused(RETIRE, {"name": draft.name, "etag": draft.etag}).must_be(ABORTED, "STALE_ETAG")
    admin.refused(PUBLISH, {"name": draft.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    retired = retire(admin, published)
    assert (state(retired), retired.etag not in (draft.etag, published.etag), figures(retired)) == ("RETIRED", True, figures(draft))
    for method in (RETIRE, RISKS):
        admin.refused(method, {"name": draft.name} if method == RETIRE else {}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert states(admin) == others | {draft.name: "RETIRED"}
    # What was in force may come back.
    assert state(publish(admin, retired)) == "PUBLISHED" and {each.model for each in risks(admin).values()} == {draft.name}


def a_model_of_another_horizon_is_no_measure(village):
    admin = village.admin
    first = publish(admin, train(admin))
    other = train(admin, horizon_days=60)
    assert held_against(other) == ["recency", "silence"] and other.better
    admin.refused(PUBLISH, {"name": other.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert {each.horizon_days for each in risks(admin).values()} == {90}
    retire(admin, first)
    publish(admin, other)
    assert {each.horizon_days for each in risks(admin).values()} == {60}


def a_draft_that_is_no_better_is_kept_and_not_put_in_force(village):
    """Such as one that knows what the model in force knows."""
    admin, others = village.admin, states(village.admin)
    first = publish(admin, train(admin))
    same = train(admin)
    assert held_against(same) == ["recency", "silence", first.name] and not same.better
    of_first = same.baselines[-1]
    assert (of_first.area_gained, of_first.brier_gained, of_first.better) == (0, 0, False)
    admin.refused(PUBLISH, {"name": same.name, "etag": same.etag}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert states(admin) == others | {same.name: "DRAFT", first.name: "PUBLISHED"} and get(admin, first.name) == first


def a_better_model_takes_the_place_of_the_one_that_it_was_compared_with(fresh):
    """Of two in three it was known that they complained; the others are told of later."""
    people = churn.village()
    silent = {key: one._replace(complaints=()) if place % 3 == 0 else one for place, (key, one) in enumerate(people.items())}
    admin = churn.settled(fresh, people, churn.rows(silent)).admin
    draft, twin = train(admin), train(admin)
    first = publish(admin, draft)
    admin.refused(PUBLISH, {"name": twin.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    late = {key: one._replace(orders=[]) for key, one in people.items() if not silent[key].complaints}
    churn.take_in(admin, churn.rows(late, since=churn.OPENED))
    second = train(admin)
    assert second.better and second.baselines[-1].baseline == first.name and second.baselines[-1].better
    assert second.evaluation.area_under_curve > second.baselines[-1].evaluation.area_under_curve
    publish(admin, second)
    assert states(admin) == {second.name: "PUBLISHED", twin.name: "DRAFT", first.name: "RETIRED"}
    assert figures(get(admin, first.name)) == figures(first) and {each.model for each in risks(admin).values()} == {second.name}
    back = publish(admin, get(admin, first.name))
    assert states(admin) == {second.name: "RETIRED", twin.name: "DRAFT", first.name: "PUBLISHED"} and figures(back) == figures(first)
    retire(admin, back)
    # Nothing is in force that it ought to have been compared with.
    assert state(publish(admin, twin)) == "PUBLISHED"


def models_are_listed_the_newest_first_by_pages(town):
    whole = models(town.admin)
    numbers = [int(each.name.removeprefix("churnModels/")) for each in whole]
    assert numbers == list(range(len(numbers), 0, -1)) and len(numbers) > 1
    for size in (1, 2, 100, 5_000):
        assert models(town.admin, page_size=size) == whole
    first = town.admin.call(LIST, {"page_size": 1})
    assert list(first.models) == whole[:1] and first.next_page_token
    assert [get(town.admin, each.name) for each in whole] == whole


# -- what may befall a training -------------------------------------------------------------------------------------------

def trainings_at_once_take_turns(village):
    admin, before = village.admin, len(states(village.admin))
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: train(admin), range(4)))
    assert {each.name for each in made} == {f"churnModels/{before + number}" for number in range(1, 5)}
    assert all(figures(each) == figures(made[0]) for each in made)


def of_many_who_publish_a_draft_at_once_one_does(village):
    admin = village.admin
    draft = train(admin)

    def attempt(_):
        try:
            return publish(admin, draft)
        except Refusal as refusal:
            return refusal.must_be({ABORTED, FAILED_PRECONDITION}, {"STALE_ETAG", "FAILED_PRECONDITION"})
    with ThreadPoolExecutor(8) as pool:
        done = [each for each in pool.map(attempt, range(8)) if not isinstance(each, Refusal)]
    assert done == [get(admin, draft.name)] and state(done[0]) == "PUBLISHED"


# -- what makes no sense --------------------------------------------------------------------------------------------------

NO_NAMES = ("", "churnModels", "churnModels/", "churnModels/0", "churnModels/01", "churnModels/x", "churnModels/-1", "churnModels/1/",
            "churnModels/+1", " churnModels/1", "churnModels/1 ", "churnmodels/1", "valueModels/1", f"churnModels/{10**30}", "customers/1")


@pytest.mark.parametrize("horizon", [-1, 1, 6, 366, 2**31 - 1, -2**31])
def a_horizon_that_is_too_short_or_too_long_is_refused(town, horizon):
    refusal = town.admin.refused(TRAIN, {"horizon_days": horizon}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert [each.field for each in refusal.bad_request.field_violations] == ["horizon_days"]


@pytest.mark.parametrize("method", [GET, PUBLISH, RETIRE])
def a_name_that_is_none_is_refused_and_one_of_nothing_not_found(town, method):
    before = states(town.admin)
    for name in NO_NAMES:
        refusal = town.admin.refused(method, {"name": name}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        assert [each.field for each in refusal.bad_request.field_violations] == ["name"], name
    for number in (999_999, 2**31 - 1):
        town.admin.refused(method, {"name": f"churnModels/{number}"}).must_be(NOT_FOUND, "NOT_FOUND")
    assert states(town.admin) == before


def a_page_of_models_that_makes_no_sense_is_refused(town):
    for size in (-1, -2**31):
        refusal = town.admin.refused(LIST, {"page_size": size}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        assert [each.field for each in refusal.bad_request.field_violations] == ["page_size"]
    token = town.admin.call(LIST, {"page_size": 1}).next_page_token
    for wrong in ("x", token[:-1], token + "A", "churnModels/1"):
        town.admin.refused(LIST, {"page_token": wrong}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")


def another_tenant_has_no_models_of_these(town):
    admin = town.suite.client("admin")
    admin.call("TenantService/CreateTenant", {"tenant_id": "other"})
    there = town.suite.client("admin", "other")
    waiting.until(lambda: policies.is_known(there), "the tenant to be known", policies.FORCE_SECONDS)
    assert models(there) == []
    for method in (GET, PUBLISH, RETIRE):
        there.refused(method, {"name": town.model.name}).must_be(NOT_FOUND, "NOT_FOUND")
    train_failed(there).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
