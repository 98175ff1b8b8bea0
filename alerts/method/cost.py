"""Cost ratio at equal cohort mix: means, never medians, because the bill is a sum."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from alerts.method.intervals import radius

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ratio:
    """Candidate over baseline, with its any-time bounds; `level` is two-sided."""

    ratio: float
    low: float
    high: float
    mean_candidate: float
    mean_baseline: float


def ratio(
    omega: dict[str, float], n: dict[str, Floats], sums: dict[str, Floats], squares: dict[str, Floats], level: float, tau: float
) -> Ratio | None:
    """
    The ratio of mean costs at the mix `omega` (renormalised), from day blocks.

    Args:
        omega: share of each included cohort.
        n, sums, squares: per cohort the number of priced traces, dollars and squared dollars, shape (2 arms, days);
            candidate first.

    Returns:
        None when an arm has no cost, or no day has both arms.
    """
    total = sum(omega.values())
    mean, variance = np.zeros(2), np.zeros(2)
    for cohort, share in omega.items():
        counts = n[cohort]
        days = (counts > 0).all(axis=0)
        if not days.any():
            return None
        here, dollars = counts[:, days], sums[cohort][:, days]
        w = here[0] * here[1] / here.sum(axis=0)
        per_arm = counts.sum(axis=1)
        spread = squares[cohort].sum(axis=1) - sums[cohort].sum(axis=1) ** 2 / per_arm
        s2 = np.maximum(spread / np.maximum(per_arm - 1, 1), 0.0)
        mean += share / total * (w * dollars / here).sum(axis=1) / w.sum()
        variance += (share / total) ** 2 * s2 * (w**2 / here).sum(axis=1) / w.sum() ** 2
    if (mean <= 0).any():
        return None
    theta = log(mean[0] / mean[1])
    width = float(radius(float((variance / mean**2).sum()), level, tau))
    # Beyond e^700 a bound says nothing and would overflow.
    return Ratio(exp(theta), exp(max(theta - width, -700)), exp(min(theta + width, 700)), float(mean[0]), float(mean[1]))
