"""
Plain threshold rules, pure: what a rule says of the newest value of its metric.

They share the life cycle and the delivery of rollouts' incidents, one incident per value of `group_by`, and close by themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts.config import ThresholdConfig
from alerts.lifecycle import Signal
from alerts.page import Content, StreamLine
from storage.alerts import Subject, SubjectKind

KIND = "threshold"


@dataclass(frozen=True)
class Reading:
    """The metric over the rule's trailing window, for one group ('' without grouping); None: nothing to divide by."""

    group: str
    value: float | None
    n_traces: int


@dataclass(frozen=True)
class Judgement:
    """What a rule says of one group."""

    rule: ThresholdConfig
    reading: Reading
    signal: Signal

    @property
    def has_data(self) -> bool:
        return self.reading.value is not None and self.reading.n_traces >= self.rule.min_traces


def comparison_id(rule: ThresholdConfig, group: str) -> str:
    """What an incident of a rule is about: the rule as it is written, and the group."""
    return f"threshold {rule.name} {group}".rstrip()


def judge(rule: ThresholdConfig, readings: Sequence[Reading], open_groups: Collection[str], now: datetime) -> list[Judgement]:
    """
    One judgement per group, by group.

    Args:
        rule: the rule.
        readings: the present values; a group that is missing has no data.
        open_groups: groups with an open incident, pending ones too.
        now: the end of the window.
    """
    known = {reading.group: reading for reading in readings}
    groups = known.keys() | set(open_groups) | (set() if rule.group_by else {""})
    return [_judge(rule, known.get(group, Reading(group, None, 0)), now) for group in sorted(groups)]


def _judge(rule: ThresholdConfig, reading: Reading, now: datetime) -> Judgement:
    has_data = reading.value is not None and reading.n_traces >= rule.min_traces
    breached = is_breached(rule, reading.value) if has_data and reading.value is not None else rule.no_data == "alert"
    signal = Signal(
        Subject(SubjectKind.THRESHOLD, rule.name),
        comparison_id(rule, reading.group),
        KIND,
        (stream_id(rule, reading.group),) if breached else (),
        now,
        hold=timedelta(minutes=rule.for_minutes),
        # "as before": a latched signal without streams changes nothing
        latched=not has_data and rule.no_data == "keep",
    )
    return Judgement(rule, reading, signal)


def is_breached(rule: ThresholdConfig, value: float) -> bool:
    """A value on the limit is not breached."""
    if rule.above is not None:
        return value > rule.above
    return rule.below is not None and value < rule.below


def stream_id(rule: ThresholdConfig, group: str) -> str:
    return f"{rule.metric}/{group}" if group else rule.metric


def threshold_content(judgement: Judgement, now: datetime) -> Content:
    """The page of a rule's incident."""
    rule, reading = judgement.rule, judgement.reading
    limit = f"above {rule.above:g}" if rule.above is not None else f"below {rule.below:g}"
    metric = rule.metric if rule.statistic == "value" else f"{rule.metric} {rule.statistic}"
    where = f" for {reading.group}" if reading.group else ""
    if judgement.has_data:
        what = f"THRESHOLD  {rule.name}: {metric} is {limit}{where}"
        how_much = f"{metric} {reading.value:g} over the last {rule.window_minutes} min, {reading.n_traces:,} traces"
    else:
        what = f"NO DATA  {rule.name}: nothing to compute {metric} from{where}"
        how_much = f"{reading.n_traces:,} traces in the last {rule.window_minutes} min, {rule.min_traces:,} are needed"
    return Content(
        SubjectKind.THRESHOLD,
        rule.name,
        KIND,
        rule.severity,
        rule.service,
        rule.environment,
        "",
        rule.route,
        now,
        what,
        (StreamLine(stream_id(rule, reading.group), rule.metric, rule.evaluator, rule.cohort, how_much, None),),
        certainty="A plain limit: no statistics, chance can cross it.",
    )
