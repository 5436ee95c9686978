"""Label sets of a tenant's own: made, drafted, previewed, published, listed, referred to and deleted."""
import uuid
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import pytest

from support import facts, label_sets, questions
from support.label_sets import REST, name_of
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, Refusal
from support.watching import cause, watch

ALREADY_EXISTS, ABORTED = grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.ABORTED
# Id, rule, and whom the rule is meant for.
FIRST = [("faithful", "rfm.f >= 4", lambda c: c["f"] >= 4),
         ("recent", "rfm.r >= 4 && rfm.f < 4", lambda c: c["r"] >= 4),
         ("quiet", "rfm.r < 4 && rfm.f < 4", lambda c: c["r"] < 4)]
SECOND = [("quiet", "rfm.r <= 2", lambda c: c["r"] <= 2),
          ("rich", "rfm.r > 2 && rfm.m >= 4", lambda c: c["m"] >= 4),
          ("faithful", "rfm.r > 2 && rfm.m < 4", lambda c: c["m"] < 4)]
# Of what has no end of values.
BY_ORDERS = [("many", "orders >= 4", lambda c: c["orders"] >= 4), ("store", 'channel == "store"', lambda c: c["channel"] == "store"),
             ("some", "orders >= 1 && revenue < 30", lambda c: c["orders"] and c["revenue_cents"] < 3_000)]


@pytest.fixture(scope="module")
def town(shared):
    """Customers whom the tests of this file only read."""
    admin = shared.client("admin")
    return SimpleNamespace(suite=shared, admin=admin, people=label_sets.take_in(admin, 0, 300))


@pytest.fixture
def new():
    """The id of a set that no other test uses."""
    return f"s{uuid.uuid4().hex[:12]}"


def assert_holds(town, set_id, rows):
    """Every customer has the label that it ought to, by whatever way one asks."""
    holding = label_sets.expected(town.people, rows)
    assert label_sets.held(town.admin, set_id) == holding
    told = label_sets.distribution(town.admin, set_id)
    assert told == label_sets.expected_distribution(town.people, holding, [*(row[0] for row in rows), REST])
    assert list(told) == label_sets.ids(label_sets.get(town.admin, set_id).labels)
    for label_id in told:
        assert label_sets.checked(town.admin, set_id, label_id, town.people) == {
            number for number, each in holding.items() if each == label_id}
    for label_id in set(holding.values()):
        number = next(number for number, each in holding.items() if each == label_id)
        profile = town.admin.call("ProfileService/GetProfile", {"name": f"customers/{number}/profile"})
        assert [each for each in profile.labels if each.startswith(f"{name_of(set_id)}/")] == [name_of(set_id, label_id)]


def every_customer_has_the_label_of_the_first_rule_that_matches(town, new):
    made = label_sets.create(town.admin, new, FIRST, description="By hand. 手工")
    assert (made.name, made.version, made.description, made.overlaps_allowed) == (name_of(new), 1, "By hand. 手工", False)
    assert label_sets.ids(made.labels) == ["faithful", "recent", "quiet", REST]
    assert [each.expression for each in made.labels] == [*(row[1] for row in FIRST), ""]
    assert [each.title for each in made.labels] == ["The faithful", "The recent", "The quiet", f"The {REST}"]
    assert made.etag and made.create_time.seconds > 0 and not made.HasField("draft")
    assert made == label_sets.get(town.admin, new)
    assert_holds(town, new, FIRST)


def what_was_proved_is_told_cell_by_cell(town, new):
    made = label_sets.create(town.admin, new, FIRST)
    meant = {"faithful": lambda r, f: f >= 4, "recent": lambda r, f: f < 4 and r >= 4, "quiet": lambda r, f: f < 4 and r < 4}
    cells = {label_id: {cell for cell in label_sets.CELLS if holds(int(cell[0]), int(cell[1]))} for label_id, holds in meant.items()}
    assert made.proved_cells == 125
    assert {label_sets.id_of(each.name): set(each.cells) for each in made.labels} == cells | {REST: set()}
    assert sum(len(each.cells) for each in made.labels) == 125
    other = label_sets.create(town.admin, f"{new}-2", BY_ORDERS)
    assert other.proved_cells == 0 and not any(each.cells for each in other.labels)


def labels_of_cells_are_those_of_the_rules_that_say_the_same(town, new):
    made = label_sets.create(town.admin, new, FIRST)
    cells = {label_sets.id_of(each.name): list(each.cells) for each in made.labels}
    # In any order, as people write them.
    rows = [(label_id, cells[label_id][::-1], holds) for label_id, _, holds in FIRST]
    again = label_sets.create(town.admin, f"{new}-2", rows)
    assert [sorted(each.cells) for each in again.labels] == [sorted(each.cells) for each in made.labels]
    assert again.proved_cells == 125 and all(each.expression for each in again.labels[:-1])
    assert_holds(town, f"{new}-2", rows)
    # Those of some labels may be rules.
    mixed = [rows[0], FIRST[1], rows[2]]
    label_sets.create(town.admin, f"{new}-3", mixed)
    assert_holds(town, f"{new}-3", mixed)


def where_overlaps_are_meant_the_first_label_gets_the_cell(town, new):
    rows = [("high", "rfm.m >= 4", lambda c: c["m"] >= 4), ("often", "rfm.f >= 2", lambda c: c["f"] >= 2),
            ("others", "rfm.r >= 1", lambda c: c["r"] >= 1)]
    made = label_sets.create(town.admin, new, rows, overlaps_allowed=True)
    assert made.overlaps_allowed and made.proved_cells == 125
    assert {label_sets.id_of(each.name): len(each.cells) for each in made.labels} == {"high": 50, "often": 60, "others": 15, REST: 0}
    assert_holds(town, new, rows)


def rules_that_read_anything_else_are_not_proved_and_hold_all_the_same(town, new):
    label_sets.create(town.admin, new, BY_ORDERS)
    assert_holds(town, new, BY_ORDERS)
    lost = [("gone", "days_since(last_order_at) > 400", lambda c: c["orders"] and c["recency"] > 400),
            ("leads", 'stage == "lead"', lambda c: c["stage"] == "LEAD")]
    assert label_sets.create(town.admin, f"{new}-2", lost).proved_cells == 0
    assert_holds(town, f"{new}-2", lost)


def a_draft_alone_is_nothing_to_customers_until_it_is_published(town, new):
    made = label_sets.create(town.admin, new, FIRST, draft_only=True)
    assert (made.version, made.proved_cells, list(made.labels), label_sets.ids(made.draft.labels)) == (
        0, 0, [], ["faithful", "recent", "quiet", REST])
    assert label_sets.versions(town.admin, new) == []
    holding = label_sets.expected(town.people, FIRST)
    seen = label_sets.preview(town.admin, new)
    assert label_sets.matrix(seen) == label_sets.expected_matrix(town.people, dict.fromkeys(holding, ""), holding)
    assert (seen.etag, seen.population, seen.moving_customers) == (made.etag, len(town.people), len(town.people))
    number = next(iter(town.people))
    profile = {"name": f"customers/{number}/profile"}
    assert not any(each.startswith(name_of(new)) for each in town.admin.call("ProfileService/GetProfile", profile).labels)
    published = label_sets.publish(town.admin, new, seen.etag)
    assert (published.version, published.proved_cells, published.HasField("draft")) == (1, 125, False)
    assert list(published.labels) and published.etag != made.etag
    assert_holds(town, new, FIRST)
    assert [(each.name, each.moved) for each in label_sets.versions(town.admin, new)] == [(f"{name_of(new)}/versions/1", len(town.people))]


@pytest.mark.parametrize("rows", [SECOND, BY_ORDERS], ids=["proved", "not proved"])
def the_preview_of_a_draft_is_what_comes_of_publishing_it(town, new, rows):
    label_sets.create(town.admin, new, FIRST)
    before, after = (label_sets.expected(town.people, each) for each in (FIRST, rows))
    drafted = label_sets.draft(town.admin, new, rows)
    assert (drafted.version, label_sets.ids(drafted.labels)) == (1, ["faithful", "recent", "quiet", REST])
    assert [(label_sets.id_of(each.name), each.expression) for each in drafted.draft.labels] == [*(row[:2] for row in rows), (REST, "")]
    seen = label_sets.preview(town.suite.client("analyst"), new)
    assert label_sets.matrix(seen) == label_sets.expected_matrix(town.people, before, after) and seen.moving_customers > 0
    orders = [[*(row[0] for row in each), REST] for each in (FIRST, rows)]
    places = [(orders[0].index(old), orders[1].index(later)) for old, later in label_sets.matrix(seen)]
    assert places == sorted(places), "by both in the set's order"
    assert_holds(town, new, FIRST)  # Nothing is changed.
    with watch(town.suite.client("analyst"), "SegmentService/WatchMemberships") as watcher:
        watcher.until_caught_up()
        published = label_sets.publish(town.admin, new, seen.etag)
        told = label_sets.expected_changes(before, after)
        watcher.until(lambda _said: len(label_sets.changes_of(watcher, new)) >= len(told), f"{len(told)} changes")
        assert sorted(label_sets.changes_of(watcher, new)) == sorted(told)
        assert {cause(each) for each in watcher.changes()} == {"DEFINITION"}
    assert (published.version, published.HasField("draft")) == (2, False)
    assert label_sets.ids(published.labels) == orders[1]
    assert_holds(town, new, rows)
    assert [each.moved for each in label_sets.versions(town.admin, new)] == [seen.moving_customers, len(town.people)]


def versions_tell_what_was_in_force_newest_first(town, new):
    label_sets.create(town.admin, new, FIRST)
    renamed = label_sets.rules(new, FIRST)
    renamed["labels"][0]["title"] = "重要客户"
    label_sets.update(town.admin, new, "draft", draft=renamed)
    assert label_sets.preview(town.admin, new).moving_customers == 0
    assert label_sets.publish(town.admin, new).labels[0].title == "重要客户"
    label_sets.draft(town.admin, new, SECOND, overlaps_allowed=True)
    label_sets.publish(town.admin, new)
    told = label_sets.versions(town.admin, new)
    assert [each.name for each in told] == [f"{name_of(new)}/versions/{number}" for number in (3, 2, 1)]
    assert [label_sets.ids(each.rules.labels) for each in told] == [[*(row[0] for row in rows), REST] for rows in (SECOND, FIRST, FIRST)]
    assert [[label.expression for label in each.rules.labels] for each in told] == [
        [*(row[1] for row in rows), ""] for rows in (SECOND, FIRST, FIRST)]
    assert [each.rules.labels[0].title for each in told] == ["The quiet", "重要客户", "The faithful"]
    assert [each.rules.overlaps_allowed for each in told] == [True, False, False]
    before, after = (label_sets.expected(town.people, rows) for rows in (FIRST, SECOND))
    assert [each.moved for each in told] == [sum(before[number] != after[number] for number in before), 0, len(town.people)]
    times = [each.publish_time.ToNanoseconds() for each in told]
    assert times == sorted(times, reverse=True) and times[-1] > 0


def every_change_of_a_set_changes_its_etag_and_an_old_one_is_stale(town, new):
    made = label_sets.create(town.admin, new, FIRST)
    told = [made.etag, label_sets.update(town.admin, new, "description", description="x", etag=made.etag).etag,
            label_sets.draft(town.admin, new, SECOND).etag]
    given_up = label_sets.update(town.admin, new, "draft")
    assert not given_up.HasField("draft") and given_up.description == "x"
    both = label_sets.update(town.admin, new, "description,draft", description="y", draft=label_sets.rules(new, SECOND))
    assert both.HasField("draft") and both.description == "y"
    told += [given_up.etag, both.etag, label_sets.publish(town.admin, new, both.etag).etag]
    assert len(set(told)) == len(told)
    assert label_sets.get(town.admin, new).etag == told[-1], "reading changes nothing"
    label_sets.draft(town.admin, new, FIRST)
    for etag in told:
        stale = {"name": name_of(new), "etag": etag}
        town.admin.refused("LabelService/PublishLabelSet", stale).must_be(ABORTED, "STALE_ETAG")
        town.admin.refused("LabelService/DeleteLabelSet", stale).must_be(ABORTED, "STALE_ETAG")
        request = label_sets.change(new, "description", description="z", etag=etag)
        town.admin.refused("LabelService/UpdateLabelSet", request).must_be(ABORTED, "STALE_ETAG")
    assert label_sets.get(town.admin, new).description == "y"
    label_sets.delete(town.admin, new, etag=label_sets.get(town.admin, new).etag)


def what_others_refer_to_is_neither_deleted_nor_published_away(town, new):
    label_sets.create(town.admin, new, FIRST)
    loyal = questions.save_segment(town.admin, f"{new}-loyal", f'segment("{new}/faithful") && orders >= 6')
    label_sets.create(town.admin, f"{new}-b", [("in", f'!segment("{new}/quiet")', None)])
    names = {"DeleteLabelSet": {"name": name_of(new)}}
    for rows in ([SECOND[0], ("rich", "rfm.r > 2", None)], [FIRST[0], ("others", "rfm.f < 4", None)]):  # Without one of them each.
        etag = label_sets.draft(town.admin, new, rows).etag
        for method, request in (names | {"PublishLabelSet": {"name": name_of(new), "etag": etag}}).items():
            town.admin.refused(f"LabelService/{method}", request).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert label_sets.get(town.admin, new).version == 1
    assert_holds(town, new, FIRST)
    # A segment that a label refers to stays too.
    label_sets.create(town.admin, f"{new}-c", [("in", f'segment("{new}-loyal")', None)])
    town.admin.refused("SegmentService/DeleteSegment", {"name": loyal}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    label_sets.delete(town.admin, f"{new}-c")
    town.admin.call("SegmentService/DeleteSegment", {"name": loyal})
    label_sets.draft(town.admin, new, [SECOND[0], ("rich", "rfm.r > 2", None)])
    label_sets.publish(town.admin, new)  # Nobody refers now to anything but `quiet`.
    town.admin.refused("LabelService/DeleteLabelSet", names["DeleteLabelSet"]).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    label_sets.delete(town.admin, f"{new}-b")
    label_sets.delete(town.admin, new)


def segments_of_labels_and_labels_of_segments_follow_one_another(town, new):
    label_sets.create(town.admin, new, FIRST)
    segment = questions.save_segment(town.admin, f"{new}-good", f'segment("{new}/faithful") || segment("rfm-11/champions")')
    rule = town.admin.call("SegmentService/GetSegment", {"name": segment}).expression
    assert list(town.admin.call("ExpressionService/CheckExpression", {"expression": rule}).segments) == [
        "labelSets/rfm-11/labels/champions", name_of(new, "faithful")]
    rows = [("good", f'segment("{new}-good")', None), ("seen", "orders >= 1", None)]
    assert label_sets.create(town.admin, f"{new}-b", rows).proved_cells == 0

    def told(of):
        good = {number for number, each in label_sets.expected(town.people, of).items() if each == "faithful"}
        good |= {number for number, each in town.people.items() if each["label"] == "Champions"}
        return {number: "good" if number in good else "seen" if each["orders"] else REST for number, each in town.people.items()}
    assert label_sets.held(town.admin, f"{new}-b") == told(FIRST)
    label_sets.draft(town.admin, new, SECOND)
    with watch(town.admin, "SegmentService/WatchMemberships", {"parents": [segment, name_of(f"{new}-b", "good")]}) as watcher:
        watcher.until_caught_up()
        label_sets.publish(town.admin, new)
        moved = [change for change in label_sets.expected_changes(told(FIRST), told(SECOND)) if change[1] == "good"]
        assert moved
        watcher.until(lambda _said: len(watcher.changes()) >= 2 * len(moved), f"{len(moved)} changes of each")
        assert sorted(label_sets.changes_of(watcher, f"{new}-b")) == sorted(moved)
        assert {cause(each) for each in watcher.changes()} == {"DEFINITION"}
    assert label_sets.held(town.admin, f"{new}-b") == told(SECOND)
    listed = questions.everything(town.admin, "SegmentService/ListMembers", "customers", parent=segment)
    assert {int(each.split("/")[1]) for each in listed} == {number for number, each in told(SECOND).items() if each == "good"}


def nothing_refers_to_itself_by_way_of_others(town, new):
    label_sets.create(town.admin, new, FIRST)
    segment = questions.save_segment(town.admin, f"{new}-s", f'segment("{new}/faithful")')
    label_sets.create(town.admin, f"{new}-b", [("in", f'segment("{new}-s")', None)])
    # Itself, by way of a segment, and by way of a label of a segment.
    for reference in (f"{new}/quiet", f"{new}-s", f"{new}-b/in", f"{new}-b/{REST}"):
        rows = [("faithful", f'rfm.f >= 4 || segment("{reference}")', None), *FIRST[1:]]
        etag = label_sets.draft(town.admin, new, rows).etag
        refusal = town.admin.refused("LabelService/PublishLabelSet", {"name": name_of(new), "etag": etag})
        refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
        town.admin.refused("LabelService/PreviewLabelSetDraft", {"name": name_of(new)}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    changed = {"segment": {"name": segment, "draft_expression": f'segment("{new}-b/in")'}, "update_mask": "draftExpression"}
    etag = town.admin.call("SegmentService/UpdateSegment", changed).etag
    refusal = town.admin.refused("SegmentService/PublishSegment", {"name": segment, "etag": etag})
    refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert_holds(town, new, FIRST)


def the_set_that_ships_is_used_like_any_other_and_stays_as_it_is(town, new):
    shipped = label_sets.get(town.admin, "rfm-11")
    assert shipped.etag and shipped.version == 1
    for method, request in {
            "UpdateLabelSet": label_sets.change("rfm-11", "description", description="mine"),
            "PublishLabelSet": {"name": shipped.name, "etag": shipped.etag},
            "DeleteLabelSet": {"name": shipped.name}}.items():
        town.admin.refused(f"LabelService/{method}", request).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    request = label_sets.change("rfm-11", "draft", draft=label_sets.rules("rfm-11", FIRST))
    town.admin.refused("LabelService/UpdateLabelSet", request).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    for fields in (label_sets.creation("rfm-11", FIRST), {"label_set_id": "rfm-11", "preset": "rfm-11"}):
        town.admin.refused("LabelService/CreateLabelSet", fields).must_be(ALREADY_EXISTS, "ALREADY_EXISTS")
    assert label_sets.get(town.admin, "rfm-11") == shipped
    told = label_sets.distribution(town.admin, "rfm-11")
    champions = {number for number, each in town.people.items() if each["label"] == "Champions"}
    assert told["champions"][0] == len(champions) > 0
    assert questions.preview(town.admin, 'segment("rfm-11/champions")').customers == len(champions)
    assert [each.name for each in label_sets.versions(town.admin, "rfm-11")] in ([], ["labelSets/rfm-11/versions/1"])


def sets_are_listed_by_name_page_by_page(town, new):
    names = [f"{new}-{part}" for part in ("b", "a", "c", "a-2")]
    for place, set_id in enumerate(names):
        label_sets.create(town.admin, set_id, FIRST, draft_only=place == 2)
    whole = label_sets.listed(town.admin)
    assert whole == sorted(whole) and set(names) | {"rfm-11"} <= set(whole)
    for size in (1, 2, len(whole), 10_000):
        assert label_sets.listed(town.admin, page_size=size) == whole
    page = town.admin.call("LabelService/ListLabelSets", {"page_size": 1_000})
    assert list(page.label_sets) == [label_sets.get(town.admin, set_id) for set_id in whole] and page.next_page_token == ""


def a_repeated_request_makes_one_set_and_another_of_its_name_is_refused(town, new):
    request = label_sets.creation(new, FIRST, request_id=str(uuid.uuid4()))
    made = town.admin.call("LabelService/CreateLabelSet", request)
    assert town.admin.call("LabelService/CreateLabelSet", request) == made
    for other in ({"label_set": label_sets.rules(new, SECOND)}, {"label_set_id": f"{new}-2"}, {"draft_only": True}):
        town.admin.refused("LabelService/CreateLabelSet", request | other).must_be(FAILED_PRECONDITION, "BODY_CONFLICT")
    for again in ({"request_id": ""}, {"request_id": str(uuid.uuid4())}):
        town.admin.refused("LabelService/CreateLabelSet", request | again).must_be(ALREADY_EXISTS, "ALREADY_EXISTS")
    # What is told is what there is now.
    changed = label_sets.update(town.admin, new, "description", description="later")
    assert town.admin.call("LabelService/CreateLabelSet", request) == changed
    assert len(label_sets.versions(town.admin, new)) == 1
    label_sets.delete(town.admin, new)
    town.admin.refused("LabelService/CreateLabelSet", request).must_be(NOT_FOUND, "NOT_FOUND")


def what_does_not_count_in_a_new_set_is_ignored(town, new):
    request = label_sets.creation(new, FIRST, description="mine")
    request["label_set"] |= {"name": "labelSets/other", "proved_cells": 7, "create_time": facts.text_of(facts.AS_OF), "etag": "x", "version": 9,
                             "draft": label_sets.rules(new, SECOND)}
    made = town.admin.call("LabelService/CreateLabelSet", request)
    assert (made.name, made.proved_cells, made.version, made.description) == (name_of(new), 125, 1, "mine")
    assert made.etag != "x" and made.create_time.seconds > facts.AS_OF.timestamp() and not made.HasField("draft")


def a_draft_of_a_segment_that_is_gone_is_not_published(town, new):
    segment = questions.save_segment(town.admin, f"{new}-s", "orders >= 3")
    label_sets.create(town.admin, new, FIRST)
    etag = label_sets.draft(town.admin, new, [("of-it", f'segment("{new}-s")', None)]).etag
    town.admin.call("SegmentService/DeleteSegment", {"name": segment})  # Nothing that is in force refers to it.
    for method, fields in (("PublishLabelSet", {"etag": etag}), ("PreviewLabelSetDraft", {})):
        refusal = town.admin.refused(f"LabelService/{method}", {"name": name_of(new)} | fields)
        refusal.must_be({INVALID_ARGUMENT, FAILED_PRECONDITION}, {"INVALID_EXPRESSION", "FAILED_PRECONDITION"})
    assert label_sets.get(town.admin, new).etag == etag
    assert_holds(town, new, FIRST)


def the_last_hundred_versions_are_kept(town, new):
    label_sets.create(town.admin, new, [("few", "orders < 1", None)])
    for number in range(2, 104):
        label_sets.draft(town.admin, new, [("few", f"orders < {number}", None)])
        label_sets.publish(town.admin, new)
    told = label_sets.versions(town.admin, new)
    assert [int(each.name.rsplit("/", 1)[1]) for each in told] == list(range(103, 3, -1))
    assert [each.rules.labels[0].expression for each in told] == [f"orders < {number}" for number in range(103, 3, -1)]
    label_sets.delete(town.admin, new)


def outcome(call):
    """"OK", or the status of a refusal."""
    try:
        call()
    except Refusal as refusal:
        return refusal.code.name
    return "OK"


def of_many_who_make_or_publish_a_set_at_once_one_does(town, new):
    with ThreadPoolExecutor(8) as at_once:
        made = list(at_once.map(lambda _: outcome(lambda: label_sets.create(town.admin, new, FIRST)), range(8)))
        etag = label_sets.draft(town.admin, new, SECOND).etag
        published = list(at_once.map(lambda _: outcome(lambda: label_sets.publish(town.admin, new, etag)), range(8)))
        deleted = list(at_once.map(lambda _: outcome(lambda: label_sets.delete(town.admin, new)), range(8)))
    assert sorted(made) == ["ALREADY_EXISTS"] * 7 + ["OK"]
    assert sorted(published) == ["ABORTED"] * 7 + ["OK"]
    assert sorted(deleted) == ["NOT_FOUND"] * 7 + ["OK"]


def a_set_that_is_deleted_is_gone_and_one_of_its_name_begins_anew(town, new):
    made = label_sets.create(town.admin, new, FIRST)
    label_sets.draft(town.admin, new, SECOND)
    label_sets.publish(town.admin, new)
    with watch(town.admin, "SegmentService/WatchMemberships") as watcher:
        watcher.until_caught_up()
        label_sets.delete(town.admin, new)
        left = sorted((number, each, False) for number, each in label_sets.expected(town.people, SECOND).items())
        watcher.until(lambda _said: len(label_sets.changes_of(watcher, new)) >= len(left), f"{len(left)} to leave")
        assert sorted(label_sets.changes_of(watcher, new)) == left and {cause(each) for each in watcher.changes()} == {"DEFINITION"}
    for method, field in (("GetLabelSet", "name"), ("GetLabelDistribution", "name"), ("ListLabelSetVersions", "parent"),
                          ("PreviewLabelSetDraft", "name"), ("DeleteLabelSet", "name")):
        town.admin.refused(f"LabelService/{method}", {field: name_of(new)}).must_be(NOT_FOUND, "NOT_FOUND")
    for method in ("ListMembers", "CheckMembers"):
        request = {"parent": name_of(new, "quiet")} | ({"customers": ["customers/1"]} if method == "CheckMembers" else {})
        town.admin.refused(f"SegmentService/{method}", request).must_be(NOT_FOUND, "NOT_FOUND")
    assert new not in label_sets.listed(town.admin)
    again = label_sets.create(town.admin, new, FIRST)
    assert again.version == 1 and again.etag != made.etag and not again.HasField("draft")
    assert [each.name for each in label_sets.versions(town.admin, new)] == [f"{name_of(new)}/versions/1"]
    assert_holds(town, new, FIRST)


def a_hundred_labels_are_as_many_as_a_set_may_have_besides_the_last(town, new):
    rows = [(f"of-{number}", f"orders == {number}", lambda c, number=number: c["orders"] == number) for number in range(100)]
    made = label_sets.create(town.admin, new, rows)
    assert len(made.labels) == 101
    assert_holds(town, new, rows)
    rows = [(f"days-{number}", f"days_since(last_order_at) == {number * 6}", None) for number in range(100)]
    refusal = town.admin.refused("LabelService/CreateLabelSet", label_sets.creation(f"{new}-2", [*rows, ("more", "orders == 1", None)]))
    assert refusal.code == INVALID_ARGUMENT and refusal.bad_request.field_violations[0].field == "label_set.labels"
