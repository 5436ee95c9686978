"""TLS by configuration: servers show a certificate, ask for one where told to, and speak nothing else."""
import datetime
import ipaddress

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support.processes import command, endpoints, serving, toml
from support.quintile import STOP_SECONDS, health_of


def certificate(name, issuer=None):
    """(key, certificate) for loopback; its own authority without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signer, issuer_name = (issuer[0], issuer[1].subject) if issuer else (key, subject)
    now = datetime.datetime.now(datetime.timezone.utc)
    built = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer_name).public_key(key.public_key())
             .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
             .not_valid_after(now + datetime.timedelta(days=1))
             .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
             .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False))
    return key, built.sign(signer, hashes.SHA256())


def pem(pair):
    key, cert = pair
    return (key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
            cert.public_bytes(serialization.Encoding.PEM))


def status_over(endpoint, credentials):
    """What health answers over TLS with these credentials; None: no connection."""
    with grpc.secure_channel(endpoint.removeprefix("https://"), credentials) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
            return None
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


@pytest.mark.parametrize("mutual", [False, True], ids=["server certificate", "both certificates"])
def a_suite_with_tls_speaks_to_those_who_trust_it_and_whom_it_trusts(tmp_path, mutual):
    authority = certificate("authority")
    key, cert = pem(certificate("quintile", authority))
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "cert.pem").write_bytes(cert)
    (tmp_path / "authority.pem").write_bytes(pem(authority)[1])
    config = tmp_path / "quintile.toml"
    config.write_text(toml({
        "": {"data_dir": str(tmp_path / "data")},
        "server.tls": {"certificate_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem"),
                       "authority_file": str(tmp_path / "authority.pem"), "require_client_certificate": mutual}}))
    with serving(tmp_path, config, "--port-base", "0") as process:
        for url in endpoints(tmp_path, process, tmp_path / "data" / "endpoints.json").values():
            assert url.startswith("https://")
            anonymous = grpc.ssl_channel_credentials(root_certificates=pem(authority)[1])
            known = grpc.ssl_channel_credentials(pem(authority)[1], *pem(certificate("client", authority)))
            stranger = grpc.ssl_channel_credentials(root_certificates=pem(certificate("somebody else"))[1])
            assert status_over(url, known) == "SERVING"
            assert status_over(url, anonymous) == (None if mutual else "SERVING")
            assert status_over(url, stranger) is None
            assert health_of(url.replace("https://", "http://")) is None
        # The services have found each other over TLS, and so does the command.
        preview = command(tmp_path, config, "segments", "preview", "orders >= 1")
        assert preview.returncode == 0 and preview.stdout.startswith("0 of 0 customers"), preview.stderr
        # So do probes, of one service and of all.
        for roles in ([], ["--role", "scoring"], ["--role", "access-control", "--role", "lifecycle"]):
            asked = command(tmp_path, config, "health", *roles)
            assert (asked.returncode, asked.stdout) == (0, "serving\n"), asked.stderr
        process.terminate()
        process.wait(STOP_SECONDS)
        assert command(tmp_path, config, "health", "--role", "scoring").returncode == 1
