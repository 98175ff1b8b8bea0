"""Backups as a directory of Parquet files and a manifest, and the way back. Any tool that reads Parquet can read one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.chunks import NOTHING, Chunk, Fingerprint, chunks, data_tables, export, fingerprint, replace
from storage.client import Store
from storage.errors import PermanentError, StoreRefusedError
from storage.migrations import schema_version

MANIFEST = "manifest.json"
Progress = Callable[[int, int, str], None]


class BackupError(PermanentError):
    """A backup cannot be read, or a restore did not give what was saved."""


@dataclass(frozen=True)
class Moved:
    """What a backup, restore or copy did."""

    n_chunks: int
    n_rows: int
    n_skipped: int


def backup(store: Store, directory: Path, progress: Progress) -> Moved:
    """
    Write every table to `directory` as Parquet; the manifest comes last, so a directory without one is no backup.

    Args:
        progress: called with chunks done, chunks in all, and the name of the next.
    """
    if (directory / MANIFEST).exists():
        raise BackupError(f"{directory} already holds a backup; choose an empty directory")
    directory.mkdir(parents=True, exist_ok=True)
    # The jobs' watermarks first: what is written meanwhile lies behind them, and is looked at again after a restore.
    todo = sorted(chunks(store), key=lambda chunk: chunk.table != "job_runs")
    entries = []
    for done, chunk in enumerate(todo):
        progress(done, len(todo), chunk.file_name)
        entries.append(asdict(chunk) | asdict(export(store, chunk, directory / chunk.file_name)))
    manifest = {
        "format": 1,
        "schema": schema_version(store),
        "made_at": datetime.now(UTC).isoformat(),
        "chunks": entries,
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    progress(len(todo), len(todo), "")
    return Moved(len(todo), sum(entry["n_rows"] for entry in entries), 0)


def restore(store: Store, directory: Path, progress: Progress) -> Moved:
    """
    Fill an empty, migrated database from a backup, and check every chunk against the manifest.

    Chunks already there are skipped, so a restore that was cut short is simply run again.
    """
    entries = _manifest(directory, schema_version(store))
    wanted = {Chunk(e["table"], e["partition"]): Fingerprint(e["n_rows"], e["checksum"]) for e in entries}
    _refuse_strangers(store, set(wanted))
    n_skipped = 0
    for done, (chunk, expected) in enumerate(wanted.items()):
        progress(done, len(wanted), chunk.file_name)
        if fingerprint(store, chunk) == expected:
            n_skipped += 1
            continue
        _replaced(store, chunk, directory / chunk.file_name)
        if (found := fingerprint(store, chunk)) != expected:
            raise BackupError(f"{chunk.file_name}: restored {found.n_rows} rows, expected {expected.n_rows} (or contents differ)")
    progress(len(wanted), len(wanted), "")
    return Moved(len(wanted), sum(f.n_rows for f in wanted.values()), n_skipped)


def copy(source: Store, target: Store, scratch: Path, progress: Progress) -> Moved:
    """
    Make `target` (migrated) hold what `source` holds, chunk by chunk, verified by counts and checksums.

    Resumable: chunks that are equal on both sides are skipped. `scratch` holds one chunk at a time.
    """
    if (ours := schema_version(source)) != (theirs := schema_version(target)):
        raise BackupError(f"source has schema {ours}, target {theirs}; run the same release on both and migrate first")
    todo = list(chunks(source))
    n_skipped = n_rows = 0
    for done, chunk in enumerate(todo):
        progress(done, len(todo), chunk.file_name)
        expected = fingerprint(source, chunk)
        n_rows += expected.n_rows
        if fingerprint(target, chunk) == expected:
            n_skipped += 1
            continue
        path = scratch / chunk.file_name
        export(source, chunk, path)
        replace(target, chunk, path)
        path.unlink()
        if (found := fingerprint(target, chunk)) != expected:
            raise BackupError(f"{chunk.file_name}: copied {found.n_rows} rows, expected {expected.n_rows} (or contents differ)")
    progress(len(todo), len(todo), "")
    return Moved(len(todo), n_rows, n_skipped)


def _replaced(store: Store, chunk: Chunk, path: Path) -> None:
    if not path.is_file():
        raise BackupError(f"{path} cannot be read: there is no such file")
    try:
        replace(store, chunk, path)
    except StoreRefusedError as error:
        raise BackupError(f"{path} cannot be read: it is cut short, or no Parquet") from error


def _manifest(directory: Path, schema: int) -> list[dict[str, Any]]:
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        made_by, entries = manifest["schema"], list(manifest["chunks"])
    except (OSError, ValueError) as error:
        raise BackupError(f"{directory} holds no complete backup: {error}") from error
    except (LookupError, TypeError) as error:
        raise BackupError(f"{directory / MANIFEST} is not the manifest of a backup that `spanwise backup` wrote") from error
    if made_by != schema:
        raise BackupError(
            f"the backup has schema {made_by}, this release {schema}; restore with the release that made it, then upgrade"
        )
    return entries


def _refuse_strangers(store: Store, wanted: set[Chunk]) -> None:
    known = set(data_tables(store))
    if unknown := sorted({chunk.table for chunk in wanted} - known):
        raise BackupError(f"the backup has tables this release does not know: {', '.join(unknown)}")
    strangers = [chunk for chunk in chunks(store) if chunk not in wanted and fingerprint(store, chunk) != NOTHING]
    if strangers:
        raise BackupError(
            f"the database is not empty: {strangers[0].file_name} is not part of the backup; restore into a fresh one"
        )
