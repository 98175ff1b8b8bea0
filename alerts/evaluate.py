"""One tick for all rollouts: settle what has matured, update the streams, judge, append what changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from alerts.config import MethodConfig, RolloutConfig
from alerts.scorecard import Scorecard
from alerts.verdict import GateResult, Verdict
from storage.client import Store


class Evaluator:
    """
    Holds the state of the open comparisons; everything it knows is in the store, so another instance continues it.

    Only the active alerter may call `tick`. `scorecard` and `gate` read the stored state and may run in any process.
    """

    def __init__(self, store: Store, config: MethodConfig) -> None:
        self._store = store
        self._config = config

    def tick(self, rollouts: Sequence[RolloutConfig], now: datetime) -> list[Verdict]:
        """The present verdict of each rollout with traffic in both arms; those that changed were appended to `verdicts`."""
        raise NotImplementedError

    def scorecard(self, rollout: RolloutConfig, now: datetime) -> Scorecard | None:
        """The scorecard as of the newest tick; None before a comparison is open."""
        raise NotImplementedError

    def gate(self, rollout: RolloutConfig, now: datetime, on: Literal["live", "experiment"] = "live") -> GateResult:
        """Pass, fail or undetermined; `experiment` judges paired golden-set runs."""
        raise NotImplementedError
