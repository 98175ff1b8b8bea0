"""
OTLP/JSON to OTLP protobuf bytes.

`google.protobuf.json_format` would read the hex ids as base64 and make 24 bytes of them, so the mapping is our own: ids are hex
in any case, other bytes base64, 64-bit integers strings or numbers, enums numbers or names, unknown fields ignored.

Source: OTLP specification 1.11.0, "JSON Protobuf Encoding".
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from pydantic_core import from_json

from storage.errors import PermanentError

MAX_DEPTH = 16
"""How deep arrays and maps may nest in a value; what lies deeper is kept as its JSON text."""

# An id that is no hex must be refused by the same check that refuses ids of a wrong length, and must not look absent.
_NOT_AN_ID = b"\xff"


class MalformedJsonError(ValueError, PermanentError):
    """The body is no JSON, or its outermost levels are not an OTLP request."""


@dataclass(frozen=True)
class Mapped:
    """A request as protobuf bytes, and how many of its items could not be mapped (they are not in it)."""

    payload: bytes
    n_malformed: int


def traces(body: bytes) -> Mapped:
    """Map an `ExportTraceServiceRequest`. Raises `MalformedJsonError`."""
    request = ExportTraceServiceRequest()
    n_malformed = 0
    for resource_spans in _requested(body, "resourceSpans"):
        spans_of_resource = request.resource_spans.add()
        _resource(spans_of_resource, resource_spans)
        for scope_spans in _objects(resource_spans, "scopeSpans"):
            spans_of_scope = spans_of_resource.scope_spans.add()
            _scope(spans_of_scope, scope_spans)
            n_malformed += _each(_objects(scope_spans, "spans"), spans_of_scope.spans, _span)
    return Mapped(request.SerializeToString(), n_malformed)


def logs(body: bytes) -> Mapped:
    """Map an `ExportLogsServiceRequest`. Raises `MalformedJsonError`."""
    request = ExportLogsServiceRequest()
    n_malformed = 0
    for resource_logs in _requested(body, "resourceLogs"):
        logs_of_resource = request.resource_logs.add()
        _resource(logs_of_resource, resource_logs)
        for scope_logs in _objects(resource_logs, "scopeLogs"):
            logs_of_scope = logs_of_resource.scope_logs.add()
            _scope(logs_of_scope, scope_logs)
            n_malformed += _each(_objects(scope_logs, "logRecords"), logs_of_scope.log_records, _log_record)
    return Mapped(request.SerializeToString(), n_malformed)


def count_points(body: bytes) -> int:
    """How many data points an `ExportMetricsServiceRequest` has. Raises `MalformedJsonError`."""
    return sum(
        len(_objects(data, "dataPoints"))
        for resource_metrics in _requested(body, "resourceMetrics")
        for scope_metrics in _objects(resource_metrics, "scopeMetrics")
        for metric in _objects(scope_metrics, "metrics")
        for data in metric.values()
        if isinstance(data, dict)
    )


def _requested(body: bytes, name: str) -> Sequence[dict[str, Any]]:
    """
    The list that a request of its kind is. Unknown fields are ignored (OTLP asks for that), but a request that has nothing else
    is somebody's mistake, and answering "received" would lose what it means.
    """
    request = _parse(body)
    found = _objects(request, name)
    if request and name not in request:
        raise MalformedJsonError(f"no {name} in the request, but {', '.join(map(repr, sorted(request)[:5]))}"[:300])
    return found


def _parse(body: bytes) -> dict[str, Any]:
    try:
        try:
            parsed = from_json(body)
        except ValueError:
            parsed = from_json(_repaired(body))
    except (ValueError, RecursionError) as error:
        raise MalformedJsonError(f"body is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise MalformedJsonError(f"body is a JSON {type(parsed).__name__}, not an object")
    return parsed


def _repaired(body: bytes) -> bytes:
    """The same JSON with invalid UTF-8 and lone surrogates replaced; the fast parser refuses both."""
    value = json.loads(body.decode("utf-8-sig", "replace"))
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _objects(parent: dict[str, Any], name: str) -> Sequence[dict[str, Any]]:
    members = parent.get(name)
    if members is None:
        if (original := _original(name)) in parent:
            raise MalformedJsonError(f"{original!r} is called {name} in OTLP/JSON")
        return ()
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise MalformedJsonError(f"{name} is not a list of objects")
    return members


@cache
def _original(name: str) -> str:
    """A field's name in the protobuf definition, which OTLP does not allow in JSON."""
    return re.sub("[A-Z]", lambda capital: "_" + capital[0].lower(), name)


class _Repeated(Protocol):
    def add(self) -> Any: ...
    def __delitem__(self, index: int) -> None: ...


def _each(items: Sequence[dict[str, Any]], target: _Repeated, fill: Callable[[Any, dict[str, Any]], None]) -> int:
    """Fill one message for each item; an item of a wrong shape is dropped alone. Returns how many were."""
    n_malformed = 0
    for item in items:
        message = target.add()
        try:
            fill(message, item)
        except (TypeError, ValueError, AttributeError, OverflowError):
            del target[-1]
            n_malformed += 1
    return n_malformed


def _resource(target: Any, source: dict[str, Any]) -> None:
    resource: Resource = target.resource
    try:
        content = source.get("resource") or {}
        _attributes(resource.attributes, content.get("attributes"))
        resource.dropped_attributes_count = _integer(content.get("droppedAttributesCount"))
        target.schema_url = source.get("schemaUrl") or ""
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MalformedJsonError(f"resource: {error}") from error


def _scope(target: Any, source: dict[str, Any]) -> None:
    scope: InstrumentationScope = target.scope
    try:
        content = source.get("scope") or {}
        scope.name = content.get("name") or ""
        scope.version = content.get("version") or ""
        _attributes(scope.attributes, content.get("attributes"))
        target.schema_url = source.get("schemaUrl") or ""
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MalformedJsonError(f"scope: {error}") from error


def _span(span: Span, source: dict[str, Any]) -> None:
    get = source.get
    span.trace_id = _hex(get("traceId"))
    span.span_id = _hex(get("spanId"))
    span.parent_span_id = _hex(get("parentSpanId"))
    span.trace_state = get("traceState") or ""
    span.name = get("name") or ""
    span.flags = _integer(get("flags"))
    span.kind = _enum(get("kind"), Span.SpanKind)  # type: ignore[assignment]
    span.start_time_unix_nano = _integer(get("startTimeUnixNano"))
    span.end_time_unix_nano = _integer(get("endTimeUnixNano"))
    _attributes(span.attributes, get("attributes"))
    for event in get("events") or ():
        _event(span.events.add(), event)
    for link in get("links") or ():
        _link(span.links.add(), link)
    span.dropped_attributes_count = _integer(get("droppedAttributesCount"))
    span.dropped_events_count = _integer(get("droppedEventsCount"))
    span.dropped_links_count = _integer(get("droppedLinksCount"))
    status = get("status")
    if status:
        span.status.message = status.get("message") or ""
        span.status.code = _enum(status.get("code"), Status.StatusCode)  # type: ignore[assignment]


def _event(event: Span.Event, source: dict[str, Any]) -> None:
    event.time_unix_nano = _integer(source.get("timeUnixNano"))
    event.name = source.get("name") or ""
    _attributes(event.attributes, source.get("attributes"))
    event.dropped_attributes_count = _integer(source.get("droppedAttributesCount"))


def _link(link: Span.Link, source: dict[str, Any]) -> None:
    link.trace_id = _hex(source.get("traceId"))
    link.span_id = _hex(source.get("spanId"))
    link.trace_state = source.get("traceState") or ""
    link.flags = _integer(source.get("flags"))
    _attributes(link.attributes, source.get("attributes"))
    link.dropped_attributes_count = _integer(source.get("droppedAttributesCount"))


def _log_record(record: LogRecord, source: dict[str, Any]) -> None:
    get = source.get
    record.time_unix_nano = _integer(get("timeUnixNano"))
    record.observed_time_unix_nano = _integer(get("observedTimeUnixNano"))
    record.severity_number = _enum(get("severityNumber"), SeverityNumber)  # type: ignore[assignment]
    record.severity_text = get("severityText") or ""
    record.event_name = get("eventName") or ""
    record.flags = _integer(get("flags"))
    record.trace_id = _hex(get("traceId"))
    record.span_id = _hex(get("spanId"))
    _attributes(record.attributes, get("attributes"))
    record.dropped_attributes_count = _integer(get("droppedAttributesCount"))
    body = get("body")
    if body is not None:
        _value(record.body, body, 0)


def _attributes(target: Any, source: Any) -> None:
    for item in source or ():
        _attribute(target.add(), item, 0)


def _attribute(target: KeyValue, source: dict[str, Any], depth: int) -> None:
    target.key = source.get("key") or ""
    value = source.get("value")
    if value is not None:
        _value(target.value, value, depth)


def _value(target: AnyValue, source: dict[str, Any], depth: int) -> None:
    if not source:
        target.SetInParent()
    for kind, content in source.items():
        if content is None:
            continue
        if kind == "stringValue":
            target.string_value = content
        elif kind == "intValue":
            target.int_value = _integer(content)
        elif kind == "doubleValue":
            target.double_value = float(content)
        elif kind == "boolValue":
            target.bool_value = content
        elif kind == "bytesValue":
            target.bytes_value = _base64(content)
        elif depth >= MAX_DEPTH and kind in ("arrayValue", "kvlistValue"):
            target.string_value = json.dumps(source, ensure_ascii=False)
        elif kind == "arrayValue":
            target.array_value.SetInParent()
            for member in content.get("values") or ():
                _value(target.array_value.values.add(), member, depth + 1)
        elif kind == "kvlistValue":
            target.kvlist_value.SetInParent()
            for member in content.get("values") or ():
                _attribute(target.kvlist_value.values.add(), member, depth + 1)


def _hex(value: Any) -> bytes:
    if not value:
        return b""
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        return _NOT_AN_ID


def _integer(value: Any) -> int:
    """A 64-bit integer sent as a string or as a number; nothing is 0, as in protobuf."""
    if value is None:
        return 0
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value!r} is not an integer")
    if isinstance(value, bool):
        raise TypeError("a boolean is not an integer")
    return int(value)


class _Enum(Protocol):
    def Value(self, name: str) -> int: ...


def _enum(value: Any, names: _Enum) -> int:
    """An enum by number, or leniently by name; a name nobody knows is 0, "unspecified" in each of them."""
    if isinstance(value, str):
        try:
            return names.Value(value)
        except ValueError:
            return int(value) if value.isdecimal() else 0
    return _integer(value)


def _base64(text: str) -> bytes:
    """Base64 of either alphabet, padded or not, as protobuf's JSON mapping allows."""
    standard = text.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
