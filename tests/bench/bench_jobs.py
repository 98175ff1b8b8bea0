"""
The scheduled jobs, end to end: from rows of `span_records` in the embedded engine to written facts, minutes, hours and days.

    python -m tests.bench.bench_jobs [throughput] [memory] [history] [--traces 50000] [--evaluated 0.2] ...

`throughput`: spans per CPU second of the whole process, engine included, in traces of six spans.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from analytics.config import AnalyticsConfig
from analytics.jobs import Jobs
from storage.client import Store
from storage.clock import WallClock
from storage.job_runs import JobState
from storage.migrations import migrate
from tests.bench.bench_assembly import six_span_traces

KINDS = ("assemble", "rollup", "merge")


def load(store: Store, n_traces: int, evaluated: float, seed: int = 7) -> int:
    """Write traces of six spans, ten cohorts, two routes, one in fifty with a retried call; returns how many spans."""
    spans = six_span_traces(n_traces, failing=0.02, seed=seed)
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
    judged = roots.sample(fraction=evaluated, seed=seed)
    rng = np.random.default_rng(seed)
    store.insert(
        "evaluation_records",
        judged.select(
            target_scope=pl.lit("trace"),
            target_trace_id="trace_id",
            name=pl.lit("TaskCompletion"),
            passed=pl.Series(rng.random(judged.height) < 0.9),
            score=pl.Series(rng.random(judged.height)),
            evaluated_at="end_time",
            received_at="end_time",
        ),
    )
    return spans.height


_NOT_STORED = {"resource_route", "resource_cohort", "has_exception", "hints", "input_hash", "content_hash"}


def throughput(n_traces: int, evaluated: float) -> None:
    """Time each job over a fresh store."""
    with tempfile.TemporaryDirectory(prefix="spanwise-bench-") as name:
        store = Store.embedded(Path(name))
        migrate(store)
        n_spans = load(store, n_traces, evaluated)
        print(f"{n_spans:,} spans in {n_traces:,} traces, {evaluated:.0%} judged; load {os.getloadavg()[0]:.1f}")
        jobs = Jobs(store, AnalyticsConfig(), WallClock())
        total = 0.0
        for kind in KINDS:
            wall, cpu = time.perf_counter(), time.process_time()
            run = jobs.run(kind)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            assert run.state is JobState.DONE, run.error
            total += cpu
            print(f"{kind:<10}{wall:8.2f} s wall{cpu:8.2f} s CPU{n_spans / cpu:12,.0f} spans/s   {run.rows_written:,} rows")
        print(f"{'all':<10}{'':>15}{total:8.2f} s CPU{n_spans / total:12,.0f} spans/s per core")
        store.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=50_000)
    parser.add_argument("--evaluated", type=float, default=0.2)
    options = parser.parse_args()
    throughput(options.traces, options.evaluated)


if __name__ == "__main__":
    main()
