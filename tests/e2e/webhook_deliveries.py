"""What playbooks tell other systems: the event and its signature, tries under one id, dead letters and what is sent again, what is not sent any
more, and that a suite that is killed loses nothing and says nothing twice in other words."""
import base64
import random
import subprocess
import threading
from collections import Counter
from types import SimpleNamespace

import pytest

from support import canaries, facts, policies, questions, quintile, receiver as receivers, waiting
from support.playbook_kit import (END, EVERYBODY, LIST_DELIVERIES, REPLAY, START, UPDATE, begin, come, create, customer_of, deliveries, delivery, get,
                                  newcomer, of_nobody, running, runs, start, state, stop, until_deliveries, until_ended, wait, webhook)
from support.receiver import CLOSE, ELSEWHERE, HANG, is_signed, listening, new_secret
from support.refusals import FAILED_PRECONDITION, NOT_FOUND
from support.retention import instant_of

TYPE = "quintile.playbook.message"
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
# What a request may carry besides what is documented: how it is sent, and nothing of what it says.
OF_HTTP = {"host", "content-length", "transfer-encoding", "connection", "accept", "accept-encoding", "user-agent"}
DOCUMENTED = {"content-type", "webhook-id", "webhook-timestamp", "webhook-signature"}
# How each is answered in turn before it is answered well.
AGAIN = {"busy": [429], "timeout": [408], "early": [425], "broken": [500], "unknown": [501], "gateway": [502], "away": [503], "late": [504],
         "strange": [599], "cut": [CLOSE], "silent": [HANG], "twice": [503, CLOSE]}
DEAD = (300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 409, 410, 411, 412, 413, 415, 418, 421, 422, 431, 451, 499, 600, 999)
WELL = (200, 201, 202, 203, 204, 205, 206, 226, 299)
PATIENT_SECONDS = 3_600
OTHER = "other"


@pytest.fixture(scope="module")
def post(backend):
    """A suite with two endpoints for everybody: one is tried again soon, the other an hour later; and one of another tenant alone."""
    with listening() as receiver, listening(secret=new_secret(64, prefix="")) as theirs:
        webhooks = [receiver.webhook("messages", retry_after_seconds=1), receiver.webhook("patient", retry_after_seconds=PATIENT_SECONDS),
                    theirs.webhook("theirs", tenant=OTHER, retry_after_seconds=1),
                    {"name": "secure", "url": "https://example.com/hook", "secret": secret_of(24), "tenant": "default"},
                    {"name": "local", "url": "http://localhost:9/", "secret": secret_of(64).removeprefix("whsec_")}]
        with quintile.suite(backend, webhooks=webhooks) as suite:
            admin = suite.client("admin")
            admin.call("TenantService/CreateTenant", {"tenant_id": OTHER})
            other = suite.client("admin", OTHER)
            waiting.until(lambda: policies.is_known(other), "the tenant to be known", policies.FORCE_SECONDS)
            yield SimpleNamespace(suite=suite, admin=admin, other=other, receiver=receiver, theirs=theirs)


def id_of(found, tenant="default"):
    """The id under which a delivery is sent."""
    return f"{tenant}-{found.name.rsplit('/', 1)[1]}"


def event_of(found, version=1, variant="a", tenant="default"):
    """The event that is sent of a delivery."""
    data = {"playbook": found.playbook, "version": version, "variant": variant, "message": found.message,
            "customer": int(customer_of(found).split("/")[1]), "run": found.run, "delivery": found.name}
    return {"specversion": "1.0", "id": id_of(found, tenant), "source": f"/quintile/{tenant}/{found.playbook}", "type": TYPE,
            "subject": customer_of(found), "time": facts.text_of(instant_of(found.create_time)), "datacontenttype": "application/json", "data": data}


def assert_sent(found, arrived, secret, **fields):
    """Each time that a delivery came it was the same, under its id, and signed."""
    assert arrived and {each.id for each in arrived} == {id_of(found, fields.get("tenant", "default"))}
    assert len({each.body for each in arrived}) == 1 and arrived[0].event == event_of(found, **fields)
    assert all((each.method, is_signed(each, secret)) == ("POST", True) for each in arrived)
    stamped = [int(each.headers["webhook-timestamp"]) for each in arrived]
    assert stamped == sorted(stamped)


# -- what is sent ---------------------------------------------------------------------------------------------------------

def the_receiver_knows_signatures_as_others_have_published_them():
    """The examples of two implementations."""
    for secret, webhook_id, timestamp, body, signature in (
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}',
             "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ("whsec_plJ3nmyCDGBKInavdOK15jsl", "msg_loFOjxBNrRLzqYUf", 1731705121, b'{"event_type":"ping","data":{"success":true}}',
             "rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=")):
        assert receivers.signature_of(secret, webhook_id, timestamp, body) == f"v1,{signature}"


def an_event_says_of_a_person_its_number_and_nothing_else(post):
    with running(post.admin, webhook("winback-10"), display_name=canaries.NAME, description=canaries.NOTE):
        name = post.admin.call("CustomerService/CreateCustomer", {"customer": canaries.CUSTOMER}).name
        questions.wait_for(post.admin, questions.take_in(post.admin, facts.order(canaries.SOURCE_ID, "o", cents=77_310)).facts_position)
        [found] = until_deliveries(post.admin, name, "DELIVERED")
    [arrived] = post.receiver.of("winback-10")
    assert_sent(found, [arrived], post.receiver.secret)
    headers = arrived.headers
    assert (arrived.path, headers["content-type"]) == ("/messages", CONTENT_TYPE)
    assert DOCUMENTED <= headers.keys() <= DOCUMENTED | OF_HTTP, headers
    hidden = canaries.FROM_ANALYSTS
    assert canaries.found_in_bytes(arrived.body, hidden) == [] == canaries.found_in_metadata(headers.items(), hidden)
    secrets = [post.admin.token, *(each.secret.removeprefix("whsec_") for each in (post.receiver, post.theirs))]
    assert not any(secret in said for secret in secrets for said in (str(headers), post.suite.log.read_text()))
    # What is signed is this body, under this secret.
    assert not is_signed(arrived._replace(body=arrived.body + b" "), post.receiver.secret)
    assert not is_signed(arrived, post.theirs.secret) and arrived.headers["webhook-signature"].startswith("v1,")
    [run] = runs(post.admin, name)
    assert (found.playbook, found.run, found.endpoint, found.message) == (run.playbook, run.name, "messages", "winback-10")
    assert (instant_of(found.create_time), found.attempts, found.last_status) == (facts.AS_OF, 1, 200)
    assert found.HasField("last_attempt_time") and not found.HasField("next_attempt_time")


def an_event_tells_of_which_variant_and_version_it_is(post, new):
    variants = [{"id": "none", "weight": 0, "steps": [{"end": {}}]}, {"id": "some", "weight": 1, "steps": [webhook(f"v-{new}")]}]
    playbook = create(post.admin, f"p-{new}", variants=variants)
    for version in (1, 2):
        if version == 2:
            changed = policies.as_dict(playbook) | {"description": "another", "etag": ""}
            post.admin.call(UPDATE, {"playbook": changed})
        start(post.admin, playbook)
        try:
            [found] = until_deliveries(post.admin, come(post.admin, f"{new}-{version}"), "DELIVERED")
        finally:
            stop(post.admin, playbook)
        assert_sent(found, post.receiver.of(f"v-{new}")[version - 1:], post.receiver.secret, version=version, variant="some")


def another_tenant_has_an_endpoint_and_a_secret_of_its_own(post, new):
    """Endpoints of no tenant are everybody's."""
    with running(post.other, webhook(new, "theirs"), webhook(f"{new}-2")):
        found = until_deliveries(post.other, come(post.other, new), "DELIVERED", "DELIVERED")
    by = {each.message: each for each in found}
    assert_sent(by[new], post.theirs.of(new), post.theirs.secret, tenant=OTHER)
    assert_sent(by[f"{new}-2"], post.receiver.of(f"{new}-2"), post.receiver.secret, tenant=OTHER)
    assert post.theirs.of(new)[0].path == "/theirs" and post.receiver.of(new) == []


def the_endpoint_of_another_tenant_is_not_there(post, new):
    theirs, absent = (create(post.admin, None, webhook(new, endpoint)) for endpoint in ("theirs", "absent"))
    refused = [post.admin.refused(START, {"name": each.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION") for each in (theirs, absent)]
    assert refused[0].message.replace("theirs", "absent") == refused[1].message
    assert {state(get(post.admin, each)) for each in (theirs, absent)} == {"DRAFT"}
    # Wherever in a playbook it is.
    deep = create(post.admin, None, variants=[{"id": "a", "weight": 1, "steps": [webhook(new)]},
                                              {"id": "b", "steps": [wait(60), {"end": {}}, webhook(new, "theirs")]}])
    post.admin.refused(START, {"name": deep.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


# -- tried again ----------------------------------------------------------------------------------------------------------

def what_is_not_answered_or_not_now_is_tried_again_under_one_id(post, new):
    for message, answers in AGAIN.items():
        post.receiver.say(message, *answers)
    with running(post.admin, *map(webhook, AGAIN)):
        found = until_deliveries(post.admin, come(post.admin, new), *["DELIVERED"] * len(AGAIN))
    assert {each.message for each in found} == AGAIN.keys()
    for each in found:
        arrived = post.receiver.of(each.message)
        assert each.attempts == len(arrived) == len(AGAIN[each.message]) + 1, each
        assert each.last_status == 200 and not each.HasField("next_attempt_time")
        assert_sent(each, arrived, post.receiver.secret)


def what_waits_to_be_tried_again_says_when_and_why(post, new):
    post.receiver.say("refused", 503)
    post.receiver.say("cut-off", CLOSE)
    with running(post.admin, webhook("refused", "patient"), webhook("cut-off", "patient")):
        name = come(post.admin, new)
        waiting.until(lambda: all(each.attempts for each in deliveries(post.admin, name)), "a first try of both")
        found = until_deliveries(post.admin, name, "WAITING", "WAITING")
        assert {each.message: (each.attempts, each.last_status) for each in found} == {"refused": (1, 503), "cut-off": (1, 0)}
        for each in found:
            waits = instant_of(each.next_attempt_time) - instant_of(each.last_attempt_time)
            assert PATIENT_SECONDS * 0.9 <= waits.total_seconds() <= PATIENT_SECONDS * 1.2, each


def what_waits_is_tried_when_the_suite_is_back(backend, new):
    """Whether it was stopped in order or not."""
    with listening() as receiver:
        receiver.say("again", 500, 500)
        with quintile.suite(backend, webhooks=[receiver.webhook(retry_after_seconds=1)]) as suite:
            begin(suite.client("admin"), webhook("again"))
            name = come(suite.client("admin"), new)
            for arrivals, end in ((1, suite.stop), (2, suite.kill)):
                waiting.until(lambda arrivals=arrivals: len(receiver.of("again")) >= arrivals, "a try")
                end()
                suite.start()
            [found] = until_deliveries(suite.client("admin"), name, "DELIVERED")
            # A try of which the answer was lost may not have been counted.
            assert 1 <= found.attempts <= len(receiver.of("again"))
        assert_sent(found, receiver.of("again"), receiver.secret)


def an_endpoint_that_does_not_answer_holds_up_no_other(backend, new):
    """However much there is to be sent to it: something else comes while the first of all that is still waited for."""
    with listening() as receiver, listening(then=HANG) as silent:
        with quintile.suite(backend, webhooks=[receiver.webhook(), silent.webhook("silent")]) as suite:
            admin = suite.client("admin")
            begin(admin, *(webhook(f"{new}-{n}", "silent") for n in range(30)))
            people = come(admin, *(f"{new}-{n}" for n in range(10)))
            waiting.until(lambda: silent.arrived and all(len(deliveries(admin, name)) == 30 for name in people), "all to be there to be sent")
            with running(admin, webhook(new)):
                come(admin, f"{new}-last")
                waiting.until(lambda: receiver.of(new), lambda: f"something else to come, beside {len(silent.arrived)}")
            assert {each.attempts for name in people for each in deliveries(admin, name)} == {0}, "it came when others were given up"
            # Nor does it keep the suite from ending.
            assert suite.stop() == 0


def what_is_refused_or_sent_elsewhere_is_a_dead_letter_at_once(post, new):
    """Whatever is neither a delivery nor a reason to try again."""
    for status in (*DEAD, *WELL):
        post.receiver.say(f"{new}-{status}", status)
    variants = [{"id": f"v{n}", "weight": int(n == 0), "steps": [webhook(f"{new}-{status}") for status in statuses]}
                for n, statuses in enumerate((DEAD, WELL))]
    with running(post.admin, variants=variants[:1]):
        dead = until_deliveries(post.admin, come(post.admin, f"{new}-dead"), *["FAILED"] * len(DEAD))
    with running(post.admin, variants=[variants[1] | {"weight": 1}]):
        well = until_deliveries(post.admin, come(post.admin, f"{new}-well"), *["DELIVERED"] * len(WELL))
    for each in (*dead, *well):
        arrived = post.receiver.of(each.message)
        assert (each.attempts, len(arrived), each.message) == (1, 1, f"{new}-{each.last_status}"), each
        assert not each.HasField("next_attempt_time") and each.HasField("last_attempt_time")
    assert [each for each in post.receiver.arrived if each.path == ELSEWHERE or each.method != "POST"] == [], "redirects are not followed"


# -- sent again -----------------------------------------------------------------------------------------------------------

def a_dead_letter_is_sent_again_as_if_for_the_first_time_and_under_its_id(post, new):
    post.receiver.say(new, 400, 503, 404, 200)
    with running(post.admin, webhook(new)):
        name = come(post.admin, new)
        [dead] = until_deliveries(post.admin, name, "FAILED")
        assert (dead.attempts, dead.last_status) == (1, 400)
        for status, attempts, last in (("FAILED", 2, 404), ("DELIVERED", 1, 200)):
            answer = post.admin.call(REPLAY, {"name": dead.name})
            assert (answer.name, answer.run, answer.message, instant_of(answer.create_time)) == (dead.name, dead.run, new, facts.AS_OF)
            [now] = until_deliveries(post.admin, name, status)
            assert (now.attempts, now.last_status) == (attempts, last)
    assert_sent(dead, post.receiver.of(new), post.receiver.secret)
    assert len(post.receiver.of(new)) == 4


def only_dead_letters_are_sent_again(post, new):
    post.receiver.say(f"{new}-w", 500)
    post.receiver.say(f"{new}-c", 500)
    with running(post.admin, webhook(f"{new}-d"), webhook(f"{new}-w", "patient")):
        name = come(post.admin, new)
        with running(post.admin, webhook(f"{new}-c", "patient")):
            other = come(post.admin, f"{new}-2")
            until_deliveries(post.admin, other, "WAITING", "WAITING", "DELIVERED")
        found = [*until_deliveries(post.admin, name, "DELIVERED", "WAITING"),
                 *until_deliveries(post.admin, other, "CANCELLED", "WAITING", "DELIVERED")]
        for each in found:
            post.admin.refused(REPLAY, {"name": each.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
        before = Counter(state(each) for each in found)
        assert Counter(state(delivery(post.admin, each.name)) for each in found) == before
    post.admin.refused(REPLAY, {"name": of_nobody(found[0].name)}).must_be(NOT_FOUND, "NOT_FOUND")


# -- not sent -------------------------------------------------------------------------------------------------------------

def of_a_playbook_that_is_stopped_nothing_is_sent_any_more(post, new):
    post.receiver.say(f"{new}-soon", 500, 500, 500)
    post.receiver.say(f"{new}-late", 500)
    messages = (f"{new}-well", f"{new}-soon", f"{new}-late")
    playbook = begin(post.admin, *(webhook(each, "patient" if each.endswith("late") else "messages") for each in messages), wait(60), webhook(new))
    name = come(post.admin, new)
    waiting.until(lambda: all(post.receiver.of(each) for each in messages), "a first try of each")
    stop(post.admin, playbook)
    found = until_deliveries(post.admin, name, "DELIVERED", "CANCELLED", "CANCELLED")
    assert {each.message: state(each) for each in found} == dict(zip(messages, ("DELIVERED", "CANCELLED", "CANCELLED")))
    assert not any(each.HasField("next_attempt_time") for each in found)
    [run] = until_ended(post.admin, name)
    assert (state(run), run.steps_done) == ("STOPPED", 4) and not run.HasField("next_step_time")
    # Something else is sent for a third time: what would have been sent again has had the time.
    tries = len(post.receiver.of(f"{new}-soon"))
    post.receiver.say(f"{new}-other", 500, 500)
    with running(post.admin, webhook(f"{new}-other")):
        until_deliveries(post.admin, come(post.admin, f"{new}-2"), "DELIVERED")
    assert len(post.receiver.of(f"{new}-soon")) == tries and post.receiver.of(new) == []
    start(post.admin, playbook)
    stop(post.admin, playbook)
    assert {each.message: state(each) for each in deliveries(post.admin, name)} == dict(zip(messages, ("DELIVERED", "CANCELLED", "CANCELLED")))


def pass_a_look(admin, new):
    """Waits until the runner has looked at everything: somebody new has gone through another playbook."""
    with running(admin) as playbook:
        name = come(admin, new)
        of_playbook = lambda: [state(run) for run in runs(admin, name) if run.playbook == playbook]  # noqa: E731
        waiting.until(lambda: of_playbook() == ["FINISHED"], of_playbook)


def run_of(client, found):
    """The run of a delivery as it is now."""
    [run] = [each for each in runs(client, customer_of(found)) if each.name == found.run]
    return run


def sent(receiver, found):
    """How often a delivery came."""
    return receiver.ids()[id_of(found)]


def to_whoever_is_restricted_nothing_is_sent(post, new):
    post.receiver.say(new, *[500] * 50)
    absent = post.admin.refused(LIST_DELIVERIES, {"parent": of_nobody("customers/1")}).must_be(NOT_FOUND, "NOT_FOUND")
    with running(post.admin, webhook(new, "patient"), wait(60), webhook(f"{new}-later")):
        name = come(post.admin, new)
        waiting.until(lambda: post.receiver.of(new), "a first try")
        [waits] = until_deliveries(post.admin, name, "WAITING")
        answer = post.admin.call("PrivacyService/RestrictProcessing", {"name": name})
        questions.wait_for(post.admin, answer.facts_position)
        assert post.admin.refused(LIST_DELIVERIES, {"parent": name}).answer == absent.answer
        assert post.admin.refused(REPLAY, {"name": waits.name}).answer == absent.answer
        assert waits.name not in {each.name for each in deliveries(post.admin)}
        pass_a_look(post.admin, f"{new}-2")
        questions.wait_for(post.admin, post.admin.call("PrivacyService/LiftRestriction", {"name": name}).facts_position)
        [found] = until_deliveries(post.admin, name, "CANCELLED")
        assert (found.name, found.attempts, sent(post.receiver, found)) == (waits.name, 1, 1)
        run = run_of(post.admin, found)
        assert (state(run), run.steps_done) == ("STOPPED", 2)
    assert post.receiver.of(f"{new}-later") == []


def of_whoever_is_merged_away_nothing_is_sent(post, new):
    post.receiver.say(new, 500)
    one = come(post.admin, f"{new}-one")
    with running(post.admin, webhook(new, "patient"), wait(60), END):
        other = come(post.admin, f"{new}-other")
        waiting.until(lambda: post.receiver.of(new), "a first try")
        [waits] = until_deliveries(post.admin, other, "WAITING")
        merged = post.admin.call("IdentityService/MergeCustomers", {"customer": one, "other": other})
        questions.wait_for(post.admin, merged.facts_position)
        post.admin.refused(LIST_DELIVERIES, {"parent": other}).must_be(NOT_FOUND, "NOT_FOUND")
        assert waits.name not in {each.name for each in deliveries(post.admin)} and deliveries(post.admin, one) == []
        pass_a_look(post.admin, f"{new}-2")
        questions.wait_for(post.admin, post.admin.call("IdentityService/UnmergeCustomers", {"name": merged.name}).facts_position)
        [found] = until_deliveries(post.admin, other, "CANCELLED")
        assert (found.name, sent(post.receiver, found), state(run_of(post.admin, found))) == (waits.name, 1, "STOPPED")


# -- lists ----------------------------------------------------------------------------------------------------------------

def deliveries_are_listed_by_customer_state_and_page(post, new):
    post.receiver.say(f"{new}-0", 400)
    with running(post.admin, *(webhook(f"{new}-{n}") for n in range(5))):
        names = come(post.admin, *(f"{new}-{n}" for n in range(3)))
        for name in names:
            until_deliveries(post.admin, name, "FAILED", *["DELIVERED"] * 4)
    everybody = [each for each in deliveries(post.admin) if customer_of(each) in names]
    assert len(everybody) == 15 and [each.create_time for each in everybody] == [everybody[0].create_time] * 15
    for name in names:
        own = deliveries(post.admin, name)
        assert own == [each for each in everybody if customer_of(each) == name]
        # Made in turn, and the last made is first.
        assert [each.message for each in own] == [f"{new}-{n}" for n in (4, 3, 2, 1, 0)]
        for size in (1, 2, 5, 10_000):
            assert deliveries(post.admin, name, page_size=size) == own
        assert deliveries(post.admin, name, ["FAILED"]) == own[4:] and deliveries(post.admin, name, ["DELIVERED", "WAITING"]) == own[:4]
    assert [each for each in deliveries(post.admin, EVERYBODY, ["FAILED"], page_size=1) if customer_of(each) in names] == [
        each for each in everybody if state(each) == "FAILED"]


# -- what is configured ---------------------------------------------------------------------------------------------------

def secret_of(length):
    """The same at each collection of the tests."""
    return "whsec_" + base64.b64encode(bytes(range(100, 100 + length))).decode()


GOOD = {"name": "messages", "url": "http://127.0.0.1:9/hook", "secret": secret_of(32)}


@pytest.mark.parametrize("wrong", [
    {"name": "No Id"}, {"name": ""}, {"name": "x" * 64}, {"url": "http://example.com/hook"}, {"url": "http://10.0.0.1/hook"},
    {"url": "ftp://127.0.0.1/"}, {"url": "127.0.0.1:9/hook"}, {"url": ""}, {"secret": secret_of(23)}, {"secret": secret_of(65)},
    {"secret": "whsec_kestrel7731-is-none"}, {"secret": ""}, {"retry_after_seconds": 0}, {"retry_after_seconds": -1}, {"retries": 3},
    {"url": "https://tess:kestrel7731@example.com/hook"}, {"url": "https://example.com/hook#of-us"}, {"url": "https:///hook"}], ids=str)
def a_suite_does_not_start_with_an_endpoint_that_is_none(tmp_path, wrong):
    suite = quintile.Quintile(tmp_path, webhooks=[GOOD | wrong])
    command = suite.command("serve", "--port-base", "0", *suite.configured())
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=tmp_path, timeout=quintile.START_SECONDS)
    assert ended.returncode not in (0, None) and ended.stderr.strip(), ended
    said, secret = ended.stdout + ended.stderr, (GOOD | wrong)["secret"].removeprefix("whsec_")
    assert "panicked" not in said and "kestrel7731" not in said and (not secret or secret not in said), "a secret is told"


def two_endpoints_of_one_name_are_none(tmp_path):
    suite = quintile.Quintile(tmp_path, webhooks=[GOOD, GOOD | {"url": "https://example.com/"}])
    command = suite.command("serve", "--port-base", "0", *suite.configured())
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=tmp_path, timeout=quintile.START_SECONDS)
    assert ended.returncode not in (0, None) and "panicked" not in ended.stderr, ended


# -- killed ---------------------------------------------------------------------------------------------------------------

MESSAGES = ("first", "second", "third")
PEOPLE, KILLS = 30, 5


def fall(suite, receiver, chance):
    """Kills a suite while it delivers: when so many more have come, before the last of them is answered or right behind that."""
    arrivals, is_before = len(receiver.arrived) + chance.randrange(1, PEOPLE * len(MESSAGES)), chance.random() < 0.6
    reached = threading.Event()

    def arrived(_request):
        if len(receiver.arrived) >= arrivals and not reached.is_set():
            if is_before:
                suite.process.kill()
            reached.set()
    receiver.on_arrival = arrived
    assert reached.wait(waiting.SECONDS), f"only {len(receiver.arrived)} of {arrivals} came:\n{suite.log_tail()}"
    suite.kill()
    receiver.on_arrival = lambda _arrived: None


def assert_sent_all(admin, receiver, playbook, people):
    """Everybody has one run, whose every step made one delivery, which came at least once, always as the same."""
    done = until_ended(admin, playbook, people, seconds=2 * waiting.SECONDS)
    assert len(done) == people == len({customer_of(run) for run in done}) and {(state(run), run.steps_done) for run in done} == {
        ("FINISHED", len(MESSAGES))}
    settled = lambda: Counter(state(each) for each in deliveries(admin))  # noqa: E731
    waiting.until(lambda: settled() == {"DELIVERED": people * len(MESSAGES)}, settled, 2 * waiting.SECONDS)
    found = deliveries(admin)
    assert Counter((each.run, each.message) for each in found) == Counter((run.name, message) for run in done for message in MESSAGES)
    assert receiver.ids().keys() == {id_of(each) for each in found}
    arrivals = {each: [] for each in receiver.ids()}
    for each in list(receiver.arrived):
        arrivals[each.id].append(each)
    for each in found:
        assert_sent(each, arrivals[id_of(each)], receiver.secret)


@pytest.mark.parametrize("seed", [1, 2])
def killed_while_it_delivers_a_suite_sends_everything_and_each_under_one_id(backend, seed):
    chance = random.Random(seed)
    with listening() as receiver:
        receiver.say("second", 503)
        with quintile.suite(backend, webhooks=[receiver.webhook(retry_after_seconds=1)]) as suite:
            playbook = begin(suite.client("admin"), *map(webhook, MESSAGES))
            people = 0
            for turn in range(KILLS):
                rows = [row for n in range(PEOPLE) for row in newcomer(f"c-{turn}-{n}")]
                questions.take_in(suite.client("admin"), *rows)
                people += PEOPLE
                fall(suite, receiver, chance)
                suite.start()
            assert_sent_all(suite.client("admin"), receiver, playbook.name, people)
