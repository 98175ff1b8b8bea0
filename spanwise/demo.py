"""`spanwise demo`: a real server on a temporary directory, a simulated rollout through its real doors, and what came of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from spanwise.replay import messages
from spanwise.scenario import Scenario
from spanwise.scenarios import demo as demo_scenario
from spanwise.sender import Sender, SendError
from spanwise.simulate import traces
from storage.errors import SpanwiseError

ROLLOUT = "cheaper-support"
COHORT = "regulated_answer"
TRACES_PER_DAY = 1_400
START_SECONDS = 60
JUDGE_SECONDS = 300


class DemoError(SpanwiseError):
    """The demo did not get as far as it should; the message says how far."""


class _Sink:
    """Where the demo's pages go: a webhook on loopback that keeps what it is sent."""

    def __init__(self) -> None:
        self.pages: list[dict[str, Any]] = []
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                pages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def run(*, wait: bool, seed: int, port: int) -> int:
    """
    Run the demo; returns the exit code.

    Args:
        wait: stay up afterwards until interrupted, so that the pages can be looked at.
        seed: of the simulation.
        port: of the pages; 0 takes a free one.

    Raises:
        DemoError: the server did not start, or no divergence was seen in time.
    """
    # ended from outside, the demo still stops the server it started
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console()
    scenario = _ending_yesterday(demo_scenario(TRACES_PER_DAY))
    with tempfile.TemporaryDirectory(prefix="spanwise-demo-") as name:
        directory = Path(name)
        sink = _Sink()
        (directory / "spanwise.toml").write_text(_settings(scenario, sink.url), encoding="utf-8")
        with (
            _server(directory, port, console) as (endpoints, process),
            httpx.Client(base_url=endpoints["api"], timeout=30) as api,
        ):
            _replay(scenario, seed, endpoints, api, console)
            _judge(api, console)
            alert_id = _report(api, sink, console)
            if wait:
                _invite(endpoints["api"], alert_id, console)
                console.print("\nThe pages stay up until you press Ctrl-C.")
                _until_interrupted(process)
        sink.close()
    return 0


def _ending_yesterday(scenario: Scenario) -> Scenario:
    days = scenario.history_days + scenario.days + 1
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return replace(scenario, start=midnight - timedelta(days=days))


def _settings(scenario: Scenario, sink: str) -> str:
    prices = "".join(
        f'[[price]]\nmodel = "{arm.model}"\ninput_usd_per_mtok = {arm.usd_per_million_input}\n'
        f"output_usd_per_mtok = {arm.usd_per_million_output}\n\n"
        for arm in (scenario.teacher, scenario.student)
    )
    return f"""\
[[rollout]]
name = "{ROLLOUT}"
service = "{scenario.service}"
baseline = "{scenario.teacher.route}"
candidate = "{scenario.student.route}"
high_value_cohorts = ["{COHORT}"]
split = {scenario.split}
gates = {{ max_cost_ratio = 0.5, max_regression = 0.03, max_high_value_regression = 0.01 }}

{prices}[[alerts.webhooks]]
url = "{sink}"
"""


@contextmanager
def _server(directory: Path, port: int, console: Console) -> Iterator[tuple[dict[str, str], subprocess.Popen[bytes]]]:
    """`spanwise serve` as a process of its own, as a user would start it; where its doors are."""
    log_path = directory / "serve.log"
    command = [sys.executable, "-m", "spanwise", "serve", "--config", str(directory / "spanwise.toml")]
    command += ["--data-dir", str(directory / "data"), "--clock", "event", "--job-interval", "2"]
    command += ["--otlp-grpc-port", "0", "--otlp-http-port", "0", "--http-port", str(port)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with log_path.open("wb") as log_file:
        process = subprocess.Popen(command, stdout=log_file, stderr=log_file, env=environment)
    try:
        with console.status("starting spanwise serve with ClickHouse inside"):
            path = directory / "data" / "endpoints.json"
            _wait(lambda: path.exists() or process.poll() is not None, START_SECONDS)
        if not path.exists():
            raise DemoError(f"the server did not start:\n{_tail(log_path)}")
        endpoints = json.loads(path.read_text(encoding="utf-8"))
        console.print(f"[green]✓[/] spanwise serve is up: OTLP on {endpoints['otlp_grpc']}, pages on {endpoints['api']}")
        yield endpoints, process
    except (httpx.TransportError, SendError) as error:
        # its connections break a moment before it is gone
        if not _wait(lambda: process.poll() is not None, 2):
            raise
        raise DemoError(f"the server ended by itself ({process.returncode}):\n{_tail(log_path)}") from error
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _replay(scenario: Scenario, seed: int, endpoints: dict[str, str], api: httpx.Client, console: Console) -> None:
    with console.status(f"simulating {scenario.days:g} days of {scenario.service}"):
        frame = traces(scenario, seed)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    sent = 0
    with Sender(endpoints["otlp_grpc"], api) as sender, Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("replaying over OTLP", total=len(frame))
        last = scenario.start
        per_day = len(frame) / (scenario.history_days + scenario.days)
        for message in messages(frame):
            sender.send(message)
            sent += message.n_items
            if message.at != last:
                progress.update(task, completed=min(len(frame), per_day * (message.at - scenario.start) / timedelta(days=1)))
                last = message.at
    days = f"{scenario.start:%d %b} to {last:%d %b}"
    console.print(f"[green]✓[/] {len(frame):,} traces of {days} sent as {sent:,} spans, log records and scores")


def _judge(api: httpx.Client, console: Console) -> None:
    with console.status("assembling traces, settling blocks, judging") as status:

        def is_decided() -> bool:
            verdict = _verdict(api)
            status.update(f"judging: {verdict.get('kind', 'no verdict yet')} as of {verdict.get('as_of', '-')}")
            return verdict.get("kind") == "divergence" and bool(_firing(api))

        if not _wait(is_decided, JUDGE_SECONDS):
            raise DemoError(f"no divergence after {JUDGE_SECONDS} s; the verdict is {_verdict(api)}")


def _verdict(api: httpx.Client) -> dict[str, Any]:
    answer = api.get(f"/api/v1/rollouts/{ROLLOUT}/verdict")
    verdict: dict[str, Any] = answer.json() if answer.is_success else {}
    return verdict


def _firing(api: httpx.Client) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = api.get("/api/v1/alerts").raise_for_status().json()["items"]
    return items


def _report(api: httpx.Client, sink: _Sink, console: Console) -> str:
    """What on-call was sent; the alert's id."""
    alert_id: str = _firing(api)[0]["alert_id"]
    _wait(lambda: bool(sink.pages), 20)
    page = sink.pages[0].get("text", "") if sink.pages else ""
    console.print(Panel(page.strip() or "the alert is recorded; its delivery is still under way", title="what on-call was sent"))
    return alert_id


def _invite(url: str, alert_id: str, console: Console) -> None:
    """Where to look, while the server is up."""
    console.print("Look at it:")
    console.print(f"  the rollout   {url}/rollouts/{ROLLOUT}", soft_wrap=True)
    console.print(f"  the alert     {url}/alerts/{alert_id}", soft_wrap=True)
    console.print(f"  its traces    {url}/traces?route=student&cohort={COHORT}", soft_wrap=True)
    console.print(f"  data health   {url}/health", soft_wrap=True)


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.25)
    return True


def _until_interrupted(process: subprocess.Popen[bytes]) -> None:
    """Until Ctrl-C, or until the server is gone."""
    try:
        code = process.wait()
    except KeyboardInterrupt:
        return
    raise DemoError(f"the server ended by itself ({code})")


def _tail(log_path: Path) -> str:
    return log_path.read_text(errors="replace")[-2000:]
