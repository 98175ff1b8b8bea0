"""A process that appends to a spool and says what was acknowledged, until it is killed."""

from __future__ import annotations

import os
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from collector.config import SpoolConfig
from collector.records import Counts, Signal, SpoolRecord
from collector.spool import Spool
from tests.bench.payload import make_request

START_NS = 1_763_700_000_000_000_000
_THREADS = 4


def record(seed: int, n_spans: int = 3) -> SpoolRecord:
    """A request of spans that only `seed` makes so."""
    return SpoolRecord(Signal.TRACES, "key", START_NS, make_request(n_spans, seed, START_NS), Counts(n_spans))


def append_for_ever(directory: Path, first: int, sink: Connection) -> None:
    """Append requests with seeds from `first` from four threads; a line to `sink` for each once it is acknowledged."""
    spool = Spool(directory, SpoolConfig(segment_bytes=60_000))

    def work(start: int) -> None:
        for seed in range(start, start + 100_000, _THREADS):
            spool.append(record(seed))
            os.write(sink.fileno(), f"{seed}\n".encode())

    for n in range(_THREADS):
        threading.Thread(target=work, args=(first + n,)).start()
