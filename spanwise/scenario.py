"""What a simulated rollout is made of, and the shape of its traces."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday

ATTEMPT = pl.Struct(
    {
        "kind": pl.String,  # first, retry, fallback
        "route": pl.String,
        "model": pl.String,
        "outcome": pl.String,  # ok, error, timeout
        "duration_ns": pl.Int64,
        "input_tokens": pl.Int64,  # null: the attempt reported no usage
        "output_tokens": pl.Int64,
        "cost_usd": pl.Float64,
    }
)
VERDICT = pl.Struct(
    {
        "evaluator": pl.String,
        "evaluator_version": pl.String,
        "sampling_rule": pl.String,
        "passed": pl.Boolean,
        "score": pl.Float64,  # null: pass/fail only
        "delay_ns": pl.Int64,  # after the trace's start
    }
)
FEEDBACK = pl.Struct({"name": pl.String, "delay_ns": pl.Int64})

# One row per trace, sorted by start. A mirrored request is two rows: the served one (`primary`) and its `shadow`.
TRACES = pl.Schema(
    {
        "trace_id": pl.String(),  # 32 lower-case hex digits
        "started_at": pl.Datetime("ns", "UTC"),
        "service": pl.String(),
        "environment": pl.String(),
        "session_id": pl.String(),
        "user_id": pl.String(),
        "cohort": pl.String(),
        "route": pl.String(),  # first chosen
        "model": pl.String(),  # of that route
        "prompt_name": pl.String(),
        "prompt_version": pl.String(),
        "duration_ns": pl.Int64(),
        "ttft_ns": pl.Int64(),
        "input_tokens": pl.Int64(),  # of all attempts that reported usage
        "output_tokens": pl.Int64(),
        "cost_usd": pl.Float64(),  # of all attempts
        "attempts": pl.List(ATTEMPT),
        "retried": pl.Boolean(),
        "fell_back": pl.Boolean(),
        "timed_out": pl.Boolean(),
        "errored": pl.Boolean(),
        "sampled_evaluators": pl.List(pl.String),  # a verdict is to be expected from these
        "verdicts": pl.List(VERDICT),
        "feedback": pl.List(FEEDBACK),
        "mirror_group": pl.String(),  # '' unless mirrored
        "mirror_role": pl.String(),  # '', primary, shadow
    }
)


@dataclass(frozen=True)
class Cohort:
    """One kind of request. Rates are probabilities; `harm` is added to the student's failure rate while harm lasts."""

    name: str
    share: float
    failure_rate: float
    harm: float = 0.0
    # routed to the student with this probability instead of the scenario's split
    split: float | None = None
    input_tokens: int = 900
    output_tokens: int = 250


@dataclass(frozen=True)
class Evaluator:
    """A judge; delays are medians of lognormal delays after the trace's start."""

    name: str
    version: str = "judge-3"
    student_version: str | None = None
    # times the cohort's failure rate
    severity: float = 1.0
    # share of the cohort's harm that this evaluator sees
    sensitivity: float = 1.0
    sampled: float = 1.0
    sampling_rule: str = "all"
    pass_delay_minutes: float = 3.0
    fail_delay_minutes: float = 3.0
    is_scored: bool = False
    # share of the student's failures that never get a verdict
    unscored_failures: float = 0.0


@dataclass(frozen=True)
class Feedback:
    """Something users do, more often when the answer was bad."""

    name: str
    rate_after_pass: float
    rate_after_failure: float
    delay_minutes: float = 20.0


@dataclass(frozen=True)
class Arm:
    """One side's model: prices, speed, and how often its calls go wrong."""

    route: str
    model: str
    usd_per_million_input: float
    usd_per_million_output: float
    ms_per_token: float
    prompt_version: str = "p-14"
    latency_sigma: float = 0.35
    # share of slow calls, and how much slower they are
    tail_share: float = 0.01
    tail_factor: float = 4.0
    retry_rate: float = 0.01
    timeout_rate: float = 0.002
    error_rate: float = 0.002


TEACHER = Arm("teacher", "teacher-70b", 3.0, 15.0, 14.0)
STUDENT = Arm("student", "student-8b-v1", 0.8, 4.0, 6.0)


@dataclass(frozen=True)
class Scenario:
    """A rollout with a known truth."""

    name: str
    cohorts: tuple[Cohort, ...]
    evaluators: tuple[Evaluator, ...] = (Evaluator("TaskCompletion"),)
    feedback: tuple[Feedback, ...] = ()
    teacher: Arm = TEACHER
    student: Arm = STUDENT
    service: str = "support-agent"
    environment: str = "production"
    days: float = 14.0
    # days with the teacher alone before day 0
    history_days: float = 0.0
    traces_per_day: float = 2_000.0
    split: float = 0.5
    sticky: bool = False
    traces_per_session: float = 1.0
    # correlation of failures within a session, on the latent normal scale
    session_correlation: float = 0.0
    # harm lasts from this day to that one, counted from day 0
    harm_from_day: float = 0.0
    harm_until_day: float = float("inf")
    # both arms: added to the failure rate from this day on
    harder_from_day: float = float("inf")
    harder_by: float = 0.0
    # shares of the student's traces that never arrive; of teacher traces that a student shadow mirrors
    lost_student_traces: float = 0.0
    mirrored: float = 0.0
    # 0: routing ignores the item; 1: long (and harder) prompts of a cohort never go to the student
    easy_routing: float = 0.0
    # failures per unit of log prompt length, relative to the cohort's rate
    length_effect: float = 0.0
    cost_sigma: float = 0.9
    start: datetime = field(default=START)
