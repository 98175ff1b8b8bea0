"""Which spans describe one call to one model, and whose token counts may be summed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.assembly.forest import NO_ROW, Forest, Mask, Rows

RAW_REQUEST = "raw_gen_ai_request"
_CALL_KINDS = ("llm", "embedding", "rerank")
_CALL_OPERATIONS = ("chat", "generate_content", "text_completion", "embeddings")
_WRAPPERS = ("invoke_agent", "invoke_workflow", "create_agent", "agent_step", "execute_tool")
_VERCEL_CALL = r"^ai\.\w+\.do[A-Z]"
_ATTEMPT_NAME = r"^(model request attempt|provider attempt \d)"
# Ids that repeat by design: what stubs and some self-hosted servers send for every answer.
_PLACEHOLDER = r"(?i)test|stub|mock|fake|dummy|example|sample|constant|static|default"
_SHORTEST_ISSUED_ID = 16
_FEWEST_DISTINCT = 8


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
    stands_for_parent = is_raw & has_usage & ~parent_has_usage
    is_replaced = np.zeros(spans.height, dtype=np.bool_)
    is_replaced[forest.parent[stands_for_parent & (forest.parent != NO_ROW)]] = True
    is_call = (masks["call"].to_numpy() & ~is_attempt & ~is_raw & ~is_replaced) | stands_for_parent

    countable = has_usage & ~is_attempt & ~(is_raw & ~stands_for_parent)
    is_aggregate = (countable | (has_usage & is_attempt)) & _any_below(countable, is_evaluator, forest)
    repeats_parent = has_usage & ~is_aggregate & parent_has_usage & ((is_raw & ~stands_for_parent) | (is_attempt & ~failed))
    is_leaf_call = is_call & ~_any_below(is_call, is_evaluator, forest)
    is_told_twice = _told_twice(spans, forest, is_leaf_call, has_usage & ~is_aggregate)
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
    is_vercel = name.str.starts_with("ai.") | operation.str.starts_with("ai.")
    is_vercel_call = name.str.contains(_VERCEL_CALL) | operation.str.contains(_VERCEL_CALL)
    says_call = pl.col("kind").is_in(_CALL_KINDS) | operation.is_in(_CALL_OPERATIONS)
    is_wrapper = operation.is_in(_WRAPPERS) | (name == "agent_step")
    return pl.when(is_vercel).then(is_vercel_call).otherwise(says_call & ~is_wrapper)


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


def _told_twice(spans: pl.DataFrame, forest: Forest, is_leaf_call: Mask, has_own_usage: Mask) -> Mask:
    """
    Calls that another span of the trace, neither above nor below, reports too: same id, issued by a provider.

    The one nearest the provider is kept: with usage first, then the shortest, the deepest, the last to start. Two spans of one
    service that do not overlap are two calls, whatever their ids say.
    """
    told = np.zeros(spans.height, dtype=np.bool_)
    rows = np.flatnonzero(is_leaf_call & (spans["response_id"] != "").to_numpy())
    key = spans["response_id"].gather(rows).hash().to_numpy() ^ (forest.trace[rows].astype(np.uint64) << np.uint64(20))
    _, position, count = np.unique(key, return_inverse=True, return_counts=True)
    rows = rows[count[position] > 1]
    if not len(rows):
        return told
    calls = (
        spans.select("response_id", "service_name", "start_time", "end_time", "span_id")
        .gather(rows)
        .with_columns(
            row=pl.Series(rows),
            trace=pl.Series(forest.trace[rows]),
            depth=pl.Series(_depths(forest, rows)),
            usage=pl.Series(has_own_usage[rows]),
        )
        .filter(_looks_issued(pl.col("response_id")))
        .sort(
            pl.col("usage"),
            pl.col("start_time") - pl.col("end_time"),
            "depth",
            "start_time",
            "span_id",
            descending=True,
        )
    )
    kept = [pl.col(name).first().over("trace", "response_id") for name in ("row", "service_name", "start_time", "end_time")]
    row, service, start, end = kept
    overlaps = (pl.col("start_time") < end) & (pl.col("end_time") > start)
    repeated = calls.filter((pl.col("row") != row) & (overlaps | (pl.col("service_name") != service)))
    told[repeated["row"].to_numpy()] = True
    return told


def _looks_issued(response_id: pl.Expr) -> pl.Expr:
    """Long, with many different characters, and without a word that test doubles use."""
    has_variety = response_id.str.split("").list.n_unique() >= _FEWEST_DISTINCT
    return (response_id.str.len_chars() >= _SHORTEST_ISSUED_ID) & has_variety & ~response_id.str.contains(_PLACEHOLDER)


def _depths(forest: Forest, rows: Rows) -> npt.NDArray[np.int64]:
    depth = np.zeros(len(rows), dtype=np.int64)
    above = forest.parent[rows]
    while (above != NO_ROW).any():
        depth += above != NO_ROW
        above = np.where(above == NO_ROW, NO_ROW, forest.parent[above])
    return depth
