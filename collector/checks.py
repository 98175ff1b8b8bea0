"""
What is checked of a request before it is accepted: that it is protobuf, and that every span has ids.

The parser is the C one of `protobuf`; ids are checked on the bytes, because reading three attributes of every span
object costs more than parsing the whole request. Every exporter writes a span's fields in order, so trace and span id
are its first 28 bytes; a span that starts otherwise is looked at as an object.

Source: OTLP 1.11.0, and semantic conventions for ids (16 and 8 bytes, not all zero; a parent may be empty).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.wire import embedded, fields, read_varint, varint
from storage.errors import PermanentError

_HEAD_OF_TRACE_ID = b"\x0a\x10"
_HEAD_OF_SPAN_ID = b"\x12\x08"
_NO_TRACE = bytes(16)
_NO_SPAN = bytes(8)


class UndecodableError(ValueError, PermanentError):
    """The bytes are not the message they should be."""


@dataclass(frozen=True)
class Checked:
    """
    A request that may be kept.

    Args:
        payload: the request without what was rejected; the very bytes that came when nothing was.
        n_items: spans or log records that came.
        rejected: reason -> how many of them are not in `payload`.
    """

    payload: bytes
    n_items: int
    rejected: Mapping[str, int] = field(default_factory=dict)


def check_traces(request: bytes) -> Checked:
    """
    Check an `ExportTraceServiceRequest`; spans without usable ids are cut out, each with its reason.

    Raises:
        UndecodableError: not a protobuf message, or text that is not UTF-8.
    """
    try:
        ExportTraceServiceRequest.FromString(request)
    except DecodeError as error:
        raise UndecodableError(f"not an ExportTraceServiceRequest: {error}") from error
    n_spans = 0
    bad: dict[tuple[int, int], str] = {}
    for start, end in spans_of(request):
        n_spans += 1
        reason = "" if _is_plain(request, start, end) else _problem(Span.FromString(request[start:end]))
        if reason:
            bad[start, end] = reason
    if not bad:
        return Checked(request, n_spans)
    return Checked(_without(request, bad), n_spans, Counter(bad.values()))


def check_logs(request: bytes) -> Checked:
    """Check an `ExportLogsServiceRequest`; a log record needs no ids. Raises `UndecodableError`."""
    try:
        ExportLogsServiceRequest.FromString(request)
    except DecodeError as error:
        raise UndecodableError(f"not an ExportLogsServiceRequest: {error}") from error
    return Checked(request, sum(1 for _ in spans_of(request)))


def spans_of(request: bytes) -> Iterator[tuple[int, int]]:
    """Where each span (or log record) lies; this inner loop is the only per-span Python of the hot path, hence its bareness."""
    for number, _, start, end in fields(request, 0, len(request)):
        if number != 1:
            continue
        for inner, _, scope_start, scope_end in fields(request, start, end):
            if inner != 2:
                continue
            at = scope_start
            while at < scope_end:
                tag = request[at]
                if tag & 7 != 2 or tag > 0x7F:
                    at = next(fields(request, at, scope_end))[3]
                    continue
                size = request[at + 1]
                if size < 0x80:
                    at += 2
                else:
                    size, at = read_varint(request, at + 1)
                if tag == 0x12:
                    yield at, at + size
                at += size


def _is_plain(request: bytes, start: int, end: int) -> bool:
    """Both ids come first, are whole and not zero, and the parent, if it is what follows, is whole."""
    return (
        end - start >= 28
        and request[start : start + 2] == _HEAD_OF_TRACE_ID
        and request[start + 18 : start + 20] == _HEAD_OF_SPAN_ID
        and request[start + 2 : start + 18] != _NO_TRACE
        and request[start + 20 : start + 28] != _NO_SPAN
        and (end - start < 30 or request[start + 28] != 0x1A)
        and (end - start < 30 or request[start + 28] != 0x22 or request[start + 29] == 8)
    )


def _problem(span: Span) -> str:
    if len(span.trace_id) != 16 or span.trace_id == _NO_TRACE:
        return "trace_id is not 16 bytes or all zero"
    if len(span.span_id) != 8 or span.span_id == _NO_SPAN:
        return "span_id is not 8 bytes or all zero"
    if len(span.parent_span_id) not in (0, 8):
        return "parent_span_id is not empty or 8 bytes"
    return ""


def _without(request: bytes, bad: Mapping[tuple[int, int], str]) -> bytes:
    """The request with some spans left out; lengths of what encloses them are written anew."""
    return b"".join(
        embedded(1, _filtered(request, start, end, 2, bad)) if number == 1 else _raw(request, number, kind, start, end)
        for number, kind, start, end in fields(request, 0, len(request))
    )


def _filtered(request: bytes, start: int, end: int, descend: int, bad: Mapping[tuple[int, int], str]) -> bytes:
    parts = []
    for number, kind, at, stop in fields(request, start, end):
        if (at, stop) in bad:
            continue
        if descend and number == descend:
            parts.append(embedded(number, _filtered(request, at, stop, 0, bad)))
        else:
            parts.append(_raw(request, number, kind, at, stop))
    return b"".join(parts)


def _raw(request: bytes, number: int, kind: int, start: int, end: int) -> bytes:
    if kind == 2:
        return embedded(number, request[start:end])
    return varint(number << 3 | kind) + request[start:end]
