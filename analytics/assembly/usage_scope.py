"""Which spans describe one call to one model, and whose token counts may be summed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import polars as pl

from analytics.assembly.forest import NO_ROW, Forest, Mask
from analytics.assembly.retold import told_twice

RAW_REQUEST = "raw_gen_ai_request"
_CALL_KINDS = ("llm", "embedding", "rerank")
_CALL_OPERATIONS = ("chat", "generate_content", "text_completion", "embeddings")
_WRAPPERS = ("invoke_agent", "invoke_workflow", "create_agent", "agent_step", "execute_tool")
_VERCEL_CALL = r"^ai\.\w+\.do[A-Z]"
_IS_VERCEL = pl.col("name").str.starts_with("ai.") | pl.col("operation").str.starts_with("ai.")
IS_SHELL = pl.col("operation").is_in(["invoke_agent", "agent_step"]) | (_IS_VERCEL & (pl.col("kind") != "tool"))
"""A span by which a library reports the whole of what it was asked for, around its calls."""
_ATTEMPT_NAME = r"^(model request attempt|provider attempt \d)"


class UsageScope(StrEnum):
    """What a span's token counts and cost are: only `OWN` and `ATTEMPT` are ever summed."""

    OWN = "own"
    AGGREGATE = "aggregate"
    DUPLICATE = "duplicate"
    ATTEMPT = "attempt"
    NONE = "none"


@dataclass(frozen=True)
class Usage:
    """
    Masks over the rows of a forest.

    `is_call`: one call to one model. `is_attempt`: a try that its call's own span reports on. `is_leaf_call`: a call that no
    other span tells again in more detail. `stands_for_parent`: a raw request whose parent lost its attributes. `has_usage`:
    tokens or cost are known. `is_uncovered`: an aggregate whose parts do not add up to it. `is_told_twice`: a call that
    another span tells better. `is_evaluator`: an evaluator's span or below one.
    """

    scope: pl.Series
    is_call: Mask
    is_attempt: Mask
    is_leaf_call: Mask
    stands_for_parent: Mask
    has_usage: Mask
    is_uncovered: Mask
    is_told_twice: Mask
    is_evaluator: Mask


def usage_of(spans: pl.DataFrame, forest: Forest) -> Usage:
    """
    Decide for each span whether it is a model call and what its counts mean.

    Args:
        spans: `ASSEMBLY_SPANS` in the order of `forest`, each span once.
    """
    masks = spans.select(
        call=_is_call(),
        attempt=(pl.col("kind") == "attempt") | pl.col("name").str.contains(_ATTEMPT_NAME),
        raw=pl.col("name") == RAW_REQUEST,
        usage=_has_usage(),
        evaluator=pl.col("kind") == "evaluator",
        failed=pl.col("status").is_in(["error", "timeout", "cancelled"]),
    )
    is_attempt, is_raw, has_usage, failed = (masks[name].to_numpy() for name in ("attempt", "raw", "usage", "failed"))
    is_evaluator = masks["evaluator"].to_numpy()
    is_evaluator = is_evaluator[forest.nearest(is_evaluator)]
    parent_has_usage = forest.of_parent(has_usage)
    is_alone = is_raw & masks["call"].to_numpy() & ~failed & ~forest.of_parent(masks["call"].to_numpy())
    stands_for_parent = is_raw & (has_usage | is_alone) & ~parent_has_usage
    is_replaced = np.zeros(spans.height, dtype=np.bool_)
    is_replaced[forest.parent[stands_for_parent & (forest.parent != NO_ROW)]] = True
    is_call = (masks["call"].to_numpy() & ~is_attempt & ~is_raw & ~is_replaced) | stands_for_parent

    countable = has_usage & ~is_attempt & ~(is_raw & ~stands_for_parent)
    is_aggregate = (countable | (has_usage & is_attempt)) & _any_below(countable, is_evaluator, forest)
    repeats_parent = has_usage & ~is_aggregate & parent_has_usage & ((is_raw & ~stands_for_parent) | (is_attempt & ~failed))
    is_leaf_call = is_call & ~_any_below(is_call, is_evaluator, forest)
    is_told_twice = told_twice(spans, forest, is_leaf_call, has_usage & ~is_aggregate)
    scope = np.select(
        [~has_usage & ~is_told_twice, is_aggregate, is_told_twice | repeats_parent, is_attempt],
        [UsageScope.NONE, UsageScope.AGGREGATE, UsageScope.DUPLICATE, UsageScope.ATTEMPT],
        UsageScope.OWN,
    )
    summed = has_usage & ~is_aggregate & ~is_told_twice & ~repeats_parent
    return Usage(
        scope=pl.Series("usage_scope", scope.astype(object), dtype=pl.String),
        is_call=is_call,
        is_attempt=is_attempt,
        is_leaf_call=is_leaf_call & ~is_told_twice,
        stands_for_parent=stands_for_parent,
        has_usage=has_usage,
        is_uncovered=is_aggregate & _is_uncovered(spans, forest, summed),
        is_told_twice=is_told_twice,
        is_evaluator=is_evaluator,
    )


def _is_call() -> pl.Expr:
    """Kind or operation says one call to one model; frameworks' outer spans do not count."""
    name, operation = pl.col("name"), pl.col("operation")
    is_vercel_call = name.str.contains(_VERCEL_CALL) | operation.str.contains(_VERCEL_CALL)
    says_call = pl.col("kind").is_in(_CALL_KINDS) | operation.is_in(_CALL_OPERATIONS)
    is_wrapper = operation.is_in(_WRAPPERS) | (name == "agent_step")
    return pl.when(_IS_VERCEL).then(is_vercel_call).otherwise(says_call & ~is_wrapper)


def _has_usage() -> pl.Expr:
    counts = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    has_count = pl.any_horizontal(pl.col(column).is_not_null() for column in counts)
    return has_count | (pl.col("reported_cost_usd") > 0).fill_null(False)


def _any_below(mask: Mask, is_evaluator: Mask, forest: Forest) -> Mask:
    """Whether a descendant is in `mask`; what an evaluator does below a judged span is no part of that span."""
    found = forest.below(mask & ~is_evaluator) > 0
    if is_evaluator.any():
        found |= is_evaluator & (forest.below(mask & is_evaluator) > 0)
    return found


def _is_uncovered(spans: pl.DataFrame, forest: Forest, summed: Mask) -> Mask:
    tokens = spans.select(pl.col("input_tokens").fill_null(0) + pl.col("output_tokens").fill_null(0)).to_series()
    counts = tokens.to_numpy().astype(np.float64)
    uncovered: Mask = forest.below(np.where(summed, counts, 0.0)) < counts
    return uncovered
