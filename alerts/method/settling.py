"""From rollup rows of mature minutes to settled rows: both arms of a stratum side by side, derived metrics included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from analytics.histograms import GROWTH, ZERO_BIN
from storage.metrics import FLAG_METRICS, VERDICT_METRICS
from storage.settled import SETTLED, SETTLED_KEY

ARMS = pl.Schema(
    {
        "comparison_id": pl.String,
        "service_name": pl.String,
        "environment": pl.String,
        "model_route": pl.String,
        "model": pl.String,
        "arm": pl.String,  # candidate, baseline
        # of a candidate: the baseline's
        "other_route": pl.String,
        "other_model": pl.String,
    }
)
"""Which rows belong to which comparison; one trace can belong to several."""

REFERENCES = pl.Schema(
    {
        "comparison_id": pl.String,
        "cohort": pl.String,
        # first histogram bin above the frozen cap, objective, median
        "cost_bin": pl.Int64,
        "cost_cap": pl.Float64,
        "latency_bin": pl.Int64,
        "tokens_bin": pl.Int64,
    }
)
"""Frozen references per cohort; a bin is null where the baseline had too little of it."""

COUNTED = (*VERDICT_METRICS, *FLAG_METRICS, "eval_missing")
_STRATUM = [name for name in SETTLED_KEY if name not in ("comparison_id", "minute")]
_KEY = [*SETTLED_KEY]
_VALUES = ["n", "fail", "eligible", "n_value", "sum", "squares", "capped_sum", "capped_squares"]
_PAIRS = ["n11", "n10", "n01", "n00", "n_incomplete"]


@dataclass(frozen=True)
class Derived:
    """A pass/fail metric read off a histogram: values in `bin_column` or above it fail."""

    source: str
    metric: str
    bin_column: str


_DERIVED = (Derived("latency", "slow", "latency_bin"), Derived("input_tokens", "long_prompt", "tokens_bin"))


def settle(rows: pl.DataFrame, arms: pl.DataFrame, references: pl.DataFrame, *, mirrored_costs: bool = False) -> pl.DataFrame:
    """
    Settled rows of mature minutes.

    Units that took part in mirroring never enter unpaired rows; complete pairs count from the candidate's side. Latency,
    prompt length and cost are settled for comparisons and cohorts with frozen references only.

    Args:
        rows: `METRIC_ROWS` completed with events and missing verdicts (`analytics.eligibility.complete`).
        arms: `ARMS`. references: `REFERENCES`.
        mirrored_costs: golden-set runs, where both arms answered every item: their costs count.

    Returns:
        `SETTLED`, sorted by its key.
    """
    where = ["service_name", "environment", "model_route", "model"]
    mine = rows.rename({"bucket": "minute"}).join(arms, on=where, how="inner")
    units = mine.filter(pl.col("pair_route") == "", pl.lit(mirrored_costs) | (pl.col("mirrored") == 0))
    apart = units.filter(pl.col("mirrored") == 0)
    parts = [_counted(apart), *(_derived(apart, references, derived) for derived in _DERIVED), _costs(units, references)]
    sides = pl.concat(parts, how="diagonal_relaxed")
    by_arm = [
        pl.col(value).filter(pl.col("arm") == arm).sum().alias(f"{value}_{arm}")
        for arm in ("candidate", "baseline")
        for value in _VALUES
    ]
    settled = sides.group_by(_KEY).agg(by_arm).join(_pairs(mine), on=_KEY, how="full", coalesce=True)
    return settled.with_columns(pl.exclude(_KEY).fill_null(0)).select(list(SETTLED)).cast(SETTLED).sort(_KEY)


def _counted(units: pl.DataFrame) -> pl.DataFrame:
    """Pass/fail metrics, with scores where an evaluator gave them."""
    scored = pl.col("metric") == "eval_fail"
    counted = units.filter(pl.col("metric").is_in(COUNTED))
    return counted.select(
        *_KEY,
        "arm",
        n=pl.col("n_scored_matured").cast(pl.Int64),
        fail=pl.col("n_fail_matured").cast(pl.Int64),
        eligible=pl.col("n_eligible_matured").cast(pl.Int64),
        n_value=pl.when(scored).then(pl.col("n_value_matured")).otherwise(0).cast(pl.Int64),
        sum=pl.when(scored).then(pl.col("sum_value_matured")).otherwise(0.0),
        squares=pl.when(scored).then(pl.col("sum_squares_matured")).otherwise(0.0),
    )


def _derived(units: pl.DataFrame, references: pl.DataFrame, derived: Derived) -> pl.DataFrame:
    known = references.filter(pl.col(derived.bin_column).is_not_null()).select("comparison_id", "cohort", derived.bin_column)
    rows = units.filter(metric=derived.source).join(known, on=["comparison_id", "cohort"]).with_row_index("row")
    above = (
        rows.select("row", derived.bin_column, "hist_bins_all", "hist_counts_all")
        .explode("hist_bins_all", "hist_counts_all")
        .group_by("row")
        .agg(
            n=pl.col("hist_counts_all").sum().cast(pl.Int64),
            fail=pl.col("hist_counts_all").filter(pl.col("hist_bins_all") >= pl.col(derived.bin_column)).sum().cast(pl.Int64),
        )
    )
    return rows.join(above, on="row").select(*_KEY, "arm", "n", "fail", eligible="n").with_columns(metric=pl.lit(derived.metric))


def _costs(units: pl.DataFrame, references: pl.DataFrame) -> pl.DataFrame:
    """Dollars, raw and with every trace cut at the cap (which is a histogram edge)."""
    known = references.filter(pl.col("cost_bin").is_not_null()).select("comparison_id", "cohort", "cost_bin", "cost_cap")
    rows = units.filter(metric="cost").join(known, on=["comparison_id", "cohort"]).with_row_index("row")
    lists = ["hist_bins_all", "hist_counts_all", "hist_sums_all", "hist_squares_all"]
    above = pl.col("hist_bins_all") >= pl.col("cost_bin")
    n_above = pl.col("hist_counts_all").filter(above).sum()
    cap = pl.col("cost_cap").first()
    capped = (
        rows.select("row", "cost_bin", "cost_cap", *lists)
        .explode(lists)
        .group_by("row")
        .agg(
            capped_sum=pl.col("hist_sums_all").filter(~above).sum() + n_above * cap,
            capped_squares=pl.col("hist_squares_all").filter(~above).sum() + n_above * cap**2,
        )
    )
    return rows.join(capped, on="row").select(
        *_KEY,
        "arm",
        n_value=pl.col("n_value_matured").cast(pl.Int64),
        sum="sum_value_matured",
        squares="sum_squares_matured",
        capped_sum="capped_sum",
        capped_squares="capped_squares",
    )


def _pairs(mine: pl.DataFrame) -> pl.DataFrame:
    """Mirrored pairs from the candidate's side: n01 counts those in which only the candidate failed."""
    is_pair = (
        (pl.col("arm") == "candidate")
        & (pl.col("pair_route") == pl.col("other_route"))
        & (pl.col("pair_model") == pl.col("other_model"))
    )
    counts = [pl.col(f"{name}_matured").sum().cast(pl.Int64).alias(name) for name in _PAIRS]
    return mine.filter(is_pair, pl.col("metric").is_in(COUNTED)).group_by(_KEY).agg(counts)


def first_bin_above(edge: float) -> int:
    """The histogram bin that begins at an edge."""
    return pl.select(pl.lit(edge).log(GROWTH).round().cast(pl.Int64)).item() if edge > 0 else ZERO_BIN + 1


def in_windows(settled: pl.DataFrame, windows: Mapping[str, tuple[int, int]]) -> pl.DataFrame:
    """Only the minutes (since 1970) in [from, to) of each comparison."""
    limits = pl.DataFrame(
        {"comparison_id": list(windows), "_from": [w[0] for w in windows.values()], "_to": [w[1] for w in windows.values()]},
        schema={"comparison_id": pl.String, "_from": pl.Int64, "_to": pl.Int64},
    )
    minute = pl.col("minute").dt.epoch("s") // 60
    joined = settled.join(limits, on="comparison_id", maintain_order="left")
    return joined.filter((minute >= pl.col("_from")) & (minute < pl.col("_to"))).select(list(SETTLED))
