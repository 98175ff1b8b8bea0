"""Error rate: traces in which the answer itself was an error."""

from __future__ import annotations

import polars as pl

from analytics.metrics.rates import call_rate, flag_rate


def error_rate(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """
    Share of served traces in which the answer itself was an error.

    Args:
        rows: added-up rollup rows of the metric `error`.

    Returns:
        `keys` and `RATE_COLUMNS`, sorted. Shadow traces are not in it.
    """
    return flag_rate(rows, keys)


def call_error_rate(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The same per logical call: calls hit over logical calls of served traces."""
    return call_rate(rows, keys)
