"""Whatever interrupts an export, in the end every row is in its file, and once."""
import contextlib
import os
import subprocess
from collections import Counter
from decimal import Decimal
from types import SimpleNamespace

import grpc
import pytest

import cdnow_witness as witness
from support import cut_off, facts, policies, questions, quintile, tokens, waiting
from support.exports import FILES, command, rows, run
from support.refusals import UNAUTHENTICATED, Refusal

SAID = 4_000  # Letters of a text: more of them than fit into what is sent ahead of a slow reader.
TALKS = 2_000
CUT_BEHIND = 5 * 2**19  # Bytes: amid the third page.
ONE_IN = 5  # Customers of CDNOW: some pages of orders and of records.


@pytest.fixture(scope="module")
def talk(backend):
    """A tenant with some 8 MB of interactions of one customer, who bought as often."""
    with quintile.suite(backend) as suite:
        admin = suite.client("admin")
        for begin in range(0, TALKS, 1_000):
            numbers = range(begin, begin + 1_000)
            questions.take_in(admin, *(facts.interaction("ann", f"i{n}", text=f"{n} " + "x" * SAID) for n in numbers))
            questions.take_in(admin, *(facts.order("ann", f"o{n}", cents=n) for n in numbers))
        yield suite


def events_of(pages, kind="interaction"):
    return [getattr(fact, kind).event_id for page in pages for fact in page.facts]


def pages_are_of_a_mebibyte_at_most_and_each_cursor_goes_on_behind_its_page(talk):
    admin = talk.client("admin")
    pages = questions.export_pages(admin, "INTERACTION")
    assert all(page.ByteSize() < 1.1 * 2**20 for page in pages) and len(pages) > TALKS * SAID // 2**20
    whole = events_of(pages)
    assert sorted(whole) == sorted(f"i{n}" for n in range(TALKS))
    read = 0
    for place, page in enumerate(pages[:-1]):
        read += len(page.facts)
        if place not in (0, len(pages) // 2, len(pages) - 2):
            continue
        behind = questions.export_pages(admin, "INTERACTION", page.cursor)
        assert events_of(behind) == whole[read:]
        assert behind[-1].complete and behind[-1].cursor == ""


def a_slow_reader_whose_token_is_revoked_goes_on_with_another_from_its_cursor(talk):
    admin = talk.client("admin")
    token = policies.token_of(talk, "admin", "slow")
    call = talk.api().client(token).start("ExportService/ExportRows", [{"kind": "EXPORT_KIND_INTERACTION"}], seconds=waiting.SECONDS)
    pages = [next(call)]
    admin.call("RevocationService/CreateRevocation", {"revocation": {"token_id": tokens.parts(token)[1]["jti"]}})
    other = lambda: talk.api().client(policies.token_of(talk, "admin", "slow"))  # noqa: E731
    waiting.until(lambda: is_refused(talk.api().client(token)), "the token to be refused")
    with pytest.raises(grpc.RpcError) as ended:
        for page in call:
            pages.append(page)
    assert ended.value.code() == UNAUTHENTICATED and not pages[-1].complete
    pages += questions.export_pages(other(), "INTERACTION", pages[-1].cursor)
    assert Counter(events_of(pages)) == Counter(f"i{n}" for n in range(TALKS))


def is_refused(client):
    try:
        client.call("ClockService/GetAsOf")
        return False
    except Refusal as refusal:
        return refusal.code == UNAUTHENTICATED


@pytest.fixture
def shop(backend, tmp_path):
    """A tenant with a part of CDNOW, imported by the command, and {customer: [(day, cents)]}."""
    header, *lines = quintile.cdnow().read_text(encoding="ascii").splitlines(keepends=True)
    kept = [header, *(line for line in lines if int(line.split()[0]) % ONE_IN == 0)]
    part = tmp_path / "part.txt"
    part.write_text("".join(kept), encoding="ascii")
    with quintile.suite(backend) as suite:
        position = suite.import_cdnow(part)
        questions.wait_for(suite.client("admin"), position)
        yield SimpleNamespace(suite=suite, purchases=witness.read_purchases(kept))


def an_export_that_is_killed_keeps_what_is_whole_and_goes_on(shop, tmp_path):
    out, log = tmp_path / "out", tmp_path / "export.log"
    with open(log, "wb") as stream:
        process = subprocess.Popen(command(shop.suite, out), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        try:
            waiting.until((out / "orders.parquet.part").exists, "the orders to be begun", interval=0.001)
        finally:
            process.kill()
            process.wait(quintile.STOP_SECONDS)
    assert not (out / "orders.parquet").exists(), "the export was over before it was killed: this run tells nothing"
    made = (out / "customers.parquet").stat()
    done = run(shop.suite, out)
    assert done.returncode == 0 and "going on with the export of" in done.stderr, done.stderr
    customers, orders = len(shop.purchases), sum(map(len, shop.purchases.values()))
    assert f"customers.parquet: {customers:,} rows, from before" in done.stderr and f"orders.parquet: {orders:,} rows" in done.stdout
    again = (out / "customers.parquet").stat()
    assert (again.st_ino, again.st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    assert {path.stem for path in out.iterdir()} == {*FILES, "export"}
    assert_is_whole(out, shop.purchases)
    # It is over now: the same command makes all of it anew.
    done = run(shop.suite, out, "--only", "customers")
    assert done.returncode == 0 and "going on" not in done.stderr
    assert (out / "customers.parquet").stat().st_ino != made.st_ino


def assert_is_whole(out, purchases):
    """Every purchase of the log is there once, and every cent."""
    orders = rows(out / "orders.parquet")
    bought = Counter((order["source_customer_id"], order["order_time"].date(), order["amount"]) for order in orders)
    assert bought == Counter((who, day, Decimal(cents) / 100) for who, lines in purchases.items() for day, cents in lines)
    assert len({(order["source_customer_id"], order["event_id"]) for order in orders}) == len(orders)
    total = sum(cents for lines in purchases.values() for _, cents in lines)
    records = rows(out / "records.parquet")
    assert sum(record["net_revenue"] for record in records) == Decimal(total) / 100 == sum(order["amount"] for order in orders)
    assert len(records) == len(purchases)


def exported_talk(out):
    return Counter((row["event_id"], row["text"]) for row in rows(out / "interactions.parquet"))


EVERYTHING_SAID = Counter((f"i{n}", f"{n} " + "x" * SAID) for n in range(TALKS))


def a_connection_that_is_cut_again_and_again_costs_no_row_and_doubles_none(talk, tmp_path):
    out = tmp_path / "out"
    with contextlib.closing(cut_off.CutOff(talk.endpoints["ingestion"], CUT_BEHIND)) as line:
        done = run(talk, out, "--only", "interactions", env=os.environ | {"QUINTILE_PEERS__INGESTION": line.url})
        assert done.returncode == 0 and line.cuts >= TALKS * SAID // CUT_BEHIND > 2, (line.cuts, done.stderr)
    assert "asking again" in done.stderr
    assert exported_talk(out) == EVERYTHING_SAID


def a_server_that_is_killed_and_started_again_elsewhere_is_asked_for_the_rest(talk, tmp_path):
    out, log = tmp_path / "out", tmp_path / "export.log"
    before = talk.endpoints["ingestion"]
    with open(log, "wb") as stream:
        process = subprocess.Popen(command(talk, out), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        try:
            waiting.until((out / "orders.parquet.part").exists, "the orders to be begun", interval=0.001)
            talk.kill()
            assert process.poll() is None and not (out / "interactions.parquet").exists(), "it was over: this run tells nothing"
            talk.start()
            assert talk.endpoints["ingestion"] != before
            assert process.wait(quintile.IMPORT_SECONDS) == 0, log.read_text()
        finally:
            process.kill()
            process.wait(quintile.STOP_SECONDS)
    assert "asking again" in log.read_text()
    assert exported_talk(out) == EVERYTHING_SAID
    assert Counter((row["event_id"], row["amount"]) for row in rows(out / "orders.parquet")) == Counter(
        (f"o{n}", Decimal(n) / 100) for n in range(TALKS))
