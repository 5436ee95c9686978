"""Features of everybody as of past instants, for models that learn from what came after: what they tell, of whom, and how they are read on."""
import itertools
import random
from datetime import timedelta
from types import SimpleNamespace

import grpc
import pytest

from support import churn, facts, policies, questions, traits, waiting
from support.churn import AS_OF, DAY, HOUR
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, PERMISSION_DENIED, Refusal

READ, GET = "FeatureService/ReadPastFeatures", "FeatureService/GetFeatures"
INSTANTS = (AS_OF - 400 * DAY, AS_OF - 61 * DAY + 5 * HOUR + timedelta(milliseconds=250), AS_OF - HOUR)
CROWD, LATE = 1_900, {f"late-{place}": ago for place, ago in enumerate((0.02, 0.5, 62, 399, 401))}
LEAD = "only-looks"
MANY = 3_500  # Of whom most come in responses that are not sent ahead.


def text_of(instant):
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant.microsecond:06}Z"


def asked(instants=INSTANTS, **request):
    return {"as_of": [text_of(each) for each in instants]} | request


def answers(client, instants=INSTANTS, **request):
    """All responses of a reading, of which the last says that it is, and has nothing else."""
    call = client.start(READ, [asked(instants, **request)], seconds=waiting.SECONDS)
    try:
        found = list(call)
    except grpc.RpcError as error:
        raise Refusal(error) from None
    assert [each.complete for each in found] == [False] * (len(found) - 1) + [True] and not found[-1].records and not found[-1].cursor
    assert all(each.cursor for each in found[:-1])
    read = [each.customers_read for each in found]
    assert read == sorted(read) and read[-1] <= found[-1].customers
    return found


def named(whole):
    """[(customer, record)] of responses, in the order in which they come."""
    return [(f"customers/{each.customer_id}", each) for answer in whole for each in answer.records]


def told(client, instants=INSTANTS, **request):
    """The same of a reading."""
    return named(answers(client, instants, **request))


def instant_of(record):
    of = record.features.as_of
    return churn.datetime.fromtimestamp(of.seconds, churn.timezone.utc) + timedelta(microseconds=of.nanos // 1_000)


def placed(found):
    """{(customer, instant): record} of what was told, each once."""
    by = {(name, instant_of(each)): each for name, each in found}
    assert len(by) == len(found)
    return by


@pytest.fixture(scope="module")
def town(shared):
    """A shop, a trait of it, a crowd that is more than a response holds, each of whom bought once, some whose first order is between the instants,
    and one who never bought."""
    people = churn.shop(9, 130)
    chance = random.Random(9)
    crowd = {f"crowd-{number}": churn.Buyer([churn.ordered(chance, AS_OF - chance.randrange(1, 700) * DAY)]) for number in range(CROWD)}
    crowd |= {key: churn.Buyer([churn.ordered(chance, AS_OF - ago * DAY)]) for key, ago in LATE.items()}
    town = churn.settled(shared, people | crowd, churn.rows(people | crowd) + [facts.interaction(LEAD, "looks")])
    traits.done(town.admin, traits.define(town.admin, "spent", "ORDER", "SUM", "amount"))
    town.some = [town.names[key] for key in people if key in town.names] + [town.names[key] for key in (*LATE, LEAD)]
    town.orders = {key: [at for at in instants if at < AS_OF] for key, instants in town.orders.items()}
    town.answers = answers(town.admin)
    town.found = named(town.answers)
    return town


def without_traits(features):
    """Features without what traits tell, and when they will change, which traits may do sooner."""
    copy = type(features)()
    copy.CopyFrom(features)
    for field in ("traits", "next_change_time"):
        copy.ClearField(field)
    return copy


# -- what is told ---------------------------------------------------------------------------------------------------------

def features_are_those_that_are_told_of_each_customer(town):
    found, compared = placed(town.found), 0
    for name, instant in itertools.product(town.some, INSTANTS):
        single = town.admin.call(GET, {"name": f"{name}/features", "as_of": text_of(instant)})
        if single.features.orders:
            assert [each.key for each in single.features.traits] == ["spent"] and not found[name, instant].features.traits
            assert without_traits(found[name, instant].features) == without_traits(single.features), (name, instant)
            compared += 1
        else:
            assert (name, instant) not in found
    assert compared > 150


def whoever_had_ordered_before_an_instant_is_told_of_it(town):
    counts = {(key, instant): sum(at < instant for at in instants) for key, instants in town.orders.items() for instant in INSTANTS}
    expected = {(town.names[key], instant): count for (key, instant), count in counts.items() if count}
    assert {place: each.features.orders for place, each in placed(town.found).items()} == expected
    assert {len([instant for instant in INSTANTS if (town.names[key], instant) in expected]) for key in LATE} == {0, 1, 2, 3}


def customers_come_by_number_and_of_each_the_earliest_instant_first(town):
    order = [(each.customer_id, instant_of(each)) for _, each in town.found]
    assert order == sorted(order) and len({number for number, _ in order}) > CROWD


def records_have_attributes_and_nothing_of_later_services(town):
    by_owner = {town.names[key]: one for key, one in town.people.items() if key in town.names}
    for name, each in town.found:
        assert (each.attributes.owner, each.attributes.acquisition_channel) == (by_owner[name].owner, by_owner[name].way)
        assert not each.HasField("scores") and not each.HasField("stage")


@pytest.mark.parametrize("instants", [(AS_OF,), (AS_OF - 30 * DAY, AS_OF), tuple(AS_OF - (500 - n) * DAY for n in range(4))])
def one_instant_to_four_may_be_asked_for(town, instants):
    expected = {(town.names[key], instant) for key, bought in town.orders.items() for instant in instants if any(at < instant for at in bought)}
    assert placed(told(town.admin, instants)).keys() == expected


def the_present_is_told_as_it_is(town):
    found = placed(told(town.admin, (AS_OF,)))
    for name in town.some[::10]:
        if (name, AS_OF) in found:
            assert without_traits(found[name, AS_OF].features) == without_traits(questions.features(town.admin, name))


# -- reading on -----------------------------------------------------------------------------------------------------------

def whoever_goes_on_behind_a_cursor_reads_the_rest(town):
    whole = town.answers
    assert len(whole) > 3 and all(len(each.records) <= 4 * 1_000 for each in whole)
    for place, answer in enumerate(whole[:-1], start=1):
        rest = [each for later in whole[place:] for each in later.records]
        assert [each for _, each in told(town.admin, cursor=answer.cursor)] == rest
    # Cut off behind every response.
    found, cursor = [], ""
    while True:
        call = town.admin.start(READ, [asked(cursor=cursor)], seconds=waiting.SECONDS)
        answer = next(call)
        call.cancel()
        found, cursor = found + list(answer.records), answer.cursor
        if answer.complete:
            break
    assert found == [each for _, each in town.found]


def progress_comes_to_everybody(town):
    last = town.answers[-1]
    assert last.customers_read == last.customers >= len(town.names)


def a_cursor_is_of_its_whole_request_and_tenant(town):
    cursor = town.answers[0].cursor
    others = [asked(INSTANTS[:2], cursor=cursor), asked((*INSTANTS[:2], AS_OF), cursor=cursor), asked(one_in=2, cursor=cursor)]
    others += [asked(cursor=wrong) for wrong in ("x", cursor[:-1], cursor + "A", cursor[1:], "0")]
    others.append(asked(cursor=next(town.admin.start("FeatureService/WatchFeatures", [{}])).cursor))
    for request in others:
        refusal = town.admin.refused(READ, request).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
        assert [each.field for each in refusal.bad_request.field_violations] == ["cursor"]
    there = another_tenant(town)
    there.refused(READ, asked(cursor=cursor)).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
    assert told(there) == []


def another_tenant(town):
    town.admin.call("TenantService/CreateTenant", {"tenant_id": "other"})
    there = town.suite.client("admin", "other")
    waiting.until(lambda: policies.is_known(there), "the tenant to be known", policies.FORCE_SECONDS)
    return there


def who_stops_reading_disturbs_nobody(town):
    for _ in range(5):
        call = town.admin.start(READ, [asked()])
        next(call)
        call.cancel()
    for seconds in (0.001, 0.005):
        assert town.admin.refused(READ, asked(), seconds=seconds).code.name in ("DEADLINE_EXCEEDED", "CANCELLED")
    assert told(town.admin) == town.found


# -- of some --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("one_in", [2, 3, 7, 40])
def one_in_so_many_are_told_of_with_all_their_instants(town, one_in):
    found = told(town.admin, one_in=one_in)
    chosen = {name for name, _ in found}
    assert found == [(name, each) for name, each in town.found if name in chosen], "whole, in the same order"
    share, everybody = 1 / one_in, len({name for name, _ in town.found})
    assert abs(len(chosen) - everybody * share) < 5 * (everybody * share * (1 - share)) ** 0.5
    assert told(town.admin, one_in=one_in) == found, "whenever it is asked"
    assert {name for name, _ in told(town.admin, INSTANTS[2:], one_in=one_in)} >= chosen, "the same at whatever instants"
    # Numbers tell when somebody came, and are not what is chosen by.
    halves = sorted(int(name.split("/")[1]) for name in chosen)
    gaps = {later - earlier for earlier, later in zip(halves, halves[1:])}
    assert len(gaps) > 3 and {number % 2 for number in halves} == {0, 1}


def one_in_one_is_everybody_and_one_in_a_million_hardly_anybody(town):
    assert told(town.admin, one_in=1) == town.found, "as where nothing is said"
    assert len({name for name, _ in told(town.admin, one_in=1_000_000)}) < 5
    *_, last = answers(town.admin, one_in=40)
    assert last.customers_read == last.customers, "those who were left out have been looked at"


# -- who is not told of ---------------------------------------------------------------------------------------------------

@pytest.fixture
def village(shared, new):
    """A small shop of the test's own."""
    return churn.settled(shared, churn.shop(10, 60), tenant=f"t{new}")


def who_is_restricted_or_erased_is_left_out_and_who_is_merged_is_one(village):
    admin, whole = village.admin, placed(told(village.admin))
    restricted, erased, one, other = [name for name, instant in whole if instant == INSTANTS[2]][3:7]
    questions.wait_for(admin, admin.call("PrivacyService/RestrictProcessing", {"name": restricted}).facts_position)
    erasure = admin.call("PrivacyService/EraseCustomer", {"name": erased}).name
    waiting.until(lambda: admin.call("PrivacyService/GetErasure", {"name": erasure}).HasField("complete_time"), "the erasure")
    merged = admin.call("IdentityService/MergeCustomers", {"customer": one, "other": other})
    questions.wait_for(admin, merged.facts_position)
    found = placed(told(admin))
    assert {name for name, _ in found} & {restricted, erased} == set()
    [stayed] = {name for name, _ in found} & {one, other}
    for instant in INSTANTS:
        orders = sum(whole[name, instant].features.orders for name in (one, other) if (name, instant) in whole)
        assert (found[stayed, instant].features.orders if orders else 0) == orders
        if orders:
            single = admin.call(GET, {"name": f"{stayed}/features", "as_of": text_of(instant)}).features
            assert found[stayed, instant].features == single
    untouched = {place: each for place, each in whole.items() if place[0] not in (restricted, erased, one, other)}
    assert {place: each for place, each in found.items() if place[0] != stayed} == untouched
    parted = admin.call("IdentityService/UnmergeCustomers", {"name": merged.name})
    questions.wait_for(admin, parted.facts_position)
    questions.wait_for(admin, admin.call("PrivacyService/LiftRestriction", {"name": restricted}).facts_position)
    assert placed(told(admin)) == {place: each for place, each in whole.items() if place[0] != erased}


def what_comes_in_late_is_told_of_the_instants_behind_it(village):
    admin = village.admin
    key, name = next((key, name) for key, name in village.names.items() if village.orders[key][0] < INSTANTS[0])
    before = placed(told(admin))
    churn.take_in(admin, [facts.order(key, "late", order_time=facts.text_of(INSTANTS[1] - DAY)), facts.order("long-gone", "o", days=900)])
    after, newcomer = placed(told(admin)), questions.find(admin, "long-gone")
    added = [after[name, instant].features.orders - before[name, instant].features.orders for instant in INSTANTS]
    assert added == [0, 1, 1] and after.keys() - before.keys() == {(newcomer, instant) for instant in INSTANTS}


def everybody_comes_once_whatever_comes_in_meanwhile(shared, new):
    """Those who are there from the beginning to the end."""
    rows = [facts.order(f"c-{number}", "o", days=450 + number % 200) for number in range(MANY)]
    admin = churn.settled(shared, {}, rows, f"t{new}").admin
    whole = told(admin)
    call = admin.start(READ, [asked()], seconds=waiting.SECONDS)
    found = list(next(call).records)
    questions.take_in(admin, *(facts.order(f"new-{number}", "o", days=500) for number in range(300)))
    found += [each for answer in call for each in answer.records]
    there = {each.customer_id for _, each in whole}
    assert [each for each in found if each.customer_id in there] == [each for _, each in whole] and len(there) == MANY
    assert len({(each.customer_id, instant_of(each)) for each in found}) == len(found)


# -- for whom -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("role", ["admin", "service", "support", "sales", "marketer", "analyst", "data-engineer", "auditor"])
def those_who_follow_feeds_read_and_nobody_else(town, role):
    client = town.suite.client(role)
    if role in ("admin", "service", "data-engineer"):
        assert told(client, INSTANTS[:1]) == [(name, each) for name, each in town.found if instant_of(each) == INSTANTS[0]]
    else:
        client.refused(READ, asked()).must_be(PERMISSION_DENIED, "METHOD_DENIED")


@pytest.fixture(scope="module")
def roles(town):
    """Clients of roles of the tenant's own: one reaches its own customers, one reads no money."""
    policies.publish(town.admin, policies.role_like(town.admin, "admin", "no-money", forms={"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}),
                     policies.role_like(town.admin, "admin", "scoped", without=policies.TAKING_IN, row_scope="owner == caller.subject"))
    return SimpleNamespace(scoped=policies.client_of(town.suite, "scoped", "ann"), poor=policies.client_of(town.suite, "no-money"))


def a_role_with_a_row_scope_is_told_of_its_own_customers(town, roles):
    mine = {town.names[key] for key, one in town.people.items() if one.owner == "ann" and key in town.names}
    found = told(roles.scoped)
    assert found == [(name, each) for name, each in town.found if name in mine] and len(found) > 50


def who_reads_no_money_is_told_none(town, roles):
    found = told(roles.poor)
    assert [name for name, _ in found] == [name for name, _ in town.found]
    for name, each in found[::50]:
        single = roles.poor.call(GET, {"name": f"{name}/features", "as_of": text_of(instant_of(each))})
        assert without_traits(each.features) == without_traits(single.features)
        assert not any(each.features.HasField(field) for field in ("net_revenue", "gross_revenue", "revenue", "average_order_value"))


# -- what makes no sense --------------------------------------------------------------------------------------------------

WRONG = [((), "as_of"), (tuple(AS_OF - (9 - n) * DAY for n in range(5)), "as_of"), ((AS_OF - DAY, AS_OF - DAY), "as_of[1]"),
         ((AS_OF - DAY, AS_OF - 2 * DAY), "as_of[1]"), ((AS_OF - 3 * DAY, AS_OF - DAY, AS_OF - 2 * DAY), "as_of[2]")]


@pytest.mark.parametrize("instants, field", WRONG)
def instants_that_do_not_rise_or_are_none_or_too_many_are_refused(town, instants, field):
    refusal = town.admin.refused(READ, asked(instants)).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert [each.field for each in refusal.bad_request.field_violations] == [field]


@pytest.mark.parametrize("one_in", [-1, 1_000_001, -2**31, 2**31 - 1])
def a_part_that_there_is_not_is_refused(town, one_in):
    refusal = town.admin.refused(READ, asked(one_in=one_in)).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert [each.field for each in refusal.bad_request.field_violations] == ["one_in"]


def the_future_is_not_told(town):
    for instants in ((AS_OF + timedelta(milliseconds=1),), (AS_OF - DAY, AS_OF + DAY)):
        town.admin.refused(READ, asked(instants)).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def an_instant_that_is_none_is_refused(town):
    for wrong in ({"seconds": 10**12}, {"seconds": 1, "nanos": -1}, {"seconds": 1, "nanos": 10**9}):
        message = town.admin.message(READ, {})
        message.as_of.add(**wrong)
        assert town.admin.refused(READ, message).must_be(INVALID_ARGUMENT, "INVALID_TIME")


def what_facts_do_not_tell_any_more_is_refused(shared, new):
    """Two windows of 365 days before an instant have to be kept."""
    few = churn.settled(shared, {}, [facts.order(f"c{n}", "o", days=20 + n) for n in range(9)], f"t{new}")
    admin, name = few.admin, f"{few.names['c0']}/features"
    admin.call("RetentionService/UpdateRetention", {"retention": {"order_days": 830}})
    waiting.until(lambda: admin.call("RetentionService/GetRetention").complete, "old facts to be dropped")
    for ago, is_kept in ((99, True), (100, True), (101, False)):
        instant = AS_OF - ago * DAY
        if is_kept:
            assert told(admin, (instant, AS_OF))
        else:
            admin.refused(READ, asked((instant, AS_OF))).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
            admin.refused(GET, {"name": name, "as_of": text_of(instant)}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
