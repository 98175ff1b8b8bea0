"""When the jobs and the alerter run: APScheduler, one instance of each, missed runs made up once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from storage.errors import SpanwiseError

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Tick:
    """Something done again and again, `interval` after `interval`; a failure is logged and tried again at the next."""

    name: str
    run: Callable[[], object]
    interval: timedelta
    delay: timedelta = timedelta(0)


class Schedule:
    """Runs ticks in the background until stopped."""

    def __init__(self, ticks: list[Tick]) -> None:
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(max(1, len(ticks)))},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._locks = [threading.Lock() for _ in ticks]
        first = datetime.now(UTC)
        for tick, lock in zip(ticks, self._locks, strict=True):
            self._scheduler.add_job(
                _guarded(tick, lock),
                "interval",
                seconds=tick.interval.total_seconds(),
                next_run_time=first + tick.delay,
                id=tick.name,
            )

    def start(self) -> None:
        self._scheduler.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Wait for what is running, and start nothing until the block ends."""
        with ExitStack() as held:
            for lock in self._locks:
                held.enter_context(lock)
            yield

    def stop(self) -> None:
        """Start nothing more, and wait for what is running; one that was never started has nothing to stop."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)


def _guarded(tick: Tick, lock: threading.Lock) -> Callable[[], None]:
    def run() -> None:
        try:
            with lock:
                tick.run()
        except SpanwiseError as error:
            log.error("tick_failed", tick=tick.name, error=str(error))
        except Exception:  # the edge of the loop: a defect in one run must not end all later ones
            log.exception("tick_failed", tick=tick.name)

    return run
