"""`/traces`: finding traces by what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from analytics.series import read_series
from api import format as formats
from api.cursor import decode_cursor, encode_cursor
from api.dependencies import Reader, ServicesDep
from api.pages.rendering import link, render, see, segment
from api.pages.trace import trace_badges
from api.pages.words import Badge, cohort_name
from api.times import Window, parse_window
from storage.client import Store
from storage.metrics import VERDICT_METRICS
from storage.traces import TraceFilter, TracePosition, position_of, search_traces

router = APIRouter(include_in_schema=False)

_PAGE = 50
_MAX_FACET = 12

FLAGS = {"retried": "Retried", "fell_back": "Fell back", "timed_out": "Timed out", "errored": "Errored", "unpriced": "Unpriced"}
FACETS = {"service": "Service", "route": "Route", "cohort": "Cohort"}
RANGES = {"-1h": "1 hour", "-24h": "24 hours", "-7d": "7 days", "-30d": "30 days"}


@dataclass(frozen=True)
class Asked:
    """What the form holds; every field is the text of the query parameter of that name."""

    service: str
    environment: str
    route: str
    model: str
    cohort: str
    user: str
    session: str
    failed: str
    start: str
    end: str
    flags: tuple[str, ...]

    def query(self) -> dict[str, str]:
        """The query that asks the same, here and at `/api/v1/traces`; empty values are left out by `link`."""
        texts = {
            "service": self.service,
            "environment": self.environment,
            "route": self.route,
            "model": self.model,
            "cohort": self.cohort,
            "user_id": self.user,
            "session_id": self.session,
            "failed": self.failed,
            "from": self.start,
            "to": "" if self.end == "now" else self.end,
        }
        return texts | dict.fromkeys(self.flags, "true")


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
    """The result; `next_href` '' on the last page."""

    asked: Asked
    facets: tuple[Facet, ...]
    ranges: Mapping[str, str]
    flags: Mapping[str, str]
    lines: tuple[TraceLine, ...]
    next_href: str
    first_href: str
    api: str


@router.get("/traces", response_model=None)
def traces_page(
    request: Request,
    services: ServicesDep,
    _key: Reader,
    q: Annotated[str, Query(max_length=300)] = "",
    service: Annotated[str, Query(max_length=300)] = "",
    environment: Annotated[str, Query(max_length=300)] = "",
    route: Annotated[str, Query(max_length=300)] = "",
    model: Annotated[str, Query(max_length=300)] = "",
    cohort: Annotated[str, Query(max_length=300)] = "",
    user_id: Annotated[str, Query(max_length=300)] = "",
    session_id: Annotated[str, Query(max_length=300)] = "",
    failed: Annotated[str, Query(max_length=300)] = "",
    start: Annotated[str, Query(alias="from", max_length=64)] = "",
    end: Annotated[str, Query(alias="to", max_length=64)] = "",
    cursor: Annotated[str, Query(max_length=1000)] = "",
) -> HTMLResponse | RedirectResponse:
    """Traces that match, newest first; `q` is a trace id to jump to."""
    if q.strip():
        return see(f"/traces/{segment(q.strip().lower())}")
    flags = tuple(name for name in FLAGS if request.query_params.get(name) in ("true", "1", "on"))
    asked = Asked(service, environment, route, model, cohort, user_id, session_id, failed, start or "-24h", end or "now", flags)
    window = parse_window(asked.start, asked.end, services.clock.now())
    return _result(request, services.store, asked, window, cursor)


def _result(request: Request, store: Store, asked: Asked, window: Window, cursor: str) -> HTMLResponse:
    question = asked.query()
    after = TracePosition(*decode_cursor(cursor, question, (int, str, str))) if cursor else None
    found = search_traces(store, trace_filter(asked), window.start, window.end, after, _PAGE + 1)
    shown = found.head(_PAGE)
    next_href = ""
    if len(found) > _PAGE:
        position = position_of(shown)
        place = encode_cursor((position.started_at_ns, position.trace_id, position.mirror_role), question)
        next_href = link("/traces", question | {"cursor": place})
    view = TracesView(
        asked=asked,
        facets=_facets(store, asked, window),
        ranges=RANGES,
        flags=FLAGS,
        lines=tuple(_line(row) for row in shown.iter_rows(named=True)),
        next_href=next_href,
        first_href=link("/traces", question) if cursor else "",
        api=link("/api/v1/traces", question),
    )
    return render(request, "traces.html", view, active="/traces", live=not cursor)


def trace_filter(asked: Asked) -> TraceFilter:
    """What to look for; `failed` names a metric (`escalation`) or else an evaluator (`TaskCompletion`)."""
    is_metric = asked.failed in VERDICT_METRICS

    def values(text: str) -> Sequence[str]:
        return (text,) if text else ()

    return TraceFilter(
        services=values(asked.service),
        environments=values(asked.environment),
        routes=values(asked.route),
        models=values(asked.model),
        cohorts=values(asked.cohort),
        session_id=asked.session,
        user_id=asked.user,
        failed_metric=asked.failed if is_metric else "eval_fail" if asked.failed else "",
        failed_evaluator="" if is_metric else asked.failed,
        retried="retried" in asked.flags,
        fell_back="fell_back" in asked.flags,
        timed_out="timed_out" in asked.flags,
        errored="errored" in asked.flags,
        unpriced="unpriced" in asked.flags,
    )


def _facets(store: Store, asked: Asked, window: Window) -> tuple[Facet, ...]:
    """Values that occur in the window, by traffic, counted from the rollups as the other facets stand."""
    facets = []
    for name, label in FACETS.items():
        others = {other: [value] for other in FACETS if other != name and (value := getattr(asked, other))}
        series = read_series(store, "throughput", window.start, window.end, None, (name,), others)
        counted = series.frame.filter(pl.col("n_traces") > 0).sort("n_traces", name, descending=[True, False]).head(_MAX_FACET)
        current = getattr(asked, name)
        values = [(row[name], formats.count(row["n_traces"])) for row in counted.iter_rows(named=True)]
        if current and current not in [value for value, _ in values]:
            values.append((current, ""))
        facets.append(Facet(label, tuple(_facet_value(asked, name, value, n, value == current) for value, n in values if value)))
    return tuple(facet for facet in facets if facet.values)


def _facet_value(asked: Asked, name: str, value: str, n: str, is_current: bool) -> FacetValue:
    href = link("/traces", asked.query() | {name: "" if is_current else value})
    return FacetValue(cohort_name(value) if name == "cohort" else value, href, n, is_current)


def _line(row: Mapping[str, Any]) -> TraceLine:
    known = row["input_tokens"] is not None or row["output_tokens"] is not None
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
        tokens=f"{formats.count(row['input_tokens'])} → {formats.count(row['output_tokens'])}" if known else formats.UNKNOWN,
        cost=formats.money(row["cost_usd"]),
        badges=trace_badges(row),
    )
