"""What only the whole trace can tell about each of its spans."""

from __future__ import annotations

import numpy as np
import polars as pl

from analytics.assembly.attempts import link_attempts
from analytics.assembly.flags import Flag, with_flags
from analytics.assembly.forest import Forest, plant
from analytics.assembly.inheritance import derive_routes, inherit
from analytics.assembly.mirrors import with_units
from analytics.assembly.models import answers_as_another
from analytics.assembly.statuses import WITHOUT_USAGE, Charge
from analytics.assembly.usage_scope import Usage, UsageScope, usage_of
from analytics.config import AssemblyRules
from analytics.frames import require
from storage.facts import ASSEMBLY_SPANS

ASSEMBLED = pl.Schema(
    {
        **ASSEMBLY_SPANS,
        "is_model_call": pl.Boolean(),
        "usage_scope": pl.String(),
        "logical_call_id": pl.String(),
        "attempt_evidence": pl.String(),
        "first_route": pl.String(),
        "first_model": pl.String(),
        "is_evaluator_traffic": pl.Boolean(),
        "is_root": pl.Boolean(),
        "is_request": pl.Boolean(),
        "is_answer": pl.Boolean(),
        "call_retried": pl.Boolean(),
        "call_fell_back": pl.Boolean(),
        "call_timed_out": pl.Boolean(),
        "call_failed": pl.Boolean(),
        "is_overruled": pl.Boolean(),
        "charge": pl.String(),
        "unit_role": pl.String(),
    }
)
"""
Spans resolved in the light of their traces.

`is_root`: it names no parent. `is_request`: a call to a model that no other span tells again. The five `call_…`/`is_answer`
columns are set on the one row per logical call that answered it. `is_overruled`: an error that a raw request below made good.
`charge`: what the span adds to its trace's bill (`Charge`); spans with '' add nothing and need no price. `unit_role`: the side
of mirrored traffic that it is counted on.
"""


def assemble_spans(spans: pl.DataFrame, rules: AssemblyRules) -> pl.DataFrame:
    """
    Resolve each span in the light of its trace.

    Args:
        spans: `ASSEMBLY_SPANS`, whole traces in any order, copies of a span included; further columns pass through.
        rules: gap, shadow routes, routes by model.

    Returns:
        `ASSEMBLED`, sorted by trace, start and span: the same spans without copies. `model_route`, `cohort`, `prompt_*`,
        `session_id`, `user_id`, `tags`, `mirror_*`, `attempt_*` and `fallback_from` are now the resolved ones; `quality_flags`
        has the assembler's flags added. The price step adds `cost_usd` and `computed_cost_usd` and replaces `cost_source` (see
        `PRICED`).

    Raises:
        FrameShapeError: a column is missing or has another type.
    """
    require(spans, ASSEMBLY_SPANS, "assembly spans")
    spans = _sorted(without_copies(spans))
    forest = plant(spans)
    spans = inherit(spans, forest, rules)
    usage = usage_of(spans, forest)
    spans, is_derived = derive_routes(spans, usage.is_call | usage.is_attempt, rules)
    attempts = link_attempts(spans, forest, usage, rules)
    is_overruled = np.zeros(spans.height, dtype=np.bool_)
    made_good = usage.stands_for_parent & spans["status"].is_in(["ok", "unset"]).to_numpy() & (forest.parent >= 0)
    is_overruled[forest.parent[made_good]] = True
    is_mismatch = usage.is_leaf_call & answers_as_another(spans["request_model"], spans["response_model"]).to_numpy()
    flags = with_flags(
        spans["quality_flags"],
        {
            Flag.ORPHAN: forest.is_orphan,
            Flag.PARENT_CYCLE: forest.is_in_cycle,
            Flag.ROUTE_DERIVED: is_derived,
            Flag.MODEL_MISMATCH: is_mismatch,
            Flag.ATTEMPT_INFERRED: attempts.is_inferred,
            Flag.AGGREGATE_UNCOVERED: usage.is_uncovered,
            Flag.TOLD_TWICE: usage.is_told_twice,
        },
    )
    assembled = spans.with_columns(
        *attempts.columns.get_columns(),
        flags,
        usage.scope,
        is_model_call=pl.Series(usage.is_call),
        is_evaluator_traffic=pl.Series(usage.is_evaluator),
        is_root=pl.col("parent_span_id") == "",
        is_request=pl.Series(usage.is_leaf_call & ~attempts.is_auxiliary),
        is_overruled=pl.Series(is_overruled),
        charge=_charge(spans, forest, usage),
    )
    return with_units(assembled)


def _sorted(spans: pl.DataFrame) -> pl.DataFrame:
    """Rows by trace, start and span. Lists are slow to move, and most columns of lists are empty throughout."""
    order = spans.select(pl.arg_sort_by("trace_id", "start_time", "span_id")).to_series()
    empty = [name for name, dtype in spans.schema.items() if isinstance(dtype, pl.List) and not spans[name].list.len().sum()]
    moved = spans.drop(empty)[order]
    return moved.with_columns(pl.lit([], dtype=spans.schema[name]).alias(name) for name in empty).select(spans.columns)


def without_copies(spans: pl.DataFrame) -> pl.DataFrame:
    """One row per span: of copies the one that ended last, then the one with the larger content hash; never the later arrival."""
    ids = spans.select(pl.col("trace_id").hash() * 3 + pl.col("span_id").hash()).to_series()
    if ids.n_unique() == spans.height:
        return spans
    best_first = ["end_time", "content_hash", "received_at"]
    return spans.sort(best_first, descending=[True, True, False]).unique(
        ["trace_id", "span_id"], keep="first", maintain_order=True
    )


def _charge(spans: pl.DataFrame, forest: Forest, usage: Usage) -> pl.Series:
    """
    What each span adds to the bill: its usage, or, for a call without usage that nothing else accounts for, why it has none.
    """
    summed = usage.scope.is_in([UsageScope.OWN, UsageScope.ATTEMPT]).to_numpy()
    is_silent = (usage.is_leaf_call | usage.is_attempt) & ~usage.has_usage
    reason = pl.repeat(Charge.NOTHING.value, spans.height, dtype=pl.String, eager=True)
    if is_silent.any():
        is_own = (usage.scope == UsageScope.OWN).to_numpy()
        is_within_own = usage.is_leaf_call & is_own[forest.nearest(is_own)]
        has_attempts = forest.below(usage.is_attempt) > 0
        answered = ~spans["status"].is_in(["error", "timeout", "cancelled"]).to_numpy()
        # attempt spans account for a call that failed, or whose answer's usage is on one of them; an attempt that answered is
        # its call's
        is_told_by_attempt = has_attempts & (~answered | (forest.below(usage.is_attempt & answered & usage.has_usage) > 0))
        is_expected = is_silent & ~is_within_own & ~(usage.is_leaf_call & is_told_by_attempt) & ~(usage.is_attempt & answered)
        rows = np.flatnonzero(is_expected)
        reason = reason.scatter(rows, spans.gather(rows).select(WITHOUT_USAGE.alias("reason")).to_series())
    return pl.select(pl.when(pl.Series(summed)).then(pl.lit(Charge.USAGE.value)).otherwise(reason)).to_series()
