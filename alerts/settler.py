"""Reads what has matured, settles it for every comparison at once, and advances their states."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from alerts.comparison import Comparison
from alerts.findings import moment
from alerts.malformed import split_rows, summary
from alerts.method.settling import MISSING, settle
from alerts.rules import MINUTES_PER_DAY
from alerts.state import ComparisonState
from alerts.troubles import Malformed
from analytics.eligibility import EVENTS
from storage.client import Store
from storage.metrics import FLAG_METRICS, Window, read_matured_rows
from storage.settled import SETTLED, write_settled

# Minutes that are read at once to begin with, and rows of which there are too many.
_FIRST_MINUTES, _MANY_ROWS = 2, 40_000
_REFERENCED_SOURCES = ("cost", "latency", "input_tokens")


@dataclass(eq=False)
class Live:
    """An open comparison with its states; `bundle` pools prompt versions, once the prompt is confounded."""

    comparison: Comparison
    state: ComparisonState
    bundle: ComparisonState | None = None
    # an error came while its state was changed: only what is stored can be trusted
    is_doubtful: bool = False
    # rows that were left out since somebody last looked, by metric
    left_out: dict[str, Malformed] = field(default_factory=dict)

    def leave_out(self, found: dict[str, Malformed]) -> None:
        """Note rows that cannot be counted."""
        for metric, more in found.items():
            before = self.left_out.get(metric)
            self.left_out[metric] = more if before is None else replace(before, n_rows=before.n_rows + more.n_rows)

    def change(self, comparison: Comparison) -> None:
        """The comparison learned something: a reference, weights, a kind of feedback."""
        self.comparison = comparison
        self.state.rules = comparison.rules()
        if self.bundle is not None:
            self.bundle.rules = self.state.rules

    def groups(self) -> set[int]:
        """Groups of metrics that settle together."""
        c = self.comparison
        waits = {minutes for metric in ("error", "eval_fail", "overturn", *EVENTS) for minutes in c.waits(metric)}
        return waits | ({-c.maturity("error")} if c.reference else set())

    def frontier(self, group: int) -> int:
        return self.state.frontiers.get(group, self.comparison.day_zero)


def settle_until(store: Store, live: list[Live], now_minute: int, settled_at: datetime, learned: dict[str, Live]) -> None:
    """
    Settle every minute that is mature at `now_minute`: a few at first, more at a time (a day at most) while rows are few.

    What is cut how does not matter to the states; memory does not grow with what there is to catch up with.

    Args:
        learned: gets, by id, the comparisons that learn on the way what is collected.
    """
    at_once = _FIRST_MINUTES
    while True:
        windows = {entry.comparison.comparison_id: _windows(entry, now_minute, at_once) for entry in live}
        if not any(windows.values()):
            return
        rows, n_read = _read(store, live, windows, learned)
        at_once = _next_step(at_once, n_read)
        write_settled(store, rows, settled_at)
        by_comparison = {str(key[0]): part for key, part in rows.group_by("comparison_id")}
        for entry in live:
            reached = windows[entry.comparison.comparison_id]
            if reached:
                part = by_comparison.get(entry.comparison.comparison_id, rows.clear())
                frontiers = {group: to for group, (_, to) in reached.items()}
                entry.is_doubtful = True
                entry.state.advance(part, frontiers)
                if entry.bundle is not None:
                    entry.bundle.advance(pooled(part), frontiers)
                entry.is_doubtful = False


def pooled(settled: pl.DataFrame) -> pl.DataFrame:
    """The same rows with prompt versions pooled."""
    keys = ["comparison_id", "minute", "metric", "evaluator", "evaluator_version", "sampling_rule", "cohort"]
    values = [pl.col(name).sum() for name in SETTLED if name not in (*keys, "prompt_version")]
    return settled.group_by(keys).agg(values).with_columns(prompt_version=pl.lit("")).select(list(SETTLED)).sort(keys)


def _next_step(minutes: int, n_rows: int) -> int:
    """How many minutes to read at once next, after so many rows."""
    if n_rows > _MANY_ROWS:
        return max(1, minutes // 2)
    return min(2 * minutes, MINUTES_PER_DAY) if n_rows < _MANY_ROWS // 4 else minutes


def _windows(entry: Live, now_minute: int, at_once: int) -> dict[int, tuple[int, int]]:
    """Per group what to settle now: from its frontier to what is mature, never far past what another group has left behind."""
    open_windows = {}
    starts = {group: entry.frontier(group) + abs(group) for group in entry.groups()}
    step = min(now_minute, min(starts.values()) + at_once)
    for group in starts:
        start, to = entry.frontier(group), step - abs(group)
        if to > start:
            open_windows[group] = (start, to)
    return open_windows


@dataclass(frozen=True)
class _Job:
    """Comparisons of which a group of metrics settles over the same minutes, [start, to)."""

    group: int
    start: int
    to: int
    entries: list[Live]

    def window(self) -> Window:
        """What it is made from."""
        rollouts = [entry.comparison.rollout for entry in self.entries]
        services = sorted({rollout.service for rollout in rollouts})
        metrics = sorted(_metrics_of(self.entries, self.group))
        return Window(moment(self.start), moment(self.to), services, metrics)


def _read(
    store: Store, live: list[Live], windows: dict[str, dict[int, tuple[int, int]]], learned: dict[str, Live]
) -> tuple[pl.DataFrame, int]:
    """Settled rows of all windows, read together, and how many rows that took."""
    by_id = {entry.comparison.comparison_id: entry for entry in live}
    together: dict[tuple[int, int, int], list[Live]] = {}
    for comparison_id, groups in windows.items():
        for group, (start, to) in groups.items():
            together.setdefault((group, start, to), []).append(by_id[comparison_id])
    jobs = [_Job(*which, entries) for which, entries in sorted(together.items(), key=lambda item: item[0])]
    entries = [entry for entry in live if windows[entry.comparison.comparison_id]]
    routes = sorted({r for entry in entries for r in (entry.comparison.rollout.baseline, entry.comparison.rollout.candidate)})
    wanted = [window for window in (job.window() for job in jobs) if window.metrics]
    read = read_matured_rows(store, wanted, routes)
    arms = pl.concat([entry.comparison.arms for entry in entries])
    rows, bad = split_rows(read)
    if not bad.is_empty():
        left_out = summary(bad, arms)
        for entry in entries:
            entry.leave_out(left_out.get(entry.comparison.comparison_id, {}))
    for job in jobs:
        if job.group > 0:
            learned |= {entry.comparison.comparison_id: entry for entry in _discover(job, rows)}
    references = pl.concat([entry.comparison.references for entry in entries])
    settled = settle(rows, arms, references, pl.concat([entry.comparison.expectations for entry in entries]))
    return _within(settled, by_id, windows), read.height


def _metrics_of(entries: list[Live], group: int) -> set[str]:
    """Rollup metrics that a group is made from."""
    if group < 0:
        return set(_REFERENCED_SOURCES)
    wanted: set[str] = set()
    for entry in entries:
        c = entry.comparison
        wanted |= set(FLAG_METRICS) if c.maturity("error") == group else set()
        wanted |= {"eval_fail", "sampled"} if group in c.waits("eval_fail") else set()
        events = {kind for kind in EVENTS if c.maturity(kind) == group}
        wanted |= events | {"error"} if events else set()
        wanted |= {"overturn"} if group in c.waits("overturn") else set()
    return wanted


def _discover(job: _Job, rows: pl.DataFrame) -> Iterable[Live]:
    """What is collected counts from the minute after it was first seen: before, its absence says nothing."""
    seen_now = rows.filter(pl.col("bucket") >= moment(job.start), pl.col("bucket") < moment(job.to))
    where = ["service_name", "environment", "model_route", "model"]
    feedback = seen_now.filter(pl.col("metric").is_in(EVENTS), pl.col("n_scored_matured") > 0).with_columns(
        pl.lit("").alias("evaluator"), pl.lit("").alias("sampling_rule")
    )
    sampled = seen_now.filter(pl.col("metric") == "eval_fail", pl.col("n_sampled_matured") > 0).with_columns(
        metric=pl.lit(MISSING)
    )
    seen = pl.concat([feedback, sampled])
    if seen.is_empty():
        return
    what = ["comparison_id", "metric", "evaluator", "sampling_rule"]
    at = (pl.col("bucket").min().dt.epoch("s") // 60 + 1).alias("since")
    mine = seen.join(pl.concat([entry.comparison.arms for entry in job.entries]), on=where).group_by(what).agg(at).sort(what)
    by_comparison = {str(key[0]): part.drop("comparison_id").rows() for key, part in mine.group_by("comparison_id")}
    for entry in job.entries:
        comparison = entry.comparison
        known = {row[:3] for row in comparison.collected}
        first = by_comparison.get(comparison.comparison_id, [])
        new = [row for row in first if row[:3] not in known and comparison.maturity(row[0], row[1]) == job.group]
        if new:
            entry.change(replace(comparison, collected=[*comparison.collected, *new]))
            yield entry


def _within(settled: pl.DataFrame, entries: dict[str, Live], windows: dict[str, dict[int, tuple[int, int]]]) -> pl.DataFrame:
    """Of each metric the minutes that settle now; of others, what was read for their sake is not all there is."""
    key = ["comparison_id", "metric", "evaluator"]
    rows = []
    for comparison_id, metric, evaluator in settled.select(key).unique().iter_rows():
        group = entries[comparison_id].state.rules.group_of((metric, evaluator))
        start, to = windows[comparison_id].get(group, (0, 0))
        rows.append((comparison_id, metric, evaluator, start, to))
    schema = pl.Schema(dict.fromkeys(key, pl.String()) | dict.fromkeys(("start", "to"), pl.Int64()))
    reached = pl.DataFrame(rows, schema=schema, orient="row")
    minute = pl.col("minute").dt.epoch("s") // 60
    timed = settled.join(reached, on=key, maintain_order="left")
    return timed.filter(minute >= pl.col("start"), minute < pl.col("to")).select(list(SETTLED))
