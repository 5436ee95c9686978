"""Offers: granted by steps of playbooks and by hand, told of in messages, redeemed and revoked; what of them expires, is counted, and for whom they
are not; and that a step grants once, whoever is killed in the middle."""
import uuid
from datetime import timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from support import canaries, facts, mailbox, playbooks, policies, questions, quintile, rewards, waiting
from support.playbook_kit import (ABSENT, REPLAY, begin, come, consent, customer_of, delivery, email, of_nobody, running, runs, set_policy, start,
                                  state, stop, text, until_deliveries, until_ended, wait, webhook)
from support.playbook_kit import create as create_playbook
from support.refusals import FAILED_PRECONDITION, NOT_FOUND, PERMISSION_DENIED
from support.retention import instant_of
from support.rewards import (ALPHABET, GET_GRANT, GRANT, LIST_GRANTS, REDEEM, RETIRE, REVOKE, USE, create, grant, grant_offer, grants, pause, redeem,
                             update, use)
from support.score_models import enum_name

PART = "playbooks::before_part"
SERVICES = {"ingestion", "scoring", "lifecycle", "segmentation", "access-control"}
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def shop(backend):
    """A suite of which no test moves the time, with an endpoint of webhooks, a sender of e-mails, and colleagues of several roles."""
    with playbooks.messages("messages") as hook, mailbox.listening() as box:
        with quintile.suite(backend, webhooks=[hook.table], mail=[box.sender("care", retry_after_seconds=1)]) as suite:
            yield SimpleNamespace(suite=suite, hook=hook, box=box, admin=suite.client("admin"), sue=suite.client("support", subject="sue"),
                                  ann=suite.client("sales", subject="ann"), marketer=suite.client("marketer"), analyst=suite.client("analyst"),
                                  service=suite.client("service"))


@pytest.fixture
def office(backend):
    """An empty suite of a test's own."""
    with quintile.suite(backend) as suite:
        yield suite


def skipped(run):
    """[(step, why)] of a run."""
    return [(each.step, enum_name(each, "reason")) for each in run.skipped]


def by_playbook(client, who, *steps, **fields):
    """The run of somebody new by a playbook of some steps, once it has ended, and the grants of the run, the first first."""
    with running(client, *steps, **fields) as playbook:
        name = come(client, who)
        [run] = until_ended(client, playbook)
    return run, [each for each in grants(client, name)[::-1] if each.run == run.name]


# -- granted --------------------------------------------------------------------------------------------------------------

def a_step_grants_an_offer_with_a_code_until_a_midnight(shop, new):
    ours = create(shop.admin, new, days=14)
    run, [found] = by_playbook(shop.admin, new, grant_offer(ours))
    assert (found.offer, found.playbook, found.run, found.granted_by) == (ours.name, run.playbook, run.name, "")
    assert found.name.startswith(f"{customer_of(run)}/grants/") and (state(found), list(run.skipped)) == ("OPEN", [])
    assert instant_of(found.grant_time) == facts.AS_OF and instant_of(found.expire_time) == rewards.end_of(facts.AS_OF, 14)
    assert len(found.code) == 16 and set(found.code) <= ALPHABET
    assert shop.admin.call(GET_GRANT, {"name": found.name}) == found
    assert use(shop.admin, ours) == (1, 1, 0, 0, 0)


def a_grant_ends_with_a_day_of_the_tenants_zone(shop, new):
    zone, tenant = "Pacific/Auckland", f"t{new[:20]}"
    shop.admin.call("TenantService/CreateTenant", {"tenant_id": tenant, "tenant": {"time_zone": zone}})
    client = shop.suite.client("admin", tenant)
    waiting.until(lambda: policies.is_known(client), "the tenant to be known", policies.FORCE_SECONDS)
    found = grant(client, come(client, new), create(client, new, days=3))
    assert instant_of(found.expire_time) == rewards.end_of(facts.AS_OF, 3, ZoneInfo(zone))


def somebody_grants_an_offer_once_under_the_id_of_a_request(shop, new):
    ours, other = create(shop.admin, f"a-{new}", max_per_customer=5), create(shop.admin, f"b-{new}")
    name, request_id = come(shop.admin, new), str(uuid.uuid4())
    found = grant(shop.sue, name, ours, request_id=request_id)
    assert (found.granted_by, found.playbook, found.run) == ("sue", "", "")
    assert grant(shop.admin, name, ours, request_id=request_id) == found, "whoever repeats it"
    shop.admin.refused(GRANT, {"parent": name, "offer": other.name, "request_id": request_id}).must_be(FAILED_PRECONDITION, "BODY_CONFLICT")
    second = grant(shop.admin, name, ours)
    assert second.code != found.code and grants(shop.admin, name) == [second, found]


def an_offer_is_granted_to_each_as_often_as_it_says_and_to_all(shop, new):
    ours = create(shop.admin, new, max_grants=3, max_per_customer=2)
    one, other = come(shop.admin, f"{new}-1", f"{new}-2")
    first = grant(shop.admin, one, ours)
    grant(shop.admin, one, ours)
    shop.admin.refused(GRANT, {"parent": one, "offer": ours.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    # What was made use of is no more open, and was granted for all that.
    redeem(shop.admin, first)
    grant(shop.admin, one, ours)
    shop.admin.refused(GRANT, {"parent": other, "offer": ours.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert use(shop.admin, ours) == (3, 2, 1, 0, 0)
    update(shop.admin, ours, max_grants=4)
    grant(shop.admin, other, ours)


def of_many_who_grant_the_last_one_at_once_one_does(shop, new):
    ours = create(shop.admin, new, max_grants=1)
    people = come(shop.admin, *(f"{new}-{n}" for n in range(8)))
    method = shop.admin.api.method(GRANT)
    calls = [shop.admin.api.callable(method).future(shop.admin.message(method, {"parent": name, "offer": ours.name}), metadata=shop.admin.metadata(),
                                                    timeout=waiting.SECONDS) for name in people]
    codes = sorted(call.code().name for call in calls)
    assert codes == ["FAILED_PRECONDITION"] * 7 + ["OK"] and use(shop.admin, ours)[0] == 1


def a_step_that_grants_nothing_is_skipped_for_a_reason_and_the_run_goes_on(shop, new):
    gone, short, once = (create(shop.admin, f"{each}-{new}", **fields) for each, fields in (
        ("paused", {}), ("short", {"max_grants": 1}), ("once", {})))
    playbook = begin(shop.admin, *(grant_offer(each) for each in (gone, short, once, once)))
    pause(shop.admin, gone)
    first, name = come(shop.admin, f"{new}-first"), come(shop.admin, new)
    until_ended(shop.admin, playbook.name, 2)
    stop(shop.admin, playbook)
    assert [each.offer for each in grants(shop.admin, first)[::-1]] == [short.name, once.name]
    [run] = [each for each in runs(shop.admin, name) if each.playbook == playbook.name]
    assert (state(run), run.steps_done, run.withheld) == ("FINISHED", 4, 0)
    assert skipped(run) == [(1, "OFFER_NOT_ACTIVE"), (2, "OFFER_EXHAUSTED"), (4, "OFFER_HELD")]
    assert [each.offer for each in grants(shop.admin, name)] == [once.name]


def whoever_is_held_out_or_may_not_be_contacted_is_granted_nothing(shop, new):
    ours = create(shop.admin, new, max_per_customer=9)
    with running(shop.admin, grant_offer(ours), holdout_basis_points=9_999) as held, running(
            shop.admin, grant_offer(ours), purpose="MARKETING") as refused:
        name = come(shop.admin, new)
        [one], [other] = until_ended(shop.admin, held), until_ended(shop.admin, refused)
    assert (state(one), state(other)) == ("HELD_OUT", "REFUSED") and grants(shop.admin, name) == []


def whoever_withdraws_meanwhile_is_granted_nothing(office, new):
    admin = office.client("admin")
    ours = create(admin, new)
    with running(admin, wait(3_600), grant_offer(ours)) as playbook:
        name = come(admin, new)
        consent(admin, name, "OBJECTED", "SUPPORT")
        questions.set_clock(admin, facts.AS_OF + DAY)
        [run] = until_ended(admin, playbook)
    assert (state(run), skipped(run), grants(admin, name)) == ("FINISHED", [(2, "CONSENT")], [])


def a_playbook_starts_only_with_offers_that_are_there_and_active(shop, new):
    ours = create(shop.admin, new)
    for change in (lambda: pause(shop.admin, ours), lambda: shop.admin.call(RETIRE, {"name": ours.name})):
        change()
        drafted = create_playbook(shop.admin, None, grant_offer(ours))
        shop.admin.refused("PlaybookService/StartPlaybook", {"name": drafted.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    absent = create_playbook(shop.admin, None, grant_offer("offers/absent"))
    shop.admin.refused("PlaybookService/StartPlaybook", {"name": absent.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    active = create_playbook(shop.admin, None, grant_offer(create(shop.admin, f"{new[:20]}-too")))
    stop(shop.admin, start(shop.admin, active))


# -- told of --------------------------------------------------------------------------------------------------------------

def messages_behind_a_grant_tell_of_it(shop, new):
    titles = [{"title": "Ten & more"}, {"language": "de", "title": "Zehn <b>"}]
    ours = create(shop.admin, new, days=10, texts=titles)
    words = text("{{offer}} for {{name}}", "{{code}} until {{expires}}", html="<p>{{offer}}: {{code}}</p>", unnamed="you")
    address = f"{new}@people.example"
    with running(shop.admin, webhook("before"), grant_offer(ours), webhook("behind"), email("told", words)) as playbook:
        attributes = {"kind": "CUSTOMER_KIND_CUSTOMER", "language": "de-AT"}
        rows = facts.customer(new, attributes=attributes, email=address), facts.order(new, f"{new}-o")
        questions.wait_for(shop.admin, questions.take_in(shop.admin, *rows).facts_position)
        name = questions.find(shop.admin, new)
        until_ended(shop.admin, playbook)
        until_deliveries(shop.admin, name, *["DELIVERED"] * 3)
    [found] = grants(shop.admin, name)
    [mail] = shop.box.of(address)
    last = (facts.AS_OF + 10 * DAY).date().isoformat()
    assert (mail.subject, mail.part()) == ("Zehn <b> for you", f"{found.code} until {last}")
    assert mail.part("html") == f"<p>Zehn &lt;b&gt;: {found.code}</p>"
    before, behind = ([each["data"] for each in shop.hook.received if each["data"]["run"] == found.run and each["data"]["message"] == message]
                      for message in ("before", "behind"))
    assert "grants" not in before[0]
    [told] = behind[0]["grants"]
    assert (told["grant"], told["offer"], told["code"]) == (found.name, ours.name, found.code)
    assert told["expire_time"].startswith(rewards.end_of(facts.AS_OF, 10).date().isoformat())


def what_waits_to_be_sent_holds_no_code_and_tells_of_nothing_that_is_good_no_more(backend, new):
    with playbooks.messages("messages", 400) as hook, mailbox.listening(then=550) as box:
        with quintile.suite(backend, webhooks=[hook.table], mail=[box.sender("care")]) as suite:
            admin = suite.client("admin")
            ours = create(admin, new, max_per_customer=2)
            address, words = f"{new}@people.example", text("Yours", "{{code}}")
            with running(admin, grant_offer(ours), webhook("told"), email("told", words), email("again", words)) as playbook:
                attributes = {"kind": "CUSTOMER_KIND_CUSTOMER"}
                rows = facts.customer(new, attributes=attributes, email=address), facts.order(new, f"{new}-o")
                questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
                name = questions.find(admin, new)
                until_ended(admin, playbook)
                made = until_deliveries(admin, name, *["FAILED"] * 3)
            [found] = grants(admin, name)
            by_hand = grant(admin, name, ours)
            assert [each["data"]["grants"][0]["code"] for each in hook.received] == [found.code]
            hidden = canaries.Hidden(texts=(found.code, by_hand.code))
            assert {place: canaries.found_in_bytes(data, hidden) for place, data in suite.at_rest() if canaries.found_in_bytes(data, hidden)} == {}
            again, told, hooked = made
            box.then = 250
            admin.call(REPLAY, {"name": again.name})
            waiting.until(lambda: state(delivery(admin, again.name)) == "DELIVERED", "a mail that failed to be sent again")
            assert box.of(address)[-1].part() == found.code
            admin.call(REVOKE, {"name": found.name})
            sent = len(box.of(address))
            for each in (told, hooked):
                admin.call(REPLAY, {"name": each.name})
            waiting.until(lambda: state(delivery(admin, told.name)) == "CANCELLED", "a mail about what was revoked to be withdrawn")
            waiting.until(lambda: len(hook.received) == 2, "the event to be told again")
            assert len(box.of(address)) == sent and "grants" not in hook.received[-1]["data"]


def a_step_that_comes_late_grants_what_can_still_be_redeemed(office, new):
    admin = office.client("admin")
    ours, now = create(admin, new, days=5), facts.AS_OF + 30 * DAY
    with running(admin, wait(3_600), grant_offer(ours)) as playbook:
        name = come(admin, new)
        questions.set_clock(admin, now)
        until_ended(admin, playbook)
    [found] = grants(admin, name)
    assert (state(found), instant_of(found.grant_time), instant_of(found.expire_time)) == ("OPEN", now, rewards.end_of(now, 5))


def a_mail_has_the_title_of_what_was_granted_whatever_has_become_of_the_tier(backend, new):
    with mailbox.listening() as box, quintile.suite(backend, mail=[box.sender("care")]) as suite:
        admin = suite.client("admin")
        ours, gone = create(admin, f"a-{new}", title="Yours alone"), create(admin, f"b-{new}")
        made = rewards.tier(admin, 1, offers=[ours.name])
        steps = grant_offer(gone), rewards.grant_tier(made), wait(3_600), email("told", text("{{offer}}", "{{code}}"))
        with running(admin, *steps) as playbook:
            pause(admin, gone)
            address = f"{new}@people.example"
            rows = facts.customer(new, attributes={"kind": "CUSTOMER_KIND_CUSTOMER"}, email=address), facts.order(new, f"{new}-o")
            questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
            waiting.until(lambda: grants(admin), "the tier's offer to be granted")
            admin.call(rewards.DELETE_TIER, {"name": made.name})
            questions.set_clock(admin, facts.AS_OF + DAY)
            until_ended(admin, playbook)
            until_deliveries(admin, questions.find(admin, new), "DELIVERED")
        assert box.of(address)[0].subject == "Yours alone"


def a_mail_that_is_not_sent_uses_up_no_contact(backend, new):
    with playbooks.messages("messages") as hook, mailbox.listening() as box:
        with quintile.suite(backend, webhooks=[hook.table], mail=[box.sender("care")]) as suite:
            admin = suite.client("admin")
            set_policy(admin, max_contacts=1, cap_days=7)
            ours = create(admin, new, max_grants=1)
            grant(admin, come(admin, f"{new}-else"), ours)
            steps = grant_offer(ours), email("code", text("Here", "{{code}}")), webhook("instead"), webhook("too many")
            # What waits when a playbook stops is not sent.
            with running(admin, *steps) as playbook:
                come(admin, new)
                [run] = until_ended(admin, playbook)
                assert (run.withheld, skipped(run)) == (1, [(1, "OFFER_EXHAUSTED"), (2, "NO_GRANT")])
                waiting.until(lambda: [each["data"]["message"] for each in hook.received] == ["instead"], "the one contact that there may be")


def a_mail_that_tells_of_a_grant_is_not_sent_where_there_is_none(shop, new):
    ours = create(shop.admin, new, max_grants=1)
    grant(shop.admin, come(shop.admin, f"{new}-else"), ours)
    run, made = by_playbook(shop.admin, new, grant_offer(ours), email("code", text("Here", "{{code}}")))
    assert (state(run), made, skipped(run)) == ("FINISHED", [], [(1, "OFFER_EXHAUSTED"), (2, "NO_GRANT")])


# -- redeemed -------------------------------------------------------------------------------------------------------------

def a_grant_is_redeemed_by_one_order_by_its_name_or_its_code(shop, new):
    ours = create(shop.admin, new, max_per_customer=3)
    name = come(shop.admin, new)
    one, other = grant(shop.admin, name, ours), grant(shop.admin, name, ours)
    done = redeem(shop.sue, one, "order-7")
    assert (state(done), done.order_id, done.ended_by, instant_of(done.redeem_time)) == ("REDEEMED", "order-7", "sue", facts.AS_OF)
    assert redeem(shop.service, one, "order-7") == done == shop.admin.call(GET_GRANT, {"name": one.name})
    shop.admin.refused(REDEEM, {"name": one.name, "order_id": "order-8"}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    shop.admin.refused(REVOKE, {"name": one.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    written = "-".join(other.code[place:place + 4] for place in range(0, 16, 4)).lower()
    by_code = shop.service.call(REDEEM, {"code": written, "order_id": "order-8"})
    assert (by_code.name, state(by_code)) == (other.name, "REDEEMED")
    shop.admin.refused(REDEEM, {"code": "2" * 16, "order_id": "order-9"}).must_be(NOT_FOUND, "NOT_FOUND")


def of_many_orders_that_redeem_a_grant_at_once_one_does(shop, new):
    found = grant(shop.admin, come(shop.admin, new), create(shop.admin, new))
    method = shop.admin.api.method(REDEEM)
    calls = [shop.admin.api.callable(method).future(shop.admin.message(method, {"name": found.name, "order_id": f"order-{n}"}),
                                                    metadata=shop.admin.metadata(), timeout=waiting.SECONDS) for n in range(8)]
    codes = [call.code().name for call in calls]
    assert sorted(codes) == ["FAILED_PRECONDITION"] * 7 + ["OK"]
    assert shop.admin.call(GET_GRANT, {"name": found.name}).order_id == f"order-{codes.index('OK')}"


def whoever_tries_codes_has_as_many_as_it_has_look_ups(office):
    sue, asked = office.client("support", subject="sue"), {"code": "2" * 16, "order_id": "x"}
    # Sixty a minute, of which the next one may have begun.
    answers = [sue.refused(REDEEM, asked).code.name for _ in range(122)]
    assert answers[:60] == ["NOT_FOUND"] * 60 and set(answers) == {"NOT_FOUND", "RESOURCE_EXHAUSTED"}


def a_grant_that_is_revoked_is_good_for_nothing(shop, new):
    found = grant(shop.admin, come(shop.admin, new), create(shop.admin, new))
    gone = shop.sue.call(REVOKE, {"name": found.name})
    assert (state(gone), gone.ended_by, instant_of(gone.revoke_time)) == ("REVOKED", "sue", facts.AS_OF)
    assert shop.admin.call(REVOKE, {"name": found.name}) == gone
    shop.admin.refused(REDEEM, {"name": found.name, "order_id": "x"}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def a_grant_expires_when_its_day_is_over(office, new):
    admin = office.client("admin")
    ours = create(admin, new, days=1)
    name = come(admin, new)
    found = grant(admin, name, ours)
    end = rewards.end_of(facts.AS_OF, 1)
    questions.set_clock(admin, end - timedelta(seconds=1))
    assert state(admin.call(GET_GRANT, {"name": found.name})) == "OPEN" and use(admin, ours) == (1, 1, 0, 0, 0)
    questions.set_clock(admin, end)
    assert state(admin.call(GET_GRANT, {"name": found.name})) == "EXPIRED" and use(admin, ours) == (1, 0, 0, 1, 0)
    for method, fields in ((REDEEM, {"order_id": "late"}), (REVOKE, {})):
        admin.refused(method, {"name": found.name} | fields).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    # What is not open any more keeps no other one from the customer.
    second = grant(admin, name, ours)
    assert grants(admin, name, ["OPEN"]) == [second] and [each.name for each in grants(admin, name, ["EXPIRED"])] == [found.name]


def what_was_granted_outlives_its_offer(shop, new):
    ours = create(shop.admin, new)
    found = grant(shop.admin, come(shop.admin, new), ours)
    retired = shop.admin.call(RETIRE, {"name": ours.name})
    assert state(retired) == "RETIRED" and shop.admin.call(RETIRE, {"name": ours.name}) == retired
    for method, request in (("UpdateOffer", {"offer": {"name": ours.name, "valid_days": 5}, "update_mask": "validDays"}),
                            ("GrantOffer", {"parent": customer_of(found), "offer": ours.name})):
        shop.admin.refused(f"OfferService/{method}", request).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert state(redeem(shop.admin, found)) == "REDEEMED"


# -- lists, and of whom ---------------------------------------------------------------------------------------------------

def grants_are_listed_by_customer_offer_state_and_page(shop, new):
    one, other = (create(shop.admin, f"{each}-{new}", max_per_customer=9) for each in "ab")
    people = come(shop.admin, f"{new}-1", f"{new}-2")
    made = [grant(shop.admin, name, each) for name in people for each in (one, other) for _ in range(2)]
    done, gone = redeem(shop.admin, made[0]), shop.admin.call(REVOKE, {"name": made[2].name})
    whole = [done, made[1], gone, *made[3:]][::-1]
    for size in (1, 3, 1_000):
        for name in people:
            assert grants(shop.admin, name, page_size=size) == [each for each in whole if customer_of(each) == name]
        assert grants(shop.admin, offer=one.name, page_size=size) == [each for each in whole if each.offer == one.name]
    by_state = {each: grants(shop.admin, people[0], [each]) for each in rewards.STATES}
    assert by_state == {"OPEN": [made[3], made[1]], "REDEEMED": [done], "EXPIRED": [], "REVOKED": [gone]}
    assert grants(shop.admin, people[0], ["REVOKED", "REDEEMED"]) == [gone, done]
    shop.admin.refused(LIST_GRANTS, {"parent": "customers/-", "offer": "offers/absent"}).must_be(NOT_FOUND, "NOT_FOUND")


def a_code_is_for_those_who_serve_customers(shop, new):
    ours = create(shop.admin, new)
    name = come(shop.admin, new, owner="ann")
    consent(shop.admin, name)
    found = grant(shop.admin, name, ours)
    waiting.until(lambda: grants(shop.marketer, offer=ours.name), "the consent to reach lifecycle")
    for client in (shop.admin, shop.sue, shop.ann, shop.service):
        assert client.call(GET_GRANT, {"name": found.name}).code == found.code
    for client in (shop.marketer, shop.analyst):
        assert client.call(GET_GRANT, {"name": found.name}).code == "****"
    # Nor does who grants it see it.
    shop.admin.call(REVOKE, {"name": found.name})
    assert grant(shop.marketer, name, ours).code == "****"
    for client in (shop.ann, shop.marketer, shop.analyst):
        client.refused(REDEEM, {"code": found.code, "order_id": "x"}).must_be(PERMISSION_DENIED, "METHOD_DENIED")


def grants_of_whom_a_role_does_not_reach_are_not_there_for_it(shop, new):
    ours = create(shop.admin, new)
    mine, theirs = come(shop.admin, f"{new}-1", owner="ann"), come(shop.admin, f"{new}-2", owner="bob")
    consent(shop.admin, mine)
    kept, found = grant(shop.admin, mine, ours), grant(shop.admin, theirs, ours)
    waiting.until(lambda: grants(shop.marketer, offer=ours.name), "the consent to reach lifecycle")
    for client in (shop.ann, shop.marketer):
        assert [each.name for each in grants(client, offer=ours.name)] == [kept.name] and use(client, ours) == (1, 1, 0, 0, 0)
        nobody = client.refused(LIST_GRANTS, {"parent": ABSENT}).must_be(NOT_FOUND, "NOT_FOUND")
        assert client.refused(LIST_GRANTS, {"parent": theirs}).answer == nobody.answer
        assert client.refused(GET_GRANT, {"name": found.name}).answer == nobody.answer
    for method, fields in ((GRANT, {"parent": theirs, "offer": ours.name}), (REVOKE, {"name": found.name})):
        answers = [shop.marketer.refused(method, {key: each(value) if value != ours.name else value for key, value in fields.items()}).answer
                   for each in (str, of_nobody)]
        assert answers[0] == answers[1] == shop.marketer.refused(GET_GRANT, {"name": found.name}).answer, method
    assert use(shop.admin, ours) == (2, 2, 0, 0, 0)


# -- those who are gone, and processes that are killed --------------------------------------------------------------------

def whoever_is_restricted_or_merged_away_has_no_grants_until_it_is_there_again(shop, new):
    ours = create(shop.admin, new)
    # Who was known first is there after a merge.
    other, name = sorted(come(shop.admin, f"{new}-1", f"{new}-2"), key=lambda each: int(each.split("/")[1]))
    found = grant(shop.admin, name, ours)
    for begin_it, end_it in (("RestrictProcessing", "LiftRestriction"), ("MergeCustomers", "UnmergeCustomers")):
        is_merge = begin_it == "MergeCustomers"
        service = "IdentityService" if is_merge else "PrivacyService"
        answer = shop.admin.call(f"{service}/{begin_it}", {"customer": other, "other": name} if is_merge else {"name": name})
        questions.wait_for(shop.admin, answer.facts_position)
        for method, request in ((GET_GRANT, {"name": found.name}), (REDEEM, {"name": found.name, "order_id": "x"}),
                                (REDEEM, {"code": found.code, "order_id": "x"}), (LIST_GRANTS, {"parent": name})):
            shop.admin.refused(method, request).must_be(NOT_FOUND, "NOT_FOUND")
        assert grants(shop.admin, offer=ours.name) == [] and use(shop.admin, ours) == (0, 0, 0, 0, 0)
        answer = shop.admin.call(f"{service}/{end_it}", {"name": answer.name if is_merge else name})
        questions.wait_for(shop.admin, answer.facts_position)
        assert grants(shop.admin, name) == [found]


def of_whoever_is_erased_no_grant_is_left_and_its_code_is_good_for_nothing(shop, new):
    ours, request_id = create(shop.admin, new), str(uuid.uuid4())
    name, kept = come(shop.admin, f"{new}-1", f"{new}-2")
    found, other = grant(shop.admin, name, ours, request_id=request_id), grant(shop.admin, kept, ours)
    begun = shop.admin.call("PrivacyService/EraseCustomer", {"name": name}).name
    erasure = lambda: shop.admin.call("PrivacyService/GetErasure", {"name": begun})  # noqa: E731
    waiting.until(lambda: erasure().HasField("complete_time"), "the erasure")
    assert {receipt.service: receipt.remaining for receipt in erasure().receipts} == dict.fromkeys(SERVICES, 0)
    for method, request in ((GET_GRANT, {"name": found.name}), (REDEEM, {"code": found.code, "order_id": "x"}), (LIST_GRANTS, {"parent": name}),
                            (GRANT, {"parent": name, "offer": ours.name, "request_id": request_id})):
        shop.admin.refused(method, request).must_be(NOT_FOUND, "NOT_FOUND")
    assert grants(shop.admin, offer=ours.name) == [other]


def what_is_held_about_a_person_includes_grants(shop, new):
    found = grant(shop.admin, come(shop.admin, new), create(shop.admin, new))
    call = shop.admin.start("PrivacyService/ExportPersonalData", [{"name": customer_of(found)}], seconds=waiting.SECONDS)
    exported = [each for part in call for each in part.grants]
    assert [(each.offer, each.state, each.code) for each in exported] == [(found.offer, "OPEN", found.code)]


def killed_in_the_middle_a_step_grants_once(backend, new):
    with quintile.suite(backend, started=False) as suite:
        suite.start(failpoints=f"{PART}=1*return")
        admin = suite.client("admin")
        ours = create(admin, new, max_grants=1)
        playbook = begin(admin, grant_offer(ours))
        questions.take_in(admin, facts.customer(new, attributes={"kind": "CUSTOMER_KIND_CUSTOMER"}), facts.order(new, f"{new}-o"))
        waiting.until(lambda: suite.has_logged(f"failpoint {PART} reached"), "a part to be ready")
        assert grants(admin) == []
        suite.kill()
        suite.start()
        admin = suite.client("admin")
        [run] = until_ended(admin, playbook)
        [found] = grants(admin)
        assert (found.run, use(admin, ours), skipped(run)) == (run.name, (1, 1, 0, 0, 0), [])
        assert len(runs(admin, playbook)) == 1, "what was not written was not counted"


def an_offer_that_changes_says_so_by_its_etag(shop, new):
    ours = create(shop.admin, new)
    assert (ours.name, state(ours), ours.benefit.percent_off, ours.valid_days) == (f"offers/o-{new}", "ACTIVE", 10, 30)
    grant(shop.admin, come(shop.admin, f"{new}-c"), ours)
    assert shop.admin.call(rewards.GET, {"name": ours.name}) == ours, "a grant changes nothing"
    changed = update(shop.admin, ours, valid_days=5, texts=[{"title": "Five days"}])
    assert changed.etag != ours.etag and (changed.valid_days, changed.texts[0].title) == (5, "Five days")
    stale = {"offer": {"name": ours.name, "etag": ours.etag, "valid_days": 6}, "update_mask": "validDays"}
    assert shop.admin.refused(rewards.UPDATE, stale).code.name == "ABORTED"
    shop.admin.refused(USE, {"name": "offers/absent"}).must_be(NOT_FOUND, "NOT_FOUND")
