"""A mail server: SMTP by aiosmtpd, in a thread of its own, on a free port of loopback. It writes down what comes, and answers as it is told to.

A suite sends by it that is started with `mail=[box.sender()]`, where `box` is what `listening` gives."""
import asyncio
import contextlib
import email
import email.policy
import threading
import time
from collections import Counter
from typing import NamedTuple

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from support import waiting

# Answers that are none: the connection is cut off, or left open for as long as whoever sends wants.
CLOSE, HANG = "close", "hang"
FROM = "Shop <care@shop.example>"
USER, PASSWORD = "care", "sturgeon5519 of the shop"


class Early(NamedTuple):
    """An answer that comes when a recipient is named, before there is a mail."""

    answer: object


class Arrived(NamedTuple):
    """A mail: from whom and to whom as its envelope has it, what it is, who had logged in, and when it came."""

    sender: str
    recipients: tuple
    raw: bytes
    user: str
    at: float

    @property
    def mail(self):
        return email.message_from_bytes(self.raw, policy=email.policy.default)

    @property
    def id(self):
        return self.mail["Message-ID"]

    @property
    def subject(self):
        return self.mail["Subject"]

    def part(self, subtype="plain"):
        """The text of a kind, with the ends of lines that programs have; None: there is none."""
        found = [each for each in self.mail.walk() if each.get_content_type() == f"text/{subtype}"]
        assert len(found) <= 1, f"{len(found)} parts are text/{subtype}"
        return found[0].get_content().replace("\r\n", "\n").rstrip("\n") if found else None


class Connection(SMTP):
    """A connection, of which the mailbox knows for as long as it is open."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self.event_handler.connections.add(transport)

    def connection_lost(self, error):
        self.event_handler.connections.discard(self.transport)
        super().connection_lost(error)


class Mailbox:
    """What has come, and what is answered: to each recipient in turn what `say` says, and `then` behind it."""

    def __init__(self, then=250):
        self.then = then
        self.arrived = []
        self.answers, self.turns = {}, Counter()
        self.hanging = Counter()  # By recipient.
        self.lock = threading.Lock()
        self.connections = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = 0  # Any that is free, the first time.
        self.listen()

    # -- what tests say and ask -------------------------------------------------------------------------------------

    def sender(self, name="care", **settings):
        """The settings of a sender whose server is this one."""
        return {"name": name, "server": f"smtp://127.0.0.1:{self.port}", "from": FROM} | settings

    def say(self, address, *answers):
        """Answers each mail to an address in turn by these: a status, `CLOSE` or `HANG`, or one of them in `Early`."""
        self.answers[address] = answers

    def of(self, address):
        """What has come for an address, the first first, however it was answered; but for what was answered early."""
        with self.lock:
            return [each for each in self.arrived if address in each.recipients]

    def tries(self, address):
        """How often a mail to an address was answered, or was not, as was said."""
        with self.lock:
            return self.turns[address]

    # -- whether anybody is there -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def away(self):
        """Nobody listens for a while, and whoever is connected is cut off."""
        self.leave()
        try:
            yield
        finally:
            self.listen()

    def leave(self):
        async def close():
            self.server.close()
            for transport in [*self.connections]:
                transport.abort()
            served = asyncio.all_tasks() - {asyncio.current_task()}
            if served:
                await asyncio.wait(served, timeout=waiting.SECONDS)
        self.run(close())

    def listen(self):
        """At the same port as before."""
        async def begin():
            self.server = await self.loop.create_server(self.connection, "127.0.0.1", self.port)
            self.port = self.server.sockets[0].getsockname()[1]
        self.run(begin())

    def close(self):
        self.leave()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def run(self, coroutine):
        """Runs something in the thread of the server."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(2 * waiting.SECONDS)

    # -- what the library calls -------------------------------------------------------------------------------------

    def connection(self):
        return Connection(self, hostname="localhost", loop=self.loop, auth_require_tls=False, authenticator=self.authenticate)

    def authenticate(self, _server, _session, _envelope, _mechanism, given):
        """Whoever wants to log in has to be who there is; nobody has to."""
        is_known = given == LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=is_known, handled=False, auth_data=given if is_known else None)

    async def handle_RCPT(self, server, _session, envelope, address, options):  # noqa: N802 - as the library has it.
        answer = self.turn(address, is_early=True)
        if answer is not None:
            return await self.answered(server, address, answer.answer)
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 somebody is known by that name"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - as the library has it.
        user = session.auth_data.login.decode() if session.authenticated else ""
        arrived = Arrived(envelope.mail_from, tuple(envelope.rcpt_tos), envelope.original_content, user, time.time())
        with self.lock:
            self.arrived.append(arrived)
        return await self.answered(server, arrived.recipients[0], self.turn(arrived.recipients[0], is_early=False))

    def turn(self, address, is_early):
        """What is answered now; None: it is too early for it."""
        with self.lock:
            said, turn = self.answers.get(address, ()), self.turns[address]
            answer = said[turn] if turn < len(said) else self.then
            if isinstance(answer, Early) != is_early:
                return None
            self.turns[address] += 1
            return answer

    async def answered(self, server, address, answer):
        """The words of an answer."""
        if answer not in (CLOSE, HANG):
            return f"{answer} as this test has it"
        if answer == CLOSE:
            server.transport.abort()
        self.hanging[address] += 1
        try:
            return await self.loop.create_future()  # Until it is cancelled, as the connection ends.
        finally:
            self.hanging[address] -= 1


@contextlib.contextmanager
def listening(**fields):
    """A mail server, gone afterwards."""
    box = Mailbox(**fields)
    try:
        yield box
    finally:
        box.close()
