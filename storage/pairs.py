"""Failing pairs worth reading: what the candidate got wrong beside what the baseline got right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from storage.client import Store
from storage.sql import load
from storage.traces import windows

# of each side, in one window of time, newest first
_MOST = 50_000
# mirrored units among which failures are looked for, newest first
_MOST_MIRRORED = 20_000
# a few hours mostly have enough, and where they do not quite, a few more do
_GROWTH = 3
_TIME = pl.Datetime("ns", "UTC")
_PAIRS: dict[str, pl.DataType] = {
    "trace_id": pl.String(),
    "started_at": _TIME,
    "baseline_trace_id": pl.String(),
    "baseline_started_at": _TIME,
    "cohort": pl.String(),
    "is_mirrored": pl.Boolean(),
}
_FLAGS = {"retry": "retried", "fallback": "fell_back", "timeout": "timed_out", "error": "errored"}
_SUFFIX = "_of_baseline"


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
    Failures, each with its mirrored twin that passed, or else the last trace of the baseline that passed before it, of the same
    cohort and prompt version; mirrored ones first, then the newest.

    What happens often costs little however much history there is: mirrored failures are looked for where units were mirrored
    (the newest 20,000 of them), others from the newest hours on, further and further back, until there are enough.
    """
    mirrored = _mirrored_pairs(store, question).head(limit)
    others = mirrored.head(0)
    judged: list[pl.DataFrame] = []
    for since, until in windows(question.since, question.until, _GROWTH):
        if len(mirrored) + len(others) >= limit:
            break
        judged.append(_judged(store, question, since, until))
        others = _with_partners(pl.concat(judged)).join(mirrored, on="trace_id", how="anti", maintain_order="left")
    return [TracePair(*row) for row in pl.concat([mirrored, others]).head(limit).iter_rows()]


def read_cohorts(store: Store, question: PairQuestion) -> list[str]:
    """The candidate's cohorts in the window of the question, by traffic, as the daily rollup has them."""
    asked = {"service": question.service_name, "route": question.candidate, "since": question.since, "until": question.until}
    cohorts: list[str] = store.frame(load("route_cohorts"), asked)["cohort"].to_list()
    return cohorts


def _mirrored_pairs(store: Store, question: PairQuestion) -> pl.DataFrame:
    """Mirrored failures whose other side passed, newest first."""
    span = {"since": question.since, "until": question.until, "most": _MOST_MIRRORED}
    hours = store.frame(load("mirrored_hours"), span)["hour"].to_list()
    if not hours:
        return pl.DataFrame(schema=_PAIRS)
    failed, passed = _sides(_judged(store, question, question.since, question.until, hours))
    passed = passed.unique("mirror_group", keep="first", maintain_order=True)
    found = failed.join(passed, on="mirror_group", suffix=_SUFFIX, maintain_order="left")
    return _paired(found, is_mirrored=True)


def _with_partners(judged: pl.DataFrame) -> pl.DataFrame:
    """Failures with the last passing trace before each, newest first."""
    failed, passed = _sides(judged)
    keys = ["cohort", "prompt_version"]
    columns = {f"{name}{_SUFFIX}": pl.col(name) for name in ("trace_id", "started_at")}
    other = passed.select(*keys, "started_at", **columns).sort("started_at")
    found = failed.sort("started_at").join_asof(other, on="started_at", by=keys, check_sortedness=False)
    return _paired(found.filter(pl.col(f"trace_id{_SUFFIX}").is_not_null()), is_mirrored=False)


def _sides(judged: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The candidate's failures, the baseline's passing ones."""
    return judged.filter("is_candidate"), judged.filter(~pl.col("is_candidate"))


def _paired(found: pl.DataFrame, *, is_mirrored: bool) -> pl.DataFrame:
    pairs = found.select(
        "trace_id",
        "started_at",
        pl.col(f"trace_id{_SUFFIX}").alias("baseline_trace_id"),
        pl.col(f"started_at{_SUFFIX}").alias("baseline_started_at"),
        "cohort",
        is_mirrored=pl.lit(is_mirrored),
    )
    return pairs.sort("started_at", "trace_id", descending=[True, False])


def _judged(
    store: Store, question: PairQuestion, since: datetime, until: datetime, mirrored_hours: Sequence[int] | None = None
) -> pl.DataFrame:
    """
    Failures of the candidate and passing traces of the baseline, newest first: `trace_id`, `started_at`, `cohort`,
    `prompt_version`, `mirror_group`, `is_candidate`. With `mirrored_hours` only mirrored ones of those hours.
    """
    flag = _FLAGS.get(question.metric)
    conditions, hours = "", ""
    if question.environment:
        conditions += " AND environment = {environment:String}"
    if question.cohort is not None:
        conditions += " AND cohort = {cohort:String}"
    if mirrored_hours is not None:
        hours = " AND toStartOfHour(started_at) IN (SELECT toDateTime(arrayJoin({hours:Array(UInt32)}), 'UTC'))"
        conditions += hours + " AND mirror_group != ''"
    # a trace without a verdict of an evaluator neither passed nor failed; without feedback nothing happened
    unjudged = "outcomes.failed" if question.metric == "eval_fail" else "ifNull(outcomes.failed, false)"
    sql = load("judged_traces").replace("{flag}", flag or "false").replace("{where}", conditions)
    sql = sql.replace("{where_outcomes}", hours).replace("{verdict}", "flagged" if flag else unjudged)
    parameters = {
        "service": question.service_name,
        "environment": question.environment,
        "baseline": question.baseline,
        "candidate": question.candidate,
        "cohort": question.cohort or "",
        "metric": question.metric,
        "evaluator": question.evaluator,
        "since": since,
        "until": until,
        "hours": list(mirrored_hours or ()),
        "limit": _MOST,
    }
    return store.frame(sql, parameters).with_columns(pl.col("is_candidate").cast(pl.Boolean))
