"""
The trade-off plane: every cohort a point, cost ratio across (logarithmic), difference of failure rates up.

Positions are percentages of the plot's box, so the drawing fits any width while its text keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from alerts.verdict import CostCohort, StreamFinding, StreamState
from api import format as formats
from api.pages.words import cohort_name, stream_badge

_RATIO_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
# the box in pixels that label collisions are judged in; a wider page only spreads labels further apart
_WIDTH, _HEIGHT = 560.0, 370.0
_LETTER = 7.0


@dataclass(frozen=True)
class Tick:
    """A grid line: `at` percent, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class PlanePoint:
    """One cohort; whiskers run from `x_low` to `x_high` and `y_low` to `y_high` (None: no interval yet)."""

    cohort: str
    name: str
    x: float
    y: float
    radius: float
    x_low: float | None
    x_high: float | None
    y_low: float | None
    y_high: float | None
    # harmed, fine or unsure: class and shape
    look: str
    is_named: bool
    name_anchor: str
    title: str


@dataclass(frozen=True)
class Plane:
    """`zero_x`, `zero_y`: where the ratio is 1 and the difference 0; `missing`: cohorts that cannot be drawn, and why."""

    points: tuple[PlanePoint, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    zero_x: float
    zero_y: float
    missing: tuple[str, ...]


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float

    def at(self, value: float) -> float:
        """Percent from the low end, kept inside the box."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def touches(self, other: _Box) -> bool:
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom


def build_plane(streams: Sequence[StreamFinding], costs: Sequence[CostCohort], margin: float) -> Plane:
    """
    The plane of one metric.

    Args:
        streams: findings of one metric, one per cohort (the global one left out).
        costs: cost findings by cohort.
        margin: the largest regression a gate lets pass (rate); a cohort is drawn as fine once its range lies below.

    Returns:
        Points with the most harmed first; cohorts without a ratio or a difference are named in `missing`.
    """
    cost_of = {cost.cohort: cost for cost in costs}
    drawn = [(stream, cost) for stream in streams if (cost := cost_of.get(stream.cohort)) and _is_complete(stream, cost)]
    missing = tuple(_why_missing(s, cost_of.get(s.cohort)) for s in streams if s.cohort not in {d.cohort for d, _ in drawn})
    across = _across([cost for _, cost in drawn])
    up = _up([stream for stream, _ in drawn])
    largest = max((stream.candidate.n_units for stream, _ in drawn), default=1)
    order = sorted(drawn, key=lambda pair: (pair[0].state != StreamState.PAGED, -abs(pair[0].difference or 0), pair[0].cohort))
    points = [_point(stream, cost, across, up, (largest, margin)) for stream, cost in order]
    return Plane(
        points=_named(points),
        x_ticks=tuple(Tick(across.at(math.log(r)), f"{r:g}×") for r in _RATIO_TICKS if across.low <= math.log(r) <= across.high),
        y_ticks=_y_ticks(up),
        zero_x=across.at(0.0),
        zero_y=100 - up.at(0.0),
        missing=missing,
    )


def _is_complete(stream: StreamFinding, cost: CostCohort) -> bool:
    return stream.difference is not None and cost.ratio is not None and cost.ratio > 0


def _why_missing(stream: StreamFinding, cost: CostCohort | None) -> str:
    name = cohort_name(stream.cohort)
    if stream.difference is None:
        return f"{name}: no settled traces in both arms"
    n = min(cost.n_baseline, cost.n_candidate) if cost else 0
    return f"{name}: {formats.count(n)} of 200 priced traces per arm"


def _across(costs: Sequence[CostCohort]) -> _Scale:
    values = [1.25, 0.2]
    for cost in costs:
        values += [cost.ratio or 1.0]
        if cost.interval:
            values += [cost.interval.low, cost.interval.high]
    logs = [math.log(min(50.0, max(0.01, value))) for value in values]
    return _Scale(min(logs) - 0.12, max(logs) + 0.12)


def _up(streams: Sequence[StreamFinding]) -> _Scale:
    values = [0.02, -0.02]
    # a range that says nothing yet must not squeeze those that do
    reach = max(0.05, 0.4 * max((abs(stream.difference or 0.0) for stream in streams), default=0.0))
    for stream in streams:
        difference = stream.difference or 0.0
        values.append(difference)
        if stream.interval:
            values += [max(_lowest(stream), difference - reach), min(stream.interval.high, difference + reach)]
    margin = 0.06 * (max(values) - min(values))
    return _Scale(min(values) - margin, max(values) + margin)


def _y_ticks(up: _Scale) -> tuple[Tick, ...]:
    step = next((step for step in _STEPS if (up.high - up.low) / step <= 8), _STEPS[-1])
    first, last = math.ceil(up.low / step), math.floor(up.high / step)
    return tuple(Tick(100 - up.at(i * step), _points_tick(i * step)) for i in range(first, last + 1))


def _points_tick(value: float) -> str:
    return f"{value * 100:+.3g} pp".replace("-", formats.MINUS) if value else "0"


def _named(points: Sequence[PlanePoint]) -> tuple[PlanePoint, ...]:
    """The points, each with a printed name where it hides neither a point nor a name before it; harm is always named."""
    taken = [_dot_box(point.x, point.y, point.radius) for point in points]
    named = []
    for point in points:
        box = _label_box(point.x, point.y, point.name, point.name_anchor)
        is_named = point.look == "harmed" or not any(box.touches(other) for other in taken)
        if is_named:
            taken.append(box)
        named.append(replace(point, is_named=is_named))
    return tuple(named)


def _point(stream: StreamFinding, cost: CostCohort, across: _Scale, up: _Scale, limits: tuple[int, float]) -> PlanePoint:
    assert stream.difference is not None
    assert cost.ratio is not None
    largest, margin = limits
    x, y = across.at(math.log(cost.ratio)), 100 - up.at(stream.difference)
    return PlanePoint(
        cohort=stream.cohort,
        name=cohort_name(stream.cohort),
        x=x,
        y=y,
        radius=round(4 + 7 * math.sqrt(stream.candidate.n_units / max(1, largest)), 1),
        x_low=across.at(math.log(max(1e-6, cost.interval.low))) if cost.interval else None,
        x_high=across.at(math.log(max(1e-6, cost.interval.high))) if cost.interval else None,
        y_low=100 - up.at(_lowest(stream)) if stream.interval else None,
        y_high=100 - up.at(stream.interval.high) if stream.interval else None,
        look=_look(stream, margin),
        is_named=False,
        name_anchor="end" if x > 70 else "start",
        title=_title(stream, cost),
    )


def _lowest(stream: StreamFinding) -> float:
    """The low end of what is still possible: where harm is proved, its proved size."""
    assert stream.interval is not None
    if stream.state != StreamState.PAGED or stream.proven_difference is None or stream.difference is None:
        return stream.interval.low
    return min(stream.difference, max(stream.interval.low, stream.proven_difference))


def _look(stream: StreamFinding, margin: float) -> str:
    if stream.state == StreamState.PAGED:
        return "harmed"
    is_fine = stream.state == StreamState.NO_HARM_SEEN and stream.interval is not None and stream.interval.high < margin
    return "fine" if is_fine else "unsure"


def _label_box(x: float, y: float, name: str, anchor: str) -> _Box:
    """The room a label takes beside its point, in pixels."""
    width = len(name) * _LETTER
    left = x / 100 * _WIDTH + (18 if anchor == "start" else -18 - width)
    middle = y / 100 * _HEIGHT - 10
    return _Box(left, middle - 7, left + width, middle + 7)


def _dot_box(x: float, y: float, radius: float) -> _Box:
    left, top = x / 100 * _WIDTH, y / 100 * _HEIGHT
    return _Box(left - radius, top - radius, left + radius, top + radius)


def _title(stream: StreamFinding, cost: CostCohort) -> str:
    is_proved = stream.state == StreamState.PAGED and stream.proven_difference is not None
    difference = (
        f"at least {formats.points(stream.proven_difference)} (proved), best estimate {formats.points(stream.difference)}"
        if is_proved
        else f"{formats.points_range(stream.interval.low, stream.interval.high)}, "
        f"best estimate {formats.points(stream.difference)}"
        if stream.interval
        else f"{formats.points(stream.difference)}, range still collecting"
    )
    ratio = (
        f"{formats.ratio_range(cost.interval.low, cost.interval.high)}, best estimate {formats.ratio(cost.ratio)}"
        if cost.interval
        else f"{formats.ratio(cost.ratio)}, range still collecting"
    )
    traffic = f"{formats.count(stream.candidate.n_units)} candidate and {formats.count(stream.baseline.n_units)} baseline traces"
    return f"{cohort_name(stream.cohort)}: failures {difference}; cost {ratio}; {traffic}; {stream_badge(stream).text.lower()}"
