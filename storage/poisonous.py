"""Traces that no job could digest, with the reason: set aside, so that the rest goes on."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from storage.client import Store


def write_poisonous_trace(store: Store, trace_id: str, reason: str) -> None:
    """Set a trace aside; it is tried again when something is written to it, or by a backfill."""
    _write(store, trace_id, reason, 1, "set_aside")


def write_cured_traces(store: Store, trace_ids: list[str]) -> None:
    """These were set aside once and could be digested now."""
    for trace_id in trace_ids:
        _write(store, trace_id, "", 0, "cured")


def read_poisonous_traces(store: Store) -> dict[str, str]:
    """Traces that are set aside, and why."""
    sql = "SELECT trace_id, reason FROM poisonous_traces FINAL WHERE state = 'set_aside' ORDER BY trace_id"
    return dict(store.frame(sql).iter_rows())


def _write(store: Store, trace_id: str, reason: str, n_failures: int, state: str) -> None:
    row = {
        "trace_id": trace_id,
        "reason": reason,
        "n_failures": n_failures,
        "state": state,
        "changed_at": datetime.now(UTC),
    }
    schema = {"n_failures": pl.UInt32(), "changed_at": pl.Datetime("ns", "UTC")}
    store.insert("poisonous_traces", pl.DataFrame([row], schema_overrides=schema))
