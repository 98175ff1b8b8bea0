"""A group of commands whose modules are imported when one of theirs is called: help answers at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class Place:
    """Where a command lives: a module with a `register(app)` function. `help` is the first line of the command's own."""

    module: str
    help: str


class LazyGroup(TyperGroup):
    """Lists `places` beside its own commands, and imports a module when one of its commands is called."""

    places: ClassVar[Mapping[str, Place]] = {}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, place in self.places.items():
            self.add_command(TyperCommand(name, help=place.help), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command called, as its module defines it."""
        place = self.places.get(args[0]) if args else None
        if place is not None:
            self.add_command(command_of(args[0], place), args[0])
        return super().resolve_command(ctx, args)


def command_of(name: str, place: Place) -> Any:
    """Import a command. Its class is Click's, which some releases of Typer carry inside."""
    app = typer.Typer()
    # a callback makes a group of it even where the module has a single command
    app.callback()(lambda: None)
    import_module(place.module).register(app)
    return typer.main.get_group(app).commands[name]
