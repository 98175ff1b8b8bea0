"""
What is checked of a request before it is accepted: that it is protobuf, and that every span has ids.

The parser is the C one of `protobuf`; ids are checked on the bytes, because reading three attributes of every span
object costs more than parsing the whole request. Every exporter writes a span's fields in order, so trace and span id
are its first 28 bytes; a span that starts otherwise is looked at as an object.

Source: OTLP 1.11.0, and semantic conventions for ids (16 and 8 bytes, not all zero; a parent may be empty).
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.evaluations.genai import event_name_of
from collector.evaluations.shapes import EVENT_NAME
from collector.wire import embedded, fields, read_varint, varint
from storage.errors import PermanentError

_HEAD = struct.Struct("<H16xH8xBB")
"""How a span begins: tag and length of both ids, then the tag of what follows and its first byte."""
_TRACE_ID, _SPAN_ID = 0x100A, 0x0812
_TRACE_STATE, _PARENT = 0x1A, 0x22
_SPAN = 0x12
_NO_TRACE = bytes(16)
_NO_SPAN = bytes(8)

NO_EVALUATION = "no evaluation"
"""Why a log record is left out."""


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
        left_out: the same of those that are taken and not kept, for nothing reads them.
    """

    payload: bytes
    n_items: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)


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
    n_spans, bad = _looked_at(request)
    if not bad:
        return Checked(request, n_spans)
    return Checked(_without(request, bad), n_spans, Counter(bad.values()))


def check_logs(request: bytes) -> Checked:
    """
    Check an `ExportLogsServiceRequest`; a log record needs no ids, and is left out if it is no evaluation.

    Raises:
        UndecodableError: not a protobuf message, or text that is not UTF-8.
    """
    try:
        ExportLogsServiceRequest.FromString(request)
    except DecodeError as error:
        raise UndecodableError(f"not an ExportLogsServiceRequest: {error}") from error
    records = list(spans_of(request))
    others = {place: NO_EVALUATION for place in records if not _is_evaluation(request[slice(*place)])}
    if not others:
        return Checked(request, len(records))
    return Checked(_without(request, others), len(records), left_out={NO_EVALUATION: len(others)})


def _is_evaluation(record: bytes) -> bool:
    """Most log records do not even mention the name: only one that does is looked at as an object."""
    return EVENT_NAME.encode() in record and event_name_of(LogRecord.FromString(record)) == EVENT_NAME


def spans_of(request: bytes) -> Iterator[tuple[int, int]]:
    """Where each span (or log record) lies; the bare loop is per-span Python on the hot path."""
    for number, _, start, end in fields(request, 0, len(request)):
        if number != 1:
            continue
        for inner, _, at, scope_end in fields(request, start, end):
            if inner != 2:
                continue
            while at < scope_end:
                if request[at] != _SPAN:
                    at = next(fields(request, at, scope_end))[3]
                    continue
                size = request[at + 1]
                if size < 0x80:
                    at += 2
                elif request[at + 2] < 0x80:
                    size, at = size & 0x7F | request[at + 2] << 7, at + 3
                else:
                    size, at = read_varint(request, at + 1)
                yield at, at + size
                at += size


def _looked_at(request: bytes) -> tuple[int, dict[tuple[int, int], str]]:
    """How many spans there are, and where the bad ones lie, each with its reason."""
    n_spans = 0
    bad = {}
    head, last = _HEAD.unpack_from, len(request) - _HEAD.size
    # an id of zeros is looked for only where eight zero bytes are found in a row
    has_zeros = _NO_SPAN in request
    for start, end in spans_of(request):
        n_spans += 1
        if start <= last and end - start >= _HEAD.size:
            trace, span, tag, size = head(request, start)
            is_plain = trace == _TRACE_ID and span == _SPAN_ID and tag != _TRACE_STATE and (tag != _PARENT or size == 8)
            if is_plain and not (has_zeros and _is_zero(request, start)):
                continue
        if reason := _problem(Span.FromString(request[start:end])):
            bad[start, end] = reason
    return n_spans, bad


def _is_zero(request: bytes, start: int) -> bool:
    return request[start + 2 : start + 18] == _NO_TRACE or request[start + 20 : start + 28] == _NO_SPAN


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
