"""Spans through the real engine: a segment file is written, loaded and read back."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from collector.config import FlushConfig
from collector.loader import Loader
from collector.records import Counts, Signal, SpoolRecord
from collector.segments import encode
from storage.client import Store

START_NS = 1_763_700_000_000_000_000
RECEIVED_NS = START_NS + 5_000_000_000
SECOND = 1_000_000_000


def any_value(value: Any) -> AnyValue:
    """A Python value as the AnyValue that SDKs send for it."""
    if isinstance(value, AnyValue):
        return value
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, list | tuple):
        made = AnyValue()
        made.array_value.SetInParent()
        made.array_value.values.extend(any_value(v) for v in value)
        return made
    if isinstance(value, Mapping):
        made = AnyValue()
        made.kvlist_value.SetInParent()
        for key, member in value.items():
            made.kvlist_value.values.add(key=key).value.CopyFrom(any_value(member))
        return made
    if value is None:
        return AnyValue()
    return AnyValue(string_value=value)


def make_span(
    attributes: Mapping[str, Any] | None = None, *, name: str = "chat", seconds: float = 2.0, code: int = 0, **more: Any
) -> Span:
    """A span of `seconds`, ids derived from its content unless given."""
    span = Span(name=name, start_time_unix_nano=START_NS, end_time_unix_nano=START_NS + round(seconds * SECOND))
    span.status.code = code
    for key, value in (attributes or {}).items():
        span.attributes.add(key=key).value.CopyFrom(any_value(value))
    for event, (offset, event_attributes) in more.pop("events", {}).items():
        added = span.events.add(name=event, time_unix_nano=START_NS + round(offset * SECOND))
        for key, value in event_attributes.items():
            added.attributes.add(key=key).value.CopyFrom(any_value(value))
    span.status.message = more.pop("message", "")
    for field, value in more.items():
        setattr(span, field, value)
    digest = hashlib.sha256(span.SerializeToString(deterministic=True)).digest()
    span.trace_id = span.trace_id or digest[:16]
    span.span_id = span.span_id or digest[16:24]
    return span


def resource_spans(spans: Iterable[Span], scope: str = "", resource: Mapping[str, Any] | None = None) -> ResourceSpans:
    made = ResourceSpans()
    for key, value in (resource or {}).items():
        made.resource.attributes.add(key=key).value.CopyFrom(any_value(value))
    scope_spans = made.scope_spans.add()
    scope_spans.scope.name = scope
    scope_spans.spans.extend(spans)
    return made


def write_segment(directory: Path, groups: Iterable[ResourceSpans]) -> Path:
    """Write `groups` as one segment."""
    request = ExportTraceServiceRequest(resource_spans=list(groups))
    n_spans = sum(len(scope.spans) for group in request.resource_spans for scope in group.scope_spans)
    path = directory / f"traces-{uuid.uuid4().hex}.segment"
    record = SpoolRecord(Signal.TRACES, "key", RECEIVED_NS, request.SerializeToString(), Counts(n_spans))
    path.write_bytes(b"".join(encode(record)))
    return path


def load_spans(store: Store, directory: Path, groups: Iterable[ResourceSpans]) -> None:
    """Write `groups` as one segment and load it."""
    path = write_segment(directory, groups)
    Loader(store, FlushConfig()).insert_spans(path, path.stem)
    path.unlink()


def read_spans(store: Store) -> dict[str, dict[str, Any]]:
    """Every stored span by its id."""
    rows = store.frame("SELECT * EXCEPT (written_at) FROM span_records FINAL").to_dicts()
    return {row["span_id"]: row for row in rows}
