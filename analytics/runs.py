"""What every job shares: a run that is recorded as it goes, and the memory of what was looked at within the overlap."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import structlog

from storage.client import Store
from storage.job_runs import JobRun, JobState, write_job_run

log = structlog.get_logger(__name__)

Progress = Callable[[float], None]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING_TO_DO = "nothing to do"
"""What a run that found nothing says; most are not recorded."""

# these have no watermark
_AFTER_STOP = dict.fromkeys(("backfill", "reprice"), "some of the range is rebuilt: ask for it again")


class StoppedError(Exception):
    """The process is to stop; what was done so far is written."""


class Recorder:
    """
    Writes a run's row when it starts, as it advances and when it ends.

    The watermark it records is only ever one below which every write is finished, so whatever ends a run, the next one starts
    where nothing is skipped.

    Args:
        stopping: once set, the run ends after the batch it is at.
    """

    def __init__(
        self, store: Store, kind: str, progress: Progress | None = None, stopping: threading.Event | None = None
    ) -> None:
        self._store = store
        self._stopping = stopping or threading.Event()
        self._progress = progress
        self._started = time.monotonic()
        self._noted = self._started
        self.run = JobRun(uuid.uuid4().hex, kind, datetime.now(UTC))

    def add(self, rows_read: int, rows_written: int) -> None:
        """Count a batch of work that is written. Raises `StoppedError` when it is to be the last one."""
        self.run = self.run.after(rows_read=self.run.rows_read + rows_read, rows_written=self.run.rows_written + rows_written)
        if self._stopping.is_set():
            raise StoppedError

    def advance(self, share: float) -> None:
        """Say how far the run is. The table is told about once a second."""
        self.run = self.run.after(progress=min(1.0, share))
        if self._progress is not None:
            self._progress(self.run.progress)
        if time.monotonic() - self._noted > 1.0:
            self._noted = time.monotonic()
            write_job_run(self._store, self.run)

    def reached(self, watermark: datetime) -> None:
        """Everything up to here is written."""
        self.run = self.run.after(watermark=watermark)

    def finish(self, store_now: datetime, detail: str) -> JobRun:
        """The run is done."""
        lag = (store_now - self.run.watermark).total_seconds() if self.run.watermark else None
        self.run = self._ended(JobState.DONE).after(progress=1.0, detail=detail, watermark_lag_seconds=lag)
        write_job_run(self._store, self.run)
        if self.run.rows_written:
            log.info("job_done", kind=self.run.kind, run_id=self.run.run_id, rows=self.run.rows_written, seconds=self.run.seconds)
        return self.run

    def fail(self, error: BaseException) -> JobRun:
        """The run failed; its watermark stays where everything was written."""
        self.run = self._ended(JobState.FAILED).after(error=f"{type(error).__name__}: {error}")
        return self.run

    def stop(self) -> JobRun:
        """The run was cut short; its watermark stays where everything was written."""
        after = _AFTER_STOP.get(self.run.kind, "the next run goes on from the watermark")
        self.run = self._ended(JobState.STOPPED).after(error=f"the process was stopped; {after}")
        write_job_run(self._store, self.run)
        return self.run

    def _ended(self, state: JobState) -> JobRun:
        return self.run.after(state=state, finished_at=datetime.now(UTC), seconds=time.monotonic() - self._started)


class Seen:
    """
    Which feed rows were already looked at, as far back as the overlap reaches.

    A job looks again at what was written shortly before its watermark, because an insert becomes visible a little after its
    `written_at`. This keeps it from doing the same work in every run; after a restart the overlap is done once more.
    """

    def __init__(self, overlap: timedelta) -> None:
        self._overlap = overlap
        self._rows: pl.DataFrame | None = None

    def start(self, watermark: datetime) -> datetime:
        """From where to read."""
        return max(EPOCH, watermark - self._overlap)

    def fresh(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those not looked at before."""
        return rows if self._rows is None else rows.join(self._rows, on=self._rows.columns, how="anti")

    def remember(self, rows: pl.DataFrame, watermark: datetime) -> None:
        """These were processed, and everything up to `watermark` is; older ones than the overlap are forgotten."""
        both = rows if self._rows is None else pl.concat([self._rows, rows.select(self._rows.columns)])
        self._rows = both.filter(pl.col("written_at") > self.start(watermark))
