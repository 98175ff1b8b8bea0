"""`spanwise serve` as a process of its own, as users run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]


def wait_for(condition: Callable[[], Any], seconds: float = 60, what: str = "the condition") -> Any:
    """The first true value of `condition`, asked again and again; an AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"{what} was not met within {seconds} s"
        time.sleep(0.1)


class Server:
    """A running process; `api`, `otlp_grpc` and `otlp_http` are where its doors are."""

    def __init__(self, data_dir: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        data_dir.mkdir(parents=True, exist_ok=True)
        self.log_path = data_dir / "serve.log"
        command = [sys.executable, "-m", "spanwise", "serve", "--data-dir", str(data_dir), "--job-interval", "1"]
        command += ["--otlp-grpc-port", "0", "--otlp-http-port", "0", "--http-port", "0", *arguments]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, env=os.environ | {"SPANWISE_LOG_FORMAT": "json"} | (environment or {})
            )
        path = data_dir / "endpoints.json"

        def announced() -> dict[str, Any]:
            assert self.process.poll() is None, self.log()
            found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
            return found if found.get("pid") == self.process.pid else {}

        self.endpoints = wait_for(announced, 90, "the server's readiness")
        self.api: str = self.endpoints.get("api", "")
        self.otlp_grpc: str = self.endpoints.get("otlp_grpc", "")
        self.otlp_http: str = self.endpoints.get("otlp_http", "")

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")[-8000:]

    def get(self, path: str, **parameters: Any) -> Any:
        return httpx.get(f"{self.api}{path}", params=parameters, timeout=30).raise_for_status().json()

    def sql(self, query: str, **parameters: Any) -> list[list[Any]]:
        """Rows of a read-only query through the API."""
        body = {"query": query, "parameters": parameters}
        answer = httpx.post(f"{self.api}/api/v1/sql", json=body, timeout=60)
        assert answer.is_success, answer.text
        rows: list[list[Any]] = answer.json()["rows"]
        return rows

    def kill(self) -> None:
        """As the kernel does it: no goodbye."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and wait for the orderly end."""
        self.process.terminate()
        return self.process.wait(60)


@contextmanager
def running(data_dir: Path, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Server]:
    server = Server(data_dir, *arguments, environment=environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
