"""
What moving the data costs, with nothing computed: the statements of a run of the jobs, sent again to an equal store.

A job that computed in no time would cost this much; the rest of a run is what is computed between.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import polars as pl

from storage.client import Store


@dataclass
class Recording:
    """Queries (SQL, parameters, settings) and inserts (table, frame, settings) in the order in which a run made them."""

    sent: list[tuple[bool, tuple[Any, ...]]] = field(default_factory=list)

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Keep what every store sends for as long as this lasts."""
        frame, insert = Store.frame, Store.insert

        def asked(store: Store, *arguments: Any) -> pl.DataFrame:
            self.sent.append((False, arguments))
            return frame(store, *arguments)

        def written(store: Store, *arguments: Any) -> None:
            if not arguments[1].is_empty():
                self.sent.append((True, arguments))
            insert(store, *arguments)

        with patch.object(Store, "frame", asked), patch.object(Store, "insert", written):
            yield


def moved(store: Store, recording: Recording) -> Mapping[str, float]:
    """CPU seconds of sending it all again: `read` to Polars frames, `written` from the frames of the recording."""
    seconds = {"read": 0.0, "written": 0.0}
    for is_insert, arguments in recording.sent:
        began = time.process_time()
        if is_insert:
            store.insert(*arguments)
        else:
            store.frame(*arguments)
        seconds["written" if is_insert else "read"] += time.process_time() - began
    return seconds


def copied_inside(store: Store, recording: Recording) -> Mapping[str, float]:
    """
    CPU seconds of the engine alone, no row leaving it: the columns of spans that the job reads, read into nothing, and the rows
    that it wrote of spans and traces, from one table into another of the same shape that no view looks at.
    """
    spans = next(sent for is_insert, sent in recording.sent if not is_insert and "FROM span_records FINAL" in sent[0])
    columns = spans[0][spans[0].index("SELECT") : spans[0].index("PREWHERE")]
    began = time.process_time()
    store.command(f"{columns} SETTINGS max_threads = 1 FORMAT Null", {"hint_keys": spans[1]["hint_keys"]})
    seconds = {"read": time.process_time() - began, "written": 0.0}
    for table in ("span_facts", "trace_facts"):
        store.command(f"CREATE TABLE copy_of_{table} AS {table}")
        began = time.process_time()
        store.command(f"INSERT INTO copy_of_{table} SELECT * FROM {table} SETTINGS max_threads = 1, optimize_on_insert = 0")
        seconds["written"] += time.process_time() - began
    return seconds
