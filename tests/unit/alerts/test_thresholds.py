"""What a threshold rule says of a value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from alerts.config import AlertsConfig, ThresholdConfig
from alerts.thresholds import Reading, judge, threshold_content

NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)


def rule(**changes: Any) -> ThresholdConfig:
    return ThresholdConfig(**({"name": "errors", "metric": "error_rate", "above": 0.05} | changes))


@pytest.mark.parametrize(
    ("limit", "value", "breached"),
    [
        ({"above": 0.05}, 0.0501, True),
        ({"above": 0.05}, 0.05, False),
        ({"above": None, "below": 0.05}, 0.0499, True),
        ({"above": None, "below": 0.05}, 0.05, False),
    ],
)
def test_a_value_on_the_limit_is_not_breached(limit: dict[str, Any], value: float, breached: bool) -> None:
    [judgement] = judge(rule(**limit), [Reading("", value, 100)], (), NOW)
    assert bool(judgement.signal.streams) is breached
    assert judgement.signal.latched is False


@pytest.mark.parametrize(
    ("no_data", "breached", "latched"), [("ok", False, False), ("keep", False, True), ("alert", True, False)]
)
@pytest.mark.parametrize("readings", [[], [Reading("", None, 500)], [Reading("", 0.9, 19)]])
def test_too_little_data_is_what_the_rule_says(readings: list[Reading], no_data: str, breached: bool, latched: bool) -> None:
    [judgement] = judge(rule(no_data=no_data), readings, (), NOW)
    assert (bool(judgement.signal.streams), judgement.signal.latched) == (breached, latched)


def test_each_group_has_its_own_signal_and_an_open_one_that_vanished_has_no_data() -> None:
    readings = [Reading("route=b", 0.01, 100), Reading("route=a", 0.5, 100)]
    judgements = judge(rule(group_by=("route",), for_minutes=5), readings, {"route=gone"}, NOW)
    assert [(j.reading.group, j.signal.streams, j.signal.latched) for j in judgements] == [
        ("route=a", ("error_rate/route=a",), False),
        ("route=b", (), False),
        ("route=gone", (), True),
    ]
    assert len({j.signal.comparison_id for j in judgements}) == 3
    assert {j.signal.hold for j in judgements} == {timedelta(minutes=5)}


def test_its_page_says_the_value_the_limit_and_what_it_rests_on() -> None:
    [judgement] = judge(rule(group_by=("route",)), [Reading("route=a", 0.072, 1234)], (), NOW)
    content = threshold_content(judgement, NOW)
    assert content.what == "THRESHOLD  errors: error_rate is above 0.05 for route=a"
    assert content.streams[0].how_much == "error_rate 0.072 over the last 15 min, 1,234 traces"
    [silent] = judge(rule(no_data="alert"), [], (), NOW)
    assert threshold_content(silent, NOW).what == "NO DATA  errors: nothing to compute error_rate from"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"above": None}, "needs either above or below"),
        ({"below": 1}, "needs either above or below"),
        ({"metric": "eror_rate"}, "no metric 'eror_rate'; there are"),
        ({"statistic": "p99"}, "error_rate has no p99"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        rule(**changes)


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="names are used twice: errors"):
        AlertsConfig(threshold=(rule(), rule(above=0.2)))
