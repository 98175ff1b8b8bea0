"""The jobs of analytics, one door to all of them: assemble, roll up, merge, retention, backfill, reprice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import structlog

from analytics.assemble_job import AssembleJob
from analytics.config import AnalyticsConfig, PriceConfig
from analytics.price_book import PriceBook
from analytics.prices import PriceHistory
from analytics.rollup_job import MergeJob, RollupJob
from analytics.runs import NOTHING_TO_DO, Progress, Recorder, StoppedError
from storage.client import Store
from storage.clock import Clock
from storage.errors import RetryableError
from storage.job_runs import JobRun, JobState, write_job_run
from storage.retention import enforce
from storage.touched import read_store_time

log = structlog.get_logger(__name__)

_IDLE_SECONDS = 60.0
# Jobs run beside what people and senders wait for. A statement of theirs on two threads takes up to three times the CPU on a busy
# machine, for little time saved.
ONE_THREAD = {"max_threads": 1, "max_insert_threads": 1}


class Kind(StrEnum):
    """What can be run."""

    ASSEMBLE = "assemble"
    ROLLUP = "rollup"
    MERGE = "merge"
    RETENTION = "retention"
    BACKFILL = "backfill"
    REPRICE = "reprice"


class Jobs:
    """
    Runs jobs, one at a time, and records each run.

    Args:
        clock: what time it is for maturity (the event clock, when history is replayed). Versions and records use the wall clock.
        prices: the user's own, from the settings.
        replays_history: verdicts count by when they were made instead of by when they arrived.
    """

    def __init__(
        self,
        store: Store,
        config: AnalyticsConfig,
        clock: Clock,
        prices: Iterable[PriceConfig] = (),
        *,
        replays_history: bool = False,
    ) -> None:
        store = store.with_settings(ONE_THREAD)
        self._store = store
        self._rules = config.jobs
        self._clock = clock
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._told_idle: dict[str, float] = {}
        self._prices = PriceHistory(store, prices)
        self._assemble = AssembleJob(store, config, replays_history=replays_history)
        self._rollup = RollupJob(store, config.jobs)
        self._merge = MergeJob(store, config.jobs)

    @property
    def price_book(self) -> PriceHistory:
        """The user's own prices, to read and to set."""
        return self._prices

    def run(
        self, kind: str, since: datetime | None = None, until: datetime | None = None, progress: Progress | None = None
    ) -> JobRun:
        """
        Run a job now; a run that another one holds up waits for it.

        Args:
            kind: a value of `Kind`.
            since, until: for `backfill` and `reprice`: traces that started in [since, until).
            progress: told 0 to 1 as it goes.

        Returns:
            The run as recorded; one that failed or was stopped says why in `error`, and the next one goes on, but for a rebuild.

        Raises:
            ValueError: no such kind, or one that needs `since` without it.
        """
        work = self._work(Kind(kind), since, until)
        with self._lock:
            return self._attempt(kind, work, progress)

    def stop(self) -> None:
        """Let every run, those to come too, end after the batch it is at. Returns at once; `run` returns when that is done."""
        self._stopping.set()

    def _work(self, kind: Kind, since: datetime | None, until: datetime | None) -> Callable[[Recorder], str]:
        if kind in (Kind.BACKFILL, Kind.REPRICE):
            if since is None:
                raise ValueError(f"{kind} needs a time from which on")
            first, last = since, until or datetime.now(UTC) + timedelta(days=1)
            return lambda recorder: self._rebuild(recorder, first, last)
        simple: dict[Kind, Callable[[Recorder], str]] = {
            Kind.ASSEMBLE: lambda recorder: self._assemble.run(recorder, self._book()),
            Kind.ROLLUP: self._rollup.run,
            Kind.MERGE: self._merge.run,
            Kind.RETENTION: self._retain,
        }
        return simple[kind]

    def _attempt(self, kind: str, work: Callable[[Recorder], str], progress: Progress | None) -> JobRun:
        pause = self._rules.retry_seconds
        for attempt in range(1, self._rules.retry_attempts + 1):
            recorder = Recorder(self._store, kind, progress, self._stopping)
            try:
                detail = work(recorder)
                if detail == NOTHING_TO_DO and not self._tells_idle(kind):
                    return recorder.run.after(state=JobState.DONE, progress=1.0, detail=detail)
                return recorder.finish(read_store_time(self._store), detail)
            except StoppedError:
                return recorder.stop()
            except Exception as error:  # the loop's edge: a run that failed is recorded, tried again, and never skips data
                run = recorder.fail(error)
                log.warning("job_failed", kind=kind, run_id=run.run_id, attempt=attempt, error=run.error)
                self._record_failure(run)
                if attempt == self._rules.retry_attempts or not isinstance(error, RetryableError):
                    return run
            if self._stopping.wait(pause):
                return run
            pause *= 2
        raise AssertionError("unreachable")

    def _tells_idle(self, kind: str) -> bool:
        """Runs that found nothing are recorded once a minute, as a sign of life."""
        now = time.monotonic()
        if now - self._told_idle.get(kind, -_IDLE_SECONDS) < _IDLE_SECONDS:
            return False
        self._told_idle[kind] = now
        return True

    def _record_failure(self, run: JobRun) -> None:
        try:
            write_job_run(self._store, run)
        except RetryableError:
            log.warning("job_run_not_recorded", kind=run.kind, run_id=run.run_id)

    def _book(self) -> PriceBook:
        return PriceBook(entry.price for entry in self._prices.entries())

    def _rebuild(self, recorder: Recorder, since: datetime, until: datetime) -> str:
        """Facts again from spans and today's price book, then every rollup they reach."""
        n_traces = self._assemble.rebuild(recorder, self._book(), since, until)
        for kind, work in ((Kind.ROLLUP, self._rollup.run), (Kind.MERGE, self._merge.run)):
            part = Recorder(self._store, kind, stopping=self._stopping)
            try:
                part.finish(read_store_time(self._store), work(part))
            except StoppedError:
                part.stop()
                raise
            except Exception as error:
                self._record_failure(part.fail(error))
                raise
            recorder.add(part.run.rows_read, part.run.rows_written)
        return f"{n_traces} traces rebuilt"

    def _retain(self, recorder: Recorder) -> str:
        enforce(self._store)
        recorder.advance(1.0)
        return "expired rows dropped"
