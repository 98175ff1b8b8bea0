"""Where evaluations belong, what they say, and what several of them come to."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analytics.config import Direction, EvaluatorRule, EvaluatorRules, MaturityRules
from analytics.evaluations import RESPONSE_INDEX, TRACE_INDEX, resolve_targets
from analytics.outcomes import JUDGED_TRACES, SHADOW_SPANS, trace_outcomes
from analytics.verdicts import with_verdicts
from storage.facts import EVALUATIONS
from storage.maturities import MATURITIES
from tests.support.traces import T0

MINUTE = timedelta(minutes=1)
TEXTS = [name for name, dtype in EVALUATIONS.items() if dtype == pl.String]


def evaluation(evaluation_id: str, name: str = "Groundedness", at: timedelta = MINUTE, **fields: Any) -> dict[str, Any]:
    """One row of `EVALUATIONS`, received when made, on trace `t` unless another target is given."""
    row: dict[str, Any] = dict.fromkeys(TEXTS, "") | {"score": None, "passed": None}
    target = {} if any(key.startswith("target_") for key in fields) else {"target_trace_id": "t"}
    return row | {"evaluation_id": evaluation_id, "name": name, "evaluated_at": T0 + at, "received_at": T0 + at} | target | fields


def evaluations(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=EVALUATIONS)


def verdict(rules: EvaluatorRules | None = None, **fields: Any) -> tuple[str, bool | None]:
    read = with_verdicts(evaluations(evaluation("e", **fields)), rules or EvaluatorRules())
    return read["metric"].item(), read["failed"].item()


TRACES = pl.DataFrame(
    [("t", "s", "none", T0), ("u", "s", "none", T0 + 10 * MINUTE), ("v", "s", "shadow", T0 + 11 * MINUTE)],
    schema=TRACE_INDEX,
    orient="row",
)
RESPONSES = pl.DataFrame(
    [("r1", "t", "a", T0), ("r1", "u", "b", T0 + 10 * MINUTE), ("r2", "t", "c", T0)], schema=RESPONSE_INDEX, orient="row"
)


@pytest.mark.parametrize(
    ("target", "at", "expected"),
    [
        ({"target_trace_id": "t", "target_span_id": "a"}, 1, ("t", "a", "span")),
        ({"target_trace_id": "t"}, 1, ("t", "", "trace")),
        ({"target_trace_id": "not yet"}, 1, None),
        ({"target_response_id": "r2"}, 1, ("t", "c", "response")),
        ({"target_response_id": "r1"}, 1, ("t", "a", "response")),  # the only one that had started
        ({"target_response_id": "r1"}, 12, ("u", "b", "response")),  # the latest before the evaluation
        ({"target_response_id": "unknown"}, 1, None),
        ({"target_session_id": "s"}, 1, ("t", "", "session")),
        ({"target_session_id": "s"}, 12, ("u", "", "session")),  # the latest trace that was served, not the shadow
        ({"target_session_id": "s"}, -1, None),  # before the session began
        ({"target_trace_id": "not yet", "target_response_id": "r2"}, 1, ("t", "c", "response")),
        ({"target_session_id": ""}, 1, None),
    ],
)
def test_targets(target: dict[str, str], at: int, expected: tuple[str, str, str] | None) -> None:
    found = resolve_targets(evaluations(evaluation("e", at=at * MINUTE, **target)), TRACES, RESPONSES)
    assert found.rows() == ([] if expected is None else [("e", *expected)])


@pytest.mark.parametrize(
    ("fields", "failed"),
    [
        ({"passed": True, "label": "fail"}, False),  # an explicit flag first
        ({"label": "PASS "}, False),
        ({"label": "Hallucinated"}, True),
        ({"label": "maybe"}, None),
        ({"score": 0.1}, None),  # no threshold, no verdict
        ({"name": "HallucinationScore", "score": 0.9}, True),  # 11.13
        ({"name": "HallucinationScore", "score": 0.1}, False),
        ({"name": "HallucinationScore", "score": 4.0}, None),  # not on a scale one knows
        ({"name": "toxicity", "label": "true"}, True),
        ({"name": "bias", "label": "true"}, None),  # the name suggests worse, nothing says so
        ({"name": "bias", "label": "unsafe"}, True),
        ({"name": "Correctness", "label": "true"}, False),
    ],
)
def test_evaluators_without_configuration(fields: dict[str, Any], failed: bool | None) -> None:
    assert verdict(**fields) == ("eval_fail", failed)


@pytest.mark.parametrize(
    ("fields", "failed"),
    [
        ({"name": "groundedness", "score": 0.7}, False),  # the threshold itself passes
        ({"name": "Groundedness", "score": 0.69}, True),
        ({"name": "Groundedness", "score": 0.69, "label": "pass"}, False),  # a label before the threshold
        ({"name": "bias", "score": 0.3}, False),
        ({"name": "bias", "score": 0.31}, True),
        ({"name": "bias", "label": "true"}, True),
        ({"name": "tone", "label": "RUDE"}, True),
        ({"name": "tone", "label": "pass"}, None),  # its own labels replace the default ones
        ({"name": "hallucination", "score": 0.6}, False),
    ],
)
def test_configured_evaluators(fields: dict[str, Any], failed: bool | None) -> None:
    rules = EvaluatorRules(
        evaluators={
            "Groundedness": EvaluatorRule(direction=Direction.HIGHER_IS_BETTER, threshold=0.7),
            "bias": EvaluatorRule(direction=Direction.LOWER_IS_BETTER, threshold=0.3),
            "hallucination": EvaluatorRule(direction=Direction.LOWER_IS_BETTER, threshold=0.8),
            "tone": EvaluatorRule(pass_labels=frozenset({"polite"}), fail_labels=frozenset({"rude"})),
        }
    )
    assert verdict(rules, **fields) == ("eval_fail", failed)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "user-feedback", "score": -1.0}, ("thumbs_down", True)),
        ({"name": "user_feedback", "score": 0.0}, ("thumbs_down", True)),
        ({"name": "Thumbs", "score": 1.0}, ("thumbs_down", False)),
        ({"name": "rating", "score": 4.0}, ("thumbs_down", None)),
        ({"name": "feedback", "label": "Dislike"}, ("thumbs_down", True)),
        ({"name": "thumbs", "passed": False}, ("thumbs_down", True)),
        ({"name": "escalation", "label": "true"}, ("escalation", True)),  # it happened, which is the failure
        ({"name": "handoff", "passed": True}, ("escalation", True)),
        ({"name": "escalated", "score": 0.0}, ("escalation", False)),
        ({"name": "abandoned"}, ("abandonment", True)),
        ({"name": "refund", "score": 12.5}, ("refund", True)),
        ({"name": "refund", "score": 0.0}, ("refund", False)),
        ({"name": "correction"}, ("correction", True)),
        ({"name": "anything", "data_type": "CORRECTION"}, ("correction", True)),
        ({"name": "human_review", "label": "approved"}, ("overturn", False)),
        ({"name": "langgraph.human.decision", "label": "modified"}, ("overturn", True)),
        ({"name": "overturned", "label": "true"}, ("overturn", True)),
        ({"name": "human_review", "label": "unsure"}, ("overturn", None)),
    ],
)
def test_feedback_is_read_before_labels(fields: dict[str, Any], expected: tuple[str, bool | None]) -> None:
    assert verdict(**fields) == expected


def test_zero_is_neutral_for_signed_thumbs() -> None:
    rules = EvaluatorRules(signed_feedback=frozenset({"user-feedback"}))
    assert verdict(rules, name="user_feedback", score=0.0) == ("thumbs_down", None)
    assert verdict(rules, name="user_feedback", score=-1.0) == ("thumbs_down", True)
    assert verdict(rules, name="thumbs", score=0.0) == ("thumbs_down", True)


def outcomes(rows: pl.DataFrame, clock: Any = "wall", maturities: pl.DataFrame | None = None, **more: Any) -> pl.DataFrame:
    traces = more.get("traces", [("t", "none", T0, "support")])
    return trace_outcomes(
        rows,
        resolve_targets(rows, TRACES, RESPONSES),
        pl.DataFrame(traces, schema=JUDGED_TRACES, orient="row"),
        pl.DataFrame(more.get("shadow_spans", []), schema=SHADOW_SPANS, orient="row"),
        MATURITIES.to_frame() if maturities is None else maturities,
        EvaluatorRules(),
        MaturityRules(),
        clock,
    )


def test_failed_if_any_failed_and_the_score_is_the_mean() -> None:
    rows = evaluations(
        evaluation("1", label="pass", score=1.0),
        evaluation("2", label="fail", score=0.0),
        evaluation("3", score=0.5),
        evaluation("4", evaluator_error="judge timed out", label="fail"),
    )
    [row] = outcomes(rows).to_dicts()
    assert (row["metric"], row["evaluator"], row["n_verdicts"], row["failed"], row["score"]) == (
        "eval_fail",
        "Groundedness",
        3,
        True,
        0.5,
    )
    assert (row["n_verdicts_matured"], row["failed_matured"]) == (3, True)


def test_judged_but_neither_is_not_a_pass() -> None:
    [row] = outcomes(evaluations(evaluation("1", score=0.5))).to_dicts()
    assert (row["failed"], row["n_verdicts"]) == (None, 1)


def test_only_verdicts_in_time_are_matured_and_the_default_hour_counts_to_the_nanosecond() -> None:
    rows = evaluations(
        evaluation("1", label="pass", at=60 * MINUTE), evaluation("2", label="fail", at=60 * MINUTE + timedelta(microseconds=1))
    )
    [row] = outcomes(rows).to_dicts()
    assert (row["failed"], row["failed_matured"], row["n_verdicts"], row["n_verdicts_matured"]) == (True, False, 2, 1)


def test_the_clock_decides_which_moment_counts() -> None:
    late = evaluations(evaluation("1", label="fail") | {"received_at": T0 + timedelta(days=9)})
    assert outcomes(late, "wall")["n_verdicts_matured"].to_list() == [0]
    assert outcomes(late, "wall")["failed_matured"].to_list() == [None]
    assert outcomes(late, "event")["n_verdicts_matured"].to_list() == [1]


def test_the_newest_maturity_before_the_trace_counts() -> None:
    history = pl.DataFrame(
        [
            ("support", "eval_fail", "Groundedness", 30, T0 - MINUTE, "history"),
            ("support", "eval_fail", "Groundedness", 9_000, T0 + MINUTE, "history"),
            ("other", "eval_fail", "Groundedness", 9_000, T0 - MINUTE, "history"),
        ],
        schema=MATURITIES,
        orient="row",
    )
    rows = evaluations(
        evaluation("1", label="fail", at=timedelta(seconds=30)), evaluation("2", label="fail", at=timedelta(seconds=31))
    )
    assert outcomes(rows, maturities=history)["n_verdicts_matured"].to_list() == [1]


def test_feedback_of_several_names_is_one_outcome_and_skips_shadows() -> None:
    rows = evaluations(
        evaluation("1", "thumbs", score=1.0),
        evaluation("2", "user_feedback", score=0.0, target_trace_id="t", target_span_id="shadowed"),
        evaluation("3", label="fail", target_trace_id="t", target_span_id="shadowed"),
        evaluation("4", label="pass", target_trace_id="t", target_span_id="served"),
    )
    both = [("t", "primary", T0, "support"), ("t", "shadow", T0, "support")]
    rows_out = outcomes(rows, traces=both, shadow_spans=[("t", "shadowed")])
    assert rows_out.select("mirror_role", "metric", "evaluator", "failed").rows() == [
        ("primary", "eval_fail", "Groundedness", False),
        ("primary", "thumbs_down", "", False),
        ("shadow", "eval_fail", "Groundedness", True),
    ]


def test_the_copy_made_last_counts_and_order_does_not_matter() -> None:
    rows = [
        evaluation("1", label="fail"),
        evaluation("1", label="pass", at=2 * MINUTE),
        *(evaluation(str(n), score=n / 7, label="pass") for n in range(2, 30)),
    ]
    whole = outcomes(evaluations(*rows))
    assert whole["failed"].to_list() == [False]
    for seed in range(5):
        shuffled = rows + rows[:9]
        random.Random(seed).shuffle(shuffled)
        assert_frame_equal(outcomes(evaluations(*shuffled)), whole, check_exact=True)


def test_an_evaluation_before_its_target_waits() -> None:
    rows = evaluations(evaluation("1", label="fail", target_trace_id="late"))
    assert resolve_targets(rows, TRACES, RESPONSES).is_empty()
    arrived = TRACES.vstack(pl.DataFrame([("late", "", "none", T0)], schema=TRACE_INDEX, orient="row"))
    assert resolve_targets(rows, arrived, RESPONSES).rows() == [("1", "late", "", "trace")]
