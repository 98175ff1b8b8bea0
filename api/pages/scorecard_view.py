"""What the scorecard's tables show: each finding as a line of ready texts, the range before the estimate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from alerts.scorecard import Scorecard, SeriesPoint
from alerts.verdict import GLOBAL, ArmCounts, CostCohort, MetricGroup, StreamFinding, StreamState
from api import format as formats
from api.pages.rendering import link, segment
from api.pages.words import RISE, RISE_NOTE, STATES, Badge, cohort_name, in_cohort, metric_name, stream_badge
from storage.metrics import VERDICT_METRICS

_URGENCY = (StreamState.PAGED, StreamState.SUSPECTED, StreamState.NO_HARM_SEEN, StreamState.COLLECTING)
_MAX_CHARTS = 6
FLAG_PARAMETERS = {"retry": "retried", "fallback": "fell_back", "timeout": "timed_out", "error": "errored"}


@dataclass(frozen=True)
class ScoreLine:
    """One cohort under one metric."""

    cohort: str
    name: str
    is_global: bool
    is_high_value: bool
    is_harmed: bool
    badge: Badge
    baseline_rate: str
    baseline_counts: str
    candidate_rate: str
    candidate_counts: str
    difference_range: str
    difference_point: str
    coverage: str
    note: str
    pairs_href: str
    traces_href: str


@dataclass(frozen=True)
class MetricTable:
    """One metric: its lines, the global one first, then the most urgent."""

    anchor: str
    name: str
    is_quality: bool
    is_open: bool
    badge: Badge
    summary: str
    lines: tuple[ScoreLine, ...]


@dataclass(frozen=True)
class CostLine:
    """One cohort's cost ratio."""

    name: str
    is_global: bool
    ratio_range: str
    ratio_point: str
    capped_range: str
    baseline_mean: str
    candidate_mean: str
    counts: str
    note: str


@dataclass(frozen=True)
class ChartPoint:
    """A difference and its band at one time, in percentage points; None is not known yet."""

    at: datetime
    low: float | None
    high: float | None
    difference: float | None
    range_text: str
    point_text: str
    baseline_text: str
    candidate_text: str


@dataclass(frozen=True)
class Chart:
    """The difference of one stream over time."""

    title: str
    points: tuple[ChartPoint, ...]


def metric_tables(rollout: str, service: str, candidate_route: str, rows: Sequence[StreamFinding]) -> tuple[MetricTable, ...]:
    """The scorecard by metric: quality first, harmed metrics before the others."""
    groups: dict[tuple[str, str, bool], list[StreamFinding]] = {}
    for row in rows:
        groups.setdefault((row.metric, row.evaluator, row.is_bundle), []).append(row)
    tables = [_metric_table(rollout, service, candidate_route, found) for found in groups.values()]
    return tuple(sorted(tables, key=lambda table: (not table.is_open, not table.is_quality, table.name)))


def anchor_of(row: StreamFinding) -> str:
    """The id of the table of a finding's metric."""
    return segment("-".join(filter(None, (row.metric, row.evaluator, "pooled" if row.is_bundle else ""))))


def _metric_table(rollout: str, service: str, route: str, rows: Sequence[StreamFinding]) -> MetricTable:
    first = rows[0]
    ordered = sorted(rows, key=lambda row: (row.cohort != GLOBAL, _URGENCY.index(row.state), not row.is_high_value, row.cohort))
    worst = min((row.state for row in rows), key=_URGENCY.index)
    name = metric_name(first.metric, first.evaluator) + (" (prompt versions pooled)" if first.is_bundle else "")
    n_harmed = sum(row.state == StreamState.PAGED for row in rows)
    overall = next((row for row in rows if row.cohort == GLOBAL), None)
    parts = [f"{n_harmed} of {len(rows)} streams worse"] if n_harmed else []
    if overall is not None and overall.interval:
        parts.append(f"all cohorts {formats.points_range(overall.interval.low, overall.interval.high)}")
    return MetricTable(
        anchor=anchor_of(first),
        name=name,
        is_quality=first.group == MetricGroup.QUALITY,
        is_open=worst in (StreamState.PAGED, StreamState.SUSPECTED),
        badge=RISE if worst == StreamState.NO_HARM_SEEN and any(stream_badge(row) is RISE for row in rows) else STATES[worst],
        summary="; ".join(parts),
        lines=tuple(_score_line(rollout, service, route, row) for row in ordered),
    )


def _score_line(rollout: str, service: str, route: str, row: StreamFinding) -> ScoreLine:
    is_harmed = row.state == StreamState.PAGED
    is_global = row.cohort == GLOBAL
    cohort = "" if is_global else row.cohort
    return ScoreLine(
        cohort=row.cohort,
        name=cohort_name(row.cohort),
        is_global=is_global,
        is_high_value=row.is_high_value,
        is_harmed=is_harmed,
        badge=stream_badge(row),
        baseline_rate=formats.percent(row.baseline.rate),
        baseline_counts=_counts(row.baseline),
        candidate_rate=formats.percent(row.candidate.rate),
        candidate_counts=_counts(row.candidate),
        difference_range=_range(row),
        difference_point=_point(row),
        coverage=_coverage(row),
        note=row.note or (RISE_NOTE if stream_badge(row) is RISE else ""),
        pairs_href=link(
            f"/rollouts/{segment(rollout)}/pairs", {"cohort": cohort, "metric": row.metric, "evaluator": row.evaluator}
        ),
        traces_href=link("/traces", {"service": service, "route": route, "cohort": cohort, "from": "-7d"} | _failed(row)),
    )


def _failed(row: StreamFinding) -> dict[str, str]:
    """What finds the failures of a metric in the trace search."""
    if row.metric in VERDICT_METRICS:
        return {"failed": row.metric, "evaluator": row.evaluator}
    flag = FLAG_PARAMETERS.get(row.metric)
    return {flag: "true"} if flag else {}


def _counts(arm: ArmCounts) -> str:
    return f"{formats.count(arm.n_fail)} of {formats.count(arm.n_units)}"


def _range(row: StreamFinding) -> str:
    if row.state == StreamState.PAGED and row.proven_difference is not None:
        return f"at least {formats.points(row.proven_difference)}"
    if row.interval:
        return formats.points_range(row.interval.low, row.interval.high)
    return "collecting"


def _point(row: StreamFinding) -> str:
    if row.state == StreamState.PAGED and row.difference_since is not None:
        return f"proved; best estimate {formats.points(row.difference_since)} since {formats.day(row.since)}"
    if row.difference is None:
        return ""
    return f"best estimate {formats.points(row.difference)}" if row.interval else ""


def _coverage(row: StreamFinding) -> str:
    arms = (row.baseline.coverage, row.candidate.coverage)
    if all(share is None or share == 1 for share in arms):
        return ""
    return f"{formats.percent(arms[0])} / {formats.percent(arms[1])}"


def cost_lines(costs: Iterable[CostCohort]) -> tuple[CostLine, ...]:
    """Cost ratios, over the whole mix first."""
    return tuple(_cost_line(cost) for cost in costs)


def _cost_line(cost: CostCohort) -> CostLine:
    interval, capped = cost.interval, cost.interval_capped
    notes = (["certified cheaper"] if cost.certified_cheaper else []) + (["indicative: few traces"] if cost.indicative else [])
    return CostLine(
        name=cohort_name(cost.cohort),
        is_global=cost.cohort == GLOBAL,
        ratio_range=formats.ratio_range(interval.low, interval.high) if interval else "collecting",
        ratio_point=f"best estimate {formats.ratio(cost.ratio)}" if interval else formats.ratio(cost.ratio),
        capped_range=formats.ratio_range(capped.low, capped.high) if capped else "collecting",
        baseline_mean=formats.money(cost.mean_baseline_usd),
        candidate_mean=formats.money(cost.mean_candidate_usd),
        counts=f"{formats.count(cost.n_candidate)} / {formats.count(cost.n_baseline)}",
        note=", ".join(notes),
    )


def charts(card: Scorecard) -> tuple[Chart, ...]:
    """The difference over time of the streams that page and of each quality metric as a whole, at most six."""
    points: dict[str, list[SeriesPoint]] = {}
    for point in card.series:
        points.setdefault(point.stream_id, []).append(point)
    wanted = [row for row in card.rows if row.state == StreamState.PAGED]
    wanted += [row for row in card.rows if row.cohort == GLOBAL and row.group == MetricGroup.QUALITY and row not in wanted]
    found = [row for row in wanted if row.stream_id in points][:_MAX_CHARTS]
    return tuple(
        Chart(
            title=f"{metric_name(row.metric, row.evaluator)}, {in_cohort(row.cohort)}",
            points=tuple(_chart_point(point) for point in sorted(points[row.stream_id], key=lambda point: point.at)),
        )
        for row in found
    )


def _chart_point(point: SeriesPoint) -> ChartPoint:
    low, high = (point.interval.low, point.interval.high) if point.interval else (None, None)
    return ChartPoint(
        at=point.at,
        low=low,
        high=high,
        difference=point.difference,
        range_text=formats.points_range(low, high) if point.interval else "collecting",
        point_text=formats.points(point.difference),
        baseline_text=formats.percent(point.baseline_rate),
        candidate_text=formats.percent(point.candidate_rate),
    )
