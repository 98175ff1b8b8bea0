"""Rows for tests of the store: made by the engine, so that every column type takes part."""

from __future__ import annotations

from datetime import datetime

from storage.client import Store

_SPANS = """
INSERT INTO span_records
    (trace_id, span_id, name, start_time, end_time, received_at, user_id, reported_cost_usd, metadata,
     attributes, attribute_types, events, row_version)
SELECT
    lower(hex(sipHash128(number % {traces:UInt32}))), lower(hex(sipHash64(number))), 'chat',
    toDateTime64('2026-03-01', 9, 'UTC') + number, toDateTime64('2026-03-01', 9, 'UTC') + number + 1,
    now64(9) - toIntervalDay({age:UInt32} + number % 3),
    concat('user-', toString(number % {traces:UInt32} % 10)), number / 1000, map('k', toString(number)),
    map('input.value', 'the prompt', 'gen_ai.request.model', 'm'), [1, 1],
    [(toDateTime64('2026-03-01', 9, 'UTC'), 'exception', map('exception.type', 'Timeout', 'exception.stacktrace', 'frames'))],
    number
FROM numbers({spans:UInt32})
"""


def insert_spans(store: Store, n_spans: int, n_traces: int, age_days: int = 0) -> None:
    """`n_spans` spans of `n_traces` traces and ten users, received over three days, the last `age_days` ago."""
    store.command(_SPANS, {"spans": n_spans, "traces": n_traces, "age": age_days})


_HOUR_OF_SPANS = """
INSERT INTO span_records
    (trace_id, span_id, parent_span_id, name, start_time, end_time, duration_ns, service_name, environment, kind, model_route,
     request_model, input_tokens, output_tokens, status, attributes, attribute_types, resource_attributes, received_at,
     row_version)
WITH
    intDiv(number, 6) AS trace,
    {hour:DateTime64(9, 'UTC')} + toIntervalNanosecond(intDiv(number * 3600000, {spans:UInt64}) * 1000000) AS start
SELECT
    lower(hex(sipHash128(trace))), lower(hex(sipHash64(number))), number % 6 = 0 ? '' : lower(hex(sipHash64(trace * 6))), 'chat',
    start, start + 1, 1000000000, 'support', 'production', number % 6 = 0 ? 'agent' : 'llm',
    number % 6 = 0 ? (trace % 2 = 0 ? 'teacher' : 'student') : '', 'm', number % 1000, number % 100, 'ok',
    map('gen_ai.request.model', 'm', 'session.id', lower(hex(sipHash64(trace)))), [4, 4], map('service.name', 'support'),
    start + 2, number
FROM numbers({from:UInt64}, {n:UInt64})
"""
_HOUR_OF_FACTS = """
INSERT INTO span_facts
    (start_hour, trace_id, span_id, model_route, session_id, is_model_call, usage_scope, logical_call_id, cost_usd, cost_source,
     computed_at, is_deleted)
WITH intDiv(number, 6) AS trace
SELECT
    toStartOfHour({hour:DateTime64(9, 'UTC')}), lower(hex(sipHash128(trace))), lower(hex(sipHash64(number))),
    trace % 2 = 0 ? 'teacher' : 'student', lower(hex(sipHash64(trace))), number % 6 != 0, 'call', lower(hex(sipHash64(number))),
    number % 997 / 1000000, 'priced', now64(9), 0
FROM numbers({from:UInt64}, {n:UInt64})
"""


def fill_hour(store: Store, n_spans: int, hour: datetime, batch: int = 100_000) -> None:
    """`n_spans` spans of one hour in the order of their times, in traces of six with random ids, and the facts of each."""
    for start in range(0, n_spans, batch):
        values = {"hour": hour, "spans": n_spans, "from": start, "n": min(batch, n_spans - start)}
        store.command(_HOUR_OF_SPANS, values)
        store.command(_HOUR_OF_FACTS, values)
