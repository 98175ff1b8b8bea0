"""
Endurance: the whole program (collector, engine, jobs, alerter, API) takes a steady stream of spans while people read its pages.

    python -m tests.bench.bench_soak --rate 2000 --minutes 60 [--readers 5] [--batch 64]

Every half minute one line: acknowledged spans, resident memory, disk, how far the newest facts are behind the newest spans, and
latencies so far. The jobs keep up with a rate when `facts_behind_s` does not grow. Exit 1 when something acknowledged
is missing or the ledger does not add up.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx

from collector.checks import spans_of
from storage.client import Store
from tests.bench.bench_ingest import fresh
from tests.bench.payload import make_request
from tests.support.load import EXPORT
from tests.support.server import Server, running, wait_for

_PAGES = ("/", "/traces", "/health", "/api/v1/metrics/latency?from=-1h&group_by=route")
_TEMPLATES = 64


@dataclass
class Stream:
    """Sends `rate` spans a second, on time, until told to stop; what the server is too slow for is sent late, not left out."""

    address: str
    rate: float
    batch: int
    n_acknowledged: int = 0
    latencies: list[float] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        interval = self.batch / self.rate
        due = time.monotonic()
        number = 0
        with grpc.insecure_channel(self.address) as channel:
            call = channel.unary_unary(EXPORT)
            while not self.stopping.wait(max(0.0, due - time.monotonic())):
                if number % _TEMPLATES == 0:
                    templates = [make_request(self.batch, number + n, time.time_ns()) for n in range(_TEMPLATES)]
                template = templates[number % _TEMPLATES]
                body = fresh(template, list(spans_of(template)))
                began = time.perf_counter()
                call(body, timeout=60, wait_for_ready=True)
                self.latencies.append((time.perf_counter() - began) * 1000)
                self.n_acknowledged += self.batch
                number += 1
                due += interval


def read_pages(server: Server, stopping: threading.Event, seconds: list[float]) -> None:
    """One request a second, as a person who looks."""
    with httpx.Client(base_url=server.api, timeout=60) as client:
        for n in range(10**9):
            if stopping.wait(1):
                return
            began = time.perf_counter()
            client.get(_PAGES[n % len(_PAGES)]).raise_for_status()
            seconds.append(time.perf_counter() - began)


def resident_mib(pid: int) -> float:
    """Memory of a process that is in RAM."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def disk_mib(directory: Path) -> float:
    """Files and whole directories vanish while they are looked at: merges."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(parent, name).stat().st_size
    return total / 2**20


def fact_age(server: Server) -> float:
    """Seconds between now and the start of the newest trace that has facts: spans are sent as they start."""
    [[newest]] = server.sql(
        "SELECT toUnixTimestamp64Milli(max(started_at)) FROM trace_facts WHERE started_at > now() - INTERVAL 1 HOUR"
    )
    return time.time() - float(newest) / 1000


def count_spans(directory: Path) -> int:
    """Distinct spans that a stopped program has stored."""
    store = Store.embedded(directory)
    try:
        return int(store.frame("SELECT count() AS n FROM span_records FINAL")["n"].item())
    finally:
        store.close()


def ledger(server: Server) -> dict[str, int]:
    """What the collector says of the run's spans, by entry."""
    balance = server.get("/api/v1/ledger")["balance"]
    return next(line for line in balance if line["signal"] == "traces")


def p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else float("nan")


def soak(directory: Path, arguments: argparse.Namespace) -> bool:
    """Run, print lines; whether nothing is missing."""
    with running(directory / "data", "--job-interval", str(arguments.job_interval)) as server:
        stream = Stream(server.otlp_grpc, arguments.rate, arguments.batch)
        looks: list[float] = []
        threads = [threading.Thread(target=stream.run)]
        threads += [threading.Thread(target=read_pages, args=(server, stream.stopping, looks)) for _ in range(arguments.readers)]
        for thread in threads:
            thread.start()
        print("minute  acked  rss_mib  disk_mib  facts_behind_s  ack_p99_ms  page_p99_ms", flush=True)
        began = time.monotonic()
        while time.monotonic() - began < arguments.minutes * 60:
            time.sleep(30)
            line = (
                f"{(time.monotonic() - began) / 60:6.1f}  {stream.n_acknowledged}  {resident_mib(server.process.pid):.0f}  "
                f"{disk_mib(server.data_dir):.0f}  {fact_age(server):.1f}  {p99(stream.latencies):.0f}  {p99(looks) * 1000:.0f}"
            )
            print(line, flush=True)
        stream.stopping.set()
        for thread in threads:
            thread.join()
        rate = stream.n_acknowledged / (arguments.minutes * 60)
        wait_for(lambda: ledger(server)["written"] >= stream.n_acknowledged, 300, "every acknowledged span")
        lines, data_dir = ledger(server), server.data_dir
        print("ledger:", ", ".join(f"{entry} {lines[entry]}" for entry in ("received", "accepted", "written", "superseded")))
    n_stored = count_spans(data_dir)
    print(f"sent at {rate:.0f} spans/s; acknowledged {stream.n_acknowledged}, stored {n_stored}")
    return bool(n_stored == stream.n_acknowledged == lines["received"] == lines["accepted"] == lines["written"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--readers", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--job-interval", type=float, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIRECTORY")) as directory:
        sys.exit(0 if soak(Path(directory), arguments) else 1)


if __name__ == "__main__":
    main()
