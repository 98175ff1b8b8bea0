"""What only the whole trace can tell about each of its spans."""

from __future__ import annotations

import polars as pl

from analytics.config import AssemblyRules
from analytics.frames import require
from storage.facts import ASSEMBLY_SPANS

ASSEMBLED = pl.Schema(
    {
        **ASSEMBLY_SPANS,
        "is_model_call": pl.Boolean,
        "usage_scope": pl.String,
        "logical_call_id": pl.String,
        "attempt_evidence": pl.String,
        "is_evaluator_traffic": pl.Boolean,
    }
)


def assemble_spans(spans: pl.DataFrame, rules: AssemblyRules) -> pl.DataFrame:
    """
    Resolve each span in the light of its trace.

    Args:
        spans: `ASSEMBLY_SPANS`, whole traces in any order, copies of a span included; further columns pass through.
        rules: gap, shadow routes, routes by model.

    Returns:
        `ASSEMBLED`: the same spans without copies. `model_route`, `cohort`, `prompt_*`, `session_id`, `user_id`, `tags`, `mirror_*`,
        `attempt_*` and `fallback_from` are now the resolved ones; `quality_flags` has the assembler's flags added.
        The price step adds `cost_usd`, `computed_cost_usd` and replaces `cost_source` (see `PRICED`).

    Raises:
        FrameShapeError: a column is missing or has another type.
    """
    require(spans, ASSEMBLY_SPANS, "assembly spans")
    raise NotImplementedError
