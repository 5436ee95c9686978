"""What followers are told of definitions that move thousands at once: all of it, in order, once, from wherever they go on."""
import itertools
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import pytest

from support import facts, questions, segments, waiting
from support.refusals import INVALID_ARGUMENT, NOT_FOUND, Refusal
from support.segments import changes, followed, frequent, moved, plain, refers_to, seldom, those
from support.watching import cause, watch

CUSTOMERS = 2_040  # Of whom half are more than a response tells.
SERVICES = {"ingestion", "scoring", "lifecycle", "segmentation", "access-control"}
CHANGES = "ProfileService/ListMembershipChanges"


@pytest.fixture(scope="module")
def town(shared):
    """Customers whom the tests of this file only read; `start` is where the log of enters and exits begins."""
    admin = shared.client("admin")
    start = segments.now(admin)
    return SimpleNamespace(suite=shared, admin=admin, start=start, people=segments.settle(admin, CUSTOMERS))


@pytest.fixture
def named(new):
    """Ids that no other test uses, by a word."""
    return lambda word: f"{word}-{new[:12]}"


def messages(told):
    """Changes as bytes, to be compared."""
    return [change.SerializeToString(deterministic=True) for change in told]


def assert_erased(client, customer):
    """Erases a customer, of whom then nothing is left anywhere."""
    name = client.call("PrivacyService/EraseCustomer", {"name": customer}).name
    get = lambda: client.call("PrivacyService/GetErasure", {"name": name})  # noqa: E731
    done = waiting.until(lambda: next((each for each in [get()] if each.HasField("complete_time")), None), "the erasure to complete")
    assert {receipt.service: receipt.remaining for receipt in done.receipts} == dict.fromkeys(SERVICES, 0)
    client.refused(CHANGES, {"parent": customer}).must_be(NOT_FOUND, "NOT_FOUND")


def a_definition_that_moves_thousands_is_told_from_wherever_one_goes_on(town, named):
    admin, id_of = town.admin, named("many")
    name, other = f"segments/{id_of}", f"segments/{named('others')}"
    segments.create(admin, id_of, "orders >= 3")
    segments.create(admin, named("others"), f"!{refers_to(id_of)}")
    seen = segments.prepare(admin, name, "orders <= 2")
    cursor = segments.now(admin)
    few, many = those(town.people, frequent), those(town.people, seldom)
    expected = moved(name, few, many) | moved(other, many, few)
    with watch(admin, segments.WATCH) as watcher, watch(admin, segments.WATCH, {"parents": [other]}) as of_one:
        watcher.until_caught_up()
        of_one.until_caught_up()
        segments.publish(admin, name, seen.etag)
        watcher.until(lambda _said: len(watcher.changes()) >= len(expected), "everybody to move")
        of_one.until(lambda _said: len(of_one.changes()) >= CUSTOMERS, "everybody to move into or out of one")
        segments.assert_told(watcher.changes(), expected)
        segments.assert_told(of_one.changes(), moved(other, many, few))
        live = messages(watcher.changes())
    whole = followed(admin, cursor)
    assert messages(changes(whole)) == live, "late or live, it is told in the same words and order"
    # Pages are of many, and most of them end amid those who move together.
    assert len(whole) >= 4 and max(len(response.changes) for response in whole) <= 1_000
    for place, response in enumerate(whole):
        assert messages(segments.since(admin, response.cursor)) == messages(changes(whole[place + 1:])), place
    assert messages(changes(segments.in_pieces(admin, cursor))) == live
    assert messages(changes(segments.in_pieces(admin, cursor, parents=[other]))) == [
        change.SerializeToString(deterministic=True) for change in changes(whole) if change.parent == other]


def who_is_cut_off_while_it_is_written_misses_nothing(town, named):
    admin, name = town.admin, f"segments/{named('flips')}"
    segments.create(admin, named("flips"), "orders >= 3")
    start, done = segments.now(admin), threading.Event()

    def follow():
        """All responses, by a follower who is cut off all the time, until there is nothing new after the last publishing."""
        pieces = []
        while True:
            is_last = done.is_set()
            new = segments.in_pieces(admin, pieces[-1].cursor if pieces else start, parents=[name])
            pieces += new
            if is_last and not new:
                return pieces
    with ThreadPoolExecutor(1) as beside:
        following = beside.submit(follow)
        try:
            for rule in ("orders <= 2", "orders >= 1", "false", "orders >= 3", "net_revenue >= 20"):
                segments.redefine(admin, name, rule)
        finally:
            done.set()
        told = changes(following.result(waiting.SECONDS))
    assert messages(told) == messages(segments.since(admin, start, parents=[name]))
    rich = those(town.people, lambda person: person.cents >= 2_000)
    assert segments.replayed(told, {name: those(town.people, frequent)}) == {name: rich}
    assert segments.members(admin, name) == segments.by_number(rich)


def a_customers_changes_are_those_of_the_log_whatever_the_page(town, named):
    """Of movements of one, of as many as are told apart, and of thousands: in turn, and of one definition and of several."""
    admin, name = town.admin, f"segments/{named('log')}"
    order = segments.by_number(town.people)
    segments.create(admin, named("log"), "net_revenue >= 172")
    segments.create(admin, named("behind"), f"!{refers_to(named('log'))}")
    for rule in ("orders >= 1", "net_revenue >= 5.01", "orders >= 2", "net_revenue >= 168", "false", "orders == 4", "net_revenue >= 171"):
        segments.redefine(admin, name, rule)
    log = segments.since(admin, town.start)
    for customer, page_size in itertools.product((order[0], order[1], order[99], order[100], order[1_199], order[-1]), (1, 2, 5, 1_000)):
        told, token = [], ""
        while True:
            page = admin.call(CHANGES, {"parent": customer, "page_size": page_size, "page_token": token})
            assert len(page.changes) <= page_size
            told, token = [*told, *page.changes], page.next_page_token
            if not token:
                break
        assert messages(told) == messages(change for change in log if change.customer == customer), page_size
        own = [change for change in told if change.parent == name]
        assert len(own) >= 2 and {cause(change) for change in own} == {"DEFINITION"}


def the_log_adds_up_to_who_is_a_member(town, named):
    """From the beginning on: of every segment that there is, and of every label."""
    admin = town.admin
    segments.create(admin, named("last"), "orders >= 2 && net_revenue < 100")
    members = segments.replayed(segments.since(admin, town.start))
    listed = {each.name: each for each in questions.everything(admin, "SegmentService/ListSegments", "segments")}
    parents = [*listed, *questions.labels(admin).values()]
    assert {parent: segments.members(admin, parent) for parent in parents} == {
        parent: segments.by_number(members.pop(parent, set())) for parent in parents}
    assert {name: each.members for name, each in listed.items()} == {name: len(segments.members(admin, name)) for name in listed}
    assert not any(members.values()), "of what is gone, everybody has left"


def what_is_published_among_purchases_adds_up(fresh):
    admin, rules = fresh.client("admin"), ["orders >= 3", "orders <= 2", "net_revenue >= 50", "orders_30 >= 2"]
    start = segments.now(admin)
    segments.create(admin, "moving", "orders >= 2")
    segments.create(admin, "rest", f'!{refers_to("moving")} && orders >= 1')
    segments.label_set(admin, "care", {"in": refers_to("moving"), "new": "orders == 1"})

    def buy():
        for number in range(25):
            rows = [facts.order(f"c{(7 * number + each) % 300}", f"{number}-{each}", days=1 + number, cents=900) for each in range(60)]
            position = questions.take_in(admin, *rows).facts_position
        return position
    published = 0
    with ThreadPoolExecutor(1) as beside:
        buying = beside.submit(buy)
        while not buying.done() or published < 8:
            segments.redefine(admin, "segments/moving", rules[published % len(rules)])
            published += 1
        questions.wait_for(admin, buying.result())
    told = segments.since(admin, start)
    members = segments.replayed(told)
    parents = ["segments/moving", "segments/rest", *(f"labelSets/care/labels/{label}" for label in ("in", "new", "others")),
               *questions.labels(admin).values()]
    assert {parent: segments.by_number(members.get(parent, set())) for parent in parents} == {
        parent: segments.members(admin, parent) for parent in parents}
    assert {cause(change) for change in told} == {"DEFINITION", "RECORD"}
    assert segments.get(admin, "segments/moving").version == published + 1
    records = questions.everything(admin, "StageService/ListRecords", "records", page_size=1_000)
    by_label = [name for parent in parents[2:5] for name in segments.members(admin, parent)]
    assert segments.by_number(by_label) == [f"customers/{record.customer_id}" for record in records]


def a_rule_that_was_published_moves_with_purchases_and_with_time(fresh):
    admin = fresh.client("admin")
    names = segments.take_in(admin, facts.order("ann", "e", days=20), facts.order("ben", "e", days=60))
    made = segments.create(admin, "recent", "days_since(last_order_at) < 5", draft_only=True)
    segments.create(admin, "ever", "orders >= 1")
    made = segments.prepare(admin, made.name, "days_since(last_order_at) < 30", made.etag)
    cursor = segments.now(admin)
    segments.publish(admin, made.name, made.etag)
    segments.create(admin, "silent", f'!{refers_to("recent")} && orders >= 1')
    answer = questions.take_in(admin, facts.order("ben", "again", days=10))
    questions.wait_for(admin, answer.facts_position)
    questions.set_clock(admin, facts.AS_OF + timedelta(days=15))
    told = [(*each, cause(change)) for change in segments.since(admin, cursor) for each in plain([change])
            if not change.parent.startswith("labelSets/")]
    ann, ben, recent, silent = names["ann"], names["ben"], made.name, "segments/silent"
    assert told[:2] == [(recent, ann, True, "DEFINITION"), (silent, ben, True, "DEFINITION")]
    assert set(told[2:]) == {(recent, ben, True, "RECORD"), (silent, ben, False, "RECORD"), (recent, ann, False, "TIME"),
                             (silent, ann, True, "TIME")} and len(told) == 6
    assert (segments.members(admin, recent), segments.members(admin, silent)) == ([ben], [ann])


def an_erasure_takes_one_out_of_what_moved_together_and_moves_no_cursor(fresh):
    admin, customers = fresh.client("admin"), 1_100
    segments.settle(admin, customers)
    start = segments.now(admin)
    name = segments.create(admin, "all", "orders >= 1").name
    segments.create(admin, "again", refers_to("all"))
    whole = followed(admin, start)
    order = [change.customer for change in changes(whole)]
    assert len(order) == 2 * customers and len(whole[0].changes) == 1_000
    # One whom the first response told of, one whom it did not, and the one on which it ended.
    erased = [order[500], order[1_050], order[999]]
    for customer in erased:
        assert_erased(admin, customer)
    notices = [("", customer, False) for customer in erased]
    for place, response in enumerate([None, *whole]):
        left = [each for each in plain(changes(whole[place:])) if each[1] not in erased]
        assert plain(segments.since(admin, response.cursor if response else start)) == left + notices, place
    assert plain(changes(segments.in_pieces(admin, start))) == [each for each in plain(changes(whole)) if each[1] not in erased] + notices
    assert segments.get(admin, name).members == customers - len(erased) == len(segments.members(admin, "segments/again"))
    # What moves them afterwards moves nobody who is gone.
    cursor = segments.now(admin)
    segments.redefine(admin, name, "false")
    told = segments.since(admin, cursor)
    assert len(told) == 2 * (customers - len(erased)) and {change.customer for change in told} & set(erased) == set()


def what_moves_others_again_and_again_hides_nothing_of_one(fresh):
    """Of hundreds of movements of many, four at a time, a customer is in the first and in the last; another is in all of them, until it is erased."""
    admin, flips = fresh.client("admin"), 70
    people = segments.settle(admin, 160)
    name = segments.create(admin, "flips", "orders >= 2").name
    for place in range(3):
        segments.create(admin, f"over-{place}", refers_to("flips"))
    for number in range(flips):
        segments.redefine(admin, name, f"orders >= {4 if number % 2 == 0 else 2}")
    segments.redefine(admin, name, "orders <= 3")
    seldom_moved, moved_always = (segments.by_number(those(people, lambda person, n=n: person.orders == n))[-1] for n in (4, 3))
    for page_size in (1, 7, 1_000):
        told = {customer: [change.entered for change in questions.everything(
            admin, CHANGES, "changes", parent=customer, page_size=page_size) if change.parent == name] for customer in (
                seldom_moved, moved_always)}
        assert told == {seldom_moved: [True, False], moved_always: [True] + [False, True] * (flips // 2)}
    assert_erased(admin, moved_always)
    assert [change.entered for change in questions.everything(admin, CHANGES, "changes", parent=seldom_moved, page_size=1)
            if change.parent == name] == [True, False]


def who_gives_up_waiting_leaves_nothing_half_done(fresh):
    """A change whose caller's deadline passes amid it is made or not: alike for those who read, who follow, and who come after a restart."""
    admin, chance = fresh.client("admin"), random.Random(7)
    order = segments.by_number(segments.settle(admin, 200))
    start = segments.now(admin)
    for segment_id, rule in (("rule", "orders >= 3"), ("over", refers_to("rule"))):
        segments.create(admin, segment_id, rule)
    segments.static(admin, "list")

    def publishing():
        segments.prepare(admin, "segments/rule", f"orders >= {chance.randrange(1, 5)}")
        return "PublishSegment", {"name": "segments/rule", "etag": segments.get(admin, "segments/rule").etag}
    listing = lambda method: (method, {"parent": "segments/list", "customers": chance.sample(order, 60)})  # noqa: E731
    changes_asked = (publishing, lambda: listing("AddMembers"), lambda: listing("RemoveMembers"), lambda: (
        "CreateSegment", {"segment_id": f"s{chance.randrange(10 ** 9)}", "segment": {"expression": "orders >= 2"}}))

    def seconds_of(ask, seconds):
        """How long a change took. None: its deadline has passed."""
        method, request = ask()
        begun = time.monotonic()
        try:
            admin.call(f"SegmentService/{method}", request, seconds=seconds)
        except Refusal as refusal:
            assert refusal.code.name in ("DEADLINE_EXCEEDED", "CANCELLED"), (method, refusal)
            return None
        return time.monotonic() - begun
    usual = max(sorted(seconds_of(ask, 30) for _ in range(10))[5] for ask in changes_asked)
    outcomes = [seconds_of(chance.choice(changes_asked), chance.uniform(usual / 10, 2 * usual)) for _ in range(240)]
    assert 12 < outcomes.count(None) < 228, "deadlines pass before, amid and after"

    def state(client):
        listed = questions.everything(client, "SegmentService/ListSegments", "segments")
        names = [each.name for each in listed]
        return messages(listed), [segments.members(client, name) for name in names], [messages(segments.versions(client, name)) for name in names]
    publishing()
    segments.publish(admin, "segments/rule", segments.get(admin, "segments/rule").etag)  # Behind all that was begun.
    before = state(admin)
    members = segments.replayed(segments.since(admin, start))
    assert [segments.by_number(members.get(f"segments/{each}", set())) for each in ("list", "over", "rule")] == [
        segments.members(admin, f"segments/{each}") for each in ("list", "over", "rule")]
    fresh.stop()
    fresh.start()
    questions.wait_for(fresh.client("admin"), 0)
    assert state(fresh.client("admin")) == before


def a_restart_keeps_drafts_versions_and_the_log(fresh):
    admin = fresh.client("admin")
    people = segments.settle(admin, 120)
    start = segments.now(admin)
    segments.create(admin, "base", "orders >= 3", description="段")
    segments.create(admin, "over", refers_to("base"))
    segments.label_set(admin, "care", {"in": refers_to("over")})
    segments.redefine(admin, "segments/base", "orders <= 2 // widened")
    segments.create(admin, "coming", f"orders >= 1 && !{refers_to('care/in')}", draft_only=True)
    segments.prepare(admin, "segments/base", "orders == 4")
    seen = segments.foresee(admin, "segments/base", sample_size=5)
    names = [f"segments/{each}" for each in ("base", "coming", "over")]

    def state(client):
        """All that is told of them, as bytes: after a restart, messages are of another API."""
        published = [segments.versions(client, name) for name in names]
        published.append(client.call("LabelService/ListLabelSetVersions", {"parent": "labelSets/care"}).versions)
        members = [segments.members(client, name) for name in (*names, "labelSets/care/labels/in")]
        return (messages(segments.get(client, name) for name in names), [messages(each) for each in published], members,
                messages(segments.since(client, start)))
    before, base = state(admin), segments.get(admin, names[0])
    assert (base.expression, base.version, base.description) == ("orders <= 2 // widened", 2, "段")
    assert [len(each) for each in before[1]] == [2, 0, 1, 1]
    for end in (fresh.kill, fresh.stop):  # The second one with what the first has loaded.
        end()
        fresh.start()
        admin = fresh.client("admin")
        questions.wait_for(admin, 0)
        assert state(admin) == before
    refusal = admin.refused("SegmentService/PreviewSegment", {"expression": refers_to("coming")})
    refusal.must_be(INVALID_ARGUMENT, "INVALID_EXPRESSION")
    assert segments.foresee(admin, "segments/base").moves.entering == seen.moves.entering
    cursor = segments.now(admin)
    live = segments.publish(admin, "segments/base", seen.etag)
    four, two = those(people, lambda person: person.orders == 4), those(people, seldom)
    assert (live.version, live.members) == (3, len(four))
    told = segments.since(admin, cursor)
    assert {change.parent for change in told} == {"segments/base", "segments/over", "labelSets/care/labels/in", "labelSets/care/labels/others"}
    segments.assert_told([change for change in told if change.parent == "segments/over"], moved("segments/over", two, four))
    # And it goes on: a purchase moves who makes it.
    questions.wait_for(admin, questions.take_in(admin, *(facts.order("new", f"e{n}", days=n + 1) for n in range(4))).facts_position)
    assert segments.members(admin, "segments/over") == segments.by_number({*four, questions.find(admin, "new")})
