"""The audit log as an auditor verifies it: entries that are written here, by the published rules alone, and what is done to them."""
import contextlib
import hashlib
import sqlite3
import subprocess

import pytest

from support import quintile, waiting
from support.reflection import Api
from support.refusals import INVALID_ARGUMENT

SERVICE = "ingestion"
TENANT = 1  # The number of the tenant `default`.


class Rows:
    """The rows of ingestion's audit log, written behind the service's back. `?` stands for a value in either database's SQL."""

    def __init__(self, suite):
        self.suite = suite

    @contextlib.contextmanager
    def transaction(self):
        """A function that runs SQL, all of it in one transaction that waits for the service's own."""
        if self.suite.database_url:
            with contextlib.closing(quintile.connect(self.suite.database_url)) as database:
                database.run("BEGIN")
                database.run("SET LOCAL search_path TO ingestion_audit")
                database.run("LOCK TABLE audit_head IN EXCLUSIVE MODE")

                def run(sql, *values):
                    names = [f"v{n}" for n in range(len(values))]
                    for name in names:
                        sql = sql.replace("?", f":{name}", 1)
                    return database.run(sql, **dict(zip(names, values)))
                yield run
                database.run("COMMIT")
        else:
            path = self.suite.data / f"{SERVICE}-audit.sqlite"
            with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
                database.execute("BEGIN IMMEDIATE")
                yield lambda sql, *values: database.execute(sql, values).fetchall()
                database.execute("COMMIT")

    def run(self, sql, *values):
        with self.transaction() as run:
            return run(sql, *values)

    def append(self, count):
        """Adds entries as the contract says they are made, and returns the place of the last."""
        events = self.suite.api().method("AuditService/ListAuditEvents").response().events
        with self.transaction() as run:
            found = run("SELECT seq, hash FROM audit_head WHERE tenant_id = ?", TENANT)
            seq, hashed = found[0] if found else (0, bytes(32))
            if not found:
                run("INSERT INTO audit_head (tenant_id, seq, hash, checkpoint_seq, checkpoint_at_micros) "
                    "VALUES (?, 0, ?, 0, 0)", TENANT, hashed)
            for _ in range(count):
                seq += 1
                made = events.add(seq=seq, time={"seconds": 1_700_000_000 + seq}, service=SERVICE, kind=1, subject="planted",
                             role="support", customer_ids=[77_777, seq])
                body = made.SerializeToString(deterministic=True)
                hashed = hashlib.sha256(hashed + body).digest()
                run("INSERT INTO audit_event (tenant_id, seq, at_micros, body, hash) VALUES (?, ?, ?, ?, ?)",
                    TENANT, seq, (1_700_000_000 + seq) * 1_000_000, body, hashed)
            run("UPDATE audit_head SET seq = ?, hash = ? WHERE tenant_id = ?", seq, hashed, TENANT)
        return seq


def audit(suite, *words):
    """A finished command `quintile audit`."""
    command = [quintile.binary(), "audit", *map(str, words), "--data-dir", str(suite.data)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=suite.home,
                          timeout=quintile.COMMAND_SECONDS)


def verify(suite, *flags):
    return audit(suite, "verify", *flags)


def checkpoints(suite):
    return suite.client("admin").call("CheckpointService/ListCheckpoints", {"service": SERVICE}).checkpoints


def signed(suite, seq):
    """Waits until access-control has signed an entry, or a later one."""
    waiting.until(lambda: any(each.seq >= seq for each in checkpoints(suite)), f"a checkpoint at {seq} or later", 90)


# One entry of the middle, and what is done to it; all of it is noticed there.
TAMPERINGS = {
    "a changed body": "UPDATE audit_event SET body = (SELECT body FROM audit_event WHERE seq = 1) WHERE seq = ?",
    "a changed hash": "UPDATE audit_event SET hash = (SELECT hash FROM audit_event WHERE seq = 1) WHERE seq = ?",
    "a deleted entry": "DELETE FROM audit_event WHERE seq = ?",
}


def a_fresh_suite_verifies(fresh):
    done = verify(fresh)
    assert done.returncode == 0, done.stderr
    for service in ("ingestion", "scoring", "lifecycle", "segmentation", "access-control"):
        assert any(service in line and "unchanged" in line for line in done.stdout.splitlines()), done.stdout


def entries_made_by_the_published_rules_are_listed_signed_and_verified(fresh):
    rows = Rows(fresh)
    last = rows.append(6)
    signed(fresh, last)
    done = verify(fresh, "--service", SERVICE)
    assert done.returncode == 0, done.stderr
    cells = [cell.strip() for cell in done.stdout.splitlines()[-2].replace("│", "┆").split("┆") if cell.strip()]
    assert cells[0] == SERVICE and int(cells[1]) >= last and int(cells[2]) >= 1 and cells[3] == "unchanged", done.stdout
    listed = audit(fresh, "list", "--service", SERVICE, "--subject", "planted", "--customer", last, "-o", "json").stdout
    assert listed.count('"planted"') == 1 and f'"seq": "{last}"' in listed, listed


@pytest.mark.parametrize("change", TAMPERINGS)
def a_change_behind_the_services_back_is_found_at_its_place(fresh, change):
    rows = Rows(fresh)
    last = rows.append(6)
    assert verify(fresh, "--service", SERVICE).returncode == 0
    rows.run(TAMPERINGS[change], last - 2)
    done = verify(fresh)
    assert done.returncode == 1 and f"{SERVICE}: entry {last - 2}: " in done.stderr, (done.stdout, done.stderr)
    assert verify(fresh, "--service", "scoring").returncode == 0


def a_tail_that_is_cut_off_after_it_was_signed_is_missed_even_without_its_checkpoint(fresh):
    rows = Rows(fresh)
    last = rows.append(6)
    signed(fresh, last)
    with rows.transaction() as run:
        run("DELETE FROM audit_event WHERE seq > 3")
        run("DELETE FROM audit_checkpoint WHERE seq > 3")
        run("UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit_event WHERE seq = 3)")
    done = verify(fresh, "--service", SERVICE)
    assert done.returncode == 1 and f"{SERVICE}: entry " in done.stderr and "signed" in done.stderr, done.stderr


def events_are_found_by_what_they_say_a_bounded_number_at_a_time(fresh):
    last = Rows(fresh).append(2_300)
    api = Api({SERVICE: fresh.endpoints[SERVICE]}, fresh.token("admin"))
    with contextlib.closing(api):
        admin = api.client(fresh.token("admin"))

        def ask(**question):
            return admin.call("AuditService/ListAuditEvents", question)

        by_customer = {"customer": f"customers/{last}", "subject": "planted"}
        page = ask(**by_customer)
        assert not page.events and page.next_page_token, "2,000 entries were looked at, and the one is behind them"
        found = ask(**by_customer, page_token=page.next_page_token)
        assert [event.seq for event in found.events] == [last]

        newest = {"subject": "planted", "kind": "AUDIT_KIND_READ", "newest_first": True, "page_size": 2,
                  "end_time": "2023-12-01T00:00:00Z"}
        page = ask(**newest)
        assert [event.seq for event in page.events] == [last, last - 1]
        page = ask(**newest, page_token=page.next_page_token)
        assert [event.seq for event in page.events] == [last - 2, last - 3]
        assert not ask(kind="AUDIT_KIND_DENIED", end_time="2023-12-01T00:00:00Z").events
        span = {"start_time": "2023-11-14T22:13:21Z", "end_time": "2023-11-14T22:13:25Z"}
        planted = range(last - 2_299, last + 1)  # Each at the second of its place behind 22:13:20.
        assert [event.seq for event in ask(**span).events] == [seq for seq in range(1, 5) if seq in planted]

        for wrong in ({"page_size": -1}, {"customer": "customers/x"}, {"subject": "a" * 257}, {"kind": 99},
                      {"page_token": page.next_page_token}, {"page_token": "nonsense"},
                      {"start_time": "2023-12-01T00:00:00Z", "end_time": "2023-11-01T00:00:00Z"}):
            assert admin.refused("AuditService/ListAuditEvents", wrong).code == INVALID_ARGUMENT, wrong
