"""How customers' stages have changed, and why: by what came, or by time alone, each change at its own instant, once, and with the evidence."""
from collections import Counter
from datetime import datetime, timezone

import pytest

from support import facts, questions, quintile, retention, waiting
from support.noons import START, after, find, later, midnight, move, named
from support.refusals import INVALID_ARGUMENT, NOT_FOUND
from support.retention import DAY, HOUR, plain, transitions

METHOD = "StageService/ListStageTransitions"
# What the evidence has to speak of, by stage.
WORDS = {"AT_RISK": ["silent", "rhythm"], "DORMANT": ["silent", "2 times"], "CHURNED": ["silent", "4 times"], "REACTIVATED": ["under 90 days", "gap"],
         "NEW": ["first order", "under 90 days"], "LOYAL": ["5 orders"], "ACTIVE": ["no other rule"]}


@pytest.fixture(scope="module")
def shop(backend):
    with retention.living(backend) as shop:
        # In which nothing happens any more.
        shop.told = {key: transitions(shop.client, name) for key, name in shop.names.items()}
        yield shop


@pytest.fixture
def alone(backend):
    """An empty suite at a noon."""
    with quintile.suite(backend, as_of=facts.text_of(START)) as suite:
        yield suite


@pytest.fixture(scope="module")
def hall(backend):
    """A suite that tests share, one after the other, each of which moves time."""
    with quintile.suite(backend, as_of=facts.text_of(START)) as suite:
        yield suite


@pytest.fixture
def noon(hall, new):
    """A suite at a noon, with customers of the test's own."""
    with later(hall, new):
        yield hall


def told(shop, key):
    return shop.told[key]


def written(client, name):
    """The changes of a customer as bytes, which outlast a restart."""
    return [each.SerializeToString(deterministic=True) for each in transitions(client, name)]


def buy(client, who, event, days, orders=1, ago=HOUR, **fields):
    """Orders of a moment before the noon so many days behind the start, at which time stands."""
    now = after(days)
    rows = [facts.order(named(who), f"{event}-{n}", order_time=facts.text_of(now - ago), **fields) for n in range(orders)]
    questions.wait_for(client, questions.take_in(client, *rows).facts_position, now)


def lead(client, who):
    questions.wait_for(client, questions.take_in(client, facts.customer(named(who))).facts_position, after(0))
    return find(client, who)


# -- everybody, by the witness --------------------------------------------------------------------------------------------

def every_change_is_told_once_at_its_own_instant_and_with_its_cause(shop):
    kinds, instants = Counter(), set()
    for key, (steps, _) in shop.histories.items():
        assert [plain(each) for each in reversed(told(shop, key))] == [tuple(each[:4]) for each in steps], (key, shop.people[key])
        kinds.update(each[1:4] for each in steps)
        instants |= {each.at for each in steps}
    assert sum(kinds.values()) > 200 and {kind[2] for kind in kinds} == {*WORDS}
    # Both causes lead to most stages, and where a midnight is left out the day begins an hour later.
    assert {("EVENT", "LEAD", "NEW"), ("EVENT", "CHURNED", "REACTIVATED"), ("EVENT", "DORMANT", "REACTIVATED"), ("TIME", "NEW", "ACTIVE"),
            ("EVENT", "NEW", "ACTIVE"), ("EVENT", "ACTIVE", "LOYAL"), ("TIME", "LOYAL", "AT_RISK"), ("TIME", "AT_RISK", "DORMANT"),
            ("TIME", "DORMANT", "CHURNED")} <= set(kinds)
    assert datetime(1998, 10, 11, 3, tzinfo=timezone.utc) in instants


def a_change_carries_the_evidence_of_its_instant(shop):
    for key, (steps, _) in shop.histories.items():
        for change, step in zip(reversed(told(shop, key)), steps):
            evidence = change.to
            assert change.name == f"{shop.names[key]}/stage"
            assert (evidence.silent_days, evidence.HasField("silent_days")) == (step.silent, True), (key, step)
            assert evidence.rhythm_p80_days == pytest.approx(step.rhythm)
            assert retention.instant_of(evidence.as_of) == step.at
            assert all(word in evidence.reason for word in WORDS[step.after]), (step.after, evidence.reason)
            assert evidence.policy_version == "stagePolicies/default/versions/1"


def the_newest_change_leads_to_the_present_stage_and_each_goes_on_from_the_one_before(shop):
    for key, (_, now) in shop.histories.items():
        newest_first = [plain(each) for each in told(shop, key)]
        assert questions.stage(shop.client, shop.names[key]) == now
        assert not newest_first or newest_first[0][3] == now
        assert all(later[2] == earlier[3] and later[0] >= earlier[0] for later, earlier in zip(newest_first, newest_first[1:])), key
    assert told(shop, "waiting") == []


def changes_foretold_are_those_that_come(shop):
    """Of whoever does nothing any more: the next change that each one foretells is the next one told."""
    seen = 0
    for key in shop.names:
        steps, news = shop.histories[key][0], [retention.noon(day) for _, day in shop.people[key].orders]
        changes = list(reversed(told(shop, key)))
        for earlier, later, change, next_change in zip(steps, steps[1:], changes, changes[1:]):
            if not any(earlier.at < instant <= later.at for instant in news):
                assert change.to.next_change_time == next_change.valid_at, key
                seen += 1
    assert seen > 50


@pytest.mark.parametrize("page_size", [1, 2, 3, 1_000, 5_000])
def pages_come_to_the_whole_the_newest_first(shop, page_size):
    for key in sorted(shop.names)[:12]:
        whole = list(shop.client.call(METHOD, {"parent": f"{shop.names[key]}/stage"}).transitions)
        assert [plain(each) for each in whole] == [tuple(each[:4]) for each in reversed(shop.histories[key][0])]
        assert transitions(shop.client, shop.names[key], page_size=page_size) == whole


def a_page_token_is_of_its_customer_and_of_its_tenant(shop):
    busy = [name for key, name in shop.names.items() if len(shop.histories[key][0]) > 3][:2]
    first, second = ({"parent": f"{name}/stage", "page_size": 2} for name in busy)
    token = shop.client.call(METHOD, first).next_page_token
    other_list = shop.client.call("StageService/ListRecords", {"page_size": 1}).next_page_token
    of_scores = {"parent": first["parent"], "page_token": token}
    assert token and other_list and shop.client.call(METHOD, of_scores).transitions
    for request in (second | {"page_token": token}, first | {"page_token": "x"}, first | {"page_token": token[:-1]},
                    first | {"page_token": token + "A"}, first | {"page_token": other_list}):
        shop.client.refused(METHOD, request).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
    # The same number is another customer in the default tenant.
    there = shop.suite.client("admin")
    name = questions.find(there, "else-1")
    here = {"parent": f"{name}/stage", "page_size": 1}
    assert name in shop.names.values()
    given = shop.client.call(METHOD, here).next_page_token or token
    there.refused(METHOD, here | {"page_token": given}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")


def another_tenants_customer_of_the_same_number_has_its_own_changes(shop):
    there = shop.suite.client("admin")
    for n in range(5):
        name = questions.find(there, f"else-{n}")
        bought = facts.AS_OF - (30 * n + 28) * DAY
        silences = [plain(each)[0] for each in transitions(there, name) if plain(each)[3] in ("AT_RISK", "DORMANT", "CHURNED")]
        crossed = [bought + days * DAY for days in (477, 239, 120)]
        assert silences == [instant for instant in crossed if instant > retention.noon(retention.FIRST_DAY)], name


def nobody_and_whoever_is_no_name_have_no_changes(shop):
    for name in ("customers/987654/stage", "customers/4294967295/stage"):
        shop.client.refused(METHOD, {"parent": name}).must_be(NOT_FOUND, "NOT_FOUND")
    some = next(iter(shop.names.values()))
    for parent in ("", some, f"{some}/score", f"{some}/stage/", "customers/0/stage", "customers/-1/stage", "customers/x/stage", "customers/01/stage",
                   "customers/ 1/stage", f"customers/{10 ** 30}/stage"):
        assert shop.client.refused(METHOD, {"parent": parent}).code == INVALID_ARGUMENT, parent
    shop.client.refused(METHOD, {"parent": f"{some}/stage", "page_size": -1}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")


# -- one life, by hand ----------------------------------------------------------------------------------------------------

def a_lead_buys_falls_silent_and_comes_back(noon):
    """By hand: with fewer than three gaps a rhythm is 119 days, so that silence speaks on days 120, 239 and 477."""
    client = noon.client("admin")
    name = lead(client, "ann")
    assert transitions(client, name) == [] and questions.stage(client, name) == "LEAD"
    buy(client, "ann", "first", 0, orders=2)
    expected = [(after(0), "EVENT", "LEAD", "NEW")]
    assert list(map(plain, transitions(client, name))) == expected
    move(client, 100)
    expected.insert(0, (midnight(90), "TIME", "NEW", "ACTIVE"))
    assert list(map(plain, transitions(client, name))) == expected
    buy(client, "ann", "second", 100, orders=2)
    assert list(map(plain, transitions(client, name))) == expected, "of two more orders nobody is loyal"
    move(client, 200)
    buy(client, "ann", "third", 200)
    expected.insert(0, (after(200), "EVENT", "ACTIVE", "LOYAL"))
    assert list(map(plain, transitions(client, name))) == expected
    move(client, 800)  # Over three boundaries at once.
    for days, was, becomes in ((120, "LOYAL", "AT_RISK"), (239, "AT_RISK", "DORMANT"), (477, "DORMANT", "CHURNED")):
        expected.insert(0, (midnight(200 + days), "TIME", was, becomes))
    whole = transitions(client, name)
    assert list(map(plain, whole)) == expected
    assert [each.to.silent_days for each in whole[:3]] == [477, 239, 120] and {each.to.rhythm_p80_days for each in whole} == {119}
    buy(client, "ann", "back", 800)
    expected.insert(0, (after(800), "EVENT", "CHURNED", "REACTIVATED"))
    move(client, 1_059)
    # Of the gaps 100, 100 and 600 the own quantile is 400, and the rhythm (3 * 400 + 3 * 119) / 6 = 259.5 days.
    expected.insert(0, (midnight(890), "TIME", "REACTIVATED", "LOYAL"))
    assert list(map(plain, transitions(client, name))) == expected
    move(client, 1_060)
    expected.insert(0, (midnight(1_060), "TIME", "LOYAL", "AT_RISK"))
    whole = transitions(client, name)
    assert list(map(plain, whole)) == expected and (whole[0].to.silent_days, whole[0].to.rhythm_p80_days) == (260, 259.5)


def an_order_behind_a_silence_that_nobody_had_looked_at_is_told_behind_it(noon):
    """Time goes over boundaries, and at once there is an order: the silence is told first."""
    client = noon.client("admin")
    buy(client, "ann", "first", 0)
    name = find(client, "ann")
    client.call("ClockService/SetAsOf", {"as_of": facts.text_of(after(300))})
    buy(client, "ann", "back", 300)
    assert list(map(plain, transitions(client, name))) == [
        (after(300), "EVENT", "DORMANT", "REACTIVATED"), (midnight(239), "TIME", "AT_RISK", "DORMANT"),
        (midnight(120), "TIME", "ACTIVE", "AT_RISK"), (midnight(90), "TIME", "NEW", "ACTIVE")]


def a_history_that_comes_in_later_is_no_change(noon):
    client = noon.client("admin")
    names = {who: lead(client, who) for who in ("old", "older", "fresh")}
    buy(client, "old", "e", 0, ago=91 * DAY)
    buy(client, "older", "e", 0, orders=6, ago=700 * DAY)
    buy(client, "fresh", "e", 0, ago=89 * DAY)
    assert {who: questions.stage(client, name) for who, name in names.items()} == {"old": "ACTIVE", "older": "CHURNED", "fresh": "NEW"}
    assert {who: list(map(plain, transitions(client, name))) for who, name in names.items()} == {
        "old": [], "older": [], "fresh": [(after(0), "EVENT", "LEAD", "NEW")]}
    move(client, 90)
    # What comes later goes on from where the customer is.
    assert list(map(plain, transitions(client, names["old"]))) == [(midnight(29), "TIME", "ACTIVE", "AT_RISK")]
    # Neither is what else comes in of long ago.
    buy(client, "old", "between", 90, ago=100 * DAY)
    assert questions.stage(client, names["old"]) == "ACTIVE" and len(transitions(client, names["old"])) == 1
    buy(client, "older", "back", 90)
    assert list(map(plain, transitions(client, names["older"]))) == [(after(90), "EVENT", "CHURNED", "REACTIVATED")]


def a_window_that_ends_is_time_alone(noon):
    """Eight orders in a quarter and three in the next: as the windows pass, the customer declines, and later no longer does."""
    client = noon.client("admin")
    bought = {0: 2, 20: 2, 40: 2, 60: 2, 100: 1, 120: 1, 140: 1, 160: 1}
    buy(client, "ann", "e0", 0, orders=bought[0])
    name = find(client, "ann")
    # A window begins or ends with an order, a quarter behind it and half a year: time stands on those days, beside them, and on a few others.
    turning = {day + behind for day in bought for behind in (0, 90, 180)}
    for days in sorted({day + beside for day in turning for beside in (-1, 0, 1) if 0 < day + beside < 200} | {*range(5, 200, 13), 199}):
        move(client, days)
        if days in bought:
            buy(client, "ann", f"e{days}", days, orders=bought[days])
    ordered = [after(day) - HOUR for day, orders in bought.items() for _ in range(orders)]
    changed = [plain(each) for each in reversed(transitions(client, name))]
    declines = [each for each in changed if each[3] == "AT_RISK"]
    assert declines, changed
    for instant, cause, _, becomes in changed:
        now = sum(instant - 90 * DAY <= each < instant for each in ordered)
        before = sum(instant - 180 * DAY <= each < instant - 90 * DAY for each in ordered)
        assert (becomes == "AT_RISK") == (before >= 4 and 2 * now <= before), (instant, becomes, now, before)
        at_an_order = any(abs(instant - each) <= HOUR for each in ordered)
        assert cause == ("EVENT" if at_an_order else "TIME"), (instant, cause, becomes)


def a_complaint_and_its_end_are_told_when_they_come(noon):
    client = noon.client("admin")
    buy(client, "ann", "first", 0)
    name = find(client, "ann")
    for days, state in ((1, "OPENED"), (2, "RESOLVED")):
        move(client, days)
        said = facts.interaction(named("ann"), f"i{days}", interaction_time=facts.text_of(after(days) - HOUR), about="a cup",
                                 kind="INTERACTION_KIND_COMPLAINT", case_state=f"CASE_STATE_{state}")
        questions.wait_for(client, questions.take_in(client, said).facts_position, after(days))
    whole = transitions(client, name)
    assert list(map(plain, whole)) == [(after(2), "EVENT", "AT_RISK", "NEW"), (after(1), "EVENT", "NEW", "AT_RISK")]
    assert "complaint" in whole[1].to.reason and whole[1].to.silent_days == 1


def in_live_time_a_change_holds_from_when_its_order_was_taken_in(backend):
    with quintile.suite(backend, as_of=None) as suite:
        client = suite.client("admin")
        questions.wait_for(client, questions.take_in(client, facts.customer("ann")).facts_position, None)
        name, now = find(client, "ann"), datetime.now(timezone.utc)
        ordered = facts.order("ann", "e", order_time=retention.text_of(now))
        questions.wait_for(client, questions.take_in(client, ordered).facts_position, None)
        [change] = waiting.until(lambda: transitions(client, name), "the change to be told")
        instant, *rest = plain(change)
        assert rest == ["EVENT", "LEAD", "NEW"] and now <= instant <= datetime.now(timezone.utc)
        assert transitions(client, name) == [change]


# -- what changes nothing -------------------------------------------------------------------------------------------------

def nothing_is_told_twice_whatever_comes_again(alone):
    client = alone.client("admin")
    name = lead(client, "ann")
    buy(client, "ann", "first", 0)
    move(client, 300)
    buy(client, "ann", "back", 300)
    whole = written(client, name)
    assert len(whole) == 5
    again = [facts.order("ann", f"{event}-0", order_time=facts.text_of(START + days * DAY - HOUR)) for event, days in (("first", 0), ("back", 300))]
    answer = client.call("IngestService/IngestBatch", facts.batch(*again, facts.customer("ann")))
    questions.wait_for(client, answer.facts_position, START + 300 * DAY)
    assert answer.duplicates >= 2 and written(client, name) == whole
    for end in (alone.stop, alone.kill):
        end()
        alone.as_of = facts.text_of(START + 300 * DAY)
        alone.start()
        client = alone.client("admin")
        questions.wait_for(client, questions.take_in(client, facts.order(f"{end.__name__}ped", "e")).facts_position, START + 300 * DAY)
        assert written(client, name) == whole
    move(client, 390)
    assert written(client, name)[1:] == whole, "and what comes next is told on top"


def kills_as_time_moves_leave_each_change_told_once(alone):
    """Each time the suite is killed at once, and goes on at a later instant."""
    client, count = alone.client("admin"), 600
    rows = [facts.order(f"c{n}", "e", order_time=facts.text_of(START - (1 + n % 20) * DAY)) for n in range(count)]
    questions.wait_for(client, questions.take_in(client, *rows).facts_position, START)
    for days in (80, 110, 119, 240, 500):
        client.call("ClockService/SetAsOf", {"as_of": facts.text_of(START + days * DAY)})
        alone.kill()
        alone.as_of = facts.text_of(START + days * DAY + HOUR)
        alone.start()
        client = alone.client("admin")
    questions.wait_for(client, 0, START + 500 * DAY)
    names = questions.names_of(client, facts.SOURCE)
    boundaries = [(477, "DORMANT", "CHURNED"), (239, "AT_RISK", "DORMANT"), (120, "ACTIVE", "AT_RISK"), (90, "NEW", "ACTIVE")]
    for n in range(0, count, 13):
        expected = [(midnight(days - 1 - n % 20), "TIME", before, after) for days, before, after in boundaries]
        assert list(map(plain, transitions(client, names[f"c{n}"]))) == expected, n
    moves = retention.counts(retention.flow(client, START).moves)
    assert moves == {(before, after): count for _, before, after in boundaries}


def a_change_of_attributes_is_no_change_of_a_stage(noon):
    client = noon.client("admin")
    name = lead(client, "ann")
    buy(client, "ann", "first", 0)
    whole = transitions(client, name)
    change = {"customer": {"name": name, "attributes": {"language": "fr"}}, "update_mask": "attributes.language"}
    client.call("CustomerService/UpdateCustomer", change)
    buy(client, "bob", "e", 0)
    assert transitions(client, name) == whole and len(whole) == 1


# -- those who are gone ---------------------------------------------------------------------------------------------------

def of_whoever_is_erased_no_change_is_left(noon):
    client = noon.client("admin")
    names = {who: lead(client, who) for who in ("erased", "restricted", "kept")}
    for who in names:
        buy(client, who, "first", 0)
    move(client, 130)
    assert {len(transitions(client, name)) for name in names.values()} == {3}
    absent = client.refused(METHOD, {"parent": "customers/987654/stage"}).must_be(NOT_FOUND, "NOT_FOUND")
    restriction = client.call("PrivacyService/RestrictProcessing", {"name": names["restricted"]})
    questions.wait_for(client, restriction.facts_position, after(130))
    assert client.refused(METHOD, {"parent": f"{names['restricted']}/stage"}).answer == absent.answer
    for who in ("erased", "restricted"):
        begun = client.call("PrivacyService/EraseCustomer", {"name": names[who]}).name
        waiting.until(lambda: client.call("PrivacyService/GetErasure", {"name": begun}).HasField("complete_time"), "the erasure")  # noqa: B023
        assert client.refused(METHOD, {"parent": f"{names[who]}/stage"}).answer == absent.answer
    assert len(transitions(client, names["kept"])) == 3
    # Who comes by the same name is somebody else, and brings no change along.
    buy(client, "erased", "again", 130)
    again = find(client, "erased")
    assert again != names["erased"] and transitions(client, again) == []


def whoever_comes_back_from_a_restriction_goes_on_from_the_present_stage(noon):
    client = noon.client("admin")
    name = lead(client, "ann")
    buy(client, "ann", "first", 0)
    restriction = client.call("PrivacyService/RestrictProcessing", {"name": name})
    questions.wait_for(client, restriction.facts_position, after(0))
    move(client, 300)
    lifted = client.call("PrivacyService/LiftRestriction", {"name": name})
    questions.wait_for(client, lifted.facts_position, after(300))
    assert questions.stage(client, name) == "DORMANT"
    move(client, 500)
    newest = plain(transitions(client, name)[0])
    assert newest == (midnight(477), "TIME", "DORMANT", "CHURNED")
