"""What attributes and events say outright about retries and fallbacks that no span of their own shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from analytics.assembly.forest import NO_ROW, Forest, Mask, Rows

PURPOSE = "litellm.request.purpose"
ROUTING_RETRY = "litellm.routing.retry"
RETRY_KEYS = (
    "retry.count",
    "retry_count",
    "llm.retry.count",
    "opencode.llm.retry_count",
    "http.request.resend_count",
    ROUTING_RETRY,
)
FALLBACK_KEYS = ("fallback", "fallback.used", "llm.fallback")
FALLBACK_PREFIXES = ("metadata.fallback", "orq.fallback.")
RETRY_HEADERS = ("x-litellm-attempted-retries", "x-portkey-retry-attempt-count")
FALLBACK_HEADERS = ("x-litellm-attempted-fallbacks", "x-portkey-last-used-option-index", "x-agentcc-fallback-used")
HEADER_PREFIXES = ("", "http.response.header.", "llm.response.header.")
_RETRYABLE_STATUSES = (408, 409, 429, 500, 502, 503, 504, 524, 529)

_EMPTY = ("", "0", "false", "none", "null", "no", "[]", "{}", '["0"]', '["false"]')


@dataclass(frozen=True)
class Hints:
    """Rows of calls with a retry or a fallback inside, and the key that says so. `auxiliary`: billed, but nobody's request."""

    retried: dict[int, str]
    fell_back: dict[int, str]
    auxiliary: Rows


def read_hints(spans: pl.DataFrame, forest: Forest, is_leaf_call: Mask) -> Hints:
    """
    Attribute each hint to a call: the span's own, else the call above it (HTTP spans), else the first call below it
    (application spans).

    Args:
        spans: `ASSEMBLY_SPANS` in the order of `forest`.
    """
    said = (
        spans.select("hints")
        .with_row_index("row")
        .filter(pl.col("hints").list.len() > 0)
        .explode("hints", empty_as_null=False)
        .unnest("hints")
        .with_columns(pl.col("key").str.to_lowercase(), pl.col("value").str.to_lowercase().str.strip_chars())
    )
    key, value = pl.col("key"), pl.col("value")
    is_true = ~value.is_in(_EMPTY)
    count = value.str.extract(r"(\d+)").cast(pl.UInt32, strict=False)
    header = key.str.extract(r"(x-[a-z-]+)$")
    retry = said.filter((key.is_in(RETRY_KEYS) | header.is_in(RETRY_HEADERS)) & (count > 0))
    is_fallback_key = key.is_in(FALLBACK_KEYS) | pl.any_horizontal(key.str.starts_with(prefix) for prefix in FALLBACK_PREFIXES)
    fallback = said.filter((is_fallback_key | header.is_in(FALLBACK_HEADERS)) & is_true)
    auxiliary = said.filter((key == PURPOSE) & is_true)
    http = _failed_http_below(spans, forest, is_leaf_call)
    retried = {**_by_call(http, forest, is_leaf_call), **_by_call(retry.select("row", "key"), forest, is_leaf_call)}
    return Hints(
        retried=retried,
        fell_back=_by_call(fallback.select("row", "key"), forest, is_leaf_call),
        auxiliary=auxiliary["row"].to_numpy().astype(np.int64),
    )


def _failed_http_below(spans: pl.DataFrame, forest: Forest, is_leaf_call: Mask) -> pl.DataFrame:
    """HTTP spans right below a call that answered: a client library tried again without telling its instrumentation."""
    status = pl.col("http_status")
    is_failed_http = spans.select(status.is_in(_RETRYABLE_STATUSES).fill_null(False) & (pl.col("kind") == "other")).to_series()
    answered = is_leaf_call & spans["status"].is_in(["ok", "unset"]).to_numpy()
    rows = np.flatnonzero(is_failed_http.to_numpy() & forest.of_parent(answered))
    return pl.DataFrame({"row": rows, "key": ["http_spans"] * len(rows)}, schema={"row": pl.UInt32, "key": pl.String})


def _by_call(hints: pl.DataFrame, forest: Forest, is_leaf_call: Mask) -> dict[int, str]:
    """Row of the call that each hint is about, with the alphabetically first key; hints without a call are lost."""
    if hints.is_empty():
        return {}
    rows = hints["row"].to_numpy().astype(np.int64)
    call = forest.nearest(is_leaf_call)[rows]
    call = np.where(is_leaf_call[call], call, _first_call_below(rows, forest, is_leaf_call)[rows])
    pairs = sorted(zip(call.tolist(), hints["key"].to_list(), strict=True), reverse=True)
    return {row: key for row, key in pairs if row != NO_ROW}


def _first_call_below(rows: Rows, forest: Forest, is_leaf_call: Mask) -> Rows:
    """For each of `rows` the call below it that starts first."""
    is_asking = np.zeros(len(is_leaf_call), dtype=np.bool_)
    is_asking[rows] = True
    calls = np.flatnonzero(is_leaf_call)[::-1]
    above = forest.nearest(is_asking)[calls]
    first = np.full(len(is_leaf_call), NO_ROW, dtype=np.int64)
    # rows are in order of start and written last to first: the earliest call stays
    first[above] = calls
    first[~is_asking] = NO_ROW
    return first
