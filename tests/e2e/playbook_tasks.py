"""Tasks that playbooks give to colleagues: whose each is, who does it and what came of it, of whom a caller is told, and what becomes of them with
their customer and their playbook."""
from datetime import timedelta
from types import SimpleNamespace

import pytest

from support import facts, policies, questions, quintile, receiver, waiting
from support.playbook_kit import (ABSENT, CLAIM, COMPLETE, DELETE, END, EVERYBODY, GET_TASK, LIST_DELIVERIES, LIST_TASKS, OUTCOMES, REPLAY, RUNS,
                                  TASK_STATES, begin, come, consent, customer_of, deliveries, every_task, of_nobody, running, runs, state, stop,
                                  task, tasks, until_deliveries, until_ended, wait, webhook)
from support.refusals import FAILED_PRECONDITION, NOT_FOUND
from support.retention import instant_of
from support.score_models import enum_name

SERVICES = {"ingestion", "scoring", "lifecycle", "segmentation", "access-control"}
HOUR = timedelta(hours=1)
YEAR_SECONDS = 365 * 86_400
CODES = ("ABORTED", "FAILED_PRECONDITION")


@pytest.fixture(scope="module")
def desk(backend):
    """A suite of which no test moves the time, with an administrator and colleagues of several roles."""
    with quintile.suite(backend, webhooks=receiver.refusing()) as suite:
        sue, tom = (suite.client("support", subject=subject) for subject in ("sue", "tom"))
        ann, bob = (suite.client("sales", subject=subject) for subject in ("ann", "bob"))
        yield SimpleNamespace(suite=suite, admin=suite.client("admin"), sue=sue, tom=tom, ann=ann, bob=bob, marketer=suite.client("marketer"))


@pytest.fixture
def office(backend):
    """An empty suite of a test's own."""
    with quintile.suite(backend, webhooks=receiver.refusing()) as suite:
        yield suite


def made(client, who, *steps, **fields):
    """The tasks of somebody new by a playbook of some steps, in their turn. What the playbook was is stopped."""
    with running(client, *steps) as playbook:
        name = come(client, who, **fields)
        until_ended(client, playbook)
    found = every_task(client, name)
    assert len(found) == len(steps)
    return found[::-1]


def claim(client, found):
    return client.call(CLAIM, {"name": found.name})


def complete(client, found, outcome="SUCCESS"):
    return client.call(COMPLETE, {"name": found.name, "outcome": f"TASK_OUTCOME_{outcome}"})


def get(client, found):
    return client.call(GET_TASK, {"name": found.name})


def refused(client, found):
    """What is said where a task is neither claimed nor completed, in any way."""
    answers = [client.refused(CLAIM, {"name": found.name})]
    return answers + [client.refused(COMPLETE, {"name": found.name, "outcome": f"TASK_OUTCOME_{outcome}"}) for outcome in OUTCOMES]


# -- what a task is -------------------------------------------------------------------------------------------------------

def a_task_says_what_its_step_says_and_is_of_whose_the_customer_is(desk, new):
    steps = [task("call back", "CALL", note="asked for it", due_after="60s"),
             task("段" * 85, "VISIT", assignee="tess", due_after=f"{YEAR_SECONDS}s"), task("write", "MESSAGE", note="x" * 2_048), task("t", "OTHER")]
    call, visit, message, other = made(desk.admin, new, *steps, owner="ann")
    [run] = runs(desk.admin, customer_of(call))
    ends = []
    for found, step in zip((call, visit, message, other), steps):
        said = step["task"]
        assert found.name.startswith(f"{customer_of(run)}/tasks/") and (found.playbook, found.run) == (run.playbook, run.name)
        assert (found.title, found.note, f"TASK_KIND_{enum_name(found, 'kind')}") == (said["title"], said.get("note", ""), said["kind"])
        assert (state(found), found.outcome, found.completed_by, found.HasField("end_time")) == ("OPEN", 0, "", False)
        assert instant_of(found.create_time) == facts.AS_OF == instant_of(run.trigger_time) and get(desk.admin, found) == found
        ends.append(instant_of(found.due_time) if found.HasField("due_time") else None)
    assert [each.assignee for each in (call, visit, message, other)] == ["ann", "tess", "ann", "ann"]
    assert ends == [facts.AS_OF + timedelta(minutes=1), facts.AS_OF + timedelta(days=365), None, None]
    assert len({each.name for each in (call, visit, message, other)}) == 4


def a_task_for_somebody_whom_nobody_looks_after_is_nobodys(desk, new):
    [found] = made(desk.admin, new, task())
    assert found.assignee == "" and found in tasks(desk.admin) and found not in tasks(desk.admin, assignee="ann")


def a_task_is_made_when_its_step_is_due_and_not_when_time_was_told(office, new):
    admin = office.client("admin")
    with running(admin, wait(90), task("first", due_after="3600s"), wait(86_400), task("second")) as playbook:
        name = come(admin, new)
        assert tasks(admin, name) == []
        questions.set_clock(admin, facts.AS_OF + timedelta(days=3))
        until_ended(admin, playbook)
    second, first = tasks(admin, name)
    assert (first.title, second.title) == ("first", "second")
    assert instant_of(first.create_time) == facts.AS_OF + timedelta(seconds=90)
    assert instant_of(first.due_time) == instant_of(first.create_time) + HOUR
    assert instant_of(second.create_time) == instant_of(first.create_time) + timedelta(days=1)


# -- who does it ----------------------------------------------------------------------------------------------------------

def a_task_is_claimed_and_completed_by_the_same_colleague(office, new):
    admin = office.client("admin")
    sue, tom = (office.client("support", subject=subject) for subject in ("sue", "tom"))
    [found] = made(admin, new, task(), owner="tom")
    claimed = claim(sue, found)
    assert (state(claimed), claimed.assignee, claimed.name) == ("CLAIMED", "sue", found.name)
    assert claim(sue, found) == claimed == get(tom, found)
    for answer in refused(tom, found):
        answer.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert get(admin, found) == claimed
    questions.set_clock(admin, facts.AS_OF + HOUR)
    done = complete(sue, found, "DECLINED")
    assert (state(done), enum_name(done, "outcome"), done.completed_by, done.assignee) == ("DONE", "DECLINED", "sue", "sue")
    assert instant_of(done.end_time) == facts.AS_OF + HOUR and instant_of(done.create_time) == facts.AS_OF
    questions.set_clock(admin, facts.AS_OF + 2 * HOUR)
    # The same again is nothing new, whoever says it.
    assert complete(sue, found, "DECLINED") == done == complete(tom, found, "DECLINED")
    for client in (sue, tom, admin):
        client.refused(CLAIM, {"name": found.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
        for outcome in set(OUTCOMES) - {"DECLINED"}:
            request = {"name": found.name, "outcome": f"TASK_OUTCOME_{outcome}"}
            client.refused(COMPLETE, request).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert get(admin, found) == done


@pytest.mark.parametrize("outcome", OUTCOMES)
def an_open_task_is_completed_without_being_claimed_and_is_then_the_callers(desk, new, outcome):
    """Whoever it was meant for."""
    for colleague, subject, step in ((desk.sue, "sue", task()), (desk.tom, "tom", task(assignee="tess")), (desk.ann, "ann", task())):
        [found] = made(desk.admin, f"{new}-{subject}", step, owner="ann")
        done = complete(colleague, found, outcome)
        assert (state(done), enum_name(done, "outcome"), done.completed_by, done.assignee) == ("DONE", outcome, subject, subject)
        assert instant_of(done.end_time) == facts.AS_OF and get(desk.admin, found) == done


def a_task_of_somebody_else_is_claimed_by_who_does_it(desk, new):
    [found] = made(desk.admin, new, task(assignee="tess"))
    assert claim(desk.tom, found).assignee == "tom"
    assert found.name in {each.name for each in tasks(desk.admin, assignee="tom")} - {each.name for each in tasks(desk.admin, assignee="tess")}


def of_many_who_claim_a_task_at_once_one_has_it(desk, new):
    [found] = made(desk.admin, new, task())
    clients = [desk.suite.client("support", subject=f"s-{n}") for n in range(12)]
    method = desk.admin.api.method(CLAIM)
    calls = [client.api.callable(method).future(client.message(method, {"name": found.name}), metadata=client.metadata(), timeout=waiting.SECONDS)
             for client in clients]
    codes = [call.code().name for call in calls]
    assert codes.count("OK") == 1 and set(codes) <= {"OK", *CODES}, codes
    assert get(desk.admin, found).assignee == f"s-{codes.index('OK')}" and state(get(desk.admin, found)) == "CLAIMED"


def of_many_who_complete_a_task_at_once_those_who_agree_are_right(desk, new):
    [found] = made(desk.admin, new, task())
    clients = [desk.suite.client("support", subject=f"s-{n}") for n in range(12)]
    method = desk.admin.api.method(COMPLETE)
    calls = [client.api.callable(method).future(client.message(method, {"name": found.name, "outcome": 1 + n % 3}), metadata=client.metadata(),
                                                timeout=waiting.SECONDS) for n, client in enumerate(clients)]
    codes = [call.code().name for call in calls]
    done = get(desk.admin, found)
    assert state(done) == "DONE" and set(codes) <= {"OK", *CODES}
    assert {1 + n % 3 for n, code in enumerate(codes) if code == "OK"} == {done.outcome}
    assert done.completed_by == done.assignee and codes[int(done.completed_by.removeprefix("s-"))] == "OK"


def a_task_outlives_the_end_of_its_playbook_and_of_the_suite(office, new):
    admin = office.client("admin")
    playbook = begin(admin, task("one"), task("two"), wait(60), task("never"))
    name = come(admin, new)
    waiting.until(lambda: len(tasks(admin, name)) == 2, lambda: f"two tasks: {tasks(admin, name)}")
    two, one = tasks(admin, name)
    claimed = claim(office.client("support", subject="sue"), two)
    stop(admin, playbook)
    [run] = until_ended(admin, name)
    assert (state(run), run.steps_done) == ("STOPPED", 3), "both tasks and the wait are behind it"
    office.kill()
    office.start()
    admin, sue = office.client("admin"), office.client("support", subject="sue")
    assert policies.as_dict(get(admin, one)) == policies.as_dict(one) and policies.as_dict(get(admin, two)) == policies.as_dict(claimed)
    admin.call(DELETE, {"name": playbook.name})
    for each in (one, two):
        assert state(complete(sue, each)) == "DONE"
    assert [(each.title, each.playbook) for each in every_task(admin, name)] == [("two", playbook.name), ("one", playbook.name)]


def the_runs_of_a_playbook_that_is_deleted_are_forgotten_and_what_came_of_them_is_not(desk, new):
    playbook, other = begin(desk.admin, task(new), webhook(new, "refusing")), begin(desk.admin, END)
    name = come(desk.admin, new)
    until_ended(desk.admin, name, 2)
    until_deliveries(desk.admin, name, "FAILED")
    before = every_task(desk.admin, name), deliveries(desk.admin, name)
    for each in (playbook, other):
        stop(desk.admin, each)
    desk.admin.call(DELETE, {"name": playbook.name})
    waiting.until(lambda: [run.playbook for run in runs(desk.admin, name)] == [other.name], lambda: f"only {other.name}: {runs(desk.admin, name)}")
    desk.admin.refused(RUNS, {"parent": playbook.name}).must_be(NOT_FOUND, "NOT_FOUND")
    assert (every_task(desk.admin, name), deliveries(desk.admin, name)) == before


# -- lists ----------------------------------------------------------------------------------------------------------------

def tasks_are_listed_by_customer_state_assignee_and_page(desk, new):
    mine, theirs = f"m-{new}", f"t-{new}"
    steps = [[task(f"{n} {place}", assignee=mine if place % 2 else theirs) for place in range(4)] for n in range(3)]
    people = [made(desk.admin, f"{new}-{n}", *steps[n]) for n in range(3)]
    for found in people:
        claim(desk.sue, found[0])
        complete(desk.tom, found[1])
    names = [customer_of(found[0]) for found in people]
    ours = lambda found: [each for each in found if customer_of(each) in names]  # noqa: E731
    whole = ours(every_task(desk.admin))
    assert [each.title for each in whole] == [f"{n} {place}" for n in (2, 1, 0) for place in (3, 2, 1, 0)]
    by_state = {each: ours(tasks(desk.admin, states=[each])) for each in TASK_STATES}
    assert {each: len(found) for each, found in by_state.items()} == {"OPEN": 6, "CLAIMED": 3, "DONE": 3}
    assert all(state(one) == each for each, found in by_state.items() for one in found)
    assert ours(tasks(desk.admin)) == [each for each in whole if state(each) != "DONE"] == ours(tasks(desk.admin, states=["CLAIMED", "OPEN"]))
    assert tasks(desk.admin, assignee=mine) == [each for each in whole if each.title.endswith("3")]
    assert tasks(desk.admin, assignee=theirs, states=TASK_STATES) == [each for each in whole if each.title.endswith("2")]
    for name in names:
        own = [each for each in whole if customer_of(each) == name]
        for size in (1, 3, 4, 100_000):
            assert every_task(desk.admin, name, page_size=size) == own
            assert ours(every_task(desk.admin, page_size=max(size, 2))) == whole
        assert tasks(desk.admin, name, assignee=mine) == own[:1] and tasks(desk.admin, name, assignee="nobody") == []
    page = desk.admin.call(LIST_TASKS, {"parent": names[0], "page_size": 2})
    assert len(page.tasks) == 2 and page.next_page_token


def what_changes_between_pages_makes_no_task_come_twice(desk, new):
    found = made(desk.admin, new, *(task(f"{n}") for n in range(6)))
    name = customer_of(found[0])
    first = desk.admin.call(LIST_TASKS, {"parent": name, "page_size": 2, "states": [1, 2, 3]})
    for each in found:
        complete(desk.sue, each)
    assert [each.title for each in first.tasks] == ["5", "4"] and [each.title for each in every_task(desk.admin, name, page_size=2)] == list("543210")
    second = desk.admin.call(LIST_TASKS, {"parent": name, "page_size": 3, "states": [1, 2, 3], "page_token": first.next_page_token})
    assert [each.title for each in second.tasks] == ["3", "2", "1"]


# -- of whom --------------------------------------------------------------------------------------------------------------

# Who looks after whom, and whether it consents to marketing.
PEOPLE = {"ann-1": ("ann", True), "ann-2": ("ann", False), "bob-1": ("bob", True), "bob-2": ("bob", False), "none-1": ("", True)}
REACHED = {"ann": {"ann-1", "ann-2"}, "bob": {"bob-1", "bob-2"}, "marketer": {"ann-1", "bob-1", "none-1"}, "sue": set(PEOPLE)}


@pytest.fixture(scope="module")
def town(desk):
    """{customer: its three tasks}, in a turn in which those of one and of another are mixed."""
    found = {who: [] for who in PEOPLE}
    with running(desk.admin, *(task(f"{n}") for n in range(3))):
        for who, (owner, consents) in PEOPLE.items():
            name = come(desk.admin, who, owner=owner)
            if consents:
                consent(desk.admin, name)
            until_ended(desk.admin, name)
            found[who] = every_task(desk.admin, name)
    waiting.until(lambda: whose(found, tasks(desk.marketer)) == REACHED["marketer"], "consents to reach lifecycle")
    return found


def whose(town, found):
    people = {customer_of(of[0]): who for who, of in town.items()}
    return {people[customer_of(each)] for each in found if customer_of(each) in people}


@pytest.mark.parametrize("role", REACHED)
@pytest.mark.parametrize("page_size", [1, 2, 1_000])
def lists_have_the_tasks_of_those_whom_a_role_reaches(desk, town, role, page_size):
    """Pages may be short, or empty."""
    client, own = getattr(desk, role), {each.name for who in REACHED[role] for each in town[who]}
    found = every_task(client, page_size=page_size)
    assert whose(town, found) == REACHED[role] and own <= {each.name for each in found}
    assert [each for each in found if each.name in own] == [each for each in every_task(desk.admin) if each.name in own]
    for who in REACHED[role]:
        assert every_task(client, customer_of(town[who][0]), page_size=page_size) == town[who]
    if role in ("ann", "bob"):
        owners = {desk.admin.call("CustomerService/GetCustomer", {"name": customer_of(each)}).attributes.owner for each in found}
        assert owners == {role}


@pytest.mark.parametrize("role", ["ann", "bob", "marketer"])
def the_tasks_of_whom_a_role_does_not_reach_are_not_there_for_it(desk, town, role):
    client = getattr(desk, role)
    nobody = client.refused(LIST_TASKS, {"parent": ABSENT}).must_be(NOT_FOUND, "NOT_FOUND")
    for who in set(PEOPLE) - REACHED[role]:
        assert client.refused(LIST_TASKS, {"parent": customer_of(town[who][0])}).answer == nobody.answer
        for found in town[who]:
            for method, fields in ((GET_TASK, {}), (CLAIM, {}), (COMPLETE, {"outcome": 1})):
                asked = lambda name: client.refused(method, {"name": name} | fields).answer  # noqa: B023, E731
                assert asked(found.name) == nobody.answer == asked(of_nobody(found.name)), (method, who)
        assert every_task(desk.admin, customer_of(town[who][0])) == town[who], "nothing was done"


def a_colleague_does_the_tasks_of_its_own_customers(desk, new):
    [first, second] = made(desk.admin, new, task(), task(assignee="bob"), owner="ann")
    assert claim(desk.ann, first).assignee == "ann" and complete(desk.ann, second).completed_by == "ann"
    assert complete(desk.ann, first, "NOT_REACHED").completed_by == "ann"
    # Whose it becomes is told at once, and whose it was no more.
    name = customer_of(first)
    desk.admin.call("CustomerService/UpdateCustomer", {
        "customer": {"name": name, "attributes": {"owner": "bob"}}, "update_mask": "attributes.owner"})
    questions.wait_for(desk.admin, questions.take_in(desk.admin, facts.order(new, f"{new}-later")).facts_position)
    assert [each.name for each in every_task(desk.bob, name)] == [second.name, first.name]
    desk.ann.refused(LIST_TASKS, {"parent": name}).must_be(NOT_FOUND, "NOT_FOUND")
    # What was the assignee's stays.
    assert {each.assignee for each in every_task(desk.bob, name)} == {"ann"}


# -- those who are gone ---------------------------------------------------------------------------------------------------

def reads_of(found):
    """Every way to a customer's task."""
    return [(LIST_TASKS, {"parent": customer_of(found)}), (RUNS, {"parent": customer_of(found)}), (LIST_DELIVERIES, {"parent": customer_of(found)}),
            (GET_TASK, {"name": found.name}), (CLAIM, {"name": found.name}), (COMPLETE, {"name": found.name, "outcome": 1}),
            (REPLAY, {"name": found.name.replace("/tasks/", "/deliveries/")})]


def whoever_is_restricted_has_no_tasks_until_the_restriction_is_lifted(desk, new):
    with running(desk.admin, task(), webhook(new, "refusing")) as playbook:
        name, other = come(desk.admin, new, f"{new}-2")
        for each in (name, other):
            until_deliveries(desk.admin, each, "FAILED")
        [found], [kept] = (every_task(desk.admin, each) for each in (name, other))
        found = claim(desk.sue, found)
        whole = runs(desk.admin, name), deliveries(desk.admin, name)
        answer = desk.admin.call("PrivacyService/RestrictProcessing", {"name": name})
        questions.wait_for(desk.admin, answer.facts_position)
        for method, request in reads_of(found):
            absent = {key: of_nobody(value) if isinstance(value, str) else value for key, value in request.items()}
            theirs = desk.admin.refused(method, request).must_be(NOT_FOUND, "NOT_FOUND")
            assert theirs.answer == desk.admin.refused(method, absent).answer, method
        assert [each for each in every_task(desk.admin) if each.playbook == playbook] == [kept]
        assert {customer_of(each) for each in runs(desk.admin, playbook)} == {other}
        assert name not in {customer_of(each) for each in deliveries(desk.admin)}
        questions.wait_for(desk.admin, desk.admin.call("PrivacyService/LiftRestriction", {"name": name}).facts_position)
        assert every_task(desk.admin, name) == [found] and (runs(desk.admin, name)[-1:], deliveries(desk.admin, name)) == whole
    assert state(complete(desk.sue, found)) == "DONE"


def whoever_is_merged_away_has_no_tasks_until_it_is_somebody_again(desk, new):
    one = come(desk.admin, f"{new}-one")
    [found] = made(desk.admin, new, task())
    merged = desk.admin.call("IdentityService/MergeCustomers", {"customer": one, "other": customer_of(found)})
    questions.wait_for(desk.admin, merged.facts_position)
    for method, request in reads_of(found):
        desk.admin.refused(method, request).must_be(NOT_FOUND, "NOT_FOUND")
    assert every_task(desk.admin, one) == [] and found.name not in {each.name for each in every_task(desk.admin, EVERYBODY)}
    questions.wait_for(desk.admin, desk.admin.call("IdentityService/UnmergeCustomers", {"name": merged.name}).facts_position)
    assert every_task(desk.admin, customer_of(found)) == [found]


def of_whoever_is_erased_no_run_no_task_and_no_delivery_is_left(desk, new):
    with running(desk.admin, task(), wait(60)) as waits, running(desk.admin, webhook(new, "refusing"), task()) as ends, running(
            desk.admin, END, holdout_basis_points=9_999) as holds:
        people = come(desk.admin, *(f"{new}-{n}" for n in range(3)))
        for name in people:
            until_deliveries(desk.admin, name, "FAILED")
            waiting.until(lambda name=name: len(every_task(desk.admin, name)) == 2, "both tasks")
        kept, erased, restricted = people
        before = runs(desk.admin, kept), every_task(desk.admin, kept), deliveries(desk.admin, kept)
        found = {name: every_task(desk.admin, name)[0] for name in people}
        claim(desk.sue, found[erased])
        answer = desk.admin.call("PrivacyService/RestrictProcessing", {"name": restricted})
        questions.wait_for(desk.admin, answer.facts_position)
        for name in (erased, restricted):
            begun = desk.admin.call("PrivacyService/EraseCustomer", {"name": name}).name
            erasure = lambda begun=begun: desk.admin.call("PrivacyService/GetErasure", {"name": begun})  # noqa: E731
            waiting.until(lambda erasure=erasure: erasure().HasField("complete_time"), "the erasure")
            assert {receipt.service: receipt.remaining for receipt in erasure().receipts} == dict.fromkeys(SERVICES, 0)
            for method, request in reads_of(found[name]):
                desk.admin.refused(method, request).must_be(NOT_FOUND, "NOT_FOUND")
        assert (runs(desk.admin, kept), every_task(desk.admin, kept), deliveries(desk.admin, kept)) == before
        for playbook in (waits, ends, holds):
            assert {customer_of(run) for run in runs(desk.admin, playbook)} == {kept}
        assert not {customer_of(each) for each in (*every_task(desk.admin), *deliveries(desk.admin))} & {erased, restricted}
        # Who comes by the same name is somebody else.
        again = come(desk.admin, f"{new}-1")
        assert again not in people
        until_deliveries(desk.admin, again, "FAILED")
        assert {customer_of(run) for run in runs(desk.admin, ends)} == {kept, again}
