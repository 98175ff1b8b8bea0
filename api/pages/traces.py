"""`/traces`: finding traces by what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError

from analytics.series import read_series
from api import format as formats
from api.dependencies import Reader, ServicesDep
from api.pages.rendering import link, render, see, segment
from api.pages.trace import trace_badges
from api.pages.waterfall import bounded_money, tokens_text
from api.pages.words import Badge, cohort_name, metric_name
from api.routes.traces import TraceQuery, search
from api.services import Services
from api.shared import SharedRoute, shared
from api.times import Window, parse_window
from storage.metrics import VERDICT_METRICS

router = APIRouter(route_class=SharedRoute, include_in_schema=False)

# few: each is read from wherever the matches lie
_SHOWN = (
    *("trace_id", "started_at", "name", "service_name", "model_route", "model", "cohort", "user_id", "duration_ns"),
    *("input_tokens", "output_tokens", "cost_usd", "cost_source", "quality_flags"),
    *("errored", "timed_out", "fell_back", "fallback_to", "retried"),
)
_PAGE = 50
_MAX_FACET = 12
_LISTS = frozenset({"service", "environment", "route", "model", "cohort", "prompt_version"})

FLAGS = {"retried": "Retried", "fell_back": "Fell back", "timed_out": "Timed out", "errored": "Errored", "unpriced": "Unpriced"}
FACETS = {"service": "Service", "route": "Route", "cohort": "Cohort"}
RANGES = {"-1h": "hour", "-24h": "24 hours", "-7d": "7 days", "-30d": "30 days"}


@dataclass(frozen=True)
class FacetValue:
    """One value that could be asked for, and how many traces it has (None for a flag)."""

    text: str
    href: str
    count: str
    is_current: bool


@dataclass(frozen=True)
class Facet:
    """One dimension."""

    name: str
    values: tuple[FacetValue, ...]


@dataclass(frozen=True)
class TraceLine:
    """One trace of the result."""

    trace_id: str
    href: str
    name: str
    service: str
    route: str
    model: str
    cohort: str
    user_id: str
    started_at: datetime
    duration: str
    tokens: str
    cost: str
    badges: tuple[Badge, ...]


@dataclass(frozen=True)
class TracesView:
    """The result; `asked` is what the form holds, by parameter; `next_href` '' on the last page."""

    asked: Mapping[str, str]
    facets: tuple[Facet, ...]
    ranges: Mapping[str, str]
    flags: Mapping[str, str]
    proxies: Mapping[str, str]
    lines: tuple[TraceLine, ...]
    next_href: str
    first_href: str
    api: str


@router.get("/traces", response_model=None)
@shared
def traces_page(request: Request, services: ServicesDep, _key: Reader, q: str = "") -> HTMLResponse | RedirectResponse:
    """Traces that match the parameters of `/api/v1/traces`, newest first; `q` is a trace id to jump to."""
    if q.strip():
        return see(f"/traces/{segment(q.strip().lower())}")
    asked = {name: value for name, value in request.query_params.items() if value and name != "q"}
    query = trace_query(asked)
    now = services.clock.now()
    found, cursor = search(services, query, now, _SHOWN)
    question = {name: value for name, value in asked.items() if name != "cursor"}
    view = TracesView(
        asked={"from": query.start, "to": query.end} | question,
        facets=_facets(_traffic(services, parse_window(query.start, query.end, now)), question),
        ranges=RANGES,
        flags=FLAGS,
        proxies={metric: metric_name(metric) if metric != "eval_fail" else "An evaluator" for metric in VERDICT_METRICS},
        lines=tuple(_line(row) for row in found.iter_rows(named=True)),
        next_href=link("/traces", question | {"cursor": cursor}) if cursor else "",
        first_href=link("/traces", question) if query.cursor else "",
        api=link("/api/v1/traces", question),
    )
    return render(request, "traces.html", view, active="/traces", live=query.cursor is None)


def trace_query(asked: Mapping[str, str]) -> TraceQuery:
    """The API's question from a form's fields. Raises RequestValidationError, as the API would."""
    lists = {name: [value] if name in _LISTS else value for name, value in asked.items()}
    try:
        return TraceQuery.model_validate({"limit": _PAGE, **lists})
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


def _facets(traffic: pl.DataFrame, question: Mapping[str, str]) -> tuple[Facet, ...]:
    """Values that occur, by traffic, each counted as the other facets stand."""
    facets = []
    for name, label in FACETS.items():
        others = [pl.col(other) == question[other] for other in FACETS if other != name and other in question]
        counted = traffic.filter(*others, pl.col(name) != "").group_by(name).agg(pl.col("n_traces").sum())
        most = counted.filter(pl.col("n_traces") > 0).sort("n_traces", name, descending=[True, False]).head(_MAX_FACET)
        values = {value: formats.count(n) for value, n in most.iter_rows()}
        if name in question:
            values.setdefault(question[name], "")
        facets.append(Facet(label, tuple(_facet_value(question, name, value, n) for value, n in values.items())))
    return tuple(facet for facet in facets if facet.values)


def _traffic(services: Services, window: Window) -> pl.DataFrame:
    """Traces per value of every facet in the window, from the rollups; kept, since every reader asks for the same windows."""
    # rollups have minutes: within one, the answer is the same
    minutes = (window.start.replace(second=0, microsecond=0), window.end.replace(second=0, microsecond=0))

    def read() -> pl.DataFrame:
        return read_series(services.store, "throughput", window.start, window.end, None, tuple(FACETS), {}).frame

    return services.kept.get(("traffic", minutes), read)


def _facet_value(question: Mapping[str, str], name: str, value: str, n: str) -> FacetValue:
    is_current = question.get(name) == value
    href = link("/traces", {**question, name: "" if is_current else value})
    return FacetValue(value, href, n, is_current)


def _line(row: Mapping[str, Any]) -> TraceLine:
    return TraceLine(
        trace_id=row["trace_id"],
        href=f"/traces/{segment(row['trace_id'])}",
        name=row["name"] or "(no name)",
        service=row["service_name"],
        route=row["model_route"],
        model=row["model"],
        cohort=cohort_name(row["cohort"]),
        user_id=row["user_id"],
        started_at=row["started_at"],
        duration=formats.duration(row["duration_ns"]),
        tokens=tokens_text(row) or formats.UNKNOWN,
        cost=bounded_money(row),
        badges=trace_badges(row),
    )
