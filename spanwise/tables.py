"""Tables in terminals: what every command that prints one shares."""

from __future__ import annotations

from typing import Any

from rich.table import Column, Table

WIDE = 140
"""Columns of a terminal from which on a table shows everything; below it shows less, and whole."""


def right(heading: str) -> Column:
    """A column of numbers."""
    return Column(heading, justify="right", no_wrap=True)


def narrow(*columns: Column | str, **more: Any) -> Table:
    """A table without lines, for a terminal below `WIDE`."""
    return Table(*columns, box=None, padding=(0, 1, 0, 0), **more)
