"""
Runs a stranger's query: checked on the engine's own syntax tree, on a connection that can only read, within limits.

Results are streamed: memory does not grow with them.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.binding import format_bind_value
from clickhouse_connect.driver.exceptions import ClickHouseError

from storage.client import Store
from storage.errors import QueryLimitError, RetryableError, StoreRefusedError, StoreUnavailableError
from storage.query_policy import QueryPolicy, QueryRefusedError, allowed_functions

_FUNCTIONS = "SELECT name, alias_to, categories AS category, toString(origin) AS origin, is_aggregate FROM system.functions"
_COMBINATORS = "SELECT name FROM system.aggregate_function_combinators ORDER BY length(name) DESC, name"
_TABLES = "SELECT name FROM system.tables WHERE database = {database:String}"
_JOIN_ALGORITHMS = "SELECT value FROM system.settings WHERE name = 'join_algorithm'"
_PARSE = "SELECT parseQueryToJSON({query:String}) AS tree, formatQuery({query:String}) AS text"

_TOO_MUCH_MEMORY = (241,)
_TOO_SLOW = (159, 160, 209)
_TOO_MANY_ROWS = (158, 307, 396)


@dataclass(frozen=True)
class QueryLimits:
    """What one query may use, all enforced by the engine."""

    seconds: float
    memory_bytes: int
    read_rows: int
    result_rows: int
    result_bytes: int

    def settings(self) -> dict[str, str]:
        """Engine settings. `readonly` comes last: after it nothing can be set, by us or by the query."""
        return {
            "max_execution_time": str(self.seconds),
            "timeout_overflow_mode": "throw",
            "max_memory_usage": str(self.memory_bytes),
            "max_rows_to_read": str(self.read_rows),
            "read_overflow_mode": "throw",
            "max_result_rows": str(self.result_rows),
            "max_result_bytes": str(self.result_bytes),
            "result_overflow_mode": "throw",
            "max_subquery_depth": "50",
            "max_ast_elements": "10000",
            "max_query_size": "262144",
            "final": "1",
            "allow_introspection_functions": "0",
            "output_format_arrow_string_as_string": "1",
            "readonly": "1",
        }


class SandboxBusyError(RetryableError):
    """As many queries run as may run at once."""


@dataclass(frozen=True)
class Column:
    """A column of an answer; `type` is ClickHouse's name of it."""

    name: str
    type: str


@dataclass(frozen=True)
class Answer:
    """A running query: its columns, and its rows as they come. Iterate `batches` once."""

    columns: tuple[Column, ...]
    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


class Sandbox:
    """Read-only queries over a store, a few at a time. Thread-safe."""

    def __init__(self, store: Store, concurrent: int) -> None:
        self._store = store
        self._slots = threading.BoundedSemaphore(concurrent)
        self._lock = threading.Lock()
        self._functions: frozenset[str] | None = None
        self._combinators: tuple[str, ...] = ()
        self._join_algorithms: str | None = None

    def check(self, query: str) -> tuple[str, frozenset[str]]:
        """
        Parse a query without running it.

        Returns:
            Its canonical text (what `run` sends), and the names of its parameters.

        Raises:
            QueryRefusedError: it is no query, or asks for what a reader may not have.
        """
        text, tree = self._parsed(query)
        return text, frozenset(_parameters(tree))

    @contextmanager
    def run(self, query: str, parameters: Mapping[str, Any], limits: QueryLimits) -> Generator[Answer, None, None]:
        """
        Run a query. The answer's rows are pulled inside the `with` block.

        Raises, also while rows are pulled:
            QueryRefusedError: not allowed, or wrong.
            QueryLimitError: over a limit; what was pulled so far must be thrown away.
            SandboxBusyError: try again later.
            StoreUnavailableError: the store cannot answer now.
        """
        text, tree = self._parsed(query)
        _check_parameters(frozenset(_parameters(tree)), parameters)
        settings = self._settings_of_spans() if _names_spans(tree) else {}
        if not self._slots.acquire(blocking=False):
            raise SandboxBusyError("as many SQL queries are running as may run at once")
        try:
            with _translated():
                engine = _open(self._store, limits, settings)
            with closing(engine):
                with _translated():
                    described = engine.whole(f"DESCRIBE TABLE ({text}\n)", parameters).to_pylist()
                    schema, batches = engine.stream(text, parameters)
                columns = tuple(Column(row["name"], row["type"]) for row in described)
                wanted = _with_times(schema, columns)
                yield Answer(columns, wanted, (_retyped(batch, wanted) for batch in _guarded(batches)))
        finally:
            self._slots.release()

    def _parsed(self, query: str) -> tuple[str, Any]:
        try:
            row = self._store.frame(_PARSE, {"query": query}).row(0, named=True)
        except StoreRefusedError as error:
            raise QueryRefusedError(_unparsed(str(error))) from error
        tree = json.loads(row["tree"])
        self._policy().check(tree)
        return str(row["text"]), tree

    def _settings_of_spans(self) -> dict[str, str]:
        """
        Both halves of the view `spans` lie in the order of its join: read in that order and merged they take the memory of a few
        blocks, where a hash table takes that of every fact there is. The view itself asks for it, but a connection that is
        `readonly` ignores the settings of a view (26.9). One stream for each table, because more read more at a time, and
        the merge has one thread anyway. Joins that cannot be merged are done as the engine would have done them.
        """
        with self._lock:
            if self._join_algorithms is None:
                self._join_algorithms = str(self._store.frame(_JOIN_ALGORITHMS)["value"].item())
        return {"join_algorithm": f"full_sorting_merge,{self._join_algorithms}", "max_final_threads": "1"}

    def _policy(self) -> QueryPolicy:
        with self._lock:
            if self._functions is None:
                self._functions = allowed_functions(self._store.frame(_FUNCTIONS).iter_rows(named=True))
                self._combinators = tuple(self._store.frame(_COMBINATORS)["name"])
        tables = frozenset(self._store.frame(_TABLES, {"database": self._store.database})["name"])
        return QueryPolicy(self._store.database, tables, self._functions, self._combinators)


class _EmbeddedEngine:
    """
    A connection of its own to the engine in this process.

    Limits and `readonly` are set on the connection before the query is sent, so the engine itself refuses writes and
    changed settings. It serves one query and is closed: after a query that failed half-way the engine hands that query's
    leftovers to the next one on the same connection (seen with chDB 4.4).
    """

    def __init__(self, path: str, database: str, settings: Mapping[str, str]) -> None:
        import chdb  # 200 MiB of it, which a process that asks a server does without

        self._connection = chdb.connect(path)  # type: ignore[no-untyped-call]
        self._open: list[Generator[pa.RecordBatchReader, None, None]] = []
        self._connection.query(f"USE `{database}`")
        for name, value in settings.items():
            self._connection.query(f"SET {name} = '{value}'")

    def whole(self, query: str, parameters: Mapping[str, Any]) -> pa.Table:
        result = self._connection.query(query, "ArrowStream", params=_bound(parameters))
        return pa.ipc.open_stream(result.bytes()).read_all()

    def stream(self, query: str, parameters: Mapping[str, Any]) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        chunks = self._chunks(query, parameters)
        self._open.append(chunks)
        first = next(chunks, None)
        if first is None:
            # without rows the engine sends nothing, not even the names of the columns
            return self.whole(f"SELECT * FROM ({query}) LIMIT 0", parameters).schema, iter(())
        return first.schema, itertools.chain.from_iterable(itertools.chain((first,), chunks))

    def _chunks(self, query: str, parameters: Mapping[str, Any]) -> Generator[pa.RecordBatchReader, None, None]:
        # every chunk is a whole Arrow stream; its bytes are copied because the engine frees its own
        with self._connection.send_query(query, "ArrowStream", params=_bound(parameters)) as chunks:
            for chunk in chunks:
                yield pa.ipc.open_stream(chunk.bytes())

    def close(self) -> None:
        for chunks in self._open:
            chunks.close()
        self._connection.close()


class _ServerEngine:
    """A ClickHouse server, which takes limits and `readonly` with each query."""

    def __init__(self, arguments: Mapping[str, Any], database: str, settings: Mapping[str, str]) -> None:
        self._client = clickhouse_connect.get_client(**arguments, database=database)
        # 2 instead of 1: the client sends settings of its own along; the checked query itself cannot hold any
        self._settings = {**settings, "readonly": "2"}

    def whole(self, query: str, parameters: Mapping[str, Any]) -> pa.Table:
        return self._client.query_arrow(query, parameters=dict(parameters), settings=self._settings)

    def stream(self, query: str, parameters: Mapping[str, Any]) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        raw = self._client.raw_stream(query, parameters=dict(parameters), settings=self._settings, fmt="ArrowStream")
        reader = pa.ipc.open_stream(raw)
        return reader.schema, iter(reader)

    def close(self) -> None:
        self._client.close()


def _open(store: Store, limits: QueryLimits, settings: Mapping[str, str] | None = None) -> _EmbeddedEngine | _ServerEngine:
    arguments = store.connection_arguments
    all_settings = {**(settings or {}), **limits.settings()}
    if "path" in arguments:
        # the engine knows its directory by its resolved name; another spelling would be another engine
        return _EmbeddedEngine(str(Path(arguments["path"]).resolve()), store.database, all_settings)
    return _ServerEngine(arguments, store.database, all_settings)


def _with_times(schema: pa.Schema, columns: tuple[Column, ...]) -> pa.Schema:
    """The engine sends `DateTime` as a bare number of seconds, and `UUID` as an extension type: make them times and text."""
    for position, column in enumerate(columns):
        kind = column.type.removeprefix("LowCardinality(").removeprefix("Nullable(")
        if kind.startswith("DateTime") and not kind.startswith("DateTime64"):
            schema = schema.set(position, pa.field(column.name, pa.timestamp("s", "UTC")))
        elif kind.startswith("UUID"):
            schema = schema.set(position, pa.field(column.name, pa.string()))
    return schema


def _retyped(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    if batch.schema == schema:
        return batch
    return pa.record_batch([_as(array, field.type) for array, field in zip(batch.columns, schema, strict=True)], schema=schema)


def _as(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type == kind:
        return array
    if pa.types.is_timestamp(kind):
        return array.cast(pa.int64()).cast(kind)
    return pa.array([None if value is None else str(value) for value in array.to_pylist()], kind)


def _bound(parameters: Mapping[str, Any]) -> dict[str, str]:
    return {name: format_bind_value(value) for name, value in parameters.items()}


def _guarded(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with _translated():
        yield from batches


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _engine_errors() as error:
        raise _meaning(error) from error


def _engine_errors() -> tuple[type[Exception], ...]:
    """What a query may raise; the embedded engine's own class where that engine is loaded."""
    engine = sys.modules.get("chdb")
    return (RuntimeError, ClickHouseError, pa.ArrowInvalid, OSError, *((engine.ChdbError,) if engine else ()))


def _meaning(error: Exception) -> Exception:
    message = _first_line(str(error))
    digits = message.partition("Code: ")[2].partition(".")[0]
    code = int(digits) if digits.isdigit() else getattr(error, "code", None)
    message = message.partition("DB::Exception: ")[2] or message
    if code in _TOO_MANY_ROWS:
        return QueryLimitError("rows", message)
    if code in _TOO_MUCH_MEMORY:
        return QueryLimitError("memory", message)
    if code in _TOO_SLOW:
        return QueryLimitError("seconds", message)
    return StoreUnavailableError(message) if code is None else QueryRefusedError(message)


def _unparsed(message: str) -> str:
    """What the parser says, without the words of ours that it was asked in."""
    text = _first_line(message)
    text = (text.partition("DB::Exception: ")[2] or text).partition(": In scope SELECT parseQueryToJSON")[0]
    return "only SELECT is allowed" if "parseQueryToJSON" in text else text


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0].removeprefix("Streaming query failed: ")[:1000]


def _nodes(tree: Any, kind: str) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        if tree.get("type") == kind:
            yield tree
        for value in tree.values():
            yield from _nodes(value, kind)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value, kind)


def _parameters(tree: Any) -> Iterator[str]:
    return (str(node["name"]) for node in _nodes(tree, "QueryParameter"))


def _names_spans(tree: Any) -> bool:
    return any(str(node["name"]).rpartition(".")[2] == "spans" for node in _nodes(tree, "TableIdentifier"))


def _check_parameters(wanted: frozenset[str], given: Mapping[str, Any]) -> None:
    missing, unused = sorted(wanted - given.keys()), sorted(given.keys() - wanted)
    if missing:
        raise QueryRefusedError(f"parameters {', '.join(missing)} are in the query but not in `parameters`")
    if unused:
        raise QueryRefusedError(f"parameters {', '.join(unused)} are not in the query; write them as {{{unused[0]}:Type}}")
    for name, value in given.items():
        if isinstance(value, dict):
            raise QueryRefusedError(f"parameter {name} is a map; send two arrays and combine them with mapFromArrays")
