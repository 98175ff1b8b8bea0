"""Errors as OTLP says them: which gRPC code and HTTP status, retryable or not, and after how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from collector.checks import UndecodableError
from collector.intake import TooLargeError
from collector.otlp_json import MalformedJsonError
from collector.wire import WireError
from storage.api_keys import AuthenticationError, ScopeError, TooManyFailuresError

_DEFAULT_DELAY = 1.0


@dataclass(frozen=True)
class Refusal:
    """
    How a request is turned away.

    Args:
        retry_delay: seconds after which the same request may be sent again; None when it must not be.
    """

    code: grpc.StatusCode
    http_status: int
    message: str
    retry_delay: float | None = None

    def status(self) -> Status:
        """The `google.rpc.Status`, with `RetryInfo` among its details when a retry is welcome."""
        status = Status(code=self.code.value[0], message=self.message)
        if self.retry_delay is not None:
            status.details.add().CopyFrom(_packed(self.retry_info()))
        return status

    def retry_info(self) -> RetryInfo:
        info = RetryInfo()
        info.retry_delay.FromTimedelta(timedelta(seconds=self.retry_delay or 0.0))
        return info


_PERMANENT: tuple[tuple[type[Exception], grpc.StatusCode, int], ...] = (
    (AuthenticationError, grpc.StatusCode.UNAUTHENTICATED, 401),
    (ScopeError, grpc.StatusCode.PERMISSION_DENIED, 403),
    (TooLargeError, grpc.StatusCode.RESOURCE_EXHAUSTED, 413),
    (UndecodableError, grpc.StatusCode.INVALID_ARGUMENT, 400),
    (MalformedJsonError, grpc.StatusCode.INVALID_ARGUMENT, 400),
    (WireError, grpc.StatusCode.INVALID_ARGUMENT, 400),
)


def refusal(error: Exception) -> Refusal:
    """
    The answer to `error`. What nobody foresaw counts as retryable, and its text stays inside.

    RESOURCE_EXHAUSTED carries RetryInfo only where waiting helps: without it an exporter must not send again.
    """
    for kind, code, http_status in _PERMANENT:
        if isinstance(error, kind):
            return Refusal(code, http_status, str(error))
    if isinstance(error, TooManyFailuresError):
        return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, 429, str(error), error.retry_after_seconds)
    delay = getattr(error, "retry_delay", None)
    if delay is None:
        return Refusal(grpc.StatusCode.UNAVAILABLE, 503, "not available now", _DEFAULT_DELAY)
    return Refusal(grpc.StatusCode.UNAVAILABLE, 503, str(error), delay)


def is_foreseen(error: Exception) -> bool:
    """False for what deserves a traceback in the log."""
    return hasattr(error, "retry_delay") or isinstance(error, (TooManyFailuresError, *(kind for kind, _, _ in _PERMANENT)))


def bearer(header: str) -> str | None:
    """The secret in `Authorization: Bearer ...`."""
    scheme, _, secret = header.partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def _packed(info: RetryInfo) -> Any:
    packed = Any()
    packed.Pack(info)
    return packed
