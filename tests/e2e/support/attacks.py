"""Tokens of an issuer that the suite accepts, well signed and yet not to be believed: every one has one thing wrong with it.

The issuer is one of the tests' own (oidc.py), so that its key may sign whatever a test likes.
"""
import hashlib
import hmac
import json
import time
import uuid

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from support.oidc import Key
from support.tokens import encode, put_together

# What a claim of a time must not be. RFC 7519 would allow fractions; we do not.
NO_TIMES = {"missing": None, "a text": "9999999999", "negative": -1, "huge": 10 ** 30, "beyond 64 bits": 2 ** 63, "a float": 9.9e9,
            "a huge float": 1e300, "true": True, "a list": [9999999999], "an object": {}, "beyond the year 9999": 253402300800}


def by_secret(issuer, key, secret, alg="HS256", **header):
    """Signed with a secret that was made of something public."""
    head = issuer.header(key) | {"alg": alg} | header
    return put_together(head, issuer.claims(), lambda message: hmac.new(secret, message, hashlib.sha256).digest())


def algorithms(issuer):
    """Algorithms that are none, or another key's."""
    rsa, elliptic = issuer.keys[:2]
    found = {f"alg {alg}": put_together(issuer.header() | {"alg": alg}, issuer.claims(), lambda _message: b"")
             for alg in ("none", "None", "NONE", "nOnE")}
    found |= {f"alg {alg} with a signature": put_together(issuer.header() | {"alg": alg}, issuer.claims(), rsa.sign)
              for alg in ("none", "HS256", "RS384", "RS512", "PS256", "rs256", "ES256", "EdDSA", "", "RS256 ", " RS256")}
    for form, secret in (*rsa.public_forms().items(), ("nothing", b"")):
        found[f"HS256 with the public RSA key as {form}"] = by_secret(issuer, rsa, secret)
    found["HS256 with the public EC key"] = by_secret(issuer, elliptic, elliptic.public_forms()["PEM"])
    found["an RSA signature under an EC key's id"] = issuer.token(rsa, {"kid": elliptic.kid})
    found["an EC signature under an RSA key's id"] = issuer.token(elliptic, {"kid": rsa.kid})
    found["an EC signature that says RS256"] = issuer.token(elliptic, {"alg": "RS256"})
    found["an EC key, and an RSA signature that says ES256"] = issuer.token(rsa, {"alg": "ES256", "kid": elliptic.kid})
    # Published by the issuer, and not accepted of it.
    found["an algorithm that is not accepted of the issuer"] = issuer.token(issuer.keys[2])
    found |= {f"alg {alg!r}": issuer.token(rsa, {"alg": alg}) for alg in (None, 1, ["RS256"], {"alg": "RS256"})}
    return found


def signatures(issuer):
    """Signatures that are none, or nearly one."""
    rsa, elliptic = issuer.keys[:2]
    head, body, tail = issuer.token(elliptic).split(".")
    der = elliptic.private.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
    wide = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = wide[wide.index(tail[-1]) ^ 1]  # Bits that no byte is made of.
    good = issuer.token(rsa)
    found = {"a signature of zeros": f"{head}.{body}.{encode(bytes(64))}", "a signature in DER": f"{head}.{body}.{encode(der)}",
             "no signature": f"{head}.{body}.", "padded": f"{head}.{body}.{tail}==",
             "another last letter": f"{head}.{body}.{tail[:-1]}{last}",
             "a signature of another token": ".".join((*good.split(".")[:2], issuer.token(rsa, sub="another").split(".")[2])),
             "a stranger's key under a known id": issuer.token(Key("ES256", elliptic.kid)),
             "a blank before": f" {good}", "a dot behind": f"{good}.", "five parts": ".".join([*good.split("."), body, tail]),
             "over 8 KiB": issuer.token(rsa, padding="x" * 9_000)}
    return found | {f"cut to {part}/8": good[:len(good) * part // 8] for part in range(8)}


def headers(issuer, elsewhere, stranger):
    """Headers that tell which key to believe. `elsewhere` is a URL under which a stranger's key is published."""
    known = issuer.keys[0].kid
    pointing = {"jku": elsewhere, "x5u": elsewhere, "jwk": stranger.jwk(), "x5c": ["MIIB"]}
    found = {f"{name} under {what}": issuer.token(stranger, {name: value, "kid": kid})
             for name, value in pointing.items() for what, kid in (("a known id", known), ("its own id", stranger.kid))}
    found["all of them at once"] = issuer.token(stranger, pointing)
    kids = ["../../../../../../dev/null", "/dev/null", "/proc/self/environ", "file:///dev/null", f"{known}/../{known}", "",
            " ", known.upper() + "x", f"{known}\0", f"{known} ", "' OR '1'='1", f"{known}' --", "' UNION SELECT 'secret' --",
            "1; DROP TABLE issuer", "%", "_" * len(known), "x" * 4_000]
    for kid in kids:
        found[f"kid {kid[:30]!r}"] = issuer.token(stranger, {"kid": kid})
        found[f"kid {kid[:30]!r} and nothing as the secret"] = by_secret(issuer, issuer.keys[0], b"", kid=kid)
        found[f"kid {kid[:30]!r} and 'secret' as the secret"] = by_secret(issuer, issuer.keys[0], b"secret", kid=kid)
    found |= {f"kid {kid!r}": issuer.token(header={"kid": kid}) for kid in (None, 1, [known], {"kid": known}, True)}
    types = (None, "", "JWT", "jwt", "id+jwt", "rt+jwt", "logout+jwt", "at", "at+jwt ", "application/", 1, ["at+jwt"])
    found |= {f"typ {typ!r}": issuer.token(header={"typ": typ}) for typ in types}
    return found | {f"crit {crit}": issuer.token(header={"crit": crit}) for crit in (["exp"], [], ["b64"], "exp", 0)}


def claims(issuer):
    """Claims that are missing, malformed, or another's."""
    now, url = int(time.time()), issuer.url
    found = {f"{name} is {what}": issuer.token(**{name: value}) for name in ("exp", "nbf", "iat") for what, value in NO_TIMES.items()}
    found |= {"expired by the leeway and a second": issuer.token(exp=now - 31), "expired at 0": issuer.token(exp=0),
              "not valid for a while": issuer.token(nbf=now + 60), "issued in a while": issuer.token(iat=now + 60)}
    audiences = (None, "", "Quintile", "quintile ", "quintile2", "quintil", "quintile.other", "other", [], ["other"], ["quintile", 1],
                 {"aud": "quintile"}, 1, ["quintile "], [["quintile"]])
    found |= {f"aud {aud!r}": issuer.token(aud=aud) for aud in audiences}
    near = (None, "", f"{url}/", url.replace("http:", "https:"), url.replace("http:", "HTTP:"), url[:-1], f"{url}x", f"{url}#",
            f"{url}?", f" {url}", f"{url}/.well-known/openid-configuration", url.replace("127.0.0.1", "localhost"),
            url.replace("127.0.0.1", "127.0.0.1."), url.rsplit("/", 1)[0], [url], {"iss": url}, 1)
    found |= {f"iss {iss!r}": issuer.token(iss=iss) for iss in near}
    found |= {f"sub {sub!r}": issuer.token(sub=sub) for sub in (None, "", " ", 1, ["eve"], "e\u202eve", "e\0ve", "e" * 300)}
    values = (None, [], "", "writer", ["writer"], "READER", "reader ", [["reader"]], {"reader": True}, 1)
    return found | {f"roles {value!r}": issuer.token(roles=value) for value in values}


def documents(issuer):
    """JSON that says one thing twice, or is none."""
    header, body = json.dumps(issuer.header()), json.dumps(issuer.claims())
    doubled = {"role": '"roles":["helper"]', "exp": '"exp":99999999999', "an escaped name": '"s\\u0075b":"mallory"',
               "iss": '"iss":"x"', "aud": '"aud":"other"'}
    found = {f"{what} twice": issuer.signed(encode(header.encode()), encode(f"{{{member},{body[1:]}".encode()))
             for what, member in doubled.items()}
    found |= {f"{what} twice, the other way round": issuer.signed(encode(header.encode()), encode(f"{body[:-1]},{member}}}".encode()))
              for what, member in doubled.items()}
    found["alg twice"] = issuer.signed(encode(f'{{"alg":"none",{header[1:]}'.encode()), encode(body.encode()))
    found["kid twice"] = issuer.signed(encode(f'{header[:-1]},"kid":"x"}}'.encode()), encode(body.encode()))
    for text in ("", "[]", "null", "1", '"a"', "{", "{}", body + "x", body[:-1] + ',"exp":NaN}', "{" * 2_000):
        found[f"claims {text[:10]!r}"] = issuer.signed(encode(header.encode()), encode(text.encode()))
        found[f"header {text[:10]!r}"] = issuer.signed(encode(text.encode()), encode(body.encode()))
    found["claims that are not UTF-8"] = issuer.signed(encode(header.encode()), encode(body.encode()[:-1] + b',"x":"\xff"}'))
    return found


def unknown_key(issuer):
    """A token of a key that nobody has published yet."""
    return issuer.token(Key("ES256", f"unknown-{uuid.uuid4().hex}"))
