"""The span trees of many traces at once: who is whose parent, the nearest ancestor that …, sums over descendants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

NO_ROW = -1
# Parents usually start shortly before their children: look this many places away before searching a whole trace.
_NEAR = 16
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Forest:
    """
    Trees over the rows of a frame that is sorted by trace, then start time.

    `trace`: number of each row's trace, ascending from 0. `parent`: row of the parent, or -1. `root`: per trace, the row of
    the span without a parent that starts first, or -1. `family`: equal for spans of one trace that name the same parent,
    present or not. `jumps`: the ancestors 1, 2, 4, … levels up, as (rows, ancestors).
    """

    trace: Rows
    parent: Rows
    root: Rows
    family: npt.NDArray[np.uint64]
    is_orphan: Mask
    is_in_cycle: Mask
    jumps: tuple[tuple[Rows, Rows], ...]

    def nearest(self, mask: Mask) -> Rows:
        """For each row the row itself or its nearest ancestor where `mask` holds; the top of its tree where none does."""
        found = np.where(mask | (self.parent == NO_ROW), np.arange(len(mask)), self.parent)
        for _ in range(len(self.jumps) + 1):
            found = found[found]
        return found

    def below(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Sum of `values` over the descendants of each row, itself not included. Exact for whole numbers below 2**53."""
        total = values.astype(np.float64)
        for rows, ancestors in self.jumps:
            total = total + np.bincount(ancestors, weights=total[rows], minlength=len(total))
        found: npt.NDArray[np.float64] = total - values
        return found

    def of_parent(self, mask: Mask) -> Mask:
        """Whether `mask` holds for each row's parent; False for a row without one."""
        found: Mask = (self.parent != NO_ROW) & mask[self.parent]
        return found


def plant(spans: pl.DataFrame) -> Forest:
    """
    Link each span to its parent.

    A span that names a parent which is not there is an orphan: the top of a tree of its own. Spans that are each other's
    ancestors lose the link to their parent, all of them, so that the outcome does not depend on where one starts to look.

    Args:
        spans: `trace_id`, `span_id`, `parent_span_id`; sorted by `trace_id`'s order of appearance and start; each span once.
    """
    trace = spans["trace_id"].rle_id().to_numpy().astype(np.int64)
    span = spans["span_id"].hash().to_numpy()
    named = spans["parent_span_id"].hash().to_numpy()
    has_name = (spans["parent_span_id"] != "").to_numpy()
    parent = _parents(trace, span, named, has_name)
    is_orphan = has_name & (parent == NO_ROW)
    jumps, in_cycle = _jumps(parent)
    if in_cycle.any():
        parent = np.where(in_cycle, NO_ROW, parent)
        jumps, _ = _jumps(parent)
    root = np.full(int(trace[-1]) + 1 if len(trace) else 0, NO_ROW, dtype=np.int64)
    tops = np.flatnonzero(~has_name)[::-1]
    root[trace[tops]] = tops
    family = named ^ (trace.astype(np.uint64) * _MIX)
    return Forest(trace, parent, root, family, is_orphan, in_cycle, jumps)


def _parents(trace: Rows, span: npt.NDArray[np.uint64], named: npt.NDArray[np.uint64], has_name: Mask) -> Rows:
    """Row of the span each row names as its parent."""
    parent = np.full(len(trace), NO_ROW, dtype=np.int64)
    open_rows = np.flatnonzero(has_name)
    for distance in [sign * step for step in range(1, _NEAR + 1) for sign in (-1, 1)]:
        if not len(open_rows):
            return parent
        candidate = np.clip(open_rows + distance, 0, len(trace) - 1)
        hit = (span[candidate] == named[open_rows]) & (trace[candidate] == trace[open_rows])
        parent[open_rows[hit]] = candidate[hit]
        open_rows = open_rows[~hit]
    asking = pl.DataFrame({"trace": trace[open_rows], "span": named[open_rows], "row": open_rows})
    is_asked = np.zeros(int(trace[-1]) + 1 if len(trace) else 0, dtype=np.bool_)
    is_asked[trace[open_rows]] = True
    asked = np.flatnonzero(is_asked[trace])
    known = pl.DataFrame({"trace": trace[asked], "span": span[asked], "parent": asked})
    found = asking.join(known, on=["trace", "span"], how="inner")
    parent[found["row"].to_numpy()] = found["parent"].to_numpy()
    return parent


def _jumps(parent: Rows) -> tuple[tuple[tuple[Rows, Rows], ...], Mask]:
    """Ancestors at doubling distances, and the rows that are their own ancestors."""
    jumps: list[tuple[Rows, Rows]] = []
    jump = parent
    rows = np.flatnonzero(jump != NO_ROW)
    deepest = max(1, len(parent)).bit_length()
    while len(rows) and len(jumps) <= deepest:
        jumps.append((rows, jump[rows]))
        further = np.full_like(jump, NO_ROW)
        further[rows] = jump[jump[rows]]
        jump = further
        rows = rows[jump[rows] != NO_ROW]
    in_cycle = np.zeros(len(parent), dtype=np.bool_)
    # whoever still has an ancestor further up than there are spans has walked into a cycle, and stands on it now
    in_cycle[jump[rows]] = True
    return tuple(jumps), in_cycle
