"""
What time it is for evidence: never later than what has been analysed whole.

A minute is settled once and for all, so it must not be looked at while some of what arrived in time for it still waits: in
the spool, or for the jobs. Analytics records after each round up to when everything that arrived is in the rollups
(`Completion`); the clocks here stop there.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from collector.records import Tally
from storage.client import Store
from storage.clock import Clock
from storage.job_runs import JobRun, JobState, read_watermark, write_job_run
from storage.spools import read_complete_upto
from storage.sql import load
from storage.touched import read_store_time

# While data keeps arriving, events up to this much older than the newest may still be on their way.
REPLAY_SLACK = timedelta(hours=24)
COMPLETE = "complete"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Completion:
    """
    Records what rounds of the jobs completed.

    Args:
        pending: ledger lines of what this process's spool holds.
        silence: a spool of another process that nobody has spoken of for so long no longer holds anything back.
    """

    def __init__(self, store: Store, pending: Callable[[], Tally], silence: timedelta = timedelta(hours=1)) -> None:
        self._store = store
        self._pending = pending
        self._silence = silence

    def begin(self) -> datetime:
        """Call before a round: up to when its end will have everything. What waits in spools, here and elsewhere, bounds it."""
        waiting = self._pending()
        bounds = [_EPOCH + timedelta(minutes=key.minute) for key in waiting]
        elsewhere = None if self._store.is_embedded else read_complete_upto(self._store, self._silence)
        now = read_store_time(self._store)
        return min([now, *bounds, *([elsewhere] if elsewhere else [])])

    def record(self, upto: datetime) -> None:
        """Every job of a round that began with `upto` is done."""
        now = datetime.now(UTC)
        run = JobRun(uuid.uuid4().hex, COMPLETE, now, now, JobState.DONE, watermark=upto, progress=1.0)
        write_job_run(self._store, run)


class CompletedClock:
    """The wall clock, held back to what has been analysed whole."""

    def __init__(self, store: Store, wall: Clock) -> None:
        self._store = store
        self._wall = wall

    def now(self) -> datetime:
        return min(self._wall.now(), read_watermark(self._store, COMPLETE) or _EPOCH)


class EventClock:
    """
    "Now" is the newest event time that has arrived, less 24 h while data keeps arriving.

    After `quiet` without arrivals it advances to the newest event time. It stands still while anything that arrived has not been
    analysed; event times beyond the wall clock never move it, and it never runs backwards. Maturity, settling and verdicts
    follow it; nothing else does.
    """

    def __init__(self, store: Store, wall: Clock, quiet: timedelta) -> None:
        self._store = store
        self._wall = wall
        self._quiet = quiet
        self._now = _EPOCH

    def now(self) -> datetime:
        wall = self._wall.now()
        completed = read_watermark(self._store, COMPLETE) or _EPOCH
        row = self._store.frame(load("newest_event", "spanwise"), {"wall": wall}).row(0, named=True)
        newest, arrived = row["newest"], row["arrived"]
        if arrived <= completed:
            is_quiet = wall - arrived >= self._quiet
            self._now = max(self._now, newest if is_quiet else newest - REPLAY_SLACK)
        return self._now
