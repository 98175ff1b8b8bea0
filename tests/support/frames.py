"""Frames of evaluation carriers, from plain dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from collector.evaluations.shapes import ATTRIBUTES, CANDIDATE_SPANS, EVENTS, LOG_RECORDS

TRACE, SPAN, PARENT = "a" * 32, "b" * 16, "c" * 16
AT = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
ARRIVED = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
_TAGS = {str: 0x0A, bool: 0x10, int: 0x18, float: 0x21}


def to_text(value: Any) -> str:
    """A scalar as the store's attribute maps hold it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _frame(rows: Sequence[Mapping[str, Any]], schema: pl.Schema) -> pl.DataFrame:
    entries = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
    plain = {name: entries if name == "attributes" else kind for name, kind in schema.items()}
    ready = [
        {**row, "attributes": [{"key": key, "value": to_text(value)} for key, value in row["attributes"].items()]} for row in rows
    ]
    return pl.DataFrame(ready, plain, orient="row").with_columns(pl.col("attributes").cast(ATTRIBUTES))


def events(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """`EVENTS`; each row says at least `attributes`."""
    base = {"trace_id": TRACE, "span_id": SPAN, "scope_name": "app", "time": AT, "received_at": ARRIVED}
    return _frame([{**base, **row} for row in rows], EVENTS)


def logs(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """`LOG_RECORDS` called `gen_ai.evaluation.result` unless a row says otherwise."""
    base = {
        "trace_id": "",
        "span_id": "",
        "event_name": "gen_ai.evaluation.result",
        "body": "",
        "time": AT,
        "scope_name": "app",
        "received_at": ARRIVED,
    }
    return _frame([{**base, **row} for row in rows], LOG_RECORDS)


def spans(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """`CANDIDATE_SPANS`; attribute types follow from the Python values."""
    base = {
        "trace_id": TRACE,
        "span_id": SPAN,
        "parent_span_id": PARENT,
        "scope_name": "app",
        "end_time": AT,
        "links": [],
        "received_at": ARRIVED,
    }
    typed = [{**row, "attribute_types": [_TAGS[type(value)] for value in row["attributes"].values()]} for row in rows]
    return _frame([{**base, **row} for row in typed], CANDIDATE_SPANS)


def said(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows as dicts, without what is unset and without times."""
    return [
        {
            name: value
            for name, value in row.items()
            if value not in (None, "", [], {}) and name not in ("evaluated_at", "received_at")
        }
        for row in frame.iter_rows(named=True)
    ]
