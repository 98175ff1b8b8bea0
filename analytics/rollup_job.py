"""The job that rolls touched minutes up, and the one that merges them into hours and days."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl

from analytics.config import JobRules
from analytics.rollup import roll_up, roll_up_verdicts
from analytics.runs import EPOCH, NOTHING_TO_DO, Recorder, Seen
from storage.client import Store
from storage.job_runs import read_watermark
from storage.metrics import (
    VERDICT_METRICS,
    Grain,
    count_written_rows,
    merge_metric_rows,
    read_metric_counts,
    remove_metric_rows,
    write_metric_rows,
)
from storage.touched import read_store_time, read_touched_minutes
from storage.units import (
    MIRROR_UNITS,
    OUTCOMES,
    UNITS,
    read_mirror_units,
    read_unit_counts,
    read_unit_outcomes,
    read_units,
    read_units_of,
)

# Finer rows that are merged at a time; the store holds about a kilobyte for each of the merged ones.
_MERGED_ROWS = 200_000
# Minutes, hours or days that one query names.
_LISTED_BUCKETS = 1_440


class _MinuteFeed:
    """What was written to `touched_minutes` and not yet looked at by the jobs of one kind."""

    def __init__(self, store: Store, kind: str, rules: JobRules) -> None:
        self._store = store
        self._kind = kind
        self._seen = Seen(timedelta(seconds=rules.overlap_seconds))
        self._watermark = EPOCH

    def read(self, upto: datetime, what: list[str]) -> pl.DataFrame:
        """Rows up to a moment, oldest first."""
        self._watermark = max(self._watermark, read_watermark(self._store, self._kind) or EPOCH)
        rows = self._seen.fresh(read_touched_minutes(self._store, self._seen.start(self._watermark), upto, what))
        if rows.is_empty():
            self.done(rows, upto)
        return rows

    def done(self, rows: pl.DataFrame, upto: datetime) -> None:
        """All that these rows ask for is written."""
        self._seen.remember(rows, upto)
        self._watermark = upto


class RollupJob:
    """
    Rolls up the minutes that facts or outcomes were written to.

    A minute whose traces changed is recomputed whole. One that only received verdicts is recomputed for the metrics verdicts
    decide, from the judged traces alone. Whatever happened to a minute, it is done once per run.
    """

    kind = "rollup"

    def __init__(self, store: Store, rules: JobRules) -> None:
        self._store = store
        self._rules = rules
        self._feed = _MinuteFeed(store, self.kind, rules)

    def run(self, recorder: Recorder) -> str:
        upto = read_store_time(self._store)
        rows = self._feed.read(upto, ["facts", "outcomes"])
        if rows.is_empty():
            return NOTHING_TO_DO
        whole = set(rows.filter(what="facts")["minute"])
        judged = set(rows["minute"]) - whole
        partners = self.roll_up_minutes(sorted(whole), recorder, judged=False, share=(0.0, 0.7))
        partners |= self.roll_up_minutes(sorted(judged), recorder, judged=True, share=(0.7, 0.9))
        # The other side of a pair may lie in another minute; only its pair rows can have changed, but a minute is small.
        others = sorted(partners - whole)
        self.roll_up_minutes(others, recorder, judged=False, share=(0.9, 1.0))
        self._feed.done(rows, upto)
        recorder.reached(upto)
        return f"{len(whole)} minutes rolled up, {len(judged)} for verdicts only, {len(others)} for their pairs"

    def roll_up_minutes(
        self, minutes: Sequence[datetime], recorder: Recorder, *, judged: bool, share: tuple[float, float] = (0.0, 1.0)
    ) -> set[datetime]:
        """
        Recompute minutes, in batches of bounded size.

        Args:
            judged: only what verdicts decide.
            share: which part of the run's progress this is.

        Returns:
            Minutes outside of `minutes` in which mirror partners of these units started.
        """
        partners: set[datetime] = set()
        done = 0
        for batch, slices, _ in self._batches(minutes):
            now = _now()
            for index in range(slices):
                partners |= self._roll_up_slice(batch, slices, index, recorder, judged, now)
            remove_metric_rows(self._store, Grain.MINUTE, batch, now, VERDICT_METRICS if judged else ())
            recorder.add(0, count_written_rows(self._store, Grain.MINUTE, batch, now))
            done += len(batch)
            recorder.advance(share[0] + (share[1] - share[0]) * done / len(minutes))
        return partners - set(minutes)

    def _roll_up_slice(
        self, minutes: Sequence[datetime], slices: int, index: int, recorder: Recorder, judged: bool, now: datetime
    ) -> set[datetime]:
        units = read_units(self._store, minutes, slices, index, judged=judged)
        outcomes = read_unit_outcomes(self._store, minutes)
        partners, partner_outcomes, elsewhere = self._partners(units)
        compute = roll_up_verdicts if judged else roll_up
        write_metric_rows(self._store, Grain.MINUTE, compute(units, outcomes, partners, partner_outcomes), now)
        recorder.add(units.height + outcomes.height, 0)
        return elsewhere

    def _partners(self, units: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, set[datetime]]:
        is_mirror = pl.col("mirror_role").is_in(["primary", "shadow"]) | (pl.col("environment") == "experiment")
        groups = units.filter(is_mirror & (pl.col("mirror_group") != ""))["mirror_group"].unique().to_list()
        where = read_mirror_units(self._store, groups) if groups else MIRROR_UNITS.to_frame()
        if where.is_empty():
            return UNITS.to_frame(), OUTCOMES.to_frame(), set()
        partners, outcomes = read_units_of(self._store, where)
        return partners, outcomes, set(where["started_at"].dt.truncate("1m").dt.cast_time_unit("ms"))

    def _batches(self, minutes: Sequence[datetime]) -> Iterator[_Batch]:
        return _batches(minutes, lambda some: read_unit_counts(self._store, some), self._rules.batch_units)


class MergeJob:
    """Merges the hours and days of minutes that were rolled up."""

    kind = "merge"

    def __init__(self, store: Store, rules: JobRules) -> None:
        self._store = store
        self._feed = _MinuteFeed(store, self.kind, rules)

    def run(self, recorder: Recorder) -> str:
        upto = read_store_time(self._store)
        rows = self._feed.read(upto, ["rollup"])
        if rows.is_empty():
            return NOTHING_TO_DO
        hours = sorted(set(rows["minute"].dt.truncate("1h")))
        n_days = self.merge_hours(hours, recorder)
        self._feed.done(rows, upto)
        recorder.reached(upto)
        return f"{len(hours)} hours and {n_days} days merged"

    def merge_hours(self, hours: Sequence[datetime], recorder: Recorder) -> int:
        """Recompute these hours, then the days they are in; returns the number of days."""
        days = sorted({hour.replace(hour=0) for hour in hours})
        self._merge(Grain.HOUR, hours, recorder, share=(0.0, 0.8))
        self._merge(Grain.DAY, days, recorder, share=(0.8, 1.0))
        return len(days)

    def _merge(self, coarse: Grain, buckets: Sequence[datetime], recorder: Recorder, share: tuple[float, float]) -> None:
        done = 0
        for batch, slices, n_rows in _batches(buckets, lambda some: read_metric_counts(self._store, coarse, some), _MERGED_ROWS):
            now = _now()
            for index in range(slices):
                merge_metric_rows(self._store, coarse, batch, now, slices, index)
            remove_metric_rows(self._store, coarse, batch, now)
            recorder.add(n_rows, count_written_rows(self._store, coarse, batch, now))
            done += len(batch)
            recorder.advance(share[0] + (share[1] - share[0]) * done / len(buckets))


class _Batch(NamedTuple):
    """Buckets that are computed together, into how many slices they are cut, and how many rows they hold."""

    buckets: list[datetime]
    slices: int
    n_rows: int


def _batches(
    buckets: Sequence[datetime], read_counts: Callable[[Sequence[datetime]], dict[datetime, int]], size: int
) -> Iterator[_Batch]:
    """Buckets of about `size` rows together; one larger than that alone, in slices."""
    for first in range(0, len(buckets), _LISTED_BUCKETS):
        some = buckets[first : first + _LISTED_BUCKETS]
        counts = read_counts(some)
        batch: list[datetime] = []
        n = 0
        for bucket in some:
            count = counts.get(bucket, 0)
            if batch and n + count > size:
                yield _Batch(batch, max(1, -(-n // size)), n)
                batch, n = [], 0
            batch.append(bucket)
            n += count
        yield _Batch(batch, max(1, -(-n // size)), n)


def _now() -> datetime:
    """The version of rows: always the wall clock, or a rebuild could lose to what it replaces."""
    return datetime.now(UTC)
