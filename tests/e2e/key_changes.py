"""Signing keys rotate, and issuers change theirs, while calls go on: no good token is refused, no issuer is asked too often.

On both databases at once: the half minute for which a new key is published, and the minute between two questions to an issuer, are
the same for both.
"""
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import attacks, oidc, policies, quintile, tokens, waiting
from support.oidc import Key
from support.policies import ONE_EACH
from support.refusals import Refusal
from support.verdicts import is_accepted, let_through

FLOOD = 20
ROUND_SECONDS = 0.2
ROTATION_SECONDS = 45  # 30 for which a new key is published, and some.
KEY_SECONDS = 100  # A minute after the last attempt, and some for five services to hear of it.


class Calls:
    """Calls to the services, one round after another, with a token of the moment and with the first that there was."""

    def __init__(self, suite):
        self.suite, self.admin = suite, suite.client("admin")
        self.first = policies.token_of(suite, "analyst", "looper", self.admin)
        self.kids, self.failed, self.rounds = {self.kid(self.first)}, [], 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    @staticmethod
    def kid(token):
        return tokens.parts(token)[0]["kid"]

    def work(self):
        while not self.over.wait(ROUND_SECONDS):
            try:
                newest = policies.token_of(self.suite, "analyst", "looper", self.admin)
                self.kids.add(self.kid(newest))
                for token in (newest, self.first):
                    client = self.suite.api().client(token)
                    for method in ONE_EACH[:-1]:  # The last needs an administrator, as the issuing of tokens does.
                        client.call(method)
            except Refusal as refusal:
                self.failed.append(str(refusal))
            self.rounds += 1

    def end(self):
        self.over.set()
        self.thread.join(waiting.SECONDS)


class Changes:
    """A suite whose signing key rotates, with an issuer that changes its key, and another that goes out of service."""

    def __init__(self, suite, server):
        self.suite = suite
        self.calls = Calls(suite)
        self.signing = suite.client("admin").call("SigningKeyService/RotateSigningKey").name.split("/")[1]
        self.rotating, self.out = server.issuer(Key("RS256")), server.issuer(Key("ES256"))
        self.old, self.new = self.rotating.keys[0], Key("ES256")
        self.begun = time.monotonic()
        for issuer in (self.rotating, self.out):
            suite.client("admin").call("IssuerService/CreateIssuer", issuer.message())
        for issuer in (self.rotating, self.out):
            waiting.until(lambda: is_accepted(suite, issuer.token()), "the issuer to be known", policies.FORCE_SECONDS)
        assert [issuer.fetches for issuer in (self.rotating, self.out)] == [1, 1]
        self.rotating.keys, self.out.out = [self.new], True

    def __repr__(self):
        return f"{self.rotating.fetches} and {self.out.fetches} fetches in {time.monotonic() - self.begun:.0f} s"

    def flood(self):
        """Many unknown keys, of both issuers: none is accepted, and the issuers are asked no more than in a quiet minute."""
        for _ in range(FLOOD):
            for issuer in (self.rotating, self.out):
                assert let_through(self.suite, {"an unknown key": attacks.unknown_key(issuer)}) == []
        self.must_have_asked_seldom()

    def has_found_the_new_key(self):
        """Whether every service accepts the new key, and the other issuer has been asked in vain."""
        let_through(self.suite, {"an unknown key of an issuer that is out": attacks.unknown_key(self.out)})
        return is_accepted(self.suite, self.rotating.token()) and self.out.fetches > 1

    def must_have_asked_seldom(self):
        minutes = int((time.monotonic() - self.begun) // 60)
        assert all(issuer.fetches <= 1 + minutes for issuer in (self.rotating, self.out)), self

    def states(self):
        """{kid: what the key does at present}."""
        keys = self.suite.client("admin").call("SigningKeyService/ListSigningKeys").signing_keys
        names = keys[0].DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number
        return {key.name.split("/")[1]: names[key.state].name.removeprefix("SIGNING_KEY_STATE_") for key in keys}


@pytest.fixture(scope="module")
def both():
    """The changes under way on both databases, after a flood of unknown keys."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(oidc.serving())
        changes = [Changes(stack.enter_context(quintile.suite(backend)), server) for backend in ("sqlite", "postgres")]
        for each in changes:
            stack.callback(each.calls.end)
        with ThreadPoolExecutor(len(changes)) as at_once:
            list(at_once.map(Changes.flood, changes))
        yield changes


def a_flood_of_unknown_keys_has_an_issuer_asked_once_a_minute_at_most(both):
    for each in both:
        each.must_have_asked_seldom()
        # The last good keys of the one that is out stay good.
        assert is_accepted(each.suite, each.out.token())


def no_valid_token_is_refused_while_a_key_is_published_signs_and_another_retires(both):
    for each in both:
        waiting.until(lambda: each.signing in each.calls.kids, "the new key to sign", ROTATION_SECONDS)
        done = each.calls.rounds + 5
        waiting.until(lambda: each.calls.rounds >= done, "some rounds with the new key")
        old = each.calls.kid(each.calls.first)
        assert each.calls.failed == []
        assert old != each.signing and each.calls.kids == {old, each.signing}
        assert each.states() == {old: "RETIRED", each.signing: "SIGNING"}
        assert {key.kid for key in each.suite.api().client(None).call("TokenService/GetJwks").keys} == {old, each.signing}


def new_keys_of_an_issuer_are_found_without_a_restart_and_old_ones_stay_while_it_is_out(both):
    waiting.until(lambda: all([each.has_found_the_new_key() for each in both]), lambda: f"the new keys: {both}", KEY_SECONDS,
                  interval=0.5)
    for each in both:
        assert let_through(each.suite, {"a key that is gone": each.rotating.token(each.old)}) == []
        assert is_accepted(each.suite, each.out.token())
        each.flood()
    assert [each.calls.failed for each in both] == [[], []]
