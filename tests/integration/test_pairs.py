"""Failing pairs: the mirrored twin where there is one, else the last trace of the same cohort and prompt that passed before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from storage.client import Store
from storage.pairs import PairQuestion, read_failing_pairs
from tests.support.facts import START, trace_row, write_traces

pytestmark = pytest.mark.integration


@pytest.fixture
def store(each_store: Store) -> Store:
    """Every test here runs on each back end."""
    return each_store


DAY = timedelta(days=1)
QUESTION = PairQuestion(
    "support-agent", "", "teacher", "student", None, "error", "", since=START - 14 * DAY, until=START + timedelta(hours=1)
)


def failed(number: int, ago: timedelta, **changes: Any) -> dict[str, Any]:
    return trace_row(number, started_at=START - ago, model_route="student", errored=True, **changes)


def passed(number: int, ago: timedelta, **changes: Any) -> dict[str, Any]:
    return trace_row(number, started_at=START - ago, errored=False, **changes)


def found(store: Store, question: PairQuestion = QUESTION, limit: int = 10) -> list[tuple[int, int, bool]]:
    pairs = read_failing_pairs(store, question, limit)
    return [(int(pair.candidate_trace_id, 16), int(pair.baseline_trace_id, 16), pair.is_mirrored) for pair in pairs]


def test_the_partner_is_the_last_passing_one_of_the_same_cohort_and_prompt_before_it(store: Store) -> None:
    minute = timedelta(minutes=1)
    write_traces(
        store,
        [
            failed(1, 10 * minute),
            passed(11, 15 * minute),
            passed(12, 12 * minute),
            passed(13, 5 * minute),
            passed(14, 11 * minute, cohort="billing"),
            passed(15, 11 * minute, prompt_version="p-2"),
            passed(16, 11 * minute, service_name="other"),
            trace_row(17, started_at=START - 11 * minute, errored=True),
        ],
    )
    assert found(store) == [(1, 12, False)]


def test_a_mirrored_twin_comes_first_even_when_it_is_older_and_lies_hours_away(store: Store) -> None:
    hour = timedelta(hours=1)
    write_traces(
        store,
        [
            failed(1, hour),
            failed(2, 3 * DAY, mirror_group="item-7", mirror_role="shadow"),
            passed(21, 3 * DAY - 5 * hour, mirror_group="item-7", mirror_role="primary"),
            passed(22, 3 * DAY + hour),
            passed(11, 2 * hour),
        ],
    )
    assert found(store) == [(2, 21, True), (1, 11, False)]
    assert found(store, limit=1) == [(2, 21, True)]


def test_a_mirrored_twin_comes_first_however_many_failures_are_newer(store: Store) -> None:
    minute = timedelta(minutes=1)
    newer = [failed(100 + n, n * minute) for n in range(60)] + [passed(11, 70 * minute)]
    mirrored = [
        failed(2, 9 * DAY, mirror_group="item-7", mirror_role="shadow"),
        passed(21, 9 * DAY, mirror_group="item-7", mirror_role="primary"),
        # its twin failed as well
        failed(3, 8 * DAY, mirror_group="item-8", mirror_role="shadow"),
        trace_row(31, started_at=START - 8 * DAY, errored=True, mirror_group="item-8", mirror_role="primary"),
    ]
    write_traces(store, newer + mirrored)
    assert found(store, limit=3) == [(2, 21, True), (100, 11, False), (101, 11, False)]


@pytest.mark.parametrize("before", [timedelta(minutes=5), timedelta(hours=20), 9 * DAY])
def test_a_partner_is_found_however_long_before_the_failure_it_ran(store: Store, before: timedelta) -> None:
    write_traces(store, [failed(1, 2 * DAY), passed(11, 2 * DAY + before)])
    assert found(store) == [(1, 11, False)]


def test_without_a_partner_or_a_failure_there_is_no_pair(store: Store) -> None:
    assert found(store) == []
    write_traces(store, [failed(1, DAY), failed(2, 20 * DAY), passed(12, 20 * DAY)])
    assert found(store) == []
