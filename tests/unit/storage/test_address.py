"""What a ClickHouse URL means to the driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.address import ServerAddressError, connection_arguments, database_of
from storage.config import StorageConfig

PLAIN = StorageConfig()


def test_every_part_of_a_url() -> None:
    arguments = connection_arguments("clickhouse://o%40ps:p%3Aw%2F%23@db.example:9123/metrics", PLAIN)
    assert {name: arguments[name] for name in ("interface", "host", "port", "username", "password")} == {
        "interface": "http",
        "host": "db.example",
        "port": 9123,
        "username": "o@ps",
        "password": "p:w/#",
    }
    assert database_of("clickhouse://db.example:9123/metrics") == "metrics"
    assert database_of("clickhouse://db.example") == ""


@pytest.mark.parametrize(
    ("url", "interface", "port"),
    [
        ("clickhouse://h", "http", 8123),
        ("http://h", "http", 8123),
        ("clickhouses://h", "https", 8443),
        ("https://h:9440", "https", 9440),
        ("clickhouse://h:8443", "https", 8443),
        ("clickhouse://h:9000?secure=true", "https", 9000),
        ("clickhouse://h?secure=false", "http", 8123),
    ],
)
def test_when_tls_is_spoken(url: str, interface: str, port: int) -> None:
    arguments = connection_arguments(url, PLAIN)
    assert (arguments["interface"], arguments["port"]) == (interface, port)


def test_settings_reach_the_driver() -> None:
    config = StorageConfig(
        connect_timeout_seconds=2,
        query_timeout_seconds=40,
        compression="none",
        ca_file=Path("/ca.pem"),
        certificate_file=Path("/c.pem"),
        key_file=Path("/k.pem"),
    )
    arguments = connection_arguments("clickhouses://h", config)
    names = ("connect_timeout", "send_receive_timeout", "compress", "ca_cert", "client_cert", "client_cert_key")
    assert [arguments[name] for name in names] == [2, 40, False, "/ca.pem", "/c.pem", "/k.pem"]
    assert connection_arguments("clickhouse://h", PLAIN)["compress"] == "lz4"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("tcp://secret:secret@h:9000", "unknown scheme 'tcp'"),
        ("clickhouse://:secret@/x", "names no host"),
        ("clickhouse://u:secret@h:port", "Port could not be cast"),
        ("clickhouse://u:secret@h?connect_timeout=3", "unknown option connect_timeout"),
    ],
)
def test_what_cannot_be_used_is_named_without_the_password(url: str, says: str) -> None:
    with pytest.raises(ServerAddressError, match=says) as caught:
        connection_arguments(url, PLAIN)
    assert "secret" not in str(caught.value)
