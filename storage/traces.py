"""Finding traces by what is known of them, and reading one trace whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from storage.assembly import read_targets
from storage.client import Store
from storage.facts import TRACE_FACTS
from storage.spans import with_readable_attributes
from storage.sql import load

_FIRST_WINDOW = timedelta(hours=4)
_GROWTH = 8
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_END = datetime(2262, 1, 1, tzinfo=UTC)
_SLACK = 16
# A trace that lasts longer, by its own clocks, is looked for in its last hours.
_MOST_HOURS = 100

_KEY = ("started_at", "trace_id", "mirror_role")

_SPAN_FACTS = (
    *("trace_id", "span_id", "is_model_call", "usage_scope", "model_route", "cohort", "prompt_name", "prompt_version"),
    *("cost_usd", "cost_source", "computed_cost_usd", "logical_call_id", "attempt_index", "attempt_kind", "attempt_evidence"),
    *("fallback_from", "session_id", "user_id", "tags", "mirror_role", "mirror_group"),
)
# for what was said, and by whom: a statement takes as long to analyse as it has columns
_FACTS_OF_WORDS = ("trace_id", "started_at", "model", "cost_usd", "duration_ns", "session_id", "mirror_role", "quality_flags")
_SPAN_FACTS_OF_WORDS = ("trace_id", "span_id", "is_model_call", "session_id")


# judgements that name no trace, by what they name instead
_UNRESOLVED = {
    "session_ids": "target_trace_id = '' AND target_session_id IN (SELECT arrayJoin({session_ids:Array(String)}))",
    "response_ids": "target_trace_id = '' AND target_session_id = ''"
    " AND target_response_id IN (SELECT arrayJoin({response_ids:Array(String)}))",
}
# a condition on an hour and a trace id, from the names of both columns
_Where = Callable[[str, str], str]


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

    def conditions(self) -> str:
        """What is asked, as SQL over `trace_facts`. What is not asked is left out: analysing it takes longer than searching."""
        asked = [condition for name, condition in _CONDITIONS.items() if getattr(self, name)]
        if self.failed_metric:
            asked.append(f"trace_id IN ({load('failed_in')})")
        return "".join(f"\n    AND {condition}" for condition in asked)


_CONDITIONS = {
    "services": "service_name IN {services:Array(String)}",
    "environments": "environment IN {environments:Array(String)}",
    "routes": "model_route IN {routes:Array(String)}",
    "models": "model IN {models:Array(String)}",
    "cohorts": "cohort IN {cohorts:Array(String)}",
    "prompt_versions": "prompt_version IN {prompt_versions:Array(String)}",
    "session_id": "session_id = {session_id:String}",
    "user_id": "user_id = {user_id:String}",
    "retried": "retried",
    "fell_back": "fell_back",
    "timed_out": "timed_out",
    "errored": "errored",
    "unpriced": "unpriced_calls > 0",
    "min_cost_usd": "toFloat64(cost_usd) >= {min_cost_usd:Float64}",
    "min_duration_ns": "duration_ns >= {min_duration_ns:UInt64}",
}


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
    store: Store,
    wanted: TraceFilter,
    since: datetime,
    until: datetime,
    after: TracePosition | None,
    limit: int,
    columns: Sequence[str] = tuple(TRACE_FACTS),
) -> pl.DataFrame:
    """
    Traces that began in [since, until) and match, newest first, at most `limit`.

    The table is sorted by hour, so the search looks at windows of time from the newest on, each eight times as long as the one
    before, until it has enough: what is asked for often (the newest) costs little however much history there is. A user or a
    session has an index of its own.

    Returns:
        `columns` of `trace_facts`, with its key among them, sorted by start, trace id and mirror role, descending.
    """
    found: list[pl.DataFrame] = []
    missing = limit
    last = _end(until, after)
    for start, end in [(since, last)] if wanted.user_id or wanted.session_id else windows(since, last):
        while missing > 0:
            keys = _candidates(store, wanted, start, end, after, missing + _SLACK)
            if keys.is_empty():
                break
            after = _position(keys)
            matching = _present(store, wanted, since, until, keys, columns).head(missing)
            found.append(matching)
            missing -= len(matching)
            if len(keys) < missing + len(matching) + _SLACK:
                break
        if missing <= 0:
            break
    return pl.concat(found) if found else _present(store, wanted, since, until, None, columns)


def position_of(traces: pl.DataFrame) -> TracePosition:
    """Where a search goes on after `traces`, which must not be empty."""
    return _position(traces)


def read_trace(
    store: Store, trace_id: str, max_spans: int, *, facts_of: Sequence[str] = tuple(TRACE_FACTS), with_outcomes: bool = True
) -> WholeTrace | None:
    """
    Everything of one trace, or all but `outcomes`, from the few granules it lies in; None when there is nothing of that id.

    Args:
        facts_of: columns of `facts`, among them `started_at` and `session_id`; few are read in half the time.
    """
    hours = store.frame(load("trace_hours"), {"trace_id": trace_id}).row(0, named=True)
    is_timed = hours["n"] > 0
    key = {
        "trace_id": trace_id,
        "since": hours["first_start"] if is_timed else _BEGINNING,
        "until": hours["last_start"] if is_timed else _END,
    }
    with ThreadPoolExecutor(2) as beside:
        reading = beside.submit(_facts, store, _within, key, facts_of)
        if not is_timed:
            facts = reading.result()
            if facts.is_empty():
                return None
            key |= {"since": facts["started_at"].min(), "until": facts["started_at"].max()}
        outcomes = beside.submit(store.frame, load("trace_outcomes_of"), key) if with_outcomes else None
        spans = _spans(store, beside, _within, key | {"limit": max_spans})
        facts = reading.result()
        evaluations = _evaluations(store, [trace_id], facts, spans).drop("trace_id")
        return WholeTrace(trace_id, facts, spans, evaluations, outcomes.result() if outcomes else pl.DataFrame())


def read_traces(store: Store, started: Mapping[str, datetime], max_spans: int) -> dict[str, WholeTrace]:
    """
    Several traces with as many queries as one takes, for what was said in them: without their outcomes, of spans only `kind`,
    `is_model_call`, attributes and what identifies them, and of facts what a pair shows.

    Args:
        started: when each trace began, by its id, as its facts say.
        max_spans: of each trace.

    Returns:
        Those of which anything is left, by id.
    """
    if not started:
        return {}
    hours = store.frame(load("traces_hours"), {"trace_ids": list(started)})
    places = {(trace_id, _hour(moment)) for trace_id, moment in started.items()}
    for row in hours.iter_rows(named=True):
        first, last = _hour(row["first_start"]), _hour(row["last_start"])
        places |= {(row["trace_id"], hour) for hour in range(max(first, last - _MOST_HOURS * 3600), last + 1, 3600)}
    key = {"trace_ids": [trace_id for trace_id, _ in sorted(places)], "hours": [hour for _, hour in sorted(places)]}
    with ThreadPoolExecutor(2) as beside:
        reading = beside.submit(_facts, store, _among, key, _FACTS_OF_WORDS)
        spans = _spans(store, beside, _among, key | {"limit": max_spans}, "trace_words", _SPAN_FACTS_OF_WORDS)
        facts = reading.result()
    evaluations = _evaluations(store, list(started), facts, spans)
    frames = (facts, spans, evaluations)
    parts = [frame.partition_by("trace_id", as_dict=True, maintain_order=True) for frame in frames]
    found: dict[str, WholeTrace] = {}
    for trace_id in started:
        mine = [part.get((trace_id,), frame.clear()) for part, frame in zip(parts, frames, strict=True)]
        if not (mine[0].is_empty() and mine[1].is_empty()):
            found[trace_id] = WholeTrace(trace_id, mine[0], mine[1], mine[2].drop("trace_id"), pl.DataFrame())
    return found


def _within(hour: str, trace_id: str) -> str:
    """One trace, between the hours of its first and its last span."""
    return (
        f"{hour} >= toStartOfHour({{since:DateTime64(9, 'UTC')}}) AND {hour} <= toStartOfHour({{until:DateTime64(9, 'UTC')}})"
        f" AND {trace_id} = {{trace_id:String}}"
    )


def _among(hour: str, trace_id: str) -> str:
    """Several traces, each in its own hours: the two columns that the tables are sorted by."""
    hours = "arrayMap(s -> toDateTime(s, 'UTC'), {hours:Array(UInt32)})"
    places = f"SELECT arrayJoin(arrayZip({hours}, {{trace_ids:Array(String)}})) AS place"
    return f"({hour}, {trace_id}) IN (SELECT place.1, place.2 FROM ({places}))"


def _facts(store: Store, where: _Where, key: Mapping[str, object], columns: Sequence[str] = tuple(TRACE_FACTS)) -> pl.DataFrame:
    sql = load("trace_facts_of").replace("{columns}", ", ".join(columns))
    return store.frame(sql.replace("{where_traces}", where("toStartOfHour(started_at)", "trace_id")), key)


def _spans(
    store: Store,
    beside: ThreadPoolExecutor,
    where: _Where,
    key: Mapping[str, object],
    name: str = "trace_spans",
    columns: Sequence[str] = _SPAN_FACTS,
) -> pl.DataFrame:
    """As the view `spans` shows them, joined here: analysing a join of 70 columns takes the engine as long as reading them."""
    sql = load("trace_span_facts").replace("{columns}", ", ".join(columns)).replace("{where}", where("start_hour", "trace_id"))
    told = beside.submit(store.frame, sql, key)
    records = store.frame(load(name).replace("{where}", where("toStartOfHour(start_time)", "trace_id")), key)
    return with_readable_attributes(_with_facts(records, told.result()))


def _with_facts(records: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """`records` with what `facts` say of the same spans instead; what was assembled as unknown is unknown."""
    span = ["trace_id", "span_id"]
    found = records.select(span).join(facts.with_columns(is_told=True), on=span, how="left", maintain_order="left")
    is_told = found["is_told"].fill_null(value=False)
    both = [name for name in facts.columns if name in records.columns and name not in span]
    return records.with_columns(
        pl.when(is_told).then(found[name].cast(records.schema[name])).otherwise(pl.col(name)).alias(name) for name in both
    )


def _evaluations(store: Store, trace_ids: Sequence[str], facts: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """
    Those that name the traces, and those of their sessions or responses that were resolved to them.

    Joined here: in one statement the engine would analyse each part twice, which takes it longer than reading them.
    """
    asked: dict[str, list[str]] = {
        "session_ids": _known(facts["session_id"].to_list() + spans["session_id"].to_list()),
        "response_ids": _known(spans["response_id"].to_list()),
    }
    others = "".join(f"\n    OR {condition}" for name, condition in _UNRESOLVED.items() if asked[name])
    found = store.frame(load("trace_evaluations").replace("{others}", others), {"trace_ids": list(trace_ids), **asked})
    if found.is_empty():
        return found
    told = read_targets(store, found["evaluation_id"].to_list()).select(
        "evaluation_id", told_trace="trace_id", told_span="span_id"
    )
    joined = found.join(told, on="evaluation_id", how="left", maintain_order="left").with_columns(
        pl.when(pl.col(f"told_{name}").fill_null("") == "").then(f"{name}_id").otherwise(f"told_{name}").alias(f"{name}_id")
        for name in ("trace", "span")
    )
    is_theirs = pl.any_horizontal(pl.col(name).is_in(list(trace_ids)) for name in ("target_trace_id", "trace_id"))
    return joined.filter(is_theirs).drop("told_trace", "told_span")


def _hour(moment: datetime) -> int:
    return int(moment.timestamp()) // 3600 * 3600


def _end(until: datetime, after: TracePosition | None) -> datetime:
    if after is None:
        return until
    return min(until, datetime.fromtimestamp(after.started_at_ns // 1_000_000_000, UTC) + timedelta(seconds=1))


def windows(since: datetime, until: datetime, growth: int = _GROWTH) -> Iterator[tuple[datetime, datetime]]:
    """[since, until) cut into windows, newest first, each `growth` times as long as the one before."""
    end, length = until, _FIRST_WINDOW
    while end > since:
        start = max(since, end - length)
        yield start, end
        end, length = start, length * growth


def _candidates(
    store: Store, wanted: TraceFilter, start: datetime, end: datetime, after: TracePosition | None, limit: int
) -> pl.DataFrame:
    sql = load("trace_candidates").replace("{filters}", wanted.conditions())
    last = after or TracePosition(9_214_646_400_000_000_000, "", "")
    position = {"after_time_ns": last.started_at_ns, "after_trace": last.trace_id, "after_role": last.mirror_role}
    return store.frame(sql, wanted.parameters() | position | {"since": start, "until": end, "limit": limit})


def _present(
    store: Store, wanted: TraceFilter, since: datetime, until: datetime, keys: pl.DataFrame | None, columns: Sequence[str]
) -> pl.DataFrame:
    sql = load("traces_of").replace("{columns}", ", ".join(dict.fromkeys([*columns, *_KEY])))
    sql = sql.replace("{filters}", wanted.conditions())
    sql = sql.replace("{where_traces}", _among("toStartOfHour(started_at)", "trace_id"))
    hours: list[int] = []
    trace_ids: list[str] = []
    low, high = since, until
    if keys is not None:
        hours = (keys["started_at"].dt.epoch("s") // 3600 * 3600).to_list()
        trace_ids = keys["trace_id"].to_list()
        low = max(since, keys.select(pl.col("started_at").min()).item())
        high = min(until, keys.select(pl.col("started_at").max()).item() + timedelta(seconds=1))
    frame = store.frame(sql, wanted.parameters() | {"hours": hours, "trace_ids": trace_ids, "since": low, "until": high})
    if keys is None:
        return frame
    return frame.join(keys, on=_KEY, how="semi", maintain_order="left")


def _position(traces: pl.DataFrame) -> TracePosition:
    last = traces.tail(1)
    return TracePosition(int(last["started_at"].dt.epoch("ns").item()), last["trace_id"].item(), last["mirror_role"].item())


def _known(values: Sequence[str | None]) -> list[str]:
    return sorted({value for value in values if value})
