"""Rows of settled minutes as arrays, and the blocks they close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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


# Below this a dictionary is quicker than a join.
_FEW_ROWS = 2_000
_METRIC = ["metric", "evaluator", "cohort"]
_STRATUM = ["metric", "evaluator", "evaluator_version", "sampling_rule", "cohort", "prompt_version", "epoch"]
_MS_PER_MINUTE = 60_000


class Table:
    """
    `SETTLED` rows in a fixed order, by minute and stratum.

    `strata` are the strata met, sorted, and `stratum` the number of each row's; `keys` and `key` the same for
    (metric, evaluator, cohort).
    """

    def __init__(self, rows: pl.DataFrame, rules: Rules, first_day: int) -> None:
        minute: Ints = rows["minute"].to_physical().to_numpy() // _MS_PER_MINUTE
        epoch: Ints = np.searchsorted(np.array(rules.epochs, dtype=np.int64), minute, side="right").astype(np.int64)
        self.strata, stratum = _numbered(rows.with_columns(pl.Series("epoch", epoch)), _STRATUM)
        self._order = np.lexsort((stratum, minute))
        self.stratum: Ints = stratum[self._order]
        self.keys, of_stratum = _merged([(key[0], key[1], key[4]) for key in self.strata])
        self.key: Ints = of_stratum[self.stratum]
        self._rows = rows
        self._columns: dict[str, Floats] = {}
        self.minute: Ints = minute[self._order]
        self.epoch: Ints = epoch[self._order]
        self.day: Ints = rules.day_of(self.minute) - first_day
        has_units = (self.column("n_candidate") + self.column("n_baseline")) > 0
        self.unit_rows: Ints = np.flatnonzero(has_units & ~self.of_metrics("cost"))

    def column(self, name: str) -> Floats:
        """A column as floats, converted once."""
        if name not in self._columns:
            self._columns[name] = self._rows[name].to_numpy().astype(np.float64)[self._order]
        return self._columns[name]

    def of_metrics(self, *metrics: str) -> NDArray[np.bool_]:
        """Which rows are of one of the metrics."""
        wanted = np.array([key[0] in metrics for key in self.keys], dtype=bool)
        return wanted[self.key] if len(wanted) else np.zeros(len(self.key), dtype=bool)


def _numbered(rows: pl.DataFrame, columns: list[str]) -> tuple[list[Any], Ints]:
    """The distinct keys, sorted, and which one each row has."""
    if rows.height <= _FEW_ROWS:
        return _merged(list(zip(*(rows[name].to_list() for name in columns), strict=True)))
    distinct = rows.select(columns).unique().sort(columns)
    numbers = rows.select(columns).join(distinct.with_row_index("number"), on=columns, how="left", maintain_order="left")
    return distinct.rows(), numbers["number"].to_numpy().astype(np.int64)


def _merged(keys: list[Any]) -> tuple[list[Any], Ints]:
    known = sorted(set(keys))
    number = {key: position for position, key in enumerate(known)}
    return known, np.array([number[key] for key in keys], dtype=np.int64)


@dataclass(frozen=True)
class ClosedBlocks:
    """Closed blocks, sorted by (minute of closing, stratum); `sums` has the columns `BLOCK_COLUMNS`."""

    strata: list[Stratum]
    minute: Ints
    sums: Floats
