"""From verdicts on a trace to one outcome per evaluator or feedback kind."""

from __future__ import annotations

import polars as pl

from analytics.config import EvaluatorRules


def trace_outcomes(
    evaluations: pl.DataFrame,
    targets: pl.DataFrame,
    traces: pl.DataFrame,
    maturities: pl.DataFrame,
    rules: EvaluatorRules,
    clock: str,
) -> pl.DataFrame:
    """
    Join verdicts to traces and make one row of several.

    Args:
        evaluations: `EVALUATIONS`.
        targets: `EVALUATION_TARGETS`.
        traces: `TRACE_FACTS`.
        maturities: as the table; the newest `effective_from` at or before a trace's start counts.
        rules: labels, thresholds, directions.
        clock: `wall` (a verdict is in time by when it was received) or `event` (by when it was made).

    Returns:
        `TRACE_OUTCOMES`, sorted.
    """
    raise NotImplementedError
