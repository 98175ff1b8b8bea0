"""`spanwise quarantine`: what the store refused: look at it, send it through again, or give it up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from api.auth import KeyAuthenticator
from api.documents import to_json
from collector.service import Collector
from spanwise.instance import api, own_store
from spanwise.settings import Settings, load
from storage.client import Store
from storage.clock import WallClock
from storage.quarantine import read_quarantine

Config = Annotated[Path | None, typer.Option("--config", help="settings file; default: spanwise.toml where it exists")]
DataDir = Annotated[Path | None, typer.Option(help="data directory of the embedded engine")]
Ids = Annotated[list[str], typer.Argument(help="ids as `spanwise quarantine list` shows them")]

app = typer.Typer(help="Requests the store refused: list, retry, drop.", no_args_is_help=True)
console = Console()


def register(program: typer.Typer) -> None:
    """Add the commands to the program."""
    program.add_typer(app, name="quarantine")


@app.command("list")
def list_requests(
    state: Annotated[str, typer.Option(help="held, retried or dropped; empty for all")] = "held",
    limit: Annotated[int, typer.Option(help="at most so many, newest first")] = 100,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """What is held, and why."""
    settings = load(config, {"data_dir": data_dir})
    with own_store(settings) as store:
        if store is not None:
            rows: list[dict[str, Any]] = to_json(read_quarantine(store, state, limit).to_dicts())
        else:
            with api(settings) as client:
                rows = client.get("/api/v1/quarantine", params={"state": state, "limit": limit}).json()["items"]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(Column("id", no_wrap=True), "when", "signal", "items", "reason", "state")
    for row in rows:
        table.add_row(
            row["quarantine_id"], row["quarantined_at"], row["signal"], str(row["n_items"]), row["reason"], row["state"]
        )
    console.print(table if rows else "nothing is held")


@app.command()
def retry(ids: Ids, config: Config = None, data_dir: DataDir = None) -> None:
    """Send held requests through again, after the cause was mended; what is refused again is held again."""
    _each(ids, "retry", load(config, {"data_dir": data_dir}))


@app.command()
def drop(ids: Ids, config: Config = None, data_dir: DataDir = None) -> None:
    """Give held requests up. Their bytes are deleted; the ledger keeps counting them."""
    _each(ids, "drop", load(config, {"data_dir": data_dir}))


def _each(ids: list[str], action: str, settings: Settings) -> None:
    with own_store(settings) as store:
        if store is not None:
            _report(ids, action, _by_hand(store, settings, action))
            return
    with api(settings) as client:
        _report(ids, action, lambda name: client.post(f"/api/v1/quarantine/{name}/{action}").json()["n_items"])


def _by_hand(store: Store, settings: Settings, action: str) -> Callable[[str], int]:
    def act(quarantine_id: str) -> int:
        clock = WallClock()
        collector = Collector(settings.collector, store, settings.data_dir / "spool", clock, KeyAuthenticator(store, clock))
        collector.start()
        try:
            change = collector.retry_quarantined if action == "retry" else collector.drop_quarantined
            n_items = change(quarantine_id)
            collector.flush()
            return n_items
        finally:
            collector.stop()

    return act


def _report(ids: list[str], action: str, act: Callable[[str], int]) -> None:
    done = {"retry": "sent again", "drop": "dropped"}[action]
    for quarantine_id in ids:
        console.print(f"{quarantine_id}: {act(quarantine_id)} items {done}")
