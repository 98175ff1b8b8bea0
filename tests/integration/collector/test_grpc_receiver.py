"""OTLP/gRPC, line by line of the specification, over a real socket; peers are the Python SDK exporters and bare channels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

from collector.config import ReceiverConfig
from collector.receivers.grpc_server import SERVICES, AddressInUseError, GrpcServer
from collector.records import Signal, SpoolRecord
from collector.spool import SpoolFullError
from storage.api_keys import ApiKey, AuthenticationError, Scope, TooManyFailuresError
from tests.support.receivers import ListSink, grpc_door, make_intake, make_span, metrics_request, trace_request

pytestmark = pytest.mark.integration

TRACES = f"/{SERVICES[Signal.TRACES]}/Export"
LOGS = f"/{SERVICES[Signal.LOGS]}/Export"


@pytest.fixture
def sink() -> ListSink:
    return ListSink()


@pytest.fixture
def connect() -> Iterator[Callable[[str], grpc.Channel]]:
    with ExitStack() as stack:
        yield lambda address: stack.enter_context(grpc.insecure_channel(address))


def call(channel: grpc.Channel, method: str, request: bytes, **options: Any) -> bytes:
    """One raw call: bytes in, bytes out."""
    return channel.unary_unary(method)(request, timeout=10, **options)


def refused(channel: grpc.Channel, method: str, request: bytes, **options: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, method, request, **options)
    return caught.value


def trailers(error: Any) -> dict[str, bytes]:
    return dict(error.trailing_metadata() or ())


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.NoCompression])
def test_the_sdk_span_exporter_delivers(sink: ListSink, compression: grpc.Compression) -> None:
    with grpc_door(make_intake(sink)) as address:
        exporter = OTLPSpanExporter(endpoint=address, insecure=True, compression=compression, timeout=5)
        provider = TracerProvider(resource=Resource({"service.name": "svc"}))
        tracer = provider.get_tracer("test")
        spans = [tracer.start_span(f"s{n}", attributes={"n": n, "texts": ["a", "b"]}) for n in range(20)]
        for span in spans:
            span.end()
        assert exporter.export(spans) is SpanExportResult.SUCCESS
        exporter.shutdown()
    assert [span.name for span in sink.spans()] == [f"s{n}" for n in range(20)]
    assert sink.records[0].counts.received == 20
    assert not sink.records[0].counts.rejected


def test_the_sdk_log_exporter_delivers(sink: ListSink) -> None:
    with grpc_door(make_intake(sink)) as address:
        exporter = OTLPLogExporter(endpoint=address, insecure=True, timeout=5)
        provider = LoggerProvider(resource=Resource({"service.name": "svc"}))
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        provider.get_logger("test").emit(event_name="gen_ai.evaluation.result", attributes={"gen_ai.evaluation.name": "faith"})
        provider.shutdown()
    (request,) = sink.log_requests()
    (record,) = request.resource_logs[0].scope_logs[0].log_records
    assert record.event_name == "gen_ai.evaluation.result"


def test_full_success_leaves_partial_success_unset(sink: ListSink, connect: Callable[[str], grpc.Channel]) -> None:
    with grpc_door(make_intake(sink)) as address:
        answer = call(connect(address), TRACES, trace_request(make_span()).SerializeToString())
    assert not ExportTraceServiceResponse.FromString(answer).HasField("partial_success")


@pytest.mark.parametrize("method", [TRACES, LOGS])
def test_an_empty_request_succeeds_and_leaves_nothing(
    sink: ListSink, connect: Callable[[str], grpc.Channel], method: str
) -> None:
    with grpc_door(make_intake(sink)) as address:
        assert call(connect(address), method, b"") == b""
    assert sink.records == []


def test_a_bad_span_is_rejected_alone_and_counted(sink: ListSink, connect: Callable[[str], grpc.Channel]) -> None:
    good = make_span()
    bad = [
        make_span(trace_id=b""),
        make_span(trace_id=bytes(16)),
        make_span(span_id=b"\x01" * 7),
        make_span(parent_span_id=b"\x01"),
    ]
    with grpc_door(make_intake(sink)) as address:
        answer = call(connect(address), TRACES, trace_request(bad[0], good, *bad[1:]).SerializeToString())
    partial = ExportTraceServiceResponse.FromString(answer).partial_success
    assert partial.rejected_spans == 4
    assert "trace_id" in partial.error_message
    assert sink.spans() == [good]
    assert (sink.records[0].counts.received, sink.records[0].counts.accepted) == (5, 1)


@pytest.mark.parametrize("request_bytes", [b"\xff\xff\xff", b"\x0a\x05abc", b"not protobuf"])
def test_undecodable_is_invalid_argument_without_retry(
    sink: ListSink, connect: Callable[[str], grpc.Channel], request_bytes: bytes
) -> None:
    with grpc_door(make_intake(sink)) as address:
        error = refused(connect(address), TRACES, request_bytes)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "google.rpc.retryinfo-bin" not in trailers(error)
    assert sink.noted() == {("undecodable", "protobuf"): 1}


def test_invalid_utf8_refuses_the_message(sink: ListSink, connect: Callable[[str], grpc.Channel]) -> None:
    request = trace_request(make_span()).SerializeToString().replace(b"chat", b"\xff\xfe\xfd\xfc")
    with grpc_door(make_intake(sink)) as address:
        assert refused(connect(address), TRACES, request).code() is grpc.StatusCode.INVALID_ARGUMENT


def test_metrics_are_turned_away_in_a_partial_success(sink: ListSink, connect: Callable[[str], grpc.Channel]) -> None:
    method = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
    with grpc_door(make_intake(sink)) as address:
        answer = call(connect(address), method, metrics_request().SerializeToString())
        assert refused(connect(address), method, b"not protobuf").code() is grpc.StatusCode.INVALID_ARGUMENT
    partial = ExportMetricsServiceResponse.FromString(answer).partial_success
    assert (partial.rejected_data_points, "not kept" in partial.error_message) == (3, True)
    assert sink.records == []


def test_other_signals_are_unimplemented(sink: ListSink, connect: Callable[[str], grpc.Channel]) -> None:
    method = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"
    with grpc_door(make_intake(sink)) as address:
        assert refused(connect(address), method, b"").code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate, grpc.Compression.NoCompression])
def test_over_the_limit_is_resource_exhausted_without_retry(
    sink: ListSink, connect: Callable[[str], grpc.Channel], compression: grpc.Compression
) -> None:
    """A megabyte of one letter is a kilobyte of gzip: the limit holds after decompression too."""
    request = trace_request(make_span(name="x" * 1_000_000)).SerializeToString()
    with grpc_door(make_intake(sink), max_request_bytes=100_000) as address:
        error = refused(connect(address), TRACES, request, compression=compression)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not {"google.rpc.retryinfo-bin", "grpc-status-details-bin"} & set(trailers(error))
    assert sink.records == []


def test_a_little_over_the_limit_is_counted(sink: ListSink, connect: Callable[[str], grpc.Channel]) -> None:
    request = trace_request(make_span(name="x" * 150_000)).SerializeToString()
    intake = make_intake(sink, config=ReceiverConfig(max_request_bytes=100_000))
    with grpc_door(intake, max_request_bytes=100_000) as address:
        error = refused(connect(address), TRACES, request)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not {"google.rpc.retryinfo-bin", "grpc-status-details-bin"} & set(trailers(error))
    assert sink.noted() == {("refused", "larger than max_request_bytes"): 1}


def test_more_than_the_library_default_of_four_mebibytes_is_taken(sink: ListSink, connect: Callable[[str], grpc.Channel]) -> None:
    request = trace_request(make_span(name="x" * 6_000_000)).SerializeToString()
    with grpc_door(make_intake(sink)) as address:
        assert call(connect(address), TRACES, request) == b""


def test_a_full_spool_pushes_back_in_both_trailers(sink: ListSink, connect: Callable[[str], grpc.Channel]) -> None:
    sink.error = SpoolFullError(10, 10, 1.5)
    with grpc_door(make_intake(sink)) as address:
        error = refused(connect(address), TRACES, trace_request(make_span()).SerializeToString())
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    info = RetryInfo.FromString(trailers(error)["google.rpc.retryinfo-bin"])
    assert (info.retry_delay.seconds, info.retry_delay.nanos) == (1, 500_000_000)
    status = Status.FromString(trailers(error)["grpc-status-details-bin"])
    assert status.code == grpc.StatusCode.UNAVAILABLE.value[0]
    packed = RetryInfo()
    assert status.details[0].Unpack(packed)
    assert packed == info
    assert sink.noted() == {("pushed_back", "spool full"): 1}


def test_the_sdk_exporter_comes_back_after_a_push_back(sink: ListSink) -> None:
    class OnceFull(ListSink):
        def append(self, record: SpoolRecord) -> None:
            if not self.tally:
                raise SpoolFullError(10, 10, 0.01)
            super().append(record)

    once = OnceFull()
    with grpc_door(make_intake(once)) as address:
        exporter = OTLPSpanExporter(endpoint=address, insecure=True, timeout=10)
        span = TracerProvider().get_tracer("t").start_span("s")
        span.end()
        assert exporter.export([span]) is SpanExportResult.SUCCESS
        exporter.shutdown()
    assert len(once.spans()) == 1


def test_an_unforeseen_failure_is_retryable_and_tells_nothing(sink: ListSink, connect: Callable[[str], grpc.Channel]) -> None:
    sink.error = RuntimeError("secret path /srv/x")
    with grpc_door(make_intake(sink)) as address:
        error = refused(connect(address), TRACES, trace_request(make_span()).SerializeToString())
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "secret" not in error.details()
    assert "google.rpc.retryinfo-bin" in trailers(error)
    assert sink.noted() == {("pushed_back", "internal error"): 1}


class Keys:
    """One key of each kind."""

    def authenticate(self, secret: str | None, peer: str) -> ApiKey:
        assert peer.startswith("ipv4:127.0.0.1")
        if secret == "many":
            raise TooManyFailuresError(30.0)
        if secret not in ("in", "out"):
            raise AuthenticationError("an API key is needed")
        return ApiKey(secret, secret, frozenset({Scope.INGEST if secret == "in" else Scope.READ}))


def test_keys_open_the_door_by_scope(sink: ListSink, connect: Callable[[str], grpc.Channel]) -> None:
    request = trace_request(make_span()).SerializeToString()
    with grpc_door(make_intake(sink, authenticator=Keys())) as address:
        channel = connect(address)
        assert refused(channel, TRACES, request).code() is grpc.StatusCode.UNAUTHENTICATED
        wrong = refused(channel, TRACES, request, metadata=[("authorization", "Bearer out")])
        assert wrong.code() is grpc.StatusCode.PERMISSION_DENIED
        assert call(channel, TRACES, request, metadata=[("authorization", "bearer in")]) == b""
        many = refused(channel, TRACES, request, metadata=[("authorization", "Bearer many")])
    assert many.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert RetryInfo.FromString(trailers(many)["google.rpc.retryinfo-bin"]).retry_delay.seconds == 30
    assert [record.key_id for record in sink.records] == ["in"]
    assert sink.noted() == {
        ("refused", "no valid key"): 1,
        ("refused", "key without scope ingest"): 1,
        ("refused", "too many wrong keys"): 1,
    }


@pytest.mark.parametrize("service", ["", *SERVICES.values()])
def test_health_says_serving(sink: ListSink, connect: Callable[[str], grpc.Channel], service: str) -> None:
    with grpc_door(make_intake(sink)) as address:
        answer = health_pb2_grpc.HealthStub(connect(address)).Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_stop_finishes_open_requests_and_refuses_new_ones(connect: Callable[[str], grpc.Channel]) -> None:
    entered, release = threading.Event(), threading.Event()

    class Slow(ListSink):
        def append(self, record: SpoolRecord) -> None:
            entered.set()
            assert release.wait(10)
            super().append(record)

    slow = Slow()
    request = trace_request(make_span()).SerializeToString()
    with ThreadPoolExecutor(2) as pool, grpc_door(make_intake(slow), drain_seconds=10.0) as address:
        open_call = pool.submit(call, connect(address), TRACES, request)
        assert entered.wait(10)
        release_later = threading.Timer(0.2, release.set)
        release_later.start()
    assert open_call.result(10) == b""
    assert len(slow.records) == 1
    release_later.join()
    assert refused(connect(address), TRACES, request).code() is grpc.StatusCode.UNAVAILABLE


def test_a_port_in_use_is_said_plainly(sink: ListSink) -> None:
    with grpc_door(make_intake(sink)) as address:
        port = int(address.rpartition(":")[2])
        second = GrpcServer(make_intake(sink), ReceiverConfig(drain_seconds=0), "127.0.0.1", port)
        with pytest.raises(AddressInUseError, match=address):
            second.start()
        second.stop()


def test_requests_over_the_memory_bound_are_pushed_back(connect: Callable[[str], grpc.Channel]) -> None:
    """Two requests of 60 kB do not fit into 100 kB together, one of any size does."""
    entered, release = threading.Event(), threading.Event()

    class Slow(ListSink):
        def append(self, record: SpoolRecord) -> None:
            entered.set()
            assert release.wait(10)
            super().append(record)

    slow = Slow()
    request = trace_request(make_span(name="x" * 60_000)).SerializeToString()
    intake = make_intake(slow, config=ReceiverConfig(max_inflight_bytes=100_000))
    with ThreadPoolExecutor(1) as pool, grpc_door(intake) as address:
        first = pool.submit(call, connect(address), TRACES, request)
        assert entered.wait(10)
        error = refused(connect(address), TRACES, request)
        release.set()
        assert first.result(10) == b""
        assert call(connect(address), TRACES, request) == b""
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "google.rpc.retryinfo-bin" in trailers(error)
    assert slow.noted() == {("pushed_back", "memory"): 1}


def test_log_records_need_no_ids(sink: ListSink, connect: Callable[[str], grpc.Channel]) -> None:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add(event_name="gen_ai.evaluation.result")
    with grpc_door(make_intake(sink)) as address:
        assert call(connect(address), LOGS, request.SerializeToString()) == b""
    assert sink.records[0].counts.received == 1
