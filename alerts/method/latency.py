"""Any-time intervals of quantiles, read off a histogram (Howard and Ramdas 2022)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PRIOR_UNITS = 200


def quantile_interval(
    counts: Ints, lower_edges: Floats, upper_edges: Floats, q: float, level: float
) -> tuple[float, float] | None:
    """
    Bounds of the q-quantile that hold at every look at once.

    Args:
        counts: values per bin, bins ascending. lower_edges, upper_edges: of each bin.

    Returns:
        Edges (low, high) around every value that the mixture test does not reject; None below 2 / (1 - q) values.
    """
    n = int(counts.sum())
    if n < 2 / (1 - q):
        return None
    x = np.cumsum(counts).astype(np.float64)
    a, b = _PRIOR_UNITS * q, _PRIOR_UNITS * (1 - q)
    log_e = betaln(a + x, b + n - x) - betaln(a, b) - x * np.log(q) - (n - x) * np.log1p(-q)
    inside = np.flatnonzero(log_e < -np.log(level))
    if len(inside) == 0:
        # The quantile lies inside one bin: between the last edge that is too low and the first that is too high.
        at = min(int(np.searchsorted(x, q * n)), len(counts) - 1)
        return float(lower_edges[at]), float(upper_edges[at])
    # The bin after the last edge inside may hold the quantile too.
    last = min(int(inside[-1]) + 1, len(counts) - 1)
    return float(lower_edges[inside[0]]), float(upper_edges[last])
