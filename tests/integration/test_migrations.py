"""The schema is applied once, and refused when it is not this release's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storage.client import Store
from storage.migrations import SchemaMismatchError, known_migrations, migrate

pytestmark = pytest.mark.integration


def test_a_second_run_applies_nothing(make_store: Callable[[], Store]) -> None:
    store = make_store()
    assert [m.number for m in migrate(store)] == [m.number for m in known_migrations()[1:]]
    assert migrate(store) == []


def test_a_newer_database_is_refused(make_store: Callable[[], Store]) -> None:
    store = make_store()
    migrate(store)
    store.command("INSERT INTO schema_migrations (number, name, checksum) VALUES (999, 'future', 'x')")
    with pytest.raises(SchemaMismatchError, match="has schema 999"):
        migrate(store)


def test_an_edited_schema_file_is_refused(make_store: Callable[[], Store]) -> None:
    store = make_store()
    migrate(store)
    store.command("INSERT INTO schema_migrations (number, name, checksum) VALUES (1, '001_collector', 'edited')")
    with pytest.raises(SchemaMismatchError, match="001_collector"):
        migrate(store)
