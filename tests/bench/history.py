"""
A month of history, written by the engine itself: facts, outcomes and rollups of every trace, spans of the last day.

Nothing is random: a row's values are hashes of its number, so every run fills the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from storage.client import Store

DAYS = 30
SERVICE = "history"
COHORTS = 10
USERS = 200_000
SPANS_PER_TRACE = 3
LONG_TRACES = 20
LONG_SPANS = 1_000
_PIECE = 1_000_000

# The trace of a number: its id, and when it began; 0 is the newest.
_TRACE = """
    lower(hex(sipHash128(number))) AS trace_id,
    toDateTime64({end:Int64} - number * {span:Int64} / {n:Int64}, 9, 'UTC') AS started_at,
    concat('cohort-', toString(cityHash64(number) % 10)) AS cohort,
    if(number % 5 = 0, 'student', 'teacher') AS route,
    concat('p-', toString(number % 2)) AS prompt_version"""

_FACTS = f"""
INSERT INTO trace_facts (trace_id, started_at, service_name, environment, model_route, model, models, cohort, prompt_version,
    session_id, user_id, mirror_role, name, duration_ns, n_spans, n_model_calls, n_logical_calls, cost_usd, cost_source, errored,
    input_tokens, output_tokens, received_at, computed_at, is_deleted)
SELECT trace_id, started_at, '{SERVICE}', 'production', route, 'm', ['m'], cohort, prompt_version,
    concat('s-', toString(intDiv(number, 4))), concat('u-', toString(cityHash64(number) % {USERS})), 'none', 'handle',
    1000000 * (cityHash64(number, 1) % 20000), {SPANS_PER_TRACE}, 1, 1, toDecimal64(0.001 * (cityHash64(number, 2) % 1000), 9),
    'configured', number % 1000 = 0, cityHash64(number, 3) % 3000, cityHash64(number, 4) % 600, now64(9), now64(9), 0
FROM (SELECT number, {_TRACE} FROM numbers({{first:UInt64}}, {{count:UInt64}}))
"""

# every seventh trace was judged, and of the judged one in twelve failed
_OUTCOMES = f"""
INSERT INTO trace_outcomes (trace_id, started_at, mirror_role, metric, evaluator, evaluator_version, sampling_rule, n_verdicts,
    failed, failed_matured, n_verdicts_matured, computed_at, is_deleted)
SELECT trace_id, started_at, 'none', 'eval_fail', 'TaskCompletion', 'judge-3', 'seventh', 1, cityHash64(number, 5) % 12 = 0,
    cityHash64(number, 5) % 12 = 0, 1, now64(9), 0
FROM (SELECT number, {_TRACE} FROM numbers({{first:UInt64}}, {{count:UInt64}}) WHERE number % 7 = 0)
"""

_SPANS = f"""
INSERT INTO span_records (trace_id, span_id, parent_span_id, name, start_time, end_time, duration_ns, service_name, environment,
    kind, operation, model_route, cohort, request_model, response_model, input_tokens, output_tokens, status, session_id, user_id,
    attributes, received_at)
SELECT trace_id, lower(hex(sipHash64(number, n))), if(n = 0, '', lower(hex(sipHash64(number, 0)))), if(n = 1, 'chat m', 'handle'),
    started_at, started_at + toIntervalSecond(1), 1000000000, '{SERVICE}', 'production', if(n = 1, 'llm', 'chain'), 'chat', route,
    cohort, 'm', 'm', cityHash64(number, 3) % 3000, cityHash64(number, 4) % 600, 'ok', concat('s-', toString(intDiv(number, 4))),
    concat('u-', toString(cityHash64(number) % {USERS})),
    mapFromArrays(arrayMap(i -> concat('key.', toString(i)), range(15)), arrayMap(i -> toString(number + i), range(15))),
    started_at
FROM (SELECT number, {_TRACE} FROM numbers({{first:UInt64}}, {{count:UInt64}})) ARRAY JOIN range({SPANS_PER_TRACE}) AS n
"""

_SPAN_FACTS = f"""
INSERT INTO span_facts (start_hour, trace_id, span_id, model_route, cohort, is_model_call, cost_usd, cost_source, computed_at)
SELECT toStartOfHour(started_at), trace_id, lower(hex(sipHash64(number, n))), route, cohort, n = 1,
    if(n = 1, toDecimal64(0.001, 9), NULL), 'configured', now64(9)
FROM (SELECT number, {_TRACE} FROM numbers({{first:UInt64}}, {{count:UInt64}})) ARRAY JOIN range({SPANS_PER_TRACE}) AS n
"""

_LONG = f"""
INSERT INTO span_records (trace_id, span_id, parent_span_id, name, start_time, end_time, duration_ns, service_name, kind,
    request_model, attributes, received_at)
SELECT concat('{{prefix}}', leftPad(toString(intDiv(number, {LONG_SPANS})), 24, '0')), lower(hex(number)),
    if(number % {LONG_SPANS} = 0, '', lower(hex(intDiv(number, {LONG_SPANS}) * {LONG_SPANS}))), 'chat', t,
    t + toIntervalSecond(1), 1000000000, '{SERVICE}', if(number % 3 = 0, 'llm', 'tool'), 'm',
    mapFromArrays(arrayMap(i -> concat('key.', toString(i)), range(15)), arrayMap(i -> toString(number + i), range(15))), t
FROM (
    SELECT number, toDateTime64({{end:Int64}} - 60 - intDiv(number, {LONG_SPANS}), 9, 'UTC') AS t
    FROM numbers({LONG_TRACES * LONG_SPANS})
)
"""
LONG_PREFIX = "badc0de5"

METRICS = (
    "error",
    "retry",
    "fallback",
    "timeout",
    "cost",
    "latency",
    "ttft",
    "input_tokens",
    "output_tokens",
    "eval_fail",
    "sampled",
)

# One row per bucket, metric, route, cohort, prompt version and half, each with what its traces would have added up to.
_ROLLUPS = """
INSERT INTO {table} (bucket, service_name, environment, metric, evaluator, evaluator_version, sampling_rule, model_route, model,
    cohort, prompt_version, aa, mirrored, n_eligible_all, n_scored_all, n_fail_all, n_eligible_matured, n_scored_matured,
    n_fail_matured, n_value_all, sum_value_all, sum_squares_all, hist_bins_all, hist_counts_all,
    hist_sums_all, hist_squares_all, computed_at, is_deleted)
WITH
    number % 2 AS half, intDiv(number, 2) % 2 AS version, intDiv(number, 4) % 10 AS c, intDiv(number, 40) % 2 AS r,
    {metrics:Array(String)}[1 + intDiv(number, 80) % {n_metrics:UInt32}] AS what,
    intDiv(number, 80 * {n_metrics:UInt32}) AS step,
    toUInt64(greatest(1, {per_bucket:Float64} * if(r = 1, 0.2, 0.8) / 40)) AS n,
    if(what IN ('cost', 'latency', 'ttft', 'input_tokens', 'output_tokens'), 40, 0) AS n_bins
SELECT
    toDateTime({end:Int64} - (step + 1) * {seconds:Int64}, 'UTC'), '{service}', 'production', what,
    if(what = 'eval_fail', 'TaskCompletion', ''), if(what = 'eval_fail', 'judge-3', ''), if(what = 'eval_fail', 'seventh', ''),
    if(r = 1, 'student', 'teacher'), 'm', concat('cohort-', toString(c)), concat('p-', toString(version)), half, 0,
    n, n, intDiv(n, 12), n, n, intDiv(n, 12), n, n * 2.5, n * 9.0, arrayMap(i -> toInt16(20 + i), range(n_bins)),
    arrayMap(i -> toUInt64(1 + intDiv(n, 40)), range(n_bins)), arrayMap(i -> 2.5, range(if(what = 'cost', n_bins, 0))),
    arrayMap(i -> 9.0, range(if(what = 'cost', n_bins, 0))), now64(9), 0
FROM numbers({count:UInt64})
"""


def fill(store: Store, n_traces: int, end: datetime) -> None:
    """
    Write `n_traces` of the `DAYS` before `end` (a full hour), with spans of the last day and `LONG_TRACES` of `LONG_SPANS`.

    The feeds of the jobs are emptied afterwards: nothing is to be computed again. Rollups by the minute are there for the last
    three hours; hours and days, which every longer question reads, for all of it.
    """
    for number in range(n_pieces(n_traces)):
        fill_piece(store, n_traces, end, number)
    finish(store, n_traces, end)


def n_pieces(n_traces: int) -> int:
    """How many pieces `fill_piece` writes."""
    return -(-n_traces // _PIECE)


def fill_piece(store: Store, n_traces: int, end: datetime, number: int) -> None:
    """One piece of the facts and outcomes of `fill`, the newest first; written twice it is there once."""
    first = number * _PIECE
    piece = _span_of_time(n_traces, end) | {"first": first, "count": min(_PIECE, n_traces - first)}
    store.command(_FACTS, piece)
    store.command(_OUTCOMES, piece)


def finish(store: Store, n_traces: int, end: datetime) -> None:
    """What `fill` writes besides facts and outcomes."""
    when = _span_of_time(n_traces, end)
    last_day = when | {"first": 0, "count": n_traces // DAYS}
    store.command(_SPANS, last_day)
    store.command(_SPAN_FACTS, last_day)
    store.command(_LONG.replace("{prefix}", LONG_PREFIX), {"end": when["end"]})
    fill_rollups(store, n_traces, end)
    for feed in ("touched_minutes", "touched_traces"):
        store.command(f"TRUNCATE TABLE {feed}")


def _span_of_time(n_traces: int, end: datetime) -> dict[str, int]:
    return {"end": int(end.timestamp()) - 1, "span": DAYS * 86_400, "n": n_traces}


def fill_rollups(store: Store, n_traces: int, end: datetime) -> None:
    """The rollups of `fill`."""
    per_day = n_traces / DAYS
    midnight = end.replace(hour=0) + timedelta(days=1)
    for table, seconds, until, n_buckets in (
        ("metric_days", 86_400, midnight, DAYS + 1),
        ("metric_hours", 3_600, end, DAYS * 24),
        ("metric_minutes", 60, end, 180),
    ):
        parameters = {
            "end": int(until.timestamp()),
            "seconds": seconds,
            "metrics": list(METRICS),
            "n_metrics": len(METRICS),
            "per_bucket": per_day * seconds / 86_400,
            "count": n_buckets * 80 * len(METRICS),
        }
        store.command(_ROLLUPS.replace("{table}", table).replace("{service}", SERVICE), parameters)


def trace_ids(store: Store, count: int) -> list[str]:
    """Some traces of the last day."""
    sql = "SELECT lower(hex(sipHash128(number * 997))) AS trace_id FROM numbers({count:UInt64})"
    found: list[str] = store.frame(sql, {"count": count})["trace_id"].to_list()
    return found


def long_trace_ids() -> list[str]:
    """The traces of `LONG_SPANS`."""
    return [f"{LONG_PREFIX}{number:024d}" for number in range(LONG_TRACES)]
