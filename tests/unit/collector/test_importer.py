"""Files as the OpenTelemetry Collector's file exporter writes them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collector.importer import Imported, UnreadableFileError, import_file, import_through
from collector.records import Signal, SpoolRecord
from collector.spool import SpoolFullError
from tests.support.receivers import SPAN_ID, TRACE_ID, ListSink, make_intake, make_span, trace_request


def logs_request() -> bytes:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=1_700_000_000_000_000_000)
    record.trace_id, record.span_id, record.event_name = TRACE_ID, SPAN_ID, "gen_ai.evaluation.result"
    return request.SerializeToString()


TRACES = trace_request(make_span(), make_span(span_id=b"12345678")).SerializeToString()
JSON_SPAN = {"traceId": TRACE_ID.hex(), "spanId": SPAN_ID.hex(), "name": "chat"}
JSON_TRACES = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [JSON_SPAN]}]}]}).encode()
JSON_LOGS = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"eventName": "x"}]}]}]}).encode()


def prefixed(*messages: bytes) -> bytes:
    """Four bytes, big endian, before each message."""
    return b"".join(len(message).to_bytes(4, "big") + message for message in messages)


def same(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize("compress", [same, gzip.compress, zstandard.compress])
@pytest.mark.parametrize(
    ("content", "imported"),
    [
        (JSON_TRACES + b"\n" + JSON_LOGS + b"\n\n" + JSON_TRACES, Imported(3, 3, 0, 0)),
        (prefixed(TRACES, logs_request(), TRACES), Imported(3, 5, 0, 0)),
        (b"", Imported(0, 0, 0, 0)),
    ],
)
def test_both_encodings_in_each_compression(
    tmp_path: Path, compress: Callable[[bytes], bytes], content: bytes, imported: Imported
) -> None:
    path = tmp_path / "traces"
    path.write_bytes(compress(content))
    sink = ListSink()
    assert import_file(make_intake(sink), path, "k") == imported
    assert [record.signal for record in sink.records] == [Signal.TRACES, Signal.LOGS, Signal.TRACES][: imported.n_messages]
    assert {record.key_id for record in sink.records} <= {"k"}


def test_what_is_wrong_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    bad_id = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{**JSON_SPAN, "traceId": ""}]}]}]}).encode()
    path = tmp_path / "traces.jsonl"
    path.write_bytes(b"\n".join([b"{not json", bad_id, JSON_TRACES]))
    imported = import_file(make_intake(ListSink()), path)
    assert imported.first_undecodable.startswith("message 1: ")
    assert replace(imported, first_undecodable="") == Imported(n_messages=3, n_items=2, n_rejected=1, n_undecodable=1)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (prefixed(TRACES) + (100).to_bytes(4, "big") + b"short", "cut short"),
        (prefixed(TRACES) + b"\x00", "cut short"),
        (json.dumps(json.loads(JSON_TRACES), indent=2).encode(), "over many lines.*jq -c"),
        (b"[" + JSON_TRACES + b"]", "a JSON array"),
        (b"# notes on what to import", "begins with the text '# no'"),
        (b"PK\x03\x04 a zip file of some kind", "over the limit"),
        (gzip.compress(JSON_TRACES * 1000)[:-20], "cannot read"),
    ],
)
def test_a_damaged_file_is_said_plainly(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "traces"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=problem):
        import_file(make_intake(ListSink()), path)


def test_a_full_spool_is_waited_for(tmp_path: Path) -> None:
    class FullTwice(ListSink):
        n_refusals = 0

        def append(self, record: SpoolRecord) -> None:
            if self.n_refusals < 2:
                self.n_refusals += 1
                raise SpoolFullError(1, 1, 1.5)
            super().append(record)

    path = tmp_path / "traces.json"
    path.write_bytes(JSON_TRACES)
    waits: list[float] = []
    intake = make_intake(FullTwice())
    done = import_through(
        lambda signal, message, is_json: intake.accept(signal, message, "", is_json=is_json), path, 1 << 20, wait=waits.append
    )
    assert done.n_items == 1
    assert waits == [1.5, 1.5]


def test_progress_ends_at_the_files_size(tmp_path: Path) -> None:
    path = tmp_path / "traces.json"
    path.write_bytes(JSON_TRACES + b"\n" + JSON_TRACES)
    seen: list[tuple[int, int]] = []
    import_file(make_intake(ListSink()), path, progress=lambda done, size: seen.append((done, size)))
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    assert len(seen) == 2


def test_logs_and_spans_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    """Their outer fields have the same numbers, so either would parse as the other."""
    path = tmp_path / "mixed"
    path.write_bytes(prefixed(logs_request(), TRACES))
    sink = ListSink()
    import_file(make_intake(sink), path)
    assert [record.signal for record in sink.records] == [Signal.LOGS, Signal.TRACES]
    assert not any(record.counts.rejected for record in sink.records)
