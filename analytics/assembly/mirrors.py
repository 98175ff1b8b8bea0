"""Which side of mirrored traffic each span of a trace belongs to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.assembly.inheritance import PRIMARY, SHADOW, UNMIRRORED


def with_units(spans: pl.DataFrame) -> pl.DataFrame:
    """
    Add `unit_role` (`split_roles`), and give the spans of a trace that holds both sides the key that pairs them: what the trace
    says, else its id.

    Args:
        spans: the columns of `ASSEMBLED` but `unit_role`, sorted by trace.
    """
    spans = spans.with_columns(split_roles(spans))
    if not {PRIMARY, SHADOW} <= set(spans["unit_role"].unique()):
        return spans
    is_split = pl.col("unit_role").n_unique().over("trace_id") > 1
    said = pl.col("mirror_group").max().over("trace_id")
    key = pl.when(said == "").then("trace_id").otherwise(said)
    return spans.with_columns(mirror_group=pl.when(is_split & (pl.col("mirror_group") == "")).then(key).otherwise("mirror_group"))


def split_roles(spans: pl.DataFrame) -> pl.Series:
    """
    The mirror role of the unit each span is counted in.

    A trace in which both sides called a model is two units: its shadow spans, and all others as the primary. A trace with
    shadow calls only is a shadow throughout, whatever its wrapping spans say.

    Args:
        spans: as `with_units` takes them.

    Returns:
        `unit_role`: `primary`, `shadow` or `none`.
    """
    trace = spans["trace_id"].rle_id().to_numpy()
    role = spans["mirror_role"]
    is_shadow = (role == SHADOW).to_numpy()
    is_primary = (role == PRIMARY).to_numpy()
    if not (is_shadow.any() or is_primary.any()):
        return role.alias("unit_role")
    is_served_call = spans.select(pl.col("is_request") & ~pl.col("is_evaluator_traffic")).to_series().to_numpy() & ~is_shadow
    has_shadow, has_primary, is_served = (_any(trace, mask) for mask in (is_shadow, is_primary, is_served_call))
    unit_role = np.select(
        [is_shadow | (has_shadow & ~is_served & ~has_primary), has_shadow | has_primary], [SHADOW, PRIMARY], UNMIRRORED
    )
    return pl.Series("unit_role", unit_role.astype(object), dtype=pl.String)


def _any(trace: npt.NDArray[np.uint32], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    found = np.zeros(int(trace[-1]) + 1, dtype=np.bool_)
    found[trace[mask]] = True
    return found[trace]
