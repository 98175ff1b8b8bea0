"""Failing pairs worth reading: what the candidate got wrong beside what the baseline got right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from storage.client import Store
from storage.sql import load
from storage.traces import windows_back

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
    started_at: datetime
    baseline_trace_id: str
    baseline_started_at: datetime
    cohort: str
    is_mirrored: bool


def read_failing_pairs(store: Store, question: PairQuestion, limit: int) -> list[TracePair]:
    """
    The newest failures, each with its mirrored twin or else the last baseline trace of the same cohort before it; mirrored first.

    Looks at the newest hour, and then further back, each time about four times as far, until there are enough: what happens
    often costs little however much history there is.
    """
    found: list[TracePair] = []
    for since, _ in windows_back(question.since, question.until):
        found = _pairs_within(store, replace(question, since=since), limit)
        if len(found) >= limit:
            break
    return found


def _pairs_within(store: Store, question: PairQuestion, limit: int) -> list[TracePair]:
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
        TracePair(
            row["candidate_trace_id"],
            row["started_at"],
            row["baseline_trace_id"],
            row["baseline_started_at"],
            row["cohort"],
            bool(row["is_mirrored"]),
        )
        for row in rows
    ]
