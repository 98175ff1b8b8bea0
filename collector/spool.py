"""The durable queue between the receivers and the store: `append` returns when the request would survive a crash."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from collector.config import SpoolConfig
from collector.records import Signal, SpoolRecord, Tally
from collector.segments import Piece, Segment, encode, recover
from storage.errors import DataDirectoryBusyError, RetryableError

log = structlog.get_logger(__name__)

# By which a spool is known beyond its process, and where the ids of spools go whose content was taken over.
ID_FILE = "spool-id"
INHERITED = "inherited-"
# as many as the system takes at once
_PIECES_PER_WRITE = 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Waiting:
    """What a spool holds: its bytes, those at which it pushes back, and the minute in which the oldest of it arrived."""

    n_bytes: int
    limit_bytes: int
    oldest_minute: datetime | None


class SpoolFullError(RetryableError):
    """The spool has no room; ask the sender to come back after `retry_delay` seconds."""

    def __init__(self, used: int, limit: int, retry_delay: float) -> None:
        self.used = used
        self.limit = limit
        self.retry_delay = retry_delay
        super().__init__(f"spool is full: {used} of {limit} bytes are waiting to be written")


class SpoolWriteError(RetryableError):
    """The disk refused the bytes; nothing of the request was kept."""

    def __init__(self, cause: OSError, retry_delay: float) -> None:
        self.retry_delay = retry_delay
        super().__init__(f"spool cannot be written: {cause.strerror or cause}")


class _Batch:
    """Requests that share one write and one fsync."""

    def __init__(self) -> None:
        self.items: list[tuple[SpoolRecord, list[Piece]]] = []
        self.is_durable = False
        self.error = OSError("another thread failed to write it")
        self.done = threading.Lock()
        self.done.acquire()


class _Active:
    """The open segment of one signal and the batch that gathers for it."""

    def __init__(self) -> None:
        self.gathering = threading.Lock()
        self.committing = threading.Lock()
        self.batch = _Batch()
        self.segment: Segment | None = None
        self.file = -1
        self.opened_at = 0.0


class Spool:
    """
    Segments in one directory, owned by one process.

    Appending threads share fsyncs: the first of a batch waits for the commit lock and writes for all that gathered
    meanwhile. The flusher takes closed segments with `close_segments`, and gives each back with `remove` once its rows are
    in the store.

    Raises (constructor):
        DataDirectoryBusyError: another process uses the directory.
    """

    def __init__(self, directory: Path, config: SpoolConfig) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._config = config
        self._lock_file = _lock(directory)
        self._actives = {signal: _Active() for signal in Signal}
        self._state = threading.Lock()
        self._closed: list[Segment] = []
        self._noted: Tally = Counter()
        self._number = 0
        self._prefix = f"{time.time_ns():016x}-{uuid.uuid4().hex[:8]}"
        self._recover()

    def _recover(self) -> None:
        for path in sorted(self._directory.glob("*.segment"), key=lambda path: path.name.split("-", 1)[1]):
            segment = recover(path)
            if segment.size == 0:
                path.unlink()
                continue
            self._closed.append(segment)
            log.info("segment_recovered", segment=segment.name, n_items=segment.n_items, n_bytes=segment.size)

    @property
    def name(self) -> str:
        """Of this life of the spool; no other has it."""
        return self._prefix

    # -- appending -----------------------------------------------------------------------------------------------

    def append(self, record: SpoolRecord) -> None:
        """
        Keep the request; returns when it is durable.

        Raises:
            SpoolFullError: over `max_bytes`; nothing was kept.
            SpoolWriteError: the disk refused; nothing was kept.
            WireError: the payload's outer levels are malformed.
        """
        used = self.used_bytes
        if used + len(record.payload) > self._config.max_bytes:
            raise SpoolFullError(used, self._config.max_bytes, self._config.retry_delay_seconds)
        active = self._actives[record.signal]
        pieces = encode(record)
        with active.gathering:
            batch = active.batch
            is_leader = not batch.items
            batch.items.append((record, pieces))
        if is_leader:
            with active.committing:
                with active.gathering:
                    active.batch = _Batch()
                try:
                    self._commit(active, record.signal, batch)
                finally:
                    batch.done.release()
        else:
            # one after the other wakes the next; none waits for the batch that gathered meanwhile
            with batch.done:
                pass
        if not batch.is_durable:
            raise SpoolWriteError(batch.error, self._config.retry_delay_seconds)

    def note(self, tally: Tally) -> None:
        """Count what left no record (pushed back, undecodable); written with the next flush, lost by a crash."""
        with self._state:
            self._noted.update(tally)

    def take_noted(self) -> Tally:
        with self._state:
            noted, self._noted = self._noted, Counter()
        return noted

    def _commit(self, active: _Active, signal: Signal, batch: _Batch) -> None:
        try:
            self._require_room()
            segment = active.segment or self._open(active, signal)
            self._write(active.file, segment.size, [piece for _, pieces in batch.items for piece in pieces])
        except OSError as error:
            batch.error = error
            self._abandon(active)
            return
        with self._state:
            for record, pieces in batch.items:
                segment.add(record.tally(), record.counts.spooled, sum(map(len, pieces)))
        batch.is_durable = True
        if segment.size >= self._config.segment_bytes:
            self._close(active)

    def _require_room(self) -> None:
        """Leave the last of the disk to the store, which needs room to take over what waits here. Raises `OSError`."""
        disk = os.statvfs(self._directory)
        free = disk.f_bavail * disk.f_frsize
        if free < self._config.min_free_bytes:
            raise OSError(errno.ENOSPC, f"only {free} bytes are free on the disk, {self._config.min_free_bytes} are kept")

    def _open(self, active: _Active, signal: Signal) -> Segment:
        with self._state:
            self._number += 1
            name = f"{signal}-{self._prefix}-{self._number:08d}.segment"
        segment = Segment(self._directory / name, signal)
        active.file = os.open(segment.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        if self._config.durability == "fsync":
            _sync_directory(self._directory)
        active.segment, active.opened_at = segment, time.monotonic()
        return segment

    def _write(self, file: int, offset: int, pieces: list[Piece]) -> None:
        for start in range(0, len(pieces), _PIECES_PER_WRITE):
            waiting = pieces[start : start + _PIECES_PER_WRITE]
            while waiting:
                written = os.pwritev(file, waiting, offset)
                offset += written
                waiting = _after(waiting, written)
        if self._config.durability == "fsync":
            os.fdatasync(file)

    def _abandon(self, active: _Active) -> None:
        """After a failed write: cut the file back to what is acknowledged and never touch it again."""
        segment = active.segment
        if segment is None:
            return
        try:
            os.ftruncate(active.file, segment.size)
        except OSError:
            log.exception("segment_not_cut", segment=segment.name)
        self._close(active)

    # -- closing -------------------------------------------------------------------------------------------------

    def _close(self, active: _Active) -> None:
        """Make the open segment a closed one; the caller holds `committing`."""
        segment = active.segment
        if segment is None:
            return
        os.close(active.file)
        active.segment, active.file = None, -1
        if segment.size == 0:
            segment.path.unlink(missing_ok=True)
            return
        with self._state:
            self._closed.append(segment)

    def close_segments(self, min_age: float = 0.0) -> list[Segment]:
        """Close open segments older than `min_age` seconds; returns every closed segment, oldest first."""
        for active in self._actives.values():
            with active.committing:
                if active.segment is not None and time.monotonic() - active.opened_at >= min_age:
                    self._close(active)
        with self._state:
            return list(self._closed)

    def remove(self, segment: Segment) -> None:
        """Forget a segment whose rows and ledger lines are in the store."""
        segment.path.unlink(missing_ok=True)
        with self._state:
            self._closed.remove(segment)

    def close(self) -> None:
        """Close files and release the directory; what is left is recovered by the next owner. A second call does nothing."""
        self.close_segments()
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    # -- looking -------------------------------------------------------------------------------------------------

    def _segments(self) -> list[Segment]:
        return [*self._closed, *(active.segment for active in self._actives.values() if active.segment is not None)]

    @property
    def used_bytes(self) -> int:
        with self._state:
            return sum(segment.size for segment in self._segments())

    @property
    def limit_bytes(self) -> int:
        return self._config.max_bytes

    def waiting(self) -> Waiting:
        """How much waits here, and since when."""
        with self._state:
            segments = self._segments()
            oldest = min((key.minute for segment in segments for key in segment.tally), default=None)
            used = sum(segment.size for segment in segments)
        since = None if oldest is None else _EPOCH + timedelta(minutes=oldest)
        return Waiting(used, self._config.max_bytes, since)

    def pending(self) -> Tally:
        """Ledger lines of everything that waits here, none of which the store has yet."""
        with self._state:
            total: Tally = Counter()
            for segment in self._segments():
                total.update(segment.tally)
            return total

    @property
    def n_pending(self) -> int:
        """Items that wait to be written."""
        with self._state:
            return sum(segment.n_items for segment in self._segments())


def _after(pieces: list[Piece], n_bytes: int) -> list[Piece]:
    """What is left of `pieces` after their first `n_bytes`."""
    for n, piece in enumerate(pieces):
        if n_bytes < len(piece):
            return [memoryview(piece)[n_bytes:], *pieces[n + 1 :]]
        n_bytes -= len(piece)
    return []


def claim_directory(parent: Path) -> Path:
    """
    A spool directory below `parent` that no process uses: the first free one of `0`, `1`, ... What dead processes left in
    others is moved into it, so that nothing accepted waits for as many processes as there were before.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with _locked(parent):
        taken = None
        for number in range(1000):
            directory = parent / str(number)
            if not directory.exists() and taken is not None:
                break
            directory.mkdir(exist_ok=True)
            try:
                os.close(_lock(directory))
            except DataDirectoryBusyError:
                continue
            if taken is None:
                taken = directory
                continue
            for path in directory.glob("*.segment"):
                path.rename(taken / path.name)
            _inherit(directory / ID_FILE, taken)
    if taken is None:
        raise DataDirectoryBusyError(parent, None)
    return taken


def _inherit(identity: Path, heir: Path) -> None:
    if identity.exists():
        identity.rename(heir / f"{INHERITED}{identity.read_text()}")


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    file = os.open(directory / "claim.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _lock(directory: Path) -> int:
    path = directory / "owner.lock"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise DataDirectoryBusyError(directory, None) from None
    return file


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
