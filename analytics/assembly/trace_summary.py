"""One row per trace and mirror role."""

from __future__ import annotations

import polars as pl

from analytics.assembly.spans import ASSEMBLED
from analytics.frames import require

PRICED = pl.Schema({**ASSEMBLED, "cost_usd": pl.Decimal(18, 9), "computed_cost_usd": pl.Decimal(18, 9), "cost_source": pl.String})


def summarise_traces(spans: pl.DataFrame) -> pl.DataFrame:
    """
    Sum up each trace.

    Args:
        spans: `PRICED`: assembled spans of whole traces. `cost_usd` is what each span itself was charged or priced at, NULL when unknown;
            which of them count for the trace is decided here.

    Returns:
        `TRACE_FACTS`, sorted by trace and mirror role.

    Raises:
        FrameShapeError: a column is missing or has another type.
    """
    require(spans, PRICED, "priced spans")
    raise NotImplementedError
