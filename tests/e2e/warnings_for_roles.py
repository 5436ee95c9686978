"""Warnings as roles may use them: who reads, acts on and follows them, of whom, with which money; and what makes no sense in a request."""
import uuid
from types import SimpleNamespace

import pytest

from support import facts, policies, questions, quintile, waiting, warnings
from support.noons import START, after, midnight, move
from support.refusals import INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED
from support.warnings import GET, LIST, RESOLVE, SERVICE, STATES, WATCH, act, bought, complained, every, get, listed, resolve, tell, value_name
from support.watching import watch

READERS = {"admin", "service", "support", "sales", "marketer", "analyst", "data-engineer"}
ACTORS = {"admin", "service", "support", "sales", "marketer"}
ROLES = sorted(READERS | {"auditor"})
MAY = {"ListWarnings": READERS, "GetWarning": READERS, "GetWarningPolicy": READERS, "AcknowledgeWarning": ACTORS, "AssignWarning": ACTORS,
       "ResolveWarning": ACTORS, "WatchWarnings": ACTORS, "UpdateWarningPolicy": {"admin", "service", "marketer"}}
ABSENT = "customers/987654"
REDACTED = {"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}
OWN = {"FINANCIAL": {"form": "MASK_FORM_CLEAR", "condition": "owner == caller.subject"}}
# Who looks after whom, whether it may be written to, what it paid, and whether it is silent besides.
PEOPLE = {"ann-1": ("ann", True, 300_000, False), "ann-2": ("ann", False, 30_000, True), "bob-1": ("bob", True, 310_000, True),
          "bob-2": ("bob", False, 31_000, False), "none-1": ("", True, 500, False), "none-2": ("", False, 400, True)}
REACHED = {"sales": {"ann-1", "ann-2"}, "scoped": {"ann-1", "ann-2"}, "marketer": {"ann-1", "bob-1", "none-1"}, "support": set(PEOPLE)}
ACTED = "acted"  # One on whom every role acts.


def complaint(who, event, is_opened=True):
    return warnings.complaint(who, f"{who}-{event}-{is_opened}", event, is_opened, interaction_time=facts.days_before(0.2 if is_opened else 0.1))


def person(who, owner):
    return facts.customer(who, attributes={"kind": "CUSTOMER_KIND_CUSTOMER"} | ({"owner": owner} if owner else {}))


def consent(client, name):
    client.call("PrivacyService/SetConsent", {"name": name, "purpose": "PURPOSE_MARKETING", "state": "CONSENT_STATE_GIVEN"})


def take_in(client, who, owner="ann", cents=10_000, days=2):
    """Takes a customer with a complaint in, and returns the position of its facts."""
    questions.take_in(client, person(who, owner))
    return questions.take_in(client, facts.order(who, f"{who}-o", days=days, cents=cents), complaint(who, 1)).facts_position


@pytest.fixture(scope="module")
def town(shared):
    """The customers, each with a complaint, and clients of roles."""
    admin = shared.client("admin")
    for who, (owner, _, cents, is_silent) in (PEOPLE | {ACTED: ("ann", True, 1, False)}).items():
        position = take_in(admin, who, owner, cents, 200 if is_silent else 2)
    questions.wait_for(admin, position)
    names = {who: questions.find(admin, who) for who in (*PEOPLE, ACTED)}
    for who, name in names.items():
        if who == ACTED or PEOPLE[who][1]:
            consent(admin, name)
    policies.publish(admin, policies.role_like(admin, "admin", "scoped", without=policies.TAKING_IN, row_scope="owner == caller.subject"),
                     policies.role_like(admin, "admin", "no-money", forms=REDACTED), policies.role_like(admin, "support", "own-money", forms=OWN))
    clients = {"sales": shared.client("sales", subject="ann"), "marketer": shared.client("marketer"), "support": shared.client("support"),
               "scoped": policies.client_of(shared, "scoped", "ann")}
    town = SimpleNamespace(suite=shared, admin=admin, names=names, clients=clients)
    waiting.until(lambda: whose(town, listed(clients["marketer"])) == REACHED["marketer"], "consents to reach lifecycle")
    return town


def person_of(town, warning):
    """Who of the customers a warning is of; None: somebody of another test."""
    return next((who for who in PEOPLE if warning.name.startswith(f"{town.names[who]}/")), None)


def whose(town, found):
    return {person_of(town, each) for each in found} - {None}


def somebody(town, new, **fields):
    """The warning of a new customer."""
    questions.wait_for(town.admin, take_in(town.admin, new, **fields))
    [warning] = listed(town.admin, questions.find(town.admin, new))
    return warning


# -- who may call ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("role", ROLES)
def each_role_does_what_it_may_and_nothing_else(town, role):
    client = town.suite.client(role, subject=None if role == "service" else "ann")
    [acted], [warning] = (every(town.admin, town.names[who]) for who in (ACTED, "ann-1"))
    policy = policies.as_dict(town.admin.call(f"{SERVICE}/GetWarningPolicy"))
    requests = {"ListWarnings": {"parent": "customers/-"}, "GetWarning": {"name": warning.name}, "GetWarningPolicy": {},
                "AcknowledgeWarning": {"name": warning.name}, "AssignWarning": {"name": warning.name, "assignee": "ann"},
                "ResolveWarning": {"name": acted.name, "resolution": 1}, "WatchWarnings": {},
                "UpdateWarningPolicy": {"policy": policy | {"etag": ""}}}
    for method, request in requests.items():
        if role not in MAY[method]:
            client.refused(f"{SERVICE}/{method}", request).must_be(PERMISSION_DENIED, "METHOD_DENIED")
        elif method == "WatchWarnings":
            with watch(client, WATCH) as watcher:
                watcher.until(lambda said: said and said[0].cursor, "a cursor")
        else:
            assert client.call(f"{SERVICE}/{method}", request).ByteSize(), method


def whoever_acts_is_named_as_its_token_has_it(town, new):
    warning = somebody(town, new)
    assert act(town.clients["sales"], "Acknowledge", warning).acknowledged_by == "ann"
    assert resolve(policies.client_of(town.suite, "scoped", "ann"), warning, "LOST").resolved_by == "ann"


def whose_money_was_shown_to_whom_is_on_record(town, new):
    """By every way in which a warning is read; of a stream, that it was begun."""
    warning, subject = somebody(town, new), f"s-{new[:12]}"
    client, name = town.suite.client("support", subject=subject), warning.name.rsplit("/warnings/", 1)[0]
    get(client, warning)
    listed(client)
    act(client, "Acknowledge", warning)
    act(client, "Assign", warning, assignee="tess")
    resolve(client, warning)
    with watch(client, WATCH) as watcher:
        begun(watcher)
    method = town.suite.api().method_on("lifecycle", "AuditService/ListAuditEvents")

    def on_record(**asked):
        events = questions.everything(town.admin, method, "events", subject=subject, page_size=1_000, **asked)
        return {each.method.split("/")[-1] for each in events}
    reads = {"GetWarning", "ListWarnings", "AcknowledgeWarning", "AssignWarning", "ResolveWarning"}
    assert on_record(customer=name, kind="AUDIT_KIND_READ") == reads
    assert on_record(kind="AUDIT_KIND_STREAM_OPENED") == {"WatchWarnings"}


# -- of whom --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("role", REACHED)
def pages_are_full_of_those_whom_a_role_reaches(town, role):
    """Where they end does not tell how many others there are."""
    whole = [each.name for each in every(town.clients[role])]
    for size in (1, 2):
        page = town.clients[role].call(LIST, {"parent": "customers/-", "page_size": size, "states": [f"WARNING_STATE_{state}" for state in STATES]})
        assert [each.name for each in page.warnings] == whole[:size]


@pytest.mark.parametrize("role", REACHED)
@pytest.mark.parametrize("page_size", [1, 2, 1_000])
def lists_have_those_of_whom_a_role_reaches_and_no_others(town, role, page_size):
    """Pages may be short, or empty."""
    client, ours = town.clients[role], lambda found: [each for each in found if person_of(town, each)]
    for asked in ({}, {"kinds": ("SILENCE",)}, {"min_severity": "WARNING_SEVERITY_MEDIUM"}, {"order": "WARNING_ORDER_VALUE"}, {"states": STATES}):
        whole = ours(listed(town.admin, **asked))
        found = listed(client, page_size=page_size, **asked)
        assert ours(found) == [each for each in whole if person_of(town, each) in REACHED[role]]
        if role in ("sales", "scoped"):
            assert all(is_anns(town, each) for each in found)
    for who in REACHED[role]:
        assert listed(client, town.names[who], page_size=page_size) == listed(town.admin, town.names[who])


def is_anns(town, warning):
    name = warning.name.rsplit("/warnings/", 1)[0]
    return town.admin.call("CustomerService/GetCustomer", {"name": name}).attributes.owner == "ann"


@pytest.mark.parametrize("role", ["sales", "scoped", "marketer"])
def whom_a_role_does_not_reach_has_no_warnings_and_is_not_acted_on(town, role):
    client = town.clients[role]
    nobody = client.refused(LIST, {"parent": ABSENT}).must_be(NOT_FOUND, "NOT_FOUND")
    for who in set(PEOPLE) - REACHED[role]:
        assert client.refused(LIST, {"parent": town.names[who]}).answer == nobody.answer
        for warning in every(town.admin, town.names[who]):
            for method, fields in (("Get", {}), ("Acknowledge", {}), ("Assign", {"assignee": "ann"}), ("Resolve", {"resolution": 1})):
                asked = lambda name: client.refused(f"{SERVICE}/{method}Warning", {"name": name} | fields).answer  # noqa: B023, E731
                assert asked(warning.name) == nobody.answer == asked(warning.name.replace(town.names[who], ABSENT)), (method, who)
            assert get(town.admin, warning) == warning


# -- with which money -----------------------------------------------------------------------------------------------------

def money_of(warning):
    return warning.HasField("value_at_stake"), warning.HasField("customer_value")


def who_reads_no_money_sees_none_in_any_answer(town, new):
    client, whole = policies.client_of(town.suite, "no-money"), listed(town.admin)
    found = listed(client)
    assert [each.name for each in found] == [each.name for each in whole] and {money_of(each) for each in found} == {(False, False)}
    assert [(each.severity, each.risk, each.evidence) for each in found] == [(each.severity, each.risk, each.evidence) for each in whole]
    with watch(client, WATCH) as watcher:
        watcher.until(lambda said: said and said[0].cursor, "a cursor")
        warning = somebody(town, new, cents=300_000)
        assert money_of(warning) == (True, True) and money_of(get(client, warning)) == (False, False)
        for method, fields in (("Acknowledge", {}), ("Assign", {"assignee": "tess"}), ("Resolve", {"resolution": 3})):
            assert money_of(act(client, method, warning, **fields)) == (False, False)
        watcher.until(lambda _: any(value_name(each, "state") == "RESOLVED" for each in heard(watcher, warning)), "the end")
        assert {money_of(each) for each in heard(watcher)} == {(False, False)}
    assert money_of(get(town.admin, warning)) == (True, True)


def who_reads_its_own_customers_money_sees_that_alone(town):
    client = policies.client_of(town.suite, "own-money", "ann")
    seen = {person_of(town, each): money_of(each) for each in listed(client) if person_of(town, each)}
    assert seen == {who: (owner == "ann",) * 2 for who, (owner, *_) in PEOPLE.items()}


def who_does_not_read_everybodys_money_orders_nothing_by_it(town):
    for role in ("no-money", "own-money"):
        client = policies.client_of(town.suite, role, "ann")
        for parent in ("customers/-", town.names["ann-1"]):
            request = {"parent": parent, "order": "WARNING_ORDER_VALUE"}
            refusal = client.refused(LIST, request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
            assert "order" in refusal.message
            assert client.call(LIST, request | {"order": "WARNING_ORDER_RAISED"}).warnings
        assert client.call(f"{SERVICE}/GetWarningPolicy").HasField("high_from")
    # By thresholds of one's own choice a severity would tell how much is at stake.
    refusal = policies.client_of(town.suite, "no-money").refused(f"{SERVICE}/UpdateWarningPolicy", {
        "policy": {"medium_from": facts.dollars(1), "high_from": facts.dollars(2)}})
    refusal.must_be(PERMISSION_DENIED, "FIELD_DENIED")


# -- followed -------------------------------------------------------------------------------------------------------------

def heard(watcher, warning=None):
    """The warnings that a watch has told of so far, of all or of one."""
    return [each for said in list(watcher.responses) for each in said.warnings if warning is None or each.name == warning.name]


def plainly(found):
    return [(value_name(each, "state"), each.assignee) for each in found]


def begun(watcher):
    """The cursor from which a watch begins."""
    return watcher.until(lambda said: said and said[0].cursor, "a cursor")


def until_heard(watcher, warning, *expected):
    """Waits until of a warning exactly this has been told: (state, assignee) in turn."""
    watcher.until(lambda _: plainly(heard(watcher, warning)) == list(expected), lambda: f"{expected}, not {plainly(heard(watcher, warning))}")


def a_watch_tells_of_every_warning_when_it_is_raised_and_whenever_it_changes(town, new):
    with watch(town.admin, WATCH) as watcher:
        begun(watcher)
        assert heard(watcher) == [], "what was before is not told"
        warning = somebody(town, new)
        ought = [("OPEN", "")]
        until_heard(watcher, warning, *ought)
        assert heard(watcher, warning) == [warning]
        for method, fields, state in (("Assign", {"assignee": "tess"}, ("OPEN", "tess")), ("Acknowledge", {}, ("ACKNOWLEDGED", "tess")),
                                      ("Assign", {"assignee": ""}, ("ACKNOWLEDGED", "")), ("Resolve", {"resolution": 2}, ("RESOLVED", ""))):
            done = act(town.admin, method, warning, **fields)
            ought.append(state)
            until_heard(watcher, warning, *ought)
            assert heard(watcher, warning)[-1] == done
        # What changes nothing is not told.
        resolve(town.admin, warning, "LOST")
        other = somebody(town, f"{new}-2")
        until_heard(watcher, other, ("OPEN", ""))
        questions.wait_for(town.admin, questions.take_in(town.admin, complaint(f"{new}-2", 1, is_opened=False)).facts_position)
        until_heard(watcher, other, ("OPEN", ""), ("CLEARED", ""))
        assert plainly(heard(watcher, warning)) == ought and all(said.cursor for said in watcher.responses)


def a_watch_goes_on_behind_its_cursor_and_tells_each_once_as_it_is(town, new):
    with watch(town.admin, WATCH) as watcher:
        cursors, changed = [begun(watcher)], []
        people = [somebody(town, f"{new}-{n}") for n in range(3)]
        watcher.until(lambda _: len(heard(watcher)) == 3, "all of them")
        cursors[0] = watcher.responses[-1].cursor
        for number, place in enumerate((0, 1, 0, 2, 1, 1)):
            act(town.admin, "Assign", people[place], assignee=f"tess-{number}")
            tells = lambda response, whom=f"tess-{number}": any(each.assignee == whom for each in response.warnings)  # noqa: E731
            said = watcher.until(lambda said, tells=tells: next(filter(tells, said), None), "the change")
            cursors.append(said.cursor)
            changed.append(people[place].name)
    for place, cursor in enumerate(cursors):
        left = changed[place:]
        ought = [name for n, name in enumerate(left) if name not in left[n + 1:]]
        with watch(town.admin, WATCH, {"cursor": cursor}) as watcher:
            watcher.until_caught_up()
            assert heard(watcher) == [get(town.admin, name) for name in ought], place


def a_watch_tells_whose_warnings_are_gone_and_that_they_are_back(town, new):
    with watch(town.admin, WATCH) as watcher, watch(town.clients["sales"], WATCH) as of_sales:
        begun(watcher)
        begun(of_sales)
        warning = somebody(town, new, owner="bob")
        until_heard(watcher, warning, ("OPEN", ""))
        customer = {"name": warning.name.split("/warnings/")[0]}
        town.admin.call("PrivacyService/RestrictProcessing", customer)
        watcher.until(lambda said: any(warning.name in each.gone for each in said), "the warning to be gone")
        town.admin.call("PrivacyService/LiftRestriction", customer)
        until_heard(watcher, warning, ("OPEN", ""), ("OPEN", ""))
        assert [each.gone[:] for each in watcher.responses if each.gone] == [[warning.name]]
    assert not any(said.gone or said.warnings for said in of_sales.responses)


def more_than_a_response_holds_is_told_in_pieces(backend):
    with quintile.suite(backend) as suite:
        client, count = suite.client("admin"), 2_300
        with watch(client, WATCH) as watcher:
            cursor = begun(watcher)
        rows = [row for n in range(count) for row in (facts.order(f"c{n}", "o"), complaint(f"c{n}", 1))]
        questions.wait_for(client, questions.take_in(client, *rows).facts_position)
        pieces = []
        while True:
            # Cut off behind every response.
            with watch(client, WATCH, {"cursor": cursor}) as watcher:
                said = watcher.until(lambda said: said and said[0], "a response")
            if not said.warnings:
                break
            pieces.append(list(said.warnings))
            cursor = said.cursor
        assert len(pieces) > 2 and {len(each) for each in pieces[:-1]} == {1_000}
        whole = [each.name for each in listed(client)]
        assert sorted(each.name for piece in pieces for each in piece) == sorted(whole) and len(set(whole)) == count


def a_watch_tells_of_what_is_asked_for_alone(town, new):
    asked = {"silent": {"kinds": ["WARNING_KIND_SILENCE"]}, "high": {"min_severity": "WARNING_SEVERITY_HIGH"},
             "both": {"kinds": ["WARNING_KIND_COMPLAINT", "WARNING_KIND_SILENCE"], "min_severity": "WARNING_SEVERITY_MEDIUM"}}
    with watch(town.admin, WATCH, asked["silent"]) as silent, watch(town.admin, WATCH, asked["high"]) as high, watch(
            town.admin, WATCH, asked["both"]) as both, watch(town.admin, WATCH) as everything:
        start = [begun(watcher) for watcher in (silent, high, both, everything)][0]
        people = {"poor": (500, 2), "rich": (500_000, 2), "middling": (50_000, 2), "gone": (500_000, 200)}
        for who, (cents, days) in people.items():
            questions.wait_for(town.admin, take_in(town.admin, f"{new}-{who}", cents=cents, days=days))
        names = {questions.find(town.admin, f"{new}-{who}"): who for who in people}
        told = lambda watcher: [(names.get(each.name.rsplit("/warnings/", 1)[0]), value_name(each, "kind")) for each in heard(watcher)]  # noqa: E731
        whole = [("poor", "COMPLAINT"), ("rich", "COMPLAINT"), ("middling", "COMPLAINT"), ("gone", "SILENCE"), ("gone", "COMPLAINT")]
        everything.until(lambda _: sorted(told(everything)) == sorted(whole), "all of them")
        for watcher, ought in ((silent, whole[3:4]), (high, [whole[1], *whole[3:]]), (both, whole[1:])):
            watcher.until(lambda _, ought=ought, watcher=watcher: sorted(told(watcher)) == sorted(ought), f"{ought}")
    # A cursor is not of the filters.
    with watch(town.admin, WATCH, asked["high"] | {"cursor": start}) as watcher:
        watcher.until_caught_up()
        assert sorted(told(watcher)) == sorted([whole[1], *whole[3:]])


@pytest.mark.parametrize("role", ["sales", "scoped", "marketer"])
def a_watch_tells_of_those_whom_a_role_reaches(town, role):
    client = town.clients[role]
    with watch(client, WATCH) as watcher, watch(town.admin, WATCH) as of_all:
        start = begun(watcher)
        begun(of_all)
        last = [each for who in REACHED[role] for each in listed(town.admin, town.names[who])][-1]
        whole = [each for each in listed(town.admin) if person_of(town, each) and each != last]
        for each in (*whole, last):
            act(town.admin, "Assign", each, assignee=uuid.uuid4().hex)
        of_all.until(lambda _: len(heard(of_all)) >= len(whole) + 1, "all of them")
        watcher.until(lambda _: heard(watcher, last), "the last one")
        assert whose(town, heard(of_all)) == set(PEOPLE) and whose(town, heard(watcher)) == REACHED[role]
        assert len(heard(watcher)) == sum(person_of(town, each) in REACHED[role] for each in (*whole, last))
    with watch(client, WATCH, {"cursor": start}) as again:
        again.until_caught_up()
        assert {person_of(town, each) for each in heard(again)} == REACHED[role] == whose(town, every(client))


def a_customer_that_changes_hands_is_heard_of_by_whose_it_is(town, new):
    warning = somebody(town, new, owner="bob")
    name = warning.name.rsplit("/warnings/", 1)[0]
    with watch(town.clients["sales"], WATCH) as watcher:
        begun(watcher)
        act(town.admin, "Assign", warning, assignee="for-bob")
        change = {"customer": {"name": name, "attributes": {"owner": "ann"}}, "update_mask": "attributes.owner"}
        town.admin.call("CustomerService/UpdateCustomer", change)
        questions.wait_for(town.admin, questions.take_in(town.admin, facts.order(new, f"{new}-later")).facts_position)
        act(town.admin, "Assign", warning, assignee="for-ann")
        until_heard(watcher, warning, ("OPEN", "for-ann"))


def of_the_erased_and_the_restricted_a_watch_is_silent_and_goes_on(town, new):
    with watch(town.admin, WATCH) as watcher:
        start = begun(watcher)
    erased, restricted, kept = (somebody(town, f"{new}-{n}") for n in range(3))
    name = lambda warning: warning.name.rsplit("/warnings/", 1)[0]  # noqa: E731
    operation = town.admin.call("PrivacyService/EraseCustomer", {"name": name(erased)}).name
    questions.wait_for(town.admin, town.admin.call("PrivacyService/RestrictProcessing", {"name": name(restricted)}).facts_position)
    waiting.until(lambda: town.admin.call("PrivacyService/GetErasure", {"name": operation}).HasField("complete_time"), "the erasure")
    with watch(town.admin, WATCH, {"cursor": start}) as watcher:
        watcher.until_caught_up()
        assert [each.name for each in heard(watcher)] == [kept.name]
        town.admin.call("PrivacyService/LiftRestriction", {"name": name(restricted)})
        watcher.until(lambda _: any(name(each) == name(restricted) for each in heard(watcher)), "one that is raised anew")


def a_watch_tells_what_time_does_and_outlives_a_restart_by_its_cursor(backend):
    with quintile.suite(backend, as_of=facts.text_of(START)) as suite:
        client = suite.client("admin")
        tell(client, 0, bought("ann", "o"), complained("ann"))
        with watch(client, WATCH) as watcher:
            begun(watcher)
            move(client, 90)
            watcher.until(lambda _: heard(watcher), "the end of the complaint")
            assert [warnings.plain(each) for each in heard(watcher)] == [("COMPLAINT", START, "EXPIRED", after(90))]
            cursor = watcher.responses[-1].cursor
        suite.kill()
        suite.as_of = facts.text_of(after(125))
        suite.start()
        client = suite.client("admin")
        questions.wait_for(client, 0, after(125))
        with watch(client, WATCH, {"cursor": cursor}) as watcher:
            watcher.until(lambda _: heard(watcher), "the silence")
            assert [warnings.plain(each) for each in heard(watcher)] == [("SILENCE", midnight(120), "OPEN", None)]


def no_watch_goes_on_from_a_cursor_that_is_none(town):
    with watch(town.admin, WATCH) as watcher:
        cursor = begun(watcher)
    with watch(town.admin, "StageService/WatchStages") as stages:
        of_stages = stages.until_caught_up() and stages.responses[-1].cursor
    token = town.admin.call(LIST, {"parent": "customers/-", "page_size": 1}).next_page_token
    for wrong in ("x", cursor[:-1], cursor + "A", cursor[1:], of_stages, token, "0"):
        refusal = town.admin.refused(WATCH, {"cursor": wrong}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
        assert [each.field for each in refusal.bad_request.field_violations] == ["cursor"]


# -- what makes no sense --------------------------------------------------------------------------------------------------

BAD = [(LIST, {"parent": parent}, "parent") for parent in (
    "", "customers", "customers/", "customers/x", "customers/0", "customers/-1", "customers/01", "customers/1/", "customers/1/warnings", "-",
    "customers/--", "customers/-/warnings", " customers/-", f"customers/{10**30}")]
BAD += [(LIST, {"parent": "customers/-"} | fields, field) for fields, field in (
    ({"states": [0]}, "states[0]"), ({"states": [6]}, "states[0]"), ({"states": [1, -1]}, "states[1]"), ({"states": [1, 0]}, "states[1]"),
    ({"kinds": [0]}, "kinds[0]"), ({"kinds": [7]}, "kinds[0]"), ({"kinds": [4, 3, 99]}, "kinds[2]"), ({"min_severity": 4}, "min_severity"),
    ({"min_severity": -1}, "min_severity"), ({"order": 3}, "order"), ({"order": -1}, "order"), ({"page_size": -1}, "page_size"),
    ({"assignee": "x" * 129}, "assignee"), ({"assignee": "a\nb"}, "assignee"), ({"assignee": " "}, "assignee"))]
BAD += [(LIST, {"parent": "customers/-", field: [1] * 17}, field) for field in ("states", "kinds")] + [(WATCH, {"kinds": [1] * 17}, "kinds")]
BAD += [(WATCH, fields, field) for fields, field in (
    ({"kinds": [0]}, "kinds[0]"), ({"kinds": [1, 7]}, "kinds[1]"), ({"min_severity": 4}, "min_severity"))]


@pytest.mark.parametrize("method, request_of, field", BAD)
def a_question_that_makes_no_sense_is_refused_by_its_field(town, method, request_of, field):
    for client in (town.admin, town.clients["sales"]):
        refusal = client.refused(method, request_of).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        assert [each.field for each in refusal.bad_request.field_violations] == [field]


@pytest.mark.parametrize("method, fields", [(GET, {}), (f"{SERVICE}/AcknowledgeWarning", {}), (f"{SERVICE}/AssignWarning", {"assignee": "tess"}),
                                            (RESOLVE, {"resolution": 1})])
def a_name_that_is_none_is_refused_and_one_of_nothing_not_found(town, method, fields):
    [warning], [other] = (every(town.admin, town.names[who]) for who in ("ann-1", "bob-2"))
    customer, number = warning.name.split("/warnings/")
    for name in ("", customer, f"{customer}/warnings", f"{customer}/warnings/", f"{customer}/warnings/x", f"{warning.name}/", f"{warning.name} ",
                 f" {warning.name}", warning.name.replace("customers/", "customers/0"), f"customers/-/warnings/{number}",
                 f"customers/x/warnings/{number}", warning.name.upper(), f"{warning.name}-1", f"customers/{10**30}/warnings/{number}",
                 f"{customer}/warnings/-1", f"{customer}/score"):
        refusal = town.admin.refused(method, {"name": name} | fields).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        assert [each.field for each in refusal.bad_request.field_violations] == ["name"], name
    for name in (other.name.replace(town.names["bob-2"], customer), warning.name.replace(customer, town.names["bob-2"]),
                 warning.name.replace(customer, ABSENT)):
        town.admin.refused(method, {"name": name} | fields).must_be(NOT_FOUND, "NOT_FOUND")
    assert [get(town.admin, each) for each in (warning, other)] == [warning, other]


@pytest.mark.parametrize("method, fields", [
    ("Assign", {"assignee": "x" * 129}), ("Assign", {"assignee": "a\nb"}), ("Assign", {"assignee": "a\0b"}), ("Assign", {"assignee": "a\u202eb"}),
    ("Resolve", {}), ("Resolve", {"resolution": 0}), ("Resolve", {"resolution": 5}), ("Resolve", {"resolution": -1})])
def what_cannot_be_done_is_refused_and_does_nothing(town, method, fields):
    [warning] = every(town.admin, town.names["ann-1"])
    refusal = town.admin.refused(f"{SERVICE}/{method}Warning", {"name": warning.name} | fields)
    refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert [each.field for each in refusal.bad_request.field_violations] == ["assignee" if method == "Assign" else "resolution"]
    assert get(town.admin, warning) == warning
