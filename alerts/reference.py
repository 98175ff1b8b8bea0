"""What a comparison freezes from the baseline: cohort mix, cost caps, latency objectives, prompt medians, over-dispersion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from alerts.method import phi
from analytics.histograms import edge_at_or_above, merge_histograms, quantile

MIN_TRACES, MIN_PER_COHORT = 1_000, 30
# Over-dispersion needs whole weeks; the mix and the caps do not.
PHI_DAYS = 7


@dataclass(frozen=True)
class CohortReference:
    """Frozen numbers of one cohort, edges of histogram bins; None: the baseline had too few."""

    share: float
    cost_cap_usd: float | None
    latency_objective_s: float | None
    prompt_median_tokens: float | None


@dataclass(frozen=True)
class Reference:
    """Frozen for the whole comparison. `source`: history, first day, or experiment."""

    source: str
    cohorts: dict[str, CohortReference]

    @property
    def omega(self) -> dict[str, float]:
        """The cohort mix; shares sum to 1."""
        return {cohort: row.share for cohort, row in self.cohorts.items()}


def freeze(rows: pl.DataFrame, source: str, cap_medians: float, min_traces: int = MIN_TRACES) -> Reference | None:
    """
    The reference from the baseline's own traces.

    Args:
        rows: `METRIC_ROWS` of the baseline route and model over the reference time: `error`, `cost`, `latency`,
            `input_tokens`.
        cap_medians: the cost cap in medians of the cohort.

    Returns:
        None with fewer than `min_traces` traces. Cohorts with fewer than 30 are left out.
    """
    units = rows.filter(pl.col("pair_route") == "")
    served = units.filter(metric="error").group_by("cohort").agg(n=pl.col("n_eligible_all").sum()).sort("cohort")
    if served["n"].sum() < min_traces:
        return None
    used = served.filter(pl.col("n") >= MIN_PER_COHORT)
    total = float(used["n"].sum())
    medians = _quantiles(units, "cost", 0.5)
    objectives = _quantiles(units, "latency", 0.99)
    prompts = _quantiles(units, "input_tokens", 0.5)
    cohorts = {
        cohort: CohortReference(
            share=n / total,
            cost_cap_usd=edge_at_or_above(cap_medians * medians[cohort]) if medians.get(cohort) else None,
            latency_objective_s=edge_at_or_above(objectives[cohort]) if objectives.get(cohort) else None,
            prompt_median_tokens=edge_at_or_above(prompts[cohort]) if prompts.get(cohort) else None,
        )
        for cohort, n in used.iter_rows()
    }
    return Reference(source, cohorts) if cohorts else None


def _quantiles(units: pl.DataFrame, metric: str, q: float) -> dict[str, float]:
    merged = merge_histograms(units.filter(metric=metric).lazy(), ["cohort"]).collect()
    found = {}
    for cohort, bins, counts in merged.select("cohort", "hist_bins_all", "hist_counts_all").iter_rows():
        value = quantile(bins, counts, q)
        if value is not None and sum(counts) >= MIN_PER_COHORT:
            found[cohort] = value
    return found


@dataclass(frozen=True)
class Dispersion:
    """Over-dispersion per (metric, evaluator), and of routing by session; what could not be estimated is absent."""

    by_metric: dict[tuple[str, str], float]
    routing: float | None


def dispersion(rows: pl.DataFrame) -> Dispersion:
    """
    The baseline against itself: the halves `aa` = 0 and 1 as arms, one block an hour and stratum, batches of 6 h and cohort.

    Args:
        rows: completed `METRIC_ROWS` of the baseline at hour grain.
    """
    stratum = ["metric", "evaluator", "evaluator_version", "sampling_rule", "cohort", "prompt_version", "bucket"]
    units = rows.filter(pl.col("pair_route") == "", pl.col("mirrored") == 0)
    days = (units["bucket"].max() - units["bucket"].min()).days if len(units) else 0  # type: ignore[operator,union-attr]
    if days < PHI_DAYS:
        return Dispersion({}, None)
    halves = [
        pl.col(column).filter(pl.col("aa") == half).sum().cast(pl.Int64).alias(f"{name}_{half}")
        for half in (0, 1)
        for name, column in (("n", "n_scored_all"), ("x", "n_fail_all"))
    ]
    blocks = units.group_by(stratum).agg(halves).with_columns(six_hours=pl.col("bucket").dt.truncate("6h")).sort(stratum)
    by_metric = {}
    for (metric, evaluator), part in blocks.group_by(["metric", "evaluator"], maintain_order=True):
        batch = part.select(pl.struct("cohort", "six_hours").rank("dense")).to_series().to_numpy().astype(np.int64)
        value = phi.from_halves(batch, *(part[name].to_numpy() for name in ("n_0", "x_0", "n_1", "x_1")))
        if value is not None:
            by_metric[(str(metric), str(evaluator))] = value
    served = blocks.filter(metric="error").group_by("six_hours").agg(pl.col("n_0", "n_1").sum()).sort("six_hours")
    return Dispersion(by_metric, phi.of_routing(served["n_0"].to_numpy(), served["n_1"].to_numpy()))
