"""What jobs have to look at, in the order it was written: feeds that materialized views fill, and when that was."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from storage.client import Store
from storage.sql import load

_TIME = pl.Datetime("ns", "UTC")

TOUCHED_TRACES = pl.Schema(
    {"written_at": _TIME, "trace_id": pl.String(), "first_start": _TIME, "last_start": _TIME, "n_spans": pl.UInt64()}
)
"""One row per trace and insert."""

TOUCHED_EVALUATIONS = pl.Schema(
    {
        "written_at": _TIME,
        "evaluation_id": pl.String(),
        "target_trace_id": pl.String(),
        "target_session_id": pl.String(),
        "target_response_id": pl.String(),
    }
)
"""One row per evaluation and insert."""

TOUCHED_MINUTES = pl.Schema({"written_at": _TIME, "minute": pl.Datetime("ms", "UTC"), "what": pl.String()})
"""One row per minute and insert of `facts`, `outcomes` or a `rollup`."""


def read_store_time(store: Store) -> datetime:
    """The store's own clock, which stamps `written_at`."""
    now: datetime = store.frame("SELECT now64(6, 'UTC') AS now")["now"].item()
    return now


def read_touched_traces(store: Store, after: datetime, upto: datetime, limit: int) -> pl.DataFrame:
    """
    `TOUCHED_TRACES` written in (after, upto], oldest first: `limit` rows if there are, and all that share the last moment.
    """
    frame = store.frame(load("read_touched_traces"), {"after": after, "upto": upto, "limit": limit})
    return frame.select(pl.col(name).cast(kind) for name, kind in TOUCHED_TRACES.items())


def read_touched_evaluations(store: Store, after: datetime, upto: datetime, limit: int) -> pl.DataFrame:
    """`TOUCHED_EVALUATIONS` written in (after, upto], oldest first, as `read_touched_traces`."""
    frame = store.frame(load("read_touched_evaluations"), {"after": after, "upto": upto, "limit": limit})
    return frame.select(pl.col(name).cast(kind) for name, kind in TOUCHED_EVALUATIONS.items())


def read_touched_minutes(store: Store, after: datetime, upto: datetime, what: list[str]) -> pl.DataFrame:
    """`TOUCHED_MINUTES` written in (after, upto], oldest first."""
    frame = store.frame(load("read_touched_minutes"), {"after": after, "upto": upto, "what": what})
    minute = pl.from_epoch("minute", "s").dt.cast_time_unit("ms").dt.replace_time_zone("UTC")
    return frame.with_columns(minute).select(pl.col(name).cast(kind) for name, kind in TOUCHED_MINUTES.items())
