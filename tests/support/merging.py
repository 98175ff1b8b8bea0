"""The slow twin of merging: rollup rows of the same key, added up in Polars instead of in the store."""

from __future__ import annotations

import polars as pl

from analytics.frames import require
from analytics.histograms import merge_histograms
from analytics.rollup import to_metric_rows
from storage.metrics import METRIC_KEY, METRIC_ROWS, METRIC_STATISTICS, Grain

_EVERY = {Grain.MINUTE: "1m", Grain.HOUR: "1h", Grain.DAY: "1d"}


def merge_rows(rows: pl.DataFrame, grain: Grain) -> pl.DataFrame:
    """
    Add rows up into wider buckets, UTC; also the way to put shards together (`grain` as it is).

    Counts are exact in any order. Floating sums are added in the order of the rows' keys, so that the same rows give the same
    bytes; another order of merging differs by rounding, less than one part in 10^12.

    Args:
        rows: `METRIC_ROWS` of `grain` or finer, in any order.

    Returns:
        `METRIC_ROWS`, sorted by key.

    Raises:
        FrameShapeError: a column is missing or has another type.
    """
    require(rows, METRIC_ROWS, "metric rows")
    keys = list(METRIC_KEY)
    ordered = rows.sort([*keys[1:], keys[0]]).with_columns(pl.col("bucket").dt.truncate(_EVERY[grain]))
    plain = [name for name in METRIC_STATISTICS if not name.startswith("hist_")]
    sums = ordered.group_by(keys, maintain_order=True).agg(pl.col(plain).sum())
    histograms = merge_histograms(ordered.lazy(), keys).collect()
    return to_metric_rows(sums.join(histograms, on=keys, how="left"))
