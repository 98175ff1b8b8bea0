"""From blocks to evidence over time: the e-process of a stream, the day harm began, and the harm that is proved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def logsumexp(values: Floats, axis: int | tuple[int, ...]) -> Floats:
    """ln of the sum of exponentials; -inf where all are. SciPy's own costs a millisecond a call."""
    peak = np.max(values, axis=axis, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    with np.errstate(divide="ignore"):
        result: Floats = np.log(np.sum(np.exp(values - peak), axis=axis)) + np.squeeze(peak, axis=axis)
    return result


def start_masses(planned_days: int) -> Floats:
    """
    Logarithm of the mass that bets on harm beginning on each day: half on day 0, the rest even over the others.

    The mixture lets harm that begins on day 9 be found without first undoing eight days of parity.
    """
    masses = np.full(planned_days, 0.5 / (planned_days - 1))
    masses[0] = 0.5
    result: Floats = np.log(masses)
    return result


def suffix_sums(by_day: Floats) -> Floats:
    """Sums over days from each day on; shape (streams, days, ...) in and out."""
    result: Floats = np.flip(np.cumsum(np.flip(by_day, axis=1), axis=1), axis=1)
    return result


def log_components(by_day: Floats, log_mass: Floats, phi: Floats, carry: Floats | None = None) -> Floats:
    """
    ln A_j of every stream: mass of all start days so far, each times its evidence since.

    Args:
        by_day: sums of ln L_j, shape (streams, days so far, J).
        log_mass: shape (days so far,).
        phi: over-dispersion per stream, at least 1; evidence is tempered by it.
        carry: ln of mass older than the first day, shape (streams, J).

    Returns:
        Shape (streams, J).
    """
    since = suffix_sums(by_day) / phi[:, None, None]
    terms = since + log_mass[None, :, None]
    if carry is not None:
        terms = np.concatenate([terms, (carry + since[:, 0])[:, None, :]], axis=1)
    result: Floats = logsumexp(terms, axis=1)
    return result


def log_e(components: Floats) -> Floats:
    """ln E = ln of the mean over the odds-ratio grid; shape (streams, J) to (streams,)."""
    result: Floats = logsumexp(components, axis=-1) - np.log(components.shape[-1])
    return result


def likeliest_start(by_day: Floats, phi: Floats) -> Ints:
    """Per stream, the start day whose own product of block e-values is largest now."""
    own = logsumexp(suffix_sums(by_day) / phi[:, None, None], axis=2)
    result: Ints = np.argmax(own, axis=1)
    return result


def log_e_against(by_day: Floats, log_mass: Floats, phi: Floats) -> Floats:
    """
    ln E_i for "the odds ratio is at most psi_i", i = 0 (psi_0 = 1) .. J - 1.

    exp(ln L_j - ln L_i) is an e-value for it whenever psi_j > psi_i (monotone likelihood ratio).

    Returns:
        Shape (streams, J): column i tests against psi_i, the largest grid value excepted.
    """
    since = suffix_sums(by_day) / phi[:, None, None]
    since = np.concatenate([np.zeros_like(since[:, :, :1]), since], axis=2)
    n_odds = since.shape[2]
    columns = []
    for i in range(n_odds - 1):
        terms = since[:, :, i + 1 :] - since[:, :, i : i + 1] + log_mass[None, :, None]
        columns.append(logsumexp(terms, axis=(1, 2)) - np.log(n_odds - 1 - i))
    return np.stack(columns, axis=1)
