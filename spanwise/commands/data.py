"""Commands about the data as a whole: migrate, backup, restore, copy, purge."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.table import Table

from spanwise.instance import api, own_store, run_job
from spanwise.opening import open_store
from spanwise.progress import bar
from spanwise.settings import Settings, load
from spanwise.upkeep import BACKUP, BACKUPS, PURGE, Upkeep
from storage import backup as backups
from storage.address import ServerAddressError, connection_arguments
from storage.client import Store
from storage.errors import DataDirectoryBusyError, PermanentError, StoreUnavailableError
from storage.migrations import known_migrations, migrate, schema_version
from storage.purge import trace_id
from storage.spools import read_n_pending

Config = Annotated[Path | None, typer.Option("--config", help="settings file; default: spanwise.toml where it exists")]
Url = Annotated[str | None, typer.Option(help="address of the API; default: the instance on the data directory")]
DataDir = Annotated[Path | None, typer.Option(help="data directory of the embedded engine")]

_NAMED = 20

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
    url: Url = None,
) -> None:
    """
    Write every table to Parquet files.

    A running instance does it itself, with its jobs paused; the files then move here, or stay with an instance elsewhere (--url).
    """
    settings = load(config, {"data_dir": data_dir})
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise PermanentError(f"{directory} is not empty; choose a new directory")
    if url is None:
        with own_store(settings) as store:
            if store is not None:
                _refuse_a_full_spool(settings)
                with bar("backing up") as update:
                    run = Upkeep(store, directory.parent).backup(directory.name, lambda share: update(share, ""))
                _tell(run.error, f"{run.rows_written:,} rows in {directory}")
                return
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
    with api(settings, url) as client, bar("backing up") as update:
        done = run_job(client, BACKUP, {"name": name}, update)
    made = settings.data_dir / BACKUPS / name
    if url is not None or not made.exists():
        _tell("", f"{done['detail']} of the instance")
        return
    if directory.exists():
        directory.rmdir()
    shutil.move(made, directory)
    _tell("", f"{done['rows_written']:,} rows in {directory}")


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
    if not (source / "clickhouse").is_dir():
        raise PermanentError(f"--from: {source} is no data directory of `spanwise serve`")
    try:
        connection_arguments(target, settings.storage)
    except ServerAddressError as error:
        raise PermanentError(str(error).replace("clickhouse_url", "--to", 1)) from error
    here = _opened(settings.model_copy(update={"clickhouse_url": None}))
    _refuse_a_full_spool(settings.model_copy(update={"clickhouse_url": None}))
    there = _server(target, settings)
    migrate(there)
    scratch = source / "copying"
    shutil.rmtree(scratch, ignore_errors=True)  # of a copy that was cut short
    scratch.mkdir()
    with bar("copying") as update:
        moved = backups.copy(here, there, scratch, _steps(update))
    scratch.rmdir()
    console.print(f"{moved.n_rows:,} rows copied and verified ({moved.n_skipped} of {moved.n_chunks} chunks were there already)")
    there.close()
    here.close()


def purge(
    trace: Annotated[list[str] | None, typer.Option(help="trace id; may be given several times")] = None,
    user: Annotated[str | None, typer.Option(help="every trace of this user id")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """
    Erase traces, or everything of a user, and print the proof.

    A running instance does it itself, with its jobs paused.
    """
    if not trace and not user:
        raise PermanentError("name what to erase: --trace ID or --user ID")
    named = [trace_id(text) for text in trace or ()]
    settings = load(config, {"data_dir": data_dir})
    if url is None:
        with own_store(settings) as store:
            if store is not None:
                _refuse_a_full_spool(settings)
                with bar("erasing") as update:
                    run = Upkeep(store, settings.data_dir).purge(named, user, lambda share: update(share, ""))
                _show_proof(run.error, run.detail)
                if waiting := read_n_pending(store):
                    console.print(f"{waiting:,} items wait in spools; run this again once they are written")
                return
    wish = {name: value for name, value in (("traces", named), ("user", user)) if value}
    with api(settings, url) as client, bar("erasing") as update:
        done = run_job(client, PURGE, wish, update)
    _show_proof("", done["detail"])


def _refuse_a_full_spool(settings: Settings) -> None:
    """What a killed instance left in its spool is not in the tables: it would be neither saved nor erased."""
    if settings.clickhouse_url is not None:
        return
    left = sum(path.stat().st_size for path in (settings.data_dir / "spool").rglob("*.segment"))
    if left:
        raise PermanentError(
            f"{left:,} bytes wait in {settings.data_dir / 'spool'}; run `spanwise serve` until they are written, first"
        )


def _show_proof(error: str, detail: str) -> None:
    if error:
        raise PermanentError(error)
    proof = json.loads(detail)
    if missing := proof["not_found"]:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        console.print(
            f"no such trace: {', '.join(missing[:_NAMED])}{more} (never stored here, or erased before)", highlight=False
        )
    if not proof["n_traces"]:
        console.print("nothing was erased")
        return
    table = Table("table", "rows found", "rows left", title=f"erased {proof['n_traces']} traces")
    for entry in proof["tables"]:
        table.add_row(entry["table"], str(entry["n_before"]), str(entry["n_after"]))
    console.print(table)


def _tell(error: str, detail: str) -> None:
    if error:
        raise PermanentError(error)
    console.print(detail, soft_wrap=True, highlight=False)


def _opened(settings: Settings) -> Store:
    try:
        return open_store(settings)
    except DataDirectoryBusyError as error:
        raise PermanentError(f"{error} (this command needs the data directory to itself)") from error


def _server(target: str, settings: Settings) -> Store:
    try:
        return Store.server(target, settings.storage.database, settings.storage)
    except StoreUnavailableError as error:
        at = urlsplit(target)
        cause: BaseException = error
        while deeper := cause.__cause__ or cause.__context__:
            cause = deeper
        raise StoreUnavailableError(
            f"--to: no ClickHouse answers on {at.hostname}:{at.port or 'its usual port'}: {cause}"
        ) from error


def _steps(update: Callable[[float, str], None]) -> backups.Progress:
    def progress(done: int, total: int, name: str) -> None:
        update(done / total if total else 1.0, name)

    return progress
