"""Settled minutes straight from random numbers: many comparisons in little time, for what needs hundreds of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from alerts.method.blocks import Closing
from alerts.method.weights import Shares, deal
from alerts.rules import MINUTES_PER_DAY, Rules
from alerts.state import ComparisonState
from storage.settled import SETTLED

START = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp()) // 60


@dataclass(frozen=True)
class Stream:
    """One cohort's traffic: units a day, the candidate's share of them, and both arms' failure rates."""

    cohort: str
    per_day: float
    split: float = 0.5
    baseline_rate: float = 0.1
    candidate_rate: float = 0.1
    prompt_version: str = "p"


METRICS = (("eval_fail", "judge"), ("error", ""))


def settled_rows(streams: list[Stream], seed: int, days: int = 14) -> pl.DataFrame:
    """`SETTLED` rows: every unit is scored by every metric, at the same rates."""
    rng = np.random.default_rng(seed)
    parts = []
    for stream in streams:
        n = rng.poisson(stream.per_day * days)
        minute = np.sort(rng.integers(0, days * MINUTES_PER_DAY, n)) + START
        is_candidate = rng.random(n) < stream.split
        for metric, evaluator in METRICS:
            fails = rng.random(n) < np.where(is_candidate, stream.candidate_rate, stream.baseline_rate)
            units = pl.DataFrame(
                {
                    "minute": minute,
                    "n_candidate": is_candidate.astype(int),
                    "n_baseline": (~is_candidate).astype(int),
                    "fail_candidate": (is_candidate & fails).astype(int),
                    "fail_baseline": (~is_candidate & fails).astype(int),
                }
            )
            labels = {"metric": metric, "evaluator": evaluator, "cohort": stream.cohort, "prompt_version": stream.prompt_version}
            parts.append(units.group_by("minute").sum().with_columns(*[pl.lit(v).alias(k) for k, v in labels.items()]))
    return to_settled(pl.concat(parts))


def to_settled(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with minutes since 1970 and some columns, completed and sorted."""
    timed = rows.with_columns(pl.from_epoch(pl.col("minute") * 60, "s").dt.cast_time_unit("ms").dt.replace_time_zone("UTC"))
    whole = pl.concat([SETTLED.to_frame(), timed], how="diagonal_relaxed").select(list(SETTLED)).cast(SETTLED)
    strings = [name for name, kind in SETTLED.items() if kind == pl.String]
    numbers = [name for name, kind in SETTLED.items() if kind.is_numeric()]
    return whole.with_columns(pl.col(strings).fill_null(""), pl.col(numbers).fill_null(0)).sort("minute", *strings)


def rules_for(streams: list[Stream], *, effect_floor: float = 0.0) -> Rules:
    """Default rules, with alpha divided among these streams at once."""
    shares = Shares()
    dealt = deal(METRICS, sorted({stream.cohort for stream in streams}), frozenset(), shares)
    return Rules(
        day_zero=START,
        planned_days=14,
        odds_ratios=(1.15, 1.3, 1.5, 1.8, 2.25, 3.0, 4.5, 8.0),
        closing=Closing(),
        alpha=0.05,
        effect_floor=effect_floor,
        shares=shares,
        maturity_minutes={("eval_fail", "judge"): 60, ("error", ""): 5},
        phi={},
        default_phi=1.0,
        dealt=dealt,
        dealt_from=START,
    )


def advanced(rules: Rules, rows: pl.DataFrame, until: int) -> ComparisonState:
    """The state after all rows in one pass; everything before minute `until` is settled."""
    state = ComparisonState(rules)
    state.advance(rows, {60: until, 5: until})
    return state
