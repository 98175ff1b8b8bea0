"""How a ClickHouse server is reached: TLS, credentials, compression, timeouts; against the engine behind its HTTP interface."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from storage.client import Store
from storage.config import StorageConfig
from storage.errors import StoreRefusedError, StoreUnavailableError
from tests.support.clickhouse_http import Fault, Front

pytestmark = pytest.mark.integration


@pytest.fixture
def fronts(engine_directory: Path, store: Store) -> Iterator[Callable[..., Front]]:
    """A factory of servers with their own certificate or password."""
    started: list[Front] = []

    def start(**options: object) -> Front:
        front = Front(engine_directory / "clickhouse", **options).start()  # type: ignore[arg-type]
        started.append(front)
        return front

    yield start
    for front in started:
        front.stop()


@contextmanager
def connected(url: str, database: str, **settings: object) -> Iterator[Store]:
    server = Store.server(url, database, StorageConfig.model_validate(settings))
    try:
        yield server
    finally:
        server.close()


def round_trip(server: Store) -> int:
    """Rows there and back: an insert, a query."""
    server.insert("api_keys", pl.DataFrame({"key_id": [f"key {number}" for number in range(1000)]}))
    n: int = server.frame("SELECT count() AS n FROM api_keys FINAL")["n"].item()
    return n


@pytest.mark.parametrize("compression", ["lz4", "zstd", "none"])
def test_compression(front: Front, store: Store, compression: str) -> None:
    """A hundred thousand equal bytes, in a body of ours, in an Arrow insert and in an Arrow answer."""
    text = "x" * 100_000
    with connected(front.url, store.database, compression=compression) as server:
        assert server.frame("SELECT 1 AS one")["one"].item() == 1
        front.encodings.clear()
        front.n_bytes_in = front.n_bytes_out = 0
        statement = "INSERT INTO api_keys (key_id, name) FORMAT JSONEachRow"
        server.insert_bytes(statement, f'{{"key_id": "a", "name": "{text}"}}'.encode())
        assert (compression in front.encodings) == (compression != "none")
        server.insert("api_keys", pl.DataFrame({"key_id": ["b"], "name": [text]}))
        n_sent = front.n_bytes_in
        assert server.frame("SELECT name FROM api_keys FINAL")["name"].to_list() == [text, text]
    if compression == "none":
        assert n_sent > 200_000
        assert front.n_bytes_out > 200_000
    else:
        assert n_sent < 20_000
        assert front.n_bytes_out < 20_000


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls_is_spoken_and_the_certificate_checked(fronts: Callable[..., Front], store: Store, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = ["openssl", "req", "-x509", *curve, "-keyout", str(key), "-out", str(certificate), *names]
    subprocess.run(command, check=True, capture_output=True)
    front = fronts(certificate=(certificate, key))
    url = f"clickhouses://127.0.0.1:{front.port}"
    with connected(url, store.database, ca_file=certificate) as server:
        assert round_trip(server) == 1000
    with pytest.raises(StoreUnavailableError, match=r"(?i)certificate verify failed"):
        Store.server(url, store.database)


def test_user_and_password_are_sent(fronts: Callable[..., Front], store: Store) -> None:
    front = fronts(user="o@ps", password="p:w/#")
    with connected(f"clickhouse://o%40ps:p%3Aw%2F%23@127.0.0.1:{front.port}", store.database) as server:
        assert round_trip(server) == 1000
    with pytest.raises(StoreRefusedError, match="Authentication failed"):
        Store.server(f"clickhouse://o%40ps:wrong@127.0.0.1:{front.port}", store.database)


def test_the_url_may_name_the_database(front: Front, store: Store) -> None:
    with connected(f"{front.url}/{store.database}", "another") as server:
        assert server.database == store.database
        assert round_trip(server) == 1000


def test_a_server_that_does_not_answer_is_given_up(front: Front, store: Store) -> None:
    with connected(front.url, store.database, query_timeout_seconds=1) as server:
        assert round_trip(server) == 1000
        with front.failing(Fault.HANG, "api_keys"), pytest.raises(StoreUnavailableError):
            server.frame("SELECT count() FROM api_keys FINAL")
        assert server.frame("SELECT count() AS n FROM api_keys FINAL")["n"].item() == 1000


def test_a_server_that_does_not_shake_hands_is_given_up(store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        config = StorageConfig(connect_timeout_seconds=1, query_timeout_seconds=60)
        with pytest.raises(StoreUnavailableError):
            Store.server(f"clickhouses://127.0.0.1:{mute.getsockname()[1]}", store.database, config)
        # a few attempts of 1 s; waiting for an answer would take 60
        assert time.monotonic() - began < 30


def test_a_refused_connection_is_told_at_once(store: Store) -> None:
    with pytest.raises(StoreUnavailableError):
        Store.server("clickhouse://127.0.0.1:9", store.database, StorageConfig(connect_timeout_seconds=1))


def test_lists_longer_than_a_server_takes_in_one_value(front: Front, store: Store) -> None:
    """6,666 trace ids are 233 kB, and a bound value may have 131,072 bytes."""
    ids = [f"{n:032x}" for n in range(6_666)]
    odd = [*ids, "it's", "two\nlines", "tab\tand\\", "", "größer"]
    listed = "SELECT arrayJoin({ids:Array(String)})"
    with connected(front.url, store.database) as server:
        with pytest.raises(StoreRefusedError, match="Field value too long"):
            server.frame("SELECT length({ids:Array(String)}) AS n", {"ids": ids})
        found = server.frame(f"SELECT * FROM ({listed}) ORDER BY 1", {"ids": odd})
        assert found.to_series().to_list() == sorted(odd, key=str.encode)
        server.insert("api_keys", pl.DataFrame({"key_id": [*odd[-10:], "another"]}))
        matched = server.frame(f"SELECT count() AS n FROM api_keys WHERE key_id IN ({listed})", {"ids": odd})
        assert matched["n"].item() == 10
        server.command(f"INSERT INTO api_keys (key_id) SELECT concat('copy ', word) FROM ({listed} AS word)", {"ids": ids})
