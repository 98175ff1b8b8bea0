"""
The outer two levels of an OTLP request, walked as bytes: nothing below a scope is touched.

`to_rows` cuts an `ExportTraceServiceRequest` (or logs) into one message per scope, the form in which the engine reads
segments (`collector/sql/segment.proto`): the bytes of `ScopeSpans` as they came, then three fields of ours with what the
scope inherits from its request. Spans are copied once and never looked into, so the cost is per scope, not per span.

    message Row { ScopeSpans' own fields: scope = 1, spans = 2, schema_url = 3;
                  Resource resource = 101; string resource_schema_url = 102; fixed64 received_at = 103; }

Source: protobuf wire format; repeated occurrences of an embedded message merge by concatenation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from storage.errors import PermanentError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class WireError(ValueError, PermanentError):
    """The bytes are not a protobuf message."""


def varint(value: int) -> bytes:
    """`value` >= 0 as a base-128 varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(buffer: bytes, at: int) -> tuple[int, int]:
    """The varint at `at` and the position after it. Raises `WireError` when it is cut short or too long."""
    value = shift = 0
    while True:
        try:
            byte = buffer[at]
        except IndexError:
            raise WireError(f"message is cut short at byte {at}") from None
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise WireError(f"varint of more than 10 bytes before byte {at}")


def fields(buffer: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of the message in `buffer[at:end]`: number, wire type, first byte and end of the value."""
    while at < end:
        tag, at = read_varint(buffer, at)
        kind = tag & 7
        if kind == _BYTES:
            size, at = read_varint(buffer, at)
            stop = at + size
        elif kind == _VARINT:
            _, stop = read_varint(buffer, at)
        elif kind in (_FIXED64, _FIXED32):
            stop = at + (8 if kind == _FIXED64 else 4)
        else:
            raise WireError(f"wire type {kind} at byte {at}")
        if stop > end:
            raise WireError(f"field {tag >> 3} ends at byte {stop}, its message at byte {end}")
        yield tag >> 3, kind, at, stop
        at = stop


def embedded(number: int, value: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | _BYTES) + varint(len(value)) + value


_RESOURCE, _RESOURCE_SCHEMA_URL = 101, 102
_RECEIVED_AT = varint(103 << 3 | _FIXED64)


class Row(NamedTuple):
    """A `Row` message in two pieces: a scope's own bytes, where they lie in the request, and what it inherits."""

    own: memoryview
    inherited: bytes


def to_rows(request: bytes, received_at_ns: int) -> Iterator[Row]:
    """
    One `Row` message per scope of an export request (traces or logs: the numbers of the outer fields are the same).

    Spans are not copied: with 4 KB of text each, that costs more than parsing them.

    Raises:
        WireError: the outer levels are malformed. A request that a protobuf parser accepted never raises.
    """
    received_at = _RECEIVED_AT + received_at_ns.to_bytes(8, "little")
    for number, kind, start, end in fields(request, 0, len(request)):
        if number == 1 and kind == _BYTES:
            yield from _resource_rows(request, start, end, received_at)


def _resource_rows(request: bytes, start: int, end: int, received_at: bytes) -> Iterator[Row]:
    resource = url = b""
    scopes = []
    for number, kind, at, stop in fields(request, start, end):
        if kind != _BYTES:
            continue
        if number == 1:
            resource += request[at:stop]
        elif number == 2:
            scopes.append((at, stop))
        elif number == 3:
            url = request[at:stop]
    inherited = b"".join((embedded(_RESOURCE, resource), embedded(_RESOURCE_SCHEMA_URL, url), received_at))
    view = memoryview(request)
    for at, stop in scopes:
        yield Row(view[at:stop], inherited)


def to_request(rows: list[bytes]) -> bytes:
    """The export request that `rows` were cut from, one `ResourceSpans` per scope: what quarantine keeps and retries."""
    request = []
    for row in rows:
        resource = url = b""
        own_end = len(row)
        for number, _, at, stop in fields(row, 0, len(row)):
            if number == _RESOURCE:
                resource = row[at:stop]
                own_end = at - len(varint(stop - at)) - len(varint(_RESOURCE << 3 | _BYTES))
            elif number == _RESOURCE_SCHEMA_URL:
                url = row[at:stop]
        request.append(embedded(1, embedded(1, resource) + embedded(2, row[:own_end]) + embedded(3, url)))
    return b"".join(request)
