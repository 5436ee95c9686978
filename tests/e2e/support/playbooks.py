"""Playbooks: made, started and stopped, what they did and brought about, and the small company whose clock tests of them move."""
import base64
import contextlib
import json
import math
import os
import socket
import threading
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

from support import facts, policies, questions, quintile, retention, waiting
from support.noons import START
from support.playbook_witness import ASSIGNED, DAY
from support.retention import HOUR, instant_of
from support.warnings import complaint

SERVICE, TASKS, DELIVERIES = "PlaybookService", "TaskService", "DeliveryService"
CREATE, UPDATE, BEGIN, STOP, DELETE = (f"{SERVICE}/{verb}Playbook" for verb in ("Create", "Update", "Start", "Stop", "Delete"))
NEXT = f"{SERVICE}/GetNextBestActions"
RUN_STATES = ("TRIGGERED", "REFUSED", "HELD_OUT", "ACTIVE", "FINISHED", "STOPPED")
TASK_STATES = ("OPEN", "CLAIMED", "DONE")
ENDPOINT = "messages"
MINUTE = HOUR / 60
SOON = 30  # Seconds for what is to be done well within one, on a machine that has other things to do.
STAGES = ("LEAD", "NEW", "ACTIVE", "LOYAL", "AT_RISK", "DORMANT", "CHURNED", "REACTIVATED")


# -- what a playbook is made of -------------------------------------------------------------------------------------------

def seconds(duration):
    """A duration as requests have it."""
    return f"{int(duration.total_seconds())}s"


def wait(duration, **fields):
    return {"wait": {"duration": seconds(duration)}} | fields


def task(title="Call", kind="CALL", due=None, **fields):
    """A task; with an `id` where a branch goes on at it."""
    made = {"kind": f"TASK_KIND_{kind}", "title": title} | ({"due_after": seconds(due)} if due else {})
    return {"task": made | {key: value for key, value in fields.items() if key != "id"}} | ({"id": fields["id"]} if "id" in fields else {})


def webhook(message="hello", endpoint=ENDPOINT, **fields):
    return {"webhook": {"endpoint": endpoint, "message": message}} | fields


def branch(segment, otherwise="", **fields):
    return {"branch": {"segment": segment, "otherwise": otherwise}} | fields


def end(**fields):
    return {"end": {}} | fields


def variant(variant_id, *steps, weight=1):
    return {"id": variant_id, "weight": weight, "steps": list(steps)}


def on_stages(*stages, before=()):
    """What begins runs when a customer comes into a stage."""
    return {"stage": {"stages": [f"STAGE_{each}" for each in stages], "from_stages": [f"STAGE_{each}" for each in before]}}


def on_warnings(*kinds, severity=None):
    least = {"min_severity": f"WARNING_SEVERITY_{severity}"} if severity else {}
    return {"warning": {"kinds": [f"WARNING_KIND_{each}" for each in kinds]} | least}


def on_segment(name, leaves=False):
    return {"segment": {"segment": name, "leaves": leaves}}


def content(trigger, *steps, variants=(), purpose="SUPPORT", **fields):
    """A playbook of one variant with these steps, or of the variants that are given."""
    made = [*variants] or [variant("a", *(steps or [task()]))]
    return {"trigger": trigger, "purpose": f"PURPOSE_{purpose}", "variants": made} | fields


# -- playbooks ------------------------------------------------------------------------------------------------------------

def create(client, playbook_id, *arguments, **fields):
    return client.call(CREATE, {"playbook_id": playbook_id, "playbook": content(*arguments, **fields)})


def update(client, name, *arguments, **fields):
    return client.call(UPDATE, {"playbook": content(*arguments, **fields) | {"name": name}})


def start(client, name, **fields):
    return client.call(BEGIN, {"name": name} | fields)


def running(client, playbook_id, *arguments, **fields):
    """The name of a new playbook, which runs."""
    return start(client, create(client, playbook_id, *arguments, **fields).name).name


def stop(client, name):
    """Stops a playbook, and waits until nothing of it is under way."""
    stopped = client.call(STOP, {"name": name})
    waiting.until(lambda: not runs_of(client, name, ("TRIGGERED", "ACTIVE")), f"{name} to have nothing under way", SOON)
    return stopped


def get(client, name):
    return client.call(f"{SERVICE}/GetPlaybook", {"name": name})


def delete(client, name, **fields):
    client.call(DELETE, {"name": name} | fields)


def outcome_of(client, name, version=0):
    return client.call(f"{SERVICE}/GetPlaybookOutcome", {"name": name, "version": version})


def next_actions(client, customer):
    return client.call(NEXT, {"customer": customer})


def set_policy(client, hours=None, zones=None, **fields):
    """Says what holds for all playbooks, and nothing else: `hours` are those (from, to) of quiet, `zones` those of countries."""
    said = dict(fields)
    if hours:
        said |= {"quiet_from_hour": hours[0], "quiet_to_hour": hours[1]}
    said["zones"] = [{"country": country, "zone": zone} for country, zone in (zones or {}).items()]
    return client.call(f"{SERVICE}/UpdateContactPolicy", {"policy": said})


def policy_of(client):
    return client.call(f"{SERVICE}/GetContactPolicy")


# -- what they did --------------------------------------------------------------------------------------------------------

def enum_name(message, name):
    """The name of the value of an enum's field, without what its zero begins with."""
    kind = message.DESCRIPTOR.fields_by_name[name].enum_type
    return kind.values_by_number[getattr(message, name)].name.removeprefix(kind.values_by_number[0].name.removesuffix("UNSPECIFIED"))


def runs_of(client, parent, states=(), **request):
    """The runs of a playbook or of a customer, the last begun first."""
    asked = {"parent": parent, "states": [f"RUN_STATE_{each}" for each in states], "page_size": 1_000} | request
    return questions.everything(client, f"{SERVICE}/ListPlaybookRuns", "runs", **asked)


def tasks_of(client, parent="customers/-", states=TASK_STATES, **request):
    asked = {"parent": parent, "states": [f"TASK_STATE_{each}" for each in states], "page_size": 1_000} | request
    return questions.everything(client, f"{TASKS}/ListTasks", "tasks", **asked)


def deliveries_of(client, parent="customers/-", **request):
    return questions.everything(client, f"{DELIVERIES}/ListDeliveries", "deliveries", **{"parent": parent, "page_size": 1_000} | request)


def number_of(message):
    """The number of the customer in a name."""
    return int(message.name.split("/")[1])


def assert_uplift(told, ought):
    """A measured difference is that of the witness, to nine digits; its bounds are told where there are enough for them."""
    for name, value in zip(("value", "low", "high"), ought, strict=True):
        assert name == "value" or told.HasField(name) == (value is not None), (name, told)
        assert value is None or math.isclose(getattr(told, name), value, rel_tol=1e-9, abs_tol=1e-12), (name, told, ought)


def instant_or_none(message, name):
    return instant_of(getattr(message, name)) if message.HasField(name) else None


def plain(run):
    """As the witness tells a run."""
    return (number_of(run), run.playbook, run.version, instant_of(run.trigger_time), enum_name(run, "state"), enum_name(run, "refusal"), run.variant,
            run.steps_done, instant_or_none(run, "next_step_time"), run.withheld)


def plain_task(each):
    return (number_of(each), each.playbook, enum_name(each, "kind"), each.title, each.note, each.assignee, instant_of(each.create_time),
            instant_or_none(each, "due_time"))


def plain_delivery(each):
    return number_of(each), each.playbook, each.endpoint, each.message, instant_of(each.create_time)


def what_became(run):
    """The state, or why it was refused."""
    return enum_name(run, "refusal") if enum_name(run, "state") == "REFUSED" else enum_name(run, "state")


def begun(client, name):
    """[(customer, trigger_time)] of a playbook's runs, in the order of time."""
    return in_order((number_of(each), instant_of(each.trigger_time)) for each in runs_of(client, name))


def in_order(pairs):
    """What begins with a customer and an instant, in the order of time."""
    return sorted(pairs, key=lambda each: (each[1], each[0]))


def whole(office, name):
    """[(customer, trigger_time, what became of it)] of a playbook's runs, in the order of time."""
    return in_order((number_of(each), instant_of(each.trigger_time), what_became(each)) for each in runs_of(office.client, name))


def until_equal(read, expected, seconds=SOON):
    """Waits until what is read is what is expected: what is done within a second is not done at once."""
    def what():
        found = read()
        if isinstance(found, list) and isinstance(expected, list):
            left, right = ([each for each in one if each not in other][:8] for one, other in ((expected, found), (found, expected)))
            return f"{len(expected)} and not {len(found)}; of which only in the first {left}, only in the second {right}"
        return f"{expected}, and not {found}"
    waiting.until(lambda: read() == expected, what, seconds)


def assert_begun(office, name, pairs):
    """Exactly these runs have begun: (customer, trigger_time)."""
    until_equal(lambda: begun(office.client, name), in_order(pairs))


def unsettled(client, names, now):
    """Runs of playbooks that have something to be done by now."""
    def is_due(each, name):
        return each.HasField(name) and instant_of(getattr(each, name)) <= now

    def waits(each):
        state = enum_name(each, "state")
        if state == "TRIGGERED" or (state == "ACTIVE" and is_due(each, "next_step_time")):
            return True
        return state in ASSIGNED and is_due(each, "measure_time") and not each.HasField("converted")
    return [each for name in names for each in runs_of(client, name) if waits(each)]


def undelivered(client):
    """Deliveries that are being sent: tests of playbooks have an endpoint that takes everything."""
    return deliveries_of(client, states=["DELIVERY_STATE_WAITING"])


# -- a company ------------------------------------------------------------------------------------------------------------

class Company:
    """A tenant of a suite, with its clock, and what its administrator does. `now` is business time."""

    def __init__(self, suite, tenant=None, zone=None, now=START):
        self.suite, self.tenant, self.now, self.events = suite, tenant, now, 0
        if tenant:
            suite.client("admin").call("TenantService/CreateTenant", {"tenant_id": tenant, "tenant": {"time_zone": zone} if zone else {}})
            waiting.until(lambda: policies.is_known(self.client), f"{tenant} to be known", policies.FORCE_SECONDS)

    @property
    def client(self):
        return self.suite.client("admin", self.tenant)

    def name(self, key):
        return questions.find(self.client, key)

    def number(self, key):
        return int(self.name(key).split("/")[1])

    def take_in(self, *rows):
        """Takes rows in, and waits for the end of the chain."""
        position = 0
        for first in range(0, len(rows), 9_000):
            position = questions.take_in(self.client, *rows[first:first + 9_000]).facts_position
        retention.wait_for(self.client, position, self.now)

    def passing(self, change):
        """Waits for the end of the chain to know of a change that was answered with the position of its fact."""
        retention.wait_for(self.client, change.facts_position, self.now)
        return change

    def set_clock(self, instant):
        """Moves time, and waits for nobody."""
        self.suite.client("admin").call("ClockService/SetAsOf", {"as_of": facts.text_of(instant)})
        self.now = instant

    def move(self, instant, *names):
        """Moves time, and waits until every service has followed and these playbooks have done what is due."""
        self.set_clock(instant)
        retention.wait_for(self.client, 0, instant)
        self.settle(*names)

    def settle(self, *names):
        waiting.until(lambda: not unsettled(self.client, names, self.now), lambda: f"at {self.now}: {unsettled(self.client, names, self.now)[:5]}",
                      SOON)

    def restart(self, end="kill"):
        """Ends the suite in one way or the other, and starts it again."""
        getattr(self.suite, end)()
        self.suite.as_of = facts.text_of(self.now)
        self.suite.start()
        retention.wait_for(self.client, 0, self.now)

    # -- its customers

    def come(self, *keys, **attributes):
        """New customers, of whom nobody has an order."""
        self.take_in(*(lead(key, **attributes) for key in keys))
        return [self.number(key) for key in keys]

    def come_many(self, count, attributes_of):
        """So many at once."""
        self.take_in(*(lead(f"c-{n}", **attributes_of(n)) for n in range(count)))

    def say(self, key, **attributes):
        """Something else is said of a customer."""
        self.take_in(lead(key, **attributes))

    def buy(self, *keys, ago=HOUR, cents=1_000):
        """An order of each, of so long ago."""
        self.events += 1
        at = facts.text_of(self.now - ago)
        self.take_in(*(facts.order(key, f"{key}-{self.events}", order_time=at, cents=cents) for key in keys))

    def complain(self, *keys, is_opened=True):
        self.events += 1
        at = facts.text_of(self.now - MINUTE * (2 if is_opened else 1))
        self.take_in(*(complaint(key, f"{key}-case-{self.events}", 1, is_opened, interaction_time=at) for key in keys))

    def rate(self, *keys, kind="CSAT", score=2):
        """Scores of a moment ago, low ones unless it is said otherwise."""
        self.events += 1
        said = {"feedback_time": facts.text_of(self.now - MINUTE), "kind": f"FEEDBACK_KIND_{kind}", "score": score}
        self.take_in(*(facts.feedback(key, f"{key}-score-{self.events}", **said) for key in keys))

    def consent(self, words):
        """Customers say something: {(key, purpose): `GIVEN`, `OBJECTED` or `WITHDRAWN`}. Waits until their records have it."""
        names = {key: self.name(key) for key, _ in words}
        for (key, purpose), word in words.items():
            self.client.call("PrivacyService/SetConsent", {"name": names[key], "purpose": f"PURPOSE_{purpose}", "state": f"CONSENT_STATE_{word}"})
        waiting.until(lambda: self.has_heard(words, names), f"records to have {words}")

    def has_heard(self, words, names):
        records = {f"customers/{each.customer_id}": each.attributes for each in
                   questions.everything(self.client, "StageService/ListRecords", "records", page_size=1_000)}
        purposes = next(iter(records.values())).DESCRIPTOR.fields_by_name["consents"].enum_type.values_by_name

        def holds(key, purpose, word):
            said, number = records[names[key]], purposes[f"PURPOSE_{purpose}"].number
            return (number in said.consents, number in said.objections) == (word == "GIVEN", word == "OBJECTED")
        return all(holds(*each, word) for each, word in words.items())


def lead(key, **attributes):
    """The row of somebody who has no order."""
    return facts.customer(key, attributes={"kind": "CUSTOMER_KIND_CUSTOMER"} | attributes)


def after(days):
    """So many days behind the start, which is a noon."""
    return START + days * DAY


@contextlib.contextmanager
def company(backend, webhooks=(), tenant=None, zone=None, now=START, mail=()):
    """A company on an empty suite of its own."""
    with quintile.suite(backend, as_of=facts.text_of(now), webhooks=webhooks, mail=mail) as suite:
        yield Company(suite, tenant, zone, now)


# -- an endpoint ----------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def messages(name=ENDPOINT, status=204):
    """An endpoint that answers everything alike: what it has `received`, and what the configuration has to say of it."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802 - as the library has it.
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            """Says nothing."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    try:
        yield SimpleNamespace(received=received, table={"name": name, "url": f"http://127.0.0.1:{server.server_port}/hook", "secret": secret})
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def nobody(name):
    """What the configuration has to say of an endpoint at which nobody answers, and that is tried again much later."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield {"name": name, "url": f"http://127.0.0.1:{bound.getsockname()[1]}/hook", "secret": base64.b64encode(os.urandom(32)).decode(),
               "retry_after_seconds": 3_600}


def now_in(zone, *moment):
    """An instant by the clock on the wall of a zone."""
    return datetime(*moment, tzinfo=zone).astimezone(timezone.utc)
