"""
Ten thousand streams a minute: 100 rollouts of 10 cohorts and 10 metrics, settled, advanced and judged on one core.

Run: `python -m tests.bench.bench_alerts`
"""

from __future__ import annotations

import resource
import statistics
import time
from dataclasses import replace

import numpy as np
import polars as pl

from alerts.comparison import Comparison
from alerts.config import GateConfig, MethodConfig, RolloutConfig
from alerts.findings import moment
from alerts.judge import judge
from alerts.method.settling import settle
from alerts.reference import CohortReference, Reference
from alerts.state import ComparisonState
from storage.metrics import METRIC_ROWS
from tests.support.settled import START

N_ROLLOUTS, N_COHORTS, N_EVALUATORS, N_MINUTES = 100, 10, 6, 12


def comparisons() -> list[Comparison]:
    cohorts = {f"c{i}": CohortReference(1 / N_COHORTS, 1.0, None, None) for i in range(N_COHORTS)}
    made = []
    for i in range(N_ROLLOUTS):
        rollout = RolloutConfig(name=f"r{i}", service=f"s{i}", baseline="t", candidate="s", gates=GateConfig())
        c = Comparison(f"r{i}", rollout, MethodConfig(), "production", "tm", "sm", moment(START), START)
        c = replace(c, reference=Reference("history", cohorts), referenced_from=START)
        metrics = [("eval_fail", f"e{k}") for k in range(N_EVALUATORS)] + [
            (m, "") for m in ("retry", "fallback", "timeout", "error")
        ]
        made.append(c.with_dealt(metrics, list(cohorts), START))
    return made


def minute_rows(minute: int, rng: np.random.Generator) -> pl.DataFrame:
    """Rollup rows of one minute: 40,000, both arms and both halves of every stratum."""
    keys = [
        (f"s{r}", metric, evaluator, route, model, f"c{c}", aa)
        for r in range(N_ROLLOUTS)
        for metric, evaluator in [
            *(("eval_fail", f"e{k}") for k in range(N_EVALUATORS)),
            *((m, "") for m in ("retry", "fallback", "timeout", "error")),
        ]
        for route, model in (("t", "tm"), ("s", "sm"))
        for c in range(N_COHORTS)
        for aa in (0, 1)
    ]
    names = ["service_name", "metric", "evaluator", "model_route", "model", "cohort", "aa"]
    n = rng.poisson(1.5, len(keys))
    fails = rng.binomial(n, 0.1)
    frame = pl.DataFrame(keys, schema=names, orient="row").with_columns(
        bucket=pl.lit(moment(minute)).dt.cast_time_unit("ms"),
        environment=pl.lit("production"),
        n_eligible_matured=pl.Series(n),
        n_scored_matured=pl.Series(n),
        n_fail_matured=pl.Series(fails),
    )
    whole = pl.concat([METRIC_ROWS.to_frame(), frame], how="diagonal_relaxed").select(list(METRIC_ROWS)).cast(METRIC_ROWS)
    strings = [name for name, kind in METRIC_ROWS.items() if kind == pl.String]
    numbers = [name for name, kind in METRIC_ROWS.items() if kind.is_numeric()]
    return whole.with_columns(pl.col(strings).fill_null(""), pl.col(numbers).fill_null(0))


def main() -> None:
    made = comparisons()
    states = [ComparisonState(c.rules()) for c in made]
    arms = pl.concat([c.arms() for c in made])
    references = pl.concat([c.references() for c in made])
    collected = pl.concat([c.expectations() for c in made])
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
            state.advance(parts[c.comparison_id], {5: minute + 1, 60: minute + 1})
        advance_seconds = time.process_time() - began - settle_seconds
        for c, state in zip(made, states, strict=True):
            judge(c, state, moment(minute + 61))
        total = time.process_time() - began
        seconds.append(total)
        judge_seconds = total - settle_seconds - advance_seconds
        print(f"{rows.height} rows: settle {settle_seconds:.2f} s, advance {advance_seconds:.2f} s, judge {judge_seconds:.2f} s")
    n_streams = sum(len(state.paging.streams) for state in states)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{n_streams} streams, CPU a tick: median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s")
    print(f"peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
