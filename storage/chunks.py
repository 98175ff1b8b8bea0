"""Tables as chunks, one per partition, that can be fingerprinted and moved as Parquet: what backup, restore and copy share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyarrow.parquet import ParquetFile

from storage.client import Store
from storage.cluster import local_name
from storage.sql import load

# Each database says itself which schema it has, who is active, and what still waits to be written to it.
OWN_TO_A_DATABASE = frozenset({"schema_migrations", "leases", "spools"})

# Engines whose rows never replace each other; they know no FINAL.
_PLAIN = frozenset({"MergeTree", "ReplicatedMergeTree"})

# In every file beside the table's own columns.
HASH_COLUMN = "_row_hash"
_HASH = "sipHash64(toString(tuple(*)))"


@dataclass(frozen=True)
class Chunk:
    """One partition of one table."""

    table: str
    partition: str

    @property
    def file_name(self) -> str:
        return f"{self.table}.{self.partition}.parquet"


@dataclass(frozen=True)
class Fingerprint:
    """How many rows a chunk has, and the sum of their hashes: equal for equal sets of rows, whatever their order."""

    n_rows: int
    checksum: int


NOTHING = Fingerprint(0, 0)


def data_tables(store: Store) -> list[str]:
    """Tables whose rows must be carried along, by name. What materialized views feed fills itself, on restore as in life."""
    names = store.frame(load("data_tables"), {"database": store.database})["name"].to_list()
    return [name for name in (name.removesuffix("_local") for name in names) if name not in OWN_TO_A_DATABASE]


def chunks(store: Store) -> Iterator[Chunk]:
    """Every chunk of every table, by table and partition."""
    sql = load("chunks")
    if store.cluster:
        sql = sql.replace("system.parts", f"cluster('{store.cluster.name}', system.parts)")
    for table in data_tables(store):
        holder = local_name(table) if store.cluster else table
        found = store.frame(sql, {"database": store.database, "table": holder})
        yield from (Chunk(table, partition) for partition in found["partition_id"].to_list())


def fingerprint(store: Store, chunk: Chunk) -> Fingerprint:
    """Of the chunk's rows as they stand, superseded copies left out."""
    sql = f"SELECT count() AS n_rows, sum({_HASH}) AS checksum FROM {_rows(store, chunk)}"
    row = store.frame(sql, {"partition": chunk.partition}).row(0, named=True)
    return Fingerprint(row["n_rows"], row["checksum"])


def export(store: Store, chunk: Chunk, path: Path) -> Fingerprint:
    """
    Write the chunk's rows to a Parquet file, each with its hash; returns the fingerprint of what was written.

    The fingerprint is that of the file, so it holds for a table that is written to meanwhile.
    """
    store.export_parquet(f"SELECT *, {_HASH} AS {HASH_COLUMN} FROM {_rows(store, chunk)}", path, {"partition": chunk.partition})
    with ParquetFile(path) as file:
        hashes = (batch.column(0).to_numpy() for batch in file.iter_batches(columns=[HASH_COLUMN]))
        # unsigned sums go round at 2^64, as ClickHouse's do
        checksum = sum(int(part.sum(dtype="uint64")) for part in hashes) % 2**64
        return Fingerprint(file.metadata.num_rows, checksum)


def replace(store: Store, chunk: Chunk, path: Path) -> None:
    """Make the chunk hold exactly the rows of a Parquet file. Safe to repeat."""
    store.alter(chunk.table, f"DROP PARTITION ID '{chunk.partition}'")
    store.import_parquet(chunk.table, path)


def _rows(store: Store, chunk: Chunk) -> str:
    """What stands behind FROM: the chunk's rows, superseded copies merged away (those of one row lie in one partition)."""
    holder = local_name(chunk.table) if store.cluster else chunk.table
    engine = store.frame(load("table_engine"), {"database": store.database, "table": holder})["engine"].item()
    final = "" if engine in _PLAIN else "FINAL"
    # without the setting FINAL would also look at all other partitions
    settings = "SETTINGS do_not_merge_across_partitions_select_final = 1"
    return f"`{chunk.table}` {final} WHERE _partition_id = {{partition:String}} {settings}"
