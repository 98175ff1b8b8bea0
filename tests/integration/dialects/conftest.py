"""Real programs, instrumented as their owners would, between a server whose counts are known and a collector."""

from __future__ import annotations

import os
import subprocess
import sys
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

    def run(self, app: str, *arguments: str, environment: str = "") -> None:
        """Run `apps/<app>.py` (or `.mjs`) to its end, write what it sent, assemble it."""
        doors = self.running.endpoints
        ours = {"CAPTURE_OTLP_GRPC": doors.otlp_grpc, "CAPTURE_OTLP_HTTP": doors.otlp_http, "CAPTURE_MODELS": self.server.url}
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "OPENAI_", "LITELLM_"))}
        script = ROOT / "tests/integration/dialects/apps" / f"{app}.mjs"
        command = (
            ["node", str(script)] if script.exists() else [python_of(environment), "-m", f"tests.integration.dialects.apps.{app}"]
        )
        done = subprocess.run(
            [*command, *arguments], cwd=ROOT, env=inherited | ours, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        self.running.collector.flush()
        run = Jobs(self.store, AnalyticsConfig(), WallClock(), PRICES).run("assemble")
        assert run.state is JobState.DONE, run.error

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
