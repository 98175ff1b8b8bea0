"""Commands that recompute: backfill, reprice, renormalize. A running instance is asked; otherwise they do it themselves."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from analytics.jobs import Jobs
from api.times import parse_time
from spanwise.instance import api, own_store, run_job
from spanwise.progress import bar
from spanwise.runner import Runner
from spanwise.settings import Settings, load
from storage.clock import WallClock
from storage.errors import PermanentError

Config = Annotated[Path | None, typer.Option("--config", help="settings file; default: spanwise.toml where it exists")]
DataDir = Annotated[Path | None, typer.Option(help="data directory of the embedded engine")]
Since = Annotated[str, typer.Option(help="RFC 3339 time, or relative such as -24h")]
Until = Annotated[str | None, typer.Option(help="RFC 3339 time, or relative; default: now")]
Url = Annotated[str | None, typer.Option(help="address of the API; default: the instance on the data directory")]

console = Console()


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (backfill, reprice, renormalize):
        app.command()(command)


def backfill(since: Since, until: Until = None, config: Config = None, data_dir: DataDir = None, url: Url = None) -> None:
    """Rebuild facts and rollups of a range of time; the results are the same, or right where they were not."""
    _run("backfill", since, until, load(config, {"data_dir": data_dir}), url)


def reprice(since: Since, until: Until = None, config: Config = None, data_dir: DataDir = None, url: Url = None) -> None:
    """Apply the present prices to the past."""
    _run("reprice", since, until, load(config, {"data_dir": data_dir}), url)


def renormalize(since: Since, until: Until = None, config: Config = None, data_dir: DataDir = None, url: Url = None) -> None:
    """Read stored raw attributes again through this release's mapping."""
    _run("renormalize", since, until, load(config, {"data_dir": data_dir}), url)


def _run(kind: str, since: str, until: str | None, settings: Settings, url: str | None) -> None:
    now = WallClock().now()
    first, last = parse_time(since, now, "--since"), parse_time(until, now, "--until") if until else None
    if first >= (last or now):
        raise PermanentError(
            f"--since {since} is not before {f'--until {until}' if until else 'now'}: no trace lies between them"
        )
    if url is None:
        with own_store(settings) as store:
            if store is not None:
                runner = Runner(store, Jobs(store, settings.analytics, WallClock(), settings.price))
                with bar(kind) as update:
                    run = runner.run(kind, first, last, lambda share: update(share, ""))
                if run.error:
                    raise PermanentError(f"{kind} {run.state}: {run.error}")
                console.print(f"{kind}: {run.rows_written:,} rows written")
                return
    _ask(kind, first, last, settings, url)


def _ask(kind: str, since: datetime, until: datetime | None, settings: Settings, url: str | None) -> None:
    wish = {"since": since.isoformat(), "until": until.isoformat() if until else None}
    with api(settings, url) as client, bar(kind) as update:
        run = run_job(client, kind, wish, update)
    console.print(f"{kind}: {run.get('rows_written', 0):,} rows written")
