"""`spanwise purge`, `backup`, `restore` and `copy` as commands: beside a running instance, without one, and killed half-way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.chunks import data_tables
from storage.client import DATABASE, Store
from tests.e2e.test_serve import send_traces
from tests.support.clickhouse_http import Fault, Front
from tests.support.release_fixture import RELEASES, unpack
from tests.support.schema import rows_of
from tests.support.server import ROOT, Server, running, wait_for

pytestmark = pytest.mark.integration


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "spanwise", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def spanwise(*arguments: str | Path) -> str:
    """What the command prints; it must succeed."""
    process = start(*arguments)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out


def refusal(*arguments: str | Path) -> str:
    process = start(*arguments)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    return errors


def rows_in(directory: Path) -> dict[str, int]:
    """Of an embedded database that nobody serves, read by a process of its own: an engine opens one directory."""
    command = [sys.executable, "-m", "tests.support.schema", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    rows: dict[str, int] = json.loads(done.stdout.splitlines()[-1])["rows"]
    return rows


def settled_rows(server: Server, n_traces: int) -> None:
    wait_for(lambda: server.sql("SELECT count() FROM trace_facts FINAL")[0][0] == n_traces, 90, "all facts")


def test_purge_backup_and_restore(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data) as server:
        ids = send_traces(server, 6)
        settled_rows(server, 6)
        printed = spanwise("purge", "--trace", ids[0], "--trace", ids[1], "--data-dir", data)
        assert "erased 2 traces" in printed
        # two spans a trace, and one verdict about each
        assert [line.split()[1:6:2] for line in printed.splitlines() if " span_records " in line] == [["span_records", "4", "0"]]
        assert {row[0] for row in server.sql("SELECT DISTINCT trace_id FROM spans")} == set(ids[2:])
        assert server.sql("SELECT count() FROM evaluations")[0][0] == 4
        assert "in files" not in refusal("backup", data, "--data-dir", data)
        printed = spanwise("backup", tmp_path / "saved", "--data-dir", data)
        told = printed.strip()
        assert told.endswith(f" rows in {tmp_path / 'saved'}")
        assert not any((data / "backups").iterdir())
        kinds = [run["kind"] for run in server.get("/api/v1/jobs")["items"] if run["state"] == "done"]
        assert {"purge", "backup"} <= set(kinds)
        assert "is in use by process" in refusal("copy", "--from", data, "--to", "clickhouse://127.0.0.1:9")
        assert "is in use by process" in refusal("restore", tmp_path / "saved", "--data-dir", data)
        assert server.stop() == 0

    assert "restored and verified" in spanwise("restore", tmp_path / "saved", "--data-dir", tmp_path / "again")
    # the same words without an instance
    alone = spanwise("backup", tmp_path / "alone", "--data-dir", tmp_path / "again").strip()
    assert alone.endswith(f" rows in {tmp_path / 'alone'}")
    assert alone.split()[0].replace(",", "").isdigit()
    restored = rows_in(tmp_path / "again")
    assert (restored["span_records"], restored["trace_facts"], restored["evaluation_records"]) == (8, 4, 4)
    assert "erased 4 traces" in spanwise("purge", "--user", "u1", "--data-dir", tmp_path / "again")
    again = spanwise("purge", "--trace", ids[0].upper(), "--data-dir", tmp_path / "again")
    assert f"no such trace: {ids[0]}" in again
    assert "nothing was erased" in again
    assert "erased 1" not in again
    assert "'xyz' is no trace id: 32 hexadecimal digits" in refusal("purge", "--trace", "xyz", "--data-dir", tmp_path / "again")
    left = rows_in(tmp_path / "again")
    assert not {"span_records", "trace_facts", "evaluation_records", "trace_times", "touched_traces"} & set(left)
    # what only counts names nobody
    assert left["metric_minutes"] == restored["metric_minutes"]


def test_what_waits_in_a_spool_is_not_forgotten(tmp_path: Path) -> None:
    waiting = tmp_path / "spool" / "0"
    waiting.mkdir(parents=True)
    (waiting / "traces-1.segment").write_bytes(b"left by a killed process")
    assert "24 bytes wait in" in refusal("backup", tmp_path / "saved", "--data-dir", tmp_path)


def test_a_copy_that_was_killed_is_taken_up_again(front: Front, tmp_path: Path) -> None:
    data = tmp_path / "data"
    unpack(RELEASES / "0.1.0.tar.zst", data)
    expected = rows_in(data)
    try:
        with front.failing(Fault.HANG, "INSERT INTO span_records"):
            killed = start("copy", "--from", data, "--to", front.url)
            front.wait_for_fault()
            killed.kill()
            killed.communicate()
        printed = spanwise("copy", "--from", data, "--to", front.url)
        n_there, n_all = (int(word) for word in printed.split("(")[1].split() if word.isdigit())
        assert 0 < n_there < n_all
        remote = Store.server(front.url, DATABASE)
        found = rows_of(remote)
        carried = set(data_tables(remote))
        assert {t: n for t, n in found.items() if t in carried} == {t: n for t, n in expected.items() if t in carried}
        remote.close()
        assert not (data / "copying").exists()
        again = spanwise("copy", "--from", data, "--to", front.url)
        assert f"({n_all} of {n_all} chunks were there already)" in again.replace("\n", " ")
    finally:
        cleaner = Store.server(front.url, DATABASE)
        cleaner.command(f"DROP DATABASE `{DATABASE}`")
        cleaner.close()
