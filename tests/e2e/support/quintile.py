"""The real binary: started, asked for tokens, killed and ended.

    QUINTILE_BIN    the binary; by default target/release/quintile or target/debug/quintile of this repository
    QUINTILE_CDNOW  CDNOW_master.txt; by default tests/data/cdnow/CDNOW_master.txt
    QUINTILE_TEST_POSTGRES_URL  a database in which these tests may make others; see tests/postgres.py
"""
import atexit
import contextlib
import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.parse
import uuid
from pathlib import Path

import grpc
import pg8000.native
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support import waiting
from support.reflection import Api, open_channel

REPOSITORY = Path(__file__).resolve().parents[3]
PORTS = ("ingestion", "scoring", "lifecycle", "segmentation", "access")
AS_OF = "1998-07-01T00:00:00Z"
START_SECONDS = 60
STOP_SECONDS = 40
COMMAND_SECONDS = 60
IMPORT_SECONDS = 300
SUITES = itertools.count()
TABLES = ("SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
          "WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')")


def binary():
    """The binary under test."""
    given = os.environ.get("QUINTILE_BIN")
    built = [REPOSITORY / "target" / profile / "quintile" for profile in ("release", "debug")]
    found = [path for path in ([Path(given)] if given else built) if os.access(path, os.X_OK)]
    assert found, f"no quintile binary: build it, or set QUINTILE_BIN (now {given!r})"
    return str(found[0].resolve())


def cdnow():
    """The file of the demo."""
    path = Path(os.environ.get("QUINTILE_CDNOW", REPOSITORY / "tests/data/cdnow/CDNOW_master.txt"))
    assert path.is_file(), f"no CDNOW file at {path}: set QUINTILE_CDNOW"
    return path


def postgres_url():
    """The database in which the tests make theirs."""
    url = os.environ.get("QUINTILE_TEST_POSTGRES_URL")
    assert url, ("QUINTILE_TEST_POSTGRES_URL is not set, and no test is skipped for want of a database: "
                 "run `python3 tests/postgres.py run -- pytest tests/e2e`")
    return url


def connect(url):
    """A connection to a PostgreSQL by URL."""
    parts = urllib.parse.urlsplit(url)
    return pg8000.native.Connection(parts.username or "postgres", host=parts.hostname, port=parts.port or 5432,
                                    password=parts.password, database=parts.path.lstrip("/"), timeout=30)


@contextlib.contextmanager
def new_database(like=None):
    """The URL of a new database, empty or as another is, gone afterwards."""
    name = f"quintile_{uuid.uuid4().hex}"
    on_server(f"CREATE DATABASE {name}" + (f" TEMPLATE {like}" if like else ""))
    try:
        yield url_of(name)
    finally:
        drop(name)


def on_server(statement):
    with contextlib.closing(connect(postgres_url())) as admin:
        admin.run(statement)


def drop(name):
    on_server(f"DROP DATABASE {name} WITH (FORCE)")


def url_of(name):
    return urllib.parse.urlunsplit(urllib.parse.urlsplit(postgres_url())._replace(path=f"/{name}"))


def database_of_suite():
    """A new database. In the first one a suite makes its tables itself, as users have it do."""
    return new_database(like=tables() if next(SUITES) else None)


@functools.cache
def tables():
    """The name of a database that has all tables and nobody in them, made once by `quintile migrate`: making them takes longer than most tests."""
    name = f"quintile_{uuid.uuid4().hex}"
    on_server(f"CREATE DATABASE {name}")
    atexit.register(drop, name)
    with tempfile.TemporaryDirectory(prefix="quintile-e2e-") as home:
        subprocess.run([binary(), "migrate", "--data-dir", home, "--database-url", url_of(name)], stdin=subprocess.DEVNULL, capture_output=True,
                       check=True, timeout=COMMAND_SECONDS)
    return name


class Quintile:
    """One suite with its data: it may be started, ended or killed, and started again on the same data."""

    def __init__(self, directory, database_url=None, as_of=AS_OF, webhooks=(), mail=(), settings=""):
        self.home = Path(directory)
        self.data = self.home / "data"
        self.log = self.home / "serve.log"
        self.database_url = database_url
        self.as_of = as_of
        self.webhooks = webhooks  # Settings of the configuration file, with the secret itself in the place of its file.
        self.mail = mail  # Likewise of those who send e-mails, with the password, where there is one.
        self.settings = settings  # Other tables of the configuration file, as they stand in it.
        self.within = ()  # What a command of ours is begun with, to run in a namespace of a test's own.
        self.process = None
        self.endpoints = {}
        self.open_apis = []
        self.tokens = {}

    # -- the process ------------------------------------------------------------------------------------------------

    def start(self, failpoints="", seconds=START_SECONDS):
        """Starts the suite, and returns when all five services answer that they serve. `failpoints` is what FAILPOINTS says."""
        endpoints = self.data / "endpoints.json"
        endpoints.unlink(missing_ok=True)  # One of an earlier run, perhaps a killed one.
        command = self.command("serve", "--port-base", "0", *self.configured())
        command += ["--as-of", self.as_of] if self.as_of else []
        command += ["--database-url", self.database_url] if self.database_url else []
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home,
                                            start_new_session=True, env=os.environ | {"FAILPOINTS": failpoints})
        waiting.until(lambda: self.read_endpoints(endpoints) and self.serves(),
                      lambda: f"five services to be SERVING; the log:\n{self.log_tail()}", seconds)
        return self

    def configured(self):
        """The flag of the configuration file, which is written for what no flag can say; nothing where there is nothing of that."""
        if not (self.webhooks or self.mail or self.settings):
            return []
        config = self.home / "quintile.toml"
        tables = [self.settings, webhook_tables(self.home, self.webhooks), mail_tables(self.home, self.mail)]
        config.write_text("\n".join(tables))
        return ["--config", str(config)]

    def read_endpoints(self, path):
        assert self.process.poll() is None, f"`serve` ended with {self.process.returncode}:\n{self.log_tail()}"
        try:
            self.endpoints = json.loads(path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        assert set(self.endpoints) == set(PORTS), self.endpoints
        return True

    def serves(self):
        assert self.process.poll() is None, f"`serve` ended with {self.process.returncode}:\n{self.log_tail()}"
        return all(health_of(endpoint) == "SERVING" for endpoint in self.endpoints.values())

    def stop(self, seconds=STOP_SECONDS):
        """Ends the suite as a supervisor does, by SIGTERM, and returns its exit code."""
        self.close_apis()
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"`serve` did not end within {seconds} s of SIGTERM:\n{self.log_tail()}") from None
        self.process = None
        return code

    def kill(self):
        """Ends the suite as a power failure does."""
        self.close_apis()
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
            self.process = None

    def has_logged(self, words):
        """Whether the log says this, of any run of the process."""
        return words in self.log.read_text(errors="replace")

    def log_tail(self):
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def at_rest(self):
        """(place, what lies there) of every file of the data directory and every table. `bytea` is hexadecimal in a table."""
        for path in filter(lambda path: path.is_file(), self.data.rglob("*")):
            yield str(path), path.read_bytes()
        if self.database_url:
            with contextlib.closing(connect(self.database_url)) as database:
                for (table,) in database.run(TABLES):
                    rows = database.run(f"SELECT t::text FROM {table} AS t")
                    yield table, "\n".join(text for (text,) in rows if text).encode()

    # -- its command ------------------------------------------------------------------------------------------------

    def command(self, *arguments):
        return [*self.within, binary(), *map(str, arguments), "--data-dir", str(self.data)]

    def run(self, *arguments, seconds=COMMAND_SECONDS):
        """Standard output of a command of the binary, which has to succeed."""
        done = subprocess.run(self.command(*arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              cwd=self.home, timeout=seconds)
        assert done.returncode == 0, f"`quintile {' '.join(map(str, arguments))}`: {done.returncode}\n{done.stderr}"
        return done.stdout

    def token(self, role, tenant=None, subject=None):
        """A token by `quintile token`. It prints the token and nothing else."""
        # What only the suite's services may do, nobody else's token of their role does.
        subject = subject or ("suite:case" if role == "service" else None)
        key = role, tenant, subject
        if key not in self.tokens:
            printed = self.run("token", "--role", role, *(["--tenant", tenant] if tenant else []),
                               *(["--subject", subject] if subject else []))
            assert printed.endswith("\n") and printed.count("\n") == 1 and len(printed.split()) == 1, printed.count("\n")
            self.tokens[key] = printed.strip()
        return self.tokens[key]

    def import_cdnow(self, file, stream_id="cdnow"):
        """Imports a file in CDNOW's form, and returns the position of its facts."""
        self.run("import", "--mapping", "cdnow", "--stream-id", stream_id, file, seconds=IMPORT_SECONDS)
        state = self.client("admin").call("IngestService/GetIngestStream", {"name": f"ingestStreams/{stream_id}"})
        assert state.acked_offset > 0, state
        return state.facts_position

    @contextlib.contextmanager
    def importing(self, file, stream_id):
        """The import as a process of its own, gone afterwards whatever became of it."""
        with open(self.home / "import.log", "ab") as log:
            process = subprocess.Popen(
                self.command("import", "--mapping", "cdnow", "--stream-id", stream_id, file),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home, start_new_session=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait(STOP_SECONDS)

    # -- its API ----------------------------------------------------------------------------------------------------

    def api(self):
        """The API as reflection shows it now; one per run of the process."""
        if not self.open_apis:
            self.open_apis.append(Api(self.endpoints, self.token("admin")))
        return self.open_apis[0]

    def client(self, role, tenant=None, subject=None):
        return self.api().client(self.token(role, tenant, subject))

    def close_apis(self):
        while self.open_apis:
            self.open_apis.pop().close()


def webhook_tables(home, webhooks):
    """The TOML of the endpoints of webhooks, each given with its secret, which is written to a file of its own."""
    tables = []
    for place, webhook in enumerate(webhooks):
        secret = home / f"webhook-{place}.secret"
        secret.touch(0o600)
        secret.write_text(webhook["secret"] + "\n")
        settings = {key: value for key, value in webhook.items() if key != "secret"} | {"secret_file": str(secret)}
        tables.append("[[webhooks]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    return "\n".join(tables)


def mail_tables(home, senders):
    """The TOML of those who send e-mails, each given with its password or without one, which is written to a file of its own."""
    tables = []
    for place, sender in enumerate(senders):
        settings = {key: value for key, value in sender.items() if key != "password"}
        if "password" in sender:
            password = home / f"mail-{place}.password"
            password.touch(0o600)
            password.write_text(sender["password"] + "\n")
            settings["password_file"] = str(password)
        tables.append("[[mail]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    return "\n".join(tables)


def health_of(endpoint, service=""):
    """What grpc.health.v1 says at an address, without a token; None: nobody answers."""
    channel = open_channel(endpoint)
    try:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return None
        raise
    finally:
        channel.close()


@contextlib.contextmanager
def suite(backend, as_of=AS_OF, started=True, webhooks=(), mail=(), settings=""):
    """A suite on a new data directory and, for `postgres`, a new database. Both are gone afterwards, and the process too."""
    home = tempfile.mkdtemp(prefix="quintile-e2e-")
    try:
        with database_of_suite() if backend == "postgres" else contextlib.nullcontext() as url:
            quintile = Quintile(home, url, as_of, webhooks, mail, settings)
            try:
                yield quintile.start() if started else quintile
            finally:
                quintile.kill()
    finally:
        shutil.rmtree(home, ignore_errors=True)
