"""
The scheduled jobs, end to end: from rows of `span_records` in the embedded engine to written facts, minutes, hours and days.

    python -m tests.bench.bench_jobs [throughput] [stages] [floor] [memory] [history] [hour] [--traces 50000] [--evaluated 0.2]

`throughput`: spans per CPU second of the whole process, engine included, in traces of six spans; beside it four columns of facts
by a pandas version of assembly, from the same rows. `stages`: the same run by stage, the engine's statements apart. `floor`: the
run beside its own statements alone, and the engine without a client. `memory`: how much memory the jobs add over an idle
engine, at once and at four times the backlog. `history`: what 500 touched traces cost beside 1, 10 and 100 days of history.
`hour`: what 10,000 new traces cost when their hour holds 1, 8 and 32 times as many. Each in its own process.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from analytics import assemble_job, rollup_job
from analytics.assemble_job import AssembleJob
from analytics.config import AnalyticsConfig, JobRules
from analytics.jobs import ONE_THREAD, Jobs
from analytics.outcome_step import OutcomeStep
from analytics.price_book import PriceBook
from analytics.rollup_job import MergeJob, RollupJob
from storage.client import Store
from storage.clock import WallClock
from storage.job_runs import JobRun, JobState, write_job_run
from storage.touched import read_store_time
from tests.bench.bench_assembly import pandas_totals
from tests.bench.job_floor import Recording, copied_inside, moved
from tests.bench.job_stores import KINDS, judge, load, opened
from tests.bench.stages import Stages


def throughput(n_traces: int, evaluated: float) -> None:
    """Time each job over a fresh store."""
    with opened() as store:
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


def stages(n_traces: int, evaluated: float) -> None:
    """The same by stage: statements of the engine by table, and what goes on around them."""
    watch = Stages()
    with opened() as store:
        n_spans = load(store, n_traces, evaluated)
        jobs = Jobs(store, AnalyticsConfig(), WallClock())
        cpu = time.process_time()
        with watch.watching(*_STAGES):
            for kind in KINDS:
                assert jobs.run(kind).state is JobState.DONE
        cpu = time.process_time() - cpu
    print(f"{n_spans:,} spans in {n_traces:,} traces, {evaluated:.0%} judged; load {os.getloadavg()[0]:.1f}")
    print(f"{'CPU microseconds a span':<48}{cpu / n_spans * 1e6:7.2f}")
    for stage, seconds in sorted(watch.seconds.items(), key=lambda item: -item[1]):
        print(f"{stage:<48}{seconds / n_spans * 1e6:7.2f}{watch.calls[stage]:8,} calls")


def _statement(sql: str) -> str:
    found = re.search(r"(?:INSERT INTO|FROM) (\w+)", sql)
    return f"engine, {'write' if 'INSERT' in sql else 'read'} {found[1] if found else 'clock'}"


_STAGES: list[tuple[Any, str, str | Callable[..., str]]] = [
    (Store, "arrow", lambda _, sql, *others: _statement(sql)),
    (Store, "command", lambda _, sql, *others: _statement(sql)),
    (Store, "insert", lambda _, table, *others: f"engine, write {table}"),
    (assemble_job, "read_trace_bounds", "read bounds, around the engine"),
    (assemble_job, "read_whole_traces", "read spans, around the engine"),
    (assemble_job, "assemble_spans", "assemble"),
    (PriceBook, "price", "price"),
    (assemble_job, "summarise_traces", "sum up traces"),
    (assemble_job, "write_span_facts", "write span_facts, around the engine"),
    (assemble_job, "write_trace_facts", "write trace_facts, around the engine"),
    (OutcomeStep, "of_assembled", "outcomes, around the engine"),
    (AssembleJob, "run", "assemble: everything else"),
    (rollup_job, "roll_up", "roll up"),
    (RollupJob, "run", "rollup: everything else"),
    (MergeJob, "run", "merge: everything else"),
]


def floor(n_traces: int, evaluated: float) -> None:
    """A run beside its own statements with nothing computed between, on equal stores, and beside the engine with no client."""
    with tempfile.TemporaryDirectory(prefix="spanwise-bench-") as name:
        first, second = Path(name, "first"), Path(name, "second")
        with opened(first) as store:
            n_spans = load(store, n_traces, evaluated)
        shutil.copytree(first, second, symlinks=True)
        recording = Recording()
        with opened(first) as store, recording.taking():
            jobs = Jobs(store, AnalyticsConfig(), WallClock())
            cpu = time.process_time()
            for kind in KINDS:
                assert jobs.run(kind).state is JobState.DONE
            cpu = time.process_time() - cpu
        with opened(second) as store:
            client = moved(store.with_settings(ONE_THREAD), recording)
            engine = copied_inside(store, recording)
    print(f"{n_spans:,} spans in {n_traces:,} traces, {evaluated:.0%} judged; load {os.getloadavg()[0]:.1f}")
    print(f"{'CPU':<48}{'us a span':>10}{'spans a second':>16}")
    for what, seconds in (
        ("the jobs", cpu),
        ("their statements alone, nothing computed", sum(client.values())),
        ("  read, to frames", client["read"]),
        ("  write, from frames", client["written"]),
        ("the engine alone, its spans read, facts copied", sum(engine.values())),
        ("  read, to nowhere", engine["read"]),
        ("  write, from tables", engine["written"]),
    ):
        print(f"{what:<48}{seconds / n_spans * 1e6:10.2f}{n_spans / seconds:16,.0f}")


def pandas_version(n_traces: int) -> None:
    """Assembly alone, from the rows in the store, with pandas; see `bench_assembly`."""
    with opened() as store:
        n_spans = load(store, n_traces, 0.0)
        wall, cpu = time.perf_counter(), time.process_time()
        columns = "trace_id, span_id, parent_span_id, kind, model_route, input_tokens, start_time, status, request_model"
        totals = pandas_totals(store.frame(f"SELECT {columns} FROM span_records FINAL"))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        assert totals.height == n_traces
        print(f"pandas    {wall:8.2f} s wall{cpu:8.2f} s CPU{n_spans / cpu:12,.0f} spans/s   four columns of facts, none written")


def memory(n_traces: int, evaluated: float) -> None:
    """What the jobs add to a process that holds the engine and the libraries, while they digest a backlog."""
    with tempfile.TemporaryDirectory(prefix="spanwise-bench-") as name:
        fill = [sys.executable, "-m", "tests.bench.bench_jobs", "fill", "--directory", name]
        subprocess.run([*fill, "--traces", str(n_traces), "--evaluated", str(evaluated)], check=True)
        with opened(Path(name)) as store:
            jobs = Jobs(store, AnalyticsConfig(), WallClock())
            idle = _mib("VmRSS")
            for kind in KINDS:
                Path("/proc/self/clear_refs").write_text("5")
                assert jobs.run(kind).state is JobState.DONE
                print(f"{n_traces:>9,} traces waiting, {kind:<10}peak {_mib('VmHWM') - idle:6,.0f} MiB above {idle:,.0f}")


def history(times: int, n_traces: int = 2_000, n_touched: int = 500) -> None:
    """Late spans and verdicts for some traces of the newest day, beside so many days that are done."""
    with opened() as store:
        for days_ago in range(times, -1, -1):
            load(store, n_traces, 0.2, seed=days_ago, ago=timedelta(days=days_ago))
        for statement in _FACTS_OF_HISTORY:
            store.command(statement)
        _set_watermarks(store, read_store_time(store))
        roots = store.frame(
            "SELECT trace_id, span_id, start_time FROM span_records WHERE parent_span_id = ''"
            " ORDER BY start_time DESC LIMIT {n:UInt32}",
            {"n": n_touched},
        )
        late = pl.col("start_time") + pl.duration(seconds=1)
        same = {"service_name": pl.lit("support"), "environment": pl.lit("production"), "received_at": late}
        child = roots.select(
            "trace_id", parent_span_id="span_id", span_id=pl.col("span_id").str.reverse(), start_time=late, end_time=late, **same
        )
        store.insert("span_records", child)
        judge(store, roots.select("trace_id", end_time="start_time"), seed=1)
        cpu, detail = _run_since_watermarks(store)
        print(f"{times:>4} days of {n_traces:,} traces: {cpu:6.2f} s CPU for {n_touched:,} touched traces   ({detail})")


def hour(times: int, evaluated: float, n_traces: int = 10_000) -> None:
    """Traces that have just arrived, in an hour that holds `times` as many."""
    each = timedelta(seconds=3_500) / times
    with opened() as store:
        for place in range(times):
            before = read_store_time(store)
            load(store, n_traces, evaluated, seed=place, ago=-place * each)
        _set_watermarks(store, before)
        cpu, detail = _run_since_watermarks(store)
        print(f"{times:>4} x {n_traces:,} traces in the hour: {cpu:6.2f} s CPU for the newest   ({detail})")


def _set_watermarks(store: Store, done: datetime) -> None:
    for kind in KINDS:
        write_job_run(store, JobRun(kind, kind, done, done, JobState.DONE, watermark=done, progress=1.0))


def _run_since_watermarks(store: Store) -> tuple[float, str]:
    """CPU seconds, and what was done; without looking again at what was written just before."""
    jobs = Jobs(store, AnalyticsConfig(jobs=JobRules(overlap_seconds=0)), WallClock())
    cpu = time.process_time()
    details = [jobs.run(kind).detail for kind in KINDS]
    return time.process_time() - cpu, details[0]


# What stands written of history, as far as look-ups meet it.
_FACTS_OF_HISTORY = [
    "INSERT INTO span_facts (start_hour, trace_id, span_id, model_route, cohort, computed_at, is_deleted)"
    " SELECT toStartOfHour(start_time), trace_id, span_id, model_route, cohort, now64(9), 0 FROM span_records",
    "INSERT INTO trace_facts (trace_id, started_at, service_name, environment, model_route, cohort, mirror_role, n_spans,"
    " computed_at, is_deleted)"
    " SELECT trace_id, start_time, service_name, environment, model_route, cohort, 'none', 6, now64(9), 0"
    " FROM span_records WHERE parent_span_id = ''",
    "INSERT INTO trace_outcomes (trace_id, started_at, mirror_role, metric, evaluator, n_verdicts, failed, computed_at,"
    " is_deleted) SELECT target_trace_id, evaluated_at, 'none', 'eval_fail', name, 1, 0, now64(9), 0 FROM evaluation_records",
]


def _mib(entry: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(entry)).split()[1]) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["throughput", "memory", "history"])
    parser.add_argument("--traces", type=int, default=50_000)
    parser.add_argument("--evaluated", type=float, default=0.2)
    parser.add_argument("--history", type=int, nargs="*", default=[1, 10, 100])
    parser.add_argument("--hour", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.what == ["fill"]:
        with opened(options.directory) as store:
            load(store, options.traces, options.evaluated)
        return
    runs: dict[str, Sequence[Callable[[], None]]] = {
        "throughput": [lambda: throughput(options.traces, options.evaluated), lambda: pandas_version(options.traces)],
        "stages": [lambda: stages(options.traces, options.evaluated)],
        "floor": [lambda: floor(options.traces, options.evaluated), lambda: pandas_version(options.traces)],
        "memory": [partial(memory, options.traces * times, options.evaluated) for times in (1, 4)],
        "history": [partial(history, times) for times in options.history],
        "hour": [partial(hour, times, options.evaluated) for times in options.hour],
    }
    for run in [run for what in options.what for run in runs[what]]:
        # a process of its own: what one leaves in memory is not the next one's
        child = os.fork()
        if child == 0:
            run()
            sys.stdout.flush()
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit(1)


if __name__ == "__main__":
    main()
