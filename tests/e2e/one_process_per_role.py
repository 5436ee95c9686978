"""Each role in a process of its own, as the chart deploys them, on one PostgreSQL: the same suite as all in one."""
import base64
import contextlib
import json
import os
import socket

from support import waiting
from support.processes import command, serving, toml
from support.quintile import START_SECONDS, STOP_SECONDS, cdnow, health_of, new_database

ROLES = {"ingestion": "ingestion", "scoring": "scoring", "lifecycle": "lifecycle", "segmentation": "segmentation",
         "access": "access-control"}


def free_ports(count):
    """Ports that were free just now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def five_processes_in_any_order_of_start_are_one_suite(tmp_path):
    ports = dict(zip(ROLES, free_ports(len(ROLES))))
    (tmp_path / "bootstrap").write_text("a secret of this test\n")
    (tmp_path / "master").write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
    config = tmp_path / "quintile.toml"
    # The numbers are those of cdnow_witness.py.
    processes = {}
    with new_database() as url, contextlib.ExitStack() as stack:
        config.write_text(toml({
            "": {"data_dir": str(tmp_path / "data"), "database_url": url, "as_of": "1998-07-01T00:00:00Z"},
            "listen": ports,
            "peers": {key: f"http://127.0.0.1:{port}" for key, port in ports.items()},
            "secrets": {"bootstrap_file": str(tmp_path / "bootstrap"), "master_key_file": str(tmp_path / "master")}}))
        migrated = command(tmp_path, config, "migrate")
        assert migrated.returncode == 0, migrated.stderr
        # The last of the chain first: each waits for those that it needs.
        for key in ("segmentation", "lifecycle", "scoring", "ingestion", "access"):
            processes[key] = stack.enter_context(serving(tmp_path, config, "--role", ROLES[key], name=key))
        for port in ports.values():
            waiting.until(lambda port=port: health_of(f"http://127.0.0.1:{port}") == "SERVING",
                          lambda: "\n".join(log.read_text()[-2000:] for log in tmp_path.glob("*.log")), START_SECONDS)
        imported = command(tmp_path, config, "import", "--mapping", "cdnow", str(cdnow()))
        assert imported.returncode == 0 and " 69659 applied, 0 there already, 0 rejected" in imported.stdout, imported
        preview = ("segments", "preview", "rfm.r >= 4 && rfm.f >= 3 && net_revenue >= 200")
        waiting.until(lambda: command(tmp_path, config, *preview).stdout.startswith("1,550 of 23,570 customers, 872,518.91 USD"),
                      lambda: command(tmp_path, config, *preview).stdout)
        # Where a service is gone, a profile has everything else, and says what it lacks.
        missing = []
        for gone, parts in ((None, []), ("scoring", ["scores"]), ("lifecycle", ["stage", "loyalty_tier", "grants"])):
            if gone:
                processes[gone].kill()
                processes[gone].wait(STOP_SECONDS)
                missing += parts
            shown = command(tmp_path, config, "customer", "show", "1", "-o", "json")
            assert shown.returncode == 0, shown.stderr
            profile = json.loads(shown.stdout)
            assert profile["missingParts"] == missing and profile["labels"] and profile["features"]["orders"]
            assert {each for each in ("scores", "stage") if not profile.get(each)} == {"scores", "stage"} & set(missing)
