"""One door to ClickHouse: the engine inside this process, or a server over HTTP. Same SQL, same methods."""

from __future__ import annotations

import copy
import fcntl
import os
import queue
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Self, cast

import clickhouse_connect
import lz4.frame
import polars as pl
import pyarrow as pa
import zstandard
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from storage.address import connection_arguments, database_of
from storage.cluster import SETTINGS as cluster_settings
from storage.cluster import Cluster
from storage.config import StorageConfig
from storage.errors import DataDirectoryBusyError, QueryLimitError, StoreRefusedError, StoreUnavailableError
from storage.parameters import Bound, bound

DATABASE = "spanwise"

# Codes after which the same statement may succeed: timeouts, memory, too many parts or queries, network,
# read-only replicas, no space left.
_RETRYABLE_CODES = frozenset({3, 159, 160, 164, 202, 203, 209, 210, 225, 236, 241, 242, 243, 252, 279, 285, 319, 394, 425, 999})


# Codes of a statement that was stopped at a limit of its own, and which.
_LIMITS = {159: "seconds", 160: "seconds", 241: "memory", 158: "rows", 396: "rows"}

# An insert may carry spans of any day, however wrong a sender's clock is: each month is a partition of its own.
SETTINGS: dict[str, Any] = {"max_partitions_per_insert_block": 0}
# Results stay in this process's memory: packing them would only cost time.
EMBEDDED_SETTINGS: dict[str, Any] = {"output_format_arrow_compression_method": "none"}


# What the embedded engine is started with. It takes a write that fails on a full disk for one that succeeded (chDB 4.4: the part
# is there and cannot be read), so it must never come to that: every insert and merge reserves its room above this reserve.
_ENGINE_CONFIG = """<clickhouse>
    <storage_configuration>
        <disks><default><keep_free_space_bytes>{min_free_bytes}</keep_free_space_bytes></default></disks>
    </storage_configuration>
</clickhouse>
"""

# Between here and a server: whole bodies, and the Arrow format's own way.
_COMPRESS = {"lz4": lz4.frame.compress, "zstd": zstandard.compress}
_ARROW_COMPRESSION = {None: "none", "lz4": "lz4_frame", "zstd": "zstd"}


class DirectoryOwner:
    """Holds the exclusive lock on an embedded data directory for as long as the process lives."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "owner.lock"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            text = os.read(self._file, 32).decode(errors="replace").strip()
            os.close(self._file)
            raise DataDirectoryBusyError(directory, int(text) if text.isdigit() else None) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.close(self._file)


class Store:
    """
    Runs SQL and moves frames.

    Values are bound by the server (`{name:Type}` in the SQL, `parameters` beside it). Calls are thread-safe: each
    takes a connection of its own from a pool, because one connection serialises its calls.

    Raises (every method):
        StoreUnavailableError: the store cannot answer now; the same call may succeed later.
        StoreRefusedError: the statement is wrong, or the store refuses it for good.
    """

    def __init__(
        self,
        arguments: Mapping[str, Any],
        database: str,
        owner: DirectoryOwner | None,
        cluster: Cluster | None = None,
    ) -> None:
        self.database = database
        self.cluster = cluster
        self.is_embedded = arguments.get("interface") == "chdb"
        self._arguments = dict(arguments)
        self._compression: str | None = arguments.get("compress") or None
        own = EMBEDDED_SETTINGS if self.is_embedded else _server_settings(self._compression)
        self._settings = SETTINGS | (cluster_settings if cluster else {}) | own
        self._owner = owner
        self._idle: queue.LifoQueue[Client] = queue.LifoQueue()
        self._others: list[Store] = []
        self._has_limits = False
        with self._translated():
            first = clickhouse_connect.get_client(**self._arguments)
            first.command(f"CREATE DATABASE IF NOT EXISTS `{database}`")
            first.close()

    @classmethod
    def embedded(cls, directory: Path, database: str = DATABASE, min_free_bytes: int = 0) -> Self:
        """
        Open the in-process engine on `directory`. Raises `DataDirectoryBusyError` when another process has it.

        Args:
            min_free_bytes: free space on the disk below which nothing is written.
        """
        owner = DirectoryOwner(directory)
        config = directory / "engine.xml"
        config.write_text(_ENGINE_CONFIG.format(min_free_bytes=min_free_bytes))
        arguments = {"interface": "chdb", "path": f"{directory / 'clickhouse'}?config-file={config}"}
        try:
            return cls(arguments, database, owner)
        except BaseException:
            owner.release()
            raise

    @classmethod
    def server(cls, url: str, database: str = DATABASE, config: StorageConfig | None = None) -> Self:
        """
        Open a ClickHouse server by URL (`storage.address`).

        Args:
            database: where the tables are, unless the URL names a database.
            config: timeouts, compression, certificates, and the cluster when tables are to be Replicated and Distributed.

        Raises:
            ServerAddressError: the URL cannot be used.
        """
        settings = config or StorageConfig()
        cluster = Cluster(settings.cluster) if settings.cluster else None
        return cls(connection_arguments(url, settings), database_of(url) or database, None, cluster)

    def limited(self, limits: Mapping[str, Any]) -> Store:
        """As `with_settings`, whose statements the engine stops at `limits` (such as `max_execution_time`): `QueryLimitError`."""
        other = self.with_settings(limits)
        other._has_limits = True
        return other

    def with_settings(self, settings: Mapping[str, Any]) -> Store:
        """The same store on connections of its own, with settings of the engine. It is closed with this one."""
        other = copy.copy(self)
        other._settings = {**self._settings, **settings}
        other._owner, other._idle, other._others = None, queue.LifoQueue(), []
        self._others.append(other)
        return other

    @property
    def connection_arguments(self) -> Mapping[str, Any]:
        """What a connection is opened with (`clickhouse_connect.get_client`), for one that must not be shared."""
        return dict(self._arguments)

    def frame(
        self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> pl.DataFrame:
        """Run a query and return its whole result."""
        table = self.arrow(sql, parameters, settings)
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame

    def arrow(self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None) -> pa.Table:
        """Run a query and return its whole result as an Arrow table."""
        with self._connection() as client, self._bound(sql, parameters) as (text, values, tables):
            return client.query_arrow(text, parameters=values, settings=dict(settings or {}), external_data=tables)

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None) -> None:
        """Run a statement that returns nothing."""
        with self._connection() as client, self._bound(sql, parameters) as (text, values, tables):
            client.command(text, parameters=values, settings=dict(settings or {}), external_data=tables)

    def insert(self, table: str, frame: pl.DataFrame, settings: Mapping[str, Any] | None = None) -> None:
        """Append `frame` to `table`; columns that the frame lacks take their defaults."""
        if frame.is_empty():
            return
        arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        with self._connection() as client:
            client.insert_arrow(table, arrow, settings=dict(settings or {}))

    def insert_bytes(self, sql: str, data: bytes, settings: Mapping[str, Any] | None = None) -> None:
        """Run `INSERT ... SELECT ... FROM input(...) FORMAT ...` on a server, with the bytes that it reads."""
        # in the body, where a statement may be longer than an address
        body = sql.encode() + b"\n" + data
        if self._compression is not None:
            body = _COMPRESS[self._compression](body)
        with self._connection() as client:
            client.raw_insert("", insert_block=body, settings=dict(settings or {}), compression=self._compression)

    def alter(
        self,
        table: str,
        clause: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Run `ALTER TABLE table clause` where the rows lie: here, or on every node of the cluster."""
        target = self.cluster.target(table) if self.cluster else f"`{table}`"
        self.command(f"ALTER TABLE {target} {clause}", parameters, settings)

    def export_parquet(self, sql: str, path: Path, parameters: Mapping[str, Any] | None = None) -> None:
        """Stream a query's result into a Parquet file."""
        with self._connection() as client, path.open("wb") as file:
            stream = client.raw_stream(sql, parameters=dict(parameters or {}), fmt="Parquet")
            shutil.copyfileobj(cast(IO[bytes], stream), file, 1 << 20)

    def import_parquet(self, table: str, path: Path) -> None:
        """Append the rows of a Parquet file to `table`; columns that the table has not are left out."""
        with self._connection() as client, path.open("rb") as file:
            client.raw_insert(table, insert_block=file, fmt="Parquet", settings={"input_format_skip_unknown_fields": 1})

    def release_memory(self) -> None:
        """Give back at once what the embedded engine needed for statements that are done; by itself it keeps that for seconds."""
        if self.is_embedded:
            self.command("SYSTEM JEMALLOC PURGE")

    def close(self) -> None:
        for other in self._others:
            other.close()
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                break
        if self._owner is not None:
            self._owner.release()

    def _bound(self, sql: str, parameters: Mapping[str, Any] | None) -> AbstractContextManager[Bound]:
        # a question with limits may be forbidden to read files
        reads_files = self.is_embedded and not self._has_limits
        return bound(sql, parameters, reads_files=reads_files, takes_tables=not self.is_embedded)

    @contextmanager
    def _connection(self) -> Iterator[Client]:
        with self._translated():
            try:
                client = self._idle.get_nowait()
            except queue.Empty:
                client = clickhouse_connect.get_client(**self._arguments, database=self.database, settings=self._settings)
            try:
                yield client
            except BaseException:
                client.close()
                raise
            self._idle.put(client)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OSError, OperationalError) as error:
            raise StoreUnavailableError(str(error)) from error
        except ClickHouseError as error:
            code = getattr(error, "code", None)
            limit = _LIMITS.get(code or 0) if self._has_limits else None
            # the whole process being short of memory is nobody's question's fault
            if limit is not None and "(total)" not in str(error):
                raise QueryLimitError(limit, str(error)) from error
            if code is None or code in _RETRYABLE_CODES:
                raise StoreUnavailableError(str(error)) from error
            raise StoreRefusedError(str(error)) from error


def _server_settings(compression: str | None) -> dict[str, Any]:
    return {"output_format_arrow_compression_method": _ARROW_COMPRESSION[compression]}
