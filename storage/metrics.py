"""The rollup tables `metric_minutes`, `metric_hours` and `metric_days`: sufficient statistics, added together to answer anything."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import polars as pl

from storage.client import Store
from storage.sql import load


class Grain(StrEnum):
    """Width of a row's bucket; the value is the table's name."""

    MINUTE = "metric_minutes"
    HOUR = "metric_hours"
    DAY = "metric_days"

    @property
    def seconds(self) -> int:
        return {Grain.MINUTE: 60, Grain.HOUR: 3_600, Grain.DAY: 86_400}[self]


METRIC_KEY = pl.Schema(
    {
        "bucket": pl.Datetime("ms", "UTC"),
        "service_name": pl.String,
        "environment": pl.String,
        "metric": pl.String,
        "evaluator": pl.String,
        "evaluator_version": pl.String,
        "sampling_rule": pl.String,
        "model_route": pl.String,
        "model": pl.String,
        "cohort": pl.String,
        "prompt_version": pl.String,
        "aa": pl.UInt8,
        "mirrored": pl.UInt8,
        "pair_route": pl.String,
        "pair_model": pl.String,
    }
)
"""What names a row, bucket included."""

_COUNTS = ("n_eligible", "n_scored", "n_fail", "n_sampled", "n_value", "n11", "n10", "n01", "n00", "n_incomplete")
_SUMS = ("sum_value", "sum_squares")

METRIC_STATISTICS = pl.Schema(
    {f"{name}_{when}": pl.UInt64 for when in ("matured", "all") for name in _COUNTS}
    | {f"{name}_{when}": pl.Float64 for when in ("matured", "all") for name in _SUMS}
    | {"n_late": pl.UInt64}
    | {
        "hist_bins_all": pl.List(pl.Int16),
        "hist_counts_all": pl.List(pl.UInt64),
        "hist_sums_all": pl.List(pl.Float64),
        "hist_squares_all": pl.List(pl.Float64),
    }
)
"""What a row counts; `storage/schema/002_analytics.sql` says what each column means. All but the histograms merge by adding."""

METRIC_ROWS = pl.Schema({**METRIC_KEY, **METRIC_STATISTICS})
"""A row of any of the three tables, without its version."""

VERDICT_METRICS = ("eval_fail", "thumbs_down", "correction", "escalation", "abandonment", "refund", "overturn")
"""Metrics made from verdicts; all others are known with the trace."""
FEEDBACK_METRICS = VERDICT_METRICS[1:]
FLAG_METRICS = ("retry", "fallback", "timeout", "error")


def read_metric_rows(
    store: Store,
    grain: Grain,
    since: datetime,
    until: datetime,
    *,
    services: Sequence[str] = (),
    metrics: Sequence[str] = (),
    routes: Sequence[str] = (),
) -> pl.DataFrame:
    """
    Rows of one table, newest version of each, sorted by key.

    Args:
        since, until: buckets in [since, until).
        services, metrics, routes: keep only these; empty keeps all.

    Returns:
        `METRIC_ROWS`.
    """
    sql = load("read_metric_rows").replace("{table}", grain.value)
    parameters = {
        "since": since,
        "until": until,
        "services": list(services),
        "metrics": list(metrics),
        "routes": list(routes),
    }
    return _typed(store.frame(sql, parameters)).sort(list(METRIC_KEY))


def write_metric_rows(store: Store, grain: Grain, rows: pl.DataFrame, stale: pl.DataFrame, computed_at: datetime) -> int:
    """
    Upsert `rows` (`METRIC_ROWS`) and take away `stale` (`METRIC_KEY`, keys that no longer exist).

    Returns:
        Rows written.
    """
    kept = rows.select(list(METRIC_ROWS)).with_columns(is_deleted=pl.lit(0, pl.UInt8))
    gone = stale.select(list(METRIC_KEY)).with_columns(is_deleted=pl.lit(1, pl.UInt8))
    both = pl.concat([kept, gone], how="diagonal")
    lists = [name for name, kind in METRIC_ROWS.items() if isinstance(kind, pl.List)]
    numbers = [name for name in METRIC_STATISTICS if name not in lists]
    store.insert(
        grain.value,
        both.with_columns(
            pl.col(numbers).fill_null(0),
            *[pl.col(name).fill_null(pl.lit([], METRIC_ROWS[name])) for name in lists],
            computed_at=pl.lit(computed_at).dt.cast_time_unit("ns"),
        ),
    )
    return both.height


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    # A ClickHouse DateTime arrives as seconds since 1970.
    bucket = pl.from_epoch("bucket", "s").dt.cast_time_unit("ms").dt.replace_time_zone("UTC")
    return frame.with_columns(bucket).select(pl.col(name).cast(kind) for name, kind in METRIC_ROWS.items())
