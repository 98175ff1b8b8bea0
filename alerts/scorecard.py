"""The scorecard of a rollout: per cohort and metric both arms, difference, range, counts, coverage, state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from alerts.comparison import Comparison
from alerts.findings import MIN_FAILURES, MIN_SCORES, MIN_UNITS, Findings, moment
from alerts.guarding import cohort_units
from alerts.judge import Judged
from alerts.ledger import BLOCK, SCORE
from alerts.malformed import split_rows
from alerts.method.differences import of_rates, of_scores
from alerts.method.intervals import radius
from alerts.method.latency import quantile_interval
from alerts.method.weights import StreamKey, group_of
from alerts.rules import MINUTES_PER_DAY
from alerts.verdict import GLOBAL, CostFinding, GuardFinding, Interval, StreamFinding, StreamState, Unknown
from analytics.histograms import ZERO_BIN, lower_edge, merge_histograms, quantile
from storage.client import Store
from storage.metrics import Grain, read_metric_rows


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


_QUANTILES = (0.5, 0.95, 0.99)
# the arm, and what tells sensible rows (`alerts.malformed`)
_OF_LATENCY = (
    *("service_name", "environment", "metric", "model_route", "model", "cohort", "mirrored"),
    *("n_scored_matured", "n_fail_matured", "sum_value_matured", "sum_squares_matured"),
    *("hist_bins_all", "hist_counts_all", "hist_sums_all", "hist_squares_all"),
)


def scorecard(store: Store, comparison: Comparison, judged: Judged, as_of: datetime) -> Scorecard:
    """Everything known about a comparison, GLOBAL rows first."""
    findings = judged.findings
    suspected = {s.stream_id for s in judged.verdict.streams if s.state is StreamState.SUSPECTED}
    order = sorted(findings.streams, key=lambda k: (k.cohort != GLOBAL, group_of(k.metric), k.metric, k.evaluator, k.cohort))
    with ThreadPoolExecutor(1) as beside:
        # the store takes as long for its part as all the rest takes here
        latency = beside.submit(_latency, store, comparison, as_of)
        return _scorecard(comparison, judged, as_of, order, suspected, latency)


def _scorecard(
    comparison: Comparison,
    judged: Judged,
    as_of: datetime,
    order: list[StreamKey],
    suspected: set[str],
    latency: Future[tuple[LatencyRow, ...]],
) -> Scorecard:
    findings = judged.findings
    return Scorecard(
        rollout=comparison.rollout.name,
        comparison_id=comparison.comparison_id,
        as_of=as_of,
        day_zero=comparison.day_zero_at,
        reference=comparison.reference.source if comparison.reference else "",
        rows=tuple(findings.finding(key, StreamState.SUSPECTED if key.stream_id in suspected else None) for key in order),
        scores=_scores(findings, order),
        cost=judged.cost,
        guards=judged.guards,
        unknown=judged.verdict.unknown,
        mix=_mix(findings),
        series=_series(findings, order),
        latency=latency.result(),
    )


def _scores(findings: Findings, order: list[StreamKey]) -> tuple[ScoreRow, ...]:
    """Mean scores; a range from 200 scores an arm on."""
    ledger, rows = findings.state.paging, []
    sums = {name: ledger.total(name) for name in (*SCORE, "mS", "sS", "qS", "mT", "sT", "qT")}
    phi = findings.state.rules.phi_of_all(ledger.streams)
    difference = of_scores(sums, phi)
    for key in order:
        number = ledger.index[key]
        n_s, n_t = int(sums["mS"][number]), int(sums["mT"][number])
        if not n_s + n_t:
            continue
        d, v = float(difference.d[number]), float(difference.v[number])
        width = float(radius(v, findings.level, 0.8 * findings.margin(key)))
        # Candidate minus baseline in the ledger; lower scores are harm, so the sign turns.
        interval = Interval(-d - width, -d + width, findings.level) if min(n_s, n_t) >= MIN_SCORES else None
        mean_s, mean_t = (float(sums[s][number] / n) if n else None for s, n in (("sS", n_s), ("sT", n_t)))
        known = None if np.isnan(d) else -d
        rows.append(ScoreRow(key.evaluator, "", key.cohort, n_t, n_s, mean_t, mean_s, known, interval))
    return tuple(rows)


def _latency(store: Store, comparison: Comparison, as_of: datetime) -> tuple[LatencyRow, ...]:
    """Quantiles per cohort from the hourly histograms since day 0."""
    rollout, hour = comparison.rollout, comparison.day_zero_at.replace(minute=0)
    routes = [rollout.baseline, rollout.candidate]
    services, metrics = [rollout.service], ["latency"]
    rows = read_metric_rows(
        store, Grain.HOUR, hour, as_of, services=services, metrics=metrics, routes=routes, columns=_OF_LATENCY
    )
    where = ["service_name", "environment", "model_route", "model"]
    mine = split_rows(rows)[0].filter(pl.col("mirrored") == 0).join(comparison.arms, on=where)
    merged = merge_histograms(mine.lazy(), ["cohort", "arm"]).collect()
    by_cohort: dict[str, dict[str, tuple[list[int], list[int]]]] = {}
    for cohort, arm, bins, counts in merged.select("cohort", "arm", "hist_bins_all", "hist_counts_all").iter_rows():
        by_cohort.setdefault(cohort, {})[arm] = (bins, counts)
    found = []
    for cohort, arms in sorted(by_cohort.items()):
        reference = comparison.reference.cohorts.get(cohort) if comparison.reference else None
        objective = reference.latency_objective_s if reference else None
        baseline, candidate = (arms.get(arm, ([], [])) for arm in ("baseline", "candidate"))
        found.append(
            LatencyRow(
                cohort,
                sum(baseline[1]),
                sum(candidate[1]),
                _quantile_row(*baseline),
                _quantile_row(*candidate),
                None if objective is None else objective * 1_000,
            )
        )
    return tuple(found)


def _quantile_row(bins: list[int], counts: list[int]) -> tuple[Quantile, ...]:
    lower = np.array([lower_edge(b) for b in bins])
    upper = np.array([lower_edge(b + 1) if b != ZERO_BIN else 0.0 for b in bins])
    row = []
    for q in _QUANTILES:
        bounds = quantile_interval(np.array(counts, dtype=np.int64), lower, upper, q, 0.05) if counts else None
        value = quantile(bins, counts, q) if bounds is not None else None
        interval = None if bounds is None else Interval(bounds[0] * 1_000, bounds[1] * 1_000, 0.05)
        row.append(Quantile(q, None if value is None else value * 1_000, interval))
    return tuple(row)


def _mix(findings: Findings) -> tuple[MixRow, ...]:
    candidate, baseline = cohort_units(findings.state)
    totals = sum(candidate.values()) or 1.0, sum(baseline.values()) or 1.0
    return tuple(
        MixRow(c, findings.omega.get(c), baseline.get(c, 0.0) / totals[1], candidate.get(c, 0.0) / totals[0])
        for c in sorted(set(candidate) | set(baseline) | set(findings.omega))
    )


def _series(findings: Findings, order: Sequence[StreamKey]) -> tuple[SeriesPoint, ...]:
    """The differences of all streams as they stood at the end of each day, at the mix of the matched traces."""
    ledger, rules, days = findings.state.paging, findings.state.rules, findings.today + 1
    rows = [ledger.index[key] for key in order]
    sums = {name: np.cumsum(ledger.get(name)[rows, :days], axis=1) for name in (*BLOCK, "uS", "fS", "uT", "fT", "n01", "n10")}
    n_pairs = np.cumsum(ledger.n_pairs()[rows, :days], axis=1)
    difference = of_rates(sums, sums["n01"], sums["n10"], n_pairs, rules.phi_of_all(order)[:, None])
    tau = 0.8 * np.array([findings.margin(key) for key in order], dtype=np.float64)[:, None]
    width = radius(difference.v, findings.level, tau)
    shown = (np.minimum(sums["nS"], sums["nT"]) + n_pairs >= MIN_UNITS) & (sums["fS"] + sums["fT"] >= MIN_FAILURES)
    last = findings.state.newest_minute() + 1
    ends = [moment(min(rules.day_zero + (day + 1 + findings.state.first_day) * MINUTES_PER_DAY, last)) for day in range(days)]
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = [np.where(sums[u] > 0, sums[f] / sums[u], np.nan) for f, u in (("fT", "uT"), ("fS", "uS"))]
    columns = (difference.d, width, shown, *rates)
    points = []
    for key, *of_days in zip(order, *(column.tolist() for column in columns), strict=True):
        for at, d, w, is_shown, baseline, candidate in zip(ends, *of_days, strict=True):
            interval = Interval(d - w, d + w, findings.level) if is_shown else None
            points.append(SeriesPoint(key.stream_id, at, _known(d), interval, _known(baseline), _known(candidate)))
    return tuple(points)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
