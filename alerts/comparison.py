"""A comparison: one rollout under one pair of models and one set of settings, and what was frozen for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

import polars as pl
from pydantic import TypeAdapter

from alerts.config import MethodConfig, RolloutConfig
from alerts.findings import moment
from alerts.method.blocks import Closing
from alerts.method.settling import ARMS, COLLECTED, REFERENCES, first_bin_above
from alerts.method.weights import Shares, StreamKey, deal
from alerts.reference import Reference
from alerts.rules import MINUTES_PER_DAY, MetricKey, Rules, default_maturity


@dataclass(frozen=True)
class Comparison:
    """
    Everything that is fixed when a comparison opens, or once its reference is known. Minutes count from 1970.

    `day_zero` is the minute of the first candidate trace.
    """

    comparison_id: str
    rollout: RolloutConfig
    method: MethodConfig
    environment: str
    baseline_model: str
    candidate_model: str
    opened_at: datetime
    day_zero: int
    # (metric, evaluator, minutes)
    maturities: list[tuple[str, str, int]] = field(default_factory=list)
    # over-dispersion (metric, evaluator, phi), and of routing
    phi: list[tuple[str, str, float]] = field(default_factory=list)
    routing_phi: float | None = None
    # what is collected, so that its absence counts: (metric, evaluator, sampling rule, minute from which it does)
    collected: list[tuple[str, str, str, int]] = field(default_factory=list)
    # the declared split, from each minute on
    splits: list[tuple[int, float | None]] = field(default_factory=list)
    reference: Reference | None = None
    # the minute before which the reference was gathered
    referenced_from: int = 0
    # streams that alpha was divided among, and the minute from which that counts
    dealt: list[tuple[str, str, str, float]] = field(default_factory=list)
    dealt_from: int | None = None
    # drift without a holdback: (metric, evaluator, cohort, upper limit, rate), and from which minute on they are the baseline
    frozen_rates: list[tuple[str, str, str, float, float]] = field(default_factory=list)
    frozen_from: int = 0
    # the candidate's own weeks before this minute do not stand for the baseline: another level was accepted since
    own_weeks_from: int = 0
    # the comparison whose acknowledged drift alarm this one goes on after
    follows: str = ""

    def maturity(self, metric: str, evaluator: str = "") -> int:
        """Minutes after a trace's start at which a metric is read for it."""
        source = {"eval_missing": "eval_fail", "slow": "latency", "long_prompt": "input_tokens"}.get(metric, metric)
        fixed = {(known, judge): minutes for known, judge, minutes in self.maturities}
        return fixed.get((source, evaluator), fixed.get((source, ""), default_maturity(source)))

    def waits(self, metric: str) -> set[int]:
        """Every maturity that a metric has, whoever judges."""
        return {minutes for known, _, minutes in self.maturities if known == metric} | {self.maturity(metric)}

    def rules(self) -> Rules:
        """What the state depends on."""
        method = self.method
        keys = [(m, e) for m, e, _ in self.maturities]
        known: dict[MetricKey, int] = {key: self.maturity(*key) for key in keys}
        known |= {("eval_missing", e): self.maturity("eval_fail", e) for m, e in keys if m == "eval_fail"}
        for metric in ("retry", "fallback", "timeout", "error", "slow", "long_prompt", "cost"):
            known.setdefault((metric, ""), self.maturity(metric))
        for metric, evaluator, _, _ in self.collected:
            known.setdefault((metric, evaluator), self.maturity(metric, evaluator))
        return Rules(
            day_zero=self.day_zero,
            planned_days=self.rollout.planned_days,
            odds_ratios=method.odds_ratios,
            closing=Closing(method.block_min_units, method.block_max_hours * 60),
            alpha=method.alpha,
            effect_floor=method.effect_floor,
            shares=self._shares(),
            maturity_minutes=known,
            phi={(m, e): value for m, e, value in self.phi},
            default_phi=2.0 if self.rollout.sticky else 1.0,
            dealt={StreamKey(m, e, c): w for m, e, c, w in self.dealt},
            dealt_from=self.dealt_from,
            epochs=tuple(minute for minute, _ in self.splits[1:]),
            high_value=frozenset(self.rollout.high_value_cohorts),
            referenced_from=self.referenced_from,
            is_drift=self.rollout.mode == "drift",
            drift_days=method.drift_days,
            frozen_rates={StreamKey(m, e, c): (high, rate) for m, e, c, high, rate in self.frozen_rates},
            frozen_from=self.frozen_from,
        )

    def with_dealt(self, metrics: list[MetricKey], cohorts: list[str], from_minute: int) -> Comparison:
        """Divide alpha among the streams known now."""
        weights = deal(sorted(metrics), sorted(cohorts), frozenset(self.rollout.high_value_cohorts), self._shares())
        rows = [(key.metric, key.evaluator, key.cohort, weight) for key, weight in sorted(weights.items())]
        return replace(self, dealt=rows, dealt_from=from_minute)

    def with_split(self, split: float | None, minute: int) -> Comparison:
        """Note the declared split; a change starts a new epoch."""
        if self.splits and self.splits[-1][1] == split:
            return self
        return replace(self, splits=[*self.splits, (minute, split)])

    def _shares(self) -> Shares:
        method = self.method
        return Shares(method.quality_weight, method.global_weight, method.high_value_weight, method.late_reserve)

    @cached_property
    def arms(self) -> pl.DataFrame:
        """`ARMS`: which rollup rows are the baseline's and the candidate's."""
        rollout = self.rollout
        sides = [
            ("candidate", rollout.candidate, self.candidate_model, rollout.baseline, self.baseline_model),
            ("baseline", rollout.baseline, self.baseline_model, rollout.candidate, self.candidate_model),
        ]
        rows = [
            (self.comparison_id, rollout.service, self.environment, route, model, arm, other, other_model)
            for arm, route, model, other, other_model in sides
        ]
        return pl.DataFrame(rows, schema=ARMS, orient="row")

    @cached_property
    def references(self) -> pl.DataFrame:
        """`REFERENCES`: frozen caps and objectives as histogram bins; empty before the reference is frozen."""
        rows = []
        for cohort, row in (self.reference.cohorts if self.reference else {}).items():
            edges = (row.cost_cap_usd, row.latency_objective_s, row.prompt_median_tokens)
            cost, latency, tokens = (None if edge is None else first_bin_above(edge) for edge in edges)
            rows.append((self.comparison_id, cohort, cost, row.cost_cap_usd, latency, tokens))
        return pl.DataFrame(rows, schema=REFERENCES, orient="row")

    @cached_property
    def expectations(self) -> pl.DataFrame:
        """`COLLECTED`: feedback and verdicts that are known to come in."""
        return pl.DataFrame([(self.comparison_id, *row) for row in self.collected], schema=COLLECTED, orient="row")

    @property
    def first_day_ends(self) -> int:
        return self.day_zero + MINUTES_PER_DAY

    @property
    def day_zero_at(self) -> datetime:
        return moment(self.day_zero)


def settings_hash(rollout: RolloutConfig, method: MethodConfig) -> str:
    """Of every threshold: a changed one opens a new comparison. The split only starts a new epoch."""
    text = rollout.model_dump_json(exclude={"name", "split", "discovered", "baseline_model", "candidate_model"})
    return hashlib.sha256((text + method.model_dump_json()).encode()).hexdigest()[:16]


def comparison_id(
    rollout: RolloutConfig, method: MethodConfig, environment: str, baseline_model: str, candidate_model: str, day_zero: int
) -> str:
    """A stable name of a comparison."""
    parts = [rollout.name, environment, baseline_model, candidate_model, settings_hash(rollout, method), str(day_zero)]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:20]


_COMPARISON = TypeAdapter(Comparison)


def to_json(comparison: Comparison) -> str:
    return _COMPARISON.dump_json(comparison).decode()


def from_json(text: str) -> Comparison:
    return _COMPARISON.validate_json(text)
