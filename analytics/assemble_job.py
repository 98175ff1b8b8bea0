"""The job that turns spans into facts: touched traces, loaded whole, in windows of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
import structlog

from analytics.assembly import assemble_spans, summarise_traces
from analytics.config import AnalyticsConfig
from analytics.outcome_step import SPANS_READ, OutcomeStep
from analytics.price_book import PriceBook
from analytics.runs import EPOCH, NOTHING_TO_DO, Recorder, Seen, StoppedError
from storage.assembly import read_span_hours, read_traces_between
from storage.client import Store
from storage.errors import RetryableError
from storage.facts import write_span_facts, write_trace_facts
from storage.job_runs import read_watermark
from storage.poisonous import read_poisonous_traces, write_cured_traces, write_poisonous_trace
from storage.touched import MOMENTS, Feed, read_moments, read_store_time, read_touched_evaluations, read_touched_traces
from storage.whole_traces import read_trace_bounds, read_whole_traces

log = structlog.get_logger(__name__)

_HOUR = timedelta(hours=1)
_MANY_SPANS = 20_000
_MOST_SET_ASIDE = 20
"""Traces that one run sets aside; more of them fail it."""


class AssembleJob:
    """
    Assembles, prices and sums up the traces that spans were written to, then judges the ones that evaluations were written to.

    A batch that fails is halved until the trace that no step can digest is alone; it is set aside with its reason.
    """

    kind = "assemble"

    def __init__(self, store: Store, config: AnalyticsConfig, *, replays_history: bool = False) -> None:
        self._store = store
        self._config = config
        self._rules = config.jobs
        self._outcomes = OutcomeStep(store, config, replays_history=replays_history)
        overlap = timedelta(seconds=config.jobs.overlap_seconds)
        self._seen = {feed: Seen(overlap) for feed in Feed}
        self._watermark = EPOCH
        self._n_set_aside = 0
        self._poisonous: set[str] | None = None

    def run(self, recorder: Recorder, book: PriceBook) -> str:
        upto = read_store_time(self._store)
        self._begin()
        self._watermark = max(self._watermark, read_watermark(self._store, self.kind) or EPOCH)
        windows = self._new_windows(upto)
        n_traces = n_evaluations = 0
        for number, window in enumerate(windows, 1):
            traces = read_touched_traces(self._store, window[Feed.TRACES])
            evaluations = read_touched_evaluations(self._store, window[Feed.EVALUATIONS])
            self._assemble_traces(traces, recorder, book)
            # what was said about traces assembled just now is judged already
            elsewhere = evaluations.join(traces, left_on="target_trace_id", right_on="trace_id", how="anti")
            self._judge_window(elsewhere, recorder)
            n_traces += traces["trace_id"].n_unique()
            n_evaluations += evaluations.height
            # both feeds are done up to here
            self._reached(_newest(window), window, recorder)
            recorder.advance(number / len(windows))
        self._reached(upto, {}, recorder)
        if n_traces + n_evaluations == 0:
            return NOTHING_TO_DO
        return f"{n_traces} traces assembled, {n_evaluations} evaluations judged"

    def _reached(self, watermark: datetime, window: Mapping[Feed, pl.DataFrame], recorder: Recorder) -> None:
        """Everything written up to here is done; a window of what became visible late does not take the watermark back."""
        self._watermark = max(self._watermark, watermark)
        for feed, moments in window.items():
            self._seen[feed].remember(moments, self._watermark)
        recorder.reached(self._watermark)

    def rebuild(self, recorder: Recorder, book: PriceBook, since: datetime, until: datetime) -> int:
        """Facts and outcomes again of every trace with a span that started in [since, until); returns how many traces."""
        self._begin()
        n_traces = 0
        windows = list(_windows(read_span_hours(self._store, since, until), self._rules.batch_spans))
        for done, (first, last) in enumerate(windows, 1):
            times = read_traces_between(self._store, max(since, first), min(until, last + _HOUR))
            n_traces += self._assemble_traces(times, recorder, book)
            recorder.advance(0.9 * done / len(windows))
        return n_traces

    def _begin(self) -> None:
        self._n_set_aside = 0
        self._poisonous = None

    def _new_windows(self, upto: datetime) -> list[dict[Feed, pl.DataFrame]]:
        """
        The new moments (`MOMENTS`) of both feeds, oldest first, cut into windows at the same moments.

        Each window has up to `window_traces` rows of a feed, and the rest of the moment at which there are so many.
        """
        fresh = {
            feed: seen.fresh(read_moments(self._store, feed, seen.start(self._watermark), upto))
            for feed, seen in self._seen.items()
        }
        counts = pl.concat([moments.rename({"n": feed}) for feed, moments in fresh.items()], how="align").fill_null(0)
        before = [(pl.col(feed).cum_sum() - pl.col(feed)) // self._rules.window_traces for feed in fresh]
        numbers = counts.sort("written_at").select("written_at", number=pl.max_horizontal(before))
        parts = {
            feed: moments.join(numbers, on="written_at").partition_by("number", as_dict=True, include_key=False)
            for feed, moments in fresh.items()
        }
        return [
            {feed: parts[feed].get((number,), MOMENTS.to_frame()) for feed in fresh}
            for number in numbers["number"].unique().sort()
        ]

    def _assemble_traces(self, touched: pl.DataFrame, recorder: Recorder, book: PriceBook) -> int:
        sizes = touched.group_by("trace_id").agg(pl.col("n_spans").sum())
        times = read_trace_bounds(self._store, touched).join(sizes, on="trace_id")
        for batch in _batches(times, self._rules.batch_spans):
            self._digest(batch, lambda part: self._assemble_batch(part, recorder, book))
        return times.height

    def _assemble_batch(self, times: pl.DataFrame, recorder: Recorder, book: PriceBook) -> None:
        now = datetime.now(UTC)
        read, priced = self._priced(times, book)
        facts = summarise_traces(priced)
        n_spans = priced.height
        write_span_facts(self._store, priced, read, now)
        del priced
        # a copy of a span that was replaced within its hour is in the bounds only, and what was written of it may stand elsewhere
        there = times.join(read, on="trace_id", how="semi")
        known = [there.select("trace_id", start_time=name) for name in ("first_start", "last_start")]
        starts = pl.concat([read.select("trace_id", "start_time"), *known])
        write_trace_facts(self._store, facts, starts, now)
        n_outcomes = self._outcomes.of_assembled(starts, facts, read["response_id"], now)
        recorder.add(read.height, n_spans + facts.height + n_outcomes)

    def _priced(self, times: pl.DataFrame, book: PriceBook) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What is needed of every span that was read (`SPANS_READ`), and the assembled spans: the rest need not be held twice."""
        spans = read_whole_traces(self._store, times)
        if spans.height > _MANY_SPANS:
            # a full batch takes 100 MiB less this way, and so may be half as large again
            self._store.release_memory()
        return spans.select(*SPANS_READ), book.price(assemble_spans(spans, self._config.assembly))

    def _judge_window(self, touched: pl.DataFrame, recorder: Recorder) -> None:
        for batch in touched.iter_slices(self._rules.batch_evaluations):
            self._digest(self._outcomes.traces_of(batch), lambda part: self._judge_batch(part, recorder))

    def _judge_batch(self, times: pl.DataFrame, recorder: Recorder) -> None:
        recorder.add(times.height, self._outcomes.of_traces(times, datetime.now(UTC)))

    def _digest(self, times: pl.DataFrame, work: Callable[[pl.DataFrame], None]) -> None:
        """Do the work, on halves where it fails; one trace that fails alone is set aside."""
        if times.is_empty():
            return
        try:
            work(times)
        except (RetryableError, StoppedError):
            raise
        except Exception as error:  # whatever a hostile trace provokes; what the store cannot do now was raised above
            # That many traces are not poisonous: the fault is ours, and the data must wait for the repair.
            if self._n_set_aside >= _MOST_SET_ASIDE:
                raise
            if times.height > 1:
                half = times.height // 2
                self._digest(times[:half], work)
                self._digest(times[half:], work)
                return
            trace_id: str = times["trace_id"].item()
            reason = f"{type(error).__name__}: {error}"[:2_000]
            log.warning("trace_set_aside", trace_id=trace_id, reason=reason)
            write_poisonous_trace(self._store, trace_id, reason)
            self._poisonous = None
            self._n_set_aside += 1
            return
        if self._poisonous is None:
            self._poisonous = set(read_poisonous_traces(self._store))
        if self._poisonous and (cured := self._poisonous.intersection(times["trace_id"])):
            write_cured_traces(self._store, sorted(cured))
            self._poisonous -= cured


def _windows(hours: Sequence[tuple[datetime, int]], n_spans: int) -> Iterator[tuple[datetime, datetime]]:
    """First and last of neighbouring hours of up to `n_spans` spans together; a fuller hour is alone."""
    window: list[datetime] = []
    n = 0
    for hour, in_hour in hours:
        if window and n + in_hour > n_spans:
            yield window[0], window[-1]
            window, n = [], 0
        window.append(hour)
        n += in_hour
    if window:
        yield window[0], window[-1]


def _batches(times: pl.DataFrame, n_spans: int) -> Iterator[pl.DataFrame]:
    """Traces of about `n_spans` spans together, in the order in which their spans lie on the disk."""
    hours = [pl.col(name).dt.truncate("1h") for name in ("first_start", "last_start")]
    ordered = times.sort(*hours, "trace_id")
    number = (ordered["n_spans"].fill_null(1).cum_sum() - 1) // n_spans
    yield from ordered.with_columns(batch=number).partition_by("batch", maintain_order=True, include_key=False)


def _newest(window: Mapping[Feed, pl.DataFrame]) -> datetime:
    """The last moment of a window, in whole microseconds: not later."""
    newest = pl.concat(window.values())["written_at"].max()
    assert isinstance(newest, datetime)
    return newest
