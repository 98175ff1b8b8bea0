"""What was concluded about a rollout, and when it changed."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import polars as pl

from storage.client import Store
from storage.job_runs import JobRun, JobState, read_watermark, write_job_run
from storage.sql import load

# The kind of run under which the alerter's ticks stand in `job_runs`; its watermark is the evidence's clock.
_JUDGE = "judge"

VERDICTS = pl.Schema(
    {
        "rollout": pl.String(),
        "comparison_id": pl.String(),
        "as_of": pl.Datetime("ns", "UTC"),
        "kind": pl.String(),
        "gate": pl.String(),
        "reasons": pl.List(pl.String),
        "verdict": pl.String(),
    }
)
"""`verdict` is the whole of it as JSON."""


def read_latest_verdict(store: Store, rollout: str) -> str | None:
    """The newest verdict of a rollout as JSON (`alerts.verdict.Verdict`); None before the first."""
    rows = store.frame(load("latest_verdict"), {"rollout": rollout})
    return None if rows.is_empty() else str(rows["verdict"].item())


def read_latest_verdicts(store: Store) -> dict[str, str]:
    """The newest verdict of every rollout that has one, as JSON."""
    return dict(store.frame(load("latest_verdicts")).select("rollout", "verdict").iter_rows())


def read_verdict_history(store: Store, rollout: str, before: datetime, limit: int) -> pl.DataFrame:
    """How the verdict changed, newest first: `as_of`, `kind`, `gate`, `reasons`, `comparison_id`, `recorded_at`."""
    return store.frame(load("verdict_history"), {"rollout": rollout, "before": before, "limit": limit})


def read_judged(store: Store) -> datetime | None:
    """Up to when every rollout is judged, on the evidence's clock; None before the first time."""
    return read_watermark(store, _JUDGE)


def write_judged(store: Store, upto: datetime, began: datetime, n_verdicts: int) -> None:
    """Record that every rollout was judged as of `upto`: one row for all, those that changed are in `verdicts`."""
    ended = datetime.now(UTC)
    run = JobRun(uuid.uuid4().hex, _JUDGE, began, ended, JobState.DONE, watermark=upto, progress=1.0)
    seconds = (ended - began).total_seconds()
    write_job_run(store, run.after(seconds=seconds, detail=f"rollouts judged: {n_verdicts:,}"))


def write_verdicts(store: Store, rows: pl.DataFrame) -> None:
    """Append verdicts (`VERDICTS`)."""
    store.insert("verdicts", rows)
