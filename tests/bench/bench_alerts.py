"""
Ten thousand streams a minute: 100 rollouts of 10 cohorts and 10 metrics, settled, advanced and judged on one core.

Run: `python -m tests.bench.bench_alerts` (from rollup rows in memory), `… --store` (whole ticks of the alerter's evaluator: rows
read from the engine, settled rows, verdicts and checkpoints written to it; the engine is another process, as a server is).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from alerts.comparison import Comparison
from alerts.config import GateConfig, MethodConfig, RolloutConfig
from alerts.evaluate import Evaluator
from alerts.findings import moment
from alerts.judge import judge
from alerts.method.settling import first_bin_above, settle
from alerts.reference import CohortReference, Reference
from alerts.state import ComparisonState
from storage.client import Store
from storage.metrics import METRIC_ROWS, Grain, write_metric_rows
from storage.migrations import migrate
from tests.support.settled import START

N_ROLLOUTS, N_COHORTS, N_EVALUATORS, N_MINUTES, N_TICKS = 100, 10, 6, 12, 24
METRICS = [*(("eval_fail", f"e{k}") for k in range(N_EVALUATORS)), *((m, "") for m in ("retry", "fallback", "timeout", "error"))]


def rollouts() -> list[RolloutConfig]:
    return [
        RolloutConfig(name=f"r{i}", service=f"s{i}", baseline="t", candidate="s", gates=GateConfig()) for i in range(N_ROLLOUTS)
    ]


def comparisons() -> list[Comparison]:
    cohorts = {f"c{i}": CohortReference(1 / N_COHORTS, 1.0, None, None) for i in range(N_COHORTS)}
    made = []
    for rollout in rollouts():
        c = Comparison(rollout.name, rollout, MethodConfig(), "production", "tm", "sm", moment(START), START)
        c = replace(c, reference=Reference("history", cohorts), referenced_from=START)
        made.append(c.with_dealt(METRICS, list(cohorts), START))
    return made


def minute_rows(minute: int, rng: np.random.Generator, mean: float = 1.5, routes: tuple[str, ...] = ("t", "s")) -> pl.DataFrame:
    """Rollup rows of one minute: 40,000 of metrics and 4,000 of costs, both arms and both halves of every stratum."""
    keys = [
        (f"s{r}", metric, evaluator, route, f"{route}m", f"c{c}", aa)
        for r in range(N_ROLLOUTS)
        for metric, evaluator in [*METRICS, ("cost", "")]
        for route in routes
        for c in range(N_COHORTS)
        for aa in (0, 1)
    ]
    names = ["service_name", "metric", "evaluator", "model_route", "model", "cohort", "aa"]
    n = np.maximum(rng.poisson(mean, len(keys)), 1)
    fails = rng.binomial(n, 0.1)
    frame = pl.DataFrame(keys, schema=names, orient="row").with_columns(
        bucket=pl.lit(moment(minute)).dt.cast_time_unit("ms"),
        environment=pl.lit("production"),
        n=pl.Series(n),
        fails=pl.Series(fails),
    )
    is_cost = pl.col("metric") == "cost"
    dollars = pl.when(is_cost).then(0.01 * pl.col("n")).otherwise(0.0)
    counted = [pl.col("n").alias(f"{name}_{when}") for name in ("n_eligible", "n_scored") for when in ("matured", "all")]
    histogram = {
        "bins": pl.lit(float(first_bin_above(0.01))),
        "counts": pl.col("n").cast(pl.Float64),
        "sums": dollars,
        "squares": dollars / 100,
    }
    nothing = pl.lit([], dtype=pl.List(pl.Float64))
    one_bin = [
        pl.when(is_cost).then(pl.concat_list(value)).otherwise(nothing).alias(f"hist_{name}_all")
        for name, value in histogram.items()
    ]
    frame = frame.with_columns(
        *counted,
        *[pl.col("fails").alias(f"n_fail_{when}") for when in ("matured", "all")],
        *[pl.when(is_cost).then("n").otherwise(0).alias(f"n_value_{when}") for when in ("matured", "all")],
        *[dollars.alias(f"sum_value_{when}") for when in ("matured", "all")],
        *[(dollars / 100).alias(f"sum_squares_{when}") for when in ("matured", "all")],
        *one_bin,
    ).drop("n", "fails")
    whole = pl.concat([METRIC_ROWS.to_frame(), frame], how="diagonal_relaxed").select(list(METRIC_ROWS)).cast(METRIC_ROWS)
    strings = [name for name, kind in METRIC_ROWS.items() if kind == pl.String]
    numbers = [name for name, kind in METRIC_ROWS.items() if kind.is_numeric()]
    return whole.with_columns(pl.col(strings).fill_null(""), pl.col(numbers).fill_null(0))


def in_memory() -> None:
    """The parts of a tick, without a store."""
    made = comparisons()
    states = [ComparisonState(c.rules()) for c in made]
    arms = pl.concat([c.arms for c in made])
    references = pl.concat([c.references for c in made])
    collected = pl.concat([c.expectations for c in made])
    rng = np.random.default_rng(1)
    seconds = []
    for minute in range(START, START + N_MINUTES):
        rows = minute_rows(minute, rng)
        began, parts = time.process_time(), {}
        settled = settle(rows, arms, references, collected)
        for key, part in settled.group_by("comparison_id"):
            parts[str(key[0])] = part
        settle_seconds = time.process_time() - began
        for c, state in zip(made, states, strict=True):
            state.advance(parts[c.comparison_id], {5: minute + 1, -5: minute + 1, 60: minute + 1})
        advance_seconds = time.process_time() - began - settle_seconds
        for c, state in zip(made, states, strict=True):
            judge(c, state, moment(minute + 61))
        total = time.process_time() - began
        seconds.append(total)
        judge_seconds = total - settle_seconds - advance_seconds
        print(f"{rows.height} rows: settle {settle_seconds:.2f} s, advance {advance_seconds:.2f} s, judge {judge_seconds:.2f} s")
    n_streams = sum(len(state.paging.streams) for state in states)
    print(f"{n_streams} streams, CPU a tick: median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s")
    print(f"peak memory {peak_mib():.0f} MiB")


def through_the_store() -> None:
    """Whole ticks, with what they read and write."""
    with tempfile.TemporaryDirectory() as directory, engine(directory) as (url, engine_seconds):
        store = Store.server(url, "bench")
        migrate(store)
        rng = np.random.default_rng(1)
        for hour in (2, 3, 4):
            past = minute_rows(START - hour * 60, rng, 10.0, ("t",))
            write_metric_rows(store, Grain.HOUR, past, datetime.now(UTC))
        # The loader's rows would otherwise be in this process's peak.
        write_minutes(url, 67 + N_TICKS)
        evaluator, declared = Evaluator(store, MethodConfig()), rollouts()
        idle = peak_mib()
        evaluator.tick(declared, moment(START + 66))
        seconds = []
        for minute in range(START + 67, START + 67 + N_TICKS):
            began, engine_began, wall = time.process_time(), engine_seconds(), time.perf_counter()
            verdicts = evaluator.tick(declared, moment(minute) + timedelta(seconds=1))
            mine, its = time.process_time() - began, engine_seconds() - engine_began
            seconds.append((mine, its))
            print(
                f"tick: {mine:.2f} s, engine {its:.2f} s, wall {time.perf_counter() - wall:.2f} s, {len(verdicts)} verdicts",
                flush=True,
            )
        n_streams = sum(len(entry.state.paging.streams) for entry in evaluator._watched.values())
        mine, both = [s for s, _ in seconds], [a + b for a, b in seconds]
        print(f"{n_streams} streams, CPU a tick: median {statistics.median(mine):.2f} s, worst {max(mine):.2f} s")
        print(f"with the engine's: median {statistics.median(both):.2f} s, worst {max(both):.2f} s")
        print(f"peak memory {peak_mib():.0f} MiB, {idle:.0f} MiB of it before the first tick")
        store.close()


@contextmanager
def engine(directory: str) -> Iterator[tuple[str, Callable[[], float]]]:
    """The engine behind HTTP in a process of its own: its address, and the CPU seconds it has used."""
    command = [sys.executable, "-m", "tests.support.clickhouse_http", directory]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = process.stdout.readline().split()[1]
    ticks = os.sysconf("SC_CLK_TCK")

    def used() -> float:
        with open(f"/proc/{process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    try:
        yield f"http://127.0.0.1:{port}", used
    finally:
        process.terminate()
        process.wait()


def write_minutes(url: str, n_minutes: int) -> None:
    code = f"from tests.bench.bench_alerts import load_minutes; load_minutes({url!r}, {n_minutes})"
    subprocess.run([sys.executable, "-c", code], check=True)


def load_minutes(url: str, n_minutes: int) -> None:
    store, rng = Store.server(url, "bench"), np.random.default_rng(2)
    for minute in range(START, START + n_minutes):
        write_metric_rows(store, Grain.MINUTE, minute_rows(minute, rng), datetime.now(UTC))
    store.close()


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", action="store_true")
    through_the_store() if parser.parse_args().store else in_memory()
