"""Throughput: served traces per second."""

from __future__ import annotations

import polars as pl

COLUMNS = ("value", "n_traces")


def throughput(rows: pl.DataFrame, keys: list[str], step_seconds: int) -> pl.DataFrame:
    """
    Served traces per second of each bucket.

    Args:
        rows: added-up rollup rows of `error`, whose n_eligible is every served trace.
        step_seconds: width of a bucket; one that is not over yet is divided by its whole width all the same.

    Returns:
        `keys` and `COLUMNS`, sorted.
    """
    return rows.select(*keys, value=pl.col("n_eligible_all") / step_seconds, n_traces="n_eligible_all").sort(keys)
