"""A metric over time: rollup rows of the coarsest table that fits the step, added up by the store, turned into numbers here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from analytics.metrics.catalogue import METRICS, Metric
from analytics.metrics.eval_fail_rate import LINK
from storage.client import Store
from storage.metrics import Grain, Piece, read_added_up

DIMENSIONS = {
    "service": "service_name",
    "environment": "environment",
    "route": "model_route",
    "model": "model",
    "cohort": "cohort",
    "prompt_version": "prompt_version",
    "evaluator": "evaluator",
    "evaluator_version": "evaluator_version",
    "sampling_rule": "sampling_rule",
}
"""What can be grouped by and filtered on, and the column that holds it."""

VERDICT_DIMENSIONS = frozenset({"evaluator", "evaluator_version", "sampling_rule"})
"""Dimensions that only evaluators' metrics have."""

EXPERIMENT = "experiment"
MAX_BUCKETS = 20_000


class SeriesRequestError(ValueError):
    """What was asked for makes no sense; the message says what would."""


@dataclass(frozen=True)
class Series:
    """
    A metric's answer.

    `frame` has `bucket` (start, UTC), one column per group-by name, then the metric's columns; sorted. Buckets without any
    data have no row. `since` and `until` are the range that is really covered: whole buckets.
    """

    metric: Metric
    frame: pl.DataFrame
    since: datetime
    until: datetime
    step_seconds: int


def read_series(
    store: Store,
    metric: str,
    since: datetime,
    until: datetime,
    step: timedelta | None,
    group_by: Sequence[str] = (),
    filters: Mapping[str, Sequence[str]] | None = None,
) -> Series:
    """
    A metric per bucket and group.

    Args:
        metric: a name of `METRICS`.
        since, until: widened to whole buckets.
        step: whole minutes, counted from 1970-01-01 UTC; None makes one bucket of the whole range (widened to minutes).
        group_by: names of `DIMENSIONS`.
        filters: values to keep, by name of `DIMENSIONS`. Without `environment` among them, experiments are left out.

    Raises:
        SeriesRequestError: unknown name, a step that is not whole minutes, an empty range or more than `MAX_BUCKETS` buckets.
    """
    known = METRICS.get(metric)
    if known is None:
        raise SeriesRequestError(f"unknown metric {metric!r}; there are {', '.join(sorted(METRICS))}")
    wanted = dict(filters or {})
    _check_dimensions(known, [*group_by, *wanted])
    first, last, seconds = _buckets(since, until, step)
    pieces = _pieces(first, last, None if step is None else seconds)
    columns = [DIMENSIONS[name] for name in group_by]
    extra = [name for name in LINK if "sampled" in known.sources and name not in columns]
    rows = read_added_up(
        store,
        pieces,
        seconds,
        metrics=known.sources,
        statistics=known.statistics,
        group_by=[*columns, *extra],
        keep={DIMENSIONS[name]: list(values) for name, values in wanted.items()},
        without_environments=() if "environment" in wanted else (EXPERIMENT,),
        histograms=known.has_histogram,
    )
    frame = known.evaluate(rows, ["bucket", *columns], seconds)
    renamed = frame.rename({DIMENSIONS[name]: name for name in group_by})
    return Series(known, renamed.select("bucket", *group_by, *known.columns), first, last, seconds)


def _check_dimensions(metric: Metric, names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in DIMENSIONS]
    if unknown:
        raise SeriesRequestError(f"unknown dimension {unknown[0]!r}; there are {', '.join(DIMENSIONS)}")
    foreign = [name for name in names if name in VERDICT_DIMENSIONS and "eval_fail" not in metric.sources]
    if foreign:
        raise SeriesRequestError(f"{metric.name} has no {foreign[0]}; only eval_fail_rate and eval_score do")


def _buckets(since: datetime, until: datetime, step: timedelta | None) -> tuple[datetime, datetime, int]:
    if until <= since:
        raise SeriesRequestError(f"empty range: {since.isoformat()} to {until.isoformat()}")
    seconds = 60 if step is None else int(step.total_seconds())
    if seconds < 60 or seconds % 60 or (step is not None and step.microseconds):
        raise SeriesRequestError(f"step must be whole minutes, not {step}")
    start = int(since.timestamp() // seconds) * seconds
    end = -int(-until.timestamp() // seconds) * seconds
    if step is not None and (end - start) // seconds > MAX_BUCKETS:
        raise SeriesRequestError(f"{(end - start) // seconds} buckets asked for, at most {MAX_BUCKETS}: take a longer step")
    first, last = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
    return first, last, seconds if step is not None else end - start


def _pieces(first: datetime, last: datetime, step_seconds: int | None) -> list[Piece]:
    """Steps of whole days or hours read those tables; one bucket of any range reads days in its middle, finer at its ends."""
    if step_seconds is not None:
        grain = next(grain for grain in (Grain.DAY, Grain.HOUR, Grain.MINUTE) if step_seconds % grain.seconds == 0)
        return [Piece(grain, first, last)]
    return list(_finest_cover(int(first.timestamp()), int(last.timestamp()), (Grain.DAY, Grain.HOUR, Grain.MINUTE)))


def _finest_cover(first: int, last: int, grains: Sequence[Grain]) -> Iterator[Piece]:
    if first >= last:
        return
    grain, *finer = grains
    start = -(-first // grain.seconds) * grain.seconds
    end = last // grain.seconds * grain.seconds
    if start >= end:
        yield from _finest_cover(first, last, finer)
        return
    yield from _finest_cover(first, start, finer)
    yield Piece(grain, datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))
    yield from _finest_cover(end, last, finer)
