"""Named scenarios: the demo, and one for every situation the method must get right."""

from __future__ import annotations

from dataclasses import replace

from spanwise.scenario import STUDENT, TEACHER, Cohort, Evaluator, Feedback, Scenario

_EASY = Cohort("order_status", 0.5, 0.06, input_tokens=400, output_tokens=120)
_MIDDLE = Cohort("refund", 0.3, 0.10)
_HARD = Cohort("technical", 0.2, 0.20, input_tokens=2_000, output_tokens=500)
_COHORTS = (_EASY, _MIDDLE, _HARD)
_SAME_PRICE = replace(
    STUDENT,
    usd_per_million_input=TEACHER.usd_per_million_input,
    usd_per_million_output=TEACHER.usd_per_million_output,
    ms_per_token=TEACHER.ms_per_token,
)
_BASE = Scenario("base", _COHORTS, traces_per_day=900.0, history_days=3.0)


def _worse(by: float) -> tuple[Cohort, ...]:
    return tuple(replace(cohort, harm=by) for cohort in _COHORTS)


def _routed(splits: tuple[float, float, float], cohorts: tuple[Cohort, ...] = _COHORTS) -> tuple[Cohort, ...]:
    return tuple(replace(cohort, split=split) for cohort, split in zip(cohorts, splits, strict=True))


_MOSTLY_EASY, _MOSTLY_HARD = (0.8, 0.3, 0.1), (0.1, 0.3, 0.8)
_RARE = Cohort("regulated_answer", 0.02, 0.05, harm=0.10)
_JUDGE = Evaluator("TaskCompletion")

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        replace(_BASE, name="nothing_differs", student=_SAME_PRICE),
        replace(_BASE, name="cheaper_equal_quality", traces_per_day=1_500.0),
        replace(_BASE, name="easy_cohorts_only", student=_SAME_PRICE, cohorts=_routed(_MOSTLY_EASY), traces_per_day=1_200.0),
        replace(
            _BASE,
            name="worse_inside_every_cohort",
            student=_SAME_PRICE,
            cohorts=_routed(_MOSTLY_EASY, _worse(0.04)),
            traces_per_day=1_800.0,
        ),
        replace(_BASE, name="hard_cohorts_only", student=_SAME_PRICE, cohorts=_routed(_MOSTLY_HARD)),
        replace(_BASE, name="one_rare_cohort", cohorts=(*_COHORTS, _RARE), traces_per_day=3_000.0),
        replace(_BASE, name="all_cohorts", cohorts=_worse(0.04), traces_per_day=1_500.0),
        replace(_BASE, name="slow_tail", student=replace(STUDENT, ms_per_token=14.0, tail_share=0.08, tail_factor=6.0)),
        replace(_BASE, name="prompt_changed_too", student=replace(STUDENT, prompt_version="p-15"), cohorts=_worse(0.08)),
        replace(_BASE, name="evaluator_changed", evaluators=(replace(_JUDGE, student_version="judge-4"),), cohorts=_worse(0.08)),
        replace(_BASE, name="failures_judged_late", evaluators=(replace(_JUDGE, fail_delay_minutes=35.0),)),
        replace(_BASE, name="failures_judged_too_late", evaluators=(replace(_JUDGE, fail_delay_minutes=200.0),)),
        replace(_BASE, name="failures_left_unscored", evaluators=(replace(_JUDGE, unscored_failures=0.6),), cohorts=_worse(0.08)),
        replace(_BASE, name="student_rows_lost", lost_student_traces=0.2),
        replace(_BASE, name="easier_items_routed", easy_routing=0.6, length_effect=0.5),
        replace(_BASE, name="easier_items_mirrored", easy_routing=0.6, length_effect=0.5, cohorts=_worse(0.06), mirrored=0.5),
        replace(_BASE, name="sticky_sessions", sticky=True, traces_per_session=5.0, session_correlation=0.5),
        replace(
            _BASE,
            name="provider_incident",
            cohorts=_worse(0.85),
            harm_from_day=5.4,
            harm_until_day=5.4625,
            traces_per_day=2_000.0,
        ),
        replace(_BASE, name="harm_from_day_8", cohorts=_worse(0.12), harm_from_day=8.0),
        replace(
            _BASE, name="stale_from_week_3", split=0.95, cohorts=_worse(0.2), harm_from_day=14.0, days=27.0, history_days=3.0
        ),
        replace(_BASE, name="harder_traffic", split=0.95, harder_from_day=14.0, harder_by=0.15, days=27.0),
    )
}
"""What each one is to lead to is in the tests."""


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
        Evaluator("Groundedness", severity=0.7, sensitivity=0.8, sampled=0.5, is_scored=True),
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
