"""The price history as rows: one per model, provider and moment from which it counts."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from storage.client import Store
from storage.sql import load

_TIME = pl.Datetime("ns", "UTC")

PRICE_ROWS = pl.Schema(
    {
        "price_id": pl.String(),
        "model": pl.String(),
        "provider": pl.String(),
        "effective_from": _TIME,
        "price": pl.String(),
        "author": pl.String(),
        "recorded_at": _TIME,
    }
)
"""`price` is JSON, in the shape of `analytics.prices.Price`."""


def read_price_rows(store: Store) -> pl.DataFrame:
    """Every entry that was not deleted (`PRICE_ROWS`), sorted by model, provider and moment."""
    return store.frame(load("read_prices")).select(list(PRICE_ROWS))


def write_price_row(
    store: Store,
    price_id: str,
    model: str,
    provider: str,
    effective_from: datetime,
    price: str,
    author: str,
    *,
    is_deleted: bool = False,
) -> datetime:
    """Append a version of the entry `price_id`; `is_deleted` takes it out of the history. Returns when it was recorded."""
    recorded_at = datetime.now(UTC)
    row = {
        "price_id": price_id,
        "model": model,
        "provider": provider,
        "effective_from": effective_from,
        "price": price,
        "author": author,
        "is_deleted": int(is_deleted),
        "recorded_at": recorded_at,
    }
    schema = PRICE_ROWS | {"is_deleted": pl.UInt8}
    store.insert("prices", pl.DataFrame([row], schema_overrides=schema))
    return recorded_at
