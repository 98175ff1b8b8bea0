"""Any-time intervals: the two-sided normal mixture (Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon 2021)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def radius(variance: Floats | float, level: float, tau: Floats | float) -> Floats:
    """
    Half-width of an interval that holds at every look at once.

    Args:
        variance: of the estimate; 0 gives 0, infinity gives infinity.
        level: two-sided error probability; for a one-sided bound at level a pass 2 a.
        tau: prior scale of the effect; the interval is tightest once the standard error is well below it.

    Returns:
        Same shape as `variance`.
    """
    v = np.asarray(variance, dtype=np.float64)
    kappa = 1.0 / tau**2
    with np.errstate(divide="ignore", invalid="ignore"):
        information = 1.0 / v
        width = v * np.sqrt((information + kappa) * (2 * np.log(1 / level) + np.log1p(information / kappa)))
    result: Floats = np.where(v == 0, 0.0, np.where(np.isfinite(v), width, np.inf))
    return result


def radius_of_one(variance: float, level: float, tau: float) -> float:
    """The same of one estimate: an array of one number costs forty times as much."""
    if variance == 0 or not math.isfinite(variance):
        return 0.0 if variance == 0 else math.inf
    kappa, information = 1.0 / tau**2, 1.0 / variance
    return variance * math.sqrt((information + kappa) * (2 * math.log(1 / level) + math.log1p(information / kappa)))
