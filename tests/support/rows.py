"""Rows for tests of the store: made by the engine, so that every column type takes part."""

from __future__ import annotations

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
