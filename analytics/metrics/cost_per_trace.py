"""Cost per trace and per thousand requests: means, because the bill is a sum."""

from __future__ import annotations

import polars as pl

from analytics.metrics.rates import share

COLUMNS = ("value", "total_usd", "n_priced", "n_traces", "priced_share")


def cost_per_trace(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """
    Mean cost of a trace, retries and the fallback's call included, in USD.

    Args:
        rows: added-up rollup rows of `cost`.

    Returns:
        `keys` and `COLUMNS`, sorted. Traces with an unpriced call are in `n_traces` but not in the sum or the mean; `value`
        is null where nothing is priced.
    """
    n = pl.col("n_value_all")
    return rows.select(
        *keys,
        value=share(pl.col("sum_value_all"), n),
        total_usd=pl.when(n > 0).then("sum_value_all"),
        n_priced=n,
        n_traces="n_eligible_all",
        priced_share=share(n, pl.col("n_eligible_all")),
    ).sort(keys)
