"""A trace's spans as rows of a waterfall: parents before children, each bar at its place in time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from api import format as formats
from api.pages.words import Badge

COLUMNS = (
    *("span_id", "parent_span_id", "name", "kind", "start_time", "end_time", "ttft_ns", "status", "is_model_call"),
    *("request_model", "response_model", "tool_name", "model_route", "input_tokens", "output_tokens"),
    *("cost_usd", "cost_source", "quality_flags", "logical_call_id", "attempt_index", "attempt_kind"),
)
"""What of a span `waterfall` and `logical_calls` read."""

_MAX_DEPTH = 8
_RESOLUTION = datetime.resolution
_STATUSES = {
    "error": Badge("Error", "bad", "cross"),
    "timeout": Badge("Timeout", "bad", "wait"),
    "cancelled": Badge("Cancelled", "warn", "cross"),
}
_ATTEMPTS = {
    "retry": Badge("Retry", "warn", "retry"),
    "fallback": Badge("Fallback", "warn", "fallback"),
    "hedge": Badge("Hedge", "note", "fallback"),
}


class SpanRow(NamedTuple):
    """
    One span. `offset` and `width` are percentages of the trace's time, `first_token` where the first token came (or None).
    """

    span_id: str
    depth: int
    name: str
    kind: str
    what: str
    badges: tuple[Badge, ...]
    is_model_call: bool
    is_failed: bool
    offset: float
    width: float
    first_token: float | None
    started: str
    duration: str
    tokens: str
    cost: str


@dataclass(frozen=True)
class Attempt:
    """One try of a logical call."""

    span_id: str
    badge: Badge
    model: str
    route: str
    outcome: Badge
    duration: str
    tokens: str
    cost: str


@dataclass(frozen=True)
class LogicalCall:
    """One call as the application meant it, with everything that was tried."""

    name: str
    attempts: tuple[Attempt, ...]


def waterfall(spans: Sequence[Mapping[str, Any]]) -> tuple[SpanRow, ...]:
    """
    Rows in reading order.

    Args:
        spans: rows of the view `spans`, `start_time` and `end_time` as datetimes. A span whose parent is not among them
            counts as a root; a cycle of parents is cut at its earliest span.
    """
    if not spans:
        return ()
    start = min(span["start_time"] for span in spans)
    total = max(max(span["end_time"] for span in spans) - start, _RESOLUTION).total_seconds()
    return tuple(_row(span, depth, start, total) for span, depth in _in_tree_order(spans))


def logical_calls(spans: Iterable[Mapping[str, Any]]) -> tuple[LogicalCall, ...]:
    """The calls that took more than one attempt, or whose only attempt was itself a fallback or retry."""
    calls: dict[str, list[Mapping[str, Any]]] = {}
    for span in spans:
        if span.get("is_model_call") and span.get("logical_call_id"):
            calls.setdefault(span["logical_call_id"], []).append(span)
    several = [sorted(tries, key=_attempt_order) for tries in calls.values() if len(tries) > 1]
    return tuple(LogicalCall(tries[0]["name"], tuple(_attempt(span) for span in tries)) for tries in several)


def _attempt_order(span: Mapping[str, Any]) -> tuple[int, datetime, str]:
    return (span.get("attempt_index") or 0, span["start_time"], span["span_id"])


def _in_tree_order(spans: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], int]]:
    """Spans with their depth, children after their parent by start; without recursion, since traces can be deep."""
    ids = {span["span_id"] for span in spans}
    children: dict[str, list[Mapping[str, Any]]] = {}
    by_start = sorted(spans, key=lambda span: (span["start_time"], span["span_id"]))
    for span in by_start:
        parent = span["parent_span_id"]
        children.setdefault(parent if parent in ids and parent != span["span_id"] else "", []).append(span)
    ordered: list[tuple[Mapping[str, Any], int]] = []
    seen: set[str] = set()
    for root in [*children.get("", []), *by_start]:
        waiting = [(root, 0)]
        while waiting:
            span, depth = waiting.pop()
            if span["span_id"] not in seen:
                seen.add(span["span_id"])
                ordered.append((span, min(depth, _MAX_DEPTH)))
                waiting += [(child, depth + 1) for child in reversed(children.get(span["span_id"], []))]
    return ordered


def _row(span: Mapping[str, Any], depth: int, start: datetime, total: float) -> SpanRow:
    offset = (span["start_time"] - start).total_seconds()
    length = max(0.0, (span["end_time"] - span["start_time"]).total_seconds())
    ttft = span.get("ttft_ns")
    status = _STATUSES.get(span.get("status", ""))
    attempt = _ATTEMPTS.get(span.get("attempt_kind", ""))
    return SpanRow(
        span_id=span["span_id"],
        depth=depth,
        name=span["name"] or "(no name)",
        kind=span.get("kind") or "other",
        what=span.get("response_model") or span.get("request_model") or span.get("tool_name") or "",
        badges=tuple(badge for badge in (attempt, status) if badge),
        is_model_call=bool(span.get("is_model_call")),
        is_failed=status is not None,
        offset=round(100 * offset / total, 3),
        width=round(max(0.25, 100 * length / total), 3),
        first_token=round(100 * (offset + ttft / 1e9) / total, 3) if ttft is not None else None,
        started=f"+{formats.duration(offset * 1e9)}",
        duration=formats.duration(length * 1e9),
        tokens=tokens_text(span),
        cost=bounded_money(span) if span.get("cost_usd") is not None else "",
    )


def tokens_text(span: Mapping[str, Any]) -> str:
    """Tokens in and out: `1,240 → 312`, '' when none are known."""
    if span.get("input_tokens") is None and span.get("output_tokens") is None:
        return ""
    return f"{formats.count(span.get('input_tokens'))} → {formats.count(span.get('output_tokens'))}"


def bounded_money(row: Mapping[str, Any]) -> str:
    """What a span or a trace cost; a call that broke before it said its usage cost more than is known."""
    is_bound = row.get("cost_source") == "lower_bound" or "cost_lower_bound" in (row.get("quality_flags") or ())
    text = formats.money(row.get("cost_usd"))
    return f"≥{text}" if is_bound and row.get("cost_usd") is not None else text


def _attempt(span: Mapping[str, Any]) -> Attempt:
    length = (span["end_time"] - span["start_time"]).total_seconds()
    return Attempt(
        span_id=span["span_id"],
        badge=_ATTEMPTS.get(span.get("attempt_kind", ""), Badge("First", "note", "first")),
        model=span.get("response_model") or span.get("request_model") or "",
        route=span.get("model_route") or "",
        outcome=_STATUSES.get(span.get("status", ""), Badge("Answered", "good", "check")),
        duration=formats.duration(length * 1e9),
        tokens=tokens_text(span),
        cost=bounded_money(span),
    )
