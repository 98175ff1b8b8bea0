"""Tokens per trace: prompt, completion, both."""

from __future__ import annotations

import polars as pl

from analytics.metrics.rates import share

COLUMNS = ("value", "input_tokens", "output_tokens", "n", "n_traces", "known_share")


def tokens_per_trace(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """
    Mean tokens of a served trace.

    Args:
        rows: added-up rollup rows of `input_tokens` and `output_tokens`.

    Returns:
        `keys` and `COLUMNS`, sorted. `value` is the sum of both means, null unless both are known; `n` is traces with a known
        prompt count, `known_share` these of all served.
    """
    sides = [
        rows.filter(metric=metric).select(*keys, share(pl.col("sum_value_all"), pl.col("n_value_all")).alias(metric), *extra)
        for metric, extra in (
            ("input_tokens", [pl.col("n_value_all").alias("n"), pl.col("n_eligible_all").alias("n_traces")]),
            ("output_tokens", []),
        )
    ]
    return (
        sides[0]
        .join(sides[1], on=keys, how="left", nulls_equal=True)
        .select(
            *keys,
            (pl.col("input_tokens") + pl.col("output_tokens")).alias("value"),
            "input_tokens",
            "output_tokens",
            "n",
            "n_traces",
            share(pl.col("n"), pl.col("n_traces")).alias("known_share"),
        )
        .sort(keys)
    )
