"""
Speed of assembly: six-span traces, assembled and summed up, in spans per second of one core.

Run with `python tests/bench/bench_assembly.py [--traces N] [--failing SHARE] [--pandas]`. `--pandas` computes the same columns
with pandas group-bys and merges (needs pandas), checks that they are equal, and reports its speed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np
import polars as pl

from analytics.assembly import assemble_spans, summarise_traces
from analytics.config import AssemblyRules
from storage.facts import ASSEMBLY_SPANS

_T0 = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 10**9
_PER_TRACE = 6
T = TypeVar("T")


def six_span_traces(n_traces: int, failing: float, seed: int = 7) -> pl.DataFrame:
    """
    An application root, an agent that repeats the totals, a model call, a tool, a second model call and a retriever.

    Args:
        failing: share of traces whose first model call fails with 429 and is answered by the second one.
    """
    rng = np.random.default_rng(seed)
    n = n_traces * _PER_TRACE
    slot = np.tile(np.arange(_PER_TRACE), n_traces)
    trace = np.repeat(np.arange(n_traces), _PER_TRACE)
    trace_ids = np.array([f"{high:016x}{low:016x}" for high, low in rng.integers(1, 2**63, (n_traces, 2))])
    span_ids = np.array([f"{x:016x}" for x in rng.integers(1, 2**63, n)])
    parent_slot = np.array([-1, 0, 1, 1, 1, 0])
    parents = np.where(slot == 0, "", span_ids[np.arange(n) - slot + np.maximum(parent_slot[slot], 0)])
    is_call = np.isin(slot, (2, 4))
    fails = (slot == 2) & (rng.random(n_traces) < failing)[trace]
    start = _T0 + trace * 10_000_000 + slot * 50_000_000
    length = np.array([900, 800, 40, 30, 500, 20])[slot] * 1_000_000
    tokens = np.where(slot == 1, 3_000, 1_000)
    frame = pl.DataFrame(
        {
            "trace_id": trace_ids[trace],
            "span_id": span_ids,
            "parent_span_id": parents,
            "name": np.array(["handle", "invoke_agent", "chat", "lookup", "chat", "search"])[slot],
            "start_time": start,
            "end_time": start + length,
            "kind": np.array(["other", "agent", "llm", "tool", "llm", "retriever"])[slot],
            "operation": np.array(["", "invoke_agent", "chat", "execute_tool", "chat", ""])[slot],
            "model_route": np.where(slot == 0, np.where(trace % 2 == 0, "student", "teacher"), ""),
            "cohort": np.where(slot == 0, "cohort", ""),
            "session_id": np.where(slot == 0, trace_ids[trace], ""),
            "request_model": np.where(is_call, "s-8b", ""),
            "response_model": np.where(is_call & ~fails, "s-8b-2026-01-01", ""),
            "input_tokens": pl.Series(tokens, dtype=pl.UInt64),
            "status": np.where(fails, "error", "unset"),
            "has_usage": (is_call & ~fails) | (slot == 1),
            "fails": fails,
        }
    ).with_columns(
        input_tokens=pl.when("has_usage").then("input_tokens"),
        output_tokens=pl.when("has_usage").then(pl.lit(100, dtype=pl.UInt64)),
        http_status=pl.when("fails").then(pl.lit(429, dtype=pl.UInt16)),
        service_name=pl.lit("support"),
    )
    times = [pl.col(name).cast(pl.Datetime("ns", "UTC")) for name in ("start_time", "end_time")]
    missing = [_blank(name, dtype) for name, dtype in ASSEMBLY_SPANS.items() if name not in frame.columns]
    return (
        frame.with_columns(*times, *missing)
        .with_columns(received_at="end_time")
        .select(ASSEMBLY_SPANS.names())
        .sample(fraction=1.0, shuffle=True, seed=seed)
    )


def _blank(name: str, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String:
        return pl.lit("").alias(name)
    if isinstance(dtype, pl.List):
        return pl.lit([], dtype=dtype).alias(name)
    return pl.lit({pl.Boolean(): False, pl.UInt32(): 0}.get(dtype), dtype=dtype).alias(name)


def with_prices(assembled: pl.DataFrame) -> pl.DataFrame:
    """A flat price; the price step has a benchmark of its own."""
    cost = (pl.col("input_tokens") * 1_000).cast(pl.Decimal(38, 9)) * pl.lit("0.000000001").cast(pl.Decimal(38, 9))
    return assembled.with_columns(
        cost_usd=pl.when(pl.col("charge") != "").then(cost.cast(pl.Decimal(18, 9))),
        computed_cost_usd=pl.lit(None, dtype=pl.Decimal(18, 9)),
        cost_source=pl.lit("configured"),
    )


def timed(label: str, n_spans: int, work: Callable[[], T]) -> T:
    """Run, and print wall time, CPU time and spans per CPU second."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{label:<28}{wall:8.2f} s wall{cpu:8.2f} s CPU{n_spans / cpu:14,.0f} spans/s per core")
    return result


def pandas_totals(spans: pl.DataFrame) -> pl.DataFrame:
    """The same trace columns, with merges and group-bys: inheritance by walking up, scopes by walking down."""
    import pandas as pd

    columns = [
        "trace_id",
        "span_id",
        "parent_span_id",
        "kind",
        "model_route",
        "input_tokens",
        "start_time",
        "status",
        "request_model",
    ]
    rows = pd.DataFrame({name: spans[name].to_list() for name in columns})
    parents = rows[["trace_id", "span_id", "parent_span_id", "model_route"]]
    route, up = rows["model_route"], rows[["trace_id", "parent_span_id"]]
    covered = pd.Series(False, index=rows.index)
    position = pd.Series(rows.index, index=pd.MultiIndex.from_frame(rows[["trace_id", "span_id"]]))
    has_usage = rows["input_tokens"].notna()
    above = rows.loc[has_usage & (rows["kind"] == "llm"), ["trace_id", "parent_span_id"]]
    while (up["parent_span_id"] != "").any():
        found = up.merge(parents, left_on=["trace_id", "parent_span_id"], right_on=["trace_id", "span_id"], how="left")
        route = route.where(route != "", found["model_route"].fillna("").to_numpy())
        up = found[["trace_id", "parent_span_id_y"]].rename(columns={"parent_span_id_y": "parent_span_id"}).fillna("")
    while len(above := above[above["parent_span_id"] != ""]):
        covered.loc[position.loc[pd.MultiIndex.from_frame(above)].to_numpy()] = True
        above = above.merge(parents, left_on=["trace_id", "parent_span_id"], right_on=["trace_id", "span_id"])[
            ["trace_id", "parent_span_id_y"]
        ].rename(columns={"parent_span_id_y": "parent_span_id"})
    own = rows.assign(model_route=route, own=rows["input_tokens"].where(has_usage & ~covered))
    calls = own[own["kind"] == "llm"].sort_values(["trace_id", "start_time"])
    failed = (calls["status"] == "error") & (calls["trace_id"] == calls["trace_id"].shift(-1))
    same = calls["request_model"] == calls["request_model"].shift(-1)
    calls = calls.assign(retried=failed & same)
    by_trace = own.sort_values(["trace_id", "start_time"]).groupby("trace_id")
    totals = by_trace.agg(model_route=("model_route", "first"), input_tokens=("own", "sum"), n_spans=("span_id", "size"))
    totals["n_retried_calls"] = calls.groupby("trace_id")["retried"].sum()
    return pl.from_dict({name: totals.reset_index()[name].tolist() for name in ["trace_id", *totals.columns]})


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--traces", type=int, default=100_000)
    arguments.add_argument("--failing", type=float, default=0.02)
    arguments.add_argument("--pandas", action="store_true")
    options = arguments.parse_args()
    spans = six_span_traces(options.traces, options.failing)
    print(f"{spans.height:,} spans, {options.traces:,} traces, {options.failing:.0%} with a retried call")
    assemble_spans(spans.head(600), AssemblyRules())
    assembled = timed("assemble_spans", spans.height, lambda: assemble_spans(spans, AssemblyRules()))
    priced = with_prices(assembled)
    facts = timed("summarise_traces", spans.height, lambda: summarise_traces(priced))
    timed("both", spans.height, lambda: summarise_traces(with_prices(assemble_spans(spans, AssemblyRules()))))
    if options.pandas:
        expected = timed("pandas, these columns only", spans.height, lambda: pandas_totals(spans))
        ours = facts.select(pl.col(name).cast(dtype) for name, dtype in expected.schema.items())
        print("equal" if ours.equals(expected.sort("trace_id")) else "NOT EQUAL")


if __name__ == "__main__":
    main()
