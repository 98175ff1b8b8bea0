"""The schema is applied once, by one runner at a time, whatever was cut short before; refused when it is another release's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.client import Store
from storage.migrations import SchemaMismatchError, known_migrations, migrate
from tests.support.clickhouse_http import Fault, Front
from tests.support.schema import schema_of

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


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


def test_a_killed_migration_is_taken_up_where_it_was(fresh_store: Store, tmp_path: Path) -> None:
    """Killed twice, each time at another statement, and then let through: nothing tells it from one that was never killed."""
    command = [sys.executable, "-m", "tests.support.schema", str(tmp_path)]
    n_statements = sum(len(migration.statements()) for migration in known_migrations())
    for last in (n_statements // 3, n_statements // 2):
        killed = subprocess.run([*command, str(last)], cwd=ROOT, capture_output=True, check=False, timeout=120)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout.splitlines()[-1])["schema"] == schema_of(fresh_store)


def test_runners_on_a_server_wait_for_each_other_and_for_one_that_died(front: Front, fresh_store: Store) -> None:
    """One is killed in the middle of a statement, two start at once: all of them end with the whole schema, made once."""
    database = f"test_{uuid.uuid4().hex}"
    environment = os.environ | {"SPANWISE_CLICKHOUSE_URL": front.url, "SPANWISE_STORAGE__DATABASE": database}

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "spanwise", "migrate"]
        return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    with front.failing(Fault.HANG, "CREATE TABLE IF NOT EXISTS trace_facts"):
        first = start()
        front.wait_for_fault()
        first.kill()
        first.communicate()
    for runner in [start(), start()]:
        out, errors = runner.communicate(timeout=120)
        assert runner.returncode == 0, errors
        assert "up to date" in out
    remote = Store.server(front.url, database)
    assert schema_of(remote) == schema_of(fresh_store)
    applied = remote.frame("SELECT number FROM schema_migrations ORDER BY number")["number"].to_list()
    assert applied == [migration.number for migration in known_migrations()[1:]]
    remote.command(f"DROP DATABASE `{database}`")
    remote.close()
