"""Plays simulated rollouts through the method in memory: the pure path from rollup rows to a verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from alerts.comparison import Comparison
from alerts.config import GateConfig, MethodConfig, RolloutConfig
from alerts.findings import moment
from alerts.guarding import Lateness
from alerts.judge import Judged, judge
from alerts.method.settling import settle
from alerts.reference import freeze
from alerts.rules import MINUTES_PER_DAY
from alerts.settler import pooled
from alerts.state import ComparisonState
from analytics.eligibility import EVENTS
from spanwise.scenario import Scenario
from spanwise.simulate import traces
from spanwise.simulated_rollups import metric_rows

LONGEST = 1_440


def rollout_of(scenario: Scenario, **settings: object) -> RolloutConfig:
    return RolloutConfig.model_validate(
        {
            "name": scenario.name,
            "service": scenario.service,
            "baseline": scenario.teacher.route,
            "candidate": scenario.student.route,
            "sticky": scenario.sticky,
            "gates": GateConfig(max_cost_ratio=0.5),
            **settings,
        }
    )


@dataclass
class Play:
    """A rollout that has been played: everything a test wants to look at."""

    comparison: Comparison
    settled: pl.DataFrame
    state: ComparisonState
    judged: Judged


def comparison_of(scenario: Scenario, rows: pl.DataFrame, rollout: RolloutConfig, method: MethodConfig) -> Comparison:
    """What opening would freeze: history if the scenario has any, else the first day."""
    start = int(scenario.start.timestamp()) // 60
    day_zero = start + int(scenario.history_days * MINUTES_PER_DAY)
    comparison = Comparison(
        scenario.name,
        rollout,
        method,
        scenario.environment,
        scenario.teacher.model,
        scenario.student.model,
        opened_at=moment(day_zero),
        day_zero=day_zero,
        splits=[(day_zero, rollout.split)],
    )
    end = day_zero if scenario.history_days else day_zero + MINUTES_PER_DAY
    early = rows.filter(pl.col("bucket") < moment(end))
    reference = freeze(early.filter(model_route=scenario.teacher.route), "history", method.cost_cap_medians)
    collected = [(feedback.name, "", "", day_zero) for feedback in scenario.feedback if feedback.name in EVENTS]
    collected += [("eval_missing", e.name, e.sampling_rule, day_zero) for e in scenario.evaluators]
    metrics = [("eval_fail", e.name) for e in scenario.evaluators] + [(kind, "") for kind, *_ in collected if kind in EVENTS]
    metrics += [(flag, "") for flag in ("retry", "fallback", "timeout", "error", "slow")]
    comparison = replace(comparison, reference=reference, referenced_from=end, collected=collected)
    return comparison.with_dealt(metrics, [c.name for c in scenario.cohorts], end)


def settle_all(comparison: Comparison, rows: pl.DataFrame) -> pl.DataFrame:
    live = rows.filter(pl.col("bucket") >= comparison.day_zero_at)
    return settle(live, comparison.arms, comparison.references, comparison.expectations)


def final_frontiers(comparison: Comparison, settled: pl.DataFrame) -> dict[int, int]:
    rules = comparison.rules()
    end = int(settled["minute"].dt.epoch("s").max() or 0) // 60 + 1
    groups = {rules.group_of(key) for key in settled.select("metric", "evaluator").unique().rows()}
    return dict.fromkeys(groups, end)


def play(scenario: Scenario, seed: int, method: MethodConfig | None = None, **settings: object) -> Play:
    """Settle a whole scenario and judge it at its end."""
    frame = traces(scenario, seed)
    rows = metric_rows(frame)
    method = method or MethodConfig()
    comparison = comparison_of(scenario, rows, rollout_of(scenario, **settings), method)
    settled = settle_all(comparison, rows)
    state = ComparisonState(comparison.rules())
    frontiers = final_frontiers(comparison, settled)
    state.advance(settled, frontiers)
    bundle = ComparisonState(comparison.rules())
    bundle.advance(pooled(settled), frontiers)
    late = rows.filter(pl.col("metric") == "eval_fail").group_by("metric", "evaluator")
    lateness = [Lateness(*row) for row in late.agg(pl.col("n_scored_all").sum(), pl.col("n_late").sum()).rows()]
    end = moment(max(frontiers.values()) + LONGEST)
    return Play(comparison, settled, state, judge(comparison, state, end, lateness, bundle=bundle))


def when(minute: int) -> datetime:
    return moment(minute)
