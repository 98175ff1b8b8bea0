"""Latency and time to first token: quantiles read off merged histograms."""

from __future__ import annotations

import polars as pl

from analytics.histograms import quantiles
from analytics.metrics.rates import share

COLUMNS = ("p50_ms", "p95_ms", "p99_ms", "mean_ms", "n", "known_share")

_LEVELS = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}
_MS_PER_SECOND = 1_000


def latency(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """
    Quantiles of the duration of served traces, or of their time to first token.

    Args:
        rows: added-up rollup rows of `latency` or `ttft`, histograms merged.

    Returns:
        `keys` and `COLUMNS`, sorted. Quantiles are within 1 % of the exact ones (nearest rank); means are exact. `known_share` is
        traces with the value of served traces that could have one.
    """
    read = quantiles(rows, keys, _LEVELS).with_columns(pl.col(list(_LEVELS)) * _MS_PER_SECOND)
    n = pl.col("n_value_all")
    return (
        rows.join(read, on=keys, how="left", nulls_equal=True)
        .select(
            *keys,
            *_LEVELS,
            mean_ms=share(pl.col("sum_value_all") * _MS_PER_SECOND, n),
            n=n,
            known_share=share(n, pl.col("n_eligible_all")),
        )
        .sort(keys)
    )
