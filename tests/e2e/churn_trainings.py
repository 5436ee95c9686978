"""Trainings of churn models as long work: asked for, followed, given up, killed and gone on with, failed; and those that are had by themselves when a
model has become old."""
import contextlib
import json
import signal
import sqlite3
import subprocess
import uuid
from datetime import date, timedelta
from types import SimpleNamespace

import grpc
import pytest
from google.rpc import error_details_pb2

from playbooks_on_replicas import TAKEN_OVER, replicas  # noqa: F401 - a fixture.
from support import churn, facts, policies, questions, quintile, waiting
from support.churn import (AS_OF, DAY, HORIZON, NAME, SAY, SCHEDULE, TRAIN, begin_training, failure, figures, get, is_cancelled, progress, publish,
                           say, schedule, states, train, train_failed, trained)
from support.noons import START
from support.refusals import FAILED_PRECONDITION, INTERNAL, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED
from support.stage_policies import metadata, operations

ABORTED = grpc.StatusCode.ABORTED
HELD = "trainings::before_learning"
MOST_WAITING = 10
EXIT_FAILURE, EXIT_USAGE, EXIT_DENIED = 1, 2, 4


@pytest.fixture(scope="module")
def village(shared):
    return churn.settled(shared, churn.village(), tenant="village")


@pytest.fixture
def hamlet(backend):
    """A small shop of the test's own."""
    with churn.company(backend, churn.village()) as hamlet:
        yield hamlet


def ask(client, method, operation):
    return client.call(operations(client, method), {"name": operation.name})


def hold(town, others=0):
    """The suite, begun anew: a training stands still when it has read everybody, once so many others are through."""
    town.suite.stop()
    town.suite.start(failpoints=f"{HELD}={others}*off->1*return" if others else f"{HELD}=1*return")
    town.admin = town.suite.client("admin")
    questions.wait_for(town.admin, 0)


def stands(town):
    waiting.until(lambda: town.suite.has_logged(f"failpoint {HELD} reached"), "a training to stand still")


def goes_on(town, as_of=None):
    """The suite is killed, and begun again."""
    town.suite.kill()
    town.suite.as_of = facts.text_of(as_of) if as_of else town.suite.as_of
    town.suite.start()
    town.admin = town.suite.client("admin")
    questions.wait_for(town.admin, 0, as_of or AS_OF)


# -- what is asked for ----------------------------------------------------------------------------------------------------

def a_training_is_an_operation_that_ends_with_a_draft(village):
    admin, before = village.admin, states(village.admin)
    begun = begin_training(admin)
    told = metadata(admin, begun)
    assert (begun.name.startswith("operations/"), told.verb, told.target, told.cancel_requested) == (True, "TrainChurnModel", "churnModels", False)
    model = trained(admin, begun)
    assert states(admin) == before | {model.name: "DRAFT"} and model.horizon_days == HORIZON
    listed = questions.everything(admin, operations(admin, "ListOperations"), "operations", name="operations")
    assert [each.done for each in listed if each.name == begun.name] == [True]
    ask(admin, "CancelOperation", begun)  # It is over.
    assert trained(admin, begun) == model
    ask(admin, "DeleteOperation", begun)
    admin.refused(operations(admin, "GetOperation"), {"name": begun.name}).must_be(NOT_FOUND, "NOT_FOUND")
    assert get(admin, model.name) == model


def a_repeated_request_begins_one_training(village):
    admin, before = village.admin, states(village.admin)
    request_id = str(uuid.uuid4())
    names = {begin_training(admin, request_id=request_id, horizon_days=days).name for days in (0, HORIZON, 0)}
    assert len(names) == 1
    admin.refused(TRAIN, {"request_id": request_id, "horizon_days": 60}).must_be(FAILED_PRECONDITION, "BODY_CONFLICT")
    model = trained(admin, SimpleNamespace(name=names.pop()))
    assert begin_training(admin, request_id=request_id).done and states(admin) == before | {model.name: "DRAFT"}
    # With its operation what a repetition is answered with goes, and it begins nothing.
    ask(admin, "DeleteOperation", begin_training(admin, request_id=request_id))
    admin.refused(TRAIN, {"request_id": request_id}).must_be(NOT_FOUND, "NOT_FOUND")
    for wrong in ("1", "x", request_id[:-1], request_id + "0"):
        refusal = admin.refused(TRAIN, {"request_id": wrong}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        assert [each.field for each in refusal.bad_request.field_violations] == ["request_id"]


def of_too_little_a_training_fails_and_says_so(fresh):
    admin = fresh.client("admin")
    begun = begin_training(admin)
    told = failure(admin, begun)
    told.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert "customers had left" in told.message
    listed = questions.everything(admin, operations(admin, "ListOperations"), "operations", name="operations")
    assert [(each.name, each.done, each.error.message) for each in listed] == [(begun.name, True, told.message)]
    ask(admin, "CancelOperation", begun)
    assert failure(admin, begun) == told and states(admin) == {} and not metadata(admin, listed[0]).cancel_requested


def who_trains_is_told_of_trainings_and_nobody_else(village):
    begun = begin_training(village.admin)
    for role in ("analyst", "data-engineer", "service"):
        assert trained(village.suite.client(role, "village"), begun).name == trained(village.admin, begun).name
    for role in ("support", "sales", "marketer", "auditor"):
        client = village.suite.client(role, "village")
        for method in ("GetOperation", "WaitOperation", "CancelOperation"):
            client.refused(operations(client, method), {"name": begun.name}).must_be(PERMISSION_DENIED, "METHOD_DENIED")
    other = village.suite.client("admin")
    other.refused(operations(other, "GetOperation"), {"name": begun.name}).must_be(NOT_FOUND, "NOT_FOUND")


# -- what befalls it ------------------------------------------------------------------------------------------------------

def a_training_is_given_up_and_the_next_has_its_turn(hamlet):
    hold(hamlet)
    admin = hamlet.admin
    first, second, third = (begin_training(admin, horizon_days=days) for days in (90, 60, 30))
    stands(hamlet)
    # One that waits need not have its turn to be given up.
    ask(admin, "CancelOperation", third)
    assert is_cancelled(admin, third)
    # Everybody is read, and nothing learnt yet.
    waiting.until(lambda: progress(admin, ask(admin, "GetOperation", first)) > 50, "progress to be told")
    waits = ask(admin, "GetOperation", second)
    assert (ask(admin, "GetOperation", first).done, waits.done, progress(admin, waits)) == (False, False, 0)
    ask(admin, "CancelOperation", first)
    assert is_cancelled(admin, first) and metadata(admin, ask(admin, "GetOperation", first)).cancel_requested
    model = trained(admin, second)
    assert (model.horizon_days, states(admin)) == (60, {model.name: "DRAFT"})


def no_more_than_ten_trainings_wait(hamlet):
    hold(hamlet)
    admin = hamlet.admin
    begun = [begin_training(admin, horizon_days=7 + number) for number in range(MOST_WAITING)]
    refusal = admin.refused(TRAIN, {}).must_be(RESOURCE_EXHAUSTED, "OVERLOADED")
    assert refusal.detail(error_details_pb2.RetryInfo).retry_delay.ToTimedelta() == timedelta(minutes=1)
    stands(hamlet)
    for each in begun:
        ask(admin, "CancelOperation", each)
    assert all(is_cancelled(admin, each) for each in begun) and states(admin) == {}
    assert train(admin).name == "churnModels/1"


def a_killed_training_is_gone_on_with_and_changes_nothing_before(hamlet):
    hold(hamlet, others=1)
    in_force = publish(hamlet.admin, train(hamlet.admin))
    risks = churn.risks(hamlet.admin)
    begun = begin_training(hamlet.admin, horizon_days=30)
    stands(hamlet)
    goes_on(hamlet)
    admin = hamlet.admin
    assert get(admin, in_force.name).SerializeToString(deterministic=True) == in_force.SerializeToString(deterministic=True)
    assert {name: each.risk for name, each in churn.risks(admin).items()} == {name: each.risk for name, each in risks.items()}
    model = trained(admin, begun)
    assert states(admin) == {in_force.name: "PUBLISHED", model.name: "DRAFT"}
    assert figures(model) == figures(train(admin, horizon_days=30))


def spoil(suite):
    """Has the models of lifecycle be such as can't be read."""
    if suite.database_url:
        with contextlib.closing(quintile.connect(suite.database_url)) as database:
            database.run(r"UPDATE lifecycle.churn_model SET learnt = '\x00'")
    else:
        with contextlib.closing(sqlite3.connect(suite.data / "lifecycle.sqlite", timeout=30, isolation_level=None)) as database:
            database.execute("UPDATE churn_model SET learnt = x'00'")


def a_model_that_can_not_be_read_stops_no_stages_and_can_be_replaced(hamlet):
    in_force = in_force_of(hamlet)
    spoil(hamlet.suite)
    goes_on(hamlet, AS_OF + DAY)
    admin = hamlet.admin
    assert hamlet.suite.has_logged("the churn model in force can't be read")
    admin.refused(churn.RISKS, {}).must_be(INTERNAL, "INTERNAL")
    retired = churn.retire(admin, get(admin, in_force.name))
    model = publish(admin, train(admin))
    assert states(admin) == {retired.name: "RETIRED", model.name: "PUBLISHED"}
    assert {each.model for each in churn.risks(admin).values()} == {model.name}


# -- what is had by itself ------------------------------------------------------------------------------------------------

def attempted(of):
    """The last whole day of the last attempt; None: there was none."""
    told = of.last_attempt_date
    return date(told.year, told.month, told.day) if of.HasField("last_attempt_date") else None


def days_on(client, days, start=AS_OF):
    """Moves business time so many days on from the first one, and returns the last whole day."""
    questions.set_clock(client, start + timedelta(days=days))
    return (start + timedelta(days=days - 1)).date()


def tried(client, day, seconds=waiting.SECONDS):
    """The schedule once an attempt has been made on a day."""
    return waiting.until(lambda: schedule(client) if attempted(schedule(client)) == day else None,
                         lambda: f"an attempt on {day}: {schedule(client)}", seconds)


def looked_at(client):
    """Waits until the schedule has been looked at: it is behind each training, and these come to nothing."""
    for _ in range(2):
        train_failed(client, horizon_days=365)


def in_force_of(town):
    return publish(town.admin, train(town.admin))


def a_model_that_has_become_old_is_trained_anew_as_a_draft(hamlet):
    admin, in_force = hamlet.admin, in_force_of(hamlet)
    first = schedule(admin)
    assert (first.name, first.every_days, first.publish, first.last_model, first.problem, attempted(first)) == (NAME, 0, False, "", "", None)
    assert first.horizon_days == HORIZON
    # Within a week no drift is measured, which may bring one forward.
    said = say(admin, 3, etag=first.etag)
    assert (said.every_days, said.publish, attempted(said)) == (3, False, None) and said.etag != first.etag and schedule(admin) == said
    days_on(admin, 2)
    looked_at(admin)
    assert schedule(admin) == said and states(admin) == {in_force.name: "PUBLISHED"}
    told = tried(admin, days_on(admin, 3))
    assert (told.last_model, told.problem, told.every_days) == ("churnModels/2", "", 3) and told.etag != said.etag
    assert states(admin) == {in_force.name: "PUBLISHED", "churnModels/2": "DRAFT"}
    draft = get(admin, told.last_model)
    assert churn.told_periods(draft) == [period.plain for period in churn.periods(known(hamlet), AS_OF + 3 * DAY)]
    # Not again, before as many days have passed since.
    days_on(admin, 5)
    looked_at(admin)
    assert schedule(admin) == told and len(states(admin)) == 2
    assert tried(admin, days_on(admin, 6)).last_model == "churnModels/3"


def known(town):
    """{id: the instants of its orders} that a suite was told of."""
    return {key: [at for at in instants if at < AS_OF] for key, instants in town.orders.items()}


@pytest.fixture
def silent(backend):
    """A shop with a model in force that knew of two complaints in three, which is told of the others a week later."""
    people = churn.village()
    first = {key: one._replace(complaints=()) if place % 3 == 0 else one for place, (key, one) in enumerate(people.items())}
    with churn.company(backend, people, churn.rows(first)) as town:
        town.in_force = in_force_of(town)
        later = AS_OF + 6 * DAY
        questions.set_clock(town.admin, later)
        late = {key: one._replace(orders=[]) for key, one in people.items() if not first[key].complaints}
        churn.take_in(town.admin, churn.rows(late, since=churn.OPENED) + churn.rows(first, later, AS_OF), later)
        yield town


def a_better_model_is_put_in_force_by_itself(silent):
    admin, before = silent.admin, silent.in_force
    say(admin, 7, publish=True)
    told = tried(admin, days_on(admin, 7))
    model = get(admin, told.last_model)
    assert model.better and model.baselines[-1].baseline == before.name
    assert (told.problem, states(admin)) == ("", {before.name: "RETIRED", model.name: "PUBLISHED"})
    assert {each.model for each in churn.risks(admin).values()} == {model.name} and model.HasField("publish_time")
    # Everybody's record follows, as where somebody publishes it.
    listed = questions.everything(admin, operations(admin, "ListOperations"), "operations", name="operations")
    assert ("PublishChurnModel", model.name) in {(of.verb, of.target) for of in (metadata(admin, each) for each in listed)}
    # The one that is in force now is seven days old in seven days.
    days_on(admin, 13)
    looked_at(admin)
    assert schedule(admin) == told
    assert tried(admin, days_on(admin, 14)).last_model == "churnModels/3"


def a_model_that_is_no_better_stays_a_draft_and_the_schedule_says_why(hamlet):
    """It knows what the model in force knows."""
    admin, in_force = hamlet.admin, in_force_of(hamlet)
    say(admin, 1, publish=True)
    told = tried(admin, days_on(admin, 1))
    model = get(admin, told.last_model)
    assert not model.better and "better" in told.problem
    assert states(admin) == {in_force.name: "PUBLISHED", model.name: "DRAFT"}


def of_too_little_nothing_is_trained_and_a_jump_of_time_makes_one_attempt(hamlet):
    admin, in_force = hamlet.admin, in_force_of(hamlet)
    say(admin, 100, publish=True)
    told = tried(admin, days_on(admin, 2_000))
    assert told.last_model == "" and "customers had left" in told.problem
    looked_at(admin)
    assert schedule(admin) == told and states(admin) == {in_force.name: "PUBLISHED"}
    # What was said since stays said, and what came of it is told with it.
    assert say(admin, 50).problem == told.problem


def nothing_is_trained_where_it_is_not_said_or_nothing_is_in_force(hamlet):
    admin, draft = hamlet.admin, train(hamlet.admin)
    assert say(admin, 1).horizon_days == 0
    days_on(admin, 30)
    looked_at(admin)
    assert attempted(schedule(admin)) is None and states(admin) == {draft.name: "DRAFT"}
    say(admin, 0)
    publish(admin, draft)
    looked_at(admin)
    assert attempted(schedule(admin)) is None and states(admin) == {draft.name: "PUBLISHED"}
    # By now it is old.
    say(admin, 1)
    assert tried(admin, (AS_OF + 29 * DAY).date()).last_model == "churnModels/2"


@pytest.mark.parametrize("end", [lambda admin, _: say(admin, 0), churn.retire], ids=["said never", "retired"])
def a_training_of_the_schedule_goes_on_no_longer_than_it_is_wanted(hamlet, end):
    hold(hamlet, others=1)
    admin, in_force = hamlet.admin, in_force_of(hamlet)
    say(admin, 5)
    questions.set_clock(admin, AS_OF + 5 * DAY)
    stands(hamlet)
    # Nor does one that waits behind it have to have its turn to be given up.
    waits = begin_training(admin)
    ask(admin, "CancelOperation", waits)
    assert is_cancelled(admin, waits)
    end(admin, in_force)
    model = train(admin)
    assert attempted(schedule(admin)) is None and model.name == "churnModels/2" and set(states(admin)) == {in_force.name, model.name}


def a_training_of_the_schedule_that_is_killed_is_made_once(hamlet):
    hold(hamlet, others=1)
    in_force_of(hamlet)
    said = say(hamlet.admin, 5)
    later = AS_OF + 5 * DAY
    questions.set_clock(hamlet.admin, later)
    stands(hamlet)
    assert schedule(hamlet.admin) == said and len(states(hamlet.admin)) == 1
    goes_on(hamlet, later)
    told = tried(hamlet.admin, (later - DAY).date())
    assert told.last_model == "churnModels/2"
    goes_on(hamlet, later)
    looked_at(hamlet.admin)
    assert policies.as_dict(schedule(hamlet.admin)) == policies.as_dict(told) and len(states(hamlet.admin)) == 2


# -- what makes no sense --------------------------------------------------------------------------------------------------

def a_schedule_is_changed_only_by_who_knows_it(admin):
    first = schedule(admin)
    second = say(admin, 7, publish=True, etag=first.etag)
    admin.refused(SAY, {"schedule": {"name": NAME, "every_days": 9, "etag": first.etag}}).must_be(ABORTED, "STALE_ETAG")
    assert schedule(admin) == second
    # Without an etag it is anybody's; all that is said holds, and what is not said is not kept. What came of it nobody else says.
    third = say(admin, 3_653, problem="none", last_model="churnModels/9", last_attempt_date=facts.date_of(AS_OF.date()), horizon_days=9)
    assert (third.every_days, third.publish, third.problem, third.last_model, attempted(third), third.horizon_days) == (3_653, False, "", "", None, 0)
    assert say(admin, 0).every_days == 0


def a_schedule_that_makes_no_sense_is_refused(admin):
    before = schedule(admin)
    for name in ("", "churnTrainingSchedules", f"{NAME}/1", f"{NAME} ", NAME.lower(), "refitSchedules/valueModels", "churnModels/1"):
        wrong = admin.refused(SCHEDULE, {"name": name}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        assert wrong.message.startswith("name:")
        wrong = admin.refused(SAY, {"schedule": {"name": name, "every_days": 1}}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        assert wrong.message.startswith("schedule.name:")
    for days in (-1, 3_654, 2**31 - 1, -2**31):
        wrong = admin.refused(SAY, {"schedule": {"name": NAME, "every_days": days}}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        assert wrong.message.startswith("schedule.every_days:")
    admin.refused(SAY).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert schedule(admin) == before


def who_trains_no_model_says_no_schedule(shared, admin):
    forms = {"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}
    policies.publish(admin, policies.role_like(admin, "analyst", "no-money", forms=forms))
    client, request = policies.client_of(shared, "no-money"), {"schedule": {"name": NAME, "every_days": 3}}
    client.refused(SAY, request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    for role in ("sales", "support", "marketer", "auditor"):
        shared.client(role).refused(SAY, request).must_be(PERMISSION_DENIED, "METHOD_DENIED")
    assert schedule(client).every_days == schedule(shared.client("sales")).every_days == 0


# -- on two replicas ------------------------------------------------------------------------------------------------------

def two_replicas_train_once_and_the_other_goes_on_when_one_is_killed(replicas):  # noqa: F811 - the fixture.
    first, second = replicas.first, replicas.second
    churn.take_in(first, churn.rows(churn.village(), START), START)
    asked = [begin_training(client) for client in (first, second)]
    assert [trained(client, each).name for client, each in zip((second, first), asked, strict=True)] == ["churnModels/1", "churnModels/2"]
    in_force = publish(second, get(second, "churnModels/1"))
    say(first, 7)
    # As bytes: a message is never equal to one that another client has made.
    told = tried(second, days_on(first, 7, START)).SerializeToString()
    assert schedule(first).last_model == "churnModels/3" and schedule(first).SerializeToString() == told
    begun = begin_training(first)
    replicas.processes["second"].kill()
    ended = waiting.until(lambda: each if (each := ask(first, "GetOperation", begun)).done else None, "the other replica to go on", TAKEN_OVER)
    assert trained(first, ended).name == "churnModels/4" and schedule(first).SerializeToString() == told
    assert states(first) == {f"churnModels/{number}": "DRAFT" for number in range(2, 5)} | {in_force.name: "PUBLISHED"}


# -- the command ----------------------------------------------------------------------------------------------------------

def command(suite, *arguments, code=0):
    """What `quintile churn` prints, as JSON where it is asked for."""
    done = subprocess.run(suite.command("churn", *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=suite.home,
                          timeout=quintile.COMMAND_SECONDS)
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return json.loads(done.stdout) if "json" in arguments and not code else done.stdout + done.stderr


def the_command_trains_waits_and_says_when(hamlet):
    suite, admin = hamlet.suite, hamlet.admin
    model = command(suite, "train", "-o", "json", "--as", "analyst")
    assert (model["name"], model["state"], model["horizonDays"]) == ("churnModels/1", "CHURN_MODEL_STATE_DRAFT", HORIZON)
    assert "churnModels/2" in command(suite, "train", "--horizon-days", "60")
    assert "had left" in command(suite, "train", "--horizon-days", "365", code=EXIT_FAILURE)
    for days in ("-1", "0", "6", "366"):
        assert "7..=365" in command(suite, "train", "--horizon-days", days, code=EXIT_USAGE)
    command(suite, "train", "--as", "support", code=EXIT_DENIED)
    assert "not trained anew" in command(suite, "schedule", "--as", "support")
    done = command(suite, "publish", "churnModels/1")
    assert "churnModels/1 is in force" in done and "operations/" in done and "stage or warnings of" in done
    said = command(suite, "schedule", "--every", "28", "--publish", "-o", "json")
    assert (said["everyDays"], said["publish"], said["horizonDays"]) == (28, True, HORIZON) and schedule(admin).publish
    assert "every 28 days" in command(suite, "schedule")
    tried(admin, days_on(admin, 28))
    assert "1998-07-28, made churnModels/3" in command(suite, "schedule")
    for wrong in (("--every", "3654"), ("--every", "soon"), ("--publish",), ("--every", "0", "--publish")):
        command(suite, "schedule", *wrong, code=EXIT_USAGE)
    command(suite, "schedule", "--every", "1", "--as", "sales", code=EXIT_DENIED)


def an_interrupted_command_leaves_the_training_going_on(hamlet):
    hold(hamlet)
    process = subprocess.Popen(hamlet.suite.command("churn", "train"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, cwd=hamlet.suite.home)
    try:
        stands(hamlet)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=quintile.COMMAND_SECONDS)
    finally:
        process.kill()
    [operation] = questions.everything(hamlet.admin, operations(hamlet.admin, "ListOperations"), "operations", name="operations")
    assert (process.returncode, operation.done) == (EXIT_FAILURE, False) and f"quintile churn cancel {operation.name}" in told
    assert "nothing is kept of it" in command(hamlet.suite, "cancel", operation.name)
    assert is_cancelled(hamlet.admin, operation)
    command(hamlet.suite, "cancel", "churnModels/1", code=EXIT_USAGE)
