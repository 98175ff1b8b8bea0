"""Progress bars of long commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Update = Callable[[float, str], None]
"""Told the share that is done (0 to 1) and what is at hand."""


@contextmanager
def bar(title: str, console: Console | None = None) -> Iterator[Update]:
    """A bar on standard error while the block runs; nothing where that is no terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    screen = console or Console(stderr=True)
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=screen, disable=not screen.is_terminal) as progress:
        task = progress.add_task(title, total=1.0)

        def update(share: float, detail: str = "") -> None:
            progress.update(task, completed=share, description=f"{title} {detail}".rstrip())

        yield update
        progress.update(task, completed=1.0, description=title)
