"""An established candidate: e-detectors that restart every day (Shin, Ramdas, Rinaldo 2024), with or without a holdback."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Floats = NDArray[np.float64]


def upper_limit(n_fail: int, n_units: int) -> float:
    """
    The rate that a frozen baseline is taken for: 99 % Clopper-Pearson upper limit plus 1 pp of room for weekdays.

    Args:
        n_fail, n_units: failures and units of the cohort over whole weeks.
    """
    limit = 1.0 if n_fail >= n_units else float(betaincinv(n_fail + 1, n_units - n_fail, 0.99))
    return min(1.0, limit + 0.01)


def frozen_evidence(n: Floats, x: Floats, p_high: Floats, theta: Floats) -> Floats:
    """
    Log e-value of n units with x failures for "the failure odds are at most those of p_high".

    The binomial likelihood ratio per unit is bounded by its mean under p_high, so its product over any units is an
    e-value; being linear in (n, x), minutes simply add up to days.
    """
    result: Floats = x[:, None] * theta[None, :] - n[:, None] * np.log1p(p_high[:, None] * np.expm1(theta)[None, :])
    return result
