"""POST /api/v1/sql: formats, limits, refusals."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from api.config import ApiConfig
from storage.client import Store
from storage.clock import FixedClock
from storage.spools import SpoolState, write_spools
from tests.support.api_client import make_client, make_services
from tests.support.facts import trace_row, write_traces

pytestmark = pytest.mark.integration

ARROW = {"Accept": "application/vnd.apache.arrow.stream"}


def ask(client: TestClient, query: str, parameters: dict[str, Any] | None = None, headers: dict[str, str] | None = None) -> Any:
    return client.post("/api/v1/sql", json={"query": query, "parameters": parameters or {}}, headers=headers or {})


def test_columns_types_and_rows(client: TestClient, store: Store) -> None:
    write_traces(store, [trace_row(1), trace_row(2, cohort="vip", cost_usd=None)])
    answer = ask(
        client,
        "SELECT cohort, started_at, cost_usd, models, errored FROM trace_facts WHERE model_route = {route:String} ORDER BY 1",
        {"route": "teacher"},
    )
    assert answer.json() == {
        "columns": [
            {"name": "cohort", "type": "LowCardinality(String)"},
            {"name": "started_at", "type": "DateTime64(9, 'UTC')"},
            {"name": "cost_usd", "type": "Nullable(Decimal(18, 9))"},
            {"name": "models", "type": "Array(LowCardinality(String))"},
            {"name": "errored", "type": "Bool"},
        ],
        "rows": [
            ["refunds", "2026-03-01T12:00:00.000000000Z", 0.01, ["gpt-x"], False],
            ["vip", "2026-03-01T12:00:00.000000000Z", None, ["gpt-x"], False],
        ],
    }


def test_arrow_parquet_and_csv_hold_what_json_holds(client: TestClient) -> None:
    query = (
        "SELECT number AS n, toString(number) AS s, if(number % 2 = 0, number / 4, NULL) AS f "
        "FROM numbers(200000) WHERE n % 3 = 0"
    )
    rows = ask(client, query).json()["rows"]
    arrow = pl.read_ipc_stream(io.BytesIO(ask(client, query, headers=ARROW).content))
    parquet = pl.read_parquet(io.BytesIO(ask(client, query, headers={"Accept": "application/vnd.apache.parquet"}).content))
    csv = pl.read_csv(ask(client, query, headers={"Accept": "text/csv"}).content, schema_overrides={"s": pl.String})
    expected = [tuple(row) for row in rows]
    assert arrow.rows() == parquet.rows() == csv.rows() == expected
    assert len(expected) == 66_667


def test_no_rows_in_every_format(client: TestClient) -> None:
    query = "SELECT trace_id, cost_usd FROM trace_facts"
    assert ask(client, query).json()["rows"] == []
    assert pl.read_ipc_stream(io.BytesIO(ask(client, query, headers=ARROW).content)).schema["cost_usd"] == pl.Decimal(18, 9)
    assert ask(client, query, headers={"Accept": "text/csv"}).text == "trace_id,cost_usd\n"


def test_columns_may_have_one_name(client: TestClient) -> None:
    query = 'SELECT number, number, [number] AS "a, b" FROM numbers(2)'
    answer = ask(client, query).json()
    assert [column["name"] for column in answer["columns"]] == ["number", "number", "a, b"]
    assert answer["rows"] == [[0, 0, [0]], [1, 1, [1]]]
    assert ask(client, query, headers={"Accept": "text/csv"}).text == 'number,number,"a, b"\n0,0,[0]\n1,1,[1]\n'


def test_over_the_limit_is_413_never_a_cut_answer(store: Store, clock: FixedClock) -> None:
    small = ApiConfig(sql_max_rows=1000, sql_max_rows_arrow=5000)
    client = make_client(make_services(store, clock, config=small))
    for headers, most in (({}, 1000), ({"Accept": "text/csv"}, 1000), (ARROW, 5000)):
        assert ask(client, f"SELECT number FROM numbers({most})", headers=headers).status_code == 200
        answer = ask(client, f"SELECT number FROM numbers({most + 1})", headers=headers)
        assert (answer.status_code, answer.json()["limit"]) == (413, "rows"), headers
    assert "Arrow" in ask(client, "SELECT number FROM numbers(1001)").json()["do"]


def test_ten_million_rows_as_arrow(client: TestClient) -> None:
    answer = ask(client, "SELECT toUInt32(number) AS n FROM numbers(10000000)", headers=ARROW)
    frame = pl.read_ipc_stream(io.BytesIO(answer.content))
    assert (len(frame), frame["n"].cast(pl.UInt64).sum()) == (10_000_000, 49_999_995_000_000)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("DROP TABLE prices", "only SELECT"),
        ("INSERT INTO spans VALUES (1)", "only SELECT"),
        ("SELEC 1", "Syntax error: failed at position 7"),
        ("SELECT * FROM api_keys", "no table 'api_keys'; tables: alert_events"),
        ("SELECT file('/etc/passwd')", "function 'file'"),
        ("SELECT * FROM url('http://127.0.0.1/')", "table function 'url'"),
        ("SELECT nonsense FROM spans", "nonsense"),
        ("SELECT {x:Int8}", "parameters x"),
    ],
)
def test_refusals_say_why(client: TestClient, query: str, says: str) -> None:
    answer = ask(client, query)
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]) == (400, "query-refused")
    assert says in answer.json()["detail"]
    # how we ask the engine is no business of who asks us
    assert "parseQueryToJSON" not in answer.json()["detail"]


def test_bodies_of_another_shape_are_422(client: TestClient) -> None:
    for body in (
        {},
        {"query": ""},
        {"query": 1},
        {"query": "SELECT 1", "settings": {"readonly": 0}},
        {"query": "SELECT 1", "parameters": {"m": {"a": 1}}},
    ):
        assert client.post("/api/v1/sql", json=body).status_code == 422, body


def test_spools_are_read_as_the_manual_says(client: TestClient, store: Store) -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    write_spools(store, [SpoolState("s", "host:1", at, 7)])
    write_spools(store, [SpoolState("s", "host:1", at, 3)])
    assert ask(client, "SELECT spool_id, holder, n_pending, is_closed FROM spools FINAL").json()["rows"] == [
        ["s", "host:1", 3, False]
    ]
    assert ask(client, "SELECT * FROM spools FINAL").status_code == 200


def test_the_tables_there_are(client: TestClient) -> None:
    tables = {item["table"]: item["columns"] for item in client.get("/api/v1/sql/tables").json()["items"]}
    assert {"trace_facts", "metric_minutes", "evaluations"} <= tables.keys()
    assert "api_keys" not in tables
    assert {"name": "cohort", "type": "LowCardinality(String)"} in tables["trace_facts"]


def test_types_that_json_and_csv_have_no_word_for_are_answered_too(client: TestClient) -> None:
    query = (
        "SELECT toIPv6('::1') AS v6, toIPv4('1.2.3.4') AS v4, CAST('b' AS Enum8('a' = 1, 'b' = 2)) AS e, "
        "toString(toIPv4('1.2.3.4')) AS text, toFixedString('ab', 3) AS fixed, "
        "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0') AS u"
    )
    answer = client.post("/api/v1/sql", json={"query": query})
    ((_, v4, enumerated, text, fixed, uuid),) = answer.json()["rows"]
    # 1.2.3.4 is 1 * 2^24 + 2 * 2^16 + 3 * 2^8 + 4
    assert (v4, enumerated, text, fixed) == (16_909_060, 2, "1.2.3.4", "ab\0")
    assert uuid == "61f0c404-5cb3-11e7-907b-a6006ad3dba0"
    csv = client.post("/api/v1/sql", json={"query": query}, headers={"Accept": "text/csv"})
    assert csv.status_code == 200
    assert "16909060,2,1.2.3.4,ab\0" in csv.text
