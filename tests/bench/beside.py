"""Readers and ingestion, alone and together: what they take from each other (part of `tests/bench/bench_pages.py`)."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.bench.readers import Read, Readers
from tests.support.server import wait_for

BATCH, IN_FLIGHT = 512, 8


class Ingestion:
    """A client process that sends spans as fast as they are acknowledged."""

    def __init__(self, address: str, n_spans: int) -> None:
        command = [sys.executable, "-m", "tests.bench.bench_ingest", "--client", address, "--batch", str(BATCH)]
        command += ["--spans", str(n_spans), "--in-flight", str(IN_FLIGHT)]
        self._n_spans = n_spans // BATCH * BATCH
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def run(self) -> float:
        """Send; returns spans acknowledged a second."""
        answer, _ = self._process.communicate("go\n")
        return self._n_spans / float(json.loads(answer)["seconds"])


def together(endpoints: dict[str, str], paths: list[str], arguments: argparse.Namespace) -> None:
    """Print what readers and ingestion do alone and together, and the CPU seconds of every process that takes part."""
    api, pid, n_readers = endpoints["api"], int(endpoints["pid"]), arguments.readers
    print("| phase | s | p50, ms | p99, ms | worst, ms | spans/s | CPU s: server | sender | readers |\n" + "|---" * 9 + "|")

    def phase(name: str, n_spans: int, reading: float) -> float:
        """One line: `n_spans` sent, and read for `reading` seconds; returns spans acknowledged a second."""
        _rest(api, pid)
        sender = Ingestion(endpoints["otlp_grpc"], n_spans) if n_spans else None
        readers = Readers(api, paths, n_readers, reading) if reading else None
        cpu, sent, began = cpu_seconds(pid), children_seconds(), time.monotonic()
        with ThreadPoolExecutor(1) as beside:
            read = beside.submit(readers.run) if readers else None
            rate = sender.run() if sender else 0.0
            if sender is None and read is not None:
                read.result()
            seconds, cpu, sent = time.monotonic() - began, cpu_seconds(pid) - cpu, children_seconds() - sent
        print(_line(name, seconds, read.result() if read else None, rate, (cpu, sent)), flush=True)
        return rate

    # what a first sender meets is cold
    phase("first spans", arguments.spans // 5, 0)
    phase(f"{n_readers} readers", 0, arguments.seconds)
    alone = [phase("ingestion", arguments.spans, 0)]
    reading = arguments.spans / alone[0] * 1.6
    both = [phase(f"ingestion, {n_readers} readers", arguments.spans, reading) for _ in range(2)]
    alone.append(phase("ingestion", arguments.spans, 0))
    kept = sum(1 / rate for rate in alone) / sum(1 / rate for rate in both)
    print(f"\ningestion keeps {kept:.0%} of its rate beside {n_readers} readers")


def children_seconds() -> float:
    """CPU time of the processes that were waited for so far."""
    times = os.times()
    return times.children_user + times.children_system


def _line(name: str, seconds: float, read: Read | None, rate: float, cpu: tuple[float, float]) -> str:
    """A line of the table: `cpu` is of the server, and of senders and readers that ended in the phase."""
    waits = ["", "", ""]
    if read is not None:
        ranked = sorted(read.taken)
        waits = [f"{ranked[int(len(ranked) * share)]:.0f}" for share in (0.5, 0.99)] + [f"{ranked[-1]:.0f}"]
    server, ended = cpu
    sender = f"{ended:.1f}" if rate else ""
    cells = [name, f"{seconds:.0f}", *waits, f"{rate:,.0f}" if rate else "", f"{server:.1f}", sender]
    return f"| {' | '.join([*cells, f'{read.cpu_seconds:.1f}' if read else ''])} |"


def _rest(api: str, pid: int) -> None:
    """Return once everything sent is in the store and the server does nothing: merges go on when the spool is empty."""
    wait_for(lambda: not _pending(api), 300, "an empty spool")

    def rests() -> bool:
        before = cpu_seconds(pid)
        time.sleep(2)
        return cpu_seconds(pid) - before < 0.2

    wait_for(rests, 120, "a server at rest")


def _pending(api: str) -> int:
    """Items that are acknowledged and not yet queryable."""
    balance = httpx.get(f"{api}/api/v1/ledger", timeout=60).raise_for_status().json()["balance"]
    return sum(line["pending"] for line in balance)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
