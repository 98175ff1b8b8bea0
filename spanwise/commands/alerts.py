"""`spanwise alerts …`: what fires, and the answers to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Column, Table

from spanwise.instance import api
from spanwise.settings import load
from spanwise.tables import WIDE, narrow
from storage.errors import PermanentError

Config = Annotated[Path | None, typer.Option("--config", help="settings file; default: spanwise.toml where it exists")]
DataDir = Annotated[Path | None, typer.Option(help="data directory of the running instance")]
Url = Annotated[str | None, typer.Option(help="address of the API; default: the instance on the data directory")]
AlertId = Annotated[str, typer.Argument(help="the alert's id")]
Json = Annotated[bool, typer.Option("--json", help="print the document instead of a table")]

alerts = typer.Typer(help="What fires, and the answers to it.", no_args_is_help=True)
console = Console()


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(alerts, name="alerts")


@alerts.command("list")
def show(
    state: Annotated[list[str] | None, typer.Option(help="firing and acknowledged, unless said; `all` for every state")] = None,
    rollout: Annotated[str | None, typer.Option(help="only this rollout's")] = None,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """List alerts, newest first."""
    wanted = {"state": state or [], **({"rollout": rollout} if rollout else {})}
    with api(load(config, {"data_dir": data_dir}), url) as client:
        document = client.get("/api/v1/alerts", params=wanted).json()
    if as_json:
        print(json.dumps(document, indent=2))
        return
    console.print(table(document["items"], console.width) if document["items"] else "nothing matches")


def table(items: list[dict[str, Any]], width: int) -> Table:
    """One row per alert; in a narrow terminal one column: a line that says which, and the sentence below it."""
    is_wide = width >= WIDE
    shown = Table(Column("alert", no_wrap=True), "state", "about", "kind", "opened", "what") if is_wide else narrow("alert")
    for item in items:
        what = escape((item["page"] or {}).get("what", ""))
        about = escape(f"{item['subject_kind']} {item['subject']}")
        if is_wide:
            shown.add_row(item["alert_id"], item["state"], about, item["kind"], item["opened_at"], what)
        else:
            shown.add_row(f"[bold]{item['alert_id']}[/]  {item['state']} since {item['opened_at'][:19]}Z")
            shown.add_row(f"  {about}: {item['kind']}")
            shown.add_row(Padding(what, (0, 0, 1, 2)))
    return shown


@alerts.command()
def acknowledge(
    alert_id: AlertId,
    note: Annotated[str, typer.Option(help="anything worth keeping")] = "",
    config: Config = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Say that somebody is on it: no more reminders."""
    _answer(f"/api/v1/alerts/{alert_id}/acknowledge", {"note": note}, config, data_dir, url)


@alerts.command()
def silence(
    alert_id: AlertId,
    reason: Annotated[str, typer.Option(help="why")],
    length: Annotated[str | None, typer.Option("--for", help="a duration such as 4h or 2d")] = None,
    until: Annotated[str | None, typer.Option(help="a time (RFC 3339)")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Say nothing about the alert's rollout or rule for a while."""
    if (length is None) == (until is None):
        raise PermanentError("silence for how long? give --for or --until, one of the two")
    wish = {"reason": reason, **({"for": length} if length else {"until": until})}
    _answer(f"/api/v1/alerts/{alert_id}/silence", wish, config, data_dir, url)


@alerts.command()
def unsilence(alert_id: AlertId, config: Config = None, data_dir: DataDir = None, url: Url = None) -> None:
    """Lift the silence of the alert's rollout or rule."""
    _answer(f"/api/v1/alerts/{alert_id}/unsilence", {}, config, data_dir, url)


@alerts.command()
def accept(
    alert_id: AlertId,
    reason: Annotated[str, typer.Option(help="why the harm is acceptable")],
    config: Config = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Close it: the harm is known and taken, and its streams never page again in this comparison."""
    _answer(f"/api/v1/alerts/{alert_id}/accept", {"reason": reason}, config, data_dir, url)


@alerts.command()
def retry(config: Config = None, data_dir: DataDir = None, url: Url = None) -> None:
    """Take every dead letter up again."""
    with api(load(config, {"data_dir": data_dir}), url) as client:
        dead = client.get("/api/v1/deliveries", params={"state": "dead", "limit": 1000}).json()["items"]
        for message in dead:
            client.post(f"/api/v1/deliveries/{message['delivery_id']}/retry")
            console.print(f"{message['channel']}: alert {message['alert_id']}, notice {message['notice_number']}", markup=False)
    console.print(f"{len(dead)} messages will be tried again with the next tick")


def _answer(path: str, wish: dict[str, Any], config: Path | None, data_dir: Path | None, url: str | None) -> None:
    with api(load(config, {"data_dir": data_dir}), url) as client:
        alert = client.post(path, json=wish).json()
    console.print(f"alert {alert['alert_id']} is {alert['state']}")
