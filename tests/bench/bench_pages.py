"""
Pages and API beside a month of history: latency one after another, with many readers, and with ingestion at full speed.

    python -m tests.bench.bench_pages [--traces 10000000] [--requests 200] [--readers 50] [--seconds 20] [--directory DIRECTORY]

Fills an embedded store (`tests/bench/history.py`, and a simulated rollout whose verdict is a divergence), starts `spanwise
serve` on it as a user would, and asks over HTTP: every page and call one request after another; then `--readers` readers at
one request a second each; then, from rest each time and without a job's run in between: ingestion alone, with readers, with
readers, alone. Prints tables for `docs/benchmarks.md`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import httpx

from spanwise.demo import _settings
from spanwise.scenarios import demo
from spanwise.simulate import traces
from spanwise.simulated_rollups import metric_rows
from storage.client import Store
from storage.metrics import Grain, write_metric_rows
from storage.migrations import migrate
from tests.bench import history
from tests.bench.beside import cpu_seconds, together

ROLLOUT = "cheaper-support"


@dataclass
class Filling:
    """How far a directory is filled, kept in it: what was interrupted goes on."""

    n_traces: int
    end: str
    n_pieces: int = 0
    is_whole: bool = False

    @classmethod
    def of(cls, directory: Path, n_traces: int) -> Filling:
        path = directory / "filling.json"
        if path.exists():
            return cls(**json.loads(path.read_text()))
        return cls(n_traces, datetime.now(UTC).replace(minute=0, second=0, microsecond=0).isoformat())

    def save(self, directory: Path) -> None:
        (directory / "filling.json").write_text(json.dumps(asdict(self)))


def build(directory: Path, n_traces: int, seconds: float) -> bool:
    """Fill `directory` as the data of an instance, for about `seconds`; returns whether it is whole."""
    directory.mkdir(parents=True, exist_ok=True)
    filling = Filling.of(directory, n_traces)
    if filling.is_whole:
        return True
    began = time.monotonic()
    end = datetime.fromisoformat(filling.end)
    scenario = replace(demo(1_400), start=end.replace(hour=0) - timedelta(days=18))
    (directory / "spanwise.toml").write_text(_settings(scenario, "http://127.0.0.1:9/"), encoding="utf-8")
    store = Store.embedded(directory / "data")
    migrate(store)
    while filling.n_pieces < history.n_pieces(filling.n_traces):
        if time.monotonic() - began > seconds:
            store.close()
            return False
        history.fill_piece(store, filling.n_traces, end, filling.n_pieces)
        filling.n_pieces += 1
        filling.save(directory)
        print(
            f"filled {filling.n_pieces} of {history.n_pieces(filling.n_traces)} pieces, {time.monotonic() - began:.0f} s",
            flush=True,
        )
    history.finish(store, filling.n_traces, end)
    write_metric_rows(store, Grain.MINUTE, metric_rows(traces(scenario, 1)), datetime.now(UTC))
    store.close()
    filling.is_whole = True
    filling.save(directory)
    return True


@contextmanager
def serving(directory: Path, keep_seconds: float, job_interval: float = 120) -> Iterator[dict[str, str]]:
    """`spanwise serve` on `directory`; half an interval after a first run of the jobs, with little to do, there is a verdict."""
    endpoints = directory / "data" / "endpoints.json"
    endpoints.unlink(missing_ok=True)
    command = [sys.executable, "-m", "spanwise", "serve", "--config", str(directory / "spanwise.toml")]
    command += ["--data-dir", str(directory / "data"), "--job-interval", str(job_interval)]
    command += ["--otlp-grpc-port", "0", "--otlp-http-port", "0", "--http-port", "0"]
    environment = os.environ | {"SPANWISE_API__KEEP_SECONDS": str(keep_seconds)}
    with (directory / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        while not endpoints.exists():
            if process.poll() is not None:
                raise SystemExit((directory / "serve.log").read_text(errors="replace")[-3000:])
            time.sleep(0.1)
        yield json.loads(endpoints.read_text())
    finally:
        process.terminate()
        process.wait(60)


def questions(directory: Path) -> dict[str, list[str]]:
    """What people ask, by name; several addresses of one kind are asked in turn."""
    store = Store.embedded(directory / "data")
    ids = history.trace_ids(store, 40)
    store.close()
    service = history.SERVICE
    return {
        "page: rollouts": ["/"],
        "page: one rollout": [f"/rollouts/{ROLLOUT}"],
        "page: pairs": [f"/rollouts/history-pairs/pairs?cohort=cohort-{n}" for n in range(10)],
        "page: alerts": ["/alerts?state=all"],
        "page: data health, a day": ["/health"],
        "page: prices": ["/prices"],
        "page: settings": ["/settings"],
        "page: traces, a day": ["/traces"],
        "page: traces, 30 days": ["/traces?from=-30d"],
        "page: traces, one cohort": [f"/traces?from=-30d&cohort=cohort-{n}" for n in range(10)],
        "page: traces, one user": [f"/traces?from=-30d&user=u-{n}" for n in range(70, 80)],
        "page: traces, nobody": ["/traces?from=-30d&user=nobody"],
        "page: traces, failed": ["/traces?from=-30d&failed=eval_fail&evaluator=TaskCompletion"],
        "page: traces, errors of the student": ["/traces?from=-30d&route=student&errored=true"],
        "page: one trace": [f"/traces/{trace_id}" for trace_id in ids],
        "page: one trace of 1,000 spans": [f"/traces/{trace_id}" for trace_id in history.long_trace_ids()],
        "call: traces": ["/api/v1/traces?from=-30d&limit=100"],
        "call: traces, one session": [f"/api/v1/traces?from=-30d&session=s-{n}" for n in range(1000, 1010)],
        "call: eval_fail_rate, 30 days by day": [
            f"/api/v1/metrics/eval_fail_rate?from=-30d&step=1d&group_by=route,cohort&service={service}"
        ],
        "call: latency, 7 days by hour": [f"/api/v1/metrics/latency?from=-7d&step=1h&group_by=route&service={service}"],
        "call: cost_per_trace, 30 days": [f"/api/v1/metrics/cost_per_trace?from=-30d&group_by=route&service={service}"],
        "call: scorecard": [f"/api/v1/rollouts/{ROLLOUT}/scorecard"],
        "call: gate": [f"/api/v1/gate/{ROLLOUT}"],
        "call: facets": ["/api/v1/facets?dimension=cohort&from=-30d"],
    }


def one_after_another(api: str, pid: int, asked: dict[str, list[str]], requests: int) -> None:
    """Print the milliseconds of each kind of request, and the CPU the server spends on one; the first is cold and left out."""
    with httpx.Client(base_url=api, timeout=60, headers={"Accept": "text/html,application/json"}) as client:
        for name, paths in asked.items():
            taken: list[float] = []
            cpu = 0.0
            for number, path in enumerate(itertools.islice(itertools.cycle(paths), requests + 1)):
                began = time.perf_counter()
                answer = client.get(path)
                if answer.status_code != 200:
                    raise SystemExit(f"{path}: {answer.status_code} {answer.text[:300]}")
                if number:
                    taken.append((time.perf_counter() - began) * 1000)
                else:
                    cpu = cpu_seconds(pid)
            print(row(name, taken, (cpu_seconds(pid) - cpu) * 1000 / requests), flush=True)


def row(name: str, taken: list[float], cpu_ms: float | None = None) -> str:
    """A line of the table."""
    ranked = sorted(taken)
    p99 = ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))]
    cpu = "" if cpu_ms is None else f"{cpu_ms:.0f}"
    return f"| {name} | {statistics.median(ranked):.0f} | {p99:.0f} | {ranked[-1]:.0f} | {cpu} | {len(ranked)} |"


def measure(directory: Path, arguments: argparse.Namespace) -> None:
    asked = questions(directory)
    print(f"load before: {' '.join(f'{load:.1f}' for load in os.getloadavg())}")
    with serving(directory, arguments.keep_seconds) as endpoints:
        api = endpoints["api"]
        _wait_for_verdict(api)
        declared = {"service": history.SERVICE, "baseline": "teacher", "candidate": "student"}
        httpx.put(f"{api}/api/v1/rollouts/{quote('history-pairs')}", json=declared, timeout=60).raise_for_status()
        if arguments.requests:
            print("| asked | median, ms | p99, ms | worst, ms | CPU, ms | requests |\n|---|---|---|---|---|---|")
            chosen = {name: paths for name, paths in asked.items() if arguments.only in name}
            one_after_another(api, int(endpoints["pid"]), chosen, arguments.requests)
    if arguments.seconds:
        # a run of the jobs would fall into one phase and not into another
        with serving(directory, arguments.keep_seconds, job_interval=86_400) as endpoints:
            together(endpoints, [path for group in asked.values() for path in group[:2]], arguments)
    print(f"load after: {' '.join(f'{load:.1f}' for load in os.getloadavg())}")


def _wait_for_verdict(api: str) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        answer = httpx.get(f"{api}/api/v1/rollouts/{ROLLOUT}/verdict", timeout=60)
        if answer.is_success and answer.json().get("comparison_id"):
            return
        time.sleep(1)
    raise SystemExit(f"no verdict on {ROLLOUT} after 300 s: {answer.text[:500]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=10_000_000)
    parser.add_argument("--requests", type=int, default=200, help="of each kind, one after another; 0 leaves them out")
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20, help="of the readers; 0 leaves readers and ingestion out")
    parser.add_argument("--spans", type=int, default=1_000_000, help="that are sent in each phase")
    parser.add_argument(
        "--keep-seconds", type=float, default=5, help="the server's api.keep_seconds; 0: every answer is made anew"
    )
    parser.add_argument("--directory", type=Path, help="a directory to fill once and to use again; without it a temporary one")
    parser.add_argument("--fill", type=float, metavar="SECONDS", help="only fill --directory, going on where it stopped")
    parser.add_argument("--only", default="", help="kinds of request whose name contains this")
    arguments = parser.parse_args()
    if arguments.directory:
        is_whole = build(arguments.directory, arguments.traces, arguments.fill or math.inf)
        if arguments.fill:
            print("whole" if is_whole else "not whole yet: call again")
        else:
            measure(arguments.directory, arguments)
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIRECTORY")) as name:
        build(Path(name), arguments.traces, math.inf)
        measure(Path(name), arguments)


if __name__ == "__main__":
    main()
