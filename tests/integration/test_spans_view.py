"""The view `spans` as strangers ask it: the rows a slower way finds, and memory that does not follow the hour."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from storage.client import DirectoryOwner, Store
from storage.errors import QueryLimitError
from storage.migrations import migrate
from storage.sandbox import QueryLimits, Sandbox
from tests.support.clickhouse_http import Front
from tests.support.rows import fill_hour

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 1, 10, tzinfo=UTC)
MEMORY = 64 * 2**20
LIMITS = QueryLimits(seconds=60, memory_bytes=512 * 2**20, read_rows=10**9, result_rows=10**7, result_bytes=2**32)


@pytest.fixture
def store(engine_directory: Path, _engine_owner: DirectoryOwner) -> Iterator[Store]:
    """A database of its own on the engine of this process, which the sandbox opens by its path."""
    store = Store({"interface": "chdb", "path": str(engine_directory / "clickhouse")}, f"test_{uuid.uuid4().hex}", owner=None)
    migrate(store)
    yield store
    store.command(f"DROP DATABASE `{store.database}`")
    store.close()


def rows(store: Store, query: str, limits: QueryLimits = LIMITS) -> list[dict[str, Any]]:
    with Sandbox(store, 1).run(query, {}, limits) as answer:
        return pa.Table.from_batches(answer.batches, answer.schema).to_pylist()


def records(rng: random.Random, n: int) -> list[dict[str, Any]]:
    """Copies of few spans, some in another hour, one version each."""
    return [
        {
            "trace_id": f"{rng.randrange(9):032x}",
            "span_id": f"{rng.randrange(7):016x}",
            "start_time": START + timedelta(hours=rng.randrange(3), seconds=rng.randrange(3600)),
            "received_at": START + timedelta(days=rng.randrange(2)),
            "model_route": rng.choice(["", "own"]),
            "name": f"copy-{version}",
            "row_version": version,
        }
        for version in range(n)
    ]


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


@pytest.mark.parametrize("seed", range(3))
def test_it_shows_what_a_dictionary_of_the_newest_rows_shows(store: Store, front: Front, seed: int) -> None:
    rng = random.Random(seed)
    written = records(rng, 160)
    keys = sorted({(hour_of(row["start_time"]), row["trace_id"], row["span_id"]) for row in written})
    facts = [
        {"start_hour": hour, "trace_id": trace, "span_id": span, "model_route": rng.choice(["", f"fact-{n}"]),
         "is_model_call": rng.random() < 0.5, "usage_scope": f"scope-{n}", "attempt_index": rng.choice([None, n]),
         "computed_at": START + timedelta(seconds=n), "is_deleted": int(rng.random() < 0.2)}
        for n, (hour, trace, span) in enumerate(rng.choices([*keys, (START - timedelta(hours=5), "other", "other")], k=90))
    ]  # fmt: skip
    superseded = [
        {"start_hour": hour, "trace_id": trace, "span_id": span, "found_at": START + timedelta(seconds=n),
         "is_deleted": int(rng.random() < 0.4)}
        for n, (hour, trace, span) in enumerate(rng.choices(keys, k=30))
    ]  # fmt: skip
    shuffled = rng.sample(written, len(written))
    for at in range(0, len(shuffled), 40):
        store.insert("span_records", pl.DataFrame(shuffled[at : at + 40]))
    for at in range(0, len(facts), 30):
        store.insert("span_facts", pl.DataFrame(facts[at : at + 30], infer_schema_length=None))
    store.insert("superseded_copies", pl.DataFrame(superseded))

    # each list is in the order of its versions: the last one of a key is what counts
    newest = {(hour_of(row["start_time"]), row["trace_id"], row["span_id"]): row for row in written}
    known = {(fact["start_hour"], fact["trace_id"], fact["span_id"]): fact for fact in facts}
    lost = {(row["start_hour"], row["trace_id"], row["span_id"]): not row["is_deleted"] for row in superseded}
    expected = []
    for key, row in newest.items():
        if lost.get(key, False):
            continue
        fact: dict[str, Any] = known.get(key, {})
        fact = {} if fact.get("is_deleted") else fact
        expected.append(
            {
                "trace_id": row["trace_id"],
                "span_id": row["span_id"],
                "name": row["name"],
                "model_route": fact.get("model_route") or row["model_route"],
                "is_model_call": fact.get("is_model_call", False),
                "usage_scope": fact.get("usage_scope", ""),
                "attempt_index": fact.get("attempt_index"),
            }
        )
    query = f"SELECT {', '.join(expected[0])} FROM spans ORDER BY name"
    assert rows(store, query) == sorted(expected, key=lambda row: row["name"])
    remote = Store.server(front.url, store.database)
    assert rows(remote, query) == rows(store, query)
    remote.close()
    # not merely the rows: a filter on either side of the join, and a joined one beside it
    assert rows(store, "SELECT count() AS n FROM spans WHERE usage_scope != ''") == [
        {"n": sum(row["usage_scope"] != "" for row in expected)}
    ]
    mine = "SELECT count() AS n FROM spans AS a LEFT SEMI JOIN spans AS b ON a.name = b.name AND b.model_route = 'own'"
    assert rows(store, mine) == [{"n": sum(row["model_route"] == "own" for row in expected)}]


# 400,000 spans, one every 9 ms; in the order of their numbers: 10:30:00 is the 200,000th, and ten seconds of them are 1,111.1
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT count() AS n FROM spans", [{"n": 400_000}]),
        (
            "SELECT count() AS n FROM spans WHERE start_time >= '2026-03-01 10:30:00' AND start_time < '2026-03-01 10:30:10'",
            [{"n": 1_112}],
        ),
        (
            "SELECT model_route, count() AS n FROM spans GROUP BY model_route ORDER BY model_route",
            [{"model_route": "student", "n": 199_998}, {"model_route": "teacher", "n": 200_002}],
        ),
    ],
)
def test_a_full_hour_is_asked_within_the_memory_of_a_few_blocks(
    full_hour: Store, query: str, expected: list[dict[str, Any]]
) -> None:
    """As a hash table, facts of these spans take more than the limit."""
    small = QueryLimits(seconds=60, memory_bytes=MEMORY, read_rows=10**9, result_rows=10**7, result_bytes=2**32)
    assert rows(full_hour, query, small) == expected


@pytest.fixture(scope="module")
def full_hour(engine_directory: Path, _engine_owner: DirectoryOwner) -> Iterator[Store]:
    """400,000 spans of one hour in traces of six, with their facts."""
    store = Store({"interface": "chdb", "path": str(engine_directory / "clickhouse")}, f"test_{uuid.uuid4().hex}", owner=None)
    migrate(store)
    fill_hour(store, 400_000, START)
    yield store
    store.command(f"DROP DATABASE `{store.database}`")
    store.close()


def test_a_condition_on_the_hour_leaves_other_hours_unread_on_both_sides(store: Store) -> None:
    for n in range(4):
        fill_hour(store, 60_000, START + timedelta(hours=n))
    # spans and facts of one hour; those of two are more
    limits = replace(LIMITS, read_rows=200_000)
    within = "start_time >= '2026-03-01 11:30:00' AND start_time < '2026-03-01 11:40:00'"
    # one every 60 ms
    counts = "SELECT count() AS n, countIf(usage_scope = '') AS n_undecided FROM spans"
    assert rows(store, f"{counts} WHERE start_hour = '2026-03-01 11:00:00' AND {within}", limits) == [
        {"n": 10_000, "n_undecided": 0}
    ]
    with pytest.raises(QueryLimitError):
        rows(store, f"{counts} WHERE {within}", limits)
