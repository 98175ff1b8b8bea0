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
from typer.core import TyperCommand

from spanwise.instance import api
from spanwise.settings import load
from storage.errors import SpanwiseError

Config = Annotated[Path | None, typer.Option("--config", help="settings file; default: spanwise.toml where it exists")]
DataDir = Annotated[Path | None, typer.Option(help="data directory of the running instance")]
Url = Annotated[str | None, typer.Option(help="address of the API; default: the instance on the data directory")]


class ExitCode(IntEnum):
    """What a pipeline reads. No answer is not an answer: it has a code of its own."""

    PASS = 0
    FAIL = 1
    UNDETERMINED = 2
    NO_ANSWER = 3


class GateCommand(TyperCommand):
    """A call that cannot be understood is no answer; the usual exit code of one, 2, is the gate's undetermined."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        try:
            return super().make_context(*arguments, **more)
        except typer.Exit:  # of --help
            raise
        except Exception as error:
            wrong: Any = error
            wrong.exit_code = int(ExitCode.NO_ANSWER)
            raise


_STYLES = {"pass": "[green]✓ pass[/]", "fail": "[red]✗ FAIL[/]", "undetermined": "[yellow]? undetermined[/]"}


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(cls=GateCommand)(gate)


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
        answer = ExitCode[document["gate"].upper()]
        if as_json:
            print(json.dumps(document, indent=2))
        else:
            _show(document)
    except Exception as error:  # whatever it is: the usual exit code of an error, 1, is the gate's fail
        told = str(error) if isinstance(error, SpanwiseError) else f"no answer: {type(error).__name__}: {error}"
        print(f"spanwise: {told}", file=sys.stderr)
        raise typer.Exit(ExitCode.NO_ANSWER) from error
    raise typer.Exit(answer)


def _show(document: dict[str, Any]) -> None:
    table = Table("check", "answer", "why", title=f"gate of {document['rollout']}")
    for check in document["checks"]:
        table.add_row(check["name"], _STYLES[check["outcome"]], check["reason"])
    console = Console()
    console.print(table)
    console.print(f"gate: {_STYLES[document['gate']]}")
    for reason in document["reasons"]:
        console.print(f"  {reason}", markup=False)
