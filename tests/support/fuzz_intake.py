"""
Coverage-guided fuzzing of everything that reads strangers' bytes: `python -m tests.support.fuzz_intake -max_total_time=60`.

The first byte chooses the reader. Refusing is fine; any error but the named ones, or bytes that are accepted and cannot be
spooled and read again, ends the run with the input.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["collector"]):
    from collector import checks, otlp_json, segments, wire
    from collector.intake import TooLargeError
    from collector.receivers import encoding

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.records import Counts, Signal, SpoolRecord

LIMIT = 1 << 20
REFUSALS = (checks.UndecodableError, otlp_json.MalformedJsonError, wire.WireError, encoding.UnknownEncodingError, TooLargeError)


def keep(payload: bytes) -> None:
    """What is accepted must survive the spool."""
    checked = checks.check_traces(payload)
    record = SpoolRecord(Signal.TRACES, "", 1, checked.payload, Counts(checked.n_items, checked.rejected))
    (header,) = segments.scan(b"".join(segments.encode(record)))
    assert header.counts.received == checked.n_items
    again = checks.check_traces(wire.to_request([b"".join(row) for row in wire.to_rows(checked.payload, 1)]))
    assert again.n_items == checked.n_items - sum(checked.rejected.values())
    ExportTraceServiceRequest.FromString(checked.payload)


READERS = (
    keep,
    lambda data: keep(otlp_json.traces(data).payload),
    lambda data: checks.check_logs(otlp_json.logs(data).payload),
    checks.check_logs,
    lambda data: encoding.decoded(data, "gzip", LIMIT, lambda n: None),
    lambda data: encoding.decoded(data, "deflate", LIMIT, lambda n: None),
    lambda data: encoding.decoded(data, "zstd", LIMIT, lambda n: None),
    lambda data: list(segments.scan(data)),
)


def one_input(data: bytes) -> None:
    if not data:
        return
    try:
        READERS[data[0] % len(READERS)](data[1:])
    except REFUSALS:
        return


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
