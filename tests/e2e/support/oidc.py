"""Issuers of tokens that are not ours: discovery and keys over HTTP on loopback, and tokens of any making, well signed."""
import contextlib
import functools
import http.server
import json
import threading
import time
import uuid

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support.refusals import NOT_FOUND, Refusal
from support.tokens import encode

DISCOVERY = "/.well-known/openid-configuration"


class Key:
    """A key pair of one algorithm under one id."""

    def __init__(self, algorithm, kid=None):
        self.algorithm = algorithm
        self.kid = kid or uuid.uuid4().hex
        self.private = {"RS256": lambda: rsa.generate_private_key(65537, 2048),
                        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
                        "EdDSA": Ed25519PrivateKey.generate}[algorithm]()

    def jwk(self):
        """The public part (RFC 7517)."""
        public = self.private.public_key()
        common = {"kid": self.kid, "alg": self.algorithm, "use": "sig"}
        if self.algorithm == "EdDSA":
            return common | {"kty": "OKP", "crv": "Ed25519", "x": encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw))}
        numbers = public.public_numbers()
        if self.algorithm == "ES256":
            return common | {"kty": "EC", "crv": "P-256", "x": encode(numbers.x.to_bytes(32, "big")),
                             "y": encode(numbers.y.to_bytes(32, "big"))}
        return common | {"kty": "RSA", "n": encode(numbers.n.to_bytes(256, "big")), "e": encode(numbers.e.to_bytes(3, "big"))}

    def public_forms(self):
        """The public part in the forms that somebody may take for a secret."""
        public = self.private.public_key()
        return {"PEM": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
                "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
                "JWK": json.dumps(self.jwk()).encode()}

    def sign(self, message):
        if self.algorithm == "EdDSA":
            return self.private.sign(message)
        if self.algorithm == "RS256":
            return self.private.sign(message, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class Issuer:
    """One issuer of a server: its keys may change, it may be out, and it counts how often its keys are asked for."""

    def __init__(self, url, *keys, name=None):
        self.url = url
        self.keys = list(keys)
        self.name = name or f"i{uuid.uuid4().hex[:12]}"
        self.out = False
        self.fetches = 0  # Of its discovery document, served or not.

    def header(self, key=None):
        key = key or self.keys[0]
        return {"alg": key.algorithm, "typ": "at+jwt", "kid": key.kid}

    def claims(self, role="reader", **changes):
        """Claims of a good token; `None` leaves one out."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": "quintile", "sub": "eve", "iat": now, "nbf": now, "exp": now + 600,
                  "jti": uuid.uuid4().hex, "roles": [role]} | changes
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, key=None, header=None, role="reader", **changes):
        """A token signed with a key of its own, the first one by default, whatever else is wrong with it."""
        key = key or self.keys[0]
        head = {name: value for name, value in (self.header(key) | (header or {})).items() if value is not None}
        return self.signed(encode(head), encode(self.claims(role, **changes)), key)

    def signed(self, head, body, key=None):
        """A token of parts that are encoded already."""
        signature = (key or self.keys[0]).sign(f"{head}.{body}".encode())
        return f"{head}.{body}.{encode(signature)}"

    def message(self, **changes):
        """The issuer as it is made known to the suite."""
        made = {"issuer": self.url, "algorithms": ["RS256", "ES256"],
                "roles": [{"value": "reader", "role": "analyst"}, {"value": "helper", "role": "support"}]}
        return {"issuer_id": self.name, "issuer": made | changes}


class Server(http.server.ThreadingHTTPServer):
    """Issuers by path, and a list of everything that was ever asked for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.issuers, self.asked = {}, []

    @property
    def base(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def issuer(self, *keys):
        """A new issuer at a path of its own."""
        path = f"/{uuid.uuid4().hex}"
        issuer = Issuer(self.base + path, *(keys or (Key("RS256"), Key("ES256"))))
        self.issuers[path] = issuer
        return issuer


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        path = "/" + self.path.strip("/").split("/")[0]
        issuer = self.server.issuers.get(path)
        if issuer and self.path == path + DISCOVERY:
            issuer.fetches += 1
        if issuer is None or issuer.out:
            return self.answer(503 if issuer else 404, {})
        if self.path == path + DISCOVERY:
            return self.answer(200, {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"})
        if self.path == f"{path}/keys":
            return self.answer(200, {"keys": [key.jwk() for key in issuer.keys]})
        return self.answer(404, {})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """The tests say what they have to say."""


@contextlib.contextmanager
def serving():
    """A server of issuers, gone afterwards."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@functools.cache
def shared():
    """A server of issuers for those that need one of some kind, there until the tests end."""
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def create_issuer():
    return shared().issuer(Key("EdDSA")).message(algorithms=["EdDSA"])


def with_issuer(build, made=True):
    """A case about an issuer that it leaves none of: a tenant has few. `build(its name)` is the request, unless it makes it itself."""
    def call(world, client, method):
        admin, order = world.client("admin"), create_issuer()
        name = f"issuers/{order['issuer_id']}"
        try:
            if made:
                admin.call("IssuerService/CreateIssuer", order)
            return [client.exchange(method, build(name) if made else order)]
        finally:
            try:
                admin.call("IssuerService/DeleteIssuer", {"name": name})
            except Refusal as refusal:
                assert refusal.code == NOT_FOUND, refusal
    return call
