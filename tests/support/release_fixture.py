"""
Makes the database that a release leaves behind, for later releases to be tested on.

Run at a release, once its schema is settled: `python -m tests.support.release_fixture`. It starts the program, sends it traces,
lets every job run, stops it, and packs the data directory into tests/fixtures/releases/VERSION.tar.zst, with a count of the rows
beside it.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import httpx
import zstandard

import spanwise
from tests.e2e.test_serve import send_traces
from tests.support.server import ROOT, running, wait_for

RELEASES = ROOT / "tests" / "fixtures" / "releases"
# Kept for ever: the rows have to be there however much later they are looked at.
_KEPT = {f"SPANWISE_STORAGE__RETENTION__{name}_DAYS": "0" for name in ("SPANS", "CONTENT", "FACTS", "MINUTES", "HOURS", "DAYS")}


def unpack(archive: Path, directory: Path) -> None:
    """The data directory as the release left it."""
    data = zstandard.ZstdDecompressor().decompress(archive.read_bytes(), max_output_size=2**30)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extractall(directory, filter="data")


def fill(directory: Path) -> None:
    """A little of everything: two routes, verdicts, feedback, a price, a declared rollout, an API key."""
    with running(directory, environment=_KEPT) as server:
        ids = send_traces(server, 8, route="teacher") + send_traces(server, 8, route="student")
        score = {"trace_id": ids[0], "name": "user_feedback", "label": "down", "annotator_kind": "user"}
        httpx.post(f"{server.api}/api/v1/scores", json={"scores": [score]}).raise_for_status()
        rollout = {"service": "shop", "baseline": "teacher", "candidate": "student"}
        httpx.put(f"{server.api}/api/v1/rollouts/shop-student", json=rollout).raise_for_status()
        price = {"model": "student-8b", "input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.4}
        httpx.put(f"{server.api}/api/v1/prices", json=price).raise_for_status()
        wait_for(lambda: server.sql("SELECT count() FROM trace_facts FINAL")[0][0] == 16, 90, "all facts")
        wait_for(lambda: server.sql("SELECT count() FROM evaluations")[0][0] == 17, 90, "all verdicts")
        wait_for(lambda: server.sql("SELECT count() FROM metric_hours")[0][0] > 0, 90, "rollups")
        wait_for(lambda: server.sql("SELECT count() FROM verdicts")[0][0] > 0, 90, "a verdict")
        key = {"name": "ci", "scopes": ["read", "admin"]}
        httpx.post(f"{server.api}/api/v1/keys", json=key).raise_for_status()
        assert server.stop() == 0


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        fill(data)
        counted = subprocess.run(
            [sys.executable, "-m", "tests.support.schema", str(data)], cwd=ROOT, capture_output=True, check=True
        )
        rows = json.loads(counted.stdout.splitlines()[-1])["rows"]
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.add(data / "clickhouse", "clickhouse")
        RELEASES.mkdir(parents=True, exist_ok=True)
        archive = RELEASES / f"{spanwise.__version__}.tar.zst"
        archive.write_bytes(zstandard.ZstdCompressor(level=19).compress(buffer.getvalue()))
        archive.with_name(f"{spanwise.__version__}.json").write_text(json.dumps(rows, indent=1) + "\n")
        print(f"{archive}: {archive.stat().st_size:,} bytes, {sum(rows.values()):,} rows in {len(rows)} tables")


if __name__ == "__main__":
    main()
