"""
A cluster as far as one engine reaches, in a process of its own: the engine reads its cluster from a file when it starts.

`python -m tests.support.cluster_engine replicated DIRECTORY ZOOKEEPER_PORT`: makes the schema with Replicated tables, against a
ZooKeeper. `python -m tests.support.cluster_engine sharded DIRECTORY`: makes it with plain tables behind Distributed ones (this
engine leaves a replicated table read-only), writes and reads through them with the program's own writers, jobs and readers. Both
print what they found as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from analytics.config import AnalyticsConfig
from analytics.jobs import Jobs
from storage.backup import backup, restore
from storage.client import Store
from storage.clock import WallClock
from storage.cluster import Cluster, local_name
from storage.config import RetentionConfig
from storage.migrations import known_migrations, migrate
from storage.purge import purge_traces
from storage.retention import apply, enforce
from storage.sql import load
from tests.support.schema import rows_of
from tests.support.span_rows import START, make_evaluation, make_trace, write_evaluations, write_spans

_CONFIG = """
<clickhouse>
    <logger><level>none</level></logger>
    <tcp_port>9000</tcp_port>
    {zookeeper}
    <macros><shard>01</shard><replica>a</replica></macros>
    <remote_servers><lab><shard>
        <internal_replication>true</internal_replication>
        <replica><host>127.0.0.1</host><port>9000</port></replica>
    </shard></lab></remote_servers>
</clickhouse>
"""
_ZOOKEEPER = "<zookeeper><node><host>127.0.0.1</host><port>{port}</port></node></zookeeper>"

HOUR = timedelta(hours=1)


class Unreplicated(Cluster):
    """Without replicas: one copy of every shard's rows."""

    def arrange(self, statements: Iterable[str]) -> list[str]:
        marker = "ENGINE = Replicated"
        return [_without_path(text) if marker in text else text for text in super().arrange(statements)]


def _without_path(statement: str) -> str:
    """`ReplicatedXMergeTree('path', 'replica', a, b)` as `XMergeTree(a, b)`."""
    before, _, after = statement.partition("ENGINE = Replicated")
    engine, _, rest = after.partition("(")
    arguments, _, tail = rest.partition(")")
    kept = ", ".join(arguments.split(", ")[2:])
    return f"{before}ENGINE = {engine}({kept}){tail}"


def open_store(directory: Path, cluster: Cluster, zookeeper_port: str = "") -> Store:
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "clickhouse.xml"
    config.write_text(_CONFIG.format(zookeeper=_ZOOKEEPER.format(port=zookeeper_port) if zookeeper_port else ""))
    path = f"{directory / 'engine'}?config-file={config}"
    return Store({"interface": "chdb", "path": path}, "spanwise", None, cluster)


def replicated(directory: Path, port: str) -> NoReturn:
    store = open_store(directory, Cluster("lab", on_cluster=False), port)
    statements = [text for migration in known_migrations() for text in migration.statements()]
    assert store.cluster is not None
    for text in store.cluster.arrange(statements):
        if not text.startswith("ALTER"):  # which would wait for a replica that this engine never makes writable
            store.command(text)
    paths = store.frame("SELECT table, zookeeper_path, replica_path FROM system.replicas ORDER BY table").rows()
    engines = dict(store.frame("SELECT name, engine FROM system.tables WHERE database = 'spanwise'").iter_rows())
    print(json.dumps({"paths": paths, "engines": engines}), flush=True)
    os._exit(0)  # the engine would wait for ever to close tables that never became writable


def sharded(directory: Path) -> dict[str, Any]:
    store = open_store(directory, Unreplicated("lab", on_cluster=False))
    first = [migration.number for migration in migrate(store)]
    again = migrate(store)
    write_spans(store, [span for number in range(6) for span in make_trace(number)])
    write_evaluations(store, [make_evaluation(number) for number in range(6)])
    jobs = Jobs(store, AnalyticsConfig(), WallClock())
    runs = [jobs.run(kind) for kind in ("assemble", "rollup", "merge")]
    counted = {
        name: store.frame(f"SELECT count() AS n FROM `{name}` FINAL")["n"].item()
        for name in ("span_records", "trace_facts", "evaluation_records", "metric_minutes")
    }
    held = {name: store.frame(f"SELECT count() AS n FROM `{local_name(name)}` FINAL")["n"].item() for name in counted}
    views = {name: store.frame(f"SELECT count() AS n FROM {name}")["n"].item() for name in ("spans", "evaluations")}
    about = {"service": "support", "route": "teacher", "since": START - HOUR, "until": START + HOUR, "by_receipt": 0}
    delays = store.frame(load("read_verdict_delays"), about)
    backup(store, directory / "saved", lambda *_: None)
    proof = purge_traces(store, [f"{number:032x}" for number in (0, 1)])
    left = {name: store.frame(f"SELECT count() AS n FROM `{name}` FINAL")["n"].item() for name in ("span_records", "trace_facts")}
    changed = apply(store, RetentionConfig(spans_days=3))
    enforce(store)
    other = Store(store.connection_arguments, "restored", None, Unreplicated("lab", on_cluster=False))
    migrate(other)
    moved = restore(other, directory / "saved", lambda *_: None)
    return {
        "migrations": first,
        "again": len(again),
        "errors": [run.error for run in runs],
        "counted": counted,
        "held": held,
        "views": views,
        "delays": delays.height,
        "proof": [asdict(entry) for entry in proof],
        "left": left,
        "changed": changed,
        "restored": moved.n_rows,
        "restored_rows": rows_of(other),
    }


def main() -> None:
    kind, directory, *rest = sys.argv[1:]
    if kind == "replicated":
        replicated(Path(directory), rest[0])
    print(json.dumps(sharded(Path(directory))), flush=True)


if __name__ == "__main__":
    main()
