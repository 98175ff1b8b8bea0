"""Calls that another span of the trace, neither above nor below, tells better."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.assembly.forest import NO_ROW, Forest, Mask, Rows
from analytics.assembly.models import ASKED_MODEL, bare_model

# Ids that repeat by design: what stubs and some self-hosted servers send for every answer.
_PLACEHOLDER = r"(?i)test|stub|mock|fake|dummy|example|sample|constant|static|default"
_SHORTEST_ISSUED_ID = 16
_FEWEST_DISTINCT = 8
# Logfire tells a stream twice: when it was opened, and, in a log right after its end, what it used.
_STREAM_LOG = "streaming response from "
_COUNTS = ("input_tokens", "output_tokens")
# Calls of a trace are compared with one another; larger traces are left as they are told.
_MOST_COMPARED = 100


def told_twice(spans: pl.DataFrame, forest: Forest, is_leaf_call: Mask, has_own_usage: Mask) -> Mask:
    """
    Calls to leave out because the same call is told by a span nearer to the provider, or by one that knows its usage.

    Args:
        spans: `ASSEMBLY_SPANS` in the order of `forest`.
        has_own_usage: tokens or cost that are the span's own.
    """
    told = _told_by_id(spans, forest, is_leaf_call, has_own_usage)
    told |= _told_by_log(spans, forest, is_leaf_call & ~told)
    return told | _told_within(spans, forest, is_leaf_call & ~told)


def _told_by_log(spans: pl.DataFrame, forest: Forest, is_leaf_call: Mask) -> Mask:
    """Opened streams whose usage is in a log span: the last sibling before it that asks the same model and has no usage."""
    told = np.zeros(spans.height, dtype=np.bool_)
    is_log = spans["name"].str.starts_with(_STREAM_LOG).to_numpy() & is_leaf_call
    if not is_log.any():
        return told
    family, scope, model = forest.family, spans["scope_name"].to_list(), spans.select(ASKED_MODEL).to_series().to_list()
    silent = spans.select(pl.all_horizontal(pl.col(_COUNTS).is_null()) & pl.col("status").is_in(["ok", "unset"])).to_series()
    opened = np.flatnonzero(silent.to_numpy() & is_leaf_call & ~is_log)
    for log in np.flatnonzero(is_log).tolist():
        for row in opened[(opened < log) & (family[opened] == family[log])][::-1].tolist():
            if not told[row] and scope[row] == scope[log] and model[row] == model[log]:
                told[row] = True
                break
    return told


def _told_within(spans: pl.DataFrame, forest: Forest, is_leaf_call: Mask) -> Mask:
    """
    Calls of one instrumentation during which another one of the same service tells a call alike: the inner one is kept.

    LangChain's callbacks do not make their span the current one, so what the client below it tells becomes a sibling. Alike is:
    same model asked, same counts as far as both know them, both failed or neither. One outer call absorbs one inner call of
    each instrumentation.
    """
    told = np.zeros(spans.height, dtype=np.bool_)
    rows = _of_mixed_traces(spans, forest, is_leaf_call)
    if not len(rows):
        return told
    failed = pl.col("status").is_in(["error", "timeout", "cancelled"])
    calls = (
        spans.select("service_name", "scope_name", "start_time", "end_time", *_COUNTS, failed=failed, model=ASKED_MODEL)
        .gather(rows)
        .with_columns(
            pl.col("model").map_elements(bare_model, return_dtype=pl.String),
            pl.col("scope_name").rank("dense"),
            row=pl.Series(rows),
            trace=pl.Series(forest.trace[rows]),
        )
    )
    pairs = calls.join(calls, on=["trace", "service_name", "failed", "model"], suffix="_inner").filter(
        pl.col("scope_name") != pl.col("scope_name_inner"),
        pl.col("start_time") <= pl.col("start_time_inner"),
        pl.col("end_time") >= pl.col("end_time_inner"),
        pl.col("row") != pl.col("row_inner"),
        *(pl.col(name).eq(pl.col(f"{name}_inner")).fill_null(True) for name in _COUNTS),
    )
    nearest = pairs.sort(pl.col("start_time_inner") - pl.col("start_time"), "row", "row_inner")
    taken: set[tuple[int, int]] = set()
    for outer, inner, scope, inner_scope in nearest.select("row", "row_inner", "scope_name", "scope_name_inner").iter_rows():
        # of two spans that start and end together, only one is told by the other
        if told[inner] or (outer, inner_scope) in taken or (inner, scope) in taken:
            continue
        taken |= {(outer, inner_scope), (inner, scope)}
        told[outer] = True
    return told


def _of_mixed_traces(spans: pl.DataFrame, forest: Forest, is_leaf_call: Mask) -> Rows:
    """Calls of traces in which more than one instrumentation tells calls, unless there are too many to compare."""
    rows = np.flatnonzero(is_leaf_call)
    scopes = spans["scope_name"].gather(rows)
    if scopes.n_unique() < 2:
        return rows[:0]
    scope = pl.DataFrame({"trace": forest.trace[rows], "scope": scopes})
    is_mixed = (pl.col("scope").n_unique().over("trace") > 1) & (pl.len().over("trace") <= _MOST_COMPARED)
    mixed: Rows = rows[scope.select(is_mixed).to_series().to_numpy()]
    return mixed


def _told_by_id(spans: pl.DataFrame, forest: Forest, is_leaf_call: Mask, has_own_usage: Mask) -> Mask:
    """
    Calls that another span reports under the same id, issued by a provider.

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
