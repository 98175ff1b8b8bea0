"""Sends messages through the real doors: OTLP over gRPC, scores over HTTP; waits where the server asks to."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import grpc
import httpx

from spanwise.replay import Door, Message
from storage.errors import SpanwiseError

_METHODS = {
    Door.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Door.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
_ATTEMPTS = 60


class SendError(SpanwiseError):
    """The server refused for good, or pushed back too long."""


class Sender:
    """One channel and one HTTP client; use as a context manager."""

    def __init__(self, otlp_grpc: str, api: httpx.Client) -> None:
        self._channel = grpc.insecure_channel(otlp_grpc, options=[("grpc.max_receive_message_length", 16 << 20)])
        self._calls = {door: self._channel.unary_unary(method) for door, method in _METHODS.items()}
        self._api = api

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._channel.close()

    def send(self, message: Message) -> None:
        """Return once the server has acknowledged the message."""
        for _ in range(_ATTEMPTS):
            try:
                if isinstance(message.body, bytes):
                    self._calls[message.door](message.body, timeout=30)
                else:
                    self._api.post("/api/v1/scores", json={"scores": message.body}).raise_for_status()
                return
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise SendError(f"{message.door} refused: {error.details()}") from error
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in (429, 503):
                    raise SendError(f"{message.door} refused: {error.response.text}") from error
            time.sleep(1)
        raise SendError(f"{message.door} pushed back {_ATTEMPTS} times")
