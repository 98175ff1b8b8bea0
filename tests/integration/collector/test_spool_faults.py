"""
What was acknowledged is in the store once, whatever happens in between: the process is killed at random points, the disk is
full, the store is gone, slow or refuses a request. The ledger adds up after each.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from collector.config import CollectorConfig, FlushConfig, SpoolConfig
from collector.flusher import Flusher
from collector.loader import Loader
from collector.quarantine import drop, retry
from collector.records import Entry
from collector.spool import Spool, SpoolFullError, SpoolWriteError, claim_directory
from storage.client import Store
from storage.clock import WallClock
from storage.errors import DataDirectoryBusyError, StoreRefusedError, StoreUnavailableError
from storage.ledger_report import read_ledger_balance, read_ledger_totals
from storage.quarantine import read_quarantine
from tests.support.server import wait_for
from tests.support.spool_writer import START_NS, append_for_ever, record

pytestmark = pytest.mark.integration


def balance(store: Store) -> dict[str, int]:
    totals = read_ledger_totals(store)
    return dict(totals.group_by("entry").agg(pl.col("n_items").sum()).iter_rows())


def n_stored(store: Store) -> int:
    return int(store.frame("SELECT count() AS n FROM span_records FINAL")["n"][0])


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", SpoolConfig())
    yield spool
    spool.close()


def make_flusher(spool: Spool, store: Store, directory: Path) -> Flusher:
    return Flusher(spool, store, CollectorConfig(flush=FlushConfig(drain_seconds=0)), directory, WallClock())


def three_segments(spool: Spool) -> None:
    for seed in range(3):
        spool.append(record(seed))
        spool.close_segments()


def test_a_replay_after_any_step_doubles_nothing(spool: Spool, store: Store, tmp_path: Path) -> None:
    spool.append(record(1))
    (segment,) = spool.close_segments()
    kept = segment.path.read_bytes()
    make_flusher(spool, store, tmp_path).flush()
    before = store.frame("SELECT * FROM span_records ORDER BY span_id"), balance(store)

    segment.path.write_bytes(kept)  # as if the process had died before it could remove the segment
    spool.close()
    again = Spool(tmp_path / "spool", SpoolConfig())
    make_flusher(again, store, tmp_path).flush()
    again.close()

    assert store.frame("SELECT * FROM span_records ORDER BY span_id").equals(before[0])
    assert balance(store) == before[1] == {"requests": 1, "received": 3, "accepted": 3, "written": 3}
    assert store.frame("SELECT count() AS n FROM evaluation_records")["n"][0] == 3


def test_the_same_spans_in_another_batch_are_the_same_rows(spool: Spool, store: Store, tmp_path: Path) -> None:
    for n_spans in (3, 8):  # the first three of the eight are the three
        spool.append(record(1, n_spans))
    flusher = make_flusher(spool, store, tmp_path)
    flusher.flush()
    assert n_stored(store) == 8
    assert balance(store)["written"] == 11
    store.command("OPTIMIZE TABLE span_records FINAL")
    arrived = datetime.fromtimestamp(START_NS / 1e9, UTC)
    line = read_ledger_balance(store, arrived - timedelta(hours=1), arrived + timedelta(hours=1)).row(0, named=True)
    assert (line["written"], line["superseded"], line["pending"]) == (11, 3, 0)


def test_a_stop_leaves_for_the_next_start_what_it_has_no_time_for(
    spool: Spool, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_segments(spool)
    clock = [0.0]
    insert = Loader.insert_spans

    def takes_a_quarter_minute(loader: Loader, path: Path, token: str) -> None:
        insert(loader, path, token)
        clock[0] += 15

    monkeypatch.setattr(Loader, "insert_spans", takes_a_quarter_minute)
    monkeypatch.setattr("collector.flusher.time.monotonic", lambda: clock[0])
    config = CollectorConfig(flush=FlushConfig(drain_seconds=20, parallel=1))
    Flusher(spool, store, config, tmp_path, WallClock()).stop()
    # begun at 0 and at 15 s; at 30 s it is too late
    assert (n_stored(store), spool.n_pending) == (6, 3)
    spool.close()
    monkeypatch.undo()
    again = Spool(tmp_path / "spool", SpoolConfig())
    make_flusher(again, store, tmp_path).flush()
    again.close()
    assert n_stored(store) == 9
    assert balance(store)["written"] == 9


def test_a_torn_tail_is_cut_and_the_rest_is_kept(spool: Spool, store: Store, tmp_path: Path) -> None:
    for seed in range(3):
        spool.append(record(seed))
    (segment,) = spool.close_segments()
    data = segment.path.read_bytes()
    spool.close()
    rng = random.Random(5)
    third = 2 * len(data) // 3
    for cut in (len(data) - 1, third + 1, rng.randrange(third + 2, len(data))):
        segment.path.write_bytes(data[:cut])
        recovered = Spool(tmp_path / "spool", SpoolConfig())
        assert recovered.n_pending == 6
        recovered.close()
    damaged = bytearray(data)
    damaged[-20] ^= 1
    segment.path.write_bytes(damaged)
    recovered = Spool(tmp_path / "spool", SpoolConfig())
    assert recovered.n_pending == 6
    make_flusher(recovered, store, tmp_path).flush()
    recovered.close()
    assert n_stored(store) == 6


class Gone(Store):
    """A store that answers when it is told to."""

    def __init__(self, store: Store) -> None:
        self.__dict__.update(store.__dict__)
        self.error: Exception | None = None
        self.n_asked = 0

    def with_settings(self, settings: Mapping[str, Any]) -> Store:
        return self

    def command(self, *args: Any, **kwargs: Any) -> None:
        self.n_asked += 1
        if self.error is not None:
            raise self.error
        super().command(*args, **kwargs)


def fill(spool: Spool, flusher: Flusher) -> tuple[int, SpoolFullError]:
    """Append until refused, while flushing fails; how many were taken, and the refusal."""
    for n_accepted in range(100):
        try:
            spool.append(record(n_accepted))
        except SpoolFullError as refusal:
            return n_accepted, refusal
        with pytest.raises(StoreUnavailableError):
            flusher.flush()
    raise AssertionError("the spool has no bound")


def test_without_a_store_requests_are_taken_until_the_bound_and_written_later(store: Store, tmp_path: Path) -> None:
    size = len(record(0).payload)
    spool = Spool(tmp_path / "spool", SpoolConfig(max_bytes=size * 5))
    gone = Gone(store)
    gone.error = StoreUnavailableError("gone")
    flusher = make_flusher(spool, gone, tmp_path)
    n_accepted, refusal = fill(spool, flusher)
    assert 3 <= n_accepted <= 5
    assert refusal.retry_delay == 1.0
    assert spool.pending()[next(key for key in spool.pending() if key.entry is Entry.WRITTEN)] == 3 * n_accepted
    gone.error = None
    flusher.flush()
    assert n_stored(store) == 3 * n_accepted
    assert spool.used_bytes == 0
    spool.append(record(200))
    spool.close()


def test_the_ledger_says_what_waits(spool: Spool, store: Store, tmp_path: Path) -> None:
    """Three segments wait; the store dies at the rows of the two begun. Of the third all is said but that it is written."""
    three_segments(spool)
    gone = Gone(store)
    gone.error = StoreUnavailableError("gone")
    flusher = make_flusher(spool, gone, tmp_path)
    with pytest.raises(StoreUnavailableError):
        flusher.flush()
    assert balance(store) == {"requests": 1, "received": 3, "accepted": 3}
    gone.error = None
    flusher.flush()
    assert balance(store) == {"requests": 3, "received": 9, "accepted": 9, "written": 9}


def test_the_flusher_catches_up_by_itself(spool: Spool, store: Store, tmp_path: Path) -> None:
    gone = Gone(store)
    gone.error = StoreUnavailableError("gone")
    config = CollectorConfig(
        spool=SpoolConfig(segment_seconds=0.01),
        flush=FlushConfig(backoff_seconds=0.01, backoff_max_seconds=0.05, drain_seconds=0),
    )
    flusher = Flusher(spool, gone, config, tmp_path, WallClock())
    flusher.start()
    spool.append(record(1))
    wait_for(lambda: flusher.last_error != "" and gone.n_asked >= 2)
    gone.error = None
    wait_for(lambda: spool.n_pending == 0 and flusher.last_error == "")
    flusher.stop()
    assert n_stored(store) == 3


class Picky(Store):
    """A store that refuses whatever file holds certain bytes."""

    def __init__(self, store: Store, poison: bytes) -> None:
        self.__dict__.update(store.__dict__)
        self.poison: bytes | None = poison

    def with_settings(self, settings: Mapping[str, Any]) -> Store:
        return self

    def command(self, sql: str, parameters: Any = None, settings: Any = None) -> None:
        start = sql.find("file('")
        if start >= 0 and self.poison is not None:
            path = sql[start + 6 : sql.index("'", start + 6)]
            if self.poison in Path(path).read_bytes():
                raise StoreRefusedError("indigestible")
        super().command(sql, parameters, settings)


def test_the_request_that_is_refused_is_quarantined_alone_and_can_be_retried(spool: Spool, store: Store, tmp_path: Path) -> None:
    for seed in range(9):
        spool.append(record(seed))
    poison = bytes.fromhex(span_ids(4)[0])
    picky = Picky(store, poison)
    flusher = make_flusher(spool, picky, tmp_path)
    flusher.flush()
    assert n_stored(store) == 24
    assert balance(store) == {"requests": 9, "received": 27, "accepted": 27, "written": 24, "quarantined": 3}
    (held,) = read_quarantine(store).to_dicts()
    assert (held["state"], held["n_items"], held["reason"]) == ("held", 3, "indigestible")

    picky.poison = None
    assert retry(store, spool, held["quarantine_id"]) == 3
    flusher.flush()
    assert n_stored(store) == 27
    after = balance(store)
    assert after["accepted"] == after["written"] == 27
    assert after.get("quarantined", 0) == 0
    with pytest.raises(LookupError):
        drop(store, held["quarantine_id"])


def test_a_refused_request_costs_the_segment_beside_it_nothing(spool: Spool, store: Store, tmp_path: Path) -> None:
    for seed in range(4):
        spool.append(record(seed))
        if seed % 2:
            spool.close_segments()
    flusher = make_flusher(spool, Picky(store, bytes.fromhex(span_ids(1)[0])), tmp_path)
    flusher.flush()
    assert n_stored(store) == 9
    assert balance(store) == {"requests": 4, "received": 12, "accepted": 12, "written": 9, "quarantined": 3}
    assert spool.used_bytes == 0


class Meeting(Store):
    """A store that goes on with the first segment's rows once a second's are there too, and then fails for one of the two."""

    def __init__(self, store: Store, failing: bytes, error: BaseException) -> None:
        self.__dict__.update(store.__dict__)
        self.failing, self.error = failing, error
        self.both_are_there = threading.Barrier(2, timeout=60)
        self.begun = itertools.count()

    def with_settings(self, settings: Mapping[str, Any]) -> Store:
        return self

    def command(self, sql: str, parameters: Any = None, settings: Any = None) -> None:
        start = sql.find("file('")
        if start >= 0:
            if next(self.begun) < 2:
                self.both_are_there.wait()
            if self.failing in Path(sql[start + 6 : sql.index("'", start + 6)]).read_bytes():
                raise self.error
        super().command(sql, parameters, settings)


@pytest.mark.parametrize("failing", [0, 1])
def test_two_segments_are_in_flight_and_the_store_goes_away_under_one(
    spool: Spool, store: Store, tmp_path: Path, failing: int
) -> None:
    three_segments(spool)
    meeting = Meeting(store, bytes.fromhex(span_ids(failing)[0]), StoreUnavailableError("gone"))
    flusher = make_flusher(spool, meeting, tmp_path)
    with pytest.raises(StoreUnavailableError, match="gone"):
        flusher.flush()
    assert set(span_ids(1 - failing)) <= set(store.frame("SELECT span_id FROM span_records")["span_id"])
    assert spool.n_pending in (3, 6)  # the third may have been begun before the failure was seen
    make_flusher(spool, store, tmp_path).flush()
    assert n_stored(store) == 9
    assert balance(store) == {"requests": 3, "received": 9, "accepted": 9, "written": 9}


def test_what_two_writers_had_written_when_the_process_died_is_replayed_once(spool: Spool, store: Store, tmp_path: Path) -> None:
    three_segments(spool)
    kept = {segment.path: segment.path.read_bytes() for segment in spool.close_segments()}
    make_flusher(spool, store, tmp_path).flush()
    before = store.frame("SELECT * FROM span_records ORDER BY span_id"), balance(store)
    spool.close()
    for path, data in kept.items():  # as if it had died before it could remove any
        path.write_bytes(data)
    again = Spool(tmp_path / "spool", SpoolConfig())
    make_flusher(again, store, tmp_path).flush()
    again.close()
    assert store.frame("SELECT * FROM span_records ORDER BY span_id").equals(before[0])
    assert balance(store) == before[1]


def test_when_even_nothing_is_refused_nothing_is_quarantined(spool: Spool, store: Store, tmp_path: Path) -> None:
    spool.append(record(1))
    gone = Gone(store)
    gone.error = StoreRefusedError("no such table")
    with pytest.raises(StoreUnavailableError, match="refuses even an empty segment"):
        make_flusher(spool, gone, tmp_path).flush()
    assert spool.n_pending == 3
    assert read_quarantine(store).is_empty()


def test_a_full_disk_is_pushed_back_and_what_was_taken_before_stays(
    spool: Spool, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.append(record(1))

    def full(file: int, pieces: list[bytes], offset: int) -> int:
        os.pwrite(file, b"".join(pieces)[:100], offset)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", full)
        with pytest.raises(SpoolWriteError, match="No space left"):
            spool.append(record(2))
    spool.append(record(3))
    make_flusher(spool, store, tmp_path).flush()
    assert n_stored(store) == 6
    assert balance(store)["written"] == 6


def test_a_spool_has_one_owner_and_orphans_are_adopted(tmp_path: Path) -> None:
    first = Spool(claim_directory(tmp_path), SpoolConfig())
    second = Spool(claim_directory(tmp_path), SpoolConfig())
    with pytest.raises(DataDirectoryBusyError):
        Spool(tmp_path / "0", SpoolConfig())
    second.append(record(1))
    second.close()
    first.close()
    heir = Spool(claim_directory(tmp_path), SpoolConfig())
    assert heir.n_pending == 3
    heir.close()


# Processes that are alike and die at once: what they import is imported once, and each is forked from there.
WRITERS = multiprocessing.get_context("forkserver")
WRITERS.set_forkserver_preload(["tests.support.spool_writer"])


def killed_writer(directory: Path, first: int, n_acknowledged: int) -> list[int]:
    """Seeds a process acknowledged before it was killed without warning."""
    source, sink = WRITERS.Pipe(duplex=False)
    process = WRITERS.Process(target=append_for_ever, args=(directory, first, sink))
    process.start()
    sink.close()
    with open(source.fileno(), "rb", closefd=False) as lines:
        seeds = [int(lines.readline()) for _ in range(n_acknowledged)]
        process.kill()
        rest = lines.read().splitlines(keepends=True)
    source.close()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return seeds + [int(line) for line in rest if line.endswith(b"\n")]


def check_kills(store: Store, directory: Path, n_kills: int) -> None:
    rng = random.Random(11)
    acknowledged: set[int] = set()
    for life in range(n_kills):
        acknowledged |= set(killed_writer(directory / "spool", 1_000_000 * life, rng.randrange(1, 40)))
        spool = Spool(directory / "spool", SpoolConfig())
        make_flusher(spool, store, directory).flush()
        spool.close()
    spans = store.frame("SELECT span_id FROM span_records FINAL")["span_id"]
    assert spans.is_unique().all()
    lines = balance(store)
    assert lines["received"] == lines["accepted"] == lines["written"] == len(spans)
    stored = set(spans)
    for seed in acknowledged:
        assert set(span_ids(seed)) <= stored, f"request {seed} was acknowledged and lost"


def span_ids(seed: int) -> list[str]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest.FromString(record(seed).payload)
    return [span.span_id.hex() for span in request.resource_spans[0].scope_spans[0].spans]


def test_killed_under_load_loses_nothing_acknowledged(store: Store, tmp_path: Path) -> None:
    check_kills(store, tmp_path, n_kills=30)


@pytest.mark.soak
def test_killed_hundreds_of_times(store: Store, tmp_path: Path) -> None:
    check_kills(store, tmp_path, n_kills=300)
