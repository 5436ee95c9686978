"""What rules may say, what is wrong with one, and how it is written: for those who write them and for their editors."""
import pytest

from support import policies, questions
from support.refusals import PERMISSION_DENIED

SERVICE = "ExpressionService"
RICH = "revenue >= 199.90 && rfm.r>3"


@pytest.fixture(scope="module")
def desk(shared):
    """A segment that time changes, one that refers to it, and a role that reads no money."""
    admin = shared.client("admin")
    questions.save_segment(admin, "silent", "days_since(last_order_at) > 90")
    questions.save_segment(admin, "away", 'segment("silent") || orders == 0')
    without = {"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}
    policies.publish(admin, policies.role_like(admin, "analyst", "no-money", forms=without))
    return shared


def check(client, expression):
    return client.call(f"{SERVICE}/CheckExpression", {"expression": expression})


def fields_have_types_and_meanings(desk):
    fields = {field.name: field for field in desk.client("analyst").call(f"{SERVICE}/ListFields").fields}
    kinds = {"rfm.r": 1, "stage": 2, "last_order_at": 4, "revenue": 5}  # As FieldType numbers them.
    assert {name: fields[name].value_type for name in kinds} == kinds
    assert all(field.description and field.usable for field in fields.values())
    assert list(fields) == sorted(fields)


def every_field_can_be_asked_for(desk):
    analyst = desk.client("analyst")
    for field in analyst.call(f"{SERVICE}/ListFields").fields:
        checked = check(analyst, f"has({field.name})")
        assert (list(checked.fields), checked.formatted, checked.HasField("problem")) == ([field.name], f"has({field.name})", False)


def a_rule_is_written_as_everybody_would_and_says_what_it_depends_on(desk):
    checked = check(desk.client("analyst"), "!(orders<3)&&( 'web'==channel || segment('away')) // comment")
    assert checked.formatted == '!(orders < 3) && (channel == "web" || segment("away"))'
    assert list(checked.fields) == ["channel", "orders"] and list(checked.segments) == ["segments/away"]
    # Through a segment of a segment.
    assert checked.depends_on_time and not check(desk.client("analyst"), "orders < 3").depends_on_time
    again = check(desk.client("analyst"), checked.formatted)
    assert again == checked


@pytest.mark.parametrize("expression, line, column, word, suggestion", [
    ("orders >", 1, 9, "syntax", ""),
    ("orders > 1 &&\n  rfm.rr > 2", 2, 3, "rfm.rr", "rfm.r"),
    ("orders > 1 && zzzzzzzzz == 3", 1, 15, "zzzzzzzzz", ""),
    ('orders > "x"', 1, 10, "int", ""),
    ("orders + 1 > 2", 1, 8, "arithmetic", ""),
    ('segment("nowhere")', 0, 0, "not there", ""),
    ("", 1, 1, "syntax", ""),
    ("orders > 1\0", 0, 0, "NUL", ""),
    ("(" * 40 + "true" + ")" * 40, 1, 33, "deep", ""),
    ("true || " * 3_000 + "true", 0, 0, "longer", ""),
])
def what_is_wrong_is_told_with_its_place(desk, expression, line, column, word, suggestion):
    checked = check(desk.client("analyst"), expression)
    problem = checked.problem
    assert (problem.line, problem.column, problem.suggestion) == (line, column, suggestion), problem
    assert word in problem.message and checked.formatted == "" and not checked.fields


def who_reads_no_money_is_told_which_fields_are_not_its_own(desk):
    client = policies.client_of(desk, "no-money")
    usable = {field.name: field.usable for field in client.call(f"{SERVICE}/ListFields").fields}
    assert not usable["revenue"] and not usable["revenue_90"] and usable["orders"] and usable["rfm.m"]
    client.refused(f"{SERVICE}/CheckExpression", {"expression": RICH}).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    questions.save_segment(desk.client("admin"), "rich", RICH)
    client.refused(f"{SERVICE}/CheckExpression", {"expression": 'segment("rich")'}).must_be(PERMISSION_DENIED, "FIELD_DENIED")


def many_ways_to_one_segment_are_gone_once(desk):
    """Each refers to the two before it: there are more ways through them than could be gone."""
    admin = desk.client("admin")
    questions.save_segment(admin, "way-0", "orders >= 1")
    questions.save_segment(admin, "way-1", "orders >= 2")
    for number in range(2, 33):
        questions.save_segment(admin, f"way-{number}", f'segment("way-{number - 1}") || segment("way-{number - 2}")')
    assert check(admin, 'segment("way-32")').formatted == 'segment("way-32")'


def the_command_line_tells_the_same(desk):
    assert desk.run("segments", "check", RICH, "--as", "analyst").strip() == "revenue >= 199.90 && rfm.r > 3"
    listed = desk.run("segments", "fields", "--as", "analyst")
    assert "rfm.r" in listed and "money" in listed
