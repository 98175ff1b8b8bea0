"""From rollup rows of mature minutes to settled rows: both arms of a stratum side by side, derived metrics included."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from analytics.histograms import GROWTH, ZERO_BIN
from storage.metrics import FLAG_METRICS
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

COLLECTED = pl.Schema(
    {
        "comparison_id": pl.String,
        # a kind of feedback, or eval_missing with its evaluator and sampling rule
        "metric": pl.String,
        "evaluator": pl.String,
        "sampling_rule": pl.String,
        # minute since 1970 from which it is known to be collected
        "since": pl.Int64,
    }
)
"""What is expected to come in, so that its absence counts."""

MISSING = "eval_missing"
# One verdict is of one trace; of feedback, the absence means that it did not happen.
COUNTED = ("eval_fail", "overturn", *FLAG_METRICS)
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


def settle(
    rows: pl.DataFrame, arms: pl.DataFrame, references: pl.DataFrame, collected: pl.DataFrame, *, mirrored_costs: bool = False
) -> pl.DataFrame:
    """
    Settled rows of mature minutes.

    Units that took part in mirroring never enter unpaired rows; complete pairs count from the candidate's side. Latency,
    prompt length and cost are settled for comparisons and cohorts with frozen references only. What did not happen is
    counted against what is known to be collected, never against what these rows happen to hold: cutting the same minutes
    otherwise changes nothing.

    Args:
        rows: `METRIC_ROWS`; feedback needs `error` beside it, missing verdicts need `sampled` and `eval_fail`.
        arms: `ARMS`. references: `REFERENCES`. collected: `COLLECTED`.
        mirrored_costs: golden-set runs, where both arms answered every item: their costs count.

    Returns:
        `SETTLED`, sorted by its key.
    """
    where = ["service_name", "environment", "model_route", "model"]
    mine = rows.rename({"bucket": "minute"}).join(arms, on=where, how="inner")
    units = mine.filter(pl.col("pair_route") == "", pl.lit(mirrored_costs) | (pl.col("mirrored") == 0))
    apart = units.filter(pl.col("mirrored") == 0)
    parts = [
        _counted(apart),
        _events(apart, collected),
        _missing(apart, collected),
        *(_derived(apart, references, derived) for derived in _DERIVED),
        _costs(units, references),
    ]
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


_SIDE = ["comparison_id", "minute", "cohort", "prompt_version", "arm"]


def _events(units: pl.DataFrame, collected: pl.DataFrame) -> pl.DataFrame:
    """Feedback against every served trace."""
    served = units.filter(metric="error").group_by(_SIDE).agg(n=pl.col("n_eligible_matured").sum().cast(pl.Int64))
    kinds = collected.filter(pl.col("metric") != MISSING).select("comparison_id", "metric", "since")
    given = units.group_by(*_SIDE, "metric").agg(fail=pl.col("n_fail_matured").sum().cast(pl.Int64))
    expected = (
        served.join(kinds, on="comparison_id")
        .filter(_minutes() >= pl.col("since"))
        .join(given, on=[*_SIDE, "metric"], how="left")
    )
    return expected.select(
        *_SIDE,
        "metric",
        *[pl.lit("").alias(name) for name in ("evaluator", "evaluator_version", "sampling_rule")],
        n="n",
        eligible="n",
        fail=pl.min_horizontal(pl.col("fail").fill_null(0), "n"),
    )


def _missing(units: pl.DataFrame, collected: pl.DataFrame) -> pl.DataFrame:
    """Sampled traces without a verdict of each evaluator that follows the sampling rule."""
    rule = [*_SIDE, "sampling_rule"]
    base = units.filter(metric="sampled").group_by(rule).agg(n=pl.col("n_eligible_matured").sum().cast(pl.Int64))
    known = collected.filter(metric=MISSING).select("comparison_id", "evaluator", "sampling_rule", "since")
    judged = (
        units.filter(metric="eval_fail").group_by(*rule, "evaluator").agg(seen=pl.col("n_sampled_matured").sum().cast(pl.Int64))
    )
    expected = base.join(known, on=["comparison_id", "sampling_rule"]).filter(_minutes() >= pl.col("since"))
    return expected.join(judged, on=[*rule, "evaluator"], how="left").select(
        *rule,
        "evaluator",
        pl.lit(MISSING).alias("metric"),
        pl.lit("").alias("evaluator_version"),
        n="n",
        eligible="n",
        fail=(pl.col("n") - pl.col("seen").fill_null(0)).clip(0),
    )


def _minutes() -> pl.Expr:
    return pl.col("minute").dt.epoch("s") // 60


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
