"""From evaluations to outcomes of the traces they judge: resolve, join, write, and take back what moved elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import polars as pl

from analytics.config import AnalyticsConfig
from analytics.evaluations import resolve_targets
from analytics.outcomes import trace_outcomes
from storage.assembly import (
    moments_between,
    read_evaluations_about,
    read_named_kinds,
    read_response_ids,
    read_response_index,
    read_session_index,
    read_shadow_spans,
    read_targets,
    read_trace_facts,
    read_trace_times,
)
from storage.client import Store
from storage.facts import EVALUATION_TARGETS, EVALUATIONS, write_evaluation_targets, write_trace_outcomes
from storage.maturities import read_maturities

_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
# What is said of a trace arrives after it starts, by clocks that are no further apart than this.
_CLOCKS_APART = timedelta(days=2)
# A judgement of a session can move from one trace to another; the other may have judgements that move in turn.
_ROUNDS = 4


SPANS_READ = ("trace_id", "span_id", "start_time", "response_id")
"""Columns of `ASSEMBLY_SPANS` that are still needed once traces are assembled."""


@dataclass(frozen=True)
class _Judged:
    """Traces, everything said about them, and where each of these sayings belongs."""

    times: pl.DataFrame
    facts: pl.DataFrame
    evaluations: pl.DataFrame
    targets: pl.DataFrame
    known_targets: pl.DataFrame


class OutcomeStep:
    """Brings `evaluation_targets` and `trace_outcomes` up to date for some traces."""

    def __init__(self, store: Store, config: AnalyticsConfig, *, replays_history: bool) -> None:
        self._store = store
        self._rules = config.evaluation
        self._defaults = config.maturity
        self._clock: Literal["wall", "event"] = "event" if replays_history else "wall"

    def traces_of(self, touched: pl.DataFrame) -> pl.DataFrame:
        """`TRACE_TIMES` of the traces that these evaluations (`TOUCHED_EVALUATIONS`) may judge, as far as they have arrived."""
        sessions, responses = (_named(touched, f"target_{what}_id") for what in ("session", "response"))
        traces = set(_named(touched, "target_trace_id"))
        if sessions:
            traces |= set(read_session_index(self._store, sessions)["trace_id"])
        if responses:
            traces |= set(read_response_index(self._store, responses)["trace_id"])
        return read_trace_times(self._store, sorted(traces), _ALWAYS)

    def of_assembled(self, starts: pl.DataFrame, facts: pl.DataFrame, responses: pl.Series, computed_at: datetime) -> int:
        """
        Outcomes of traces just assembled; returns rows written.

        Args:
            starts: `trace_id`, `start_time` of all their spans, copies included, those that were replaced too.
            facts: `TRACE_FACTS`.
            responses: ids that their spans carry.
        """
        times = starts.group_by("trace_id").agg(first_start=pl.col("start_time").min(), last_start=pl.col("start_time").max())
        return self._settle(self._load(times, facts, lambda: _named(responses.to_frame(), responses.name)), computed_at)

    def of_traces(self, times: pl.DataFrame, computed_at: datetime) -> int:
        """Outcomes of some traces (`TRACE_TIMES`) whose facts are written; returns rows written."""
        return self._settle(self._load_written(times), computed_at)

    def _settle(self, judged: _Judged | None, computed_at: datetime) -> int:
        if judged is None:
            return 0
        for _ in range(_ROUNDS):
            others = self._moved(judged)
            if not others:
                break
            more = read_trace_times(self._store, others, _ALWAYS)
            widened = self._load_written(pl.concat([judged.times, more.select(judged.times.columns)]))
            assert widened is not None
            judged = widened
        return self._write(judged, computed_at)

    def _load_written(self, times: pl.DataFrame) -> _Judged | None:
        return self._load(times, read_trace_facts(self._store, times), lambda: read_response_ids(self._store, times))

    def _load(self, times: pl.DataFrame, facts: pl.DataFrame, responses: Callable[[], list[str]]) -> _Judged | None:
        by_session, by_response = read_named_kinds(self._store)
        evaluations = self._said_about(times, facts, by_session, responses() if by_response else [])
        if evaluations.is_empty():
            return None
        asked = _named(evaluations, "target_session_id")
        index = pl.concat(
            [
                facts.select("trace_id", "session_id", "mirror_role", "started_at"),
                read_session_index(self._store, asked),
            ]
        ).unique(["trace_id", "mirror_role"], keep="first")
        answers = read_response_index(self._store, _named(evaluations, "target_response_id"))
        targets = resolve_targets(evaluations, index, answers)
        # one that names a trace belongs there for good
        movable = evaluations.filter(pl.col("target_trace_id") == "")["evaluation_id"].to_list()
        return _Judged(times, facts, evaluations, targets, read_targets(self._store, movable))

    def _said_about(self, times: pl.DataFrame, facts: pl.DataFrame, by_session: bool, responses: list[str]) -> pl.DataFrame:
        """Evaluations that name these traces, their sessions (if any names one) or these responses."""
        since = pl.max_horizontal(pl.col("first_start") - _CLOCKS_APART, pl.lit(_ALWAYS))
        is_far_off = pl.col("quality_flags").list.contains("time_far_off")
        dated = facts.join(times, on="trace_id", how="left").select(
            "trace_id", "session_id", since=pl.when(is_far_off).then(pl.lit(_ALWAYS)).otherwise(since)
        )
        # One late span of an old trace is no reason to look that far back for all. Whose a response is is not known here.
        is_recent = pl.col("since") >= pl.col("since").max() - _CLOCKS_APART
        groups = [dated] if responses else [dated.filter(is_recent), dated.filter(~is_recent)]
        found = [EVALUATIONS.to_frame()]
        for group in groups:
            first = group["since"].min()
            sessions = _named(group, "session_id") if by_session else []
            traces = group["trace_id"].unique().to_list()
            if traces or responses:
                received_since = first if isinstance(first, datetime) else _ALWAYS
                found.append(read_evaluations_about(self._store, traces, sessions, responses, received_since))
        # where older copies were not looked for, a later copy of an older verdict stands alone: the later verdict counts
        return pl.concat(found).sort("evaluated_at", "received_at").unique("evaluation_id", keep="last", maintain_order=True)

    def _moved(self, judged: _Judged) -> list[str]:
        """Traces outside of these that an evaluation belongs to now, or belonged to until now."""
        changed = judged.known_targets.join(judged.targets, on=["evaluation_id", "trace_id"], how="anti")
        named = pl.concat([judged.targets.select("trace_id"), changed.select("trace_id")])
        others = named.join(judged.times, on="trace_id", how="anti")
        return others["trace_id"].unique().sort().to_list()

    def _write(self, judged: _Judged, computed_at: datetime) -> int:
        traces = judged.facts.select("trace_id", "mirror_role", "started_at", "service_name")
        sides = traces.filter(pl.len().over("trace_id") > 1)
        shadows = read_shadow_spans(self._store, judged.times.join(sides, on="trace_id", how="semi"))
        outcomes = trace_outcomes(
            judged.evaluations,
            judged.targets,
            traces,
            shadows,
            read_maturities(self._store),
            self._rules,
            self._defaults,
            self._clock,
        )
        write_trace_outcomes(self._store, outcomes, moments_between(judged.times), computed_at)
        # Last: until then, a run cut short still sees from where a judgement moved.
        found = judged.targets.filter(pl.col("resolved_by").is_in(["session", "response"]))
        news = found.join(judged.known_targets, on=EVALUATION_TARGETS.names(), how="anti")
        write_evaluation_targets(self._store, news, computed_at)
        return outcomes.height + news.height


def _named(frame: pl.DataFrame, column: str) -> list[str]:
    """The distinct values of a column that are not empty, sorted."""
    values = frame[column].unique().sort()
    return values.filter(values != "").to_list()
