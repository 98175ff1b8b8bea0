"""Simulated traces as rollup rows, without a collector or a store between: what tests and benchmarks feed the method with."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from analytics.rollup import roll_up
from storage.units import OUTCOMES, UNITS

NS_PER_MINUTE = 60 * 10**9
# Minutes after a trace's start at which a metric is read, without history; see `analytics.config.MaturityRules`.
MATURITY_MINUTES = {"eval_fail": 60, "thumbs_down": 360}
_OTHER_MINUTES = 1_440


def metric_rows(frame: pl.DataFrame, maturity_minutes: Mapping[str, int] | None = None) -> pl.DataFrame:
    """
    The rollup rows of simulated traces.

    Args:
        frame: `TRACES`.
        maturity_minutes: per metric, instead of the defaults.

    Returns:
        `METRIC_ROWS` at minute grain.
    """
    units, outcomes = to_units(frame), to_outcomes(frame, {**MATURITY_MINUTES, **(maturity_minutes or {})})
    return roll_up(units, outcomes, units.clear(), outcomes.clear())


def to_units(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per trace (`UNITS`)."""
    n_calls = pl.lit(1, pl.UInt32)
    none = pl.lit(0, pl.UInt32)
    sampled = pl.col("sampled_evaluators").list.len() > 0
    flags = {
        "n_retried_calls": "retried",
        "n_fallback_calls": "fell_back",
        "n_timed_out_calls": "timed_out",
        "n_errored_calls": "errored",
    }
    units = frame.with_columns(
        service_name="service",
        model_route="route",
        # Any even split of sessions will do.
        aa=(pl.col("session_id").hash(0) % 2).cast(pl.UInt8),
        n_logical_calls=n_calls,
        evaluation_sampled=sampled,
        sampling_rule=pl.when(sampled)
        .then(pl.coalesce(pl.col("verdicts").list.first().struct.field("sampling_rule"), pl.lit("all")))
        .otherwise(pl.lit("")),
        **{calls: pl.when(pl.col(flag)).then(n_calls).otherwise(none) for calls, flag in flags.items()},
    )
    return units.select(pl.col(name).cast(kind) for name, kind in UNITS.items())


def to_outcomes(frame: pl.DataFrame, maturity_minutes: Mapping[str, int]) -> pl.DataFrame:
    """Verdicts and feedback events (`OUTCOMES`); what came later than the maturity is there, but not matured."""
    unit = ["trace_id", "mirror_role"]
    verdicts = frame.select(*unit, "verdicts").explode("verdicts").drop_nulls("verdicts").unnest("verdicts")
    judged = verdicts.with_columns(metric=pl.lit("eval_fail"), failed=~pl.col("passed"))
    events = frame.select(*unit, "feedback").explode("feedback").drop_nulls("feedback").unnest("feedback")
    given = events.select(*unit, "delay_ns", metric="name", evaluator=pl.lit("users"), failed=pl.lit(value=True))
    both = pl.concat([judged, given], how="diagonal")
    limit = pl.col("metric").replace_strict(dict(maturity_minutes), default=_OTHER_MINUTES, return_dtype=pl.Int64) * NS_PER_MINUTE
    in_time = pl.col("delay_ns") <= limit
    one = pl.lit(1, pl.UInt32)
    rows = both.with_columns(
        pl.col("evaluator_version", "sampling_rule").fill_null(""),
        n_verdicts=one,
        n_verdicts_matured=in_time.cast(pl.UInt32),
        failed_matured=pl.when(in_time).then("failed"),
        score_matured=pl.when(in_time).then("score"),
    )
    return rows.select(pl.col(name).cast(kind) for name, kind in OUTCOMES.items())
