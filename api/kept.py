"""Answers that many readers ask for at once, made once and kept for a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
# an answer costs at most a hundredth of a processor, however many ask for it; but none gets older than six times `seconds`
_SHARE = 100
_OLDEST = 6


@dataclass(frozen=True)
class _Held:
    until: float
    value: object


class Kept:
    """
    Values by key, each for `seconds`, or a hundred times as long as it took to make, but not over six times `seconds`.

    Thread-safe; a value asked for by several at once is made once. What is kept must not be changed by who gets it.

    Args:
        seconds: 0 keeps nothing.
        most: values at a time.
        fits: whether a value may be kept; others are made anew each time.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        most: int = 256,
        fits: Callable[[Any], bool] = lambda _value: True,
    ) -> None:
        self._fits = fits
        self._seconds = seconds
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}
        self._values: dict[Hashable, _Held] = {}
        self._n_changes = 0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made now unless it is still kept. What `make` raises is not kept."""
        if self._seconds <= 0:
            return make()
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            found = self._values.get(key)
            if found is not None and self._clock() < found.until:
                return found.value  # type: ignore[return-value] # what `make` of this key returned
            n_changes, began = self._n_changes, self._clock()
            value = make()
            if not self._fits(value):
                return value
            now = self._clock()
            until = now + min(max(self._seconds, _SHARE * (now - began)), _OLDEST * self._seconds)
            with self._lock:
                self._prune()
                # made of what was there before a change, it would outlive what it shows
                if n_changes == self._n_changes:
                    self._values[key] = _Held(until, value)
                self._making.setdefault(key, making)
            return value

    def forget(self) -> None:
        """Somebody changed what is kept."""
        with self._lock:
            self._n_changes += 1
            self._values.clear()

    def _prune(self) -> None:
        now = self._clock()
        if len(self._values) >= self._most:
            self._values = {key: held for key, held in self._values.items() if held.until > now}
            if len(self._values) >= self._most:
                self._values.clear()
            self._making = {key: lock for key, lock in self._making.items() if key in self._values or lock.locked()}
