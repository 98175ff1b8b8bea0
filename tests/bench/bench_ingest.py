"""
Ingestion, end to end: a client process sends the measured payload over gRPC to a collector with the embedded engine; every
acknowledgement is durable, every span is normalised.

    python -m tests.bench.bench_ingest --batch 512 --spans 400000 [--text 4096] [--in-flight 8] [--pace 0.7]

Three phases, one machine, one run:

    bare        the same client against a grpcio server that answers at once: what the transport alone costs here
    saturated   as fast as it goes: acknowledged and queryable spans/s, CPU-seconds per million spans of the whole server process
    paced       `--pace` times the queryable rate just found: acknowledgement latency below saturation, from when a request was
                due, so that one that had to queue behind another counts its wait

Prints also both rates as a share of bare (machines differ by a factor of two in spans/s, less in shares), peak memory, bytes per
span once merged, and the most parts that a partition of a table had when all was written.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from collector.checks import spans_of
from collector.config import CollectorConfig
from collector.service import Collector
from storage.client import Store
from storage.clock import WallClock
from storage.migrations import migrate
from tests.bench.bench_receivers import bare_grpc
from tests.bench.payload import make_request
from tests.support.receivers import OpenDoor

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_DISTINCT_SPANS = 8192


def client(address: str, batch: int, n_spans: int, text: int, in_flight: int, rate: float) -> None:
    """
    Send `n_spans` in requests of `batch`, at most `in_flight` at a time; print latencies in milliseconds and the wall time.

    Args:
        rate: spans/s; 0 is as fast as it goes.
    """
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
                due = time.perf_counter()
                if rate:
                    due = began + number * batch / rate
                    time.sleep(max(0.0, due - time.perf_counter()))
                call(body, timeout=120)
                with lock:
                    latencies.append((time.perf_counter() - due) * 1000)

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


@dataclass
class Sent:
    """What a client saw."""

    seconds: float
    latencies: list[float]

    def quantile(self, q: float) -> float:
        return round(sorted(self.latencies)[int(len(self.latencies) * q)], 1)


@contextmanager
def sending(address: str, arguments: argparse.Namespace, n_spans: int, rate: float = 0.0) -> Iterator[Callable[[], Sent]]:
    """A client process that is ready; calling what this yields lets it go and waits for it."""
    own = {"batch": arguments.batch, "text": arguments.text, "in-flight": arguments.in_flight, "spans": n_spans, "rate": rate}
    command = [sys.executable, "-m", "tests.bench.bench_ingest", "--client", address]
    command += [part for name, value in own.items() for part in (f"--{name}", str(value))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        start, out = process.stdin, process.stdout

        def go() -> Sent:
            start.write("go\n")
            start.close()
            return Sent(**json.loads(out.read()))

        yield go


def bare(arguments: argparse.Namespace) -> dict[str, float]:
    """What grpcio does by itself with the same client."""
    n_spans = min(arguments.spans, 200_000) // arguments.batch * arguments.batch
    with bare_grpc() as address, sending(address, arguments, n_spans) as go:
        sent = go()
    return {"bare_acknowledged_per_s": round(n_spans / sent.seconds), "bare_ack_p99_ms": sent.quantile(0.99)}


def server(directory: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Run a collector, have clients fill it, and measure."""
    store = Store.embedded(directory)
    migrate(store)
    collector = Collector(
        CollectorConfig(), store, directory / "spool", WallClock(), OpenDoor(), host="127.0.0.1", grpc_port=0, http_port=0
    )
    endpoints = collector.start()
    assert endpoints is not None
    n_spans = arguments.spans // arguments.batch * arguments.batch
    with sending(endpoints.otlp_grpc, arguments, n_spans) as go:
        cpu, began = time.process_time(), time.perf_counter()
        sent = go()
    collector.flush()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    _check_stored(store, n_spans)
    rate = n_spans / seconds
    found = {
        "acknowledged_per_s": round(n_spans / sent.seconds),
        "queryable_per_s": round(rate),
        "cpu_s_per_million": round(cpu / n_spans * 1e6, 1),
        "saturated_ack_p50_ms": sent.quantile(0.5),
        "saturated_ack_p99_ms": sent.quantile(0.99),
    }
    if arguments.pace:
        n_paced = min(n_spans, int(rate * arguments.pace * 20)) // arguments.batch * arguments.batch
        with sending(endpoints.otlp_grpc, arguments, n_paced, rate * arguments.pace) as go:
            sent = go()
        collector.flush()
        n_spans += n_paced
        _check_stored(store, n_spans)
        found |= {
            "paced_per_s": round(n_paced / sent.seconds),
            "ack_p50_ms": sent.quantile(0.5),
            "ack_p99_ms": sent.quantile(0.99),
        }
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    n_parts = store.frame(
        "SELECT max(n) AS n FROM (SELECT count() AS n FROM system.parts WHERE active AND database = currentDatabase() "
        "GROUP BY table, partition)"
    )["n"][0]
    merged = store.frame("SELECT sum(value) AS n FROM system.events WHERE event = 'MergedRows'")
    n_merged = merged["n"][0]
    store.command("OPTIMIZE TABLE span_records FINAL")
    size = "SELECT sum(bytes_on_disk) AS n FROM system.parts WHERE active AND table = 'span_records'"
    n_bytes = store.frame(f"{size} AND database = currentDatabase()")["n"][0]
    collector.stop()
    store.close()
    return found | {
        "merged_rows_per_span": round(n_merged / n_spans, 2),
        "most_parts_of_a_table": n_parts,
        "peak_rss_mib": round(peak_mib),
        "bytes_per_span": round(n_bytes / n_spans, 1),
    }


def _check_stored(store: Store, n_spans: int) -> None:
    n_stored = store.frame("SELECT count() AS n FROM span_records")["n"][0]
    assert n_stored == n_spans, f"{n_stored} of {n_spans} spans are queryable"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--spans", type=int, default=200_000)
    parser.add_argument("--text", type=int, default=0)
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--pace", type=float, default=0.7)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--client", default="")
    arguments = parser.parse_args()
    if arguments.client:
        client(arguments.client, arguments.batch, arguments.spans, arguments.text, arguments.in_flight, arguments.rate)
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIRECTORY")) as directory:
        asked = {"batch": arguments.batch, "text": arguments.text}
        alone = bare(arguments)
        found = asked | alone | server(Path(directory), arguments)
        # a share of what the transport alone does here can be compared between machines, spans a second cannot
        found |= {
            f"{name}_of_bare": round(found[f"{name}_per_s"] / alone["bare_acknowledged_per_s"], 3)
            for name in ("acknowledged", "queryable")
        }
        print(json.dumps(found | {"load": " ".join(f"{load:.1f}" for load in os.getloadavg())}))


if __name__ == "__main__":
    main()
