"""What a person does with a request that the store refused: try it again, or give it up."""

from __future__ import annotations

from datetime import UTC, datetime

from collector.ledger import without
from collector.records import NS_PER_MINUTE, Counts, Entry, LedgerKey, Signal, SpoolRecord
from collector.spool import Spool
from storage.client import Store
from storage.errors import PermanentError
from storage.ledger import write_ledger
from storage.quarantine import QuarantinedRequest, read_quarantined, set_quarantine_state

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NotInQuarantineError(LookupError, PermanentError):
    """No held request has this id."""

    def __init__(self, quarantine_id: str) -> None:
        self.quarantine_id = quarantine_id
        super().__init__(f"no request {quarantine_id!r} is held in quarantine")


def retry(store: Store, spool: Spool, quarantine_id: str) -> int:
    """
    Send a held request through the spool again; if it is refused again it comes back under a new id.

    Returns:
        How many items it has.

    Raises:
        NotInQuarantineError: there is none of this id, or it was retried or dropped before.
        SpoolFullError, SpoolWriteError: nothing was changed.
    """
    request = _held(store, quarantine_id)
    received_at_ns = (request.received_at - _EPOCH) // (datetime.resolution) * 1000
    counts = Counts(received=0, retried=request.n_items)
    spool.append(SpoolRecord(Signal(request.signal), request.key_id, received_at_ns, request.payload, counts))
    key = LedgerKey(received_at_ns // NS_PER_MINUTE, Signal(request.signal), request.key_id, Entry.QUARANTINED)
    write_ledger(store, without(key, quarantine_id))
    set_quarantine_state(store, quarantine_id, "retried")
    return request.n_items


def drop(store: Store, quarantine_id: str) -> int:
    """Give up a held request: its bytes are forgotten, the ledger goes on counting it as quarantined. Returns its items."""
    request = _held(store, quarantine_id)
    set_quarantine_state(store, quarantine_id, "dropped")
    return request.n_items


def _held(store: Store, quarantine_id: str) -> QuarantinedRequest:
    request = read_quarantined(store, quarantine_id)
    if request is None or request.state != "held":
        raise NotInQuarantineError(quarantine_id)
    return request
