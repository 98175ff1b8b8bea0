"""The harm a page may claim as proved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def proven_index(log_e_against: Floats, level: float) -> Ints:
    """
    Per stream the largest i such that "odds ratio at most psi_i" is refuted at `level`; -1: nothing is proved.

    Args:
        log_e_against: shape (streams, J), see `evidence.log_e_against`; column 0 is psi_0 = 1.
    """
    refuted = log_e_against >= -np.log(level)
    return np.where(refuted.any(axis=1), refuted.shape[1] - 1 - np.argmax(refuted[:, ::-1], axis=1), -1)


def as_difference(odds_ratio: float, baseline_rate: float) -> float:
    """The rise of a failure rate that an odds ratio means at a baseline rate."""
    raised = odds_ratio * baseline_rate
    return raised / (1 - baseline_rate + raised) - baseline_rate
