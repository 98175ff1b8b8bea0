"""The e-BH procedure (Wang and Ramdas 2022): a list with a bounded share of false entries, under any dependence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-12


def selected(log_e: NDArray[np.float64], weights: NDArray[np.float64], level: float) -> NDArray[np.bool_]:
    """
    Streams on the list: the largest r such that the r-th largest of K w E is at least K / (level r).

    Args:
        log_e: ln E per stream. weights: summing to at most 1.

    Returns:
        A mask; ties with the last one selected are selected too.
    """
    k = len(log_e)
    if k == 0:
        return np.zeros(0, dtype=bool)
    with np.errstate(divide="ignore"):
        scaled = log_e + np.log(weights) + np.log(k)
    descending = -np.sort(-scaled)
    # evidence that is just enough is enough, whichever way its logarithm was rounded
    needed = np.log(k) - np.log(level * np.arange(1, k + 1)) - _ROUNDING
    passing = np.flatnonzero(descending >= needed)
    if len(passing) == 0:
        return np.zeros(k, dtype=bool)
    result: NDArray[np.bool_] = scaled >= descending[passing[-1]]
    return result
