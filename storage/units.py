"""What a rollup reads of facts and outcomes: all units of some minutes, and their mirror partners wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from storage.client import Store
from storage.sql import load

_TIME = pl.Datetime("ns", "UTC")

UNITS = pl.Schema(
    {
        "trace_id": pl.String(),
        "started_at": _TIME,
        "service_name": pl.String(),
        "environment": pl.String(),
        "model_route": pl.String(),
        "model": pl.String(),
        "cohort": pl.String(),
        "prompt_version": pl.String(),
        "mirror_role": pl.String(),
        "mirror_group": pl.String(),
        "aa": pl.UInt8(),
        "duration_ns": pl.UInt64(),
        "ttft_ns": pl.UInt64(),
        "n_logical_calls": pl.UInt32(),
        "n_retried_calls": pl.UInt32(),
        "n_fallback_calls": pl.UInt32(),
        "n_timed_out_calls": pl.UInt32(),
        "n_errored_calls": pl.UInt32(),
        "retried": pl.Boolean(),
        "fell_back": pl.Boolean(),
        "timed_out": pl.Boolean(),
        "errored": pl.Boolean(),
        "input_tokens": pl.UInt64(),
        "output_tokens": pl.UInt64(),
        "cost_usd": pl.Decimal(18, 9),
        "evaluation_sampled": pl.Boolean(),
        "sampling_rule": pl.String(),
    }
)
"""What a rollup needs of `trace_facts`: one row per trace and mirror role."""

OUTCOMES = pl.Schema(
    {
        "trace_id": pl.String,
        "mirror_role": pl.String,
        "metric": pl.String,
        "evaluator": pl.String,
        "evaluator_version": pl.String,
        "sampling_rule": pl.String,
        "n_verdicts": pl.UInt32,
        "failed": pl.Boolean,
        "score": pl.Float64,
        "failed_matured": pl.Boolean,
        "score_matured": pl.Float64,
        "n_verdicts_matured": pl.UInt32,
    }
)
"""What a rollup needs of `trace_outcomes`."""

MIRROR_UNITS = pl.Schema({"mirror_group": pl.String(), "started_at": _TIME, "trace_id": pl.String(), "mirror_role": pl.String()})
"""Where the units of mirror groups are."""


def read_unit_counts(store: Store, minutes: Sequence[datetime]) -> dict[datetime, int]:
    """Rows of units in each minute, copies included; minutes without any are left out."""
    frame = store.frame(load("read_unit_counts"), _of_minutes(minutes))
    minute = pl.from_epoch("minute", "s").dt.replace_time_zone("UTC")
    return dict(frame.select(minute, "n").iter_rows())


def read_units(
    store: Store, minutes: Sequence[datetime], slices: int = 1, index: int = 0, *, judged: bool = False
) -> pl.DataFrame:
    """
    Units of some minutes (`UNITS`).

    Args:
        slices, index: only that part of them; the units of one rollup key are always in one part.
        judged: only those with an outcome, and those that may be in a pair.
    """
    parameters = _of_minutes(minutes) | {"slices": slices, "slice": index}
    sql = load("read_units").replace("{narrowed}", load("units_with_outcomes") if judged else "")
    frame = store.frame(sql, parameters)
    return frame.select(pl.col(name).cast(kind) for name, kind in UNITS.items())


def read_unit_outcomes(store: Store, minutes: Sequence[datetime]) -> pl.DataFrame:
    """Outcomes of the units of some minutes (`OUTCOMES`)."""
    frame = store.frame(load("read_unit_outcomes"), _of_minutes(minutes))
    return frame.select(pl.col(name).cast(kind) for name, kind in OUTCOMES.items())


def read_mirror_units(store: Store, groups: Sequence[str]) -> pl.DataFrame:
    """Where every unit of some mirror groups is (`MIRROR_UNITS`)."""
    frame = store.frame(load("read_mirror_units"), {"groups": list(groups)})
    return frame.select(pl.col(name).cast(kind) for name, kind in MIRROR_UNITS.items())


def read_units_of(store: Store, traces: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """
    Units and their outcomes by trace.

    Args:
        traces: `trace_id`, `started_at`.

    Returns:
        `UNITS`, `OUTCOMES`.
    """
    hours = traces["started_at"].dt.truncate("1h").dt.epoch("s").unique().to_list()
    parameters = {"hours": hours, "traces": traces["trace_id"].unique().to_list()}
    units = store.frame(load("read_units_of"), parameters)
    outcomes = store.frame(load("read_outcomes_of"), parameters)
    return (
        units.select(pl.col(name).cast(kind) for name, kind in UNITS.items()),
        outcomes.select(pl.col(name).cast(kind) for name, kind in OUTCOMES.items()),
    )


def _of_minutes(minutes: Sequence[datetime]) -> dict[str, object]:
    seconds = sorted({int(minute.timestamp()) for minute in minutes})
    first, last = (seconds[0], seconds[-1] + 60) if seconds else (0, 0)
    hours = sorted({second // 3600 * 3600 for second in seconds})
    return {"minutes": seconds, "hours": hours, "first": first * 10**9, "last": min(last * 10**9, 2**63) - 1}
