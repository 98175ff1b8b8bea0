"""Eval score: the mean of an evaluator's scores."""

from __future__ import annotations

import polars as pl

from analytics.metrics.rates import share

COLUMNS = ("value", "standard_deviation", "n", "n_judged", "scored_share", "matured_share")


def eval_score(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """
    Mean score per trace, in the evaluator's own unit.

    Args:
        rows: added-up rollup rows of `eval_fail`.

    Returns:
        `keys` and `COLUMNS`, sorted. `value` is null without a score, the sample standard deviation with fewer than two;
        `scored_share` is traces with a score of traces judged.
    """
    n, total, squares = pl.col("n_value_all"), pl.col("sum_value_all"), pl.col("sum_squares_all")
    variance = pl.when(n > 1).then(((squares - total**2 / n) / (n - 1)).clip(0))
    return (
        rows.filter(metric="eval_fail")
        .select(
            *keys,
            value=share(total, n),
            standard_deviation=variance.sqrt(),
            n=n,
            n_judged="n_eligible_all",
            scored_share=share(n, pl.col("n_eligible_all")),
            matured_share=share(pl.col("n_value_matured"), n),
        )
        .sort(keys)
    )
