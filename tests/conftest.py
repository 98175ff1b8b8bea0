"""Fixtures shared by every suite: one embedded engine a process, one fresh database a test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from storage.client import DirectoryOwner, Store
from storage.migrations import migrate

# The build server tries the same examples every time; a developer's machine tries new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def engine_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one directory the embedded engine of this process may use."""
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="session")
def _engine_owner(engine_directory: Path) -> Iterator[DirectoryOwner]:
    owner = DirectoryOwner(engine_directory)
    yield owner
    owner.release()


@pytest.fixture
def make_store(engine_directory: Path, _engine_owner: DirectoryOwner) -> Iterator[Callable[[], Store]]:
    """A factory of stores, each on a database of its own in the shared engine."""
    stores: list[Store] = []

    def make() -> Store:
        arguments = {"interface": "chdb", "path": str(engine_directory / "clickhouse")}
        store = Store(arguments, f"test_{uuid.uuid4().hex}", owner=None)
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.command(f"DROP DATABASE IF EXISTS `{store.database}`")
        store.close()


@pytest.fixture
def fresh_store(make_store: Callable[[], Store]) -> Store:
    """A migrated store that no test has used before: for tests that compare schemas, alter them, or depend on the age of rows."""
    made = make_store()
    migrate(made)
    return made


@pytest.fixture(scope="session")
def _migrated(engine_directory: Path, _engine_owner: DirectoryOwner) -> Iterator[list[Store]]:
    """Migrated stores that no test is using."""
    idle: list[Store] = []
    yield idle
    for store in idle:
        store.close()


@pytest.fixture
def store(embedded_store: Store) -> Store:
    """A migrated, empty store."""
    return embedded_store


@pytest.fixture
def embedded_store(engine_directory: Path, _migrated: list[Store]) -> Iterator[Store]:
    """
    A migrated, empty store on the engine of this process. It is emptied and used again, because migrating takes a second.

    A test that alters the schema takes `make_store` and migrates its own.
    """
    if _migrated:
        ready = _migrated.pop()
    else:
        arguments = {"interface": "chdb", "path": str(engine_directory / "clickhouse")}
        ready = Store(arguments, f"test_{uuid.uuid4().hex}", owner=None)
        migrate(ready)
    yield ready
    filled = "SELECT DISTINCT table FROM system.parts WHERE database = {d:String} AND active AND table != 'schema_migrations'"
    for table in ready.frame(filled, {"d": ready.database})["table"].to_list():
        ready.command(f"TRUNCATE TABLE `{table}`")
    _migrated.append(ready)
