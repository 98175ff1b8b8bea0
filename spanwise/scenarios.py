"""Named scenarios: the demo, and one for every situation the method must get right."""

from __future__ import annotations

from dataclasses import replace

from spanwise.scenario import STUDENT, Cohort, Evaluator, Feedback, Scenario

_EASY = Cohort("order_status", 0.5, 0.06)
_MIDDLE = Cohort("refund", 0.3, 0.10)
_HARD = Cohort("technical", 0.2, 0.20)
PLAIN = Scenario("nothing_differs", (_EASY, _MIDDLE, _HARD))


def demo(traces_per_day: float = 2_400.0) -> Scenario:
    """Two weeks of a support agent: a student at a quarter of the price that fails one regulated cohort."""
    cohorts = (
        Cohort("order_status", 0.34, 0.05, input_tokens=600, output_tokens=140),
        Cohort("refund", 0.22, 0.09, input_tokens=900, output_tokens=220),
        Cohort("technical", 0.18, 0.16, input_tokens=1_800, output_tokens=480),
        Cohort("billing", 0.13, 0.08, input_tokens=1_000, output_tokens=260),
        Cohort("small_talk", 0.095, 0.03, input_tokens=300, output_tokens=90),
        Cohort("regulated_answer", 0.035, 0.09, harm=0.20, input_tokens=2_400, output_tokens=520),
    )
    evaluators = (
        Evaluator("TaskCompletion", pass_delay_minutes=4, fail_delay_minutes=9),
        Evaluator("Groundedness", severity=0.7, sensitivity=0.8, sampled=0.5, sampling_rule="half", is_scored=True),
        Evaluator("JSONValidation", severity=0.15, sensitivity=0.0, pass_delay_minutes=0.1, fail_delay_minutes=0.1),
    )
    feedback = (
        Feedback("thumbs_down", 0.01, 0.12, delay_minutes=30),
        Feedback("escalation", 0.004, 0.10, delay_minutes=120),
    )
    student = replace(STUDENT, retry_rate=0.012, timeout_rate=0.003)
    return Scenario(
        "demo",
        cohorts,
        evaluators,
        feedback,
        student=student,
        traces_per_day=traces_per_day,
        history_days=3.0,
        traces_per_session=1.6,
        mirrored=0.02,
    )
