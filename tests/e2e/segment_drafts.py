"""Segments in preparation: a draft moves nobody, is previewed with all that hangs on it, and is told to every follower once in force."""
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import pytest

from support import facts, policies, questions, segments
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, Refusal
from support.segments import frequent, moved, refers_to, seldom

ABORTED = grpc.StatusCode.ABORTED
CUSTOMERS = 2_400  # Of whom half are more than a response tells.
RULE = 1  # SEGMENT_KIND_RULE
ABSENT = "refers to a segment that is not there"


@pytest.fixture(scope="module")
def town(shared):
    """Customers whom the tests of this file only read."""
    admin = shared.client("admin")
    return SimpleNamespace(suite=shared, admin=admin, people=segments.settle(admin, CUSTOMERS))


@pytest.fixture
def named(new):
    """Ids that no other test uses, by a word."""
    return lambda word: f"{word}-{new[:12]}"


def those(town, holds):
    """The customers of whom something holds."""
    return segments.those(town.people, holds)


def worth(town, names):
    return sum(town.people[name].cents for name in names)


def must_precede(refusal):
    refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


# -- drafts ---------------------------------------------------------------------------------------------------------------

def a_draft_is_nobodys_segment_until_it_is_published(town, named):
    admin, expected, cursor = town.admin, those(town, frequent), segments.now(town.admin)
    made = segments.create(admin, named("calm"), "orders >= 3", draft_only=True, description="to come")
    assert (made.version, made.expression, made.draft_expression, made.members, made.kind) == (0, "", "orders >= 3", 0, RULE)
    assert segments.get(admin, made.name) == made
    assert made in questions.everything(admin, "SegmentService/ListSegments", "segments", page_size=3)
    assert segments.members(admin, made.name) == [] == segments.versions(admin, made.name)
    somebody = segments.by_number(expected)[0]
    assert not questions.is_member(admin, made.name, somebody)
    assert made.name not in admin.call("ProfileService/GetProfile", {"name": f"{somebody}/profile"}).segments
    reference = f'orders >= 1 && {refers_to(named("calm"))}'
    other = segments.create(admin, named("other"), "orders >= 1")
    for method, request in (("PreviewSegment", {"expression": reference}), ("UpdateSegment", segments.draft(other.name, reference)),
                            ("CreateSegment", {"segment_id": named("late"), "segment": {"expression": reference}})):
        refusal = admin.refused(f"SegmentService/{method}", request).must_be(INVALID_ARGUMENT, "INVALID_EXPRESSION")
        assert ABSENT in refusal.message and refusal.bad_request.field_violations, refusal
    assert {change.parent for change in segments.since(admin, cursor)} == {other.name}
    cursor = segments.now(admin)
    live = segments.publish(admin, made.name, made.etag)
    assert (live.version, live.expression, live.draft_expression, live.members) == (1, "orders >= 3", "", len(expected))
    assert (live.description, live.create_time, live.kind) == ("to come", made.create_time, RULE)
    assert segments.members(admin, made.name) == segments.by_number(expected)
    segments.assert_told(segments.since(admin, cursor), moved(made.name, set(), expected))
    assert questions.preview(admin, reference).customers == len(expected)


def what_is_in_force_stays_until_its_draft_is_published(town, named):
    admin, expected = town.admin, those(town, frequent)
    name = segments.create(admin, named("steady"), "orders >= 3").name
    cursor = segments.now(admin)
    prepared = segments.prepare(admin, name, "orders <= 2")
    assert (prepared.expression, prepared.draft_expression, prepared.version) == ("orders >= 3", "orders <= 2", 1)
    assert prepared.members == len(expected) and segments.members(admin, name) == segments.by_number(expected)
    assert questions.preview(admin, refers_to(named("steady"))).customers == len(expected)
    again = segments.prepare(admin, name, "orders == 1")
    described = segments.describe(admin, name, "who buys often")
    assert (described.draft_expression, described.description, described.version) == ("orders == 1", "who buys often", 1)
    given_up = segments.prepare(admin, name, "")
    assert (given_up.expression, given_up.draft_expression, given_up.description) == ("orders >= 3", "", "who buys often")
    assert len({each.etag for each in (prepared, again, described, given_up)}) == 4
    for method, request in (("PublishSegment", {"name": name, "etag": given_up.etag}), ("PreviewSegmentDraft", {"name": name})):
        must_precede(admin.refused(f"SegmentService/{method}", request))
    assert segments.get(admin, name) == given_up
    assert [each.expression for each in segments.versions(admin, name)] == ["orders >= 3"]
    assert segments.since(admin, cursor) == []


def a_preview_tells_what_publishing_then_does(town, named):
    """Of the segment, of those that refer to it, of what refers to these, and of labels in between."""
    admin, ids = town.admin, {word: named(word) for word in ("vip", "rich", "rest", "far", "still", "care", "behind", "apart")}
    vip = segments.create(admin, ids["vip"], "orders >= 3").name
    segments.create(admin, ids["rest"], f"!{refers_to(ids['vip'])}")
    segments.create(admin, ids["rich"], f"{refers_to(ids['vip'])} && net_revenue >= 60")
    segments.create(admin, ids["far"], f"{refers_to(ids['rest'])} && orders == 1")
    segments.create(admin, ids["still"], f"{refers_to(ids['vip'])} || orders >= 1")
    segments.label_set(admin, ids["care"], {"first": f"{refers_to(ids['vip'])} && orders == 3", "second": refers_to(ids["rest"])})
    segments.create(admin, ids["behind"], refers_to(f"{ids['care']}/second"))
    segments.create(admin, ids["apart"], "orders >= 2")

    def world(is_vip):
        """{parent: members} of all of them, by who is a VIP."""
        rules = {"vip": is_vip, "rest": lambda person: not is_vip(person), "apart": lambda person: person.orders >= 2,
                 "rich": lambda person: is_vip(person) and person.cents >= 6_000, "still": lambda person: True,
                 "far": lambda person: not is_vip(person) and person.orders == 1, "behind": lambda person: not is_vip(person)}
        labels = {"first": lambda person: is_vip(person) and person.orders == 3, "second": rules["rest"],
                  "others": lambda person: is_vip(person) and person.orders != 3}
        return {f"segments/{ids[word]}": those(town, rule) for word, rule in rules.items()} | {
            f"labelSets/{ids['care']}/labels/{label}": those(town, rule) for label, rule in labels.items()}

    now, then = world(frequent), world(lambda person: person.orders == 4 or person.cents < 3_000)
    assert all(segments.members(admin, parent) == segments.by_number(of) for parent, of in now.items())
    segments.prepare(admin, vip, "orders == 4 || net_revenue < 30")
    cursor, before = segments.now(admin), segments.get(admin, vip)
    seen = segments.foresee(town.suite.client("analyst"), vip, sample_size=7)
    again = segments.foresee(admin, vip, sample_size=7)
    assert questions.without_watermark(again) == questions.without_watermark(seen)
    assert segments.get(admin, vip) == before and segments.since(admin, cursor) == []

    told = [(each.parent, each.entering, each.leaving, facts.cents_of(each.entering_revenue), facts.cents_of(each.leaving_revenue))
            for each in (seen.moves, *seen.dependents)]
    expected = []
    for parent in [vip, *sorted(now.keys() - {vip})]:
        entering, leaving = then[parent] - now[parent], now[parent] - then[parent]
        if entering or leaving:
            expected.append((parent, len(entering), len(leaving), worth(town, entering), worth(town, leaving)))
    assert told == expected and len(told) == 8
    assert seen.staying == len(now[vip] & then[vip]) and seen.etag == before.etag
    assert list(seen.entering_sample) == segments.by_number(then[vip] - now[vip])[:7]
    assert list(seen.leaving_sample) == segments.by_number(now[vip] - then[vip])[:7]
    assert not segments.foresee(admin, vip).entering_sample

    assert segments.publish(admin, vip, seen.etag).members == len(then[vip])
    changes = segments.since(admin, cursor)
    segments.assert_told(changes, set().union(*(moved(parent, now[parent], then[parent]) for parent in now)))
    assert {change.valid_time.ToDatetime() for change in changes} == {facts.AS_OF.replace(tzinfo=None)}
    assert segments.replayed(changes, {parent: set(of) for parent, of in now.items()}) == then
    assert all(segments.members(admin, parent) == segments.by_number(of) for parent, of in then.items())
    assert {parent: segments.get(admin, parent).members for parent in then if parent.startswith("segments/")} == {
        parent: len(of) for parent, of in then.items() if parent.startswith("segments/")}
    newest = segments.versions(admin, vip)[0]
    assert (newest.name, newest.entered, newest.left) == (f"{vip}/versions/2", seen.moves.entering, seen.moves.leaving)
    under = {name: parent for parent, of in now.items() if parent.startswith("labelSets/") for name in of}
    for change in (change for change in changes if change.parent.startswith("labelSets/")):
        if change.entered:
            assert under.setdefault(change.customer, change.parent) == change.parent, "nobody has two labels of a set at once"
        else:
            assert under.pop(change.customer) == change.parent


# -- etags ----------------------------------------------------------------------------------------------------------------

def an_old_etag_changes_nothing(town, named):
    admin = town.admin
    made = segments.create(admin, named("etags"), "orders >= 3", draft_only=True)
    states = [made, segments.publish(admin, made.name, made.etag), segments.describe(admin, made.name, "x"),
              segments.prepare(admin, made.name, "orders >= 2"), segments.prepare(admin, made.name, "orders >= 4")]
    assert len({each.etag for each in states}) == len(states) and all(each.etag for each in states)
    cursor = segments.now(admin)
    for old in (*(each.etag for each in states[:-1]), "x", f"{states[-1].etag} "):
        for method, request in (("UpdateSegment", segments.draft(made.name, "orders >= 1", old)),
                                ("PublishSegment", {"name": made.name, "etag": old}), ("DeleteSegment", {"name": made.name, "etag": old})):
            admin.refused(f"SegmentService/{method}", request).must_be(ABORTED, "STALE_ETAG")
    assert segments.get(admin, made.name) == states[-1] and segments.since(admin, cursor) == []
    present = segments.prepare(admin, made.name, "orders >= 2", states[-1].etag)
    segments.delete(admin, made.name, segments.publish(admin, made.name, present.etag).etag)
    admin.refused("SegmentService/GetSegment", {"name": made.name}).must_be(NOT_FOUND, "NOT_FOUND")
    # One of the same id is another: what was known of the first is of no use for it.
    again = segments.create(admin, named("etags"), "orders >= 1", draft_only=True)
    assert again.etag not in {each.etag for each in states} and segments.versions(admin, again.name) == []


def what_was_previewed_is_published_or_nothing_is(town, named):
    admin = town.admin
    name = segments.create(admin, named("race"), "orders >= 3").name
    segments.prepare(admin, name, "orders >= 2")
    seen, cursor = segments.foresee(admin, name), segments.now(admin)
    newer = segments.prepare(admin, name, "orders >= 4")
    admin.refused("SegmentService/PublishSegment", {"name": name, "etag": seen.etag}).must_be(ABORTED, "STALE_ETAG")
    assert segments.get(admin, name) == newer and segments.since(admin, cursor) == []

    def attempt(_):
        try:
            return segments.publish(admin, name, newer.etag).version
        except Refusal as refusal:
            return refusal.must_be(ABORTED, "STALE_ETAG").reason
    with ThreadPoolExecutor(8) as at_once:
        assert sorted(map(str, at_once.map(attempt, range(8)))) == ["2"] + ["STALE_ETAG"] * 7
    gone = those(town, lambda person: person.orders == 3)
    segments.assert_told(segments.since(admin, cursor), {(name, each, False) for each in gone})
    assert [each.name for each in segments.versions(admin, name)] == [f"{name}/versions/{n}" for n in (2, 1)]


# -- what refers to what --------------------------------------------------------------------------------------------------

def a_circle_is_refused_when_it_would_be_closed(town, named):
    admin, one = town.admin, named("one")
    first = segments.create(admin, one, "orders >= 3")
    segments.create(admin, named("two"), f"orders >= 1 && {refers_to(one)}")
    segments.create(admin, named("three"), refers_to(named("two")))
    segments.label_set(admin, named("set"), {"in": refers_to(named("two"))})
    cursor = segments.now(admin)
    for closing in (one, named("two"), named("three"), f"{named('set')}/in", f"{named('set')}/others"):
        etag = segments.prepare(admin, first.name, f"orders >= 2 || {refers_to(closing)}").etag
        must_precede(admin.refused("SegmentService/PublishSegment", {"name": first.name, "etag": etag}))
        must_precede(admin.refused("SegmentService/PreviewSegmentDraft", {"name": first.name}))
    present = segments.get(admin, first.name)
    assert (present.expression, present.version, present.members) == (first.expression, 1, first.members)
    assert segments.since(admin, cursor) == [] and len(segments.versions(admin, first.name)) == 1
    # A draft that leaves the circle out can be published.
    assert segments.redefine(admin, first.name, "orders >= 2").members == len(those(town, lambda person: person.orders >= 2))


def references_are_thirty_two_deep_and_no_deeper(town, named):
    admin, chain = town.admin, [named(f"deep{n}") for n in range(34)]
    segments.create(admin, chain[0], "orders >= 3")
    for above, below in zip(chain[1:33], chain):
        segments.create(admin, above, refers_to(below))
    assert segments.get(admin, f"segments/{chain[32]}").members == len(those(town, frequent))
    request = {"segment_id": chain[33], "segment": {"expression": refers_to(chain[32])}}
    must_precede(admin.refused("SegmentService/CreateSegment", request))
    draft = segments.create(admin, chain[33], refers_to(chain[32]), draft_only=True)
    must_precede(admin.refused("SegmentService/PublishSegment", {"name": draft.name, "etag": draft.etag}))
    # Nor by another one at the bottom; what moves there moves the top.
    bottom, top = f"segments/{chain[0]}", f"segments/{chain[32]}"
    segments.create(admin, named("under"), "orders >= 1")
    etag = segments.prepare(admin, bottom, refers_to(named("under"))).etag
    must_precede(admin.refused("SegmentService/PublishSegment", {"name": bottom, "etag": etag}))
    cursor = segments.now(admin)
    segments.redefine(admin, bottom, "orders <= 2")
    told = segments.since(admin, cursor, parents=[top])
    segments.assert_told(told, moved(top, those(town, frequent), those(town, seldom)))


def a_label_can_be_referred_to_as_a_segment_can(fresh):
    admin, set_id = fresh.client("admin"), "rfm-8"
    segments.take_in(admin, *(facts.order(f"c{place}", f"{place}-{n}", days=1 + n + place * 3, cents=6_000)
                              for place in range(60) for n in range(1 + place % 12)))
    admin.call("LabelService/CreateLabelSet", {"label_set_id": set_id, "preset": "rfm-8"})
    records = questions.everything(admin, "StageService/ListRecords", "records", page_size=1_000)
    vips = {f"customers/{each.customer_id}" for each in records
            if min(each.scores.recency, each.scores.frequency, each.scores.monetary) >= 4}
    others = {f"customers/{each.customer_id}" for each in records if each.scores.frequency >= 4} - vips
    assert len(vips) > 5 and len(others) > 5
    label = segments.members(admin, f"labelSets/{set_id}/labels/vip")
    made = segments.create(admin, "vips", refers_to(f"{set_id}/vip"))
    assert segments.members(admin, made.name) == label == segments.by_number(vips)
    but = segments.create(admin, "others", f"rfm.f >= 4 && !{refers_to(f'{set_id}/vip')}")
    assert segments.members(admin, but.name) == segments.by_number(others)
    champions = segments.members(admin, "labelSets/rfm-11/labels/champions")
    assert champions and list(questions.preview(admin, refers_to("rfm-11/champions"), 100).sample) == champions
    for absent in (f"{set_id}/nobody", f"{set_id}/", set_id, f"labelSets/{set_id}/labels/vip", "nowhere/vip", f"{set_id}/vip/x"):
        refusal = admin.refused("SegmentService/PreviewSegment", {"expression": refers_to(absent)})
        assert ABSENT in refusal.must_be(INVALID_ARGUMENT, "INVALID_EXPRESSION").message
    must_precede(admin.refused("LabelService/DeleteLabelSet", {"name": f"labelSets/{set_id}"}))
    for segment in (made, but):
        segments.delete(admin, segment.name)
    admin.call("LabelService/DeleteLabelSet", {"name": f"labelSets/{set_id}"})


def what_others_refer_to_is_not_deleted(town, named):
    admin, base = town.admin, f"segments/{named('base')}"
    segments.create(admin, named("base"), "orders >= 3")
    segments.create(admin, named("user"), f"!{refers_to(named('base'))}")
    segments.label_set(admin, named("labels"), {"in": refers_to(named("base"))})
    draft = segments.create(admin, named("draft"), f"orders >= 1 && {refers_to(named('base'))}", draft_only=True)
    cursor = segments.now(admin)
    must_precede(admin.refused("SegmentService/DeleteSegment", {"name": base}))
    segments.delete(admin, f"segments/{named('user')}")
    must_precede(admin.refused("SegmentService/DeleteSegment", {"name": base}))
    segments.redefine(admin, segments.create(admin, named("user"), refers_to(named("base"))).name, "orders >= 1")
    must_precede(admin.refused("SegmentService/DeleteSegment", {"name": base}))
    admin.call("LabelService/DeleteLabelSet", {"name": f"labelSets/{named('labels')}"})
    try:
        segments.delete(admin, base)
    except Refusal as refusal:  # Whether a draft refers to anything is left to the server: it is never live without.
        must_precede(refusal)
        segments.delete(admin, draft.name)
        segments.delete(admin, base)
    else:
        refusal = admin.refused("SegmentService/PublishSegment", {"name": draft.name, "etag": draft.etag})
        refusal.must_be({INVALID_ARGUMENT, FAILED_PRECONDITION}, {"INVALID_EXPRESSION", "FAILED_PRECONDITION"})
        segments.delete(admin, draft.name)
    told = [change for change in segments.since(admin, cursor) if change.parent in (base, draft.name)]
    segments.assert_told(told, moved(base, those(town, frequent), set()))


def versions_are_told_newest_first_and_a_hundred_are_kept(town, named):
    admin, last = town.admin, 104
    name = segments.create(admin, named("often"), "net_revenue >= 170").name
    expected = {1: ("net_revenue >= 170", those(town, lambda person: person.cents >= 17_000))}
    for number in range(2, last + 1):
        limit = 170 + number % 3
        segments.redefine(admin, name, f"net_revenue >= {limit}")
        expected[number] = f"net_revenue >= {limit}", those(town, lambda person, limit=limit: person.cents >= limit * 100)
    told = segments.versions(admin, name)
    assert [each.name for each in told] == [f"{name}/versions/{number}" for number in range(last, last - 100, -1)]
    for each in told:
        number = int(each.name.split("/")[-1])
        (rule, now), before = expected[number], expected[number - 1][1]
        assert (each.expression, each.entered, each.left) == (rule, len(now - before), len(before - now))
    times = [each.publish_time.ToNanoseconds() for each in told]
    assert times == sorted(times, reverse=True) and len(set(times)) == len(times)
    assert segments.get(admin, name).version == last


def a_role_sees_drafts_move_its_own_customers_alone(town, named):
    admin = town.admin
    policies.publish(admin, policies.role_like(admin, "admin", "keeper", without=policies.TAKING_IN, row_scope="owner == caller.subject"))
    ann, mine = policies.client_of(town.suite, "keeper", "ann"), those(town, lambda person: person.owner == "ann")
    name = segments.create(admin, named("mine"), "orders >= 3").name
    segments.create(admin, named("yours"), f'{refers_to(named("mine"))} && owner == "bob"')
    segments.create(admin, named("ours"), f"!{refers_to(named('mine'))}")
    segments.prepare(admin, name, "orders <= 2")
    now, then = those(town, frequent) & mine, those(town, seldom) & mine
    seen = segments.foresee(ann, name, sample_size=100)
    assert (seen.moves.entering, seen.moves.leaving, seen.staying) == (len(then), len(now), 0)
    assert (facts.cents_of(seen.moves.entering_revenue), facts.cents_of(seen.moves.leaving_revenue)) == (worth(town, then), worth(town, now))
    assert (list(seen.entering_sample), list(seen.leaving_sample)) == (segments.by_number(then)[:100], segments.by_number(now)[:100])
    assert [(each.parent, each.entering, each.leaving) for each in seen.dependents] == [
        (f"segments/{named('ours')}", len(now), len(then))], "nobody of hers is in the other"
    cursor = segments.now(ann)
    assert segments.publish(ann, name, seen.etag).members == len(then)
    ours = f"segments/{named('ours')}"
    segments.assert_told(segments.since(ann, cursor), moved(name, now, then) | moved(ours, then, now))
    assert segments.members(ann, name) == segments.by_number(then)
    assert segments.get(admin, name).members == len(those(town, seldom)), "it is in force for everybody"
    newest = segments.versions(ann, name)[0]
    assert (newest.entered, newest.left) == (0, 0), "of whose customers they were is not kept"
