"""Evidence is judged by clocks that never run ahead of what has been analysed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from collector.records import Entry, LedgerKey, Signal, Tally
from spanwise.clock import REPLAY_SLACK, CompletedClock, Completion, EventClock
from storage.client import Store
from storage.clock import FixedClock, WallClock
from storage.spools import SpoolState, write_spools
from storage.touched import read_store_time
from tests.support.clickhouse_http import Front

pytestmark = pytest.mark.integration

HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nothing() -> Tally:
    return Counter()


def insert_span(store: Store, started: datetime, trace: str = "a") -> None:
    row = "({t:String}, 's', {s:DateTime64(9)}, now64(9))"
    sql = f"INSERT INTO span_records (trace_id, span_id, start_time, received_at) VALUES {row}"
    store.command(sql, {"t": trace, "s": started})


def complete(store: Store) -> None:
    completion = Completion(store, nothing)
    completion.record(completion.begin())


def test_before_the_first_round_nothing_is_judged(store: Store) -> None:
    assert CompletedClock(store, WallClock()).now() == EPOCH


def test_the_wall_clock_is_held_back_to_the_last_complete_round(store: Store) -> None:
    completion = Completion(store, nothing)
    begun = completion.begin()
    completion.record(begun)
    assert CompletedClock(store, WallClock()).now() == begun
    earlier = FixedClock(begun - HOUR)
    assert CompletedClock(store, earlier).now() == begun - HOUR


def test_what_waits_in_the_spool_bounds_a_round(store: Store) -> None:
    now = read_store_time(store)
    minute = int((now - 2 * HOUR).timestamp()) // 60
    waiting: Tally = Counter({LedgerKey(minute, Signal.TRACES, "", Entry.RECEIVED): 3})
    begun = Completion(store, lambda: waiting).begin()
    assert begun == EPOCH + timedelta(minutes=minute)


def test_what_waits_in_spools_of_other_processes_bounds_a_round(store: Store, front: Front) -> None:
    """Three collectors: one up to date, one with a backlog of two hours, one that has been silent for too long to matter."""
    remote = Store.server(front.url, store.database)
    completion = Completion(remote, nothing, silence=timedelta(hours=6))
    now = read_store_time(remote)
    write_spools(remote, [SpoolState("a", "p1", now)])
    assert completion.begin() == now
    write_spools(remote, [SpoolState("b", "p2", now - 2 * HOUR, n_pending=5)])
    columns = "spool_id, complete_upto, n_pending, changed_at"
    vanished = f"INSERT INTO spools ({columns}) VALUES ('c', {{t:DateTime64(9)}}, 1, {{t:DateTime64(9)}})"
    remote.command(vanished, {"t": now - 7 * HOUR})
    assert completion.begin() == now - 2 * HOUR
    write_spools(remote, [SpoolState("b", "p2", now - 2 * HOUR, is_closed=True)])
    assert completion.begin() == now
    remote.close()


def test_replayed_time_follows_the_newest_event(store: Store) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    insert_span(store, start)
    complete(store)
    busy = EventClock(store, WallClock(), quiet=HOUR)
    assert busy.now() == start - REPLAY_SLACK
    assert EventClock(store, WallClock(), quiet=timedelta(0)).now() == start


def test_replayed_time_stands_still_while_something_waits_for_the_jobs(store: Store) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    insert_span(store, start)
    complete(store)
    clock = EventClock(store, WallClock(), quiet=timedelta(0))
    assert clock.now() == start
    insert_span(store, start + 5 * HOUR, "b")
    assert clock.now() == start
    complete(store)
    assert clock.now() == start + 5 * HOUR


def test_an_event_from_the_future_moves_no_clock(store: Store) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    insert_span(store, start)
    insert_span(store, WallClock().now() + 300 * HOUR, "b")
    complete(store)
    assert EventClock(store, WallClock(), quiet=timedelta(0)).now() == start
