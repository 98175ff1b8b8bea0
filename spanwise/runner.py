"""Every kind of job behind one method: analytics' own, the collector's re-reading of stored attributes, and upkeep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from analytics.jobs import Jobs
from spanwise.upkeep import BACKUP, PURGE, Upkeep
from storage.client import Store
from storage.job_runs import JobRun

RENORMALIZE = "renormalize"


class Runner:
    """What commands and the API run jobs by."""

    def __init__(self, store: Store, jobs: Jobs, upkeep: Upkeep | None = None) -> None:
        self._store = store
        self._jobs = jobs
        self._upkeep = upkeep

    def run(
        self,
        kind: str,
        since: datetime | None = None,
        until: datetime | None = None,
        progress: Callable[[float], None] | None = None,
        given: Mapping[str, Any] | None = None,
    ) -> JobRun:
        """
        Run a job now; see `analytics.jobs.Jobs.run`. Facts of traces that `renormalize` re-reads follow by themselves.

        Args:
            given: `name` of a backup; `traces` and `user` of a purge.
        """
        if kind in (BACKUP, PURGE):
            return self._keep_up(kind, given or {}, progress)
        if kind != RENORMALIZE:
            return self._jobs.run(kind, since, until, progress)
        from collector.renormalise import renormalise

        if since is None:
            raise ValueError(f"{RENORMALIZE} needs a time from which on")
        return renormalise(self._store, since, until, progress)

    def _keep_up(self, kind: str, given: Mapping[str, Any], progress: Callable[[float], None] | None) -> JobRun:
        if self._upkeep is None:
            raise ValueError(f"{kind} is not done here")
        if kind == BACKUP:
            return self._upkeep.backup(given["name"], progress)
        return self._upkeep.purge(given.get("traces", ()), given.get("user"), progress)
