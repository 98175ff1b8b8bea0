"""A coverage-guided fuzz of everything that reads strangers' bytes: bounded here, longer with `pytest -m soak`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.receivers import make_span, trace_request

pytest.importorskip("atheris", reason="atheris has no wheel for this platform")


def fuzz(directory: Path, *limits: str) -> None:
    corpus = directory / "corpus"
    corpus.mkdir()
    request = trace_request(make_span(), make_span(span_id=b"x")).SerializeToString()
    span = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%s","spanId":"%s"}]}]}]}' % (b"ab" * 16, b"cd" * 8)
    for number, seed in enumerate((b"\x00" + request, b"\x01" + span, b"\x07" + request)):
        (corpus / str(number)).write_bytes(seed)
    fuzzer = [sys.executable, "-m", "tests.support.fuzz_intake", "-rss_limit_mb=1024", *limits, str(corpus)]
    # by way of a shell: the limit counts the most memory ever, and a child begins with what its parent has, here this process
    command = ["sh", "-c", '"$@"; exit $?', "sh", *fuzzer]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-4000:]
    assert "DONE" in done.stderr


def test_nothing_that_is_sent_breaks_the_readers(tmp_path: Path) -> None:
    fuzz(tmp_path, "-runs=20000", f"-artifact_prefix={tmp_path}/")


@pytest.mark.soak
def test_nothing_that_is_sent_for_minutes_breaks_the_readers(tmp_path: Path) -> None:
    fuzz(tmp_path, "-max_total_time=300", f"-artifact_prefix={tmp_path}/")
