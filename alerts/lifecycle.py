"""
The life of an incident, pure: what happened so far is folded into a state, and a signal is turned into what happens next.

An incident belongs to one comparison. Its first stream opens it and later ones join it; a stream pages once in the life of
a comparison. Falling evidence never closes a latched incident: a rollback, an explicit "accepted" or the comparison's end does.
Every decision has an id made of what it is about, so taking it twice (two alerters, a restart) is taking it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from storage.alerts import AlertEvent, AlertId, AlertState, EventKind, Notice, Subject


@dataclass(frozen=True)
class Signal:
    """What the method or a threshold rule says about one comparison now."""

    subject: Subject
    comparison_id: str
    kind: str
    # the streams that page
    streams: tuple[str, ...]
    evidence_at: datetime
    # how long the condition must last before anybody is told
    hold: timedelta = timedelta(0)
    # a latched signal is closed by people and by the comparison's end only; any other when no stream is left
    latched: bool = True
    # why the comparison is over; '' while it runs
    ended: str = ""


@dataclass(frozen=True)
class Policy:
    """How often people are told again."""

    # nobody acknowledged: say it again after this long
    reminder_interval: timedelta = timedelta(hours=4)
    # streams that joined are told together, this long after the last notice
    update_interval: timedelta = timedelta(minutes=30)


@dataclass(frozen=True)
class Incident:
    """The fold of one incident's events."""

    alert_id: AlertId
    subject: Subject
    comparison_id: str
    kind: str
    opened_at: datetime
    evidence_at: datetime
    streams: frozenset[str] = frozenset()
    told_streams: frozenset[str] = frozenset()
    fired_at: datetime | None = None
    acknowledged_at: datetime | None = None
    accepted_at: datetime | None = None
    resolved_at: datetime | None = None
    close_reason: str = ""
    n_notices: int = 0
    last_notice: Notice = Notice.NONE
    last_notified_at: datetime | None = None

    @property
    def is_closed(self) -> bool:
        return self.accepted_at is not None or self.resolved_at is not None

    def state(self, silenced_until: datetime | None, now: datetime) -> AlertState:
        """Where it stands at `now`; a silence only hides what would otherwise be firing or acknowledged."""
        if self.accepted_at is not None:
            return AlertState.ACCEPTED
        if self.resolved_at is not None:
            return AlertState.RESOLVED
        if self.fired_at is None:
            return AlertState.PENDING
        if silenced_until is not None and silenced_until > now:
            return AlertState.SILENCED
        return AlertState.FIRING if self.acknowledged_at is None else AlertState.ACKNOWLEDGED


def fold(events: Iterable[AlertEvent]) -> list[Incident]:
    """Every incident of `events`, in the order in which they opened; the order of the events does not matter."""
    unique: dict[str, AlertEvent] = {}
    for event in sorted(events, key=lambda event: (event.recorded_at, event.event_id)):
        unique.setdefault(event.event_id, event)
    incidents: dict[AlertId, Incident] = {}
    for event in unique.values():
        incidents[event.alert_id] = _after(incidents.get(event.alert_id) or _opened(event), event)
    return list(incidents.values())


def _opened(event: AlertEvent) -> Incident:
    return Incident(event.alert_id, event.subject, event.comparison_id, event.kind, event.recorded_at, event.evidence_at)


def _after(incident: Incident, event: AlertEvent) -> Incident:
    match event.event:
        case EventKind.OPENED | EventKind.JOINED:
            return replace(incident, streams=incident.streams | set(event.streams))
        case EventKind.FIRED:
            return replace(incident, fired_at=incident.fired_at or event.recorded_at)
        case EventKind.NOTIFIED:
            return replace(
                incident,
                told_streams=incident.told_streams | set(event.streams),
                n_notices=max(incident.n_notices, event.notice_number),
                last_notice=event.notice,
                last_notified_at=event.recorded_at,
            )
        case EventKind.ACKNOWLEDGED:
            return replace(incident, acknowledged_at=incident.acknowledged_at or event.recorded_at)
        case EventKind.ACCEPTED if not incident.is_closed:
            return replace(incident, accepted_at=event.recorded_at, close_reason=event.reason)
        case EventKind.RESOLVED if not incident.is_closed:
            return replace(incident, resolved_at=event.recorded_at, close_reason=event.reason)
    return incident


def decide(
    signal: Signal, incidents: Sequence[Incident], silenced_until: datetime | None, now: datetime, policy: Policy
) -> list[AlertEvent]:
    """
    What happens next to the incidents of one comparison.

    Args:
        signal: what is known now.
        incidents: every incident of the same comparison so far, open and closed, as `fold` orders them.
        silenced_until: end of the subject's silence, None without one.
        now: the wall clock's time.
        policy: how often people are told again.

    Returns:
        The events to append, in order; none when nothing changes. Events of kind `notified` are promises to tell people:
        the caller fills in `page`.
    """
    events: list[AlertEvent] = []
    for incident in incidents:
        if not incident.is_closed:
            events += _progress(signal, _streams_to_add(signal, incidents), incident, now)
    if not any(not incident.is_closed for incident in incidents):
        events += _open(signal, incidents, now)
    return events + [
        notice for incident in _with(incidents, events) if (notice := _notice(incident, signal, silenced_until, now, policy))
    ]


def make_event(incident: Incident, kind: EventKind, now: datetime, *, actor: str = "", reason: str = "") -> AlertEvent:
    """An event that happens at most once to an incident: `fired`, `acknowledged`, `accepted` or `resolved`."""
    return AlertEvent(
        incident.alert_id,
        f"{incident.alert_id}/{kind}",
        kind,
        now,
        incident.evidence_at,
        incident.subject,
        incident.comparison_id,
        incident.kind,
        actor=actor,
        reason=reason,
    )


def _streams_to_add(signal: Signal, incidents: Sequence[Incident]) -> tuple[str, ...]:
    known = {stream for incident in incidents if signal.latched or not incident.is_closed for stream in incident.streams}
    return tuple(sorted(set(signal.streams) - known))


def _open(signal: Signal, incidents: Sequence[Incident], now: datetime) -> list[AlertEvent]:
    streams = _streams_to_add(signal, incidents)
    if signal.ended or not streams:
        return []
    text = f"{signal.subject.kind}\n{signal.subject.name}\n{signal.comparison_id}\n{len(incidents) + 1}"
    alert_id = AlertId(hashlib.sha256(text.encode()).hexdigest()[:16])
    opened = AlertEvent(
        alert_id,
        f"{alert_id}/{EventKind.OPENED}",
        EventKind.OPENED,
        now,
        signal.evidence_at,
        signal.subject,
        signal.comparison_id,
        signal.kind,
        streams,
    )
    return [opened, *_progress(signal, (), _opened(opened), now)]


def _progress(signal: Signal, streams: tuple[str, ...], incident: Incident, now: datetime) -> list[AlertEvent]:
    if signal.ended:
        return [make_event(incident, EventKind.RESOLVED, now, reason=signal.ended)]
    if not signal.latched and not signal.streams:
        return [make_event(incident, EventKind.RESOLVED, now, reason="condition cleared")]
    events = []
    if streams:
        joined = make_event(incident, EventKind.JOINED, now)
        digest = hashlib.sha256("\n".join(streams).encode()).hexdigest()[:12]
        events.append(replace(joined, event_id=f"{joined.event_id}/{digest}", evidence_at=signal.evidence_at, streams=streams))
    if signal.streams and incident.fired_at is None and signal.evidence_at - incident.evidence_at >= signal.hold:
        events.append(replace(make_event(incident, EventKind.FIRED, now), evidence_at=signal.evidence_at))
    return events


def _with(incidents: Sequence[Incident], events: Iterable[AlertEvent]) -> list[Incident]:
    merged = {incident.alert_id: incident for incident in incidents}
    for event in events:
        merged[event.alert_id] = _after(merged.get(event.alert_id) or _opened(event), event)
    return list(merged.values())


def _notice(
    incident: Incident, signal: Signal, silenced_until: datetime | None, now: datetime, policy: Policy
) -> AlertEvent | None:
    notice = _due(incident, incident.state(silenced_until, now), now, policy)
    if notice is Notice.NONE:
        return None
    number = incident.n_notices + 1
    event = make_event(incident, EventKind.NOTIFIED, now, reason=incident.close_reason)
    return replace(
        event,
        event_id=f"{event.event_id}/{number}",
        evidence_at=signal.evidence_at,
        streams=tuple(sorted(incident.streams)),
        notice=notice,
        notice_number=number,
    )


def _due(incident: Incident, state: AlertState, now: datetime, policy: Policy) -> Notice:
    told = incident.last_notified_at is not None and incident.last_notice is not Notice.RESOLVED
    if incident.is_closed:
        return Notice.RESOLVED if told else Notice.NONE
    if state in (AlertState.PENDING, AlertState.SILENCED):
        return Notice.NONE
    if incident.last_notified_at is None:
        return Notice.FIRING if state is AlertState.FIRING else Notice.NONE
    waited = now - incident.last_notified_at
    if incident.streams - incident.told_streams and waited >= policy.update_interval:
        return Notice.UPDATE
    if state is AlertState.FIRING and waited >= policy.reminder_interval:
        return Notice.REMINDER
    return Notice.NONE
