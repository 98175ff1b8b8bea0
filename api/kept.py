"""Answers that many readers ask for at once, made once and kept for a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")
_MOST = 256


class Kept:
    """
    Values by key, each for `seconds`. Thread-safe; a value asked for by several at once is made once.

    What is kept must not be changed by who gets it.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}
        self._values: dict[Hashable, tuple[float, object]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made now unless it was within `seconds`. What `make` raises is not kept."""
        if self._seconds <= 0:
            return make()
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            found = self._values.get(key)
            if found is not None and self._clock() - found[0] < self._seconds:
                return found[1]  # type: ignore[return-value] # what `make` of this key returned
            value = make()
            with self._lock:
                self._prune()
                self._values[key] = (self._clock(), value)
                self._making.setdefault(key, making)
            return value

    def forget(self) -> None:
        """Somebody changed what is kept."""
        with self._lock:
            self._values.clear()

    def _prune(self) -> None:
        oldest = self._clock() - self._seconds
        if len(self._values) >= _MOST:
            self._values = {key: held for key, held in self._values.items() if held[0] > oldest}
            if len(self._values) >= _MOST:
                self._values.clear()
            self._making = {key: lock for key, lock in self._making.items() if key in self._values or lock.locked()}
