"""What a stranger's SQL may and may not do, on the real engine."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from storage.client import DirectoryOwner, Store
from storage.errors import QueryLimitError
from storage.migrations import migrate
from storage.query_policy import QueryRefusedError
from storage.sandbox import QueryLimits, Sandbox, SandboxBusyError, _open

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def store(engine_directory: Path, _engine_owner: DirectoryOwner) -> Iterator[Store]:
    """One database for the whole module: nothing here may change it."""
    store = Store({"interface": "chdb", "path": str(engine_directory / "clickhouse")}, f"test_{uuid.uuid4().hex}", owner=None)
    migrate(store)
    yield store
    store.command(f"DROP DATABASE `{store.database}`")
    store.close()


LIMITS = QueryLimits(seconds=10, memory_bytes=256 * 2**20, read_rows=10**9, result_rows=10**7, result_bytes=2**32)

ALLOWED = [
    "SELECT 1",
    "select 1; -- with a comment",
    "SELECT count() FROM spans",
    "SELECT service_name, countIf(errored), quantile(0.99)(duration_ns), sumOrNull(cost_usd) FROM trace_facts "
    "GROUP BY 1 ORDER BY 2",
    "WITH slow AS (SELECT * FROM trace_facts WHERE duration_ns > 5) "
    "SELECT count() FROM slow WHERE trace_id IN (SELECT trace_id FROM slow)",
    "SELECT 1 FROM (SELECT '' AS price_id) WHERE (price_id, '') IN (SELECT price_id, model FROM prices)",
    "SELECT number, CASE WHEN number > 3 THEN 'a' ELSE 'b' END, CASE number WHEN 1 THEN 2 END FROM numbers(5)",
    "SELECT sum(number) OVER (ORDER BY number ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM numbers(5)",
    "SELECT toStartOfHour(started_at) AS hour, count() FROM trace_facts WHERE started_at > now() - INTERVAL 1 DAY GROUP BY hour "
    "ORDER BY hour WITH FILL STEP 3600",
    "SELECT arrayMap(x -> x + 1, [1, 2]), attributes['a'], CAST('1' AS UInt8), '2'::Int8, (1, 'a').1 FROM spans",
    "SELECT * EXCEPT (attributes) FROM spans LIMIT 1",
    "SELECT a.trace_id FROM trace_facts a LEFT JOIN trace_outcomes AS b USING (trace_id) ARRAY JOIN a.models AS m",
    "SELECT 1 UNION ALL SELECT 2",
    "SELECT 1 INTERSECT SELECT 1",
    "SELECT * FROM view(SELECT 1 AS x)",
    "SELECT toDateTime('2026-01-01 00:00:00', 'UTC') AT TIME ZONE 'Europe/Berlin'",
    "SELECT model_route, grouping(model_route), exists(SELECT 1) FROM trace_facts GROUP BY ROLLUP(model_route)",
]

ATTACKS = [
    # writes, definitions, the server
    "INSERT INTO prices (price_id) VALUES ('x')",
    "INSERT INTO prices SELECT * FROM prices",
    "CREATE TABLE t (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE t (a Int8)",
    "CREATE VIEW v AS SELECT 1",
    "CREATE FUNCTION f AS x -> x",
    "CREATE USER u",
    "DROP TABLE prices",
    "ALTER TABLE prices DELETE WHERE 1",
    "TRUNCATE TABLE prices",
    "OPTIMIZE TABLE prices FINAL",
    "RENAME TABLE prices TO p",
    "DELETE FROM prices WHERE 1",
    "UPDATE prices SET author = 'x' WHERE 1",
    "GRANT ALL ON *.* TO default",
    "KILL QUERY WHERE 1",
    "SYSTEM FLUSH LOGS",
    "SYSTEM SHUTDOWN",
    "SET readonly = 0",
    "SET max_memory_usage = 0",
    "USE system",
    "ATTACH TABLE t",
    "BACKUP TABLE prices TO Disk('x', 'y')",
    "EXPLAIN SELECT 1",
    "SHOW TABLES",
    "DESCRIBE TABLE prices",
    "EXECUTE AS default SELECT 1",
    # out of the query
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT * FROM (SELECT 1 SETTINGS max_memory_usage = 0)",
    "SELECT 1 INTO OUTFILE 'FILE'",
    "SELECT 1 INTO OUTFILE 'FILE' TRUNCATE FORMAT CSV",
    "SELECT 1 FORMAT Null",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE prices",
    "SELECT 1 /* ; */ ; DROP TABLE prices --",
    "(SELECT 1) PARALLEL WITH (SELECT 2)",
    # files, network, processes
    "SELECT file('/etc/passwd')",
    "SELECT FILE('/etc/passwd')",
    "SELECT `file`('/etc/passwd')",
    "SELECT arrayMap(x -> file(x), ['/etc/passwd'])",
    "SELECT * APPLY(file) FROM (SELECT '/etc/passwd')",
    "SELECT 1 ORDER BY file('/etc/passwd')",
    "SELECT sum(number) OVER (ORDER BY file('/etc/passwd')) FROM numbers(2)",
    "WITH file('/etc/passwd') AS f SELECT f",
    "SELECT 1 AS x FROM numbers(2) ORDER BY x WITH FILL INTERPOLATE (x AS file('/etc/passwd'))",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT * FROM fileCluster('c', '/etc/passwd', 'LineAsString')",
    "SELECT * FROM filesystem('/etc')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    "SELECT * FROM url('file:///etc/passwd', 'LineAsString')",
    "SELECT * FROM s3('http://127.0.0.1:1/bucket/key')",
    "SELECT * FROM gcs('http://127.0.0.1:1/bucket/key')",
    "SELECT * FROM azureBlobStorage('a', 'b', 'c')",
    "SELECT * FROM hdfs('hdfs://127.0.0.1:1/x')",
    "SELECT * FROM iceberg('http://127.0.0.1:1/x')",
    "SELECT * FROM deltaLake('http://127.0.0.1:1/x')",
    "SELECT * FROM remote('127.0.0.1', system, one)",
    "SELECT * FROM remoteSecure('127.0.0.1', system, one)",
    "SELECT * FROM cluster('default', system, one)",
    "SELECT * FROM clusterAllReplicas('default', system, one)",
    "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "SELECT * FROM postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "SELECT * FROM mongodb('127.0.0.1:1', 'd', 't', 'u', 'p', 'a Int8')",
    "SELECT * FROM redis('127.0.0.1:1', 'k', 'k String')",
    "SELECT * FROM sqlite('x.db', 't')",
    "SELECT * FROM odbc('DSN=x', 'a', 'b')",
    "SELECT * FROM jdbc('x', 'a', 'b')",
    "SELECT * FROM executable('id', 'TSV', 'a String')",
    "SELECT * FROM python('os.system(1)')",
    "SELECT * FROM Python(secrets)",
    "SELECT * FROM dictionary('d')",
    "SELECT * FROM merge('.*', '.*')",
    "SELECT * FROM loop(numbers(3))",
    "SELECT * FROM eval('x')",
    "SELECT * FROM mergeTreeIndex('spanwise', 'prices')",
    "SELECT * FROM input('a Int8')",
    "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT 1))",
    "SELECT * FROM (EXPLAIN SELECT 1)",
    "SELECT 1 FROM numbers(1) JOIN url('http://127.0.0.1:1/', 'LineAsString') AS u ON 1",
    "SELECT aiGenerate('x')",
    "SELECT dictGet('d', 'a', 1)",
    "SELECT joinGet('j', 'a', 1)",
    "SELECT getSetting('readonly')",
    "SELECT getServerSetting('max_connections')",
    "SELECT getMacro('x')",
    "SELECT getClientHTTPHeader('Authorization')",
    "SELECT showCertificate()",
    "SELECT hostName(), serverUUID()",
    "SELECT hasColumnInTable('system', 'one', 'dummy')",
    "SELECT sleep(3)",
    "SELECT sleepEachRow(1) FROM numbers(100)",
    "SELECT addressToSymbol(1)",
    "SELECT logTrace('x')",
    "SELECT evalMLMethod(1, 2)",
    # other tables
    "SELECT * FROM api_keys",
    "SELECT * FROM `api_keys` FINAL",
    "SELECT * FROM spanwise.api_keys",
    "SELECT * FROM system.one",
    "SELECT * FROM system.processes",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM span_records",
    "SELECT * FROM '/etc/passwd'",
    "SELECT (SELECT any(hash) FROM api_keys)",
    "SELECT 'x' IN api_keys",
    "SELECT 'x' IN system.tables",
    "SELECT 'x' GLOBAL NOT IN api_keys",
    "SELECT (SELECT 1 AS api_keys), 'x' IN api_keys",
    "SELECT * FROM (WITH api_keys AS (SELECT 1 AS a) SELECT * FROM api_keys) AS x, api_keys",
    "SELECT * FROM view(SELECT * FROM api_keys)",
    "SELECT * FROM {table:Identifier}",
    # nonsense
    "",
    ";",
    "SELEC 1",
    "SELECT nothing FROM nowhere",
    "\x00",
    "SELECT " + "(" * 5000 + "1" + ")" * 5000,
]


def rows(
    store: Store, query: str, parameters: Mapping[str, Any] | None = None, limits: QueryLimits = LIMITS
) -> list[dict[str, Any]]:
    with Sandbox(store, 1).run(query, parameters or {}, limits) as answer:
        return pa.Table.from_batches(list(answer.batches), answer.schema).to_pylist()


@pytest.mark.parametrize("query", ALLOWED)
def test_reading_works(store: Store, query: str) -> None:
    rows(store, query)


@pytest.mark.parametrize("query", ATTACKS, ids=lambda text: text[:60].replace("\x00", "NUL"))
def test_everything_else_is_refused_and_says_why(store: Store, query: str, tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    with pytest.raises(QueryRefusedError, match=r"\w"):
        rows(
            store,
            query.replace("FILE", str(target)) if "OUTFILE" in query else query,
            {"table": "api_keys"} if "{table" in query else {},
        )
    assert not target.exists()
    assert store.frame(
        "SELECT count() AS n FROM system.tables WHERE database = {db:String} AND name = 'prices'", {"db": store.database}
    )["n"].to_list() == [1]


@pytest.mark.parametrize(
    "statement",
    [
        "SET readonly = 0",
        "SET max_memory_usage = 0",
        "INSERT INTO prices (price_id) VALUES ('x')",
        "DROP TABLE prices",
        "CREATE TABLE t (a Int8) ENGINE = Memory",
    ],
)
def test_the_engine_itself_refuses_when_the_check_is_passed_by(store: Store, statement: str) -> None:
    """Second line of defence: what the policy would let through by mistake meets a connection that cannot write."""
    engine = _open(store, LIMITS)
    try:
        with pytest.raises(Exception, match="READONLY"):
            engine.whole(statement, {})
    finally:
        engine.close()


def test_parameters_are_bound_never_formatted(store: Store) -> None:
    query = "SELECT {s:String} AS s, {n:Int64} AS n, {f:Float64} AS f, {a:Array(String)} AS a, {z:Nullable(String)} AS z"
    hostile = "x'; DROP TABLE prices; --\n\t\\ 'é'"
    given = {"s": hostile, "n": -5, "f": 0.5, "a": [hostile, ""], "z": None}
    assert rows(store, query, given) == [given]


def test_a_parameter_too_many_or_too_few_is_named(store: Store) -> None:
    with pytest.raises(QueryRefusedError, match="parameters n are in the query"):
        rows(store, "SELECT {n:Int8}")
    with pytest.raises(QueryRefusedError, match="parameters k are not in the query"):
        rows(store, "SELECT 1", {"k": 1})


def test_percent_signs_are_not_filled_in_from_parameters(store: Store) -> None:
    assert rows(store, "SELECT 7 %(n)s FROM (SELECT {n:Int8} AS n)", {"n": 4}) == [{"s": 3}]


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ("SELECT groupArray(number) FROM numbers(100000000)", "memory"),
        ("SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1", "seconds"),
        ("SELECT number FROM numbers(1000000)", "rows"),
    ],
)
def test_limits_are_the_engines(store: Store, query: str, limit: str) -> None:
    small = QueryLimits(seconds=1, memory_bytes=64 * 2**20, read_rows=10**12, result_rows=100_000, result_bytes=2**32)
    with pytest.raises(QueryLimitError) as raised:
        rows(store, query, limits=small)
    assert raised.value.limit == limit


def test_a_failed_query_leaves_nothing_for_the_next(store: Store) -> None:
    """One connection a query: on a reused one, chDB answered `SELECT 1` with the columns of the query that had failed."""
    sandbox = Sandbox(store, 1)
    small = QueryLimits(seconds=0.2, memory_bytes=2**26, read_rows=10**12, result_rows=1000, result_bytes=2**30)
    for _ in range(3):
        with (
            pytest.raises(QueryLimitError),
            sandbox.run("SELECT count() FROM numbers(100000000000) WHERE rand() = 1", {}, small) as answer,
        ):
            list(answer.batches)
        with sandbox.run("SELECT 1 AS one", {}, small) as answer:
            assert pa.Table.from_batches(answer.batches).to_pylist() == [{"one": 1}]


def test_no_rows_still_have_columns_and_types(store: Store) -> None:
    with Sandbox(store, 1).run("SELECT trace_id, cost_usd FROM trace_facts", {}, LIMITS) as answer:
        assert [(c.name, c.type) for c in answer.columns] == [("trace_id", "String"), ("cost_usd", "Nullable(Decimal(18, 9))")]
        assert answer.schema.field("cost_usd").type == pa.decimal128(18, 9)
        assert list(answer.batches) == []


def test_an_abandoned_query_frees_its_place(store: Store) -> None:
    sandbox = Sandbox(store, 1)
    with sandbox.run("SELECT number FROM numbers(10000000)", {}, LIMITS) as answer:
        next(iter(answer.batches))
        with pytest.raises(SandboxBusyError), sandbox.run("SELECT 1", {}, LIMITS):
            pass
    with sandbox.run("SELECT 1 AS one", {}, LIMITS) as answer:
        assert next(iter(answer.batches)).to_pylist() == [{"one": 1}]


def test_times_and_ids_come_as_times_and_texts(store: Store) -> None:
    query = (
        "SELECT toDateTime('2026-03-01 12:00:00', 'UTC') AS t, toNullable(t) AS n, "
        "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0') AS u, "
        "toDateTime64('2026-03-01 12:00:00.5', 3, 'UTC') AS f, toDate('2026-03-01') AS d"
    )
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert rows(store, query) == [
        {"t": noon, "n": noon, "u": "61f0c404-5cb3-11e7-907b-a6006ad3dba0", "f": noon + timedelta(seconds=0.5), "d": noon.date()}
    ]


def test_resent_rows_count_once(store: Store) -> None:
    for author in ("first", "second"):
        store.command("INSERT INTO prices (price_id, model, author) VALUES ('p', 'm', {a:String})", {"a": author})
    assert rows(store, "SELECT author FROM prices") == [{"author": "second"}]
