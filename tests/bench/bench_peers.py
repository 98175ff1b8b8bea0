"""
A peer on the same payload: Arize Phoenix from PyPI, in a virtual environment of its own that is thrown away.

    python -m tests.bench.bench_peers --batch 64 --spans 2000 [--peer arize-phoenix==20.26.1]

The client, the spans and the machine are those of `bench_ingest`, whose figures for Spanwise the same run prints after the
peer's. A span counts as queryable when the peer's own database has it. Installing needs the package index, and about 1 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.bench_ingest import sending

_GRPC_PORT, _HTTP_PORT = 14317, 16006


@contextmanager
def phoenix(directory: Path, requirement: str) -> Iterator[int]:
    """Install and run it; yields its process id."""
    venv.create(directory / "venv", with_pip=True)
    python = directory / "venv" / "bin"
    subprocess.run([python / "pip", "install", "--quiet", requirement], check=True)
    own = {
        "PHOENIX_WORKING_DIR": str(directory / "data"),
        "PHOENIX_GRPC_PORT": str(_GRPC_PORT),
        "PHOENIX_PORT": str(_HTTP_PORT),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PATH": f"{python}:{os.environ['PATH']}",
        "HOME": str(directory),
    }
    (directory / "data").mkdir()
    with (directory / "log").open("w") as log:
        process = subprocess.Popen([python / "phoenix", "serve"], env=own, stdout=log, stderr=log, cwd=directory)
    try:
        _wait_for(f"http://127.0.0.1:{_HTTP_PORT}/healthz", process)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError("the peer did not start; see its log")


def measure(directory: Path, pid: int, arguments: argparse.Namespace) -> dict[str, float | str]:
    """Send the spans and wait until the peer's database has them."""
    n_spans = arguments.spans // arguments.batch * arguments.batch
    with sending(f"127.0.0.1:{_GRPC_PORT}", arguments, n_spans) as go:
        cpu, began = _cpu_seconds(pid), time.perf_counter()
        sent = go()
    database = directory / "data" / "phoenix.db"
    while (n_stored := _count(database)) < n_spans and time.perf_counter() - began < 600:
        time.sleep(0.2)
    seconds = time.perf_counter() - began
    return {
        "peer": arguments.peer,
        "batch": arguments.batch,
        "acknowledged_per_s": round(n_spans / sent.seconds),
        "queryable_per_s": round(n_stored / seconds),
        "lost": n_spans - n_stored,
        "cpu_s_per_million": round((_cpu_seconds(pid) - cpu) / n_spans * 1e6),
        "ack_p50_ms": sent.quantile(0.5),
        "ack_p99_ms": sent.quantile(0.99),
        "peak_rss_mib": _peak_mib(pid),
        "bytes_per_span": round(sum(f.stat().st_size for f in database.parent.glob("phoenix.db*")) / n_spans),
    }


def _count(database: Path) -> int:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        n_spans: int = connection.execute("SELECT count(*) FROM spans").fetchone()[0]
    return n_spans


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--spans", type=int, default=2000)
    parser.add_argument("--text", type=int, default=0)
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--peer", default="arize-phoenix")
    parser.add_argument("--own-spans", type=int, default=200_000)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIRECTORY")) as directory,
        phoenix(Path(directory), arguments.peer) as pid,
    ):
        print(json.dumps(measure(Path(directory), pid, arguments)), flush=True)
    own = ["--batch", str(arguments.batch), "--spans", str(arguments.own_spans), "--text", str(arguments.text)]
    subprocess.run([sys.executable, "-m", "tests.bench.bench_ingest", *own], check=True)


if __name__ == "__main__":
    main()
