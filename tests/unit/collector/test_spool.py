"""The order in which a spool touches the disk, and who is told what when it fails."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collector.config import SpoolConfig
from collector.records import Counts, Signal, SpoolRecord
from collector.segments import scan
from collector.spool import Spool, SpoolWriteError, Waiting
from collector.wire import embedded

_SYNC = os.fdatasync


def record(n: int) -> SpoolRecord:
    return SpoolRecord(Signal.TRACES, f"key-{n}", 0, embedded(1, embedded(2, b"")), Counts(1))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what the spool asks of the disk, in order."""
    made: list[str] = []

    def noted(name: str) -> None:
        original = getattr(os, name)

        def call(*arguments: Any) -> Any:
            made.append(name)
            return original(*arguments)

        monkeypatch.setattr(os, name, call)

    for name in ("pwritev", "fdatasync", "fsync", "ftruncate"):
        noted(name)
    return made


def spool(directory: Path, durability: str = "fsync") -> Spool:
    return Spool(directory, SpoolConfig.model_validate({"durability": durability, "min_free_bytes": 0}))


def test_written_then_synced_then_acknowledged(tmp_path: Path, calls: list[str]) -> None:
    made = spool(tmp_path)
    made.append(record(1))
    # the new file's name is made durable before anything in it is acknowledged
    assert calls == ["fsync", "pwritev", "fdatasync"]
    made.append(record(2))
    assert calls[3:] == ["pwritev", "fdatasync"]
    made.close()


def test_what_waits_is_counted_since_the_oldest_of_it(tmp_path: Path) -> None:
    made = spool(tmp_path)
    assert made.waiting() == Waiting(0, made.limit_bytes, None)
    for minute in (7, 5, 6):
        made.append(replace(record(minute), received_at_ns=minute * 60 * 10**9 + 1))
    waiting = made.waiting()
    assert (waiting.n_bytes, waiting.oldest_minute) == (made.used_bytes, datetime(1970, 1, 1, 0, 5, tzinfo=UTC))
    for segment in made.close_segments():
        made.remove(segment)
    assert made.waiting() == Waiting(0, made.limit_bytes, None)
    made.close()


def test_without_durability_nothing_is_synced(tmp_path: Path, calls: list[str]) -> None:
    made = spool(tmp_path, "write")
    made.append(record(1))
    assert calls == ["pwritev"]
    made.close()


def test_writes_cut_short_anywhere_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = spool(tmp_path / "whole", "write")
    cut = spool(tmp_path / "cut", "write")
    # more scopes, and so more pieces, than the system takes in one call
    payload = embedded(1, embedded(1, b"resource") + b"".join(embedded(2, bytes(n % 7)) for n in range(2500)))
    for n in range(3):
        whole.append(SpoolRecord(Signal.TRACES, f"key-{n}", 0, payload, Counts(1)))
    sizes = iter(range(1, 1 << 20, 13))

    def short(file: int, pieces: list[bytes], offset: int) -> int:
        return os.pwrite(file, b"".join(pieces)[: next(sizes)], offset)

    monkeypatch.setattr(os, "pwritev", short)
    for n in range(3):
        cut.append(SpoolRecord(Signal.TRACES, f"key-{n}", 0, payload, Counts(1)))
    (written,), (expected,) = ((tmp_path / name).glob("*.segment") for name in ("cut", "whole"))
    assert written.read_bytes() == expected.read_bytes()
    whole.close()
    cut.close()


class Disk:
    """A disk whose syncs wait for `go`, and fail when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n_syncs = 0
        self.is_broken = False
        self.entered, self.go = threading.Semaphore(0), threading.Semaphore(0)
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, file: int) -> None:
        self.n_syncs += 1
        self.entered.release()
        assert self.go.acquire(timeout=10)
        if self.is_broken:
            raise OSError(errno.EIO, "broken")
        _SYNC(file)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


class Sender(threading.Thread):
    def __init__(self, made: Spool, n: int) -> None:
        super().__init__(daemon=True)
        self._made, self._record = made, record(n)
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._made.append(self._record)
        except Exception as error:
            self.error = error


def gathered(made: Spool, n: int) -> None:
    """Wait until `n` requests gather behind a sync that is under way."""
    deadline = threading.Event()
    for _ in range(1000):
        if len(made._actives[Signal.TRACES].batch.items) == n:
            return
        deadline.wait(0.01)
    raise AssertionError("they did not gather")


def test_who_comes_during_a_sync_shares_the_next(tmp_path: Path, disk: Disk) -> None:
    made = spool(tmp_path)
    first = Sender(made, 0)
    assert disk.entered.acquire(timeout=10)
    others = [Sender(made, n) for n in range(1, 6)]
    gathered(made, 5)
    assert first.is_alive()
    assert all(other.is_alive() for other in others)  # nothing is acknowledged before its own sync
    disk.go.release()
    first.join(10)
    assert disk.entered.acquire(timeout=10)
    late = Sender(made, 6)
    gathered(made, 1)
    disk.go.release()
    for other in others:  # and none of them waits for the sync of who came later
        other.join(10)
        assert not other.is_alive()
    assert late.is_alive()
    disk.go.release()
    late.join(10)
    assert disk.n_syncs == 3
    (segment,) = made.close_segments()
    assert sorted(header.key_id for header in scan(segment.path.read_bytes())) == [f"key-{n}" for n in range(7)]
    made.close()


def test_a_failed_sync_refuses_all_who_shared_it(tmp_path: Path, disk: Disk) -> None:
    made = spool(tmp_path)
    first = Sender(made, 0)
    assert disk.entered.acquire(timeout=10)
    others = [Sender(made, n) for n in range(1, 4)]
    gathered(made, 3)
    disk.go.release()
    first.join(10)
    assert disk.entered.acquire(timeout=10)
    disk.is_broken = True
    disk.go.release()
    for other in others:
        other.join(10)
        assert isinstance(other.error, SpoolWriteError)
    assert first.error is None
    # what is left on disk is what was acknowledged
    (segment,) = made.close_segments()
    assert [header.key_id for header in scan(segment.path.read_bytes())] == ["key-0"]
    assert segment.n_items == 1
    made.close()


def test_a_thread_that_dies_refuses_all_who_shared_its_batch(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    made = spool(tmp_path)
    first = Sender(made, 0)
    assert disk.entered.acquire(timeout=10)
    others = [Sender(made, n) for n in range(1, 4)]
    gathered(made, 3)

    def dies(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(made, "_write", dies)
    disk.go.release()
    for sender in (first, *others):
        sender.join(10)
        assert not sender.is_alive()
    assert first.error is None
    assert sorted(type(other.error).__name__ for other in others) == ["MemoryError", "SpoolWriteError", "SpoolWriteError"]
    made.close()
