"""
The segment file: the spool on disk and, byte for byte, the input of the insert.

A segment is a sequence of length-delimited protobuf messages, which is what the engine's `Protobuf` format reads. Each
record is a header message followed by its rows:

    record  = frame(header) frame(row) frame(row) ...
    frame   = varint length, message
    header  = field 200, bytes: crc32 (4, of all that follows), body length (8), JSON

The engine knows no field 200, so it reads a header as a row without spans and skips it; recovery reads nothing but
headers, jumping over bodies. A record whose end or checksum is wrong was never acknowledged: it and all after it is cut.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path

from collector.records import NS_PER_MINUTE, Counts, Entry, LedgerKey, Signal, SpoolRecord, Tally, tally_counts
from collector.wire import WireError, embedded, read_varint, to_rows, varint

_HEADER_FIELD = 200
_HEADER_TAG = varint(_HEADER_FIELD << 3 | 2)
_FIXED = struct.Struct("<IQ")
_TO_JSON = json.JSONEncoder(separators=(",", ":")).encode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RecordHeader:
    """What a record says about itself, and where its rows lie in the segment."""

    signal: Signal
    key_id: str
    received_at_ns: int
    counts: Counts
    start: int
    body_start: int
    end: int

    @property
    def received_at(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self.received_at_ns // 1000)

    def ledger_key(self, entry: Entry) -> LedgerKey:
        return LedgerKey(self.received_at_ns // NS_PER_MINUTE, self.signal, self.key_id, entry)

    def tally(self) -> Tally:
        return tally_counts(self.signal, self.key_id, self.received_at_ns, self.counts)


@dataclass
class Segment:
    """A file of records of one signal. `name` is also its deduplication token and the source of its ledger lines."""

    path: Path
    signal: Signal
    size: int = 0
    n_items: int = 0
    tally: Tally = field(default_factory=Counter)

    @property
    def name(self) -> str:
        return self.path.stem

    def add(self, tally: Tally, n_items: int, size: int) -> None:
        for key, n in tally.items():  # `Counter.update` costs more than all the rest of an append
            self.tally[key] += n
        self.n_items += n_items
        self.size += size


Piece = bytes | memoryview


def encode(record: SpoolRecord) -> list[Piece]:
    """
    The record as it is appended to a segment, in pieces, so that a large payload is not copied.

    Raises:
        WireError: the payload's outer levels are malformed.
    """
    rows: Iterable[tuple[Piece, ...]]
    if record.signal is Signal.SCORES:
        rows = [(embedded(201, record.payload),)] if record.payload else []
    else:
        rows = to_rows(record.payload, record.received_at_ns)
    body = [piece for row in rows for piece in (varint(sum(map(len, row))), *row)]
    about = {
        "signal": record.signal,
        "key": record.key_id,
        "at": record.received_at_ns,
        **record.counts.to_dict(),
    }
    text = sum(map(len, body)).to_bytes(8, "little") + _TO_JSON(about).encode()
    checksum = reduce(_add_to_checksum, body, zlib.crc32(text))
    header = embedded(_HEADER_FIELD, checksum.to_bytes(4, "little") + text)
    return [varint(len(header)) + header, *body]


def _add_to_checksum(checksum: int, piece: Piece) -> int:
    return zlib.crc32(piece, checksum)


def encode_frames(rows: list[bytes]) -> bytes:
    """Rows as the engine reads them, without a header."""
    return b"".join(part for row in rows for part in (varint(len(row)), row))


def scan(data: bytes) -> Iterator[RecordHeader]:
    """The records of a segment in order, up to the first one that is cut short or damaged."""
    at = 0
    while at < len(data):
        header = _read_header(data, at)
        if header is None:
            return
        yield header
        at = header.end


def _read_header(data: bytes, start: int) -> RecordHeader | None:
    try:
        size, at = read_varint(data, start)
        body_start = at + size
        if data[at : at + len(_HEADER_TAG)] != _HEADER_TAG:
            return None
        length, at = read_varint(data, at + len(_HEADER_TAG))
        if at + length != body_start or body_start > len(data):
            return None
        checksum, body_size = _FIXED.unpack_from(data, at)
        end = body_start + body_size
        if end > len(data) or zlib.crc32(memoryview(data)[at + 4 : end]) != checksum:
            return None
        about = json.loads(data[at + _FIXED.size : body_start])
    except (WireError, struct.error):
        return None
    counts = Counts(about["received"], about["rejected"], about["masked_out"], about["retried"])
    return RecordHeader(Signal(about["signal"]), about["key"], about["at"], counts, start, body_start, end)


def rows(data: bytes, header: RecordHeader) -> list[bytes]:
    """The row messages of one record."""
    found = []
    at = header.body_start
    while at < header.end:
        size, at = read_varint(data, at)
        found.append(data[at : at + size])
        at += size
    return found


def score_documents(data: bytes, header: RecordHeader) -> list[bytes]:
    """The JSON documents of one record of scores."""
    tag = len(varint(201 << 3 | 2))
    return [row[read_varint(row, tag)[1] :] for row in rows(data, header)]


def recover(path: Path) -> Segment:
    """Read a segment left by an earlier process and cut off its torn tail. An empty result has size 0."""
    data = path.read_bytes()
    signal = Signal(path.name.split("-", 1)[0])
    segment = Segment(path, signal)
    for header in scan(data):
        segment.add(header.tally(), header.counts.spooled, header.end - header.start)
    if segment.size < len(data):
        with path.open("r+b") as file:
            file.truncate(segment.size)
    return segment
