"""
Ingestion, end to end: a client process sends the measured payload over gRPC to a collector with the embedded engine; every
acknowledgement is durable, every span is normalised.

    python -m tests.bench.bench_ingest --batch 512 --spans 400000 [--text 4096] [--in-flight 8]

Prints acknowledged and queryable spans/s, CPU-seconds per million spans (of the whole server process), acknowledgement latency,
peak memory, and bytes per span once merged.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc

from collector.checks import spans_of
from collector.config import CollectorConfig
from collector.service import Collector
from storage.client import Store
from storage.clock import WallClock
from storage.migrations import migrate
from tests.bench.payload import make_request
from tests.support.receivers import OpenDoor

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_DISTINCT_SPANS = 8192


def client(address: str, batch: int, n_spans: int, text: int, in_flight: int) -> None:
    """Send `n_spans` in requests of `batch`, `in_flight` at a time; print latencies in milliseconds and the wall time."""
    start_ns = time.time_ns()
    templates = [make_request(batch, seed, start_ns + seed, text) for seed in range(max(1, _DISTINCT_SPANS // batch))]
    places = [list(spans_of(template)) for template in templates]
    numbers = iter(range(n_spans // batch))
    latencies: list[float] = []
    lock = threading.Lock()

    def send() -> None:
        with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", 64 << 20)]) as channel:
            call = channel.unary_unary(_EXPORT)
            while (number := next(numbers, None)) is not None:
                body = fresh(templates[number % len(templates)], places[number % len(templates)])
                began = time.perf_counter()
                call(body, timeout=120)
                with lock:
                    latencies.append((time.perf_counter() - began) * 1000)

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    began = time.perf_counter()
    threads = [threading.Thread(target=send) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump({"seconds": time.perf_counter() - began, "latencies": latencies}, sys.stdout)


def fresh(template: bytes, places: list[tuple[int, int]]) -> bytes:
    """The request with new trace and span ids, eight spans a trace."""
    body = bytearray(template)
    random = os.urandom(8 * len(places) + 16 * (len(places) // 8 + 1))
    for n, (start, _) in enumerate(places):
        at = 8 * len(places) + 16 * (n // 8)
        body[start + 2 : start + 18] = random[at : at + 16]
        body[start + 20 : start + 28] = random[8 * n : 8 * n + 8]
    return bytes(body)


def server(directory: Path, arguments: argparse.Namespace) -> dict[str, float | str]:
    """Run a collector, have the client fill it, and measure."""
    store = Store.embedded(directory)
    migrate(store)
    collector = Collector(
        CollectorConfig(), store, directory / "spool", WallClock(), OpenDoor(), host="127.0.0.1", grpc_port=0, http_port=0
    )
    endpoints = collector.start()
    assert endpoints is not None
    command = [sys.executable, "-m", "tests.bench.bench_ingest", "--client", endpoints.otlp_grpc, *_same(arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        cpu, began = time.process_time(), time.perf_counter()
        process.stdin.write("go\n")
        process.stdin.close()
        sent = json.loads(process.stdout.read())
    n_spans = arguments.spans // arguments.batch * arguments.batch
    collector.flush()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    n_stored = store.frame("SELECT count() AS n FROM span_records")["n"][0]
    assert n_stored == n_spans, f"{n_stored} of {n_spans} spans are queryable"
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    store.command("OPTIMIZE TABLE span_records FINAL")
    size = "SELECT sum(bytes_on_disk) AS n FROM system.parts WHERE active AND table = 'span_records'"
    n_bytes = store.frame(f"{size} AND database = currentDatabase()")["n"][0]
    collector.stop()
    store.close()
    ranked = sorted(sent["latencies"])
    return {
        "batch": arguments.batch,
        "text": arguments.text,
        "acknowledged_per_s": round(n_spans / sent["seconds"]),
        "queryable_per_s": round(n_spans / seconds),
        "cpu_s_per_million": round(cpu / n_spans * 1e6, 1),
        "ack_p50_ms": round(statistics.median(ranked), 1),
        "ack_p99_ms": round(ranked[int(len(ranked) * 0.99)], 1),
        "peak_rss_mib": round(peak_mib),
        "bytes_per_span": round(n_bytes / n_spans, 1),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _same(arguments: argparse.Namespace) -> list[str]:
    names = ("batch", "spans", "text", "in_flight")
    return [part for name in names for part in (f"--{name.replace('_', '-')}", str(getattr(arguments, name)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--spans", type=int, default=200_000)
    parser.add_argument("--text", type=int, default=0)
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--client", default="")
    arguments = parser.parse_args()
    if arguments.client:
        client(arguments.client, arguments.batch, arguments.spans, arguments.text, arguments.in_flight)
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIRECTORY")) as directory:
        print(json.dumps(server(Path(directory), arguments)))


if __name__ == "__main__":
    main()
