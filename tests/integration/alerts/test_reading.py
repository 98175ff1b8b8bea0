"""Windows read together are the rows of each, once."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from alerts.watched import is_due
from spanwise.scenario import Cohort, Scenario
from spanwise.simulate import traces
from spanwise.simulated_rollups import metric_rows
from storage.client import Store
from storage.metrics import MATURED_ROWS, METRIC_KEY, Grain, Window, read_matured_rows, read_metric_rows, write_metric_rows

MINUTE = timedelta(minutes=1)


@pytest.mark.integration
@pytest.mark.parametrize("n_windows", [3, 40])
def test_windows_that_overlap_give_each_row_once(store: Store, n_windows: int) -> None:
    scenario = Scenario("swap", (Cohort("orders", 1.0, 0.1),), days=0.1, traces_per_day=6_000.0)
    rows = metric_rows(traces(scenario, 5))
    for service in ("one", "two"):
        write_metric_rows(store, Grain.MINUTE, rows.with_columns(service_name=pl.lit(service)), datetime.now(UTC))
    metrics = ("error", "retry", "eval_fail")
    windows = [
        Window(
            scenario.start + n * MINUTE, scenario.start + (n + 7) * MINUTE, ["one"] if n % 3 else ["one", "two"], metrics[: n % 4]
        )
        for n in range(n_windows)
    ]
    wanted = set()
    for window in windows:
        for service in window.services:
            for metric in window.metrics:
                minute = window.since
                while minute < window.until:
                    wanted.add((service, metric, minute))
                    minute += MINUTE
    everything = read_metric_rows(store, Grain.MINUTE, scenario.start, scenario.start + timedelta(days=1), routes=["student"])
    keys = everything.select("service_name", "metric", "bucket").rows()
    expected = everything.filter(pl.Series([key in wanted for key in keys])).select(list(MATURED_ROWS))
    assert expected.height > n_windows
    assert_frame_equal(read_matured_rows(store, windows, ["student"]).sort(list(METRIC_KEY)), expected.sort(list(METRIC_KEY)))


def test_what_many_do_every_hour_is_spread_over_its_minutes() -> None:
    start, hour = datetime(2026, 3, 2, tzinfo=UTC), timedelta(hours=1)
    names = [f"comparison {n}" for n in range(600)]
    done = dict.fromkeys(names, start)
    times: dict[str, list[datetime]] = {name: [] for name in names}
    at_once: Counter[datetime] = Counter()
    for minute in range(1, 241):
        now = start + minute * MINUTE
        for name in names:
            if is_due(done[name], now, hour, name):
                done[name] = now
                times[name].append(now)
                at_once[now] += 1
    assert {len(found) for found in times.values()} == {4}
    assert all(later - earlier == hour for found in times.values() for earlier, later in pairwise(found))
    # ten a minute on average
    assert max(at_once.values()) < 30
    # a clock that stood still, or looked away for days
    assert is_due(start, start + timedelta(days=3), hour, "any")
    assert not is_due(start, start, hour, "any")
