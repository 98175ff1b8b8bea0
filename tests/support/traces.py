"""Spans of made-up traces, as frames the assembler takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from storage.facts import ASSEMBLY_SPANS

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_EMPTY: dict[Any, Any] = {pl.String: "", pl.Boolean: False}
_KNOWN_NULL = {"evaluation_sampled"}


def span(span_id: str, parent: str = "", start: float = 0.0, end: float = 1.0, **fields: Any) -> dict[str, Any]:
    """
    One span as a row of `ASSEMBLY_SPANS`. `start` and `end` are seconds after `T0`; what is not given is unknown.

    `cost` is `reported_cost_usd`; `tokens` is (input, output).
    """
    row = _blank()
    row |= {
        "trace_id": "t",
        "span_id": span_id,
        "parent_span_id": parent,
        "name": span_id,
        "start_time": T0 + timedelta(seconds=start),
        "end_time": T0 + timedelta(seconds=end),
        "service_name": "support",
        "kind": "other",
        "status": "unset",
        "received_at": T0 + timedelta(minutes=1),
    }
    if "tokens" in fields:
        row["input_tokens"], row["output_tokens"] = fields.pop("tokens")
    if fields.get("cost") is None:
        fields.pop("cost", None)
    else:
        row["reported_cost_usd"] = Decimal(str(fields.pop("cost")))
    if "hints" in fields:
        row["hints"] = [{"key": key, "value": value} for key, value in fields.pop("hints").items()]
    unknown = set(fields) - set(ASSEMBLY_SPANS) - {"attributes", "resource_attributes"}
    assert not unknown, unknown
    return row | fields


def llm(span_id: str, parent: str = "", start: float = 0.0, end: float = 1.0, **fields: Any) -> dict[str, Any]:
    """A model call."""
    return span(span_id, parent, start, end, **{"kind": "llm", "operation": "chat", **fields})


def frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Rows as a frame."""
    return pl.DataFrame(list(rows), schema=ASSEMBLY_SPANS, orient="row")


def _blank() -> dict[str, Any]:
    blank: dict[str, Any] = {}
    for name, dtype in ASSEMBLY_SPANS.items():
        if isinstance(dtype, pl.List):
            blank[name] = []
        elif name == "content_hash":
            blank[name] = 0
        elif name in _KNOWN_NULL:
            blank[name] = None
        else:
            blank[name] = _EMPTY.get(type(dtype) if not isinstance(dtype, type) else dtype)
    return blank


def priced(assembled: pl.DataFrame) -> pl.DataFrame:
    """A price step for tests: what was reported, else 1 microdollar a token, else unknown."""
    tokens = pl.col("input_tokens") + pl.col("output_tokens")
    computed = (tokens.cast(pl.Decimal(18, 9)) * Decimal("0.000001")).cast(pl.Decimal(18, 9))
    is_known = pl.col("charge") != ""
    is_reported = pl.col("reported_cost_usd").is_not_null()
    return assembled.with_columns(computed_cost_usd=pl.when(is_known).then(computed)).with_columns(
        cost_usd=pl.when(is_known).then(pl.coalesce("reported_cost_usd", "computed_cost_usd")),
        cost_source=pl.when(is_known & is_reported)
        .then(pl.lit("reported"))
        .when(pl.col("computed_cost_usd").is_not_null())
        .then(pl.lit("test"))
        .otherwise(pl.lit("")),
    )
