"""Risks of leaving in records: in steps of five hundredths, right at every midnight without any event, in rules, warnings and playbooks; gone when the
model is. The witness is the risk as it is asked for one by one, which nothing of records goes into, and the orders that the test has sent."""
import math
from datetime import timedelta

import pytest

from support import churn, facts, playbook_kit, questions, stage_policies, waiting, warnings
from support.churn import AS_OF, DAY, HOUR, publish, retire, risks, train

RISKY, HELD_DAYS, ALL_STEPS = 70, 14, range(0, 101, 5)
RULE = "churn_risk_percent == {}"


@pytest.fixture(scope="module")
def town(backend):
    """The invented shop with a playbook that asks for a call for whoever is likely to leave, and then a model in force."""
    with churn.company(backend, churn.shop()) as town:
        kinds = {"warning": {"kinds": ["WARNING_KIND_CHURN_RISK"]}}
        town.playbook = playbook_kit.begin(town.admin, playbook_kit.task(), trigger=kinds)
        town.model = publish(town.admin, train(town.admin))
        # What the generator has them do later is not told.
        town.orders = {key: [at for at in instants if at < AS_OF] for key, instants in town.orders.items()}
        settle(town)
        yield town


def step(risk):
    return math.floor(risk * 20) * 5


def steps(admin):
    """{customer: step} by the risks themselves."""
    return {name: step(each.risk) for name, each in risks(admin, page_size=1_000).items()}


def open_operations(admin):
    listed = admin.call(stage_policies.operations(admin, "ListOperations"), {"name": "operations"}).operations
    return [each for each in listed if not each.done]


def settle(town):
    """Waits until what was published or retired has come to everybody, and to segments."""
    waiting.until(lambda: not open_operations(town.admin), "the model to come to everybody")
    head = questions.distribution(town.admin).watermark.facts_position
    questions.wait_for(town.admin, head)


def in_records(admin):
    """{customer: step} as lifecycle's records have it."""
    listed = questions.everything(admin, "StageService/ListRecords", "records", page_size=1_000)
    return {f"customers/{each.customer_id}": each.churn.risk_percent for each in listed if each.HasField("churn")}


def by_rules(admin):
    """{step: customers} as segments count them, those without anybody left out."""
    counts = {percent: questions.preview(admin, RULE.format(percent)).customers for percent in ALL_STEPS}
    return {percent: count for percent, count in counts.items() if count}


def counted(found):
    return {percent: list(found.values()).count(percent) for percent in sorted(set(found.values()))}


def silent_days(town, name, today):
    key = next(key for key, each in town.names.items() if each == name)
    return (today - max(at for at in town.orders[key] if at.date() <= today).date()).days


def likely_to_leave(town, now):
    """Who shows the sign: the risk is high, and nothing was bought for a fortnight; nobody who is churned shows a sign."""
    high = {name for name, percent in steps(town.admin).items() if percent >= RISKY}
    return {name for name in high if silent_days(town, name, now.date()) >= HELD_DAYS and questions.stage(town.admin, name) != "CHURNED"}


def warned(admin):
    going_on = warnings.listed(admin, states=("OPEN", "ACKNOWLEDGED"), kinds=("CHURN_RISK",))
    return {"/".join(each.name.split("/")[:2]): each for each in going_on}


def agree(town, now):
    expected = steps(town.admin)
    assert in_records(town.admin) == expected
    waiting.until(lambda: by_rules(town.admin) == counted(expected), lambda: f"{counted(expected)}, and not {by_rules(town.admin)}", 20)
    likely = likely_to_leave(town, now)
    waiting.until(lambda: warned(town.admin).keys() == likely, lambda: f"{likely ^ warned(town.admin).keys()} to be warned of, or no more", 20)
    return expected


def steps_are_those_of_risks_everywhere(town):
    found = agree(town, AS_OF)
    assert len(set(found.values())) > 5 and len(found) > 250
    some = next(iter(found))
    told = town.admin.call("StageService/GetStage", {"name": f"{some}/stage"}).churn
    profile = town.admin.call("ProfileService/GetProfile", {"name": f"{some}/profile"}).churn
    assert (told.risk_percent, told.model) == (profile.risk_percent, profile.model) == (found[some], town.model.name)
    high = sum(percent >= RISKY for percent in found.values())
    assert questions.preview(town.admin, f"churn_risk_percent >= {RISKY}").customers == high > 0


def warnings_tell_the_risk_and_what_is_at_stake(town):
    found = steps(town.admin)
    for name, warning in warned(town.admin).items():
        assert warning.evidence.risk_percent == found[name] == pytest.approx(warning.risk * 100)
        worth = warning.customer_value.units * 100 + warning.customer_value.nanos // 10_000_000
        at_stake = warning.value_at_stake.units * 100 + warning.value_at_stake.nanos // 10_000_000
        assert at_stake == round(worth * found[name] / 100), warning


def a_playbook_begins_by_the_sign(town):
    """One run of whoever shows it, and none of anybody else."""
    def called():
        return {"/".join(each.name.split("/")[:2]) for each in playbook_kit.every_task(town.admin)}
    waiting.until(lambda: called() == set(warned(town.admin)), lambda: f"{warned(town.admin).keys()}, and not {called()}", 20)


@pytest.mark.parametrize("days", [1, 2, 9, 40], ids="after {} days".format)
def time_alone_moves_them_at_midnights(town, days):
    """Nothing is told: each service has to have foreseen on which day a risk is at another step."""
    before, now = steps(town.admin), AS_OF + days * DAY + 9 * HOUR
    questions.set_clock(town.admin, now)
    found = agree(town, now)
    assert found != before
    gone = before.keys() - found.keys()
    assert all(silent_days(town, name, now.date()) > 365 for name in gone)


def an_order_lowers_it_within_a_second_of_its_own(town):
    now = AS_OF + 40 * DAY + 9 * HOUR
    quiet = max(warned(town.admin), key=lambda name: steps(town.admin)[name])
    key = next(key for key, name in town.names.items() if name == quiet)
    rows = [facts.order(key, f"again-{n}", order_time=facts.text_of(now - timedelta(minutes=n))) for n in range(1, 4)]
    before = steps(town.admin)[quiet]
    questions.wait_for(town.admin, questions.take_in(town.admin, *rows).facts_position, now)
    town.orders[key] = sorted([*town.orders[key], now - timedelta(minutes=1)])
    assert agree(town, now)[quiet] < before


def nothing_is_left_of_a_model_that_is_retired(town):
    now = AS_OF + 40 * DAY + 9 * HOUR
    retired = retire(town.admin, churn.get(town.admin, town.model.name))
    settle(town)
    assert in_records(town.admin) == {}
    waiting.until(lambda: questions.preview(town.admin, "has(churn_risk_percent)").customers == 0, "segments to hear that there is no risk", 20)
    waiting.until(lambda: not warned(town.admin), "the warnings to end", 20)
    publish(town.admin, retired)
    settle(town)
    agree(town, now)
