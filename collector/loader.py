"""
Runs the statements that turn a segment file into rows: the engine in this process reads the file itself; a server is sent its
bytes.

Large inserts, for the engine reads a statement anew each time and these are long; few blocks of bounded bytes, for its memory.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from collector import census, decode, evaluations, normalise, sqltext
from collector.census import Census
from collector.config import FlushConfig
from collector.decode import LOG_STRUCTURE, SPAN_STRUCTURE
from storage.client import Store
from storage.evaluations import insert_evaluations, write_evaluations
from storage.spans import SPAN_COLUMNS

_JUDGES = re.compile(evaluations.CANDIDATE_KEYS).search


def _settings(config: FlushConfig) -> dict[str, Any]:
    return {
        "max_threads": config.max_threads,
        # the engine's own work on long statements: these passes cost more than they save here
        "optimize_and_compare_chain": 0,
        "query_plan_enable_optimizations": 0,
        "compile_expressions": 0,
        # reading
        # rows of the staged table are normalised this many at a time: every step of it copies their texts
        "max_block_size": 4096,
        "input_format_max_block_size_bytes": config.block_bytes,
        # a mapped segment counts as this process's memory, all of it
        "storage_file_read_method": "pread",
        # writing
        "max_insert_threads": 1,
        "insert_deduplicate": 1,
        # copies of a span are merged in the background, not while it is inserted: four fifths of what writing a part costs
        "optimize_on_insert": 0,
        # a replay fills the dependent tables that a crash left empty
        "deduplicate_blocks_in_dependent_materialized_views": 1,
    }


class Loader:
    """
    Segment file in, rows out.

    Raises (every method):
        StoreUnavailableError, StoreRefusedError: see `storage.client.Store`.
    """

    def __init__(self, store: Store, config: FlushConfig) -> None:
        self._is_local = store.is_embedded
        # set once: the embedded driver sets what comes with a statement, and puts it back, by statements of its own
        self._store = store.with_settings(_settings(config))
        # rows of spans are wide, those of evaluations are not: they keep the engine's own bounds, one part a segment
        self._bounds = f"min_insert_block_size_rows = {config.insert_rows}, min_insert_block_size_bytes = {config.insert_bytes}"

    def insert_spans(self, path: Path, token: str) -> None:
        """
        Normalise every span of the segment into `span_records`, and the evaluations that spans and their events hold into
        `evaluation_records`; the same `token` again changes nothing.
        """
        with self.staged(path) as table:
            scopes = census.answers(self._store.frame(census.question(table)))
            groups = census.parted(scopes)
            for n, (members, counted) in enumerate(groups):
                select = normalise.staged(table, counted, members if len(groups) > 1 else ())
                own = sqltext.text(f"{token}-{n}" if n else token)
                settings = f"{self._bounds}, insert_deduplication_token = {own}"
                self._store.command(f"INSERT INTO span_records ({', '.join(SPAN_COLUMNS)}) SETTINGS {settings} {select}")
            self._insert_evaluations(table, census.together(scopes.values()), token)

    def _insert_evaluations(self, table: str, counted: Census, token: str) -> None:
        found = []
        if counted.has_event(evaluations.EVENT_NAME):
            events = decode.evaluation_events(table, evaluations.EVENT_NAME, counted)
            if counted.has_odd_evaluations:
                found.append(evaluations.from_events(self._store.frame(events)))
            else:
                insert_evaluations(self._store, evaluations.plain.select(events), f"{token}-plain")
        if any(map(_JUDGES, counted.keys or ())):
            spans = decode.evaluation_spans(table, evaluations.CANDIDATE_KEYS)
            found.append(evaluations.from_spans(self._store.frame(spans)))
        if found:
            write_evaluations(self._store, pl.concat(found), token)

    @contextmanager
    def staged(self, path: Path) -> Iterator[str]:
        """The spans of a segment in a table in memory, where several statements read them: parsing costs more than keeping."""
        # named after the segment: what a crash left is found again by its replay
        table = f"staged_{hashlib.sha256(path.name.encode()).hexdigest()[:32]}"
        create = f"CREATE TABLE {table} ENGINE = Memory"
        settings = self._schema("Spans")
        try:
            self._store.command(f"DROP TABLE IF EXISTS {table}")
            if self._is_local:
                source = self._file(path, SPAN_STRUCTURE)
                self._store.command(f"{create} AS {decode.staged_spans(source)}", settings=settings)
            else:
                structure = sqltext.text(SPAN_STRUCTURE)
                self._store.command(f"{create} EMPTY AS {decode.staged_spans(f'null({structure})')}")
                insert = f"INSERT INTO {table} {decode.staged_spans(f'input({structure})')}\nFORMAT Protobuf"
                self._store.insert_bytes(insert, path.read_bytes(), settings)
            yield table
        finally:
            self._store.command(f"DROP TABLE IF EXISTS {table}")

    def evaluations_of_logs(self, path: Path) -> pl.DataFrame:
        """Evaluations among the segment's log records."""
        return evaluations.from_logs(self._frame(path, "Logs", LOG_STRUCTURE, decode.logs))

    def _schema(self, message: str) -> dict[str, str]:
        """Where the engine finds the message. A server is sent the text; embedded, that would be cached in the work directory."""
        file = decode.schema_directory() / "segment.proto"
        if self._is_local:
            return {"format_schema": f"{file.resolve()}:{message}"}
        text = file.read_text(encoding="utf-8")
        return {"format_schema_source": "string", "format_schema": text, "format_schema_message_name": message}

    def _file(self, path: Path, structure: str) -> str:
        return f"file({sqltext.text(str(path.resolve()))}, 'Protobuf', {sqltext.text(structure)})"

    def _frame(self, path: Path, message: str, structure: str, select: Callable[[str], str]) -> pl.DataFrame:
        settings = self._schema(message)
        if self._is_local:
            return self._store.frame(select(self._file(path, structure)), settings=settings)
        table = f"decoded_{uuid.uuid4().hex}"
        empty = select(f"null({sqltext.text(structure)})")
        self._store.command(f"CREATE TABLE {table} ENGINE = Memory EMPTY AS {empty}")
        try:
            insert = f"INSERT INTO {table} {select(f'input({sqltext.text(structure)})')}\nFORMAT Protobuf"
            self._store.insert_bytes(insert, path.read_bytes(), settings)
            return self._store.frame(f"SELECT * FROM {table}")
        finally:
            self._store.command(f"DROP TABLE IF EXISTS {table}")
