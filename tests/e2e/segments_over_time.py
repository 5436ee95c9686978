"""Segments over days: how many they were at each local midnight, who went from which label to which, and how they grew. A company in São Paulo,
where the midnight of October 11th 1998 is left out."""
import random
from collections import Counter
from datetime import date, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from segments_as_wholes import migration, rank, sizes
from support import facts, policies, questions, quintile, segments, waiting
from support.refusals import FAILED_PRECONDITION, NOT_FOUND
from support.worth import DAY, TENANT, ZONE, begin, order, take_in

FIRST_DAY, LAST_DAY = date(1998, 9, 28), date(1998, 10, 13)
LEFT_OUT = date(1998, 10, 6)  # The clock goes from the evening before it to the noon behind it.
LATE = date(1999, 3, 2)
CUSTOMERS = 80
SET = "labelSets/habit"
LABELS = ["", *(f"{SET}/labels/{label}" for label in ("busy", "warm", "others"))]
HOUR = timedelta(hours=1)


def parents(client):
    return [each.name for each in client.call("SegmentService/ListSegments").segments] + LABELS[1:]


def look(client):
    """{parent: its members} now."""
    return {parent: set(segments.members(client, parent)) for parent in parents(client)}


def labelled(seen):
    """{customer: its label} of what was seen."""
    return {name: label for label in LABELS[1:] for name in seen.get(label, ())}


def move(suite, client, instant):
    suite.client("admin").call("ClockService/SetAsOf", {"as_of": facts.text_of(instant)})
    questions.wait_for(client, 0, instant)


def evening(suite, client, chance, day):
    """Purchases at eight, two of them by somebody new, and one more on the list."""
    now = begin(day) + 20 * HOUR
    move(suite, client, now)
    who = [f"c-{n}" for n in chance.sample(range(CUSTOMERS), 12)] + [f"new-{day.day}-{n}" for n in range(2)]
    rows = [order(each, f"on-{day}", now - chance.randrange(1, 18) * HOUR, chance.randrange(500, 9_000)) for each in who]
    questions.wait_for(client, questions.take_in(client, *rows).facts_position, now)
    segments.add(client, "segments/panel", [questions.find(client, each) for each in who[:3]])


@pytest.fixture(scope="module")
def autumn(backend):
    """Two weeks of the company, and what was seen of its segments at the beginning of each day."""
    with quintile.suite(backend, as_of=facts.text_of(begin(FIRST_DAY))) as suite:
        suite.client("admin").call("TenantService/CreateTenant", {"tenant_id": TENANT, "tenant": {"time_zone": ZONE.key}})
        client, chance, seen = suite.client("admin", TENANT), random.Random(5), {}
        waiting.until(lambda: policies.is_known(client), "the tenant to be known", policies.FORCE_SECONDS)
        bought = {f"c-{n}": [(begin(FIRST_DAY) - chance.randrange(1, 60 * 24) * HOUR, 1_000) for _ in range(1 + n % 4)]
                  for n in range(CUSTOMERS)}
        take_in(client, bought, begin(FIRST_DAY))
        segments.create(client, "lively", "orders_30 >= 2")
        segments.create(client, "steady", "orders >= 4 && days_since(last_order_at) <= 12")
        segments.static(client, "panel", "orders == 1")
        segments.label_set(client, "habit", {"busy": "orders_30 >= 3", "warm": "days_since(last_order_at) < 15"})
        day = FIRST_DAY + DAY
        while day <= LAST_DAY:
            instant = begin(day) + (11 * HOUR if day == LEFT_OUT + DAY else 0 * HOUR)
            if day != LEFT_OUT:
                move(suite, client, instant)
                seen[instant] = look(client)
                if day.day % 3 == 2 or day == LEFT_OUT - DAY:
                    evening(suite, client, chance, day)
            if day.day == 3:
                segments.create(client, "later", "orders >= 3")
            day += DAY
        yield SimpleNamespace(suite=suite, client=client, seen=seen, moments=list(seen), present=look(client), gone=())


def local_day(instant):
    return instant.astimezone(ZONE).date()


def instant_of(timestamp):
    return timestamp.ToDatetime(timezone.utc)


def told_sizes(answer):
    """[(day, instant, members)]"""
    return [(date(each.date.year, each.date.month, each.date.day), instant_of(each.as_of), each.members) for each in answer.sizes]


def expected_sizes(autumn, parent):
    return [(local_day(instant), instant, len(seen[parent])) for instant, seen in autumn.seen.items() if parent in seen]


def expected_flows(before, after, gone=()):
    """[(from, to, customers)] by labels of customers, but for those who are gone."""
    there = (before.keys() | after.keys()) - set(gone)
    counted = Counter((before.get(name, ""), after.get(name, "")) for name in there)
    return sorted(((*pair, count) for pair, count in counted.items()), key=lambda flow: [LABELS.index(label) for label in flow[:2]])


def flows(answer):
    return [(getattr(each, "from"), each.to, each.customers) for each in answer.flows]


# -- sizes ----------------------------------------------------------------------------------------------------------------

def sizes_are_those_of_each_local_midnight_that_was_gone_through(autumn):
    varied = set()
    for parent in parents(autumn.client):
        told = sizes(autumn.client, parent)
        assert told_sizes(told) == expected_sizes(autumn, parent), parent
        assert told.members == len(autumn.present[parent]) and told.watermark.time.seconds >= autumn.moments[-1].timestamp()
        varied |= {parent for _ in range(len({size for *_, size in told_sizes(told)}) > 3)}
    assert varied >= {"segments/lively", "segments/panel", LABELS[1], LABELS[3]}
    assert expected_sizes(autumn, "segments/later")[0][0] == date(1998, 10, 4)
    # Where a midnight is left out, the day begins an hour later.
    assert (date(1998, 10, 11), datetime(1998, 10, 11, 3, tzinfo=timezone.utc)) in {each[:2] for each in told_sizes(told)}


def sizes_are_told_of_the_days_that_are_asked_for(autumn):
    whole = expected_sizes(autumn, "segments/lively")
    for start, end in [(FIRST_DAY, LAST_DAY), (date(1998, 10, 2), date(1998, 10, 2)), (LEFT_OUT, LEFT_OUT), (date(1998, 10, 4), None),
                       (None, date(1998, 10, 3)), (date(1990, 1, 1), date(1999, 12, 30)), (LAST_DAY + DAY, LAST_DAY + 9 * DAY)]:
        asked = {field: facts.date_of(day) for field, day in (("start_date", start), ("end_date", end)) if day}
        told = told_sizes(sizes(autumn.client, "segments/lively", **asked))
        assert told == [each for each in whole if (start or FIRST_DAY) <= each[0] <= (end or LAST_DAY)], (start, end)


def a_segment_that_is_gone_has_no_sizes_and_one_of_its_name_begins_anew(autumn):
    client = autumn.client
    segments.create(client, "fleeting", "orders >= 1")
    assert told_sizes(sizes(client, "segments/fleeting")) == [] and sizes(client, "segments/fleeting").members > CUSTOMERS
    segments.delete(client, "segments/fleeting")
    client.refused("AnalysisService/ListSegmentSizes", {"parent": "segments/fleeting"}).must_be(NOT_FOUND, "NOT_FOUND")
    for request in ({"parents": ["segments/fleeting"]}, {"parents": ["segments/lively", "segments/fleeting"]}):
        client.refused("AnalysisService/RankTargets", request).must_be(NOT_FOUND, "NOT_FOUND")


def growth_is_counted_from_the_size_of_the_day(autumn):
    for days in (1, 3, 8, 14):
        then = begin(LAST_DAY - days * DAY)
        for each in rank(autumn.client, *autumn.present, growth_days=days).targets:
            before = len(autumn.seen[then].get(each.parent, ()))
            if before:
                assert each.growth == pytest.approx(len(autumn.present[each.parent]) / before), (each.parent, days)
                assert instant_of(each.growth_since) == then
            else:
                assert (each.growth, each.HasField("growth_since")) == (1, False), (each.parent, days)
    # Before anything was written down.
    assert {(each.growth, each.HasField("growth_since")) for each in rank(autumn.client, *autumn.present).targets} == {(1, False)}


# -- migration ------------------------------------------------------------------------------------------------------------

def a_migration_counts_everybody_by_both_labels(autumn):
    labels = [labelled(autumn.seen[instant]) for instant in autumn.moments]
    several = 0
    for first, start in enumerate(autumn.moments):
        for second in range(first, len(autumn.moments)):
            told = migration(autumn.client, SET, start, autumn.moments[second])
            assert flows(told) == expected_flows(labels[first], labels[second]), (start, second)
            assert (instant_of(told.from_time), instant_of(told.to_time)) == (start, autumn.moments[second])
            several += len(told.flows) >= 7
    assert several > 20 and any(flow[0] == "" for flow in flows(told) + flows(migration(autumn.client, SET, autumn.moments[0])))


def without_an_end_a_migration_is_up_to_now(autumn):
    now = labelled(autumn.present)
    for start in autumn.moments:
        told = migration(autumn.client, SET, start)
        assert flows(told) == expected_flows(labelled(autumn.seen[start]), now)
        assert instant_of(told.to_time) >= autumn.moments[-1]


def an_instant_between_means_what_was_written_down_last(autumn):
    """The afternoon is that day's beginning, and a day that nothing went through the one before."""
    for start, end in [(begin(date(1998, 10, 1)) + 17 * HOUR, begin(date(1998, 10, 11)) + 23 * HOUR),
                       (begin(LEFT_OUT) + 5 * HOUR, begin(LEFT_OUT + DAY) + 10 * HOUR), (begin(LEFT_OUT), begin(LAST_DAY) + 400 * DAY)]:
        told = migration(autumn.client, SET, start, end)
        before, after = (max(moment for moment in autumn.moments if moment <= instant) for instant in (start, end))
        assert (instant_of(told.from_time), instant_of(told.to_time)) == (before, after)
        assert flows(told) == expected_flows(labelled(autumn.seen[before]), labelled(autumn.seen[after]))


def a_role_is_told_where_its_own_customers_went(autumn):
    panel = segments.by_number(autumn.present["segments/panel"])
    for name in panel[:9]:
        autumn.client.call("CustomerService/UpdateCustomer", {"customer": {"name": name, "attributes": {"owner": "tess"}},
                                                             "update_mask": "attributes.owner"})
    role = policies.role_like(autumn.client, "admin", "keeper", without=policies.TAKING_IN, row_scope="owner == caller.subject")
    policies.publish(autumn.client, role)
    client = policies.client_of(autumn.suite, "keeper", admin=autumn.client)
    waiting.until(lambda: questions.preview(client, "true").population == 9, "the owner to be known")
    start, end = autumn.moments[0], autumn.moments[-1]
    others = set(labelled(autumn.present)) - set(panel[:9])
    expected = expected_flows(*(labelled(autumn.seen[instant]) for instant in (start, end)), gone=others)
    assert flows(migration(client, SET, start, end)) == expected != []


def before_anything_was_written_down_there_is_no_migration(autumn):
    for start in (autumn.moments[0] - timedelta(seconds=1), begin(date(1990, 1, 1))):
        request = {"name": SET, "start_time": facts.text_of(start)}
        autumn.client.refused("AnalysisService/GetMigration", request).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


# -- those who are gone, and what is old. These two move what the others look at, and come last. -----------------------------

def who_was_erased_was_never_there_and_sizes_stay(autumn):
    client = autumn.client
    told = [sizes(client, parent) for parent in parents(client)]
    gone = [segments.by_number(autumn.seen[autumn.moments[0]][label])[0] for label in LABELS[1:]]
    begun = [client.call("PrivacyService/EraseCustomer", {"name": name}).name for name in gone]
    for erasure in begun:
        ended = waiting.until(lambda: (found := client.call("PrivacyService/GetErasure", {"name": erasure})).HasField("complete_time")
                              and found, f"{erasure} to complete")  # noqa: B023
        assert {each.service: each.remaining for each in ended.receipts}["segmentation"] == 0
    for first, second in [(0, 1), (0, -1), (4, 9), (7, 7)]:
        start, end = autumn.moments[first], autumn.moments[second]
        expected = expected_flows(*(labelled(autumn.seen[instant]) for instant in (start, end)), gone=gone)
        assert flows(migration(client, SET, start, end)) == expected
    assert flows(migration(client, SET, autumn.moments[0])) == expected_flows(labelled(autumn.seen[autumn.moments[0]]), labelled(look(client)), gone)
    again = [sizes(client, parent) for parent in parents(client)]
    assert [told_sizes(each) for each in again] == [told_sizes(each) for each in told]
    autumn.gone = gone


def of_what_is_old_the_first_of_each_month_is_left(autumn):
    client = autumn.client
    months = [date(1998, 11, 1), date(1998, 11, 20), date(1998, 12, 1), date(1999, 1, 1), LATE]
    for day in months:
        move(autumn.suite, client, begin(day))
        autumn.seen[begin(day)] = look(client)
    october, late = begin(date(1998, 10, 1)), begin(LATE)
    for start, kept in [(begin(LAST_DAY) + HOUR, october), (october, october), (begin(date(1998, 11, 25)), begin(date(1998, 11, 20 - 19))),
                        (begin(date(1998, 12, 31)), begin(date(1998, 12, 1)))]:
        told = waiting.until(lambda: (found := migration(client, SET, start)) and instant_of(found.from_time) == kept and found,  # noqa: B023
                             lambda: f"{start} to be told by {kept}: {migration(client, SET, start)}")  # noqa: B023
        assert instant_of(told.to_time) == late
        assert flows(told) == expected_flows(labelled(autumn.seen[kept]), labelled(autumn.seen[late]), autumn.gone)
    request = {"name": SET, "start_time": facts.text_of(begin(date(1998, 9, 30)))}
    client.refused("AnalysisService/GetMigration", request).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    asked = {"start_date": facts.date_of(FIRST_DAY), "end_date": facts.date_of(LATE)}
    assert told_sizes(sizes(client, "segments/lively", **asked)) == expected_sizes(autumn, "segments/lively")
