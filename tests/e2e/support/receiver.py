"""A receiver of webhooks: an HTTP server in a thread, on a free port of loopback. It writes down what comes, answers as it is told to, and tells by
code of its own, from the published specification of Standard Webhooks, whether what came is signed."""
import base64
import contextlib
import functools
import hashlib
import hmac
import json
import os
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

# Answers that are none: the connection is closed, or left open for as long as the receiver is there.
CLOSE, HANG = "close", "hang"
# Where redirects lead to.
ELSEWHERE = "/elsewhere"
# How far the clocks of both may be apart, as the libraries of the specification have it.
TOLERANCE_SECONDS = 300
MOST_BYTES = 1 << 20


class Arrived(NamedTuple):
    """A request: its method, its path, its headers by their names in small letters, its body, and when it came."""

    method: str
    path: str
    headers: dict
    body: bytes
    at: float

    @property
    def id(self):
        return self.headers.get("webhook-id", "")

    @property
    def event(self):
        return json.loads(self.body)

    @property
    def message(self):
        """What it asks for; empty where it is nothing of ours."""
        try:
            return self.event["data"]["message"]
        except (ValueError, KeyError, TypeError):
            return ""


def new_secret(length=32, prefix="whsec_"):
    """A secret as files hold it."""
    return prefix + base64.b64encode(os.urandom(length)).decode()


def signature_of(secret, webhook_id, timestamp, body):
    """The signature of the first version: HMAC with SHA-256 of id, timestamp and body with dots between, under what the base64 of the secret says."""
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    signed = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def is_signed(arrived, secret):
    """Whether a request is signed under a secret, of these days."""
    timestamp, given = (arrived.headers.get(f"webhook-{name}", "") for name in ("timestamp", "signature"))
    if not (arrived.id and timestamp.isdecimal() and abs(int(timestamp) - arrived.at) <= TOLERANCE_SECONDS):
        return False
    expected = signature_of(secret, arrived.id, timestamp, arrived.body)
    return any(hmac.compare_digest(each, expected) for each in given.split(" "))


class Handler(BaseHTTPRequestHandler):
    """One connection, which is closed behind its first request: no client sends again by itself what it was not answered."""

    protocol_version = "HTTP/1.1"

    def take(self):
        """Writes a request down, and answers it as is said."""
        names = [name.lower() for name in self.headers.keys()]
        assert len(names) == len(set(names)), f"a header comes twice: {names}"
        length = int(self.headers.get("content-length", 0))
        assert length <= MOST_BYTES, length
        body = self.rfile.read(length)
        if len(body) < length:
            return  # Whoever sent it is gone.
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.receiver.take(Arrived(self.command, self.path, headers, body, time.time()))
        self.close_connection = True
        if answer == HANG:
            self.server.receiver.closed.wait()
        elif answer != CLOSE:
            self.send_response_only(answer)
            if 300 <= answer <= 399:
                self.send_header("Location", self.server.receiver.url(ELSEWHERE))
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()

    do_POST = do_GET = do_HEAD = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = take

    def log_message(self, *_said):
        """Nothing: what came is written down."""


class Server(ThreadingHTTPServer):
    """Many connections at once, none of which is waited for."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def handle_error(self, request, client_address):
        """Of a client that is killed nobody needs to hear."""


class Receiver:
    """What has come, and what is answered: for each message in turn what `say` says, and `then` behind it."""

    def __init__(self, then=200, secret=None):
        self.then = then
        self.secret = secret or new_secret()
        self.arrived = []
        self.answers, self.turns = {}, Counter()
        self.lock = threading.Lock()
        self.closed = threading.Event()
        self.on_arrival = lambda _arrived: None  # Called when a request is there, and not yet answered.
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.receiver = self
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"

    def webhook(self, name="messages", **settings):
        """The settings of an endpoint that is this receiver."""
        return {"name": name, "url": self.url(f"/{name}"), "secret": self.secret} | settings

    def say(self, message, *answers):
        """Answers each delivery of a message in turn by these: a status, `CLOSE` or `HANG`."""
        self.answers[message] = answers

    def take(self, arrived):
        """Writes a request down, and returns what is answered."""
        with self.lock:
            self.arrived.append(arrived)
            turn = self.turns[arrived.id]
            self.turns[arrived.id] += 1
        self.on_arrival(arrived)
        answers = self.answers.get(arrived.message, ())
        return answers[turn] if turn < len(answers) else self.then

    def of(self, message):
        """What has come of a message, the first first."""
        with self.lock:
            return [each for each in self.arrived if each.message == message]

    def ids(self):
        """{the id of a delivery: how often it came}"""
        with self.lock:
            return Counter(each.id for each in self.arrived)

    def close(self):
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def listening(**fields):
    """A receiver, gone afterwards."""
    receiver = Receiver(**fields)
    try:
        yield receiver
    finally:
        receiver.close()


@functools.cache
def refusing():
    """The settings of endpoints that want nothing, for tests that are about something else: what is sent there is a dead letter at once."""
    return (Receiver(then=400).webhook("refusing", retry_after_seconds=3_600),)
