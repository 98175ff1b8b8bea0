"""
Carries closed segments from the spool into the store, for as long as it takes.

A store that cannot answer is asked again, with growing pauses, while the spool fills. A segment that the store refuses although
it takes an empty one holds something indigestible: it is halved until the request in question is found, which goes to
quarantine; the others are written. Everything is written under tokens made from the segment's name, so that a crash between any
two steps is repaired by doing it all again.
"""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

import structlog

from collector import scores
from collector.config import CollectorConfig
from collector.ledger import add_written, to_lines
from collector.loader import Loader
from collector.records import Entry, LedgerKey, Signal, Tally
from collector.segments import RecordHeader, Segment, encode_frames, rows, scan, score_documents
from collector.spool import Spool
from collector.wire import to_request
from storage.client import Store
from storage.clock import Clock
from storage.errors import StoreRefusedError, StoreUnavailableError
from storage.evaluations import write_evaluations
from storage.ledger import write_ledger
from storage.quarantine import QuarantinedRequest, write_quarantined

log = structlog.get_logger(__name__)

_FAILURES_BEFORE_SUSPICION = 5


class Flusher:
    """One thread that empties the spool, and for as long as segments queue up, `flush.parallel` that write them side by side."""

    def __init__(self, spool: Spool, store: Store, config: CollectorConfig, directory: Path, clock: Clock) -> None:
        self._spool = spool
        self._store = store
        self._config = config
        self._clock = clock
        self._loader = Loader(store, config.flush)
        self._work = directory / "work"
        self._work.mkdir(parents=True, exist_ok=True)
        self._flushing = threading.Lock()
        self._stopping = threading.Event()
        # after this no segment is begun
        self._deadline = math.inf
        self._failures: dict[str, int] = {}
        self._accounted: set[str] = set()
        self._n_noted = 0
        self._thread = threading.Thread(target=self._run, name="spool-flusher", daemon=True)
        self.last_error = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what is there, up to `drain_seconds`; the rest is replayed at the next start."""
        self._deadline = deadline = time.monotonic() + self._config.flush.drain_seconds
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        while self._spool.n_pending and time.monotonic() < deadline:
            try:
                self.flush()
            except StoreUnavailableError as error:
                log.warning("spool_not_drained", error=str(error), n_items=self._spool.n_pending)
                time.sleep(min(self._config.flush.backoff_seconds, max(0.0, deadline - time.monotonic())))

    def flush(self, min_age: float = 0.0) -> None:
        """
        Write everything accepted so far.

        Raises:
            StoreUnavailableError: the store cannot answer; what is left stays in the spool.
        """
        with self._flushing:
            segments = self._spool.close_segments(min_age)
            self._account_for(segments[self._config.flush.parallel :])
            self._write_all(segments)
            self._write_noted()
        self.last_error = ""

    def _run(self) -> None:
        """Flush every `segment_seconds`, less often while flushes are small, for their cost is mostly fixed, or fail."""
        pause = self._config.spool.segment_seconds
        while not self._stopping.wait(pause):
            began = time.monotonic()
            try:
                self.flush(self._config.spool.segment_seconds)
                busy = time.monotonic() - began
                is_behind = self._spool.used_bytes > self._config.spool.segment_bytes // 8
                pause = max(self._config.spool.segment_seconds, 0.0 if is_behind else busy * self._config.flush.rest)
            except Exception as error:
                self.last_error = str(error)
                pause = min(max(pause * 2, self._config.flush.backoff_seconds), self._config.flush.backoff_max_seconds)
                log.warning(
                    "segment_not_written", error=self.last_error[:500], n_items=self._spool.n_pending, retry_seconds=pause
                )

    def _write_all(self, segments: list[Segment]) -> None:
        """
        Write segments side by side, in any order: rows do not depend on which come first. When one cannot be written, those begun
        are finished, the others stay in the spool, and its error is raised. They stay there too when time is up.
        """
        with ThreadPoolExecutor(self._config.flush.parallel, "segment-writer") as writers:
            begun = [writers.submit(self._write_in_time, segment) for segment in segments]
            wait(begun, return_when=FIRST_EXCEPTION)
            writers.shutdown(wait=True, cancel_futures=True)
        for written in begun:
            if not written.cancelled():
                written.result()

    def _write_in_time(self, segment: Segment) -> None:
        if time.monotonic() < self._deadline:
            self._write(segment)

    def _write(self, segment: Segment) -> None:
        started = time.monotonic()
        tally = Tally(segment.tally)
        try:
            self._write_rows(segment.signal, segment.path, segment.name)
        except StoreRefusedError as error:
            self._isolate(segment, tally, error)
        except StoreUnavailableError as error:
            if not self._is_suspect(segment):
                raise
            self._isolate(segment, tally, error)
        write_ledger(self._store, to_lines(tally, segment.name))
        self._spool.remove(segment)
        self._failures.pop(segment.name, None)
        log.info(
            "segment_written",
            segment=segment.name,
            n_items=segment.n_items,
            n_bytes=segment.size,
            seconds=time.monotonic() - started,
        )

    def _account_for(self, waiting: list[Segment]) -> None:
        """Let the ledger say what is accepted and pending in segments whose turn has not come: lines without `written`."""
        fresh = [segment for segment in waiting if segment.name not in self._accounted]
        for segment in fresh:
            known = Tally({key: n for key, n in segment.tally.items() if key.entry is not Entry.WRITTEN})
            write_ledger(self._store, to_lines(known, segment.name))
        self._accounted = {segment.name for segment in waiting}

    def _write_rows(self, signal: Signal, path: Path, token: str) -> None:
        """The rows of one file, in steps of which each may be done again."""
        if signal is Signal.TRACES:
            self._loader.insert_spans(path, token)
            return
        if signal is Signal.LOGS:
            found = self._loader.evaluations_of_logs(path)
        else:
            data = path.read_bytes()
            found = scores.to_evaluations([document for header in scan(data) for document in score_documents(data, header)])
        write_evaluations(self._store, found, token)

    def _write_noted(self) -> None:
        noted = self._spool.take_noted()
        if not noted:
            return
        self._n_noted += 1
        try:
            write_ledger(self._store, to_lines(noted, f"{self._spool.name}-noted-{self._n_noted}"))
        except Exception:
            self._spool.note(noted)
            raise

    # -- a segment that is refused -------------------------------------------------------------------------------

    def _is_suspect(self, segment: Segment) -> bool:
        """Whether a segment has failed often enough, while others succeed, to be looked into."""
        self._failures[segment.name] = self._failures.get(segment.name, 0) + 1
        return self._failures[segment.name] >= _FAILURES_BEFORE_SUSPICION

    def _isolate(self, segment: Segment, tally: Tally, error: Exception) -> None:
        """Find the requests that the store refuses and quarantine them; write the others. Corrects `tally`."""
        try:
            self._write_part(segment, b"", [], "empty")
        except StoreRefusedError as refusal:
            raise StoreUnavailableError(f"store refuses even an empty segment: {refusal}") from refusal
        log.warning("segment_refused", segment=segment.name, error=str(error)[:500])
        data = segment.path.read_bytes()
        for header, reason in self._refused(segment, data, list(scan(data)), str(error)):
            self._quarantine(segment, data, header, reason, tally)

    def _refused(self, segment: Segment, data: bytes, headers: list[RecordHeader], reason: str) -> list[tuple[RecordHeader, str]]:
        """The headers of the requests among `headers` that cannot be written; `headers` as a whole could not, for `reason`."""
        if len(headers) <= 1:
            return [(header, reason) for header in headers]
        middle = len(headers) // 2
        found = []
        for half in (headers[:middle], headers[middle:]):
            try:
                self._write_part(segment, data, half, f"{half[0].start}-{half[-1].end}")
            except StoreRefusedError as error:
                found += self._refused(segment, data, half, str(error))
            except StoreUnavailableError as error:
                self._write_part(segment, b"", [], "empty")
                found += self._refused(segment, data, half, str(error))
        return found

    def _write_part(self, segment: Segment, data: bytes, headers: list[RecordHeader], part: str) -> None:
        path = self._work / f"{segment.name}.{part}"
        path.write_bytes(b"".join(data[header.start : header.end] for header in headers) or encode_frames([b""]))
        try:
            self._write_rows(segment.signal, path, f"{segment.name}:{part}")
        finally:
            path.unlink()

    def _quarantine(self, segment: Segment, data: bytes, header: RecordHeader, reason: str, tally: Tally) -> None:
        quarantine_id = f"{segment.name}-{header.start}"
        is_json = segment.signal is Signal.SCORES
        payload = b"".join(score_documents(data, header)) if is_json else to_request(rows(data, header))
        received_at = header.received_at
        n_items = header.counts.spooled
        write_quarantined(
            self._store,
            [
                QuarantinedRequest(
                    quarantine_id, self._clock.now(), segment.signal, header.key_id, received_at, reason[:2000], n_items, payload
                )
            ],
        )
        key = header.ledger_key(Entry.WRITTEN)
        add_written(tally, key, -n_items)
        quarantined: LedgerKey = header.ledger_key(Entry.QUARANTINED)
        write_ledger(self._store, to_lines(Tally({quarantined: n_items}), quarantine_id))
        log.warning("request_quarantined", quarantine_id=quarantine_id, n_items=n_items, reason=reason[:500])
