"""Parts lie for a while before they are merged, a dozen, never hundreds: an insert a second must not slow every read."""

from __future__ import annotations

import pytest

from storage.client import Store
from tests.support.peers import until

pytestmark = pytest.mark.integration

_PARTS = "SELECT count() AS n FROM system.parts WHERE active AND database = currentDatabase() AND table = 'trace_times'"


def test_many_small_inserts_leave_few_parts(fresh_store: Store) -> None:
    for n in range(120):
        fresh_store.command(f"INSERT INTO trace_times SELECT toString({n}), now64(9), now64(9), toDate('2026-01-01')")
    until(lambda: bool(fresh_store.frame(_PARTS)["n"].item() <= 25), "merges")
    assert fresh_store.frame("SELECT count() AS n FROM trace_times")["n"].item() == 120
