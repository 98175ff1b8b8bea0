"""
What a database looks like, for comparing two; and a migration that dies on the way.

Run on its own: `python -m tests.support.schema DIRECTORY [N]` migrates the embedded database there and prints its schema as JSON,
or kills itself, as the kernel would, when it is about to run the N-th statement of the schema.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from storage.client import Store
from storage.migrations import migrate


def schema_of(store: Store) -> dict[str, str]:
    """The statement that makes each table and view, by name; the database's own name left out."""
    sql = "SELECT name, create_table_query AS made FROM system.tables WHERE database = {d:String} ORDER BY name"
    rows = store.frame(sql, {"d": store.database}).iter_rows()
    return {name: made.replace(f"{store.database}.", "").replace(f"`{store.database}`.", "") for name, made in rows}


def rows_of(store: Store) -> dict[str, int]:
    """How many rows each table with any has, superseded copies left out; views are not counted."""
    sql = "SELECT name, engine FROM system.tables WHERE database = {d:String} AND engine LIKE '%MergeTree' ORDER BY name"
    counts = {}
    for name, engine in store.frame(sql, {"d": store.database}).iter_rows():
        final = "FINAL" if engine != "MergeTree" else ""
        if n := store.frame(f"SELECT count() AS n FROM `{name}` {final}")["n"].item():
            counts[name] = n
    return counts


def main() -> None:
    last = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    store = Store.embedded(Path(sys.argv[1]))
    run: Any = store.command
    n_run = 0

    def command(sql: str, *rest: Any) -> None:
        nonlocal n_run
        n_run += sql.lstrip().upper().startswith(("CREATE", "ALTER"))
        if n_run == last:
            os.kill(os.getpid(), signal.SIGKILL)
        run(sql, *rest)

    store.command = command  # type: ignore[method-assign]
    migrate(store)
    print(json.dumps({"schema": schema_of(store), "rows": rows_of(store)}))
    store.close()


if __name__ == "__main__":
    main()
