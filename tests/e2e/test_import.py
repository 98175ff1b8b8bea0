"""`spanwise import` in a process of its own, on a data directory that nobody serves."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.receivers import make_span, trace_request

pytestmark = pytest.mark.e2e

PROGRAM = """
import typer
from spanwise.commands import imports
app = typer.Typer()
app.callback()(lambda: None)
imports.register(app)
app()
"""


def test_a_file_is_imported_twice_and_its_spans_are_there_once(tmp_path: Path) -> None:
    message = trace_request(make_span(), make_span(span_id=b"12345678"), make_span(span_id=b"x")).SerializeToString()
    path = tmp_path / "traces.gz"
    path.write_bytes(gzip.compress(len(message).to_bytes(4, "big") + message))
    command = [sys.executable, "-c", PROGRAM, "import", "--data-dir", str(tmp_path / "data"), str(path)]
    environment = {**os.environ, "COLUMNS": "200"}
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "3 items in 1 messages, 1 rejected, 0 messages undecodable" in done.stdout
    count = (
        "from pathlib import Path; from storage.client import Store; "
        f"store = Store.embedded(Path({str(tmp_path / 'data')!r})); "
        "print(store.frame('SELECT count() AS n FROM span_records FINAL')['n'][0])"
    )
    found = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True, timeout=120, check=True)
    assert found.stdout.strip() == "2"
