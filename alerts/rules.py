"""What is fixed for a comparison and what its state depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from alerts.method import evidence
from alerts.method.blocks import Closing
from alerts.method.weights import Shares, StreamKey

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# metric, evaluator, evaluator version, sampling rule, cohort, prompt version, epoch of the declared split
Stratum = tuple[str, str, str, str, str, str, int]
MetricKey = tuple[str, str]

GUARD_METRICS = ("eval_missing", "long_prompt")
# metrics that exist only once the baseline's reference is frozen
REFERENCED = ("cost", "slow", "long_prompt")
MINUTES_PER_DAY = 1_440
DRIFT_WINDOW_DAYS = 28


@dataclass(frozen=True)
class Rules:
    """Everything that is fixed for a comparison and that its state depends on. Minutes count from 1970."""

    day_zero: int
    planned_days: int
    odds_ratios: tuple[float, ...]
    closing: Closing
    alpha: float
    effect_floor: float
    shares: Shares
    maturity_minutes: dict[MetricKey, int]
    phi: dict[MetricKey, float]
    default_phi: float
    # weights, and the minute from which they count; before it streams live on the reserve
    dealt: dict[StreamKey, float] = field(default_factory=dict)
    dealt_from: int | None = None
    # minutes at which the declared split changed, ascending
    epochs: tuple[int, ...] = ()
    high_value: frozenset[str] = frozenset()
    # the minute before which the reference was gathered
    referenced_from: int = 0
    is_drift: bool = False
    drift_days: float = 730.0
    # drift without a holdback: the baseline's upper limit and its rate, per stream, and from which minute on they count
    frozen_rates: dict[StreamKey, tuple[float, float]] = field(default_factory=dict)
    frozen_from: int = 0

    @property
    def n_days(self) -> int:
        """Day bins that are kept."""
        return DRIFT_WINDOW_DAYS if self.is_drift else self.planned_days

    def phi_of(self, key: StreamKey) -> float:
        return self.phi.get((key.metric, key.evaluator), self.default_phi)

    def phi_of_all(self, keys: Sequence[StreamKey]) -> Floats:
        if not self.phi:
            return np.full(len(keys), self.default_phi)
        return np.array([self.phi_of(key) for key in keys])

    def maturity_of(self, key: MetricKey) -> int:
        """Minutes after which a metric's minute is mature."""
        fixed = self.maturity_minutes
        return fixed.get(key, fixed.get((key[0], ""), default_maturity(key[0])))

    def group_of(self, key: MetricKey) -> int:
        """Metrics of one group settle together: by maturity, and apart those that wait for the frozen reference (negative)."""
        maturity = self.maturity_of(key)
        return -maturity if key[0] in REFERENCED else maturity

    def settles_at(self, key: MetricKey, minute: int) -> int:
        """The moment at which a minute of a metric can be settled first."""
        known = self.referenced_from if key[0] in REFERENCED else minute
        return max(minute, known) + self.maturity_of(key)

    def day_of(self, minutes: Ints) -> Ints:
        """Day of the comparison; a rollout's last planned day has no end."""
        day = (minutes - self.day_zero) // MINUTES_PER_DAY
        return day if self.is_drift else np.minimum(day, self.planned_days - 1)

    def log_mass(self) -> Floats:
        """Mass of each start day: a rollout's planned days share 1, drift adds 1 a day for ever."""
        return np.zeros(self.n_days) if self.is_drift else evidence.start_masses(self.planned_days)


def default_maturity(metric: str) -> int:
    """Minutes without history: evaluators an hour, thumbs 6 h, other feedback a day, what is known with the trace 5 min."""
    if metric in ("retry", "fallback", "timeout", "error", "latency", "cost", "input_tokens", "slow", "long_prompt"):
        return 5
    return {"eval_fail": 60, "eval_missing": 60, "thumbs_down": 360}.get(metric, 1_440)
