"""
Acknowledgement throughput of the doors, beside a bare grpcio server that answers at once, in one run.

    python -m tests.bench.bench_receivers [SECONDS_EACH]

The client is a process of its own with eight requests in flight; the spool is a real one in a temporary directory (set
TMPDIR to choose the disk), its segments thrown away as a writer would take them. Rows: door, spans a request, requests a
second, spans a second, server CPU microseconds a request, acknowledgement p50 and p99 in milliseconds.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import httpx
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.config import MaskingConfig, MaskRule, ReceiverConfig, SpoolConfig
from collector.receivers.grpc_server import SERVICES
from collector.records import Signal
from collector.spool import Spool
from tests.bench.payload import make_request
from tests.support.receivers import grpc_door, http_door, make_intake

METHOD = f"/{SERVICES[Signal.TRACES]}/Export"
IN_FLIGHT = 8
N_PAYLOADS = 16
Send = Callable[[bytes], Any]


def to_json(request: bytes) -> bytes:
    """The same request as OTLP/JSON."""
    message = ExportTraceServiceRequest.FromString(request)
    document = MessageToDict(message)
    for rs, resource_spans in zip(document["resourceSpans"], message.resource_spans, strict=True):
        for ss, scope_spans in zip(rs["scopeSpans"], resource_spans.scope_spans, strict=True):
            for span, original in zip(ss["spans"], scope_spans.spans, strict=True):
                span["traceId"], span["spanId"] = original.trace_id.hex(), original.span_id.hex()
                span["parentSpanId"] = original.parent_span_id.hex()
    return json.dumps(document).encode()


@contextmanager
def sender(kind: str, address: str) -> Iterator[Send]:
    if kind == "grpc":
        with grpc.insecure_channel(address) as channel:
            yield channel.unary_unary(METHOD)
        return
    headers = {"content-type": f"application/{kind}"}
    with httpx.Client(base_url=address, trust_env=False, headers=headers) as client:
        yield lambda body: client.post("/v1/traces", content=body).raise_for_status()


def drive(pipe: Connection, kind: str, address: str, payloads: list[bytes], seconds: float) -> None:
    """In the client process: send for `seconds` with eight in flight; tells the latencies."""
    latencies: list[float] = []

    def work(worker: int) -> None:
        with sender(kind, address) as send:
            send(payloads[worker])
            until = time.perf_counter() + seconds
            turn = worker
            while (start := time.perf_counter()) < until:
                send(payloads[turn % len(payloads)])
                latencies.append(time.perf_counter() - start)
                turn += 1

    with futures.ThreadPoolExecutor(IN_FLIGHT) as pool:
        list(pool.map(work, range(IN_FLIGHT)))
    pipe.send(latencies)


def measure(name: str, kind: str, address: str, n_spans: int, payloads: list[bytes], seconds: float) -> None:
    ours, theirs = multiprocessing.Pipe()
    client = multiprocessing.get_context("spawn").Process(target=drive, args=(theirs, kind, address, payloads, seconds))
    cpu = time.process_time()
    client.start()
    latencies = sorted(ours.recv())
    cpu = time.process_time() - cpu
    client.join()
    rate = len(latencies) / seconds
    p50, p99 = (latencies[int(len(latencies) * q)] * 1000 for q in (0.5, 0.99))
    cost = cpu / len(latencies) * 1e6
    print(f"{name:<28}{n_spans:>6}{rate:>10,.0f}{rate * n_spans:>12,.0f}{cost:>10,.0f}{p50:>9.1f}{p99:>9.1f}", flush=True)


@contextmanager
def bare_grpc() -> Iterator[str]:
    """What grpcio costs by itself: bytes in, nothing done, answer out."""
    server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", 64 << 20)])
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICES[Signal.TRACES], {"Export": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@contextmanager
def spool(durability: str) -> Iterator[Spool]:
    """A real spool whose closed segments are thrown away."""
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as directory:
        made = Spool(Path(directory), SpoolConfig.model_validate({"durability": durability}))

        def take() -> None:
            while not stop.wait(0.25):
                for segment in made.close_segments():
                    made.remove(segment)

        thread = threading.Thread(target=take)
        thread.start()
        yield made
        stop.set()
        thread.join()
        made.close()


MASKING = MaskingConfig(rules=(MaskRule(action="redact", patterns=("email", "card", "phone")),))


def main(seconds: float) -> None:
    print(f"{'door':<28}{'spans':>6}{'req/s':>10}{'spans/s':>12}{'us/req':>10}{'p50 ms':>9}{'p99 ms':>9}")
    for n_spans in (512, 64, 1):
        payloads = [make_request(n_spans, seed, time.time_ns()) for seed in range(N_PAYLOADS)]
        with bare_grpc() as address:
            measure("bare grpcio, nothing done", "grpc", address, n_spans, payloads, seconds)
        for durability in ("fsync", "write"):
            with spool(durability) as kept, grpc_door(make_intake(kept)) as address:
                measure(f"grpc, spool by {durability}", "grpc", address, n_spans, payloads, seconds)
        with spool("fsync") as kept, http_door(make_intake(kept)) as address:
            measure("http protobuf", "x-protobuf", address, n_spans, payloads, seconds)
        with spool("fsync") as kept, http_door(make_intake(kept)) as address:
            measure("http json", "json", address, n_spans, [to_json(payload) for payload in payloads], seconds)
        with spool("fsync") as kept, grpc_door(make_intake(kept, config=ReceiverConfig(), masking=MASKING)) as address:
            measure("grpc, three patterns masked", "grpc", address, n_spans, payloads, seconds)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 4.0)
