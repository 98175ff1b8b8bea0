from __future__ import annotations

import math
from dataclasses import replace

from alerts.verdict import CostCohort, Interval
from api.pages.plane import build_plane
from tests.support import rollout_story as story

STREAMS = [story.finding(cohort) for cohort in story.COHORTS]
COSTS = story.cost().cohorts


def test_a_point_lies_where_its_ratio_and_difference_say() -> None:
    plane = build_plane(STREAMS, COSTS, 0.03)
    losing = next(point for point in plane.points if point.cohort == story.LOSING)
    # cheaper is left of ratio 1, worse is above difference 0, and the y axis of a screen points down
    assert losing.x < plane.zero_x
    assert losing.y < plane.zero_y
    assert losing.look == "harmed"
    assert losing.is_named
    # equal steps for equal factors: the distance from 0.2 to 0.5 is ln 2.5 / ln 2 times that from 0.5 to 1
    at = {tick.text: tick.at for tick in plane.x_ticks}
    expected = math.log(2.5) / math.log(2)
    assert math.isclose((at["0.5×"] - at["0.2×"]) / (at["1×"] - at["0.5×"]), expected, rel_tol=1e-3)


def test_whiskers_enclose_their_point() -> None:
    for point in build_plane(STREAMS, COSTS, 0.03).points:
        assert point.x_low is not None
        assert point.x_high is not None
        assert point.x_low <= point.x <= point.x_high
        if point.y_low is not None and point.y_high is not None:
            # up is a smaller y
            assert point.y_high <= point.y <= point.y_low


def test_the_order_of_findings_does_not_matter() -> None:
    assert build_plane(STREAMS, COSTS, 0.03) == build_plane(STREAMS[::-1], COSTS[::-1], 0.03)


def test_cohorts_without_a_cost_are_named_with_what_is_missing() -> None:
    assert build_plane(STREAMS, COSTS, 0.03).missing == ("press: 103 of 200 priced traces per arm",)


def test_only_a_range_below_the_margin_is_fine() -> None:
    stream = replace(story.finding("billing_question"), difference=0.0, interval=Interval(-0.01, 0.029, 0.05))
    costs = [cost for cost in COSTS if cost.cohort == "billing_question"]
    assert build_plane([stream], costs, 0.03).points[0].look == "fine"
    wider = replace(stream, interval=Interval(-0.01, 0.031, 0.05))
    assert build_plane([wider], costs, 0.03).points[0].look == "unsure"


def test_extremes_stay_inside_the_box() -> None:
    def extreme(cohort: str, ratio: float) -> CostCohort:
        return replace(COSTS[0], cohort=cohort, ratio=ratio, interval=Interval(ratio / 1e4, ratio * 1e4, 0.02))

    streams = [
        replace(story.finding(c), difference=d, interval=Interval(-1, 1, 0.05)) for c, d in (("press", -1.0), ("warranty", 1.0))
    ]
    for point in build_plane(streams, [extreme("press", 1e-5), extreme("warranty", 1e5)], 0.03).points:
        for place in (point.x, point.y, point.x_low, point.x_high, point.y_low, point.y_high):
            assert place is not None
            assert 0 <= place <= 100


def test_nothing_to_draw_is_no_error() -> None:
    plane = build_plane([], [], 0.03)
    assert plane.points == ()
