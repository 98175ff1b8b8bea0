"""Doors for tests: an intake over a list or a real spool, and the frames SDKs never send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.config import MaskingConfig, ReceiverConfig
from collector.intake import Authenticator, Intake, RecordSink
from collector.masking import Masker
from collector.receivers.grpc_server import GrpcServer
from collector.receivers.http_server import HttpServer
from collector.records import Signal, SpoolRecord, Tally
from storage.api_keys import ANONYMOUS, ApiKey
from storage.clock import WallClock

TRACE_ID, SPAN_ID = bytes(range(1, 17)), bytes(range(1, 9))


@dataclass
class ListSink:
    """Keeps records in memory; raises `error` instead when it is set."""

    records: list[SpoolRecord] = field(default_factory=list)
    tally: Tally = field(default_factory=Counter)
    error: Exception | None = None

    def append(self, record: SpoolRecord) -> None:
        if self.error is not None:
            raise self.error
        self.records.append(record)

    def note(self, tally: Tally) -> None:
        self.tally.update(tally)

    def noted(self) -> dict[tuple[str, str], int]:
        """(entry, reason) -> requests."""
        return {(str(key.entry), key.reason): n for key, n in self.tally.items()}

    def spans(self) -> list[Span]:
        requests = [ExportTraceServiceRequest.FromString(r.payload) for r in self.records if r.signal is Signal.TRACES]
        return [span for r in requests for rs in r.resource_spans for ss in rs.scope_spans for span in ss.spans]

    def log_requests(self) -> list[ExportLogsServiceRequest]:
        return [ExportLogsServiceRequest.FromString(r.payload) for r in self.records if r.signal is Signal.LOGS]


class OpenDoor:
    """Lets everybody in."""

    def authenticate(self, secret: str | None, peer: str) -> ApiKey:
        return ANONYMOUS


def make_intake(
    sink: RecordSink,
    *,
    config: ReceiverConfig | None = None,
    masking: MaskingConfig | None = None,
    authenticator: Authenticator | None = None,
) -> Intake:
    masker = Masker.from_config(masking) if masking else None
    return Intake(sink, masker, authenticator or OpenDoor(), WallClock(), config or ReceiverConfig())


@contextmanager
def grpc_door(intake: Intake, **settings: object) -> Iterator[str]:
    """A gRPC server on a free port; gives its address."""
    server = GrpcServer(intake, ReceiverConfig.model_validate({"drain_seconds": 1.0, **settings}), "127.0.0.1", 0)
    address = server.start()
    try:
        yield address
    finally:
        server.stop()


@contextmanager
def http_door(intake: Intake, **settings: object) -> Iterator[str]:
    """An HTTP server on a free port; gives its base URL."""
    server = HttpServer(intake, ReceiverConfig.model_validate({"drain_seconds": 1.0, **settings}), "127.0.0.1", 0)
    url = server.start()
    try:
        yield url
    finally:
        server.stop()


def trace_request(*spans: Span) -> ExportTraceServiceRequest:
    """One resource, one scope."""
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(spans)
    return request


def metrics_request() -> ExportMetricsServiceRequest:
    """Two points of a gauge, one of a histogram, and a metric of no kind."""
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    metrics.add(name="g").gauge.data_points.extend([NumberDataPoint(as_int=1), NumberDataPoint(as_int=2)])
    metrics.add(name="h").histogram.data_points.add(count=1)
    metrics.add(name="nothing")
    return request


def make_span(trace_id: bytes = TRACE_ID, span_id: bytes = SPAN_ID, **fields: object) -> Span:
    defaults: dict[str, Any] = {
        "name": "chat",
        "start_time_unix_nano": 1_700_000_000_000_000_000,
        "end_time_unix_nano": 1_700_000_001_000_000_000,
    }
    return Span(trace_id=trace_id, span_id=span_id, **{**defaults, **fields})
