"""How long customers stay, how many of those who began together still buy, and how they move between stages: all of it counted again."""
import math
from collections import Counter
from datetime import date, datetime, timezone

import pytest

import cdnow_witness as witness
from support import facts, policies, questions, quintile, retention, waiting
from support.refusals import INVALID_ARGUMENT, PERMISSION_DENIED
from support.retention import DAY, MICRO, Curve, assert_cohorts, counts, flow, month_of, transitions
from support.worth import begin

COHORTS, SURVIVAL = "RetentionService/GetCohortRetention", "RetentionService/GetSurvival"
FLOW, TIMES = "RetentionService/GetStageFlow", "RetentionService/GetStageTimes"
DAY_SECONDS = 86_400


@pytest.fixture(scope="module")
def shop(backend):
    with retention.living(backend) as shop:
        yield shop


@pytest.fixture(scope="module")
def cdnow():
    """The distinct days on which each customer of CDNOW bought."""
    with open(quintile.cdnow(), encoding="ascii") as stream:
        return [sorted({day for day, _ in bought}) for bought in witness.read_purchases(stream).values()]


def bought(shop, keys=None):
    """The days on which each customer with an order bought."""
    days = [retention.known_days(person) for key, person in shop.people.items() if keys is None or key in keys]
    return [each for each in days if each]


def months(bought):
    return [{month_of(day) for day in days} for days in bought]


def between(start=None, end=None):
    return {field: facts.date_of(day) for field, day in (("start_date", start), ("end_date", end)) if day}


# -- cohorts --------------------------------------------------------------------------------------------------------------

def cohorts_of_cdnow_are_those_of_its_file(demo, cdnow):
    present, people = month_of(facts.AS_OF), months(cdnow)
    for start, end in [(None, None), (date(1997, 1, 31), None), (date(1997, 2, 1), date(1998, 6, 30)), (date(1997, 1, 15), date(1997, 12, 2)),
                       (date(1998, 7, 1), None), (date(1998, 7, 31), date(2005, 1, 1)), (date(1997, 3, 3), date(1997, 3, 1)),
                       (date(1988, 8, 1), date(1998, 7, 31)), (date(1970, 1, 1), date(1979, 12, 31)), (None, date(1997, 3, 9)),
                       (None, date(9999, 12, 31)), (None, date(1970, 1, 1))]:
        last = min(month_of(end), present) if end else present
        first = month_of(start) if start else last - 23
        told = demo.admin.call(COHORTS, between(start, end))
        assert_cohorts(told, people, first, last, present)
        assert told.watermark.facts_position >= demo.position
    whole = demo.admin.call(COHORTS)
    assert [(each.customers, len(each.cells)) for each in whole.cohorts if each.customers] == [(7_846, 19), (8_476, 18), (7_248, 17)]
    assert demo.analyst.call(COHORTS) == whole


def cohorts_are_of_local_months(shop):
    present, people = month_of(retention.LAST_DAY), months(bought(shop))
    for start, end in [(None, None), (date(1996, 5, 1), None), (date(1998, 6, 30), date(1999, 1, 1)), (date(1998, 12, 1), date(1998, 12, 1))]:
        last = month_of(end) if end else present
        assert_cohorts(shop.client.call(COHORTS, between(start, end)), people, month_of(start) if start else last - 23, last, present)
    # Months in which there was an order by UTC and not by the company's calendar, or the other way round, would differ.
    assert len(people) == sum(each.customers for each in shop.client.call(COHORTS, between(date(1996, 5, 1))).cohorts)


@pytest.mark.parametrize("start, end", [
    ({"year": 1998, "month": 8, "day": 1}, None), ({"year": 1998, "month": 6, "day": 1}, {"year": 1998, "month": 5, "day": 31}),
    ({"year": 1998, "month": 7, "day": 1}, {"year": 1998, "month": 6, "day": 30}), ({"year": 9999, "month": 12, "day": 31}, None),
    ({"year": 1988, "month": 7, "day": 31}, None), ({"year": 1988, "month": 6, "day": 30}, {"year": 1998, "month": 6, "day": 1}),
    ({"year": 1970, "month": 1, "day": 1}, {"year": 1980, "month": 1, "day": 1})])
def no_cohorts_begin_behind_their_end_or_more_than_ten_years_before_it(demo, start, end):
    request = {"start_date": start} | ({"end_date": end} if end else {})
    demo.admin.refused(COHORTS, request).must_be(INVALID_ARGUMENT, "INVALID_FIELD")


@pytest.mark.parametrize("field", ["start_date", "end_date"])
@pytest.mark.parametrize("day", [
    (1969, 12, 31), (0, 0, 0), (1998, 0, 0), (1998, 3, 0), (0, 3, 1), (1998, 2, 29), (1998, 13, 1), (1998, 4, 31), (-1998, 3, 1), (10_000, 1, 1),
    (1998, -3, 1), (1998, 3, 257), (1998, 259, 1), (1998 + 65_536, 3, 1), (2**31 - 1, 2**31 - 1, 2**31 - 1), (-2**31, -2**31, -2**31)])
def a_date_that_there_is_not_is_refused(demo, field, day):
    request = {field: dict(zip(("year", "month", "day"), day))}
    refusal = demo.admin.refused(COHORTS, request).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert [each.field for each in refusal.bad_request.field_violations] == [field]


# -- survival -------------------------------------------------------------------------------------------------------------

def curve_of(bought, today):
    """The curve of those who bought on these days."""
    return Curve([retention.stay(days, today) for days in bought])


def assert_survival(client, curve, step=None):
    """Everything of a survival by the curve of all stays."""
    told = client.call(SURVIVAL, {"step_days": step} if step is not None else {})
    assert (told.customers, told.churned, told.longest_days) == (curve.customers, curve.ended, curve.longest)
    assert (told.median_days if told.HasField("median_days") else None) == curve.median()
    mean = curve.mean(365)
    assert (told.mean_days_of_first_year if told.HasField("mean_days_of_first_year") else None) == (None if mean is None else pytest.approx(mean))
    step = max(step or 30, math.ceil(curve.longest / 999))
    assert [point.days for point in told.points] == list(range(0, curve.longest + 1 if curve.customers else 0, step)) and len(told.points) <= 1_000
    for point in told.points:
        assert point.survival == pytest.approx(float(curve.shares[point.days]), abs=1e-9)
        if point.survival > 0:
            assert (point.low, point.high) == pytest.approx(curve.bounds(point.days), abs=1e-9), point.days
            assert 0 <= point.low <= point.survival <= point.high <= 1
    return told


@pytest.fixture(scope="module")
def survived(cdnow):
    """The curve of CDNOW."""
    return curve_of(cdnow, facts.AS_OF.date())


@pytest.mark.parametrize("step", [None, 0, 1, 7, 546, 10_000, 2**31 - 1])
def survival_of_cdnow_is_that_of_its_file(demo, survived, step):
    told = assert_survival(demo.admin, survived, step)
    assert told.customers == 23_570 and told.churned > 5_000 and told.watermark.facts_position >= demo.position


@pytest.mark.parametrize("step", [None, 1, 2, 90])
def survival_is_counted_by_local_days_and_whoever_came_back_is_there(shop, step):
    told = assert_survival(shop.client, curve_of(bought(shop), retention.LAST_DAY), step)
    assert told.churned and told.HasField("mean_days_of_first_year")
    stages = Counter(now for _, now in shop.histories.values())
    assert told.churned == stages["CHURNED"] and told.customers == len(shop.people) - stages["LEAD"]


def a_curve_has_no_more_than_a_thousand_points(fresh):
    client = fresh.client("admin")
    rows = [facts.order("ancient", "e", days=10_000), facts.order("ancient", "f", days=1), facts.order("late", "e", days=400)]
    questions.wait_for(client, questions.take_in(client, *rows).facts_position)
    days = [[facts.AS_OF.date() - age * DAY for age in ages] for ages in ([10_000, 1], [400])]
    curve = curve_of(days, facts.AS_OF.date())
    for step in (None, 1, 10, 11, 12):
        assert_survival(client, curve, step)


@pytest.mark.parametrize("step", [-1, -30, -2**31])
def a_negative_step_is_refused(demo, step):
    refusal = demo.admin.refused(SURVIVAL, {"step_days": step}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert [each.field for each in refusal.bad_request.field_violations] == ["step_days"]


def on_the_day_of_the_churn_a_stay_is_over(fresh):
    """By hand: an order 476 days ago is explained by four times 119 days, one of 477 days ago is not."""
    client = fresh.client("admin")
    questions.wait_for(client, questions.take_in(client, facts.order("ann", "e", days=476), facts.order("bob", "e", days=0.5)).facts_position)
    told = client.call(SURVIVAL)
    assert (told.customers, told.churned, told.longest_days, told.HasField("median_days")) == (2, 0, 476, False)
    assert told.mean_days_of_first_year == 365 and {point.survival for point in told.points} == {1}
    questions.set_clock(client, facts.AS_OF + DAY)
    told = client.call(SURVIVAL, {"step_days": 477})
    assert (told.customers, told.churned, told.longest_days, told.median_days) == (2, 1, 477, 477)
    assert [(point.days, point.survival) for point in told.points] == [(0, 1), (477, 0)]
    questions.set_clock(client, facts.AS_OF + 300 * DAY)
    assert client.call(SURVIVAL).longest_days == 477, "what is over does not go on"


# -- flow -----------------------------------------------------------------------------------------------------------------

def instants(shop):
    """Before everything, on changes and a moment beside them, and now."""
    changed = sorted({each.at for steps, _ in shop.histories.values() for each in steps if each.cause == "TIME"})
    some = [changed[len(changed) * n // 7] for n in range(7)] + [changed[-1], begin(retention.SKIPPED)]
    events = sorted({each.at for steps, _ in shop.histories.values() for each in steps if each.cause == "EVENT"})
    return sorted({datetime(1970, 1, 1, tzinfo=timezone.utc), begin(retention.FIRST_DAY), events[3], events[-1], shop.now,
                   *(instant + beside for instant in some for beside in (-MICRO, 0 * MICRO, MICRO))})


def expected_flow(histories, start, end):
    ends = Counter((retention.stage_at(each, start), retention.stage_at(each, end)) for each in histories)
    moves = Counter((step.before, step.after) for steps, _ in histories for step in steps if start < step.at <= end)
    return ends, moves


def flows_are_told_by_the_stages_at_both_instants_and_all_between(shop):
    histories, moved = list(shop.histories.values()), Counter()
    asked = instants(shop)
    for first, start in enumerate(asked[:-1]):
        for end in asked[first + 1:first + 4] + asked[-1:]:
            told = flow(shop.client, start, end)
            ends, moves = expected_flow(histories, start, end)
            assert (counts(told.customers), counts(told.moves)) == (ends, moves), (start, end)
            moved += moves
    assert len(moved) > 10


def a_flow_is_what_the_changes_of_everybody_come_to(shop):
    told = {key: [retention.plain(each) for each in reversed(transitions(shop.client, name))] for key, name in shop.names.items()}
    histories = [([retention.Step(*each, 0, 0) for each in told[key]], questions.stage(shop.client, name)) for key, name in shop.names.items()]
    for start in instants(shop)[:-1:4]:
        answer = flow(shop.client, start)
        assert (counts(answer.customers), counts(answer.moves)) == expected_flow(histories, start, shop.now)


def a_flow_up_to_now_ends_with_the_funnel(shop):
    start = begin(retention.SKIPPED)
    whole = flow(shop.client, start)
    ends = Counter()
    for (_, after), count in counts(whole.customers).items():
        ends[after] += count
    assert ends == Counter(retention.funnel(shop.client)) and any(stage == after for stage, after in counts(whole.customers))
    for later in (shop.now, shop.now + 900 * DAY, datetime(9999, 12, 30, tzinfo=timezone.utc)):
        again = flow(shop.client, start, later)
        assert (again.customers, again.moves) == (whole.customers, whole.moves)


@pytest.fixture(scope="module")
def churned(cdnow):
    """How many of CDNOW are churned by the witness."""
    return sum(witness.stage_of(days, len(days), 0, 0, facts.AS_OF.date(), 119)[0] == "CHURNED" for days in cdnow)


def of_a_history_that_was_taken_in_nobody_has_moved(demo, churned):
    told = flow(demo.admin, facts.AS_OF - 200 * DAY)
    assert not told.moves and {before == after for before, after in counts(told.customers)} == {True}
    ends = {after: count for (_, after), count in counts(told.customers).items()}
    assert ends == retention.funnel(demo.admin) and ends["CHURNED"] == churned and sum(ends.values()) == 23_570
    assert not demo.admin.call(TIMES).stages


@pytest.mark.parametrize("request_of, reason", [
    (lambda now: {}, "INVALID_FIELD"), (lambda now: {"end_time": now}, "INVALID_FIELD"),
    (lambda now: {"start_time": now}, "INVALID_FIELD"), (lambda now: {"start_time": now, "end_time": now}, "INVALID_FIELD"),
    (lambda now: {"start_time": "1999-01-02T00:00:00Z", "end_time": "1999-01-01T00:00:00Z"}, "INVALID_FIELD"),
    (lambda now: {"start_time": "1999-01-01T00:00:00Z", "end_time": "1999-01-01T00:00:00Z"}, "INVALID_FIELD"),
    (lambda now: {"start_time": "2030-01-01T00:00:00Z", "end_time": "2031-01-01T00:00:00Z"}, "INVALID_FIELD"),
    (lambda now: {"start_time": "1969-12-31T23:59:59Z"}, "INVALID_TIME"), (lambda now: {"start_time": "0001-01-01T00:00:00Z"}, "INVALID_TIME"),
    (lambda now: {"start_time": "1999-01-01T00:00:00Z", "end_time": "1969-12-31T23:59:59Z"}, "INVALID_TIME")])
def a_flow_has_a_beginning_before_its_end(shop, request_of, reason):
    shop.client.refused(FLOW, request_of(retention.text_of(shop.now))).must_be(INVALID_ARGUMENT, reason)


def an_instant_with_broken_parts_is_refused(shop):
    message = shop.client.message(FLOW, {})
    for seconds, nanos in ((10**9 - 86_400, -1), (10**9 - 86_400, 10**9), (2**63 - 1, 0), (-2**63, 0), (253_402_300_800, 0)):
        for field in ("start_time", "end_time"):
            request = type(message)()
            request.start_time.seconds = 900_000_000
            getattr(request, field).seconds, getattr(request, field).nanos = seconds, nanos
            shop.client.refused(FLOW, request).must_be(INVALID_ARGUMENT, "INVALID_TIME")


# -- times in a stage -----------------------------------------------------------------------------------------------------

def spread_of(spells):
    """(count, mean, median, p90) of spells, in days; None of none."""
    if not spells:
        return None
    whole = sorted(spell // DAY for spell in spells)
    ranked = lambda percent: whole[max(1, math.ceil(len(whole) * percent / 100)) - 1]  # noqa: E731
    return len(spells), pytest.approx(sum(spell.total_seconds() for spell in spells) / DAY_SECONDS / len(spells)), ranked(50), ranked(90)


def told_spread(stage, field):
    told = getattr(stage, field)
    return (told.count, told.mean_days, told.median_days, told.p90_days) if stage.HasField(field) else None


def assert_times(told, histories, now):
    """How long everybody was in each stage whose beginning was seen."""
    over, running = {}, {}
    for steps, _ in histories:
        for step, after in zip(steps, [*steps[1:], None]):
            (over if after else running).setdefault(step.after, []).append((after.at if after else now) - step.at)
    order = {stage: place for place, stage in enumerate(witness.STAGES)}
    assert [questions.stage_name(each) for each in told.stages] == sorted(over.keys() | running.keys(), key=order.get)
    for each in told.stages:
        name = questions.stage_name(each)
        assert told_spread(each, "completed") == spread_of(over.get(name, [])), name
        assert told_spread(each, "running") == spread_of(running.get(name, [])), name
        curve = Curve([(spell // DAY, True) for spell in over.get(name, [])] + [(spell // DAY, False) for spell in running.get(name, [])])
        assert (each.median_days if each.HasField("median_days") else None) == curve.median(), name


def times_in_a_stage_are_those_whose_beginning_was_seen(shop):
    told = shop.client.call(TIMES)
    assert_times(told, shop.histories.values(), shop.now)
    assert len(told.stages) == 7 and {each.HasField("completed") for each in told.stages} == {True}


# -- who counts -----------------------------------------------------------------------------------------------------------

def of_nobody_everything_is_empty_and_nothing_is_refused(fresh):
    client = fresh.client("admin")
    for rows in ([], [facts.customer("lead")]):
        if rows:
            questions.wait_for(client, questions.take_in(client, *rows).facts_position)
        assert_cohorts(client.call(COHORTS), [], month_of(facts.AS_OF) - 23, month_of(facts.AS_OF), month_of(facts.AS_OF))
        told = client.call(SURVIVAL)
        assert (told.customers, told.churned, told.longest_days, len(told.points), told.HasField("median_days"),
                told.HasField("mean_days_of_first_year")) == (0, 0, 0, 0, False, False)
        told = flow(client, facts.AS_OF - DAY)
        assert counts(told.customers) == Counter({("LEAD", "LEAD"): len(rows)} if rows else {}) and not told.moves
        assert not client.call(TIMES).stages


def assert_counts(client, shop, keys):
    """All four answers are those of these customers."""
    own, histories = bought(shop, keys), [shop.histories[key] for key in keys]
    present, start = month_of(retention.LAST_DAY), begin(retention.SKIPPED)
    assert_cohorts(client.call(COHORTS, between(date(1996, 6, 1))), months(own), month_of(date(1996, 6, 1)), present, present)
    assert_survival(client, curve_of(own, retention.LAST_DAY))
    told = flow(client, start)
    assert (counts(told.customers), counts(told.moves)) == expected_flow(histories, start, shop.now)
    assert_times(client.call(TIMES), histories, shop.now)


def a_role_counts_its_own_customers_alone(shop):
    policies.publish(shop.client, policies.role_like(shop.client, "admin", "keeper", without=policies.TAKING_IN,
                                                     row_scope="owner == caller.subject"))
    own = {key for key, person in shop.people.items() if person.owner == retention.KEEPER}
    assert 10 < len(own) < len(shop.people) / 2
    assert_counts(policies.client_of(shop.suite, "keeper", retention.KEEPER, admin=shop.client), shop, own)
    assert_counts(policies.client_of(shop.suite, "keeper", "nobody", admin=shop.client), shop, set())
    assert_counts(shop.client, shop, set(shop.people))


def whoever_may_not_analyse_is_refused(shop):
    for role in ("support", "sales"):
        client = shop.suite.client(role)
        for method in (COHORTS, SURVIVAL, FLOW, TIMES):
            client.refused(method, {}).must_be(PERMISSION_DENIED, "METHOD_DENIED")


def wait(shop, position):
    waiting.until(lambda: questions.reached(questions.distribution(shop.client).watermark, position, shop.now), "the change to be through")


def whoever_is_restricted_or_erased_is_not_counted(shop):
    """It comes last: it takes customers away."""
    busy = sorted(shop.people, key=lambda key: (-len(shop.histories[key][0]), key))[:4]
    for key in busy[:2]:
        wait(shop, shop.client.call("PrivacyService/RestrictProcessing", {"name": shop.names[key]}).facts_position)
    assert_counts(shop.client, shop, set(shop.people) - set(busy[:2]))
    for key in busy[:2]:
        wait(shop, shop.client.call("PrivacyService/LiftRestriction", {"name": shop.names[key]}).facts_position)
    assert_counts(shop.client, shop, set(shop.people))
    for key in busy[2:]:
        begun = shop.client.call("PrivacyService/EraseCustomer", {"name": shop.names[key]}).name
        waiting.until(lambda: shop.client.call("PrivacyService/GetErasure", {"name": begun}).HasField("complete_time"), "the erasure")  # noqa: B023
    assert_counts(shop.client, shop, set(shop.people) - set(busy[2:]))


def whoever_comes_back_counts_by_the_present_stage(fresh):
    """While a customer is restricted nothing is told of it, and it may come back in another stage."""
    client = fresh.client("admin")
    questions.wait_for(client, questions.take_in(client, facts.customer("ann"), facts.customer("bob")).facts_position)
    questions.wait_for(client, questions.take_in(client, *(facts.order(who, "e", days=0.1) for who in ("ann", "bob"))).facts_position)
    name = questions.find(client, "ann")
    restricted = client.call("PrivacyService/RestrictProcessing", {"name": name})
    questions.wait_for(client, restricted.facts_position)
    questions.set_clock(client, facts.AS_OF + 300 * DAY)
    lifted = client.call("PrivacyService/LiftRestriction", {"name": name})
    questions.wait_for(client, lifted.facts_position, facts.AS_OF + 300 * DAY)
    assert_ends(client, {"DORMANT": 2})


def whoever_is_one_person_again_counts_by_the_present_stage(fresh):
    """A lead that is merged with a customer of old, parted from it, and merged again."""
    client = fresh.client("admin")
    rows = [facts.customer("ann"), facts.customer("bob"), facts.order("bob", "e", days=200)]
    questions.wait_for(client, questions.take_in(client, *rows).facts_position)
    pair = dict(zip(("customer", "other"), (questions.find(client, who) for who in ("ann", "bob"))))
    for number in range(2):
        merged = client.call("IdentityService/MergeCustomers", pair)
        questions.wait_for(client, merged.facts_position)
        assert_ends(client, {"AT_RISK": 1})
        if not number:
            questions.wait_for(client, client.call("IdentityService/UnmergeCustomers", {"name": merged.name}).facts_position)
            assert_ends(client, {"LEAD": 1, "AT_RISK": 1})


def assert_ends(client, expected):
    """Where everybody is now by the flow is where the funnel has them."""
    assert retention.funnel(client) == expected
    ends = Counter()
    for (_, after), count in counts(flow(client, facts.AS_OF - DAY).customers).items():
        ends[after] += count
    assert ends == expected


def more_customers_than_are_read_at_once_are_counted_once_each(fresh):
    """More than 10,000, of whom each has a change, some a second one, and some are restricted."""
    client, count = fresh.client("admin"), 10_080
    rows = [facts.order(f"c{n}", "e", days=1 + n % 2) for n in range(count)]
    for start in range(0, count, 5_040):
        questions.wait_for(client, questions.take_in(client, *rows[start:start + 5_040]).facts_position)
    now = facts.AS_OF + 100 * DAY
    questions.set_clock(client, now)
    gone = {n for n in range(0, count, 1_777)}
    for n in gone:
        position = client.call("PrivacyService/RestrictProcessing", {"name": questions.find(client, f"c{n}")}).facts_position
    back = [n for n in range(count) if n % 9 == 4 and n not in gone]
    again = [facts.order(f"c{n}", f"e{m}", order_time=facts.text_of(now)) for n in back for m in range(4)]
    position = max(position, questions.take_in(client, *again).facts_position)
    questions.wait_for(client, position, now)
    questions.set_clock(client, now + DAY)
    there, active = count - len(gone), count - len(gone) - len(back)
    told = flow(client, facts.AS_OF)
    assert counts(told.customers) == {("NEW", "ACTIVE"): active, ("NEW", "LOYAL"): len(back)}
    assert counts(told.moves) == {("NEW", "ACTIVE"): there, ("ACTIVE", "LOYAL"): len(back)}
    early = sum(n % 2 for n in range(count) if n not in gone)
    # Bought two days before the start, whoever is new for 90 days no longer is 88 days behind it.
    told = flow(client, facts.AS_OF, facts.AS_OF + 88 * DAY)
    assert counts(told.moves) == {("NEW", "ACTIVE"): early} and counts(told.customers)["NEW", "NEW"] == there - early
    assert client.call(SURVIVAL).customers == there == sum(each.customers for each in client.call(COHORTS).cohorts)
    times = {questions.stage_name(each): each for each in client.call(TIMES).stages}
    assert (times["ACTIVE"].completed.count, times["ACTIVE"].running.count, times["LOYAL"].running.count) == (len(back), active, len(back))
