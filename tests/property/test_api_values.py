"""Times, durations, cursors and formats: what is written is what is read, and nonsense is a problem, never a crash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursor import decode_cursor, encode_cursor
from api.problems import ProblemError
from api.times import EARLIEST, LATEST, parse_duration, parse_step, parse_time, parse_window, rfc3339

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
moments = st.datetimes(EARLIEST.replace(tzinfo=None) + timedelta(days=2), LATEST.replace(tzinfo=None) - timedelta(days=2))
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
units = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@given(moments, offsets)
def test_a_time_is_the_same_moment_in_every_zone(moment: datetime, zone: timezone) -> None:
    moment = moment.replace(tzinfo=UTC)
    assert parse_time(moment.astimezone(zone).isoformat(), NOW) == moment
    assert parse_time(rfc3339(moment), NOW) == moment


@given(moments, st.integers(0, 999))
def test_nanoseconds_are_cut_to_microseconds(moment: datetime, nanoseconds: int) -> None:
    text = moment.isoformat(timespec="microseconds") + f"{nanoseconds:03}Z"
    assert parse_time(text, NOW) == moment.replace(tzinfo=UTC)


@given(st.lists(st.tuples(st.integers(1, 200), st.sampled_from("smhdw")), min_size=1, max_size=4))
def test_an_age_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    seconds = sum(number * units[unit] for number, unit in parts)
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_time(f"-{text}", NOW) == NOW - timedelta(seconds=seconds)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_a_problem(text: str) -> None:
    for parse in (parse_time, parse_duration, parse_step):
        try:
            parse(text, *((NOW,) if parse is parse_time else ()))  # type: ignore[operator]
        except ProblemError as problem:
            outcome = (problem.status, len(problem.detail) < 1000)
        else:
            outcome = (400, True)
        assert outcome == (400, True)


def test_examples() -> None:
    assert parse_time("2026-03-01", NOW) == datetime(2026, 3, 1, tzinfo=UTC)
    assert parse_time("2024-02-29T23:30:00+01:00", NOW) == datetime(2024, 2, 29, 22, 30, tzinfo=UTC)
    # a plus sign that a client did not escape
    assert parse_time("2026-03-01T12:00:00 02:00", NOW) == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert parse_step("90m") == timedelta(minutes=90)
    for wrong in (
        "2026-03-01T12:00:00",
        "2026-02-29",
        "yesterday",
        "-0h",
        "-",
        "1800",
        "2026-03-01T25:00:00Z",
        "-99999999w",
        "٣٠m",
    ):
        with pytest.raises(ProblemError):
            parse_time(wrong, NOW)
    for wrong in ("90s", "0m", "1.5h", "month"):
        with pytest.raises(ProblemError):
            parse_step(wrong)
    with pytest.raises(ProblemError, match="earlier than"):
        parse_window("now", "-1h", NOW)


positions = st.tuples(st.integers(0, 2**63 - 1), st.text(max_size=40), st.text(max_size=10))
questions = st.dictionaries(
    st.text(max_size=5), st.one_of(st.text(max_size=5), st.lists(st.text(max_size=5), max_size=3)), max_size=3
)


@given(positions, questions)
def test_a_cursor_comes_back_as_it_went(position: tuple[int, str, str], question: dict[str, object]) -> None:
    cursor = encode_cursor(position, question)
    assert cursor.isascii()
    assert decode_cursor(cursor, question, (int, str, str)) == list(position)


@given(positions, questions, questions)
def test_a_cursor_of_another_question_is_refused(
    position: tuple[int, str, str], asked: dict[str, object], now: dict[str, object]
) -> None:
    if asked != now:
        with pytest.raises(ProblemError, match="same filters"):
            decode_cursor(encode_cursor(position, asked), now, (int, str, str))


@given(st.text(max_size=100))
def test_any_text_is_a_cursor_or_a_problem(text: str) -> None:
    with pytest.raises(ProblemError):
        decode_cursor(text, {}, (int, str))
