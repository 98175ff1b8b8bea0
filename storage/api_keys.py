"""API keys: a random secret is shown once, its hash is kept; who may pass which door is read from here."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import polars as pl

from storage.client import Store
from storage.errors import PermanentError, RetryableError

SECRET_PREFIX = "sw_"  # noqa: S105 - the prefix is public, it lets secret scanners recognise a leaked key


class Scope(StrEnum):
    """What a key opens: `ingest` sends spans and scores, `read` queries, `admin` changes things and includes both."""

    INGEST = "ingest"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True)
class ApiKey:
    """Who is calling. Never holds the secret."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    created_at: datetime | None = None
    revoked_at: datetime | None = None

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


ANONYMOUS = ApiKey(key_id="", name="anonymous", scopes=frozenset(Scope))
"""Whoever calls over loopback while no key has ever been made."""


class AuthenticationError(PermanentError):
    """No key, or one that opens nothing. HTTP 401, gRPC UNAUTHENTICATED."""


class ScopeError(PermanentError):
    """A good key without the needed scope. HTTP 403, gRPC PERMISSION_DENIED."""

    def __init__(self, needed: Scope, key: ApiKey) -> None:
        self.needed = needed
        has = ", ".join(sorted(key.scopes)) or "none"
        super().__init__(f"key {key.name!r} has scopes {has}; this needs {needed}")


class TooManyFailuresError(RetryableError):
    """This peer sent too many wrong keys. HTTP 429, gRPC RESOURCE_EXHAUSTED, after `retry_after_seconds`."""

    def __init__(self, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"too many wrong keys from this address; wait {retry_after_seconds:.0f} s")


class UnknownKeyError(LookupError, PermanentError):
    """No key of that id."""

    def __init__(self, key_id: str, known: Iterable[str]) -> None:
        self.key_id = key_id
        self.known = sorted(known)
        super().__init__(f"no key {key_id!r}; keys: {', '.join(self.known) or 'none'}")

    def __str__(self) -> str:
        return str(self.args[0])


def secret_hash(secret: str) -> str:
    """
    SHA-256 of a secret, hexadecimal.

    A plain hash is enough: secrets are 256 random bits, so there is nothing to guess that a slow hash would slow down.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def create_key(store: Store, name: str, scopes: frozenset[Scope], now: datetime) -> tuple[ApiKey, str]:
    """Make a key. Returns it and its secret, which nobody can read again."""
    if not scopes:
        raise ValueError("a key needs at least one scope")
    secret = SECRET_PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(key_id=secrets.token_hex(6), name=name, scopes=scopes, created_at=now)
    _write(store, key, secret_hash(secret), now)
    return key, secret


def read_keys(store: Store) -> dict[str, ApiKey]:
    """Every key ever made by the hash of its secret, revoked ones too, oldest first."""
    rows = store.frame(
        "SELECT key_id, name, hash, scopes, created_at, revoked_at FROM api_keys FINAL ORDER BY created_at, key_id"
    )
    known = set(Scope)
    return {
        row["hash"]: ApiKey(
            key_id=row["key_id"],
            name=row["name"],
            scopes=frozenset(Scope(scope) for scope in row["scopes"] if scope in known),
            created_at=row["created_at"],
            revoked_at=row["revoked_at"],
        )
        for row in rows.iter_rows(named=True)
    }


def revoke_key(store: Store, key_id: str, now: datetime) -> ApiKey:
    """Close a key for good; revoking twice keeps the first time. Raises `UnknownKeyError`."""
    keys = read_keys(store)
    for digest, key in keys.items():
        if key.key_id == key_id:
            if key.revoked_at is not None:
                return key
            revoked = replace(key, revoked_at=now)
            _write(store, revoked, digest, now)
            return revoked
    raise UnknownKeyError(key_id, (key.key_id for key in keys.values()))


def _write(store: Store, key: ApiKey, digest: str, now: datetime) -> None:
    row = {
        "key_id": key.key_id,
        "name": key.name,
        "hash": digest,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
        "changed_at": now,
    }
    time = pl.Datetime("ns", "UTC")
    schema = {"scopes": pl.List(pl.String), "created_at": time, "revoked_at": time, "changed_at": time}
    store.insert("api_keys", pl.DataFrame([row], schema_overrides=schema))
