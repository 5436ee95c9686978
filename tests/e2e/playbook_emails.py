"""E-mails of playbooks: what they say, and to whom they say it in which language; what becomes of them where there is no address, where the server
does not take them, where the customer withdraws or goes; and that name and address are kept nowhere but where they were."""
import html
import json
import re
from email.utils import parsedate_to_datetime
from types import SimpleNamespace

import pytest

from support import canaries, facts, mailbox, playbooks, policies, questions, quintile, receiver, waiting
from support.mailbox import CLOSE, HANG, Early
from support.playbook_kit import (EVERYBODY, LIST_DELIVERIES, REPLAY, RUNS, begin, consent, customer_of, deliveries, email, running, runs,
                                  state, stop, text, until_deliveries, until_ended, wait, webhook)
from support.playbook_witness import DAY
from support.refusals import FAILED_PRECONDITION, NOT_FOUND
from support.retention import HOUR, instant_of
from support.score_models import enum_name

OTHER = "other"
FROM = "Käsehaus Müller <care@shop.example>"
UNSUBSCRIBE = "https://shop.example/unsubscribe?from=all"
PATIENT_SECONDS = 3_600
CUSTOMER = {"kind": "CUSTOMER_KIND_CUSTOMER"}
# How far the clock of a mail may be from that of its receiver, which are one.
TOLERANCE_SECONDS = 300
# The headers of a mail of two parts: there is nothing else, and each once.
DOCUMENTED = {"from", "to", "subject", "date", "message-id", "auto-submitted", "list-unsubscribe", "mime-version", "content-type",
              "content-transfer-encoding"}
NOT_WRITTEN = "deliveries::before_written"  # A failpoint.


@pytest.fixture(scope="module")
def post(backend):
    """A suite with senders for everybody, all of one server: most are tried again soon, one an hour later, two log in; and one of another tenant."""
    with mailbox.listening() as box:
        soon = {"retry_after_seconds": 1}
        senders = [box.sender("care", **soon, **{"from": FROM}, unsubscribe=UNSUBSCRIBE), box.sender("bare", **soon, **{"from": "care@shop.example"}),
                   box.sender("silent", **soon), box.sender("patient", retry_after_seconds=PATIENT_SECONDS),
                   box.sender("known", **soon, user=mailbox.USER, password=mailbox.PASSWORD),
                   box.sender("unknown", **soon, user=mailbox.USER, password=f"{mailbox.PASSWORD}?"), box.sender("theirs", **soon, tenant=OTHER)]
        with quintile.suite(backend, mail=senders, webhooks=receiver.refusing()) as suite:
            admin = suite.client("admin")
            admin.call("TenantService/CreateTenant", {"tenant_id": OTHER})
            other = suite.client("admin", OTHER)
            waiting.until(lambda: policies.is_known(other), "the tenant to be known", policies.FORCE_SECONDS)
            yield SimpleNamespace(suite=suite, admin=admin, other=other, box=box)


# -- who is written to ----------------------------------------------------------------------------------------------------

def address_of(who):
    return f"{who}@people.example"


def arrive(client, people):
    """Takes in people who are new and have bought lately, {who: what else is said of each}: {who: its name}. Each has an address unless it is said
    otherwise; a `language` is an attribute."""
    rows = []
    for who, said in people.items():
        said = {"email": address_of(who)} | said
        attributes = CUSTOMER | {key: said.pop(key) for key in ("language",) if key in said}
        rows += [facts.customer(who, attributes=attributes, **{key: value for key, value in said.items() if value}), facts.order(who, f"{who}-o")]
    questions.wait_for(client, questions.take_in(client, *rows).facts_position)
    return {who: questions.find(client, who) for who in people}


def arrives(client, who, **said):
    """The name of somebody new."""
    return arrive(client, {who: said})[who]


def id_of(found, tenant="default"):
    """The Message-ID under which a delivery is sent."""
    return f"<{tenant}-{found.name.rsplit('/', 1)[1]}@shop.example>"


def only(post, who):
    """The one mail that has come for somebody."""
    [arrived] = post.box.of(address_of(who))
    return arrived


def sent_one(post, who, **said):
    """The one delivery to somebody new, once it is delivered, and the mail."""
    [found] = until_deliveries(post.admin, arrives(post.admin, who, **said), "DELIVERED")
    return found, only(post, who)


def change(client, name, **fields):
    """Says something else of a customer."""
    mask = ",".join(re.sub("_(.)", lambda each: each[1].upper(), field) for field in fields)
    client.call("CustomerService/UpdateCustomer", {"customer": {"name": name} | fields, "update_mask": mask})


def wait_for_tries(client, name, count=1):
    """Waits until a first try of so many deliveries to somebody was counted."""
    waiting.until(lambda: [each.attempts > 0 for each in deliveries(client, name)] == [True] * count, lambda: f"tries: {deliveries(client, name)}")


def pass_time(post, new):
    """Waits for something else to be sent for a third time, of another tenant: what would have been sent again has had the time."""
    post.box.say(address_of(f"{new}-passes"), 451, 451)
    with running(post.other, email("passes")):
        until_deliveries(post.other, arrives(post.other, f"{new}-passes"), "DELIVERED")


# -- what it says ---------------------------------------------------------------------------------------------------------

# Who reads which text, of those that there are, by language.
TEXTS = ["", "de", "de-AT", "zh", "zh-Hant", "FR-ca"]
READ = {"": "", "de": "de", "DE": "de", "de-AT": "de-AT", "De-aT": "de-AT", "de-AT-1996": "de-AT", "de-CH": "de", "de-ATX": "de", "deu": "", "d": "",
        "zh-Hant-TW": "zh-Hant", "ZH-HANT-tw": "zh-Hant", "zh-Hans-CN": "zh", "zh": "zh", "fr-CA": "FR-ca", "fr-ca-x-own": "FR-ca", "fr": "",
        "fr-FR": "", "it-IT": ""}


def everybody_reads_the_text_of_the_longest_part_of_its_language(post, new):
    """By whole parts, whatever the case; and else the text that has no language."""
    texts = [text(f"text {language or 'for all'}", f"In {language}.", **({"language": language} if language else {})) for language in TEXTS]
    people = {f"{new}-{place}": {"language": language} if language else {} for place, language in enumerate(READ)}
    with running(post.admin, email(new, *texts)):
        for name in arrive(post.admin, people).values():
            until_deliveries(post.admin, name, "DELIVERED")
    told = {language: only(post, who).subject for who, language in zip(people, READ, strict=True)}
    assert told == {language: f"text {read or 'for all'}" for language, read in READ.items()}


NAMED = "Zoë <b>\"O'Neil\"</b> & {{name}} Söhne"
SUBJECT, BODY, HTML = "{{name}}, hello {{name}}!", "Dear {{name}},\n\n{{name}} }} { {name}", "<p title=\"{{name}}\">Dear {{name}}</p>"


def a_name_stands_wherever_it_is_asked_for_and_is_nothing_but_a_name(post, new):
    """What it is made of neither opens an element nor is a place for a name itself; and whoever has none is called as the text says, or nothing."""
    texts = [text(SUBJECT, BODY, html=HTML, unnamed="friend & <i>guest</i>"), text(SUBJECT, BODY, html=HTML, language="de")]
    people = {f"{new}-named": {"display_name": NAMED}, f"{new}-de": {"display_name": "段 明", "language": "de"}, f"{new}-friend": {},
              f"{new}-nobody": {"language": "de"}}
    with running(post.admin, email(new, *texts)):
        for name in arrive(post.admin, people).values():
            until_deliveries(post.admin, name, "DELIVERED")
    for who, called in zip(people, (NAMED, "段 明", "friend & <i>guest</i>", ""), strict=True):
        arrived = only(post, who)
        # Of a subject that begins with a space nobody sees where it begins.
        assert arrived.subject.strip() == SUBJECT.replace("{{name}}", called).strip()
        assert arrived.part() == BODY.replace("{{name}}", called)
        shown = arrived.part("html")
        assert html.unescape(shown) == HTML.replace("{{name}}", called) and (shown.count("<"), shown.count('"')) == (2, 2), shown


# Lines that mean something to servers, and one that is longer than any may be.
LINES = f".\n..\n.dots\nFrom here on\n\n\tTabs, Grüße and 东京 🎉\n=3D %s {'long ' * 900}\n{'ü' * 1_500}\nend"


def what_it_says_comes_as_it_was_written(post, new):
    """As one part, or as two of which the second is the better, each in UTF-8."""
    shown = f"<html><body>\n.\n<p>Grüße, 东京</p>\n{'<br>' * 2_000}</body></html>"
    with running(post.admin, email(new, text("plain", LINES), text("both", LINES, html=shown, language="de"))):
        _, plain = sent_one(post, new)
        _, both = sent_one(post, f"{new}-de", language="de")
    for arrived, kinds in ((plain, ["text/plain"]), (both, ["multipart/alternative", "text/plain", "text/html"])):
        parts = list(arrived.mail.walk())
        assert [part.get_content_type() for part in parts] == kinds
        assert {part.get_content_charset().lower() for part in parts if not part.is_multipart()} == {"utf-8"}
        assert arrived.part() == LINES
    assert (plain.part("html"), both.part("html")) == (None, shown)


LONG = "Grüße aus 东京, liebe Kundin, lieber Kunde: zum Frühling und zum Sommer, zum Herbst und zum Winter 🎉, jedes Jahr und für alle, {{name}}"


def a_mail_says_from_whom_it_is_and_which_it_is_and_that_a_machine_wrote_it(post, new):
    with running(post.admin, email(new, text(LONG, html="<p>Hello</p>"))) as playbook:
        found, arrived = sent_one(post, new, display_name="Jürgen Groß", email=address_of(new).upper())
    mail = arrived.mail
    assert (arrived.sender, arrived.recipients, arrived.user) == ("care@shop.example", (address_of(new),), "")
    names = [name.lower() for name in mail.keys()]
    assert len(names) == len(set(names)) and set(names) <= DOCUMENTED and arrived.raw.split(b"\r\n\r\n")[0].isascii(), names
    [sender], [recipient] = mail["From"].addresses, mail["To"].addresses
    assert (sender.display_name, sender.addr_spec) == ("Käsehaus Müller", "care@shop.example")
    assert (recipient.display_name, recipient.addr_spec) == ("", address_of(new)) and mail["To"].strip() == address_of(new)
    assert arrived.subject == LONG.replace("{{name}}", "Jürgen Groß")
    assert (arrived.id, mail["Auto-Submitted"], mail["List-Unsubscribe"]) == (id_of(found), "auto-generated", f"<{UNSUBSCRIBE}>")
    # Of these days, and not of those of business.
    assert abs(parsedate_to_datetime(mail["Date"]).timestamp() - arrived.at) <= TOLERANCE_SECONDS
    [run] = runs(post.admin, customer_of(found))
    assert (enum_name(found, "kind"), found.playbook, found.run, found.endpoint, found.message) == ("EMAIL", playbook, run.name, "care", new)
    assert (instant_of(found.create_time), found.attempts, found.last_status) == (facts.AS_OF, 1, 250)
    assert found.HasField("last_attempt_time") and not found.HasField("next_attempt_time")


def another_sender_says_what_it_was_configured_to_say(post, new):
    """Its address alone, and of no way to unsubscribe; beside a webhook, which is told apart."""
    with running(post.admin, email(new, endpoint="bare"), webhook(new, "refusing")):
        mailed, called = sorted(until_deliveries(post.admin, arrives(post.admin, new), "DELIVERED", "FAILED"), key=state)
    assert [(enum_name(each, "kind"), each.endpoint) for each in (mailed, called)] == [("EMAIL", "bare"), ("WEBHOOK", "refusing")]
    mail = only(post, new).mail
    [sender] = mail["From"].addresses
    assert (sender.display_name, sender.addr_spec, mail["List-Unsubscribe"]) == ("", "care@shop.example", None)


def another_tenant_has_a_sender_of_its_own_and_its_ids_are_its_own(post, new):
    with running(post.other, email(new, endpoint="theirs"), email(new)):
        found = until_deliveries(post.other, arrives(post.other, new), "DELIVERED", "DELIVERED")
    assert {each.id for each in post.box.of(address_of(new))} == {id_of(each, OTHER) for each in found} and len(found) == 2


def a_sender_with_a_password_logs_in_and_nobody_is_told_it(post, new):
    """With one that is wrong nothing can be sent now; it is none of the mail's faults, which is sent when somebody has mended it."""
    with running(post.admin, email(f"{new}-well", endpoint="known"), email(f"{new}-not", endpoint="unknown")):
        name = arrives(post.admin, new)
        wait_for_tries(post.admin, name, 2)
        found = until_deliveries(post.admin, name, "DELIVERED", "WAITING")
    assert {each.message: (state(each), each.last_status) for each in found} == {
        f"{new}-well": ("DELIVERED", 250), f"{new}-not": ("WAITING", 535)}
    assert only(post, new).user == mailbox.USER
    assert not any(mailbox.PASSWORD in said for said in (post.suite.log.read_text(errors="replace"), str(found)))


def the_text_is_of_the_step_and_name_and_address_are_of_the_sending(post, new):
    """The first address takes nothing, and the second one has the customer's new name, in the language that it had."""
    post.box.say(address_of(new), *[451] * 50)
    with running(post.admin, email(new, text("for {{name}}"), text("für {{name}}", language="de"))):
        name = arrives(post.admin, new, display_name="Ann Old", language="de")
        waiting.until(lambda: post.box.of(address_of(new)), "a first try")
        change(post.admin, name, email=address_of(f"{new}-2"), display_name="Ann New", attributes=CUSTOMER | {"language": "fr"})
        [found] = until_deliveries(post.admin, name, "DELIVERED")
    old, now = post.box.of(address_of(new)), only(post, f"{new}-2")
    assert ({each.subject for each in old}, now.subject) == ({"für Ann Old"}, "für Ann New")
    assert {each.id for each in (*old, now)} == {id_of(found)} and now.recipients == (address_of(f"{new}-2"),)


# -- no address -----------------------------------------------------------------------------------------------------------

def whoever_has_no_address_is_written_to_once_there_is_one_and_it_is_said(post, new):
    """Nor is one that no mail can go to any; it is none again as long as nothing was changed, and then it is delivered under its id."""
    with running(post.admin, email(new)):
        people = arrive(post.admin, {f"{new}-0": {"email": None}, f"{new}-1": {"email": f"{new}>@people.example"}})
        for who, name in people.items():
            [found] = until_deliveries(post.admin, name, "NO_ADDRESS")
            assert (enum_name(found, "kind"), found.attempts, found.last_status, found.HasField("next_attempt_time")) == ("EMAIL", 1, 0, False)
            assert found in deliveries(post.admin, EVERYBODY, ["NO_ADDRESS"])
            assert state(post.admin.call(REPLAY, {"name": found.name})) == "WAITING"
            assert [each.name for each in until_deliveries(post.admin, name, "NO_ADDRESS")] == [found.name]
            change(post.admin, name, email=address_of(who))
            post.admin.call(REPLAY, {"name": found.name})
            [now] = until_deliveries(post.admin, name, "DELIVERED")
            assert (now.name, now.attempts, now.last_status, only(post, who).id) == (found.name, 1, 250, id_of(found))
            post.admin.refused(REPLAY, {"name": found.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


# -- tried again ----------------------------------------------------------------------------------------------------------

# How each is answered in turn before it is taken.
AGAIN = {"later": [451], "full": [452], "closing": [421], "unavailable": [450], "recipient": [Early(450)], "cut": [CLOSE],
         "cut-early": [Early(CLOSE)], "twice": [451, CLOSE], "silent": [HANG]}


def what_is_not_taken_now_or_not_answered_is_tried_again_under_one_id(post, new):
    people = {f"{new}-{case}": {} for case in AGAIN}
    for who, answers in zip(people, AGAIN.values(), strict=True):
        post.box.say(address_of(who), *answers)
    with running(post.admin, email(new, text("Hello {{name}}", unnamed="you"))):
        names = arrive(post.admin, people)
        for (who, name), answers in zip(names.items(), AGAIN.values(), strict=True):
            [found] = until_deliveries(post.admin, name, "DELIVERED", seconds=2 * waiting.SECONDS)
            arrived = post.box.of(address_of(who))
            assert found.attempts == post.box.tries(address_of(who)) == len(answers) + 1, (who, found)
            assert (found.last_status, found.HasField("next_attempt_time")) == (250, False)
            assert {(each.id, each.subject, each.part()) for each in arrived} == {(id_of(found), "Hello you", "How are you?")}
            assert len(arrived) == len(answers) + 1 - sum(isinstance(each, Early) for each in answers)


def what_waits_to_be_tried_again_says_when_and_why(post, new):
    for case, answer in (("full", 452), ("cut", CLOSE)):
        post.box.say(address_of(f"{new}-{case}"), answer)
    with running(post.admin, email(new, endpoint="patient")):
        for case, status in (("full", 452), ("cut", 0)):
            name = arrives(post.admin, f"{new}-{case}")
            wait_for_tries(post.admin, name)
            [found] = until_deliveries(post.admin, name, "WAITING")
            assert (found.attempts, found.last_status) == (1, status)
            waits = (instant_of(found.next_attempt_time) - instant_of(found.last_attempt_time)).total_seconds()
            assert PATIENT_SECONDS * 0.9 <= waits <= PATIENT_SECONDS * 1.2, waits
            post.admin.refused(REPLAY, {"name": found.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def what_is_refused_is_a_dead_letter_at_once_and_may_be_sent_again(post, new):
    answers = {"550": 550, "552": 552, "554": 554, "553": Early(553), "551": Early(551)}
    for case, answer in answers.items():
        post.box.say(address_of(f"{new}-{case}"), answer)
    with running(post.admin, email(new)):
        for who, name in arrive(post.admin, {f"{new}-{case}": {} for case in answers}).items():
            [dead] = until_deliveries(post.admin, name, "FAILED")
            assert (dead.attempts, str(dead.last_status), dead.HasField("next_attempt_time")) == (1, who.rsplit("-", 1)[1], False)
            assert post.admin.call(REPLAY, {"name": dead.name}).name == dead.name
            [now] = until_deliveries(post.admin, name, "DELIVERED")
            assert (now.name, now.attempts, now.last_status) == (dead.name, 1, 250)
            assert {each.id for each in post.box.of(address_of(who))} == {id_of(dead)} and post.box.tries(address_of(who)) == 2


def a_server_that_does_not_answer_holds_up_no_other_sender(post, new):
    """However much there is to be sent by it, of which so much is on its way at once."""
    people = [f"{new}-{place}" for place in range(20)]
    for who in people:
        post.box.say(address_of(who), HANG)
    with running(post.admin, email(f"{new}-silent", endpoint="silent")):
        names = arrive(post.admin, {who: {} for who in people})
        waiting.until(lambda: any(post.box.hanging[address_of(who)] for who in people), "a mail to be there and not be answered")
        with running(post.admin, email(f"{new}-other", text("other"))):
            arrives(post.admin, f"{new}-last")
            waiting.until(lambda: "other" in {each.subject for each in post.box.of(address_of(f"{new}-last"))}, "something else to come")
        assert {each.attempts for name in names.values() for each in deliveries(post.admin, name)} == {0}, "it came when others were given up"
        assert 1 <= sum(post.box.hanging[address_of(who)] for who in people) <= 16


# -- not sent -------------------------------------------------------------------------------------------------------------

SAID = {"withdrawn": ("MARKETING", "WITHDRAWN"), "objected": ("MARKETING", "OBJECTED"), "support": ("SUPPORT", "OBJECTED")}


def whoever_withdraws_before_it_is_sent_is_not_written_to(post, new):
    """While the server is away; and whoever does not withdraw is written to when it is back. Marketing has to be consented to, and support not be
    objected to."""
    words, names = SAID | {"silent": ("", "")}, {}
    for case in words:
        said = {"identities": [facts.identity(f"{new}-{case}")], "email": address_of(f"{new}-{case}"), "attributes": CUSTOMER}
        names[case] = post.admin.call("CustomerService/CreateCustomer", {"customer": said}).name
        consent(post.admin, names[case])
    orders = [facts.order(f"{new}-{case}", f"{new}-{case}-o") for case in words]
    with running(post.admin, email("MARKETING"), purpose="MARKETING"), running(post.admin, email("SUPPORT")):
        with post.box.away():
            questions.wait_for(post.admin, questions.take_in(post.admin, *orders).facts_position)
            for case, (purpose, word) in words.items():
                wait_for_tries(post.admin, names[case], 2)
                assert {each.last_status for each in until_deliveries(post.admin, names[case], "WAITING", "WAITING")} == {0}
                if word:
                    consent(post.admin, names[case], word, purpose)
        for case, (purpose, _) in words.items():
            expected = {each: "CANCELLED" if each == purpose else "DELIVERED" for each in ("MARKETING", "SUPPORT")}
            found = until_deliveries(post.admin, names[case], *expected.values())
            assert {each.message: state(each) for each in found} == expected, case
            assert not any(each.HasField("next_attempt_time") for each in found)
            came = [each.id for each in post.box.of(address_of(f"{new}-{case}"))]
            assert sorted(came) == sorted(id_of(each) for each in found if state(each) == "DELIVERED")
            for each in found:
                post.admin.refused(REPLAY, {"name": each.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def of_a_playbook_that_is_stopped_nothing_is_sent_any_more(post, new):
    for case in ("soon", "late"):
        post.box.say(address_of(f"{new}-{case}"), *[451] * 50)
    senders = {"soon": "care", "late": "patient"}
    begun = [begin(post.admin, email(case, endpoint=endpoint), wait(60), email("never")) for case, endpoint in senders.items()]
    names = arrive(post.admin, {f"{new}-{case}": {} for case in ("soon", "late", "well")})
    for name in names.values():
        wait_for_tries(post.admin, name, 2)
    for playbook in begun:
        stop(post.admin, playbook)
    for who, name in names.items():
        came = "DELIVERED" if who.endswith("well") else "CANCELLED"
        found = until_deliveries(post.admin, name, came, came)
        assert {each.message for each in found} == {"soon", "late"} and not any(each.HasField("next_attempt_time") for each in found)
        assert {state(run) for run in until_ended(post.admin, name, 2)} == {"STOPPED"}
    # What was on its way when it was stopped was too late.
    tries = until_counted(post, [f"{new}-soon", f"{new}-late"])
    pass_time(post, new)
    assert tries == [post.box.tries(address_of(f"{new}-{case}")) for case in ("soon", "late")]


def until_counted(post, people):
    """How often there was a try for each of some people, once all of them are counted."""
    def counted():
        tries = [post.box.tries(address_of(who)) for who in people]
        told = [sum(each.attempts for each in deliveries(post.admin, questions.find(post.admin, who))) for who in people]
        return tries if tries == told else None
    return waiting.until(counted, "what is on its way to be counted")


def to_whoever_is_restricted_nothing_is_sent(post, new):
    post.box.say(address_of(new), *[451] * 50)
    absent = post.admin.refused(LIST_DELIVERIES, {"parent": "customers/987654"}).must_be(NOT_FOUND, "NOT_FOUND")
    with running(post.admin, email(new)):
        name = arrives(post.admin, new)
        waiting.until(lambda: post.box.of(address_of(new)), "a first try")
        [waits] = until_deliveries(post.admin, name, "WAITING")
        questions.wait_for(post.admin, post.admin.call("PrivacyService/RestrictProcessing", {"name": name}).facts_position)
        for method, request in ((LIST_DELIVERIES, {"parent": name}), (REPLAY, {"name": waits.name})):
            assert post.admin.refused(method, request).answer == absent.answer
        pass_time(post, new)
        tries = post.box.tries(address_of(new))
        questions.wait_for(post.admin, post.admin.call("PrivacyService/LiftRestriction", {"name": name}).facts_position)
        [found] = until_deliveries(post.admin, name, "CANCELLED")
        pass_time(post, f"{new}-2")
        assert (found.name, post.box.tries(address_of(new))) == (waits.name, tries)


def of_whoever_is_erased_nothing_is_sent_and_nothing_is_left(post, new):
    post.box.say(address_of(new), *[451] * 50)
    with running(post.admin, email(new)):
        name = arrives(post.admin, new)
        waiting.until(lambda: post.box.of(address_of(new)), "a first try")
        [waits] = until_deliveries(post.admin, name, "WAITING")
        erasure = post.admin.call("PrivacyService/EraseCustomer", {"name": name})
        told = lambda: post.admin.call("PrivacyService/GetErasure", {"name": erasure.name})  # noqa: E731
        waiting.until(lambda: told().HasField("complete_time"), told)
        assert [receipt.remaining for receipt in told().receipts if receipt.service == "lifecycle"] == [0]
        pass_time(post, f"{new}-1")
        tries = post.box.tries(address_of(new))
        for method, request in ((LIST_DELIVERIES, {"parent": name}), (REPLAY, {"name": waits.name})):
            post.admin.refused(method, request).must_be(NOT_FOUND, "NOT_FOUND")
        assert waits.name not in {each.name for each in deliveries(post.admin)}
        pass_time(post, f"{new}-2")
        assert post.box.tries(address_of(new)) == tries


# -- how often, and at which hours ----------------------------------------------------------------------------------------

def e_mails_wait_for_the_end_of_quiet_and_count_together_with_webhooks(backend):
    """Whoever could not be written to, for want of an address, was not contacted."""
    with mailbox.listening() as box, playbooks.messages() as inbox, playbooks.company(backend, [inbox.table], mail=[box.sender()]) as office:
        client, quiet_ends = office.client, office.now + 8 * HOUR
        playbooks.set_policy(client, (10, 20), max_contacts=2, cap_days=5)
        day = wait(86_400)
        name = playbooks.running(client, "leads", playbooks.on_stages("LEAD"), email("1"), day, webhook("2"), day, email("3"), day, webhook("4"),
                                 wait(4 * 86_400), email("5"))
        office.take_in(facts.customer("ann", email=address_of("ann"), attributes=CUSTOMER), facts.customer("bob", attributes=CUSTOMER))
        playbooks.until_equal(lambda: [instant_of(each.next_step_time) for each in playbooks.runs_of(client, name)], [quiet_ends] * 2)
        assert playbooks.deliveries_of(client) == box.arrived == []
        for days in (0, 1, 2, 3, 7):
            office.move(quiet_ends + days * DAY, name)
            playbooks.until_equal(lambda: playbooks.undelivered(client), [])
        expected = {"ann": [("1", "DELIVERED", 0), ("2", "DELIVERED", 1), ("5", "DELIVERED", 7)],
                    "bob": [("1", "NO_ADDRESS", 0), ("2", "DELIVERED", 1), ("3", "NO_ADDRESS", 2), ("4", "DELIVERED", 3), ("5", "NO_ADDRESS", 7)]}
        for key, ought in expected.items():
            found = [(each.message, state(each), instant_of(each.create_time)) for each in playbooks.deliveries_of(client, office.name(key))]
            assert sorted(found) == [(message, became, quiet_ends + days * DAY) for message, became, days in ought]
        assert [[run.withheld for run in playbooks.runs_of(client, office.name(key))] for key in expected] == [[2], [0]]
        mailed = [each for each in playbooks.deliveries_of(client) if (each.endpoint, state(each)) == ("care", "DELIVERED")]
        assert sorted(each.id for each in box.arrived) == sorted(map(id_of, mailed)) and len(mailed) == 2


# -- what is kept of it ---------------------------------------------------------------------------------------------------

PERSONAL = canaries.Hidden(texts=(canaries.NAME, "Quillon", "Zephyrwick", "zephyrwick", canaries.EMAIL_LOCAL, "kestrel7731"))


def nobody_but_the_server_is_told_name_and_address(post, new):
    """They are in no file, no table, no log and no answer, whether an e-mail was refused or delivered; and each reading of them is on record."""
    customer = {"identities": [facts.identity(new)], "display_name": canaries.NAME, "email": canaries.EMAIL, "attributes": CUSTOMER}
    name = post.admin.call("CustomerService/CreateCustomer", {"customer": customer}).name
    post.box.say(canaries.EMAIL, 550, 451)
    answers = []
    with running(post.admin, email(new, text("Dear {{name}}", "{{name}}!", html="<b>{{name}}</b>"))) as playbook:
        questions.wait_for(post.admin, questions.take_in(post.admin, facts.order(new, f"{new}-o")).facts_position)
        for became, asked in (("FAILED", [REPLAY]), ("DELIVERED", [])):
            [found] = until_deliveries(post.admin, name, became)
            places = {place: canaries.found_in_bytes(data, PERSONAL) for place, data in post.suite.at_rest()}
            assert any("lifecycle" in place for place in places) and {place: each for place, each in places.items() if each} == {}, became
            answers += [post.admin.exchange(method, request) for method, request in (
                (LIST_DELIVERIES, {"parent": name}), (LIST_DELIVERIES, {"parent": EVERYBODY}), (RUNS, {"parent": name}), (RUNS, {"parent": playbook}),
                *((method, {"name": found.name}) for method in asked))]
    for answer, metadata in answers:
        assert canaries.found_in_message(answer, PERSONAL) == [] == canaries.found_in_metadata(metadata, PERSONAL)
    assert canaries.found_in_json_log(post.suite.log.read_text(errors="replace"), PERSONAL) == []
    assert {each.subject for each in post.box.of(canaries.EMAIL)} == {f"Dear {canaries.NAME}"} and post.box.tries(canaries.EMAIL) == 3
    method = post.suite.api().method_on("ingestion", "AuditService/ListAuditEvents")

    def readings():
        events = questions.everything(post.admin, method, "events", subject="suite:lifecycle", customer=name, kind="AUDIT_KIND_READ")
        return [(event.method, event.role, event.outcome) for event in events]
    expected = [("quintile.ingestion.v1.CustomerService/GetCustomer", "service", "OK")] * 3
    waiting.until(lambda: readings() == expected, readings)


# -- killed ---------------------------------------------------------------------------------------------------------------

def killed_before_it_is_written_down_a_mail_is_sent_again_under_its_id(backend, new, monkeypatch):
    """By a sender that the environment alone tells of."""
    with mailbox.listening() as box:
        sender = ", ".join(f"{key}={json.dumps(value)}" for key, value in box.sender(retry_after_seconds=1).items())
        monkeypatch.setenv("QUINTILE_MAIL", f"[{{{sender}}}]")
        with quintile.suite(backend, started=False) as suite:
            suite.start(failpoints=f"{NOT_WRITTEN}=1*return")
            begin(suite.client("admin"), email(new, text("Hello {{name}}")))
            name = arrives(suite.client("admin"), new, display_name="Ann")
            waiting.until(lambda: suite.has_logged(f"failpoint {NOT_WRITTEN} reached"), "a mail not to be written down")
            [found] = until_deliveries(suite.client("admin"), name, "WAITING")
            assert found.attempts == 0 and len(box.of(address_of(new))) == 1
            suite.kill()
            suite.start()
            [now] = until_deliveries(suite.client("admin"), name, "DELIVERED")
            assert (now.name, now.attempts, now.last_status) == (found.name, 1, 250)
        arrived = box.of(address_of(new))
        assert len(arrived) == 2 and {(each.id, each.subject, each.part()) for each in arrived} == {(id_of(now), "Hello Ann", "How are you?")}
