"""Which pairs of routes traffic suggests, and what a wrong declaration is told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alerts.config import RolloutConfig
from alerts.rollouts import InvalidRolloutError, candidates, parse_rollout
from storage.rollouts import RouteTraffic

NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)


def route(name: str, cost: float | None = None, n: int = 1000, service: str = "agent") -> RouteTraffic:
    return RouteTraffic(service, name, n, cost, NOW)


def pairs(*traffic: RouteTraffic, compared: tuple[RolloutConfig, ...] = ()) -> list[tuple[str, str, str]]:
    return [(c.name, c.baseline, c.candidate) for c in candidates(traffic, compared, {c.name for c in compared})]


def test_the_dearest_route_is_the_baseline_of_all_others() -> None:
    found = pairs(route("small", 0.001), route("big", 0.02), route("mid", 0.01))
    assert found == [("agent.big.small", "big", "small"), ("agent.big.mid", "big", "mid")]


def test_where_a_cost_is_unknown_it_is_the_busiest() -> None:
    assert pairs(route("a", 0.02, n=100), route("b", None, n=900)) == [("agent.b.a", "b", "a")]


def test_routes_of_different_services_are_not_compared() -> None:
    assert pairs(route("a", 1, service="one"), route("b", 2, service="two")) == []


def test_thin_routes_and_compared_pairs_are_left_out_either_way_round() -> None:
    declared = RolloutConfig(name="mine", service="agent", baseline="small", candidate="big")
    assert pairs(route("big", 0.02), route("small", 0.001), route("new", 0.01, n=49), compared=(declared,)) == []


def test_names_fit_a_path_and_are_free() -> None:
    taken = RolloutConfig(name="a-b.x.y-z", service="other", baseline="x", candidate="y")
    assert pairs(route("x", 2, service="a b"), route("y/z", 1, service="a b"), compared=(taken,)) == [("a-b.x.y-z-2", "x", "y/z")]


def test_every_wrong_field_is_named() -> None:
    with pytest.raises(InvalidRolloutError) as caught:
        parse_rollout({"name": "r", "baseline": "a", "candidate": "b", "planed_days": 3, "gates": {"max_regression": 2}})
    assert set(caught.value.problems) == {"service", "planed_days", "gates.max_regression"}


def test_a_route_is_not_compared_with_itself() -> None:
    with pytest.raises(InvalidRolloutError, match="compares route 'a' with itself"):
        parse_rollout({"name": "r", "service": "s", "baseline": "a", "candidate": "a"})
