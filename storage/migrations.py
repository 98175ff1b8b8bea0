"""Brings a database to this release's schema: numbered SQL files, applied once, in order, checksummed."""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources

import polars as pl

from storage.client import Store
from storage.errors import PermanentError, RetryableError
from storage.leases import Lease

_PATIENCE_SECONDS = 180
# Short, because it is renewed beside the work: after a runner that died, the next one begins within this and settling, 12 s.
_LEASE_SECONDS = 10.0


@dataclass(frozen=True)
class Migration:
    """One schema file."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def statements(self) -> list[str]:
        """Its statements; a semicolon at a line's end separates them."""
        without_comments = re.sub(r"^\s*--.*$", "", self.sql, flags=re.MULTILINE)
        return [text.strip() for text in re.split(r";\s*$", without_comments, flags=re.MULTILINE) if text.strip()]


class SchemaMismatchError(PermanentError):
    """The database was made by a newer release, or a released schema file was edited."""


class MigrationBusyError(RetryableError):
    """Another process is migrating, and took longer than this one waits."""


def known_migrations() -> list[Migration]:
    """Every schema file of this release, in order; number 0 is what the runner itself needs."""
    files = [f for f in resources.files("storage").joinpath("schema").iterdir() if f.name.endswith(".sql")]
    return sorted(
        (Migration(int(f.name[:3]), f.name.removesuffix(".sql"), f.read_text(encoding="utf-8")) for f in files),
        key=lambda migration: migration.number,
    )


def migrate(store: Store) -> list[Migration]:
    """
    Apply what is missing and return it.

    One process at a time does it: the one that owns the directory, or on a server the one with the lease; the others wait and
    find it done. Every statement is idempotent, so a run that was cut short is simply run again.

    Raises:
        SchemaMismatchError: the database is from a newer release, or a released file was edited.
        MigrationBusyError: another process has been at it for too long.
    """
    bootstrap, *known = known_migrations()
    _run(store, bootstrap)
    if not _missing(store, known):
        return []
    with _alone(store):
        missing = _missing(store, known)
        for migration in missing:
            _run(store, migration)
            row = {"number": migration.number, "name": migration.name, "checksum": migration.checksum}
            store.insert("schema_migrations", pl.DataFrame([row], schema_overrides={"number": pl.UInt32}))
    return missing


def schema_version(store: Store) -> int:
    """The number of the newest schema file the database was made with; 0 for none."""
    version: int = store.frame("SELECT max(number) AS number FROM schema_migrations")["number"].item()
    return version


def _missing(store: Store, known: Sequence[Migration]) -> list[Migration]:
    rows = store.frame("SELECT number, checksum FROM schema_migrations FINAL").iter_rows()
    applied: dict[int, str] = dict(rows)
    newest = known[-1].number
    if max(applied, default=0) > newest:
        raise SchemaMismatchError(f"database has schema {max(applied)}, this release knows up to {newest}; upgrade Spanwise")
    for migration in known:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise SchemaMismatchError(f"schema file {migration.name} differs from the one this database was made with")
    return [migration for migration in known if migration.number not in applied]


def _run(store: Store, migration: Migration) -> None:
    statements = migration.statements()
    for statement in store.cluster.arrange(statements) if store.cluster else statements:
        store.command(statement)


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Nobody else migrates while the block runs."""
    if store.is_embedded:
        yield
        return
    lease = Lease(store, "migration", uuid.uuid4().hex, seconds=_LEASE_SECONDS)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not lease.hold():
        if time.monotonic() > deadline:
            raise MigrationBusyError(f"another process has been migrating for over {_PATIENCE_SECONDS} s; see its log")
        time.sleep(0.5)
    with lease.kept():
        yield
