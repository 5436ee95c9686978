"""Two replicas of ingestion on one PostgreSQL, and clients of both at once: nothing that was acknowledged is lost."""
import base64
import contextlib
import os
import random
import subprocess
import threading
import uuid

from one_process_per_role import ROLES, free_ports
from support import facts, questions, waiting
from support.processes import command, serving, toml
from support.quintile import START_SECONDS, binary, health_of, new_database
from support.reflection import Api
from support.refusals import Refusal

CUSTOMERS, ROUNDS = 12, 25
FIELDS = ("display_name", "email", "address")


def patient(call):
    """The answer to a call that is repeated while its service says that another replica was faster."""
    while True:
        try:
            return call()
        except Refusal as refusal:
            assert refusal.code.name in ("UNAVAILABLE", "ABORTED"), refusal


def say(client, number, field, turns, failures):
    """Says one field of some customers again and again, each time anew, with an order of everybody. Nobody else says that field: what
    was acknowledged has to be there at any time later, whatever the others say of the same customers."""
    chance, said = random.Random(f"{number} {field}"), {}
    try:
        for turn in range(turns):
            for each in chance.sample(range(CUSTOMERS), 5):
                said[each] = f"{field}.{each}.{turn}@x.example" if field == "email" else f"{field} {each} {turn}"
            rows = [{"customer": {"identities": [facts.identity(f"c{each}")], field: value}} for each, value in said.items()]
            rows += [facts.order(f"c{each}", f"{number}-{field}-{turn}", cents=100) for each in range(CUSTOMERS)]
            request = facts.batch(*rows, request_id=str(uuid.uuid4()))
            answer = patient(lambda request=request: client.call("IngestService/IngestBatch", request))
            assert list(answer.rejects) == [], answer
            for each, value in said.items():
                customer = client.call("CustomerService/LookupCustomer", {"identity": facts.identity(f"c{each}")})
                assert getattr(customer, field) == value, "what one replica said was written over by the other"
    except Exception as problem:  # noqa: BLE001 - told by the test, not by a thread that nobody hears.
        failures.append((number, field, problem))


def what_two_replicas_acknowledged_at_once_is_all_there(tmp_path):
    *ports, second = free_ports(len(ROLES) + 1)
    ports = dict(zip(ROLES, ports))
    (tmp_path / "bootstrap").write_text("a secret of this test\n")
    (tmp_path / "master").write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
    with new_database() as url, contextlib.ExitStack() as stack:
        def config_of(name, listen):
            config = tmp_path / f"{name}.toml"
            config.write_text(toml({
                "": {"data_dir": str(tmp_path / "data"), "database_url": url, "as_of": "1998-07-01T00:00:00Z"}, "listen": listen,
                "peers": {key: f"http://127.0.0.1:{port}" for key, port in ports.items()},
                "secrets": {"bootstrap_file": str(tmp_path / "bootstrap"), "master_key_file": str(tmp_path / "master")}}))
            return config
        config, other = config_of("first", ports), config_of("second", ports | {"ingestion": second})
        assert command(tmp_path, config, "migrate").returncode == 0
        for key, role in ROLES.items():
            stack.enter_context(serving(tmp_path, config, "--role", role, name=key))
        stack.enter_context(serving(tmp_path, other, "--role", "ingestion", name="ingestion-2"))
        for port in (*ports.values(), second):
            waiting.until(lambda port=port: health_of(f"http://127.0.0.1:{port}") == "SERVING",
                          lambda: "\n".join(log.read_text()[-2000:] for log in tmp_path.glob("*.log")), START_SECONDS)
        token = subprocess.run([binary(), "token", "--config", str(config), "--role", "service", "--subject", "case"],
                               capture_output=True, text=True, check=True, timeout=60).stdout.strip()
        clients = [stack.enter_context(contextlib.closing(Api({"ingestion": f"http://127.0.0.1:{port}"}, token))).client(token)
                   for port in (ports["ingestion"], second)]
        failures = []
        threads = [threading.Thread(target=say, args=(clients[place % 2], place, field, ROUNDS, failures))
                   for place, field in enumerate(FIELDS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(200)
        assert failures == [] and not any(thread.is_alive() for thread in threads)
        for number in range(CUSTOMERS):
            name = questions.find(clients[0], f"c{number}")
            assert questions.features(clients[1], name).orders == len(FIELDS) * ROUNDS
