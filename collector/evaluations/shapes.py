"""The frames that evaluations are read from, and what every reader does with the values in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from storage.errors import FrameShapeError
from storage.evaluations import EVALUATION_RECORDS, AnnotatorKind, TargetScope

TIME: pl.DataType = pl.Datetime("ns", "UTC")
ATTRIBUTES: pl.DataType = pl.Map(pl.String, pl.String)

EVENT_NAME = "gen_ai.evaluation.result"

EVENTS = pl.Schema(
    {
        "trace_id": pl.String(),
        "span_id": pl.String(),
        "scope_name": pl.String(),
        "time": TIME,
        "attributes": ATTRIBUTES,
        "received_at": TIME,
    }
)
"""Span events called `EVENT_NAME`, one row each, with the ids and scope of the span they are on."""

CANDIDATE_SPANS = pl.Schema(
    {
        "trace_id": pl.String(),
        "span_id": pl.String(),
        "parent_span_id": pl.String(),
        "scope_name": pl.String(),
        "end_time": TIME,
        "attributes": ATTRIBUTES,
        "attribute_types": pl.List(pl.UInt8),
        "links": pl.List(pl.Struct({"trace_id": pl.String(), "span_id": pl.String})),
        "received_at": TIME,
    }
)
"""Spans with an attribute that matches `CANDIDATE_KEYS`; columns as in `span_records`. Others yield nothing."""

LOG_RECORDS = pl.Schema(
    {
        "trace_id": pl.String(),
        "span_id": pl.String(),
        "event_name": pl.String(),
        "body": pl.String(),
        "time": TIME,
        "scope_name": pl.String(),
        "attributes": ATTRIBUTES,
        "received_at": TIME,
    }
)
"""Log records. `time` is already resolved (own, else observed, else arrival); ids are '' when absent; `body` is text."""

CANDIDATE_KEYS = (
    r"^(gen_ai\.evaluation\.name|gen_ai\.guardrail\.status|litellm\.guardrail\.status|logfire\.feedback\.name|langgraph\.human\.decision"
    r"|(trace\.|session\.)?(annotations\.\d+\.annotation|evaluations\.\d+\.evaluation)\..+)$"
)
"""RE2: the span attributes that say something was judged."""

SESSION_KEYS = ("langfuse.session.id", "session.id", "gen_ai.conversation.id")
MISSING = ("", "None", "null", "undefined")

# Who is speaking, when only the name says so.
BY_NAME = {
    **dict.fromkeys(
        ("user_feedback", "thumbs", "user_thumbs", "rating", "feedback", "correction", "abandonment", "abandoned"),
        AnnotatorKind.USER.value,
    ),
    **dict.fromkeys(("human_review", "overturn", "overturned"), AnnotatorKind.HUMAN.value),
}


def require(frame: pl.DataFrame, schema: pl.Schema, name: str) -> None:
    """Raises `FrameShapeError` when `frame` lacks a column of `schema` or has it as another type."""
    problems = [
        f"{column}: {frame.schema.get(column, 'missing')}, expected {kind}"
        for column, kind in schema.items()
        if frame.schema.get(column) != kind
    ]
    if problems:
        raise FrameShapeError(name, problems)


class Keys:
    """Attribute values by key. Keys that no row of the frame has cost nothing."""

    def __init__(self, frame: pl.DataFrame) -> None:
        keys = frame.select(pl.col("attributes").map.keys().explode().unique())["attributes"]
        self.present = set(keys.drop_nulls().to_list())

    def raw(self, key: str) -> pl.Expr:
        return pl.col("attributes").map.get(key) if key in self.present else pl.lit(None, pl.String)

    def first(self, *keys: str) -> pl.Expr:
        """The first of `keys` with a value; null where none has one. What means "not set" counts as none."""
        found = [known_text(self.raw(key)) for key in keys if key in self.present]
        return pl.coalesce(*found) if found else pl.lit(None, pl.String)


def known_text(text: pl.Expr) -> pl.Expr:
    """Null for the ways senders spell "not set"."""
    return pl.when(~text.is_in(MISSING)).then(text)


def to_score(text: pl.Expr) -> pl.Expr:
    """A number, however it was sent; null for what is none, NaN and infinity."""
    number = text.str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number).otherwise(to_flag(text).cast(pl.Float64))


def to_flag(text: pl.Expr) -> pl.Expr:
    """True or false, however it was spelled; null for anything else."""
    lower = text.str.strip_chars().str.to_lowercase()
    return pl.when(lower == "true").then(True).when(lower == "false").then(False)


def to_annotator(text: pl.Expr) -> pl.Expr:
    """OpenInference's and Azure's words for who judged, as ours; null for others."""
    known = {"llm": "model", "model": "model", "human": "human", "code": "code", "user": "user", "end_user": "user"}
    return text.str.to_lowercase().replace_strict(known, default=None, return_dtype=pl.String)


def finish(rows: pl.DataFrame) -> pl.DataFrame:
    """
    Rows of `EVALUATION_RECORDS`, sorted, from whatever of its columns a reader found.

    Of the targets that a reader names exactly one is kept, the nearest: span, response, trace, session. A reader's own
    `target_scope` counts where it names none of them.
    """
    lacking = {name: pl.lit(None, kind) for name, kind in EVALUATION_RECORDS.items() if name not in rows.columns}
    rows = rows.with_columns(**lacking)
    texts = [name for name, kind in EVALUATION_RECORDS.items() if kind == pl.String]
    rows = rows.with_columns(pl.col(texts).fill_null(""))
    name = pl.when(pl.col("name") == "").then(pl.lit("unnamed")).otherwise("name")
    said_by_name = (
        pl.col("name")
        .str.to_lowercase()
        .str.replace_all("-", "_")
        .replace_strict(BY_NAME, default=AnnotatorKind.UNKNOWN.value, return_dtype=pl.String)
    )
    annotator = pl.when(pl.col("annotator_kind") == "").then(said_by_name).otherwise("annotator_kind")
    rows = _with_one_target(rows).with_columns(
        name=name,
        annotator_kind=annotator,
        metadata=pl.coalesce("metadata", pl.lit([], pl.List(pl.Struct({"key": pl.String, "value": pl.String}))).cast(ATTRIBUTES)),
    )
    return rows.select(EVALUATION_RECORDS.names()).sort(
        "target_trace_id", "target_span_id", "target_session_id", "target_response_id", "name", "identifier", "evaluated_at"
    )


def _with_one_target(rows: pl.DataFrame) -> pl.DataFrame:
    has_trace = pl.col("target_trace_id") != ""
    has_span = has_trace & (pl.col("target_span_id") != "")
    has_response = ~has_span & (pl.col("target_response_id") != "")
    only_trace = has_trace & ~has_span & ~has_response
    has_session = ~has_trace & ~has_response & (pl.col("target_session_id") != "")
    scope = (
        pl.when(has_span | has_response)
        .then(pl.lit(TargetScope.SPAN.value))
        .when(only_trace)
        .then(pl.lit(TargetScope.TRACE.value))
        .when(has_session)
        .then(pl.lit(TargetScope.SESSION.value))
        .otherwise("target_scope")
    )
    return rows.with_columns(
        target_scope=scope,
        target_trace_id=pl.when(has_span | only_trace).then("target_trace_id").otherwise(pl.lit("")),
        target_span_id=pl.when(has_span).then("target_span_id").otherwise(pl.lit("")),
        target_response_id=pl.when(has_response).then("target_response_id").otherwise(pl.lit("")),
        target_session_id=pl.when(has_session).then("target_session_id").otherwise(pl.lit("")),
    )


def to_map(members: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """A JSON object as map entries; values that are no text become their JSON."""
    return [
        {"key": str(key), "value": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}
        for key, value in (members or {}).items()
        if value is not None
    ]


def parsed(text: str | None) -> dict[str, Any]:
    """The JSON object in `text`; empty when it is none or too large to look at."""
    if not text or len(text) > 65_536:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def maps(members: Iterable[Mapping[str, Any] | None]) -> pl.Series:
    """A map column."""
    entries = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
    return pl.Series("metadata", [to_map(m) for m in members], entries).cast(ATTRIBUTES)
