"""Failing pairs worth reading: what the candidate got wrong beside what the baseline got right."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from storage.client import Store
from storage.sql import load

# failures looked at, newest first, for a partner: mirrored ones are few among many
_SCANNED = 500


@dataclass(frozen=True)
class PairQuestion:
    """Which pairs: `cohort` None is all cohorts, `environment` and `evaluator` '' are any."""

    service_name: str
    environment: str
    baseline: str
    candidate: str
    cohort: str | None
    metric: str
    evaluator: str
    since: datetime
    until: datetime


@dataclass(frozen=True)
class TracePair:
    """One failure of the candidate; unless `is_mirrored`, the baseline's trace had another input of the same cohort."""

    candidate_trace_id: str
    baseline_trace_id: str
    started_at: datetime
    cohort: str
    is_mirrored: bool


def read_failing_pairs(store: Store, question: PairQuestion, limit: int) -> list[TracePair]:
    """Mirrored pairs first, then the newest failures with the last baseline trace of the same cohort before them."""
    parameters = {
        "service": question.service_name,
        "environment": question.environment,
        "baseline": question.baseline,
        "candidate": question.candidate,
        "any_cohort": question.cohort is None,
        "cohort": question.cohort or "",
        "metric": question.metric,
        "evaluator": question.evaluator,
        "since": question.since,
        "until": question.until,
        "scanned": _SCANNED,
        "limit": limit,
    }
    rows = store.frame(load("judged_pairs"), parameters).iter_rows(named=True)
    return [
        TracePair(row["candidate_trace_id"], row["baseline_trace_id"], row["started_at"], row["cohort"], bool(row["is_mirrored"]))
        for row in rows
    ]
