"""Failing pairs worth reading: what the candidate got wrong beside what the baseline got right."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from storage.client import Store
from storage.sql import load
from storage.traces import TraceFilter, search_traces

# passing traces looked through for partners, newest first
_MOST_PASSING = 200_000
_HOUR = 3_600
_JUDGED = ("trace_id", "started_at", "cohort", "prompt_version", "mirror_group")
_COLUMNS = ("trace_id", "started_at", "baseline_trace_id", "baseline_started_at", "cohort", "is_mirrored")
_TO_PAIR = ("trace_id", "started_at", "cohort")


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
    The newest failures, each with its mirrored twin that passed, or else the last trace of the baseline that passed before it, of
    the same cohort and prompt version; mirrored ones first.

    Failures are looked for from the newest hour on, further and further back; partners in the hours around them, then in a day
    before each, and last in the whole range: what happens often costs little however much history there is.
    """
    failures = _newest_failures(store, question, 3 * limit)
    if failures.is_empty():
        return []
    twins = _twins(store, question, failures)
    alone = failures.join(twins, on="trace_id", how="anti")
    pairs = [twins]
    for hours, most in ((2, limit), (24, len(alone)), (None, len(alone))):
        if sum(map(len, pairs)) >= limit or alone.is_empty():
            break
        pairs.append(_partners(store, question, alone.head(most), hours))
        alone = alone.join(pairs[-1], on="trace_id", how="anti")
    newest = pl.concat(pairs).sort("is_mirrored", "started_at", "trace_id", descending=[True, True, False]).head(limit)
    return [TracePair(*row) for row in newest.select(_COLUMNS).iter_rows()]


def _newest_failures(store: Store, question: PairQuestion, limit: int) -> pl.DataFrame:
    wanted = TraceFilter(
        services=[question.service_name],
        environments=[question.environment] if question.environment else [],
        routes=[question.candidate],
        cohorts=[] if question.cohort is None else [question.cohort],
        **_failed(question),
    )
    return search_traces(store, wanted, question.since, question.until, None, limit).select(_JUDGED)


def _failed(question: PairQuestion) -> dict[str, Any]:
    """What a failure of the metric is to the search."""
    flags = {"retry": "retried", "fallback": "fell_back", "timeout": "timed_out", "error": "errored"}
    if question.metric in flags:
        return {flags[question.metric]: True}
    return {"failed_metric": question.metric, "failed_evaluator": question.evaluator}


def _twins(store: Store, question: PairQuestion, failures: pl.DataFrame) -> pl.DataFrame:
    """Pairs of mirrored failures whose other side passed."""
    mirrored = failures.filter(pl.col("mirror_group") != "")
    if mirrored.is_empty():
        none = failures.head(0).with_columns(trace_id_of_baseline="trace_id", started_at_of_baseline="started_at")
        return _paired(none, is_mirrored=True)
    units = store.frame(load("twins_of"), {"groups": mirrored["mirror_group"].to_list()})
    passing = _passing(store, question, _hours(units["started_at"]))
    other = passing.join(units, on="trace_id", how="semi").unique("mirror_group", keep="first", maintain_order=True)
    return _paired(mirrored.join(other, on="mirror_group", suffix="_of_baseline"), is_mirrored=True)


def _partners(store: Store, question: PairQuestion, failures: pl.DataFrame, hours: int | None) -> pl.DataFrame:
    """Pairs of failures with the last passing trace within `hours` before them (None: in the whole range)."""
    passing = _passing(store, question, None if hours is None else _hours(failures["started_at"], hours))
    keys = ["cohort", "prompt_version"]
    other = passing.select(*keys, "started_at", trace_id_of_baseline="trace_id", started_at_of_baseline="started_at")
    found = failures.sort("started_at").join_asof(other.sort("started_at"), on="started_at", by=keys, check_sortedness=False)
    return _paired(found.filter(pl.col("trace_id_of_baseline").is_not_null()), is_mirrored=False)


def _paired(found: pl.DataFrame, *, is_mirrored: bool) -> pl.DataFrame:
    return found.select(
        _TO_PAIR,
        baseline_trace_id="trace_id_of_baseline",
        baseline_started_at="started_at_of_baseline",
        is_mirrored=pl.lit(is_mirrored),
    )


def _passing(store: Store, question: PairQuestion, hours: list[int] | None) -> pl.DataFrame:
    """`_JUDGED` of the baseline's traces that passed, newest first; `hours` None: in the whole range."""
    parameters: dict[str, object] = {
        "service": question.service_name,
        "environment": question.environment,
        "route": question.baseline,
        "any_cohort": question.cohort is None,
        "cohort": question.cohort or "",
        "metric": question.metric,
        "evaluator": question.evaluator,
        "since": question.since,
        "until": question.until,
        "any_hour": hours is None,
        "hours": hours or [],
        "limit": _MOST_PASSING,
    }
    if hours:
        first, last = datetime.fromtimestamp(hours[0], UTC), datetime.fromtimestamp(hours[-1] + _HOUR, UTC)
        parameters |= {"since": max(question.since, first), "until": min(question.until, last)}
    return store.frame(load("passing_traces"), parameters)


def _hours(moments: pl.Series, back: int = 1) -> list[int]:
    """The hours of these moments, and those before them, in seconds since 1970."""
    last = (moments.dt.epoch("s") // _HOUR).unique().to_list()
    return sorted({(hour - n) * _HOUR for hour in last for n in range(back)})
