"""Exporters that never give up: each sends a request until it is acknowledged, and remembers it."""

from __future__ import annotations

import threading
import time
from collections import Counter

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.receivers.grpc_server import SERVICES
from collector.records import Signal
from tests.bench.payload import make_request

EXPORT = f"/{SERVICES[Signal.TRACES]}/Export"
RETRYABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class Load:
    """
    Threads that export spans as a context manager; the address may change while they run.

    Args:
        n_spans: spans a request; every request has spans of its own, made from its seed.
    """

    def __init__(self, address: str, n_spans: int = 16, n_threads: int = 4, text_bytes: int = 0) -> None:
        self.address = address
        self._n_spans = n_spans
        self._text_bytes = text_bytes
        self._start_ns = time.time_ns()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.acknowledged: set[int] = set()
        self.refusals: Counter[grpc.StatusCode] = Counter()
        self._threads = [threading.Thread(target=self._send, args=(n, n_threads)) for n in range(n_threads)]

    def request(self, seed: int) -> bytes:
        return make_request(self._n_spans, seed, self._start_ns, self._text_bytes)

    def spans(self) -> dict[str, set[str]]:
        """The ids of every span that was acknowledged, by trace."""
        found: dict[str, set[str]] = {}
        for seed in self.acknowledged:
            request = ExportTraceServiceRequest.FromString(self.request(seed))
            for span in request.resource_spans[0].scope_spans[0].spans:
                found.setdefault(span.trace_id.hex(), set()).add(span.span_id.hex())
        return found

    def _send(self, first: int, step: int) -> None:
        seed = first
        while not self._stopping.is_set():
            with grpc.insecure_channel(self.address) as channel:
                export = channel.unary_unary(EXPORT)
                try:
                    while not self._stopping.is_set():
                        export(self.request(seed), timeout=30)
                        with self._lock:
                            self.acknowledged.add(seed)
                        seed += step
                except grpc.RpcError as error:
                    with self._lock:
                        self.refusals[error.code()] += 1
                    self._stopping.wait(0.05)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
