"""What a question may cost: the engine itself stops it, and the answer says what to ask instead."""

from __future__ import annotations

import pytest

from api.app import create_app
from api.config import ApiConfig
from api.errors import to_problem
from storage.client import Store
from storage.clock import FixedClock
from storage.errors import QueryLimitError, StoreRefusedError
from tests.support.api_client import NOW, make_services

pytestmark = pytest.mark.integration

LIMITS = ApiConfig(query_seconds=0.3, query_memory_bytes=2**25).query_limits()


@pytest.mark.parametrize(
    ("sql", "limit"),
    [
        ("SELECT sum(sipHash64(number)) FROM numbers(1000000000000)", "seconds"),
        ("SELECT length(groupArray(number)) FROM numbers(100000000)", "memory"),
        ("SELECT number FROM numbers(1000001)", "rows"),
    ],
)
def test_a_question_over_its_limit_is_stopped_and_said(store: Store, sql: str, limit: str) -> None:
    limited = store.limited(LIMITS)
    with pytest.raises(QueryLimitError) as stopped:
        limited.frame(sql)
    assert stopped.value.limit == limit
    problem = to_problem(stopped.value)
    assert (problem.status, problem.kind, problem.extra) == (413, "query-limit", {"limit": limit})
    assert "from" in problem.do
    # the connection goes on working, and the store the limits were put on has none
    assert limited.frame("SELECT 1 AS n")["n"].item() == 1
    assert store.frame("SELECT number FROM numbers(1000001)").height == 1_000_001


def test_every_read_of_the_api_has_the_limits_of_the_settings(store: Store) -> None:
    services = make_services(store, FixedClock(NOW), config=ApiConfig(query_seconds=7, query_memory_bytes=2**26))
    reads = create_app(services).state.services.store
    rows = reads.frame("SELECT name, value FROM system.settings WHERE name IN ('max_execution_time', 'max_memory_usage')")
    assert dict(rows.iter_rows()) == {"max_execution_time": "7", "max_memory_usage": str(2**26)}


def test_a_statement_that_is_wrong_is_our_mistake_and_shows_nothing_of_it() -> None:
    problem = to_problem(StoreRefusedError("Code: 47. Unknown identifier secret_column"))
    assert problem.status == 500
    assert "secret_column" not in problem.detail + problem.do
