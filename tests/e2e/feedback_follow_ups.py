"""Tasks of playbooks that follow up complaints or low scores: due until these are to be answered, and, where the customer was reached, the call or
meeting by which that was done, once."""
from datetime import timedelta

import pytest

from support import facts, playbooks, questions, waiting
from support.playbook_kit import COMPLAINS, COMPLETE, OUTCOMES
from support.playbooks import MINUTE, on_stages, on_warnings, runs_of, running, start, tasks_of
from support.retention import HOUR, instant_of
from support.score_models import enum_name

TARGETS, TIMES, OVERDUE = (f"ResponseService/{each}" for each in ("UpdateResponseTargets", "GetResponseTimes", "ListOverdueFeedback"))
TARGET_HOURS, LATER_HOURS = 24, 30
ANSWERING = {"SUCCESS", "REACHED"}


@pytest.fixture
def office(backend):
    """A small company of a test's own, whose clock it moves."""
    with playbooks.company(backend) as company:
        yield company


def come_and_buy(office, *keys):
    """New customers, leads at first: nobody is warned of those."""
    office.come(*keys)
    office.buy(*keys)


def set_targets(client, complaints, low_scores=0):
    client.call(TARGETS, {"targets": {"complaint_hours": complaints, "low_score_hours": low_scores}})


def tasks_for(client, playbook, name, count=1):
    """The tasks of a customer by a playbook, the first made first, once there are so many."""
    found = lambda: [each for each in tasks_of(client, name) if each.playbook == playbook]  # noqa: E731
    waiting.until(lambda: len(found()) == count, lambda: f"{count} tasks of {playbook}: {found()}")
    return found()[::-1]


def complete(client, task, outcome):
    return client.call(COMPLETE, {"name": task.name, "outcome": f"TASK_OUTCOME_{outcome}"})


def told_of(client, name):
    """[(kind, event id, when, about)] of the interactions of a customer that came of tasks."""
    found = questions.everything(client, "FactService/ListCustomerFacts", "facts", parent=name, kind="FACT_KIND_INTERACTION", page_size=1_000)
    found = [each.interaction for each in found if "/tasks/" in each.interaction.event_id]
    return [(enum_name(each, "kind"), each.event_id, instant_of(each.interaction_time), each.about) for each in found]


def until_told(client, name, *expected):
    waiting.until(lambda: told_of(client, name) == list(expected), lambda: f"{expected}, not {told_of(client, name)}")


# -- until when -----------------------------------------------------------------------------------------------------------

def a_task_is_due_when_what_it_follows_up_is_to_be_answered_unless_it_says_its_own_time(office):
    client = office.client
    steps = [playbooks.task("own", due=3 * HOUR), playbooks.wait(HOUR), playbooks.task("target")]
    made = {key: running(client, key, trigger, *steps) for key, trigger in (
        ("complaints", COMPLAINS), ("scores", on_warnings("LOW_SCORE")), ("others", on_warnings("COMPLAINT", "SILENCE")),
        ("leads", on_stages("LEAD")))}
    times = {"complaints": 1, "scores": 3}
    come_and_buy(office, "one", "two", "three")
    due = {}
    for key, hours in (("one", 48), ("two", TARGET_HOURS), ("three", 0)):
        set_targets(client, hours, times["scores"] * hours)
        office.complain(key)
        office.rate(key)
        name = office.name(key)
        waiting.until(lambda name=name: {run.playbook for run in runs_of(client, name)} == set(made.values()), "complaint and score to begin runs")
        office.move(office.now + 2 * HOUR, *made.values())
        for book, playbook in made.items():
            [run] = [each for each in runs_of(client, name) if each.playbook == playbook]
            own, target = tasks_for(client, playbook, name, 2)
            begun = instant_of(run.trigger_time)
            assert instant_of(own.due_time) == begun + 3 * HOUR and instant_of(target.create_time) == begun + HOUR
            assert {each.follows_up_feedback for each in (own, target)} == {book in times}
            due[key, book] = instant_of(target.due_time) - begun if target.HasField("due_time") else None
    assert due == {(key, book): timedelta(hours=times[book] * hours) if hours and book in times else None
                   for key, hours in (("one", 48), ("two", TARGET_HOURS), ("three", 0)) for book in made}


# -- what it came to ------------------------------------------------------------------------------------------------------

def a_call_that_reached_the_customer_answers_what_it_had_said_before(office):
    client, people = office.client, {outcome: f"who-{outcome.lower()}" for outcome in OUTCOMES}
    set_targets(client, TARGET_HOURS, TARGET_HOURS)
    made = running(client, "care", COMPLAINS, playbooks.task("call"))
    come_and_buy(office, *people.values())
    office.complain(*people.values())
    said = facts.text_of(office.now - MINUTE)
    office.take_in(*(facts.feedback(key, f"{key}-said", feedback_time=said, kind="FEEDBACK_KIND_NPS", score=3) for key in people.values()))
    tasks = {outcome: tasks_for(client, made, office.name(key))[0] for outcome, key in people.items()}
    office.move(office.now + LATER_HOURS * HOUR, made)
    assert len(client.call(OVERDUE).feedback) == 2 * len(OUTCOMES)
    # Those that answer come last: by then what the others come to would be there.
    for outcome in sorted(OUTCOMES, key=lambda each: each in ANSWERING):
        ended = complete(client, tasks[outcome], outcome)
        assert instant_of(ended.end_time) == office.now
        called = [("CALL", ended.name, office.now, made)] if outcome in ANSWERING else []
        until_told(client, office.name(people[outcome]), *called)
    office.move(office.now + HOUR, made)
    for outcome, key in people.items():
        assert len(told_of(client, office.name(key))) == (outcome in ANSWERING), outcome
    by = {enum_name(each, "kind"): each for each in client.call(TIMES).kinds}
    for kind in ("COMPLAINT", "LOW_SCORE"):
        told = by[kind]
        counts = (told.feedback, told.answered, told.in_time, told.late, told.open_in_time, told.overdue)
        assert counts == (len(OUTCOMES), len(ANSWERING), 0, len(ANSWERING), 0, len(OUTCOMES) - len(ANSWERING)), (kind, told)
    late = {each.customer for each in client.call(OVERDUE).feedback}
    assert late == {office.name(key) for outcome, key in people.items() if outcome not in ANSWERING}


def a_visit_is_a_meeting_and_neither_a_message_nor_a_call_of_another_playbook_is_told(office):
    client = office.client
    kinds = [playbooks.task("write", kind="MESSAGE"), playbooks.task("else", kind="OTHER"), playbooks.task("visit", kind="VISIT")]
    made, other = running(client, "care", COMPLAINS, *kinds), running(client, "leads", on_stages("LEAD"), playbooks.task("call"))
    come_and_buy(office, "who")
    office.complain("who")
    name = office.name("who")
    *others, visit = [*tasks_for(client, other, name), *tasks_for(client, made, name, 3)]
    for each in others:
        complete(client, each, "SUCCESS")
    complete(client, visit, "SUCCESS")
    until_told(client, name, ("MEETING", visit.name, office.now, made))
    assert [each.follows_up_feedback for each in (*others, visit)] == [False, True, True, True]


def a_call_is_told_once_whoever_is_killed(office):
    client = office.client
    made = running(client, "care", COMPLAINS, playbooks.task("call"))
    come_and_buy(office, "who")
    office.complain("who")
    name = office.name("who")
    [task] = tasks_for(client, made, name)
    ended = complete(client, task, "REACHED")
    expected = ("CALL", task.name, office.now, made)
    office.restart()
    until_told(office.client, name, expected)
    assert complete(office.client, task, "REACHED").SerializeToString() == ended.SerializeToString(), "by two clients, whose messages are never equal"
    office.restart()
    # What is told later is behind it.
    office.come("another")
    assert told_of(office.client, name) == [expected]


def somebody_who_is_enrolled_by_hand_is_called_about_a_complaint_too(office):
    """The playbook is for complaints, whoever begins a run of it."""
    client = office.client
    made = running(client, "care", COMPLAINS, playbooks.task("call"))
    [number] = office.come("who")
    run = client.call("PlaybookService/EnrolCustomer", {"parent": f"customers/{number}", "playbook": made})
    [task] = tasks_for(client, made, f"customers/{number}")
    assert (task.run, task.follows_up_feedback) == (run.name, True)
    assert instant_of(task.due_time) == instant_of(run.trigger_time) + TARGET_HOURS * HOUR, "24 hours at first"
    complete(client, task, "SUCCESS")
    until_told(client, f"customers/{number}", ("CALL", task.name, office.now, made))


def templates_of_feedback_leave_the_time_to_the_target(office):
    client = office.client
    by = {each.name: each.playbook for each in client.call("PlaybookService/ListPlaybookTemplates").templates}
    for template in ("complaint-follow-up", "low-score-follow-up"):
        [step] = by[f"playbookTemplates/{template}"].variants[0].steps
        assert not step.task.HasField("due_after"), template


def a_call_by_the_template_of_low_scores_answers_them_in_time_or_late(office):
    client, target, begin = office.client, 72, office.now - HOUR
    office.suite.run("feedback", "targets", "--low-score", target)
    made = client.call("PlaybookService/CreatePlaybook", {"playbook_id": "scores", "template": "playbookTemplates/low-score-follow-up"}).name
    start(client, made)
    scores = {"soon": ("CSAT", 1), "late": ("STARS", 2), "never": ("NPS", 6)}
    come_and_buy(office, *scores, "pleased")
    for key, (kind, score) in scores.items():
        office.rate(key, kind=kind, score=score)
    office.rate("pleased", kind="NPS", score=7)
    tasks = {}
    for key in scores:
        [tasks[key]] = tasks_for(client, made, office.name(key))
        [run] = runs_of(client, office.name(key))
        assert (tasks[key].follows_up_feedback, instant_of(tasks[key].due_time)) == (True, instant_of(run.trigger_time) + target * HOUR)
    office.move(office.now + LATER_HOURS * HOUR, made)
    complete(client, tasks["soon"], "SUCCESS")
    until_told(client, office.name("soon"), ("CALL", tasks["soon"].name, office.now, made))
    office.move(office.now + target * HOUR, made)
    assert {each.customer for each in client.call(OVERDUE).feedback} == {office.name("late"), office.name("never")}
    complete(client, tasks["late"], "REACHED")
    until_told(client, office.name("late"), ("CALL", tasks["late"].name, office.now, made))
    office.move(office.now + HOUR, made)
    [told] = [each for each in client.call(TIMES, {"start_time": facts.text_of(begin)}).kinds if enum_name(each, "kind") == "LOW_SCORE"]
    assert (told.feedback, told.answered, told.in_time, told.late, told.overdue) == (3, 2, 1, 1, 1)
    assert [each.customer for each in client.call(OVERDUE).feedback] == [office.name("never")]
    assert not tasks_of(client, office.name("pleased"))
    # Whom nobody has to answer is called, as soon as it can be.
    office.suite.run("feedback", "targets", "--low-score", 0)
    come_and_buy(office, "whenever")
    office.rate("whenever")
    [task] = tasks_for(client, made, office.name("whenever"))
    assert task.follows_up_feedback and not task.HasField("due_time")
