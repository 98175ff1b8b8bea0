"""How long a metric waits for late verdicts: estimated once, when a comparison opens, and fixed for as long as it lasts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import polars as pl

from analytics.config import EvaluatorRules, MaturityRules
from analytics.verdicts import with_verdicts
from storage.client import Store
from storage.maturities import MATURITIES, write_maturities
from storage.sql import load

_QUANTILE = 0.98


def default_maturity_seconds(metric: str, rules: MaturityRules) -> int:
    """What counts where no history says better."""
    if metric in ("eval_fail", "eval_missing", "sampled"):
        return rules.evaluators_seconds
    if metric == "thumbs_down":
        return rules.thumbs_seconds
    if metric in ("correction", "escalation", "abandonment", "refund", "overturn"):
        return rules.feedback_seconds
    return rules.traces_seconds


def estimate_maturities(delays: pl.DataFrame, service: str, as_of: datetime, rules: MaturityRules) -> pl.DataFrame:
    """
    The 98th percentile of how late verdicts came.

    Args:
        delays: `metric`, `evaluator`, `delay_seconds` (f64): one row per verdict, from its trace's start to the verdict.
        service: whose they are.
        as_of: from when on the result counts.

    Returns:
        `MATURITIES`, one row per metric and evaluator with at least `least_verdicts` of them, clipped to the shortest and longest
        allowed; the others keep their default. Sorted.
    """
    late = delays.group_by("metric", "evaluator").agg(
        pl.col("delay_seconds").clip(0).quantile(_QUANTILE, "higher").alias("late"), n=pl.len()
    )
    known = late.filter(pl.col("n") >= rules.least_verdicts)
    seconds = pl.col("late").ceil().clip(rules.shortest_seconds, rules.longest_seconds).cast(pl.UInt32)
    return known.select(
        service_name=pl.lit(service),
        metric="metric",
        evaluator="evaluator",
        maturity_seconds=seconds,
        effective_from=pl.lit(as_of.astimezone(UTC)).cast(MATURITIES["effective_from"]),
        source=pl.lit("history"),
    ).sort("metric", "evaluator")


def fix_maturities(
    store: Store,
    service: str,
    as_of: datetime,
    rules: MaturityRules,
    *,
    baseline_route: str,
    clock: Literal["wall", "event"] = "wall",
) -> pl.DataFrame:
    """
    Estimate and record the maturities of a comparison that opens now.

    Args:
        as_of: day 0: they count for traces that start at or after it.
        baseline_route: whose verdicts of the days before are looked at.
        clock: delays until a verdict was received (`wall`) or made (`event`), as outcomes are counted.

    Returns:
        `MATURITIES` as recorded; empty without enough history, and then the defaults count.
    """
    parameters = {
        "service": service,
        "route": baseline_route,
        "since": as_of - timedelta(days=rules.history_days),
        "until": as_of,
        "by_receipt": int(clock == "wall"),
    }
    delays = store.frame(load("read_verdict_delays"), parameters)
    fixed = estimate_maturities(with_verdicts(delays, EvaluatorRules()), service, as_of, rules)
    write_maturities(store, fixed)
    return fixed
