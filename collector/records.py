"""What a receiver hands to the spool: one accepted request with the account of its items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

NS_PER_MINUTE = 60_000_000_000


class Signal(StrEnum):
    """What kind of items a request carries."""

    TRACES = "traces"
    LOGS = "logs"
    SCORES = "scores"
    METRICS = "metrics"


class Entry(StrEnum):
    """A line of the ledger. From `requests` on they count requests, the others items."""

    RECEIVED = "received"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WRITTEN = "written"
    QUARANTINED = "quarantined"
    MASKED_OUT = "masked_out"
    REQUESTS = "requests"
    UNDECODABLE = "undecodable"
    PUSHED_BACK = "pushed_back"
    REFUSED = "refused"


class LedgerKey(NamedTuple):
    """Where a count belongs; `minute` is minutes since 1970 of the arrival."""

    minute: int
    signal: Signal
    key_id: str
    entry: Entry
    reason: str = ""


Tally = Counter[LedgerKey]


@dataclass(frozen=True)
class Counts:
    """
    The account of one request, in items: `received` = accepted + sum of `rejected`.

    Args:
        received: items that the sender sent.
        rejected: reason -> items refused for it before the spool.
        masked_out: reason -> accepted items that a rule left out of the payload; they are not written.
        retried: items that come from quarantine and were counted as received then.
    """

    received: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    masked_out: Mapping[str, int] = field(default_factory=dict)
    retried: int = 0

    @property
    def accepted(self) -> int:
        return self.received - sum(self.rejected.values())

    @property
    def spooled(self) -> int:
        """Items inside the payload: still to be written."""
        return self.accepted - sum(self.masked_out.values()) + self.retried

    def to_dict(self) -> dict[str, Any]:
        return {
            "received": self.received,
            "rejected": dict(self.rejected),
            "masked_out": dict(self.masked_out),
            "retried": self.retried,
        }


@dataclass(frozen=True)
class SpoolRecord:
    """
    One request, checked and masked.

    Args:
        payload: serialised `ExportTraceServiceRequest` (traces), `ExportLogsServiceRequest` (logs), or a JSON
            document (scores); only items that were accepted. Empty keeps the counts alone.
        received_at_ns: arrival, nanoseconds since 1970.
    """

    signal: Signal
    key_id: str
    received_at_ns: int
    payload: bytes
    counts: Counts

    def tally(self) -> Tally:
        """Its ledger lines as far as they are known before writing."""
        return tally_counts(self.signal, self.key_id, self.received_at_ns, self.counts)


def tally_counts(signal: Signal, key_id: str, received_at_ns: int, counts: Counts) -> Tally:
    """The ledger lines of one request once it is written; until then `written` is what is pending."""
    minute = received_at_ns // NS_PER_MINUTE

    def at(entry: Entry, reason: str = "") -> LedgerKey:
        return LedgerKey(minute, signal, key_id, entry, reason)

    tally: Tally = Counter()
    tally[at(Entry.REQUESTS)] = 1
    tally[at(Entry.RECEIVED)] = counts.received
    tally[at(Entry.ACCEPTED)] = counts.accepted
    tally[at(Entry.WRITTEN)] = counts.spooled
    for reason, n in counts.rejected.items():
        tally[at(Entry.REJECTED, reason)] = n
    for reason, n in counts.masked_out.items():
        tally[at(Entry.MASKED_OUT, reason)] = n
    return tally
