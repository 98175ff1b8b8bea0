"""Reading one trace with its evaluations judged as the metrics judge them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from analytics.config import EvaluatorRules
from analytics.verdicts import with_verdicts
from api.services import Services
from storage.facts import TRACE_FACTS
from storage.traces import WholeTrace, read_trace


def read_judged_trace(
    services: Services,
    trace_id: str,
    max_spans: int,
    *,
    facts_of: Sequence[str] = tuple(TRACE_FACTS),
    with_outcomes: bool = True,
) -> WholeTrace | None:
    """
    Everything of one trace, or all but its outcomes; of its facts the columns `facts_of`, as `read_trace` takes them.

    Its evaluations carry two columns more: `metric`, what they count for, and `failed`: whether that happened (NULL: they say
    neither, or the evaluator itself failed).
    """
    trace = read_trace(services.store, trace_id.lower(), max_spans, facts_of=facts_of, with_outcomes=with_outcomes)
    return trace and replace(trace, evaluations=judged(trace.evaluations, services.evaluators))


def judged(evaluations: pl.DataFrame, rules: EvaluatorRules) -> pl.DataFrame:
    """`evaluations` in their order, with `metric` and `failed`."""
    if evaluations.is_empty():
        return evaluations.drop("data_type").with_columns(metric=pl.lit(None, pl.String), failed=pl.lit(None, pl.Boolean))
    verdicts = with_verdicts(evaluations, rules).select("evaluation_id", "metric", "failed")
    return evaluations.join(verdicts, on="evaluation_id", how="left", maintain_order="left").drop("data_type")
