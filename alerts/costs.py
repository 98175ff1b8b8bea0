"""What the candidate costs against the baseline, at equal mix, raw and capped, from a comparison's state."""

from __future__ import annotations

import numpy as np

from alerts.config import MethodConfig
from alerts.method.cost import Ratio, ratio
from alerts.rules import Floats
from alerts.state import DOLLARS
from alerts.verdict import GLOBAL, CostCohort, CostFinding, Interval

MIN_TRACES, MIN_PER_COHORT, MIN_SHARE = 200, 30, 0.95
INDICATIVE_BELOW = 1_000
TAIL_LIMIT = 0.10


def cost_finding(dollars: dict[str, Floats], omega: dict[str, float], target: float, config: MethodConfig) -> CostFinding:
    """
    Cost ratio over the reference mix and per cohort.

    Args:
        dollars: per cohort (candidate and baseline, days, `DOLLARS`). omega: the frozen mix; empty before it is frozen.
        target: the gate's limit; the class `divergence` asks for 1.0 instead.
    """
    known = {cohort: sums for cohort, sums in dollars.items() if cohort in omega}
    smaller = {c: _counts(sums).min() for c, sums in known.items()}
    included = {c: omega[c] for c in known if smaller[c] >= MIN_PER_COHORT}
    note = _why_not(known, included, omega)
    overall = _row(GLOBAL, known, {} if note else included, config)
    cohorts = tuple(_row(c, {c: known[c]}, {c: 1.0} if smaller[c] >= MIN_TRACES else {}, config) for c in sorted(known))
    tails = (overall.tail_share_baseline or 0.0, overall.tail_share_candidate or 0.0)
    return CostFinding(
        overall=overall,
        cohorts=cohorts,
        target=target,
        certified=_certified(overall, target),
        certified_cheaper=overall.certified_cheaper,
        pooled_ratio=_pooled(dollars),
        tail_decides=max(tails) > TAIL_LIMIT,
        note=note,
    )


def _why_not(known: dict[str, Floats], included: dict[str, float], omega: dict[str, float]) -> str:
    if not omega:
        return "collecting: the baseline's reference (mix, caps) is not frozen yet"
    if sum(included.values()) < MIN_SHARE * sum(omega.values()):
        absent = sorted(set(omega) - set(included))
        return f"not covered: fewer than {MIN_PER_COHORT} priced traces an arm in {', '.join(absent)}"
    smaller = int(np.sum([_counts(known[c]) for c in included], axis=0).min())
    return f"collecting: {smaller} of {MIN_TRACES} priced traces in the smaller arm" if smaller < MIN_TRACES else ""


def _counts(sums: Floats) -> Floats:
    """Priced traces per arm."""
    counts: Floats = sums[:, :, 0].sum(axis=1)
    return counts


def _row(cohort: str, sums: dict[str, Floats], omega: dict[str, float], config: MethodConfig) -> CostCohort:
    raw = _ratio(sums, omega, "sum", "squares", config)
    capped = _ratio(sums, omega, "capped_sum", "capped_squares", config)
    totals = np.sum([part.sum(axis=1) for part in sums.values()], axis=0) if sums else np.zeros((2, len(DOLLARS)))
    n, spent, below = (totals[:, DOLLARS.index(name)] for name in ("n_value", "sum", "capped_sum"))
    tails = [float(1 - b / s) if s > 0 else None for b, s in zip(below, spent, strict=True)]
    level = config.cost_interval_level
    return CostCohort(
        cohort=cohort,
        n_baseline=int(n[1]),
        n_candidate=int(n[0]),
        mean_baseline_usd=raw.mean_baseline if raw else None,
        mean_candidate_usd=raw.mean_candidate if raw else None,
        ratio=raw.ratio if raw else None,
        interval=Interval(raw.low, raw.high, level) if raw else None,
        ratio_capped=capped.ratio if capped else None,
        interval_capped=Interval(capped.low, capped.high, level) if capped else None,
        tail_share_baseline=tails[1],
        tail_share_candidate=tails[0],
        certified_cheaper=raw is not None and capped is not None and max(raw.high, capped.high) < 1.0,
        indicative=bool(n.min() < INDICATIVE_BELOW),
    )


def _ratio(sums: dict[str, Floats], omega: dict[str, float], total: str, squares: str, config: MethodConfig) -> Ratio | None:
    if not omega:
        return None
    n, dollars, squared = ({c: sums[c][:, :, DOLLARS.index(name)] for c in omega} for name in ("n_value", total, squares))
    return ratio(omega, n, dollars, squared, config.cost_interval_level, config.cost_tau)


def _certified(row: CostCohort, target: float) -> bool:
    intervals = (row.interval, row.interval_capped)
    return all(interval is not None and interval.high < target for interval in intervals)


def _pooled(dollars: dict[str, Floats]) -> float | None:
    """Ratio of plain means over all traces: moves with the mix; only to warn."""
    totals = np.sum([sums.sum(axis=1)[:, :2] for sums in dollars.values()], axis=0) if dollars else np.zeros((2, 2))
    if (totals <= 0).any():
        return None
    return float((totals[0, 1] / totals[0, 0]) / (totals[1, 1] / totals[1, 0]))
