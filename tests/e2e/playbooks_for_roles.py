"""Playbooks, tasks and deliveries as roles may use them: who calls what, of whom it is told, with which money, and what a caller may start."""
from datetime import timedelta
from types import SimpleNamespace

import pytest

from support import facts, policies, questions, quintile, receiver, segments, waiting
from support.playbook_kit import (ABSENT, CLAIM, COMPLETE, CREATE, DELETE, END, ENROL, EVERYBODY, GET, GET_POLICY, GET_TASK, LIST, LIST_DELIVERIES,
                                  LIST_TASKS, NEVER, NEXT_ACTIONS, OUTCOME, REPLAY, RUNS, START, STOP, TEMPLATES, UPDATE, UPDATE_POLICY, branch,
                                  come, consent, create, customer_of, deliveries, every_task, get, playbook, runs, start, state, stop, task, tasks,
                                  until_deliveries, until_ended, variant, webhook)
from support.refusals import NOT_FOUND, PERMISSION_DENIED

READERS = {"admin", "service", "support", "sales", "marketer", "analyst", "data-engineer"}
ROLES = sorted(READERS | {"auditor"})
MAKERS, DOERS = {"admin", "service", "marketer"}, {"admin", "service", "support", "sales", "marketer"}
MAY = {**dict.fromkeys((GET, LIST, TEMPLATES, RUNS, GET_POLICY, LIST_TASKS, GET_TASK), READERS),
       **dict.fromkeys((CREATE, UPDATE, START, STOP, DELETE, UPDATE_POLICY), MAKERS), **dict.fromkeys((CLAIM, COMPLETE), DOERS),
       **dict.fromkeys((OUTCOME, NEXT_ACTIONS), MAKERS | {"analyst", "data-engineer"}), LIST_DELIVERIES: MAKERS | {"support", "data-engineer"},
       REPLAY: {"admin", "service", "data-engineer"}, ENROL: MAKERS | {"sales"}}
REDACTED = {"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}
OWN = {"FINANCIAL": {"form": "MASK_FORM_CLEAR", "condition": "owner == caller.subject"}}
# Who looks after whom, whether it consents to marketing, and what it spends once the playbook is begun.
PEOPLE = {"ann-1": ("ann", True, 30_000), "ann-2": ("ann", False, 0), "bob-1": ("bob", True, 4_100), "bob-2": ("bob", False, 0),
          "none-1": ("", True, 500)}
REACHED = {"sales": {"ann-1", "ann-2"}, "scoped": {"ann-1", "ann-2"}, "marketer": {"ann-1", "bob-1", "none-1"}, "support": set(PEOPLE)}
# Those of them who list deliveries.
DELIVERED = ("scoped", "marketer", "support")
NOW = facts.AS_OF + timedelta(days=1)
STEPS = [task("one"), task("two"), webhook("hello", "refusing")]


@pytest.fixture(scope="module")
def town(backend):
    """Customers with runs that are measured, some held out; a playbook of money and one without; and clients of roles."""
    with quintile.suite(backend, webhooks=receiver.refusing()) as suite:
        admin = suite.client("admin")
        treated = start(admin, create(admin, "treated", *STEPS, goal_days=1)).name
        held = start(admin, create(admin, "held", END, goal_days=1, holdout_basis_points=9_999)).name
        names = {who: come(admin, who, owner=owner) for who, (owner, *_) in PEOPLE.items()}
        for name in names.values():
            until_ended(admin, name, 2)
            until_deliveries(admin, name, "FAILED")
        for each in (treated, held):
            stop(admin, each)
        for who, (_, consents, _) in PEOPLE.items():
            if consents:
                consent(admin, names[who])
        rows = [facts.order(who, f"{who}-later", days=0.5, cents=cents) for who, (*_, cents) in PEOPLE.items() if cents]
        questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
        questions.set_clock(admin, NOW)
        waiting.until(lambda: all(run.HasField("converted") for run in runs(admin, treated)), "all to be measured")
        make_segments(admin)
        policies.publish(admin, policies.role_like(admin, "admin", "scoped", without=policies.TAKING_IN, row_scope="owner == caller.subject"),
                         policies.role_like(admin, "admin", "no-money", forms=REDACTED), policies.role_like(admin, "admin", "own-money", forms=OWN))
        clients = {"sales": suite.client("sales", subject="ann"), "marketer": suite.client("marketer"), "support": suite.client("support"),
                   **{role: policies.client_of(suite, role, "ann") for role in ("scoped", "no-money", "own-money")}}
        town = SimpleNamespace(suite=suite, admin=admin, names=names, clients=clients, treated=treated, held=held)
        waiting.until(lambda: whose(town, tasks(clients["marketer"])) == REACHED["marketer"], "consents to reach lifecycle")
        yield town


def make_segments(admin):
    """By money, by something else, and by segments of these; the like as labels."""
    for segment_id, rule in {"rich": "net_revenue >= 100", "frequent": "orders >= 2", "nested": 'segment("rich") || orders >= 9',
                             "beside": 'segment("frequent") && orders >= 1'}.items():
        segments.create(admin, segment_id, rule)
    segments.label_set(admin, "money", {"rich": "net_revenue >= 100"})
    segments.label_set(admin, "orders", {"many": "orders >= 2"})


def whose(town, found):
    people = {name: who for who, name in town.names.items()}
    return {people[customer_of(each)] for each in found if customer_of(each) in people}


# -- who may call ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("role", ROLES)
def each_role_does_what_it_may_and_nothing_else(town, role, new):
    client = town.suite.client(role, subject=None if role == "service" else "ann")
    draft, running, gone = (create(town.admin, f"{kind}{new}", trigger=NEVER, purpose="MARKETING") for kind in "drg")
    by_hand = create(town.admin, f"h{new}", trigger=NEVER)
    for each in (running, by_hand):
        start(town.admin, each)
    [found, ended] = some_tasks(town, new)
    dead = deliveries(town.admin, town.names["ann-1"])[0]
    requests = {CREATE: {"playbook_id": f"n{new}", "playbook": playbook(trigger=NEVER)}, GET: {"name": draft.name}, LIST: {}, TEMPLATES: {},
                UPDATE: {"playbook": playbook(trigger=NEVER, purpose="MARKETING", description="x") | {"name": draft.name}},
                START: {"name": draft.name}, STOP: {"name": running.name}, DELETE: {"name": gone.name}, RUNS: {"parent": town.names["ann-1"]},
                OUTCOME: {"name": running.name}, NEXT_ACTIONS: {"customer": town.names["ann-1"]}, GET_POLICY: {}, UPDATE_POLICY: {"policy": {}},
                LIST_TASKS: {"parent": EVERYBODY}, GET_TASK: {"name": found.name}, CLAIM: {"name": found.name},
                COMPLETE: {"name": ended.name, "outcome": 2}, LIST_DELIVERIES: {"parent": EVERYBODY}, REPLAY: {"name": dead.name},
                ENROL: {"parent": town.names["ann-1"], "playbook": by_hand.name}}
    assert requests.keys() == MAY.keys()
    for method, request in requests.items():
        if role not in MAY[method]:
            client.refused(method, request).must_be(PERMISSION_DENIED, "METHOD_DENIED")
        else:
            assert client.call(method, request).ByteSize() or method == DELETE, method
    until_deliveries(town.admin, town.names["ann-1"], "FAILED")
    assert state(get(town.admin, draft)) == ("RUNNING" if role in MAKERS else "DRAFT")
    for each in (draft, running, by_hand):
        stop(town.admin, each)


def some_tasks(town, new):
    """Two tasks of somebody new, which is ann's and consents."""
    made = start(town.admin, create(town.admin, f"t{new}", task("one"), task("two")))
    name = come(town.admin, f"{new}-t", owner="ann", instant=NOW)
    consent(town.admin, name)
    until_ended(town.admin, made)
    stop(town.admin, made)
    marketer = town.clients["marketer"]
    return waiting.until(lambda: [each for each in tasks(marketer) if customer_of(each) == name], "its consent to reach lifecycle")


def a_purpose_that_is_not_the_scopes_own_is_started_by_nobody_with_a_scope(town, new):
    """A marketer reaches those who consent to marketing: that is for whom it starts playbooks."""
    marketer = town.clients["marketer"]
    for purpose in ("MARKETING", "SUPPORT"):
        made = marketer.call(CREATE, {"playbook_id": f"{purpose.lower()}{new}", "playbook": playbook(trigger=NEVER, purpose=purpose)})
        if purpose == "MARKETING":
            assert state(start(marketer, made)) == "RUNNING"
        else:
            marketer.refused(START, {"name": made.name}).must_be(PERMISSION_DENIED, {"METHOD_DENIED", "FIELD_DENIED"})
            assert get(town.admin, made) == made
            # Somebody else starts it, and whoever may stop playbooks stops it.
            assert state(start(town.admin, made)) == "RUNNING"
        assert state(stop(marketer, made)) == "STOPPED"


PLACES = {"trigger": lambda name: {"trigger": {"segment": {"segment": name}}},
          "leaves": lambda name: {"trigger": {"segment": {"segment": name, "leaves": True}}},
          "audience": lambda name: {"audience": name}, "excluded": lambda name: {"excluded": name},
          "branch": lambda name: {"variants": [variant(END), variant(END, branch(name), variant_id="b", weight=0)]}}


@pytest.mark.parametrize("role", ["no-money", "own-money"])
@pytest.mark.parametrize("place", PLACES)
def a_segment_of_money_is_used_by_nobody_who_may_not_read_it(town, new, role, place):
    """Whom a playbook is done for would tell who is in it."""
    client = town.clients[role]
    for number, name in enumerate(("segments/rich", "segments/nested", "labelSets/money/labels/rich")):
        fields = {"trigger": NEVER} | PLACES[place](name)
        made = client.call(CREATE, {"playbook_id": f"m{number}{new}", "playbook": playbook(**fields)})
        client.refused(START, {"name": made.name}).must_be(PERMISSION_DENIED, {"METHOD_DENIED", "FIELD_DENIED"})
        assert get(town.admin, made) == made
        assert state(start(town.admin, made)) == "RUNNING"
        stop(town.admin, made)
    for number, name in enumerate(("segments/frequent", "segments/beside", "labelSets/orders/labels/many")):
        made = client.call(CREATE, {"playbook_id": f"o{number}{new}", "playbook": playbook(**({"trigger": NEVER} | PLACES[place](name)))})
        assert state(start(client, made)) == "RUNNING"
        stop(client, made)


# -- of whom --------------------------------------------------------------------------------------------------------------

def lists_of(role):
    """The lists that a role may read: (method, how it is read)."""
    return [(LIST_TASKS, every_task), (RUNS, runs), *([(LIST_DELIVERIES, deliveries)] if role in DELIVERED else [])]


@pytest.mark.parametrize("role", REACHED)
@pytest.mark.parametrize("page_size", [1, 2, 1_000])
def lists_have_those_of_whom_a_role_reaches_and_no_others(town, role, page_size):
    """Pages may be short, or empty."""
    client, reached = town.clients[role], {town.names[who] for who in REACHED[role]}
    ours = lambda found: [each.name for each in found if customer_of(each) in set(town.names.values())]  # noqa: E731
    for read in (every_task, *([deliveries] if role in DELIVERED else [])):
        whole = [each for each in read(town.admin) if customer_of(each) in reached]
        assert ours(read(client, page_size=page_size)) == [each.name for each in whole]
    for name in (town.treated, town.held):
        whole = [each for each in runs(town.admin, name) if customer_of(each) in reached]
        assert len(whole) == len(reached) and runs(client, name, page_size=page_size) == whole
    for method, read in lists_of(role):
        for name in reached:
            assert read(client, name, page_size=page_size) == read(town.admin, name), method


@pytest.mark.parametrize("role", ["sales", "scoped", "marketer"])
def of_whom_a_role_does_not_reach_nothing_is_there(town, role):
    client = town.clients[role]
    nobody = client.refused(LIST_TASKS, {"parent": ABSENT}).must_be(NOT_FOUND, "NOT_FOUND")
    for who in set(PEOPLE) - REACHED[role]:
        for method, _ in lists_of(role):
            assert client.refused(method, {"parent": town.names[who]}).answer == nobody.answer, method
        dead = deliveries(town.admin, town.names[who])[0]
        if role == "scoped":
            assert client.refused(REPLAY, {"name": dead.name}).answer == nobody.answer
            assert client.refused(REPLAY, {"name": dead.name.replace(town.names[who], ABSENT)}).answer == nobody.answer
            assert deliveries(town.admin, town.names[who]) == [dead]


@pytest.mark.parametrize("role", ["sales", "marketer", "scoped"])
def pages_are_full_of_those_whom_a_role_reaches(town, role):
    """Where they end does not tell how many others there are."""
    client = town.clients[role]
    for name in (town.treated, town.held):
        whole = runs(client, name)
        for size in (1, 2):
            page = client.call(RUNS, {"parent": name, "page_size": size})
            assert list(page.runs) == whole[:size]
    whole = every_task(client)
    for size in (1, 2, 3):
        assert list(client.call(LIST_TASKS, {"parent": EVERYBODY, "page_size": size, "states": [1, 2, 3]}).tasks) == whole[:size]


# -- with which money -----------------------------------------------------------------------------------------------------

def what_was_spent_is_told_to_who_reads_money(town):
    by = {name: who for who, name in town.names.items()}
    for role in ("sales", "marketer", "support", "scoped"):
        for run in runs(town.clients[role], town.treated):
            _, _, cents = PEOPLE[by[customer_of(run)]]
            assert (facts.cents_of(run.revenue), run.converted) == (cents, cents > 0)
    told = town.admin.call(OUTCOME, {"name": town.treated})
    [arm] = told.variants
    total = sum(cents for *_, cents in PEOPLE.values())
    assert (arm.variant, arm.customers, arm.converted, facts.cents_of(arm.revenue)) == ("a", 5, 3, total)
    assert (told.holdout.customers, told.waiting_customers) == (0, 0)
    assert [(each.variant, each.verdict, each.HasField("uplift")) for each in told.effects] == [("", 0, False), ("a", 0, False)]
    for role in ("analyst", "data-engineer", "service"):
        assert town.suite.client(role).call(OUTCOME, {"name": town.treated}) == told


@pytest.mark.parametrize("role", ["marketer", "scoped"])
def an_outcome_is_of_those_whom_a_role_reaches(town, role):
    client, spent = town.clients[role], [PEOPLE[who][2] for who in REACHED[role]]
    told = client.call(OUTCOME, {"name": town.treated})
    [arm] = told.variants
    assert (arm.customers, arm.converted, facts.cents_of(arm.revenue)) == (len(spent), sum(map(bool, spent)), sum(spent))
    held = client.call(OUTCOME, {"name": town.held}).holdout
    assert (held.customers, held.converted, facts.cents_of(held.revenue)) == (arm.customers, arm.converted, sum(spent))
    # Nor do those whom it does not reach wait to be measured.
    made = start(town.admin, create(town.admin, None, END, goal_days=7)).name
    come(town.admin, *(f"{role}-{owner}" for owner in ("bob", "none")), owner="bob", instant=NOW)
    until_ended(town.admin, made, 2)
    stop(town.admin, made)
    assert (town.admin.call(OUTCOME, {"name": made}).waiting_customers, client.call(OUTCOME, {"name": made}).waiting_customers) == (2, 0)


@pytest.mark.parametrize("role", ["no-money", "own-money"])
def what_was_spent_is_not_told_to_who_reads_none(town, role):
    client, by = town.clients[role], {name: who for who, name in town.names.items()}
    for name in (town.treated, town.held):
        for seen, whole in zip(runs(client, name), runs(town.admin, name), strict=True):
            is_own = role == "own-money" and PEOPLE[by[customer_of(whole)]][0] == "ann"
            assert whole.HasField("revenue") and seen.HasField("revenue") == is_own
            whole.ClearField("revenue")
            seen.ClearField("revenue")
            assert seen == whole
    seen, whole = (each.call(OUTCOME, {"name": town.treated}) for each in (client, town.admin))
    arms = [seen.holdout, *seen.variants]
    assert not any(arm.HasField("revenue") for arm in arms) and all(arm.HasField("revenue") for arm in whole.variants)
    assert [(arm.variant, arm.customers, arm.converted) for arm in arms] == [
        (arm.variant, arm.customers, arm.converted) for arm in (whole.holdout, *whole.variants)]


def whose_money_was_shown_to_whom_is_on_record(town, new):
    subject = f"s-{new[:12]}"
    runs(town.suite.client("support", subject=subject), town.treated)
    method = town.suite.api().method_on("lifecycle", "AuditService/ListAuditEvents")

    def on_record(name):
        events = questions.everything(town.admin, method, "events", subject=subject, customer=name, kind="AUDIT_KIND_READ", page_size=1_000)
        return {each.method.split("/")[-1] for each in events}
    for name in town.names.values():
        waiting.until(lambda name=name: on_record(name) == {"ListPlaybookRuns"}, lambda name=name: f"{name}: {on_record(name)}")
