"""`/rollouts/{name}`: one rollout on one screen, in the order on-call reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import TypeAdapter

from alerts.scorecard import LatencyRow, MixRow, Quantile, Scorecard, ScoreRow
from alerts.verdict import GLOBAL, CostFinding, GuardFinding, MetricGroup, Outcome, StreamFinding, StreamState, Unknown, Verdict
from api import format as formats
from api.dependencies import Reader, ServicesDep
from api.pages.plane import Plane, build_plane
from api.pages.rendering import link, render, segment
from api.pages.rollouts import VERDICT
from api.pages.scorecard_view import Chart, CostLine, MetricTable, anchor_of, charts, cost_lines, metric_tables
from api.pages.words import (
    GUARDS,
    MEANINGS,
    OUTCOMES,
    Badge,
    cohort_name,
    in_cohort,
    metric_name,
    stream_name,
    typeset,
    verdict_badge,
    without_kind,
)
from api.problems import ProblemError
from api.services import Document, Services

router = APIRouter(include_in_schema=False)

SCORECARD: TypeAdapter[Scorecard] = TypeAdapter(Scorecard)
_DEFAULT_MARGIN = 0.03
_PROVED = "harm is proved in "
_GATE_CHECKS = {"pages": "No proven harm anywhere", "cost": "Cost", "guards": "Guards", "quality": "Quality"}


@dataclass(frozen=True)
class Fact:
    """One line of the headline."""

    label: str
    text: str


@dataclass(frozen=True)
class PlaneChoice:
    """A metric whose plane can be shown."""

    name: str
    href: str
    is_current: bool


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


@dataclass(frozen=True)
class RolloutView:
    """Everything on the page; None or empty parts are left out by the template."""

    name: str
    service: str
    baseline: str
    baseline_model: str
    candidate: str
    candidate_model: str
    badge: Badge
    tone: str
    meaning: str
    warning: str
    headline: str
    facts: tuple[Fact, ...]
    also_suspected: tuple[str, ...]
    gate: Badge
    # what keeps the gate from passing, and what passed
    checks: tuple[GateLine, ...]
    passed: tuple[GateLine, ...]
    plane: Plane | None
    plane_metric: str
    # the scorecard's table of the same metric
    plane_anchor: str
    plane_choices: tuple[PlaneChoice, ...]
    tables: tuple[MetricTable, ...]
    costs: tuple[CostLine, ...]
    cost_note: str
    charts: tuple[Chart, ...]
    mix: tuple[MixLine, ...]
    guards: tuple[GuardLine, ...]
    unknown: tuple[UnknownLine, ...]
    latency: tuple[LatencyLine, ...]
    means: tuple[MeanLine, ...]
    as_of: datetime | None
    day_zero: datetime | None
    reference: str
    declaration: str
    api: str
    pairs_href: str
    traces_href: str


@router.get("/rollouts/{name:path}")
def rollout_page(request: Request, name: str, services: ServicesDep, _key: Reader, plane: str = "") -> HTMLResponse:
    """One rollout; `plane` names the metric of the trade-off plane (`metric` or `metric:evaluator`)."""
    rollout = services.alerts.rollout(name)
    verdict = services.alerts.verdict(name)
    card = _scorecard(services, name) if verdict.get("comparison_id") else None
    if card is None:
        return render(request, "rollout_waiting.html", rollout, active="/", live=True)
    view = rollout_view(rollout, VERDICT.validate_python(verdict), card, services.alerts.gate(name), plane)
    return render(request, "rollout.html", view, active="/", live=True)


def _scorecard(services: Services, name: str) -> Scorecard | None:
    """None where a verdict is stored but the comparison is over, or has another model now."""
    try:
        return SCORECARD.validate_python(services.alerts.scorecard(name))
    except ProblemError as problem:
        if problem.kind != "no-comparison":
            raise
        return None


def rollout_view(rollout: Document, verdict: Verdict, card: Scorecard, gate: Document, plane_metric: str) -> RolloutView:
    """The view model, from the same documents that the API gives."""
    name, service = rollout["name"], rollout["service"]
    badge = verdict_badge(verdict.kind)
    metrics = _plane_metrics(card.rows)
    chosen = plane_metric if plane_metric in metrics else next(iter(metrics), "")
    active_guards = [guard for guard in verdict.guards if guard.is_active and guard.blocks]
    page = verdict.pages[0] if verdict.pages else None
    return RolloutView(
        name=name,
        service=service,
        baseline=verdict.baseline_route,
        baseline_model=verdict.baseline_model,
        candidate=verdict.candidate_route,
        candidate_model=verdict.candidate_model,
        badge=badge,
        tone=badge.tone,
        meaning=MEANINGS.get(verdict.kind, ""),
        warning="; ".join(guard.sentence for guard in active_guards),
        headline=without_kind(page.headline, verdict.kind, service)
        if page
        else (verdict.reasons[0] if verdict.reasons else MEANINGS[verdict.kind]),
        facts=_facts(verdict, card),
        also_suspected=tuple(stream_name(stream) for stream in page.also_suspected) if page else (),
        gate=OUTCOMES[Outcome(gate["gate"])],
        checks=_gate_lines(gate["checks"], (Outcome.FAIL, Outcome.UNDETERMINED)),
        passed=_gate_lines(gate["checks"], (Outcome.PASS,)),
        plane=_plane(metrics.get(chosen, []), card.cost, rollout) if chosen else None,
        plane_metric=_metric_of(metrics[chosen][0]) if chosen else "",
        plane_anchor=anchor_of(metrics[chosen][0]) if chosen else "",
        plane_choices=tuple(
            PlaneChoice(_metric_of(rows[0]), link(f"/rollouts/{segment(name)}", {"plane": key}) + "#plane", key == chosen)
            for key, rows in metrics.items()
        ),
        tables=metric_tables(name, service, verdict.candidate_route, card.rows),
        costs=cost_lines((card.cost.overall, *card.cost.cohorts)) if card.cost else (),
        cost_note=_cost_note(card.cost),
        charts=charts(card),
        mix=_mix(card.mix),
        guards=tuple(_guard_line(guard) for guard in sorted(card.guards, key=lambda guard: (not guard.is_active, guard.kind))),
        unknown=tuple(_unknown_line(item) for item in card.unknown),
        latency=tuple(_latency_line(row) for row in card.latency),
        means=tuple(_mean_line(row) for row in card.scores),
        as_of=verdict.as_of,
        day_zero=verdict.day_zero,
        reference=verdict.reference,
        declaration=_declaration(rollout) if rollout.get("discovered") else "",
        api=f"/api/v1/rollouts/{segment(name)}",
        pairs_href=f"/rollouts/{segment(name)}/pairs",
        traces_href=link("/traces", {"service": service, "route": verdict.candidate_route}),
    )


def _declaration(rollout: Document) -> str:
    """What would declare a discovered rollout, in the settings file's words (JSON strings are TOML strings)."""
    fields = ("name", "service", "baseline", "candidate")
    lines = [f"{field} = {json.dumps(rollout[field])}" for field in fields]
    return "\n".join(
        ("[[rollout]]", *lines, "high_value_cohorts = []", "gates = { max_cost_ratio = 0.5, max_regression = 0.03 }")
    )


def _facts(verdict: Verdict, card: Scorecard) -> tuple[Fact, ...]:
    """The headline's lines; where nothing pages, what the ranges say."""
    if verdict.pages:
        page = verdict.pages[0]
        lines = (page.quality, page.cost, page.certainty, page.reach, page.not_known, page.action)
    else:
        quality = [row for row in card.rows if row.cohort == GLOBAL and row.group == MetricGroup.QUALITY]
        lines = (
            " ".join(_quality_sentence(row) for row in quality[:3]),
            _cost_sentence(verdict.cost),
            f"{formats.count(verdict.n_candidate)} candidate and {formats.count(verdict.n_baseline)} baseline traces since "
            f"{formats.day(verdict.day_zero)}. If nothing were wrong, at most 1 rollout in 20 would raise any page at all.",
            "",
            " ".join(item.sentence for item in verdict.unknown[:2]),
            " ".join(verdict.gate_reasons[:2]),
        )
    labels = ("Quality", "Cost", "Certainty", "Reach", "Not known", "Do" if verdict.pages else "Gate")
    return tuple(Fact(label, typeset(text)) for label, text in zip(labels, lines, strict=True) if text)


def _quality_sentence(row: StreamFinding) -> str:
    if row.interval is None:
        return f"{_metric_of(row)}: {row.note or 'collecting'}."
    bounds = formats.points_range(row.interval.low, row.interval.high)
    counts = f"{formats.count(row.candidate.n_units)} candidate / {formats.count(row.baseline.n_units)} baseline traces"
    return f"{_metric_of(row)}: {bounds}, best estimate {formats.points(row.difference)} ({counts})."


def _cost_sentence(cost: CostFinding | None) -> str:
    if cost is None or cost.overall.interval is None:
        return cost.note if cost else ""
    bounds = formats.ratio_range(cost.overall.interval.low, cost.overall.interval.high)
    certified = (
        f"certified below the {formats.ratio(cost.target)} target" if cost.certified else "not certified below the target yet"
    )
    return f"{bounds}, best estimate {formats.ratio(cost.overall.ratio)} at equal cohort mix, {certified}."


def _cost_note(cost: CostFinding | None) -> str:
    if cost is None:
        return ""
    tail = "More than a tenth of an arm's spend lies above the cap: the tail decides." if cost.tail_decides else ""
    return " ".join(filter(None, (cost.note, tail)))


def _metric_of(row: StreamFinding) -> str:
    return metric_name(row.metric, row.evaluator)


def _plane_metrics(rows: Sequence[StreamFinding]) -> dict[str, list[StreamFinding]]:
    """Findings per metric that a plane can show, those with harm first, then quality before operations."""
    found: dict[str, list[StreamFinding]] = {}
    for row in rows:
        if row.cohort != GLOBAL and not row.is_bundle:
            found.setdefault(f"{row.metric}:{row.evaluator}" if row.evaluator else row.metric, []).append(row)

    def urgency(key: str) -> tuple[bool, bool, str]:
        is_harmed = any(row.state == StreamState.PAGED for row in found[key])
        return (not is_harmed, found[key][0].group != MetricGroup.QUALITY, key)

    return {key: found[key] for key in sorted(found, key=urgency)}


def _plane(rows: Sequence[StreamFinding], cost: CostFinding | None, rollout: Document) -> Plane:
    margin = rollout.get("gates", {}).get("max_regression", _DEFAULT_MARGIN)
    return build_plane(rows, cost.cohorts if cost else (), margin)


def _gate_lines(checks: Sequence[Mapping[str, Any]], outcomes: Sequence[Outcome]) -> tuple[GateLine, ...]:
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


def _mix(rows: Sequence[MixRow]) -> tuple[MixLine, ...]:
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


def _guard_line(guard: GuardFinding) -> GuardLine:
    if not guard.is_active:
        badge = Badge("Not active", "good", "check")
    else:
        badge = Badge("Active", "warn", "alert") if guard.blocks else Badge("Worth knowing", "note", "question")
    return GuardLine(GUARDS[guard.kind], badge, guard.sentence)


def _unknown_line(item: Unknown) -> UnknownLine:
    wait = "no traffic at present" if item.weeks is None else f"{_weeks(item.weeks)} at the present rate"
    if item.n_pairs_needed:
        wait += f", or {formats.count(item.n_pairs_needed)} mirrored pairs"
    if not item.metric or item.n_needed is None:
        return UnknownLine("", typeset(item.sentence), wait)
    have = f"{formats.count(item.n_have)} of about {formats.count(item.n_needed)} scored traces"
    return UnknownLine(f"{metric_name(item.metric, item.evaluator)} in {in_cohort(item.cohort)}", have, wait)


def _weeks(weeks: float) -> str:
    """A wait, no finer than it is known."""
    if weeks < 1:
        return f"about {formats.plural(max(1, round(weeks * 7)), 'more day')}"
    if weeks < 60:
        return f"about {formats.plural(round(weeks), 'more week')}"
    return f"about {formats.plural(round(weeks / 52.18), 'more year')}"


def _latency_line(row: LatencyRow) -> LatencyLine:
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


def _mean_line(row: ScoreRow) -> MeanLine:
    bounds = f"{row.interval.low:+.3f} to {row.interval.high:+.3f}".replace("-", formats.MINUS) if row.interval else "collecting"
    return MeanLine(
        evaluator=row.evaluator,
        name=cohort_name(row.cohort),
        baseline=formats.score(row.mean_baseline),
        candidate=formats.score(row.mean_candidate),
        loss_range=bounds,
        counts=f"{formats.count(row.n_candidate)} / {formats.count(row.n_baseline)}",
    )
