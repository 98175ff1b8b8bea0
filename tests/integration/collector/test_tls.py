"""Both doors with certificates: encrypted, and closed to clients without the right one when one is asked for."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import grpc
import httpx
import pytest
from pydantic import ValidationError

from collector.config import TlsConfig
from tests.integration.collector.test_grpc_receiver import TRACES
from tests.support.receivers import ListSink, grpc_door, http_door, make_intake, make_span, trace_request

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates"),
]

REQUEST = trace_request(make_span()).SerializeToString()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`cert.pem` for localhost, signed by itself, and `key.pem`."""
    directory = tmp_path_factory.mktemp("tls")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    subprocess.run(["openssl", "req", "-x509", *curve, *files, *names], check=True, capture_output=True)
    return directory


def settings(directory: Path, *, ask: bool) -> dict[str, object]:
    found = {"certificate_file": directory / "cert.pem", "key_file": directory / "key.pem"}
    return {"tls": {**found, "client_ca_file": directory / "cert.pem"} if ask else found}


@pytest.mark.parametrize("ask", [False, True])
def test_grpc(certificates: Path, ask: bool) -> None:
    sink = ListSink()
    certificate, key = (certificates / "cert.pem").read_bytes(), (certificates / "key.pem").read_bytes()
    with grpc_door(make_intake(sink), **settings(certificates, ask=ask)) as address:
        known = grpc.ssl_channel_credentials(certificate, key, certificate)
        with grpc.secure_channel(address, known) as channel:
            assert channel.unary_unary(TRACES)(REQUEST, timeout=10) == b""
        with grpc.insecure_channel(address) as plain, pytest.raises(grpc.RpcError):
            plain.unary_unary(TRACES)(REQUEST, timeout=10)
        if ask:
            stranger = grpc.ssl_channel_credentials(certificate)
            with grpc.secure_channel(address, stranger) as channel, pytest.raises(grpc.RpcError):
                channel.unary_unary(TRACES)(REQUEST, timeout=10)
    assert len(sink.records) == 1


@pytest.mark.parametrize("ask", [False, True])
def test_http(certificates: Path, ask: bool) -> None:
    sink = ListSink()
    headers = {"content-type": "application/x-protobuf"}
    trusting = ssl.create_default_context(cafile=str(certificates / "cert.pem"))
    known = ssl.create_default_context(cafile=str(certificates / "cert.pem"))
    known.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    with http_door(make_intake(sink), **settings(certificates, ask=ask)) as base:
        assert base.startswith("https://")
        with httpx.Client(base_url=base, verify=known, trust_env=False) as client:
            assert client.post("/v1/traces", content=REQUEST, headers=headers).status_code == 200
        if ask:
            with httpx.Client(base_url=base, verify=trusting, trust_env=False) as client, pytest.raises(httpx.TransportError):
                client.post("/v1/traces", content=REQUEST, headers=headers)
    assert len(sink.records) == 1


@pytest.mark.parametrize("half", [{"certificate_file": "c.pem"}, {"key_file": "k.pem"}, {"client_ca_file": "c.pem"}])
def test_half_a_certificate_stops_the_start(half: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        TlsConfig.model_validate(half)
