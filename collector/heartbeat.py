"""
Tells the store, every few seconds, up to when everything in this process's spool is in the tables.

With a process per role, analytics cannot look into the spools; it goes by this, so that no minute is settled while some of what
arrived for it still waits in a collector that could not write. The spool is known by an id in its directory: a restarted process
speaks for the same spool, and one that took over what dead processes left closes theirs.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from collector.spool import ID_FILE, INHERITED, Spool
from storage.client import Store
from storage.errors import SpanwiseError
from storage.spools import SpoolState, write_spools
from storage.touched import read_store_time

log = structlog.get_logger(__name__)

BEAT_SECONDS = 5.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Heartbeat:
    """Speaks for the spool in one directory."""

    def __init__(self, store: Store, directory: Path, spool: Spool) -> None:
        self._store = store
        self._directory = directory
        self._spool = spool
        self._id = _identity(directory)
        self._holder = f"{socket.gethostname()}:{os.getpid()}"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool-heartbeat", daemon=True)

    def start(self) -> None:
        """Speak once before anything is accepted, then again and again. Raises `StoreUnavailableError`."""
        self.beat()
        self._thread.start()

    def stop(self) -> None:
        """The last word: closed when nothing is left, else what still waits here."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            self.beat(is_last=True)
        except SpanwiseError as error:
            log.warning("spool_state_not_told", error=str(error))

    def beat(self, *, is_last: bool = False) -> None:
        """Tell the state as it is now."""
        # the time first: what arrives while the spool is looked at is not covered
        now = read_store_time(self._store)
        waiting = self._spool.pending()
        oldest = min((key.minute for key in waiting), default=None)
        upto = now if oldest is None else min(now, _EPOCH + timedelta(minutes=oldest))
        own = SpoolState(self._id, self._holder, upto, self._spool.n_pending, is_last and not waiting)
        inherited = list(self._directory.glob(f"{INHERITED}*"))
        heirs = [SpoolState(path.read_text(), self._holder, now, is_closed=True) for path in inherited]
        write_spools(self._store, [own, *heirs])
        for path in inherited:
            path.unlink()

    def _run(self) -> None:
        while not self._stopping.wait(BEAT_SECONDS):
            try:
                self.beat()
            except Exception as error:  # the loop's edge: analytics waits meanwhile, which is right
                log.warning("spool_state_not_told", error=str(error))


def _identity(directory: Path) -> str:
    path = directory / ID_FILE
    if not path.exists():
        path.write_text(uuid.uuid4().hex)
    return path.read_text()
