"""Facts through the real engine: whole traces in, rows out, older rows taken back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from analytics.assembly import assemble_spans, summarise_traces
from analytics.config import AssemblyRules
from storage.client import Store
from storage.facts import ASSEMBLY_SPANS, write_span_facts, write_trace_facts
from storage.touched import Feed, read_moments, read_touched_traces
from storage.whole_traces import read_trace_bounds, read_whole_traces
from tests.support.traces import T0, llm, priced, span

pytestmark = pytest.mark.integration
_ATTRIBUTES = pl.Map(pl.String, pl.String)


@pytest.fixture
def store(each_store: Store) -> Store:
    """Every test here runs on each back end."""
    return each_store


def _insert(store: Store, rows: list[dict[str, object]]) -> None:
    stored = [
        name
        for name in ASSEMBLY_SPANS
        if name not in ("resource_route", "resource_cohort", "has_exception", "hints", "input_hash", "content_hash")
    ]
    schema = {name: ASSEMBLY_SPANS[name] for name in stored} | {"attributes": _ATTRIBUTES, "resource_attributes": _ATTRIBUTES}
    frame = pl.DataFrame([{"attributes": {}, "resource_attributes": {}} | row for row in rows], schema=schema)
    version = pl.col("end_time").dt.epoch("ns").cast(pl.UInt64)
    store.insert("span_records", frame.with_columns(row_version=version))


def _read_all_touched(store: Store) -> pl.DataFrame:
    ever = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    return read_touched_traces(store, read_moments(store, Feed.TRACES, *ever))


def _assemble(store: Store, computed_at: datetime) -> None:
    everything = _read_all_touched(store)
    spans = read_whole_traces(store, read_trace_bounds(store, everything))
    assembled = priced(assemble_spans(spans, AssemblyRules()))
    write_span_facts(store, assembled, spans, computed_at)
    write_trace_facts(store, summarise_traces(assembled), spans, computed_at)


def test_a_trace_that_moves_to_another_hour_leaves_no_row_behind(store: Store) -> None:
    _insert(store, [llm("child", "root", 4000, 4001, tokens=(10, 5))])
    _assemble(store, T0)
    assert store.frame("SELECT started_at FROM trace_facts FINAL")["started_at"].to_list() == [T0 + timedelta(seconds=4000)]

    _insert(store, [span("root", "", 0, 4002, model_route="student")])
    _assemble(store, T0 + timedelta(minutes=1))
    rows = store.frame("SELECT started_at, model_route, n_spans, aa FROM trace_facts FINAL").to_dicts()
    assert [(row["started_at"], row["model_route"], row["n_spans"]) for row in rows] == [(T0, "student", 2)]
    assert rows[0]["aa"] in (0, 1)
    routes = store.frame("SELECT span_id, model_route FROM span_facts FINAL ORDER BY span_id")
    assert routes.rows() == [("child", "student"), ("root", "student")]


def test_a_span_resent_with_another_start_counts_once(store: Store) -> None:
    _insert(store, [llm("a", "", 0, 1, tokens=(10, 5))])
    _assemble(store, T0)
    _insert(store, [llm("a", "", 3700, 3701, tokens=(20, 5))])
    _assemble(store, T0 + timedelta(minutes=1))
    rows = store.frame("SELECT started_at, n_spans, input_tokens FROM trace_facts FINAL").rows()
    assert rows == [(T0 + timedelta(seconds=3700), 1, 20)]
    assert store.frame("SELECT count() AS n FROM span_facts FINAL")["n"].item() == 1


def test_hints_and_resource_route_are_read_from_maps(store: Store) -> None:
    _insert(
        store,
        [
            span("root", "", 0, 5, resource_attributes={"rollout.route": "student", "host.name": "h"}),
            llm("a", "root", 1, 2, tokens=(1, 1), attributes={"x-litellm-attempted-retries": "2", "noise": "y"}),
            span("plain", trace_id="other", attributes={"noise": "y"}),
        ],
    )
    touched = _read_all_touched(store)
    spans = read_whole_traces(store, read_trace_bounds(store, touched))
    hinted = {row["span_id"]: row for row in spans.to_dicts()}
    assert hinted["a"]["hints"] == [{"key": "x-litellm-attempted-retries", "value": "2"}]
    assert hinted["root"]["resource_route"] == "student"
    assert hinted["plain"]["hints"] == []
    facts = summarise_traces(priced(assemble_spans(spans, AssemblyRules()))).filter(trace_id="t")
    assert facts.select("model_route", "retried").rows() == [("student", True)]


def test_the_input_hash_tells_prompts_apart(store: Store) -> None:
    _insert(
        store,
        [
            llm("a", "r", 0, 1, status="error", attributes={"gen_ai.input.messages": "one"}),
            llm("b", "r", 2, 3, tokens=(1, 1), attributes={"gen_ai.input.messages": "one"}),
            llm("c", "r", 2, 3, tokens=(1, 1), attributes={"gen_ai.input.messages": "two"}),
            llm("d", "r", 2, 3, tokens=(1, 1)),
        ],
    )
    touched = _read_all_touched(store)
    spans = read_whole_traces(store, read_trace_bounds(store, touched))
    hashes = dict(spans.select("span_id", "input_hash").iter_rows())
    assert hashes["a"] == hashes["b"] != hashes["c"]
    assert hashes["a"] is not None
    assert hashes["d"] is None


def test_a_trace_with_a_broken_clock_is_still_read_whole(store: Store) -> None:
    _insert(
        store,
        [
            llm("now", "root", 0, 1, tokens=(1, 1)),
            span("old", "root", 0, 1, start_time=datetime(1970, 1, 1, tzinfo=UTC), end_time=datetime(1970, 1, 1, 1, tzinfo=UTC)),
            span("other", trace_id="u"),
        ],
    )
    touched = _read_all_touched(store)
    assert sorted(read_whole_traces(store, read_trace_bounds(store, touched))["span_id"]) == ["now", "old", "other"]


@pytest.mark.parametrize("n", [1, 63, 64, 20_000])
def test_lists_of_any_length_select_what_they_name(store: Store, n: int) -> None:
    words = [f"{number:032x}" for number in range(0, 2 * n, 2)]
    sql = (
        "SELECT count() AS n, min(word) AS first, max(word) AS last FROM (SELECT lower(leftPad(hex(number), 32, '0')) AS word"
        " FROM numbers(100000)) WHERE word IN (SELECT arrayJoin({words:Array(String)}))"
    )
    assert store.frame(sql, {"words": words}).row(0) == (n, words[0], words[-1])


def test_a_store_that_gave_memory_back_goes_on(store: Store) -> None:
    store.release_memory()
    assert store.frame("SELECT sum(number) AS n FROM numbers(1000)")["n"].item() == 499_500
