"""`spanwise gate`: may this candidate be promoted. The exit code is the answer."""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from spanwise.instance import InstanceError, api
from spanwise.settings import load

Config = Annotated[Path | None, typer.Option("--config", help="settings file; default: spanwise.toml where it exists")]
DataDir = Annotated[Path | None, typer.Option(help="data directory of the running instance")]
Url = Annotated[str | None, typer.Option(help="address of the API; default: the instance on the data directory")]


class ExitCode(IntEnum):
    """What a pipeline reads. No answer is not an answer: it has a code of its own."""

    PASS = 0
    FAIL = 1
    UNDETERMINED = 2
    NO_ANSWER = 3


_STYLES = {"pass": "[green]✓ pass[/]", "fail": "[red]✗ FAIL[/]", "undetermined": "[yellow]? undetermined[/]"}


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(gate)


def gate(
    rollout: Annotated[str, typer.Argument(help="name of the rollout")],
    on: Annotated[Literal["live", "experiment"], typer.Option(help="live traffic, or paired golden-set runs")] = "live",
    as_json: Annotated[bool, typer.Option("--json", help="print the document instead of a table")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Ask the gate. Exit code 0 pass, 1 fail, 2 undetermined, 3 no answer."""
    try:
        with api(load(config, {"data_dir": data_dir}), url) as client:
            document = client.get(f"/api/v1/gate/{rollout}", params={"on": on}).json()
    except InstanceError as error:
        print(f"spanwise: {error}", file=sys.stderr)
        raise typer.Exit(ExitCode.NO_ANSWER) from error
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        _show(document)
    raise typer.Exit(ExitCode[document["gate"].upper()])


def _show(document: dict[str, Any]) -> None:
    table = Table("check", "answer", "why", title=f"gate of {document['rollout']}")
    for check in document["checks"]:
        table.add_row(check["name"], _STYLES[check["outcome"]], check["reason"])
    console = Console()
    console.print(table)
    console.print(f"gate: {_STYLES[document['gate']]}")
    for reason in document["reasons"]:
        console.print(f"  {reason}", markup=False)
