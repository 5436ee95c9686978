"""A rule that cannot be meant is refused, with the place in it; nobody's rights are needed to learn that."""
import pytest

from support.refusals import INVALID_ARGUMENT

WRONG = {
    "nothing": "", "blank": "  ", "half a comparison": "rfm.r >=", "an open bracket": "(rfm.r >= 4", "two rules": "true true",
    "an unknown field": "rfm.recency_score >= 4", "an identifying field": 'display_name == "x"', "a phone": 'phone == "x"',
    "text against a number": 'rfm.r >= "4"', "a number as a rule": "rfm.r", "an unknown function": "exec(1) == 1",
    "too deep": "(" * 40 + "true" + ")" * 40, "too many terms": " || ".join(["rfm.r == 1"] * 1_001),
    "too long": "rfm.r >= 4" + " " * 17_000}


@pytest.mark.parametrize("wrong", WRONG)
def an_expression_that_cannot_be_meant_is_an_invalid_argument(shared, wrong):
    for role in ("analyst", "admin"):
        client = shared.client(role)
        for method, fields in (("PreviewSegment", {"expression": WRONG[wrong]}), ("CreateSegment", {
                "segment_id": "wrong", "segment": {"expression": WRONG[wrong]}})):
            refusal = client.refused(f"SegmentService/{method}", fields)
            refusal.must_be(INVALID_ARGUMENT, {"INVALID_EXPRESSION", "INVALID_FIELD"})
            assert refusal.bad_request.field_violations, refusal


def a_syntax_error_names_its_position_and_an_unknown_field_its_nearest_neighbour(shared):
    client = shared.client("analyst")
    syntax = client.refused("SegmentService/PreviewSegment", {"expression": "rfm.r >= 4 && && rfm.f >= 3"})
    syntax.must_be(INVALID_ARGUMENT, "INVALID_EXPRESSION")
    violation = syntax.bad_request.field_violations[0]
    assert violation.field == "expression"
    assert any(character.isdigit() for character in violation.description + syntax.message), syntax
    unknown = client.refused("SegmentService/PreviewSegment", {"expression": "net_revenu >= 4"})
    unknown.must_be(INVALID_ARGUMENT, "INVALID_EXPRESSION")
    assert "net_revenue" in unknown.message + unknown.bad_request.field_violations[0].description
