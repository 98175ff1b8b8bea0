"""Stores for benchmarks of jobs: traces of six spans and verdicts on them, written and not yet looked at."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from storage.client import Store
from storage.migrations import migrate
from tests.bench.bench_assembly import six_span_traces

KINDS = ("assemble", "rollup", "merge")

_NOT_STORED = {"resource_route", "resource_cohort", "has_exception", "hints", "input_hash", "content_hash"}


@contextmanager
def opened(directory: Path | None = None) -> Iterator[Store]:
    """An engine on a directory, or on one that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="spanwise-bench-") as name:
        store = Store.embedded(directory or Path(name))
        migrate(store)
        yield store
        store.close()


def load(store: Store, n_traces: int, evaluated: float, seed: int = 7, ago: timedelta = timedelta()) -> int:
    """Write traces of six spans, ten cohorts, two routes, one in fifty with a retried call; returns how many spans."""
    spans = six_span_traces(n_traces, failing=0.02, seed=seed).with_columns(pl.col("start_time", "end_time", "received_at") - ago)
    cohort = pl.format("cohort-{}", pl.col("trace_id").hash(1) % 10)
    spans = spans.with_columns(
        cohort=pl.when(pl.col("cohort") != "").then(cohort).otherwise(pl.lit("")),
        environment=pl.lit("production"),
        provider=pl.lit("openai"),
        request_model=pl.col("request_model").replace({"s-8b": "gpt-4o-mini"}),
        response_model=pl.col("response_model").replace({"s-8b-2026-01-01": "gpt-4o-mini-2024-07-18"}),
        mirror_role=pl.lit("none"),
        duration_ns=(pl.col("end_time") - pl.col("start_time")).dt.total_nanoseconds().cast(pl.UInt64),
        response_id=pl.when(pl.col("kind") == "llm").then(pl.concat_str(pl.lit("resp-"), "span_id")).otherwise(pl.lit("")),
    )
    columns = [name for name in spans.columns if name not in _NOT_STORED]
    # as they arrive: in the order of their times, a trace's spans close together
    for part in spans.select(columns).sort("start_time").iter_slices(60_000):
        store.insert("span_records", part)
    roots = spans.filter(pl.col("parent_span_id") == "").sort("trace_id")
    judge(store, roots.sample(fraction=evaluated, seed=seed), seed)
    return spans.height


def judge(store: Store, traces: pl.DataFrame, seed: int) -> None:
    """Write a verdict on each of some traces (`trace_id`, `end_time`)."""
    rng = np.random.default_rng(seed)
    verdicts = traces.select(
        target_scope=pl.lit("trace"),
        target_trace_id="trace_id",
        name=pl.lit("TaskCompletion"),
        passed=pl.Series(rng.random(traces.height) < 0.9),
        score=pl.Series(rng.random(traces.height)),
        evaluated_at="end_time",
        received_at="end_time",
    )
    store.insert("evaluation_records", verdicts)
