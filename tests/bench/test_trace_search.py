"""
How long finding traces takes beside much history.

Run: `pytest -m bench tests/bench/test_trace_search.py -s`; SPANWISE_BENCH_TRACES sets how many traces (10 million unless said).
"""

from __future__ import annotations

import os
import statistics
import time
from datetime import UTC, datetime, timedelta

import pytest

from storage.client import Store
from storage.traces import TraceFilter, position_of, read_trace, search_traces

pytestmark = [pytest.mark.bench, pytest.mark.integration]

N_TRACES = int(os.environ.get("SPANWISE_BENCH_TRACES", "10000000"))
DAYS = 30
END = datetime(2026, 3, 1, tzinfo=UTC)

_FILL = """
INSERT INTO trace_facts (trace_id, started_at, service_name, environment, model_route, model, models, cohort, prompt_version,
    session_id, user_id, mirror_role, name, duration_ns, n_spans, cost_usd, errored, received_at, computed_at, is_deleted)
SELECT lower(hex(sipHash128(number))), toDateTime64({end:Int64} - number * {span:Int64} / {n:Int64}, 9, 'UTC'), 'support-agent',
    'production', if(number % 5 = 0, 'student', 'teacher'), 'm', ['m'], concat('cohort-', toString(cityHash64(number) % 10)),
    concat('p-', toString(number % 2)), concat('s-', toString(intDiv(number, 4))),
    concat('u-', toString(cityHash64(number) % 200000)), 'none', 'handle', 1000000 * (cityHash64(number, 1) % 20000), 6,
    toDecimal64(0.001 * (cityHash64(number, 2) % 1000), 9), number % 1000 = 0, now64(9), now64(9), 0
FROM numbers({first:UInt64}, {count:UInt64})
"""


def fill(store: Store) -> None:
    piece = 1_000_000
    for first in range(0, N_TRACES, piece):
        store.command(
            _FILL,
            {
                "end": int(END.timestamp()) - 1,
                "span": DAYS * 86_400,
                "n": N_TRACES,
                "first": first,
                "count": min(piece, N_TRACES - first),
            },
        )


def timed(store: Store, wanted: TraceFilter, pages: int = 10) -> list[float]:
    """Milliseconds of each of the first pages."""
    found, after = [], None
    for _ in range(pages):
        started = time.perf_counter()
        page = search_traces(store, wanted, END - timedelta(days=DAYS), END, after, 100)
        found.append((time.perf_counter() - started) * 1000)
        if page.is_empty():
            break
        after = position_of(page)
    return found


def test_search(store: Store) -> None:
    fill(store)
    questions = {
        "newest": TraceFilter(),
        "one cohort": TraceFilter(cohorts=["cohort-3"]),
        "errors of the student": TraceFilter(routes=["student"], errored=True),
        "slow and dear": TraceFilter(min_duration_ns=19_900_000_000, min_cost_usd=0.99),
        "one user of 200,000": TraceFilter(user_id="u-77"),
        "nobody": TraceFilter(user_id="nobody"),
    }
    for name, wanted in questions.items():
        times = [value for _ in range(3) for value in timed(store, wanted)]
        print(f"{name:24} median {statistics.median(times):6.0f} ms   max {max(times):6.0f} ms   of {len(times)} pages")
    some = search_traces(store, TraceFilter(), END - timedelta(days=1), END, None, 20)["trace_id"].to_list()
    times = []
    for trace_id in some:
        started = time.perf_counter()
        read_trace(store, trace_id, 10_000)
        times.append((time.perf_counter() - started) * 1000)
    print(f"{'one trace, spans gone':24} median {statistics.median(times):6.0f} ms   max {max(times):6.0f} ms")


def test_one_trace_of_a_thousand_spans(store: Store) -> None:
    store.command(
        "INSERT INTO span_records "
        "(trace_id, span_id, parent_span_id, name, start_time, end_time, duration_ns, attributes, received_at) "
        "SELECT lower(hex(sipHash128(intDiv(number, 1000)))), lower(hex(number)), '', 'chat', t, t, 1, "
        "mapFromArrays(arrayMap(i -> concat('key.', toString(i)), range(15)), arrayMap(i -> toString(number + i), range(15))), t "
        "FROM (SELECT number, toDateTime64({end:Int64} - intDiv(number, 1000), 9, 'UTC') AS t FROM numbers(500000))",
        {"end": int(END.timestamp())},
    )
    ids = store.frame("SELECT DISTINCT trace_id FROM span_records LIMIT 20")["trace_id"].to_list()
    times = []
    for trace_id in ids:
        started = time.perf_counter()
        trace = read_trace(store, trace_id, 10_000)
        times.append((time.perf_counter() - started) * 1000)
        assert trace is not None
        assert len(trace.spans) == 1000
    print(f"{'one trace of 1,000 spans':24} median {statistics.median(times):6.0f} ms   max {max(times):6.0f} ms")
