"""Feedback rates: what users and reviewers said happened."""

from __future__ import annotations

import polars as pl

from analytics.metrics.rates import rate


def feedback_rate(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """
    Share of served traces for which an event was reported: thumbs-down, escalation, correction, abandonment, refund.

    Args:
        rows: added-up rollup rows of the event's metric and of `error`, whose n_eligible is every served trace.

    Returns:
        `keys` and `RATE_COLUMNS`, sorted. Nobody saying anything means that it did not happen, so every served trace is in the
        denominator; `scored_share` is always 1, and a null `value` means no traffic.
    """
    served = rows.filter(metric="error").select(*keys, n="n_eligible_all")
    events = (
        rows.filter(pl.col("metric") != "error")
        .group_by(keys)
        .agg(pl.col("n_fail_all", "n_scored_all", "n_scored_matured").sum())
    )
    joined = served.join(events, on=keys, how="left", nulls_equal=True).with_columns(
        pl.col("n_fail_all", "n_scored_all", "n_scored_matured").fill_null(0)
    )
    late = pl.col("n_scored_all") - pl.col("n_scored_matured")
    n = pl.col("n")
    return joined.select(*keys, *rate(pl.col("n_fail_all"), n, n, n - pl.min_horizontal(late, n))).sort(keys)


def overturn_rate(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """
    Share of human reviews that overturned the answer.

    Args:
        rows: added-up rollup rows of `overturn` and of `error`.

    Returns:
        `keys` and `RATE_COLUMNS`, sorted. Only reviewed traces are in the denominator; `scored_share` is reviewed of served.
    """
    names = ["n_fail_all", "n_scored_all", "n_scored_matured"]
    served = rows.filter(metric="error").select(*keys, n="n_eligible_all")
    reviews = rows.filter(metric="overturn").select(*keys, *names)
    joined = served.join(reviews, on=keys, how="left", nulls_equal=True).with_columns(pl.col(names).fill_null(0))
    columns = rate(pl.col("n_fail_all"), pl.col("n_scored_all"), pl.col("n"), pl.col("n_scored_matured"))
    return joined.select(*keys, *columns).sort(keys)
