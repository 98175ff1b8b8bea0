"""Names of what the assembler found odd, added to the flags of a span or a trace."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import polars as pl

from analytics.assembly.forest import Mask


class Flag(StrEnum):
    """See docs/semantics.md for what each one means to a reader."""

    ORPHAN = "orphan"
    PARENT_CYCLE = "parent_cycle"
    ROUTE_DERIVED = "route_derived"
    MODEL_MISMATCH = "model_mismatch"
    ATTEMPT_INFERRED = "attempt_inferred"
    AGGREGATE_UNCOVERED = "aggregate_uncovered"
    TOLD_TWICE = "told_twice"
    NO_ROOT = "no_root"
    EVALUATOR_ONLY = "evaluator_only"
    COST_FAILED_FREE = "cost_failed_free"
    COST_LOWER_BOUND = "cost_lower_bound"
    USAGE_UNKNOWN = "usage_unknown"
    UNPRICED = "unpriced"
    EVALUATION_UNPRICED = "evaluation_unpriced"


def with_flags(flags: pl.Series, masks: dict[Flag, Mask]) -> pl.Series:
    """`flags` (lists of names) with the name of each mask added where it holds; sorted and unique where anything was added."""
    marked = [(np.flatnonzero(mask), flag.value) for flag, mask in masks.items()]
    rows = np.concatenate([rows for rows, _ in marked])
    if not len(rows):
        return flags
    names = np.concatenate([np.full(len(rows), name, dtype=object) for rows, name in marked])
    added = pl.DataFrame({"row": rows, "flag": pl.Series(names, dtype=pl.String)}).group_by("row").agg("flag").sort("row")
    everyone = pl.DataFrame({"flags": flags}).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    merged = pl.concat_list("flags", "flag").list.unique().list.sort()
    # joining lists to the few rows that change is several times faster than gathering all of them anew
    changed = everyone[added["row"]].join(added, on="row").select("row", changed=merged)
    joined = everyone.join(changed, on="row", how="left", maintain_order="left")
    return joined.select(pl.coalesce("changed", "flags").alias(flags.name)).to_series()
