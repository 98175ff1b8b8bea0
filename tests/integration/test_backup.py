"""Rows survive a backup, a restore and a copy exactly, also when each was cut short."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from storage.backup import MANIFEST, BackupError, backup, copy, restore
from storage.chunks import chunks, data_tables, fingerprint
from storage.client import Store
from storage.migrations import migrate
from tests.support.rows import insert_spans

pytestmark = pytest.mark.integration


def quiet(done: int, total: int, name: str) -> None:
    assert done <= total


class Interrupted(Exception):
    pass


def interrupt_at(n: int) -> Callable[[int, int, str], None]:
    def progress(done: int, total: int, name: str) -> None:
        if done == n:
            raise Interrupted

    return progress


def contents(store: Store) -> dict[str, object]:
    return {chunk.file_name: fingerprint(store, chunk) for chunk in chunks(store)}


@pytest.fixture
def filled(store: Store) -> Store:
    insert_spans(store, 3000, 500)
    insert_spans(store, 3000, 500)  # sent again: superseded copies are not part of what is moved
    store.command("INSERT INTO api_keys (key_id, name, hash, scopes, created_at) VALUES ('k', 'ci', 'h', ['read'], now64(9))")
    return store


def test_a_restore_gives_what_was_saved(filled: Store, any_store: Store, tmp_path: Path) -> None:
    saved = backup(filled, tmp_path / "b", quiet)
    assert saved.n_rows == 3001
    migrate(any_store)
    assert restore(any_store, tmp_path / "b", quiet).n_skipped == 0
    assert contents(any_store) == contents(filled)
    assert any_store.frame("SELECT uniqExact(trace_id) AS n FROM trace_times")["n"].item() == 500


def test_an_interrupted_restore_is_run_again(filled: Store, any_store: Store, tmp_path: Path) -> None:
    backup(filled, tmp_path / "b", quiet)
    migrate(any_store)
    with pytest.raises(Interrupted):
        restore(any_store, tmp_path / "b", interrupt_at(2))
    assert restore(any_store, tmp_path / "b", quiet).n_skipped == 2
    assert contents(any_store) == contents(filled)


def test_an_interrupted_copy_is_run_again(filled: Store, any_store: Store, tmp_path: Path) -> None:
    migrate(any_store)
    with pytest.raises(Interrupted):
        copy(filled, any_store, tmp_path, interrupt_at(1))
    done = copy(filled, any_store, tmp_path, quiet)
    assert (done.n_skipped, done.n_rows) == (1, 3001)
    assert contents(any_store) == contents(filled)


def test_a_half_copied_chunk_is_replaced_not_doubled(filled: Store, any_store: Store, tmp_path: Path) -> None:
    migrate(any_store)
    insert_spans(any_store, 10, 3)
    copy(filled, any_store, tmp_path, quiet)
    assert contents(any_store) == contents(filled)


def test_no_backup_without_a_manifest(filled: Store, store: Store, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        backup(filled, tmp_path / "b", interrupt_at(1))
    with pytest.raises(BackupError, match="holds no complete backup"):
        restore(store, tmp_path / "b", quiet)


def test_a_used_database_and_a_used_directory_are_refused(filled: Store, make_store: Callable[[], Store], tmp_path: Path) -> None:
    backup(filled, tmp_path / "b", quiet)
    with pytest.raises(BackupError, match="already holds a backup"):
        backup(filled, tmp_path / "b", quiet)
    used = make_store()
    migrate(used)
    used.command("INSERT INTO quarantine (quarantine_id, reason) VALUES ('q', 'r')")
    with pytest.raises(BackupError, match="not empty"):
        restore(used, tmp_path / "b", quiet)


def test_a_damaged_file_is_noticed(filled: Store, make_store: Callable[[], Store], tmp_path: Path) -> None:
    backup(filled, tmp_path / "b", quiet)
    manifest = tmp_path / "b" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"n_rows": 1000', '"n_rows": 999', 1))
    target = make_store()
    migrate(target)
    with pytest.raises(BackupError, match="restored 1000 rows, expected 999"):
        restore(target, tmp_path / "b", quiet)


@pytest.mark.parametrize("kept", [100, 0, None])
def test_a_file_that_cannot_be_read_is_named(
    filled: Store, make_store: Callable[[], Store], tmp_path: Path, kept: int | None
) -> None:
    backup(filled, tmp_path / "b", quiet)
    file = tmp_path / "b" / "api_keys.all.parquet"
    whole = file.read_bytes()
    file.unlink()
    if kept is not None:
        file.write_bytes(whole[:kept])
    target = make_store()
    migrate(target)
    with pytest.raises(BackupError, match=r"b/api_keys\.all\.parquet cannot be read"):
        restore(target, tmp_path / "b", quiet)


def test_what_views_feed_is_not_moved(store: Store) -> None:
    tables = data_tables(store)
    assert {"span_records", "evaluation_records", "trace_facts", "metric_minutes", "api_keys"} <= set(tables)
    assert not {"trace_times", "touched_traces", "response_spans", "touched_evaluations", "leases", "spans"} & set(tables)
