"""What the assembling job looks up beside the spans: where traces lie, what was said about them, what stands written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from storage.client import Store
from storage.facts import EVALUATION_TARGETS, EVALUATIONS, TRACE_FACTS
from storage.parameters import between
from storage.sql import load

_TIME = pl.Datetime("ns", "UTC")
_MOST_HOURS = 1_000

TRACE_TIMES = pl.Schema({"trace_id": pl.String(), "first_start": _TIME, "last_start": _TIME})
"""Between which times the spans of a trace started."""

SESSION_INDEX = pl.Schema({"trace_id": pl.String(), "session_id": pl.String(), "mirror_role": pl.String(), "started_at": _TIME})
"""Traces of sessions."""
RESPONSE_INDEX = pl.Schema({"response_id": pl.String(), "trace_id": pl.String(), "span_id": pl.String(), "start_time": _TIME})
"""Spans of responses."""


def read_trace_times(store: Store, traces: Sequence[str], received_since: datetime) -> pl.DataFrame:
    """`TRACE_TIMES` by id, of what was received since a day."""
    parameters = {"traces": list(traces), "since": received_since.date()}
    return _shaped(store.frame(load("read_trace_times"), parameters), TRACE_TIMES)


def read_span_hours(store: Store, since: datetime, until: datetime) -> list[tuple[datetime, int]]:
    """Hours with a span that started in [since, until), in order, and how many did (copies included)."""
    frame = store.frame(load("read_span_hours"), {"since": since, "until": until})
    return list(frame.select(pl.from_epoch("hour", "s").dt.replace_time_zone("UTC"), "n_spans").iter_rows())


def read_traces_between(store: Store, since: datetime, until: datetime) -> pl.DataFrame:
    """`TRACE_TIMES` and `n_spans` of every trace with a span that started in [since, until); of these spans alone."""
    frame = store.frame(load("read_traces_between"), {"since": since, "until": until})
    return _shaped(frame, pl.Schema({**TRACE_TIMES, "n_spans": pl.UInt64()}))


def read_trace_facts(store: Store, times: pl.DataFrame) -> pl.DataFrame:
    """What stands written of some traces (`TRACE_FACTS`); `times`: `TRACE_TIMES`."""
    return _shaped(store.frame(load("read_trace_facts"), hours_and_traces(times)), TRACE_FACTS)


def read_response_ids(store: Store, times: pl.DataFrame) -> list[str]:
    """Response ids that spans of some traces carry; `times`: `TRACE_TIMES`."""
    ids: list[str] = store.frame(load("read_response_ids"), hours_and_traces(times))["response_id"].to_list()
    return ids


def read_shadow_spans(store: Store, times: pl.DataFrame) -> pl.DataFrame:
    """Spans of some traces that are shadow traffic (`trace_id`, `span_id`); `times`: `TRACE_TIMES`."""
    if times.is_empty():
        return pl.DataFrame(schema={"trace_id": pl.String, "span_id": pl.String})
    return store.frame(load("read_shadow_spans"), hours_and_traces(times)).select("trace_id", "span_id")


def read_evaluations_about(
    store: Store, traces: Sequence[str], sessions: Sequence[str], responses: Sequence[str], received_since: datetime
) -> pl.DataFrame:
    """Evaluations that name one of these traces, sessions or responses (`EVALUATIONS`), of what was received since a day."""
    parameters = {"traces": list(traces), "sessions": list(sessions), "responses": list(responses), "since": received_since}
    return _shaped(store.frame(load("read_evaluations_about"), parameters), EVALUATIONS)


def read_named_kinds(store: Store) -> tuple[bool, bool]:
    """Whether any evaluation names a session, and whether any names a response: most installations have neither."""
    row = store.frame(load("read_named_kinds")).row(0)
    return bool(row[0]), bool(row[1])


def read_session_index(store: Store, sessions: Sequence[str]) -> pl.DataFrame:
    """Every trace of some sessions (`SESSION_INDEX`)."""
    if not sessions:
        return SESSION_INDEX.to_frame()
    return _shaped(store.frame(load("read_session_index"), {"sessions": list(sessions)}), SESSION_INDEX)


def read_response_index(store: Store, responses: Sequence[str]) -> pl.DataFrame:
    """Every span that some response ids name (`RESPONSE_INDEX`)."""
    if not responses:
        return RESPONSE_INDEX.to_frame()
    return _shaped(store.frame(load("read_response_index"), {"responses": list(responses)}), RESPONSE_INDEX)


def read_targets(store: Store, evaluations: Sequence[str]) -> pl.DataFrame:
    """Where some evaluations' targets were found so far (`EVALUATION_TARGETS`)."""
    if not evaluations:
        return EVALUATION_TARGETS.to_frame()
    return _shaped(store.frame(load("read_targets"), {"evaluations": list(evaluations)}), EVALUATION_TARGETS)


def hours_and_traces(times: pl.DataFrame) -> dict[str, object]:
    """Query parameters that keep a look-up by trace within the hours the traces lie in, and pass over parts with none of them."""
    hours = moments_between(times)["start_time"].dt.truncate("1h").dt.epoch("s").unique().sort().to_list()
    traces = times["trace_id"].unique(maintain_order=True).to_list()
    return {"hours": hours, "traces": traces, **between(times["first_start"], times["last_start"])}


def moments_between(times: pl.DataFrame) -> pl.DataFrame:
    """
    `trace_id`, `start_time`: a moment in every hour that some traces may lie in (`TRACE_TIMES`).

    Of a trace that lasts longer, by its own clocks, than a thousand hours: the first one, and the last thousand.
    """
    ends = [times.select("trace_id", start_time=name) for name in ("first_start", "last_start")]
    first = pl.max_horizontal("first_start", pl.col("last_start") - pl.duration(hours=_MOST_HOURS, time_unit="ns"))
    within = times.select("trace_id", start_time=pl.datetime_ranges(first, "last_start", "1h"))
    return pl.concat([*ends, within.explode("start_time", empty_as_null=False)])


def _shaped(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(kind) for name, kind in schema.items())
