"""What a collector says of its spool is never more than what the store has, also after a crash and in an heir's hands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector.config import SpoolConfig
from collector.heartbeat import Heartbeat
from collector.records import Counts, Signal, SpoolRecord
from collector.spool import Spool, claim_directory
from storage.client import Store
from storage.spools import read_complete_upto
from storage.touched import read_store_time
from tests.support.clickhouse_http import Front
from tests.support.receivers import make_span, trace_request

pytestmark = pytest.mark.integration
SILENCE = timedelta(hours=1)


@pytest.fixture
def remote(store: Store, front: Front) -> Iterator[Store]:
    server = Store.server(front.url, store.database)
    yield server
    server.close()


def arrived(at: datetime) -> SpoolRecord:
    payload = trace_request(make_span()).SerializeToString()
    return SpoolRecord(Signal.TRACES, "key", int(at.timestamp()) * 10**9, payload, Counts(received=1))


def upto(store: Store) -> datetime:
    found = read_complete_upto(store, SILENCE)
    assert found is not None
    return found


def test_an_empty_spool_is_complete_up_to_now_and_a_full_one_up_to_its_oldest_minute(remote: Store, tmp_path: Path) -> None:
    spool = Spool(tmp_path, SpoolConfig())
    heartbeat = Heartbeat(remote, tmp_path, spool)
    before = read_store_time(remote)
    heartbeat.beat()
    assert before <= upto(remote) <= read_store_time(remote)
    spool.append(arrived(datetime(2026, 3, 1, 12, 30, 40, tzinfo=UTC)))
    spool.append(arrived(datetime(2026, 3, 1, 12, 31, 10, tzinfo=UTC)))
    heartbeat.beat()
    assert upto(remote) == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    for segment in spool.close_segments():
        spool.remove(segment)
    heartbeat.beat()
    assert upto(remote) >= before
    spool.close()


def test_an_orderly_end_leaves_nothing_to_wait_for_unless_something_waits(remote: Store, tmp_path: Path) -> None:
    spool = Spool(tmp_path, SpoolConfig())
    Heartbeat(remote, tmp_path, spool).stop()
    assert read_complete_upto(remote, SILENCE) is None
    spool.append(arrived(datetime(2026, 3, 1, 12, 30, tzinfo=UTC)))
    Heartbeat(remote, tmp_path, spool).stop()
    assert upto(remote) == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    spool.close()


def test_an_heir_speaks_for_what_it_took_over(remote: Store, tmp_path: Path) -> None:
    """Two collectors share a parent directory and die; the one that starts next answers for both spools."""
    minutes = [datetime(2026, 3, 1, 12, minute, tzinfo=UTC) for minute in (10, 20)]
    spools = []
    for minute in minutes:
        directory = claim_directory(tmp_path)
        spool = Spool(directory, SpoolConfig())
        spool.append(arrived(minute))
        Heartbeat(remote, directory, spool).beat()
        spools.append(spool)
    assert upto(remote) == minutes[0]
    for spool in spools:
        os.close(spool._lock_file)  # as the kernel does when a process is killed
    directory = claim_directory(tmp_path)
    heir = Spool(directory, SpoolConfig())
    heartbeat = Heartbeat(remote, directory, heir)
    heartbeat.beat()
    assert heir.n_pending == 2
    assert upto(remote) == minutes[0]
    assert remote.frame("SELECT countIf(NOT is_closed) AS n FROM spools FINAL")["n"].item() == 1
    for segment in heir.close_segments():
        heir.remove(segment)
    heartbeat.beat()
    assert upto(remote) > minutes[1]
    heir.close()
