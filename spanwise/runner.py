"""Every kind of job behind one method: analytics' own, and the collector's re-reading of stored attributes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from analytics.jobs import Jobs
from storage.client import Store
from storage.job_runs import JobRun

RENORMALIZE = "renormalize"


class Runner:
    """What commands and the API run jobs by."""

    def __init__(self, store: Store, jobs: Jobs) -> None:
        self._store = store
        self._jobs = jobs

    def run(
        self,
        kind: str,
        since: datetime | None = None,
        until: datetime | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> JobRun:
        """Run a job now; see `analytics.jobs.Jobs.run`. Facts of traces that `renormalize` re-reads follow by themselves."""
        if kind != RENORMALIZE:
            return self._jobs.run(kind, since, until, progress)
        from collector.renormalise import renormalise

        if since is None:
            raise ValueError(f"{RENORMALIZE} needs a time from which on")
        return renormalise(self._store, since, until, progress)
