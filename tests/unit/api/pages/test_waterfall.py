from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.pages.waterfall import logical_calls, waterfall

START = datetime(2026, 3, 9, 14, tzinfo=UTC)


def span(span_id: str, parent: str = "", start: float = 0.0, seconds: float = 1.0, **fields: Any) -> dict[str, Any]:
    begin = START + timedelta(seconds=start)
    row = {
        "span_id": span_id,
        "parent_span_id": parent,
        "name": span_id,
        "start_time": begin,
        "end_time": begin + timedelta(seconds=seconds),
    }
    return row | fields


def test_children_follow_their_parent_in_time_and_bars_have_their_place() -> None:
    rows = waterfall(
        [span("c", "a", 3, 1), span("b", "a", 1, 2), span("a", "", 0, 4), span("d", "b", 1.5, 0.5, ttft_ns=250_000_000)]
    )
    assert [(row.span_id, row.depth, row.offset, row.width) for row in rows] == [
        ("a", 0, 0.0, 100.0),
        ("b", 1, 25.0, 50.0),
        ("d", 2, 37.5, 12.5),
        ("c", 1, 75.0, 25.0),
    ]
    # 1.5 s + 0.25 s of 4 s
    assert rows[2].first_token == 43.75


def test_a_span_whose_parent_never_came_is_a_root() -> None:
    assert [row.depth for row in waterfall([span("a", "lost"), span("b", "a", 0.5)])] == [0, 1]


def test_cycles_and_spans_of_no_length_are_shown_once() -> None:
    rows = waterfall([span("a", "b", 0, 0), span("b", "a", 0, 0), span("c", "c", 0, 0)])
    assert sorted(row.span_id for row in rows) == ["a", "b", "c"]


def test_depth_does_not_overflow() -> None:
    chain = [span(f"{n:05}", f"{n - 1:05}" if n else "", n / 1000) for n in range(5000)]
    rows = waterfall(chain)
    assert [row.span_id for row in rows] == [s["span_id"] for s in chain]
    assert max(row.depth for row in rows) == 8


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=20), st.randoms())
def test_every_span_once_whatever_the_order_of_arrival(shape: list[tuple[int, int, int]], random: Any) -> None:
    spans = [span(f"{n}", f"{parent}", start, seconds) for n, (parent, start, seconds) in enumerate(shape)]
    shuffled = list(spans)
    random.shuffle(shuffled)
    rows = waterfall(spans)
    assert waterfall(shuffled) == rows
    assert sorted(row.span_id for row in rows) == sorted(s["span_id"] for s in spans)
    assert all(0 <= row.offset <= 100 for row in rows)


def test_only_calls_with_several_attempts_are_told_and_in_their_order() -> None:
    call = {"is_model_call": True, "cost_usd": None}
    spans = [
        span("y", start=2, logical_call_id="x", attempt_index=1, attempt_kind="fallback", status="ok", **call),
        span("x", logical_call_id="x", attempt_index=0, attempt_kind="first", status="timeout", **call),
        span("z", logical_call_id="z", status="ok", **call),
    ]
    (told,) = logical_calls(spans)
    assert [(a.span_id, a.badge.text, a.outcome.text) for a in told.attempts] == [
        ("x", "First", "Timeout"),
        ("y", "Fallback", "Answered"),
    ]
