"""Quantiles of many histograms at once against those of one at a time, and against the values themselves."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from analytics.histograms import RELATIVE_ERROR, ZERO_BIN, bin_of, quantile, quantiles

LEVELS = {"p0": 0.0, "p50": 0.5, "p99": 0.99, "p100": 1.0}
SCHEMA = {"route": pl.String, "hist_bins_all": pl.List(pl.Int16), "hist_counts_all": pl.List(pl.UInt64)}


def test_each_histogram_is_read_by_itself() -> None:
    histograms = {
        "zeros": ([ZERO_BIN, 5], [99, 1]),
        "nothing": ([], []),
        "one": ([-40], [1]),
        "counted nobody": ([3, 4], [0, 0]),
        "gaps": ([1, 2, 300], [0, 7, 3]),
        "many": ([10, 11, 12, 13], [10**12, 1, 5, 10**6]),
    }
    merged = pl.DataFrame([(name, *lists) for name, lists in histograms.items()], schema=SCHEMA, orient="row")
    found = quantiles(merged, ["route"], LEVELS)
    assert found["route"].to_list() == ["zeros", "one", "gaps", "many"]
    for row in found.iter_rows(named=True):
        one_at_a_time = {name: quantile(*histograms[row["route"]], q) for name, q in LEVELS.items()}
        assert {name: row[name] for name in LEVELS} == pytest.approx(one_at_a_time, rel=1e-12)
    assert quantiles(merged.clear(), ["route"], LEVELS).is_empty()


def test_a_quantile_is_within_its_stated_error() -> None:
    rng = np.random.default_rng(3)
    values = {f"r{i}": rng.lognormal(i, 1.0, 200 + i) for i in range(20)}
    bins = pl.DataFrame({"route": name, "x": x} for name, x in values.items()).explode("x").with_columns(bin=bin_of(pl.col("x")))
    counted = bins.group_by("route", "bin").agg(n=pl.len().cast(pl.UInt64)).sort("bin")
    merged = counted.group_by("route").agg(hist_bins_all="bin", hist_counts_all="n")
    for row in quantiles(merged, ["route"], LEVELS).iter_rows(named=True):
        exact = {name: np.quantile(values[row["route"]], q, method="inverted_cdf") for name, q in LEVELS.items()}
        assert {name: row[name] for name in LEVELS} == pytest.approx(exact, rel=RELATIVE_ERROR + 1e-9)
