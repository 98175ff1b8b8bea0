"""One holder at a time, and another one within the stated time after it is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from storage.client import Store
from storage.leases import Lease
from tests.support.clickhouse_http import Front

pytestmark = pytest.mark.integration


class Time:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        # leases are dropped by the store's own clock when they are days old
        self._now = datetime.now(UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@pytest.fixture
def contender(front: Front, store: Store) -> Iterator[tuple[Callable[[str], Lease], Time]]:
    """A factory of holders of one lease, 30 s long with 2 s of settling, on one clock."""
    remote, time = Store.server(front.url, store.database), Time()
    yield lambda holder: Lease(remote, "analytics", holder, clock=time, sleep=time.advance), time
    remote.close()


def test_the_second_waits_for_the_first(contender: tuple[Callable[[str], Lease], Time]) -> None:
    make, time = contender
    first, second = make("a"), make("b")
    assert first.hold()
    for _ in range(10):
        time.advance(10)
        assert not second.hold()
        assert first.hold()


def test_a_dead_holder_is_followed_after_its_lease_and_settling(contender: tuple[Callable[[str], Lease], Time]) -> None:
    make, time = contender
    assert make("a").hold()
    second = make("b")
    time.advance(31.9 - 2)  # 2 s went by while the first one settled
    assert not second.hold()
    time.advance(0.2)
    assert second.hold()
    assert not make("a").hold()


def test_a_released_lease_is_free_at_once(contender: tuple[Callable[[str], Lease], Time]) -> None:
    make, _ = contender
    first, second = make("a"), make("b")
    assert first.hold()
    first.release()
    assert second.hold()


def test_a_holder_that_was_away_too_long_stops_believing(contender: tuple[Callable[[str], Lease], Time]) -> None:
    make, time = contender
    first = make("a")
    assert first.hold()
    time.advance(29)  # less than settling before the end: a rival might start soon
    assert not first.hold()


def test_of_two_that_ask_at_once_one_has_it(contender: tuple[Callable[[str], Lease], Time]) -> None:
    make, time = contender
    second = make("b")
    answers = []

    def meanwhile(seconds: float) -> None:
        second._sleep = time.advance
        answers.append(second.hold())

    first = make("a")
    first._sleep = meanwhile
    answers.append(first.hold())
    assert sorted(answers) == [False, True]


def test_it_is_renewed_beside_long_work(contender: tuple[Callable[[str], Lease], Time], front: Front) -> None:
    make, _ = contender
    seen = front.n_requests
    lease = Lease(make("a")._store, "migration", "a", seconds=0.3, settle_seconds=0.01)
    assert lease.hold()
    with lease.kept():
        first = lease.state()
        assert first is not None
        while (now := lease.state()) is not None and now.expires_at == first.expires_at:
            assert front.n_requests < seen + 10_000, "never renewed"
    state = lease.state()
    assert state is not None
    assert state.expires_at < datetime.now(UTC)
