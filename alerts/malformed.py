"""Rollup rows that say nothing sensible are told from the others before anything is counted."""

from __future__ import annotations

import polars as pl

from alerts.method.settling import COUNTED
from alerts.troubles import Malformed

_LISTS = ("hist_bins_all", "hist_counts_all", "hist_sums_all", "hist_squares_all")
_WHY = {
    "histogram": "the lists of its histogram differ in length",
    "sums": "a sum is not finite",
    "counts": "more units failed than were decided",
}


def split_rows(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """
    Rows that can be counted, and those that cannot, with `why`.

    Args:
        rows: `METRIC_ROWS` or `MATURED_ROWS`.
    """
    bins, counts, sums, squares = (pl.col(name).list.len() for name in _LISTS)
    with_sums = (pl.col("metric") == "cost") | (sums > 0) | (squares > 0)
    added = [pl.col("sum_value_matured"), pl.col("sum_squares_matured"), *(pl.col(name).list.sum() for name in _LISTS[2:])]
    checks = {
        "histogram": (bins != counts) | (with_sums & ((sums != bins) | (squares != bins))),
        "sums": ~pl.all_horizontal(value.is_finite() for value in added),
        "counts": pl.col("metric").is_in(COUNTED) & (pl.col("n_fail_matured") > pl.col("n_scored_matured")),
    }
    why = pl.coalesce(pl.when(wrong).then(pl.lit(_WHY[name])) for name, wrong in checks.items())
    judged = rows.select(why.alias("why"))["why"]
    if judged.null_count() == rows.height:
        return rows, rows.clear().with_columns(why=pl.lit("", pl.String))
    return rows.filter(judged.is_null()), rows.with_columns(judged).filter(judged.is_not_null())


def summary(bad: pl.DataFrame, arms: pl.DataFrame) -> dict[str, dict[str, Malformed]]:
    """Per comparison and metric, how many such rows are left out of it, and one of them; `arms` as `method.settling.ARMS`."""
    mine = bad.join(arms, on=["service_name", "environment", "model_route", "model"]).sort("comparison_id", "metric", "bucket")
    found: dict[str, dict[str, Malformed]] = {}
    for (comparison_id, metric), part in mine.group_by("comparison_id", "metric", maintain_order=True):
        row = part.row(0, named=True)
        where = f"{row['model_route']}, {row['cohort'] or 'no cohort'}, {row['bucket']:%Y-%m-%dT%H:%MZ}"
        found.setdefault(str(comparison_id), {})[str(metric)] = Malformed(part.height, f"{metric} of {where}: {row['why']}")
    return found
