"""What is done about warnings: how severe each is by the tenant's policy, whose it is, what came of it, and what becomes of it with its customer."""
import subprocess

import grpc
import pytest

from support import facts, policies, questions, quintile, retention, segments, waiting, warnings
from support.noons import START, after, midnight, move
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND
from support.retention import DAY
from support.warnings import (LIST, RESOLVE, SERVICE, act, bought, command, complained, every, get, listed, plain, resolve, tell, told, until_told,
                              value_name)
from support.watching import cause

ABORTED = grpc.StatusCode.ABORTED
SERVICES = {"ingestion", "scoring", "lifecycle", "segmentation", "access-control"}
EXIT_USAGE, EXIT_ABSENT, EXIT_DENIED = 2, 3, 4
NAME = "warningPolicy"
FIELD, MONEY = "INVALID_FIELD", "INVALID_MONEY"


@pytest.fixture
def office(backend):
    """An empty suite at a noon."""
    with quintile.suite(backend, as_of=facts.text_of(START)) as suite:
        yield suite


@pytest.fixture
def client(office):
    return office.client("admin")


@pytest.fixture(scope="module")
def desk(backend):
    """A suite of which tests change the policy alone."""
    with quintile.suite(backend, as_of=facts.text_of(START)) as suite:
        yield suite


def warned(client, who, *rows, days=0):
    """The warning of a customer's complaint, who has bought something or what is given."""
    tell(client, days, *(rows or (bought(who, "o", days),)), complained(who, days))
    [warning] = listed(client, questions.find(client, who), kinds=("COMPLAINT",))
    return warning


def customer_of(warning):
    return warning.name.rsplit("/warnings/", 1)[0]


def of_nobody(warning):
    """A warning's name as it would be of a customer who never was."""
    return warning.name.replace(customer_of(warning), "customers/987654")


# -- how severe it is -----------------------------------------------------------------------------------------------------

def refunded(who, cents, days):
    return facts.refund(who, f"r{days}", refund_time=facts.text_of(START - days * DAY), cents=cents, order_event_id=f"{who}-old")


# {customer: (its rows, cents of its worth, of what is at stake, severity)}
STAKES = {
    "free": ([("o", 1, 0)], 0, 0, "LOW"), "least": ([("o", 1, 1)], 1, 0, "LOW"), "three": ([("o", 1, 3)], 3, 2, "LOW"),
    "low": ([("o", 1, 19_998)], 19_998, 9_999, "LOW"), "just-medium": ([("o", 1, 19_999)], 19_999, 10_000, "MEDIUM"),
    "medium": ([("o", 1, 20_001)], 20_001, 10_000, "MEDIUM"), "most-medium": ([("o", 1, 199_998)], 199_998, 99_999, "MEDIUM"),
    "just-high": ([("o", 1, 199_999)], 199_999, 100_000, "HIGH"), "high": ([("o", 5, 10**12)], 10**12, 5 * 10**11, "HIGH"),
    "last-years": ([("o", 400, 150_000), ("p", 1, 1_000)], 150_000, 75_000, "MEDIUM"),
    "this-years": ([("o", 400, 1_000), ("p", 1, 30_000)], 30_000, 15_000, "MEDIUM"),
    "long-ago": ([("o", 800, 900_000), ("p", 1, 500)], 500, 250, "LOW"), "dormant": ([("o", 300, 12_503)], 12_503, 10_002, "MEDIUM"),
    "added": ([("o", 364, 15_000), ("p", 200, 15_000), ("q", 1, 15_000)], 45_000, 22_500, "MEDIUM"),
}


def half_of_a_year_is_at_stake_and_more_of_the_dormant(client):
    rows = [bought(who, event, ago=days * DAY, cents=cents) for who, (orders, *_) in STAKES.items() for event, days, cents in orders]
    tell(client, 0, *rows, *map(complained, STAKES))
    found = {who: listed(client, questions.find(client, who), kinds=("COMPLAINT",))[0] for who in STAKES}
    said = {who: (facts.cents_of(each.customer_value), facts.cents_of(each.value_at_stake), value_name(each, "severity"))
            for who, each in found.items()}
    assert said == {who: tuple(ought) for who, (_, *ought) in STAKES.items()}
    assert {who for who, each in found.items() if each.risk != 0.5} == {"dormant"} and found["dormant"].risk == 0.8
    by_value = [each.name for each in listed(client, order="WARNING_ORDER_VALUE", kinds=("COMPLAINT",))]
    assert by_value[0] == found["high"].name and by_value[-1] in (found["free"].name, found["least"].name)


def who_gave_back_more_than_it_bought_is_worth_nothing_and_not_less(client):
    """In both years; of the purchase before them nothing counts."""
    tell(client, 0, bought("ann", "old", ago=800 * DAY, cents=90_000), bought("ann", "o", ago=2 * DAY, cents=100), refunded("ann", 30_000, 500),
         refunded("ann", 30_000, 5), complained("ann"))
    [warning] = listed(client, kinds=("COMPLAINT",))
    assert warning.HasField("customer_value") and warning.HasField("value_at_stake")
    assert (facts.cents_of(warning.customer_value), facts.cents_of(warning.value_at_stake), value_name(warning, "severity")) == (0, 0, "LOW")


@pytest.mark.parametrize("currency, digits", [("JPY", 0), ("EUR", 2), ("KWD", 3)])
def thresholds_are_of_the_base_currency(desk, currency, digits):
    tenant = f"in-{currency.lower()}"
    desk.client("admin").call("TenantService/CreateTenant", {"tenant_id": tenant, "tenant": {"base_currency": currency}})
    client = desk.client("admin", tenant)
    waiting.until(lambda: policies.is_known(client), f"{tenant} to be known", policies.FORCE_SECONDS)
    policy = client.call(f"{SERVICE}/GetWarningPolicy")
    thresholds = [(each.currency_code, each.units, each.nanos) for each in (policy.medium_from, policy.high_from)]
    assert thresholds == [(currency, 100, 0), (currency, 1_000, 0)]
    smallest = 10 ** (9 - digits)
    amounts = {"low": (198, 0), "medium": (200, 0), "high": (2_000, 0), "odd": (3, smallest if digits else 0)}
    rows = [bought(who, "o", amount={"currency_code": currency, "units": units, "nanos": nanos}) for who, (units, nanos) in amounts.items()]
    questions.wait_for(client, questions.take_in(client, *rows, *map(complained, amounts)).facts_position, START)
    found = {who: listed(client, questions.find(client, who))[0] for who in amounts}
    assert {who: value_name(each, "severity") for who, each in found.items()} == {"low": "LOW", "medium": "MEDIUM", "high": "HIGH", "odd": "LOW"}
    # Half of 3 yen, and half of 3.01 euros or 3.001 dinars, to the even one.
    stake = found["odd"].value_at_stake
    assert (stake.currency_code, stake.units, stake.nanos) == (currency, 2 if digits == 0 else 1, 0 if digits == 0 else 500_000_000)


# -- the policy -----------------------------------------------------------------------------------------------------------

def policy_of(client):
    return client.call(f"{SERVICE}/GetWarningPolicy")


def say(client, medium, high, **fields):
    """Says from how many cents a warning is of which severity."""
    said = {"medium_from": facts.dollars(medium), "high_from": facts.dollars(high)} | fields
    return client.call(f"{SERVICE}/UpdateWarningPolicy", {"policy": said})


def cents_of(policy):
    return policy.name, facts.cents_of(policy.medium_from), facts.cents_of(policy.high_from)


def a_policy_holds_for_what_is_raised_from_then_on(client):
    first = policy_of(client)
    assert cents_of(first) == (NAME, 10_000, 100_000) and first.etag
    before = warned(client, "ann", bought("ann", "o", cents=10_000))
    second = say(client, 5_000, 6_000, etag=first.etag)
    assert cents_of(second) == (NAME, 5_000, 6_000) and second.etag != first.etag and policy_of(client) == second
    later = {who: warned(client, who, bought(who, "o", cents=cents)) for who, cents in (("bob", 9_998), ("cid", 10_000), ("dan", 12_000))}
    assert {who: value_name(each, "severity") for who, each in later.items()} == {"bob": "LOW", "cid": "MEDIUM", "dan": "HIGH"}
    assert value_name(get(client, before), "severity") == "LOW"
    say(client, 0, 1)
    assert value_name(warned(client, "eve", bought("eve", "o", cents=0)), "severity") == "MEDIUM"
    assert {who: value_name(get(client, each), "severity") for who, each in later.items()} == {"bob": "LOW", "cid": "MEDIUM", "dan": "HIGH"}


def a_policy_is_changed_only_by_who_knows_it(desk):
    client = desk.client("admin")
    first = policy_of(client)
    second = say(client, 700, 800, etag=first.etag, name="warningPolicies/other")
    assert cents_of(second) == (NAME, 700, 800)
    stale = {"policy": {"medium_from": facts.dollars(1), "high_from": facts.dollars(2), "etag": first.etag}}
    client.refused(f"{SERVICE}/UpdateWarningPolicy", stale).must_be(ABORTED, "STALE_ETAG")
    assert policy_of(client) == second
    third = say(client, 900, 1_000)
    assert policy_of(client) == third and len({first.etag, second.etag, third.etag}) == 3
    etags = [say(client, 900, 1_000).etag for _ in range(2)]
    assert policy_of(client).etag == etags[1]


def of_many_who_change_the_policy_at_once_one_is_right(desk):
    client = desk.client("admin")
    request = {"policy": {"medium_from": facts.dollars(10), "high_from": facts.dollars(20), "etag": say(client, 1, 2).etag}}
    method = client.api.method(f"{SERVICE}/UpdateWarningPolicy")
    calls = [client.api.callable(method).future(client.message(method, request), metadata=client.metadata(), timeout=waiting.SECONDS)
             for _ in range(20)]
    assert sorted(call.code().name for call in calls) == ["ABORTED"] * 19 + ["OK"]
    assert cents_of(policy_of(client)) == (NAME, 10, 20)


def money(units, nanos=0, currency="USD"):
    return {"currency_code": currency, "units": units, "nanos": nanos}


@pytest.mark.parametrize("wrong, fields, reason", [
    ({"medium_from": None}, {"medium_from"}, FIELD), ({"high_from": None}, {"high_from"}, FIELD), ({"medium_from": {}}, {"medium_from"}, MONEY),
    ({"high_from": money(5_000, currency="EUR")}, {"high_from"}, MONEY), ({"medium_from": money(5, currency="QQQ")}, {"medium_from"}, MONEY),
    ({"medium_from": money(5, currency="usd")}, {"medium_from"}, MONEY), ({"medium_from": money(5, currency="")}, {"medium_from"}, MONEY),
    ({"medium_from": money(5, -10_000_000)}, {"medium_from"}, MONEY), ({"high_from": money(0, 1_000_000_000)}, {"high_from"}, MONEY),
    ({"medium_from": money(5, 1)}, {"medium_from"}, MONEY), ({"high_from": money(2**63 - 1)}, {"high_from"}, MONEY),
    ({"medium_from": money(-1)}, {"medium_from", "high_from"}, FIELD), ({"medium_from": money(0, -10_000_000)}, {"medium_from", "high_from"}, FIELD),
    ({"medium_from": money(1_000)}, {"high_from"}, FIELD), ({"medium_from": money(2_000)}, {"high_from"}, FIELD),
    ({"high_from": money(100)}, {"high_from"}, FIELD), ({"high_from": money(0)}, {"high_from"}, FIELD),
    ({"high_from": money(-5)}, {"high_from"}, FIELD)])
def a_policy_that_makes_no_sense_is_refused(desk, wrong, fields, reason):
    client = desk.client("admin")
    before = policy_of(client)
    said = {"medium_from": money(100), "high_from": money(1_000)} | wrong
    request = {"policy": {name: value for name, value in said.items() if value is not None}}
    refusal = client.refused(f"{SERVICE}/UpdateWarningPolicy", request).must_be(INVALID_ARGUMENT, reason)
    [named] = [each.field.split(".") for each in refusal.bad_request.field_violations]
    assert named[0] == "policy" and named[1] in fields and policy_of(client) == before


def a_change_without_a_policy_is_refused(desk):
    client = desk.client("admin")
    before = policy_of(client)
    refusal = client.refused(f"{SERVICE}/UpdateWarningPolicy").must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert [each.field for each in refusal.bad_request.field_violations] == ["policy"] and policy_of(client) == before


def a_policy_outlives_a_restart_and_its_changes_are_on_record(office, client):
    said = say(client, 1_234, 5_678)
    office.kill()
    office.start()
    client = office.client("admin")
    assert policies.as_dict(policy_of(client)) == policies.as_dict(said)
    method = office.api().method_on("lifecycle", "AuditService/ListAuditEvents")
    events = questions.everything(client, method, "events", kind="AUDIT_KIND_CHANGE_ENDED", page_size=1_000)
    assert [each.outcome for each in events if each.method.endswith(f"{SERVICE}/UpdateWarningPolicy")] == ["OK"]


# -- what people do -------------------------------------------------------------------------------------------------------

def a_warning_is_seen_given_to_somebody_and_resolved(office, client):
    warning = warned(client, "ann")
    move(client, 2)
    seen = act(office.client("support", subject="sue"), "Acknowledge", warning)
    assert (plain(seen), seen.acknowledged_by) == (("COMPLAINT", START, "ACKNOWLEDGED", None), "sue")
    assert retention.instant_of(seen.acknowledge_time) == after(2) and get(client, warning) == seen
    move(client, 3)
    assert act(client, "Acknowledge", warning) == seen, "who saw it first stays"
    for assignee in ("tess", "bob", "bob", "段@例.com", "x" * 128, "", "tess"):
        given = act(client, "Assign", warning, assignee=assignee)
        assert (given.assignee, value_name(given, "state"), given.acknowledged_by) == (assignee, "ACKNOWLEDGED", "sue")
    assert listed(client, assignee="tess") == [given] and listed(client, assignee="bob") == []
    done = act(office.client("support", subject="tom"), "Resolve", warning, resolution="WARNING_RESOLUTION_NOT_PURSUED")
    assert (plain(done), value_name(done, "resolution"), done.resolved_by) == (("COMPLAINT", START, "RESOLVED", after(3)), "NOT_PURSUED", "tom")
    assert (done.assignee, done.acknowledged_by, retention.instant_of(done.acknowledge_time)) == ("tess", "sue", after(2))
    move(client, 4)
    assert resolve(client, warning, "NOT_PURSUED") == done == get(client, warning)
    assert done.evidence == warning.evidence


def of_what_has_ended_nothing_is_changed(client):
    resolved, cleared = warned(client, "ann"), warned(client, "bob")
    resolve(client, resolved, "LOST")
    tell(client, 0, complained("bob", is_opened=False))
    before = [get(client, each) for each in (resolved, cleared)]
    assert [value_name(each, "state") for each in before] == ["RESOLVED", "CLEARED"]
    for each in before:
        for method, fields in (("Acknowledge", {}), ("Assign", {"assignee": "tess"}), ("Assign", {}), ("Resolve", {"resolution": 1}),
                               *([("Resolve", {"resolution": 2})] if each is before[1] else [])):
            refusal = client.refused(f"{SERVICE}/{method}Warning", {"name": each.name} | fields)
            refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert [get(client, each) for each in before] == before


def whoever_resolves_at_once_with_others_agrees_or_is_refused(client):
    warning = warned(client, "ann")
    method = client.api.method(RESOLVE)
    calls = [client.api.callable(method).future(client.message(method, {"name": warning.name, "resolution": 1 + n % 4}), metadata=client.metadata(),
                                                timeout=waiting.SECONDS) for n in range(24)]
    codes = [call.code().name for call in calls]
    done = get(client, warning)
    assert value_name(done, "state") == "RESOLVED"
    assert codes == ["OK" if 1 + n % 4 == done.resolution else "FAILED_PRECONDITION" for n in range(24)], (codes, done)


# -- those who are gone ---------------------------------------------------------------------------------------------------

def whoever_is_restricted_has_no_warnings_until_the_restriction_is_lifted(client):
    warning = act(client, "Assign", warned(client, "ann"), assignee="tess")
    name = questions.find(client, "ann")
    kept = warned(client, "bob")
    absent = client.refused(LIST, {"parent": "customers/987654"}).must_be(NOT_FOUND, "NOT_FOUND")
    move(client, 1)
    questions.wait_for(client, client.call("PrivacyService/RestrictProcessing", {"name": name}).facts_position, after(1))
    assert every(client) == [kept]
    assert client.refused(LIST, {"parent": name}).answer == absent.answer
    for method, fields in (("Get", {}), ("Acknowledge", {}), ("Assign", {"assignee": "tess"}), ("Resolve", {"resolution": 1})):
        assert client.refused(f"{SERVICE}/{method}Warning", {"name": warning.name} | fields).answer == absent.answer
    move(client, 2)
    questions.wait_for(client, client.call("PrivacyService/LiftRestriction", {"name": name}).facts_position, after(2))
    assert every(client, name) == [warning]
    # What somebody has resolved comes back no more than it would have.
    done = resolve(client, warning, "FALSE_ALARM")
    for method in ("RestrictProcessing", "LiftRestriction"):
        questions.wait_for(client, client.call(f"PrivacyService/{method}", {"name": name}).facts_position, after(2))
    assert every(client, name) == [done]


def what_has_stopped_while_processing_was_restricted_is_over_when_it_is_not(client):
    name = customer_of(warned(client, "ann"))
    questions.wait_for(client, client.call("PrivacyService/RestrictProcessing", {"name": name}).facts_position, START)
    move(client, 1)
    questions.take_in(client, complained("ann", 1, is_opened=False))
    questions.wait_for(client, client.call("PrivacyService/LiftRestriction", {"name": name}).facts_position, after(1))
    assert told(client, name) == [("COMPLAINT", START, "CLEARED", after(1))]


def of_whoever_is_erased_no_warning_is_left(client):
    kept, ended, going_on, restricted = (warned(client, who) for who in ("bob", "ann", "cid", "dan"))
    resolve(client, ended)
    absent = client.refused(f"{SERVICE}/GetWarning", {"name": of_nobody(kept)}).must_be(NOT_FOUND, "NOT_FOUND")
    restriction = client.call("PrivacyService/RestrictProcessing", {"name": customer_of(restricted)})
    questions.wait_for(client, restriction.facts_position, START)
    for warning in (ended, going_on, restricted):
        begun = client.call("PrivacyService/EraseCustomer", {"name": customer_of(warning)}).name
        erasure = lambda: client.call("PrivacyService/GetErasure", {"name": begun})  # noqa: B023, E731
        waiting.until(lambda: erasure().HasField("complete_time"), "the erasure")  # noqa: B023
        assert {receipt.service: receipt.remaining for receipt in erasure().receipts} == dict.fromkeys(SERVICES, 0)
        for method, fields in (("Get", {}), ("Acknowledge", {}), ("Assign", {}), ("Resolve", {"resolution": 1})):
            assert client.refused(f"{SERVICE}/{method}Warning", {"name": warning.name} | fields).answer == absent.answer
    assert every(client) == [kept]
    # Who comes by the same name is somebody else.
    again = warned(client, "ann")
    assert customer_of(again) != customer_of(ended) and sorted(each.name for each in every(client)) == sorted([kept.name, again.name])


def whoever_is_merged_away_has_no_warnings_and_the_other_has_them(client):
    tell(client, 0, bought("ann", "o"))
    warning = warned(client, "bob")
    one, other = (questions.find(client, who) for who in ("ann", "bob"))
    move(client, 1)
    merged = client.call("IdentityService/MergeCustomers", {"customer": one, "other": other})
    questions.wait_for(client, merged.facts_position, after(1))
    assert merged.customer == one and told(client, one) == told(client) == [("COMPLAINT", after(1), "OPEN", None)]
    client.refused(f"{SERVICE}/GetWarning", {"name": warning.name}).must_be(NOT_FOUND, "NOT_FOUND")
    move(client, 2)
    questions.wait_for(client, client.call("IdentityService/UnmergeCustomers", {"name": merged.name}).facts_position, after(2))
    assert told(client, one) == [("COMPLAINT", after(1), "CLEARED", after(2))]
    assert every(client, other) == [warning]


# -- elsewhere ------------------------------------------------------------------------------------------------------------

def rules_know_the_signs_that_are_shown(client):
    """Whoever is a lead or is churned shows none, whatever there is to see of it."""
    tell(client, 0, facts.customer("lead"), bought("ann", "o"), bought("bob", "o"), complained("bob"), bought("gone", "o", ago=600 * DAY),
         complained("gone"))
    people = {questions.find(client, who): who for who in ("lead", "ann", "bob", "gone")}
    parents = {kind: segments.create(client, f"s-{kind}", f'warning.{kind} == "yes"').name
               for kind in ("silence", "complaint", "purchases", "interactions")}
    rest = segments.create(client, "s-rest", " && ".join(f'warning.{kind} == "no"' for kind in parents)).name
    cursor = segments.now(client)
    members = lambda parent: {people[name] for name in segments.members(client, parent)}  # noqa: E731
    assert {kind: members(parent) for kind, parent in parents.items()} == {
        "silence": set(), "complaint": {"bob"}, "purchases": set(), "interactions": set()}
    assert members(rest) == {"lead", "ann", "gone"}
    resolve(client, listed(client)[0])
    assert members(parents["complaint"]) == {"bob"}, "it shows the sign, whatever people say"
    move(client, 120)
    assert members(parents["silence"]) == {"ann", "bob"} and members(rest) == {"lead", "gone"}
    tell(client, 120, complained("bob", 120, is_opened=False))
    move(client, 477)
    assert members(rest) == set(people.values())
    changes = [(change.parent, change.entered, cause(change)) for change in segments.since(client, cursor)
               if change.parent.startswith("segments/") and people[change.customer] == "bob"]
    silent, cross = parents["silence"], parents["complaint"]
    assert changes[:2] == [(silent, True, "TIME"), (cross, False, "RECORD")]
    assert sorted(changes[2:]) == sorted([(silent, False, "TIME"), (rest, True, "TIME")])


def a_copy_of_what_is_held_of_somebody_has_the_warnings(office, client):
    warning = warned(client, "ann", bought("ann", "o", cents=77_000))
    name = customer_of(warning)
    warned(client, "bob")
    move(client, 120)
    until_told(client, [("COMPLAINT", START, "EXPIRED", after(90)), ("SILENCE", midnight(120), "OPEN", None)], name)

    def copied(role):
        answers = list(office.client(role).start("PrivacyService/ExportPersonalData", [{"name": name}], seconds=waiting.SECONDS))
        assert answers[-1].complete
        found = [each for answer in answers for each in answer.warnings]
        return [(value_name(each, "kind"), retention.instant_of(each.raise_time), each.state, warnings.ended(each),
                 facts.cents_of(each.value_at_stake)) for each in found]
    ought = [("SILENCE", midnight(120), "OPEN", None, 38_500), ("COMPLAINT", START, "EXPIRED", after(90), 38_500)]
    assert copied("admin") == copied("support") == ought


# -- the command ----------------------------------------------------------------------------------------------------------

def the_command_lists_shows_and_acts(office, client):
    rich = warned(client, "ann", bought("ann", "o", cents=500_000))
    poor = warned(client, "bob", bought("bob", "o", cents=500))
    tell(client, 0, bought("cid", "o", ago=200 * DAY))
    silent = listed(client, kinds=("SILENCE",))[0]
    names = lambda *arguments: [each["name"] for each in command(office, "list", *arguments, "--output", "json")["warnings"]]  # noqa: E731
    assert sorted(names()) == sorted(each.name for each in (rich, poor, silent)) and names("--by-value")[0] == rich.name
    assert names("--severity", "high") == [rich.name] and names("--kind", "silence") == [silent.name]
    assert names("--customer", questions.find(client, "bob")) == [poor.name]
    shown = command(office, "show", rich.name, "--output", "json")
    assert (shown["name"], shown["kind"], shown["severity"], shown["valueAtStake"]["units"]) == (
        rich.name, "WARNING_KIND_COMPLAINT", "WARNING_SEVERITY_HIGH", "2500")
    seen = command(office, "acknowledge", rich.name, "--as", "support", "--output", "json")
    assert (seen["state"], seen["acknowledgedBy"]) == ("WARNING_STATE_ACKNOWLEDGED", "support")
    assert command(office, "assign", rich.name, "tess", "--output", "json")["assignee"] == "tess" and names("--assignee", "tess") == [rich.name]
    for warning, word in ((rich, "retained"), (poor, "false-alarm"), (silent, "not-pursued")):
        done = command(office, "resolve", warning.name, word, "--output", "json")
        assert (done["state"], done["resolution"]) == ("WARNING_STATE_RESOLVED", f"WARNING_RESOLUTION_{word.replace('-', '_').upper()}")
    assert names() == [] and len(names("--all")) == 3 == len(every(client))
    for word in ("complaint", "silence", "2,500.00", "tess"):
        assert word in command(office, "list", "--all").lower(), word
    assert "2,500.00" in command(office, "show", rich.name)


def the_command_tells_and_changes_the_policy(office, client):
    assert "100.00" in command(office, "policy") and "1,000.00" in command(office, "policy", "--as", "analyst")
    command(office, "policy", "--medium-from", "50", "--high-from", "500")
    assert cents_of(policy_of(client)) == (NAME, 5_000, 50_000)
    said = command(office, "policy", "--medium-from", "50", "--high-from", "99.99", "--as", "marketer", "--output", "json")
    assert (said["highFrom"], said["mediumFrom"]["units"]) == ({"currencyCode": "USD", "units": "99", "nanos": 990_000_000}, "50")
    assert cents_of(policy_of(client)) == (NAME, 5_000, 9_999)


def the_command_ends_as_others_do(office, client):
    warning = warned(client, "ann")
    for code, arguments in ((EXIT_ABSENT, ("show", of_nobody(warning))), (EXIT_USAGE, ("show", "warnings/1")),
                            (EXIT_DENIED, ("list", "--as", "auditor")), (EXIT_DENIED, ("acknowledge", warning.name, "--as", "analyst")),
                            (EXIT_USAGE, ("resolve", warning.name, "won")), (EXIT_USAGE, ("list", "--kind", "hunger")),
                            (EXIT_USAGE, ("policy", "--medium-from", "20", "--high-from", "10")),
                            (EXIT_DENIED, ("policy", "--medium-from", "1", "--high-from", "2", "--as", "support"))):
        assert command(office, *arguments, code=code), arguments
    assert get(client, warning) == warning and cents_of(policy_of(client)) == (NAME, 10_000, 100_000)


def the_command_tells_of_changes_as_they_come(office, client):
    warning = warned(client, "ann")
    heard, turns = office.home / "heard.txt", iter(range(10**6))
    with open(heard, "wb") as stream:
        process = subprocess.Popen(office.command("warnings", "watch", "--as", "support"), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                                   cwd=office.home)
        try:
            # Whether it has begun nobody tells: something changes until it is heard.
            waiting.until(lambda: act(client, "Assign", warning, assignee=f"tess-{next(turns)}") and warning.name in heard.read_text(),
                          lambda: heard.read_text(), interval=0.2)
            assert process.poll() is None and "complaint" in heard.read_text().lower()
        finally:
            process.kill()
            process.wait(quintile.STOP_SECONDS)
