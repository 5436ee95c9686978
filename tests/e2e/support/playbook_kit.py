"""Playbooks by hand: made of steps, started, triggered by somebody new, and what tests ask again and again of runs, tasks and deliveries."""
import contextlib
import uuid

from support import facts, questions, waiting
from support.refusals import INVALID_ARGUMENT
from support.score_models import enum_name

SERVICE, TASKS, DELIVERIES = "PlaybookService", "TaskService", "DeliveryService"
CREATE, GET, LIST, UPDATE, START, STOP, DELETE = (f"{SERVICE}/{verb}" for verb in (
    "CreatePlaybook", "GetPlaybook", "ListPlaybooks", "UpdatePlaybook", "StartPlaybook", "StopPlaybook", "DeletePlaybook"))
RUNS, OUTCOME, TEMPLATES = (f"{SERVICE}/{verb}" for verb in ("ListPlaybookRuns", "GetPlaybookOutcome", "ListPlaybookTemplates"))
NEXT_ACTIONS, ENROL = f"{SERVICE}/GetNextBestActions", f"{SERVICE}/EnrolCustomer"
GET_POLICY, UPDATE_POLICY = f"{SERVICE}/GetContactPolicy", f"{SERVICE}/UpdateContactPolicy"
LIST_TASKS, GET_TASK, CLAIM, COMPLETE = (f"{TASKS}/{verb}" for verb in ("ListTasks", "GetTask", "ClaimTask", "CompleteTask"))
LIST_DELIVERIES, REPLAY = f"{DELIVERIES}/ListDeliveries", f"{DELIVERIES}/ReplayDelivery"
TASK_STATES = ("OPEN", "CLAIMED", "DONE")
OUTCOMES = ("SUCCESS", "REACHED", "NOT_REACHED", "DECLINED", "DROPPED")
# Runs of which nothing more is done.
ENDED = ("REFUSED", "HELD_OUT", "FINISHED", "STOPPED")
EVERYBODY = "customers/-"
# What no refusal tells again.
SECRET = "kestrel7731"
ABSENT = "customers/987654"

# What begins runs: somebody new has bought lately; somebody complains.
COMES = {"stage": {"stages": ["STAGE_NEW"]}}
COMPLAINS = {"warning": {"kinds": ["WARNING_KIND_COMPLAINT"]}}
# Nothing that happens in tests.
NEVER = {"warning": {"kinds": ["WARNING_KIND_FEWER_INTERACTIONS"], "min_severity": "WARNING_SEVERITY_HIGH"}}
# Nothing at all: somebody enrols customers.
BY_HAND = {"manual": {}}
END = {"end": {}}


# -- what playbooks are made of -------------------------------------------------------------------------------------------

def wait(seconds):
    return {"wait": {"duration": f"{seconds}s"}}


def branch(segment, otherwise=""):
    return {"branch": {"segment": segment, "otherwise": otherwise}}


def task(title="call back", kind="CALL", **fields):
    return {"task": {"kind": f"TASK_KIND_{kind}", "title": title} | fields}


def webhook(message="hello", endpoint="messages"):
    return {"webhook": {"endpoint": endpoint, "message": message}}


def text(subject="Hello", body="How are you?", **fields):
    """What an e-mail says to everybody, unless it is in a `language`."""
    return {"subject": subject, "body": body} | fields


def email(message="hello", *texts, endpoint="care"):
    return {"email": {"endpoint": endpoint, "message": message, "texts": list(texts or [text()])}}


def variant(*steps, variant_id="a", weight=1):
    return {"id": variant_id, "weight": weight, "steps": list(steps)}


def playbook(*steps, trigger=None, purpose="SUPPORT", **fields):
    """A playbook of one variant of these steps, for everybody new, unless it is said otherwise."""
    made = {"trigger": trigger or COMES, "purpose": f"PURPOSE_{purpose}", "variants": [variant(*(steps or (END,)))]}
    return made | fields


# -- what is done with them -----------------------------------------------------------------------------------------------

def create(client, playbook_id=None, *steps, **fields):
    """A new playbook, as a draft."""
    request = {"playbook_id": playbook_id or f"p-{uuid.uuid4().hex}", "playbook": playbook(*steps, **fields)}
    return client.call(CREATE, request)


def get(client, name):
    return client.call(GET, {"name": getattr(name, "name", name)})


def start(client, name, **fields):
    return client.call(START, {"name": getattr(name, "name", name)} | fields)


def stop(client, name):
    return client.call(STOP, {"name": getattr(name, "name", name)})


def begin(client, *steps, **fields):
    """A new playbook that runs."""
    return start(client, create(client, None, *steps, **fields))


@contextlib.contextmanager
def running(client, *steps, **fields):
    """A new playbook that runs, and is stopped afterwards."""
    begun = begin(client, *steps, **fields)
    try:
        yield begun.name
    finally:
        stop(client, begun)


def enrol(client, customer, name, **fields):
    """The run of a customer that is put into a playbook by hand."""
    return client.call(ENROL, {"parent": customer, "playbook": getattr(name, "name", name)} | fields)


def state(message):
    return enum_name(message, "state")


def listed(client, method, field, parent, states=(), **request):
    """All of a list, of some states where they are given."""
    kind = client.api.method(method).request.DESCRIPTOR.fields_by_name["states"].enum_type
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    asked = {"parent": parent, "states": [f"{prefix}{each}" for each in states], "page_size": 1_000} | request
    return questions.everything(client, method, field, **asked)


def runs(client, parent, states=(), **request):
    """The runs of a playbook or of a customer, the last begun first."""
    return listed(client, RUNS, "runs", getattr(parent, "name", parent), states, **request)


def tasks(client, parent=EVERYBODY, states=(), **request):
    """The tasks of a customer or of everybody, the last made first; those that go on, unless it is asked otherwise."""
    return listed(client, LIST_TASKS, "tasks", parent, states, **request)


def every_task(client, parent=EVERYBODY, **request):
    return tasks(client, parent, TASK_STATES, **request)


def deliveries(client, parent=EVERYBODY, states=(), **request):
    """The deliveries of a customer or of everybody, the last made first."""
    return listed(client, LIST_DELIVERIES, "deliveries", parent, states, **request)


def is_refused(client, method, request, fields, reason="INVALID_FIELD"):
    """Asserts that a request is refused by one of some fields, and that nothing of it is told again."""
    refusal = client.refused(method, request).must_be(INVALID_ARGUMENT, reason)
    [violation] = refusal.bad_request.field_violations
    assert violation.field in (fields if isinstance(fields, set) else {fields}), (violation, refusal)
    assert SECRET not in str(refusal), "a value is told again"


def customer_of(message):
    """The customer of a run, a task or a delivery."""
    return "/".join(message.name.split("/")[:2])


def of_nobody(name):
    """The name as it would be of a customer who never was."""
    return name.replace("/".join(name.split("/")[:2]), ABSENT)


# -- whom they are for ----------------------------------------------------------------------------------------------------

def newcomer(who, owner="", days=1, **fields):
    """The rows of somebody new who has bought lately."""
    attributes = {"kind": "CUSTOMER_KIND_CUSTOMER"} | ({"owner": owner} if owner else {})
    return [facts.customer(who, attributes=attributes), facts.order(who, f"{who}-o", days=days, **fields)]


def come(client, *people, instant=facts.AS_OF, **fields):
    """Takes newcomers in, whom every service then knows: their names, or that of the only one."""
    rows = [row for who in people for row in newcomer(who, **fields)]
    questions.wait_for(client, questions.take_in(client, *rows).facts_position, instant)
    names = [questions.find(client, who) for who in people]
    return names[0] if len(names) == 1 else names


def until_ended(client, parent, count=1, seconds=waiting.SECONDS):
    """The runs of a playbook or of a customer, once there are so many and nothing more is done in any."""
    def ended():
        found = runs(client, parent)
        return found if len(found) >= count and all(state(each) in ENDED for each in found) else None
    return waiting.until(ended, lambda: f"{count} runs of {parent} to end: {runs(client, parent)[:5]}", seconds)


def until_deliveries(client, parent, *states, seconds=waiting.SECONDS):
    """The deliveries of a customer, once there are as many as states are given, and these are theirs, in any order."""
    def settled():
        found = deliveries(client, parent)
        return found if sorted(map(state, found)) == sorted(states) else None
    return waiting.until(settled, lambda: f"{states}, not {deliveries(client, parent)}", seconds)


def delivery(client, name):
    """A delivery as it is now, of its name."""
    [found] = [each for each in deliveries(client, "/".join(name.split("/")[:2])) if each.name == name]
    return found


def consent(client, name, said="GIVEN", purpose="MARKETING"):
    client.call("PrivacyService/SetConsent", {"name": name, "purpose": f"PURPOSE_{purpose}", "state": f"CONSENT_STATE_{said}"})


def set_policy(client, **fields):
    """Says what holds for all playbooks."""
    return client.call(UPDATE_POLICY, {"policy": fields})
