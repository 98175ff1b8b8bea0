"""`/alerts` and `/alerts/{id}`: what fires, with its evidence, and the three answers to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import TypeAdapter

from alerts.page import Content, StreamLine, TraceLink, from_json
from api import format as formats
from api.dependencies import Admin, Reader, ServicesDep
from api.pages.rendering import link, render, see, segment
from api.pages.words import (
    Badge,
    alert_badge,
    cohort_name,
    metric_name,
    stream_name,
    typeset,
    verdict_badge,
    without_kind,
)
from api.services import Document
from api.shared import SharedRoute, changing, shared
from storage.alerts import AlertState
from storage.api_keys import Scope

router = APIRouter(route_class=SharedRoute, include_in_schema=False)

_CONTENT: TypeAdapter[Content] = TypeAdapter(Content)
_TIME: TypeAdapter[datetime | None] = TypeAdapter(datetime | None)
_OPEN = (AlertState.FIRING, AlertState.ACKNOWLEDGED)
_MAX_SILENCE_HOURS = 24 * 30
SILENCE_HOURS = {1: "1 hour", 4: "4 hours", 24: "1 day", 72: "3 days", 168: "7 days"}
DONE = {
    "acknowledged": "Acknowledged: reminders stop, the alert stays open.",
    "silenced": "Silenced: nobody is told until the silence ends.",
    "accepted": "Accepted: the incident is closed, and this comparison does not page for these streams again.",
}


@dataclass(frozen=True)
class StateChoice:
    """A filter of the list."""

    text: str
    href: str
    is_current: bool


@dataclass(frozen=True)
class AlertLine:
    """One alert of the list."""

    alert_id: str
    href: str
    subject: str
    headline: str
    state: Badge
    kind: Badge
    opened_at: datetime | None
    streams: int
    notices: int


@dataclass(frozen=True)
class AlertsView:
    """The list and its filters."""

    lines: tuple[AlertLine, ...]
    choices: tuple[StateChoice, ...]
    rollout: str
    api: str
    n_silences: int


@dataclass(frozen=True)
class Step:
    """Something that happened to the alert."""

    at: datetime | None
    what: str


@dataclass(frozen=True)
class Evidence:
    """One stream of the incident."""

    metric: str
    cohort: str
    how_much: str
    since: datetime | None
    pairs_href: str


@dataclass(frozen=True)
class DeliveryLine:
    """One message to one channel, as it stands."""

    channel: str
    state: Badge
    notice: str
    attempt: int
    at: datetime | None
    error: str


@dataclass(frozen=True)
class AlertView:
    """One alert; `can_answer`: the reader may acknowledge, silence and accept."""

    line: AlertLine
    facts: tuple[tuple[str, str], ...]
    evidence: tuple[Evidence, ...]
    exemplars: tuple[TraceLink, ...]
    also_suspected: tuple[str, ...]
    rollout_href: str
    steps: tuple[Step, ...]
    deliveries: tuple[DeliveryLine, ...]
    is_closed: bool
    is_acknowledged: bool
    can_answer: bool
    silence_hours: Mapping[int, str]
    message: str
    api: str


@router.get("/alerts")
@shared
def alerts_page(request: Request, services: ServicesDep, _key: Reader, state: str = "", rollout: str = "") -> HTMLResponse:
    """What fires and what is acknowledged; `state=all` for everything."""
    states = () if state == "all" else (state,) if state else _OPEN
    documents = services.alerts.alerts(states, rollout)
    names = ("", "firing", "acknowledged", "silenced", "accepted", "resolved", "all")
    view = AlertsView(
        lines=tuple(_line(document) for document in documents),
        choices=tuple(
            StateChoice(name.capitalize() or "Open", link("/alerts", {"state": name, "rollout": rollout}), name == state)
            for name in names
        ),
        rollout=rollout,
        api=link("/api/v1/alerts", {"state": state, "rollout": rollout}),
        n_silences=len(services.alerts.silences()),
    )
    return render(request, "alerts.html", view, active="/alerts", live=True)


@router.get("/alerts/{alert_id}")
@shared
def alert_page(request: Request, alert_id: str, services: ServicesDep, key: Reader, done: str = "") -> HTMLResponse:
    """One alert with its evidence and its history."""
    view = alert_view(services.alerts.alert(alert_id), can_answer=key.allows(Scope.ADMIN), message=DONE.get(done, ""))
    return render(request, "alert.html", view, active="/alerts", live=True)


@router.post("/alerts/{alert_id}/acknowledge")
@changing
def acknowledge(
    alert_id: str, services: ServicesDep, key: Admin, note: Annotated[str, Form(max_length=2000)] = ""
) -> RedirectResponse:
    """Somebody looks after it."""
    services.alerts.acknowledge(alert_id, key.name, note)
    return see(f"/alerts/{segment(alert_id)}?done=acknowledged")


@router.post("/alerts/{alert_id}/silence")
@changing
def silence(
    alert_id: str,
    services: ServicesDep,
    key: Admin,
    reason: Annotated[str, Form(min_length=1, max_length=2000)],
    hours: Annotated[int, Form(ge=1, le=_MAX_SILENCE_HOURS)],
) -> RedirectResponse:
    """Tell nobody for a while."""
    services.alerts.silence(alert_id, key.name, reason, services.wall_clock.now() + timedelta(hours=hours))
    return see(f"/alerts/{segment(alert_id)}?done=silenced")


@router.post("/alerts/{alert_id}/accept")
@changing
def accept(
    alert_id: str,
    services: ServicesDep,
    key: Admin,
    reason: Annotated[str, Form(min_length=1, max_length=2000)],
) -> RedirectResponse:
    """The harm is known and accepted."""
    services.alerts.accept(alert_id, key.name, reason)
    return see(f"/alerts/{segment(alert_id)}?done=accepted")


def alert_view(alert: Document, *, can_answer: bool, message: str) -> AlertView:
    """The view model of one alert, from the document `GET /api/v1/alerts/{id}` gives."""
    content = _content(alert)
    line = _line(alert)
    is_rollout = alert.get("subject_kind", "rollout") == "rollout"
    rollout = line.subject if is_rollout else ""
    return AlertView(
        line=line,
        facts=_facts(content) if content else (),
        evidence=tuple(_evidence(stream, rollout) for stream in content.streams) if content else (),
        exemplars=content.exemplars if content else (),
        also_suspected=tuple(stream_name(stream) for stream in content.also_suspected) if content else (),
        rollout_href=f"/rollouts/{segment(rollout)}" if rollout else "",
        steps=_steps(alert),
        deliveries=tuple(_delivery(document) for document in alert.get("deliveries", ())),
        is_closed=alert["state"] in (AlertState.ACCEPTED, AlertState.RESOLVED),
        is_acknowledged=bool(alert.get("acknowledged_at")),
        can_answer=can_answer,
        silence_hours=SILENCE_HOURS,
        message=message,
        api=f"/api/v1/alerts/{segment(line.alert_id)}",
    )


def _content(alert: Document) -> Content | None:
    page = alert.get("page")
    if not page:
        return None
    return from_json(page) if isinstance(page, str) else _CONTENT.validate_python(page)


def _line(alert: Document) -> AlertLine:
    content = _content(alert)
    return AlertLine(
        alert_id=alert["alert_id"],
        href=f"/alerts/{segment(alert['alert_id'])}",
        subject=alert["subject"],
        headline=without_kind(content.what, content.kind, content.service)
        if content
        else f"{alert['subject']}: {alert['kind'].replace('_', ' ')}",
        state=alert_badge(alert["state"]),
        kind=verdict_badge(alert["kind"]),
        opened_at=_time(alert.get("opened_at")),
        streams=len(alert.get("streams", ())),
        notices=int(alert.get("n_notices") or 0),
    )


def _facts(content: Content) -> tuple[tuple[str, str], ...]:
    pairs = (
        ("Cost", content.cost),
        ("Trade", content.trade),
        ("Certainty", content.certainty),
        ("Reach", content.reach),
        ("Not known", content.not_known),
        ("Do", content.action),
    )
    return tuple((label, formats.sentence(typeset(text))) for label, text in pairs if text)


def _evidence(stream: StreamLine, rollout: str) -> Evidence:
    query = {"cohort": stream.cohort, "metric": stream.metric, "evaluator": stream.evaluator}
    return Evidence(
        metric=metric_name(stream.metric, stream.evaluator),
        cohort=cohort_name(stream.cohort) if stream.cohort else "All cohorts",
        how_much=typeset(stream.how_much),
        since=stream.since,
        pairs_href=link(f"/rollouts/{segment(rollout)}/pairs", query) if rollout else "",
    )


def _steps(alert: Document) -> tuple[Step, ...]:
    def by(actor: str, reason: str = "") -> str:
        who = f" by {alert[actor]}" if alert.get(actor) else ""
        return who + (f": {alert[reason]}" if reason and alert.get(reason) else "")

    closed = "accepted_at" if alert.get("accepted_at") else "resolved_at"
    steps = [
        Step(_time(alert.get("evidence_at")), "The evidence passed the threshold"),
        Step(_time(alert.get("fired_at")), "Fired"),
        Step(_time(alert.get("acknowledged_at")), "Acknowledged" + by("acknowledged_by")),
        Step(_time(alert.get(closed)), ("Accepted" if closed == "accepted_at" else "Resolved") + by("closed_by", "close_reason")),
        Step(_time(alert.get("last_notified_at")), f"Last told people ({formats.plural(alert.get('n_notices') or 0, 'notice')})"),
    ]
    if alert.get("silenced_until"):
        steps.append(Step(_time(alert["silenced_until"]), "End of the silence" + by("silenced_by", "silence_reason")))
    return tuple(sorted((step for step in steps if step.at is not None), key=attrgetter("at")))


def _delivery(document: Document) -> DeliveryLine:
    state = str(document.get("state", ""))
    badges = {
        "sent": Badge("Sent", "good", "check"),
        "failed": Badge("Failed, will retry", "warn", "retry"),
        "dead": Badge("Given up", "bad", "cross"),
    }
    return DeliveryLine(
        channel=str(document.get("channel", "")),
        state=badges.get(state, Badge(state.capitalize(), "note", "wait")),
        notice=str(document.get("notice", "")),
        attempt=int(document.get("attempt") or 0),
        at=_time(document.get("recorded_at")),
        error=str(document.get("error", "")),
    )


def _time(value: Any) -> datetime | None:
    return _TIME.validate_python(value or None)
