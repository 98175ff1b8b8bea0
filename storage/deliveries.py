"""The outbox: one row of `deliveries` per step of one message to one channel, appended before the step is taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import polars as pl

from storage.alerts import TIME, AlertId, Notice
from storage.client import Store
from storage.errors import PermanentError
from storage.sql import load


class DeliveryState(StrEnum):
    """Where a message stands."""

    PENDING = "pending"
    CLAIMED = "claimed"
    SENT = "sent"
    FAILED = "failed"
    DEAD = "dead"
    SUPERSEDED = "superseded"


FINAL_STATES = (DeliveryState.SENT, DeliveryState.DEAD, DeliveryState.SUPERSEDED)


@dataclass(frozen=True)
class Delivery:
    """One step; the one with the highest `sequence` is where the message stands."""

    delivery_id: str
    sequence: int
    alert_id: AlertId
    event_id: str
    notice: Notice
    notice_number: int
    channel: str
    state: DeliveryState
    attempt: int
    holder: str
    not_before: datetime
    deadline: datetime
    error: str
    recorded_at: datetime


class UnknownDeliveryError(LookupError, PermanentError):
    """No message of that id."""

    def __init__(self, delivery_id: str, known: Iterable[str]) -> None:
        self.delivery_id = delivery_id
        self.known = sorted(known)
        super().__init__(f"no delivery {delivery_id!r}; dead letters: {', '.join(self.known) or 'none'}")

    def __str__(self) -> str:
        return str(self.args[0])


_SCHEMA = pl.Schema(
    {
        "delivery_id": pl.String(),
        "sequence": pl.UInt32(),
        "alert_id": pl.String(),
        "event_id": pl.String(),
        "notice": pl.String(),
        "notice_number": pl.UInt32(),
        "channel": pl.String(),
        "state": pl.String(),
        "attempt": pl.UInt16(),
        "holder": pl.String(),
        "not_before": TIME,
        "deadline": TIME,
        "error": pl.String(),
        "recorded_at": TIME,
    }
)
_FAR_FUTURE = datetime(2200, 1, 1, tzinfo=UTC)


def write_deliveries(store: Store, steps: Sequence[Delivery]) -> None:
    """Append steps, all or none."""
    store.insert("deliveries", pl.DataFrame([{name: getattr(step, name) for name in _SCHEMA} for step in steps], schema=_SCHEMA))


def read_open_deliveries(store: Store) -> list[Delivery]:
    """The newest step of every message that is not final; two rows of one sequence are one contested claim."""
    return _deliveries(store.frame(load("deliveries_open"), {"final": [str(state) for state in FINAL_STATES]}))


def read_step_holders(store: Store, delivery_id: str, sequence: int) -> list[str]:
    """Who wrote step `sequence` of a message: more than one holder when two alerters met."""
    frame = store.frame(load("delivery_holders"), {"delivery_id": delivery_id, "sequence": sequence})
    return frame["holder"].to_list()


def read_deliveries(
    store: Store,
    states: Sequence[DeliveryState] = (),
    *,
    alert_id: str = "",
    before: tuple[datetime, str] | None = None,
    limit: int = 100,
) -> list[Delivery]:
    """The newest step of each message in any of `states` (none given: all), newest first; see `read_alerts` for the rest."""
    recorded_at, delivery_id = before or (_FAR_FUTURE, "")
    parameters = {
        "states": [str(state) for state in states],
        "alert_id": alert_id,
        "before": recorded_at,
        "before_id": delivery_id,
        "limit": limit,
    }
    return _deliveries(store.frame(load("deliveries"), parameters))


def read_delivery(store: Store, delivery_id: str) -> Delivery:
    """The newest step of one message. Raises `UnknownDeliveryError`."""
    steps = _deliveries(store.frame(load("delivery_of"), {"delivery_id": delivery_id}))
    if not steps:
        raise UnknownDeliveryError(
            delivery_id, (dead.delivery_id for dead in read_deliveries(store, (DeliveryState.DEAD,), limit=20))
        )
    return steps[0]


def read_delivery_counts(store: Store) -> pl.DataFrame:
    """Messages by where they stand: `channel: str`, `state: str`, `n_deliveries: u64`, `n_attempts: u64`, sorted."""
    return store.frame(load("delivery_counts"))


def _deliveries(frame: pl.DataFrame) -> list[Delivery]:
    return [_delivery(row) for row in frame.iter_rows(named=True)]


def _delivery(row: Mapping[str, Any]) -> Delivery:
    kinds = {
        "alert_id": AlertId(row["alert_id"]),
        "notice": Notice(row["notice"]),
        "state": DeliveryState(row["state"]),
    }
    return Delivery(**{**row, **kinds})
