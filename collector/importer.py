"""
Files of OTLP into the intake: JSON lines, and the length-prefixed protobuf that the OpenTelemetry Collector's file exporter
writes (four bytes, big endian, then the message), plain or compressed with gzip or zstd.

Both signals look alike from outside, so a message is asked which of the two it is.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector import otlp_json
from collector.checks import UndecodableError, check_logs, check_traces
from collector.intake import BusyError, Intake, Receipt
from collector.otlp_json import MalformedJsonError, Mapped
from collector.records import Signal
from collector.spool import SpoolFullError
from storage.errors import PermanentError

_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PREFIX = 4
_WANTED = "wanted is what the Collector's file exporter writes: one JSON message a line"
_MAX_ZSTD_WINDOW = 128 << 20

Progress = Callable[[int, int], None]
"""Told how many of how many bytes of the file have been read."""


class UnreadableFileError(ValueError, PermanentError):
    """The file is neither OTLP JSON lines nor length-prefixed OTLP protobuf, or is damaged at some point."""

    def __init__(self, path: Path, cause: object) -> None:
        self.path = path
        super().__init__(f"cannot read {path}: {cause}")


@dataclass(frozen=True)
class Imported:
    """What one file held. Undecodable messages are skipped; `first_undecodable` says which was the first, and why."""

    n_messages: int
    n_items: int
    n_rejected: int
    n_undecodable: int
    first_undecodable: str = ""


Accept = Callable[[Signal, bytes, bool], Receipt]
"""Takes one message, told its signal and whether it is JSON. Raises what `Intake.accept` raises."""


def import_file(intake: Intake, path: Path, key_id: str = "", progress: Progress | None = None) -> Imported:
    """Send every message of a file through the intake; see `import_through`."""

    def accept(signal: Signal, message: bytes, is_json: bool) -> Receipt:
        return intake.accept(signal, message, key_id, is_json=is_json)

    return import_through(accept, path, intake.max_request_bytes, progress)


def import_through(
    accept: Accept, path: Path, limit: int, progress: Progress | None = None, wait: Callable[[float], None] = time.sleep
) -> Imported:
    """
    Hand every message of a file to `accept`, in order; while it pushes back, wait. Importing again doubles nothing.

    Args:
        limit: largest message, bytes.

    Raises:
        UnreadableFileError: damaged or of another kind; what came before is kept.
        SpoolWriteError: the disk refused; what came before is kept.
    """
    size = path.stat().st_size
    n_messages = n_items = n_rejected = n_undecodable = 0
    first_undecodable = ""
    with path.open("rb") as file:
        for message, is_json in _messages(file, path, limit):
            n_messages += 1
            try:
                receipt = _accepted(accept, message, is_json, wait)
                n_items += receipt.n_received
                n_rejected += receipt.n_rejected
            except (UndecodableError, MalformedJsonError) as error:
                n_undecodable += 1
                first_undecodable = first_undecodable or f"message {n_messages}: {error}"
            if progress is not None:
                progress(file.tell(), size)
    return Imported(n_messages, n_items, n_rejected, n_undecodable, first_undecodable)


def count_items(signal: Signal, message: bytes, *, is_json: bool) -> int:
    """Spans or log records in a message, good and bad. Raises `UndecodableError`, `MalformedJsonError`."""
    read = otlp_json.traces if signal is Signal.TRACES else otlp_json.logs
    mapped = read(message) if is_json else Mapped(message, 0)
    checked = check_traces(mapped.payload) if signal is Signal.TRACES else check_logs(mapped.payload)
    return checked.n_items + mapped.n_malformed


def _accepted(accept: Accept, message: bytes, is_json: bool, wait: Callable[[float], None]) -> Receipt:
    signal = _signal(message, is_json=is_json)
    while True:
        try:
            return accept(signal, message, is_json)
        except (SpoolFullError, BusyError) as error:
            wait(error.retry_delay)


def _messages(file: IO[bytes], path: Path, limit: int) -> Iterator[tuple[bytes, bool]]:
    """Each message and whether it is JSON."""
    try:
        with ExitStack() as stack:
            stream = _decompressed(file, stack)
            head = stream.read(1)
            while head.isspace():
                head = stream.read(1)
            if head == b"{":
                yield from ((line, True) for line in _whole(_lines(head, stream, limit)))
            elif head == b"[":
                raise ValueError(f"a JSON array; {_WANTED} (`jq -c '.[]'` makes them)")
            elif head:
                yield from ((message, False) for message in _prefixed(head, stream, limit))
    except (OSError, EOFError, zstandard.ZstdError, ValueError) as error:
        raise UnreadableFileError(path, error) from error


def _decompressed(file: IO[bytes], stack: ExitStack) -> Any:
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(_GZIP_MAGIC):
        return stack.enter_context(gzip.GzipFile(fileobj=file))
    if magic == _ZSTD_MAGIC:
        reader = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW)
        return stack.enter_context(reader.stream_reader(file, read_across_frames=True, closefd=False))
    return file


def _lines(head: bytes, stream: Any, limit: int) -> Iterator[bytes]:
    """Lines that hold anything; a stream of decompressed bytes has no bounded `readline`."""
    rest = head
    while chunk := stream.read(1 << 20):
        rest += chunk
        *lines, rest = rest.split(b"\n")
        if len(rest) > limit:
            raise ValueError(f"a line is longer than {limit} bytes")
        yield from (line for line in lines if line.strip())
    if rest.strip():
        yield rest


def _whole(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The lines, unless the first shows that one message goes over many."""
    for number, line in enumerate(lines):
        if number == 0 and line.strip() == b"{":
            raise ValueError(f"one JSON message over many lines; {_WANTED} (`jq -c .` makes them)")
        yield line


def _prefixed(head: bytes, stream: Any, limit: int) -> Iterator[bytes]:
    prefix = head + _exactly(stream, _PREFIX - 1)
    if prefix.isascii() and prefix.decode().isprintable():
        raise ValueError(f"it begins with the text {prefix.decode()!r}; {_WANTED}, or length-prefixed protobuf")
    while prefix:
        size = int.from_bytes(prefix, "big")
        if size > limit:
            raise ValueError(f"a message of {size} bytes is over the limit of {limit}, or this is no length-prefixed file")
        yield _exactly(stream, size)
        first = stream.read(1)
        prefix = first + _exactly(stream, _PREFIX - 1) if first else b""


def _exactly(stream: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = stream.read(size - len(data))
        if not chunk:
            raise EOFError("file is cut short")
        data += chunk
    return data


def _signal(message: bytes, *, is_json: bool) -> Signal:
    """Logs if it says so or can only be read as such, else traces."""
    if is_json:
        return Signal.LOGS if b'"resourceLogs"' in message and b'"resourceSpans"' not in message else Signal.TRACES
    return Signal.TRACES if _has_spans(message) else Signal.LOGS


def _has_spans(message: bytes) -> bool:
    """
    Spans and log records share the numbers of their outer fields; inside, a span begins with a trace id of 16 bytes where a log
    record has a time. The reading that leaves fewer fields unknown is the right one.
    """
    try:
        traces = ExportTraceServiceRequest.FromString(message)
    except DecodeError:
        return False
    try:
        logs = ExportLogsServiceRequest.FromString(message)
    except DecodeError:
        return True
    spans = [span for rs in traces.resource_spans for ss in rs.scope_spans for span in ss.spans]
    records = [record for rl in logs.resource_logs for sl in rl.scope_logs for record in sl.log_records]
    n_spans = sum(1 for span in spans if span.trace_id and span.start_time_unix_nano)
    n_records = sum(1 for record in records if record.time_unix_nano or record.observed_time_unix_nano)
    return n_spans >= n_records
