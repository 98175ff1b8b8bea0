"""Histories that analytics keeps: prices with who set them, and maturities from how late verdicts came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from analytics.config import MaturityRules, PriceConfig
from analytics.maturity import fix_maturities
from analytics.prices import PriceHistory
from storage.client import Store
from storage.maturities import read_maturities
from tests.integration.analytics.test_jobs import make_jobs, run_all
from tests.support.span_rows import START, make_evaluation, make_trace, write_evaluations, write_spans

pytestmark = pytest.mark.integration

SPRING = datetime(2028, 3, 1, tzinfo=UTC)


def test_prices_of_the_api_follow_the_seeds_and_the_newest_is_current(store: Store) -> None:
    seed = PriceConfig(model="Student", request_usd="1", effective_from=SPRING)
    history = PriceHistory(store, [seed])
    history.set_price({"model": "student", "request_usd": "2", "effective_from": SPRING.isoformat()}, "ada")
    history.set_price({"model": "student", "request_usd": "3", "effective_from": (SPRING - timedelta(days=1)).isoformat()}, "bob")
    told = [(p["request_usd"], p["author"], p["is_current"]) for p in history.prices(with_history=True)]
    # by moment; at the same moment the API's comes after the settings', and so counts
    assert told == [("3", "bob", False), ("1", "settings", False), ("2", "ada", True)]
    assert [p["author"] for p in history.prices(with_history=False)] == ["ada"]


def test_the_same_price_put_again_replaces_itself(store: Store) -> None:
    history = PriceHistory(store)
    for amount in ("2", "4"):
        history.set_price({"model": "student", "request_usd": amount, "effective_from": SPRING.isoformat()}, "ada")
    assert [p["request_usd"] for p in history.prices(with_history=True)] == ["4"]


@pytest.mark.parametrize("wrong", [{"model": "student"}, {"model": "", "request_usd": "1"}, {"model": "s", "request_usd": "-1"}])
def test_no_price_is_refused_and_nothing_kept(store: Store, wrong: dict[str, str]) -> None:
    history = PriceHistory(store)
    with pytest.raises(ValueError, match="validation error"):
        history.set_price(wrong, "ada")
    assert history.entries() == []


def test_maturities_come_from_the_baselines_verdicts_however_they_name_their_trace(store: Store) -> None:
    spans, verdicts = [], []
    for number in range(12):
        # sessions of one trace each, the student's verdicts are later and do not count
        route = "student" if number >= 9 else "teacher"
        spans += make_trace(number, route=route, session_id=f"only-{number}")
        after = timedelta(hours=9) if route == "student" else timedelta(minutes=20 + number)
        target = [
            {},
            {"target_scope": "span", "target_trace_id": "", "target_response_id": f"resp-{number}"},
            {"target_scope": "session", "target_trace_id": "", "target_session_id": f"only-{number}"},
        ][number % 3]
        verdicts.append(make_evaluation(number, after=after, **target))
    write_spans(store, spans)
    write_evaluations(store, verdicts)
    run_all(make_jobs(store))
    day_zero = START + timedelta(days=1)
    # nine verdicts of the teacher, 20 to 28 minutes late: the latest of nine is the 98th percentile
    fixed = fix_maturities(store, "support", day_zero, MaturityRules(least_verdicts=9), baseline_route="teacher")
    assert fixed.select("metric", "evaluator", "maturity_seconds").rows() == [("eval_fail", "TaskCompletion", 28 * 60)]
    assert read_maturities(store).rows() == fixed.rows()
    assert fix_maturities(store, "support", day_zero, MaturityRules(least_verdicts=10), baseline_route="teacher").is_empty()
