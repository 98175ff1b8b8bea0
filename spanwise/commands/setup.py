"""Commands about the set-up: config and doctor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from spanwise.doctor import State, examine
from spanwise.reference import reference
from spanwise.settings import load, masked

Config = Annotated[Path | None, typer.Option("--config", help="settings file; default: spanwise.toml where it exists")]
DataDir = Annotated[Path | None, typer.Option(help="data directory of the embedded engine")]

_MARKS = {State.GOOD: "[green]✓ good[/]", State.ATTENTION: "[yellow]! look[/]", State.BAD: "[red]✗ bad[/] "}


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command(name="config")(show_config)
    app.command()(doctor)


def show_config(
    config: Config = None,
    with_reference: Annotated[bool, typer.Option("--reference", help="print what every setting means instead, Markdown")] = False,
) -> None:
    """Print the effective settings as JSON, secrets masked."""
    print(reference() if with_reference else json.dumps(masked(load(config)), indent=2), end="" if with_reference else "\n")


def doctor(config: Config = None, data_dir: DataDir = None) -> None:
    """Say what is wrong with this set-up and what to do. Exit code 1 when something is."""
    console = Console(highlight=False)
    is_bad = False
    # a line or two each, not a table: names of settings and commands to copy stay whole at any width
    for check in examine(load(config, {"data_dir": data_dir})):
        console.print(f"{_MARKS[check.state]}  [bold]{escape(check.name)}[/]: {escape(check.finding)}", soft_wrap=True)
        if check.fix:
            console.print(f"        → {escape(check.fix)}", soft_wrap=True)
        is_bad |= check.state is State.BAD
    raise typer.Exit(1 if is_bad else 0)
