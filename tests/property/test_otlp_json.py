"""The JSON mapping against protobuf itself: whatever a request holds survives the way through JSON."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from collector import otlp_json
from collector.checks import UndecodableError, check_logs, check_traces
from collector.otlp_json import MAX_DEPTH, MalformedJsonError
from collector.records import Counts, Signal, SpoolRecord
from collector.segments import encode, scan
from collector.wire import WireError, to_request, to_rows

texts = st.text(max_size=20)
uint64 = st.integers(0, 2**64 - 1)
uint32 = st.integers(0, 2**32 - 1)
scalars = st.one_of(
    st.builds(AnyValue, string_value=texts),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, double_value=st.floats(allow_nan=False)),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, bytes_value=st.binary(max_size=20)),
    st.just(AnyValue()),
)


def _array(values: list[AnyValue]) -> AnyValue:
    value = AnyValue()
    value.array_value.SetInParent()
    value.array_value.values.extend(values)
    return value


def _members(values: list[KeyValue]) -> AnyValue:
    value = AnyValue()
    value.kvlist_value.SetInParent()
    value.kvlist_value.values.extend(values)
    return value


any_values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(_array),
        st.lists(st.builds(KeyValue, key=texts, value=inner), max_size=3).map(_members),
    ),
    max_leaves=6,
)
attributes = st.lists(st.builds(KeyValue, key=texts, value=any_values), max_size=3)
trace_ids, span_ids = st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8)
spans = st.builds(
    Span,
    trace_id=trace_ids,
    span_id=span_ids,
    parent_span_id=st.one_of(st.just(b""), span_ids),
    trace_state=texts,
    name=texts,
    kind=st.integers(0, 5),
    flags=uint32,
    start_time_unix_nano=uint64,
    end_time_unix_nano=uint64,
    attributes=attributes,
    dropped_attributes_count=uint32,
    events=st.lists(st.builds(Span.Event, time_unix_nano=uint64, name=texts, attributes=attributes), max_size=2),
    dropped_events_count=uint32,
    links=st.lists(
        st.builds(Span.Link, trace_id=trace_ids, span_id=span_ids, trace_state=texts, attributes=attributes), max_size=2
    ),
    dropped_links_count=uint32,
    status=st.one_of(st.none(), st.builds(Status, message=texts, code=st.integers(0, 2))),
)
log_records = st.builds(
    LogRecord,
    time_unix_nano=uint64,
    observed_time_unix_nano=uint64,
    severity_number=st.integers(0, 24),
    severity_text=texts,
    event_name=texts,
    trace_id=st.one_of(st.just(b""), trace_ids),
    span_id=st.one_of(st.just(b""), span_ids),
    attributes=attributes,
    body=st.one_of(st.none(), any_values),
)


def json_value(value: AnyValue) -> dict[str, Any]:
    """The slow, obvious writer of the specification's JSON form."""
    kind = value.WhichOneof("value")
    if kind is None:
        return {}
    if kind == "array_value":
        return {"arrayValue": {"values": [json_value(member) for member in value.array_value.values]}}
    if kind == "kvlist_value":
        return {"kvlistValue": {"values": json_attributes(value.kvlist_value.values)}}
    content = getattr(value, kind)
    if kind == "bytes_value":
        content = base64.b64encode(content).decode()
    elif kind == "int_value":
        content = str(content)
    elif kind == "double_value" and math.isinf(content):
        content = "Infinity" if content > 0 else "-Infinity"
    return {{"string_value": "stringValue"}.get(kind, kind.replace("_v", "V")): content}


def json_attributes(items: Any) -> list[dict[str, Any]]:
    return [{"key": item.key, "value": json_value(item.value)} for item in items]


def json_span(span: Span, upper: bool) -> dict[str, Any]:
    def hexadecimal(value: bytes) -> str:
        return value.hex().upper() if upper else value.hex()

    return {
        "traceId": hexadecimal(span.trace_id),
        "spanId": hexadecimal(span.span_id),
        "parentSpanId": hexadecimal(span.parent_span_id),
        "traceState": span.trace_state,
        "name": span.name,
        "kind": Span.SpanKind.Name(span.kind) if upper else span.kind,
        "flags": span.flags,
        "startTimeUnixNano": str(span.start_time_unix_nano),
        "endTimeUnixNano": span.end_time_unix_nano,
        "attributes": json_attributes(span.attributes),
        "droppedAttributesCount": span.dropped_attributes_count,
        "events": [
            {"timeUnixNano": str(event.time_unix_nano), "name": event.name, "attributes": json_attributes(event.attributes)}
            for event in span.events
        ],
        "droppedEventsCount": span.dropped_events_count,
        "links": [
            {
                "traceId": hexadecimal(link.trace_id),
                "spanId": hexadecimal(link.span_id),
                "traceState": link.trace_state,
                "attributes": json_attributes(link.attributes),
            }
            for link in span.links
        ],
        "droppedLinksCount": span.dropped_links_count,
        "status": {"message": span.status.message, "code": span.status.code} if span.HasField("status") else None,
        "aFieldOfTomorrow": {"deep": [1]},
    }


@given(st.lists(spans, max_size=3), st.booleans(), attributes, texts)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_spans_survive_the_way_through_json(items: list[Span], upper: bool, resource: list[KeyValue], scope: str) -> None:
    expected = ExportTraceServiceRequest()
    of_resource = expected.resource_spans.add(schema_url=scope)
    of_resource.resource.SetInParent()
    of_resource.resource.attributes.extend(resource)
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.SetInParent()
    of_scope.scope.name = scope
    of_scope.spans.extend(items)
    document = {
        "resourceSpans": [
            {
                "resource": {"attributes": json_attributes(resource)},
                "schemaUrl": scope,
                "scopeSpans": [{"scope": {"name": scope}, "spans": [json_span(span, upper) for span in items]}],
            }
        ]
    }
    mapped = otlp_json.traces(json.dumps(document).encode())
    assert mapped.n_malformed == 0
    found = ExportTraceServiceRequest.FromString(mapped.payload)
    for span in (*_spans(expected), *_spans(found)):
        if not (span.status.message or span.status.code):
            span.ClearField("status")
    assert found == expected


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    return [span for rs in request.resource_spans for ss in rs.scope_spans for span in ss.spans]


@given(st.lists(log_records, max_size=3))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_log_records_survive_the_way_through_json(items: list[LogRecord]) -> None:
    expected = ExportLogsServiceRequest()
    expected.resource_logs.add().scope_logs.add().log_records.extend(items)
    document = {
        "resourceLogs": [
            {
                "scopeLogs": [
                    {
                        "logRecords": [
                            {
                                "timeUnixNano": str(record.time_unix_nano),
                                "observedTimeUnixNano": record.observed_time_unix_nano,
                                "severityNumber": record.severity_number,
                                "severityText": record.severity_text,
                                "eventName": record.event_name,
                                "traceId": record.trace_id.hex(),
                                "spanId": record.span_id.hex(),
                                "attributes": json_attributes(record.attributes),
                                "body": json_value(record.body) if record.HasField("body") else None,
                            }
                            for record in items
                        ]
                    }
                ]
            }
        ]
    }
    mapped = otlp_json.logs(json.dumps(document).encode())
    found = ExportLogsServiceRequest.FromString(mapped.payload)
    assert [r.SerializeToString(deterministic=True) for r in found.resource_logs[0].scope_logs[0].log_records] == [
        r.SerializeToString(deterministic=True) for r in items
    ]


_NAMES = [
    "resourceSpans",
    "resourceLogs",
    "resource",
    "attributes",
    "scopeSpans",
    "scopeLogs",
    "scope",
    "spans",
    "logRecords",
    "traceId",
    "spanId",
    "kind",
    "name",
    "status",
    "code",
    "key",
    "value",
    "values",
    "stringValue",
    "intValue",
    "arrayValue",
    "kvlistValue",
    "bytesValue",
    "doubleValue",
    "boolValue",
    "startTimeUnixNano",
    "events",
    "links",
]
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.sampled_from(["zz" * 8, "ab" * 16])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_NAMES), inner, max_size=5)),
    max_leaves=25,
)


@given(json_values)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_json_breaks_the_mapper(document: Any) -> None:
    """Any JSON is mapped to bytes that protobuf reads, or refused as malformed; never another error."""
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [document]}]}], "resourceLogs": document}).encode()
    for read, check in ((otlp_json.traces, check_traces), (otlp_json.logs, check_logs)):
        try:
            check(read(body).payload)
        except MalformedJsonError:
            continue


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_bytes_break_the_json_mapper(body: bytes) -> None:
    try:
        otlp_json.traces(body)
    except MalformedJsonError:
        return


def _mutated(data: bytes, edits: list[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for at, value in edits:
        if changed:
            changed[at % len(changed)] = value
    return bytes(changed)


@given(st.lists(spans, min_size=1, max_size=3), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=6))
@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_damaged_requests_are_refused_or_kept_whole(items: list[Span], edits: list[tuple[int, int]]) -> None:
    """What the check lets through is spooled, found again and readable: nothing after the acknowledgement may fail."""
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(items)
    damaged = _mutated(request.SerializeToString(), edits)
    try:
        checked = check_traces(damaged)
    except (UndecodableError, WireError):
        return
    record = SpoolRecord(Signal.TRACES, "", 1, checked.payload, Counts(checked.n_items, checked.rejected))
    (header,) = scan(b"".join(encode(record)))
    assert header.counts.received == checked.n_items
    kept = ExportTraceServiceRequest.FromString(to_request([b"".join(row) for row in to_rows(checked.payload, 1)]))
    assert len(_spans(kept)) == checked.n_items - sum(checked.rejected.values())


def test_values_nested_too_deep_are_kept_as_json_text() -> None:
    value: dict[str, Any] = {"stringValue": "bottom"}
    for _ in range(MAX_DEPTH + 5):
        value = {"arrayValue": {"values": [value]}}
    span = {"traceId": "ab" * 16, "spanId": "cd" * 8, "attributes": [{"key": "deep", "value": value}]}
    mapped = otlp_json.traces(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode())
    at = check_traces(mapped.payload) and _spans(ExportTraceServiceRequest.FromString(mapped.payload))[0].attributes[0].value
    for _ in range(MAX_DEPTH):
        at = at.array_value.values[0]
    assert "bottom" in at.string_value


def test_invalid_text_is_replaced() -> None:
    """Invalid UTF-8 and a lone surrogate: the span stays, with replacement characters."""
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%s","spanId":"%s","name":"a\xffb\\ud800c"}]}]}]}' % (
        b"ab" * 16,
        b"cd" * 8,
    )
    (span,) = _spans(ExportTraceServiceRequest.FromString(otlp_json.traces(body).payload))
    assert span.name == "a�b?c"
