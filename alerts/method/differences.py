"""Stratified differences: Mantel-Haenszel terms of a block, the difference they give, and the standardised one."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def block_terms(n_s: Ints, x_s: Ints, n_t: Ints, x_t: Ints) -> dict[str, Floats]:
    """
    Terms of each block's difference of failure rates, candidate (s) minus baseline (t); all 0 where an arm is empty.

    Returns:
        `W` (weight), `N` (weight times difference), `V0` (variance of N if nothing differs), `aS`, `aT` (what each arm's
        own variance is multiplied by), and the units and failures themselves.
    """
    s, t, n, m = (a.astype(np.float64) for a in (n_s, n_t, n_s + n_t, x_s + x_t))
    both = (n_s > 0) & (n_t > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        w = np.where(both, s * t / n, 0.0)
        terms = {
            "W": w,
            "N": np.where(both, x_s - s * m / n, 0.0),
            "V0": np.where(both, s * t * m * (n - m) / (n**2 * (n - 1)), 0.0),
            "aS": np.where(both, w**2 / s, 0.0),
            "aT": np.where(both, w**2 / t, 0.0),
        }
    counts = {"nS": n_s, "xS": x_s, "nT": n_t, "xT": x_t}
    return terms | {name: np.where(both, values, 0).astype(np.float64) for name, values in counts.items()}


def score_terms(scores: Floats) -> dict[str, Floats]:
    """
    The same for mean scores.

    Args:
        scores: per block number, sum and sum of squares of the candidate's scores, then the baseline's; shape (blocks, 6).

    Returns:
        `yW`, `yN` (weight times candidate mean - baseline mean), `yaS`, `yaT`.
    """
    m_s, sum_s, m_t, sum_t = scores[:, 0], scores[:, 1], scores[:, 3], scores[:, 4]
    both = (m_s > 0) & (m_t > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        w = np.where(both, m_s * m_t / (m_s + m_t), 0.0)
        return {
            "yW": w,
            "yN": np.where(both, w * (sum_s / m_s - sum_t / m_t), 0.0),
            "yaS": np.where(both, w**2 / m_s, 0.0),
            "yaT": np.where(both, w**2 / m_t, 0.0),
        }


@dataclass(frozen=True)
class Difference:
    """Estimates and their variances, one per stream; NaN without a block, or below two scores."""

    d: Floats
    v: Floats


def of_rates(sums: dict[str, Floats], n01: Floats, n10: Floats, n_pairs: Floats, phi: Floats) -> Difference:
    """
    Mantel-Haenszel difference over blocks and pairs.

    Args:
        sums: sums of `block_terms` per stream. n01, n10: discordant pairs, only the candidate or only the baseline failed.
        n_pairs: complete pairs. phi: over-dispersion of the blocks; pairs enter as they stand.
    """
    p_s = (sums["xS"] + 0.5) / (sums["nS"] + 1)
    p_t = (sums["xT"] + 0.5) / (sums["nT"] + 1)
    blocks = phi * np.maximum(sums["V0"], p_s * (1 - p_s) * sums["aS"] + p_t * (1 - p_t) * sums["aT"])
    w = sums["W"] + n_pairs / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        d = (sums["N"] + (n01 - n10) / 2) / w
        v = (blocks + (n01 + n10) / 4) / w**2
    return Difference(np.where(w > 0, d, np.nan), np.where(w > 0, v, np.nan))


def of_scores(sums: dict[str, Floats], phi: Floats) -> Difference:
    """Difference of mean scores; each arm's variance is the stream's running sample variance."""
    spread = []
    for m, total, squares in (("mS", "sS", "qS"), ("mT", "sT", "qT")):
        n = sums[m]
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = (sums[squares] - sums[total] ** 2 / n) / (n - 1)
        spread.append(np.where(n > 1, np.maximum(variance, 0.0), np.nan))
    with np.errstate(divide="ignore", invalid="ignore"):
        d = sums["yN"] / sums["yW"]
        v = phi * (spread[0] * sums["yaS"] + spread[1] * sums["yaT"]) / sums["yW"] ** 2
    return Difference(np.where(sums["yW"] > 0, d, np.nan), np.where(sums["yW"] > 0, v, np.nan))


@dataclass(frozen=True)
class Standardised:
    """The difference at the reference mix; None with the reason when too little of the mix is covered."""

    d: float | None
    v: float | None
    missing: tuple[str, ...]
    note: str


def standardised(
    omega: dict[str, float], d: dict[str, float], v: dict[str, float], units: dict[str, tuple[float, float]]
) -> Standardised:
    """
    Weigh cohort differences by the reference mix.

    Args:
        omega: reference shares. d, v: difference and variance per cohort. units: candidate's and baseline's units.

    Returns:
        Valid only when cohorts with at least 5 units in each arm carry 95 % of the mix and each arm has 500 units.
    """
    included = [c for c in omega if c in d and min(units.get(c, (0, 0))) >= 5 and isfinite(d[c]) and isfinite(v[c])]
    covered = sum(omega[c] for c in included)
    missing = tuple(sorted(c for c in omega if c not in included))
    totals = [sum(units[c][arm] for c in included) for arm in (0, 1)]
    if covered < 0.95:
        return Standardised(None, None, missing, f"not covered: {', '.join(missing)} ({100 * (1 - covered):.0f} % of the mix)")
    if min(totals) < 500:
        return Standardised(None, None, missing, f"collecting: {int(min(totals))} of 500 units in the smaller arm")
    mean = sum(omega[c] * d[c] for c in included) / covered
    variance = sum(omega[c] ** 2 * v[c] for c in included) / covered**2
    return Standardised(mean, variance, missing, "")
