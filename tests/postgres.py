"""A PostgreSQL of one's own, for as long as one command runs.

    python3 tests/postgres.py run -- CMD...

Makes a server in a new temporary directory (trust on loopback and on a unix socket, a free port, fsync off unless --durable), sets
QUINTILE_TEST_POSTGRES_URL for CMD, runs CMD, and exits with CMD's code. Whatever happens (Ctrl-C and SIGTERM too) the
server that was started is stopped and its directory is gone afterwards. Where PostgreSQL is not installed, root installs
Debian's package; anybody else is told to. PostgreSQL refuses to run as root, so root's server runs as the user `postgres`.
"""
import argparse
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAMS = ("initdb", "pg_ctl", "postgres")
START_SECONDS = 60
STOP_SECONDS = 30
MAX_CONNECTIONS = 900  # Up to 40 of each suite, several suites side by side, and for a while those of suites that were killed.


class Trouble(Exception):
    """Something that the person who runs this has to hear of."""


class Ended(Exception):
    """A signal asks us to end."""

    def __init__(self, number):
        super().__init__(number)
        self.code = 128 + number


def version_of(directory):
    """The major version in /usr/lib/postgresql/16/bin, for choosing the newest."""
    name = directory.parent.name
    return int(name) if name.isdigit() else 0


def find_programs():
    """The directory of the real initdb, pg_ctl and postgres; None: there is none."""
    versioned = sorted((Path(p) for p in glob.glob("/usr/lib/postgresql/*/bin")), key=version_of, reverse=True)
    on_path = [Path(p) for p in os.environ.get("PATH", "").split(os.pathsep) if p]
    for directory in [*on_path, *versioned, Path("/usr/local/bin")]:
        # Links are followed: initdb looks for its `postgres` beside itself.
        real = {Path(os.path.realpath(directory / program)) for program in PROGRAMS}
        if len({p.parent for p in real}) == 1 and all(os.access(p, os.X_OK) for p in real):
            return real.pop().parent
    return None


def install():
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Trouble("no PostgreSQL here (initdb, pg_ctl, postgres): install it, e.g. `apt-get install postgresql`")
    print("postgres.py: no PostgreSQL here, installing Debian's", file=sys.stderr)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for step in (["apt-get", "update", "-q"],
                 ["apt-get", "install", "-q", "-y", "--no-install-recommends", "postgresql"]):
        if subprocess.run(step, env=environment, stdout=sys.stderr).returncode != 0:
            raise Trouble(f"`{' '.join(step)}` failed: install PostgreSQL by hand")


def as_server_user(command):
    """The command as it runs for a user under whom PostgreSQL is willing to run."""
    if os.geteuid() != 0:
        return command
    if shutil.which("setpriv"):
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--reset-env", *command]
    if shutil.which("runuser"):
        return ["runuser", "-u", "postgres", "--", *command]
    raise Trouble("root cannot run PostgreSQL, and neither setpriv nor runuser is here (Debian: util-linux)")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# A test's data is thrown away with its server, and need not outlive a power cut.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "256MB", "max_wal_size": "2GB"}
# What is measured is durable, on a server that has been given a quarter of an ordinary machine's memory.
DURABLE = {"shared_buffers": "4GB", "max_wal_size": "16GB", "checkpoint_timeout": "15min", "wal_compression": "lz4"}


class Server:
    """A server in a directory of its own. `stop` may be called at any time, and more than once."""

    def __init__(self, programs, settings):
        self.programs = programs
        self.settings = settings
        # Short, and under /tmp: a unix socket's path has about 100 characters at most, and `postgres` must get in.
        self.directory = Path(tempfile.mkdtemp(prefix="quintile-pg-", dir="/tmp"))
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.port = None

    @property
    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def run(self, *command, seconds):
        # A session of its own, so that Ctrl-C in a terminal reaches us and not the server: we end it, in order.
        done = subprocess.run(as_server_user([str(c) for c in command]), cwd=self.directory, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds,
                              start_new_session=True)
        if done.returncode != 0:
            log = self.log.read_text(errors="replace") if self.log.exists() else ""
            raise Trouble(f"{Path(command[0]).name} failed:\n{done.stdout}{log}")

    def start(self):
        if os.geteuid() == 0:
            try:
                user = pwd.getpwnam("postgres")
            except KeyError:
                raise Trouble("there is no user `postgres` for the server to run as") from None
            os.chown(self.directory, user.pw_uid, user.pw_gid)
        os.chmod(self.directory, 0o700)
        self.run(self.programs / "initdb", "-D", self.data, "-U", "postgres", "--auth=trust", "--encoding=UTF8",
                 "--locale=C", "--no-sync", seconds=START_SECONDS)
        # Somebody else may take the port between our look and the server's; then the next one is tried.
        for attempts_left in (4, 3, 2, 1, 0):
            self.port = free_port()
            try:
                return self.start_on_port()
            except Trouble as trouble:
                if "could not bind" not in str(trouble) and "Address already in use" not in str(trouble):
                    raise
                if attempts_left == 0:
                    raise
        return None

    def start_on_port(self):
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.directory,
                    "max_connections": MAX_CONNECTIONS} | self.settings
        options = " ".join(f"-c {key}={value}" for key, value in settings.items())
        # `-l` and not a pipe: the server keeps its output open for as long as it lives.
        self.run(self.programs / "pg_ctl", "start", "-D", self.data, "-l", self.log, "-w", "-t", START_SECONDS,
                 "-o", options, seconds=START_SECONDS + 10)

    def crash(self):
        """Ends the server in the middle of what it does; `start_on_port` starts it again."""
        self.run(self.programs / "pg_ctl", "stop", "-D", self.data, "-m", "immediate", "-w", "-t", STOP_SECONDS,
                 seconds=STOP_SECONDS + 10)

    def stop(self):
        if (self.data / "postmaster.pid").exists():
            for mode in ("fast", "immediate"):
                try:
                    self.run(self.programs / "pg_ctl", "stop", "-D", self.data, "-m", mode, "-w", "-t", STOP_SECONDS,
                             seconds=STOP_SECONDS + 10)
                    break
                except (Trouble, subprocess.TimeoutExpired) as trouble:
                    print(f"postgres.py: {trouble}", file=sys.stderr)
        shutil.rmtree(self.directory, ignore_errors=True)


def run_command(command, url):
    """CMD's exit code. A signal that reaches us is handed to CMD, which gets time to end by itself."""
    try:
        child = subprocess.Popen(command, env=dict(os.environ, QUINTILE_TEST_POSTGRES_URL=url))
    except OSError as error:
        raise Trouble(f"cannot run {command[0]}: {error.strerror}") from None
    try:
        code = child.wait()
    except Ended as ended:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        return ended.code
    return code if code >= 0 else 128 - code


def end_on(number, _frame):
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # Ending happens once, and is not interrupted.
    raise Ended(number)


def run(command, settings):
    programs = find_programs()
    if programs is None:
        install()
        programs = find_programs()
    if programs is None:
        raise Trouble("PostgreSQL was installed and still cannot be found under /usr/lib/postgresql")
    server = None
    try:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, end_on)
        server = Server(programs, settings)
        server.start()
        return run_command(command, server.url)
    except Ended as ended:
        return ended.code
    finally:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        if server:
            server.stop()


def main():
    parser = argparse.ArgumentParser(description="Run a command with a PostgreSQL of its own.")
    actions = parser.add_subparsers(dest="action", required=True)
    runner = actions.add_parser("run", help="run CMD with QUINTILE_TEST_POSTGRES_URL set")
    runner.add_argument("--durable", action="store_true", help="as a server in use: for measurements")
    runner.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD...")
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("what shall be run? postgres.py run -- CMD...")
    try:
        return run(command, DURABLE if options.durable else FAST)
    except (Trouble, subprocess.TimeoutExpired) as trouble:
        print(f"postgres.py: {trouble}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
