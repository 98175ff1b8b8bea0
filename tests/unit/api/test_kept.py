from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.kept import Kept


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_value_is_made_again_once_its_time_is_over_or_somebody_changed_something() -> None:
    watch = Watch()
    kept, made = Kept(5, watch), iter(range(10))
    assert [kept.get("a", lambda: next(made)) for _ in range(3)] == [0, 0, 0]
    watch.now = 4.9
    assert kept.get("a", lambda: next(made)) == 0
    watch.now = 5.0
    assert kept.get("a", lambda: next(made)) == 1
    assert kept.get("b", lambda: next(made)) == 2
    kept.forget()
    assert kept.get("a", lambda: next(made)) == 3


def test_what_was_being_made_when_something_changed_is_not_kept() -> None:
    kept = Kept(5, Watch())

    def make() -> str:
        kept.forget()
        return "before"

    assert kept.get("a", make) == "before"
    assert kept.get("a", lambda: "after") == "after"


def test_a_failure_is_not_kept() -> None:
    kept = Kept(5, Watch())

    def fail() -> int:
        raise LookupError

    with pytest.raises(LookupError):
        kept.get("a", fail)
    assert kept.get("a", lambda: 1) == 1


def test_many_who_ask_at_once_have_it_made_once() -> None:
    kept, made, everybody = Kept(60), [], threading.Barrier(8)

    def make() -> int:
        made.append(1)
        return len(made)

    def ask(_: int) -> int:
        everybody.wait(10)
        return kept.get("a", make)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [1] * 8
    assert made == [1]


def test_keys_without_end_do_not_fill_the_memory() -> None:
    kept = Kept(60, Watch())
    for number in range(2_000):
        assert kept.get(number, lambda number=number: number) == number
    assert len(kept._values) <= 256
    assert len(kept._making) <= 512


def test_nothing_is_kept_for_no_seconds() -> None:
    made = iter(range(3))
    kept = Kept(0)
    assert [kept.get("a", lambda: next(made)) for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(("took", "lives"), [(0.01, 5.0), (0.1, 10.0), (2.0, 30.0)])
def test_what_took_long_lives_longer_within_bounds(took: float, lives: float) -> None:
    """A hundred times as long as it took, at least 5 s and at most six times that."""
    watch, made = Watch(), iter(range(3))
    kept = Kept(5, watch)

    def make() -> int:
        watch.now += took
        return next(made)

    assert kept.get("a", make) == 0
    watch.now = took + lives - 0.001
    assert kept.get("a", make) == 0
    watch.now = took + lives
    assert kept.get("a", make) == 1


def test_what_does_not_fit_is_made_anew() -> None:
    made = iter(range(3))
    kept = Kept(5, fits=lambda value: value < 1)
    kept.get("large", lambda: next(made) + 1)
    assert kept.get("large", lambda: 7) == 7
