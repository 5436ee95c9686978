"""`quintile doctor`: finds a suite that is well to be well, and everything that was broken on purpose, with what to do about it."""
import base64
import contextlib
import datetime
import json
import os
import shutil
import socket
import sqlite3
import time
import uuid
from pathlib import Path

import pytest

from support import facts, questions, quintile, waiting
from support.backups import command, files_of
from support.processes import toml
from transport_security import certificate, pem

AREAS = {"configuration", "keys", "service", "database", "feed", "audit"}
LONGEST_SECONDS = 60


def findings_of(*arguments):
    """(exit code, findings) of `quintile doctor`."""
    done = command("doctor", *arguments, "-o", "json")
    report = json.loads(done.stdout)
    failed = [finding for finding in report["findings"] if finding["level"] == "fail"]
    assert (done.returncode, report["healthy"]) == ((1, False) if failed else (0, True)), done.stderr
    assert all(bool(finding["to_do"]) == (finding["level"] != "ok") for finding in report["findings"]), report
    return report["findings"]


def examined(suite, *arguments):
    database = ["--database-url", suite.database_url] if suite.database_url else []
    return findings_of("--data-dir", suite.data, "--as-of", suite.as_of, *database, *arguments)


def bad(findings):
    """{(level, area, subject)} of what is not well."""
    return {(finding["level"], finding["area"], finding["subject"]) for finding in findings if finding["level"] != "ok"}


def one(findings, area, subject, level):
    """The one finding of a level of a subject."""
    found = [finding for finding in findings if (finding["area"], finding["subject"], finding["level"]) == (area, subject, level)]
    assert len(found) == 1, json.dumps(findings, indent=1)
    return found[0]


FROZEN = ("warn", "configuration", "settings")
# The tests' server is told not to wait for its disk.
NOT_DURABLE = {("fail", "database", service) for service in ("ingestion", "scoring", "lifecycle", "segmentation", "access-control")}


def a_suite_that_serves_is_found_to_be_well(fresh, backend):
    admin = fresh.client("admin")
    name = f"canary-{uuid.uuid4().hex}"
    answer = questions.take_in(admin, facts.customer(name, display_name=name), facts.order(name, name))
    questions.wait_for(admin, answer.facts_position)

    def well():
        found = examined(fresh)
        return found if bad(found) - (NOT_DURABLE if backend == "postgres" else set()) == {FROZEN} else None
    # Audit logs are signed every ten seconds, and leases had within one.
    findings = waiting.until(well, lambda: bad(examined(fresh)), interval=1)
    assert {finding["area"] for finding in findings} == AREAS | ({"clock"} if backend == "postgres" else set())
    if backend == "postgres":
        assert NOT_DURABLE <= bad(findings)
        assert "fsync off" in one(findings, "database", "ingestion", "fail")["found"]
    for role in ("ingestion", "scoring", "lifecycle", "segmentation"):
        assert "0 commits of facts behind" in one(findings, "feed", f"{role}, tenant 1", "ok")["found"]
    lines = command("doctor", "--data-dir", fresh.data, "--as-of", fresh.as_of).stdout
    assert lines.count("\n") >= len(AREAS) and "warn  configuration  settings" in lines
    secret = (fresh.data / "bootstrap.secret").read_text().strip()
    assert name not in json.dumps(findings) and secret not in json.dumps(findings)


def a_worker_that_stands_still_is_told_of(backend):
    with quintile.suite(backend, started=False) as suite:
        suite.start(failpoints="scores::before_commit=return")
        questions.take_in(suite.client("admin"), facts.order("ann", "1"))
        waiting.until(lambda: suite.has_logged("failpoint scores::before_commit reached"), "scoring to stand still")
        findings = examined(suite)
        stuck = one(findings, "feed", "scoring, tenant 1", "warn")
        # On SQLite it has the one connection that writes, and can't renew its lease either.
        assert "1 commits of facts behind" in stuck["found"] and any(why in stuck["found"] for why in ("not moved", "no worker holds the lease"))
        one(findings, "feed", "ingestion, tenant 1", "ok")


@pytest.fixture(scope="module")
def stopped():
    """The data directory of a suite that has ended."""
    with quintile.suite("sqlite") as suite:
        admin = suite.client("admin")
        answer = questions.take_in(admin, facts.order("ann", "1"))
        questions.wait_for(admin, answer.facts_position)
        waiting.until(lambda: not [each for each in bad(examined(suite)) if each[1] == "audit"], "the audit logs to be signed", interval=1)
        assert suite.stop() == 0
        yield suite


@pytest.fixture
def data(stopped, tmp_path):
    """A copy of it, to be broken, in which everything is in the databases and nothing in logs beside them."""
    data = Path(shutil.copytree(stopped.data, tmp_path / "data"))
    data.chmod(0o700)
    for file in data.glob("*.sqlite"):
        written(file.name, "PRAGMA wal_checkpoint(TRUNCATE)")(data)
    assert not list(data.glob("*-wal"))
    return data


SILENT = {("warn", "service", service) for service in ("ingestion", "scoring", "lifecycle", "segmentation", "access-control")}


def ports_of_nobody(tmp_path):
    """A configuration whose ports nobody listens at."""
    config = tmp_path / "quintile.toml"
    config.write_text(toml({"listen": dict.fromkeys(quintile.PORTS, 1)}))
    return "--config", config


@pytest.mark.parametrize("has_logs", [False, True], ids=["closed", "with logs"])
def a_suite_that_has_ended_is_examined_and_left_as_it_was(stopped, data, tmp_path, has_logs):
    if has_logs:  # As after a kill: what was written last is in logs beside the databases.
        shutil.copytree(stopped.data, data, dirs_exist_ok=True)
        assert list(data.glob("*-wal"))
    before = lasting(data)
    findings = findings_of("--data-dir", data, "--as-of", quintile.AS_OF, *ports_of_nobody(tmp_path))
    assert bad(findings) - {each for each in bad(findings) if each[1] == "audit"} == SILENT | {FROZEN}
    assert "goes on when the service runs" in one(findings, "feed", "scoring, tenant 1", "ok")["found"]
    assert lasting(data) == before


def lasting(data):
    """The files of a data directory but for SQLite's notes of who reads."""
    return {name: content for name, content in files_of(data).items() if not name.endswith("-shm")}


def written(name, statement):
    def change(data):
        with contextlib.closing(sqlite3.connect(data / name)) as database:
            database.execute(statement)
            database.commit()
    return change


def overwritten(data):
    with open(data / "lifecycle.sqlite", "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(3 * 4096))


def another_key(data):
    (data / "master.key").write_text(base64.b64encode(os.urandom(32)).decode() + "\n")


FAULTS = {
    "a key that others may read": (lambda data: (data / "master.key").chmod(0o644), "keys", "master keys", "warn", "chmod 600"),
    "another master key": (another_key, "keys", "ingestion", "fail", "former master keys"),
    "no master key": (lambda data: (data / "master.key").unlink(), "keys", "master keys", "fail", "master key of these data"),
    "no key at all": (lambda data: (data / "master.key").write_text("short\n"), "keys", "master keys", "fail", "32 bytes"),
    "no secret": (lambda data: (data / "bootstrap.secret").write_text("\n"), "keys", "bootstrap secret", "fail", "32 random bytes"),
    "a folder that others enter": (lambda data: data.chmod(0o755), "configuration", "data directory", "warn", "chmod 700"),
    "a damaged file": (overwritten, "database", "lifecycle", "fail", "restore the last backup"),
    "a file that is gone": (lambda data: (data / "scoring.sqlite").unlink(), "database", "scoring", "fail", "restore the last backup"),
    "a file that is empty": (lambda data: (data / "scoring.sqlite").write_bytes(b""), "database", "scoring", "fail", "restore the last backup"),
    "an audit log that is empty": (lambda data: (data / "scoring-audit.sqlite").write_bytes(b""), "database", "scoring-audit", "fail",
                                   "restore the last backup"),
    "a service ahead of the facts": (written("lifecycle.sqlite", "UPDATE follower SET facts_position = facts_position + 7"), "feed",
                                     "lifecycle, tenant 1", "fail", "one backup"),
    "a newer schema": (written("scoring.sqlite", "INSERT INTO seaql_migrations VALUES ('m9999_later', 0)"), "database", "scoring", "warn",
                       "newer version"),
    "an older schema": (written("scoring.sqlite", "DELETE FROM seaql_migrations WHERE version = (SELECT max(version) FROM seaql_migrations)"),
                        "database", "scoring", "warn", "quintile migrate"),
    "a schema half way": (written("scoring.sqlite", "DELETE FROM seaql_migrations WHERE version = (SELECT min(version) FROM seaql_migrations)"),
                          "database", "scoring", "fail", "restore the last backup"),
    "a key that was changed": (written("segmentation.sqlite", "UPDATE wrapped_key SET wrapped = zeroblob(length(wrapped))"), "keys",
                               "segmentation", "fail", "restore the last backup"),
    "an entry that was taken away": (written("ingestion-audit.sqlite", "DELETE FROM audit_event WHERE seq = (SELECT max(seq) FROM audit_event)"),
                                     "audit", "ingestion-audit, tenant 1", "fail", "audit verify"),
}


@pytest.mark.parametrize("fault", FAULTS)
def what_was_broken_is_found_with_what_to_do(data, tmp_path, fault):
    breaks, area, subject, level, to_do = FAULTS[fault]
    breaks(data)
    findings = findings_of("--data-dir", data, "--as-of", quintile.AS_OF, *ports_of_nobody(tmp_path))
    told = [finding for finding in findings if (finding["area"], finding["subject"], finding["level"]) == (area, subject, level)]
    assert any(to_do in finding["to_do"] for finding in told), findings


def business_time_ahead_of_the_clock_is_found(data, tmp_path):
    with contextlib.closing(sqlite3.connect(data / "scoring.sqlite")) as database:
        database.execute("UPDATE follower SET time_micros = ?", (int((time.time() + 86_400) * 1e6),))
        database.commit()
    findings = findings_of("--data-dir", data, *ports_of_nobody(tmp_path))
    assert "--as-of" in one(findings, "feed", "scoring, tenant 1", "fail")["to_do"]


@pytest.mark.parametrize("setting, said", [("hots = 1", "hots"), ("[server]\nmax_concurrent_calls = 0", "max_concurrent_calls")])
def a_configuration_that_none_is_served_by_is_told_of(tmp_path, setting, said):
    config = tmp_path / "quintile.toml"
    config.write_text(setting)
    [finding] = findings_of("--config", config)
    assert (finding["level"], finding["area"]) == ("fail", "configuration") and said in finding["found"]


def what_serve_refuses_is_refused(data):
    [finding] = findings_of("--data-dir", data, "--as-of", "yesterday")
    assert finding["level"] == "fail" and "as_of" in finding["found"]
    findings = findings_of("--data-dir", data, "--as-of", quintile.AS_OF, "--port-base", "1")
    assert SILENT <= bad(findings)


def what_a_configuration_lacks_is_told_of(data, tmp_path):
    config = tmp_path / "quintile.toml"
    config.write_text(toml({"listen": dict.fromkeys(quintile.PORTS, 1)})
                      + '[[webhooks]]\nname = "messages"\nurl = "https://hooks.example/"\nsecret_file = "missing.secret"\n')
    findings = findings_of("--data-dir", data, "--config", config, "--role", "lifecycle")
    assert "missing.secret" in one(findings, "configuration", "webhooks, mail", "fail")["found"]
    assert "peers.scoring" in one(findings, "configuration", "peers.scoring", "fail")["to_do"]


@pytest.mark.parametrize("answers", [False, True], ids=["nobody listens", "nobody answers"])
def a_database_that_is_not_there_is_told_of_in_time(data, tmp_path, answers):
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        if answers:
            listener.listen(64)
        url = f"postgres://quintile:geheim@127.0.0.1:{listener.getsockname()[1]}/quintile"
        begun = time.monotonic()
        findings = findings_of("--data-dir", data, "--database-url", url, *ports_of_nobody(tmp_path))
        assert time.monotonic() - begun < LONGEST_SECONDS
    for service in ("ingestion", "access-control-audit"):
        assert "start PostgreSQL" in one(findings, "database", service, "fail")["to_do"]
    assert "geheim" not in json.dumps(findings)


def certified(tmp_path, authority, **changes):
    """The findings of certificates of a configuration with this authority, whose own certificate is changed."""
    own = changes.get("own") or certificate("quintile", authority)
    files = {"key": pem(changes.get("key", own))[0], "cert": pem(own)[1], "authority": pem(authority)[1]}
    for name, content in files.items():
        (tmp_path / f"{name}.pem").write_bytes(content)
    config = tmp_path / "quintile.toml"
    config.write_text(toml({
        "": {"data_dir": str(tmp_path / "data")}, "listen": {"host": changes.get("host", "127.0.0.1"), **dict.fromkeys(quintile.PORTS, 1)},
        "server.tls": {"certificate_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem"),
                       "authority_file": str(tmp_path / "authority.pem")}}))
    return [finding for finding in findings_of("--config", config) if finding["area"] == "certificate"]


def certificates_are_checked_as_callers_do(tmp_path):
    authority = certificate("authority")
    [soon] = certified(tmp_path, authority)
    ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    assert soon["level"] == "warn" and soon["found"].startswith(f"expires {ends:%Y-%m-%d}") and "renew" in soon["to_do"]
    [other] = certified(tmp_path, authority, own=certificate("quintile", certificate("another authority")))
    assert other["level"] == "fail" and "authority" in other["to_do"]
    [unlike] = certified(tmp_path, authority, key=certificate("another key"))
    assert unlike["level"] == "fail" and unlike["subject"].endswith("key.pem")
    named = certified(tmp_path, authority, host="127.0.0.2")
    assert [(finding["subject"], finding["level"]) for finding in named] == [("127.0.0.2", "fail"), ("validity", "warn")]
    assert "subject alternative names" in named[0]["to_do"]
