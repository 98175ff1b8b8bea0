"""A database of every earlier release comes out of this release's migrations like a new one, with its rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from storage.client import Store
from tests.support.release_fixture import RELEASES, unpack
from tests.support.schema import schema_of
from tests.support.server import ROOT

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("archive", sorted(RELEASES.glob("*.tar.zst")), ids=lambda path: path.name.removesuffix(".tar.zst"))
def test_a_release_is_upgraded(archive: Path, fresh_store: Store, tmp_path: Path) -> None:
    """A released schema file is never edited: add a new one. Until 0.1.0 is out, `python -m tests.support.release_fixture`."""
    unpack(archive, tmp_path)
    command = [sys.executable, "-m", "tests.support.schema", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{test_a_release_is_upgraded.__doc__}\n{done.stderr[-2000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["schema"] == schema_of(fresh_store)
    # what has a time to live in the schema may have expired since the archive was made
    expected = json.loads(archive.with_name(archive.name.replace(".tar.zst", ".json")).read_text())
    kept = {table: n for table, n in expected.items() if " TTL " not in found["schema"][table] and table != "schema_migrations"}
    assert {table: found["rows"].get(table, 0) for table in kept} == kept
    assert {"span_records", "trace_facts", "metric_minutes", "verdicts", "rollouts", "prices", "api_keys"} <= set(kept)
