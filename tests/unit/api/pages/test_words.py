from __future__ import annotations

import pytest

from api.pages.waterfall import bounded_money
from api.pages.words import judgement_badge, stream_name, typeset, without_kind


@pytest.mark.parametrize(
    ("told", "printed"),
    [
        ("(global -0.4 to +2.3 pp)", "(global −0.4 to +2.3\u00a0pp)"),
        ("34.1 % vs 9.0 %, +1.0 pp", "34.1\u00a0% vs 9.0\u00a0%, +1.0\u00a0pp"),
        ("3 ppm of model 7 pppp", "3 ppm of model 7 pppp"),
        ("0.27x (0.26 to 0.28) at equal mix", "0.27× (0.26 to 0.28) at equal mix"),
        ("Evidence 10^12 to 1", "Evidence 10¹² to 1"),
        ("student-8b-v1, mixtral-8x7b and 4x-5 keep their names", "student-8b-v1, mixtral-8x7b and 4x-5 keep their names"),
    ],
)
def test_signs_are_printed_and_names_left_alone(told: str, printed: str) -> None:
    assert typeset(told) == printed


@pytest.mark.parametrize(
    ("stream_id", "name"),
    [
        ("fallback/*", "Fallbacks, all cohorts"),
        ("eval_fail/TaskCompletion/regulated_answer", "TaskCompletion failures, regulated_answer"),
        ("eval_fail/a/b/c", "a/b failures, c"),
    ],
)
def test_streams_are_named_in_words(stream_id: str, name: str) -> None:
    assert stream_name(stream_id) == name


def test_a_headline_beside_its_badge_does_not_repeat_it() -> None:
    assert without_kind("DIVERGENCE  support: m is cheaper but worse on x", "divergence", "support") == (
        "m is cheaper but worse on x"
    )
    assert without_kind("QUALITY REGRESSION  a: m is worse on x", "quality_regression", "a") == "m is worse on x"
    assert without_kind("something else", "divergence", "support") == "something else"


def test_a_judgement_says_what_happened_not_only_that_something_did() -> None:
    assert judgement_badge("eval_fail", True, has_error=False).text == "Failed"
    assert judgement_badge("escalation", True, has_error=False).text == "Escalated"
    assert judgement_badge("thumbs_down", False, has_error=False).text == "Thumbs up"
    assert judgement_badge("eval_fail", None, has_error=False).text == "No verdict"
    # an evaluator that broke has said nothing, whatever else it sent
    assert judgement_badge("", None, has_error=True).text == "Evaluator broke"


def test_a_lower_bound_of_a_cost_looks_like_one() -> None:
    assert bounded_money({"cost_usd": 0.00828, "quality_flags": ["cost_lower_bound"]}) == "≥$0.00828"
    assert bounded_money({"cost_usd": 0, "cost_source": "lower_bound"}) == "≥$0"
    assert bounded_money({"cost_usd": None, "quality_flags": ["cost_lower_bound"]}) == "—"
