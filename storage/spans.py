"""The collector's span rows: their columns in order, and how a value that is stored as text is read back."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping

import polars as pl
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

SPAN_COLUMNS = (
    "trace_id",
    "span_id",
    "parent_span_id",
    "trace_state",
    "name",
    "span_kind",
    "start_time",
    "end_time",
    "duration_ns",
    "service_name",
    "environment",
    "release",
    "scope_name",
    "scope_version",
    "dialects",
    "kind",
    "operation",
    "model_route",
    "cohort",
    "request_model",
    "response_model",
    "provider",
    "prompt_name",
    "prompt_version",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "token_quality",
    "reported_cost_usd",
    "cost_source",
    "ttft_ns",
    "is_streaming",
    "status",
    "status_message",
    "error_type",
    "http_status",
    "finish_reasons",
    "attempt_index",
    "attempt_kind",
    "fallback_from",
    "call_group",
    "tool_name",
    "tool_call_id",
    "tool_call_names",
    "session_id",
    "user_id",
    "tags",
    "metadata",
    "mirror_role",
    "mirror_group",
    "response_id",
    "evaluation_sampled",
    "evaluation_rule",
    "quality_flags",
    "attributes",
    "attribute_types",
    "resource_attributes",
    "events",
    "links",
    "dropped_attributes_count",
    "dropped_events_count",
    "dropped_links_count",
    "resource_schema_url",
    "scope_schema_url",
    "received_at",
    "row_version",
)
"""Columns of `span_records` that a writer sends, in the table's order; `written_at` is the table's own."""

NESTED, NESTED_END = '{"@otlp":"', '"}'
"""What a map, or a list of more than scalars, is stored as: JSON around the base64 of the AnyValue's own bytes."""

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

_BOOL, _INT, _DOUBLE, _ARRAY, _KVLIST = 0x10, 0x18, 0x21, 0x2A, 0x32


def value_of(text: str, tag: int | None = None) -> JsonValue:
    """
    An attribute's value as JSON has it; bytes are base64, NaN and the infinities their names.

    Args:
        text: as stored in `attributes`, or in the attributes of an event, a link or a resource.
        tag: the value's `attribute_types`; None where none are kept: then a scalar is its text.
    """
    nested = _nested(text) if tag in (None, _ARRAY, _KVLIST) else None
    if nested is not None:
        return _plain(nested)
    if tag == _BOOL:
        return text == "true"
    if tag == _INT:
        return int(text)
    if tag == _DOUBLE:
        return _number(float(text))
    if tag == _ARRAY:
        value: JsonValue = json.loads(text)
        return value
    return None if tag == 0 else text


def readable(text: str) -> str:
    """An attribute's text as people read it: what is nested as JSON, all else as it is."""
    nested = _nested(text)
    return text if nested is None else json.dumps(_plain(nested), ensure_ascii=False, separators=(",", ":"))


def with_readable_attributes(spans: pl.DataFrame) -> pl.DataFrame:
    """
    `spans` with nested values of attributes as JSON text (`readable`).

    Args:
        spans: any of `attributes`, `resource_attributes` (maps), `events`, `links` (lists of structs with a map `attributes`).
    """
    maps = [pl.col(name) for name in ("attributes", "resource_attributes") if name in spans.columns]
    lists = [pl.col(name) for name in ("events", "links") if name in spans.columns]
    of_element = pl.element().struct.field("attributes")
    texts = [column.map.values().explode() for column in maps]
    texts += [column.explode().struct.field("attributes").map.values().explode() for column in lists]
    nested = {
        text
        for text in pl.concat(spans.select(text.alias("text").unique()) for text in texts)["text"].drop_nulls()
        if text.startswith(NESTED)
    }
    if not nested:
        return spans
    known = {text: readable(text) for text in nested}
    return spans.with_columns(
        *(_replaced(column, known) for column in maps),
        *(column.list.eval(pl.element().struct.with_fields(attributes=_replaced(of_element, known))) for column in lists),
    )


def _replaced(attributes: pl.Expr, known: Mapping[str, str]) -> pl.Expr:
    value = pl.element().struct.field("value").replace(known)
    return attributes.map.entries().list.eval(pl.element().struct.with_fields(value=value)).cast(pl.Map(pl.String, pl.String))


def _nested(text: str) -> AnyValue | None:
    """What the wrapped bytes hold; None if there are none, or a sender only wrote something that looks like it."""
    if not text.startswith(NESTED):
        return None
    try:
        value: AnyValue = AnyValue.FromString(base64.b64decode(text[len(NESTED) : -len(NESTED_END)], validate=True))
    except (binascii.Error, DecodeError):
        return None
    return value


def _plain(value: AnyValue) -> JsonValue:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(element) for element in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if kind == "double_value":
        return _number(value.double_value)
    scalar: JsonValue = getattr(value, kind) if kind else None
    return scalar


def _number(number: float) -> float | str:
    return number if math.isfinite(number) else str(number)
