"""CPU seconds of a run by stage: what each function named here took itself, without the others that it called."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any


class Stages:
    """Adds up CPU seconds of the whole process, engine included, by stage, while the functions are wrapped."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self._inner = [0.0]

    def wrapped(self, stage: str | Callable[..., str], function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, its time added to `stage` (or what that says of its arguments) and taken from whatever stage called it."""

        @wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            self._inner.append(0.0)
            try:
                return function(*arguments, **named)
            finally:
                took = time.process_time() - began
                inside = self._inner.pop()
                self._inner[-1] += took
                name = stage if isinstance(stage, str) else stage(*arguments)
                self.seconds[name] = self.seconds.get(name, 0.0) + took - inside
                self.calls[name] = self.calls.get(name, 0) + 1

        return timed

    @contextmanager
    def watching(self, *places: tuple[Any, str, str | Callable[..., str]]) -> Iterator[None]:
        """Wrap functions or methods for as long as this lasts: their owner (module or class), their name, their stage."""
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
        for owner, name, stage in places:
            setattr(owner, name, self.wrapped(stage, getattr(owner, name)))
        try:
            yield
        finally:
            for owner, name, function in before:
                setattr(owner, name, function)
