"""The SQL of docs/metrics.md that measures how many calls share a GPU, against hand-made overlaps."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from analytics.config import AnalyticsConfig, PriceConfig
from analytics.jobs import Jobs
from storage.client import Store
from storage.clock import WallClock
from storage.job_runs import JobState
from tests.support.span_rows import make_trace, write_spans

pytestmark = pytest.mark.integration

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"
T0 = datetime(2026, 3, 1, 10, tzinfo=UTC)
# seconds from the hour; one within another, two that overlap, one alone, and one that touches it
CALLS = [(0, 30), (5, 10), (20, 50), (100, 110), (110, 115)]


def test_measured_concurrency_makes_costs_add_up_to_busy_time(store: Store) -> None:
    for number, (start, end) in enumerate(CALLS):
        _, call = make_trace(number)
        moments = {"start_time": T0 + timedelta(seconds=start), "end_time": T0 + timedelta(seconds=end)}
        write_spans(
            store, [call | moments | {"parent_span_id": "", "request_model": "student-8b", "response_model": "student-8b"}]
        )
    jobs = Jobs(store, AnalyticsConfig(), WallClock(), prices=[PriceConfig(model="student-8b", gpu_hour_usd="3.6")])
    assert jobs.run("assemble").state is JobState.DONE
    [recipe] = re.findall(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    measured = store.frame(recipe).row(0, named=True)
    # 30 + 5 + 30 + 10 + 5 seconds of calls; busy from 0 to 50 and from 100 to 115
    assert measured == {"calls": 5, "call_seconds": 80.0, "busy_seconds": 65.0, "concurrent_requests": pytest.approx(80 / 65)}
    jobs.price_book.set_price(
        {"model": "student-8b", "gpu_hour_usd": "3.6", "concurrent_requests": str(measured["concurrent_requests"])}, "tester"
    )
    assert jobs.run("reprice", T0).state is JobState.DONE
    cost = store.frame("SELECT toFloat64(sum(cost_usd)) AS cost FROM trace_facts FINAL")["cost"].item()
    # a tenth of a cent a second
    assert cost == pytest.approx(65 * 0.001, rel=1e-6)
