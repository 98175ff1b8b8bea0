"""Jobs a person asked for, run one after another beside the requests."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import structlog

from api.documents import to_json
from api.problems import ProblemError, not_found
from api.services import Document
from storage.job_runs import JobState

log = structlog.get_logger(__name__)

KINDS = ("assemble", "rollup", "merge", "retention", "backfill", "reprice", "renormalize", "backup", "purge")
NEEDS_SINCE = ("backfill", "reprice", "renormalize")
_MAX_WAITING = 20
_MAX_REMEMBERED = 200


class JobRunner(Protocol):
    """Runs a job of any of `KINDS` to its end; what is returned says its `state`, or it is done."""

    def run(
        self,
        kind: str,
        since: datetime | None = None,
        until: datetime | None = None,
        progress: Callable[[float], None] | None = None,
        given: Mapping[str, Any] | None = None,
    ) -> Any: ...


@dataclass(frozen=True)
class _Asked:
    """`state`: queued, running, or how the run ended, a `JobState`."""

    run_id: str
    kind: str
    since: datetime | None
    until: datetime | None
    state: str = "queued"
    progress: float = 0.0
    detail: str = ""
    error: str = ""
    rows_written: int = 0


class BackgroundJobs:
    """One run at a time, in the order asked for; a bounded number wait, and the last ones are remembered."""

    kinds: Sequence[str] = KINDS

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner
        self._lock = threading.Lock()
        self._asked: OrderedDict[str, _Asked] = OrderedDict()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="asked-job")

    def start(self, kind: str, since: datetime | None, until: datetime | None, given: Mapping[str, Any] | None = None) -> str:
        """Queue a run and return its id. Raises a 404 or 429 problem."""
        if kind not in self.kinds:
            raise not_found("job", kind, self.kinds)
        asked = _Asked(uuid.uuid4().hex, kind, since, until)
        with self._lock:
            if sum(entry.state == "queued" for entry in self._asked.values()) >= _MAX_WAITING:
                raise ProblemError(
                    429, "too-many-jobs", "too many jobs wait", f"{_MAX_WAITING} jobs wait already", "wait for some"
                )
            self._asked[asked.run_id] = asked
            while len(self._asked) > _MAX_REMEMBERED:
                self._asked.popitem(last=False)
        self._pool.submit(self._run, asked, given)
        return asked.run_id

    def progress(self, run_id: str) -> Document | None:
        """How a run is going; None for one that was never asked for here, or long ago."""
        with self._lock:
            asked = self._asked.get(run_id)
        if asked is None:
            return None
        document: dict[str, Any] = to_json(asked)
        return {"id": document.pop("run_id"), **document}

    def not_ready(self) -> str | None:
        return None

    def stop(self) -> None:
        """Wait for the run that is going (a job of the analytics room was told to end after its batch), and forget the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, asked: _Asked, given: Mapping[str, Any] | None) -> None:
        self._note(asked.run_id, state="running")
        try:
            run = self._runner.run(
                asked.kind, asked.since, asked.until, lambda share: self._note(asked.run_id, progress=share), given
            )
        except Exception as error:  # the loop's edge: a failed job is reported, and the next one runs
            log.error("job_failed", kind=asked.kind, exc_info=error)
            self._note(asked.run_id, state=JobState.FAILED.value, error=str(error))
            return
        state = str(getattr(run, "state", JobState.DONE))
        self._note(
            asked.run_id,
            state=state,
            progress=1.0 if state == JobState.DONE else float(getattr(run, "progress", 0.0)),
            detail=str(getattr(run, "detail", "")),
            error=str(getattr(run, "error", "")),
            rows_written=int(getattr(run, "rows_written", 0)),
        )

    def _note(self, run_id: str, **changes: Any) -> None:
        with self._lock:
            if run_id in self._asked:
                self._asked[run_id] = replace(self._asked[run_id], **changes)
