"""Tokens that ought not to be trusted, made from one that is."""
import base64
import hashlib
import hmac
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def encode(part):
    data = part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def parts(token):
    """(header, claims, signature) of a token."""
    header, claims, signature = token.split(".")
    return json.loads(decode(header)), json.loads(decode(claims)), decode(signature)


def put_together(header, claims, sign):
    signed = f"{encode(header)}.{encode(claims)}"
    return f"{signed}.{encode(sign(signed.encode()))}"


def by_a_stranger(header, claims):
    """Signed with a key that nobody published."""
    return put_together(header, claims, Ed25519PrivateKey.generate().sign)


def flipped(signature):
    return bytes([signature[0] ^ 1]) + signature[1:]


def forgeries(token, public_key):
    """{what is wrong: a token}, from a good token and the base64url key that verifies it."""
    header, claims, signature = parts(token)
    head, body, tail = token.split(".")
    known = lambda _signed: signature  # noqa: E731 - the right signature, of something else
    secret = decode(public_key)
    return {
        "empty": "",
        "garbage": "garbage",
        "three dots": "...",
        "not base64": "a.b.c",
        "unsigned": f"{head}.{body}.",
        "without its signature": f"{head}.{body}",
        "with a bit of its signature changed": f"{head}.{body}.{encode(flipped(signature))}",
        "with another signature behind it": f"{token}.{tail}",
        "alg none": put_together(header | {"alg": "none"}, claims, lambda _signed: b""),
        "alg none, signed": put_together(header | {"alg": "none"}, claims, known),
        "alg HS256 with the public key as the secret": put_together(
            header | {"alg": "HS256"}, claims, lambda signed: hmac.new(secret, signed, hashlib.sha256).digest()),
        "signed by another key under the known kid": by_a_stranger(header, claims),
        "signed by another key under a kid of its own": by_a_stranger(header | {"kid": "stranger"}, claims),
        "signed by another key that it brings along": by_a_stranger(
            header | {"jku": "http://127.0.0.1:9/jwks", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": public_key}}, claims),
        "raised to admin": put_together(header, raised(claims), known),
        "expired long ago": put_together(header, claims | {"exp": 1, "iat": 0, "nbf": 0}, known),
        "of another tenant": put_together(header, claims | {"tenant": "other"}, known),
        "with a crit header": put_together(header | {"crit": ["exp"]}, claims, known),
        "over 8 KiB": by_a_stranger(header, claims | {"padding": "x" * 9000}),
    }


def raised(claims):
    """The claims with every word for the role made `admin`, whatever the claim is called."""
    return json.loads(json.dumps(claims).replace('"analyst"', '"admin"')) | {"role": "admin"}
