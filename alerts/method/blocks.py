"""Matched blocks: units of one stratum at about the same time, and what one block says about the contrast of the arms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Longer supports use a closed-form bound on the normalising sum (Hoeffding 1963), valid and slightly conservative.
LONGEST_SUPPORT = 5_000
_TERMS_AT_ONCE = 1 << 19


@dataclass(frozen=True)
class Closing:
    """When a block closes. Only counts of units decide, never failures: that keeps the block's e-value exact."""

    min_units: int = 5
    max_minutes: int = 24 * 60


def block_ends(stratum: Ints, minute: Ints, n_s: Ints, n_t: Ints, frontier: Ints, closing: Closing) -> tuple[Ints, Ints]:
    """
    Cuts rows into blocks.

    Args:
        stratum, minute, n_s, n_t: rows sorted by (stratum, minute); units per arm. What an open block has gathered so far
            is its stratum's first row, at the minute in which it began.
        frontier: per row, the minute before which all of its stratum's minutes are settled.

    Returns:
        Per row the number of its block, counted over all strata, and the minute at which that block closed, -1 while
        it is open. A block that gets too old closes `max_minutes` after it began, whether or not anything arrived since.
    """
    number = np.zeros(len(stratum), dtype=np.int64)
    closed = np.full(len(stratum), -1, dtype=np.int64)
    key, began, count_s, count_t, block, first = -1, -1, 0, 0, -1, 0
    rows = zip(stratum.tolist(), minute.tolist(), n_s.tolist(), n_t.tolist(), strict=True)
    for row, (row_key, at, add_s, add_t) in enumerate(rows):
        expires = began + closing.max_minutes
        if began >= 0 and (row_key != key or at >= expires):
            if expires <= (at if row_key == key else frontier[row - 1]):
                closed[first:row] = expires - 1
            began = -1
        if began < 0:
            key, began, count_s, count_t, first = row_key, at, 0, 0, row
            block += 1
        count_s += add_s
        count_t += add_t
        number[row] = block
        if count_s >= closing.min_units and count_t >= closing.min_units:
            closed[first : row + 1] = at
            began = -1
    if began >= 0 and began + closing.max_minutes <= frontier[-1]:
        closed[first:] = began + closing.max_minutes - 1
    return number, closed


def log_evidence(n_s: Ints, x_s: Ints, n_t: Ints, x_t: Ints, theta: Floats) -> Floats:
    """
    Logarithm of each block's e-value for "the candidate's failure odds are not higher", per log odds ratio.

    The likelihood ratio of Fisher's non-central hypergeometric distribution given the block's margins: exact at any
    sample size, for any split of units, with no nuisance parameter.

    Args:
        n_s, x_s, n_t, x_t: units and failures of candidate and baseline, shape (blocks,).
        theta: logarithms of odds ratios, shape (J,).

    Returns:
        Shape (blocks, J); 0 where an arm is empty, nothing failed or everything failed.
    """
    margins = np.stack([n_s, n_t, x_s + x_t], axis=1)
    unique, inverse = np.unique(margins, axis=0, return_inverse=True)
    normaliser = _log_normaliser(unique[:, 0], unique[:, 1], unique[:, 2], theta)
    result: Floats = x_s[:, None] * theta[None, :] - normaliser[inverse.reshape(-1)]
    return result


def pair_evidence(n_worse: Ints, n_better: Ints, theta: Floats) -> Floats:
    """
    The same for mirrored pairs, given how many are discordant.

    Args:
        n_worse: pairs in which only the candidate failed, shape (k,). n_better: only the baseline failed.
    """
    total = (n_worse + n_better)[:, None]
    result: Floats = n_worse[:, None] * theta[None, :] - total * np.log((1 + np.exp(theta)) / 2)[None, :]
    return result


def _log_normaliser(n_s: Ints, n_t: Ints, m: Ints, theta: Floats) -> Floats:
    """ln sum_k h(k) exp(theta k) over the support of the hypergeometric h; shape (blocks, J)."""
    result = np.empty((len(n_s), len(theta)))
    low = np.maximum(m - n_t, 0)
    support = np.minimum(n_s, m) - low + 1
    long = support > LONGEST_SUPPORT
    share = n_s[long] / (n_s[long] + n_t[long])
    result[long] = m[long, None] * np.log1p(share[:, None] * np.expm1(theta)[None, :])
    short = np.flatnonzero(~long)
    cuts = np.searchsorted(np.cumsum(support[short]), np.arange(_TERMS_AT_ONCE, support[short].sum(), _TERMS_AT_ONCE))
    for part in np.split(short, cuts):
        if len(part):
            result[part] = _exact_normaliser(n_s[part], n_t[part], m[part], low[part], support[part], theta)
    return result


def _exact_normaliser(n_s: Ints, n_t: Ints, m: Ints, low: Ints, support: Ints, theta: Floats) -> Floats:
    starts = np.cumsum(support) - support
    k = np.arange(support.sum()) - np.repeat(starts - low, support)
    log_factorial = gammaln(np.arange(int((n_s + n_t).max()) + 2) + 1.0)
    ns, nt, total = np.repeat(n_s, support), np.repeat(n_t, support), np.repeat(m, support)
    log_h = (
        (log_factorial[ns] - log_factorial[k] - log_factorial[ns - k])
        + (log_factorial[nt] - log_factorial[total - k] - log_factorial[nt - total + k])
        - (log_factorial[ns + nt] - log_factorial[total] - log_factorial[ns + nt - total])
    )
    terms = log_h[:, None] + k[:, None] * theta[None, :]
    peak = np.maximum.reduceat(terms, starts, axis=0)
    sums = np.add.reduceat(np.exp(terms - np.repeat(peak, support, axis=0)), starts, axis=0)
    result: Floats = peak + np.log(sums)
    # A single possible outcome says nothing: exactly, not up to rounding.
    result[support == 1] = low[support == 1, None] * theta[None, :]
    return result
