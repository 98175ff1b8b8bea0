"""The command line's front: it lists every command truthfully, and help does not wait for the engine."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest
import typer
from typer.core import TyperGroup

import spanwise.commands
from spanwise.cli import Commands
from spanwise.lazy import command_of

HEAVY = ("chdb", "polars", "numpy", "scipy", "fastapi", "grpc", "pyarrow")


def test_every_command_of_every_module_is_listed_with_its_own_first_line() -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    for module in pkgutil.iter_modules(spanwise.commands.__path__):
        __import__(f"spanwise.commands.{module.name}")
        getattr(spanwise.commands, module.name).register(app)
    real = typer.main.get_group(app).commands
    assert {name: place.help for name, place in Commands.places.items()} == {
        name: (command.help or "").splitlines()[0] for name, command in real.items()
    }
    assert all(command_of(name, place).name == name for name, place in Commands.places.items())


def test_help_imports_no_engine() -> None:
    code = (
        "import sys, spanwise.cli\n"
        "try:\n    spanwise.cli.app(['--help'])\n"
        "finally:\n    print('loaded:', *[name for name in sys.argv[1:] if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True)
    assert "doctor" in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "loaded:"


@pytest.mark.parametrize("name", ["quarantine", "alerts", "key"])
def test_a_group_has_its_commands(name: str) -> None:
    group = command_of(name, Commands.places[name])
    assert isinstance(group, TyperGroup)
    assert "list" in group.commands
