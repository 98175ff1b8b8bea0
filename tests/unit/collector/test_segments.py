"""The segment file: what is appended is found again, and a torn or damaged tail is cut, never an acknowledged record."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from collector.records import Counts, Entry, LedgerKey, Signal, SpoolRecord
from collector.segments import encode, encode_frames, recover, rows, scan, score_documents
from collector.wire import embedded, varint

NS_PER_MINUTE = 60_000_000_000


def record(n: int, *, at: int = NS_PER_MINUTE) -> SpoolRecord:
    """A request with one scope and `n` as its only content."""
    payload = embedded(1, embedded(2, embedded(3, varint(n))))
    return SpoolRecord(Signal.TRACES, "key", at, payload, Counts(n, {"bad": 1}, {"rule": 2}))


def written(item: SpoolRecord) -> bytes:
    return b"".join(encode(item))


def test_a_record_byte_by_byte() -> None:
    data = written(SpoolRecord(Signal.SCORES, "k", 7, b"{}", Counts(1)))
    body = b"\x05" + b"\xca\x0c\x02{}"  # one frame of five bytes: field 201
    text = len(body).to_bytes(8, "little") + (
        b'{"signal":"scores","key":"k","at":7,"received":1,"rejected":{},"masked_out":{},"retried":0}'
    )
    checksum = zlib.crc32(text + body).to_bytes(4, "little")
    header = b"\xc2\x0c" + bytes([len(checksum + text)]) + checksum + text  # field 200
    assert data == bytes([len(header)]) + header + body


def test_records_are_found_in_order() -> None:
    data = b"".join(written(record(n)) for n in (4, 5, 6))
    found = list(scan(data))
    assert [header.counts for header in found] == [record(n).counts for n in (4, 5, 6)]
    assert [header.start for header in found] == [0, found[0].end, found[1].end]
    assert found[-1].end == len(data)
    assert found[1].tally() == record(5).tally() == {
        LedgerKey(1, Signal.TRACES, "key", Entry.REQUESTS): 1,
        LedgerKey(1, Signal.TRACES, "key", Entry.RECEIVED): 5,
        LedgerKey(1, Signal.TRACES, "key", Entry.ACCEPTED): 4,
        LedgerKey(1, Signal.TRACES, "key", Entry.REJECTED, "bad"): 1,
        LedgerKey(1, Signal.TRACES, "key", Entry.MASKED_OUT, "rule"): 2,
        LedgerKey(1, Signal.TRACES, "key", Entry.WRITTEN): 2,
    }  # fmt: skip
    assert rows(data, found[2])[0].startswith(embedded(3, varint(6)))


def test_documents_of_scores() -> None:
    document = json.dumps([{"name": "x"}]).encode()
    data = written(SpoolRecord(Signal.SCORES, "k", 7, document, Counts(1)))
    (header,) = scan(data)
    assert score_documents(data, header) == [document]


def test_a_file_cut_anywhere_keeps_the_whole_records_before(tmp_path: Path) -> None:
    first, second = written(record(4)), written(record(5))
    path = tmp_path / "traces-x.segment"
    for end in range(len(first) + len(second) + 1):
        path.write_bytes((first + second)[:end])
        segment = recover(path)
        kept = 0 if end < len(first) else len(first) if end < len(first + second) else end
        assert (segment.size, path.stat().st_size) == (kept, kept)
        assert segment.n_items == {0: 0, len(first): 1}.get(kept, 1 + 2)


def test_one_wrong_byte_anywhere_loses_only_what_follows(tmp_path: Path) -> None:
    first, second, third = (written(record(n)) for n in (4, 5, 6))
    path = tmp_path / "traces-x.segment"
    for at in range(len(first), len(first) + len(second)):
        damaged = bytearray(first + second + third)
        damaged[at] ^= 0x55
        path.write_bytes(damaged)
        assert recover(path).size == len(first), at


@pytest.mark.parametrize("tail", [bytes(64), b"\xff" * 64, b"\x0a\x10" * 32])
def test_what_was_never_a_record_is_cut(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "logs-x.segment"
    path.write_bytes(written(record(4)) + tail)
    segment = recover(path)
    assert segment.signal is Signal.LOGS
    assert path.read_bytes() == written(record(4))


def test_frames_without_a_header() -> None:
    assert encode_frames([b"ab", b"", b"x" * 200]) == b"\x02ab" + b"\x00" + b"\xc8\x01" + b"x" * 200
