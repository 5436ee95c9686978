"""Files of one's own into the suite by the command: mappings, dry runs, rejects, kills in the middle, and the generated load.

    QUINTILE_DATA  a folder with the data sets that are not ours to ship; tests that need one are skipped without it, and say so
"""
import csv
import json
import os
import subprocess
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

import cdnow_witness as witness
from support import facts, policies, questions, quintile, waiting
from support.refusals import NOT_FOUND, Refusal

CANARY = "Wrenfeather"
# As a German till writes it: semicolons, decimal commas, quotes around what breaks lines, and CRLF.
TILL = """\
# A till's own words
Kunde;Name;Telefon;Bon;Zeit;Artikel;Menge;Preis
k1;"Ann
Wrenfeather";+4915112345678;b1;28.06.1998 10:00;Tee;2;1,255
k2;Bo Wrenfeather;+4915112345679;b2;29.06.1998 23:30;Tee;1;1.000,00
k1;Ann Wrenfeather;+4915112345678;b1;28.06.1998 10:00;Kanne;1;20,00
k1;Ann Wrenfeather;+4915112345678;b3;30.06.1998 09:00;Pfand;1;5,00
;Niemand Wrenfeather;;b4;30.06.1998 09:00;Tee;1;5,00
k3;Cy Wrenfeather;+4915112345670;b5;gestern;Tee;1;5,00
k4;Di Wrenfeather;Wrenfeather 8841;b6;30.06.1998 09:00;Tee;1;5,00
"""
MAPPING = """\
source = "till"
time_zone = "Europe/Berlin"
currency = "USD"
decimal = ","
thousands = "."

[[table]]
delimiter = ";"
skip_lines = 1
customer_id = "Kunde"

[[table.skip]]
name = "deposit"
when = { column = "Artikel", equals = "Pfand" }

[[table.customer]]
display_name = "Name"
phone = "Telefon"
attributes.kind = { constant = "customer" }

[[table.order]]
combine = true
event_id = "Bon"
order_time = { column = "Zeit", format = "%d.%m.%Y %H:%M" }
channel = { constant = "store" }
line.product = "Artikel"
line.quantity = "Menge"
line.amount = { product = ["Menge", "Preis"], round = true }
"""


@pytest.fixture
def till(tmp_path):
    """(file, mapping) of the till."""
    file, mapping = tmp_path / "till.csv", tmp_path / "till.toml"
    file.write_bytes(TILL.replace("\n", "\r\n").encode())
    mapping.write_text(MAPPING)
    return file, mapping


def command(*arguments, seconds=quintile.IMPORT_SECONDS):
    """A command of the binary, whatever becomes of it."""
    return subprocess.run([quintile.binary(), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=seconds)


def dry_run(file, mapping, *arguments):
    """The report of a dry run, for which no server is there."""
    done = command("import", file, "--mapping", mapping, "--dry-run", "-o", "json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def data_set(name):
    """A data set that is not ours to ship."""
    folder = os.environ.get("QUINTILE_DATA")
    if not folder:
        pytest.skip(f"QUINTILE_DATA is not set: {name} was not read")
    return Path(folder) / name


def progress(client, stream_id):
    """The next batch that a stream expects; 0 before its first."""
    try:
        return client.call("IngestService/GetIngestStream", {"name": f"ingestStreams/{stream_id}"}).acked_offset
    except Refusal as refusal:
        assert refusal.code == NOT_FOUND, refusal
        return 0


def take_in(suite, file, mapping, *arguments):
    """What an import says as JSON, once every service has what it brought."""
    said = json.loads(suite.run("import", file, "--mapping", mapping, "-o", "json", *arguments,
                                seconds=quintile.IMPORT_SECONDS))
    questions.wait_for(suite.client("admin"), said["sent"]["facts_position"])
    return said


def a_file_of_ones_own_becomes_customers_and_orders_and_its_bad_lines_are_written_down(fresh, till, tmp_path):
    file, mapping = till
    rejects = tmp_path / "rejects.csv"
    said = take_in(fresh, file, mapping, "--rejects", rejects)
    admin = fresh.client("admin")
    # 2 x 1.255 is 2.51; with the pot 22.51. Of k2 there is one order; half past eleven in Berlin is half past nine in UTC.
    ann = questions.features(admin, questions.find(admin, "k1", "till"))
    assert (ann.orders, facts.cents_of(ann.net_revenue)) == (1, 2251)
    bo = questions.features(admin, questions.find(admin, "k2", "till"))
    assert (bo.orders, facts.cents_of(bo.net_revenue)) == (1, 100_000)
    assert facts.text_of(bo.last_order_time.ToDatetime()) == "1998-06-29T21:30:00Z"
    shown = admin.call("CustomerService/GetCustomer", {"name": questions.find(admin, "k1", "till")})
    assert shown.display_name == "Ann Wrenfeather"
    # Lines without a customer and with a day that is none never leave; the telephone number is refused by the server.
    table = said["report"]["tables"][0]
    assert (table["lines"], table["rejected"], table["without_customer"], said["sent"]["rejected"]) == (7, 2, 1, 1)
    assert table["skipped"] == [["deposit", 1]]
    with open(rejects, encoding="utf-8", newline="") as stream:
        written = [(row["file"], int(row["line"]), row["field"], row["content"]) for row in csv.DictReader(stream)]
    lines = TILL.split("\n")
    # Line 3 of the file is two lines of an editor.
    assert written == [("till.csv", 8, "customer_id", lines[7]), ("till.csv", 9, "order.order_time", lines[8]),
                       ("till.csv", 10, "customer.phone", lines[9])]
    assert rejects.stat().st_mode & 0o077 == 0, "others may read the rejects"


def what_an_import_says_holds_nothing_of_a_person(shared, till, tmp_path):
    file, mapping = till
    done = subprocess.run(shared.command("import", file, "--mapping", mapping, "--stream-id", "quiet"),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=quintile.IMPORT_SECONDS)
    assert done.returncode == 0, done.stderr
    assert "7 lines: 1 left out, 2 rejected" in done.stdout, done.stdout
    assert "till.csv, line 10: rejected: customer.phone" in done.stderr, done.stderr
    for form in ("table", "json"):
        dry = command("import", file, "--mapping", mapping, "--dry-run", "-o", form)
        for text in (done.stdout, done.stderr, dry.stdout, dry.stderr):
            assert CANARY not in text and "4915112" not in text and "8841" not in text


def strict_ends_at_the_first_bad_line_and_sends_nothing(shared, till):
    file, mapping = till
    client = shared.client("admin")
    arguments = shared.command("import", file, "--mapping", mapping, "--stream-id", "strict", "--strict")
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "till.csv, line 8: customer_id: is missing" in done.stderr, done.stderr
    assert progress(client, "strict") == 0


def a_mapping_is_refused_with_the_key_at_fault_and_a_name_with_those_that_there_are(till, tmp_path):
    file, mapping = till
    mapping.write_text(MAPPING.replace("display_name", "display_nam"))
    done = command("import", file, "--mapping", mapping, "--dry-run")
    assert done.returncode == 1
    assert "`table[0].customer[0].display_nam` is not a key of mappings; did you mean `display_name`?" in done.stderr
    done = command("import", file, "--mapping", "till", "--dry-run")
    assert done.returncode == 1 and "cdnow, generated, olist, online-retail" in done.stderr


def a_bundled_mapping_printed_is_one_of_ones_own(tmp_path):
    printed = command("import", "--print-mapping", "cdnow")
    assert printed.returncode == 0, printed.stderr
    mapping = tmp_path / "mine.toml"
    mapping.write_text(printed.stdout)
    assert dry_run(quintile.cdnow(), mapping) == dry_run(quintile.cdnow(), "cdnow")


def the_dry_run_of_cdnow_says_what_is_known_of_it():
    report = dry_run(quintile.cdnow(), "cdnow")
    with open(quintile.cdnow(), encoding="ascii") as stream:
        purchases = [cents for lines in witness.read_purchases(stream).values() for _, cents in lines]
    assert report["facts"]["kinds"] == {"order": {"facts": 69_659, "customers": 23_570}}
    assert report["facts"]["totals"] == {"order": {"USD": str(Decimal(sum(purchases)) / 100)}}
    table = report["tables"][0]
    # 255 lines are the same as another; each is a purchase.
    assert (table["lines"], table["repeated_lines"], table["used"]) == (69_659, 255, {"order": 69_659})
    assert table["ranges"]["order.order_time"] == {"min": "1997-01-01T00:00:00Z", "max": "1998-06-30T00:00:00Z"}
    assert Decimal(table["ranges"]["order.amount USD"]["max"]) == Decimal(max(purchases)) / 100


def an_import_that_is_killed_goes_on_and_its_totals_are_exact(fresh):
    admin = fresh.client("admin")
    with fresh.importing(quintile.cdnow(), "killed") as process:
        waiting.until(lambda: progress(admin, "killed") > 0, "the first acknowledgement", interval=0.001)
        process.kill()
        process.wait(quintile.STOP_SECONDS)
    halfway = progress(admin, "killed")
    said = take_in(fresh, quintile.cdnow(), "cdnow", "--stream-id", "killed")
    assert 0 < halfway < progress(admin, "killed"), "the import was over before it was killed: this run tells nothing"
    # What was sent and not yet acknowledged to the one that was killed is there as well.
    assert said["sent"]["batches_before"] >= halfway
    assert (said["sent"]["duplicates"], said["sent"]["rejected"]) == (0, 0)
    with open(quintile.cdnow(), encoding="ascii") as stream:
        purchases = witness.read_purchases(stream)
    answer = questions.distribution(admin)
    assert answer.population == len(purchases)
    revenue = sum(facts.cents_of(row.net_revenue) for row in answer.labels)
    assert revenue == sum(cents for lines in purchases.values() for _, cents in lines)


def the_same_content_is_the_same_stream_and_nothing_is_sent_twice(shared, tmp_path):
    file = tmp_path / "some.csv"
    mapping = tmp_path / "some.toml"
    mapping.write_text('source = "some"\n[[table]]\ncustomer_id = "id"\n[[table.customer]]\n'
                       'attributes.kind = { constant = "lead" }\n')
    file.write_text("id\n" + "".join(f"some-{n}\n" for n in range(100)))
    first = take_in(shared, file, mapping)["sent"]
    again = take_in(shared, file, mapping)["sent"]
    file.write_text(file.read_text() + "some-100\n")
    longer = take_in(shared, file, mapping)["sent"]
    assert [(sent["rows"], sent["applied"], sent["batches_before"]) for sent in (first, again, longer)] == [
        (100, 100, 0), (0, 0, 1), (101, 1, 0)]


@pytest.mark.parametrize("order", ["arrival", "customer"])
def a_generated_load_is_taken_in_whole(fresh, tmp_path, order):
    made = command("generate", "--customers", 300, "--orders", 2_000, "--seed", 5, "--order", order,
                   "--until", facts.text_of(facts.AS_OF), "--out", tmp_path)
    assert made.returncode == 0, made.stderr
    said = take_in(fresh, tmp_path, "generated")
    assert (said["sent"]["applied"], said["sent"]["rejected"]) == (2_300, 0)
    answer = questions.distribution(fresh.client("admin"))
    assert answer.population == 300
    # The server's sum of its own features against the importer's sum of the files.
    revenue = sum(facts.cents_of(row.net_revenue) for row in answer.labels)
    assert Decimal(revenue) / 100 == Decimal(said["report"]["facts"]["totals"]["order"]["USD"])


KINDS = """\
source = "shop"
currency = "USD"
[[table]]
customer_id = "who"
[[table.order]]
when = { column = "what", equals = "order" }
event_id = "id"
order_time = "at"
amount = "n"
[[table.refund]]
when = { column = "what", equals = "refund" }
event_id = "id"
refund_time = "at"
amount = "n"
[[table.interaction]]
when = { column = "what", equals = "visit" }
event_id = "id"
interaction_time = "at"
kind = { constant = "visit" }
[[table.feedback]]
when = { column = "what", equals = "stars" }
event_id = "id"
feedback_time = "at"
kind = { constant = "stars" }
score = "n"
text = "text"
[[table.acquisition_spend]]
when = { column = "what", equals = "spend" }
event_id = "id"
start_date = "at"
end_date = "at"
channel = { constant = "search" }
amount = "n"
[[table.exchange_rate]]
when = { column = "what", equals = "rate" }
currency_code = { constant = "EUR" }
date = "at"
rate = "n"
"""


def every_kind_of_fact_is_taken_in(fresh, tmp_path):
    file, mapping = tmp_path / "kinds.csv", tmp_path / "kinds.toml"
    mapping.write_text(KINDS)
    file.write_text("who,what,id,at,n,text\n" + "".join(
        f"ann,{what},e{n},1998-06-0{n + 1},{n + 1},fine\n"
        for n, what in enumerate(["order", "refund", "visit", "stars", "spend", "rate"])))
    report = dry_run(file, mapping)
    kinds = ["acquisition_spend", "exchange_rate", "feedback", "interaction", "order", "refund"]
    assert {kind: count["facts"] for kind, count in report["facts"]["kinds"].items()} == dict.fromkeys(kinds, 1)
    done = subprocess.run(fresh.command("import", file, "--mapping", mapping, "-o", "json"), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    sent = json.loads(done.stdout)["sent"]
    assert (sent["applied"], sent["rejected"]) == (6, 0), done.stderr


def the_dry_run_of_online_retail_comes_to_its_control_totals():
    report = dry_run(data_set("online_retail/online_retail.parquet"), "online-retail")
    table = report["tables"][0]
    # The published figures: fees left out, cancellations apart, lines without a customer rejected.
    assert table["used"] == {"order": 396_337, "refund": 8_539}
    assert (table["lines"], table["without_customer"], table["repeated_lines"]) == (541_909, 135_080, 5_268)
    assert report["facts"]["kinds"]["order"]["customers"] == 4_334
    assert report["facts"]["totals"] == {"order": {"GBP": "8761066.65"}, "refund": {"GBP": "474403.33"}}


def the_dry_run_of_olist_comes_to_what_its_tables_say():
    folder = data_set("olist_subset")

    def lines_of(name):
        with open(folder / f"olist_{name}_dataset.csv", encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream))

    person = {line["customer_id"]: line["customer_unique_id"] for line in lines_of("customers")}
    orders = lines_of("orders")
    buyer = {line["order_id"]: person[line["customer_id"]] for line in orders}
    bought = {line["order_id"] for line in orders if line["order_status"] not in ("canceled", "unavailable")}
    paid = defaultdict(Decimal)
    for line in lines_of("order_payments"):
        if line["order_id"] in bought:
            paid[line["order_id"]] += Decimal(line["payment_value"])
    items = {line["order_id"] for line in lines_of("order_items") if line["order_id"] in bought}
    assert items <= paid.keys(), "an order without a payment: the mapping takes its amount from the items"
    reviews = lines_of("order_reviews")
    report = dry_run(folder, "olist")
    assert report["facts"]["kinds"] == {
        "customer": {"facts": len(set(person.values())), "customers": len(set(person.values()))},
        "order": {"facts": len(paid), "customers": len({buyer[order] for order in paid})},
        "feedback": {"facts": len(reviews), "customers": len({buyer[line["order_id"]] for line in reviews})}}
    assert Decimal(report["facts"]["totals"]["order"]["BRL"]) == sum(paid.values())
    scores = {int(line["review_score"]) for line in reviews}
    reviewed = next(table for table in report["tables"] if "reviews" in table["file"])
    assert reviewed["lines"] == len(reviews), "a line break in quotes is no line"
    assert reviewed["ranges"]["feedback.score"] == {"min": str(min(scores)), "max": str(max(scores))}
    assert [table["rejected"] for table in report["tables"]] == [0, 0, 0, 0]


def online_retail_taken_in_conserves_every_penny(fresh):
    """By the published totals: what was sold is the customers' gross revenue, and each cancellation counts or waits for a purchase."""
    file = data_set("online_retail/online_retail.parquet")
    admin = fresh.client("admin")
    for instant in ("2005-01-01T00:00:00Z", "2011-12-10T00:00:00Z"):  # Ten years at a time at the most.
        admin.call("ClockService/SetAsOf", {"as_of": instant})
    admin.call("TenantService/CreateTenant", {"tenant_id": "retail", "tenant": {"base_currency": "GBP"}})
    waiting.until(lambda: policies.is_known(fresh.client("admin", "retail")), "the tenant to be known", policies.FORCE_SECONDS)
    done = subprocess.run(fresh.command("import", file, "--mapping", "online-retail", "--tenant", "retail", "-o", "json"),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    sent = json.loads(done.stdout)["sent"]
    assert sent["rejected"] == 0 and sent["duplicates"] == 0, sent
    client = fresh.client("service", "retail")
    features = {}
    for answer in client.start("FeatureService/WatchFeatures", [{}], seconds=300):
        features |= {record.customer_id: record.features for record in answer.records}
        if answer.HasField("watermark") and answer.watermark.facts_position >= sent["facts_position"]:
            break
    pence = lambda field: sum(m.units * 100 + m.nanos // 10_000_000 for m in (getattr(f, field) for f in features.values()))  # noqa: E731
    assert sum(f.orders > 0 for f in features.values()) == 4_334
    assert pence("gross_revenue") == 876_106_665
    assert pence("refunded") + pence("unmatched_refunds") == 47_440_333
    assert pence("net_revenue") == 876_106_665 - pence("refunded")
    # Customer 12346 buys 74,215 pieces and gives them back.
    name = questions.find(client, "12346", "online-retail")
    assert questions.features(client, name).net_revenue.units == 0
