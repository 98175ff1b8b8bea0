"""Real programs, instrumented as their owners would, between a server whose counts are known and a collector."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from analytics.config import AnalyticsConfig, PriceConfig
from analytics.jobs import Jobs
from storage.client import Store
from storage.clock import WallClock
from storage.job_runs import JobState
from tests.support.collecting import Running, collecting
from tests.support.openai_server import OpenAIServer

ROOT = Path(__file__).parents[3]
# USD per million tokens in and out; cached input costs a tenth
RATES = {"student-8b": (1, 4), "teacher-70b": (10, 40)}
PRICES = [
    PriceConfig(
        model=model,
        aliases=frozenset({f"{model}-2026-01-01"}),
        input_usd_per_mtok=Decimal(rate_in),
        output_usd_per_mtok=Decimal(rate_out),
        cache_read_usd_per_mtok=Decimal(rate_in) / 10,
    )
    for model, (rate_in, rate_out) in RATES.items()
]


def python_of(environment: str) -> str:
    """The interpreter of the virtual environment of a dependency group `captures-<environment>`; ours for ''."""
    return str(ROOT / f".venv-captures-{environment}/bin/python") if environment else sys.executable


@dataclass(frozen=True)
class Capture:
    """`server`: answers are queued here before `run`. `facts`: what Spanwise makes of what the program sent."""

    server: OpenAIServer
    running: Running
    store: Store

    def run(
        self, app: str, *arguments: str, environment: str = "", n_calls: int = 0, config: AnalyticsConfig | None = None
    ) -> None:
        """
        Run `apps/<app>.py` (or `.mjs`) to its end, write what it sent, assemble it.

        Args:
            n_calls: spans of model calls to wait for before the program's input ends, which tells it that it may stop.
            config: how to assemble.
        """
        doors = self.running.endpoints
        ours = {"CAPTURE_OTLP_GRPC": doors.otlp_grpc, "CAPTURE_OTLP_HTTP": doors.otlp_http, "CAPTURE_MODELS": self.server.url}
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "OPENAI_", "LITELLM_"))}
        script = ROOT / "tests/integration/dialects/apps" / f"{app}.mjs"
        module = f"tests.integration.dialects.apps.{app}"
        command = ["node", str(script)] if script.exists() else [python_of(environment), "-m", module]
        pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with subprocess.Popen([*command, *arguments], cwd=ROOT, env=inherited | ours, text=True, **pipes) as program:
            deadline = time.monotonic() + 240
            while program.poll() is None and self._n_calls() < n_calls and time.monotonic() < deadline:
                time.sleep(0.5)  # between two looks at what has arrived
            _, errors = program.communicate(timeout=180)
        assert program.returncode == 0, errors[-4000:]
        self.running.collector.flush()
        run = Jobs(self.store, config or AnalyticsConfig(), WallClock(), PRICES).run("assemble")
        assert run.state is JobState.DONE, run.error

    def _n_calls(self) -> int:
        self.running.collector.flush()
        return int(self.store.frame("SELECT count() AS n FROM span_records FINAL WHERE kind = 'llm'")["n"].item())

    def facts(self, name: str) -> dict[str, Any]:
        """The one trace whose root has this name."""
        frame = self.store.frame("SELECT * FROM trace_facts FINAL WHERE name = {n:String}", {"n": name})
        assert frame.height == 1, (name, frame.height)
        return frame.row(0, named=True)

    def dialects(self) -> set[str]:
        """Every dialect that was recognised."""
        return set(self.store.frame("SELECT DISTINCT arrayJoin(dialects) AS dialect FROM span_records")["dialect"])


@pytest.fixture
def capture(store: Store, tmp_path: Path) -> Iterator[Capture]:
    with collecting(store, tmp_path) as running, OpenAIServer() as server:
        yield Capture(server, running, store)
