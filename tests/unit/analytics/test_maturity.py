"""Maturities: the 98th percentile by hand, its bounds, and what counts without history."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from analytics.config import MaturityRules
from analytics.maturity import default_maturity_seconds, estimate_maturities

DAY_ZERO = datetime(2028, 2, 29, tzinfo=UTC)
RULES = MaturityRules()


def delays(seconds: list[float], metric: str = "eval_fail", evaluator: str = "judge") -> pl.DataFrame:
    return pl.DataFrame({"metric": metric, "evaluator": evaluator, "delay_seconds": [float(s) for s in seconds]})


def estimated(frame: pl.DataFrame) -> list[tuple[str, str, int]]:
    found = estimate_maturities(frame, "support", DAY_ZERO, RULES)
    assert found["service_name"].unique().to_list() in ([], ["support"])
    assert found["effective_from"].unique().to_list() in ([], [DAY_ZERO])
    return found.select("metric", "evaluator", "maturity_seconds").rows()


def test_ninety_eight_of_a_hundred_verdicts_are_in_time() -> None:
    # 1,000 to 1,099 s: the value that 98 % of a hundred lie at or below, rounded up to a real one
    assert estimated(delays([1_000 + n for n in range(100)])) == [("eval_fail", "judge", 1_098)]


@pytest.mark.parametrize(("seconds", "kept"), [(3.0, 600), (-50.0, 600), (10**6, 72 * 3_600)])
def test_kept_within_the_shortest_and_the_longest(seconds: float, kept: int) -> None:
    assert estimated(delays([seconds] * 100)) == [("eval_fail", "judge", kept)]


def test_too_few_verdicts_say_nothing_and_do_not_hide_others() -> None:
    both = pl.concat([delays([900.0] * 99), delays([900.0] * 100, metric="thumbs_down", evaluator="")])
    assert estimated(both) == [("thumbs_down", "", 900)]


@pytest.mark.parametrize(
    ("metric", "hours"),
    [("eval_fail", 1), ("eval_missing", 1), ("thumbs_down", 6), ("refund", 24), ("overturn", 24), ("cost", 1 / 12)],
)
def test_defaults(metric: str, hours: float) -> None:
    assert default_maturity_seconds(metric, RULES) == hours * 3_600
