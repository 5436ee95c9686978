"""Requests about playbooks, tasks and deliveries, for those who call every RPC; and what is planted for them."""
import uuid

from support import facts, playbook_kit, questions, waiting
from support.playbook_kit import END, NEVER, playbook, task, webhook

PLANTED, MEASURED, ENROLLED = "playbooks/planted", "playbooks/planted-measured", "playbooks/planted-enrolled"
# The request that puts the canary into the last of them: repeated, it is answered alike to everybody.
REQUEST = "7731bbbb-0000-4000-8000-000000000000"
# As each call claims one; the last of a variant's thirty steps are webhooks.
TASKS_PLANTED, DELIVERIES_PLANTED = 27, 3
# So many that either side has a hundred who buy, by nearly four deviations.
BUYERS, GONE = 260, 60


# -- what is planted ------------------------------------------------------------------------------------------------------

def begin_planted(admin):
    """Starts a playbook for who complains, which is the canary alone: it is measured after a day."""
    steps = [task(f"case {n}", note="as it was said") for n in range(TASKS_PLANTED)]
    steps += [webhook(f"case-{n}", "refusing") for n in range(DELIVERIES_PLANTED)]
    playbook_kit.create(admin, "planted", *steps, trigger=playbook_kit.COMPLAINS, goal_days=1)
    playbook_kit.start(admin, PLANTED)


def until_planted(admin, customer):
    """Waits until the canary's first complaint has done all that it does, and its second one was refused."""
    playbook_kit.until_ended(admin, customer, count=2)
    playbook_kit.until_deliveries(admin, customer, *["FAILED"] * DELIVERIES_PLANTED)
    assert len(playbook_kit.tasks(admin, customer)) == TASKS_PLANTED


def plant_buyers(admin):
    """Many who are new here and have bought before, as often and for as much as people do; half are held out, and all but two of these buy again, so
    that the playbook seems to help. It is stopped before anybody else comes."""
    trigger = {"stage": {"stages": [f"STAGE_{stage}" for stage in ("NEW", "ACTIVE", "LOYAL")]}}
    playbook_kit.create(admin, "planted-measured", END, trigger=trigger, holdout_basis_points=5_000, goal_days=1)
    playbook_kit.start(admin, MEASURED)
    rows = [facts.order(f"buyer-{n}", f"b-{m}", days=3 + m * (5 + 7 * n % 40), cents=500 + 400 * (n % 12) + 150 * m)
            for n in range(BUYERS) for m in range(1 + n % 5)]
    # Whom it is too long ago of come into no playbook.
    rows += [facts.order(f"gone-{n}", f"g-{m}", days=330 - m * (11 + 7 * n % 50), cents=500 + 300 * (n % 11) + 90 * m)
             for n in range(GONE) for m in range(1 + n % 4)]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    playbook_kit.until_ended(admin, MEASURED, BUYERS)
    playbook_kit.stop(admin, MEASURED)
    names = questions.names_of(admin, facts.SOURCE)
    waits = {playbook_kit.customer_of(run) for run in playbook_kit.runs(admin, MEASURED, ["HELD_OUT"])[:2]}
    rows = [facts.order(f"buyer-{n}", "another", cents=500 + 400 * (n % 12) + 11 * (n % 97)) for n in range(BUYERS)
            if names[f"buyer-{n}"] not in waits]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)


def until_measured(admin, customer):
    """Waits, a day later, until whoever was assigned is measured."""
    waiting.until(lambda: outcome(admin).waiting_customers == 0, lambda: f"all to be measured: {outcome(admin)}")
    waiting.until(lambda: any(run.HasField("converted") for run in playbook_kit.runs(admin, customer)), "the canary to be measured")


def run_again(admin):
    """Starts what was measured again, once everybody is there: the canary could be put into it. It comes before what is not measured, of which calls that
    start playbooks leave more and more."""
    told = playbook_kit.start(admin, MEASURED)
    assert told.version == 1, "it was measured"


def enrol_planted(admin, customer):
    """Puts the canary into a playbook by hand, which is stopped again."""
    playbook_kit.create(admin, "planted-enrolled", END, trigger=playbook_kit.BY_HAND, purpose="MARKETING")
    playbook_kit.start(admin, ENROLLED)
    playbook_kit.enrol(admin, customer, ENROLLED, request_id=REQUEST)
    playbook_kit.until_ended(admin, ENROLLED)
    playbook_kit.stop(admin, ENROLLED)


def outcome(admin):
    return admin.call(playbook_kit.OUTCOME, {"name": MEASURED})


# -- what is asked --------------------------------------------------------------------------------------------------------

def create_playbook(_world):
    return {"playbook_id": f"case-{uuid.uuid4().hex}", "playbook": playbook(trigger=NEVER, purpose="MARKETING")}


def draft(world):
    """A new playbook, of nobody."""
    return {"name": world.client("admin").call(playbook_kit.CREATE, create_playbook(world)).name}


def started(world):
    request = draft(world)
    playbook_kit.start(world.client("admin"), request["name"])
    return request


def update_playbook(world):
    return {"playbook": playbook(trigger=NEVER, purpose="MARKETING", description="case") | draft(world)}


def open_task(world, **fields):
    """A task of the canary that nobody does yet."""
    return {"name": playbook_kit.tasks(world.client("admin"), world.customer, ["OPEN"])[0].name} | fields


def any_task(world):
    return {"name": playbook_kit.every_task(world.client("admin"), world.customer)[0].name}


def ended_task(world):
    """A task of the canary that has ended, as whoever ends it likewise may say again. Nobody was reached: there is no fact of it."""
    admin = world.client("admin")
    if not playbook_kit.tasks(admin, world.customer, ["DONE"]):
        admin.call(playbook_kit.COMPLETE, open_task(world, outcome="TASK_OUTCOME_NOT_REACHED"))
    return {"name": playbook_kit.tasks(admin, world.customer, ["DONE"])[0].name, "outcome": "TASK_OUTCOME_NOT_REACHED"}


def dead_letter(world):
    """A delivery of the canary that has failed, as it does each time that it is sent again."""
    admin, failed = world.client("admin"), ["FAILED"]
    return {"name": waiting.until(lambda: playbook_kit.deliveries(admin, world.customer, failed), "a dead letter")[0].name}


# {`Service/Method`: its request}, by who may call them.
READ = {
    playbook_kit.GET: lambda _world: {"name": PLANTED},
    playbook_kit.LIST: lambda _world: {},
    playbook_kit.TEMPLATES: lambda _world: {},
    playbook_kit.RUNS: lambda world: {"parent": world.customer},
    playbook_kit.GET_POLICY: lambda _world: {},
    playbook_kit.LIST_TASKS: lambda world: {"parent": world.customer, "states": [1, 2, 3]},
    playbook_kit.GET_TASK: any_task,
}
MADE = {
    playbook_kit.CREATE: create_playbook,
    playbook_kit.UPDATE: update_playbook,
    playbook_kit.START: draft,
    playbook_kit.STOP: started,
    playbook_kit.DELETE: draft,
    playbook_kit.UPDATE_POLICY: lambda _world: {"policy": {}},
}
PUT_IN = {playbook_kit.ENROL: lambda world: {"parent": world.customer, "playbook": ENROLLED, "request_id": REQUEST}}
DONE = {playbook_kit.CLAIM: open_task, playbook_kit.COMPLETE: ended_task}
COUNTED = {playbook_kit.OUTCOME: lambda _world: {"name": MEASURED}, playbook_kit.NEXT_ACTIONS: lambda world: {"customer": world.customer}}
SENT = {playbook_kit.LIST_DELIVERIES: lambda _world: {"parent": playbook_kit.EVERYBODY}}
SENT_AGAIN = {playbook_kit.REPLAY: dead_letter}
