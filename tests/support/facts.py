"""Rows of trace_facts for tests: a factory whose defaults are one unremarkable trace."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import polars as pl

from storage.client import Store
from storage.facts import TRACE_FACTS

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def trace_row(number: int = 1, **changes: Any) -> dict[str, Any]:
    """One trace; `number` makes its id."""
    row: dict[str, Any] = {
        "trace_id": f"{number:032x}",
        "started_at": START,
        "service_name": "support-agent",
        "environment": "production",
        "model_route": "teacher",
        "model": "gpt-x",
        "models": ["gpt-x"],
        "prompt_name": "answer",
        "prompt_version": "p-1",
        "cohort": "refunds",
        "session_id": f"session-{number}",
        "user_id": f"user-{number}",
        "mirror_role": "none",
        "mirror_group": "",
        "name": "handle",
        "duration_ns": 1_500_000_000,
        "ttft_ns": None,
        "n_spans": 2,
        "n_model_calls": 1,
        "n_logical_calls": 1,
        "input_tokens": 100,
        "output_tokens": 20,
        "cost_usd": "0.010000000",
        "cost_source": "configured",
        "unpriced_calls": 0,
        "received_at": START,
    }
    return row | changes


def write_traces(
    store: Store, rows: Iterable[dict[str, Any]], computed_at: datetime = START, *, is_deleted: bool = False
) -> None:
    """Append versions of traces to `trace_facts`."""
    frame = pl.DataFrame(list(rows), infer_schema_length=None)
    casts = [pl.col(name).cast(TRACE_FACTS[name]) for name in frame.columns if name != "cost_usd"]
    money = [pl.col("cost_usd").cast(pl.String).cast(pl.Decimal(18, 9))] if "cost_usd" in frame.columns else []
    store.insert(
        "trace_facts",
        frame.with_columns(casts + money).with_columns(
            computed_at=pl.lit(computed_at).dt.cast_time_unit("ns"), is_deleted=pl.lit(int(is_deleted), pl.UInt8)
        ),
    )
