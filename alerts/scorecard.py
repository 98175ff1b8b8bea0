"""The scorecard of a rollout: per cohort and metric both arms, difference, range, counts, coverage, state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from alerts.verdict import CostFinding, GuardFinding, Interval, StreamFinding, Unknown


@dataclass(frozen=True)
class Quantile:
    """A latency quantile of one arm with its any-time range; None while collecting."""

    quantile: float
    value_ms: float | None
    interval_ms: Interval | None


@dataclass(frozen=True)
class LatencyRow:
    """Latency of one cohort; a pooled p99 moves with the mix, so there is no row over all cohorts."""

    cohort: str
    n_baseline: int
    n_candidate: int
    baseline: tuple[Quantile, ...]
    candidate: tuple[Quantile, ...]
    objective_ms: float | None


@dataclass(frozen=True)
class ScoreRow:
    """Mean score of an evaluator in one cohort; `difference` is baseline - candidate, so positive is harm."""

    evaluator: str
    evaluator_version: str
    cohort: str
    n_baseline: int
    n_candidate: int
    mean_baseline: float | None
    mean_candidate: float | None
    difference: float | None
    interval: Interval | None


@dataclass(frozen=True)
class SeriesPoint:
    """The difference as it was known at the end of a day, with its any-time range."""

    stream_id: str
    at: datetime
    difference: float | None
    interval: Interval | None
    baseline_rate: float | None
    candidate_rate: float | None


@dataclass(frozen=True)
class MixRow:
    """A cohort's share of each arm's traffic, and of the frozen reference mix."""

    cohort: str
    reference: float | None
    baseline: float
    candidate: float


@dataclass(frozen=True)
class Scorecard:
    """Everything known about a rollout; `rows` has GLOBAL streams first, standardised to the reference mix."""

    rollout: str
    comparison_id: str
    as_of: datetime
    day_zero: datetime
    reference: str
    rows: tuple[StreamFinding, ...]
    scores: tuple[ScoreRow, ...]
    cost: CostFinding | None
    latency: tuple[LatencyRow, ...]
    guards: tuple[GuardFinding, ...]
    unknown: tuple[Unknown, ...]
    mix: tuple[MixRow, ...]
    series: tuple[SeriesPoint, ...]
