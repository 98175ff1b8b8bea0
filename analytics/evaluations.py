"""Where each evaluation belongs."""

from __future__ import annotations

import polars as pl

from analytics.frames import require
from storage.facts import EVALUATION_TARGETS, EVALUATIONS

_TIME = pl.Datetime("ns", "UTC")

TRACE_INDEX = pl.Schema({"trace_id": pl.String(), "session_id": pl.String(), "mirror_role": pl.String(), "started_at": _TIME})
RESPONSE_INDEX = pl.Schema({"response_id": pl.String(), "trace_id": pl.String(), "span_id": pl.String(), "start_time": _TIME})


def resolve_targets(evaluations: pl.DataFrame, traces: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    """
    Find the trace, and the span if one is named, that each evaluation judged.

    By trace and span ids; else by response id: of several spans with that id the last to start before the evaluation was made,
    else the first to start; else by session: its latest trace that was served before the evaluation was made. Never by parentage.

    Args:
        evaluations: `EVALUATIONS`.
        traces: `TRACE_INDEX` of every trace that the evaluations name, and of every trace of the sessions they name.
        responses: `RESPONSE_INDEX` of every response they name.

    Returns:
        `EVALUATION_TARGETS`, sorted by evaluation; an evaluation whose target has not arrived has no row.

    Raises:
        FrameShapeError: a column is missing or has another type.
    """
    require(evaluations, EVALUATIONS, "evaluations")
    require(traces, TRACE_INDEX, "trace index")
    require(responses, RESPONSE_INDEX, "response index")
    found = [_by_trace(evaluations, traces), _by_response(evaluations, responses), _by_session(evaluations, traces)]
    return (
        pl.concat(found)
        .unique("evaluation_id", keep="first", maintain_order=True)
        .select(EVALUATION_TARGETS.names())
        .sort("evaluation_id")
    )


def _by_trace(evaluations: pl.DataFrame, traces: pl.DataFrame) -> pl.DataFrame:
    known = traces.select("trace_id").unique()
    return evaluations.join(known, left_on="target_trace_id", right_on="trace_id", how="semi").select(
        "evaluation_id",
        pl.col("target_trace_id").alias("trace_id"),
        pl.col("target_span_id").alias("span_id"),
        pl.when(pl.col("target_span_id") != "").then(pl.lit("span")).otherwise(pl.lit("trace")).alias("resolved_by"),
    )


def _by_response(evaluations: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    candidates = evaluations.filter(pl.col("target_response_id") != "").join(
        responses, left_on="target_response_id", right_on="response_id"
    )
    is_before = pl.col("start_time") <= pl.col("evaluated_at")
    # before the evaluation the latest is best, after it the earliest
    distance = (pl.col("evaluated_at") - pl.col("start_time")).dt.total_nanoseconds().abs()
    return (
        candidates.with_columns(is_before=is_before, distance=distance)
        .sort("is_before", "distance", "trace_id", "span_id", descending=[True, False, False, False])
        .unique("evaluation_id", keep="first", maintain_order=True)
        .select("evaluation_id", "trace_id", "span_id", pl.lit("response").alias("resolved_by"))
    )


def _by_session(evaluations: pl.DataFrame, traces: pl.DataFrame) -> pl.DataFrame:
    asking = evaluations.filter(pl.col("target_session_id") != "").sort("evaluated_at", "evaluation_id")
    served = traces.filter(pl.col("session_id") != "", pl.col("mirror_role") != "shadow").sort("started_at", "trace_id")
    return (
        asking.join_asof(
            served,
            left_on="evaluated_at",
            right_on="started_at",
            by_left="target_session_id",
            by_right="session_id",
            check_sortedness=False,  # sorted above; polars cannot check within groups
            strategy="backward",
        )
        .filter(pl.col("trace_id").is_not_null())
        .select("evaluation_id", "trace_id", pl.lit("").alias("span_id"), pl.lit("session").alias("resolved_by"))
    )
