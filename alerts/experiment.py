"""The gate on golden-set runs: the same items through both models, judged as pairs."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from alerts.checkpoint import rebuild
from alerts.comparison import Comparison
from alerts.config import MethodConfig, RolloutConfig
from alerts.costs import cost_finding
from alerts.findings import Findings
from alerts.gate import gate_result
from alerts.malformed import split_rows
from alerts.method.settling import settle
from alerts.reference import freeze
from alerts.verdict import GateResult, Outcome
from storage.client import Store
from storage.metrics import Grain, read_metric_rows

ENVIRONMENT = "experiment"
_LOOK_BACK = timedelta(days=90)
_METRICS = ("eval_fail", "overturn", "retry", "fallback", "timeout", "error", "cost", "latency", "input_tokens")


def judge_experiment(store: Store, rollout: RolloutConfig, method: MethodConfig, now: datetime) -> GateResult:
    """
    Pass, fail or undetermined from the runs of the last 90 days under the newest models of both routes.

    Both arms answered every item, so there is no routing to guard; the mix is the golden set's own.
    """
    rows = read_metric_rows(
        store,
        Grain.MINUTE,
        now - _LOOK_BACK,
        now,
        services=[rollout.service],
        metrics=_METRICS,
        routes=[rollout.baseline, rollout.candidate],
    ).filter(environment=ENVIRONMENT)
    rows = split_rows(rows)[0]
    baseline_model = rollout.baseline_model or _newest(rows, rollout.baseline)
    candidate_model = rollout.candidate_model or _newest(rows, rollout.candidate)
    if baseline_model is None or candidate_model is None:
        return _nothing(rollout, now, "no golden-set run of both routes in the last 90 days")
    first = rows.filter(model_route=rollout.candidate, model=candidate_model)["bucket"].dt.epoch("s").min()
    assert isinstance(first, int)
    comparison = Comparison(
        "experiment", rollout, method, ENVIRONMENT, baseline_model, candidate_model, opened_at=now, day_zero=first // 60
    )
    teacher = rows.filter(model_route=rollout.baseline, model=baseline_model)
    comparison = replace(comparison, reference=freeze(teacher, ENVIRONMENT, method.cost_cap_medians, min_traces=1))
    settled = settle(rows, comparison.arms, comparison.references, comparison.expectations, mirrored_costs=True)
    pairs = settled.select(pl.sum_horizontal("n11", "n10", "n01", "n00").sum()).item()
    if not pairs:
        return _nothing(rollout, now, "no golden-set item has a verdict of the same evaluator version on both routes")
    state = rebuild(comparison.rules(), settled)
    omega = comparison.reference.omega if comparison.reference else {}
    findings = Findings(
        state, omega, (rollout.gates.max_regression, rollout.gates.max_high_value_regression), method.interval_level
    )
    cost = cost_finding(state.dollars, omega, rollout.gates.max_cost_ratio, method)
    return gate_result(rollout.name, findings, cost, [], rollout.gates, now, ENVIRONMENT)


def _newest(rows: pl.DataFrame, route: str) -> str | None:
    seen = (
        rows.filter(model_route=route)
        .group_by("model")
        .agg(pl.col("bucket").min())
        .sort("bucket", "model", descending=[True, False])
    )
    return None if seen.is_empty() else str(seen["model"][0])


def _nothing(rollout: RolloutConfig, now: datetime, reason: str) -> GateResult:
    return GateResult(rollout.name, Outcome.UNDETERMINED, (reason,), (), now, ENVIRONMENT)
