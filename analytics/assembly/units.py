"""Rows that are counted together, as numbers: first row, count and any per unit, without a group-by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analytics.assembly.forest import NO_ROW, Mask, Rows


@dataclass(frozen=True)
class Units:
    """`unit`: the number of each row's unit, ascending from 0 without gaps."""

    unit: Rows

    @property
    def size(self) -> int:
        return int(self.unit[-1]) + 1 if len(self.unit) else 0

    @property
    def starts(self) -> Rows:
        """First row of each unit."""
        return np.flatnonzero(np.diff(self.unit, prepend=-1))

    def first(self, mask: Mask) -> Rows:
        """Per unit the first row where `mask` holds, or -1."""
        rows = np.flatnonzero(mask)[::-1]
        found = np.full(self.size, NO_ROW, dtype=np.int64)
        found[self.unit[rows]] = rows
        return found

    def last_by(self, order: npt.NDArray[np.int64], mask: Mask) -> Rows:
        """Per unit the row with the largest `order` among those where `mask` holds, the later row among equals; or -1."""
        rows = np.flatnonzero(mask)
        rows = rows[np.lexsort((rows, order[rows], self.unit[rows]))]
        found = np.full(self.size, NO_ROW, dtype=np.int64)
        found[self.unit[rows]] = rows
        return found

    def count(self, mask: Mask) -> npt.NDArray[np.int64]:
        """Per unit how many rows `mask` holds for."""
        return np.bincount(self.unit[mask], minlength=self.size)

    def any(self, mask: Mask) -> Mask:
        """Per unit whether `mask` holds for any row."""
        found = np.zeros(self.size, dtype=np.bool_)
        found[self.unit[mask]] = True
        return found
