"""What a person does to an alert: acknowledge, silence, lift the silence, accept. Each with who and why."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta

from alerts.lifecycle import fold, make_event
from storage.alerts import (
    OPEN_STATES,
    AlertRow,
    AlertState,
    EventKind,
    Silence,
    Subject,
    read_alert,
    read_alert_events,
    write_events,
    write_silence,
)
from storage.client import Store
from storage.deliveries import Delivery, DeliveryState, read_delivery, write_deliveries
from storage.errors import PermanentError

MAX_SILENCE = timedelta(days=90)
RETRY_DEADLINE = timedelta(hours=24)


class AlertClosedError(ValueError, PermanentError):
    """Nothing can be done to an alert that is over."""

    def __init__(self, alert_id: str, state: AlertState) -> None:
        self.alert_id = alert_id
        self.state = state
        super().__init__(f"alert {alert_id!r} is {state} already")


class ActionError(ValueError, PermanentError):
    """A field of the request is wrong; `field` names it."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        super().__init__(f"{field}: {problem}")


def acknowledge(store: Store, alert_id: str, actor: str, reason: str, now: datetime) -> AlertRow:
    """
    Somebody is on it: no more reminders; streams that join later are still told. Acknowledging again changes nothing.

    Raises:
        UnknownAlertError: no such alert.
        AlertClosedError: it is over.
        ActionError: `actor` is empty.
    """
    return _append(store, alert_id, EventKind.ACKNOWLEDGED, actor, reason, now)


def accept(store: Store, alert_id: str, actor: str, reason: str, now: datetime) -> AlertRow:
    """
    The harm is known and taken: the incident closes, and its streams never page again in this comparison.

    Raises:
        UnknownAlertError: no such alert.
        AlertClosedError: it is over.
        ActionError: `actor` or `reason` is empty.
    """
    if not reason.strip():
        raise ActionError("reason", "say why the harm is acceptable")
    return _append(store, alert_id, EventKind.ACCEPTED, actor, reason, now)


def silence(store: Store, alert_id: str, until: datetime, actor: str, reason: str, now: datetime) -> AlertRow:
    """
    Say nothing about the alert's rollout or rule until `until`; what still fires then is told then.

    Raises:
        UnknownAlertError: no such alert.
        AlertClosedError: it is over.
        ActionError: `actor` or `reason` is empty, or `until` is past or more than 90 days ahead.
    """
    alert = _open_alert(store, alert_id)
    silence_subject(store, alert.subject, until, actor, reason, now, alert_id=alert_id)
    return read_alert(store, alert_id)


def silence_subject(
    store: Store, subject: Subject, until: datetime, actor: str, reason: str, now: datetime, *, alert_id: str = ""
) -> Silence:
    """The same for a rollout or rule that has no alert (yet). Raises `ActionError`."""
    if not reason.strip():
        raise ActionError("reason", "say why it is silenced")
    if not now < until <= now + MAX_SILENCE:
        raise ActionError("until", f"must lie in the next {MAX_SILENCE.days} days, got {until.isoformat()}")
    return _write_silence(store, subject, alert_id, until, actor, reason, now)


def unsilence(store: Store, alert_id: str, actor: str, reason: str, now: datetime) -> AlertRow:
    """Lift the silence of the alert's rollout or rule. Raises `UnknownAlertError`, `ActionError`."""
    alert = read_alert(store, alert_id)
    _write_silence(store, alert.subject, alert_id, now, actor, reason, now)
    return read_alert(store, alert_id)


def retry_delivery(store: Store, delivery_id: str, now: datetime) -> Delivery:
    """
    Take a dead letter up again: it has another 24 h.

    Raises:
        UnknownDeliveryError: no such message.
        ActionError: it is not dead.
    """
    delivery = read_delivery(store, delivery_id)
    if delivery.state is not DeliveryState.DEAD:
        raise ActionError("delivery_id", f"message {delivery_id} is {delivery.state}, not dead")
    again = replace(
        delivery,
        sequence=delivery.sequence + 1,
        state=DeliveryState.PENDING,
        not_before=now,
        deadline=now + RETRY_DEADLINE,
        recorded_at=now,
    )
    write_deliveries(store, [again])
    return again


def _write_silence(
    store: Store, subject: Subject, alert_id: str, until: datetime, actor: str, reason: str, now: datetime
) -> Silence:
    _require_actor(actor)
    written = Silence(uuid.uuid4().hex[:16], subject, alert_id, until, actor, reason, now)
    write_silence(store, written)
    return written


def _append(store: Store, alert_id: str, kind: EventKind, actor: str, reason: str, now: datetime) -> AlertRow:
    _require_actor(actor)
    _open_alert(store, alert_id)
    incident = fold(read_alert_events(store, alert_id))[0]
    write_events(store, [make_event(incident, kind, now, actor=actor, reason=reason)])
    return read_alert(store, alert_id)


def _open_alert(store: Store, alert_id: str) -> AlertRow:
    alert = read_alert(store, alert_id)
    if alert.state not in OPEN_STATES:
        raise AlertClosedError(alert_id, alert.state)
    return alert


def _require_actor(actor: str) -> None:
    if not actor.strip():
        raise ActionError("actor", "say who you are")
