"""A forwarder written by others in another language (rotel, Rust, from PyPI) between an SDK and the doors."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

from tests.support.receivers import ListSink, grpc_door, http_door, make_intake
from tests.support.server import wait_for

rotel = pytest.importorskip("rotel", reason="rotel is not installed (no wheel for this platform)")

pytestmark = pytest.mark.integration

AGENT = Path(rotel.__file__).with_name("rotel-agent")
DEADLINE = 30.0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def agent(directory: Path, *options: str) -> Iterator[str]:
    """rotel as a child process; gives the address of its OTLP/gRPC door."""
    grpc_port, http_port = _free_port(), _free_port()
    command = [
        str(AGENT), "start", "--pid-file", str(directory / "pid"), "--log-file", str(directory / "log"),
        "--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}", "--otlp-http-endpoint", f"127.0.0.1:{http_port}",
        "--exporter", "otlp", *options,
    ]  # fmt: skip
    with (directory / "out").open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
                grpc.channel_ready_future(channel).result(DEADLINE)
            yield f"127.0.0.1:{grpc_port}"
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(DEADLINE)
            process.kill()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_spans_pass_through_a_foreign_agent(tmp_path: Path, protocol: str) -> None:
    sink = ListSink()
    door = grpc_door(make_intake(sink)) if protocol == "grpc" else http_door(make_intake(sink))
    with door as address:
        endpoint = f"http://{address}" if protocol == "grpc" else address
        with agent(tmp_path, "--otlp-exporter-endpoint", endpoint, "--otlp-exporter-protocol", protocol) as entrance:
            exporter = OTLPSpanExporter(endpoint=entrance, insecure=True, timeout=10)
            tracer = TracerProvider().get_tracer("t")
            spans = [tracer.start_span(f"s{n}", attributes={"n": n}) for n in range(50)]
            for span in spans:
                span.end()
            assert exporter.export(spans) is SpanExportResult.SUCCESS
            exporter.shutdown()
            wait_for(lambda: len(sink.spans()) >= 50, DEADLINE, "fifty spans arrived")
    assert sorted(span.name for span in sink.spans()) == sorted(f"s{n}" for n in range(50))
