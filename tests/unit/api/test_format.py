"""Expected texts are written out by hand; `_` stands for the space that does not break."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import format as formats

NOW = datetime(2026, 3, 9, 14, 5, 9, tzinfo=UTC)


def text(expected: str) -> str:
    return expected.replace("_", "\u00a0").replace("-", "−")


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (None, "—"),
        (float("nan"), "—"),
        (0.0, "0.0_%"),
        (0.198, "19.8_%"),
        (0.00432, "0.43_%"),
        (1.0, "100.0_%"),
        (0.00996, "1.0_%"),
    ],
)
def test_percent(rate: float | None, expected: str) -> None:
    assert formats.percent(rate) == text(expected)


@pytest.mark.parametrize(("difference", "expected"), [(0.026, "+2.6_pp"), (-0.009, "-0.90_pp"), (0.0, "0.0_pp"), (None, "—")])
def test_points(difference: float | None, expected: str) -> None:
    assert formats.points(difference) == text(expected)


def test_a_range_writes_both_ends_with_the_same_digits() -> None:
    assert formats.points_range(-0.009, 0.013) == text("-0.9 to +1.3_pp")
    assert formats.points_range(-0.0041, 0.0078) == text("-0.41 to +0.78_pp")
    assert formats.points_range(None, 0.1) == "—"
    assert formats.points_range(float("-inf"), 0.1) == "—"


def test_ratios() -> None:
    assert formats.ratio(0.312) == "0.31×"
    assert formats.ratio_range(0.29, 0.334) == "0.29 to 0.33×"
    assert formats.ratio_range(0.29, None) == "—"
    assert formats.ratio(12.34) == "12.3×"


@pytest.mark.parametrize(
    ("usd", "expected"),
    [
        (None, "—"),
        (Decimal(0), "$0"),
        (Decimal("1234.5"), "$1,234.50"),
        (0.0184, "$0.0184"),
        (0.0056, "$0.00560"),
        (0.5, "$0.500"),
        (-2, "-$2.00"),
        (Decimal("0.000000001"), "$0.000000001"),
    ],
)
def test_money(usd: Decimal | float | None, expected: str) -> None:
    assert formats.money(usd) == text(expected)


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    [
        (None, "—"),
        (0, "0_s"),
        (999, "999_ns"),
        (12_345, "12.3_µs"),
        (340_000_000, "340_ms"),
        (1_240_000_000, "1.24_s"),
        (123_000_000_000, "2_min 3_s"),
        (3_720_000_000_000, "1_h 2_min"),
    ],
)
def test_duration(nanoseconds: int | None, expected: str) -> None:
    assert formats.duration(nanoseconds) == text(expected)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.2, "just now"),
        (45, "45_s ago"),
        (200, "3_min ago"),
        (3_700, "1_h 1_min ago"),
        (100_000, "1_d 3_h ago"),
        (-7_200, "in 2_h"),
    ],
)
def test_ago(seconds: float, expected: str) -> None:
    assert formats.ago(NOW - timedelta(seconds=seconds), NOW) == text(expected)


def test_times_are_utc_wherever_they_come_from() -> None:
    elsewhere = NOW.astimezone(tz=None)
    assert formats.moment(elsewhere) == "2026-03-09 14:05:09 UTC"
    assert formats.day(NOW) == "9 Mar 2026"
    assert formats.machine_time(NOW) == "2026-03-09T14:05:09.000Z"
    assert formats.moment(None) == formats.day(None) == formats.ago(None, NOW) == "—"


def test_counts_scores() -> None:
    assert formats.count(12_345) == "12,345"
    assert formats.plural(1, "call") == "1 call"
    assert formats.plural(1_200, "call") == "1,200 calls"
    assert formats.score(0.8741) == "0.874"


@given(st.floats(min_value=-1, max_value=1), st.floats(min_value=0, max_value=1))
def test_a_range_never_claims_to_be_narrower_than_its_last_digit_allows(low: float, width: float) -> None:
    shown = formats.points_range(low, low + width).replace("−", "-").replace("\u00a0pp", "").split(" to ")
    assert float(shown[0]) <= float(shown[1])
    assert float(shown[0]) == pytest.approx(low * 100, abs=0.051)
    assert float(shown[1]) == pytest.approx((low + width) * 100, abs=0.051)
