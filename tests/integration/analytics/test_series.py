"""Series at their edges: the calendar, ranges that are no whole buckets, questions that make no sense."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from analytics.rollup import roll_up
from analytics.rollup_job import MergeJob
from analytics.runs import Recorder
from analytics.series import SeriesRequestError, read_series
from storage.client import Store
from storage.metrics import Grain, write_metric_rows
from tests.integration.analytics.test_jobs import SMALL
from tests.support.units import Row, make_unit, outcomes_frame, units_frame

pytestmark = pytest.mark.integration

LEAP_DAY = datetime(2028, 2, 29, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def fill(store: Store, units: list[Row]) -> None:
    frame, said = units_frame(units), outcomes_frame([])
    rows = roll_up(frame, said, frame, said)
    write_metric_rows(store, Grain.MINUTE, rows, datetime.now(UTC))
    hours = sorted(set(rows["bucket"].dt.truncate("1h")))
    MergeJob(store, SMALL.jobs).merge_hours(hours, Recorder(store, "merge"))


def at(moment: datetime, number: int, **changes: object) -> Row:
    return make_unit(number, started_at=moment, **changes)


def test_a_leap_day_and_its_neighbours_are_days_of_their_own(store: Store) -> None:
    last = timedelta(microseconds=1)
    moments = [LEAP_DAY - last, LEAP_DAY, LEAP_DAY + DAY - last, LEAP_DAY + DAY]
    fill(store, [at(moment, n, errored=n % 2 == 0) for n, moment in enumerate(moments)])
    frame = read_series(store, "error_rate", LEAP_DAY - DAY, LEAP_DAY + 2 * DAY, DAY).frame
    assert frame.select("bucket", "denominator").rows() == [(LEAP_DAY - DAY, 1), (LEAP_DAY, 2), (LEAP_DAY + DAY, 1)]
    assert frame["value"].to_list() == [1.0, 0.5, 0.0]


def test_days_are_of_utc_where_clocks_are_put_forward(store: Store) -> None:
    # 26 March 2028, 01:00 UTC: Europe loses an hour; UTC does not
    night = datetime(2028, 3, 26, tzinfo=UTC)
    fill(store, [at(night + n * HOUR, n) for n in range(24)])
    assert read_series(store, "error_rate", night, night + DAY, DAY).frame["denominator"].to_list() == [24]
    assert read_series(store, "error_rate", night, night + DAY, HOUR).frame["bucket"].to_list() == [
        night + n * HOUR for n in range(24)
    ]


def test_one_bucket_of_any_range_takes_days_in_its_middle_and_minutes_at_its_ends(store: Store) -> None:
    since, until = LEAP_DAY - timedelta(minutes=61), LEAP_DAY + DAY + timedelta(minutes=61)
    inside = [since, LEAP_DAY - HOUR, LEAP_DAY, LEAP_DAY + DAY, LEAP_DAY + DAY + HOUR]
    outside = [since - MINUTE, until]
    fill(store, [at(moment, n) for n, moment in enumerate([*inside, *outside])])
    series = read_series(store, "error_rate", since, until, None)
    assert series.frame.select("bucket", "denominator").rows() == [(since, len(inside))]


def test_a_range_is_widened_to_whole_buckets(store: Store) -> None:
    fill(store, [at(LEAP_DAY + timedelta(minutes=59), 1)])
    series = read_series(store, "error_rate", LEAP_DAY + 10 * MINUTE, LEAP_DAY + 11 * MINUTE, HOUR)
    assert (series.since, series.until) == (LEAP_DAY, LEAP_DAY + HOUR)
    assert series.frame["denominator"].to_list() == [1]


def test_experiments_are_left_out_unless_asked_for(store: Store) -> None:
    fill(store, [at(LEAP_DAY, 1), at(LEAP_DAY, 2, environment="experiment")])
    assert read_series(store, "error_rate", LEAP_DAY, LEAP_DAY + HOUR, HOUR).frame["denominator"].to_list() == [1]
    asked = read_series(store, "error_rate", LEAP_DAY, LEAP_DAY + HOUR, HOUR, filters={"environment": ["experiment"]})
    assert asked.frame["denominator"].to_list() == [1]


def test_nothing_in_the_range_is_an_empty_answer(store: Store) -> None:
    assert read_series(store, "latency", LEAP_DAY, LEAP_DAY + DAY, HOUR, ["route"]).frame.is_empty()


@pytest.mark.parametrize(
    ("metric", "until", "step", "group_by", "why"),
    [
        ("loudness", LEAP_DAY + HOUR, HOUR, [], "unknown metric"),
        ("latency", LEAP_DAY, HOUR, [], "empty range"),
        ("latency", LEAP_DAY + HOUR, timedelta(seconds=90), [], "whole minutes"),
        ("latency", LEAP_DAY + HOUR, timedelta(0), [], "whole minutes"),
        ("latency", LEAP_DAY + 20 * DAY, MINUTE, [], "longer step"),
        ("latency", LEAP_DAY + HOUR, HOUR, ["planet"], "unknown dimension"),
        ("latency", LEAP_DAY + HOUR, HOUR, ["evaluator"], "has no evaluator"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_why(
    store: Store, metric: str, until: datetime, step: timedelta, group_by: list[str], why: str
) -> None:
    with pytest.raises(SeriesRequestError, match=why):
        read_series(store, metric, LEAP_DAY, until, step, group_by)
