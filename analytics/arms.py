"""Both arms of a rollout side by side: counts and sums per cohort, raw and at one cohort mix. The rest is for `alerts`."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from analytics.frames import require
from analytics.histograms import merge_histograms
from analytics.metrics.rates import share
from storage.metrics import FLAG_METRICS, METRIC_ROWS, VERDICT_METRICS

ARMS = ("baseline", "candidate")
_VALUES = ("cost", "input_tokens", "output_tokens")


@dataclass(frozen=True)
class Arm:
    """One side of a rollout: a route, and a model of it (`''` for any)."""

    route: str
    model: str = ""

    def holds(self, route: str = "model_route", model: str = "model") -> pl.Expr:
        """Which rows are this arm's."""
        return (pl.col(route) == self.route) & (pl.lit(self.model == "") | (pl.col(model) == self.model))


@dataclass(frozen=True)
class Arms:
    """
    What a scorecard is made of. Every frame is sorted by its keys and has each count twice, `…_baseline` and `…_candidate`.

    `outcomes`: per `cohort`, `metric`, `evaluator`, `evaluator_version`: `n_eligible`, `n_scored`, `n_fail`, `n_value`,
        `sum_value`, `sum_squares`, and `scored_share`.
    `values`: per `cohort` and `metric` (cost in USD, tokens): `n_traces`, `n_known`, `total`, `mean`, `known_share`.
    `standardised`: per such metric, a row: `mean` of each arm at the mix, their `ratio`, and `covered_share`, the part of the mix
        whose cohorts have a known value in both arms; null means where it is 0.
    `pairs`: per `cohort`, `metric`, `evaluator`, `evaluator_version`: `n11`, `n10`, `n01`, `n00`, `n_incomplete` from the
        candidate's side (n01: only the candidate failed) and `discordance`, (n10 + n01) of all complete pairs.
    `latency`: per `cohort` and `metric` (latency, ttft in seconds): merged histograms of each arm, null where an arm has none.
    """

    outcomes: pl.DataFrame
    values: pl.DataFrame
    standardised: pl.DataFrame
    pairs: pl.DataFrame
    latency: pl.DataFrame


def compare_arms(rows: pl.DataFrame, baseline: Arm, candidate: Arm, mix: pl.DataFrame | None = None) -> Arms:
    """
    Put two arms side by side.

    Args:
        rows: `METRIC_ROWS` of one service and environment, completed by `analytics.eligibility.complete`.
        mix: reference shares, `cohort` and `weight`, summing to 1; None takes the baseline's own traffic in `rows`.

    Raises:
        FrameShapeError: a column is missing or has another type.
    """
    require(rows, METRIC_ROWS, "metric rows")
    units = rows.filter(pl.col("pair_route") == "").with_columns(
        arm=pl.when(candidate.holds()).then(pl.lit("candidate")).when(baseline.holds()).then(pl.lit("baseline"))
    )
    mine = units.filter(pl.col("arm").is_not_null())
    values = _values(mine)
    reference = _own_mix(mine) if mix is None else mix
    pairs = rows.filter(candidate.holds() & baseline.holds("pair_route", "pair_model"))
    return Arms(_outcomes(mine), values, _standardised(values, reference), _pairs(pairs), _latency(mine))


def _side_by_side(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    sides = [
        frame.filter(arm=arm).drop("arm").rename({name: f"{name}_{arm}" for name in frame.columns if name not in (*keys, "arm")})
        for arm in ARMS
    ]
    return sides[0].join(sides[1], on=keys, how="full", coalesce=True).sort(keys)


def _outcomes(units: pl.DataFrame) -> pl.DataFrame:
    keys = ["cohort", "metric", "evaluator", "evaluator_version"]
    judged = units.filter(pl.col("metric").is_in([*VERDICT_METRICS, *FLAG_METRICS, "eval_missing"]))
    names = ["n_eligible", "n_scored", "n_fail", "n_value", "sum_value", "sum_squares"]
    sums = judged.group_by(*keys, "arm").agg(pl.col(f"{name}_all").sum().alias(name) for name in names)
    return _side_by_side(sums.with_columns(scored_share=share(pl.col("n_scored"), pl.col("n_eligible"))), keys)


def _values(units: pl.DataFrame) -> pl.DataFrame:
    keys = ["cohort", "metric"]
    sums = (
        units.filter(pl.col("metric").is_in(_VALUES))
        .group_by(*keys, "arm")
        .agg(
            n_traces=pl.col("n_eligible_all").sum(),
            n_known=pl.col("n_value_all").sum(),
            total=pl.col("sum_value_all").sum(),
        )
    )
    derived = {"mean": share(pl.col("total"), pl.col("n_known")), "known_share": share(pl.col("n_known"), pl.col("n_traces"))}
    return _side_by_side(sums.with_columns(**derived), keys)


def _own_mix(units: pl.DataFrame) -> pl.DataFrame:
    """The baseline's shares of served traces."""
    served = units.filter(metric="error", arm="baseline").group_by("cohort").agg(pl.col("n_eligible_all").sum().alias("n"))
    return served.select("cohort", weight=pl.col("n") / pl.col("n").sum())


def _standardised(values: pl.DataFrame, mix: pl.DataFrame) -> pl.DataFrame:
    """Means at one mix: the arms' own mixes differ when the router sends them different work."""
    both = values.filter((pl.col("n_known_baseline") > 0) & (pl.col("n_known_candidate") > 0)).join(mix, on="cohort")
    covered = pl.col("weight").sum()
    means = {f"mean_{arm}": (pl.col("weight") * pl.col(f"mean_{arm}")).sum() / covered for arm in ARMS}
    per_metric = both.sort("cohort").group_by("metric").agg(covered_share=covered, **means)
    everything = values.select("metric").unique().join(per_metric, on="metric", how="left")
    return everything.with_columns(
        pl.col("covered_share").fill_null(0.0), ratio=share(pl.col("mean_candidate"), pl.col("mean_baseline"))
    ).sort("metric")


def _pairs(rows: pl.DataFrame) -> pl.DataFrame:
    keys = ["cohort", "metric", "evaluator", "evaluator_version"]
    names = ["n11", "n10", "n01", "n00", "n_incomplete"]
    sums = rows.group_by(keys).agg(pl.col(f"{name}_all").sum().alias(name) for name in names)
    differing = pl.col("n10") + pl.col("n01")
    return sums.with_columns(discordance=share(differing, differing + pl.col("n11") + pl.col("n00"))).sort(keys)


def _latency(units: pl.DataFrame) -> pl.DataFrame:
    keys = ["cohort", "metric"]
    rows = units.filter(pl.col("metric").is_in(["latency", "ttft"]))
    merged = merge_histograms(rows.lazy(), [*keys, "arm"]).collect()
    return _side_by_side(merged.select(*keys, "arm", bins="hist_bins_all", counts="hist_counts_all"), keys)
