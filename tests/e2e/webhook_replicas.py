"""Two replicas of lifecycle on one PostgreSQL, killed in turn while they deliver: no step makes two deliveries, and each comes under one id."""
import base64
import contextlib
import os
import random
import subprocess
import threading
from types import SimpleNamespace

from one_process_per_role import ROLES, free_ports
from support import questions, quintile, waiting
from support.playbook_kit import begin, newcomer, webhook
from support.processes import command, serving, toml
from support.receiver import listening
from support.reflection import Api
from webhook_deliveries import MESSAGES, PEOPLE, assert_sent_all

TURNS = 4


class Replica:
    """A process of lifecycle, which may be killed and started again."""

    def __init__(self, home, config, name, port):
        self.home, self.config, self.name, self.port = home, config, name, port
        self.stack = contextlib.ExitStack()

    def start(self):
        self.process = self.stack.enter_context(serving(self.home, self.config, "--role", "lifecycle", name=self.name))

    def until_serving(self):
        waiting.until(lambda: quintile.health_of(f"http://127.0.0.1:{self.port}") == "SERVING",
                      lambda: (self.home / f"{self.name}.log").read_text()[-4000:], quintile.START_SECONDS)

    def again(self):
        """Starts it again on its port, once it is gone."""
        self.stack.close()
        self.start()
        self.until_serving()


@contextlib.contextmanager
def replicated(home, webhooks):
    """One process of each role and a second one of lifecycle: the two of lifecycle, and an administrator's client."""
    *ports, second = free_ports(len(ROLES) + 1)
    ports = dict(zip(ROLES, ports))
    (home / "bootstrap").write_text("a secret of this test\n")
    (home / "master").write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
    with quintile.new_database() as url, contextlib.ExitStack() as stack:
        def config_of(name, listen):
            config = home / f"{name}.toml"
            settings = toml({
                "": {"data_dir": str(home / "data"), "database_url": url, "as_of": quintile.AS_OF}, "listen": listen,
                "peers": {key: f"http://127.0.0.1:{port}" for key, port in ports.items()},
                "secrets": {"bootstrap_file": str(home / "bootstrap"), "master_key_file": str(home / "master")}})
            config.write_text(settings + quintile.webhook_tables(home, webhooks))
            return config
        config, other = config_of("first", ports), config_of("second", ports | {"lifecycle": second})
        assert command(home, config, "migrate").returncode == 0
        for key in ("ingestion", "scoring", "segmentation", "access"):
            stack.enter_context(serving(home, config, "--role", ROLES[key], name=key))
        replicas = [Replica(home, config, "lifecycle-1", ports["lifecycle"]), Replica(home, other, "lifecycle-2", second)]
        for replica in replicas:
            stack.enter_context(replica.stack)
            replica.start()
        for port in (*ports.values(), second):
            waiting.until(lambda port=port: quintile.health_of(f"http://127.0.0.1:{port}") == "SERVING",
                          lambda: "\n".join(log.read_text()[-2000:] for log in home.glob("*.log")), quintile.START_SECONDS)
        token = subprocess.run([quintile.binary(), "token", "--config", str(config), "--role", "admin"], capture_output=True, text=True, check=True,
                               timeout=quintile.COMMAND_SECONDS).stdout.strip()
        api = stack.enter_context(contextlib.closing(Api({key: f"http://127.0.0.1:{port}" for key, port in ports.items()}, token)))
        yield SimpleNamespace(replicas=replicas, admin=api.client(token))


def two_replicas_that_are_killed_in_turn_make_one_delivery_of_each_step(tmp_path):
    chance = random.Random(5)
    with listening() as receiver:
        receiver.say("second", 503)
        with replicated(tmp_path, [receiver.webhook(retry_after_seconds=1)]) as both:
            playbook = begin(both.admin, *map(webhook, MESSAGES))
            for turn in range(TURNS):
                victim, arrivals = both.replicas[turn % 2], len(receiver.arrived) + chance.randrange(1, PEOPLE * len(MESSAGES))
                reached = threading.Event()

                def arrived(_request, victim=victim, arrivals=arrivals, reached=reached):
                    if len(receiver.arrived) >= arrivals and not reached.is_set():
                        victim.process.kill()
                        reached.set()
                receiver.on_arrival = arrived
                rows = [row for n in range(PEOPLE) for row in newcomer(f"c-{turn}-{n}")]
                questions.take_in(both.admin, *rows)
                assert reached.wait(waiting.SECONDS), f"only {len(receiver.arrived)} of {arrivals} came"
                receiver.on_arrival = lambda _arrived: None
                victim.again()
            assert_sent_all(both.admin, receiver, playbook.name, TURNS * PEOPLE)
