"""Retry rate: traces in which at least one call had to be repeated on the same route."""

from __future__ import annotations

import polars as pl

from analytics.metrics.rates import call_rate, flag_rate


def retry_rate(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """
    Share of served traces in which at least one call had to be repeated on the same route.

    Args:
        rows: added-up rollup rows of the metric `retry`.

    Returns:
        `keys` and `RATE_COLUMNS`, sorted. Shadow traces are not in it.
    """
    return flag_rate(rows, keys)


def call_retry_rate(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The same per logical call: calls hit over logical calls of served traces."""
    return call_rate(rows, keys)
