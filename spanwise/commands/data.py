"""Commands about the data as a whole: migrate, backup, restore, copy, purge."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from spanwise.opening import open_store
from spanwise.progress import bar
from spanwise.settings import Settings, load
from storage import backup as backups
from storage.client import Store
from storage.errors import DataDirectoryBusyError, PermanentError
from storage.migrations import known_migrations, migrate, schema_version
from storage.purge import purge_traces, traces_of_user

Config = Annotated[Path | None, typer.Option("--config", help="settings file; default: spanwise.toml where it exists")]
DataDir = Annotated[Path | None, typer.Option(help="data directory of the embedded engine")]

console = Console()


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (migrate_schema, backup, restore, copy, purge):
        app.command(name="migrate" if command is migrate_schema else None)(command)


def migrate_schema(config: Config = None, data_dir: DataDir = None) -> None:
    """Bring the database to this release's schema; safe to repeat. `serve` does it by itself."""
    settings = load(config, {"data_dir": data_dir})
    store = _opened(settings)
    console.print(f"schema {schema_version(store)} of {known_migrations()[-1].number}: up to date")
    store.close()


def backup(
    directory: Annotated[Path, typer.Argument(help="new directory for the Parquet files and their manifest")],
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Write every table to Parquet files. An embedded instance must be stopped first; a server need not."""
    store = _opened(load(config, {"data_dir": data_dir}))
    with bar("backing up") as update:
        moved = backups.backup(store, directory, _steps(update))
    console.print(f"{moved.n_rows:,} rows in {moved.n_chunks} files in {directory}")
    store.close()


def restore(
    directory: Annotated[Path, typer.Argument(help="a directory that `spanwise backup` wrote")],
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Fill an empty database from a backup; every chunk is checked. Run it again if it was cut short."""
    store = _opened(load(config, {"data_dir": data_dir}))
    with bar("restoring") as update:
        moved = backups.restore(store, directory, _steps(update))
    console.print(
        f"{moved.n_rows:,} rows restored and verified ({moved.n_skipped} of {moved.n_chunks} chunks were there already)"
    )
    store.close()


def copy(
    source: Annotated[Path, typer.Option("--from", help="data directory of the embedded engine")],
    target: Annotated[str, typer.Option("--to", help="ClickHouse server, clickhouse://user:password@host:8123")],
    config: Config = None,
) -> None:
    """Move from the embedded engine to a ClickHouse server: verified by counts and checksums, resumable."""
    settings = load(config, {"data_dir": source})
    here = _opened(settings.model_copy(update={"clickhouse_url": None}))
    there = Store.server(target, settings.storage.database, cluster=settings.storage.cluster)
    migrate(there)
    with bar("copying") as update, tempfile.TemporaryDirectory(dir=source) as scratch:
        moved = backups.copy(here, there, Path(scratch), _steps(update))
    console.print(f"{moved.n_rows:,} rows copied and verified ({moved.n_skipped} of {moved.n_chunks} chunks were there already)")
    there.close()
    here.close()


def purge(
    trace: Annotated[list[str] | None, typer.Option(help="trace id; may be given several times")] = None,
    user: Annotated[str | None, typer.Option(help="every trace of this user id")] = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Erase traces, or everything of a user, and print the proof."""
    if not trace and not user:
        raise PermanentError("name what to erase: --trace ID or --user ID")
    store = _opened(load(config, {"data_dir": data_dir}))
    ids = sorted({*(trace or []), *(traces_of_user(store, user) if user else [])})
    proof = Table("table", "rows found", "rows left", title=f"erased {len(ids)} traces")
    for entry in purge_traces(store, ids):
        proof.add_row(entry.table, str(entry.n_before), str(entry.n_after))
    console.print(proof)
    store.close()


def _opened(settings: Settings) -> Store:
    try:
        return open_store(settings)
    except DataDirectoryBusyError as error:
        raise PermanentError(f"{error} (this command needs the data directory to itself)") from error


def _steps(update: Callable[[float, str], None]) -> backups.Progress:
    def progress(done: int, total: int, name: str) -> None:
        update(done / total if total else 1.0, name)

    return progress
