"""A simulated trace becomes the spans, log records and scores its service would have sent."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from spanwise.replay import INLINE_NS, Door, Message, messages
from spanwise.scenarios import demo
from spanwise.simulate import traces


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    scenario = replace(demo(traces_per_day=600), days=2.0, history_days=0.0)
    return traces(scenario, seed=5)


@pytest.fixture(scope="module")
def sent(frame: pl.DataFrame) -> list[Message]:
    return list(messages(frame))


def spans(sent: list[Message]) -> list[Span]:
    found = []
    for message in sent:
        if message.door is Door.TRACES:
            assert isinstance(message.body, bytes)
            request = ExportTraceServiceRequest.FromString(message.body)
            found += [span for group in request.resource_spans for scope in group.scope_spans for span in scope.spans]
    return found


def test_every_trace_is_a_root_and_its_attempts(frame: pl.DataFrame, sent: list[Message]) -> None:
    expected = len(frame) + frame["attempts"].list.len().sum()
    all_spans = spans(sent)
    assert len(all_spans) == expected
    assert len({(span.trace_id, span.span_id) for span in all_spans}) == expected
    roots = [span for span in all_spans if not span.parent_span_id]
    assert sorted(span.trace_id.hex() for span in roots) == sorted(frame["trace_id"])


def test_tokens_are_those_of_the_simulation(frame: pl.DataFrame, sent: list[Message]) -> None:
    total = sum(
        attribute.value.int_value
        for span in spans(sent)
        for attribute in span.attributes
        if attribute.key == "gen_ai.usage.input_tokens"
    )
    assert total == frame["input_tokens"].sum()


def test_late_verdicts_are_log_records_and_early_ones_span_events(frame: pl.DataFrame, sent: list[Message]) -> None:
    delays = frame["verdicts"].explode().drop_nulls().struct.field("delay_ns")
    records = [
        record
        for message in sent
        if message.door is Door.LOGS and isinstance(message.body, bytes)
        for group in ExportLogsServiceRequest.FromString(message.body).resource_logs
        for scope in group.scope_logs
        for record in scope.log_records
    ]
    assert len(records) == (delays >= INLINE_NS).sum()
    assert sum(len(span.events) for span in spans(sent)) == (delays < INLINE_NS).sum()
    assert {record.event_name for record in records} == {"gen_ai.evaluation.result"}


def test_feedback_is_scored_and_time_goes_forward(frame: pl.DataFrame, sent: list[Message]) -> None:
    scores = [score for message in sent if isinstance(message.body, list) for score in message.body]
    assert len(scores) == frame["feedback"].list.len().sum()
    assert [message.at for message in sent] == sorted(message.at for message in sent)
    assert all(message.n_items <= 512 for message in sent)
