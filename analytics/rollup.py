"""From one row per trace to sufficient statistics per minute: counts, exact sums, histograms."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs

from analytics.frames import require
from analytics.histograms import bin_of
from analytics.pairs import pair_rows
from storage.metrics import METRIC_KEY, METRIC_ROWS
from storage.units import OUTCOMES, UNITS

UNIT_KEY = ["bucket", "service_name", "environment", "model_route", "model", "cohort", "prompt_version", "aa", "mirrored"]

# metric: (flag of the trace, calls hit)
_FLAGS = {
    "retry": ("retried", "n_retried_calls"),
    "fallback": ("fell_back", "n_fallback_calls"),
    "timeout": ("timed_out", "n_timed_out_calls"),
    "error": ("errored", "n_errored_calls"),
}
# metric: (column, how many of its integer units make one of the metric's)
_VALUES = {
    "cost": ("cost_nano", 10**9),
    "latency": ("duration_ns", 10**9),
    "ttft": ("ttft_ns", 10**9),
    "input_tokens": ("input_tokens", 1),
    "output_tokens": ("output_tokens", 1),
}
_SCORE_UNITS = 10**9


def roll_up(units: pl.DataFrame, outcomes: pl.DataFrame, partners: pl.DataFrame, partner_outcomes: pl.DataFrame) -> pl.DataFrame:
    """
    Every metric of the minutes that `units` lie in.

    Sums are added as integers (nano-dollars, nanoseconds, tokens, 1e-9 of a score), so rows do not depend on the order of units.

    Args:
        units: `UNITS`, all of the minutes.
        outcomes: `OUTCOMES` of these units.
        partners: `UNITS` that share a mirror group with one of `units`, wherever they are.
        partner_outcomes: `OUTCOMES` of the partners.

    Returns:
        `METRIC_ROWS`, sorted by key.

    Raises:
        FrameShapeError: a column is missing or has another type.
    """
    require(units, UNITS, "units")
    keyed = with_keys(units)
    parts = [unit_rows(keyed), verdict_rows(keyed, outcomes), pair_rows(keyed, outcomes, with_keys(partners), partner_outcomes)]
    return to_metric_rows(pl.concat(parts, how="diagonal_relaxed"))


def roll_up_verdicts(
    units: pl.DataFrame, outcomes: pl.DataFrame, partners: pl.DataFrame, partner_outcomes: pl.DataFrame
) -> pl.DataFrame:
    """
    As `roll_up`, but only what verdicts decide: for minutes whose traces did not change.

    `units` need only be the judged ones and those in a mirror group.
    """
    require(units, UNITS, "units")
    keyed = with_keys(units)
    pairs = pair_rows(keyed, outcomes, with_keys(partners), partner_outcomes).filter(metric="eval_fail")
    return to_metric_rows(pl.concat([verdict_rows(keyed, outcomes), pairs], how="diagonal_relaxed"))


def to_metric_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with some columns of `METRIC_ROWS`, completed with '', 0 and [] and sorted by key."""
    whole = pl.concat([METRIC_ROWS.to_frame(), rows], how="diagonal_relaxed").select(list(METRIC_ROWS)).cast(METRIC_ROWS)
    lists = [pl.col(name).fill_null(pl.lit([], kind)) for name, kind in METRIC_ROWS.items() if isinstance(kind, pl.List)]
    return whole.with_columns(cs.string().fill_null(""), cs.numeric().fill_null(0), *lists).sort(list(METRIC_KEY))


def with_keys(units: pl.DataFrame) -> pl.DataFrame:
    """`units` with `bucket`, `mirrored`, `is_served` and `cost_nano`, in an order that does not depend on the input's."""
    is_mirror = pl.col("mirror_role").is_in(["primary", "shadow"]) | (pl.col("environment") == "experiment")
    return units.with_columns(
        bucket=pl.col("started_at").dt.truncate("1m").dt.cast_time_unit("ms"),
        mirrored=is_mirror.cast(pl.UInt8),
        is_served=pl.col("mirror_role") != "shadow",
        cost_nano=(pl.col("cost_usd").cast(pl.Decimal(38, 9)) * 1_000_000_000).cast(pl.Int64),
    )


def unit_rows(keyed: pl.DataFrame) -> pl.DataFrame:
    """Flags, values and the sampled base: what is known with the trace itself."""
    wide = keyed.group_by(UNIT_KEY).agg(
        pl.len().alias("n_units"),
        pl.col("is_served").sum().alias("n_served"),
        pl.col("n_logical_calls").filter("is_served").cast(pl.UInt64).sum().alias("n_calls"),
        *[pl.col(flag).filter("is_served").sum().alias(flag) for flag, _ in _FLAGS.values()],
        *[pl.col(calls).filter("is_served").cast(pl.UInt64).sum().alias(calls) for _, calls in _FLAGS.values()],
    )
    flags = [_flag_rows(wide, metric) for metric in _FLAGS]
    values = [_value_rows(keyed, wide, metric) for metric in _VALUES]
    return pl.concat([*flags, *values, _sampled_rows(keyed)], how="diagonal_relaxed")


def _flag_rows(wide: pl.DataFrame, metric: str) -> pl.DataFrame:
    flag, calls = _FLAGS[metric]
    counted = {"n_eligible": "n_served", "n_scored": "n_served", "n_fail": flag, "n_value": "n_calls", "sum_value": calls}
    return wide.filter(pl.col("n_served") > 0).select(*UNIT_KEY, pl.lit(metric).alias("metric"), *_both_ways(counted))


def _both_ways(columns: dict[str, str]) -> list[pl.Expr]:
    """What is known with the trace is the same whether matured or not."""
    return [pl.col(source).alias(f"{name}_{when}") for name, source in columns.items() for when in ("matured", "all")]


def _value_rows(keyed: pl.DataFrame, wide: pl.DataFrame, metric: str) -> pl.DataFrame:
    column, scale = _VALUES[metric]
    # A shadow call costs real money; its speed and size are not a user's.
    counted = "n_units" if metric == "cost" else "n_served"
    known = keyed.filter(pl.col(column).is_not_null() & (pl.lit(metric == "cost") | pl.col("is_served"))).select(
        *UNIT_KEY, x=pl.col(column).cast(pl.Int64)
    )
    per_bin = (
        known.with_columns(hist_bins_all=bin_of(_scaled(pl.col("x"), scale)))
        .group_by(*UNIT_KEY, "hist_bins_all")
        .agg(n=pl.len().cast(pl.UInt64), total=pl.col("x").sum(), squares=(pl.col("x").cast(pl.Int128) ** 2).sum())
        .sort("hist_bins_all")
    )
    sums = {"hist_sums_all": _scaled(pl.col("total"), scale), "hist_squares_all": _scaled(pl.col("squares"), scale**2)}
    histograms = per_bin.group_by(UNIT_KEY).agg(
        "hist_bins_all",
        pl.col("n").alias("hist_counts_all"),
        pl.col("n").sum().alias("n_known"),
        _scaled(pl.col("total").cast(pl.Int128).sum(), scale).alias("total"),
        _scaled(pl.col("squares").sum(), scale**2).alias("squares"),
        *[total.alias(name) for name, total in sums.items() if metric == "cost"],
    )
    rows = wide.filter(pl.col(counted) > 0).join(histograms, on=UNIT_KEY, how="left").with_columns(pl.col("n_known").fill_null(0))
    if metric == "ttft":
        rows = rows.filter(pl.col("n_known") > 0)
    lists = [name for name in histograms.columns if name.startswith("hist_")]
    named = {"n_eligible": counted, "n_scored": "n_known", "n_value": "n_known", "sum_value": "total", "sum_squares": "squares"}
    return rows.select(*UNIT_KEY, pl.lit(metric).alias("metric"), *_both_ways(named), *lists)


def _scaled(integers: pl.Expr, units: int) -> pl.Expr:
    """As so many of `units`. Multiplied: Polars divides one row and several rows with different roundings of the last bit."""
    return integers.cast(pl.Float64) * (1 / units)


def _sampled_rows(keyed: pl.DataFrame) -> pl.DataFrame:
    """How many traces a sampling rule chose for evaluation: the base against which a missing verdict is counted."""
    sampled = keyed.filter(pl.col("evaluation_sampled").fill_null(value=False))
    counts = sampled.group_by(*UNIT_KEY, "sampling_rule").agg(n=pl.len())
    columns = _both_ways({"n_eligible": "n", "n_scored": "n"})
    return counts.select(*UNIT_KEY, "sampling_rule", pl.lit("sampled").alias("metric"), *columns)


def verdict_rows(keyed: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Evaluators' verdicts, and feedback that was given (its denominator, every served trace, is in the `error` row)."""
    require(outcomes, OUTCOMES, "outcomes")
    was_sampled = pl.col("evaluation_sampled").fill_null(value=False)
    units = keyed.select(
        "trace_id", "mirror_role", *UNIT_KEY, "is_served", sampled=was_sampled, unit_rule=pl.col("sampling_rule")
    )
    judged = outcomes.join(units, on=["trace_id", "mirror_role"]).filter(pl.col("is_served") | (pl.col("metric") == "eval_fail"))
    # The rule that chose the trace is what makes traces comparable; the evaluation's own word counts where the trace is silent.
    chosen = pl.col("sampled") & (pl.col("unit_rule") != "") & (pl.col("metric") == "eval_fail")
    rule = pl.when(chosen).then("unit_rule").otherwise("sampling_rule")
    return (
        judged.with_columns(sampling_rule=rule, in_time=pl.col("n_verdicts_matured") > 0)
        .group_by(*UNIT_KEY, "metric", "evaluator", "evaluator_version", "sampling_rule")
        .agg(
            *_verdict_counts("all", pl.lit(value=True), "failed", "score"),
            *_verdict_counts("matured", pl.col("in_time"), "failed_matured", "score_matured"),
            n_late=(pl.col("n_verdicts").cast(pl.Int64) - pl.col("n_verdicts_matured")).clip(0).sum(),
        )
    )


def _verdict_counts(when: str, seen: pl.Expr, failed: str, score: str) -> list[pl.Expr]:
    x = (pl.col(score) * _SCORE_UNITS).round().cast(pl.Int64)
    return [
        seen.cast(pl.UInt64).sum().alias(f"n_eligible_{when}") if when == "matured" else pl.len().alias(f"n_eligible_{when}"),
        pl.col(failed).is_not_null().sum().alias(f"n_scored_{when}"),
        pl.col(failed).sum().alias(f"n_fail_{when}"),
        (pl.col("sampled") & seen).sum().alias(f"n_sampled_{when}"),
        x.is_not_null().sum().alias(f"n_value_{when}"),
        _scaled(x.cast(pl.Int128).sum(), _SCORE_UNITS).alias(f"sum_value_{when}"),
        _scaled((x.cast(pl.Int128) ** 2).sum(), _SCORE_UNITS**2).alias(f"sum_squares_{when}"),
    ]
