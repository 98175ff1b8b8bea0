"""
Evaluations that are attributes of a span: of the judged span itself, of an evaluator's span, or of a feedback child span.

Source: OpenInference `spec/annotations.md`; traceAI 1.x `fi_types.py`; logfire `experimental/annotations.py`; OpenLLMetry and
LiteLLM guardrail spans; traceAI LangGraph.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from collector.evaluations.genai import verdicts
from collector.evaluations.shapes import (
    CANDIDATE_SPANS,
    SESSION_KEYS,
    Keys,
    finish,
    known_text,
    maps,
    parsed,
    require,
    to_annotator,
    to_score,
)
from storage.evaluations import EVALUATION_RECORDS, AnnotatorKind, SourceForm

_INDEXED = r"^(?:(trace|session)\.)?(annotations\.\d+\.annotation|evaluations\.\d+\.evaluation)\.(.+)$"
_KIND_KEYS = ("openinference.span.kind", "gen_ai.span.kind", "fi.span.kind", "langfuse.observation.type")
# Protobuf tags of AnyValue's members, as `attribute_types` keeps them.
_STRING_TAG, _BOOL_TAG = 0x0A, 0x10

# LiteLLM's words for what a guardrail did: let pass, stepped in. Any other means that it did not answer.
_LITELLM_STATUS = {"success": True, "guardrail_intervened": False}


def from_spans(spans: pl.DataFrame) -> pl.DataFrame:
    """
    Evaluations in the attributes of spans.

    Args:
        spans: `CANDIDATE_SPANS`.

    Returns:
        `EVALUATION_RECORDS`, sorted; several rows for a span that holds several.

    Raises:
        FrameShapeError: a column is missing or has another type.
    """
    require(spans, CANDIDATE_SPANS, "candidate spans")
    if spans.is_empty():
        return EVALUATION_RECORDS.to_frame()
    keys = Keys(spans)
    kind = keys.first(*_KIND_KEYS).str.to_uppercase()
    spans = spans.with_columns(
        is_evaluator=(kind == "EVALUATOR").fill_null(False), session_id=keys.first(*SESSION_KEYS), evaluated_at="end_time"
    )
    forms = [_indexed(spans), *(read(spans, keys) for read, marks in _FORMS if keys.present.intersection(marks))]
    return pl.concat([finish(rows) for rows in forms if not rows.is_empty()] or [EVALUATION_RECORDS.to_frame()])


def _indexed(spans: pl.DataFrame) -> pl.DataFrame:
    """
    OpenInference: `annotations.<i>.annotation.*` and `evaluations.<i>.evaluation.*`, with a prefix for a wider scope.

    On an EVALUATOR span the target is what its one link names; its parent never is.
    """
    spans = spans.with_row_index("row")
    members = (
        spans.select("row", entry=pl.col("attributes").map.entries())
        .explode("entry")
        .unnest("entry")
        .filter(pl.col("key").str.contains(_INDEXED))
        .with_columns(part=pl.col("key").str.extract_groups(_INDEXED))
        .with_columns(
            scope=pl.col("part").struct.field("1"), item=pl.col("part").struct.field("2"), field=pl.col("part").struct.field("3")
        )
    )
    if members.is_empty():
        return members
    value = known_text(pl.col("value"))

    def member(name: str) -> pl.Expr:
        return value.filter(pl.col("field") == name).drop_nulls().first()

    verdict = members.group_by("row", "scope", "item").agg(
        name=member("name"),
        score=to_score(member("score")),
        label=member("label"),
        explanation=member("explanation"),
        annotator_kind=to_annotator(member("annotator_kind")),
        identifier=member("identifier"),
        evaluator_version=member("version"),
        json=member("metadata"),
    )
    carried = ("row", "trace_id", "span_id", "session_id", "is_evaluator", "links", "evaluated_at", "received_at")
    rows = verdict.join(spans.select(carried), on="row")
    is_linked = pl.col("links").list.len() == 1
    link = pl.col("links").list.first()
    own = ~pl.col("is_evaluator")
    wide = pl.col("scope").is_not_null()
    return rows.with_columns(
        metadata=maps(parsed(text) for text in rows["json"]),
        target_trace_id=pl.when(pl.col("scope").eq_missing("session"))
        .then(None)
        .when(own)
        .then("trace_id")
        .when(is_linked)
        .then(link.struct.field("trace_id")),
        target_span_id=pl.when(wide).then(None).when(own).then("span_id").when(is_linked).then(link.struct.field("span_id")),
        target_session_id=pl.when(pl.col("scope") == "session").then("session_id"),
        source_form=pl.when(own).then(pl.lit(SourceForm.ATTRIBUTE.value)).otherwise(pl.lit(SourceForm.CARRIER_SPAN.value)),
        source_dialect=pl.lit("oi"),
    )


def _own(spans: pl.DataFrame, keys: Keys) -> pl.DataFrame:
    """`gen_ai.evaluation.*` as span attributes: traceAI's evaluator spans name their target, else judge their parent."""
    carriers = spans.filter(keys.raw("gen_ai.evaluation.name").is_not_null())
    if carriers.is_empty():
        return carriers
    target = Keys(carriers).first("gen_ai.evaluation.target_span_id").str.to_lowercase()
    is_carrier = pl.col("is_evaluator") | target.is_not_null()
    return verdicts(carriers).with_columns(
        target_trace_id="trace_id",
        target_span_id=pl.coalesce(target, pl.when(pl.col("is_evaluator")).then("parent_span_id").otherwise("span_id")),
        source_form=pl.when(is_carrier).then(pl.lit(SourceForm.CARRIER_SPAN.value)).otherwise(pl.lit(SourceForm.ATTRIBUTE.value)),
    )


def _guardrails(spans: pl.DataFrame, keys: Keys) -> pl.DataFrame:
    """OpenLLMetry's and LiteLLM's guardrails: an explicit flag about the span they stand on."""
    status = keys.first("gen_ai.guardrail.status")
    status_ll = keys.first("litellm.guardrail.status")
    outcome = status.str.to_lowercase().replace_strict({"passed": True, "failed": False}, default=None, return_dtype=pl.Boolean)
    outcome_ll = status_ll.replace_strict(_LITELLM_STATUS, default=None, return_dtype=pl.Boolean)
    is_known = status_ll.is_in(list(_LITELLM_STATUS))
    rows = spans.filter(status.is_not_null() | status_ll.is_not_null())
    return rows.with_columns(
        name=pl.coalesce(keys.first("gen_ai.guardrail.name", "litellm.guardrail.name"), pl.lit("guardrail")),
        label=pl.coalesce(status, status_ll),
        passed=pl.coalesce(outcome, outcome_ll),
        evaluator_error=pl.when(status.is_null() & ~is_known).then(status_ll),
        annotator_kind=pl.lit(AnnotatorKind.CODE.value),
        target_trace_id="trace_id",
        target_span_id="span_id",
        source_form=pl.lit(SourceForm.ATTRIBUTE.value),
        source_dialect=pl.when(status.is_not_null()).then(pl.lit("oll")).otherwise(pl.lit("ll2")),
    )


def _decisions(spans: pl.DataFrame, keys: Keys) -> pl.DataFrame:
    """LangGraph's human in the loop: approved, rejected or modified."""
    decision = keys.first("langgraph.human.decision")
    return spans.filter(decision.is_not_null()).with_columns(
        name=pl.lit("human_review"),
        label=decision,
        explanation=keys.first("langgraph.human.feedback"),
        annotator_kind=pl.lit(AnnotatorKind.HUMAN.value),
        target_trace_id="trace_id",
        target_span_id="span_id",
        source_form=pl.lit(SourceForm.ATTRIBUTE.value),
        source_dialect=pl.lit("fi1"),
    )


def _feedback(spans: pl.DataFrame, keys: Keys) -> pl.DataFrame:
    """Logfire's late child spans: the attribute that `logfire.feedback.name` names holds the value, its type says what it is."""
    name = keys.first("logfire.feedback.name")
    children = spans.filter(name.is_not_null())
    values = pl.DataFrame(
        list(_feedback_values(children)), {"score": pl.Float64, "label": pl.String, "passed": pl.Boolean}, orient="row"
    )
    return pl.concat([children, values], how="horizontal").with_columns(
        name=name,
        explanation=keys.first("logfire.feedback.comment"),
        target_trace_id="trace_id",
        target_span_id="parent_span_id",
        source_form=pl.lit(SourceForm.CHILD_SPAN.value),
        source_dialect=pl.lit("pai"),
    )


def _feedback_values(children: pl.DataFrame) -> Iterator[tuple[float | None, str | None, bool | None]]:
    for attributes, types in children.select("attributes", "attribute_types").iter_rows():
        entries: dict[str, Any] = dict(attributes) if isinstance(attributes, dict) else {e["key"]: e["value"] for e in attributes}
        tags = dict(zip(entries, types, strict=False))
        name = entries["logfire.feedback.name"]
        value, tag = entries.get(name), tags.get(name)
        if value is None or tag == _STRING_TAG:
            yield None, value, None
        elif tag == _BOOL_TAG:
            yield None, None, value == "true"
        else:
            yield pl.select(to_score(pl.lit(value, pl.String))).item(), None, None


# Each form and the keys without one of which it is not there.
_FORMS = (
    (_own, {"gen_ai.evaluation.name"}),
    (_guardrails, {"gen_ai.guardrail.status", "litellm.guardrail.status"}),
    (_decisions, {"langgraph.human.decision"}),
    (_feedback, {"logfire.feedback.name"}),
)
