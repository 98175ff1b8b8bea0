"""
`gen_ai.evaluation.result`: as a span event, as a log record, and in the shape Azure's evaluators send.

Source: semantic-conventions-genai `model/gen-ai/events.yaml`; azure-ai-evaluation 1.18 for `internal_properties`; OpenLIT 1.45.
"""

from __future__ import annotations

from typing import Any

import polars as pl
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector.evaluations.shapes import (
    EVENT_NAME,
    EVENTS,
    LOG_RECORDS,
    MISSING,
    SESSION_KEYS,
    Keys,
    finish,
    known_text,
    maps,
    parsed,
    require,
    to_annotator,
    to_flag,
    to_score,
)
from storage.evaluations import EVALUATION_RECORDS, SourceForm

_INTERNAL = "internal_properties"
_PASSED = "gen_ai.evaluation.passed"
_STATUS = "gen_ai.evaluation.status"
_NAMING = ("event.name", "microsoft.custom_event.name")


def from_events(events: pl.DataFrame) -> pl.DataFrame:
    """
    Evaluations that are events of the span they judge.

    Args:
        events: `EVENTS`.

    Returns:
        `EVALUATION_RECORDS`, one row per event, sorted.

    Raises:
        FrameShapeError: a column is missing or has another type.
    """
    require(events, EVENTS, "evaluation events")
    if events.is_empty():
        return EVALUATION_RECORDS.to_frame()
    rows = verdicts(events).with_columns(
        target_trace_id="trace_id",
        target_span_id="span_id",
        source_form=pl.lit(SourceForm.SPAN_EVENT.value),
        evaluated_at="time",
    )
    return finish(rows)


def event_name_of(record: LogRecord) -> str:
    """What kind of event a log record is: its own field, else one of the attributes that say it, else its whole body."""
    said = {pair.key: pair.value.string_value for pair in record.attributes if pair.key in _NAMING}
    names = [record.event_name, *(said.get(key, "") for key in _NAMING)]
    return next((name for name in names if name not in MISSING), record.body.string_value.strip())


def from_logs(logs: pl.DataFrame) -> pl.DataFrame:
    """
    Evaluations that are log records; records that are none yield nothing.

    The event's name stands in its own field, in `event.name`, in `microsoft.custom_event.name`, or is the whole body.

    Args:
        logs: `LOG_RECORDS`.

    Returns:
        `EVALUATION_RECORDS`, sorted. The target is the record's span, else the response, trace or session it names.

    Raises:
        FrameShapeError: a column is missing or has another type.
    """
    require(logs, LOG_RECORDS, "log records")
    keys = Keys(logs)
    event_name = pl.coalesce(
        known_text(pl.col("event_name")),
        keys.first(*_NAMING),
        pl.col("body").str.strip_chars(),
    )
    results = logs.filter(event_name == EVENT_NAME)
    if results.is_empty():
        return EVALUATION_RECORDS.to_frame()
    keys = Keys(results)
    rows = verdicts(results).with_columns(
        target_trace_id="trace_id",
        target_span_id="span_id",
        target_response_id=keys.first("gen_ai.response.id"),
        target_session_id=keys.first(*SESSION_KEYS),
        source_form=pl.lit(SourceForm.LOG_RECORD.value),
        evaluated_at="time",
    )
    return finish(rows)


def verdicts(carriers: pl.DataFrame) -> pl.DataFrame:
    """`carriers` with the columns that `gen_ai.evaluation.*` attributes fill; no target, form or time."""
    keys = Keys(carriers)
    is_azure = any(key.startswith(("internal_properties", "microsoft.")) for key in keys.present)
    rows = carriers.with_columns(
        name=keys.first("gen_ai.evaluation.name"),
        score=to_score(keys.first("gen_ai.evaluation.score.value", "gen_ai.evaluation.score")),
        label=keys.first("gen_ai.evaluation.score.label", "gen_ai.evaluation.label"),
        passed=to_flag(keys.first(_PASSED, f"{_INTERNAL}.{_PASSED}")),
        explanation=keys.first("gen_ai.evaluation.explanation"),
        annotator_kind=to_annotator(
            keys.first("microsoft.gen_ai.human_evaluation.source", "microsoft.gen_ai.evaluation.actor.type")
        ),
        identifier=keys.first("openlit.score.idempotency_key", "microsoft.gen_ai.human_evaluation.id"),
        evaluator_error=keys.first("error.type"),
        evaluator_version=keys.first("rollout.evaluation.version", "gen_ai.evaluation.version"),
        sampling_rule=keys.first("rollout.evaluation.rule"),
        source_dialect=_dialect(keys, is_azure=is_azure),
    )
    return _with_internal_properties(rows, keys) if _INTERNAL in keys.present else rows


def _dialect(keys: Keys, *, is_azure: bool) -> pl.Expr:
    scope = pl.col("scope_name")
    by_scope = (
        pl.when(scope.str.starts_with("openlit"))
        .then(pl.lit("olt"))
        .when(scope.str.starts_with("traceai_") | (keys.raw("gen_ai.span.kind").is_not_null()))
        .then(pl.lit("fi1"))
    )
    if is_azure:
        marks = [keys.raw(key).is_not_null() for key in keys.present if key.startswith(("internal_properties", "microsoft."))]
        by_scope = by_scope.when(pl.any_horizontal(marks)).then(pl.lit("az"))
    return by_scope.otherwise(pl.lit("genai"))


def _with_internal_properties(rows: pl.DataFrame, keys: Keys) -> pl.DataFrame:
    """Azure's JSON: the flag, the evaluator's own failure, and (as metadata) thresholds and what the evaluator spent."""
    objects = [parsed(text) for text in rows.select(keys.raw(_INTERNAL).alias("text"))["text"]]
    flag = to_flag(pl.lit(pl.Series("flag", [_text(o.get(_PASSED)) for o in objects], pl.String)))
    is_error = pl.Series("is_error", [str(o.get(_STATUS, "")).lower() == "error" for o in objects])
    return rows.with_columns(
        passed=pl.coalesce("passed", flag),
        evaluator_error=pl.coalesce("evaluator_error", pl.when(is_error).then(pl.lit("error"))),
        metadata=maps(objects),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
