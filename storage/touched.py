"""What jobs have to look at, in the order it was written: feeds that materialized views fill, and when that was."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import polars as pl

from storage.client import Store
from storage.parameters import between
from storage.sql import load

_TIME = pl.Datetime("ns", "UTC")


class Feed(StrEnum):
    """What assembly follows."""

    TRACES = "touched_traces"
    EVALUATIONS = "touched_evaluations"


MOMENTS = pl.Schema({"written_at": _TIME, "n": pl.UInt64()})
"""When rows of a feed were written, and how many: those of one insert share their moment."""

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


def read_moments(store: Store, feed: Feed, after: datetime, upto: datetime) -> pl.DataFrame:
    """`MOMENTS` in (after, upto], oldest first."""
    frame = store.frame(load("read_moments").replace("{feed}", feed), {"after": after, "upto": upto})
    return frame.select(pl.col(name).cast(kind) for name, kind in MOMENTS.items())


def read_touched_traces(store: Store, moments: pl.DataFrame) -> pl.DataFrame:
    """`TOUCHED_TRACES` written at some moments (`MOMENTS`)."""
    return _read_feed(store, "read_touched_traces", TOUCHED_TRACES, moments)


def read_touched_evaluations(store: Store, moments: pl.DataFrame) -> pl.DataFrame:
    """`TOUCHED_EVALUATIONS` written at some moments (`MOMENTS`)."""
    return _read_feed(store, "read_touched_evaluations", TOUCHED_EVALUATIONS, moments)


def _read_feed(store: Store, query: str, schema: pl.Schema, moments: pl.DataFrame) -> pl.DataFrame:
    if moments.is_empty():
        return schema.to_frame()
    rows = store.frame(load(query), between(moments["written_at"], moments["written_at"]))
    # others in between were read before
    return rows.select(pl.col(name).cast(kind) for name, kind in schema.items()).join(moments, on="written_at", how="semi")


def read_touched_minutes(store: Store, after: datetime, upto: datetime, what: list[str]) -> pl.DataFrame:
    """`TOUCHED_MINUTES` written in (after, upto], oldest first."""
    frame = store.frame(load("read_touched_minutes"), {"after": after, "upto": upto, "what": what})
    minute = pl.from_epoch("minute", "s").dt.cast_time_unit("ms").dt.replace_time_zone("UTC")
    return frame.with_columns(minute).select(pl.col(name).cast(kind) for name, kind in TOUCHED_MINUTES.items())
