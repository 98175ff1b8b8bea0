"""
Who is the active one: a lease by appending and reading back, on any ClickHouse table.

A holder appends `(name, holder, term, expires_at)` and then reads which row of the newest term came first. ClickHouse has no
compare-and-set, so two that append the same term are told apart by `(changed_at, holder)`: the earlier row has the term, and
all readers of the finished inserts agree on it. Between append and verdict a candidate waits `settle_seconds`, longer than an
insert takes to become visible, so a rival's earlier row cannot appear afterwards. While it holds the lease, a holder renews by
appending the same term with a later expiry.

Guarantee: while inserts become visible within `settle_seconds` and clocks agree to within it, at most one holder believes it is
active, because a holder stops believing `settle_seconds` before its lease expires. Beyond that the jobs are idempotent and the
alerter's pages are de-duplicated by key, so two active ones for a moment would do double work, not double damage.
In the embedded engine, one process owns the directory and the lease is granted at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
import structlog

from storage.client import Store
from storage.clock import Clock, WallClock
from storage.errors import SpanwiseError
from storage.sql import load

log = structlog.get_logger(__name__)

_TIME = pl.Datetime("ns", "UTC")


@dataclass(frozen=True)
class LeaseState:
    """Who holds a lease by what is written."""

    holder: str
    term: int
    expires_at: datetime


class Lease:
    """
    One name that at most one holder has at a time.

    Args:
        name: what is leased, such as `analytics` or `alerts`.
        holder: unique to this process.
        seconds: how long it lasts without renewal: the takeover time after a crash is at most `seconds` plus `settle_seconds`.
        settle_seconds: longer than an insert takes to become visible.
        clock: wall clock.
        sleep: how to wait for the settling; an argument for tests.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        holder: str,
        *,
        seconds: float = 30.0,
        settle_seconds: float = 2.0,
        clock: Clock | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if settle_seconds * 2 >= seconds:
            raise ValueError(f"lease of {seconds} s is too short for a settling time of {settle_seconds} s")
        self._store = store
        self._name = name
        self._holder = holder
        self._length = timedelta(seconds=seconds)
        self._settle = timedelta(seconds=0.0 if store.is_embedded else settle_seconds)
        self._clock = clock or WallClock()
        self._sleep = sleep

    def hold(self) -> bool:
        """Acquire or renew; True while this holder is the active one. Call it before each piece of work."""
        now = self._clock.now()
        state = self.state()
        if state is not None and state.holder == self._holder and now < state.expires_at:
            self._append(state.term, now, now + self._length)
            return now < state.expires_at - self._settle
        if state is not None and now < state.expires_at + self._settle:
            return False
        term = state.term + 1 if state is not None else 1
        self._append(term, now, now + self._length)
        self._sleep(self._settle.total_seconds())
        winner = self.state()
        return winner is not None and winner.holder == self._holder and winner.term == term

    def release(self) -> None:
        """Let the next one in at once."""
        state = self.state()
        if state is not None and state.holder == self._holder:
            now = self._clock.now()
            self._append(state.term, now, now - self._settle)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew beside the block, which may take longer than the lease lasts, and release at its end."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self._length.total_seconds() / 3):
                try:
                    self.hold()
                except SpanwiseError as error:
                    log.warning("lease_not_renewed", lease=self._name, error=str(error))

        keeper = threading.Thread(target=renew, name=f"lease-{self._name}", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            done.set()
            keeper.join()
            self.release()

    def state(self) -> LeaseState | None:
        """Who holds the newest term, and until when; None if nobody ever did."""
        rows = self._store.frame(load("read_lease"), {"name": self._name})
        for row in rows.iter_rows(named=True):
            return LeaseState(row["holder"], row["term"], row["expires_at"])
        return None

    def _append(self, term: int, now: datetime, expires_at: datetime) -> None:
        row = {"name": self._name, "holder": self._holder, "term": term, "expires_at": expires_at, "changed_at": now}
        schema = {"term": pl.UInt64(), "expires_at": _TIME, "changed_at": _TIME}
        self._store.insert("leases", pl.DataFrame([row], schema_overrides=schema))
