"""Incidents and silences: the rows of `alert_events` and `silences`, and the view `alerts` over both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NewType

import polars as pl

from storage.client import Store
from storage.errors import PermanentError
from storage.sql import load

AlertId = NewType("AlertId", str)

TIME = pl.Datetime("ns", "UTC")


class SubjectKind(StrEnum):
    """What an incident can be about."""

    ROLLOUT = "rollout"
    THRESHOLD = "threshold"


class EventKind(StrEnum):
    """What can happen to an incident."""

    OPENED = "opened"
    FIRED = "fired"
    JOINED = "joined"
    NOTIFIED = "notified"
    ACKNOWLEDGED = "acknowledged"
    ACCEPTED = "accepted"
    RESOLVED = "resolved"


class AlertState(StrEnum):
    """Where an incident stands."""

    PENDING = "pending"
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    SILENCED = "silenced"
    ACCEPTED = "accepted"
    RESOLVED = "resolved"


class Notice(StrEnum):
    """Why people are told."""

    NONE = ""
    FIRING = "firing"
    UPDATE = "update"
    REMINDER = "reminder"
    RESOLVED = "resolved"


@dataclass(frozen=True)
class Subject:
    """A rollout or a threshold rule, by name."""

    kind: SubjectKind
    name: str


@dataclass(frozen=True)
class AlertEvent:
    """One row of `alert_events`: `evidence_at` is the evidence's own clock, `recorded_at` the wall's."""

    alert_id: AlertId
    event_id: str
    event: EventKind
    recorded_at: datetime
    evidence_at: datetime
    subject: Subject
    comparison_id: str
    kind: str
    streams: tuple[str, ...] = ()
    notice: Notice = Notice.NONE
    notice_number: int = 0
    actor: str = ""
    reason: str = ""
    page: str = ""


@dataclass(frozen=True)
class Silence:
    """One row of `silences`; the newest of a subject counts, and lifts the silence when it ends at or before its making."""

    silence_id: str
    subject: Subject
    alert_id: str
    until: datetime
    actor: str
    reason: str
    recorded_at: datetime


@dataclass(frozen=True)
class AlertRow:
    """One row of the view `alerts`: an incident as of now. `page` is JSON, '' before anybody was told."""

    alert_id: AlertId
    subject: Subject
    comparison_id: str
    kind: str
    state: AlertState
    streams: tuple[str, ...]
    opened_at: datetime
    evidence_at: datetime
    fired_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str
    silenced_until: datetime | None
    silenced_by: str
    silence_reason: str
    accepted_at: datetime | None
    resolved_at: datetime | None
    closed_by: str
    close_reason: str
    n_notices: int
    last_notified_at: datetime | None
    page: str


class UnknownAlertError(LookupError, PermanentError):
    """No alert of that id."""

    def __init__(self, alert_id: str, known: Iterable[str]) -> None:
        self.alert_id = alert_id
        self.known = sorted(known)
        super().__init__(f"no alert {alert_id!r}; open alerts: {', '.join(self.known) or 'none'}")

    def __str__(self) -> str:
        return str(self.args[0])


OPEN_STATES = (AlertState.PENDING, AlertState.FIRING, AlertState.ACKNOWLEDGED, AlertState.SILENCED)

_EVENT_SCHEMA = pl.Schema(
    {
        "alert_id": pl.String(),
        "event_id": pl.String(),
        "event": pl.String(),
        "recorded_at": TIME,
        "evidence_at": TIME,
        "subject_kind": pl.String(),
        "subject": pl.String(),
        "comparison_id": pl.String(),
        "kind": pl.String(),
        "streams": pl.List(pl.String()),
        "notice": pl.String(),
        "notice_number": pl.UInt32(),
        "actor": pl.String(),
        "reason": pl.String(),
        "page": pl.String(),
    }
)
_SILENCE_SCHEMA = pl.Schema(
    {
        "silence_id": pl.String(),
        "subject_kind": pl.String(),
        "subject": pl.String(),
        "alert_id": pl.String(),
        "until": TIME,
        "actor": pl.String(),
        "reason": pl.String(),
        "recorded_at": TIME,
    }
)
_FAR_FUTURE = datetime(2200, 1, 1, tzinfo=UTC)


def write_events(store: Store, events: Sequence[AlertEvent]) -> None:
    """Append events, all or none."""
    rows = [
        {
            "alert_id": event.alert_id,
            "event_id": event.event_id,
            "event": event.event,
            "recorded_at": event.recorded_at,
            "evidence_at": event.evidence_at,
            "subject_kind": event.subject.kind,
            "subject": event.subject.name,
            "comparison_id": event.comparison_id,
            "kind": event.kind,
            "streams": list(event.streams),
            "notice": event.notice,
            "notice_number": event.notice_number,
            "actor": event.actor,
            "reason": event.reason,
            "page": event.page,
        }
        for event in events
    ]
    store.insert("alert_events", pl.DataFrame(rows, schema=_EVENT_SCHEMA))


def read_live_events(store: Store, comparison_ids: Sequence[str]) -> list[AlertEvent]:
    """Every event of the given comparisons, and of every other incident that is still open; without pages."""
    return _events(store.frame(load("alert_events_live"), {"comparisons": list(comparison_ids)}))


def read_alert_events(store: Store, alert_id: str) -> list[AlertEvent]:
    """The whole story of one incident, oldest first; empty when there is none of that id."""
    return _events(store.frame(load("alert_events_of"), {"alert_id": alert_id}))


def read_unplanned_notices(store: Store) -> list[AlertEvent]:
    """Notices without any delivery, oldest first, of incidents that are open or were told of before; without pages."""
    return _events(store.frame(load("alert_notices_unplanned")))


def read_notices(store: Store, event_ids: Sequence[str]) -> dict[str, AlertEvent]:
    """Notices with their pages, by event id."""
    if not event_ids:
        return {}
    rows = _events(store.frame(load("alert_notices"), {"event_ids": list(event_ids)}))
    return {event.event_id: event for event in rows}


def read_alerts(
    store: Store,
    states: Sequence[AlertState] = (AlertState.FIRING, AlertState.ACKNOWLEDGED),
    *,
    subject: Subject | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 100,
) -> list[AlertRow]:
    """
    Incidents in any of `states` (none given: all), newest first.

    Args:
        store: where they are.
        states: which.
        subject: only those of this rollout or rule.
        before: (opened_at, alert_id) of the last one seen; the next page starts after it.
        limit: at most this many.
    """
    opened_at, alert_id = before or (_FAR_FUTURE, "")
    parameters = {
        "states": [str(state) for state in states],
        "subject_kind": subject.kind if subject else "",
        "subject": subject.name if subject else "",
        "before": opened_at,
        "before_id": alert_id,
        "limit": limit,
    }
    return [_alert(row) for row in store.frame(load("alerts"), parameters).iter_rows(named=True)]


def read_alert(store: Store, alert_id: str) -> AlertRow:
    """One incident. Raises `UnknownAlertError`."""
    rows = store.frame(load("alert_of"), {"alert_id": alert_id})
    if rows.is_empty():
        raise UnknownAlertError(alert_id, (alert.alert_id for alert in read_alerts(store, OPEN_STATES, limit=20)))
    return _alert(rows.row(0, named=True))


def read_alert_counts(store: Store) -> pl.DataFrame:
    """Alerts by state: `subject_kind: str`, `subject: str`, `state: str`, `n_alerts: u64`, sorted."""
    return store.frame(load("alert_counts"))


def write_silence(store: Store, silence: Silence) -> None:
    """Append a silence, or the row that lifts it."""
    row = {
        "silence_id": silence.silence_id,
        "subject_kind": silence.subject.kind,
        "subject": silence.subject.name,
        "alert_id": silence.alert_id,
        "until": silence.until,
        "actor": silence.actor,
        "reason": silence.reason,
        "recorded_at": silence.recorded_at,
    }
    store.insert("silences", pl.DataFrame([row], schema=_SILENCE_SCHEMA))


def read_silences(store: Store, now: datetime) -> dict[Subject, Silence]:
    """The silences in force at `now`."""
    rows = store.frame(load("silences"), {"now": now}).iter_rows(named=True)
    silences = [
        Silence(
            row["silence_id"],
            _subject(row),
            row["alert_id"],
            row["until"],
            row["actor"],
            row["reason"],
            row["recorded_at"],
        )
        for row in rows
    ]
    return {silence.subject: silence for silence in silences}


def _subject(row: Mapping[str, Any]) -> Subject:
    return Subject(SubjectKind(row["subject_kind"]), row["subject"])


def _events(frame: pl.DataFrame) -> list[AlertEvent]:
    return [
        AlertEvent(
            AlertId(row["alert_id"]),
            row["event_id"],
            EventKind(row["event"]),
            row["recorded_at"],
            row["evidence_at"],
            _subject(row),
            row["comparison_id"],
            row["kind"],
            tuple(row["streams"]),
            Notice(row["notice"]),
            row["notice_number"],
            row["actor"],
            row["reason"],
            row["page"],
        )
        for row in frame.iter_rows(named=True)
    ]


def _alert(row: dict[str, Any]) -> AlertRow:
    subject = _subject(row)
    rest = {name: value for name, value in row.items() if name not in ("subject_kind", "subject")}
    rest |= {"alert_id": AlertId(row["alert_id"]), "state": AlertState(row["state"]), "streams": tuple(row["streams"])}
    return AlertRow(subject=subject, **rest)
