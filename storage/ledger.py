"""Writing the ingest ledger; `ledger_report.py` reads it."""

from __future__ import annotations

import polars as pl

from storage.client import Store

LEDGER_LINES = pl.Schema(
    {
        "minute": pl.Datetime("ms", "UTC"),
        "signal": pl.String(),
        "key_id": pl.String(),
        "entry": pl.String(),
        "reason": pl.String(),
        "n_items": pl.UInt64(),
        "source": pl.String(),
    }
)
"""A count; a line of the same `source` replaces itself, so writing a batch again changes nothing."""


def write_ledger(store: Store, lines: pl.DataFrame) -> None:
    """Append lines (`LEDGER_LINES`)."""
    store.insert("ingest_ledger", lines.cast({"minute": pl.Datetime("ms", "UTC")}))
