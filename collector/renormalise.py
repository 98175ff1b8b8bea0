"""
Reads stored attributes through the present vocabulary again: what a better mapping finds, history gets too.

Rows are written again with the version they had, so that the newer writing wins and nothing else changes. The work goes hour by
hour; cut short, it is simply run again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from collector import census, normalise
from storage.client import Store
from storage.clock import Clock, WallClock
from storage.job_runs import JobRun, JobState, write_job_run
from storage.spans import SPAN_COLUMNS
from storage.sql import load

_HOUR = timedelta(hours=1)
_SETTINGS = {
    "optimize_and_compare_chain": 0,
    "query_plan_enable_optimizations": 0,
    "compile_expressions": 0,
    "max_block_size": 16384,
}


def renormalise(
    store: Store,
    since: datetime,
    until: datetime | None = None,
    progress: Callable[[float], None] | None = None,
    clock: Clock | None = None,
) -> JobRun:
    """
    Write every span that starts in [since, until) anew, hours without spans left out.

    Args:
        progress: told the share that is done, from 0 to 1, after every hour.

    Raises:
        StoreUnavailableError, StoreRefusedError: see `storage.client.Store`; hours done so far stay done.
    """
    now = (clock or WallClock()).now
    started = time.monotonic()
    run = JobRun(uuid.uuid4().hex, "renormalize", now())
    write_job_run(store, run)
    hours = store.frame(load("span_hours", "collector"), {"since": since, "until": until or now() + timedelta(days=365)})
    n_done = 0
    for done, (hour, n_spans) in enumerate(hours.iter_rows(), start=1):
        end = min(hour + _HOUR, until) if until is not None else hour + _HOUR
        period = {"since": max(hour, since), "until": end}
        counted = census.answer(store.frame(load("stored_census", "collector"), period))
        store.command(f"INSERT INTO span_records ({', '.join(SPAN_COLUMNS)}) {normalise.stored(counted)}", period, _SETTINGS)
        n_done += n_spans
        run = run.after(rows_read=n_done, rows_written=n_done, progress=done / hours.height)
        write_job_run(store, run)
        if progress is not None:
            progress(run.progress)
    run = run.after(
        state=JobState.DONE, finished_at=now(), progress=1.0, seconds=time.monotonic() - started, detail=f"{n_done} spans"
    )
    write_job_run(store, run)
    return run
