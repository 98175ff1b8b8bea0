"""What a comparison cannot show: overlap, sample ratio, mix, and how long until there is enough data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

_SPLIT_GRID = np.array([-0.5, -0.2, -0.1, -0.05, -0.02, 0.02, 0.05, 0.1, 0.2, 0.5])


@dataclass(frozen=True)
class Traffic:
    """Units of one stratum over the last 24 hours."""

    evaluator_version: str
    sampling_rule: str
    cohort: str
    prompt_version: str
    n_candidate: float
    n_baseline: float


KEYS = ("prompt_version", "evaluator_version", "cohort", "sampling_rule")


def matched_share(traffic: Iterable[Traffic], without: frozenset[str] = frozenset()) -> tuple[float, float]:
    """
    Share of the candidate's units that meet baseline units in their stratum, and how many units that is of.

    Args:
        without: keys of the stratum to leave out.
    """
    by_stratum: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in traffic:
        counts = by_stratum[tuple(getattr(row, key) for key in KEYS if key not in without)]
        counts[0] += row.n_candidate
        counts[1] += row.n_baseline
    total = sum(s for s, _ in by_stratum.values())
    matched = sum(s for s, t in by_stratum.values() if t > 0)
    return (matched / total if total else 1.0), total


def culprits(traffic: list[Traffic], limit: float) -> list[str]:
    """The keys without which enough units would meet: each alone, or, if none alone is enough, the most telling one."""
    shares = {key: matched_share(traffic, frozenset({key}))[0] for key in KEYS}
    enough = [key for key in KEYS if shares[key] >= limit]
    if enough:
        return enough
    base = matched_share(traffic)[0]
    best = max(KEYS, key=lambda key: shares[key])
    return [best] if shares[best] > base else []


def log_e_split(n_candidate: float, n_routed: float, split: float, phi: float = 1.0) -> float:
    """
    ln E against "every routed unit went to the candidate with probability `split`" (Lindon and Malek 2022).

    The running product over units depends on their totals only.
    """
    log_l = _SPLIT_GRID * n_candidate - n_routed * np.log1p(split * np.expm1(_SPLIT_GRID))
    return float(logsumexp(log_l / phi) - np.log(len(_SPLIT_GRID)))


def mix_distance(candidate: Mapping[str, float], baseline: Mapping[str, float]) -> float:
    """Total variation distance between the arms' cohort mixes, 0 to 1."""
    totals = [sum(arm.values()) or 1.0 for arm in (candidate, baseline)]
    cohorts = set(candidate) | set(baseline)
    return 0.5 * sum(abs(candidate.get(c, 0) / totals[0] - baseline.get(c, 0) / totals[1]) for c in cohorts)


def units_needed(rate: float, share: float, margin: float) -> float:
    """Scored units of both arms together until a margin can be decided; `share` is the candidate's share of them."""
    return rate * (1 - rate) / (share * (1 - share)) * (3.5 / margin) ** 2


def pairs_needed(discordance: float, margin: float) -> float:
    """The same in mirrored pairs; `discordance` is the share of pairs in which exactly one side fails."""
    return discordance * (3.5 / margin) ** 2
