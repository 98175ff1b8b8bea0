"""
The whole program under load while the machine fails it: what was acknowledged is there once, span by span; the ledger adds up.

`pytest -m soak tests/e2e/test_faults.py` kills it a hundred times.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.support.load import RETRYABLE, Load
from tests.support.server import ROOT, Server, running, wait_for

pytestmark = pytest.mark.e2e


def check_nothing_lost(server: Server, load: Load) -> None:
    """Every acknowledged span is there, none twice; the ledger says the same. A span that was sent again counts again there."""
    assert set(load.refusals) <= set(RETRYABLE)
    expected = load.spans()

    def stored() -> dict[str, list[str]]:
        return dict(server.sql("SELECT trace_id, groupArray(span_id) FROM spans GROUP BY trace_id"))

    def has_all() -> bool:
        found = stored()
        return all(ids <= set(found.get(trace_id, ())) for trace_id, ids in expected.items())

    wait_for(has_all, 120, "every acknowledged span")
    found = stored()
    assert all(len(ids) == len(set(ids)) for ids in found.values())
    wait_for(lambda: balance(server)["pending"] == 0, 60, "an empty spool")
    lines = balance(server)
    assert lines["received"] == lines["accepted"] == lines["written"] >= sum(map(len, found.values()))


def balance(server: Server) -> dict[str, int]:
    lines = server.get("/api/v1/ledger")["balance"]
    return next(line for line in lines if line["signal"] == "traces")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 MB in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"may not mount a file system here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


class Filler(threading.Thread):
    """Another program, which takes all the room that is left, at about 100 MB/s, and keeps it."""

    def __init__(self, disk: Path) -> None:
        super().__init__()
        self._path = disk / "filler"
        self._gone = threading.Event()

    def run(self) -> None:
        with self._path.open("wb", buffering=0) as file:
            while not self._gone.wait(0.01):
                with contextlib.suppress(OSError):
                    file.write(bytes(1 << 20))

    def remove(self) -> None:
        self._gone.set()
        self.join()
        self._path.unlink()


RESERVES = {"SPANWISE_STORAGE__MIN_FREE_BYTES": str(100 << 20), "SPANWISE_COLLECTOR__SPOOL__MIN_FREE_BYTES": str(150 << 20)}


def test_a_disk_that_fills_pushes_back_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    with running(small_disk / "data", environment=RESERVES) as server, Load(server.otlp_grpc, text_bytes=4000) as load:
        wait_for(lambda: len(load.acknowledged) > 20, 60, "some load")
        filler = Filler(small_disk)
        filler.start()
        wait_for(lambda: load.refusals[grpc.StatusCode.UNAVAILABLE] > 20, 60, "push-back")
        wait_for(lambda: shutil.disk_usage(small_disk).free == 0, 60, "a full disk")
        n_acknowledged = len(load.acknowledged)
        filler.remove()
        wait_for(lambda: len(load.acknowledged) > n_acknowledged + 20, 60, "requests that are taken again")
        load.stop()
        check_nothing_lost(server, load)
        assert server.stop() == 0
    check_every_part(small_disk / "data")


def check_every_part(data_dir: Path) -> None:
    """The engine reads all it has written, checksums and all; in a process of its own, for it serves one directory each."""
    program = """
import sys
from pathlib import Path
from storage.client import Store
parts = Store.embedded(Path(sys.argv[1])).frame("CHECK ALL TABLES SETTINGS check_query_single_value_result = 0")
print(parts.height, parts.filter(parts["is_passed"] == 0).to_dicts())
"""
    done = subprocess.run([sys.executable, "-c", program, str(data_dir)], cwd=ROOT, capture_output=True, text=True, check=True)
    n_parts, _, failed = done.stdout.strip().partition(" ")
    assert int(n_parts) > 0
    assert failed == "[]"


def kill_under_load(directory: Path, n_kills: int) -> None:
    rng = random.Random(5)
    with Load("127.0.0.1:1") as load:
        for _ in range(n_kills):
            with running(directory) as server:
                load.address = server.otlp_grpc
                target = len(load.acknowledged) + rng.randrange(1, 200)
                wait_for(lambda: len(load.acknowledged) >= target, 60, "load")  # noqa: B023
                server.kill()
    with running(directory) as server:
        check_nothing_lost(server, load)


def test_killed_under_load_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    kill_under_load(tmp_path / "data", n_kills=2)


@pytest.mark.soak
def test_killed_a_hundred_times(tmp_path: Path) -> None:
    kill_under_load(tmp_path / "data", n_kills=100)
