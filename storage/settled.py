"""Minutes as they were when they matured, one row per comparison and stratum: what every conclusion can be rebuilt from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import polars.selectors as cs

from storage.client import Store
from storage.sql import load

SETTLED_KEY = pl.Schema(
    {
        "comparison_id": pl.String(),
        "minute": pl.Datetime("ms", "UTC"),
        "metric": pl.String(),
        "evaluator": pl.String(),
        "evaluator_version": pl.String(),
        "sampling_rule": pl.String(),
        "cohort": pl.String(),
        "prompt_version": pl.String(),
    }
)

_PER_ARM = {
    # scored units, failures, eligible units
    "n": pl.Int64,
    "fail": pl.Int64,
    "eligible": pl.Int64,
    # scores, or dollars: how many, sum, sum of squares
    "n_value": pl.Int64,
    "sum": pl.Float64,
    "squares": pl.Float64,
    # dollars with every trace cut at the cap: sum and sum of squares
    "capped_sum": pl.Float64,
    "capped_squares": pl.Float64,
}
_AT_ONCE = timedelta(days=1)
_PAIRS = ("n11", "n10", "n01", "n00", "n_incomplete")

SETTLED = pl.Schema(
    {**SETTLED_KEY}
    | {f"{name}_{arm}": dtype for arm in ("candidate", "baseline") for name, dtype in _PER_ARM.items()}
    | dict.fromkeys(_PAIRS, pl.Int64)
)
"""Both arms of one stratum in one minute."""


def read_settled(store: Store, comparison_id: str, settled_after: datetime) -> pl.DataFrame:
    """Rows (`SETTLED`) of a comparison that were written after a moment, sorted by minute and stratum."""
    return pl.concat([SETTLED.to_frame(), *read_settled_days(store, comparison_id, settled_after)])


def read_settled_days(store: Store, comparison_id: str, settled_after: datetime) -> Iterator[pl.DataFrame]:
    """The same a day of minutes at a time: a busy comparison has millions of rows."""
    which = {"comparison_id": comparison_id, "settled_after": settled_after}
    span = store.frame(load("settled_span"), which)
    for first, last in span.rows():
        since, end = (datetime.fromtimestamp(seconds, UTC) for seconds in (first, last + 60))
        while since < end:
            until = min(since + _AT_ONCE, end)
            frame = store.frame(load("read_settled"), {**which, "since": since, "until": until})
            minute = pl.from_epoch("minute", "s").dt.cast_time_unit("ms").dt.replace_time_zone("UTC")
            yield frame.with_columns(minute).select(pl.col(name).cast(dtype) for name, dtype in SETTLED.items())
            since = until


def write_settled(store: Store, rows: pl.DataFrame, settled_at: datetime) -> None:
    """Append rows (`SETTLED`); the same minute and stratum again replaces the row, so a tick cut short is run again."""
    timed = rows.with_columns(settled_at=pl.lit(settled_at).dt.cast_time_unit("ns"))
    # names as numbers and a dictionary; one chunk has one dictionary
    store.insert("settled_minutes", timed.rechunk().with_columns(cs.string().cast(pl.Categorical)))
