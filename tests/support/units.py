"""Random traces as rollups see them, and a slow, obvious rollup in plain Python to hold the real one to."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from storage.units import OUTCOMES, UNITS

Row = dict[str, Any]
START = datetime(2028, 2, 29, 23, 50, tzinfo=UTC)
"""A leap day's last minutes: what is made from here on crosses into March."""


def make_unit(number: int = 1, **changes: Any) -> Row:
    """One unremarkable served trace."""
    row: Row = {
        "trace_id": f"{number:032x}",
        "started_at": START,
        "service_name": "support",
        "environment": "production",
        "model_route": "teacher",
        "model": "big",
        "cohort": "refunds",
        "prompt_version": "p-1",
        "mirror_role": "none",
        "mirror_group": "",
        "aa": number % 2,
        "duration_ns": 1_000_000_000,
        "ttft_ns": None,
        "n_logical_calls": 1,
        "n_retried_calls": 0,
        "n_fallback_calls": 0,
        "n_timed_out_calls": 0,
        "n_errored_calls": 0,
        "retried": False,
        "fell_back": False,
        "timed_out": False,
        "errored": False,
        "input_tokens": 100,
        "output_tokens": 10,
        "cost_usd": Decimal("0.001"),
        "evaluation_sampled": None,
        "sampling_rule": "",
    }
    return row | changes


def make_outcome(unit: Row, **changes: Any) -> Row:
    """One verdict on `unit`, passed and in time."""
    row: Row = {
        "trace_id": unit["trace_id"],
        "mirror_role": unit["mirror_role"],
        "metric": "eval_fail",
        "evaluator": "TaskCompletion",
        "evaluator_version": "1",
        "sampling_rule": "",
        "n_verdicts": 1,
        "failed": False,
        "score": None,
        "failed_matured": False,
        "score_matured": None,
        "n_verdicts_matured": 1,
    }
    return row | changes


def units_frame(rows: Iterable[Row]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict(UNITS))


def outcomes_frame(rows: Iterable[Row]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict(OUTCOMES))


def random_units(n: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Traces over twenty minutes with everything that happens: flags, unknowns, mirrors, verdicts early and late."""
    rng = random.Random(seed)
    units = [_random_unit(rng, number) for number in range(n)]
    outcomes = [outcome for unit in units for outcome in _random_outcomes(rng, unit)]
    return units, outcomes


def _random_unit(rng: random.Random, number: int) -> Row:
    retried, fell_back, timed_out, errored = (rng.random() < 0.1 for _ in range(4))
    role = rng.choice(["none"] * 8 + ["primary", "shadow"])
    sampled = rng.choice([None, None, True, False])
    return make_unit(
        number,
        started_at=START + timedelta(microseconds=rng.randrange(20 * 60 * 10**6)),
        service_name=rng.choice(["support", "search"]),
        environment=rng.choice(["production"] * 5 + ["experiment"]),
        model_route="student" if role == "shadow" else rng.choice(["teacher", "student"]),
        cohort=rng.choice(["refunds", "billing", ""]),
        prompt_version=rng.choice(["p-1", "p-2"]),
        mirror_role=role,
        mirror_group=f"g{rng.randrange(40)}" if role != "none" or rng.random() < 0.1 else "",
        duration_ns=rng.randrange(0, 20 * 10**9),
        ttft_ns=rng.choice([None, rng.randrange(1, 10**9)]),
        n_logical_calls=rng.randrange(4),
        n_retried_calls=int(retried),
        n_fallback_calls=int(fell_back),
        n_timed_out_calls=int(timed_out),
        n_errored_calls=int(errored),
        retried=retried,
        fell_back=fell_back,
        timed_out=timed_out,
        errored=errored,
        input_tokens=rng.choice([None, rng.randrange(5_000)]),
        output_tokens=rng.choice([None, rng.randrange(500)]),
        cost_usd=rng.choice([None, Decimal(rng.randrange(5 * 10**7)) / 10**9]),
        evaluation_sampled=sampled,
        sampling_rule=rng.choice(["", "tenth"]) if sampled else "",
    )


def _random_outcomes(rng: random.Random, unit: Row) -> Iterable[Row]:
    for evaluator, version in (("TaskCompletion", "1"), ("TaskCompletion", "2"), ("Groundedness", "")):
        if rng.random() < 0.4:
            failed, in_time, score = rng.choice([True, False, None]), rng.random() < 0.8, rng.choice([None, rng.random()])
            yield make_outcome(
                unit,
                evaluator=evaluator,
                evaluator_version=version,
                sampling_rule=rng.choice(["", "own"]),
                n_verdicts=1 + (not in_time),
                failed=failed,
                score=score,
                failed_matured=failed if in_time else None,
                score_matured=score if in_time else None,
                n_verdicts_matured=int(in_time),
            )
    if rng.random() < 0.1:
        down = rng.random() < 0.5
        yield make_outcome(unit, metric="thumbs_down", evaluator="", evaluator_version="", failed=down, failed_matured=down)


KEY = ("service_name", "environment", "model_route", "model", "cohort", "prompt_version", "aa")
_FLAGS = {
    "retry": ("retried", "n_retried_calls"),
    "fallback": ("fell_back", "n_fallback_calls"),
    "timeout": ("timed_out", "n_timed_out_calls"),
    "error": ("errored", "n_errored_calls"),
}


def is_mirrored(unit: Row) -> bool:
    return unit["mirror_role"] in ("primary", "shadow") or unit["environment"] == "experiment"


def slow_rollup(units: list[Row], outcomes: list[Row]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """
    Statistics by (minute, key, mirrored, metric, evaluator, version, rule), unit by unit; pairs are `slow_pairs`.

    Each value has the names of the rollup's columns that are not 0; `hist` maps bins to counts.
    """
    table: dict[tuple[Any, ...], dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    by_id = {(unit["trace_id"], unit["mirror_role"]): unit for unit in units}

    def row(unit: Row, metric: str, *verdict: str) -> dict[str, Any]:
        minute = unit["started_at"].replace(second=0, microsecond=0)
        where = (minute, *(unit[name] for name in KEY), int(is_mirrored(unit)), metric, *(verdict or ("", "", "")))
        return table[where]

    for unit in units:
        served = unit["mirror_role"] != "shadow"
        for metric, (flag, calls) in _FLAGS.items():
            if served:
                cell = row(unit, metric)
                cell["n_eligible_all"] += 1
                cell["n_fail_all"] += unit[flag]
                cell["n_value_all"] += unit["n_logical_calls"]
                cell["sum_value_all"] += unit[calls]
        for metric, column, scale in (
            ("cost", "cost_usd", 1),
            ("latency", "duration_ns", 10**9),
            ("ttft", "ttft_ns", 10**9),
            ("input_tokens", "input_tokens", 1),
            ("output_tokens", "output_tokens", 1),
        ):
            value = unit[column]
            if not served and metric != "cost":
                continue
            cell = row(unit, metric)
            cell["n_eligible_all"] += 1
            if value is not None:
                exact = Decimal(value) / scale
                cell["n_value_all"] += 1
                cell["sum_value_all"] += exact
                cell["sum_squares_all"] += exact * exact
                cell["values"] = [*(cell["values"] or []), float(exact)]
        if unit["evaluation_sampled"]:
            row(unit, "sampled", "", "", unit["sampling_rule"])["n_eligible_all"] += 1
    for outcome in outcomes:
        unit = by_id[outcome["trace_id"], outcome["mirror_role"]]
        evaluated = outcome["metric"] == "eval_fail"
        if unit["mirror_role"] == "shadow" and not evaluated:
            continue
        rule = outcome["sampling_rule"]
        if evaluated and unit["evaluation_sampled"] and unit["sampling_rule"]:
            rule = unit["sampling_rule"]
        cell = row(unit, outcome["metric"], outcome["evaluator"], outcome["evaluator_version"], rule)
        cell["n_late"] += outcome["n_verdicts"] - outcome["n_verdicts_matured"]
        for when, seen in (("all", True), ("matured", outcome["n_verdicts_matured"] > 0)):
            suffix = "" if when == "all" else "_matured"
            failed, score = outcome[f"failed{suffix}"], outcome[f"score{suffix}"]
            cell[f"n_eligible_{when}"] += seen
            cell[f"n_sampled_{when}"] += bool(seen and unit["evaluation_sampled"])
            cell[f"n_scored_{when}"] += failed is not None
            cell[f"n_fail_{when}"] += bool(failed)
            if score is not None:
                exact = Decimal(round(score * 10**9)) / 10**9
                cell[f"n_value_{when}"] += 1
                cell[f"sum_value_{when}"] += exact
                cell[f"sum_squares_{when}"] += exact * exact
    # Where nothing streams there is nothing to say about first tokens.
    return {where: cell for where, cell in table.items() if where[9] != "ttft" or cell["n_value_all"]}


def slow_pairs(units: list[Row], outcomes: list[Row]) -> dict[tuple[Any, ...], dict[str, int]]:
    """Cells by (minute, key of the own side, other route, other model, metric, evaluator, version), pair by pair."""
    verdicts: dict[tuple[str, str], dict[tuple[str, str, str], list[Any]]] = defaultdict(dict)
    for outcome in outcomes:
        if outcome["metric"] == "eval_fail":
            name = ("eval_fail", outcome["evaluator"], outcome["evaluator_version"])
            verdicts[outcome["trace_id"], outcome["mirror_role"]].setdefault(name, []).append(outcome["failed"])
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for unit in units:
        if is_mirrored(unit) and unit["mirror_group"]:
            groups[unit["service_name"], unit["environment"], unit["mirror_group"]].append(unit)
    table: dict[tuple[Any, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for members in groups.values():
        latest: dict[tuple[str, str], Row] = {}
        for unit in sorted(members, key=lambda u: (u["started_at"], u["trace_id"])):
            latest[unit["model_route"], unit["model"]] = unit
        for side, own in latest.items():
            for other_side, other in latest.items():
                opposed = own["mirror_role"] != other["mirror_role"] or own["environment"] == "experiment"
                if side == other_side or not opposed:
                    continue
                mine, theirs = _all_verdicts(own, verdicts), _all_verdicts(other, verdicts)
                for name in mine.keys() | theirs.keys():
                    minute = own["started_at"].replace(second=0, microsecond=0)
                    cell = table[(minute, *(own[k] for k in KEY), *other_side, *name)]
                    a, b = mine.get(name), theirs.get(name)
                    which = "n_incomplete" if a is None or b is None else f"n{int(b)}{int(a)}"
                    cell[which] += 1
    return table


def _all_verdicts(unit: Row, verdicts: Any) -> dict[tuple[str, str, str], bool | None]:
    said = {
        name: max((f for f in failed if f is not None), default=None)
        for name, failed in verdicts[unit["trace_id"], unit["mirror_role"]].items()
    }
    return said | {(metric, "", ""): unit[flag] for metric, (flag, _) in _FLAGS.items()}


def nearest_rank(values: list[float], q: float) -> float:
    return sorted(values)[max(1, math.ceil(q * len(values))) - 1]
