"""The one path a request takes, whichever door it came through: authenticate, limits, check, mask, spool, answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, Self

from collector import otlp_json
from collector.checks import Checked, UndecodableError, check_logs, check_traces
from collector.config import ReceiverConfig
from collector.masking import Masked, Masker
from collector.metrics import NOT_KEPT, count_points
from collector.otlp_json import MalformedJsonError, Mapped
from collector.records import NS_PER_MINUTE, Counts, Entry, LedgerKey, Signal, SpoolRecord, Tally, tally_counts
from collector.spool import SpoolFullError, SpoolWriteError
from storage.api_keys import ApiKey, AuthenticationError, Scope, ScopeError, TooManyFailuresError
from storage.clock import Clock
from storage.errors import PermanentError, RetryableError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BUSY_DELAY = 1.0


class Authenticator(Protocol):
    """Says who calls."""

    def authenticate(self, secret: str | None, peer: str) -> ApiKey:
        """Raises `AuthenticationError` or `TooManyFailuresError` (`storage.api_keys`)."""
        ...


class RecordSink(Protocol):
    """What keeps accepted requests: `collector.spool.Spool`."""

    def append(self, record: SpoolRecord) -> None: ...

    def note(self, tally: Tally) -> None: ...


class TooLargeError(PermanentError):
    """The request is over the limit, as sent or after decompression."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"request is larger than {limit} bytes; send smaller batches")


class NotOtlpError(PermanentError):
    """A request that is wrong before it is looked at as OTLP; `reason` is what the ledger says of it."""

    reason: str


class BusyError(RetryableError):
    """Requests in memory fill it; ask the sender to come back after `retry_delay` seconds."""

    def __init__(self, retry_delay: float) -> None:
        self.retry_delay = retry_delay
        super().__init__("too many requests are being received at once")


@dataclass(frozen=True)
class Receipt:
    """What became of one request: `rejected` says reason -> items that were refused."""

    n_received: int
    rejected: Mapping[str, int]

    @property
    def n_rejected(self) -> int:
        return sum(self.rejected.values())

    @property
    def message(self) -> str:
        return "; ".join(f"{n} rejected: {reason}" for reason, n in sorted(self.rejected.items()))


_COUNTED_INSIDE = (UndecodableError, MalformedJsonError, SpoolFullError, SpoolWriteError)
_AT_THE_DOOR: Mapping[type[Exception], tuple[Entry, str]] = {
    AuthenticationError: (Entry.REFUSED, "no valid key"),
    ScopeError: (Entry.REFUSED, "key without scope ingest"),
    TooManyFailuresError: (Entry.REFUSED, "too many wrong keys"),
    TooLargeError: (Entry.REFUSED, "larger than max_request_bytes"),
    UndecodableError: (Entry.UNDECODABLE, "content encoding"),
    BusyError: (Entry.PUSHED_BACK, "memory"),
}


class Visit:
    """
    One request at a door: who sends it, the bytes it holds in memory, its answer. Use as a context manager: a request that is
    turned away before `accept` looked at it is counted when the context ends.
    """

    def __init__(self, intake: Intake, signal: Signal) -> None:
        self._intake = intake
        self._signal = signal
        self._key_id = ""
        self._n_bytes = 0
        self._is_inside = False

    def authorize(self, secret: str | None, peer: str) -> None:
        """
        Learn who sends.

        Raises:
            AuthenticationError, ScopeError, TooManyFailuresError: see `storage.api_keys`.
        """
        self._key_id = self._intake.authorize(secret, peer).key_id

    def grow(self, n_bytes: int) -> None:
        """Take bytes out of what all requests may hold together. Raises `BusyError`: others hold too much."""
        self._intake.reserve(n_bytes)
        self._n_bytes += n_bytes

    def accept(self, request: bytes, *, is_json: bool = False) -> Receipt:
        """As `Intake.accept`; `TooLargeError` besides."""
        if len(request) > self._intake.max_request_bytes:
            raise TooLargeError(self._intake.max_request_bytes)
        self._is_inside = True
        if self._signal is Signal.METRICS:
            return self._intake.turn_away(request, self._key_id, is_json=is_json)
        return self._intake.accept(self._signal, request, self._key_id, is_json=is_json)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._intake.reserve(-self._n_bytes)
        if isinstance(error, Exception) and not (self._is_inside and isinstance(error, _COUNTED_INSIDE)):
            self._intake.count_request(self._signal, self._key_id, *_ledger_line(error))


class Intake:
    """Takes requests in. Thread-safe; `accept` blocks until the request is durable."""

    def __init__(
        self, spool: RecordSink, masker: Masker | None, authenticator: Authenticator, clock: Clock, config: ReceiverConfig
    ) -> None:
        self._spool = spool
        self.masker = masker
        self._authenticator = authenticator
        self._clock = clock
        self.max_request_bytes = config.max_request_bytes
        self._max_inflight_bytes = config.max_inflight_bytes
        self._lock = threading.Lock()
        self._inflight_bytes = 0

    def authorize(self, secret: str | None, peer: str) -> ApiKey:
        """
        Who sends, once it is known that they may.

        Raises:
            AuthenticationError, ScopeError, TooManyFailuresError: see `storage.api_keys`.
        """
        key = self._authenticator.authenticate(secret, peer)
        if not key.allows(Scope.INGEST):
            raise ScopeError(Scope.INGEST, key)
        return key

    def visit(self, signal: Signal) -> Visit:
        """A request that stands at the door."""
        return Visit(self, signal)

    def reserve(self, n_bytes: int) -> None:
        """Count bytes of requests in memory; a single request always finds room. Raises `BusyError`."""
        with self._lock:
            if n_bytes > 0 and self._inflight_bytes and self._inflight_bytes + n_bytes > self._max_inflight_bytes:
                raise BusyError(_BUSY_DELAY)
            self._inflight_bytes += n_bytes

    def accept(self, signal: Signal, request: bytes, key_id: str, *, is_json: bool = False) -> Receipt:
        """
        Check, mask and keep one export request of traces or logs; returns when it is durable.

        Raises:
            UndecodableError, MalformedJsonError: not such a request; counted.
            SpoolFullError, SpoolWriteError: nothing was kept, `retry_delay` says when to come back; counted.
        """
        received_at_ns = self.now_ns()
        try:
            mapped = _map_json(signal, request) if is_json else Mapped(request, 0)
            checked = check_traces(mapped.payload) if signal is Signal.TRACES else check_logs(mapped.payload)
        except (UndecodableError, MalformedJsonError):
            self.count_request(signal, key_id, Entry.UNDECODABLE, "json" if is_json else "protobuf")
            raise
        rejected = dict(checked.rejected)
        if mapped.n_malformed:
            rejected["its JSON has the wrong shape"] = mapped.n_malformed
        masked = self._masked(signal, checked)
        masked_out = {**checked.left_out, **({"masking rule": masked.n_left_out} if masked.n_left_out else {})}
        counts = Counts(checked.n_items + mapped.n_malformed, rejected, masked_out)
        if counts.received:
            self.keep(SpoolRecord(signal, key_id, received_at_ns, masked.payload if counts.spooled else b"", counts))
        return Receipt(counts.received, counts.rejected)

    def turn_away(self, request: bytes, key_id: str, *, is_json: bool = False) -> Receipt:
        """
        Count one export request of metrics, of which nothing is kept.

        All its points are rejected in a partial success instead of an error: no sender may try that again, and those that send
        metrics unasked (most SDKs do, every minute) do not call it a failure each time.

        Raises:
            UndecodableError, MalformedJsonError: it is none; counted.
        """
        try:
            n_points = count_points(request, is_json=is_json)
        except (UndecodableError, MalformedJsonError):
            self.count_request(Signal.METRICS, key_id, Entry.UNDECODABLE, "json" if is_json else "protobuf")
            raise
        counts = Counts(n_points, {NOT_KEPT: n_points} if n_points else {})
        if counts.received:
            self._spool.note(tally_counts(Signal.METRICS, key_id, self.now_ns(), counts))
        return Receipt(counts.received, counts.rejected)

    def keep(self, record: SpoolRecord) -> None:
        """Append to the spool. Raises `SpoolFullError`, `SpoolWriteError`, and counts them as pushed back."""
        try:
            self._spool.append(record)
        except SpoolFullError:
            self.count_request(record.signal, record.key_id, Entry.PUSHED_BACK, "spool full")
            raise
        except SpoolWriteError:
            self.count_request(record.signal, record.key_id, Entry.PUSHED_BACK, "disk error")
            raise

    def count_request(self, signal: Signal, key_id: str, entry: Entry, reason: str) -> None:
        """Count a request of which nothing was kept."""
        self._spool.note(Counter({LedgerKey(self.now_ns() // NS_PER_MINUTE, signal, key_id, entry, reason): 1}))

    def now_ns(self) -> int:
        return (self._clock.now() - _EPOCH) // _MICROSECOND * 1000

    def _masked(self, signal: Signal, checked: Checked) -> Masked:
        if self.masker is None:
            return Masked(checked.payload, 0)
        return (self.masker.traces if signal is Signal.TRACES else self.masker.logs)(checked.payload)


def _ledger_line(error: Exception) -> tuple[Entry, str]:
    """How a request that was turned away at the door is counted."""
    if isinstance(error, NotOtlpError):
        return Entry.REFUSED, error.reason
    return next((line for kind, line in _AT_THE_DOOR.items() if isinstance(error, kind)), (Entry.PUSHED_BACK, "internal error"))


def _map_json(signal: Signal, body: bytes) -> Mapped:
    return otlp_json.traces(body) if signal is Signal.TRACES else otlp_json.logs(body)
