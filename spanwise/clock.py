"""The clock of a process that replays history: "now" follows the newest event that has arrived."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from storage.client import Store
from storage.clock import Clock
from storage.sql import load

# While data keeps arriving, events up to this much older than the newest may still be on their way.
REPLAY_SLACK = timedelta(hours=24)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventClock:
    """
    "Now" is the newest event time that has arrived, less 24 h while data keeps arriving.

    After `quiet` without arrivals it advances to the newest event time. Event times beyond the wall clock never move it,
    and it never runs backwards. Maturity, settling and verdicts follow it; nothing else does.
    """

    def __init__(self, store: Store, wall: Clock, quiet: timedelta) -> None:
        self._store = store
        self._wall = wall
        self._quiet = quiet
        self._now = _EPOCH

    def now(self) -> datetime:
        wall = self._wall.now()
        row = self._store.frame(load("newest_event", "spanwise"), {"wall": wall}).row(0, named=True)
        newest, arrived = row["newest"], row["arrived"]
        is_quiet = wall - arrived >= self._quiet
        self._now = max(self._now, newest if is_quiet else newest - REPLAY_SLACK)
        return self._now
