"""The drift of churn models, measured by itself: on which days, of whom, with the alarm that it raises, who is told of it, and what it brings
forward."""
from types import SimpleNamespace

import pytest

from churn_trainings import command, days_on, looked_at, schedule, silent, tried  # noqa: F401 - a fixture.
from playbooks_on_replicas import TAKEN_OVER, replicas  # noqa: F401 - a fixture.
from support import churn, facts, questions, waiting
from support.churn import AS_OF, DAY, MINUTE, SECOND, get, models, publish, retire, risks, say, state, states, train, train_failed
from support.noons import START
from support.refusals import PERMISSION_DENIED
from support.retention import instant_of
from support.score_models import enum_name

HELD = "drifts::before_kept"
SHIFTED, FAILED = "the risks of the churn model in force have shifted", "the drift of the churn model in force can't be measured"
# The feed of orders breaks when the model is put in force, and is mended when its horizon is over.
WEEK, SILENT, MENDED, OVER, FAR = AS_OF + 7 * DAY, AS_OF + 83 * DAY, AS_OF + 90 * DAY - MINUTE, AS_OF + 90 * DAY, AS_OF + 600 * DAY
TOLD, UNTOLD = ("admin", "service", "support", "analyst", "data-engineer"), ("sales", "marketer")


def alarm(model):
    """Since when an alarm stands; None: none does."""
    return instant_of(model.drift_alarm_time) if model.HasField("drift_alarm_time") else None


def measured(client, name, times, seconds=waiting.SECONDS):
    """A model once its drift has been measured so often by itself."""
    return waiting.until(lambda: model if len((model := get(client, name)).drifts) == times else None,
                         lambda: f"{times} measurements: {get(client, name).drifts}", seconds)


def known(town, until):
    """{id: the instants of its orders} before an instant."""
    return {key: [at for at in instants if at < until] for key, instants in town.orders.items()}


# -- when it is measured, and what is found -------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def story(backend):
    """What is told of a model while the shop buys and nobody hears of it, once it is heard of, and when nobody has bought for long."""
    people = churn.shop(1)
    with churn.company(backend, people) as town:
        admin, seen = town.admin, SimpleNamespace(town=town)
        seen.model = publish(admin, train(admin))

        def at(instant, times):
            questions.set_clock(admin, instant)
            model = measured(admin, seen.model.name, times)
            return SimpleNamespace(model=model, risks=risks(admin, page_size=1_000), asked=churn.measure(admin))
        questions.set_clock(admin, WEEK - SECOND)
        looked_at(admin)
        seen.before = get(admin, seen.model.name)
        seen.week, seen.silent = at(WEEK, 1), at(SILENT, 2)
        looked_at(admin)
        seen.again, seen.listed, seen.states = get(admin, seen.model.name), models(admin), states(admin)
        clients = {role: town.suite.client(role, subject=None if role == "service" else "ann") for role in (*TOLD, *UNTOLD)}
        seen.roles = {role: (get(client, seen.model.name), models(client)[0]) for role, client in clients.items()}
        shown = ("show", seen.model.name), ("list",), ("list", "--as", "sales"), ("show", seen.model.name, "--as", "sales")
        seen.commands = [command(town.suite, *arguments) for arguments in shown]
        seen.json = command(town.suite, "show", seen.model.name, "-o", "json")
        questions.set_clock(admin, MENDED)
        churn.take_in(admin, churn.rows(people, MENDED, AS_OF), MENDED)
        looked_at(admin)
        seen.mended = get(admin, seen.model.name)
        seen.over = at(OVER, 3)
        questions.set_clock(admin, FAR)
        seen.far = measured(admin, seen.model.name, 4)
        yield seen


def nothing_is_measured_before_a_week_and_once_in_a_week(story):
    assert not story.before.drifts and not story.mended.drifts[2:]
    told = [instant_of(each.as_of) for each in story.far.drifts]
    assert told == [FAR, OVER, SILENT, WEEK], "a jump of time makes one measurement"
    assert list(story.far.drifts[1:]) == list(story.over.model.drifts) and list(story.over.model.drifts[1:]) == list(story.mended.drifts)
    assert {each.model for each in story.far.drifts} == {story.model.name}


def what_is_measured_is_how_risks_have_moved_by_then(story):
    bins, judged = story.model.evaluation.reliability, story.model.evaluation.customers
    before = sum(each.customers * each.mean_risk for each in bins) / judged
    for at, seen, until in ((WEEK, story.week, AS_OF), (SILENT, story.silent, AS_OF), (OVER, story.over, MENDED)):
        drift, now = seen.model.drifts[0], [each.risk for each in seen.risks.values()]
        assert drift.customers == len(now) == len(churn.customers_at(known(story.town, until), at))
        assert drift.mean_risk_change == pytest.approx(sum(now) / len(now) - before, abs=1e-9)
        index = drift.stability_index
        assert enum_name(drift, "verdict") == ("STABLE" if index < 0.1 else "SHIFTING" if index < 0.25 else "SHIFTED")
        assert drift == seen.asked and not drift.problem, "as for who asks"


def an_alarm_stands_from_the_measurement_that_says_so_to_the_one_that_says_otherwise(story):
    week, silent, over = (seen.model.drifts[0] for seen in (story.week, story.silent, story.over))
    assert enum_name(silent, "verdict") == "SHIFTED" and silent.mean_risk_change > 0.1 and enum_name(over, "verdict") != "SHIFTED"
    first = WEEK if enum_name(week, "verdict") == "SHIFTED" else None
    assert (alarm(story.before), alarm(story.week.model)) == (None, first)
    assert alarm(story.silent.model) == alarm(story.mended) == (first or SILENT)
    assert (alarm(story.over.model), alarm(story.far)) == (None, None)
    assert story.town.suite.has_logged(SHIFTED)


def the_alarm_is_all_that_happens_where_there_is_no_schedule(story):
    assert story.states == {story.model.name: "PUBLISHED"} and story.again == story.silent.model
    assert story.silent.model.etag == story.far.etag == story.model.etag, "nobody who would change it is refused for it"


def in_lists_the_last_measurement_is_told(story):
    whole, listed = story.again, story.listed[0]
    assert list(listed.drifts) == list(whole.drifts[:1]) and listed.drift_alarm_time == whole.drift_alarm_time


def a_measurement_of_nobody_says_so_and_takes_nothing_back(story):
    failed = story.far.drifts[0]
    assert "nobody has bought in 365 days" in failed.problem
    assert (failed.verdict, failed.customers, failed.stability_index, failed.mean_risk_change) == (0, 0, 0, 0)
    assert story.town.suite.has_logged(FAILED)


def who_reaches_everybody_is_told_and_nobody_else(story):
    whole, listed = story.again, story.listed[0]
    for role in TOLD:
        one, of_list = story.roles[role]
        assert (list(one.drifts), alarm(one)) == (list(whole.drifts), alarm(whole)), role
        assert (list(of_list.drifts), alarm(of_list)) == (list(listed.drifts), alarm(whole)), role
    for role in UNTOLD:
        assert not any(each.drifts or each.HasField("drift_alarm_time") for each in story.roles[role]), role
    story.town.suite.client("auditor").refused(churn.GET, {"name": story.model.name}).must_be(PERMISSION_DENIED, "METHOD_DENIED")


def the_command_shows_the_alarm(story):
    whole, *others = story.commands
    since = f"{alarm(story.again):%Y-%m-%d}"
    assert "ALARM" in whole and since in whole and f"{story.again.drifts[0].stability_index:.4f}" in whole
    listed, *scoped = others
    assert "ALARM" in listed and "shifted" in listed
    assert not any("ALARM" in each or "shifted" in each for each in scoped)
    told = story.json
    assert told["drifts"][0]["verdict"] == "CHURN_DRIFT_VERDICT_SHIFTED" and told["driftAlarmTime"]


# -- what it brings forward -----------------------------------------------------------------------------------------------

def everybody_complains(town, now):
    """Has every customer say what this shop's customers say when they leave. No midnight that is learnt from knows of it."""
    said = {"kind": "INTERACTION_KIND_COMPLAINT", "about": "gone", "case_state": "CASE_STATE_OPENED", "interaction_time": facts.text_of(now - DAY)}
    churn.take_in(town.admin, [facts.interaction(key, f"{key}-gone", **said) for key in churn.customers_at(known(town, now), now)], now)


def a_shift_brings_a_training_forward_once_for_each_measurement(silent):  # noqa: F811 - the fixture.
    admin, before = silent.admin, silent.in_force
    everybody_complains(silent, AS_OF + 6 * DAY)
    said = say(admin, 3_653, publish=True)
    looked_at(admin)
    assert schedule(admin) == said and states(admin) == {before.name: "PUBLISHED"}
    # What is trained is better, as it knows of more complaints, and takes the place of the other with its alarm.
    told = tried(admin, days_on(admin, 7))
    old, new = get(admin, before.name), get(admin, told.last_model)
    assert (told.problem, state(old), state(new)) == ("", "RETIRED", "PUBLISHED")
    assert [enum_name(each, "verdict") for each in old.drifts] == ["SHIFTED"] and alarm(old) is None
    assert not new.drifts and alarm(new) is None
    days_on(admin, 13)
    looked_at(admin)
    assert schedule(admin) == told and not get(admin, new.name).drifts
    # They complain still.
    say(admin, 3_653)
    again = tried(admin, days_on(admin, 14))
    shifted = get(admin, new.name)
    assert again.last_model == "churnModels/3"
    assert states(admin) == {old.name: "RETIRED", new.name: "PUBLISHED", "churnModels/3": "DRAFT"}
    assert (len(shifted.drifts), alarm(shifted)) == (1, AS_OF + 14 * DAY)
    days_on(admin, 20)
    looked_at(admin)
    assert schedule(admin) == again and get(admin, new.name) == shifted
    retired = retire(admin, shifted)
    assert alarm(retired) is None and alarm(get(admin, new.name)) is None
    back = publish(admin, retired)
    assert (list(back.drifts), alarm(back)) == (list(shifted.drifts), None), "what was measured before says nothing of now"
    looked_at(admin)
    assert schedule(admin) == again and alarm(get(admin, new.name)) is None


# -- what befalls it ------------------------------------------------------------------------------------------------------

@pytest.fixture
def held(backend):
    """A small shop with a model in force, of which the first measurement stands still when everybody has been read."""
    with churn.company(backend, churn.village()) as town:
        town.in_force = publish(town.admin, train(town.admin))
        town.suite.stop()
        town.suite.start(failpoints=f"{HELD}=1*return")
        town.admin = town.suite.client("admin")
        questions.wait_for(town.admin, 0)
        questions.set_clock(town.admin, WEEK)
        waiting.until(lambda: town.suite.has_logged(f"failpoint {HELD} reached"), "a measurement to stand still")
        yield town


def a_measurement_holds_nothing_up_and_when_it_is_killed_is_made_once(held):
    churn.take_in(held.admin, [facts.order("newcomer", "first")], WEEK)
    assert not get(held.admin, held.in_force.name).drifts
    for _ in range(2):
        held.suite.kill()
        held.suite.as_of = facts.text_of(WEEK)
        held.suite.start()
        admin = held.suite.client("admin")
        questions.wait_for(admin, 0, WEEK)
        model = measured(admin, held.in_force.name, 1)
        looked_at(admin)
        assert get(admin, model.name) == model and instant_of(model.drifts[0].as_of) == WEEK
    assert questions.find(admin, "newcomer") in risks(admin, page_size=1_000)


def a_measurement_goes_on_no_longer_than_its_model_is_in_force(held):
    admin = held.admin
    retired = retire(admin, get(admin, held.in_force.name))
    # Trainings have their turn again.
    train_failed(admin, horizon_days=365)
    assert not get(admin, retired.name).drifts
    publish(admin, retired)
    days_on(admin, 13)
    looked_at(admin)
    assert not get(admin, retired.name).drifts
    days_on(admin, 14)
    assert instant_of(measured(admin, retired.name, 1).drifts[0].as_of) == AS_OF + 14 * DAY


def two_replicas_measure_once_and_the_other_goes_on_when_one_is_killed(replicas):  # noqa: F811 - the fixture.
    first, second = replicas.first, replicas.second
    churn.take_in(first, churn.rows(churn.village(), START), START)
    model = publish(first, train(first))
    days_on(first, 7, START)
    told = measured(second, model.name, 1)
    assert get(first, model.name).SerializeToString() == told.SerializeToString()
    replicas.processes["second"].kill()
    first.call("ClockService/SetAsOf", {"as_of": facts.text_of(START + 14 * DAY)})
    again = measured(first, model.name, 2, TAKEN_OVER)
    assert [instant_of(each.as_of) for each in again.drifts] == [START + 14 * DAY, START + 7 * DAY]
