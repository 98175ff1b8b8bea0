"""kill -9 while a message is on its way: it is sent again once the claim has lapsed, under the same key, and then never more."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.peers import http_sink

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


def deliver(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.support.deliver_once", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()


def test_killed_between_claim_and_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        # the channel takes the connection and never answers: the claim is written, the outcome is not
        port = mute.getsockname()[1]
        mute.settimeout(60)
        victim = deliver([str(tmp_path), f"http://127.0.0.1:{port}", "0"])
        connection, _ = mute.accept()
        os.kill(victim.pid, signal.SIGKILL)
        victim.communicate()
        connection.close()
    with http_sink() as sink:
        sink.stop()
        sink.port = port
        sink.start()
        finish(deliver([str(tmp_path), sink.url, "60"]))
        assert sink.requests == []  # the claim of the dead one still stands: it might be alive and slow
        finish(deliver([str(tmp_path), sink.url, "180"]))
        assert [request.headers["Idempotency-Key"] for request in sink.requests] == ["a1-1"]
        finish(deliver([str(tmp_path), sink.url, "9000"]))
        assert len(sink.requests) == 1
