"""
SQL over the view `spans` in an hour that is full: CPU, time and memory of a question, as `POST /api/v1/sql` asks it.

    python -m tests.bench.bench_sql [--spans 3000000] [--memory 512] [--directory PATH]

Spans in traces of six with random ids, each with its facts. Memory is the engine's own figure of the statement, looked at every
20 ms: a question that takes less long may show none. A directory is filled once and kept.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from api.config import ApiConfig
from storage.client import Store
from storage.errors import QueryLimitError
from storage.migrations import migrate
from storage.sandbox import QueryLimits, Sandbox
from tests.support.rows import fill_hour

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
_IN_HOUR = "start_time >= '2026-03-01 10:00:00' AND start_time < '2026-03-01 11:00:00'"
_TEN_SECONDS = "start_time >= '2026-03-01 10:30:00' AND start_time < '2026-03-01 10:30:10'"
QUESTIONS = {
    "count of ten seconds": f"SELECT count() FROM spans WHERE {_TEN_SECONDS}",
    "the same, its hour named": f"SELECT count() FROM spans WHERE start_hour = '2026-03-01 10:00:00' AND {_TEN_SECONDS}",
    "cost by route, ten seconds": f"SELECT model_route, count(), sum(cost_usd) FROM spans WHERE {_TEN_SECONDS} GROUP BY 1",
    "count of the hour": f"SELECT count() FROM spans WHERE {_IN_HOUR}",
    "cost by route, the hour": f"SELECT model_route, count(), sum(cost_usd) FROM spans WHERE {_IN_HOUR} GROUP BY 1",
    "one trace": "SELECT span_id, model_route, cost_usd FROM spans WHERE trace_id = lower(hex(sipHash128(toUInt64(7))))",
    "every column, 100 rows": "SELECT * FROM spans LIMIT 100",
    "the newest 20": "SELECT trace_id, span_id, model_route FROM spans ORDER BY start_time DESC LIMIT 20",
}


@contextmanager
def watched(store: Store) -> Iterator[list[int]]:
    """The most bytes any statement over spans took while the block runs, as the only item."""
    most, done = [0], threading.Event()

    def look() -> None:
        sql = "SELECT max(peak_memory_usage) AS bytes FROM system.processes WHERE query LIKE '%FROM spans%'"
        while not done.wait(0.02):
            most[0] = max(most[0], store.frame(f"{sql} AND query NOT LIKE '%system.processes%'")["bytes"].item() or 0)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def ask(store: Store, limits: QueryLimits) -> None:
    """Ask each question once and print what it took."""
    sandbox = Sandbox(store, 1)
    for name, query in QUESTIONS.items():
        with watched(store) as most:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                with sandbox.run(query, {}, limits) as answer:
                    outcome = f"{sum(batch.num_rows for batch in answer.batches):,} rows"
            except QueryLimitError as error:
                outcome = f"over the limit of {error.limit}"
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{name:<28}{cpu:7.2f} s CPU{wall:7.2f} s wall{most[0] / 2**20:8.0f} MiB   {outcome}", flush=True)


def main() -> None:
    """Fill and ask."""
    config = ApiConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=3_000_000)
    parser.add_argument("--memory", type=int, default=config.sql_memory_bytes // 2**20, help="MiB a question may take")
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spanwise-bench-") as name:
        store = Store.embedded(options.directory or Path(name))
        migrate(store)
        if not store.frame("SELECT count() AS n FROM span_facts")["n"].item():
            fill_hour(store, options.spans, HOUR)
        rows, bytes_ = config.sql_max_rows, config.sql_max_result_bytes
        ask(store, QueryLimits(config.sql_seconds, options.memory * 2**20, config.sql_max_read_rows, rows, bytes_))
        store.close()


if __name__ == "__main__":
    main()
