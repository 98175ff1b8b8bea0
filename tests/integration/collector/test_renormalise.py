"""Reading history through a new vocabulary: the same rows as if it had always been there, however often it is cut short."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analytics.config import AnalyticsConfig
from analytics.jobs import Jobs
from collector.renormalise import renormalise
from storage.client import Store
from storage.clock import WallClock
from storage.job_runs import JobState, read_job_runs
from storage.spans import SPAN_COLUMNS
from tests.support.segments import START_NS, load_spans, make_span, resource_spans

pytestmark = pytest.mark.integration

START = datetime.fromtimestamp(START_NS // 10**9, UTC)
HOUR = timedelta(hours=1)
N_HOURS = 3
CALL = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "student-8b",
    "llm.token_count.prompt": 40,
    "llm.token_count.completion": 12,
    "llm.token_count.prompt_details.cache_read": 8,
    "metadata": '{"route": "student", "cohort": "vip"}',
    "tag.tags": ["a", "b"],
    "nested": {"a": [1, {"b": "é" * 100}]},
}
# what a vocabulary that knows none of these keys would have made of it
FORMER = {
    "kind": "'other'",
    "dialects": "[]",
    "model_route": "''",
    "cohort": "''",
    "response_model": "''",
    "input_tokens": "NULL",
    "output_tokens": "NULL",
    "total_tokens": "NULL",
    "cache_read_tokens": "NULL",
    "token_quality": "''",
    "tags": "[]",
    "metadata": "map()",
}


def at(hour: int) -> Any:
    span = make_span(
        CALL, events={"exception": (1, {"exception.type": "E"})}, trace_id=bytes([hour + 1] * 16), span_id=b"span-000"
    )
    shift = hour * 3_600 * 10**9
    span.start_time_unix_nano += shift
    span.end_time_unix_nano += shift
    span.events[0].time_unix_nano += shift
    return span


@pytest.fixture
def wanted(store: Store, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """A call in each of three hours, stored as the former vocabulary read it; gives the rows that today's makes of them."""
    load_spans(store, tmp_path, [resource_spans([at(hour) for hour in range(N_HOURS)])])
    rows = by_trace(store)
    columns = ", ".join(FORMER.get(name, name) for name in SPAN_COLUMNS)
    settings = {"insert_deduplicate": 0}
    store.command(
        f"INSERT INTO span_records ({', '.join(SPAN_COLUMNS)}) SELECT {columns} FROM span_records FINAL", settings=settings
    )
    assert {row["model_route"] for row in by_trace(store).values()} == {""}
    return rows


def by_trace(store: Store) -> dict[str, dict[str, Any]]:
    frame = store.frame("SELECT * EXCEPT (written_at) FROM span_records FINAL")
    return {row["trace_id"]: row for row in frame.to_dicts()}


def test_cut_short_and_run_again_gives_the_rows_of_today(store: Store, wanted: dict[str, dict[str, Any]]) -> None:
    class CutShort(Exception):
        pass

    def cut(share: float) -> None:
        raise CutShort

    with pytest.raises(CutShort):
        renormalise(store, START - HOUR, progress=cut)
    halfway = by_trace(store)
    assert sorted(row["model_route"] for row in halfway.values()) == ["", "", "student"]
    [run] = read_job_runs(store, "renormalize")
    assert (run.state, run.rows_written, round(run.progress, 3)) == (JobState.FAILED, 1, 0.333)
    assert "CutShort" in run.error

    shares: list[float] = []
    done = renormalise(store, START - HOUR, progress=shares.append)
    assert [round(share, 3) for share in shares] == [0.333, 0.667, 1.0]
    assert (done.state, done.rows_written, done.detail) == (JobState.DONE, N_HOURS, "3 spans")
    assert by_trace(store) == wanted
    renormalise(store, START - HOUR)
    assert by_trace(store) == wanted


def test_only_the_range_that_was_asked_for(store: Store, wanted: dict[str, dict[str, Any]]) -> None:
    renormalise(store, START + HOUR, START + 2 * HOUR)
    assert sorted(row["model_route"] for row in by_trace(store).values()) == ["", "", "student"]


def test_the_next_jobs_see_it(store: Store, wanted: dict[str, dict[str, Any]]) -> None:
    jobs = Jobs(store, AnalyticsConfig(), WallClock())
    facts = "SELECT model_route, input_tokens FROM trace_facts FINAL"
    assert jobs.run("assemble").state is JobState.DONE
    assert set(store.frame(facts).rows()) == {("", None)}
    renormalise(store, START - HOUR)
    assert jobs.run("assemble").state is JobState.DONE
    assert set(store.frame(facts).rows()) == {("student", 40)}
