"""How far the spools of all processes have been emptied: what collectors say, and analytics goes by."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import polars as pl

from storage.client import Store
from storage.sql import load

_TIME = pl.Datetime("ns", "UTC")
SPOOLS = pl.Schema(
    {"spool_id": pl.String(), "holder": pl.String(), "complete_upto": _TIME, "n_pending": pl.UInt64(), "is_closed": pl.Boolean()}
)
"""One row per spool and time it was looked at; the newest counts."""


@dataclass(frozen=True)
class SpoolState:
    """
    A spool as its owner saw it.

    Everything that arrived there before `complete_upto` is in the tables; `n_pending` items are not. A closed one is empty and
    nobody's.
    """

    spool_id: str
    holder: str
    complete_upto: datetime
    n_pending: int = 0
    is_closed: bool = False


def write_spools(store: Store, states: list[SpoolState]) -> None:
    """Tell the states of spools, all at once: a spool that was taken over disappears as its heir appears."""
    store.insert("spools", pl.DataFrame([asdict(state) for state in states], schema=SPOOLS))


def read_complete_upto(store: Store, silence: timedelta) -> datetime | None:
    """
    Up to when everything that arrived anywhere is in the tables; None where no spool says anything.

    Args:
        silence: a spool that nobody has spoken of for so long is left out: its owner, and what it holds, are gone or away.
    """
    seconds = silence.total_seconds()
    value: datetime | None = store.frame(load("read_complete_upto"), {"silence": seconds})["complete_upto"].item()
    return value


def read_n_pending(store: Store) -> int:
    """Items that the owners of open spools said were not in the tables yet."""
    n: int = store.frame("SELECT sum(n_pending) AS n FROM spools FINAL WHERE NOT is_closed")["n"].item()
    return n
