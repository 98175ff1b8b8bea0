"""Rows of settled minutes as arrays, and the blocks they close."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alerts.rules import Ints, Rules, Stratum

Floats = NDArray[np.float64]

ARMS = ("candidate", "baseline")
# what an open block gathers
BLOCK_COLUMNS = (
    *("n_candidate", "fail_candidate", "n_baseline", "fail_baseline"),
    *("n_value_candidate", "sum_candidate", "squares_candidate"),
    *("n_value_baseline", "sum_baseline", "squares_baseline"),
)


class Table:
    """`SETTLED` rows in a fixed order, with the stratum, minute and day of each."""

    def __init__(self, rows: pl.DataFrame, rules: Rules, first_day: int) -> None:
        keys = ["metric", "evaluator", "evaluator_version", "sampling_rule", "cohort", "prompt_version"]
        self._rows = rows.sort("minute", *keys)
        self.metric, self.evaluator, _, _, self.cohort, _ = (self._rows[name].to_list() for name in keys)
        self.minute: Ints = self._rows["minute"].dt.epoch("s").to_numpy() // 60
        self.epoch: Ints = np.searchsorted(np.array(rules.epochs, dtype=np.int64), self.minute, side="right")
        self.day: Ints = rules.day_of(self.minute) - first_day
        parts = (self._rows[name].to_list() for name in keys)
        self.stratum: list[Stratum] = list(zip(*parts, self.epoch.tolist(), strict=True))
        has_units = (self.column("n_candidate") + self.column("n_baseline")) > 0
        self.unit_rows: list[int] = [row for row in np.flatnonzero(has_units).tolist() if self.metric[row] != "cost"]
        self.n_rows = len(self.metric)

    def column(self, name: str) -> Floats:
        values: Floats = self._rows[name].to_numpy().astype(np.float64)
        return values


@dataclass(frozen=True)
class ClosedBlocks:
    """Closed blocks, sorted by (minute of closing, stratum); `sums` has the columns `BLOCK_COLUMNS`."""

    strata: list[Stratum]
    minute: Ints
    sums: Floats
