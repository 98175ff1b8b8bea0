"""Finding traces by what is known of them, and reading one trace whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from storage.client import Store
from storage.spans import with_readable_attributes
from storage.sql import load

_FIRST_WINDOW = timedelta(hours=1)
_GROWTH = 4
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_END = datetime(2262, 1, 1, tzinfo=UTC)
_SLACK = 16


@dataclass(frozen=True)
class TraceFilter:
    """What a trace must be like; an empty field asks nothing. Several values of one field are alternatives."""

    services: Sequence[str] = ()
    environments: Sequence[str] = ()
    routes: Sequence[str] = ()
    models: Sequence[str] = ()
    cohorts: Sequence[str] = ()
    prompt_versions: Sequence[str] = ()
    session_id: str = ""
    user_id: str = ""
    retried: bool = False
    fell_back: bool = False
    timed_out: bool = False
    errored: bool = False
    unpriced: bool = False
    min_cost_usd: float = 0.0
    min_duration_ns: int = 0
    # a metric of `trace_outcomes` that failed, by this evaluator if one is named
    failed_metric: str = ""
    failed_evaluator: str = ""

    def parameters(self) -> dict[str, object]:
        return {name: list(value) if isinstance(value, tuple | list) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class TracePosition:
    """Where a search stopped: the sort key of the last trace seen."""

    started_at_ns: int
    trace_id: str
    mirror_role: str


@dataclass(frozen=True)
class WholeTrace:
    """
    Everything known of one trace.

    `facts` has one row per mirror role, none until the job that makes them has run; `spans` may be cut at the limit
    (`n_spans` says how many there are) or gone, when they are kept shorter than the facts.
    """

    trace_id: str
    facts: pl.DataFrame
    spans: pl.DataFrame
    evaluations: pl.DataFrame
    outcomes: pl.DataFrame


def search_traces(
    store: Store, wanted: TraceFilter, since: datetime, until: datetime, after: TracePosition | None, limit: int
) -> pl.DataFrame:
    """
    Traces that began in [since, until) and match, newest first, at most `limit`.

    The table is sorted by hour, so the search looks at windows of time from the newest on, each four times as long as the one
    before, until it has enough: what is asked for often (the newest) costs little however much history there is.

    Returns:
        Columns of `trace_facts`, sorted by start, trace id and mirror role, descending.
    """
    found: list[pl.DataFrame] = []
    missing = limit
    for start, end in _windows(since, until, after):
        while missing > 0:
            keys = _candidates(store, wanted, start, end, after, missing + _SLACK)
            if keys.is_empty():
                break
            after = _position(keys)
            matching = _present(store, wanted, since, until, keys).head(missing)
            found.append(matching)
            missing -= len(matching)
            if len(keys) < missing + len(matching) + _SLACK:
                break
        if missing <= 0:
            break
    return pl.concat(found) if found else _present(store, wanted, since, until, None)


def position_of(traces: pl.DataFrame) -> TracePosition:
    """Where a search goes on after `traces`, which must not be empty."""
    return _position(traces)


def read_trace(store: Store, trace_id: str, max_spans: int) -> WholeTrace | None:
    """Everything of one trace, from the few granules it lies in; None when there is nothing of that id."""
    hours = store.frame(load("trace_hours"), {"trace_id": trace_id}).row(0, named=True)
    is_timed = hours["n"] > 0
    key = {
        "trace_id": trace_id,
        "since": hours["first_start"] if is_timed else _BEGINNING,
        "until": hours["last_start"] if is_timed else _END,
    }
    facts = store.frame(load("trace_facts_of"), key)
    if not is_timed and facts.is_empty():
        return None
    if not is_timed:
        key |= {"since": facts["started_at"].min(), "until": facts["started_at"].max()}
    spans = with_readable_attributes(store.frame(load("trace_spans"), key | {"limit": max_spans}))
    targets = {
        "trace_id": trace_id,
        "session_ids": _known(facts["session_id"].to_list() + spans["session_id"].to_list()),
        "response_ids": _known(spans["response_id"].to_list()),
    }
    evaluations = store.frame(load("trace_evaluations"), targets)
    return WholeTrace(trace_id, facts, spans, evaluations, store.frame(load("trace_outcomes_of"), key))


def _windows(since: datetime, until: datetime, after: TracePosition | None) -> Iterator[tuple[datetime, datetime]]:
    """[since, until) cut into windows, newest first."""
    end = until
    if after is not None:
        end = min(until, datetime.fromtimestamp(after.started_at_ns // 1_000_000_000, UTC) + timedelta(seconds=1))
    length = _FIRST_WINDOW
    while end > since:
        start = max(since, end - length)
        yield start, end
        end, length = start, length * _GROWTH


def _candidates(
    store: Store, wanted: TraceFilter, start: datetime, end: datetime, after: TracePosition | None, limit: int
) -> pl.DataFrame:
    sql = load("trace_candidates").replace("{filters}", load("trace_filters"))
    last = after or TracePosition(9_214_646_400_000_000_000, "", "")
    position = {"after_time_ns": last.started_at_ns, "after_trace": last.trace_id, "after_role": last.mirror_role}
    return store.frame(sql, wanted.parameters() | position | {"since": start, "until": end, "limit": limit})


def _present(store: Store, wanted: TraceFilter, since: datetime, until: datetime, keys: pl.DataFrame | None) -> pl.DataFrame:
    sql = load("traces_of").replace("{filters}", load("trace_filters"))
    hours: list[datetime] = []
    trace_ids: list[str] = []
    low, high = since, until
    if keys is not None:
        hours = keys["started_at"].dt.truncate("1h").unique().to_list()
        trace_ids = keys["trace_id"].unique().to_list()
        low = max(since, keys.select(pl.col("started_at").min()).item())
        high = min(until, keys.select(pl.col("started_at").max()).item() + timedelta(seconds=1))
    seconds = [int(hour.timestamp()) for hour in hours]
    frame = store.frame(sql, wanted.parameters() | {"hours": seconds, "trace_ids": trace_ids, "since": low, "until": high})
    if keys is None:
        return frame
    return frame.join(keys, on=["started_at", "trace_id", "mirror_role"], how="semi", maintain_order="left")


def _position(traces: pl.DataFrame) -> TracePosition:
    last = traces.tail(1)
    return TracePosition(int(last["started_at"].dt.epoch("ns").item()), last["trace_id"].item(), last["mirror_role"].item())


def _known(values: Sequence[str | None]) -> list[str]:
    return sorted({value for value in values if value})
