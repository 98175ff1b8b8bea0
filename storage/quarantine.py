"""Requests the store refused: what they were and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from storage.client import Store
from storage.sql import load


def read_quarantine(store: Store, state: str = "", limit: int = 100) -> pl.DataFrame:
    """The newest first, of one state (held, retried, dropped) or of all; without their bytes."""
    return store.frame(load("quarantine"), {"state": state, "limit": limit})


@dataclass(frozen=True)
class QuarantinedRequest:
    """
    A request the store refused.

    Args:
        quarantine_id: the same for the same request of the same spool segment, so that writing it again changes nothing.
        payload: the request as it would be sent again; empty once it was retried or dropped.
        state: held, retried, dropped.
    """

    quarantine_id: str
    quarantined_at: datetime
    signal: str
    key_id: str
    received_at: datetime
    reason: str
    n_items: int
    payload: bytes
    state: str = "held"


def write_quarantined(store: Store, requests: list[QuarantinedRequest]) -> None:
    """Keep requests that the store refused."""
    columns = {
        "quarantine_id": [r.quarantine_id for r in requests],
        "quarantined_at": pl.Series([r.quarantined_at for r in requests], dtype=pl.Datetime("ns", "UTC")),
        "signal": [str(r.signal) for r in requests],
        "key_id": [r.key_id for r in requests],
        "received_at": pl.Series([r.received_at for r in requests], dtype=pl.Datetime("ns", "UTC")),
        "reason": [r.reason for r in requests],
        "n_items": pl.Series([r.n_items for r in requests], dtype=pl.UInt64),
        "bytes": pl.Series([r.payload for r in requests], dtype=pl.Binary),
        "state": [r.state for r in requests],
    }
    store.insert("quarantine", pl.DataFrame(columns))


def read_quarantined(store: Store, quarantine_id: str) -> QuarantinedRequest | None:
    """One request with its bytes."""
    rows = store.frame(load("quarantined_request"), {"quarantine_id": quarantine_id}).to_dicts()
    if not rows:
        return None
    row = dict(rows[0])
    payload = bytes.fromhex(row.pop("bytes"))
    return QuarantinedRequest(**row, payload=payload)


def set_quarantine_state(store: Store, quarantine_id: str, state: str) -> None:
    """Mark a request; its bytes are kept only while it is held."""
    store.command(load("set_quarantine_state"), {"quarantine_id": quarantine_id, "state": state})
