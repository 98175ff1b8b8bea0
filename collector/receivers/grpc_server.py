"""
OTLP over gRPC: TraceService, LogsService, MetricsService (which keeps nothing) and grpc.health.v1.

Handlers take raw bytes, and the server is the synchronous one: it beats the asyncio server at small requests, and an
append that waits for the disk blocks one worker thread instead of everybody.

Source: OTLP specification 1.11.0, "OTLP/gRPC".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collector.config import ReceiverConfig, TlsConfig
from collector.intake import Intake, Receipt
from collector.receivers.refusals import Refusal, bearer, is_foreseen, refusal
from collector.records import Signal
from storage.errors import PermanentError

log = structlog.get_logger(__name__)

SERVICES = {
    Signal.TRACES: "opentelemetry.proto.collector.trace.v1.TraceService",
    Signal.LOGS: "opentelemetry.proto.collector.logs.v1.LogsService",
    Signal.METRICS: "opentelemetry.proto.collector.metrics.v1.MetricsService",
}
_RESPONSES: Mapping[Signal, tuple[type[Any], str]] = {
    Signal.TRACES: (ExportTraceServiceResponse, "rejected_spans"),
    Signal.LOGS: (ExportLogsServiceResponse, "rejected_log_records"),
    Signal.METRICS: (ExportMetricsServiceResponse, "rejected_data_points"),
}
_MAX_RESPONSE_BYTES = 4 << 20


class AddressInUseError(PermanentError):
    """The door's address cannot be bound."""

    def __init__(self, address: str, cause: Exception) -> None:
        self.address = address
        super().__init__(f"cannot listen on {address}: {cause}")


class GrpcServer:
    """The gRPC door. `start` binds; `stop` refuses new calls, waits for open ones, then closes."""

    def __init__(self, intake: Intake, config: ReceiverConfig, host: str, port: int) -> None:
        self._intake = intake
        self._config = config
        self._host, self._port = host, port
        self._workers = futures.ThreadPoolExecutor(config.workers, thread_name_prefix="otlp-grpc")
        self._health_worker = futures.ThreadPoolExecutor(1, thread_name_prefix="grpc-health")
        self._server = grpc.server(self._workers, options=_options(config))
        for signal, service in SERVICES.items():
            method = grpc.unary_unary_rpc_method_handler(self._handler(signal))
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": method}),))
        self._health = health.HealthServicer(experimental_non_blocking=True, experimental_thread_pool=self._health_worker)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def start(self) -> str:
        """
        Bind and serve.

        Returns:
            The address, `host:port`, with the port the system chose when 0 was asked for.

        Raises:
            AddressInUseError: the address cannot be bound.
        """
        host = f"[{self._host}]" if ":" in self._host else self._host
        address = f"{host}:{self._port}"
        try:
            port = self._bind(address)
        except RuntimeError as error:
            raise AddressInUseError(address, error) from error
        self._server.start()
        for service in ("", *SERVICES.values()):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return f"{host}:{port}"

    def stop(self) -> None:
        self._health.enter_graceful_shutdown()
        self._server.stop(self._config.drain_seconds).wait()
        self._workers.shutdown()
        self._health_worker.shutdown()

    def _bind(self, address: str) -> int:
        credentials = _credentials(self._config.tls)
        if credentials is None:
            return int(self._server.add_insecure_port(address))
        return int(self._server.add_secure_port(address, credentials))

    def _handler(self, signal: Signal) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def export(request: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                with self._intake.visit(signal) as visit:
                    visit.authorize(_secret(context), context.peer())
                    visit.grow(len(request))
                    return response(signal, visit.accept(request))
            except Exception as error:
                if not is_foreseen(error):
                    log.exception("request_failed", signal=signal)
                return _refuse(context, refusal(error))

        return export


def response(signal: Signal, receipt: Receipt) -> bytes:
    """The serialised export response; empty, with `partial_success` unset, when nothing was rejected."""
    if not receipt.n_rejected:
        return b""
    kind, count = _RESPONSES[signal]
    partial = {count: receipt.n_rejected, "error_message": receipt.message}
    return bytes(kind(partial_success=partial).SerializeToString())


def _refuse(context: grpc.ServicerContext, answer: Refusal) -> bytes:
    """Set code and trailers. `RetryInfo` goes out twice: in the standard trailer, and in the one the Python exporter reads."""
    context.set_code(answer.code)
    context.set_details(answer.message)
    if answer.retry_delay is not None:
        context.set_trailing_metadata(
            (
                ("google.rpc.retryinfo-bin", answer.retry_info().SerializeToString()),
                ("grpc-status-details-bin", answer.status().SerializeToString()),
            )
        )
    return b""


def _secret(context: grpc.ServicerContext) -> str | None:
    for key, value in context.invocation_metadata():
        if key == "authorization" and isinstance(value, str):
            return bearer(value)
    return None


def _options(config: ReceiverConfig) -> list[tuple[str, int]]:
    keepalive_ms = int(config.keepalive_seconds * 1000)
    return [
        # what is a little too large comes in, so that we can count it; far beyond, the transport refuses it with the same code
        ("grpc.max_receive_message_length", 2 * config.max_request_bytes),
        ("grpc.max_send_message_length", _MAX_RESPONSE_BYTES),
        ("grpc.max_concurrent_streams", config.max_concurrent_streams),
        ("grpc.keepalive_time_ms", keepalive_ms),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        # two servers on one port would share the traffic in silence
        ("grpc.so_reuseport", 0),
    ]


def _credentials(tls: TlsConfig) -> grpc.ServerCredentials | None:
    if tls.certificate_file is None or tls.key_file is None:
        return None
    authorities = tls.client_ca_file.read_bytes() if tls.client_ca_file else None
    return grpc.ssl_server_credentials(
        [(tls.key_file.read_bytes(), tls.certificate_file.read_bytes())],
        root_certificates=authorities,
        require_client_auth=authorities is not None,
    )
