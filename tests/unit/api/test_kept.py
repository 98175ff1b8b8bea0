from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api.kept import Kept, Renewals


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
    assert not kept._turns


def test_keys_without_end_that_fail_or_do_not_fit_leave_nothing() -> None:
    """Addresses nobody has a page for are keys too."""
    kept = Kept(60, Watch(), fits=lambda value: value < 0)

    def fail() -> int:
        raise LookupError

    for number in range(2_000):
        with pytest.raises(LookupError):
            kept.get(("unknown", number), fail)
        assert kept.get(("large", number), lambda: 1) == 1
    assert not kept._turns
    assert not kept._values


def test_nothing_is_kept_for_no_seconds() -> None:
    made = iter(range(3))
    kept = Kept(0)
    assert [kept.get("a", lambda: next(made)) for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(("took", "lives"), [(0.01, 5.0), (0.1, 10.0), (2.0, 20.0)])
def test_what_took_long_is_renewed_later_within_bounds(took: float, lives: float) -> None:
    """A hundred times as long as it took, at least 5 s and at most four times that; without renewals exactly 5 s."""
    watch = Watch()
    kept, tasks = renewing(watch)
    part = Kept(5, watch)

    def make() -> float:
        watch.now += took
        return watch.now

    assert kept.get("a", make) == took
    watch.now = took + lives - 0.001
    assert (kept.get("a", make), len(tasks)) == (took, 0)
    watch.now = took + lives
    assert (kept.get("a", make), len(tasks)) == (took, 1)
    made = part.get("a", make)
    watch.now = made + 4.999
    assert part.get("a", make) == made
    watch.now = made + 5
    assert part.get("a", make) == watch.now


def test_many_values_live_longer_so_that_all_of_them_together_cost_a_tenth() -> None:
    """Twenty that take 0.06 s each: every 12 s, where one alone would be made anew every 6."""
    watch = Watch()
    kept, tasks = renewing(watch)

    def make() -> float:
        watch.now += 0.06
        return watch.now

    for number in range(20):
        kept.get(number, make)
    made = watch.now
    watch.now = made + 11.9
    assert (kept.get(19, make), len(tasks)) == (made, 0)
    watch.now = made + 12.1
    assert (kept.get(19, make), len(tasks)) == (made, 1)
    # by then the others are over, and no longer count
    watch.now = made + 30
    again = kept.get(19, make)
    watch.now = again + 5.9
    assert (kept.get(19, make), len(tasks)) == (again, 1)
    watch.now = again + 6.1
    tasks.clear()
    kept._renewing.clear()
    assert (kept.get(19, make), len(tasks)) == (again, 1)


def test_of_too_many_values_those_that_are_asked_for_stay() -> None:
    kept = Kept(60, Watch(), most=3)
    kept.get("asked for", lambda: 0)
    for number in range(100):
        kept.get(number, lambda number=number: number)
        assert kept.get("asked for", lambda: 1) == 0
    assert list(kept._values) == [98, 99, "asked for"]


def test_who_must_not_wait_gets_what_is_kept_or_nothing() -> None:
    watch = Watch()
    kept, tasks = renewing(watch)
    assert kept.held("a") is None
    kept.get("a", lambda: "of the caller", lambda: "of nobody")
    assert kept.held("a") == "of the caller"
    watch.now = 5.0
    assert ([kept.held("a") for _ in range(3)], len(tasks)) == (["of the caller"] * 3, 1)
    tasks.make()
    assert kept.held("a") == "of nobody"
    # what was renewed is renewed again as it was
    watch.now = 10.0
    assert (kept.held("a"), len(tasks)) == ("of nobody", 1)
    watch.now = 35.0
    assert kept.held("a") is None
    kept.get("a", lambda: 1)
    kept.forget()
    assert kept.held("a") is None


def test_what_does_not_fit_is_made_anew() -> None:
    made = iter(range(3))
    kept = Kept(5, fits=lambda value: value < 1)
    kept.get("large", lambda: next(made) + 1)
    assert kept.get("large", lambda: 7) == 7


class Tasks(list[Callable[[], None]]):
    """Renewals that are made when the test says so."""

    def __call__(self, task: Callable[[], None], /) -> bool:
        self.append(task)
        return True

    def make(self) -> None:
        while self:
            self.pop(0)()


def renewing(watch: Watch, **more: Any) -> tuple[Kept, Tasks]:
    tasks = Tasks()
    return Kept(5, watch, later=tasks, **more), tasks


def test_an_answer_that_is_fresh_no_more_is_given_at_once_and_renewed_once() -> None:
    watch, made = Watch(), iter(range(10))
    kept, tasks = renewing(watch)

    def ask() -> int:
        return kept.get("a", lambda: next(made))

    assert ask() == 0
    watch.now = 4.9
    assert (ask(), len(tasks)) == (0, 0)
    watch.now = 5.0
    assert ([ask() for _ in range(3)], len(tasks)) == ([0, 0, 0], 1)
    tasks.make()
    assert (ask(), len(tasks)) == (1, 0)
    # the renewed one is fresh from then on
    watch.now = 9.9
    assert (ask(), len(tasks)) == (1, 0)
    watch.now = 10.0
    assert (ask(), len(tasks)) == (1, 1)


def test_no_answer_is_given_once_it_is_five_times_as_old() -> None:
    watch, made = Watch(), iter(range(10))
    kept, tasks = renewing(watch)
    kept.get("a", lambda: next(made))
    watch.now = 24.9
    assert kept.get("a", lambda: next(made)) == 0
    watch.now = 25.0
    assert kept.get("a", lambda: next(made)) == 1
    # the renewal that waited meanwhile finds that there is nothing left to do
    tasks.make()
    assert (kept.get("a", lambda: next(made)), next(made)) == (1, 2)


def test_what_takes_long_is_renewed_before_it_is_too_old() -> None:
    """A second of making would be a hundred of keeping: renewed from 20 s on, given until 25."""
    watch, made = Watch(), iter(range(10))
    kept, tasks = renewing(watch)

    def make() -> int:
        watch.now += 1
        return next(made)

    kept.get("a", make)
    watch.now = 20.9
    assert (kept.get("a", make), len(tasks)) == (0, 0)
    watch.now = 21.0
    assert (kept.get("a", make), len(tasks)) == (0, 1)
    watch.now = 26.0
    assert kept.get("a", make) == 1


def test_what_was_changed_is_made_anew_also_while_it_is_renewed() -> None:
    watch = Watch()
    kept, tasks = renewing(watch)
    kept.get("a", lambda: "before")
    watch.now = 6.0
    kept.get("a", lambda: "renewed before the change")
    kept.forget()
    tasks.make()
    assert kept.get("a", lambda: "after") == "after"

    def changed() -> str:
        kept.forget()
        return "made of what was there before"

    watch.now = 12.0
    assert kept.get("a", changed) == "after"
    tasks.make()
    assert kept.get("a", lambda: "after all") == "after all"


def test_a_renewal_that_fails_takes_the_answer_away() -> None:
    watch = Watch()
    kept, tasks = renewing(watch)

    def fail() -> int:
        raise LookupError

    kept.get("a", lambda: 0)
    watch.now = 6.0
    assert kept.get("a", fail) == 0
    tasks.make()
    with pytest.raises(LookupError):
        kept.get("a", fail)
    assert kept.get("a", lambda: 1) == 1
    assert not kept._renewing


def test_a_renewal_that_does_not_fit_takes_the_answer_away() -> None:
    watch = Watch()
    kept, tasks = renewing(watch, fits=lambda value: value < 5)
    kept.get("a", lambda: 0)
    watch.now = 6.0
    assert kept.get("a", lambda: 7) == 0
    tasks.make()
    assert kept.get("a", lambda: 8) == 8


def test_a_renewal_needs_nothing_of_who_asked() -> None:
    watch = Watch()
    kept, tasks = renewing(watch)
    kept.get("a", lambda: "of the caller")
    watch.now = 6.0
    kept.get("a", lambda: "of another caller", lambda: "of nobody")
    tasks.make()
    assert kept.get("a", lambda: "too late") == "of nobody"


def test_renewals_are_made_beside_the_requests_until_the_program_stops() -> None:
    watch, renewals, made, may_end = Watch(), Renewals(), threading.Event(), threading.Event()
    kept = Kept(5, watch, later=renewals)

    def slowly() -> str:
        made.set()
        may_end.wait(10)
        return "new"

    kept.get("a", lambda: "old")
    watch.now = 6.0
    assert kept.get("a", slowly) == "old"
    assert made.wait(10)
    # whoever asks meanwhile waits for nothing
    assert kept.get("a", slowly) == "old"
    may_end.set()
    renewals.close()
    assert kept.get("a", slowly) == "new"
    # afterwards nothing is begun, and what is too old is made by who asks
    watch.now = 12.0
    assert kept.get("a", lambda: "newer") == "new"
    assert not kept._renewing
    watch.now = 36.0
    assert kept.get("a", lambda: "newest") == "newest"
