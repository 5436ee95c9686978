"""Label sets that make no sense are refused, with the field that is wrong and the cell that proves it."""
import uuid

import grpc
import pytest

from support import facts, label_sets, questions
from support.label_sets import CELLS, REST, label, name_of
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND

ABORTED = grpc.StatusCode.ABORTED
CREATE, UPDATE = "LabelService/CreateLabelSet", "LabelService/UpdateLabelSet"
FEW, MANY = ("few", "rfm.f < 3", None), ("many", "rfm.f >= 3", None)
GOOD = [FEW, MANY]
UNPROVED = [("few", "orders < 3", None)]
INVALID = ("INVALID_FIELD", "INVALID_EXPRESSION", "INVALID_TOKEN")


@pytest.fixture
def new():
    """The id of a set that no other test uses."""
    return f"s{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def drafted(shared):
    """The id of a set to which drafts are sent."""
    label_sets.create(shared.client("admin"), "drafted", GOOD)
    return "drafted"


def assert_refused(refusal, field, words=()):
    """As a bad argument, with a path within the field, and these words about it."""
    refusal.must_be(INVALID_ARGUMENT, set(INVALID))
    violation = refusal.bad_request.field_violations[0]
    assert violation.field == field or violation.field.startswith((f"{field}.", f"{field}[")), (violation, field)
    assert all(word in violation.description for word in words), (violation, words)


def assert_never_accepted(admin, new, drafted, labels, field="", words=(), **fields):
    """Not as a set, not as a draft of a new one and not as a draft of one that is there. `labels` are made for the id of a set."""
    for draft_only in (False, True):
        request = {"label_set_id": new, "label_set": {"labels": labels(new)} | fields, "draft_only": draft_only}
        assert_refused(admin.refused(CREATE, request), f"label_set{field}", words)
    admin.refused("LabelService/GetLabelSet", {"name": name_of(new)}).must_be(NOT_FOUND, "NOT_FOUND")
    before = label_sets.get(admin, drafted)
    request = label_sets.change(drafted, "draft", draft={"labels": labels(drafted)} | fields)
    assert_refused(admin.refused(UPDATE, request), f"label_set.draft{field}", words)
    assert label_sets.get(admin, drafted) == before


# -- names, sizes and forms -----------------------------------------------------------------------------------------------

BAD_IDS = ["", " ", "1st", "Upper", "under_score", "-a", "ä", "a b", "a\0b", "a/b", "a" * 64, "a\u202eb"]
# What is wrong with the first label of three, and what the refusal names.
BAD_LABELS = {
    "without a name": ({"name": ""}, ".name"),
    "of another set": ({"name": "labelSets/other/labels/few"}, ".name"),
    "its id alone": ({"name": "few"}, ".name"),
    "a name of a segment": ({"name": "segments/few"}, ".name"),
    "a long title": ({"title": "é" * 65}, ".title"),
    "a title with a NUL": ({"title": "a\0b"}, ".title"),
    "a title with a line": ({"title": "a\nb"}, ".title"),
    "a title that turns round": ({"title": "a\u202eb"}, ".title"),
    "a rule and cells": ({"cells": ["111"]}, ""),
    "neither a rule nor cells": ({"expression": ""}, ""),
    "a blank rule": ({"expression": "  "}, ".expression"),
    "half a rule": ({"expression": "rfm.f <"}, ".expression"),
    "a rule of no truth": ({"expression": "rfm.f"}, ".expression"),
    "text against a number": ({"expression": 'rfm.f < "3"'}, ".expression"),
    "an identifying field": ({"expression": 'display_name == "x"'}, ".expression"),
    "an unknown segment": ({"expression": 'segment("nowhere")'}, ".expression"),
    "an unknown label": ({"expression": 'segment("rfm-11/nowhere")'}, ".expression"),
    "a set for a label": ({"expression": 'segment("rfm-11")'}, ".expression"),
    "a resource name for a label": ({"expression": 'segment("labelSets/rfm-11/labels/loyal")'}, ".expression"),
    "too deep a rule": ({"expression": "(" * 40 + "rfm.f < 3" + ")" * 40}, ".expression"),
    "too many terms": ({"expression": " || ".join(["rfm.f < 3"] * 1_001)}, ".expression"),
    "too long a rule": ({"expression": "rfm.f < 3" + " " * 16_384}, ".expression"),
}
BAD_CELLS = ["", "5", "55", "5555", "000", "165", "606", "511 ", " 511", "5 1", "+511", "0511", "-51", "5.1", "abc", "r5f", "５１１", "5-1", "1e2"]


@pytest.mark.parametrize("wrong", BAD_LABELS)
def a_label_that_makes_no_sense_is_refused(admin, new, drafted, wrong):
    change, field = BAD_LABELS[wrong]
    assert_never_accepted(admin, new, drafted, lambda set_id: [
        label(set_id, *MANY[:2]), label(set_id, *FEW[:2]) | change, label(set_id, REST)], f".labels[1]{field}")


@pytest.mark.parametrize("cell", BAD_CELLS)
def a_cell_is_three_scores_of_one_to_five_and_nothing_else(admin, new, drafted, cell):
    others = [each for each in CELLS if each != "511"]
    for cells in ([cell], ["511", cell]):
        assert_never_accepted(admin, new, drafted, lambda set_id, cells=cells: [
            label(set_id, "these", cells), label(set_id, "others", others), label(set_id, REST)], ".labels[0].cells")


@pytest.mark.parametrize("wrong", BAD_IDS)
def an_id_that_is_none_is_refused_of_sets_and_of_labels(admin, new, drafted, wrong):
    for request in (label_sets.creation(wrong, GOOD), {"label_set_id": wrong, "preset": "rfm-8"}):
        assert_refused(admin.refused(CREATE, request), "label_set_id")
    for place in range(3):
        def labels(set_id, place=place):
            made = label_sets.rules(set_id, GOOD)["labels"]
            made[place]["name"] = f"{name_of(set_id)}/labels/{wrong}"
            return made
        assert_never_accepted(admin, new, drafted, labels, f".labels[{place}].name")


def the_last_label_is_for_everybody_else_and_has_no_rule(admin, new, drafted):
    for rule in ("orders == 0", "true", ["555"]):
        assert_never_accepted(admin, new, drafted, lambda set_id, rule=rule: [
            label(set_id, *FEW[:2]), label(set_id, *MANY[:2]), label(set_id, REST, rule)], ".labels[2]")


def a_set_has_two_labels_to_a_hundred_and_one(admin, new, drafted):
    for count in (0, 1, 102):
        def labels(set_id, count=count):
            made = [label(set_id, f"of-{number}", f"orders == {number}") for number in range(count - 1)]
            return (made + [label(set_id, REST)])[:count]
        request = {"label_set_id": new, "label_set": {"labels": labels(new)}}
        assert_refused(admin.refused(CREATE, request), "label_set.labels")
        assert_refused(admin.refused(UPDATE, label_sets.change(drafted, "draft", draft={"labels": labels(drafted)})), "label_set.draft.labels")


def an_id_of_a_label_is_given_once(admin, new, drafted):
    for twice in ([FEW, ("few", "rfm.f >= 3", None)], [FEW, (REST, "rfm.f >= 3", None)], [("a", "orders == 1", None), ("a", "orders == 2", None)]):
        # Which of the two is named is left to the server.
        assert_never_accepted(admin, new, drafted, lambda set_id, twice=twice: label_sets.rules(set_id, twice)["labels"], words=[twice[-1][0]])


def what_a_set_is_for_is_said_in_a_kilobyte(admin, new, drafted):
    for wrong in ("x" * 1_025, "é" * 513, "a\0b", "a\u202eb"):
        assert_refused(admin.refused(CREATE, label_sets.creation(new, GOOD, description=wrong)), "label_set.description")
        request = label_sets.change(drafted, "description", description=wrong)
        assert_refused(admin.refused(UPDATE, request), "label_set.description")
    for right in ("x" * 1_024, "é" * 512, "'; DROP TABLE label; -- % _", ""):
        assert label_sets.update(admin, drafted, "description", description=right).description == right
    longest = [label(drafted, *FEW[:2], title="é" * 64), label(drafted, *MANY[:2], title=""), label(drafted, "r" * 63, title="x" * 128)]
    made = label_sets.update(admin, drafted, "draft", draft={"labels": longest})
    assert [each.title for each in made.draft.labels] == ["é" * 64, "", "x" * 128]


def an_unknown_field_is_told_with_its_place_and_the_nearest_that_is_known(admin, new, drafted):
    for rule, place, nearest in (("rfm.ff < 3", "line 1, column 1", "rfm.f"), ("rfm.f < 3 &&\n  ordres > 2", "line 2, column 3", "orders")):
        assert_never_accepted(admin, new, drafted, lambda set_id, rule=rule: label_sets.rules(set_id, [MANY, ("few", rule, None)])["labels"],
                              ".labels[1].expression", [place, f"`{nearest}`"])
    assert_never_accepted(admin, new, drafted, lambda set_id: label_sets.rules(set_id, [("few", "rfm.f < 3 && && true", None)])["labels"],
                          ".labels[0].expression", ["line 1, column 14"])


# -- presets, masks and the like ------------------------------------------------------------------------------------------

BAD_REQUESTS = {
    "an unknown preset": (CREATE, {"label_set_id": "x", "preset": "rfm-12"}, "preset"),
    "a preset in capitals": (CREATE, {"label_set_id": "x", "preset": "RFM-11"}, "preset"),
    "a preset's resource name": (CREATE, {"label_set_id": "x", "preset": "labelSets/rfm-11"}, "preset"),
    "a preset with labels": (CREATE, label_sets.creation("x", GOOD, preset="rfm-8"), "label_set.labels"),
    "a preset with the last label alone": (CREATE, label_sets.creation("x", [], preset="rfm-8"), "label_set.labels"),
    "neither labels nor a preset": (CREATE, {"label_set_id": "x"}, "label_set"),
    "no id": (CREATE, {"preset": "rfm-8"}, "label_set_id"),
    "a request id that is none": (CREATE, label_sets.creation("x", GOOD, request_id="1"), "request_id"),
    "a page of less than nothing": ("LabelService/ListLabelSets", {"page_size": -1}, "page_size"),
    "a page token that is none": ("LabelService/ListLabelSets", {"page_token": "x"}, "page_token"),
    "a change of nothing": (UPDATE, {"update_mask": "description"}, "label_set"),
    "a change without a mask": (UPDATE, {"label_set": {"name": name_of("drafted"), "description": "x"}}, "update_mask"),
    "a change with an empty mask": (UPDATE, label_sets.change("drafted", "", description="x"), "update_mask"),
    **{f"a change of {path}": (UPDATE, label_sets.change("drafted", path, description="x"), "update_mask") for path in (
        "labels", "title", "name", "etag", "version", "overlapsAllowed", "draft.labels", "description,labels", "labelSet.draft", "*", "Draft")},
    "a draft of nothing": (UPDATE, label_sets.change("drafted", "draft", draft={}), "label_set.draft"),
    "publishing without an etag": ("LabelService/PublishLabelSet", {"name": name_of("drafted")}, "etag"),
}


@pytest.mark.parametrize("wrong", BAD_REQUESTS)
def a_request_that_is_not_whole_is_refused(admin, drafted, wrong):
    method, request, field = BAD_REQUESTS[wrong]
    before = label_sets.get(admin, drafted)
    assert_refused(admin.refused(method, request), field)
    assert label_sets.get(admin, drafted) == before and "x" not in label_sets.listed(admin)


def a_page_token_is_good_for_its_own_list(admin, new):
    for place in range(2):
        label_sets.create(admin, f"{new}-{place}", UNPROVED)
        questions.save_segment(admin, f"{new}-{place}", "orders >= 1")
    token = admin.call("LabelService/ListLabelSets", {"page_size": 1}).next_page_token
    other = admin.call("SegmentService/ListSegments", {"page_size": 1}).next_page_token
    assert token and other
    for wrong in (other, token[:-1], f"{token}A", token[::-1]):
        assert_refused(admin.refused("LabelService/ListLabelSets", {"page_token": wrong}), "page_token")
    assert_refused(admin.refused("SegmentService/ListSegments", {"page_token": token}), "page_token")


def there_is_something_to_publish_or_nothing_is_published(admin, new):
    made = label_sets.create(admin, new, GOOD)
    for method, fields in (("PublishLabelSet", {"etag": made.etag}), ("PreviewLabelSetDraft", {})):
        admin.refused(f"LabelService/{method}", {"name": name_of(new)} | fields).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    label_sets.draft(admin, new, UNPROVED)
    label_sets.update(admin, new, "draft")
    etag = label_sets.get(admin, new).etag
    for method, fields in (("PublishLabelSet", {"etag": etag}), ("PreviewLabelSetDraft", {})):
        admin.refused(f"LabelService/{method}", {"name": name_of(new)} | fields).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert label_sets.get(admin, new).version == 1
    etag = label_sets.draft(admin, new, UNPROVED).etag
    for etag in ("x", '""', f"{etag} ", etag.upper() + "0"):
        for method in ("PublishLabelSet", "DeleteLabelSet"):
            admin.refused(f"LabelService/{method}", {"name": name_of(new), "etag": etag}).must_be(ABORTED, "STALE_ETAG")


NAMES = ["", "x", "labelSets/", "labelSets/Upper", "labelSets/a/labels/b", "labelSets/a/", "segments/a", f"labelSets/{'a' * 64}", "labelSets/a\0b"]
OF_A_SET = [("GetLabelSet", "name"), ("GetLabelDistribution", "name"), ("PreviewLabelSetDraft", "name"), ("PublishLabelSet", "name"),
            ("ListLabelSetVersions", "parent"), ("DeleteLabelSet", "name"), ("PreviewImpact", "name"), ("UpdateLabelSet", "label_set.name")]


def request_of(method, field, name):
    fields = {"PublishLabelSet": {"etag": "x"}, "PreviewImpact": {"score_model_version": "scoreModels/rfm/versions/1"},
              "UpdateLabelSet": {"label_set": {"name": name, "description": "x"}, "update_mask": "description"}}
    return fields.get(method, {}) | ({field: name} if method != "UpdateLabelSet" else {})


@pytest.mark.parametrize("method,field", OF_A_SET)
def a_name_that_is_none_is_refused_and_one_of_nothing_is_not_found(admin, method, field):
    # Segments have an impact, too.
    for name in NAMES if method != "PreviewImpact" else [*(each for each in NAMES if each != "segments/a"), "segments/", "segments/A"]:
        assert_refused(admin.refused(f"LabelService/{method}", request_of(method, field, name)), field)
    admin.refused(f"LabelService/{method}", request_of(method, field, name_of("none"))).must_be(NOT_FOUND, "NOT_FOUND")


def members_of_a_label_that_is_none_are_not_told(admin):
    for method, fields in (("ListMembers", {}), ("CheckMembers", {"customers": ["customers/1"]})):
        for parent in (name_of("none", "few"), name_of("rfm-11", "none"), "labelSets/rfm-11", "labelSets/rfm-11/labels/", "labels/few", ""):
            refusal = admin.refused(f"SegmentService/{method}", {"parent": parent} | fields)
            refusal.must_be({INVALID_ARGUMENT, NOT_FOUND}, {"INVALID_FIELD", "NOT_FOUND"})


# -- the proof ------------------------------------------------------------------------------------------------------------

def but(*cells):
    return [each for each in CELLS if each not in cells]


# The rows, whether overlaps are meant, and what the refusal tells: the first cell at fault and the labels.
UNPROVABLE = {
    "a gap": ([FEW, ("many", "rfm.f > 3", None)], False, ["131"]),
    "a gap where overlaps are meant": ([("a", "rfm.f <= 2", None), ("b", "rfm.f != 3", None)], True, ["131"]),
    "a gap in cells": ([("a", but("345", "555"), None)], False, ["345"]),
    "a gap between cells and a rule": ([("a", ["111", "112"], None), ("b", "rfm.r > 1 || rfm.f > 1 || rfm.m > 3", None)], False, ["113"]),
    "a gap of one score alone": ([("a", "rfm.m in [1, 2, 4, 5]", None)], False, ["113"]),
    "a gap of stages": ([("a", 'stage in ["lead", "new", "active", "loyal", "at_risk", "churned", "reactivated"]', None)], False, ["dormant"]),
    "a gap of bands": ([("a", 'grade.band != "C"', None)], False, ["grade.band", "C"]),
    "a gap of tiers": ([("a", 'grade.tier in ["low", "high"]', None)], False, ["grade.tier", "middle"]),
    "a gap of VIPs": ([("a", 'grade.vip == "yes"', None)], False, ["grade.vip", "no"]),
    "a gap of kinds": ([("a", 'kind == "customer" || kind == "lead"', None)], False, ["kind", "contact"]),
    "a gap of both": ([("a", 'rfm.r >= 2 || stage != "new"', None)], False, ["rfm.r == 1", "rfm.f == 1", "rfm.m == 1", "new"]),
    "a gap of a score and a grade": ([("a", 'rfm.f == 3 && grade.band == "B"', None), ("b", "rfm.f != 3", None)], False, ["rfm.f == 3", "A"]),
    "an overlap that is not meant": ([("many", "rfm.f >= 3", None), ("few", "rfm.f <= 3", None)], False, ["131", "many", "few"]),
    "an overlap of cells": ([("a", ["555", "111", "544"], None), ("b", but("555", "111"), None)], False, ["544", "a", "b"]),
    "an overlap of stages": ([("a", 'stage != "lead"', None), ("b", 'stage in ["lead", "loyal"]', None)], False, ["loyal"]),
    "a label behind all": ([("all", "rfm.f >= 1", None), ("best", "rfm.r == 5 && rfm.f == 5", None)], True, ["best", "551", "all"]),
    "a label behind two": ([FEW, MANY, ("top", "rfm.r == 5", None)], True, ["top", "511", "few"]),
    "the same label again": ([FEW, MANY, ("again", "rfm.f < 3", None)], True, ["again", "111", "few"]),
    "a label behind all that is not said to overlap": ([("all", "rfm.f >= 1", None), ("best", ["555"], None)], False, ["best", "555", "all"]),
    "a label of no score": ([FEW, MANY, ("none", "rfm.f > 5", None)], False, ["none"]),
    "a label of no stage": ([("a", 'stage != "gone"', None), ("none", 'stage == "gone"', None)], True, ["none"]),
    "a label that contradicts itself": ([("none", "rfm.r > 3 && rfm.r < 3", None), ("all", "rfm.r >= 1", None)], False, ["none"]),
    # Of 12,000 and of all 72,000 combinations.
    "a gap of scores, stages and grades": (
        [("a", '!(rfm.r == 2 && rfm.f == 4 && rfm.m == 1 && stage == "loyal" && grade.band == "B" && grade.tier == "high")', None)], False,
        ["rfm.r == 2", "rfm.f == 4", "rfm.m == 1", "loyal", "B", "high"]),
    "a gap of everything": (
        [("a", 'rfm.r != 3 || stage != "new" || grade.band != "A" || grade.tier != "low" || grade.vip != "no" || kind != "lead"', None)], False,
        ["rfm.r == 3", "new", "A", "low", "no", "lead"]),
}


@pytest.mark.parametrize("wrong", UNPROVABLE)
def a_set_that_cannot_be_proved_is_refused_and_the_cell_is_named(admin, new, drafted, wrong):
    rows, overlaps_allowed, words = UNPROVABLE[wrong]
    assert_never_accepted(admin, new, drafted, lambda set_id: label_sets.rules(set_id, rows)["labels"], words=words, overlaps_allowed=overlaps_allowed)


PROVED = {
    "rfm.r >= 1": 125, "rfm.m in [1, 2, 3, 4, 5]": 125, "has(rfm.f)": 125, "rfm.r >= rfm.f || rfm.f > rfm.r": 125, 'stage != "x"': 8, "has(grade.band)": 4,
    "has(grade.tier)": 3, "has(grade.vip)": 2, "has(kind)": 3, "has(stage) && has(kind)": 24, "has(grade.band) && has(grade.tier) && has(grade.vip)": 24,
    "has(rfm.r) && has(stage)": 1_000, "has(rfm.r) && has(rfm.f) && has(rfm.m) && has(grade.band)": 500,
    "has(rfm.r) && has(stage) && has(grade.band) && has(grade.tier)": 12_000,
    "has(rfm.r) && has(stage) && has(grade.band) && has(grade.tier) && has(grade.vip) && has(kind)": 72_000,
    "orders >= 0": 0, "has(label)": 0, "has(grade.value)": 0, "has(channel)": 0, "rfm.r >= 1 && orders >= 1": 0, "rfm.r >= 1 && has(region)": 0,
    "days_since(last_order_at) < 3": 0, "rfm.r >= 1 && last_order_at < now": 0, "rfm.r >= 1 || net_revenue > 3": 0,
    'rfm.r >= 1 && segment("rfm-11/loyal")': 0, 'segment("drafted/few")': 0,
}


@pytest.mark.parametrize("rule", PROVED)
def the_proof_is_over_all_combinations_of_what_the_rules_read(admin, new, drafted, rule):
    made = label_sets.create(admin, new, [("all", rule, None)])
    assert made.proved_cells == PROVED[rule]
    assert sorted(made.labels[0].cells) == (CELLS if PROVED[rule] == 125 else [])
    label_sets.delete(admin, new)  # A tenant has few.


def where_nothing_can_be_proved_nothing_is_refused(admin, new):
    """Whether they overlap or leave somebody out, the first that matches decides."""
    rows = [("few", "orders < 3 && rfm.f < 3", None), ("fewer", "orders < 3 && rfm.f < 2", None), ("never", "orders < 0", None)]
    made = label_sets.create(admin, new, rows)
    assert (made.proved_cells, made.overlaps_allowed) == (0, False)
    questions.wait_for(admin, questions.take_in(admin, *(facts.order(new, f"{new}-{n}") for n in range(2))).facts_position)
    told = label_sets.distribution(admin, new)
    assert told["few"][0] >= 1 and (told["fewer"], told["never"]) == ((0, 0), (0, 0))
