"""Failing pairs as documents: what the candidate got wrong beside what the baseline got right, with both conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl

from alerts.rules import GUARD_METRICS, REFERENCED
from analytics.config import EvaluatorRules
from api.content import conversation_of
from api.documents import to_json
from api.judged import judged
from api.problems import bad_value
from api.services import Document, Services
from api.times import LATEST
from storage.metrics import FLAG_METRICS, VERDICT_METRICS
from storage.pairs import PairQuestion, read_failing_pairs
from storage.traces import WholeTrace, read_traces

WINDOW = timedelta(days=14)
_MAX_SPANS = 200
_FAILABLE = (*VERDICT_METRICS, *FLAG_METRICS)
_EVALUATION = ("name", "metric", "failed", "score", "label", "explanation", "evaluator_error", "evaluator_version")


def question_of(rollout: Document, services: Services, cohort: str | None, metric: str, evaluator: str) -> PairQuestion:
    """What to look for in the last two weeks; `cohort` None is all, `evaluator` '' is any. Raises a 400 problem for a metric."""
    if metric.removesuffix("_rate") not in (*_FAILABLE, *GUARD_METRICS, *REFERENCED):
        raise bad_value("metric", metric, f"one of {', '.join(_FAILABLE)}")
    now = services.clock.now()
    return PairQuestion(
        service_name=rollout["service"],
        environment=rollout.get("environment") or "",
        baseline=rollout["baseline"],
        candidate=rollout["candidate"],
        cohort=cohort,
        metric=metric.removesuffix("_rate"),
        evaluator=evaluator,
        since=now - WINDOW,
        until=now,
    )


def failing_pairs(services: Services, question: PairQuestion, limit: int) -> list[Document]:
    """`cohort`, `is_mirrored`, `candidate`, `baseline` of each pair of which both traces are still there; mirrored ones first."""
    # the range moves with every question
    asked = replace(question, since=LATEST, until=LATEST)
    return services.kept.get(("pairs", asked, limit), lambda: _read_pairs(services, question, limit))


def _read_pairs(services: Services, question: PairQuestion, limit: int) -> list[Document]:
    pairs = read_failing_pairs(services.store, question, limit)
    started = {pair.candidate_trace_id: pair.started_at for pair in pairs}
    started |= {pair.baseline_trace_id: pair.baseline_started_at for pair in pairs}
    traces = read_traces(services.store, started, _MAX_SPANS)
    sides = _sides(traces, services.evaluators)
    return [
        {
            "cohort": pair.cohort,
            "is_mirrored": pair.is_mirrored,
            "candidate": sides[pair.candidate_trace_id],
            "baseline": sides[pair.baseline_trace_id],
        }
        for pair in pairs
        if pair.candidate_trace_id in sides and pair.baseline_trace_id in sides
    ]


def answering_span(spans: list[dict[str, Any]]) -> Mapping[str, Any]:
    """The last model call, which is the one that answered; else the first span; empty without any."""
    calls = [span for span in spans if span["is_model_call"] or span["kind"] == "llm"]
    return calls[-1] if calls else spans[0] if spans else {}


def attribute_pairs(values: Any) -> tuple[tuple[str, str], ...]:
    """A map column as Polars gives it (a dict, or key-value rows), sorted by key."""
    items = values.items() if isinstance(values, Mapping) else ((item["key"], item["value"]) for item in values or ())
    return tuple(sorted(items))


def _sides(traces: Mapping[str, WholeTrace], rules: EvaluatorRules) -> dict[str, Document]:
    """Each trace as one side of a pair; their evaluations are judged together."""
    if not traces:
        return {}
    # one evaluation can be about two of the traces: their session's
    told = pl.concat([trace.evaluations for trace in traces.values()])
    rows = judged(told.unique("evaluation_id", maintain_order=True), rules).select("evaluation_id", *_EVALUATION).to_dicts()
    known = {row.pop("evaluation_id"): row for row in rows}
    return {
        trace_id: _side(trace, [known[evaluation_id] for evaluation_id in trace.evaluations["evaluation_id"]])
        for trace_id, trace in traces.items()
    }


def _side(trace: WholeTrace, evaluations: Sequence[Mapping[str, Any]]) -> Document:
    fact = trace.facts.row(0, named=True) if len(trace.facts) else {}
    spans = trace.spans.to_dicts()
    words = conversation_of(dict(attribute_pairs(answering_span(spans).get("attributes"))))
    side: Document = to_json(
        {
            "trace_id": trace.trace_id,
            "started_at": fact.get("started_at") or (spans[0]["start_time"] if spans else None),
            "model": fact.get("model", ""),
            "cost_usd": fact.get("cost_usd"),
            "duration_ns": fact.get("duration_ns"),
            "quality_flags": list(fact.get("quality_flags") or ()),
            "evaluations": evaluations,
            "prompt": [{"role": message.role, "text": message.text} for message in words.prompt],
            "completion": [{"role": message.role, "text": message.text} for message in words.completion],
        }
    )
    return side
