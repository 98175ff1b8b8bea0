"""Searching traces and reading one whole, on the real engine."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from storage.client import Store
from storage.traces import TraceFilter, TracePosition, position_of, read_trace, search_traces
from tests.support.facts import START, trace_row, write_traces

pytestmark = pytest.mark.integration


@pytest.fixture
def store(each_store: Store) -> Store:
    """Every test here runs on each back end."""
    return each_store


EVER = (START - timedelta(days=400), START + timedelta(days=1))


def ids(frame: pl.DataFrame) -> list[int]:
    return [int(text, 16) for text in frame["trace_id"].to_list()]


def find(store: Store, limit: int = 100, after: TracePosition | None = None, **wanted: Any) -> list[int]:
    return ids(search_traces(store, TraceFilter(**wanted), *EVER, after, limit))


def test_newest_first_across_hours_days_and_months(store: Store) -> None:
    ages = {1: timedelta(0), 2: timedelta(minutes=50), 3: timedelta(hours=5), 4: timedelta(days=3), 5: timedelta(days=200)}
    write_traces(store, [trace_row(number, started_at=START - age) for number, age in ages.items()])
    assert find(store) == [1, 2, 3, 4, 5]
    assert find(store, limit=3) == [1, 2, 3]


def test_pages_are_disjoint_and_complete_also_where_times_are_equal(store: Store) -> None:
    write_traces(store, [trace_row(number, started_at=START - timedelta(minutes=number // 10)) for number in range(95)])
    after, seen = None, []
    while True:
        page = search_traces(store, TraceFilter(), *EVER, after, 10)
        if page.is_empty():
            break
        seen += ids(page)
        after = position_of(page)
    expected = sorted(range(95), key=lambda number: (-(number // 10), number), reverse=True)
    assert seen == expected


def test_only_the_newest_version_counts(store: Store) -> None:
    write_traces(store, [trace_row(1, cohort="old"), trace_row(2, cohort="old"), trace_row(3)])
    write_traces(store, [trace_row(1, cohort="new")], START + timedelta(seconds=1))
    write_traces(store, [trace_row(3)], START + timedelta(seconds=1), is_deleted=True)
    assert find(store) == [2, 1]
    assert find(store, cohorts=["old"]) == [2]
    assert find(store, cohorts=["new"]) == [1]


def test_outdated_matches_do_not_shorten_a_page(store: Store) -> None:
    """More outdated candidates than the slack of one round holds."""
    write_traces(store, [trace_row(number, cohort="old") for number in range(200)])
    write_traces(store, [trace_row(number, cohort="new") for number in range(20, 200)], START + timedelta(seconds=1))
    assert find(store, limit=15, cohorts=["old"]) == list(range(19, 4, -1))


def test_the_range_holds_its_start_and_not_its_end(store: Store) -> None:
    write_traces(store, [trace_row(1, started_at=START), trace_row(2, started_at=START + timedelta(minutes=1))])
    assert ids(search_traces(store, TraceFilter(), START, START + timedelta(minutes=1), None, 10)) == [1]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"service_name": "other"}, {"services": ["other", "third"]}),
        ({"environment": "staging"}, {"environments": ["staging"]}),
        ({"model_route": "student"}, {"routes": ["student"]}),
        ({"model": "llama"}, {"models": ["llama"]}),
        ({"cohort": "regulated"}, {"cohorts": ["regulated"]}),
        ({"prompt_version": "p-2"}, {"prompt_versions": ["p-2"]}),
        ({"session_id": "s'x"}, {"session_id": "s'x"}),
        ({"user_id": "u\\n"}, {"user_id": "u\\n"}),
        ({"retried": True}, {"retried": True}),
        ({"fell_back": True}, {"fell_back": True}),
        ({"timed_out": True}, {"timed_out": True}),
        ({"errored": True}, {"errored": True}),
        ({"unpriced_calls": 1, "cost_usd": None}, {"unpriced": True}),
        ({"cost_usd": "2.5"}, {"min_cost_usd": 2.5}),
        ({"duration_ns": 9_000_000_000}, {"min_duration_ns": 9_000_000_000}),
    ],
)
def test_every_filter_keeps_what_it_says(store: Store, change: dict[str, Any], wanted: dict[str, Any]) -> None:
    plain = trace_row(1, retried=False, fell_back=False, timed_out=False, errored=False)
    write_traces(store, [plain, plain | trace_row(2) | change])
    assert find(store) == [2, 1]
    assert find(store, **wanted) == [2]


def test_traces_an_evaluator_failed(store: Store) -> None:
    write_traces(store, [trace_row(number) for number in (1, 2, 3)])
    rows = [(1, "judge", True), (2, "judge", False), (3, "other", True)]
    store.insert(
        "trace_outcomes",
        pl.DataFrame(
            {
                "trace_id": [f"{number:032x}" for number, _, _ in rows],
                "started_at": [START] * 3,
                "mirror_role": ["none"] * 3,
                "metric": ["eval_fail"] * 3,
                "evaluator": [evaluator for _, evaluator, _ in rows],
                "failed": [failed for _, _, failed in rows],
                "computed_at": [START] * 3,
            },
            schema_overrides={"started_at": pl.Datetime("ns", "UTC"), "computed_at": pl.Datetime("ns", "UTC")},
        ),
    )
    assert find(store, failed_metric="eval_fail") == [3, 1]
    assert find(store, failed_metric="eval_fail", failed_evaluator="judge") == [1]
    assert find(store, failed_metric="thumbs_down") == []


def test_a_trace_is_read_whole(store: Store) -> None:
    trace_id = f"{7:032x}"
    write_traces(store, [trace_row(7), trace_row(8)])
    for span, parent, delay in (("a" * 16, "", 0), ("b" * 16, "a" * 16, 5)):
        store.command(
            "INSERT INTO span_records (trace_id, span_id, parent_span_id, name, start_time, end_time, response_id, attributes, "
            "received_at, row_version) VALUES ({t:String}, {s:String}, {p:String}, 'call', {at:DateTime64(9)}, "
            "{at:DateTime64(9)}, {r:String}, map('k', 'v'), {at:DateTime64(9)}, 1)",
            {"t": trace_id, "s": span, "p": parent, "at": START + timedelta(seconds=delay), "r": f"resp-{span[0]}"},
        )
    evaluations = [("e1", trace_id, "", ""), ("e2", "", "session-7", ""), ("e3", "", "", "resp-b"), ("e4", "", "session-7", "")]
    for evaluation_id, trace, session, response in evaluations:
        store.command(
            "INSERT INTO evaluation_records (evaluation_id, target_trace_id, target_session_id, target_response_id, name) "
            "VALUES ({e:String}, {t:String}, {s:String}, {r:String}, 'judge')",
            {"e": evaluation_id, "t": trace, "s": session, "r": response},
        )
    # e4 is about the same session, but was resolved to another trace of it
    for evaluation_id, target, span in (("e2", trace_id, ""), ("e3", trace_id, "b" * 16), ("e4", f"{8:032x}", "")):
        store.command(
            "INSERT INTO evaluation_targets (evaluation_id, trace_id, span_id) VALUES ({e:String}, {t:String}, {s:String})",
            {"e": evaluation_id, "t": target, "s": span},
        )
    trace = read_trace(store, trace_id, 100)
    assert trace is not None
    assert trace.spans["span_id"].to_list() == ["a" * 16, "b" * 16]
    assert trace.facts["cohort"].to_list() == ["refunds"]
    assert sorted(trace.evaluations["evaluation_id"].to_list()) == ["e1", "e2", "e3"]
    assert trace.evaluations.filter(pl.col("evaluation_id") == "e3")["span_id"].to_list() == ["b" * 16]
    assert len(read_trace(store, trace_id, 1).spans) == 1  # type: ignore[union-attr]


def test_facts_outlive_spans(store: Store) -> None:
    write_traces(store, [trace_row(7)])
    trace = read_trace(store, f"{7:032x}", 100)
    assert trace is not None
    assert (len(trace.facts), len(trace.spans)) == (1, 0)


def test_nothing_of_that_id(store: Store) -> None:
    assert read_trace(store, "f" * 32, 100) is None
