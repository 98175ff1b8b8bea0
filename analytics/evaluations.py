"""Where each evaluation belongs."""

from __future__ import annotations

import polars as pl


def resolve_targets(evaluations: pl.DataFrame, traces: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    """
    Find the trace, and the span if one is named, that each evaluation judged.

    Args:
        evaluations: `EVALUATIONS`.
        traces: `trace_id`, `session_id`, `mirror_role`, `started_at` of every trace that evaluations may name.
        responses: `response_id`, `trace_id`, `span_id`, `start_time` of every span that evaluations may name by response.

    Returns:
        `EVALUATION_TARGETS`, sorted; an evaluation whose target has not arrived has no row.
    """
    raise NotImplementedError
