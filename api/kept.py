"""Answers that many readers ask for at once, made once, kept for a moment, and renewed while they are still given."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
# an answer costs at most a hundredth of a processor, however many ask for it, and all of them together at most a tenth; but it is
# renewed from four times `seconds` on, and given until five times `seconds`: with parts that are kept for `seconds` themselves,
# nobody is told what is older than six times `seconds`
_SHARE = 100
_SHARE_OF_ALL = 10
_RENEWED = 4
_OLDEST = 5
# a question makes two statements at once, and an engine uses every processor for each
_AT_ONCE = 2


class Later(Protocol):
    """Runs something soon, or says that it will not."""

    def __call__(self, task: Callable[[], None], /) -> bool: ...


class Renewals:
    """A few threads that renew answers beside the requests. Thread-safe; at most one task waits for each answer kept."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AT_ONCE, "renewal")

    def __call__(self, task: Callable[[], None], /) -> bool:
        try:
            self._pool.submit(task)
        except RuntimeError:  # the program stops
            return False
        return True

    def close(self) -> None:
        """Finish what runs and forget what waits: nobody reads the store afterwards."""
        self._pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class _Held:
    fresh_until: float
    until: float
    value: object
    renew: Callable[[], object]


@dataclass
class _Turn:
    """Whose turn it is to make a value: there for as long as somebody makes it or waits."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    n_users: int = 0


class Kept:
    """
    Values by key, each kept for `seconds`.

    With `later`, each is fresh for `seconds`, or a hundred times as long as it took to make, or ten times as long as making as
    many like it as are kept would take, but not over four times `seconds`. One that is fresh no more is still given, until five
    times `seconds` are over, while one renewal of it is made (RFC 5861, stale-while-revalidate): only who asks first, or after a
    pause, waits. A renewal that fails takes the value away, so that who asks next is told why.

    Thread-safe; a value asked for by several at once is made once. What is kept must not be changed by who gets it.

    Args:
        seconds: 0 keeps nothing.
        most: values at a time; of more, those go that nobody asked for longest.
        fits: whether a value may be kept; others are made anew each time.
        later: where renewals are made; None makes none.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        most: int = 256,
        fits: Callable[[Any], bool] = lambda _value: True,
        later: Later | None = None,
    ) -> None:
        self._fits = fits
        self._seconds = seconds
        self._clock = clock
        self._most = most
        self._later = later
        self._lock = threading.Lock()
        self._turns: dict[Hashable, _Turn] = {}
        self._values: OrderedDict[Hashable, _Held] = OrderedDict()
        self._renewing: set[Hashable] = set()
        self._n_changes = 0

    def get(self, key: Hashable, make: Callable[[], T], renew: Callable[[], T] | None = None) -> T:
        """
        The value of `key`, made now unless it is still kept. What `make` raises is not kept.

        Args:
            renew: makes it after the caller is gone, where `make` would need the caller.
        """
        if self._seconds <= 0:
            return make()
        held = self._held(key)
        if held is None:
            with self._turn(key):
                held = self._held(key) or self._made(key, make, renew or make)
        elif self._clock() >= held.fresh_until:
            self._renew_later(key, held, renew or make)
        return held.value  # type: ignore[return-value] # what `make` of this key returned

    def held(self, key: Hashable) -> object | None:
        """What is kept of `key`, for callers who must not wait; None: nothing is. It is renewed as what `get` gives is."""
        held = self._held(key)
        if held is None:
            return None
        if self._clock() >= held.fresh_until:
            self._renew_later(key, held, held.renew)
        return held.value

    def forget(self) -> None:
        """Somebody changed what is kept."""
        with self._lock:
            self._n_changes += 1
            self._values.clear()

    def _held(self, key: Hashable) -> _Held | None:
        with self._lock:
            held = self._values.get(key)
            if held is None or self._clock() >= held.until:
                return None
            self._values.move_to_end(key)
            return held

    @contextmanager
    def _turn(self, key: Hashable) -> Iterator[None]:
        """One at a time makes the value of a key."""
        with self._lock:
            turn = self._turns.setdefault(key, _Turn())
            turn.n_users += 1
        try:
            with turn.lock:
                yield
        finally:
            with self._lock:
                turn.n_users -= 1
                if not turn.n_users:
                    del self._turns[key]

    def _made(self, key: Hashable, make: Callable[[], object], renew: Callable[[], object]) -> _Held:
        """Make a value and keep it, if it fits and nothing was changed meanwhile; what was there before is gone."""
        n_changes, began = self._n_changes, self._clock()
        try:
            value = make()
        except BaseException:
            with self._lock:
                self._values.pop(key, None)
            raise
        now = self._clock()
        with self._lock:
            self._values.pop(key, None)
            fresh = self._fresh(now - began, now)
            until = now + self._seconds * (1 if self._later is None else _OLDEST)
            held = _Held(now + fresh, until, value, renew)
            # made of what was there before a change, it would outlive what it shows
            if n_changes == self._n_changes and self._fits(value):
                self._values[key] = held
                while len(self._values) > self._most:
                    self._values.popitem(last=False)
        return held

    def _fresh(self, took: float, now: float) -> float:
        """Seconds for which a value is fresh that took so many to make and is kept beside the others."""
        if self._later is None:
            return self._seconds
        n_kept = 1 + sum(held.until > now for held in self._values.values())
        return min(max(self._seconds, took * max(_SHARE, n_kept * _SHARE_OF_ALL)), _RENEWED * self._seconds)

    def _renew_later(self, key: Hashable, old: _Held, renew: Callable[[], object]) -> None:
        with self._lock:
            if self._later is None or key in self._renewing:
                return
            self._renewing.add(key)

        def task() -> None:
            try:
                with self._turn(key):
                    # by now it may have been made anew, or be what nobody asks for any more
                    if self._values.get(key) is old:
                        self._made(key, renew, renew)
            except Exception:  # noqa: S110 # who asks next makes it, and is told what is wrong
                pass
            finally:
                self._renewing.discard(key)

        if not self._later(task):
            self._renewing.discard(key)
