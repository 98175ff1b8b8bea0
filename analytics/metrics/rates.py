"""What all rates share: a numerator, a denominator, and how much of the truth they rest on."""

from __future__ import annotations

import polars as pl

RATE_COLUMNS = ("value", "numerator", "denominator", "n_eligible", "scored_share", "matured_share")


def rate(numerator: pl.Expr, denominator: pl.Expr, eligible: pl.Expr, matured: pl.Expr) -> list[pl.Expr]:
    """
    The columns every rate has, in this order.

    Args:
        numerator, denominator: counts.
        eligible: units that could have been in the denominator.
        matured: those of the denominator that were known within the metric's maturity.

    Returns:
        `value` (0 to 1, null where the denominator is 0), `numerator`, `denominator`, `n_eligible`, `scored_share` (share of
        eligible, null without any) and `matured_share` (of the denominator, null without any).
    """
    return [
        share(numerator, denominator).alias("value"),
        numerator.alias("numerator"),
        denominator.alias("denominator"),
        eligible.alias("n_eligible"),
        share(denominator, eligible).alias("scored_share"),
        share(matured, denominator).alias("matured_share"),
    ]


def share(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """part / whole, null where the whole is 0: nothing known is not 0."""
    return pl.when(whole > 0).then(part / whole)


def flag_rate(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """
    Share of served traces with a flag set.

    Args:
        rows: added-up rollup rows of one flag metric: `keys`, `n_eligible_all`, `n_fail_all`.

    Returns:
        `keys` and `RATE_COLUMNS`, sorted. Flags are known with the trace, so both shares are 1 wherever there is traffic.
    """
    counted = pl.col("n_eligible_all")
    return rows.select(*keys, *rate(pl.col("n_fail_all"), counted, counted, counted)).sort(keys)


def call_rate(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """As `flag_rate`, per logical call instead of per trace: the calls hit are in `sum_value_all`, all calls in `n_value_all`."""
    counted = pl.col("n_value_all")
    hit = pl.col("sum_value_all").cast(pl.UInt64)
    return rows.select(*keys, *rate(hit, counted, counted, counted)).sort(keys)
