"""Questions about playbooks, runs, tasks and deliveries that make no sense, and contact policies that are none, are refused by their field; a page
token is good for its own query alone."""
from types import SimpleNamespace

import grpc
import pytest

from support import going_on, questions, quintile, receiver
from support.playbook_kit import (ABSENT, CLAIM, COMPLETE, GET_POLICY, GET_TASK, LIST, LIST_DELIVERIES, LIST_TASKS, OUTCOME, REPLAY, RUNS, SECRET,
                                  UPDATE_POLICY, begin, come, create, deliveries, every_task, is_refused, runs, set_policy, stop, task,
                                  until_deliveries, until_ended, webhook)
from support.refusals import INVALID_ARGUMENT, NOT_FOUND

ABORTED = grpc.StatusCode.ABORTED
NO_CUSTOMERS = ["", "x", "customers", "customers/", "customers/x", "customers/0", "customers/-1", "customers/01", "customers/1/", "customers/1/tasks",
                "-", "customers/--", "customers/-/tasks", " customers/-", f"customers/{10**30}", f"customers/{SECRET}", "segments/a", "playbooks/a"]


@pytest.fixture(scope="module")
def town(backend):
    """Two customers with four tasks and three dead letters each, by two playbooks."""
    with quintile.suite(backend, webhooks=receiver.refusing()) as suite:
        admin = suite.client("admin")
        playbooks = [begin(admin, *(task(f"{n}") for n in range(2)), *(webhook(f"{n}", "refusing") for n in range(count))) for count in (1, 2)]
        people = come(admin, "ann", "bob")
        for name in people:
            until_ended(admin, name, 2)
            until_deliveries(admin, name, *["FAILED"] * 3)
        for each in playbooks:
            stop(admin, each)
        yield SimpleNamespace(admin=admin, people=people, playbooks=[each.name for each in playbooks])


# -- pages ----------------------------------------------------------------------------------------------------------------

LISTS = {LIST_TASKS: "customers/-", LIST_DELIVERIES: "customers/-", RUNS: "customers/1"}
NUMBERS = {LIST_TASKS: (0, 4, -1), LIST_DELIVERIES: (0, 6, -1), RUNS: (0, 7, -1, 2**31 - 1)}
BAD = [(method, {"parent": parent}, "parent") for method in (LIST_TASKS, LIST_DELIVERIES) for parent in NO_CUSTOMERS]
# Runs are of one customer or of one playbook.
BAD += [(RUNS, {"parent": parent}, "parent") for parent in (
    *(each for each in NO_CUSTOMERS if each != "playbooks/a"), "customers/-", "playbooks/-", "playbooks", "playbooks/", "playbooks/No",
    "playbooks/a/", "playbooks/a/runs")]
BAD += [(method, {"parent": parent, "states": [1, number]}, "states[1]") for method, parent in LISTS.items() for number in NUMBERS[method]]
BAD += [(method, {"parent": parent, "states": [1] * 17}, "states") for method, parent in LISTS.items()]
BAD += [(method, {"parent": parent, "page_size": size}, "page_size") for method, parent in LISTS.items() for size in (-1, -2**31)]
BAD += [(LIST, {"page_size": -1}, "page_size")]
BAD += [(LIST_TASKS, {"parent": "customers/-", "assignee": whose}, "assignee")
        for whose in ("x" * 129, "a\nb", " ", f"{SECRET}\0", "a\u202eb")]


@pytest.mark.parametrize("method, wrong, field", BAD)
def a_question_that_makes_no_sense_is_refused_by_its_field(town, method, wrong, field):
    is_refused(town.admin, method, wrong, field)


@pytest.mark.parametrize("method", LISTS)
def of_whoever_is_not_there_nothing_is_listed(town, method):
    town.admin.refused(method, {"parent": ABSENT}).must_be(NOT_FOUND, "NOT_FOUND")
    if method == RUNS:
        town.admin.refused(method, {"parent": "playbooks/absent"}).must_be(NOT_FOUND, "NOT_FOUND")


def values_that_come_twice_are_asked_for_once(town):
    whole = every_task(town.admin)
    assert questions.everything(town.admin, LIST_TASKS, "tasks", parent="customers/-", states=[1] * 16) == whole
    assert [each.name for each in deliveries(town.admin, states=["FAILED"] * 16)] == [each.name for each in deliveries(town.admin)]


@pytest.fixture(scope="module")
def queries(town):
    """[(method, request)]: questions each of which goes on."""
    one, other = town.people
    asked = [(LIST, {}), *((LIST_TASKS, fields) for fields in (
        {"parent": "customers/-"}, {"parent": one}, {"parent": other}, {"parent": one, "states": [1]}, {"parent": one, "states": [1, 3]}))]
    asked += [(LIST_DELIVERIES, fields) for fields in ({"parent": "customers/-"}, {"parent": one}, {"parent": other}, {"parent": one, "states": [3]})]
    asked += [(RUNS, fields) for fields in ({"parent": one}, {"parent": other}, *({"parent": name} for name in town.playbooks),
                                            {"parent": one, "states": [5]})]
    return [(method, fields | {"page_size": 1}) for method, fields in asked]


def a_page_token_is_good_for_its_own_query_alone(town, queries):
    tokens = [town.admin.call(method, fields).next_page_token for method, fields in queries]
    assert all(tokens) and len(set(tokens)) == len(tokens)
    strange = town.admin.call("CustomerService/ListCustomers", {"page_size": 1}).next_page_token
    for place, (method, fields) in enumerate(queries):
        assert town.admin.call(method, fields | {"page_token": tokens[place]}).ByteSize()
        wrong = [token for number, token in enumerate(tokens) if number != place]
        for token in (*wrong, strange, *going_on.tampered(tokens[place])):
            refusal = town.admin.refused(method, fields | {"page_token": token}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
            assert [each.field for each in refusal.bad_request.field_violations] == ["page_token"], (method, fields)


def the_size_of_a_page_is_no_part_of_its_query(town, queries):
    for method, fields in queries:
        token = town.admin.call(method, fields).next_page_token
        rest = town.admin.call(method, fields | {"page_token": token, "page_size": 1_000_000})
        [field] = [each.name for each in rest.DESCRIPTOR.fields if each.is_repeated]
        whole = getattr(town.admin.call(method, fields | {"page_size": 0}), field)
        assert list(getattr(rest, field)) == list(whole)[1:] and not rest.next_page_token


# -- names ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method, part, fields", [(GET_TASK, "tasks", {}), (CLAIM, "tasks", {}), (COMPLETE, "tasks", {"outcome": 1}),
                                                  (REPLAY, "deliveries", {})])
def a_name_that_is_none_is_refused_and_one_of_nothing_not_found(town, method, part, fields):
    one, other = town.people
    found, theirs = ((every_task if part == "tasks" else deliveries)(town.admin, name)[0] for name in (one, other))
    number = found.name.rsplit("/", 1)[1]
    for name in ("", one, f"{one}/{part}", f"{one}/{part}/", f"{one}/{part}/x", f"{found.name}/", f"{found.name} ", f" {found.name}",
                 found.name.replace("customers/", "customers/0"), f"customers/-/{part}/{number}", f"customers/x/{part}/{number}", found.name.upper(),
                 f"{found.name}-1", f"customers/{10**30}/{part}/{number}", f"{one}/{part}/-1", f"{one}/{part}/1", f"{one}/score",
                 f"{one}/warnings/{number}", f"{one}/{part}/{SECRET}"):
        is_refused(town.admin, method, {"name": name} | fields, "name")
    for name in (theirs.name.replace(other, one), found.name.replace(one, ABSENT), f"{one}/{part}/{2**62}-0"):
        town.admin.refused(method, {"name": name} | fields).must_be(NOT_FOUND, "NOT_FOUND")
    before = (every_task if part == "tasks" else deliveries)(town.admin)
    assert found in before and theirs in before, "nothing was done"


@pytest.mark.parametrize("outcome", [0, 6, -1, 2**31 - 1])
def an_outcome_that_is_none_ends_no_task(town, outcome):
    found = every_task(town.admin, town.people[0])[0]
    is_refused(town.admin, COMPLETE, {"name": found.name, "outcome": outcome}, "outcome")
    assert town.admin.call(GET_TASK, {"name": found.name}) == found


def an_outcome_is_of_a_version_that_ran(town):
    is_refused(town.admin, OUTCOME, {"name": town.playbooks[0], "version": -1}, "version")
    told = town.admin.call(OUTCOME, {"name": town.playbooks[0]})
    assert (told.name, told.version) == (town.playbooks[0], 1) and told == town.admin.call(OUTCOME, {"name": town.playbooks[0], "version": 1})
    assert len(runs(town.admin, town.playbooks[0])) == told.waiting_customers == 2
    assert [(each.variant, each.HasField("uplift"), each.HasField("revenue_per_customer")) for each in told.effects] == [
        ("", False, False), ("a", False, False)]
    for name, version in ((town.playbooks[0], 2), (town.playbooks[0], 2**62)):
        assert town.admin.refused(OUTCOME, {"name": name, "version": version}).code.name in ("NOT_FOUND", "FAILED_PRECONDITION", "INVALID_ARGUMENT")


# -- what holds for all playbooks -----------------------------------------------------------------------------------------

CAP = {"max_contacts": 3, "cap_days": 7}
CN, DE = {"country": "CN", "zone": "Asia/Shanghai"}, {"country": "DE", "zone": "Europe/Berlin"}
COUNTRIES = [a + b for a in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for b in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
NO_POLICIES = {
    **{f"{count} contacts": (CAP | {"max_contacts": count}, "max_contacts") for count in (-1, 1_001, 2**31 - 1)},
    **{f"a cap of {days} days": (CAP | {"cap_days": days}, "cap_days") for days in (-1, 0, 366, 2**31 - 1)},
    "days without a cap": ({"cap_days": 7}, {"cap_days", "max_contacts"}),
    **{f"quiet from {hour}": ({"quiet_from_hour": hour, "quiet_to_hour": 8}, "quiet_from_hour") for hour in (-1, 24)},
    **{f"quiet to {hour}": ({"quiet_from_hour": 20, "quiet_to_hour": hour}, "quiet_to_hour") for hour in (-1, 24)},
    "quiet without an end": ({"quiet_from_hour": 20}, {"quiet_from_hour", "quiet_to_hour"}),
    "quiet without a beginning": ({"quiet_to_hour": 0}, {"quiet_from_hour", "quiet_to_hour"}),
    "quiet all day": ({"quiet_from_hour": 8, "quiet_to_hour": 8}, {"quiet_from_hour", "quiet_to_hour"}),
    "a country twice": ({"zones": [CN, DE, CN]}, "zones[2].country"),
    "too many countries": ({"zones": [{"country": each, "zone": "UTC"} for each in COUNTRIES[:301]]}, {"zones", "zones[300]", "zones[0].country"}),
    **{f"country {each!r}": ({"zones": [DE, {"country": each, "zone": "UTC"}]}, "zones[1].country")
       for each in ("", "cn", "CHN", "C", "C1", "中国")},
    **{f"zone {each!r}": ({"zones": [{"country": "CN", "zone": each}]}, "zones[0].zone")
       for each in ("", "Mars/Olympus", "+08:00", f"Asia/{SECRET}", "Asia/Shanghai ", "x" * 1_000)},
}


@pytest.mark.parametrize("wrong", NO_POLICIES)
def a_contact_policy_that_makes_no_sense_is_refused_by_its_field(town, wrong):
    policy, fields = NO_POLICIES[wrong]
    before = town.admin.call(GET_POLICY)
    fields = {f"policy.{field}" for field in (fields if isinstance(fields, set) else {fields})}
    is_refused(town.admin, UPDATE_POLICY, {"policy": policy}, fields)
    assert town.admin.call(GET_POLICY) == before


def a_contact_policy_within_bounds_is_taken_and_outlives_a_restart(fresh):
    admin = fresh.client("admin")
    first = admin.call(GET_POLICY)
    assert (first.name, first.paused, first.max_contacts, first.cap_days, list(first.zones)) == ("contactPolicy", False, 0, 0, []) and first.etag
    assert not first.HasField("quiet_from_hour") and not first.HasField("quiet_to_hour")
    etags = [first.etag]
    for fields in ({"paused": True, "max_contacts": 1_000, "cap_days": 365, "quiet_from_hour": 23, "quiet_to_hour": 0, "zones": [CN, DE]},
                   {"max_contacts": 1, "cap_days": 1, "quiet_from_hour": 0, "quiet_to_hour": 23, "zones": []}, {"name": "contactPolicies/other"}):
        told = set_policy(admin, **fields, etag=etags[-1])
        asked = admin.message(UPDATE_POLICY, {"policy": fields | {"name": "contactPolicy", "etag": told.etag}}).policy
        assert told == asked == admin.call(GET_POLICY)
        for stale in (*etags, "x"):
            admin.refused(UPDATE_POLICY, {"policy": fields | {"etag": stale}}).must_be(ABORTED, "STALE_ETAG")
        etags.append(told.etag)
    assert len(set(etags)) == len(etags)
    last = set_policy(admin, **CAP, zones=[CN])
    fresh.kill()
    fresh.start()
    assert fresh.client("admin").call(GET_POLICY).SerializeToString() == last.SerializeToString()


def what_was_changed_is_on_record(fresh):
    """By whom, and how it ended."""
    admin = fresh.client("admin")
    made = create(admin, "recorded", webhook("x", "absent"))
    set_policy(admin, paused=False)
    admin.refused("PlaybookService/StartPlaybook", {"name": made.name})
    stop(admin, made)
    admin.call("PlaybookService/DeletePlaybook", {"name": made.name})
    method = fresh.api().method_on("lifecycle", "AuditService/ListAuditEvents")

    def ended():
        events = questions.everything(admin, method, "events", kind="AUDIT_KIND_CHANGE_ENDED", page_size=1_000)
        return sorted((each.method.split("/")[-1], each.outcome) for each in events if "PlaybookService" in each.method)
    expected = [("CreatePlaybook", "OK"), ("DeletePlaybook", "OK"), ("StartPlaybook", "FAILED_PRECONDITION"), ("StopPlaybook", "OK"),
                ("UpdateContactPolicy", "OK")]
    assert ended() == expected
