"""
OTLP over HTTP: `POST /v1/traces`, `/v1/logs` and `/v1/metrics`, protobuf or JSON, in an event loop on a thread of its own.

The loop only moves bytes; decompressing, checking and waiting for the disk happen in worker threads.

Source: OTLP specification 1.11.0, "OTLP/HTTP".
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
import ssl
import threading
from collections.abc import Mapping
from concurrent import futures
from dataclasses import dataclass, field
from http import HTTPStatus

import grpc
import structlog
import uvicorn
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from collector.config import ReceiverConfig
from collector.intake import Intake, NotOtlpError, Receipt, TooLargeError, Visit
from collector.receivers.encoding import ACCEPTED, UnknownEncodingError, decoded
from collector.receivers.grpc_server import AddressInUseError, response
from collector.receivers.refusals import Refusal, bearer, is_foreseen, refusal
from collector.records import Signal

log = structlog.get_logger(__name__)

PROTOBUF, JSON = "application/x-protobuf", "application/json"
_SIGNALS = {"/v1/traces": Signal.TRACES, "/v1/logs": Signal.LOGS, "/v1/metrics": Signal.METRICS}
_COUNTS = {Signal.TRACES: "rejectedSpans", Signal.LOGS: "rejectedLogRecords", Signal.METRICS: "rejectedDataPoints"}
_BODY_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """One HTTP response."""

    status: int
    body: bytes = b""
    content_type: str = PROTOBUF
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpError(NotOtlpError):
    """A request that is wrong as HTTP."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.reason = f"HTTP {status} {HTTPStatus(status).phrase}"
        self.headers = headers or {}
        super().__init__(message)

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC code that says the same."""
        known = {404: grpc.StatusCode.NOT_FOUND, 405: grpc.StatusCode.UNIMPLEMENTED, 408: grpc.StatusCode.DEADLINE_EXCEEDED}
        return known.get(self.status, grpc.StatusCode.INVALID_ARGUMENT)


class OtlpHttpApp:
    """The ASGI application."""

    def __init__(self, intake: Intake, workers: futures.Executor) -> None:
        self._intake = intake
        self._workers = workers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        answer_type = JSON if media_type == JSON else PROTOBUF
        try:
            answer = await self._answer(scope, headers, media_type, receive)
        except HttpError as error:
            answer = _refusal_answer(Refusal(error.code, error.status, str(error)), answer_type, error.headers)
        except Exception as error:
            if not is_foreseen(error):
                log.exception("request_failed", path=scope["path"])
            answer = _refusal_answer(refusal(error), answer_type)
        await _send(send, answer)

    async def _answer(self, scope: Scope, headers: Mapping[str, str], media_type: str, receive: Receive) -> Answer:
        signal = _SIGNALS.get(scope["path"])
        if signal is None:
            raise HttpError(404, "nothing here; OTLP is taken at /v1/traces, /v1/logs and /v1/metrics")
        if scope["method"] != "POST":
            raise HttpError(405, f"{scope['method']} is not allowed", {"allow": "POST"})
        secret = bearer(headers.get("authorization", ""))
        peer = scope["client"][0] if scope.get("client") else "unix:"
        loop = asyncio.get_running_loop()
        with self._intake.visit(signal) as visit:
            await loop.run_in_executor(self._workers, visit.authorize, secret, peer)
            if media_type not in (PROTOBUF, JSON):
                raise HttpError(415, f"content type {media_type!r} is not supported; use {PROTOBUF} or {JSON}")
            body = await self._body(headers, receive, visit)
            encoding = headers.get("content-encoding", "")
            return await loop.run_in_executor(self._workers, self._take, visit, signal, body, encoding, media_type == JSON)

    async def _body(self, headers: Mapping[str, str], receive: Receive, visit: Visit) -> bytes:
        limit = self._intake.max_request_bytes
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > limit:
            raise TooLargeError(limit)
        chunks = []
        size = 0
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise HttpError(400, "the sender went away")
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    if size > limit:
                        raise TooLargeError(limit)
                    visit.grow(len(chunk))
                    chunks.append(chunk)
                    if not message.get("more_body"):
                        return b"".join(chunks)
        except TimeoutError:
            raise HttpError(408, f"the body did not arrive within {_BODY_SECONDS:.0f} s") from None

    def _take(self, visit: Visit, signal: Signal, body: bytes, encoding: str, is_json: bool) -> Answer:
        try:
            request = decoded(body, encoding, self._intake.max_request_bytes, visit.grow)
        except UnknownEncodingError as error:
            raise HttpError(415, str(error), {"accept-encoding": ACCEPTED}) from error
        receipt = visit.accept(request, is_json=is_json)
        if is_json:
            return Answer(200, _json_response(signal, receipt), JSON)
        return Answer(200, response(signal, receipt))


class HttpServer:
    """The HTTP door. `start` binds; `stop` refuses new connections, waits for open requests, then closes."""

    def __init__(self, intake: Intake, config: ReceiverConfig, host: str, port: int) -> None:
        self._config = config
        self._host, self._port = host, port
        self._workers = futures.ThreadPoolExecutor(config.workers, thread_name_prefix="otlp-http")
        app: ASGIApp = OtlpHttpApp(intake, self._workers)
        if config.cors_origins:
            app = CORSMiddleware(
                app, allow_origins=config.cors_origins, allow_methods=["POST"], allow_headers=["*"], max_age=7200
            )
        self._server = uvicorn.Server(_uvicorn_config(app, config))
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        """Bind and serve. Returns the base URL. Raises `AddressInUseError`."""
        host, port = self._host, self._port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family, backlog=2048)
        except OSError as error:
            raise AddressInUseError(f"{host}:{port}", error) from error
        self._thread = threading.Thread(target=self._run, args=(listener,), name="otlp-http")
        self._thread.start()
        scheme = "https" if self._config.tls.certificate_file else "http"
        shown = f"[{host}]" if ":" in host else host
        return f"{scheme}://{shown}:{listener.getsockname()[1]}"

    def stop(self) -> None:
        if self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
        self._workers.shutdown()

    def _run(self, listener: socket.socket) -> None:
        with listener:
            self._server.run(sockets=[listener])


def _uvicorn_config(app: ASGIApp, config: ReceiverConfig) -> uvicorn.Config:
    tls = config.tls
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=math.ceil(config.drain_seconds),
        ssl_certfile=tls.certificate_file,
        ssl_keyfile=tls.key_file,
        ssl_ca_certs=str(tls.client_ca_file) if tls.client_ca_file else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if tls.client_ca_file else ssl.CERT_NONE,
    )


def _json_response(signal: Signal, receipt: Receipt) -> bytes:
    if not receipt.n_rejected:
        return b"{}"
    return json.dumps({"partialSuccess": {_COUNTS[signal]: str(receipt.n_rejected), "errorMessage": receipt.message}}).encode()


def _refusal_answer(refused: Refusal, content_type: str, headers: Mapping[str, str] | None = None) -> Answer:
    """A `google.rpc.Status` in the request's own format."""
    all_headers = dict(headers or {})
    if refused.retry_delay is not None:
        all_headers["retry-after"] = str(math.ceil(refused.retry_delay))
    if refused.http_status == 401:
        all_headers["www-authenticate"] = "Bearer"
    if content_type == JSON:
        body = json.dumps({"code": refused.code.value[0], "message": refused.message}).encode()
    else:
        body = refused.status().SerializeToString()
    return Answer(refused.http_status, body, content_type, all_headers)


async def _send(send: Send, answer: Answer) -> None:
    headers = [(b"content-type", answer.content_type.encode()), (b"content-length", str(len(answer.body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
