"""How long after a trace's start each metric is read for it: fixed per service, metric and evaluator from a moment on."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from storage.client import Store
from storage.sql import load

MATURITIES = pl.Schema(
    {
        "service_name": pl.String(),
        "metric": pl.String(),
        "evaluator": pl.String(),
        "maturity_seconds": pl.UInt32(),
        "effective_from": pl.Datetime("ns", "UTC"),
        "source": pl.String(),
    }
)
"""`source`: `history` (98th percentile of the baseline's delays) or `default` (fixed without history)."""


def read_maturities(store: Store) -> pl.DataFrame:
    """All of them (`MATURITIES`), sorted; what has no row has its metric's default."""
    return store.frame(load("read_maturities")).select(list(MATURITIES))


def write_maturities(store: Store, maturities: pl.DataFrame) -> None:
    """Append (`MATURITIES`). The same service, metric, evaluator and moment again replaces the row."""
    store.insert("maturities", maturities.select(list(MATURITIES)).with_columns(recorded_at=pl.lit(datetime.now(UTC))))
