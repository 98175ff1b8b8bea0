"""Simulated traffic of a rollout with a known truth: seeded, no I/O. The demo replays it; the tests judge the method by it."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
from scipy.special import ndtr

from spanwise.scenario import TRACES, Scenario
from spanwise.simulated_calls import Units, calls, judged, user_feedback

NS_PER_DAY = 86_400 * 10**9


def traces(scenario: Scenario, seed: int) -> pl.DataFrame:
    """
    All traces of a scenario, history first.

    Returns:
        `TRACES` schema, sorted by start. The same scenario and seed give the same frame.
    """
    rng = np.random.default_rng(seed)
    served = _arrivals(scenario, rng)
    served = served | _route(scenario, rng, served)
    served = served | _shadows(scenario, rng, served)
    frame = _frame(scenario, rng, served, f"{scenario.name}/{seed}")
    if scenario.lost_student_traces > 0:
        lost = served["is_student"] & (rng.random(len(frame)) < scenario.lost_student_traces)
        frame = frame.filter(pl.Series(~lost))
    return frame.sort("started_at", "trace_id")


def _arrivals(scenario: Scenario, rng: np.random.Generator) -> Units:
    """Sessions arrive by an hourly rhythm with quiet nights and weekends; traces of a session follow each other."""
    days = scenario.history_days + scenario.days
    n_hours = int(np.ceil(days * 24))
    hour = np.arange(n_hours)
    rhythm = (1.0 + 0.6 * np.sin((hour % 24 - 9) / 24 * 2 * np.pi)) * np.where((hour // 24) % 7 >= 5, 0.7, 1.0)
    expected = scenario.traces_per_day * days / scenario.traces_per_session
    per_hour = rng.poisson(expected * rhythm / rhythm.sum())
    first_ns = (np.repeat(hour, per_hour) + rng.random(per_hour.sum())) * 3600e9
    n_sessions = len(first_ns)
    sizes = rng.geometric(1.0 / scenario.traces_per_session, n_sessions)
    session = np.repeat(np.arange(n_sessions), sizes)
    within = np.arange(len(session)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    start_ns = (np.repeat(first_ns, sizes) + within * 90e9 + rng.random(len(session)) * 1e9).astype(np.int64)
    keep = start_ns < days * NS_PER_DAY
    shares = np.array([cohort.share for cohort in scenario.cohorts])
    cohort = rng.choice(len(shares), n_sessions, p=shares / shares.sum())[session]
    day = start_ns / NS_PER_DAY - scenario.history_days
    return {"start_ns": start_ns[keep], "session": session[keep], "cohort": cohort[keep], "day": day[keep]}


def _route(scenario: Scenario, rng: np.random.Generator, units: Units) -> Units:
    """Who answers, and which requests a shadow of the student answers too."""
    cohort, session, n = units["cohort"], units["session"], len(units["cohort"])
    split = np.array([scenario.split if c.split is None else c.split for c in scenario.cohorts])[cohort]
    length = rng.standard_normal(n)
    split = np.where(length > 0, split * (1 - scenario.easy_routing), np.minimum(1, split * (1 + scenario.easy_routing)))
    draw = rng.random(session.max(initial=0) + 1)[session] if scenario.sticky else rng.random(n)
    live = units["day"] >= 0
    is_student = live & (draw < split)
    is_mirrored = live & ~is_student & (rng.random(n) < scenario.mirrored)
    return {"is_student": is_student, "length": length, "is_mirrored": is_mirrored}


def _shadows(scenario: Scenario, rng: np.random.Generator, units: Units) -> Units:
    """Append the shadows, then draw latent badness: one number per unit and session, shared in part by a pair."""
    n = len(units["cohort"])
    twin = np.flatnonzero(units["is_mirrored"])
    both = {key: np.concatenate([values, values[twin]]) for key, values in units.items()}
    both["is_student"][n:] = True
    both["is_shadow"] = np.arange(n + len(twin)) >= n
    both["item"] = np.concatenate([np.arange(n), twin])
    rho = scenario.session_correlation
    by_session = rng.standard_normal(int(both["session"].max(initial=0)) + 1)[both["session"]]
    by_item = rng.standard_normal(n)[both["item"]]
    own = rng.standard_normal(n + len(twin))
    shared = np.sqrt(0.5) * by_item + np.sqrt(0.5) * own
    both["badness"] = ndtr(np.sqrt(rho) * by_session + np.sqrt(1 - rho) * shared)
    return both


def _frame(scenario: Scenario, rng: np.random.Generator, units: Units, salt: str) -> pl.DataFrame:
    is_student, is_shadow, n = units["is_student"], units["is_shadow"], len(units["cohort"])
    arms = (scenario.teacher, scenario.student)
    start_ns = int(scenario.start.timestamp()) * 10**9 + units["start_ns"] + np.where(is_shadow, 10**6, 0)
    verdicts, sampled, is_bad = judged(scenario, rng, units)
    ids = pl.Series([hashlib.md5(f"{salt}/{i}".encode(), usedforsecurity=False).hexdigest() for i in range(n)])
    group = pl.select(
        pl.when(pl.Series(is_shadow | units["is_mirrored"]))
        .then(pl.format("item-{}", pl.Series(units["item"])))
        .otherwise(pl.lit(""))
    )
    role = np.where(is_shadow, "shadow", np.where(units["is_mirrored"], "primary", ""))
    arm = is_student.astype(int)
    frame = pl.DataFrame(
        {
            "trace_id": ids,
            "started_at": pl.Series(start_ns).cast(pl.Datetime("ns", "UTC")),
            "service": np.broadcast_to(scenario.service, n),
            "environment": np.broadcast_to(scenario.environment, n),
            "session_id": pl.select(pl.format("s-{}", pl.Series(units["session"]))).to_series(),
            "user_id": pl.select(pl.format("u-{}", pl.Series(units["session"] % 997))).to_series(),
            "cohort": np.array([c.name for c in scenario.cohorts])[units["cohort"]],
            "route": np.array([a.route for a in arms])[arm],
            "model": np.array([a.model for a in arms])[arm],
            "prompt_name": np.broadcast_to("answer", n),
            "prompt_version": np.array([a.prompt_version for a in arms])[arm],
            "sampled_evaluators": sampled,
            "verdicts": verdicts,
            "feedback": user_feedback(scenario, rng, is_bad, is_shadow),
            "mirror_group": group.to_series(),
            "mirror_role": role,
        }
    )
    return frame.hstack(calls(scenario, rng, units)).select(TRACES.names()).cast(TRACES)
