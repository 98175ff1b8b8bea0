"""The lists of a rollout's page: gate checks, guards, unknowns, mix, latency and mean scores, as ready texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alerts.gate import how_much_longer
from alerts.scorecard import LatencyRow, MixRow, Quantile, ScoreRow
from alerts.verdict import GuardFinding, Outcome, Unknown
from api import format as formats
from api.pages.words import GUARDS, OUTCOMES, Badge, cohort_name, in_cohort, metric_name, stream_name, typeset

_PROVED = "harm is proved in "
_GATE_CHECKS = {"pages": "No proven harm anywhere", "cost": "Cost", "guards": "Guards", "quality": "Quality"}


@dataclass(frozen=True)
class GateLine:
    """One check of the gate."""

    name: str
    badge: Badge
    reason: str


@dataclass(frozen=True)
class GuardLine:
    """One guard; `badge` says whether it is active."""

    name: str
    badge: Badge
    sentence: str


@dataclass(frozen=True)
class UnknownLine:
    """What is not known, how much of the data it needs is there, and how long the rest takes."""

    subject: str
    have: str
    wait: str


@dataclass(frozen=True)
class MixLine:
    """A cohort's share of each arm's traffic (0 to 1); the bars are percentages of the longest."""

    name: str
    reference: str
    baseline: float
    candidate: float
    baseline_bar: float
    candidate_bar: float


@dataclass(frozen=True)
class LatencyLine:
    """Quantiles of one cohort, `p50 / p95 / p99` per arm as ready texts."""

    name: str
    baseline: tuple[str, ...]
    candidate: tuple[str, ...]
    objective: str
    counts: str


@dataclass(frozen=True)
class MeanLine:
    """Mean score of an evaluator in one cohort."""

    evaluator: str
    name: str
    baseline: str
    candidate: str
    loss_range: str
    counts: str


def gate_lines(checks: Sequence[Mapping[str, Any]], outcomes: Sequence[Outcome]) -> tuple[GateLine, ...]:
    """The checks with these outcomes, in this order."""
    return tuple(_gate_line(check) for outcome in outcomes for check in checks if check["outcome"] == outcome)


def _gate_line(check: Mapping[str, Any]) -> GateLine:
    """One check; what its reason repeats of its name, or of the list of unknowns, is left out."""
    metric, evaluator, cohort = (str(check.get(part) or "") for part in ("metric", "evaluator", "cohort"))
    name = (
        f"{metric_name(metric, evaluator)} in {in_cohort(cohort)}" if metric else _GATE_CHECKS.get(check["name"], check["name"])
    )
    reason = str(check["reason"])
    if metric:
        reason = reason.removeprefix(f"{evaluator or metric} in {in_cohort(cohort)}: ")
    if check.get("unknown"):
        reason = reason.replace(f"; {check['unknown']['sentence']}", "")
    proved = reason.removeprefix(_PROVED)
    if proved != reason:
        reason = _PROVED + "; ".join(stream_name(stream) for stream in proved.split(", "))
    return GateLine(name, OUTCOMES[Outcome(check["outcome"])], typeset(reason))


def mix_lines(rows: Sequence[MixRow]) -> tuple[MixLine, ...]:
    longest = max((share for row in rows for share in (row.baseline, row.candidate)), default=0.0) or 1.0
    return tuple(
        MixLine(
            cohort_name(row.cohort),
            formats.percent(row.reference),
            row.baseline,
            row.candidate,
            round(100 * row.baseline / longest, 2),
            round(100 * row.candidate / longest, 2),
        )
        for row in rows
    )


def guard_line(guard: GuardFinding) -> GuardLine:
    if not guard.is_active:
        badge = Badge("Not active", "good", "check")
    else:
        badge = Badge("Active", "warn", "alert") if guard.blocks else Badge("Worth knowing", "note", "question")
    return GuardLine(GUARDS[guard.kind], badge, guard.sentence)


def unknown_line(item: Unknown) -> UnknownLine:
    wait = how_much_longer(item.weeks)
    if item.n_pairs_needed:
        there = f", of which {formats.count(item.n_pairs)} are there" if item.n_pairs else ""
        wait += f", or {formats.count(item.n_pairs_needed)} mirrored pairs{there}"
    if not item.metric or item.n_needed is None:
        return UnknownLine("", typeset(item.sentence), wait)
    have = f"{formats.count(item.n_have)} of about {formats.count(item.n_needed)} scored traces"
    return UnknownLine(f"{metric_name(item.metric, item.evaluator)} in {in_cohort(item.cohort)}", have, wait)


def latency_line(row: LatencyRow) -> LatencyLine:
    return LatencyLine(
        name=cohort_name(row.cohort),
        baseline=tuple(_quantile(quantile) for quantile in row.baseline),
        candidate=tuple(_quantile(quantile) for quantile in row.candidate),
        objective=formats.duration(row.objective_ms * 1e6) if row.objective_ms is not None else formats.UNKNOWN,
        counts=f"{formats.count(row.n_candidate)} / {formats.count(row.n_baseline)}",
    )


def _quantile(quantile: Quantile) -> str:
    name = f"p{quantile.quantile * 100:g}"
    if quantile.interval_ms is None:
        return f"{name} collecting"
    low, high = formats.duration(quantile.interval_ms.low * 1e6), formats.duration(quantile.interval_ms.high * 1e6)
    return f"{name} {low} to {high}"


def mean_line(row: ScoreRow) -> MeanLine:
    bounds = f"{row.interval.low:+.3f} to {row.interval.high:+.3f}".replace("-", formats.MINUS) if row.interval else "collecting"
    return MeanLine(
        evaluator=row.evaluator,
        name=cohort_name(row.cohort),
        baseline=formats.score(row.mean_baseline),
        candidate=formats.score(row.mean_candidate),
        loss_range=bounds,
        counts=f"{formats.count(row.n_candidate)} / {formats.count(row.n_baseline)}",
    )
