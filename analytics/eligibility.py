"""Completes rollup rows with what did not happen: feedback nobody gave, verdicts that are missing."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from analytics.frames import require
from analytics.rollup import UNIT_KEY, to_metric_rows
from storage.metrics import FEEDBACK_METRICS, METRIC_ROWS

MISSING = "eval_missing"
"""A metric that only `complete` makes: sampled traces (n_eligible = n_scored) of which n_fail have no verdict of it."""

EVENTS = tuple(metric for metric in FEEDBACK_METRICS if metric != "overturn")
"""Feedback whose absence means that it did not happen; a review that nobody made, in contrast, found nothing out."""


def complete(rows: pl.DataFrame, feedback: Collection[str]) -> pl.DataFrame:
    """
    Rollup rows with whole denominators.

    Args:
        rows: `METRIC_ROWS` with the metrics wanted, and `error` (for feedback) and `sampled` (for missing verdicts).
        feedback: which kinds of `EVENTS` the service collects. Each gets a row wherever traces were served, so the kinds must be
            fixed by the caller, not by what happened to arrive in these buckets.

    Returns:
        `METRIC_ROWS`. Rows of `EVENTS` now count every served trace (n_eligible = n_scored), evaluators pooled (''), n_value
        being those with feedback; `eval_missing` rows are added per evaluator and sampling rule. All others are as they were.
    """
    require(rows, METRIC_ROWS, "metric rows")
    others = rows.filter(~pl.col("metric").is_in(EVENTS))
    parts = [others, *[_events(rows, kind) for kind in sorted(feedback)], _missing(rows)]
    return to_metric_rows(pl.concat(parts, how="diagonal_relaxed"))


def _events(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    served = rows.filter(pl.col("metric") == "error", pl.col("pair_route") == "").select(*UNIT_KEY, n="n_eligible_all")
    given = (
        rows.filter(metric=kind)
        .group_by(UNIT_KEY)
        .agg(
            *[pl.col(f"n_fail_{when}").sum() for when in ("matured", "all")],
            *[pl.col(f"n_scored_{when}").sum().alias(f"n_value_{when}") for when in ("matured", "all")],
            pl.col("n_late").sum(),
        )
    )
    counts = [pl.col("n").alias(f"{name}_{when}") for name in ("n_eligible", "n_scored") for when in ("matured", "all")]
    return served.join(given, on=UNIT_KEY, how="left").with_columns(*counts, metric=pl.lit(kind)).drop("n")


def _missing(rows: pl.DataFrame) -> pl.DataFrame:
    base = rows.filter(metric="sampled").select(*UNIT_KEY, "sampling_rule", n="n_eligible_all")
    judged = rows.filter(pl.col("metric") == "eval_fail", pl.col("pair_route") == "")
    where = ["service_name", "environment", "sampling_rule"]
    expected = judged.filter(pl.col("n_sampled_all") > 0).select(*where, "evaluator").unique()
    key = [*UNIT_KEY, "sampling_rule", "evaluator"]
    seen = judged.group_by(key).agg(pl.col("n_sampled_matured").sum(), pl.col("n_sampled_all").sum())
    return (
        base.join(expected, on=where)
        .join(seen, on=key, how="left")
        .select(
            *key,
            pl.lit(MISSING).alias("metric"),
            *[pl.col("n").alias(f"{name}_{when}") for name in ("n_eligible", "n_scored") for when in ("matured", "all")],
            *[
                (pl.col("n").cast(pl.Int64) - pl.col(f"n_sampled_{when}").fill_null(0)).clip(0).alias(f"n_fail_{when}")
                for when in ("matured", "all")
            ],
        )
    )
