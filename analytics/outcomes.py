"""From verdicts on a trace to one outcome per evaluator or feedback kind."""

from __future__ import annotations

from typing import Literal

import polars as pl

from analytics.config import EvaluatorRules, MaturityRules
from analytics.frames import require
from analytics.verdicts import EVAL_FAIL, with_verdicts
from storage.facts import EVALUATION_TARGETS, EVALUATIONS, TRACE_OUTCOMES
from storage.maturities import MATURITIES

_TIME = pl.Datetime("ns", "UTC")
_KEY = ["trace_id", "started_at", "mirror_role", "metric", "evaluator", "evaluator_version", "sampling_rule"]

JUDGED_TRACES = pl.Schema({"trace_id": pl.String(), "mirror_role": pl.String(), "started_at": _TIME, "service_name": pl.String()})
SHADOW_SPANS = pl.Schema({"trace_id": pl.String(), "span_id": pl.String()})


def trace_outcomes(
    evaluations: pl.DataFrame,
    targets: pl.DataFrame,
    traces: pl.DataFrame,
    shadow_spans: pl.DataFrame,
    maturities: pl.DataFrame,
    rules: EvaluatorRules,
    defaults: MaturityRules,
    clock: Literal["wall", "event"],
) -> pl.DataFrame:
    """
    Join verdicts to traces and make one row of several: failed if any failed, score = mean.

    Args:
        evaluations: `EVALUATIONS`; of copies the one made last counts.
        targets: `EVALUATION_TARGETS`.
        traces: `JUDGED_TRACES`, one row per mirror role.
        shadow_spans: `SHADOW_SPANS` of traces that hold both mirror roles: verdicts on these spans are the shadow's, all
        others the primary's.
        maturities: `MATURITIES`; the newest at or before a trace's start counts, else its default.
        rules: labels, thresholds, directions.
        defaults: maturities of metrics without history.
        clock: whether a verdict is in time by when it was received (`wall`) or by when it was made (`event`).

    Returns:
        `TRACE_OUTCOMES`, sorted. Feedback on shadows, whom nobody saw, is left out.

    Raises:
        FrameShapeError: a column is missing or has another type.
    """
    require(evaluations, EVALUATIONS, "evaluations")
    require(targets, EVALUATION_TARGETS, "evaluation targets")
    require(traces, JUDGED_TRACES, "judged traces")
    require(shadow_spans, SHADOW_SPANS, "shadow spans")
    require(maturities, MATURITIES, "maturities")
    latest = evaluations.sort("evaluated_at", "received_at").unique("evaluation_id", keep="last", maintain_order=True)
    verdicts = with_verdicts(latest, rules).join(targets, on="evaluation_id")
    moment = "received_at" if clock == "wall" else "evaluated_at"
    judged = _matured(_on_traces(verdicts, traces, shadow_spans), maturities, defaults, moment)
    in_time = pl.col("is_matured")
    return (
        judged.sort("evaluation_id")
        .group_by(_KEY)
        .agg(
            n_verdicts=pl.len(),
            failed=pl.col("failed").max(),
            score=pl.col("score").mean(),
            failed_matured=pl.col("failed").filter(in_time).max(),
            score_matured=pl.col("score").filter(in_time).mean(),
            n_verdicts_matured=in_time.sum(),
        )
        .select(TRACE_OUTCOMES.names())
        .cast(TRACE_OUTCOMES)
        .sort(_KEY)
    )


def _on_traces(verdicts: pl.DataFrame, traces: pl.DataFrame, shadow_spans: pl.DataFrame) -> pl.DataFrame:
    """Give each verdict the side of its trace that it judged."""
    is_shadow_span = shadow_spans.select("trace_id", "span_id").unique().with_columns(is_shadow_span=pl.lit(True))
    sides = traces.select(*JUDGED_TRACES.names(), is_alone=pl.len().over("trace_id") == 1)
    is_shadow_unit = pl.col("mirror_role") == "shadow"
    return (
        verdicts.join(is_shadow_span, on=["trace_id", "span_id"], how="left")
        .join(sides, on="trace_id")
        .filter(pl.col("is_alone") | (is_shadow_unit == pl.col("is_shadow_span").fill_null(False)))
        .filter((pl.col("metric") == EVAL_FAIL) | ~is_shadow_unit)
    )


def _matured(judged: pl.DataFrame, maturities: pl.DataFrame, defaults: MaturityRules, moment: str) -> pl.DataFrame:
    """Add whether each verdict came by the maturity of its metric."""
    where = ["service_name", "metric", "evaluator"]
    history = maturities.select(*where, "maturity_seconds", "effective_from").sort("effective_from")
    seconds = {EVAL_FAIL: defaults.evaluators_seconds, "thumbs_down": defaults.thumbs_seconds}
    default = pl.col("metric").replace_strict(seconds, default=defaults.feedback_seconds, return_dtype=pl.UInt32)
    dated = judged.sort("started_at").join_asof(
        history, left_on="started_at", right_on="effective_from", by=where, check_sortedness=False
    )
    maturity = pl.duration(seconds=pl.col("maturity_seconds").fill_null(default), time_unit="ns")
    return dated.with_columns(is_matured=pl.col(moment) <= pl.col("started_at") + maturity)
