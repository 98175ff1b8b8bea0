"""Simulated traces as the messages their service would have sent: OTLP spans and logs, and scores; in the order they happened."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import polars as pl
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

NS_PER_HOUR = 3600 * 10**9
# Verdicts quicker than this are made while the trace runs, and sit on the judged span; later ones come as log records.
INLINE_NS = 60 * 10**9

Value = str | bool | int | float
Row = dict[str, Any]


class Door(StrEnum):
    """Where a message is sent."""

    TRACES = "traces"
    LOGS = "logs"
    SCORES = "scores"


@dataclass(frozen=True)
class Message:
    """One request: a serialised OTLP request, or a list of scores; `at` is when its items had all happened."""

    door: Door
    body: bytes | list[dict[str, Any]]
    n_items: int
    at: datetime


def messages(frame: pl.DataFrame, slice_hours: int = 6, batch: int = 512) -> Iterator[Message]:
    """
    The requests of a simulated rollout, one slice of time after the other.

    Args:
        frame: `TRACES` schema of `spanwise.scenario`, sorted by start.
        slice_hours: spans, verdicts and feedback of so many hours are sent together, spans first.
        batch: most items in a request.
    """
    slices: dict[int, dict[Door, list[Any]]] = {}
    for row in frame.iter_rows(named=True):
        start_ns = _ns(row["started_at"])
        _into(slices, Door.TRACES, start_ns, slice_hours, _spans(row, start_ns))
        for verdict in row["verdicts"]:
            if verdict["delay_ns"] >= INLINE_NS:
                at = start_ns + verdict["delay_ns"]
                _into(slices, Door.LOGS, at, slice_hours, [_log_record(row, verdict, at)])
        for feedback in row["feedback"]:
            at = start_ns + feedback["delay_ns"]
            _into(slices, Door.SCORES, at, slice_hours, [_score(row, feedback, at)])
    resource = Resource(
        attributes=_attributes(
            {
                "service.name": frame["service"][0] if len(frame) else "",
                "deployment.environment.name": frame["environment"][0] if len(frame) else "",
            }
        )
    )
    for number in sorted(slices):
        at = datetime.fromtimestamp((number + 1) * slice_hours * 3600, UTC)
        for door in Door:
            items = slices[number].get(door, [])
            for first in range(0, len(items), batch):
                part = items[first : first + batch]
                yield Message(door, _body(door, resource, part), len(part), at)


def _body(door: Door, resource: Resource, items: list[Any]) -> bytes | list[dict[str, Any]]:
    scope = InstrumentationScope(name="simulated-support-agent", version="1")
    if door is Door.TRACES:
        traces = ExportTraceServiceRequest()
        group = traces.resource_spans.add(resource=resource)
        group.scope_spans.add(scope=scope, spans=items)
        return bytes(traces.SerializeToString())
    if door is Door.LOGS:
        logs = ExportLogsServiceRequest()
        logs.resource_logs.add(resource=resource).scope_logs.add(scope=scope, log_records=items)
        return bytes(logs.SerializeToString())
    return items


def _into(slices: dict[int, dict[Door, list[Any]]], door: Door, at_ns: int, slice_hours: int, items: list[Any]) -> None:
    slices.setdefault(at_ns // (slice_hours * NS_PER_HOUR), {}).setdefault(door, []).extend(items)


def _spans(row: Row, start_ns: int) -> list[Span]:
    """The application's own span, which names route and cohort, and one child per attempt, which does not."""
    root = Span(
        trace_id=bytes.fromhex(row["trace_id"]),
        span_id=_span_id(row, "root"),
        name="answer",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=start_ns,
        end_time_unix_nano=start_ns + row["duration_ns"],
        attributes=_attributes(_root_attributes(row)),
        status=Status(code=Status.STATUS_CODE_ERROR if row["errored"] else Status.STATUS_CODE_UNSET),
    )
    for verdict in row["verdicts"]:
        if verdict["delay_ns"] < INLINE_NS:
            root.events.add(
                time_unix_nano=start_ns + verdict["delay_ns"],
                name="gen_ai.evaluation.result",
                attributes=_attributes(_verdict_attributes(verdict)),
            )
    return [root, *_attempts(row, start_ns)]


def _root_attributes(row: Row) -> dict[str, Value]:
    attributes: dict[str, Value] = {
        "rollout.route": row["route"],
        "rollout.cohort": row["cohort"],
        "rollout.prompt_version": row["prompt_version"],
        "gen_ai.prompt.name": row["prompt_name"],
        "session.id": row["session_id"],
        "user.id": row["user_id"],
        "input.value": f"[simulated] a customer asks about {row['cohort'].replace('_', ' ')}",
        "output.value": f"[simulated] {row['model']} answers about {row['cohort'].replace('_', ' ')}",
    }
    if row["mirror_group"]:
        attributes |= {"rollout.mirror.group": row["mirror_group"], "rollout.mirror.role": row["mirror_role"]}
    return attributes


def _attempts(row: Row, start_ns: int) -> Iterator[Span]:
    at = start_ns
    for number, attempt in enumerate(row["attempts"]):
        span = Span(
            trace_id=bytes.fromhex(row["trace_id"]),
            span_id=_span_id(row, f"attempt {number}"),
            parent_span_id=_span_id(row, "root"),
            name=f"chat {attempt['model']}",
            kind=Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=at,
            end_time_unix_nano=at + attempt["duration_ns"],
            attributes=_attributes(_call_attributes(row, attempt)),
        )
        if attempt["outcome"] != "ok":
            text = "request timed out" if attempt["outcome"] == "timeout" else "upstream answered 503"
            span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=text))
        at += attempt["duration_ns"] + 50 * 10**6
        yield span


def _call_attributes(row: Row, attempt: Row) -> dict[str, Value]:
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "self_hosted",
        "gen_ai.request.model": attempt["model"],
        "gen_ai.request.stream": True,
    }
    if attempt["route"] != row["route"]:
        attributes["rollout.route"] = attempt["route"]
    if attempt["outcome"] == "ok":
        attributes |= {
            "gen_ai.response.model": attempt["model"],
            "gen_ai.usage.input_tokens": attempt["input_tokens"],
            "gen_ai.usage.output_tokens": attempt["output_tokens"],
            "gen_ai.response.time_to_first_chunk": round(attempt["duration_ns"] * 0.15 / 1e9, 6),
        }
    elif attempt["outcome"] == "timeout":
        attributes["error.type"] = "TimeoutError"
    else:
        attributes |= {"error.type": "503", "http.response.status_code": 503}
    return attributes


def _verdict_attributes(verdict: Row) -> dict[str, Value]:
    attributes: dict[str, Value] = {
        "gen_ai.evaluation.name": verdict["evaluator"],
        "gen_ai.evaluation.score.label": "pass" if verdict["passed"] else "fail",
        "rollout.evaluation.version": verdict["evaluator_version"],
        "rollout.evaluation.rule": verdict["sampling_rule"],
    }
    if verdict["score"] is not None:
        attributes["gen_ai.evaluation.score.value"] = verdict["score"]
    return attributes


def _log_record(row: Row, verdict: Row, at_ns: int) -> LogRecord:
    return LogRecord(
        time_unix_nano=at_ns,
        observed_time_unix_nano=at_ns,
        trace_id=bytes.fromhex(row["trace_id"]),
        span_id=_span_id(row, "root"),
        event_name="gen_ai.evaluation.result",
        attributes=_attributes(_verdict_attributes(verdict)),
    )


def _score(row: Row, feedback: Row, at_ns: int) -> dict[str, Any]:
    thumbs = feedback["name"] == "thumbs_down"
    return {
        "trace_id": row["trace_id"],
        "name": "user_feedback" if thumbs else feedback["name"],
        "label": "down" if thumbs else "true",
        "annotator_kind": "user",
        "evaluated_at": datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(),
    }


def _span_id(row: Row, part: str) -> bytes:
    return hashlib.blake2b(f"{row['trace_id']} {part}".encode(), digest_size=8).digest()


def _attributes(values: dict[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_any(value)) for key, value in values.items()]


def _any(value: Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(string_value=value)


def _ns(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
