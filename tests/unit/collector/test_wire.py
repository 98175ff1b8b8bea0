"""The outer levels of a request as bytes; frames written by hand."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.wire import WireError, embedded, fields, read_varint, to_request, to_rows, varint


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, b"\x00"), (1, b"\x01"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02"), (2**63 - 1, b"\xff" * 8 + b"\x7f")],
)
def test_varint(value: int, encoded: bytes) -> None:
    assert varint(value) == encoded
    assert read_varint(b"x" + encoded + b"y", 1) == (value, 1 + len(encoded))


@pytest.mark.parametrize("cut", [b"", b"\x80", b"\xff\xff"])
def test_varint_cut_short(cut: bytes) -> None:
    with pytest.raises(WireError, match="cut short"):
        read_varint(cut, 0)


def test_varint_too_long() -> None:
    with pytest.raises(WireError, match="more than 10 bytes"):
        read_varint(b"\x80" * 10 + b"\x01", 0)


def test_fields_of_every_wire_type() -> None:
    message = b"\x08\x96\x01" + b"\x12\x02hi" + b"\x19" + b"\x01" * 8 + b"\x25" + b"\x02" * 4 + b"\xaa\x06\x00"
    assert list(fields(message, 0, len(message))) == [(1, 0, 1, 3), (2, 2, 5, 7), (3, 1, 8, 16), (4, 5, 17, 21), (101, 2, 24, 24)]


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (b"\x12\x05hi", "field 2 ends at byte 7, its message at byte 4"),
        (b"\x19\x01\x02", "field 3 ends at byte 9, its message at byte 3"),
        (b"\x0b", "wire type 3 at byte 1"),
        (b"\x12", "cut short"),
    ],
)
def test_fields_of_a_broken_message(message: bytes, problem: str) -> None:
    with pytest.raises(WireError, match=problem):
        list(fields(message, 0, len(message)))


def _request() -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    for service in ("a", "b"):
        group = request.resource_spans.add(schema_url=f"r-{service}")
        group.resource.attributes.add(key="service.name").value.string_value = service
        for scope in ("x", "y"):
            made = group.scope_spans.add(schema_url=f"s-{scope}")
            made.scope.name = scope
            made.spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name=service + scope)
    return request


def test_a_row_is_its_scope_with_what_it_inherits() -> None:
    inner = embedded(1, embedded(1, b"gen"))  # scope = 1: name = 1
    resource = b"\x10\x07"  # dropped_attributes_count = 7
    request = embedded(1, embedded(1, resource) + embedded(2, inner) + embedded(3, b"url"))
    (row,) = map(b"".join, to_rows(request, 0x0102))
    tail = b"\xaa\x06\x02\x10\x07" + b"\xb2\x06\x03url" + b"\xb9\x06\x02\x01\x00\x00\x00\x00\x00\x00"
    assert row == b"\x0a\x05\x0a\x03gen" + tail


def test_rows_come_one_for_each_scope_and_go_back_into_a_request() -> None:
    request = _request()
    rows = [b"".join(row) for row in to_rows(request.SerializeToString(), 5)]
    assert len(rows) == 4
    back = ExportTraceServiceRequest.FromString(to_request(rows))
    flat = [
        (
            group.resource.attributes[0].value.string_value,
            group.schema_url,
            scope.scope.name,
            scope.schema_url,
            scope.spans[0].name,
        )
        for group in back.resource_spans
        for scope in group.scope_spans
    ]
    assert flat == [(s, f"r-{s}", x, f"s-{x}", s + x) for s in "ab" for x in "xy"]


def test_a_resource_in_two_pieces_is_one() -> None:
    pieces = embedded(1, b"\x10\x07") + embedded(1, b"\x10\x08")
    (row,) = map(b"".join, to_rows(embedded(1, pieces + embedded(2, b"")), 0))
    assert row.startswith(b"\xaa\x06\x04\x10\x07\x10\x08")


def test_a_request_cut_short_raises() -> None:
    data = _request().SerializeToString()
    with pytest.raises(WireError):
        list(to_rows(data[:-1], 0))
