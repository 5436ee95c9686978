"""Questions about segments as wholes that cannot be meant are refused, with the field that is wrong."""
from types import SimpleNamespace

import pytest

from support import facts, questions, segments
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND

SERVICE = "AnalysisService"
LOST, SET = "labelSets/rfm-11/labels/lost", "labelSets/rfm-11"
MALFORMED = ["x", "segments", "segments/", "Segments/a", "segments/A", "segments/a b", "segments/a\0", "segments/段", f"segments/{'a' * 64}",
             "segments/a/versions/1", "labelSets/rfm-11", "labelSets/rfm-11/labels/",
             "labelSets//labels/lost", "labelSets/rfm-11/labels/lost/x", "customers/1"]
DAYS = [{"year": 1998, "month": 13, "day": 1}, {"year": 1998, "month": 2, "day": 29}, {"year": 1998, "month": 6}, {"year": 1998},
        {"month": 6, "day": 1},
        {"year": 10_000, "month": 1, "day": 1}, {"year": -1, "month": 1, "day": 1}, {"year": 1998, "month": 6, "day": 31}, {}]
JUNE, MAY = {"year": 1998, "month": 6, "day": 1}, {"year": 1998, "month": 5, "day": 31}
TIME = {"INVALID_FIELD", "INVALID_TIME"}
START = facts.text_of(facts.AS_OF)


@pytest.fixture(scope="module")
def desk(shared):
    admin = shared.client("admin")
    segments.take_in(admin, facts.order("ann", "o"))
    names = [segments.create(admin, f"s{n}", f"orders >= {n}").name for n in range(102)]
    return SimpleNamespace(admin=admin, names=names, client=shared.client("analyst"))


def must_name(desk, method, request, field, reason="INVALID_FIELD"):
    refusal = desk.client.refused(f"{SERVICE}/{method}", request).must_be(INVALID_ARGUMENT, reason)
    assert [each.field for each in refusal.bad_request.field_violations] == [field], refusal
    return refusal


@pytest.mark.parametrize("name", ["", *MALFORMED])
def a_name_that_cannot_be_one_is_refused_with_its_place(desk, name):
    for method, request, field in (("GetOverlapMatrix", {"parents": ["segments/s1", LOST, name]}, "parents[2]"),
                                   ("RankTargets", {"parents": [name]}, "parents[0]"),
                                   ("CompareSegments", {"first": name}, "first"), ("ListSegmentSizes", {"parent": name}, "parent"),
                                   *([("CompareSegments", {"first": LOST, "second": name}, "second")] if name else [])):
        must_name(desk, method, request, field)
    if name != SET:
        must_name(desk, "GetMigration", {"name": name, "start_time": START}, "name")


@pytest.mark.parametrize("name", ["segments/absent", "labelSets/rfm-11/labels/absent", "labelSets/absent/labels/lost"])
def what_is_not_there_is_not_found(desk, name):
    for method, request in (("GetOverlapMatrix", {"parents": ["segments/s1", name]}), ("RankTargets", {"parents": ["segments/s1", name]}),
                            ("CompareSegments", {"first": name}), ("CompareSegments", {"first": LOST, "second": name}),
                            ("ListSegmentSizes", {"parent": name}),
                            ("GetMigration", {"name": "labelSets/absent", "start_time": START})):
        desk.client.refused(f"{SERVICE}/{method}", request).must_be(NOT_FOUND, "NOT_FOUND")


def each_is_named_once_and_not_too_few_or_too_many(desk):
    for method, least, most in (("GetOverlapMatrix", 2, 50), ("RankTargets", 1, 100)):
        for count in (least - 1, most + 1):
            must_name(desk, method, {"parents": desk.names[:count]}, "parents")
        for count in (least, most):
            desk.client.call(f"{SERVICE}/{method}", {"parents": desk.names[:count]})
        must_name(desk, method, {"parents": ["segments/s1", LOST, "segments/s1"]}, "parents[2]")


def a_field_that_is_none_is_refused_with_the_nearest(desk):
    refusal = must_name(desk, "CompareSegments", {"first": LOST, "fields": ["orders", "net_revenu"]}, "fields[1]")
    assert "net_revenue" in refusal.bad_request.field_violations[0].description
    for wrong in ("", "phone", "rfm", "orders "):
        must_name(desk, "CompareSegments", {"first": LOST, "fields": [wrong]}, "fields[0]")
    must_name(desk, "CompareSegments", {"first": LOST, "fields": ["orders"] * 51}, "fields")


@pytest.mark.parametrize("days", [-1, 366, 2**31 - 1, -(2**31)])
def growth_of_days_that_are_none_is_refused(desk, days):
    must_name(desk, "RankTargets", {"parents": [LOST], "growth_days": days}, "growth_days")


@pytest.mark.parametrize("purpose", [6, 99, -1])
def a_purpose_that_is_none_is_refused(desk, purpose):
    must_name(desk, "RankTargets", {"parents": [LOST], "purpose": purpose}, "purpose")


@pytest.mark.parametrize("day", range(len(DAYS)))
def a_day_that_is_none_is_refused(desk, day):
    for field in ("start_date", "end_date"):
        must_name(desk, "ListSegmentSizes", {"parent": LOST, field: DAYS[day]}, field)


def an_end_is_not_before_its_start(desk):
    must_name(desk, "ListSegmentSizes", {"parent": LOST, "start_date": JUNE, "end_date": MAY}, "end_date")
    must_name(desk, "ListSegmentSizes", {"parent": LOST, "start_date": {"year": 1970, "month": 1, "day": 1}, "end_date": JUNE}, "start_date")
    desk.client.call(f"{SERVICE}/ListSegmentSizes", {"parent": LOST, "start_date": JUNE, "end_date": JUNE})
    request = {"name": SET, "start_time": START, "end_time": facts.days_before(1)}
    must_name(desk, "GetMigration", request, "end_time")


def a_migration_begins_at_an_instant_that_was_written_down(desk):
    must_name(desk, "GetMigration", {"name": SET}, "start_time", reason=TIME)
    for field in ("start_time", "end_time"):
        for wrong in ("1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z"):
            must_name(desk, "GetMigration", {"name": SET, "start_time": START} | {field: wrong}, field, reason=TIME)
    for start in (facts.days_before(1), "1970-01-01T00:00:00Z"):
        desk.client.refused(f"{SERVICE}/GetMigration", {"name": SET, "start_time": start}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert questions.labels(desk.admin)
