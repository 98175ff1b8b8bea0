"""Reads traces whole from `span_records`, at a cost that depends on these traces only, not on how much history there is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from storage.assembly import hours_and_traces
from storage.client import Store
from storage.facts import ASSEMBLY_SPANS
from storage.sql import load

# A trace's spans are looked for among what was received since this long before its first known one. What has no root is looked
# for in everything that is kept, at the cost of a look into each day.
_HORIZON = timedelta(days=2)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Traces that last longer, by their own clocks, are read by themselves: the hours between would drag in everybody else's spans.
_USUAL_SPREAD = timedelta(hours=24)

HINT_KEYS = (
    r"^(retry[._]count|llm\.retry\.count|opencode\.llm\.retry_count|http\.request\.resend_count|litellm\.request\.purpose"
    r"|(llm\.)?fallback(\.used)?|metadata\.fallback.*|orq\.fallback\..*"
    r"|(.*[._])?x-(litellm-attempted-(retries|fallbacks)|portkey-(retry-attempt-count|last-used-option-index)|agentcc-fallback-used))$"
)
"""RE2: attribute keys that say something about retries, fallbacks, or the purpose of a call."""

CONTENT_KEYS = (
    "gen_ai.input.messages",
    "llm.input_messages.0.message.content",
    "gen_ai.prompt.0.content",
    "langfuse.observation.input",
    "ai.prompt.messages",
    "input.value",
)
"""Attribute keys that may hold a call's prompt; the first that says anything counts."""

_KEY = ["trace_id", "span_id", "start_time"]
_MORE = pl.Schema({name: ASSEMBLY_SPANS[name] for name in (*_KEY, "resource_route", "resource_cohort", "hints", "input_hash")})
_SILENT = pl.DataFrame(
    {"resource_route": [""], "resource_cohort": [""], "hints": [[]], "input_hash": [None]},
    schema={name: kind for name, kind in _MORE.items() if name not in _KEY},
)


_SAYS = (
    pl.col("resource_route", "resource_cohort").ne("").any(),
    pl.col("hints").list.len().gt(0).any(),
    pl.col("input_hash").is_not_null().any(),
)


def read_trace_bounds(store: Store, touched: pl.DataFrame) -> pl.DataFrame:
    """
    Between which moments the spans of some traces start. Best asked for many traces at once: a thousand of them cost the store
    nearly what ten thousand do.

    Args:
        touched: `trace_id`, `first_start`, `last_start` of the spans that touched them; several rows a trace are welcome.

    Returns:
        One row a trace, `trace_id`, `first_start`, `last_start`, by id: of these spans, and of what was received since two days
        before the first of them started; by a clock that is ahead of ours, of everything.
    """
    known = touched.group_by("trace_id").agg(pl.col("first_start").min(), pl.col("last_start").max())
    if known.is_empty():
        return known
    now = datetime.now(UTC)
    newest = pl.col("first_start").max().clip(upper_bound=now)
    is_ahead = pl.col("first_start") > now
    is_recent = pl.col("first_start").is_between(newest - _HORIZON, newest)
    group = pl.when(is_ahead).then(0).when(is_recent).then(1).otherwise(2)
    groups = known.with_columns(group=group).partition_by("group", as_dict=True, include_key=False)
    found = (_read_hours(store, some, some["first_start"].min() if key != (0,) else None) for key, some in groups.items())
    return _widened(known, *found)


def read_whole_traces(store: Store, traces: pl.DataFrame) -> pl.DataFrame:
    """
    All spans of some traces.

    Args:
        traces: their bounds, as `read_trace_bounds` gives them.

    Returns:
        `ASSEMBLY_SPANS` in no particular order. Resent spans are there once if they start in the same hour.
    """
    whole = traces.select("trace_id", "first_start", "last_start")
    spans = _read_between(store, whole)
    # Without a root the rest may be of any age; with one, what is left is a span that follows its trace.
    rooted = spans.select(pl.col("trace_id").filter(pl.col("parent_span_id") == ""))
    rootless = whole.join(rooted, on="trace_id", how="anti")
    torn = rootless.join(spans, on="trace_id", how="semi")
    if torn.is_empty():
        return spans
    wider = _widened(torn, _read_hours(store, torn, None)).join(torn, on=torn.columns, how="anti")
    return pl.concat([spans.join(wider, on="trace_id", how="anti"), _read_between(store, wider)])


def _widened(*bounds: pl.DataFrame) -> pl.DataFrame:
    both = pl.concat(bounds).group_by("trace_id").agg(pl.col("first_start").min(), pl.col("last_start").max())
    return both.sort("trace_id")


def _read_between(store: Store, traces: pl.DataFrame) -> pl.DataFrame:
    """The spans of some traces that start within each one's bounds."""
    is_usual = (pl.col("last_start") - pl.col("first_start")) <= _USUAL_SPREAD
    usual, others = traces.filter(is_usual), traces.filter(~is_usual)
    by_day = usual.with_columns(day=pl.col("first_start").dt.date()).partition_by("day", include_key=False)
    batches = [_read_batch(store, batch) for batch in (*by_day, *_singly(others))]
    return pl.concat([ASSEMBLY_SPANS.to_frame(), *batches])


def _singly(traces: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for row in range(traces.height):
        yield traces[row : row + 1]


def _read_hours(store: Store, traces: pl.DataFrame, first: object) -> pl.DataFrame:
    """Between which moments spans of some traces start, of what was received since shortly before `first`, or (None) ever."""
    since = max(first - _HORIZON, _EPOCH) if isinstance(first, datetime) else _EPOCH
    frame = store.frame(load("read_trace_hours"), {"since": since, "trace_ids": traces["trace_id"].to_list()})
    return frame.cast(traces.schema)


def _read_batch(store: Store, traces: pl.DataFrame) -> pl.DataFrame:
    where = hours_and_traces(traces) | {"hint_keys": HINT_KEYS}
    content_keys = ", ".join(f"'{key}'" for key in CONTENT_KEYS)
    spans = store.frame(load("read_whole_traces").replace("{content_keys}", content_keys), where)
    more = _MORE.to_frame()
    if telling := _telling(spans):
        contents = ", ".join(f"attributes['{key}']" for key in CONTENT_KEYS)
        sql = load("read_trace_hints").replace("{contents}", contents)
        more = _shaped(store.frame(sql, where | {"traces": telling}), _MORE)
    return _shaped(_with_more(spans, more), ASSEMBLY_SPANS)


def _telling(spans: pl.DataFrame) -> list[str]:
    """Traces whose attributes are worth reading, which takes as long as all the rest: those with a hint, and those in which a
    call failed and a prompt can tell which other call repeated it."""
    failed, content, more = (
        spans.select(pl.col("trace_id").filter(condition)).to_series()
        for condition in (
            pl.col("status").is_in(["error", "timeout"]),
            pl.col("has_content").cast(pl.Boolean),
            pl.col("has_more").cast(pl.Boolean),
        )
    )
    return pl.concat([more, failed.filter(failed.is_in(content.implode()))]).unique().to_list()


def _with_more(spans: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    """Add what the few spans of `more` (`_MORE`) say. By row numbers: joining would copy every column of every span."""
    if more.is_empty():
        return spans.with_columns(column.new_from_index(0, spans.height) for column in _SILENT)
    keys = spans.select(_KEY).with_row_index("row").filter(pl.col("trace_id").is_in(more["trace_id"].unique().implode()))
    found = keys.join(more.with_row_index("place"), on=_KEY)
    places = np.full(spans.height, more.height)
    places[found["row"].to_numpy()] = found["place"].to_numpy()
    # most say nothing in most columns, and gathering lists is slow
    silent = [name for name, says in more.select(_SAYS).row(0, named=True).items() if not says]
    said = pl.concat([more.drop(_KEY, *silent), _SILENT.drop(silent)])[pl.Series(places, dtype=pl.UInt32)]
    return spans.with_columns(*said.get_columns(), *(_SILENT[name].new_from_index(0, spans.height) for name in silent))


def _shaped(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(kind) for name, kind in schema.items())
