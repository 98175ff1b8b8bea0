"""Evaluations and feedback, in every form that arrives over OTLP, read into rows of `evaluation_records`."""

from __future__ import annotations

import polars as pl

from storage.evaluations import EVALUATION_RECORDS

_TIME = pl.Datetime("ns", "UTC")
_ATTRIBUTES = pl.Map(pl.String, pl.String)

CANDIDATE_SPANS = pl.Schema(
    {
        "trace_id": pl.String,
        "span_id": pl.String,
        "parent_span_id": pl.String,
        "scope_name": pl.String,
        "end_time": _TIME,
        "attributes": _ATTRIBUTES,
        "attribute_types": pl.List(pl.UInt8),
        "events": pl.List(pl.Struct({"time": _TIME, "name": pl.String, "attributes": _ATTRIBUTES})),
        "links": pl.List(
            pl.Struct({"trace_id": pl.String, "span_id": pl.String, "trace_state": pl.String, "attributes": _ATTRIBUTES})
        ),
        "received_at": _TIME,
    }
)
"""Spans that may hold an evaluation; columns as in `span_records`. Others may be among them, and yield nothing."""

LOG_RECORDS = pl.Schema(
    {
        "trace_id": pl.String,
        "span_id": pl.String,
        "event_name": pl.String,
        "body": pl.String,
        "time": _TIME,
        "scope_name": pl.String,
        "attributes": _ATTRIBUTES,
        "attribute_types": pl.List(pl.UInt8),
        "received_at": _TIME,
    }
)
"""Log records. `time` is already resolved (own, else observed, else arrival); ids are '' when absent; `body` is text."""

EVENT_NAME = "gen_ai.evaluation.result"

CANDIDATE_KEYS = (
    r"^(gen_ai\.evaluation\.name|gen_ai\.guardrail\.status|litellm\.guardrail\.name|logfire\.feedback\.name|langgraph\.human\.decision"
    r"|(trace\.|session\.)?(annotations|evaluations)\.\d+\..*)$"
)
"""RE2: a span is a candidate when an attribute key matches, or when one of its events is called `EVENT_NAME`."""


def from_spans(spans: pl.DataFrame) -> pl.DataFrame:
    """
    Evaluations that spans carry: span events, attributes of the judged span, evaluator spans, feedback child spans.

    Args:
        spans: `CANDIDATE_SPANS`.

    Returns:
        `EVALUATION_RECORDS`, sorted; several rows for a span that holds several.

    Raises:
        FrameShapeError: a column is missing or has another type.
    """
    raise NotImplementedError


def from_logs(logs: pl.DataFrame) -> pl.DataFrame:
    """
    Evaluations that arrived as log records; records that are none yield nothing.

    Args:
        logs: `LOG_RECORDS`.

    Returns:
        `EVALUATION_RECORDS`, sorted.

    Raises:
        FrameShapeError: a column is missing or has another type.
    """
    raise NotImplementedError
