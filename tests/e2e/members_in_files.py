"""`quintile segments export`: the members of a segment or label in a file, as their records say and as the caller may see them."""
import csv
import subprocess
from datetime import date, datetime, timezone
from decimal import Decimal
from types import SimpleNamespace

import pytest

from segment_previews import cents
from support import facts, policies, questions, quintile, segments, traits
from support.exports import rows
from support.refusals import INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED

CUSTOMERS = 230  # More than a page of records has where nobody says how many.
EXIT_FAILURE, EXIT_USAGE, EXIT_ABSENT, EXIT_DENIED = 1, 2, 3, 4
# What a spreadsheet takes for a formula, and what looks like one and is not.
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "=HYPERLINK(\"http://x\",\"y\")"]
HARMLESS = ["a=1", "1-1", "a \"quoted\", b", "茶", "'=1"]
BUYERS, LOST = "segments/buyers", "labelSets/rfm-11/labels/lost"


def run(suite, parent, path, *arguments):
    command = suite.command("segments", "export", parent, "--to", path, *arguments)
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=quintile.COMMAND_SECONDS)


def export(suite, parent, path, *arguments):
    """The rows of a file that has to be made: of CSV as texts."""
    done = run(suite, parent, path, *arguments)
    assert done.returncode == 0, done.stderr
    assert list(path.parent.iterdir()) == [path] and path.stat().st_mode & 0o077 == 0
    if path.suffix == ".parquet":
        return rows(path)
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def records(client, parent, page_size=0):
    return questions.everything(client, "SegmentService/ListMemberRecords", "records", parent=parent, page_size=page_size)


@pytest.fixture(scope="module")
def shop(shared):
    """Customers of two owners, some of whom are called what spreadsheets would compute."""
    admin, said = shared.client("admin"), FORMULAS + HARMLESS
    sent = []
    for place in range(CUSTOMERS):
        attributes = {"owner": "ann" if place % 3 else "bob", "region": said[place % len(said)], "language": "en",
                      "acquisition_date": {"year": 1997, "month": 2, "day": 1 + place % 28}}
        sent.append(facts.customer(f"c{place}", display_name=f"Secret {place}", attributes=attributes))
        sent += [facts.order(f"c{place}", f"{place}-{n}", days=3 + 50 * n, cents=1_999 + place) for n in range(place % 4)]
    sent.append(facts.refund("c1", "r", days=2, cents=500))
    names = segments.take_in(admin, *sent)
    traits.done(admin, traits.define(admin, "paid", "ORDER", "SUM", "amount"))
    segments.take_in(admin, facts.customer("the last"))
    admin.call("PrivacyService/SetConsent", {"name": names["c2"], "purpose": "PURPOSE_MARKETING", "state": "CONSENT_STATE_GIVEN"})
    segments.create(admin, "buyers", "orders >= 1")
    segments.create(admin, "all", "true")
    segments.create(admin, "nobody", "false")
    segments.add(admin, segments.static(admin, "panel").name, list(names.values())[:7])
    questions.wait_for(admin, questions.take_in(admin, facts.customer("the very last")).facts_position)
    policies.publish(admin, policies.role_like(admin, "analyst", "no-money", forms={"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}),
                     policies.role_like(admin, "analyst", "of-ann", without=policies.TAKING_IN, row_scope='owner == "ann"'))
    for role in ("no-money", "of-ann"):
        policies.client_of(shared, role)
    return SimpleNamespace(suite=shared, admin=admin, names=names)


# -- what files say -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("parent", [BUYERS, "segments/all", "segments/panel", "segments/nobody", LOST])
@pytest.mark.parametrize("role", ["admin", "analyst", "of-ann", "marketer"])
def files_have_the_members_that_lists_have(shop, tmp_path, parent, role):
    client = shop.suite.api().client(policies.token_of(shop.suite, role))
    listed = [segments.number(name) for name in segments.members(client, parent)]
    assert [each.customer_id for each in records(client, parent)] == listed
    for ending in ("parquet", "csv"):
        folder = tmp_path / ending
        folder.mkdir()
        written = export(shop.suite, parent, folder / f"x.{ending}", "--as", role)
        assert [int(row["customer"]) for row in written] == listed
    reached = {"admin": CUSTOMERS, "analyst": CUSTOMERS, "of-ann": sum(place % 3 > 0 for place in range(CUSTOMERS)), "marketer": 1}
    assert parent != "segments/all" or len(listed) - reached[role] in (0, 2)


def a_file_says_of_each_member_what_its_record_does(shop, tmp_path):
    told = {each.customer_id: each for each in records(shop.admin, BUYERS, page_size=7)}
    table, texts = export(shop.suite, BUYERS, new(tmp_path) / "x.parquet"), export(shop.suite, BUYERS, new(tmp_path) / "x.csv")
    assert len(table) == len(texts) == len(told) > 100 and list(table[0]) == list(texts[0])
    for row, text in zip(table, texts):
        record = told[row["customer"]]
        attributes, features, scores = record.attributes, record.features, record.scores
        assert (row["owner"], row["region"], row["language"]) == (attributes.owner, attributes.region, "en")
        assert row["acquisition_date"] == date(1997, 2, attributes.acquisition_date.day)
        assert row["orders"] == features.orders and row["net_revenue"] == Decimal(cents(features, "net_revenue")) / 100
        assert (row["rfm_r"], row["rfm_f"], row["rfm_m"]) == (scores.recency, scores.frequency, scores.monetary)
        assert row["last_order_time"] == features.last_order_time.ToDatetime(timezone.utc)
        # And of CSV the same, in words.
        for column, value in row.items():
            assert text[column] == as_text(value) or as_number(text[column]) == value, (column, value, text[column])


def new(tmp_path):
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    return folder


def as_text(value):
    if isinstance(value, str):
        return f"'{value}" if value[:1] in tuple("=+-@\t\r") else value
    if isinstance(value, datetime):
        return facts.text_of(value)
    return "" if value is None else str(value)


def as_number(text):
    try:
        return Decimal(text)
    except ArithmeticError:
        return None


def what_would_be_a_formula_begins_with_an_apostrophe(shop, tmp_path):
    regions = {row["region"] for row in export(shop.suite, "segments/all", new(tmp_path) / "x.csv")}
    assert regions - {""} == {f"'{text}" for text in FORMULAS} | set(HARMLESS)
    # A file that is not for spreadsheets has what was said.
    assert {row["region"] for row in export(shop.suite, "segments/all", new(tmp_path) / "x.parquet")} - {None} == {*FORMULAS, *HARMLESS}


def nobody_is_named_and_who_reads_no_money_gets_none(shop, tmp_path):
    for ending in ("csv", "parquet"):
        shown = export(shop.suite, "segments/all", new(tmp_path) / f"x.{ending}", "--as", "analyst")
        hidden = export(shop.suite, "segments/all", new(tmp_path) / f"x.{ending}", "--as", "no-money")
        money = [column for column in shown[0] if "revenue" in column or column in ("average_order_value", "currency")]
        assert len(money) > 4 and {row[column] or None for row in hidden for column in money} == {None}
        assert any(row["net_revenue"] for row in shown) and not any("paid" in row["traits"] and "19" in row["traits"] for row in hidden)
        assert [(row["customer"], row["orders"]) for row in hidden] == [(row["customer"], row["orders"]) for row in shown]
        assert not any("Secret" in str(value) for row in shown + hidden for value in row.values())


def a_file_of_nobody_has_columns_and_no_rows(shop, tmp_path):
    path = tmp_path / "x.csv"
    assert export(shop.suite, "segments/nobody", path) == []
    assert path.read_text(encoding="utf-8").startswith("customer,kind,") and path.read_text(encoding="utf-8").count("\n") == 1


# -- what makes no file ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("parent,file,arguments,code", [
    ("segments/absent", "x.csv", (), EXIT_ABSENT), ("labelSets/rfm-11/labels/absent", "x.parquet", (), EXIT_ABSENT),
    (BUYERS, "x.xlsx", (), EXIT_FAILURE), (BUYERS, "x", (), EXIT_FAILURE), (BUYERS, "csv", (), EXIT_FAILURE),
    (BUYERS, "x.csv", ("--as", "auditor"), EXIT_DENIED), (BUYERS, "no/folder.csv", (), EXIT_FAILURE),
    ("buyers", "x.csv", (), EXIT_USAGE), ("segments/Buyers", "x.parquet", (), EXIT_USAGE)])
def what_is_refused_leaves_no_file(shop, tmp_path, parent, file, arguments, code):
    done = run(shop.suite, parent, tmp_path / file, *arguments)
    assert (done.returncode, list(tmp_path.iterdir())) == (code, []) and done.stderr, done.stderr


def who_may_not_read_what_a_segment_is_made_of_gets_no_file(shop, tmp_path):
    rich = segments.create(shop.admin, "rich", "net_revenue >= 20").name
    assert (run(shop.suite, rich, tmp_path / "x.csv", "--as", "no-money").returncode, list(tmp_path.iterdir())) == (EXIT_DENIED, [])
    client = shop.suite.api().client(policies.token_of(shop.suite, "no-money"))
    client.refused("SegmentService/ListMemberRecords", {"parent": rich}).must_be(PERMISSION_DENIED, "FIELD_DENIED")


def a_file_that_is_there_is_whole_before_and_after(shop, tmp_path):
    """Of two exports to one name the second replaces the first, and one that fails leaves it."""
    path = tmp_path / "x.csv"
    export(shop.suite, "segments/panel", path)
    before = path.read_bytes()
    assert run(shop.suite, "segments/absent", path).returncode == EXIT_ABSENT and path.read_bytes() == before
    done = run(shop.suite, BUYERS, path)
    assert list(tmp_path.iterdir()) == [path]
    assert (path.read_bytes() != before) == (done.returncode == 0), done.stderr


# -- the RPC --------------------------------------------------------------------------------------------------------------

def bad_questions_about_members_are_refused(shop):
    for parent, code, reason in (("", INVALID_ARGUMENT, "INVALID_FIELD"), ("buyers", INVALID_ARGUMENT, "INVALID_FIELD"),
                                 ("segments/A", INVALID_ARGUMENT, "INVALID_FIELD"), ("segments/absent", NOT_FOUND, "NOT_FOUND")):
        shop.admin.refused("SegmentService/ListMemberRecords", {"parent": parent}).must_be(code, reason)
    shop.admin.refused("SegmentService/ListMemberRecords", {"parent": BUYERS, "page_size": -1}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    page = shop.admin.call("SegmentService/ListMemberRecords", {"parent": BUYERS, "page_size": 10})
    token = page.next_page_token
    assert len(page.records) <= 10 and token and page.watermark.facts_position
    for request in ({"parent": "segments/all", "page_token": token}, {"parent": BUYERS, "page_token": "x"},
                    {"parent": BUYERS, "page_token": token[:-2]}):
        shop.admin.refused("SegmentService/ListMemberRecords", request).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")


def taking_members_home_is_in_the_audit_log(shop, tmp_path):
    export(shop.suite, "segments/panel", tmp_path / "x.csv", "--as", "analyst")
    method = shop.suite.api().method_on("segmentation", "AuditService/ListAuditEvents")
    events = [each for each in questions.everything(shop.admin, method, "events", page_size=1_000)
              if each.method.endswith("SegmentService/ListMemberRecords") and each.role == "analyst"]
    classes = events[0].DESCRIPTOR.fields_by_name["classes"].enum_type.values_by_number
    assert "SENSITIVITY_FINANCIAL" in {classes[number].name for each in events for number in each.classes}
    assert {each.outcome for each in events} == {"OK"} and "segments/panel" in {each.resource for each in events}
