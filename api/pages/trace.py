"""`/traces/{id}`: one trace whole: waterfall, attempts of each call, judgements, and any span to its last attribute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api import format as formats
from api.content import Conversation, conversation_of
from api.dependencies import Reader, ServicesDep
from api.judged import read_judged_trace
from api.pages.rendering import link, render, segment
from api.pages.waterfall import COLUMNS, LogicalCall, SpanRow, bounded_money, logical_calls, waterfall
from api.pages.words import Badge, cohort_name, flag_text, is_no_failure, judgement_badge
from api.pairs import answering_span, attribute_pairs
from api.problems import not_found
from api.shared import SharedRoute, shared
from storage.traces import WholeTrace

router = APIRouter(route_class=SharedRoute, include_in_schema=False)

MAX_SPANS = 2_000
# spans and evaluations follow each other within minutes, jobs within their interval
_GROWING = timedelta(minutes=15)
_FACTS = (
    *("trace_id", "started_at", "mirror_role", "name", "service_name", "model_route", "cohort", "user_id", "session_id"),
    *(
        "errored",
        "timed_out",
        "fell_back",
        "fallback_to",
        "retried",
        "quality_flags",
        "unpriced_calls",
        "cost_usd",
        "cost_source",
    ),
    *("duration_ns", "ttft_ns", "input_tokens", "output_tokens", "cache_read_tokens"),
    *("n_spans", "n_model_calls", "n_logical_calls", "model", "models"),
)
# of the first span, where there are no facts yet
_ROOT = ("service_name", "cohort", "user_id", "session_id")
_SAYS_THE_BADGE = frozenset({"pass", "passed", "fail", "failed"})
COST_SOURCES = {
    "configured": "at your own price",
    "reported": "as the provider reported it",
    "genai_prices": "at the public list price",
    "failed_free": "refused, so free",
    "lower_bound": "broke off: at least this",
    "mixed": "from several sources",
}


@dataclass(frozen=True)
class Figure:
    """One number of the trace; `note` says what it rests on."""

    label: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class Judgement:
    """One evaluation or feedback, as sent."""

    name: str
    badge: Badge
    score: str
    label: str
    by: str
    explanation: str
    span_href: str
    at: datetime | None


@dataclass(frozen=True)
class EventLine:
    """One span event."""

    at: str
    name: str
    attributes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SpanDetail:
    """The span that is open."""

    span_id: str
    name: str
    facts: tuple[tuple[str, str], ...]
    conversation: Conversation
    attributes: tuple[tuple[str, str], ...]
    resource: tuple[tuple[str, str], ...]
    events: tuple[EventLine, ...]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class TraceView:
    """Everything on the page; `base` is the page's own path, to which `?span=` is added."""

    trace_id: str
    base: str
    name: str
    service: str
    route: str
    cohort: str
    user_id: str
    session_id: str
    started_at: datetime | None
    badges: tuple[Badge, ...]
    figures: tuple[Figure, ...]
    flags: tuple[str, ...]
    rows: tuple[SpanRow, ...]
    n_spans: int
    calls: tuple[LogicalCall, ...]
    judgements: tuple[Judgement, ...]
    detail: SpanDetail | None
    has_facts: bool
    same_session: str
    same_user: str
    same_cohort: str
    api: str


@router.get("/traces/{trace_id}")
@shared
def trace_page(request: Request, trace_id: str, services: ServicesDep, _key: Reader, span: str = "") -> HTMLResponse:
    """One trace; `span` is the one to open, by default its most telling model call."""
    trace = read_judged_trace(services, trace_id, MAX_SPANS, facts_of=_FACTS, with_outcomes=False)
    if trace is None:
        raise not_found("trace", trace_id, do="look for it in /traces; spans appear there within a job interval")
    view = trace_view(trace, span)
    # the span that is open stays open while others come
    refresh = link(view.base, {"span": view.detail.span_id if view.detail else ""})
    is_growing = _is_growing(trace, services.wall_clock.now())
    return render(request, "trace.html", view, active="/traces", live=is_growing, refresh=refresh)


def _is_growing(trace: WholeTrace, now: datetime) -> bool:
    """Whether more of a trace may be expected: some of it came just now."""
    newest = trace.spans["written_at"].max() if len(trace.spans) else None
    return isinstance(newest, datetime) and now - newest < _GROWING


def trace_view(trace: WholeTrace, open_span: str) -> TraceView:
    """The view model of one trace. Raises ProblemError (404) when `open_span` is none of its spans."""
    # of a thousand spans one is opened: of the others only what their rows say becomes Python objects
    spans = trace.spans.select(*COLUMNS, *_ROOT).to_dicts() if trace.spans.width else []
    fact = trace.facts.row(0, named=True) if len(trace.facts) else {}
    root = spans[0] if spans else {}
    known = fact or root
    base = f"/traces/{segment(trace.trace_id)}"
    service = known.get("service_name", "")
    return TraceView(
        trace_id=trace.trace_id,
        base=base,
        name=known.get("name") or "(no name)",
        service=service,
        route=known.get("model_route", ""),
        cohort=cohort_name(known.get("cohort", "")),
        user_id=known.get("user_id", ""),
        session_id=known.get("session_id", ""),
        started_at=fact.get("started_at") or root.get("start_time"),
        badges=trace_badges(fact),
        figures=_figures(fact),
        flags=tuple(flag_text(flag) for flag in fact.get("quality_flags") or ()),
        rows=waterfall(spans),
        n_spans=max(fact.get("n_spans", 0), len(spans)),
        calls=logical_calls(spans),
        judgements=tuple(_judgement(row, base) for row in sorted(trace.evaluations.iter_rows(named=True), key=is_no_failure)),
        detail=_detail(trace.spans, _chosen(spans, open_span)["span_id"]) if spans else None,
        has_facts=bool(fact),
        same_session=link("/traces", {"session": known.get("session_id", ""), "from": "-30d"}) if known.get("session_id") else "",
        same_user=link("/traces", {"user": known.get("user_id", ""), "from": "-30d"}) if known.get("user_id") else "",
        same_cohort=link("/traces", {"service": service, "cohort": known.get("cohort", "")}) if known.get("cohort") else "",
        api=f"/api/v1{base}",
    )


def trace_badges(fact: Mapping[str, Any]) -> tuple[Badge, ...]:
    """What went wrong on the way, if anything."""
    found = (
        ("errored", Badge("Error", "bad", "cross")),
        ("timed_out", Badge("Timeout", "bad", "wait")),
        ("fell_back", Badge(f"Fallback to {fact.get('fallback_to') or 'another route'}", "warn", "fallback")),
        ("retried", Badge("Retry", "warn", "retry")),
    )
    return tuple(badge for name, badge in found if fact.get(name))


def _figures(fact: Mapping[str, Any]) -> tuple[Figure, ...]:
    if not fact:
        return ()
    unpriced = fact["unpriced_calls"]
    cached = fact["cache_read_tokens"]
    return (
        Figure(
            "Cost",
            bounded_money(fact),
            formats.plural(unpriced, "unpriced call") if unpriced else COST_SOURCES.get(fact["cost_source"], fact["cost_source"]),
        ),
        Figure("Duration", formats.duration(fact["duration_ns"]), f"first token {formats.duration(fact['ttft_ns'])}"),
        Figure(
            "Tokens",
            f"{formats.count(fact['input_tokens'])} → {formats.count(fact['output_tokens'])}",
            f"{formats.count(cached)} from cache" if cached else "in → out",
        ),
        Figure(
            "Model calls", formats.count(fact["n_model_calls"]), f"for {formats.plural(fact['n_logical_calls'], 'logical call')}"
        ),
        Figure("Spans", formats.count(fact["n_spans"])),
        Figure(
            "Answered by",
            ", ".join(fact["models"]) or formats.UNKNOWN,
            f"asked of {fact['model']}" if fact["model"] not in fact["models"] else "",
        ),
    )


def _judgement(row: Mapping[str, Any], base: str) -> Judgement:
    kind = row["annotator_kind"] if row["annotator_kind"] != "unknown" else ""
    return Judgement(
        name=row["name"],
        badge=judgement_badge(row["metric"] or "", row["failed"], has_error=bool(row["evaluator_error"])),
        score=formats.score(row["score"]) if row["score"] is not None else "",
        label=row["label"] if row["label"].lower() not in _SAYS_THE_BADGE else "",
        by=" ".join(filter(None, (kind, row["evaluator_version"]))),
        explanation=row["explanation"] or row["evaluator_error"],
        span_href=f"{base}?span={row['span_id']}#span" if row["span_id"] else "",
        at=row["evaluated_at"],
    )


def _chosen(spans: list[dict[str, Any]], open_span: str) -> Mapping[str, Any]:
    """The span asked for, else the last model call (the one that answered), else the first span."""
    if open_span:
        found = next((span for span in spans if span["span_id"] == open_span), None)
        if found is None:
            raise not_found("span", open_span, do="open the trace without ?span=")
        return found
    return answering_span(spans)


def _detail(spans: pl.DataFrame, span_id: str) -> SpanDetail:
    span = spans.row(by_predicate=pl.col("span_id") == span_id, named=True)
    attributes = attribute_pairs(span["attributes"])
    return SpanDetail(
        span_id=span["span_id"],
        name=span["name"] or "(no name)",
        facts=_span_facts(span),
        conversation=conversation_of(dict(attributes)),
        attributes=attributes,
        resource=attribute_pairs(span["resource_attributes"]),
        events=tuple(_event(event, span["start_time"]) for event in span["events"]),
        flags=tuple(flag_text(flag) for flag in span["quality_flags"]),
    )


def _span_facts(span: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    attempt = f"{span['attempt_kind']} ({span['attempt_evidence']})" if span["attempt_evidence"] else span["attempt_kind"]
    pairs = (
        ("Span id", span["span_id"]),
        ("Kind", span["kind"]),
        ("Operation", span["operation"]),
        ("Model", span["response_model"] or span["request_model"]),
        ("Provider", span["provider"]),
        ("Route", span["model_route"]),
        ("Prompt", " ".join(filter(None, (span["prompt_name"], span["prompt_version"])))),
        ("Attempt", attempt),
        ("Status", " ".join(filter(None, (span["status"], span["error_type"], str(span["http_status"] or ""))))),
        ("Message", span["status_message"]),
        ("Cost", f"{bounded_money(span)}, {COST_SOURCES.get(span['cost_source'], '')}" if span["cost_usd"] is not None else ""),
        ("Tool", span["tool_name"]),
        ("Scope", " ".join(filter(None, (span["scope_name"], span["scope_version"])))),
        ("Dialects", ", ".join(span["dialects"])),
    )
    return tuple((label, text) for label, text in pairs if text)


def _event(event: Mapping[str, Any], start: datetime) -> EventLine:
    offset = max(0.0, (event["time"] - start).total_seconds())
    return EventLine(f"+{formats.duration(offset * 1e9)}", event["name"], attribute_pairs(event["attributes"]))
