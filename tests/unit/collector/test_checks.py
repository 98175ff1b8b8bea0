"""What a request must be before it is kept: protobuf, and spans with ids. The bytes are looked at, the objects are the twin."""

from __future__ import annotations

import random

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.checks import UndecodableError, check_logs, check_traces, spans_of
from collector.wire import embedded, varint

TRACE, SPAN = bytes(range(1, 17)), bytes(range(1, 9))


def request(*spans: Span) -> bytes:
    made = ExportTraceServiceRequest()
    made.resource_spans.add().scope_spans.add().spans.extend(spans)
    return bytes(made.SerializeToString())


def raw(*spans: bytes) -> bytes:
    """A request of spans that are already bytes."""
    return embedded(1, embedded(2, b"".join(embedded(2, span) for span in spans)))


def kept(payload: bytes) -> list[bytes]:
    message = ExportTraceServiceRequest.FromString(payload)
    return [span.span_id for group in message.resource_spans for scope in group.scope_spans for span in scope.spans]


GOOD = Span(trace_id=TRACE, span_id=SPAN, name="good")


def test_a_good_request_comes_back_as_it_is() -> None:
    data = request(GOOD, Span(trace_id=TRACE, span_id=SPAN, parent_span_id=SPAN), Span(trace_id=TRACE, span_id=SPAN))
    checked = check_traces(data)
    assert checked.payload is data
    assert (checked.n_items, checked.rejected) == (3, {})


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Span(span_id=SPAN), "trace_id is not 16 bytes or all zero"),
        (Span(), "trace_id is not 16 bytes or all zero"),
        (Span(trace_id=TRACE[:15], span_id=SPAN), "trace_id is not 16 bytes or all zero"),
        (Span(trace_id=TRACE + b"x", span_id=SPAN), "trace_id is not 16 bytes or all zero"),
        (Span(trace_id=bytes(16), span_id=SPAN), "trace_id is not 16 bytes or all zero"),
        (Span(trace_id=TRACE), "span_id is not 8 bytes or all zero"),
        (Span(trace_id=TRACE, span_id=bytes(8)), "span_id is not 8 bytes or all zero"),
        (Span(trace_id=TRACE, span_id=SPAN + b"x"), "span_id is not 8 bytes or all zero"),
        (Span(trace_id=TRACE, span_id=SPAN, parent_span_id=b"x"), "parent_span_id is not empty or 8 bytes"),
        (Span(trace_id=TRACE, span_id=SPAN, trace_state="a=b", parent_span_id=b"x"), "parent_span_id is not empty or 8 bytes"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_bad_span_is_cut_out(bad: Span, reason: str, place: int) -> None:
    others = [Span(trace_id=TRACE, span_id=bytes([n]) * 8, name="x" * 200) for n in (1, 2)]
    spans = [*others[:place], bad, *others[place:]]
    checked = check_traces(request(*spans))
    assert (checked.n_items, checked.rejected) == (3, {reason: 1})
    assert kept(checked.payload) == [span.span_id for span in others]


def test_zeros_elsewhere_are_nothing_bad() -> None:
    span = Span(trace_id=TRACE, span_id=SPAN)
    span.attributes.add(key="zero").value.double_value = 0.0
    span.attributes.add(key="text").value.string_value = "\0" * 40
    assert check_traces(request(span, span)).rejected == {}


def test_fields_in_another_order_are_read_as_an_object() -> None:
    name, trace, span = embedded(5, b"late"), embedded(1, TRACE), embedded(2, SPAN)
    checked = check_traces(raw(span + trace + name, name + trace, trace + trace[:2] + bytes(16) + span))
    assert checked.n_items == 3
    assert checked.rejected == {"span_id is not 8 bytes or all zero": 1, "trace_id is not 16 bytes or all zero": 1}


@pytest.mark.parametrize("size", [0, 1, 27, 28, 29, 30, 127, 128, 16383, 16384, 2_100_000])
def test_spans_of_every_length_are_found(size: int) -> None:
    head = embedded(1, TRACE) + embedded(2, SPAN)
    span = (head + embedded(5, b"n" * size))[:size] if size < len(head) else head + b"\x2a" + varint(size) + b"n" * size
    data = raw(span, head, span)
    assert [data[start:end] for start, end in spans_of(data)] == [span, head, span]


def test_equals_the_objects_for_any_mixture() -> None:
    rng = random.Random(7)
    for _ in range(300):
        spans = [
            Span(
                trace_id=rng.choice([TRACE, TRACE, bytes(16), TRACE[:3], b""]),
                span_id=rng.choice([SPAN, SPAN, bytes(8), SPAN * 2]),
                parent_span_id=rng.choice([b"", b"", SPAN, b"x"]),
                trace_state=rng.choice(["", "", "a=b"]),
                name=rng.choice(["", "x", "y" * 200]),
            )
            for _ in range(rng.randrange(5))
        ]
        good = [
            span
            for span in spans
            if len(span.trace_id) == 16 and any(span.trace_id) and len(span.span_id) == 8 and any(span.span_id)
            and len(span.parent_span_id) in (0, 8)
        ]  # fmt: skip
        checked = check_traces(request(*spans))
        assert checked.n_items == len(spans)
        assert sum(checked.rejected.values()) == len(spans) - len(good)
        message = ExportTraceServiceRequest.FromString(checked.payload)
        assert [span for group in message.resource_spans for scope in group.scope_spans for span in scope.spans] == good


@pytest.mark.parametrize("data", [b"\x0a\x05abc", b"not protobuf", embedded(1, embedded(2, embedded(2, b"\x2a\x02\xff\xfe")))])
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(UndecodableError, match="not an ExportTraceServiceRequest"):
        check_traces(data)


def test_log_records_need_no_ids_and_are_kept_if_they_are_evaluations() -> None:
    name = "gen_ai.evaluation.result"
    logs = ExportLogsServiceRequest()
    first, second = (logs.resource_logs.add() for _ in range(2))
    first.resource.attributes.add(key="service.name").value.string_value = "judge"
    records = first.scope_logs.add().log_records
    records.add(event_name=name)
    records.add(event_name="gen_ai.client.inference.operation.details").body.string_value = name
    for key in ("event.name", "microsoft.custom_event.name"):
        records.add(event_name="None").attributes.add(key=key).value.string_value = name
    records.add(event_name="mentions").attributes.add(key="text").value.string_value = name
    others = second.scope_logs.add().log_records
    others.add()
    others.add().body.string_value = f" {name}\n"
    kept = ExportLogsServiceRequest()
    kept.CopyFrom(logs)
    for at in (4, 1):
        del kept.resource_logs[0].scope_logs[0].log_records[at]
    del kept.resource_logs[1].scope_logs[0].log_records[0]

    checked = check_logs(logs.SerializeToString())
    assert ExportLogsServiceRequest.FromString(checked.payload) == kept
    assert (checked.n_items, checked.rejected, checked.left_out) == (7, {}, {"no evaluation": 3})
    data = kept.SerializeToString()
    assert check_logs(data).payload == data
    with pytest.raises(UndecodableError, match="not an ExportLogsServiceRequest"):
        check_logs(b"\x0a\x05abc")
