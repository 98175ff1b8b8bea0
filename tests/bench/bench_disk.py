"""
What a span and a trace cost on disk once everything is merged, table by table, in traces of six spans without texts.

    python -m tests.bench.bench_disk [--traces 20000] [--evaluated 0.2]

Also prints the CPU seconds of the jobs, engine included, and of merging.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from analytics.config import AnalyticsConfig
from analytics.jobs import Jobs
from storage.client import Store
from storage.clock import WallClock
from storage.job_runs import JobState
from storage.migrations import migrate
from tests.bench.job_stores import KINDS, load

_SIZES = """
SELECT table, sum(rows) AS n_rows, sum(bytes_on_disk) AS n_bytes
FROM system.parts WHERE active AND database = {d:String} GROUP BY table HAVING n_bytes > 20000 ORDER BY n_bytes DESC
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--traces", type=int, default=20_000)
    parser.add_argument("--evaluated", type=float, default=0.2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        store = Store.embedded(Path(directory))
        migrate(store)
        n_spans = load(store, given.traces, given.evaluated)
        jobs = Jobs(store, AnalyticsConfig(), WallClock())
        began = time.process_time()
        assert all(jobs.run(kind).state is JobState.DONE for kind in KINDS)
        in_jobs = time.process_time() - began
        began = time.process_time()
        for (table,) in store.frame("SELECT DISTINCT table FROM system.parts WHERE database = 'spanwise' AND active").rows():
            store.command(f"OPTIMIZE TABLE `{table}` FINAL")
        print(f"{n_spans:,} spans, {given.traces:,} traces; CPU s: jobs {in_jobs:.1f}, merging {time.process_time() - began:.1f}")
        print("| table | rows | bytes a span | bytes a trace |\n|---|---|---|---|")
        for table, n_rows, n_bytes in store.frame(_SIZES, {"d": store.database}).iter_rows():
            print(f"| `{table}` | {n_rows:,} | {n_bytes / n_spans:.1f} | {n_bytes / given.traces:.1f} |")
        store.close()


if __name__ == "__main__":
    main()
