"""Brings a database to this release's schema: numbered SQL files, applied once, in order, checksummed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import resources

from storage.client import Store
from storage.errors import PermanentError

_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    number UInt32,
    name String,
    checksum String,
    applied_at DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = ReplacingMergeTree
ORDER BY number
"""


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


def known_migrations() -> list[Migration]:
    """Every schema file of this release, in order."""
    files = [f for f in resources.files("storage").joinpath("schema").iterdir() if f.name.endswith(".sql")]
    return sorted(
        (Migration(int(f.name[:3]), f.name.removesuffix(".sql"), f.read_text(encoding="utf-8")) for f in files),
        key=lambda migration: migration.number,
    )


def migrate(store: Store) -> list[Migration]:
    """Apply what is missing and return it. Every statement is idempotent, so a run cut short is simply run again."""
    store.command(store.cluster.arrange([_LEDGER.strip()])[0] if store.cluster else _LEDGER)
    applied = {
        row["number"]: row["checksum"]
        for row in store.frame("SELECT number, checksum FROM schema_migrations FINAL").iter_rows(named=True)
    }
    known = known_migrations()
    newest = max((m.number for m in known), default=0)
    if applied and max(applied) > newest:
        raise SchemaMismatchError(f"database has schema {max(applied)}, this release knows up to {newest}; upgrade Spanwise")
    done = []
    for migration in known:
        if migration.number in applied:
            if applied[migration.number] != migration.checksum:
                raise SchemaMismatchError(f"schema file {migration.name} differs from the one this database was made with")
            continue
        statements = migration.statements()
        for statement in store.cluster.arrange(statements) if store.cluster else statements:
            store.command(statement)
        store.command(
            "INSERT INTO schema_migrations (number, name, checksum) VALUES ({number:UInt32}, {name:String}, {checksum:String})",
            {"number": migration.number, "name": migration.name, "checksum": migration.checksum},
        )
        done.append(migration)
    return done


def schema_version(store: Store) -> int:
    """The number of the newest schema file the database was made with; 0 for none."""
    version: int = store.frame("SELECT max(number) AS number FROM schema_migrations")["number"].item()
    return version
