"""
Log-spaced histograms with fixed edges: they merge by adding, over any time range, cohort set or shard.

Bin b holds values in [1.02^b, 1.02^(b+1)); zeros have a bin of their own. A quantile is read off as the geometric middle of its
bin, so it differs from the exact one (`nearest` rank) by at most sqrt(1.02) - 1, just under 1 %.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import polars as pl

GROWTH = 1.02
"""Ratio of neighbouring edges."""

RELATIVE_ERROR = math.sqrt(GROWTH) - 1
"""Largest relative error of a quantile."""

ZERO_BIN = -32_768
"""The bin of values that are zero (or below, which no metric is)."""

_LOG_GROWTH = math.log(GROWTH)


def bin_of(value: pl.Expr) -> pl.Expr:
    """The bin (`Int16`) of each value; null stays null. Range: 1e-280 to 1e280."""
    # multiplied: Polars divides one row and several rows with different roundings of the last bit
    positive = (value.cast(pl.Float64).log() * (1 / _LOG_GROWTH)).floor().cast(pl.Int16)
    return pl.when(value > 0).then(positive).when(value.is_not_null()).then(pl.lit(ZERO_BIN, pl.Int16))


def lower_edge(bin_index: int) -> float:
    """The smallest value of a bin."""
    return 0.0 if bin_index == ZERO_BIN else math.exp(bin_index * _LOG_GROWTH)


def middle(bin_index: int) -> float:
    """What every value of a bin is taken for."""
    return 0.0 if bin_index == ZERO_BIN else math.exp((bin_index + 0.5) * _LOG_GROWTH)


def edge_at_or_above(value: float) -> float:
    """`value` rounded up to an edge: caps and objectives are, so that a histogram can answer for them exactly."""
    return lower_edge(math.ceil(math.log(value) / _LOG_GROWTH - 1e-9)) if value > 0 else 0.0


def quantile(bins: npt.ArrayLike, counts: npt.ArrayLike, q: float) -> float | None:
    """
    The q-quantile of a histogram by nearest rank.

    Args:
        bins: bin numbers in any order.
        counts: values in each.
        q: 0 to 1.

    Returns:
        Within `RELATIVE_ERROR` of the value at rank ceil(q n); None for an empty histogram.
    """
    order = np.argsort(np.asarray(bins), kind="stable")
    sorted_bins = np.asarray(bins)[order]
    cumulated = np.cumsum(np.asarray(counts, dtype=np.int64)[order])
    if cumulated.size == 0 or cumulated[-1] == 0:
        return None
    rank = max(1, math.ceil(q * int(cumulated[-1])))
    return middle(int(sorted_bins[np.searchsorted(cumulated, rank)]))


def merge_histograms(rows: pl.LazyFrame, keys: list[str]) -> pl.LazyFrame:
    """
    Add histograms up.

    Args:
        rows: `keys` and the four `hist_*_all` lists; sums and squares may be empty where only counts are kept.

    Returns:
        One row per combination of `keys` that has any bin, bins ascending.
    """
    names = ["hist_bins_all", "hist_counts_all", "hist_sums_all", "hist_squares_all"]
    lists = rows.select(*keys, *names).filter(pl.col("hist_bins_all").list.len() > 0)
    plain = lists.filter(pl.col("hist_sums_all").list.len() == 0).drop(names[2:]).explode(names[:2])
    summed = lists.filter(pl.col("hist_sums_all").list.len() > 0).explode(names)
    parts = []
    for long, values in ((plain, names[1:2]), (summed, names[1:])):
        per_bin = long.group_by(*keys, "hist_bins_all").agg(pl.col(values).sum()).sort("hist_bins_all")
        parts.append(per_bin.group_by(keys, maintain_order=True).agg(pl.col(["hist_bins_all", *values])))
    return pl.concat(parts, how="diagonal")


def quantiles(merged: pl.DataFrame, keys: list[str], levels: dict[str, float]) -> pl.DataFrame:
    """
    Several quantiles of many histograms at once, as `quantile` does.

    Args:
        merged: `keys`, `hist_bins_all` ascending, `hist_counts_all`; one row per combination of `keys`.
        levels: output column to quantile level, 0 to 1.

    Returns:
        One row per non-empty histogram: `keys` and a Float64 column per level, in the unit of the values.
    """
    rows = merged.filter(pl.col("hist_counts_all").list.sum() > 0)
    bins, counts = (rows[name].explode().to_numpy() for name in ("hist_bins_all", "hist_counts_all"))
    middles = np.where(bins == ZERO_BIN, 0.0, np.exp((bins + 0.5) * _LOG_GROWTH))
    # all histograms in one row of counts: the rank within one is a rank within all of them
    upto = np.cumsum(counts)
    last = upto[np.cumsum(rows["hist_counts_all"].list.len().to_numpy()) - 1]
    before = np.concatenate([[0], last[:-1]]).astype(upto.dtype)
    ranks = {name: np.maximum(1, np.ceil(q * (last - before))).astype(upto.dtype) for name, q in levels.items()}
    reads = [pl.Series(name, middles[np.searchsorted(upto, before + rank)]) for name, rank in ranks.items()]
    return rows.select(keys).with_columns(reads)
