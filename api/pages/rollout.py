"""`/rollouts/{name}`: one rollout on one screen, in the order on-call reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from alerts.scorecard import Scorecard
from alerts.verdict import GLOBAL, CostFinding, MetricGroup, Outcome, StreamFinding, StreamState, Unknown, Verdict
from api import format as formats
from api.dependencies import Reader, ServicesDep
from api.pages.plane import Plane, build_plane
from api.pages.rendering import link, render, segment
from api.pages.rollout_lines import (
    GateLine,
    GuardLine,
    LatencyLine,
    MeanLine,
    MixLine,
    UnknownLine,
    gate_lines,
    guard_line,
    latency_line,
    mean_line,
    mix_lines,
    unknown_line,
)
from api.pages.rollouts import VERDICT
from api.pages.scorecard_view import Chart, CostLine, MetricTable, anchor_of, charts, cost_lines, metric_tables
from api.pages.words import (
    MEANINGS,
    OUTCOMES,
    Badge,
    metric_name,
    stream_name,
    typeset,
    verdict_badge,
    without_kind,
)
from api.services import Document
from api.shared import SharedRoute, shared

router = APIRouter(route_class=SharedRoute, include_in_schema=False)

_DEFAULT_MARGIN = 0.03


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
    # why it is not judged further
    trouble: str
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
    is_collecting: bool
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
@shared
def rollout_page(request: Request, name: str, services: ServicesDep, _key: Reader, plane: str = "") -> HTMLResponse:
    """One rollout; `plane` names the metric of the trade-off plane (`metric` or `metric:evaluator`)."""
    found = services.alerts.report(name)
    if found.scorecard is None or found.gate is None:
        return render(request, "rollout_waiting.html", found.rollout, active="/", live=True)
    view = rollout_view(found.rollout, VERDICT.validate_python(found.verdict), found.scorecard, found.gate, plane)
    return render(request, "rollout.html", view, active="/", live=True)


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
        trouble=verdict.trouble,
        headline=without_kind(page.headline, verdict.kind, service)
        if page
        else (verdict.reasons[0] if verdict.reasons else MEANINGS[verdict.kind]),
        facts=_facts(verdict, card),
        also_suspected=tuple(stream_name(stream) for stream in page.also_suspected) if page else (),
        gate=OUTCOMES[Outcome(gate["gate"])],
        checks=gate_lines(gate["checks"], (Outcome.FAIL, Outcome.UNDETERMINED)),
        passed=gate_lines(gate["checks"], (Outcome.PASS,)),
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
        mix=mix_lines(card.mix),
        guards=tuple(guard_line(guard) for guard in sorted(card.guards, key=lambda guard: (not guard.is_active, guard.kind))),
        unknown=tuple(unknown_line(item) for item in card.unknown),
        is_collecting=gate["gate"] == Outcome.UNDETERMINED or any(row.state == StreamState.COLLECTING for row in card.rows),
        latency=tuple(latency_line(row) for row in card.latency),
        means=tuple(mean_line(row) for row in card.scores),
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
            "; ".join(_unknown_sentence(item) for item in verdict.unknown[:2]),
            "; ".join(verdict.gate_reasons[:2]),
        )
    labels = ("Quality", "Cost", "Certainty", "Reach", "Not known", "Do" if verdict.pages else "Gate")
    return tuple(Fact(label, typeset(text)) for label, text in zip(labels, lines, strict=True) if text)


def _unknown_sentence(item: Unknown) -> str:
    subject = unknown_line(item).subject
    return f"{subject}: {item.sentence}" if subject else item.sentence


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
