"""Erasing and backing up: beside the running instance, which pauses for it, or by a command when nobody serves the data."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path

from analytics.runs import Recorder
from storage.backup import backup
from storage.client import Store
from storage.errors import SpanwiseError
from storage.job_runs import JobRun, write_job_run
from storage.purge import known_traces, purge_traces, trace_id, traces_of_user
from storage.touched import read_store_time

BACKUP, PURGE = "backup", "purge"
BACKUPS = "backups"
"""Where the running instance puts backups, in its data directory."""
Progress = Callable[[float], None]


class Upkeep:
    """
    Work on all of the data, recorded as runs of jobs.

    Args:
        directory: where backups that were asked for by name go.
        quiet: while its block runs, no job and no alerter writes.
        flush: returns once everything accepted so far is in the store.
    """

    def __init__(
        self,
        store: Store,
        directory: Path,
        quiet: Callable[[], AbstractContextManager[None]] = nullcontext,
        flush: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._quiet = quiet
        self._flush = flush

    def backup(self, name: str, progress: Progress | None = None) -> JobRun:
        """Write every table to the directory of that name; `detail` says where and how much."""

        def work(recorder: Recorder) -> str:
            directory = self._directory / name
            moved = backup(self._store, directory, lambda done, total, _: recorder.advance(done / total if total else 1.0))
            recorder.add(moved.n_rows, moved.n_rows)
            return f"{moved.n_rows:,} rows in {moved.n_chunks} files in {directory}"

        return self._run(BACKUP, work, progress)

    def purge(self, traces: Sequence[str], user: str | None, progress: Progress | None = None) -> JobRun:
        """
        Erase traces, and all of a user.

        Returns:
            Its `detail` is the proof, as JSON:
            `{"n_traces", "not_found": [trace_id], "tables": [{"table", "n_before", "n_after"}]}`;
            `n_traces` had rows, `not_found` were named and had none. It fails when something named is no trace id.
        """

        def work(recorder: Recorder) -> str:
            named = {trace_id(text) for text in traces}
            ids = sorted({*named, *(traces_of_user(self._store, user) if user else [])})
            known = known_traces(self._store, ids)
            proof = purge_traces(self._store, ids)
            n_rows = sum(entry.n_before for entry in proof)
            recorder.add(n_rows, n_rows)
            return json.dumps(
                {"n_traces": len(known), "not_found": sorted(named - known), "tables": [asdict(entry) for entry in proof]}
            )

        return self._run(PURGE, work, progress)

    def _run(self, kind: str, work: Callable[[Recorder], str], progress: Progress | None) -> JobRun:
        self._flush()
        with self._quiet():
            recorder = Recorder(self._store, kind, progress)
            try:
                return recorder.finish(read_store_time(self._store), work(recorder))
            except SpanwiseError as error:
                run = recorder.fail(error)
                write_job_run(self._store, run)
                return run
