"""Opens comparisons and freezes what they need from the baseline's past, or, without one, from its first day."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

import polars as pl

from alerts.comparison import Comparison, comparison_id
from alerts.config import MethodConfig, RolloutConfig
from alerts.findings import moment
from alerts.malformed import split_rows
from alerts.method.drift import upper_limit
from alerts.method.settling import MISSING
from alerts.reference import MIN_TRACES, dispersion, freeze
from alerts.rules import MetricKey
from analytics.config import MaturityRules
from analytics.eligibility import EVENTS, complete
from analytics.maturity import default_maturity_seconds, fix_maturities
from storage.client import Store
from storage.comparisons import read_route_models
from storage.maturities import read_maturities
from storage.metrics import FLAG_METRICS, Grain, read_metric_rows

HISTORY = timedelta(days=14)
LONG_HISTORY = timedelta(days=28)
_FROZEN_FROM = ("error", "cost", "latency", "input_tokens")
# Anything a stream can be of, as rollup metrics.
_MATURING = ("eval_fail", "overturn", *EVENTS, *FLAG_METRICS, "latency", "cost", "input_tokens")
_STREAMS_OF = ("eval_fail", "overturn", *EVENTS, *FLAG_METRICS)


def find_arms(store: Store, rollout: RolloutConfig, since: datetime, now: datetime) -> tuple[str, str, str, int] | None:
    """
    The environment, both models and day 0 of a rollout, from its traffic.

    Returns:
        `(environment, baseline_model, candidate_model, minute of the first candidate trace)`; None without traffic in both
        arms. Without a declared model the newest one of the route counts, without an environment the busiest.
    """
    seen = read_route_models(store, [rollout.service], since, now)
    if rollout.environment is not None:
        seen = seen.filter(environment=rollout.environment)
    candidates = _of_route(seen, rollout.candidate, rollout.candidate_model)
    baselines = _of_route(seen, rollout.baseline, rollout.baseline_model)
    candidates = candidates.join(baselines.select("environment").unique(), on="environment", how="semi")
    if candidates.is_empty():
        return None
    busiest = candidates.group_by("environment").agg(pl.col("n_traces").sum()).sort("n_traces", "environment", descending=True)
    environment = str(busiest["environment"][0])
    student = candidates.filter(environment=environment).row(0, named=True)
    teacher = baselines.filter(environment=environment).row(0, named=True)
    return environment, teacher["model"], student["model"], max(student["first_minute"], teacher["first_minute"])


def _of_route(seen: pl.DataFrame, route: str, model: str | None) -> pl.DataFrame:
    """Models of a route, the newest first."""
    mine = seen.filter(model_route=route)
    mine = mine if model is None else mine.filter(model=model)
    return mine.sort("first_minute", "model", descending=[True, False])


@dataclass(frozen=True)
class Maturing:
    """How maturities are estimated when a comparison opens; `clock`: delays until a verdict was received, or made."""

    rules: MaturityRules = field(default_factory=MaturityRules)
    clock: Literal["wall", "event"] = "wall"


def open_comparison(
    store: Store,
    rollout: RolloutConfig,
    method: MethodConfig,
    arms: tuple[str, str, str, int],
    now: datetime,
    maturing: Maturing | None = None,
) -> Comparison:
    """A comparison with everything that its history can freeze; the jobs are told how long its metrics wait for verdicts."""
    environment, baseline_model, candidate_model, day_zero = arms
    maturing = maturing or Maturing()
    at = moment(day_zero)
    fix_maturities(store, rollout.service, at, maturing.rules, baseline_route=rollout.baseline, clock=maturing.clock)
    comparison = Comparison(
        comparison_id=comparison_id(rollout, method, environment, baseline_model, candidate_model, day_zero),
        rollout=rollout,
        method=method,
        environment=environment,
        baseline_model=baseline_model,
        candidate_model=candidate_model,
        opened_at=now,
        day_zero=day_zero,
        maturities=_maturities(store, rollout.service, at, maturing.rules),
        splits=[(day_zero, rollout.split)],
    )
    return _with_history(store, comparison)


def _maturities(store: Store, service: str, at: datetime, rules: MaturityRules) -> list[tuple[str, str, int]]:
    """What history says, else what the settings say."""
    rows = read_maturities(store).filter(pl.col("service_name") == service, pl.col("effective_from") <= at)
    newest = rows.group_by("metric", "evaluator").agg(pl.col("maturity_seconds").sort_by("effective_from").last())
    known = {(metric, ""): default_maturity_seconds(metric, rules) for metric in _MATURING}
    known |= {(m, e): seconds for m, e, seconds in newest.filter(~pl.col("metric").is_in(EVENTS)).rows()}
    # the sources of feedback are pooled: as long as the slowest
    feedback = newest.filter(pl.col("metric").is_in(EVENTS)).group_by("metric").agg(pl.col("maturity_seconds").max())
    known |= {(m, ""): seconds for m, seconds in feedback.rows()}
    return [(m, e, -(-int(seconds) // 60)) for (m, e), seconds in sorted(known.items())]


def _with_history(store: Store, comparison: Comparison) -> Comparison:
    start = comparison.day_zero_at
    recent = _rows(store, comparison, start - HISTORY, start, comparison.rollout.baseline, comparison.baseline_model)
    reference = freeze(recent.filter(pl.col("metric").is_in(_FROZEN_FROM)), "history", comparison.method.cost_cap_medians)
    if reference is None:
        return comparison
    kinds = sorted(set(recent.filter(pl.col("metric").is_in(EVENTS))["metric"].to_list()))
    day_zero = comparison.day_zero
    collected = [(kind, "", "", day_zero) for kind in kinds]
    sampled = (
        recent.filter(pl.col("metric") == "eval_fail", pl.col("n_sampled_all") > 0).select("evaluator", "sampling_rule").unique()
    )
    collected += [(MISSING, evaluator, rule, day_zero) for evaluator, rule in sampled.sort("evaluator", "sampling_rule").rows()]
    longer = _rows(store, comparison, start - LONG_HISTORY, start, comparison.rollout.baseline, comparison.baseline_model)
    found = dispersion(complete(longer, kinds).with_columns(pl.col("bucket").dt.truncate("1h")))
    comparison = replace(
        comparison,
        reference=reference,
        referenced_from=day_zero,
        collected=collected,
        phi=[(m, e, value) for (m, e), value in sorted(found.by_metric.items())],
        routing_phi=found.routing,
    )
    cohorts = sorted(reference.omega)
    return comparison.with_dealt([*_metrics(recent), ("slow", "")], cohorts, day_zero)


def _freeze_rates(store: Store, comparison: Comparison, ripe: int) -> Comparison:
    """
    Drift without a holdback: two whole weeks of the candidate's own stand for the baseline, per cohort.

    Day 0 shows whether the baseline still answers anything. The weeks are those before day 0, or, if the candidate has not served
    that long, or its level was accepted since, the first two from then on.
    """
    start, rollout = comparison.day_zero_at, comparison.rollout
    day = _rows(store, comparison, start, moment(comparison.first_day_ends), rollout.baseline, comparison.baseline_model)
    if day.filter(metric="error")["n_eligible_all"].sum() > 0:
        return comparison
    before = _rows(store, comparison, start - HISTORY, start, rollout.candidate, comparison.candidate_model)
    first = min([start, *before.select(pl.col("bucket").min()).drop_nulls()["bucket"].to_list()])
    # a quiet night at its beginning does not make a week incomplete
    since = max(start - HISTORY if first < start - HISTORY + timedelta(days=1) else first, moment(comparison.own_weeks_from))
    until = int((since + HISTORY).timestamp()) // 60
    if ripe < until:
        return comparison
    frozen_from = max(until, comparison.first_day_ends)
    return replace(comparison, frozen_rates=_own_rates(store, comparison, moment(until)), frozen_from=frozen_from)


def _own_rates(store: Store, comparison: Comparison, until: datetime) -> list[tuple[str, str, str, float, float]]:
    """Upper limit and rate of every stream of the candidate, over two weeks."""
    rows = _rows(store, comparison, until - HISTORY, until, comparison.rollout.candidate, comparison.candidate_model)
    kinds = sorted(set(rows.filter(pl.col("metric").is_in(EVENTS))["metric"].to_list()))
    keys = ["metric", "evaluator", "cohort"]
    counted = complete(rows, kinds).filter(pl.col("metric").is_in(_STREAMS_OF), pl.col("pair_route") == "")
    # the sources of feedback are pooled, as its streams are
    pooled = pl.when(pl.col("metric").is_in(EVENTS)).then(pl.lit("")).otherwise(pl.col("evaluator")).alias("evaluator")
    sums = counted.with_columns(pooled).group_by(keys).agg(pl.col("n_scored_all", "n_fail_all").sum())
    used = sums.filter(pl.col("n_scored_all") > 0).sort(keys)
    return [(m, e, c, upper_limit(int(x), int(n)), x / n) for m, e, c, n, x in used.rows()]


def restarted(comparison: Comparison, now: datetime, *, is_accepted: bool) -> Comparison:
    """
    The same drift comparison from now on, with evidence at zero and everything that was frozen kept.

    Args:
        is_accepted: the present level is the new normal: two weeks from now on will stand for the baseline.
    """
    day_zero = int(now.timestamp()) // 60 + 1
    rollout, arms = comparison.rollout, (comparison.environment, comparison.baseline_model, comparison.candidate_model)
    again = replace(
        comparison,
        comparison_id=comparison_id(rollout, comparison.method, *arms, day_zero),
        opened_at=now,
        day_zero=day_zero,
        splits=[(day_zero, split) for _, split in comparison.splits[-1:]],
        dealt_from=None if comparison.dealt_from is None else day_zero,
        frozen_from=day_zero,
        follows="" if is_accepted else comparison.comparison_id,
    )
    return replace(again, frozen_rates=[], frozen_from=0, own_weeks_from=day_zero) if is_accepted else again


def _rows(store: Store, comparison: Comparison, since: datetime, until: datetime, route: str, model: str) -> pl.DataFrame:
    """Rollup rows of one side: by the hour where they are merged, else by the minute."""
    metrics = sorted({*_FROZEN_FROM, *_STREAMS_OF, "sampled"})
    service = [comparison.rollout.service]
    for grain in (Grain.HOUR, Grain.MINUTE):
        rows = read_metric_rows(store, grain, since, until, services=service, metrics=metrics, routes=[route])
        rows = split_rows(rows.filter(environment=comparison.environment, model=model))[0]
        if not rows.is_empty():
            break
    return rows


def _metrics(rows: pl.DataFrame) -> list[MetricKey]:
    """Metrics that can page; the sources of feedback are pooled."""
    present = rows.filter(pl.col("metric").is_in(_STREAMS_OF), pl.col("pair_route") == "")
    pooled = pl.when(pl.col("metric").is_in(EVENTS)).then(pl.lit("")).otherwise(pl.col("evaluator")).alias("evaluator")
    return [(m, e) for m, e in present.select("metric", pooled).unique().sort("metric", "evaluator").rows()]


def freeze_first_day(store: Store, comparison: Comparison, now_minute: int) -> Comparison:
    """
    What only day 0 shows. Without history: divide alpha at its end, and freeze the reference from the first 24 h or more.

    The reference needs 1,000 baseline traces; until there are as many, whole hours are added.
    """
    ripe = now_minute - comparison.maturity("error")
    if ripe < comparison.first_day_ends:
        return comparison
    if not comparison.dealt:
        comparison = _deal_first_day(store, comparison)
    if comparison.reference is None:
        start = comparison.day_zero_at
        end = moment(ripe - ripe % 60)
        route = [comparison.rollout.baseline]
        service = [comparison.rollout.service]
        rows = read_metric_rows(store, Grain.MINUTE, start, end, services=service, metrics=_FROZEN_FROM, routes=route)
        rows = split_rows(rows.filter(environment=comparison.environment, model=comparison.baseline_model))[0]
        until = _enough(rows, comparison)
        if until is not None:
            early = rows.filter(pl.col("bucket") < moment(until))
            reference = freeze(early, "first day", comparison.method.cost_cap_medians)
            comparison = replace(comparison, reference=reference, referenced_from=until)
    if comparison.rollout.mode == "drift" and not comparison.frozen_rates:
        comparison = _freeze_rates(store, comparison, ripe)
    return comparison


def _enough(rows: pl.DataFrame, comparison: Comparison) -> int | None:
    """The first whole hour after day 0 before which the baseline had enough traces."""
    served = rows.filter(pl.col("metric") == "error", pl.col("pair_route") == "").sort("bucket")
    counts = served.select(pl.col("bucket").dt.epoch("s") // 60, n=pl.col("n_eligible_all").cum_sum()).filter(
        pl.col("n") >= MIN_TRACES
    )
    if counts.is_empty():
        return None
    minute = int(counts["bucket"][0]) + 1
    later = max(0, minute - comparison.first_day_ends)
    return comparison.first_day_ends + -(-later // 60) * 60


def _deal_first_day(store: Store, comparison: Comparison) -> Comparison:
    """Weights for the streams seen on day 0 in either arm: which there are says nothing about which arm fails."""
    rollout, start = comparison.rollout, comparison.day_zero_at
    end = moment(comparison.first_day_ends)
    routes = [rollout.baseline, rollout.candidate]
    rows = read_metric_rows(
        store, Grain.MINUTE, start, end, services=[rollout.service], metrics=sorted(_STREAMS_OF), routes=routes
    )
    rows = rows.filter(environment=comparison.environment)
    cohorts = sorted(set(rows.filter(metric="error")["cohort"].to_list()))
    return comparison.with_dealt([*_metrics(rows), ("slow", "")], cohorts, comparison.first_day_ends) if cohorts else comparison
