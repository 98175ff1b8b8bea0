"""Over-dispersion: failures inside a session are correlated, so blocks are noisier than coin flips when routing is by session."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alerts.method.differences import block_terms

Ints = NDArray[np.int64]

# Fewer batches say too little; the default holds then.
MIN_BATCHES = 20


def from_halves(batch: Ints, n_0: Ints, x_0: Ints, n_1: Ints, x_1: Ints) -> float | None:
    """
    How much noisier than coin flips the baseline is against itself, at least 1.

    Args:
        batch: which (cohort, 6 h) a block lies in. n, x: units and failures of the halves aa = 0 and aa = 1 of each block.

    Returns:
        sum over batches of (sum N)^2 over sum V0; None with fewer than 20 batches in which anything failed.
    """
    terms = block_terms(n_0, x_0, n_1, x_1)
    _, number = np.unique(batch, return_inverse=True)
    size = int(number.max(initial=-1)) + 1
    n = np.bincount(number, weights=terms["N"], minlength=size)
    v = np.bincount(number, weights=np.nan_to_num(terms["V0"]), minlength=size)
    if np.count_nonzero(v) < MIN_BATCHES:
        return None
    return max(1.0, float((n**2).sum() / v.sum()))


def of_routing(n_0: Ints, n_1: Ints) -> float | None:
    """
    How much noisier than per-trace coin flips a split of sessions is, from the even split `aa` of the same sessions.

    Args:
        n_0, n_1: units of either half per batch.
    """
    n = n_0 + n_1
    if np.count_nonzero(n) < MIN_BATCHES:
        return None
    return max(1.0, float(((n_1 - n / 2.0) ** 2).sum() / (n.sum() / 4.0)))
