"""Rows of span_records and evaluation_records for job tests: whole traces with the columns that jobs look at."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from storage.client import Store

Row = dict[str, Any]
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_TIME = pl.Datetime("ns", "UTC")
_TYPES = {
    "start_time": _TIME,
    "end_time": _TIME,
    "received_at": _TIME,
    "written_at": _TIME,
    "evaluated_at": _TIME,
    "duration_ns": pl.UInt64,
    "input_tokens": pl.UInt64,
    "output_tokens": pl.UInt64,
    "evaluation_sampled": pl.Boolean,
    "passed": pl.Boolean,
    "score": pl.Float64,
}


def make_trace(number: int, *, started_at: datetime = START, route: str = "teacher", **root: Any) -> list[Row]:
    """A request span and the model call below it."""
    trace_id = f"{number:032x}"
    common = {"trace_id": trace_id, "service_name": "support", "environment": "production", "status": "unset"}
    request = _timed(started_at, 1_200) | {
        "span_id": f"{number:08x}{1:08x}",
        "parent_span_id": "",
        "name": "handle",
        "kind": "chain",
        "model_route": route,
        "cohort": f"c{number % 3}",
        "prompt_version": "p-1",
        "session_id": f"s{number // 4}",
        "mirror_role": "none",
    }
    call = _timed(started_at + timedelta(milliseconds=10), 900) | {
        "span_id": f"{number:08x}{2:08x}",
        "parent_span_id": request["span_id"],
        "name": "chat",
        "kind": "llm",
        "request_model": "gpt-4o",
        "response_model": "gpt-4o",
        "provider": "openai",
        "input_tokens": 1_000 + number,
        "output_tokens": 100,
        "response_id": f"resp-{number}",
        "mirror_role": "none",
    }
    return [common | request | root, common | call]


def make_evaluation(number: int, *, after: timedelta = timedelta(minutes=5), **changes: Any) -> Row:
    """A verdict on trace `number`, passed."""
    moment = START + after
    return {
        "target_scope": "trace",
        "target_trace_id": f"{number:032x}",
        "name": "TaskCompletion",
        "passed": True,
        "annotator_kind": "model",
        "evaluator_version": "1",
        "evaluated_at": moment,
        "received_at": moment,
    } | changes


def random_story(n: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Spans and evaluations of `n` traces over half an hour, some verdicts late, some by session or response."""
    rng = random.Random(seed)
    spans: list[Row] = []
    evaluations: list[Row] = []
    for number in range(n):
        started_at = START + timedelta(seconds=rng.randrange(1_800))
        route = rng.choice(["teacher", "student"])
        spans += make_trace(number, started_at=started_at, route=route, evaluation_sampled=rng.random() < 0.5)
        if rng.random() < 0.5:
            target = rng.choice(
                [
                    {},
                    {"target_scope": "span", "target_trace_id": "", "target_response_id": f"resp-{number}"},
                    {"target_scope": "session", "target_trace_id": "", "target_session_id": f"s{number // 4}"},
                ]
            )
            after = timedelta(minutes=rng.choice([31, 600]))
            evaluations.append(make_evaluation(number, after=after, passed=rng.random() < 0.7, **target))
    return spans, evaluations


def write_spans(store: Store, rows: Iterable[Row]) -> None:
    _write(store, "span_records", [{"received_at": row["start_time"]} | row for row in rows])


def write_evaluations(store: Store, rows: Iterable[Row]) -> None:
    _write(store, "evaluation_records", rows)


def _timed(started_at: datetime, milliseconds: int) -> Row:
    ended_at = started_at + timedelta(milliseconds=milliseconds)
    return {"start_time": started_at, "end_time": ended_at, "duration_ns": milliseconds * 10**6}


def _write(store: Store, table: str, rows: Iterable[Row]) -> None:
    frame = pl.DataFrame(list(rows), infer_schema_length=None)
    store.insert(table, frame.with_columns(pl.col(n).cast(t) for n, t in _TYPES.items() if n in frame.columns))
