"""`/`: every rollout with its verdict, at a glance; on a fresh install, how to send the first span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import TypeAdapter

from alerts.verdict import GLOBAL, PAGING_KINDS, StreamFinding, StreamState, Verdict
from api import format as formats
from api.dependencies import Reader, ServicesDep
from api.pages.rendering import render, see, segment
from api.pages.words import OUTCOMES, Badge, cohort_name, metric_name, verdict_badge, without_kind
from api.services import Document
from api.shared import SharedRoute, shared

router = APIRouter(route_class=SharedRoute, include_in_schema=False)

VERDICT: TypeAdapter[Verdict] = TypeAdapter(Verdict)


@dataclass(frozen=True)
class RolloutLine:
    """One rollout as the list shows it; texts are ready to print."""

    name: str
    href: str
    service: str
    baseline: str
    candidate: str
    is_discovered: bool
    badge: Badge
    headline: str
    cost_range: str
    cost_point: str
    worst_name: str
    worst_range: str
    gate: Badge
    n_traces: int
    as_of: datetime | None
    day_zero: datetime | None


@dataclass(frozen=True)
class RolloutsView:
    """The list, most urgent first; `otlp_http`: where spans go, for the empty state."""

    lines: tuple[RolloutLine, ...]
    otlp_http: str


@router.get("/rollouts")
def rollouts_moved(_key: Reader) -> RedirectResponse:
    """What the addresses of single rollouts suggest."""
    return see("/")


@router.get("/")
@shared
def rollouts_page(request: Request, services: ServicesDep, _key: Reader) -> HTMLResponse:
    """Every rollout, most urgent first."""
    lines = tuple(rollout_line(rollout, verdict) for rollout, verdict in services.alerts.overview())
    view = RolloutsView(tuple(sorted(lines, key=_urgency)), _as_reached(services.otlp_http, request))
    return render(request, "rollouts.html", view, active="/", live=True)


def _as_reached(door: str, request: Request) -> str:
    """Another door of this machine, under the name by which the reader reached this one."""
    host = request.url.hostname or "127.0.0.1"
    there = urlsplit(door)
    return there._replace(netloc=f"[{host}]:{there.port}" if ":" in host else f"{host}:{there.port}").geturl()


def rollout_line(rollout: Document, verdict: Document) -> RolloutLine:
    """One line, from the documents that `/api/v1/rollouts` and `…/verdict` give."""
    found = VERDICT.validate_python(verdict) if verdict.get("comparison_id") else None
    overall = found.cost.overall if found and found.cost else None
    worst = worst_stream(found.streams) if found else None
    return RolloutLine(
        name=rollout["name"],
        href=f"/rollouts/{segment(rollout['name'])}",
        service=rollout["service"],
        baseline=rollout["baseline"],
        candidate=rollout["candidate"],
        is_discovered=bool(rollout.get("discovered")),
        badge=verdict_badge(str(verdict["kind"])),
        headline=_headline(found, rollout["service"]),
        cost_range=formats.ratio_range(overall.interval.low, overall.interval.high)
        if overall and overall.interval
        else "collecting",
        cost_point=f"best estimate {formats.ratio(overall.ratio)}" if overall and overall.interval else "",
        worst_name=f"{cohort_name(worst.cohort)}, {metric_name(worst.metric, worst.evaluator)}" if worst else "",
        worst_range=stream_range(worst) if worst else "",
        gate=OUTCOMES[found.gate] if found else Badge("Not yet", "note", "wait"),
        n_traces=found.n_baseline + found.n_candidate if found else 0,
        as_of=found.as_of if found else None,
        day_zero=found.day_zero if found else None,
    )


def worst_stream(streams: Sequence[StreamFinding]) -> StreamFinding | None:
    """The stream that pages with the strongest evidence; without a page, the cohort with the largest difference."""
    paged = [stream for stream in streams if stream.state == StreamState.PAGED]
    if paged:
        return max(paged, key=lambda stream: (stream.cohort != GLOBAL, stream.log_evidence - stream.log_threshold))
    known = [stream for stream in streams if stream.interval is not None and stream.difference is not None]
    return max(known, key=lambda stream: stream.difference or 0.0, default=None)


def stream_range(stream: StreamFinding) -> str:
    """A stream's difference in one phrase, the proved or the range before the estimate."""
    if stream.state == StreamState.PAGED and stream.proven_difference is not None:
        return f"at least {formats.points(stream.proven_difference)} (proved)"
    if stream.interval:
        return formats.points_range(stream.interval.low, stream.interval.high)
    return "collecting"


def _headline(verdict: Verdict | None, service: str) -> str:
    if verdict is None:
        return "Waiting for the first candidate trace."
    if verdict.pages:
        return without_kind(verdict.pages[0].headline, verdict.kind, service)
    return verdict.reasons[0] if verdict.reasons else ""


def _urgency(line: RolloutLine) -> tuple[Any, ...]:
    order = {verdict_badge(kind).text: position for position, kind in enumerate(PAGING_KINDS)}
    return (order.get(line.badge.text, len(order)), line.is_discovered, line.name)
