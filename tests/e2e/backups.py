"""Backups and restores: online, as of one moment, whole or not at all."""
import contextlib
import datetime
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import subprocess

import pytest

from privacy_rights import completed, erase, wrapped_keys
from support import backups, facts, questions, quintile, waiting
from support.backups import MARGIN, Load, command, files_of, keys_of, picture, refusal, replay, restored, succeeds

SERVICES = ("ingestion", "scoring", "lifecycle", "segmentation", "access-control")
DATABASES = sorted(f"{service}{kind}.sqlite" for service in SERVICES for kind in ("", "-audit"))
LINKS = (("ingestion", "features"), ("scoring", "scores"), ("lifecycle", "stages"), ("segmentation", "records"))


def everything_acknowledged_before_a_backup_is_in_it_and_a_replay_gives_each_request_its_one_effect(backend, tmp_path):
    with contextlib.ExitStack() as stack:
        suite = stack.enter_context(quintile.suite(backend))
        admin = suite.client("admin")
        questions.take_in(admin, *(facts.customer(f"c{each}") for each in range(backups.CUSTOMERS)))
        segment = questions.save_segment(admin, "returning", "orders >= 2")
        load = Load(admin)
        with load.going_on():
            load.until_answered(MARGIN)
            before = load.answered
            backups.back_up(suite, tmp_path / "backup")
            load.until_answered(load.answered + MARGIN)
        told = picture(suite, tmp_path / "told")
        suite.run("audit", "verify")
        keys = keys_of(suite)
        assert suite.stop() == 0

        url = stack.enter_context(quintile.new_database()) if backend == "postgres" else None
        (tmp_path / "home").mkdir()
        again = stack.enter_context(restored(tmp_path / "backup", tmp_path / "home", url, keys))
        admin = again.client("admin")
        for request in load.sent[:before]:
            assert replay(admin, request) == (0, len(request["rows"])), "what was acknowledged before the backup is missing in it"
        # Whatever the moment of the backup: some of what came behind it is there, and the rest is new, once.
        effects = [replay(admin, request) for request in load.sent[before:]]
        assert all(effect in ((0, 3), (3, 0)) for effect in effects) and effects[-1] == (3, 0), effects
        assert effects == sorted(effects), "a request is there, and one that was answered before it is not"
        assert {replay(admin, request) for request in load.sent} == {(0, 3)}
        assert picture(again, tmp_path / "found") == told
        assert questions.preview(admin, f'segment("{segment.split("/")[1]}")').customers == backups.CUSTOMERS
        assert again.run("audit", "verify").count("unchanged") == len(SERVICES)


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory):
    """A suite that runs, with facts and with one who was erased, and a backup of it."""
    with quintile.suite("sqlite") as suite:
        admin = suite.client("admin")
        answer = questions.take_in(admin, facts.customer("ann", display_name="Ann Wren"), facts.order("ann", "1"), facts.order("bob", "2"))
        questions.wait_for(admin, answer.facts_position)
        target = tmp_path_factory.mktemp("backups") / "backup"
        told = suite.run("backup", target)
        yield suite, target, told


@pytest.fixture
def copy(backed_up, tmp_path):
    """A copy of the backup, to be changed."""
    return shutil.copytree(backed_up[1], tmp_path / "copy")


def a_backup_holds_all_databases_and_no_key_and_says_what_it_needs(backed_up):
    suite, target, told = backed_up
    assert sorted(path.name for path in target.iterdir()) == sorted([*DATABASES, "manifest.json", "SHA256SUMS"])
    assert not list(target.parent.glob("*.partial"))
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.iterdir()} == {0o600}
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=target, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0 and checked.stdout.count(": OK") == len(DATABASES) + 1, checked
    manifest = json.loads((target / "manifest.json").read_text())
    assert manifest["format"] == 1 and sorted(file["name"] for file in manifest["files"]) == DATABASES
    status = json.loads(suite.run("keys", "status", "-o", "json"))
    assert manifest["master_keys"] == sorted({state["keyId"] for state in status["states"]})
    assert manifest["master_keys"][0] in told and manifest["expires_at"] in told
    assert all(file["migrations"] for file in manifest["files"])
    with contextlib.closing(sqlite3.connect(f"file:{target / 'ingestion.sqlite'}?immutable=1", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for secret in keys_of(suite).values():
        assert all(secret.strip().encode() not in content for content in files_of(target).values())


def a_backup_with_its_keys_serves_by_itself_and_says_that_it_can(backed_up, tmp_path):
    suite, _, _ = backed_up
    told = suite.run("backup", tmp_path / "whole", "--with-keys")
    assert "whoever has it can read everything" in told
    home = tmp_path / "home"
    home.mkdir()
    with restored(tmp_path / "whole", home, None, {}) as again:
        assert keys_of(again) == keys_of(suite)
        admin = again.client("admin")
        shown = admin.call("CustomerService/GetCustomer", {"name": questions.find(admin, "ann")})
        assert shown.display_name == "Ann Wren"


def no_cursor_of_a_backup_is_ahead_of_what_it_points_into(tmp_path):
    with quintile.suite("sqlite") as suite:
        admin = suite.client("admin")
        questions.wait_for(admin, questions.take_in(admin, facts.order("c0", "the first one")).facts_position)
        load = Load(admin)
        with load.going_on():
            for each in range(5):
                suite.run("backup", tmp_path / str(each))
                load.until_answered(load.answered + 3)
    reached = []
    for each in range(5):
        found = [facts_position(tmp_path / str(each), service, feed) for service, feed in LINKS]
        head = value(tmp_path / str(each) / "ingestion.sqlite", "SELECT seq FROM feed_head WHERE feed = 'facts'")
        assert [head, *found] == sorted([head, *found], reverse=True), "each follows the one before it"
        reached.append(head)
    assert reached == sorted(set(reached)), "the load went on between the backups"


def value(file, question):
    with contextlib.closing(sqlite3.connect(f"file:{file}?immutable=1", uri=True)) as database:
        [(answer,)] = database.execute(question).fetchall()
        return answer


def facts_position(folder, service, feed):
    return value(folder / f"{service}.sqlite", f"SELECT facts_position FROM follower WHERE feed = '{feed}'")


def a_suite_is_backed_up_while_it_is_stopped_and_no_log_is_left_that_it_may_not_write(tmp_path):
    with quintile.suite("sqlite") as suite:
        questions.take_in(suite.client("admin"), facts.order("ann", "1"))
        assert suite.stop() == 0
        suite.run("backup", tmp_path / "backup")
        assert sorted(path.name for path in suite.data.glob("*.sqlite*")) == DATABASES
        assert sorted(path.name for path in (tmp_path / "backup").glob("*.sqlite*")) == DATABASES
        suite.start()
        assert questions.find(suite.client("admin"), "ann")


# -- refused ----------------------------------------------------------------------------------------------------------------


def sums(folder):
    return dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())


def write_sums(folder, **others):
    named = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sums(folder)} | others
    (folder / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(named.items())))


def rewrite(folder, **changes):
    """Changes the manifest as somebody would who means it, hashes and all."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    write_sums(folder)


@pytest.mark.parametrize("name", ["segmentation-audit.sqlite", "ingestion.sqlite", "manifest.json", "SHA256SUMS"])
def a_damaged_or_missing_file_is_told_by_name_before_anything_is_made(copy, tmp_path, name):
    file = copy / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    told = refusal("restore", copy, "--data-dir", tmp_path / "data")
    assert name in told or name == "SHA256SUMS", told
    file.unlink()
    assert name in refusal("restore", copy, "--data-dir", tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("changes, said", [
    ({"version": "99.0.0"}, "made by quintile 99.0.0"),
    ({"format": 2}, "has the format 2"),
    ({"files": []}, "not whole"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, "should be gone since 2020-01-01T00:00:00Z"),
])
def a_backup_that_is_newer_or_not_whole_or_expired_is_refused(copy, tmp_path, changes, said):
    rewrite(copy, **changes)
    assert said in refusal("restore", copy, "--data-dir", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def a_backup_with_a_migration_that_is_not_known_is_refused_by_its_name(copy, tmp_path):
    files = json.loads((copy / "manifest.json").read_text())["files"]
    files[0]["migrations"].append("m9999_of_the_future")
    rewrite(copy, files=files)
    assert "m9999_of_the_future" in refusal("restore", copy, "--data-dir", tmp_path / "data")


def a_name_that_leads_out_of_the_backup_is_refused(copy, tmp_path):
    write_sums(copy, **{"../escaped": "0" * 64})
    assert "../escaped" in refusal("restore", copy, "--data-dir", tmp_path / "data")


def an_expired_backup_is_restored_for_whoever_insists(copy, tmp_path):
    rewrite(copy, expires_at="2020-01-01T00:00:00Z")
    succeeds("restore", copy, "--data-dir", tmp_path / "data", "--even-expired")
    assert (tmp_path / "data" / "ingestion.sqlite").exists()


def a_restore_changes_nothing_where_something_is(backed_up, tmp_path):
    suite, target, _ = backed_up
    data = tmp_path / "data"
    data.mkdir()
    (data / "notes.txt").write_text("mine")
    assert "not empty" in refusal("restore", target, "--data-dir", data)
    assert files_of(data).keys() - {"lock"} == {"notes.txt"}
    assert "in use by another process" in refusal("restore", target, "--data-dir", suite.data)
    assert "is there" in refusal("backup", target, "--data-dir", suite.data)


def what_a_restore_refuses_is_left_as_it_was(backed_up, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    refusal("restore", backed_up[1], "--data-dir", tmp_path)
    assert files_of(tmp_path) == {"mine.txt": b"mine"}


def a_folder_of_somebodys_own_is_not_emptied_for_a_backup(backed_up, tmp_path):
    suite = backed_up[0]
    partial = tmp_path / "next.partial"
    partial.mkdir()
    (partial / "mine.txt").write_text("mine")
    assert "no backup has put there" in refusal("backup", tmp_path / "next", "--data-dir", suite.data)
    assert files_of(partial) == {"mine.txt": b"mine"}


def nothing_is_backed_up_of_a_restore_that_was_cut_off_or_of_a_database_that_is_empty(backed_up, tmp_path):
    data = tmp_path / "data"
    succeeds("restore", backed_up[1], "--data-dir", data)
    (data / "restoring").touch()
    assert "was cut off" in refusal("backup", tmp_path / "next", "--data-dir", data)
    (data / "restoring").unlink()
    (data / "segmentation.sqlite").write_bytes(b"")
    assert "segmentation.sqlite is empty" in refusal("backup", tmp_path / "next", "--data-dir", data)
    assert not (tmp_path / "next").exists()


@pytest.mark.parametrize("name", ["access-control.sqlite", "ingestion-audit.sqlite"])
@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "empty"])
def a_database_that_is_lost_is_not_made_anew(backed_up, tmp_path, name, is_gone):
    suite = quintile.Quintile(tmp_path)
    succeeds("restore", backed_up[1], "--data-dir", suite.data)
    for key, text in keys_of(backed_up[0]).items():
        (suite.data / key).touch(0o600)
        (suite.data / key).write_text(text)
    (suite.data / name).unlink() if is_gone else (suite.data / name).write_bytes(b"")
    before = files_of(suite.data)
    for arguments in (("serve", "--port-base", "0"), ("migrate",)):
        assert name in refusal(*arguments, "--data-dir", suite.data)
    assert files_of(suite.data) == before | {"lock": b""}
    found = json.loads(command("doctor", "--data-dir", suite.data, "-o", "json").stdout)["findings"]
    lost = [each for each in found if each["subject"] == name.removesuffix(".sqlite") and each["level"] == "fail"]
    assert lost and all("restore the last backup" in each["to_do"] for each in lost), found


def without_its_master_key_a_restored_suite_does_not_start_and_makes_no_other(backed_up, tmp_path):
    _, target, _ = backed_up
    told = succeeds("restore", target, "--data-dir", tmp_path / "data")
    assert f"{tmp_path / 'data' / 'master.key'} before `quintile serve`" in told
    assert "place their master key there" in refusal("serve", "--data-dir", tmp_path / "data", "--port-base", 0)
    assert not (tmp_path / "data" / "master.key").exists()


# -- cut off ----------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def standing_still(failpoint, until, *arguments):
    """A command that stands still at a failpoint, to be killed there."""
    process = subprocess.Popen([quintile.binary(), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env=os.environ | {"FAILPOINTS": failpoint})
    try:
        waiting.until(until, f"{failpoint} to be reached")
        assert process.poll() is None, "it ended before it could be killed"
        yield process
    finally:
        process.kill()
        process.wait(quintile.STOP_SECONDS)


def has_content(file):
    return file.exists() and file.stat().st_size > 0


def a_backup_that_is_killed_leaves_nothing_by_its_name_and_nobody_waiting(backed_up, tmp_path):
    suite, _, _ = backed_up
    target, draft = tmp_path / "backup", tmp_path / "backup.partial"
    made = ("backup", target, "--data-dir", suite.data)
    with standing_still("backup::before_file=3*off->return", lambda: has_content(draft / "lifecycle.sqlite"), *made):
        # Whoever copies holds nobody up, and no other backup writes there.
        questions.take_in(suite.client("admin"), facts.order("ann", "while a backup stands still"))
        assert "another backup is being written there" in refusal(*made)
    assert not target.exists()
    assert "no whole backup" in refusal("restore", draft, "--data-dir", tmp_path / "data")
    succeeds(*made)
    assert not draft.exists()
    succeeds("restore", target, "--data-dir", tmp_path / "data")


def a_backup_that_is_killed_at_its_very_end_has_no_name_either(backed_up, tmp_path):
    suite, _, _ = backed_up
    target, draft = tmp_path / "backup", tmp_path / "backup.partial"
    made = ("backup", target, "--data-dir", suite.data)
    with standing_still("backup::before_name=return", lambda: has_content(draft / "SHA256SUMS"), *made):
        pass
    assert not target.exists()
    succeeds(*made)
    assert not draft.exists() and (target / "SHA256SUMS").exists()


@pytest.mark.parametrize("failpoint, last", [("restore::before_file=4*off->return", "ingestion-audit.sqlite"),
                                             ("restore::before_end=return", "segmentation.sqlite")])
def a_restore_that_is_killed_is_never_served_and_goes_on_when_it_is_asked_for_again(backed_up, tmp_path, failpoint, last):
    suite, target, _ = backed_up
    home = tmp_path / "home"
    data = home / "data"
    home.mkdir()
    made = ("restore", target, "--data-dir", data)
    with standing_still(failpoint, lambda: has_content(data / last), *made):
        pass
    assert "a restore into" in refusal("serve", "--data-dir", data, "--port-base", 0)
    findings = json.loads(command("doctor", "--data-dir", data, "-o", "json").stdout)["findings"]
    assert [finding["to_do"] for finding in findings if finding["subject"] == "data directory"] == [
        "run `quintile restore` again: it goes on in the same folder"]
    with restored(target, home, None, keys_of(suite)) as again:
        assert questions.find(again.client("admin"), "ann")
    assert not (data / "restoring").exists()


def a_suite_on_postgresql_is_told_to_use_its_tools(tmp_path):
    flags = ("--config", tmp_path / "quintile.toml", "--data-dir", tmp_path / "data")
    (tmp_path / "quintile.toml").write_text('database_url = "postgres://quintile@127.0.0.1:1/quintile"\n')
    assert "pg_dump" in refusal("backup", tmp_path / "backup", *flags)
    assert "pg_restore" in refusal("restore", tmp_path / "backup", *flags)


def whoever_was_erased_is_in_no_backup_that_is_made_later(tmp_path):
    with quintile.suite("sqlite") as suite:
        admin = suite.client("admin")
        questions.take_in(admin, facts.customer("ann", display_name="Ann Wren"), facts.order("ann", "1"), facts.order("bob", "2"))
        name = questions.find(admin, "ann")
        key = wrapped_keys(suite)[int(name.split("/")[1])]
        suite.run("backup", tmp_path / "before")
        assert holding(tmp_path / "before", key) == ["ingestion.sqlite"]
        done = completed(admin, erase(admin, name).name)
        suite.run("backup", tmp_path / "after")
        assert holding(tmp_path / "after", key) == []
        taken, expires = (json.loads((tmp_path / each / "manifest.json").read_text()) for each in ("before", "after"))
        assert instant(taken["taken_at"]) < instant(expires["taken_at"])
        # What still shows the customer is to be gone by when its receipt says that no backup does.
        assert instant(taken["expires_at"]) <= done.backups_expire_time.seconds + 1
        assert instant(taken["expires_at"]) - instant(taken["taken_at"]) == 35 * 86_400


def instant(text):
    return datetime.datetime.fromisoformat(text).timestamp()


def holding(folder, content):
    return sorted(name for name, found in files_of(folder).items() if content in found)
