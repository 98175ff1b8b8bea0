"""
Runs the statements that turn a segment file into rows: the engine in this process reads the file itself; a server is sent its
bytes.

Large inserts, for the engine reads a statement anew each time and these are long; few blocks of bounded bytes, for its memory.
"""

from __future__ import annotations

import mmap
import uuid
from collections.abc import Callable
from pathlib import Path

import polars as pl

from collector import decode, evaluations, normalise, sqltext
from collector.config import FlushConfig
from collector.decode import LOG_STRUCTURE, SPAN_STRUCTURE
from storage.client import Store
from storage.spans import SPAN_COLUMNS

_DOCUMENT_MARKERS = (b"etadata", b"_details", b"usage.raw", b"usage_object", b"openai.usage")
_MESSAGE_MARKERS = (b"tool_call", b"toolCall", b"tool_calls")
_EVENT_MARKERS = (evaluations.EVENT_NAME.encode(),)
_JUDGING_KEYS = (
    b"gen_ai.evaluation.name",
    b"gen_ai.guardrail.status",
    b"litellm.guardrail.status",
    b"logfire.feedback.name",
    b"langgraph.human.decision",
    b"annotations.",
    b"evaluations.",
)
"""Without one of its markers a segment holds nothing of the kind, and the statement for it is left out."""

_SPAN_ATTRIBUTE = 0x4A
"""Wire tag of an attribute that is a span's own; those of events have another."""


def _contains(data: mmap.mmap, markers: tuple[bytes, ...]) -> bool:
    return any(data.find(marker) >= 0 for marker in markers)


def _has_judging_spans(data: mmap.mmap) -> bool:
    """
    Whether one of the keys is, or may be, a span's own attribute, and not an event's: before a key come its tag and length,
    before those the attribute's. One that follows a prefix is taken for one.
    """
    for key in _JUDGING_KEYS:
        at = data.find(key)
        while at >= 0:
            is_whole_key = data[at - 2] == 0x0A
            if not is_whole_key or _SPAN_ATTRIBUTE in data[at - 6 : at - 3]:
                return True
            at = data.find(key, at + len(key))
    return False


class Loader:
    """
    Segment file in, rows out.

    Raises (every method):
        StoreUnavailableError, StoreRefusedError: see `storage.client.Store`.
    """

    def __init__(self, store: Store, config: FlushConfig) -> None:
        self._store = store
        self._is_local = store.connection_arguments.get("interface") == "chdb"
        self._reading = {
            "max_block_size": 65409,
            "input_format_max_block_size_bytes": config.block_bytes,
            "max_threads": config.max_threads,
            # the engine's own work on long statements: these passes cost more than they save here
            "optimize_and_compare_chain": 0,
            "query_plan_enable_optimizations": 0,
            "compile_expressions": 0,
        }
        self._writing = {
            "min_insert_block_size_rows": config.insert_rows,
            "min_insert_block_size_bytes": config.insert_bytes,
            "max_insert_threads": 1,
            "insert_deduplicate": 1,
            # copies of a span are merged in the background, not while it is inserted: four fifths of what writing a part costs
            "optimize_on_insert": 0,
            # a replay fills the dependent tables that a crash left empty
            "deduplicate_blocks_in_dependent_materialized_views": 1,
        }

    def insert_spans(self, path: Path, token: str) -> None:
        """Normalise every span of the segment into `span_records`; the same `token` again changes nothing."""
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            with_documents, with_messages = _contains(data, _DOCUMENT_MARKERS), _contains(data, _MESSAGE_MARKERS)
        settings = self._reading | self._writing | self._schema("Spans") | {"insert_deduplication_token": token}
        columns = ", ".join(SPAN_COLUMNS)

        def statement(source: str) -> str:
            select = normalise.statement(decode.spans(source), with_documents=with_documents, with_messages=with_messages)
            return f"INSERT INTO span_records ({columns}) {select}"

        if self._is_local:
            self._store.command(statement(self._file(path, SPAN_STRUCTURE)), settings=settings)
        else:
            self._store.insert_bytes(
                statement(f"input({sqltext.text(SPAN_STRUCTURE)})") + "\nFORMAT Protobuf", path.read_bytes(), settings
            )

    def evaluations_of_spans(self, path: Path) -> pl.DataFrame:
        """Evaluations that the segment's spans and span events hold."""
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            has_events, may_have_more = _contains(data, _EVENT_MARKERS), _has_judging_spans(data)
        found = []
        if has_events:
            events = self._frame(
                path, "Spans", SPAN_STRUCTURE, lambda source: decode.evaluation_events(source, evaluations.EVENT_NAME)
            )
            found.append(evaluations.from_events(events))
        if may_have_more:
            spans = self._frame(
                path, "Spans", SPAN_STRUCTURE, lambda source: decode.evaluation_spans(source, evaluations.CANDIDATE_KEYS)
            )
            found.append(evaluations.from_spans(spans))
        return pl.concat(found) if found else pl.DataFrame()

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
        settings = self._reading | self._schema(message)
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
