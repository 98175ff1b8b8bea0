"""How the alpha of a comparison is divided among its streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alerts.verdict import GLOBAL, MetricGroup


class StreamKey(NamedTuple):
    """What can page: a metric (of an evaluator) in one cohort, or over all of them (GLOBAL). Looked up often: a tuple."""

    metric: str
    evaluator: str
    cohort: str

    @property
    def stream_id(self) -> str:
        name = f"{self.metric}/{self.evaluator}" if self.evaluator else self.metric
        return f"{name}/{self.cohort}"


@dataclass(frozen=True)
class Shares:
    """Shares of alpha; see `MethodConfig`."""

    quality: float = 0.80
    over_all: float = 0.25
    high_value: float = 0.35
    reserve: float = 0.05


def group_of(metric: str) -> MetricGroup:
    """Reliability and latency are operations; everything an evaluator or a user said is quality."""
    operations = metric in ("retry", "fallback", "timeout", "error", "slow")
    return MetricGroup.OPERATIONS if operations else MetricGroup.QUALITY


def deal(
    metrics: Sequence[tuple[str, str]], cohorts: Sequence[str], high_value: frozenset[str], shares: Shares
) -> dict[StreamKey, float]:
    """
    Weights of the streams known when alpha is divided; they sum to 1 - reserve.

    Quality and operations share as configured (all to one when the other is absent), metrics of a group equally; inside
    a metric the stream over all cohorts, high-value cohorts and the others share as configured, equally within each.
    """
    weights: dict[StreamKey, float] = {}
    by_group = {group: [m for m in metrics if group_of(m[0]) is group] for group in MetricGroup}
    for group, members in by_group.items():
        share = shares.quality if group is MetricGroup.QUALITY else 1 - shares.quality
        if not all(by_group.values()):
            share = 1.0
        for metric, evaluator in members:
            for cohort, part in _within(cohorts, high_value, shares).items():
                weights[StreamKey(metric, evaluator, cohort)] = (1 - shares.reserve) * share / len(members) * part
    return weights


def _within(cohorts: Sequence[str], high_value: frozenset[str], shares: Shares) -> dict[str, float]:
    high = [c for c in cohorts if c in high_value]
    other = [c for c in cohorts if c not in high_value]
    over_all, of_high = shares.over_all, shares.high_value
    if not high:
        over_all, of_high = 0.40, 0.0
    of_other = 1 - over_all - of_high
    if not other:
        over_all, of_high, of_other = (over_all + of_other, of_high, 0.0) if high else (1.0, 0.0, 0.0)
    parts = {GLOBAL: over_all}
    parts |= {c: of_high / len(high) for c in high}
    parts |= {c: of_other / len(other) for c in other}
    return parts


def reserve_weights(order: NDArray[np.int64], reserve: float) -> NDArray[np.float64]:
    """Weight of the `order`-th stream (from 0) that was not dealt one; all of them together get at most the reserve."""
    result: NDArray[np.float64] = reserve / ((np.maximum(order, 0) + 1.0) * (np.maximum(order, 0) + 2.0))
    return result
