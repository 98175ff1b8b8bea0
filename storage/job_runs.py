"""What jobs did: one row per run, rewritten as it goes, and the watermark the next run starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

import polars as pl

from storage.client import Store
from storage.sql import load

_TIME = pl.Datetime("ns", "UTC")


class JobState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class JobRun:
    """
    One run of a job.

    `watermark` is the `written_at` up to which everything is processed; a failed run carries the one it reached for sure.
    `progress` runs from 0 to 1; `detail` says in words what was done, `error` why it failed or was stopped.
    """

    run_id: str
    kind: str
    started_at: datetime
    finished_at: datetime | None = None
    state: JobState = JobState.RUNNING
    watermark: datetime | None = None
    rows_read: int = 0
    rows_written: int = 0
    seconds: float = 0.0
    watermark_lag_seconds: float | None = None
    progress: float = 0.0
    detail: str = ""
    error: str = ""

    def after(self, **changes: object) -> JobRun:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


JOB_RUNS = pl.Schema(
    {
        "run_id": pl.String(),
        "kind": pl.String(),
        "started_at": _TIME,
        "finished_at": _TIME,
        "state": pl.String(),
        "watermark": _TIME,
        "rows_read": pl.UInt64(),
        "rows_written": pl.UInt64(),
        "seconds": pl.Float64(),
        "watermark_lag_seconds": pl.Float64(),
        "progress": pl.Float64(),
        "detail": pl.String(),
        "error": pl.String(),
    }
)


def write_job_run(store: Store, run: JobRun) -> None:
    """Record the run as it stands; a later call for the same run replaces it."""
    row = {name: getattr(run, name) for name in JOB_RUNS} | {"changed_at": datetime.now(UTC)}
    store.insert("job_runs", pl.DataFrame([row], schema_overrides={**JOB_RUNS, "changed_at": _TIME}))


def read_job_runs(store: Store, kind: str = "", limit: int = 100) -> list[JobRun]:
    """The newest runs first, of one kind or of all."""
    frame = store.frame(load("read_job_runs"), {"kind": kind, "limit": limit})
    return [_run(row) for row in frame.select(list(JOB_RUNS)).iter_rows(named=True)]


def read_job_run(store: Store, run_id: str) -> JobRun | None:
    """One run by its id."""
    frame = store.frame(load("read_job_run"), {"run_id": run_id})
    return next((_run(row) for row in frame.select(list(JOB_RUNS)).iter_rows(named=True)), None)


def read_watermark(store: Store, kind: str) -> datetime | None:
    """
    Up to where jobs of this kind have processed everything; None before the first run.

    Runs that failed count too: they move it only past what they wrote whole.
    """
    value: datetime | None = store.frame(load("read_watermark"), {"kind": kind})["watermark"].item()
    return value


def _run(row: dict[str, object]) -> JobRun:
    return JobRun(**(row | {"state": JobState(str(row["state"]))}))  # type: ignore[arg-type]
