"""OTLP/HTTP, line by line of the specification, over a real socket; peers are the Python SDK exporters and a bare client."""

from __future__ import annotations

import gzip
import json
import logging
import math
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
import zstandard
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

from collector.config import ReceiverConfig
from collector.receivers.grpc_server import AddressInUseError
from collector.receivers.http_server import HttpServer
from collector.spool import SpoolFullError
from tests.integration.collector.test_grpc_receiver import Keys
from tests.support.receivers import SPAN_ID, TRACE_ID, ListSink, http_door, make_intake, make_span, metrics_request, trace_request

pytestmark = pytest.mark.integration

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
REQUEST = trace_request(make_span()).SerializeToString()
JSON_SPAN = {
    "traceId": TRACE_ID.hex().upper(),
    "spanId": SPAN_ID.hex(),
    "name": "chat",
    "startTimeUnixNano": "1700000000000000000",
    "endTimeUnixNano": 1700000001000000000,
}


def json_request(*spans: object) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}).encode()


@pytest.fixture
def sink() -> ListSink:
    return ListSink()


@pytest.fixture
def url(sink: ListSink) -> Iterator[str]:
    with http_door(make_intake(sink, config=ReceiverConfig(max_request_bytes=1_000_000))) as base:
        yield base


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, trust_env=False) as http:
        yield http


@pytest.mark.parametrize("compression", [Compression.Gzip, Compression.Deflate, Compression.NoCompression])
def test_the_sdk_span_exporter_delivers(sink: ListSink, url: str, compression: Compression) -> None:
    exporter = OTLPSpanExporter(endpoint=f"{url}/v1/traces", compression=compression, timeout=5)
    tracer = TracerProvider().get_tracer("test")
    spans = [tracer.start_span(f"s{n}") for n in range(10)]
    for span in spans:
        span.end()
    assert exporter.export(spans) is SpanExportResult.SUCCESS
    exporter.shutdown()
    assert [span.name for span in sink.spans()] == [f"s{n}" for n in range(10)]


def test_the_sdk_log_exporter_delivers(sink: ListSink, url: str) -> None:
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(endpoint=f"{url}/v1/logs", timeout=5)))
    provider.get_logger("test").emit(event_name="gen_ai.evaluation.result", body="x")
    provider.shutdown()
    assert sink.log_requests()[0].resource_logs[0].scope_logs[0].log_records[0].event_name == "gen_ai.evaluation.result"


def test_the_answer_has_the_type_of_the_question(client: httpx.Client) -> None:
    binary = client.post("/v1/traces", content=REQUEST, headers=PROTOBUF)
    assert (binary.status_code, binary.headers["content-type"], binary.content) == (200, "application/x-protobuf", b"")
    text = client.post("/v1/traces", content=json_request(JSON_SPAN), headers=JSON)
    assert (text.status_code, text.headers["content-type"], text.json()) == (200, "application/json", {})


def test_json_and_protobuf_say_the_same(sink: ListSink, client: httpx.Client) -> None:
    """Ids are hexadecimal in either case, 64-bit integers strings or numbers."""
    client.post("/v1/traces", content=REQUEST, headers=PROTOBUF)
    client.post("/v1/traces", content=json_request(JSON_SPAN), headers={"content-type": "application/json; charset=utf-8"})
    first, second = sink.spans()
    assert first == second


def test_a_bad_span_is_rejected_alone_in_both_formats(sink: ListSink, client: httpx.Client) -> None:
    binary = client.post(
        "/v1/traces", content=trace_request(make_span(), make_span(span_id=b"")).SerializeToString(), headers=PROTOBUF
    )
    assert ExportTraceServiceResponse.FromString(binary.content).partial_success.rejected_spans == 1
    bad_id, bad_shape = {**JSON_SPAN, "traceId": "xyz"}, {**JSON_SPAN, "startTimeUnixNano": []}
    text = client.post("/v1/traces", content=json_request(bad_id, JSON_SPAN, bad_shape), headers=JSON)
    assert text.status_code == 200
    assert text.json()["partialSuccess"]["rejectedSpans"] == "2"
    assert [(r.counts.received, r.counts.accepted) for r in sink.records] == [(2, 1), (3, 1)]


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs", "/v1/metrics"])
@pytest.mark.parametrize(("headers", "empty"), [(PROTOBUF, b""), (JSON, b"{}")])
def test_an_empty_request_succeeds(
    sink: ListSink, client: httpx.Client, path: str, headers: dict[str, str], empty: bytes
) -> None:
    answer = client.post(path, content=empty, headers=headers)
    assert (answer.status_code, answer.content) == (200, empty)
    assert sink.records == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (PROTOBUF, b"\x0a\x05abc"),
        (JSON, b"{"),
        (JSON, b"[]"),
        (JSON, b'{"resourceSpans": {}}'),
        (JSON, b"[" * 100_000),
        ({**PROTOBUF, "content-encoding": "gzip"}, b"not gzip"),
        ({**PROTOBUF, "content-encoding": "gzip"}, gzip.compress(REQUEST, mtime=0)[:-9]),
        ({**PROTOBUF, "content-encoding": "zstd"}, b"not zstd"),
    ],
)
def test_undecodable_is_400_with_a_status_in_the_same_type(
    sink: ListSink, client: httpx.Client, headers: dict[str, str], body: bytes
) -> None:
    answer = client.post("/v1/traces", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == headers["content-type"]
    code = answer.json()["code"] if headers == JSON else Status.FromString(answer.content).code
    assert code == 3
    assert "retry-after" not in answer.headers
    assert [(entry, n) for (entry, _), n in sink.noted().items()] == [("undecodable", 1)]


@pytest.mark.parametrize(
    ("path", "request_", "says"),
    [
        ("/v1/traces", {"resource_spans": []}, "'resource_spans' is called resourceSpans in OTLP/JSON"),
        ("/v1/traces", {"resourceSpans": [{"resource": {}, "scope_spans": []}]}, "'scope_spans' is called scopeSpans"),
        ("/v1/traces", {"resourceLogs": []}, "no resourceSpans in the request, but 'resourceLogs'"),
        ("/v1/logs", {"batches": [], "a": 1}, "no resourceLogs in the request, but 'a', 'batches'"),
        ("/v1/logs", {"resourceLogs": [{"scopeLogs": [{"log_records": []}]}]}, "'log_records' is called logRecords"),
        ("/v1/metrics", {"resource_metrics": []}, "'resource_metrics' is called resourceMetrics"),
    ],
)
def test_json_that_means_something_else_is_not_taken_for_nothing(
    sink: ListSink, client: httpx.Client, path: str, request_: object, says: str
) -> None:
    answer = client.post(path, json=request_)
    assert answer.status_code == 400
    assert says in answer.json()["message"]
    assert sink.noted() == {("undecodable", "json"): 1}


def test_unknown_fields_beside_known_ones_are_ignored(sink: ListSink, client: httpx.Client) -> None:
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [JSON_SPAN | {"colour": "red"}], "x": 1}], "y": 2}], "z": 3}
    assert client.post("/v1/traces", json=request).json() == {}
    assert len(sink.spans()) == 1


def test_metrics_are_turned_away_in_a_partial_success(sink: ListSink, client: httpx.Client) -> None:
    """Two points of a gauge and one of a histogram: counted, not kept, and no error that a sender would repeat or log."""
    point = {"timeUnixNano": "1700000000000000000"}
    metrics = [{"name": "g", "gauge": {"dataPoints": [point, point]}}, {"name": "h", "histogram": {"dataPoints": [point]}}]
    text = client.post("/v1/metrics", json={"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]})
    assert (text.status_code, text.json()["partialSuccess"]["rejectedDataPoints"]) == (200, "3")
    assert "not kept" in text.json()["partialSuccess"]["errorMessage"]
    binary = client.post("/v1/metrics", content=metrics_request().SerializeToString(), headers=PROTOBUF)
    assert ExportMetricsServiceResponse.FromString(binary.content).partial_success.rejected_data_points == 3
    noted = {entry: n for (entry, _), n in sink.noted().items() if n}
    assert (noted, sink.records) == ({"requests": 2, "received": 6, "rejected": 6}, [])
    assert client.post("/v1/metrics", content=b"\x0a\x05abc", headers=PROTOBUF).status_code == 400


def test_the_sdk_metric_exporter_has_nothing_to_complain_of(sink: ListSink, url: str, caplog: pytest.LogCaptureFixture) -> None:
    exporter = OTLPMetricExporter(endpoint=f"{url}/v1/metrics", timeout=5)
    provider = MeterProvider(metric_readers=[PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)])
    provider.get_meter("test").create_counter("gen_ai.client.token.usage").add(5)
    assert provider.force_flush()
    provider.shutdown()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    noted = {entry: n for (entry, _), n in sink.noted().items() if n}
    assert noted["received"] == noted["rejected"] >= 1


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(REQUEST, mtime=0)),
        ("GZIP", gzip.compress(REQUEST, mtime=0)),
        ("gzip", gzip.compress(REQUEST[:50], mtime=0) + gzip.compress(REQUEST[50:], mtime=0)),
        ("deflate", zlib.compress(REQUEST)),
        ("deflate", zlib.compress(REQUEST, wbits=-15)),
        ("zstd", zstandard.compress(REQUEST)),
        ("identity", REQUEST),
    ],
)
def test_encodings(sink: ListSink, client: httpx.Client, encoding: str, body: bytes) -> None:
    answer = client.post("/v1/traces", content=body, headers={**PROTOBUF, "content-encoding": encoding})
    assert answer.status_code == 200
    assert sink.spans() == [make_span()]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/v1/traces", {}, 405),
        ("OPTIONS", "/v1/traces", {"origin": "https://app.example", "access-control-request-method": "POST"}, 405),
        ("POST", "/v1/profiles", PROTOBUF, 404),
        ("POST", "/", PROTOBUF, 404),
        ("POST", "/v1/traces", {}, 415),
        ("POST", "/v1/traces", {"content-type": "text/plain"}, 415),
        ("POST", "/v1/traces", {**PROTOBUF, "content-encoding": "br"}, 415),
    ],
)
def test_wrong_uses_of_http(
    sink: ListSink, client: httpx.Client, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = client.request(method, path, headers=headers, content=b"x" if method == "POST" else None)
    assert answer.status_code == status
    if status == 405:
        assert answer.headers["allow"] == "POST"
    assert "access-control-allow-origin" not in answer.headers
    # other paths and methods are nobody's telemetry
    assert sink.noted() == ({("refused", "HTTP 415 Unsupported Media Type"): 1} if status == 415 else {})


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate", "zstd"])
def test_over_the_limit_is_413(sink: ListSink, client: httpx.Client, encoding: str) -> None:
    """As sent and after decompression: two megabytes of one letter, against a limit of one."""
    body = trace_request(make_span(name="x" * 2_000_000)).SerializeToString()
    encoded = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.compress}[encoding](body)
    answer = client.post("/v1/traces", content=encoded, headers={**PROTOBUF, "content-encoding": encoding})
    assert answer.status_code == 413
    assert Status.FromString(answer.content).code == 8
    assert "retry-after" not in answer.headers
    assert sink.records == []
    assert sink.noted() == {("refused", "larger than max_request_bytes"): 1}


def test_a_body_without_a_length_is_bounded_too(client: httpx.Client) -> None:
    assert client.post("/v1/traces", content=(b"x" * 100_000 for _ in range(20)), headers=PROTOBUF).status_code == 413


def test_a_bomb_is_not_expanded() -> None:
    """Half a gibibyte in half a megabyte of gzip: refused before it takes memory. In a process of its own, to see its peak."""
    program = """
import resource, sys, zlib
from collector.intake import TooLargeError
from collector.receivers.encoding import decoded
packer = zlib.compressobj(1, wbits=31)
bomb = b"".join(packer.compress(bytes(1 << 24)) for _ in range(32)) + packer.flush()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decoded(bomb, "gzip", 8 << 20, lambda n: None)
except TooLargeError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) * 1024 < 64 << 20


def test_a_full_spool_is_503_with_retry_after(sink: ListSink, client: httpx.Client) -> None:
    sink.error = SpoolFullError(10, 10, 1.5)
    answer = client.post("/v1/traces", content=REQUEST, headers=PROTOBUF)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert Status.FromString(answer.content).code == 14
    assert sink.noted() == {("pushed_back", "spool full"): 1}


def test_keys_open_the_door_by_scope(sink: ListSink) -> None:
    class AnyPeer(Keys):
        def authenticate(self, secret: str | None, peer: str) -> object:  # type: ignore[override]
            assert peer == "127.0.0.1"
            return super().authenticate(secret, "ipv4:127.0.0.1:1")

    with http_door(make_intake(sink, authenticator=AnyPeer())) as base, httpx.Client(base_url=base, trust_env=False) as http:
        statuses = {
            secret: http.post("/v1/traces", content=REQUEST, headers={**PROTOBUF, "authorization": f"Bearer {secret}"})
            for secret in ("none", "out", "in", "many")
        }
    assert {secret: answer.status_code for secret, answer in statuses.items()} == {
        "none": 401,
        "out": 403,
        "in": 200,
        "many": 429,
    }
    assert statuses["none"].headers["www-authenticate"] == "Bearer"
    assert statuses["many"].headers["retry-after"] == "30"
    assert [record.key_id for record in sink.records] == ["in"]


def test_cors_when_it_is_on(sink: ListSink) -> None:
    with (
        http_door(make_intake(sink), cors_origins=["https://app.example"]) as base,
        httpx.Client(base_url=base, trust_env=False) as http,
    ):
        preflight = {
            "origin": "https://app.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type,authorization",
        }
        assert http.options("/v1/traces", headers=preflight).headers["access-control-allow-origin"] == "https://app.example"
        sent = http.post("/v1/traces", content=REQUEST, headers={**PROTOBUF, "origin": "https://app.example"})
        assert sent.headers["access-control-allow-origin"] == "https://app.example"
        stranger = http.post("/v1/traces", content=REQUEST, headers={**PROTOBUF, "origin": "https://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers


def test_a_sender_that_goes_away_leaves_nothing(sink: ListSink, url: str, client: httpx.Client) -> None:
    host, port = urlsplit(url).hostname, urlsplit(url).port
    with socket.create_connection((host, port)) as half:
        half.sendall(
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 900\r\n\r\nabc"
        )
    assert client.post("/v1/traces", content=REQUEST, headers=PROTOBUF).status_code == 200
    assert len(sink.records) == 1


def test_a_port_in_use_is_said_plainly(url: str, sink: ListSink) -> None:
    second = HttpServer(make_intake(sink), ReceiverConfig(drain_seconds=0), "127.0.0.1", urlsplit(url).port or 0)
    with pytest.raises(AddressInUseError, match="cannot listen on"):
        second.start()
    second.stop()
