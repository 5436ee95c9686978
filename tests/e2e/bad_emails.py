"""E-mails of playbooks that make no sense are refused, with the field that is wrong; what is just within bounds is taken as it is; a step is of the
kind that its endpoint is of; and a suite does not start with a sender that is none."""
import subprocess
import uuid

import pytest

from bad_playbooks import NO_IDS
from support import quintile, receiver
from support.playbook_kit import (CREATE, END, GET, NEVER, SECRET, START, UPDATE, create, email, get, is_refused, playbook, start, state, stop, text,
                                  variant, wait, webhook)
from support.refusals import FAILED_PRECONDITION, NOT_FOUND

# What every refusal of a table is about: a second step.
STEP = "playbook.variants[0].steps[1].email"
# A sender by which nothing is sent here.
SENDER = {"name": "care", "server": "smtp://127.0.0.1:9", "from": "Shop <care@shop.example>", "retry_after_seconds": 3_600}
DE = {"language": "de"}
# As many languages as there may be beside none, and one more.
LANGUAGES = [f"a{letter}" for letter in "abcdefghijklmnopqrst"]


@pytest.fixture(scope="module")
def desk(backend):
    """An administrator of a suite with senders, one of them of another tenant, and an endpoint of webhooks."""
    with quintile.suite(backend, webhooks=receiver.refusing(), mail=[SENDER, SENDER | {"name": "theirs", "tenant": "other"}]) as suite:
        yield suite.client("admin")


# -- what an e-mail is ----------------------------------------------------------------------------------------------------

def changed(**fields):
    """An e-mail with another value of a field, or without it where that is None."""
    made = email()["email"] | fields
    return {"email": {field: value for field, value in made.items() if value is not None}}


def in_second(field, value):
    """An e-mail of which the second text has another value of a field, and the place of that."""
    return email("hello", text(), text(**(DE | {field: value}))), f"texts[1].{field}"


# Placeholders that are none.
NO_NAMES = ["{{", "Dear {{name", "{{Name}}", "{{ name }}", "{{name}} and {{other}}", "{{first_name}}", f"{{{{{SECRET}}}}}", "{{na{{name}}me}}",
            "{{name} }", "}}{{"]
# Of these none is a tag, and none is a text of one line either.
NO_LANGUAGES = ["d\0e", "de\n", "d\u202ee", "x" * 257]
# These are texts, of which BCP 47 makes no tag.
NO_TAGS = ["de AT", "de_AT", "-", "de-", "-de", "de--AT", "段", "toolonglanguage", "de-toolongsubtag", " ", "de@euro", f"{SECRET}_"]
# What no line has in it, and what no text does.
NO_LINES = ["a\nb", "a\rb", "a\tb", f"{SECRET}\r\nBcc: eve@shop.example"]
NO_TEXTS = ["a\0b", "a\x1bb", "a\x7fb", "a\u0090b", f"{SECRET}\x07"]

# What is wrong with an e-mail, and the field that a refusal names.
WRONG = {
    **{f"a sender {endpoint!r}": (email(endpoint=endpoint), "endpoint") for endpoint in ("", *NO_IDS)},
    **{f"a message of {len(message.encode())} bytes": (email(message), "message") for message in ("", "x" * 129, SECRET + "段" * 40)},
    "no texts": (changed(texts=None), "texts"),
    "twenty-one texts": (email("hello", *(text(language=language) for language in LANGUAGES), text()), "texts"),
    "no text without language": (email("hello", text(**DE), text(language="en")), "texts"),
    "one text with a language": (email("hello", text(**DE)), "texts"),
    "a language twice": (email("hello", text(**DE), text(), text(**DE)), "texts[2].language"),
    "a language twice by its case": (email("hello", text(), text(language="zh-Hant"), text(language="ZH-hant")), "texts[2].language"),
    "no language twice": (email("hello", text(), text(**DE), text()), "texts[2].language"),
    **{f"language {language[:12]!r}": in_second("language", language) for language in (*NO_LANGUAGES, *NO_TAGS)},
    **{f"a subject of {len(subject.encode())} bytes": in_second("subject", subject) for subject in ("", "x" * 257, SECRET + "段" * 83)},
    **{f"subject {subject!r}": in_second("subject", subject) for subject in (*NO_LINES, *NO_TEXTS, *NO_NAMES)},
    **{f"a body of {len(body.encode())} bytes": in_second("body", body) for body in ("", "x" * 16_385, SECRET + "段" * 5_459)},
    **{f"body {body!r}": in_second("body", body) for body in (*NO_TEXTS, *NO_NAMES)},
    **{f"html of {len(html.encode())} bytes": in_second("html", html) for html in ("x" * 65_537, SECRET + "段" * 21_843)},
    **{f"html {html!r}": in_second("html", html) for html in NO_NAMES},
    **{f"called as {len(unnamed.encode())} bytes": in_second("unnamed", unnamed) for unnamed in ("x" * 257, SECRET + "段" * 83)},
    "a wrong text before others": (email("hello", text(""), text(**DE)), "texts[0].subject"),
}


@pytest.fixture(scope="module")
def known(desk):
    """A playbook that is not changed by what is refused."""
    made = create(desk, "known", email())
    yield made
    assert get(desk, made) == made


@pytest.mark.parametrize("wrong", WRONG)
def an_e_mail_that_makes_no_sense_is_refused_by_its_field(desk, known, wrong):
    """As something new, and in the place of another."""
    step, field = WRONG[wrong]
    new = f"bad-{uuid.uuid4().hex}"
    is_refused(desk, CREATE, {"playbook_id": new, "playbook": playbook(END, step)}, f"{STEP}.{field}")
    desk.refused(GET, {"name": f"playbooks/{new}"}).must_be(NOT_FOUND, "NOT_FOUND")
    is_refused(desk, UPDATE, {"playbook": playbook(END, step) | {"name": known.name}}, f"{STEP}.{field}")


def the_field_is_of_the_variant_and_the_step_that_it_is_in(desk):
    made = {"variants": [variant(email()), variant(END, email(), email("hello", text(), text(**DE), text(body="", language="en")), variant_id="b")]}
    is_refused(desk, CREATE, {"playbook_id": "deep", "playbook": playbook(**made)}, "playbook.variants[1].steps[2].email.texts[2].body")


# Everything as long and as much as it may be; and whatever looks like something else.
MOST = [email("段" * 42 + "xx", text("段" * 85 + "x", "段" * 5_461 + "x", html="段" * 21_845 + "x", unnamed="段" * 85 + "x"),
              *(text("x", "x", language=language) for language in LANGUAGES[:18]), text("{{name}}" * 32, "x" * 16_384, language="zh-Hant"),
              endpoint="a" * 63)]
ODD = [email("x", text("{name} }} { {name}", "\tTabs\n\nand lines\n", html="\n<b>{{name}}</b>\n", unnamed="{{name}}"),
             text("{{name}}{{name}}", "{{name}}", language="de-AT-1996"), text("x", ".", language="DE-at"), text("x", "x", language="x-own"))]


@pytest.mark.parametrize("steps", [MOST, ODD], ids=["most", "odd"])
def what_is_just_within_bounds_is_taken_as_it_is(desk, new, steps):
    request = {"playbook_id": f"b{new}", "playbook": playbook(*steps, trigger=NEVER)}
    asked = desk.message(CREATE, request).playbook
    made = desk.call(CREATE, request)
    assert list(made.variants) == list(asked.variants) and get(desk, made) == made
    again = desk.call(UPDATE, {"playbook": playbook(END, *steps, trigger=NEVER) | {"name": made.name}})
    assert list(again.variants[0].steps)[1:] == list(asked.variants[0].steps) and state(again) == "DRAFT"


# -- what may not be started ----------------------------------------------------------------------------------------------

# Steps of which the endpoint is not there, is another tenant's, or is of the other kind, and those that may be in their place.
NOT_THERE = {"absent": email(endpoint=SECRET), "theirs": email(endpoint="theirs"), "a webhook": email(endpoint="refusing"),
             "a sender": webhook(endpoint="care")}
THERE = {"absent": email(), "theirs": email(), "a webhook": webhook(endpoint="refusing"), "a sender": email(endpoint="care")}


@pytest.mark.parametrize("case", NOT_THERE)
def a_step_is_of_the_kind_that_its_endpoint_is_of(desk, case):
    """Wherever in the playbook it is; and what was not started stays a draft, which may be changed and started."""
    def of(step):
        return {"trigger": NEVER, "variants": [variant(email()), variant(wait(60), END, step, variant_id="b", weight=0)]}
    made = create(desk, None, **of(NOT_THERE[case]))
    for _ in range(2):
        desk.refused(START, {"name": made.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
        assert get(desk, made) == made
    desk.call(UPDATE, {"playbook": playbook(**of(THERE[case])) | {"name": made.name}})
    assert state(start(desk, made)) == "RUNNING"
    stop(desk, made)


def the_sender_of_another_tenant_is_as_if_it_were_not_there(desk):
    theirs, absent = (create(desk, None, email(endpoint=endpoint), trigger=NEVER) for endpoint in ("theirs", "absent"))
    refused = [desk.refused(START, {"name": each.name}) for each in (theirs, absent)]
    assert refused[0].message.replace("theirs", "absent") == refused[1].message and refused[0].reason == refused[1].reason == "FAILED_PRECONDITION"


# -- what is configured ---------------------------------------------------------------------------------------------------

PASSWORD = "kestrel7731-is-secret"
GOOD = SENDER | {"user": "care", "password": PASSWORD, "unsubscribe": "https://shop.example/unsubscribe", "tenant": "default"}


def assert_not_started(suite):
    """A suite ends at once, with a reason that has nothing secret in it."""
    command = suite.command("serve", "--port-base", "0", *suite.configured())
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=suite.home, timeout=quintile.START_SECONDS)
    assert ended.returncode not in (0, None) and ended.stderr.strip(), ended
    said = ended.stdout + ended.stderr
    assert "panicked" not in said and "kestrel7731" not in said, "a password is told"


@pytest.mark.parametrize("wrong", [
    {"name": "No Id"}, {"name": ""}, {"name": "x" * 64}, {"name": None}, {"server": None}, {"server": ""}, {"server": "mail.example"},
    {"server": "http://mail.example"}, {"server": "smtp://"}, {"server": "smtps://:465"}, {"server": "smtp://127.0.0.1:0"},
    {"server": "smtp://127.0.0.1:65536"}, {"server": f"smtp://care:{PASSWORD}@mail.example"}, {"server": "smtp://mail.example/path"},
    {"server": "smtp://mail example"}, {"from": None}, {"from": ""}, {"from": "care"}, {"from": "Shop <care>"}, {"from": "a@b.example, c@d.example"},
    {"from": "care@shop.example\r\nBcc: eve@shop.example"}, {"user": None}, {"password": None}, {"unsubscribe": "http://shop.example/unsubscribe"},
    {"unsubscribe": ""}, {"unsubscribe": "shop.example"}, {"unsubscribe": "https://shop.example/>, <https://else.example/"},
    {"unsubscribe": "https://shop.example/\r\nBcc: eve@shop.example"}, {"tenant": "No Id"}, {"tenant": ""}, {"retry_after_seconds": 0},
    {"retry_after_seconds": -1}, {"retries": 3}], ids=str)
def a_suite_does_not_start_with_a_sender_that_is_none(tmp_path, wrong):
    sender = {key: value for key, value in (GOOD | wrong).items() if value is not None}
    assert_not_started(quintile.Quintile(tmp_path, mail=[sender]))


def a_suite_does_not_start_without_the_password_that_it_is_to_have(tmp_path):
    sender = {key: value for key, value in GOOD.items() if key != "password"} | {"password_file": str(tmp_path / "absent")}
    assert_not_started(quintile.Quintile(tmp_path, mail=[sender]))


def a_name_is_of_one_sender_or_of_one_webhook(tmp_path):
    """Two of one tenant, or two of every tenant, can not be told apart."""
    for place, (webhooks, mail) in enumerate([((), [GOOD, GOOD | {"server": "smtps://mail.example"}]), ((), [SENDER, SENDER]),
                                              ([receiver.refusing()[0] | {"name": "care"}], [SENDER])]):
        home = tmp_path / str(place)
        home.mkdir()
        assert_not_started(quintile.Quintile(home, webhooks=webhooks, mail=mail))
