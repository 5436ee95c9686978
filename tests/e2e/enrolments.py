"""Customers who are put into a playbook by hand: by whom, when no run begins and why; and that a run is like any other, of which neither chance nor
the outcome knows the difference."""
import json
import uuid
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace

import pytest

from support import facts, playbooks, policies, questions, quintile, segments, waiting
from support.playbook_kit import (ABSENT, BY_HAND, COMES, DELETE, END, ENROL, NEVER, OUTCOME, begin, come, consent, create, customer_of,
                                  deliveries, enrol, every_task, is_refused, runs, set_policy, start, state, stop, task, until_ended, variant, wait,
                                  webhook)
from support.playbook_witness import DAY, Book, Person, Run, Witness, side_of
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED
from support.retention import instant_of

REASONS = ("AGAIN", "CONSENT", "AUDIENCE", "EXCLUDED")
MONEY = {"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}
CROWD = 24
HALVES = {"holdout_basis_points": 5_000, "variants": [variant(END), variant(END, variant_id="b", weight=2)], "goal_days": 1}
NORTH = "segments/north"
# Whom playbooks are for: what there is of them besides that nothing that happens begins their runs.
BOOKS = {"all": {}, "marketing": {"purpose": "MARKETING"}, "north": {"audience": NORTH}, "south": {"excluded": NORTH},
         "both": {"audience": NORTH, "purpose": "MARKETING"}}
# Who is where, what it says, and who looks after it.
PEOPLE = {"nina": ("north", {"MARKETING": "GIVEN"}, "ann"), "norm": ("north", {"SUPPORT": "OBJECTED"}, "ann"), "sue": ("south", {}, "ann"),
          "sam": ("south", {"MARKETING": "GIVEN"}, "bob")}


@pytest.fixture(scope="module")
def shop(backend):
    """A suite of which no test but those of a company of its own moves the time, with people, a segment, and colleagues of several roles."""
    with playbooks.messages("messages") as hook, quintile.suite(backend, webhooks=[hook.table]) as suite:
        admin = suite.client("admin")
        rows = [facts.customer(who, attributes={"kind": "CUSTOMER_KIND_CUSTOMER", "region": region, "owner": owner})
                for who, (region, _, owner) in PEOPLE.items()]
        rows += [facts.order(who, f"{who}-o", cents=20_000) for who in PEOPLE]
        questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
        names = {who: questions.find(admin, who) for who in PEOPLE}
        for who, (_, said, _) in PEOPLE.items():
            for purpose, word in said.items():
                consent(admin, names[who], word, purpose)
        segments.create(admin, "north", 'region == "north"')
        segments.create(admin, "rich", "net_revenue >= 100")
        # A fact that comes later is behind what they said.
        questions.wait_for(admin, questions.take_in(admin, facts.interaction("sam", "visit")).facts_position)
        policies.publish(admin, policies.role_like(admin, "admin", "no-money", forms=MONEY))
        yield SimpleNamespace(suite=suite, admin=admin, names=names, marketer=suite.client("marketer"), ann=suite.client("sales", subject="ann"),
                              service=suite.client("service"), analyst=suite.client("analyst"),
                              poor=policies.client_of(suite, "no-money", "ann"))


@pytest.fixture
def office(backend):
    """A small company of a test's own, whose clock it moves."""
    with playbooks.company(backend) as company:
        yield company


def none_begins(client, customer, name, words):
    """Asserts that nobody is put into a playbook, for this reason, and that there is no run of it."""
    # Those that there are may go on meanwhile.
    before = [run.name for run in runs(client, name)]
    refusal = client.refused(ENROL, {"parent": customer, "playbook": name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert words in refusal.message, refusal
    assert [run.name for run in runs(client, name)] == before


# -- a run ----------------------------------------------------------------------------------------------------------------

def nothing_but_somebody_begins_a_playbook_by_hand_alone(shop, new):
    ours, other = begin(shop.admin, task("call"), trigger=BY_HAND), begin(shop.admin, END, trigger=COMES)
    name = come(shop.admin, new, owner="ann")
    until_ended(shop.admin, other)
    stop(shop.admin, other)
    assert runs(shop.admin, ours) == [], "who comes begins the one and not the other"
    begun = enrol(shop.ann, name, ours)
    assert (begun.playbook, begun.version, begun.enrolled_by, customer_of(begun)) == (ours.name, 1, "ann", name)
    assert (state(begun), instant_of(begun.trigger_time)) == ("TRIGGERED", facts.AS_OF)
    [run] = until_ended(shop.admin, ours)
    assert (run.name, run.enrolled_by, state(run), run.variant, run.steps_done) == (begun.name, "ann", "FINISHED", "a", 1)
    [made] = [each for each in every_task(shop.admin, name) if each.run == run.name]
    assert (made.title, made.assignee, made.playbook) == ("call", "ann", ours.name)
    stop(shop.admin, ours)


def a_run_that_was_triggered_is_nobodys_enrolment(shop, new):
    ours = begin(shop.admin, END)
    come(shop.admin, new)
    [run] = until_ended(shop.admin, ours)
    stop(shop.admin, ours)
    assert run.enrolled_by == ""


@pytest.mark.parametrize("role", ["admin", "service", "ann", "marketer"])
def whoever_may_puts_customers_into_playbooks(shop, role):
    ours = begin(shop.admin, END, trigger=NEVER)
    run = enrol(getattr(shop, role), shop.names["nina"], ours)
    assert run.enrolled_by and until_ended(shop.admin, ours)[0].name == run.name
    stop(shop.admin, ours)


def chance_and_the_outcome_know_no_difference(office):
    """The witness knows on which side everybody is by the number alone; every third of them buys."""
    client, content = office.client, playbooks.content(BY_HAND, **HALVES)
    made = start(client, client.call(playbooks.CREATE, {"playbook_id": "halves", "playbook": content}))
    numbers = dict(zip((f"c-{n}" for n in range(CROWD)), office.come(*(f"c-{n}" for n in range(CROWD))), strict=True))
    for number in numbers.values():
        enrol(client, f"customers/{number}", made)
    office.settle(made.name)
    book = Book(made.name, 1, content)
    sides = {key: side_of(book, number) for key, number in numbers.items()}
    found = {int(customer_of(run).split("/")[1]): (state(run), run.variant) for run in runs(client, made)}
    assert found == {numbers[key]: ("FINISHED" if side else "HELD_OUT", side) for key, side in sides.items()}
    assert {"", "a", "b"} == set(sides.values()), "or nothing is compared"
    office.move(office.now + timedelta(hours=2))
    buyers = list(numbers)[::3]
    office.buy(*buyers, ago=timedelta(hours=1), cents=700)
    office.move(office.now + 2 * DAY, made.name)
    told = client.call(OUTCOME, {"name": made.name})
    counted = {arm.variant: (arm.customers, arm.converted, facts.cents_of(arm.revenue)) for arm in (told.holdout, *told.variants)}
    those, bought = Counter(sides.values()), Counter(sides[key] for key in buyers)
    assert counted == {side: (those[side], bought[side], 700 * bought[side]) for side in ("", "a", "b")}
    assert told.waiting_customers == 0


# -- when none begins -----------------------------------------------------------------------------------------------------

def refusal_of(shop, who, book, again):
    """Why the witness refuses to put a customer into a playbook, whom it has put there before where it is asked `again`."""
    region, said, owner = PEOPLE[who]
    words = lambda word: {purpose for purpose, each in said.items() if each == word}  # noqa: E731
    person = Person(int(shop.names[who].split("/")[1]), owner, consents=words("GIVEN"), objections=words("OBJECTED"),
                    segments={NORTH} if region == "north" else set())
    witness, content = Witness(), playbooks.content(BY_HAND, END, **BOOKS[book])
    for _ in range(again + 1):
        refusal = witness.refusal(Run(person, Book("playbooks/x", 1, content), facts.AS_OF))
        witness.trigger(person, Book("playbooks/x", 1, content), facts.AS_OF)
        witness.go(facts.AS_OF)
    return refusal


def a_run_that_would_be_refused_does_not_begin_and_the_reason_is_told(shop):
    found = set()
    for book, fields in BOOKS.items():
        ours = begin(shop.admin, END, **({"trigger": BY_HAND} | fields))
        for who, name in shop.names.items():
            for again in (False, True):
                refusal = refusal_of(shop, who, book, again)
                found.add(refusal)
                if refusal == "UNSPECIFIED":
                    enrol(shop.admin, name, ours)
                    waiting.until(lambda: all(state(run) == "FINISHED" for run in runs(shop.admin, ours)), "the run to end")
                else:
                    none_begins(shop.admin, name, ours.name, refusal)
        stop(shop.admin, ours)
    assert found == {"UNSPECIFIED", *REASONS}


def one_run_goes_on_at_a_time_and_another_begins_when_the_days_are_over(office):
    client = office.client
    [number] = office.come("who")
    name = f"customers/{number}"
    made = playbooks.running(client, "again", BY_HAND, playbooks.wait(DAY), again_after_days=3)
    first = enrol(client, name, made)
    none_begins(client, name, made, "AGAIN")
    office.settle(made)
    none_begins(client, name, made, "AGAIN")
    office.move(office.now + 2 * DAY, made)
    none_begins(client, name, made, "AGAIN")
    office.move(office.now + DAY, made)
    second = enrol(client, name, made)
    assert [run.name for run in runs(client, made)] == [second.name, first.name]


def what_is_triggered_while_somebody_is_enrolled_is_refused(office):
    """The other way round, too: the run by hand is one of the customer's runs."""
    client = office.client
    made = playbooks.running(client, "meets", playbooks.on_stages("NEW"), playbooks.wait(DAY), playbooks.task())
    [number] = office.come("who")
    enrol(client, f"customers/{number}", made)
    office.buy("who")
    waiting.until(lambda: len(runs(client, made)) == 2, "the purchase to trigger it")
    office.settle(made)
    assert [(playbooks.what_became(run), run.enrolled_by != "") for run in runs(client, made)] == [("AGAIN", False), ("ACTIVE", True)]


def a_playbook_that_does_not_run_begins_nothing_and_a_pause_holds_for_everybody(shop):
    name, draft = shop.names["nina"], create(shop.admin, None, END, trigger=BY_HAND)
    none_begins(shop.admin, name, draft.name, "does not run")
    start(shop.admin, draft)
    set_policy(shop.admin, paused=True)
    none_begins(shop.admin, name, draft.name, "stand still")
    set_policy(shop.admin)
    stop(shop.admin, draft)
    none_begins(shop.admin, name, draft.name, "does not run")


def contacts_are_capped_as_of_any_run(shop, new):
    """One contact in a week: the second is withheld, and the run goes on."""
    name = come(shop.admin, new)
    set_policy(shop.admin, max_contacts=1, cap_days=7)
    for withheld in (0, 1):
        ours = begin(shop.admin, webhook(), trigger=BY_HAND)
        enrol(shop.admin, name, ours)
        [run] = until_ended(shop.admin, ours)
        # What is on its way when a playbook is stopped is cancelled, and was no contact.
        waiting.until(lambda: all(state(each) == "DELIVERED" for each in deliveries(shop.admin, name)), "the message to arrive")
        stop(shop.admin, ours)
        assert run.withheld == withheld and len(deliveries(shop.admin, name)) == 1
    set_policy(shop.admin)


# -- once ---------------------------------------------------------------------------------------------------------------

def a_request_that_is_known_again_begins_nothing_new(shop, new):
    ours, request_id = begin(shop.admin, END, trigger=BY_HAND), str(uuid.uuid4())
    one, other = come(shop.admin, f"{new}-1", f"{new}-2")
    begun = enrol(shop.admin, one, ours, request_id=request_id)
    [run] = until_ended(shop.admin, ours)
    assert enrol(shop.service, one, ours, request_id=request_id) == run and run.name == begun.name
    shop.admin.refused(ENROL, {"parent": other, "playbook": ours.name, "request_id": request_id}).must_be(FAILED_PRECONDITION, "BODY_CONFLICT")
    stop(shop.admin, ours)
    assert enrol(shop.admin, one, ours, request_id=request_id) == run, "also where none would begin any more"
    assert [each.name for each in runs(shop.admin, ours)] == [run.name]
    # Whoever is erased is not told of again, nor put into anything.
    shop.admin.call("PrivacyService/EraseCustomer", {"name": one})
    request = {"parent": one, "playbook": ours.name, "request_id": request_id}
    waiting.until(lambda: not runs(shop.admin, ours), "its run to be erased")
    shop.admin.refused(ENROL, request).must_be(NOT_FOUND, "NOT_FOUND")


def a_request_is_forgotten_with_the_run_that_is_deleted_with_its_playbook(shop, new):
    """Else it would outlive the customer: whom it was for is known by the run alone."""
    name, request_id = come(shop.admin, new), str(uuid.uuid4())
    for _ in range(2):
        ours = begin(shop.admin, END, trigger=BY_HAND)
        enrol(shop.admin, name, ours, request_id=request_id)
        until_ended(shop.admin, ours)
        stop(shop.admin, ours)
        shop.admin.call(DELETE, {"name": ours.name})


def one_begins(shop, requests):
    method = shop.admin.api.method(ENROL)
    calls = [shop.admin.api.callable(method).future(shop.admin.message(method, request), metadata=shop.admin.metadata(), timeout=waiting.SECONDS)
             for request in requests]
    assert sorted(call.code().name for call in calls) == ["FAILED_PRECONDITION"] * (len(requests) - 1) + ["OK"]
    [name] = {request["playbook"] for request in requests}
    assert len(runs(shop.admin, name)) == 1
    stop(shop.admin, name)


def of_many_who_enrol_somebody_at_once_one_does(shop, new):
    ours, name = begin(shop.admin, wait(3_600), trigger=BY_HAND), come(shop.admin, new)
    one_begins(shop, [{"parent": name, "playbook": ours.name}] * 8)


def of_many_who_are_enrolled_at_once_by_one_request_one_is(shop, new):
    ours, request_id = begin(shop.admin, wait(3_600), trigger=BY_HAND), str(uuid.uuid4())
    names = come(shop.admin, *(f"{new}-{number}" for number in range(8)))
    one_begins(shop, [{"parent": name, "playbook": ours.name, "request_id": request_id} for name in names])


# -- who asks, and for whom -----------------------------------------------------------------------------------------------

def whom_a_role_does_not_reach_is_not_there(shop):
    ours = begin(shop.admin, END, trigger=BY_HAND)
    for client, out_of_reach in ((shop.ann, "sam"), (shop.marketer, "sue")):
        nobody = client.refused(ENROL, {"parent": ABSENT, "playbook": ours.name}).must_be(NOT_FOUND, "NOT_FOUND")
        assert client.refused(ENROL, {"parent": shop.names[out_of_reach], "playbook": ours.name}).answer == nobody.answer
    shop.admin.refused(ENROL, {"parent": shop.names["sue"], "playbook": "playbooks/absent"}).must_be(NOT_FOUND, "NOT_FOUND")
    shop.analyst.refused(ENROL, {"parent": shop.names["sue"], "playbook": ours.name}).must_be(PERMISSION_DENIED, "METHOD_DENIED")
    assert runs(shop.admin, ours) == []
    stop(shop.admin, ours)


@pytest.mark.parametrize("side", ["audience", "excluded"])
def whether_somebody_is_in_a_segment_of_money_is_told_to_nobody_who_reads_none(shop, side):
    """Whether a run begins would tell."""
    ours = begin(shop.admin, END, trigger=BY_HAND, **{side: "segments/rich"})
    request = {"parent": shop.names["nina"], "playbook": ours.name}
    shop.poor.refused(ENROL, request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    if side == "audience":
        enrol(shop.admin, shop.names["nina"], ours)
        # Nor does it tell more once there is a run.
        shop.poor.refused(ENROL, request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    else:
        none_begins(shop.admin, shop.names["nina"], ours.name, "EXCLUDED")
    stop(shop.admin, ours)


def a_request_that_makes_no_sense_is_refused_by_its_field(shop):
    name, ours = shop.names["nina"], "playbooks/ours"
    for customer in ("", "customers/-", "customers/0", "customers/x", f"{name}/stage", "playbooks/ours"):
        is_refused(shop.admin, ENROL, {"parent": customer, "playbook": ours}, "parent")
    for playbook in ("", "playbooks/", "playbooks/-", "playbooks/A", "offers/ours", "ours"):
        is_refused(shop.admin, ENROL, {"parent": name, "playbook": playbook}, "playbook")
    refusal = shop.admin.refused(ENROL, {"parent": name, "playbook": ours, "request_id": "one"})
    refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")


def the_command_puts_a_customer_into_a_playbook(shop, new):
    ours, name = begin(shop.admin, END, trigger=BY_HAND), come(shop.admin, new, owner="ann")
    number, playbook_id = name.split("/")[1], ours.name.split("/")[1]
    caller = ("--as", "sales", "--as-subject", "ann")
    told = json.loads(shop.suite.run("playbooks", "enrol", playbook_id, number, "-o", "json", *caller))
    [run] = until_ended(shop.admin, ours)
    assert (told["name"], told["playbook"], told["enrolledBy"], run.name) == (run.name, ours.name, "ann", run.name)
    assert "by hand alone" in shop.suite.run("playbooks", "show", playbook_id)
    assert run.name in shop.suite.run("playbooks", "runs", ours.name)
    stop(shop.admin, ours)
