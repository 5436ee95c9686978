"""Static lists: who is put on one stays on it until taken off it, whatever rules, restarts and restrictions do meanwhile."""
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import pytest

from support import facts, policies, questions, segments, waiting
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND
from support.segments import frequent, moved, refers_to, seldom, those
from support.watching import cause, watch

CUSTOMERS = 1_500  # More than a response tells.
STATIC = 2  # SEGMENT_KIND_STATIC
ABSENT = "customers/987654"


@pytest.fixture(scope="module")
def town(shared):
    """Customers whom the tests of this file only read."""
    admin = shared.client("admin")
    people = segments.settle(admin, CUSTOMERS)
    return SimpleNamespace(suite=shared, admin=admin, people=people, order=segments.by_number(people))


@pytest.fixture
def named(new):
    """Ids that no other test uses, by a word."""
    return lambda word: f"{word}-{new[:12]}"


def must_precede(refusal):
    refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def is_as_told(client, name, expected):
    """Whether everything that tells of the members of a list tells the same."""
    expected, everybody = segments.by_number(expected), [f"customers/{number}" for number in range(1, 1_001)]
    checked = client.call("SegmentService/CheckMembers", {"parent": name, "customers": everybody}).members
    return (segments.members(client, name), segments.get(client, name).members, list(checked)) == (
        expected, len(expected), [each for each in expected if segments.number(each) <= 1_000])


# -- on and off -----------------------------------------------------------------------------------------------------------

def a_list_begins_with_those_who_match_now_and_follows_no_rule(fresh):
    admin = fresh.client("admin")
    names = segments.take_in(admin, *(facts.order(who, f"{n}", days=n + 1) for who, orders in (("ann", 3), ("ben", 1)) for n in range(orders)))
    cursor = segments.now(admin)
    made = segments.static(admin, "often", "orders >= 3", description="by hand")
    assert (made.kind, made.version, made.expression, made.draft_expression, made.members, made.description) == (
        STATIC, 1, "", "", 1, "by hand")
    empty = segments.static(admin, "empty")
    assert (empty.kind, empty.version, empty.members, segments.members(admin, empty.name)) == (STATIC, 1, 0, [])
    rule = segments.create(admin, "rule", "orders >= 3")
    segments.assert_told(segments.since(admin, cursor), moved(made.name, set(), {names["ann"]}) | moved(rule.name, set(), {names["ann"]}))
    assert segments.versions(admin, made.name) == []
    assert [each.name for each in admin.call("SegmentService/ListSegments").segments] == [empty.name, made.name, rule.name]
    # Another comes to match, and one no longer does.
    cursor, labels = segments.now(admin), set(questions.labels(admin).values())
    rows = [*(facts.order("ben", f"more-{n}", days=n + 2) for n in range(2)), facts.order("cleo", "e")]
    names = segments.take_in(admin, *rows)
    assert (segments.members(admin, made.name), segments.members(admin, rule.name)) == (
        [names["ann"]], segments.by_number([names["ann"], names["ben"]]))
    told = [change for change in segments.since(admin, cursor) if change.parent not in labels]
    segments.assert_told(told, {(rule.name, names["ben"], True)}, "RECORD")


def who_is_on_it_already_is_not_put_on_it_again(town, named):
    admin, order = town.admin, town.order
    name = segments.static(admin, named("few")).name
    for asked, added in ((order[2:5], 3), (order[2:5], 0), (order[4:8], 3), ([order[9]] * 3, 1), ([order[9], order[0], order[9]], 1)):
        cursor, before = segments.now(admin), set(segments.members(admin, name))
        assert segments.add(admin, name, asked) == added
        segments.assert_told(segments.since(admin, cursor), moved(name, before, before | set(asked)))
        assert is_as_told(admin, name, before | set(asked))
    for asked, removed in ((order[3:6], 3), (order[3:6], 0), (order[5:7], 1), ([order[9]] * 2, 1), ([order[20]], 0)):
        cursor, before = segments.now(admin), set(segments.members(admin, name))
        assert segments.remove(admin, name, asked) == removed
        segments.assert_told(segments.since(admin, cursor), moved(name, before, before - set(asked)))
        assert is_as_told(admin, name, before - set(asked))
    assert segments.members(admin, name) == [order[0], order[2], order[7]]
    profile = admin.call("ProfileService/GetProfile", {"name": f"{order[7]}/profile"})
    assert name in profile.segments
    log = admin.call("ProfileService/ListMembershipChanges", {"parent": order[4], "page_size": 1_000}).changes
    assert [change.entered for change in log if change.parent == name] == [True, False]


def thousands_are_put_on_a_list_at_once_and_told_from_wherever_one_goes_on(town, named):
    admin, order = town.admin, town.order
    name = segments.static(admin, named("many"), "orders == 1").name
    single = those(town.people, lambda person: person.orders == 1)
    segments.create(admin, named("rest"), f"!{refers_to(named('many'))} && orders >= 1")
    cursor, rest = segments.now(admin), f"segments/{named('rest')}"
    everybody = [*order, *reversed(order)] * 3  # 9,000 names, each customer's six times.
    assert segments.add(admin, name, everybody) == CUSTOMERS - len(single)
    whole, left = segments.followed(admin, cursor), set(order) - single
    segments.assert_told(segments.changes(whole), moved(name, single, set(order)) | moved(rest, left, set()))
    assert len(whole) >= 3
    for place, response in enumerate(whole):
        assert segments.plain(segments.since(admin, response.cursor)) == segments.plain(segments.changes(whole[place + 1:]))
    assert [segments.members(admin, name, page_size=size) for size in (7, 1_000, 10_000)] == [order] * 3
    assert segments.add(admin, name, (everybody * 2)[:10_000]) == 0, "so many may be named at once"
    assert segments.remove(admin, name, order[1:]) == CUSTOMERS - 1
    assert is_as_told(admin, name, {order[0]}) and segments.members(admin, rest) == order[1:]


def nobody_is_put_on_a_list_together_with_one_who_is_not_there(town, named):
    admin, order = town.admin, town.order
    name = segments.static(admin, named("whole")).name
    segments.add(admin, name, order[:2])
    etag, cursor = segments.get(admin, name).etag, segments.now(admin)
    for method in ("AddMembers", "RemoveMembers"):
        for customers in ([ABSENT], [*order[:4], ABSENT], [ABSENT, *order[:4]]):
            refusal = admin.refused(f"SegmentService/{method}", {"parent": name, "customers": customers})
            refusal.must_be(NOT_FOUND, "NOT_FOUND")
    assert is_as_told(admin, name, order[:2]) and segments.since(admin, cursor) == []
    assert segments.get(admin, name).etag == etag


def what_is_done_at_once_is_done_once(town, named):
    """Of many who put customers on a list and take others off it at once, nobody's work is lost."""
    admin, order = town.admin, town.order
    name = segments.static(admin, named("busy")).name
    segments.add(admin, name, order[:40])
    cursor = segments.now(admin)
    work = [(segments.add, order[100 + 10 * n:120 + 10 * n]) for n in range(16)] + [(segments.remove, order[4 * n:4 * n + 8]) for n in range(8)]
    with ThreadPoolExecutor(8) as at_once:
        counts = list(at_once.map(lambda job: job[0](admin, name, job[1]), work))
    assert (sum(counts[:16]), sum(counts[16:])) == (170, 36)
    expected = {*order[36:40], *order[100:270]}
    assert is_as_told(admin, name, expected)
    assert segments.replayed(segments.since(admin, cursor), {name: set(order[:40])}) == {name: expected}


def rules_refer_to_lists_and_follow_them(town, named):
    admin, order = town.admin, town.order
    name = segments.static(admin, named("invited")).name
    came = segments.create(admin, named("came"), f"{refers_to(named('invited'))} && orders >= 3").name
    labels = f"labelSets/{named('party')}/labels"
    segments.label_set(admin, named("party"), {"in": refers_to(named("came"))})
    cursor = segments.now(admin)
    segments.add(admin, name, order[:50])
    guests = set(order[:50]) & those(town.people, frequent)
    segments.assert_told(segments.since(admin, cursor), moved(name, set(), set(order[:50])) | moved(came, set(), guests)
                         | moved(f"{labels}/in", set(), guests) | moved(f"{labels}/others", guests, set()))
    assert segments.members(admin, came) == segments.members(admin, f"{labels}/in") == segments.by_number(guests)
    segments.prepare(admin, came, f"{refers_to(named('invited'))} && orders <= 2")
    seen, others = segments.foresee(admin, came), set(order[:50]) - guests
    assert (seen.moves.entering, seen.moves.leaving, seen.staying) == (len(others), len(guests), 0)
    segments.remove(admin, name, order[:25])
    assert segments.members(admin, came) == segments.by_number(guests - set(order[:25]))
    must_precede(admin.refused("SegmentService/DeleteSegment", {"name": name}))


def a_list_has_no_rule_and_a_rule_has_no_list(town, named):
    admin, order = town.admin, town.order
    listed, ruled = segments.static(admin, named("list"), "orders >= 3"), segments.create(admin, named("rule"), "orders >= 3")
    coming = segments.create(admin, named("coming"), "orders >= 3", draft_only=True)
    cursor = segments.now(admin)
    for name in (ruled.name, coming.name):
        for method in ("AddMembers", "RemoveMembers"):
            must_precede(admin.refused(f"SegmentService/{method}", {"parent": name, "customers": order[:1]}))
    refusal = admin.refused("SegmentService/UpdateSegment", segments.draft(listed.name, "orders >= 1"))
    refusal.must_be({FAILED_PRECONDITION, INVALID_ARGUMENT}, {"FAILED_PRECONDITION", "INVALID_FIELD"})
    must_precede(admin.refused("SegmentService/PublishSegment", {"name": listed.name, "etag": listed.etag}))
    must_precede(admin.refused("SegmentService/PreviewSegmentDraft", {"name": listed.name}))
    described = segments.describe(admin, listed.name, "known by hand")
    assert (described.description, described.members, described.version, described.kind) == ("known by hand", listed.members, 1, STATIC)
    assert described.etag != listed.etag and segments.since(admin, cursor) == []


def a_list_that_is_deleted_is_forgotten(town, named):
    admin, order = town.admin, town.order
    made = segments.static(admin, named("gone"), "orders <= 2")
    segments.add(admin, made.name, order[:10])
    before, cursor = set(segments.members(admin, made.name)), segments.now(admin)
    refusal = admin.refused("SegmentService/DeleteSegment", {"name": made.name, "etag": "old"})
    refusal.must_be(grpc.StatusCode.ABORTED, "STALE_ETAG")
    segments.delete(admin, made.name, segments.get(admin, made.name).etag)
    segments.assert_told(segments.since(admin, cursor), moved(made.name, before, set()))
    admin.refused("SegmentService/AddMembers", {"parent": made.name, "customers": order[:1]}).must_be(NOT_FOUND, "NOT_FOUND")
    again = segments.static(admin, named("gone"))
    assert (again.members, segments.members(admin, again.name)) == (0, []) and again.etag != made.etag


# -- who may reach whom ---------------------------------------------------------------------------------------------------

def a_role_puts_its_own_customers_on_a_list_and_sees_no_others_there(town, named):
    admin = town.admin
    policies.publish(admin, policies.role_like(admin, "admin", "keeper", without=policies.TAKING_IN, row_scope="owner == caller.subject"))
    ann, mine = policies.client_of(town.suite, "keeper", "ann"), those(town.people, lambda person: person.owner == "ann")
    own, foreign = segments.by_number(mine), [name for name in town.order if name not in mine]
    name = segments.static(admin, named("shared")).name
    segments.add(admin, name, [*own[:4], *foreign[:6]])
    assert segments.get(ann, name).members == 4 and segments.members(ann, name) == own[:4]
    cursor = segments.now(ann)
    for method in ("AddMembers", "RemoveMembers"):
        ask = lambda customers, method=method: ann.refused(  # noqa: E731
            f"SegmentService/{method}", {"parent": name, "customers": customers}).must_be(NOT_FOUND, "NOT_FOUND").answer
        nobody = ask([ABSENT])
        # Whoever is on the list and whoever is not are alike nobody.
        assert {ask([foreign[0]]), ask([foreign[50]]), ask([*own[:8], foreign[0]]), ask([*own[:8], ABSENT])} == {nobody}
    assert segments.add(ann, name, own[2:6]) == 2 and segments.remove(ann, name, own[:1]) == 1
    segments.add(admin, name, foreign[6:9])
    segments.assert_told(segments.since(ann, cursor), moved(name, set(own[:4]), set(own[1:6])))
    assert is_as_told(admin, name, {*own[1:6], *foreign[:9]})
    # A list of hers begins with whom she reaches, and a rule of hers counts them alone.
    theirs = segments.static(ann, named("theirs"), "orders <= 2").name
    assert segments.members(admin, theirs) == segments.by_number(mine & those(town.people, seldom))
    assert questions.preview(ann, refers_to(named("shared"))).customers == 5


# -- rights of persons, and restarts --------------------------------------------------------------------------------------

def erased(client, customer):
    """The receipts of an erasure that is through: {service: what is left}."""
    name = client.call("PrivacyService/EraseCustomer", {"name": customer}).name
    get = lambda: client.call("PrivacyService/GetErasure", {"name": name})  # noqa: E731
    done = waiting.until(lambda: next((each for each in [get()] if each.HasField("complete_time")), None), "the erasure to complete")
    position = {"name": customer, "facts_position": done.facts_position}
    receipt = client.call("quintile.segmentation.v1.ErasureService/GetErasureReceipt", position)
    assert receipt.remaining == 0 and receipt.service == "segmentation"
    return {each.service: each.remaining for each in done.receipts}


def who_is_restricted_leaves_a_list_and_comes_back_to_it(fresh):
    admin = fresh.client("admin")
    order = segments.by_number(segments.settle(admin, 60))
    name, other = segments.static(admin, "list").name, segments.static(admin, "other").name
    segments.create(admin, "over", refers_to("list"))
    for each in (name, other):
        segments.add(admin, each, order[:40])
    customer = order[7]
    with watch(admin, segments.WATCH, {"parents": [name, other, "segments/over"]}) as watcher:
        watcher.until_caught_up()
        restricted = admin.call("PrivacyService/RestrictProcessing", {"name": customer})
        questions.wait_for(admin, restricted.facts_position)
        left = {(name, customer, False), (other, customer, False), ("segments/over", customer, False)}
        watcher.until(lambda _said: len(watcher.changes()) >= 3, "the exits")
        segments.assert_told(watcher.changes(), left, "REMOVAL")
    for each in (name, other, "segments/over"):
        assert segments.members(admin, each) == [one for one in order[:40] if one != customer]
        assert segments.get(admin, each).members == 39
    for method in ("AddMembers", "RemoveMembers"):
        refusal = admin.refused(f"SegmentService/{method}", {"parent": name, "customers": [customer]})
        refusal.must_be(NOT_FOUND, "NOT_FOUND")
    # Meanwhile the list is written anew, and loaded anew.
    assert (segments.add(admin, name, order[40:45]), segments.remove(admin, name, order[:5])) == (5, 5)
    fresh.kill()
    fresh.start()
    admin = fresh.client("admin")
    questions.wait_for(admin, 0)
    assert segments.members(admin, name) == [one for one in order[5:45] if one != customer]
    segments.remove(admin, name, order[44:45])
    cursor = segments.now(admin)
    lifted = admin.call("PrivacyService/LiftRestriction", {"name": customer})
    questions.wait_for(admin, lifted.facts_position)
    told = segments.since(admin, cursor, parents=[name, other, "segments/over"])
    segments.assert_told(told, {(parent, customer, True) for parent in (name, other, "segments/over")}, "RECORD")
    assert segments.members(admin, name) == segments.members(admin, "segments/over") == order[5:44]
    assert segments.members(admin, other) == order[:40] and segments.add(admin, name, [customer]) == 0


def who_is_erased_is_on_no_list_for_ever(fresh):
    admin = fresh.client("admin")
    order = segments.by_number(segments.settle(admin, 60))
    names = [segments.static(admin, f"list-{n}").name for n in range(3)]
    for name in names:
        segments.add(admin, name, order[:40])
    restricted = admin.call("PrivacyService/RestrictProcessing", {"name": order[2]})
    questions.wait_for(admin, restricted.facts_position)
    gone = {order[1], order[2]}  # One of whom was off the lists already, and would have come back.
    left = [each for each in order[:40] if each not in gone]
    services = {"ingestion", "scoring", "lifecycle", "segmentation", "access-control"}
    for customer in gone:
        assert erased(admin, customer) == dict.fromkeys(services, 0)
        for method in ("AddMembers", "RemoveMembers"):
            refusal = admin.refused(f"SegmentService/{method}", {"parent": names[0], "customers": [customer]})
            refusal.must_be(NOT_FOUND, "NOT_FOUND")
    assert [segments.members(admin, name) for name in names] == [left] * 3
    # Neither a list that is written anew nor one that is loaded anew has them.
    segments.add(admin, names[0], order[40:50])
    segments.remove(admin, names[1], order[10:20])
    receipt = {"facts_position": max(each.facts_position for each in admin.call("PrivacyService/ListErasures").erasures)}
    for end in (fresh.stop, fresh.kill):
        end()
        fresh.start()
        admin = fresh.client("admin")
        questions.wait_for(admin, receipt["facts_position"])
        for customer in gone:
            left_of = admin.call("quintile.segmentation.v1.ErasureService/GetErasureReceipt", receipt | {"name": customer}).remaining
            assert left_of == 0
        expected = [[*left, *order[40:50]], [each for each in left if each not in order[10:20]], left]
        assert [segments.members(admin, name) for name in names] == expected
    # Whoever comes with the same identity is somebody else.
    keys = {f"c{place}" for place in range(60)} - questions.names_of(admin, facts.SOURCE).keys()
    assert len(keys) == 2
    names_now = segments.take_in(admin, *(facts.order(key, "again") for key in keys))
    assert not {names_now[key] for key in keys} & set(order)
    assert [segments.members(admin, name) for name in names] == expected


def a_list_of_nobody_but_the_erased_is_empty(fresh):
    """And can be filled, deleted and loaded as any other."""
    admin = fresh.client("admin")
    names = segments.take_in(admin, *(facts.order(who, "e") for who in ("ann", "ben")))
    name = segments.static(admin, "list").name
    segments.add(admin, name, [names["ann"]])
    assert set(erased(admin, names["ann"]).values()) == {0}
    assert (segments.members(admin, name), segments.get(admin, name).members) == ([], 0)
    fresh.stop()
    fresh.start()
    admin = fresh.client("admin")
    questions.wait_for(admin, 0)
    assert segments.members(admin, name) == [] and segments.add(admin, name, [names["ben"]]) == 1
    segments.delete(admin, name)


@pytest.mark.parametrize("end", ["stop", "kill"])
def a_restart_keeps_lists_whatever_else_is_called_like_them(fresh, end):
    admin = fresh.client("admin")
    order = segments.by_number(segments.settle(admin, 120))
    # Label sets have names of their own: one made before the list, one after it, one that is deleted.
    segments.label_set(admin, "first", {"in": "orders >= 3"})
    for segment_id in ("first", "second", "third"):
        segments.static(admin, segment_id)
        segments.add(admin, f"segments/{segment_id}", order[:50])
    segments.remove(admin, "segments/second", order[:10])
    segments.label_set(admin, "second", {"in": refers_to("second")})
    segments.label_set(admin, "third", {"in": refers_to("third")})
    segments.create(admin, "over", f"{refers_to('first')} || {refers_to('second')}")
    admin.call("LabelService/DeleteLabelSet", {"name": "labelSets/third"})
    start = segments.now(admin)
    expected = {"segments/first": order[:50], "segments/second": order[10:50], "segments/third": order[:50], "segments/over": order[:50],
                "labelSets/second/labels/in": order[10:50]}
    for _ in range(2):
        (fresh.stop if end == "stop" else fresh.kill)()
        fresh.start()
        admin = fresh.client("admin")
        questions.wait_for(admin, 0)
        assert {parent: segments.members(admin, parent) for parent in expected} == expected
        assert segments.since(admin, start) == []
        assert segments.get(admin, "segments/first").kind == STATIC and segments.get(admin, "segments/first").members == 50
    assert segments.add(admin, "segments/first", order[49:60]) == 10
    assert {cause(change) for change in segments.since(admin, start)} == {"DEFINITION"}
