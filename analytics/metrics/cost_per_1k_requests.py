"""Cost per thousand requests."""

from __future__ import annotations

import polars as pl

from analytics.metrics.cost_per_trace import cost_per_trace


def cost_per_1k_requests(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """A thousand times `cost_per_trace`, in USD; a request is a trace. Same columns."""
    return cost_per_trace(rows, keys).with_columns(pl.col("value") * 1_000)
