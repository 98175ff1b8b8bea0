"""A ClickHouse server's address and how it is spoken to, as arguments of clickhouse-connect."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from storage.config import StorageConfig
from storage.errors import PermanentError

_SCHEMES = {"clickhouse": "http", "http": "http", "clickhouses": "https", "https": "https"}
_PORTS = {"http": 8123, "https": 8443}


class ServerAddressError(ValueError, PermanentError):
    """The URL of a ClickHouse server cannot be used; the message never shows its password."""


def database_of(url: str) -> str:
    """The database that the URL names in its path; empty where it names none."""
    return unquote(urlsplit(url).path.strip("/"))


def connection_arguments(url: str, config: StorageConfig) -> dict[str, Any]:
    """
    Arguments of `clickhouse_connect.get_client` for a server.

    Args:
        url: `clickhouse://user:password@host:8123/database`; `clickhouses://`, or `?secure=true`, or port 8443 speaks TLS.
            Reserved characters in user and password are percent-encoded.

    Raises:
        ServerAddressError: the URL names no host, or something unknown.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    secure = options.pop("secure", "").lower()
    if parts.scheme not in _SCHEMES:
        raise ServerAddressError(f"clickhouse_url: unknown scheme {parts.scheme!r}; use clickhouse:// or clickhouses:// (TLS)")
    if not parts.hostname:
        raise ServerAddressError("clickhouse_url: names no host; write clickhouse://user:password@host:8123")
    if options or secure not in ("", "true", "false"):
        unknown = ", ".join(sorted(options)) or f"secure={secure}"
        raise ServerAddressError(f"clickhouse_url: unknown option {unknown}; timeouts, compression and certificates are settings")
    try:
        port = parts.port
    except ValueError as error:
        raise ServerAddressError(f"clickhouse_url: {error}") from error
    interface = "https" if secure == "true" or port == 8443 else _SCHEMES[parts.scheme]
    arguments = {
        "interface": interface,
        "host": parts.hostname,
        "port": port or _PORTS[interface],
        "username": unquote(parts.username or "") or None,
        "password": unquote(parts.password or ""),
        "autogenerate_session_id": False,
        "compress": False if config.compression == "none" else config.compression,
        "connect_timeout": config.connect_timeout_seconds,
        "send_receive_timeout": config.query_timeout_seconds,
    }
    files = {"ca_cert": config.ca_file, "client_cert": config.certificate_file, "client_cert_key": config.key_file}
    return arguments | {name: str(path) for name, path in files.items() if path is not None}
