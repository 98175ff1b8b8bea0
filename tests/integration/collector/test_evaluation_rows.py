"""Evaluations from the wire to their rows: one each, whichever way and however often they come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from storage.client import Store
from tests.support.collecting import Running, collecting
from tests.support.receivers import SPAN_ID, TRACE_ID, make_span, trace_request

pytestmark = pytest.mark.integration

TRACE, SPAN = TRACE_ID.hex(), SPAN_ID.hex()
NOON_NS = 1_772_366_400_000_000_000
"""2026-03-01 12:00:00 UTC."""


@pytest.fixture
def running(store: Store, tmp_path: Path) -> Iterator[Running]:
    with collecting(store, tmp_path) as made:
        yield made


def send(running: Running, signal: str, payload: bytes) -> None:
    headers = {"content-type": "application/x-protobuf"}
    url = f"{running.endpoints.otlp_http}/v1/{signal}"
    httpx.post(url, content=payload, headers=headers, trust_env=False).raise_for_status()


def event_span(time_ns: int = NOON_NS, span: Span | None = None, **values: Any) -> bytes:
    """A span with one evaluation event."""
    span = span or make_span()
    event = span.events.add(name="gen_ai.evaluation.result", time_unix_nano=time_ns)
    put(event.attributes, values)
    return trace_request(span).SerializeToString()


def log_record(time_ns: int = NOON_NS, **values: Any) -> bytes:
    request = ExportLogsServiceRequest()
    record = (
        request.resource_logs.add()
        .scope_logs.add()
        .log_records.add(event_name="gen_ai.evaluation.result", time_unix_nano=time_ns, trace_id=TRACE_ID, span_id=SPAN_ID)
    )
    put(record.attributes, values)
    return request.SerializeToString()


def put(attributes: Any, values: dict[str, Any]) -> None:
    members = {str: "string_value", bool: "bool_value", float: "double_value"}
    for key, value in values.items():
        setattr(attributes.add(key=key.replace("__", ".")).value, members[type(value)], value)


def rows(store: Store, columns: str) -> list[tuple[Any, ...]]:
    return store.frame(f"SELECT {columns} FROM evaluations ORDER BY name, score").rows()


def test_the_same_result_as_event_and_as_log_is_one_row(store: Store, running: Running) -> None:
    values = {
        "gen_ai__evaluation__name": "toxicity",
        "gen_ai__evaluation__score__value": 1.0,
        "gen_ai__evaluation__score__label": "true",
        "openlit__score__idempotency_key": "k1",
    }
    send(running, "traces", event_span(**values))
    send(running, "logs", log_record(NOON_NS + 59_000_000_000, **values))
    running.collector.flush()
    assert rows(store, "trace_id, span_id, name, score, label, passed, source_form") == [
        (TRACE, SPAN, "toxicity", 1.0, "true", None, "log_record")
    ]


def test_the_latest_verdict_wins_whenever_it_arrives(store: Store, running: Running) -> None:
    def score(value: float, at: str) -> dict[str, Any]:
        return {"id": "judge", "name": "faith", "trace_id": TRACE, "span_id": SPAN, "score": value, "evaluated_at": at}

    running.collector.accept_scores([score(0.9, "2026-03-01T12:00:02Z")], "")
    running.collector.flush()
    running.collector.accept_scores([score(0.1, "2026-03-01T12:00:01Z")], "")
    running.collector.flush()
    assert rows(store, "score, evaluated_at") == [(0.9, datetime(2026, 3, 1, 12, 0, 2, tzinfo=UTC))]


def test_sent_twice_is_one_row_and_other_verdicts_stay(store: Store, running: Running) -> None:
    payload = log_record(gen_ai__evaluation__name="faith", gen_ai__evaluation__score__value=0.5)
    for body in (payload, payload, log_record(gen_ai__evaluation__name="faith", gen_ai__evaluation__score__value=0.7)):
        send(running, "logs", body)
    running.collector.flush()
    assert rows(store, "name, score") == [("faith", 0.5), ("faith", 0.7)]


def test_an_evaluation_may_come_before_its_target(store: Store, running: Running) -> None:
    send(running, "logs", log_record(gen_ai__evaluation__name="faith", gen_ai__evaluation__score__value=0.5))
    running.collector.flush()
    send(running, "traces", trace_request(make_span()).SerializeToString())
    running.collector.flush()
    assert rows(store, "trace_id, span_id, name") == [(TRACE, SPAN, "faith")]
    assert store.frame("SELECT count() AS n FROM span_records FINAL")["n"].to_list() == [1]


def test_attributes_links_and_types_survive_the_engine(store: Store, running: Running) -> None:
    """Forms that hang on attribute types, on links, and on a resent span with more on it."""
    feedback = make_span(span_id=b"feedback", parent_span_id=SPAN_ID)
    put(feedback.attributes, {"logfire__feedback__name": "thumbs", "thumbs": False})
    judge = make_span(trace_id=b"judge-of-others!", span_id=b"judge-01")
    put(judge.attributes, {"openinference__span__kind": "EVALUATOR", "annotations__0__annotation__name": "linked"})
    judge.links.add(trace_id=TRACE_ID, span_id=SPAN_ID)
    guarded = make_span()
    put(guarded.attributes, {"gen_ai__guardrail__status": "FAILED", "gen_ai__guardrail__name": "pii"})
    send(running, "traces", trace_request(make_span(), feedback, judge).SerializeToString())
    send(running, "traces", trace_request(guarded).SerializeToString())
    running.collector.flush()
    assert rows(store, "name, passed, trace_id, span_id, source_form") == [
        ("linked", None, TRACE, SPAN, "carrier_span"),
        ("pii", False, TRACE, SPAN, "attribute"),
        ("thumbs", False, TRACE, SPAN, "child_span"),
    ]


def test_scores_by_every_target_and_the_ledger_adds_up(store: Store, running: Running) -> None:
    receipt = running.collector.accept_scores(
        [
            {"name": "a", "trace_id": TRACE, "value": True},
            {"name": "b", "session_id": "s", "value": "down"},
            {"name": "c", "response_id": "r", "value": -1},
            {"name": "d"},
        ],
        "key1",
    )
    assert [wrong.index for wrong in receipt.rejected] == [3]
    running.collector.flush()
    assert rows(store, "name, target_scope, trace_id, target_session_id, target_response_id, source_form") == [
        ("a", "trace", TRACE, "", "", "api"),
        ("b", "session", "", "s", "", "api"),
        ("c", "span", "", "", "r", "api"),
    ]
    ledger = store.frame(
        "SELECT entry, reason, sum(n_items) AS n FROM ingest_ledger FINAL WHERE signal = 'scores' GROUP BY entry, reason"
    )
    counts = {(row["entry"], row["reason"]): row["n"] for row in ledger.iter_rows(named=True)}
    assert counts["received", ""] == 4
    assert counts["rejected", "invalid score"] == 1
    assert counts["accepted", ""] == counts["written", ""] == 3
