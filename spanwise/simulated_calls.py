"""What happens inside a simulated trace: attempts with their tokens, cost and time, verdicts, users' reactions."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spanwise.scenario import ATTEMPT, FEEDBACK, VERDICT, Evaluator, Scenario

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Units = dict[str, NDArray[Any]]


def failure_rates(scenario: Scenario, units: Units, evaluator: Evaluator) -> Floats:
    """The true failure probability of every unit under one evaluator."""
    base = np.array([c.failure_rate for c in scenario.cohorts])[units["cohort"]] * evaluator.severity
    harm = np.array([c.harm for c in scenario.cohorts])[units["cohort"]] * evaluator.sensitivity
    lasting = (units["day"] >= scenario.harm_from_day) & (units["day"] < scenario.harm_until_day)
    rate = base * np.clip(1 + scenario.length_effect * units["length"], 0, 3) + harm * (units["is_student"] & lasting)
    result: Floats = np.clip(rate + scenario.harder_by * (units["day"] >= scenario.harder_from_day), 0, 1)
    return result


def calls(scenario: Scenario, rng: np.random.Generator, units: Units) -> pl.DataFrame:
    """First attempt and what followed it: a retry on the same route, or the teacher as fallback of the student."""
    is_student, n = units["is_student"], len(units["cohort"])
    arms = (scenario.teacher, scenario.student)

    def of(name: str, student: Bools) -> Floats:
        values: Floats = np.where(student, getattr(arms[1], name), getattr(arms[0], name)).astype(np.float64)
        return values

    medians_in = np.array([c.input_tokens for c in scenario.cohorts])[units["cohort"]]
    medians_out = np.array([c.output_tokens for c in scenario.cohorts])[units["cohort"]]
    input_tokens = (medians_in * np.exp(0.4 * units["length"])).astype(np.int64) + 1
    output_tokens = (medians_out * np.exp(scenario.cost_sigma * rng.standard_normal(n))).astype(np.int64) + 1

    def call(student: Bools) -> tuple[Ints, Floats]:
        speed = of("ms_per_token", student) * np.exp(of("latency_sigma", student) * rng.standard_normal(n))
        slow = np.where(rng.random(n) < of("tail_share", student), of("tail_factor", student), 1.0)
        duration = (((250 + speed * output_tokens) * slow) * 1e6).astype(np.int64)
        cost = (input_tokens * of("usd_per_million_input", student) + output_tokens * of("usd_per_million_output", student)) / 1e6
        return duration, cost

    draw = rng.random(n)
    errored = draw < of("error_rate", is_student)
    timed_out = ~errored & (draw < of("error_rate", is_student) + of("timeout_rate", is_student))
    retried = (
        ~errored
        & ~timed_out
        & (draw < of("error_rate", is_student) + of("timeout_rate", is_student) + of("retry_rate", is_student))
    )
    fell_back = timed_out & is_student
    failed_first = errored | timed_out | retried
    first_ns, first_cost = call(is_student)
    first_ns = np.where(timed_out, 30 * 10**9, np.where(failed_first, 400 * 10**6, first_ns))
    second_student = is_student & ~fell_back
    second_ns, second_cost = call(second_student)
    second_ns = np.where(errored, 400 * 10**6, second_ns)
    routes, models = np.array([a.route for a in arms]), np.array([a.model for a in arms])

    def column(values: NDArray[Any], known: Bools) -> pl.Series:
        return pl.select(pl.when(pl.Series(known)).then(pl.Series(values))).to_series()

    def attempt(kind: Any, student: Bools, outcome: NDArray[Any], duration: Ints, cost: Floats) -> pl.Series:
        ok = outcome == "ok"
        columns = {
            "kind": pl.Series(np.broadcast_to(kind, n)),
            "route": pl.Series(routes[student.astype(int)]),
            "model": pl.Series(models[student.astype(int)]),
            "outcome": pl.Series(outcome),
            "duration_ns": pl.Series(duration),
            "input_tokens": column(input_tokens, ok),
            "output_tokens": column(output_tokens, ok),
            "cost_usd": pl.Series(np.where(ok, cost, 0.0)),
        }
        return pl.DataFrame(columns).to_struct().cast(ATTEMPT)

    first_outcome = np.where(timed_out, "timeout", np.where(failed_first, "error", "ok"))
    first = attempt("first", is_student, first_outcome, first_ns, first_cost)
    second_kind = np.where(fell_back, "fallback", "retry")
    second = attempt(second_kind, second_student, np.where(errored, "error", "ok"), second_ns, second_cost)
    has_second = pl.Series(failed_first)
    attempts = pl.select(pl.when(has_second).then(pl.concat_list(first, second)).otherwise(pl.concat_list(first))).to_series()
    cost = np.where(first_outcome == "ok", first_cost, 0.0) + np.where(failed_first & ~errored, second_cost, 0.0)
    duration = first_ns + np.where(failed_first, second_ns + 50 * 10**6, 0)
    return pl.DataFrame(
        {
            "duration_ns": duration,
            "ttft_ns": column((duration * 0.15).astype(np.int64), ~errored),
            "input_tokens": column(input_tokens, ~errored),
            "output_tokens": column(output_tokens, ~errored),
            "cost_usd": cost,
            "attempts": attempts,
            "retried": retried | errored | (timed_out & ~is_student),
            "fell_back": fell_back,
            "timed_out": timed_out,
            "errored": errored,
        }
    )


def judged(scenario: Scenario, rng: np.random.Generator, units: Units) -> tuple[pl.Series, pl.Series, Bools]:
    """Verdicts, the evaluators that were to give one, and whether the first evaluator would call the answer bad."""
    n, is_student = len(units["cohort"]), units["is_student"]
    is_bad = np.zeros(n, dtype=bool)
    verdicts, sampled = [], []
    for number, evaluator in enumerate(scenario.evaluators):
        own = np.mod(units["badness"] + (0.0 if number == 0 else 0.15 * rng.random(n)), 1.0)
        fails = own > 1 - failure_rates(scenario, units, evaluator)
        is_bad = fails if number == 0 else is_bad
        is_sampled = rng.random(n) < evaluator.sampled
        unscored = is_student & fails & (rng.random(n) < evaluator.unscored_failures)
        median = np.where(fails, evaluator.fail_delay_minutes, evaluator.pass_delay_minutes)
        delay_ns = (median * 60e9 * np.exp(0.5 * rng.standard_normal(n))).astype(np.int64)
        score = np.where(fails, 0.7 * rng.beta(4, 3, n), 0.7 + 0.3 * rng.beta(3, 2, n))
        version = np.where(is_student, evaluator.student_version or evaluator.version, evaluator.version)
        row = pl.DataFrame(
            {
                "evaluator": np.broadcast_to(evaluator.name, n),
                "evaluator_version": version,
                "sampling_rule": np.broadcast_to(evaluator.sampling_rule, n),
                "passed": ~fails,
                "score": score if evaluator.is_scored else pl.Series([None] * n, dtype=pl.Float64),
                "delay_ns": delay_ns,
            }
        )
        has_verdict = pl.Series(is_sampled & ~unscored)
        verdicts.append(pl.select(pl.when(has_verdict).then(row.to_struct().cast(VERDICT))).to_series())
        sampled.append(pl.select(pl.when(pl.Series(is_sampled)).then(pl.lit(evaluator.name))).to_series())
    return _listed(verdicts, VERDICT, n), _listed(sampled, pl.String(), n), is_bad


def user_feedback(scenario: Scenario, rng: np.random.Generator, is_bad: Bools, is_shadow: Bools) -> pl.Series:
    """Events by users; a shadow was never served, so nobody reacts to it."""
    n, events = len(is_bad), []
    for feedback in scenario.feedback:
        happens = ~is_shadow & (rng.random(n) < np.where(is_bad, feedback.rate_after_failure, feedback.rate_after_pass))
        delay_ns = (feedback.delay_minutes * 60e9 * np.exp(0.7 * rng.standard_normal(n))).astype(np.int64)
        row = pl.DataFrame({"name": np.broadcast_to(feedback.name, n), "delay_ns": delay_ns}).to_struct().cast(FEEDBACK)
        events.append(pl.select(pl.when(pl.Series(happens)).then(row)).to_series())
    return _listed(events, FEEDBACK, n)


def _listed(columns: list[pl.Series], inner: pl.DataType, n: int) -> pl.Series:
    if not columns:
        return pl.Series([[]] * n, dtype=pl.List(inner))
    return pl.select(pl.concat_list(columns).list.drop_nulls()).to_series()
