"""The same storage suite runs on the embedded engine, through its HTTP front, and on a real server when one is named."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.client import Store
from storage.migrations import migrate
from tests.support.clickhouse_http import Front


@pytest.fixture(scope="session")
def front(engine_directory: Path, _engine_owner: object) -> Iterator[Front]:
    """ClickHouse's HTTP interface on the engine of this process."""
    server = Front(engine_directory / "clickhouse").start()
    yield server
    server.stop()


_SERVER_URL = os.environ.get("SPANWISE_TEST_CLICKHOUSE_URL", "")


_BACK_ENDS = ["embedded", "http", *([pytest.param("server", marks=pytest.mark.server)] if _SERVER_URL else [])]


@pytest.fixture(params=_BACK_ENDS)
def each_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A migrated, empty store on each back end in turn; a module takes it by naming its own `store` so."""
    if request.param == "server":
        remote = Store.server(_SERVER_URL, f"test_{uuid.uuid4().hex}")
        migrate(remote)
        yield remote
        remote.command(f"DROP DATABASE `{remote.database}`")
        remote.close()
        return
    embedded: Store = request.getfixturevalue("embedded_store")
    if request.param == "embedded":
        yield embedded
        return
    remote = Store.server(request.getfixturevalue("front").url, embedded.database)
    yield remote
    remote.close()


@pytest.fixture(params=_BACK_ENDS)
def any_store(request: pytest.FixtureRequest, make_store: Callable[[], Store]) -> Iterator[Store]:
    """An unmigrated store on each back end in turn."""
    if request.param == "embedded":
        yield make_store()
        return
    url = request.getfixturevalue("front").url if request.param == "http" else _SERVER_URL
    remote = Store.server(url, f"test_{uuid.uuid4().hex}")
    yield remote
    remote.command(f"DROP DATABASE IF EXISTS `{remote.database}`")
    remote.close()
