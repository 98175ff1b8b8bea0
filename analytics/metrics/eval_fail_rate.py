"""Eval-fail rate: verdicts of an evaluator that did not pass."""

from __future__ import annotations

import polars as pl

from analytics.metrics.rates import rate

LINK = ["evaluator", "sampling_rule"]


def eval_fail_rate(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """
    Share of decided verdicts that failed.

    Args:
        rows: added-up rollup rows of `eval_fail` and `sampled`: `metric`, `keys`, `LINK` and the counts.

    Returns:
        `keys` and `RATE_COLUMNS`, sorted. Eligible are traces sampled for evaluation, judged or not, and judged ones that nobody
        marked as sampled; an evaluator is expected on all traces of the sampling rules it was seen with. Without `evaluator`
        among the keys, verdicts of different evaluators are counted together; with `evaluator_version` among them, a missing
        verdict belongs to no row, because its version is not known.
    """
    link = [*dict.fromkeys([*keys, *LINK])]
    judged = rows.filter(metric="eval_fail")
    expected = judged.filter(pl.col("n_sampled_all") > 0).select(LINK).unique()
    chosen = rows.filter(metric="sampled").drop("evaluator").join(expected, on="sampling_rule")
    # Judged traces outside any sample are eligible because they were judged.
    outside = pl.col("n_eligible_all") - pl.col("n_sampled_all")
    if "evaluator_version" in keys:
        chosen, outside = chosen.clear(), pl.col("n_eligible_all")
    parts = [
        judged.select(*link, n_eligible=outside, fails="n_fail_all", scored="n_scored_all", matured="n_scored_matured"),
        chosen.select(*link, n_eligible="n_eligible_all"),
    ]
    sums = pl.concat(parts, how="diagonal_relaxed").group_by(keys).agg(pl.col("n_eligible", "fails", "scored", "matured").sum())
    columns = rate(pl.col("fails"), pl.col("scored"), pl.col("n_eligible"), pl.col("matured"))
    return sums.select(*keys, *columns).sort(keys)
