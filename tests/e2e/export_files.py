"""`quintile export` and the RPCs that it is made of: everything that was sent comes out, as its caller may see it."""
import json
import re
import subprocess
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow.parquet as parquet
import pytest

from support import canaries, facts, going_on, policies, questions, quintile, receiver, score_models, traits, waiting
from support.exports import FILES, export, rows, run
from support.reflection import authorization
from support.refusals import INVALID_ARGUMENT, PERMISSION_DENIED, Refusal
from support.world import populate

KINDS = ("CUSTOMER", "ORDER", "REFUND", "INTERACTION", "FEEDBACK", "ACQUISITION_SPEND", "EXCHANGE_RATE")
DAY = date(1998, 6, 1)
EXIT_FAILURE, EXIT_USAGE, EXIT_DENIED, EXIT_UNAVAILABLE = 1, 2, 4, 5


def without(row, *columns):
    return {column: value for column, value in row.items() if column not in columns}


def instant(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def amount(units, cents=0):
    return Decimal(units) + Decimal(cents) / 100


# -- everything comes out ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(shared):
    """A tenant with one of everything, and one who is restricted, one who was erased, and two who were merged."""
    admin = shared.client("admin")
    admin.call("AttributeService/CreateAttribute", {"attribute_id": "plate", "attribute": {"sensitivity": "SENSITIVITY_LICENSE_PLATE"}})
    dimensions = [score_models.dimension(name, feature, cut_offs=[2, 3], weight=1)
                  for name, feature in (("o", "orders"), ("d", "purchase_days"), ("i", "interactions"))]
    score_models.put_in_force(admin, "grade", *dimensions, grading={})
    ann = {"display_name": "Ann Wren", "phone": "+8613800000001", "email": "ann@example.com", "address": "1 Mill Lane",
           "birth_date": {"year": 1941, "month": 12, "day": 31}, "custom_attributes": [{"key": "plate", "text": "苏D4X770"}],
           "referrer": "partner 7",
           "attributes": {"kind": "CUSTOMER_KIND_CONTACT", "region": "north", "owner": "sue", "language": "en",
                          "acquisition_campaign": "spring", "acquisition_date": {"year": 1988, "month": 2, "day": 29},
                          "country": "GB", "currency": "GBP", "gender": "female", "income_band": "middle",
                          "household": "alone", "interests": ["tea"]}}
    lines = [{"product": "teapot", "category": "kitchen", "quantity": 2, "amount": facts.dollars(1_500), "cost": facts.dollars(700)},
             {"product": "cup", "quantity": 1}]
    sent = [
        facts.customer("ann", **ann), facts.customer("bob"), facts.customer("eve"), facts.customer("max"),
        facts.order("ann", "o1", days=5, cents=2_099, lines=lines, profit=facts.dollars(-5 * 100)),
        facts.order("ann", "o2", days=4, amount={"currency_code": "JPY", "units": 1_234}, channel=""),
        facts.order("ann", "o1", days=3, cents=1, source="till"),
        facts.order("bob", "o3", days=2, amount={"currency_code": "KWD", "units": 1, "nanos": 234_000_000}),
        facts.refund("ann", "r1", days=1, cents=99, order_event_id="o1"),
        facts.refund("bob", "r2", days=1, cents=7),
        facts.interaction("ann", "i1", kind="INTERACTION_KIND_PAGE_VIEW", about="teapot", channel="online", text="a 'pot' — 茶"),
        facts.interaction("bob", "i2", kind="INTERACTION_KIND_COMPLAINT", about="case 1", case_state="CASE_STATE_OPENED"),
        facts.feedback("ann", "f1", kind="FEEDBACK_KIND_NPS", score=0, text="never again"),
        facts.feedback("bob", "f2", kind="FEEDBACK_KIND_COMMENT", score=None, text="fine", about="o3"),
        facts.spend("s1", DAY, DAY + timedelta(days=29), cents=12_345),
        facts.rate("JPY", DAY, "0.007012345"), facts.rate("KWD", DAY, "999999999.999999999"),
        *(row(who, f"hidden-{n}") for who in ("eve", "max") for n, row in enumerate(
            (facts.order, facts.refund, facts.interaction, facts.feedback))),
    ]
    position = questions.take_in(admin, *sent).facts_position
    for method, who in (("RestrictProcessing", "eve"), ("EraseCustomer", "max")):
        position = admin.call(f"PrivacyService/{method}", {"name": questions.find(admin, who)}).facts_position
    pair = {"customer": questions.find(admin, "ann"), "other": questions.find(admin, "ann", "till")}
    position = max(position, admin.call("IdentityService/MergeCustomers", pair).facts_position)
    questions.save_segment(admin, "buyers", "orders >= 1")
    for trait in (("pages", "INTERACTION", "COUNT"), ("paid", "ORDER", "SUM", "amount"), ("about", "INTERACTION", "LAST", "about"),
                  ("last-seen", "INTERACTION", "MAX", "at")):
        traits.done(admin, traits.define(admin, *trait))
    questions.wait_for(admin, position)
    return shared


@pytest.fixture(scope="module")
def exported(shop, tmp_path_factory):
    """What an administrator is given of the shop."""
    return export(shop, tmp_path_factory.mktemp("export") / "out")


@pytest.fixture(scope="module")
def numbers(shop):
    admin = shop.client("admin")
    return {who: int(questions.find(admin, who).split("/")[1]) for who in ("ann", "bob")}


def every_file_is_there_readable_by_its_owner_alone_and_says_who_made_it(shop, tmp_path):
    out = tmp_path / "new" / "folder"
    assert export(shop, out).keys() == set(FILES)
    assert out.stat().st_mode & 0o077 == 0
    for path in out.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    made = parquet.ParquetFile(out / "orders.parquet").metadata
    assert made.created_by == "quintile export" and made.row_group(0).column(0).compression == "ZSTD"


def columns_have_the_types_that_tools_expect(shop, tmp_path):
    out = tmp_path / "out"
    export(shop, out)
    types = {name: {field.name: str(field.type) for field in parquet.read_schema(out / f"{name}.parquet")} for name in FILES}
    assert types["orders"] == {
        "order_number": "int64", "customer": "int64", "source": "string", "source_customer_id": "string", "event_id": "string",
        "order_time": "timestamp[us, tz=UTC]", "channel": "string", "currency": "string", "amount": "decimal128(23, 4)",
        "profit": "decimal128(23, 4)", "lines": "int32"}
    assert types["customers"]["birth_date"] == "date32[day]" and types["exchange_rates"]["rate"] == "decimal128(18, 9)"
    assert types["records"]["net_revenue"] == "decimal128(23, 4)" and types["records"]["gap_p80_days"] == "double"
    assert all("customer" in types[name] for name in FILES if name not in ("acquisition_spend", "exchange_rates"))


def the_reference_lists_every_column_in_its_order(shop, tmp_path):
    out = tmp_path / "out"
    export(shop, out)
    text = (quintile.REPOSITORY / "EXPORTING.md").read_text(encoding="utf-8")
    own = re.search(r"\*The fact's\* columns are ([^.]+)\.", text)[1]
    listed = dict(re.findall(r"^\| `(\w+)\.parquet` \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE))
    assert listed.keys() == set(FILES)
    for name, cell in listed.items():
        named = re.findall(r"`(\w+)`", cell.replace("*the fact's*", own))
        there = parquet.read_schema(out / f"{name}.parquet").names
        # Of records it names some, and the contract the others.
        assert set(named) - {"CustomerRecord"} <= set(there) if name == "records" else named == there, name


def customers_come_out_with_all_that_was_said_of_them(exported, numbers):
    # Not those who are restricted, erased, or one with another.
    ann, bob = exported["customers"]
    assert without(ann, "create_time", "update_time") == {
        "customer": numbers["ann"], "kind": "contact", "display_name": "Ann Wren", "phone": "+8613800000001",
        "email": "ann@example.com", "address": "1 Mill Lane", "birth_date": date(1941, 12, 31), "birth_year": 1941,
        "owner": "sue", "region": "north", "department": None, "language": "en", "acquisition_channel": None,
        "acquisition_campaign": "spring", "acquisition_date": date(1988, 2, 29), "referrer": "partner 7", "referrer_source": "shop", "country": "GB",
        "currency": "GBP", "gender": "female", "income_band": "middle", "household": "alone", "interests": '["tea"]', "values": None,
        "consent_marketing": None, "consent_profiling": None, "consent_analytics": None, "consent_support": None,
        "consent_third_party": None, "identities": ann["identities"], "custom_attributes": ann["custom_attributes"]}
    assert json.loads(ann["identities"]) == [{"source": "shop", "id": "ann"}, {"source": "till", "id": "ann"}]
    assert json.loads(ann["custom_attributes"]) == {"plate": "苏D4X770"}
    assert (bob["customer"], bob["display_name"], bob["birth_date"], bob["birth_year"]) == (numbers["bob"], None, None, None)
    assert ann["create_time"].tzinfo is not None and ann["create_time"].year >= 2024


def orders_and_their_lines_come_out_as_they_were_sent(exported, numbers):
    orders = {(order["source"], order["source_customer_id"], order["event_id"]): order for order in exported["orders"]}
    assert len(orders) == len(exported["orders"]) == 4
    first = orders["shop", "ann", "o1"]
    assert without(first, "order_number") == {
        "customer": numbers["ann"], "source": "shop", "source_customer_id": "ann", "event_id": "o1",
        "order_time": instant(facts.days_before(5)), "channel": "online", "currency": "USD", "amount": amount(20, 99),
        "profit": amount(-5), "lines": 2}
    yen, dinar, merged = orders["shop", "ann", "o2"], orders["shop", "bob", "o3"], orders["till", "ann", "o1"]
    assert (yen["currency"], yen["amount"], yen["channel"], yen["profit"], yen["lines"]) == ("JPY", amount(1_234), None, None, 0)
    assert (dinar["currency"], dinar["amount"]) == ("KWD", Decimal("1.234"))
    # An order of somebody who turned out to be Ann is Ann's, under the id that it came with.
    assert (merged["customer"], merged["amount"]) == (numbers["ann"], amount(0, 1))
    number = {"order_number": first["order_number"], "customer": numbers["ann"], "source": "shop", "source_customer_id": "ann",
              "event_id": "o1"}
    assert exported["order_lines"] == [
        number | {"line": 1, "product": "teapot", "category": "kitchen", "quantity": 2, "currency": "USD", "amount": amount(15),
                  "cost": amount(7)},
        number | {"line": 2, "product": "cup", "category": None, "quantity": 1, "currency": None, "amount": None, "cost": None}]
    assert sorted(order["order_number"] for order in exported["orders"]) == [1, 2, 3, 4]


def every_other_kind_of_fact_comes_out_as_it_was_sent(exported, numbers):
    of = lambda who, event: {"customer": numbers[who], "source": "shop", "source_customer_id": who, "event_id": event}  # noqa: E731
    yesterday = instant(facts.days_before(1))
    assert exported["refunds"] == [
        of("ann", "r1") | {"refund_time": yesterday, "order_event_id": "o1", "currency": "USD", "amount": amount(0, 99)},
        of("bob", "r2") | {"refund_time": yesterday, "order_event_id": None, "currency": "USD", "amount": amount(0, 7)}]
    assert exported["interactions"] == [
        of("ann", "i1") | {"interaction_time": yesterday, "kind": "page_view", "channel": "online", "about": "teapot",
                           "case_state": None, "text": "a 'pot' — 茶"},
        of("bob", "i2") | {"interaction_time": yesterday, "kind": "complaint", "channel": None, "about": "case 1",
                           "case_state": "opened", "text": None}]
    assert exported["feedback"] == [
        of("ann", "f1") | {"feedback_time": yesterday, "kind": "nps", "score": 0, "channel": None, "about": None, "text": "never again"},
        of("bob", "f2") | {"feedback_time": yesterday, "kind": "comment", "score": None, "channel": None, "about": "o3", "text": "fine"}]
    assert exported["acquisition_spend"] == [{
        "source": "ads", "event_id": "s1", "start_date": DAY, "end_date": DAY + timedelta(days=29), "channel": "search",
        "campaign": "spring", "currency": "USD", "amount": amount(123, 45)}]
    assert exported["exchange_rates"] == [{"currency": "JPY", "date": DAY, "rate": Decimal("0.007012345")},
                                          {"currency": "KWD", "date": DAY, "rate": Decimal("999999999.999999999")}]


def records_and_memberships_say_what_the_services_say(shop, exported, numbers):
    admin = shop.client("admin")
    assert [record["customer"] for record in exported["records"]] == sorted(numbers.values())
    for record in exported["records"]:
        name = f"customers/{record['customer']}"
        features = questions.features(admin, name)
        assert (record["orders"], record["refunds"], record["open_complaints"], record["last_nps"]) == (
            features.orders, features.refunds, features.open_complaints, features.last_nps if features.HasField("last_nps") else None)
        low = features.last_low_score_time.ToDatetime(timezone.utc) if features.HasField("last_low_score_time") else None
        assert record["last_low_score_time"] == low
        assert record["net_revenue"] == Decimal(facts.cents_of(features.net_revenue)) / 100
        assert [record[f"orders_{days}"] for days in (30, 90, 365)] == [window.orders for window in features.windows]
        assert [record[f"revenue_{days}"] for days in (30, 90, 365)] == [
            Decimal(facts.cents_of(window.revenue)) / 100 for window in features.windows]
        scores = tuple(score or None for score in questions.scores(admin, name))
        assert (record["rfm_r"], record["rfm_f"], record["rfm_m"]) == scores
        assert [record[column] for column in ("alive_percent", "lifetime_value", "value_model")] == [None] * 3, "no value model is in force"
        graded = score_models.grade_of(admin.call("ScoreService/GetScore", {"name": f"{name}/score"}).values)
        told = graded and (*graded[:3], "yes" if graded[3] else "no")
        assert (record["grade"], record["grade_band"], record["grade_tier"], record["grade_vip"]) == (told or (None,) * 4)
        held = json.loads(record["traits"])
        assert held == {key: f"{value // 100}.{value % 100:02}" if key == "paid" else value
                        for key, value in traits.values(admin, name).items()} and {"pages", "about", "last-seen"} <= held.keys()
        assert record["stage"] == questions.stage(admin, name).lower()
        mine = [each for each in exported["memberships"] if each["customer"] == record["customer"]]
        label = questions.labels(admin)[questions.label(admin, name)].split("/")
        assert {(each["segment"], each["label_set"], each["label"]) for each in mine} == {(None, label[1], label[3])} | (
            {("buyers", None, None)} if features.orders else set())
    assert {each["customer"] for each in exported["memberships"]} == set(numbers.values())


def only_the_files_that_were_asked_for_are_made(shop, tmp_path, exported):
    made = export(shop, tmp_path / "out", "--only", "order_lines,refunds", "--only", "records")
    assert made.keys() == {"order_lines", "refunds", "records"}
    assert (made["order_lines"], made["refunds"]) == (exported["order_lines"], exported["refunds"])


def an_empty_tenant_gives_files_with_columns_and_without_rows(shop, tmp_path):
    admin = shop.client("admin")
    admin.call("TenantService/CreateTenant", {"tenant_id": "empty"})
    waiting.until(lambda: policies.is_known(shop.client("admin", "empty")), "the tenant to be known", policies.FORCE_SECONDS)
    out = tmp_path / "out"
    assert export(shop, out, "--tenant", "empty") == {name: [] for name in FILES}
    assert "amount" in parquet.read_schema(out / "orders.parquet").names


# -- as its caller may see it ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(backend):
    """A tenant with canaries."""
    with quintile.suite(backend, webhooks=receiver.refusing()) as suite:
        yield populate(suite)


def found_in_files(files, hidden):
    """The canaries in any value of any file."""
    cells = (str(value) for table in files.values() for row in table for value in row.values())
    found = {each for cell in cells for each in canaries.found_in_text(cell, hidden)}
    birth = date(**canaries.BIRTH_DATE)
    return found | {"a date of birth" for row in files["customers"] if row["birth_date"] == birth}


@pytest.mark.parametrize("role", ["analyst", "marketer", "data-engineer"])
def nothing_in_the_files_of_an_analyst_identifies_anybody(world, tmp_path, role):
    out = tmp_path / "out"
    done = run(world.suite, out, "--as", role)
    assert done.returncode == 0, done.stderr
    files = {path.stem: rows(path) for path in out.glob("*.parquet")}
    assert files.keys() == set(FILES) and found_in_files(files, canaries.FROM_ANALYSTS) == set()
    for path in out.iterdir():
        assert canaries.found_in_bytes(path.read_bytes(), canaries.FROM_ANALYSTS) == [], path
    assert canaries.found_in_text(done.stdout + done.stderr, canaries.FROM_ANALYSTS) == []
    canary = next(row for row in files["customers"] if f"customers/{row['customer']}" == world.customer)
    assert [canary[column] for column in ("display_name", "phone", "email", "address", "birth_date")] == [None] * 5
    assert (canary["birth_year"], canary["region"]) == (canaries.BIRTH_DATE["year"], canaries.REGION)
    assert json.loads(canary["custom_attributes"]) == {canaries.NOTE_KEY: None}
    assert {fact["source_customer_id"] for name in ("orders", "refunds", "interactions", "feedback") for fact in files[name]} == {None}
    assert {fact["text"] for name in ("interactions", "feedback") for fact in files[name]} == {None}
    bought = [order for order in files["orders"] if order["customer"] == canary["customer"]]
    assert sum(order["amount"] for order in bought if order["currency"] == "USD") == 270


def an_administrators_files_hold_the_canaries_so_that_the_search_is_known_to_find_them(world, tmp_path):
    files = export(world.suite, tmp_path / "out")
    hidden = canaries.FROM_ANALYSTS
    # What was said to a consent is for the person's own export, and what platforms know a person by for those alone.
    assert found_in_files(files, hidden) == {*hidden.texts, *hidden.digits, "a date of birth"} - {canaries.CONSENT_SOURCE, *canaries.HASHES}


def a_role_that_does_not_see_amounts_is_given_none(world, tmp_path):
    role = policies.role_like(world.client("admin"), "analyst", "blind")
    role["forms"] = [form for form in role["forms"] if form["sensitivity"] != "SENSITIVITY_FINANCIAL"]
    policies.publish(world.client("admin"), role)
    files = export(world.suite, tmp_path / "out", "--as", "blind")
    money = [value for name in ("orders", "order_lines", "refunds", "acquisition_spend", "records") for row in files[name]
             for column, value in row.items() if column in ("amount", "profit", "cost", "currency") or "revenue" in column]
    assert money and set(money) == {None}


def a_role_with_a_row_scope_is_given_its_own_rows_and_no_others(shared, tmp_path):
    admin = shared.client("admin")
    admin.call("TenantService/CreateTenant", {"tenant_id": "scoped"})
    client = shared.client("admin", "scoped")
    waiting.until(lambda: policies.is_known(client), "the tenant to be known", policies.FORCE_SECONDS)
    kinds = (facts.order, facts.refund, facts.interaction, facts.feedback)
    sent = [facts.customer(who) for who in ("yes", "no", "never")]
    sent += [kind(who, f"{who}-{n}") for who in ("yes", "no", "never") for n, kind in enumerate(kinds)]
    waiting.until(lambda: served(client), "the tenant to be served")
    questions.take_in(client, *sent)
    for who, word in (("yes", "GIVEN"), ("never", "OBJECTED")):
        consent = {"name": questions.find(client, who), "purpose": "PURPOSE_MARKETING", "state": f"CONSENT_STATE_{word}"}
        client.call("PrivacyService/SetConsent", consent)
    mine = int(questions.find(client, "yes").split("/")[1])
    marketer = shared.client("marketer", "scoped")
    waiting.until(lambda: [record.customer_id for record in questions.everything(marketer, "StageService/ListRecords", "records")] == [mine]
                  and questions.distribution(marketer).population == 1, "consents to arrive")
    files = export(shared, tmp_path / "out", "--as", "marketer", "--tenant", "scoped")
    for name in ("customers", "orders", "refunds", "interactions", "feedback", "records", "memberships"):
        assert [row["customer"] for row in files[name]] == [mine], name
    assert len(export(shared, tmp_path / "all", "--tenant", "scoped")["orders"]) == 3


def served(client):
    try:
        return client.call("CustomerService/ListCustomers") is not None
    except Refusal as refusal:
        assert refusal.code.name == "UNAVAILABLE", refusal
        return False


def an_export_is_in_the_audit_log_by_its_kind_and_the_classes_that_it_may_show(world):
    admin = world.client("admin")
    questions.export_pages(world.client("analyst"), "ORDER")
    method = world.suite.api().method_on("ingestion", "AuditService/ListAuditEvents")
    events = [event for event in admin.call(method, {"page_size": 1_000}).events
              if event.method.endswith("ExportService/ExportRows") and event.resource == "exports/EXPORT_KIND_ORDER"]
    classes = events[0].DESCRIPTOR.fields_by_name["classes"].enum_type.values_by_number
    mine = [event for event in events if event.role == "analyst"]
    assert mine and "SENSITIVITY_FINANCIAL" in {classes[number].name for number in mine[0].classes}


# -- bad requests --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0, 8, 99, -1])
def a_kind_that_is_none_is_refused_with_its_field(world, kind):
    refusal = refused(world.client("admin"), kind=kind)
    refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert [violation.field for violation in refusal.bad_request.field_violations] == ["kind"]


def refused(client, metadata=None, **fields):
    return client.refused("ExportService/ExportRows", fields, metadata)


def a_cursor_is_good_for_its_kind_its_caller_and_its_purpose_alone(world):
    suite, admin = world.suite, world.client("admin")
    cursors = {kind: questions.export_pages(admin, kind)[0].cursor for kind in KINDS}
    assert all(cursors.values())
    for kind in KINDS:
        for other, cursor in cursors.items():
            if other != kind:
                assert_cursor_refused(refused(admin, kind=f"EXPORT_KIND_{kind}", cursor=cursor))
        for client in (suite.client("analyst"), suite.client("admin", subject="somebody")):
            assert_cursor_refused(refused(client, kind=f"EXPORT_KIND_{kind}", cursor=cursors[kind]))
        stated = (*authorization(admin.token), ("x-quintile-purpose", "support"))
        assert_cursor_refused(refused(admin, stated, kind=f"EXPORT_KIND_{kind}", cursor=cursors[kind]))
        for changed in going_on.tampered(cursors[kind]):
            assert_cursor_refused(refused(admin, kind=f"EXPORT_KIND_{kind}", cursor=changed))
        questions.export_pages(admin, kind, cursors[kind])


def assert_cursor_refused(refusal):
    refusal.must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
    assert [violation.field for violation in refusal.bad_request.field_violations] == ["cursor"]


def a_cursor_is_as_long_as_the_key_of_the_row_before_it_whoevers_row_comes_next(shared):
    """By its length a cursor must not tell of a row that its reader does not reach."""
    admin = shared.client("admin")
    admin.call("TenantService/CreateTenant", {"tenant_id": "lengths"})
    client = shared.client("admin", "lengths")
    waiting.until(lambda: policies.is_known(client) and served(client), "the tenant to be served", policies.FORCE_SECONDS)
    questions.take_in(client, facts.order("mine", "e"))
    consent = {"name": questions.find(client, "mine"), "purpose": "PURPOSE_MARKETING", "state": "CONSENT_STATE_GIVEN"}
    client.call("PrivacyService/SetConsent", consent)
    marketer = shared.client("marketer", "lengths")
    before = questions.export_pages(marketer, "ORDER")
    questions.take_in(client, facts.order("stranger", "e" * 256))
    after = questions.export_pages(marketer, "ORDER")
    assert [len(page.cursor) for page in before] == [len(page.cursor) for page in after] and before[0].cursor


def the_command_says_what_is_wrong_and_leaves_what_is_there(world, tmp_path):
    suite, out = world.suite, tmp_path / "out"
    assert run(suite, out, "--only", "order").returncode == EXIT_USAGE
    out.mkdir()
    mine = out / "orders.parquet"
    mine.write_text("mine")
    done = run(suite, out)
    assert done.returncode == EXIT_FAILURE and str(mine) in done.stderr and "--force" in done.stderr, done.stderr
    assert mine.read_text() == "mine" and list(out.iterdir()) == [mine]
    # Another file of the folder is in nobody's way.
    assert run(suite, out, "--only", "refunds").returncode == 0 and mine.read_text() == "mine"
    assert run(suite, out, "--only", "orders").returncode == EXIT_FAILURE
    # Neither are the files of one role replaced by those of another, nor those of a tenant.
    done = run(suite, out, "--only", "refunds", "--as", "analyst")
    assert done.returncode == EXIT_FAILURE and "made as admin of the tenant default" in done.stderr, done.stderr
    assert "orders" in export(suite, out, "--as", "analyst", "--force")
    assert json.loads((out / "export.json").read_text())["role"] == "analyst"
    file = tmp_path / "file"
    file.write_text("")
    assert run(suite, file).returncode == EXIT_FAILURE


def a_role_gets_what_it_may_have_and_is_told_what_it_may_not(world, tmp_path):
    suite, admin = world.suite, world.client("admin")
    done = run(suite, tmp_path / "one", "--as", "support", "--only", "orders")
    assert (done.returncode, list((tmp_path / "one").glob("*.parquet*"))) == (EXIT_DENIED, [])
    # Support may know who is in a segment, and not take everything home.
    done = run(suite, tmp_path / "two", "--as", "support")
    assert done.returncode == 0 and "orders.parquet: not for support" in done.stderr, done.stderr
    assert [path.name for path in (tmp_path / "two").glob("*.parquet*")] == ["memberships.parquet"]
    assert run(suite, tmp_path / "three", "--as", "auditor").returncode == EXIT_DENIED
    assert refused(suite.client("support"), kind="EXPORT_KIND_ORDER").must_be(PERMISSION_DENIED, "METHOD_DENIED")
    assert admin.call("StageService/ListRecords").records


def no_server_is_a_failure_of_its_own(tmp_path):
    arguments = [quintile.binary(), "export", "--data-dir", tmp_path, "--out", tmp_path / "out"]
    (tmp_path / "bootstrap.secret").write_text("x" * 43)
    (tmp_path / "endpoints.json").write_text(json.dumps({port: "http://127.0.0.1:9" for port in quintile.PORTS}))
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == EXIT_UNAVAILABLE and not (tmp_path / "out").exists(), done.stderr
