"""The job that rolls touched minutes up, and the one that merges them into hours and days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from analytics.config import JobRules
from analytics.merge import merge_rows
from analytics.rollup import roll_up, roll_up_verdicts
from analytics.runs import EPOCH, NOTHING_TO_DO, Recorder, Seen
from storage.client import Store
from storage.job_runs import read_watermark
from storage.metrics import (
    METRIC_KEY,
    VERDICT_METRICS,
    Grain,
    read_metric_counts,
    read_metric_keys,
    read_metric_rows,
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

# Rollup rows that are merged at a time; one with a histogram takes about a kilobyte.
_MERGED_ROWS = 50_000


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
        for batch, slices in self._batches(minutes):
            found = [self._roll_up_slice(batch, slices, index, recorder, judged) for index in range(slices)]
            keys = pl.concat([keys for keys, _ in found])
            partners |= {minute for _, more in found for minute in more}
            metrics = VERDICT_METRICS if judged else ()
            stale = read_metric_keys(self._store, Grain.MINUTE, batch, metrics).join(keys, on=list(METRIC_KEY), how="anti")
            recorder.add(0, remove_metric_rows(self._store, Grain.MINUTE, stale, _now()))
            done += len(batch)
            recorder.advance(share[0] + (share[1] - share[0]) * done / len(minutes))
        return partners - set(minutes)

    def _roll_up_slice(
        self, minutes: Sequence[datetime], slices: int, index: int, recorder: Recorder, judged: bool
    ) -> tuple[pl.DataFrame, set[datetime]]:
        units = read_units(self._store, minutes, slices, index, judged=judged)
        outcomes = read_unit_outcomes(self._store, minutes)
        partners, partner_outcomes, elsewhere = self._partners(units)
        compute = roll_up_verdicts if judged else roll_up
        rows = compute(units, outcomes, partners, partner_outcomes)
        written = write_metric_rows(self._store, Grain.MINUTE, rows, _now())
        recorder.add(units.height + outcomes.height, written)
        return rows.select(list(METRIC_KEY)), elsewhere

    def _partners(self, units: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, set[datetime]]:
        is_mirror = pl.col("mirror_role").is_in(["primary", "shadow"]) | (pl.col("environment") == "experiment")
        groups = units.filter(is_mirror & (pl.col("mirror_group") != ""))["mirror_group"].unique().to_list()
        where = read_mirror_units(self._store, groups) if groups else MIRROR_UNITS.to_frame()
        if where.is_empty():
            return UNITS.to_frame(), OUTCOMES.to_frame(), set()
        partners, outcomes = read_units_of(self._store, where)
        return partners, outcomes, set(where["started_at"].dt.truncate("1m").dt.cast_time_unit("ms"))

    def _batches(self, minutes: Sequence[datetime]) -> Iterator[tuple[list[datetime], int]]:
        """Minutes of about `batch_units` units together; a minute larger than that alone, in slices."""
        # Counting a day's minutes at a time keeps the list of hours that a query names short.
        for first in range(0, len(minutes), 1_440):
            some = list(minutes[first : first + 1_440])
            counts = read_unit_counts(self._store, some)
            batch: list[datetime] = []
            n = 0
            for minute in some:
                count = counts.get(minute, 0)
                if batch and n + count > self._rules.batch_units:
                    yield batch, self._slices(n)
                    batch, n = [], 0
                batch.append(minute)
                n += count
            yield batch, self._slices(n)

    def _slices(self, n_units: int) -> int:
        return max(1, -(-n_units // self._rules.batch_units))


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
        wider = [(Grain.MINUTE, Grain.HOUR, hour) for hour in hours] + [(Grain.HOUR, Grain.DAY, day) for day in days]
        for done, (fine, coarse, bucket) in enumerate(wider, 1):
            self._merge(fine, coarse, bucket, recorder)
            recorder.advance(done / len(wider))
        return len(days)

    def _merge(self, fine: Grain, coarse: Grain, bucket: datetime, recorder: Recorder) -> None:
        until = bucket + timedelta(seconds=coarse.seconds)
        counts = read_metric_counts(self._store, fine, bucket, until)
        existing = read_metric_keys(self._store, coarse, [bucket], ())
        merged = []
        for metrics in _together(counts):
            rows = read_metric_rows(self._store, fine, bucket, until, metrics=metrics)
            result = merge_rows(rows, coarse)
            recorder.add(rows.height, write_metric_rows(self._store, coarse, result, _now()))
            merged.append(result.select(list(METRIC_KEY)))
        stale = existing.join(pl.concat([existing.clear(), *merged]), on=list(METRIC_KEY), how="anti")
        recorder.add(0, remove_metric_rows(self._store, coarse, stale, _now()))


def _together(counts: dict[str, int]) -> Iterator[list[str]]:
    """Metrics whose rows fit into memory together."""
    some: list[str] = []
    n = 0
    for metric, count in sorted(counts.items()):
        if some and n + count > _MERGED_ROWS:
            yield some
            some, n = [], 0
        some.append(metric)
        n += count
    if some:
        yield some


def _now() -> datetime:
    """The version of rows: always the wall clock, or a rebuild could lose to what it replaces."""
    return datetime.now(UTC)
