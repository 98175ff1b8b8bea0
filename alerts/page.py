"""What a notice says, as data: the lines of a page in their order, whatever channel carries them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from urllib.parse import quote

from pydantic import TypeAdapter

from alerts.config import RolloutConfig
from alerts.verdict import GLOBAL, PAGING_KINDS, Page, StreamFinding, Verdict, VerdictKind
from storage.alerts import AlertId, Notice, SubjectKind

Severity = Literal["critical", "warning", "info"]

_SEVERITIES: dict[VerdictKind, Severity] = {
    VerdictKind.DIVERGENCE: "critical",
    VerdictKind.QUALITY_REGRESSION: "critical",
    VerdictKind.BUNDLE_REGRESSION: "warning",
    VerdictKind.OPERATIONS_REGRESSION: "warning",
}


@dataclass(frozen=True)
class StreamLine:
    """One stream of the incident: its name for machines, and how much worse it is for people."""

    stream_id: str
    metric: str
    evaluator: str
    # '' where the stream is over all cohorts
    cohort: str
    how_much: str
    since: datetime | None


@dataclass(frozen=True)
class TraceLink:
    """A failed trace worth opening."""

    trace_id: str
    url: str


@dataclass(frozen=True)
class Content:
    """The lines of a page, in the order in which they are read; '' for what is not known or does not apply."""

    subject_kind: SubjectKind
    subject: str
    kind: str
    severity: Severity
    service: str
    environment: str
    baseline: str
    candidate: str
    evidence_at: datetime
    what: str
    # per stream: range or proven minimum first
    streams: tuple[StreamLine, ...]
    cost: str = ""
    certainty: str = ""
    reach: str = ""
    since: datetime | None = None
    not_known: str = ""
    action: str = ""
    exemplars: tuple[TraceLink, ...] = ()
    # the saving against the harm, in dollars where it can be said
    trade: str = ""
    also_suspected: tuple[str, ...] = ()
    saving_usd_per_week: float | None = None
    extra_failures_per_week: float | None = None


@dataclass(frozen=True)
class Message:
    """A notice on its way to a channel; `alert_id` is the key by which a receiver recognises the incident."""

    alert_id: AlertId
    notice: Notice
    notice_number: int
    recorded_at: datetime
    # why the incident is over; '' while it is open
    close_reason: str
    url: str
    content: Content


_CONTENT = TypeAdapter(Content)


def to_json(content: Content) -> str:
    """The content as JSON, times in RFC 3339."""
    return _CONTENT.dump_json(content).decode()


def from_json(text: str) -> Content:
    """The inverse of `to_json`."""
    return _CONTENT.validate_json(text)


def incident_kind(pages: Sequence[Page]) -> VerdictKind:
    """The most severe class among `pages`, of which there is at least one."""
    return min((page.kind for page in pages), key=PAGING_KINDS.index)


def alert_url(public_url: str, alert_id: str) -> str:
    """Where a reader of an alert finds it."""
    return f"{public_url}/alerts/{quote(alert_id, safe='')}"


def trace_links(public_url: str, trace_ids: Sequence[str]) -> tuple[TraceLink, ...]:
    """Links to traces."""
    return tuple(TraceLink(trace_id, f"{public_url}/traces/{quote(trace_id, safe='')}") for trace_id in trace_ids)


def rollout_content(
    verdict: Verdict,
    rollout: RolloutConfig,
    streams: Collection[str],
    exemplars: tuple[TraceLink, ...],
    failure_cost_usd: float | None,
) -> Content:
    """
    The page of a rollout's incident.

    Args:
        verdict: what is known now.
        rollout: its declaration.
        streams: ids of the streams in the incident; the first page among them leads.
        exemplars: failed traces to open.
        failure_cost_usd: what a failed trace costs, None when nobody said.

    Raises:
        ValueError: none of the verdict's pages belongs to `streams`.
    """
    pages = [page for page in verdict.pages if page.stream_id in streams]
    if not pages:
        raise ValueError(f"verdict of rollout {verdict.rollout!r} has no page for streams {sorted(streams)!r}")
    lead = pages[0]
    findings = {finding.stream_id: finding for finding in verdict.streams}
    lines = tuple(_line(page, findings.get(page.stream_id)) for page in pages)
    kind = incident_kind(pages)
    return Content(
        SubjectKind.ROLLOUT,
        verdict.rollout,
        kind,
        _SEVERITIES[kind],
        rollout.service,
        rollout.environment or "",
        verdict.baseline_route,
        verdict.candidate_route,
        lead.decided_at,
        lead.headline,
        lines,
        lead.cost,
        lead.certainty,
        lead.reach,
        min((line.since for line in lines if line.since), default=None),
        lead.not_known,
        lead.action,
        exemplars,
        trade_sentence(lead.saving_usd_per_week, lead.extra_failures_per_week, failure_cost_usd),
        lead.also_suspected,
        lead.saving_usd_per_week,
        lead.extra_failures_per_week,
    )


def _line(page: Page, finding: StreamFinding | None) -> StreamLine:
    if finding is None:
        return StreamLine(page.stream_id, "", "", "", page.quality, None)
    cohort = "" if finding.cohort == GLOBAL else finding.cohort
    return StreamLine(page.stream_id, finding.metric, finding.evaluator, cohort, page.quality, finding.since)


def trade_sentence(
    saving_usd_per_week: float | None, extra_failures_per_week: float | None, failure_cost_usd: float | None
) -> str:
    """The weekly saving beside the weekly harm: in dollars when a failure has a price, else where they break even."""
    if saving_usd_per_week is None or extra_failures_per_week is None or extra_failures_per_week <= 0:
        return ""
    saving, failures = saving_usd_per_week, extra_failures_per_week
    told = f"saves {_usd(saving)} a week" if saving > 0 else f"costs {_usd(-saving)} a week more"
    told += f" and fails about {failures:,.0f} more traces a week"
    if failure_cost_usd is not None:
        return f"{told}: {_usd(failures * failure_cost_usd)} of harm at {_usd(failure_cost_usd)} each"
    if saving <= 0:
        return told
    return f"{told}: worth it only if a failed trace costs less than {_usd(saving / failures)}"


def _usd(amount: float) -> str:
    return f"${amount:,.0f}" if amount >= 100 else f"${amount:,.2f}" if amount >= 0.01 else f"${amount:.4f}"


def closed(content: Content, evidence_at: datetime) -> Content:
    """The same lines for the notice that ends an incident: what to do is done, what is not known no longer matters."""
    return replace(content, evidence_at=evidence_at, not_known="", action="", exemplars=())
