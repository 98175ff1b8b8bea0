"""The same storage suite runs on the embedded engine, through its HTTP front, and on a real server when one is named."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.client import Store
from tests.support.clickhouse_http import Front


@pytest.fixture(scope="session")
def front(engine_directory: Path, _engine_owner: object) -> Iterator[Front]:
    """ClickHouse's HTTP interface on the engine of this process."""
    server = Front(engine_directory / "clickhouse").start()
    yield server
    server.stop()


@pytest.fixture(
    params=[
        "embedded",
        "http",
        pytest.param("server", marks=pytest.mark.server),
    ]
)
def any_store(request: pytest.FixtureRequest, make_store: Callable[[], Store]) -> Iterator[Store]:
    """An unmigrated store on each back end in turn."""
    if request.param == "embedded":
        yield make_store()
        return
    if request.param == "http":
        url = request.getfixturevalue("front").url
    else:
        url = os.environ.get("SPANWISE_TEST_CLICKHOUSE_URL", "")
        if not url:
            pytest.skip("SPANWISE_TEST_CLICKHOUSE_URL names no server")
    remote = Store.server(url, f"test_{uuid.uuid4().hex}")
    yield remote
    remote.command(f"DROP DATABASE IF EXISTS `{remote.database}`")
    remote.close()
