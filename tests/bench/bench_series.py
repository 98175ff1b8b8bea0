"""
Metric series from rollups: how long an answer takes over 30 days of 10 million traces, and the same answer from plain SQL.

    python -m tests.bench.bench_series [--days 30] [--minute-days 1] [--rounds 5] [--compare-traces 30000]

First part: rollup rows as 10 million traces a month in 100 combinations of route, cohort, model and prompt version, with two
evaluators, would leave them, written directly; every metric, over all days by days, by hours and as one number, and over one day
by minutes. Second part: real spans, through the jobs; the same series from rollups and from the public view `spans`, and whether
they are equal.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from analytics.config import AnalyticsConfig
from analytics.jobs import Jobs
from analytics.metrics.catalogue import METRICS
from analytics.series import read_series
from storage.client import Store
from storage.clock import WallClock
from storage.job_runs import JobState
from storage.metrics import METRIC_KEY, METRIC_STATISTICS, Grain
from storage.migrations import migrate
from tests.bench.job_stores import KINDS, load

T = TypeVar("T")

START = datetime(2026, 3, 1, tzinfo=UTC)
TRACES_PER_DAY = 10_000_000 / 30
COMBINATIONS = 100
_HALVES = 2
# metric, evaluators, has a histogram
_METRICS = [
    *[(name, 1, False) for name in ("error", "retry", "fallback", "timeout", "thumbs_down", "sampled")],
    *[(name, 1, True) for name in ("cost", "latency", "ttft", "input_tokens", "output_tokens")],
    ("eval_fail", 2, False),
]
_PRESENT = {"error_rate", "latency", "cost_per_trace", "eval_fail_rate"}


def write_rollups(store: Store, grain: Grain, since: datetime, days: float) -> int:
    """
    Rows of one table as steady traffic leaves them; returns how many.

    Of a short bucket only the keys that some trace fell on have a row; a histogram has as many bins as its traces fill.
    """
    n_buckets = round(days * 86_400 / grain.seconds)
    traces = TRACES_PER_DAY * grain.seconds / 86_400 / (COMBINATIONS * _HALVES)
    per_row = max(1, round(traces))
    share = round(1_000 * (1 - np.exp(-traces)))
    keys = [name for name in METRIC_KEY if name != "bucket"]
    plain = [name for name in METRIC_STATISTICS if not name.startswith("hist_")]
    for metric, n_evaluators, has_histogram in _METRICS:
        values = {
            "service_name": "'support'",
            "environment": "'production'",
            "metric": f"'{metric}'",
            "evaluator": "concat('judge-', toString(e))" if metric == "eval_fail" else "''",
            "evaluator_version": "'1'" if metric == "eval_fail" else "''",
            "sampling_rule": "'tenth'" if metric in ("eval_fail", "sampled") else "''",
            "model_route": "if(c % 2 = 0, 'teacher', 'student')",
            "model": "if(c % 2 = 0, 'big', 'small')",
            "cohort": "concat('cohort-', toString(intDiv(c, 2) % 10))",
            "prompt_version": "concat('p-', toString(intDiv(c, 20)))",
            "aa": "a",
            "mirrored": "0",
            "pair_route": "''",
            "pair_model": "''",
        }
        counts = dict.fromkeys(plain, "0") | {
            f"{name}_{when}": value
            for name, value in (("n_eligible", per_row), ("n_scored", per_row), ("n_fail", "h % 2"), ("n_value", per_row))
            for when in ("matured", "all")
        }
        sums = {f"{name}_{when}": "1.5" for name in ("sum_value", "sum_squares") for when in ("matured", "all")}
        bins = f"arrayMap(i -> toInt16(100 + i), range({min(120, per_row)}))" if has_histogram else "[]"
        ones = f"arrayWithConstant({min(120, per_row)}, toUInt64(1))" if has_histogram else "[]"
        spread = f"arrayWithConstant({min(120, per_row)}, 0.5)" if metric == "cost" else "[]"
        store.command(
            f"""
            INSERT INTO {grain.value} (bucket, {", ".join(keys)}, {", ".join(plain)}, hist_bins_all, hist_counts_all,
                hist_sums_all, hist_squares_all, computed_at, is_deleted)
            SELECT fromUnixTimestamp({int(since.timestamp())} + {grain.seconds} * b), {", ".join(values[name] for name in keys)},
                {", ".join(str((counts | sums)[name]) for name in plain)}, {bins}, {ones}, {spread}, {spread}, now64(9), 0
            FROM
            (
                SELECT number % {n_evaluators} AS e, intDiv(number, {n_evaluators}) % {_HALVES} AS a,
                    intDiv(number, {n_evaluators * _HALVES}) % {COMBINATIONS} AS c,
                    intDiv(number, {n_evaluators * _HALVES * COMBINATIONS}) AS b, cityHash64(number) AS h
                FROM numbers({n_buckets * COMBINATIONS * _HALVES * n_evaluators})
                WHERE h % 1000 < {share}
            )
            """,
            settings={"max_insert_block_size": 100_000},
        )
    n: int = store.frame(f"SELECT count() AS n FROM {grain.value}")["n"].item()
    return n


def latencies(days: int, minute_days: int, rounds: int) -> None:
    """Every metric, several ways to ask, `rounds` times; CPU times beside, which other work on the machine changes less."""
    with tempfile.TemporaryDirectory(prefix="spanwise-bench-") as name:
        store = Store.embedded(Path(name))
        migrate(store)
        began = time.perf_counter()
        last = START + timedelta(days=days)
        # feeds of the jobs are not what is measured
        store.command("DROP TABLE touched_minutes_of_rollups_mv")
        sizes = [
            write_rollups(store, Grain.DAY, START, days),
            write_rollups(store, Grain.HOUR, START, days),
            write_rollups(store, Grain.MINUTE, last - timedelta(days=minute_days), minute_days),
        ]
        print(f"rows: {sizes[0]:,} days, {sizes[1]:,} hours, {sizes[2]:,} minutes; {time.perf_counter() - began:.0f} s to write")
        day = timedelta(days=1)
        ways: dict[str, tuple[datetime, datetime, timedelta | None, list[str]]] = {
            f"{days} days by day, by route and cohort": (START, last, day, ["route", "cohort"]),
            f"{days} days by hour, by route": (START, last, timedelta(hours=1), ["route"]),
            f"{days} days as one number, by all keys": (START, last, None, ["route", "cohort", "model", "prompt_version"]),
            "one day by minute, by route": (last - day, last, timedelta(minutes=1), ["route"]),
        }
        print(f"{'milliseconds':<42}{'p50':>8}{'p99':>8}{'worst':>8}{'CPU p99':>9}   slowest; load {os.getloadavg()[0]:.1f}")
        for way, (since, until, step, group_by) in ways.items():
            taken = [
                (*milliseconds(store, metric, since, until, step, group_by), metric) for _ in range(rounds) for metric in METRICS
            ]
            wall, cpu = (np.array(times) for times in list(zip(*taken, strict=True))[:2])
            p50, p99 = np.quantile(wall, [0.5, 0.99], method="higher")
            busy = np.quantile(cpu, 0.99, method="higher")
            print(f"{way:<42}{p50:>8.0f}{p99:>8.0f}{wall.max():>8.0f}{busy:>9.0f}   {max(taken)[2]}")
        store.close()


def milliseconds(
    store: Store, metric: str, since: datetime, until: datetime, step: timedelta | None, group_by: Sequence[str]
) -> tuple[float, float]:
    """One question, from the call to the numbers: wall time, CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    answer = read_series(store, metric, since, until, step, group_by)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert not answer.frame.is_empty() or metric not in _PRESENT
    return wall * 1_000, cpu * 1_000


_PLAIN_SQL = """
SELECT
    toStartOfHour(started_at) AS bucket, model_route AS route,
    count() AS n_traces, avg(cost) AS cost_per_trace, avg(failed) AS error_rate, avg(tokens) AS tokens_per_trace
FROM
(
    SELECT
        trace_id, min(start_time) AS started_at, any(model_route) AS model_route,
        sumIf(toFloat64(cost_usd), usage_scope IN ('own', 'attempt')) AS cost,
        argMaxIf(status IN ('error', 'timeout'), end_time, is_model_call) AS failed,
        sumIf(ifNull(input_tokens, 0) + ifNull(output_tokens, 0), usage_scope IN ('own', 'attempt')) AS tokens
    FROM spans
    GROUP BY trace_id
)
GROUP BY bucket, route
ORDER BY bucket, route
"""


def timed(what: str, rounds: int, ask: Callable[[], T]) -> T:
    """The answer, after it was asked for `rounds` times; prints how long that took."""
    taken = []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        answer = ask()
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall_ms, cpu_ms = np.array(taken).T * 1_000
    p50, p99 = np.quantile(wall_ms, [0.5, 0.99], method="higher")
    print(f"{what:<42}{p50:>8.0f} ms p50{p99:>8.0f} ms p99{cpu_ms.min():>8.0f} ms CPU, least of {rounds}")
    return answer


def compare(n_traces: int, rounds: int) -> None:
    """The same three series from rollups and from spans."""
    with tempfile.TemporaryDirectory(prefix="spanwise-bench-") as name:
        store = Store.embedded(Path(name))
        migrate(store)
        n_spans = load(store, n_traces, 0.0)
        jobs = Jobs(store, AnalyticsConfig(), WallClock())
        for kind in KINDS:
            run = jobs.run(kind)
            assert run.state is JobState.DONE, run.error
        hour = timedelta(hours=1)
        wanted = ("cost_per_trace", "error_rate", "tokens_per_trace")

        def series(metric: str) -> pl.DataFrame:
            return read_series(store, metric, START, START + timedelta(days=2), hour, ["route"]).frame

        print(f"three series of {n_spans:,} spans in {n_traces:,} traces; load {os.getloadavg()[0]:.1f}")
        ours = timed("three questions to hours", rounds, lambda: {metric: series(metric) for metric in wanted})
        plain = timed("one statement on spans", rounds, lambda: store.frame(_PLAIN_SQL))
        for metric, frame in ours.items():
            expected, found = plain[metric].to_numpy(), frame.sort("bucket", "route")[METRICS[metric].headline].to_numpy()
            print(f"{metric}: {'equal' if np.allclose(found, expected, rtol=1e-9) else f'NOT EQUAL: {found} {expected}'}")
        store.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--minute-days", type=int, default=1, help="30 for the full table of minutes: about 70 million rows")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compare-traces", type=int, default=30_000)
    options = parser.parse_args()
    latencies(options.days, options.minute_days, options.rounds)
    compare(options.compare_traces, options.rounds)


if __name__ == "__main__":
    main()
