"""
Reads stored attributes through the present vocabulary again: what a better mapping finds, history gets too.

Rows are written again with the version they had, so that the newer writing wins and nothing else changes; their traces are
touched, so the next jobs assemble and price them anew. The work goes hour by hour; cut short, it is simply run again.
Evaluations are not read again from spans: they were written as rows of their own.
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
    # rows that were written before and replaced since are to be written again
    "insert_deduplicate": 0,
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
        StoreUnavailableError, StoreRefusedError: see `storage.client.Store`. Whatever cuts it short, hours done so far stay done,
            and the run is recorded as failed.
    """
    now = (clock or WallClock()).now
    started = time.monotonic()
    run = JobRun(uuid.uuid4().hex, "renormalize", now())
    write_job_run(store, run)
    try:
        hours = store.frame(load("span_hours", "collector"), {"since": since, "until": until or now() + timedelta(days=365)})
        for done, hour in enumerate(hours["hour"], start=1):
            end = min(hour + _HOUR, until) if until is not None else hour + _HOUR
            n_done = run.rows_written + _rewrite(store, {"since": max(hour, since), "until": end})
            run = run.after(rows_read=n_done, rows_written=n_done, progress=done / hours.height)
            write_job_run(store, run)
            if progress is not None:
                progress(run.progress)
        run = run.after(state=JobState.DONE, progress=1.0, detail=f"{run.rows_written} spans")
    except BaseException as error:
        run = run.after(state=JobState.FAILED, error=f"{type(error).__name__}: {error}")
        raise
    finally:
        run = run.after(finished_at=now(), seconds=time.monotonic() - started)
        write_job_run(store, run)
    return run


def _rewrite(store: Store, period: dict[str, datetime]) -> int:
    """How many spans were written anew."""
    counted = census.answer(store.frame(load("stored_census", "collector"), period).row(0, named=True))
    store.command(f"INSERT INTO span_records ({', '.join(SPAN_COLUMNS)}) {normalise.stored(counted)}", period, _SETTINGS)
    return int(store.frame(load("span_count", "collector"), period)["n_spans"].item())
