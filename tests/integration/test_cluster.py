"""The cluster schema on a real engine: Replicated tables in a real ZooKeeper, and all the program does by Distributed ones."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.cluster import SHARD_KEYS, local_name
from storage.migrations import known_migrations
from tests.support.peers import free_port, until

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
JAR = Path("/usr/share/java/zookeeper.jar")
JAVA = shutil.which("java")


def run(*arguments: str | Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.support.cluster_engine", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def zookeeper(tmp_path: Path) -> Iterator[int]:
    """The port of a ZooKeeper of our own."""
    if JAVA is None or not JAR.exists():
        pytest.skip("no ZooKeeper on this machine (Debian's zookeeperd)")
    port = free_port()
    settings = {
        "tickTime": 500,
        "dataDir": tmp_path / "zookeeper",
        "clientPort": port,
        "clientPortAddress": "127.0.0.1",
        "admin.enableServer": "false",
        "4lw.commands.whitelist": "ruok",
    }
    (tmp_path / "zoo.cfg").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    command = [JAVA, "-Xmx128m", "-cp", f"/etc/zookeeper/conf:{JAR}", "org.apache.zookeeper.server.quorum.QuorumPeerMain"]
    with (tmp_path / "zookeeper.log").open("wb") as log:
        process = subprocess.Popen([*command, str(tmp_path / "zoo.cfg")], stdout=log, stderr=log)
    try:
        until(lambda: is_ok(port) or process.poll() is not None, "ZooKeeper to answer", 60)
        assert process.poll() is None, (tmp_path / "zookeeper.log").read_text()
        yield port
    finally:
        process.kill()
        process.wait()


def is_ok(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(b"ruok")
            return connection.recv(16) == b"imok"
    except OSError:
        return False


def test_replicated_tables_are_in_zookeeper(zookeeper: int, tmp_path: Path) -> None:
    found = run("replicated", tmp_path / "data", str(zookeeper))
    paths = {table: (path, replica) for table, path, replica in found["paths"]}
    engines = found["engines"]
    # every table with rows is replicated, and each has a path of its own
    assert set(paths) == {name for name, engine in engines.items() if engine.endswith("MergeTree")}
    assert len({path for path, _ in paths.values()}) == len(paths)
    for name in SHARD_KEYS:
        assert engines[name] == "Distributed"
        assert paths[local_name(name)][0] == f"/clickhouse/tables/01/spanwise/{local_name(name)}"
    assert paths["leases"] == (
        "/clickhouse/tables/all/spanwise/leases",
        "/clickhouse/tables/all/spanwise/leases/replicas/01-a",
    )


def test_readers_writers_and_jobs_work_through_distributed_tables(tmp_path: Path) -> None:
    """Six traces of two spans and one verdict each, written, analysed, saved, erased in part, restored."""
    found = run("sharded", tmp_path / "data")
    assert found["migrations"] == [migration.number for migration in known_migrations()[1:]]
    assert found["again"] == 0
    assert found["errors"] == ["", "", ""]
    assert found["counted"] == found["held"]
    assert {name: found["counted"][name] for name in ("span_records", "trace_facts", "evaluation_records")} == {
        "span_records": 12,
        "trace_facts": 6,
        "evaluation_records": 6,
    }
    assert found["counted"]["metric_minutes"] > 0
    assert found["views"] == {"spans": 12, "evaluations": 6}
    assert found["delays"] > 0
    assert {entry["table"]: entry["n_before"] for entry in found["proof"]}["span_records"] == 4
    assert found["left"] == {"span_records": 8, "trace_facts": 4}
    assert "span_records" in found["changed"]
    rows = found["restored_rows"]
    assert (rows["span_records_local"], rows["trace_facts_local"], rows["trace_times_local"]) == (12, 6, 6)
