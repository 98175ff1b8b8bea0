"""The collector as one thing: doors, intake, spool and flusher, started and stopped together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector import quarantine, scores
from collector.config import CollectorConfig
from collector.flusher import Flusher
from collector.heartbeat import Heartbeat
from collector.importer import Imported, Progress, import_file
from collector.intake import Authenticator, Intake
from collector.masking import Masker
from collector.receivers.grpc_server import AddressInUseError, GrpcServer
from collector.receivers.http_server import HttpServer
from collector.records import Tally
from collector.scores import ScoreReceipt
from collector.spool import Spool, Waiting, claim_directory
from storage.client import Store
from storage.clock import Clock


@dataclass(frozen=True)
class Endpoints:
    """Where the doors listen: `host:port` for gRPC, a base URL for HTTP."""

    otlp_grpc: str
    otlp_http: str


class Collector:
    """
    Takes requests in, keeps them, and writes them to the store.

    Args:
        directory: where spools live; this process takes one of its own below it.
        host: address of the OTLP doors; None opens none, for a process that only takes scores.
        grpc_port, http_port: ports of the OTLP doors; 0 takes a free one.

    Raises:
        DataDirectoryBusyError: every spool below `directory` is in use.
    """

    def __init__(
        self,
        config: CollectorConfig,
        store: Store,
        directory: Path,
        clock: Clock,
        authenticator: Authenticator,
        *,
        host: str | None = None,
        grpc_port: int = 0,
        http_port: int = 0,
    ) -> None:
        own = claim_directory(directory)
        self._store = store
        self.spool = Spool(own, config.spool)
        self._flusher = Flusher(self.spool, store, config, own, clock)
        # an embedded engine has one process, which knows its spool
        self._heartbeat = None if store.is_embedded else Heartbeat(store, own, self.spool)
        self.intake = Intake(self.spool, Masker.from_config(config.masking), authenticator, clock, config.receivers)
        self._grpc = GrpcServer(self.intake, config.receivers, host, grpc_port) if host is not None else None
        self._http = HttpServer(self.intake, config.receivers, host, http_port) if host is not None else None
        self._is_running = False

    def start(self) -> Endpoints | None:
        """Write what an earlier process left, open the doors. Returns where they are. Raises `AddressInUseError`."""
        if self._heartbeat is not None:
            self._heartbeat.start()
        self._flusher.start()
        self._is_running = True
        if self._grpc is None or self._http is None:
            return None
        try:
            return Endpoints(self._grpc.start(), self._http.start())
        except AddressInUseError:
            self.stop()
            raise

    def stop(self) -> None:
        """Refuse new requests, finish open ones, write what the spool holds; what cannot be written is replayed."""
        for door in (self._grpc, self._http):
            if door is not None:
                door.stop()
        self._flusher.stop()
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self.spool.close()
        self._is_running = False

    def accept_scores(self, given: Sequence[Mapping[str, Any]], key_id: str) -> ScoreReceipt:
        """Keep evaluations posted over the API; see `collector.scores.accept_scores`."""
        return scores.accept_scores(self.intake, given, key_id)

    def import_file(self, path: Path, progress: Progress | None = None) -> Imported:
        """Send a file of OTLP through the intake; see `collector.importer.import_file`."""
        return import_file(self.intake, path, progress=progress)

    def flush(self) -> None:
        """Everything accepted so far is in the store when this returns. Raises `StoreUnavailableError`."""
        self._flusher.flush()

    def not_ready(self) -> str | None:
        """Why requests cannot be taken or written now; None when they can."""
        if not self._is_running:
            return "not running"
        if self.spool.used_bytes >= self.spool.limit_bytes:
            why = self._flusher.last_error or "the store is slower than what arrives"
            return f"spool is full: {self.spool.used_bytes} bytes; {why}"
        return self._flusher.last_error or None

    def waiting(self) -> Waiting:
        """How much of what was accepted is not in the store yet, and since when."""
        return self.spool.waiting()

    def pending(self) -> Tally:
        """Ledger lines of what is accepted and not written yet."""
        return self.spool.pending()

    def retry_quarantined(self, quarantine_id: str) -> int:
        """Send a held request through the spool again; see `collector.quarantine.retry`."""
        return quarantine.retry(self._store, self.spool, quarantine_id)

    def drop_quarantined(self, quarantine_id: str) -> int:
        """Give up a held request; see `collector.quarantine.drop`."""
        return quarantine.drop(self._store, quarantine_id)
