"""Settings of the alerts room."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class MethodConfig(BaseModel):
    """Thresholds of the method; a rollout opened under other values is another comparison."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="chance that a rollout without harm ever pages, per comparison")
    effect_floor: float = Field(default=0.005, ge=0, lt=1, description="smallest difference of failure rates that pages (rate)")
    odds_ratios: tuple[float, ...] = Field(
        default=(1.15, 1.3, 1.5, 1.8, 2.25, 3.0, 4.5, 8.0),
        description="odds ratios that the evidence is averaged over, ascending, above 1",
    )
    block_min_units: int = Field(default=5, ge=1, description="a block closes once both arms have this many units")
    block_max_hours: int = Field(default=24, ge=1, description="a block closes at this age (hours)")
    quality_weight: float = Field(
        default=0.80, gt=0, lt=1, description="share of alpha for quality streams; operations get the rest"
    )
    global_weight: float = Field(
        default=0.25, gt=0, lt=1, description="share of a metric's weight for its stream over all cohorts"
    )
    high_value_weight: float = Field(
        default=0.35, gt=0, lt=1, description="share of a metric's weight for its high-value cohorts"
    )
    late_reserve: float = Field(
        default=0.05, gt=0, lt=1, description="share of alpha set aside for streams first seen after opening"
    )
    list_level: float = Field(
        default=0.05, gt=0, lt=1, description="false discovery rate of the list of further suspected streams"
    )
    interval_level: float = Field(default=0.05, gt=0, lt=0.5, description="level of any-time intervals")
    cost_interval_level: float = Field(default=0.02, gt=0, lt=0.5, description="level of the any-time interval of the cost ratio")
    cost_tau: float = Field(default=0.14, gt=0, description="prior scale of the logarithm of the cost ratio")
    cost_cap_medians: float = Field(default=25.0, gt=1, description="cap of a trace's cost, in medians of the baseline's cohort")
    guard_evidence: float = Field(default=1000.0, gt=1, description="evidence at which a guard is active")
    overlap_limit: float = Field(default=0.80, gt=0, le=1, description="share of candidate units that must meet baseline units")
    drift_days: float = Field(default=730.0, gt=1, description="mean time to a false drift alarm (days)")


class GateConfig(BaseModel):
    """Limits that a rollout must meet before it is promoted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_cost_ratio: float = Field(default=1.0, gt=0, description="candidate's cost over the baseline's at equal cohort mix")
    max_regression: float = Field(default=0.03, gt=0, lt=1, description="largest rise of a failure rate over all cohorts (rate)")
    max_high_value_regression: float = Field(default=0.01, gt=0, lt=1, description="the same in each high-value cohort (rate)")


class RolloutConfig(BaseModel):
    """Two routes of one service that are compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="name of the rollout, unique")
    service: str = Field(description="service.name of the traces")
    environment: str | None = Field(
        default=None, description="deployment environment; unset: the one with most candidate traffic"
    )
    baseline: str = Field(description="route of the teacher")
    candidate: str = Field(description="route of the student")
    baseline_model: str | None = Field(default=None, description="model of the baseline; unset: the newest one seen on the route")
    candidate_model: str | None = Field(
        default=None, description="model of the candidate; unset: the newest one seen on the route"
    )
    high_value_cohorts: tuple[str, ...] = Field(default=(), description="cohorts with the tighter limit and more of the alpha")
    gates: GateConfig = Field(default_factory=GateConfig, description="limits for promotion")
    split: float | None = Field(default=None, gt=0, lt=1, description="share of routed units sent to the candidate, if declared")
    sticky: bool = Field(default=False, description="routing is per session or user, not per trace")
    planned_days: int = Field(default=14, ge=2, le=90, description="planned length (days)")
    mode: Literal["rollout", "drift"] = Field(
        default="rollout",
        description="drift: the candidate is established; watch it for ever against a holdback or a frozen baseline",
    )
    discovered: bool = Field(default=False, description="found in traffic, not declared by anyone")

    @model_validator(mode="after")
    def _routes_differ(self) -> Self:
        if self.baseline == self.candidate:
            raise ValueError(f"rollout {self.name!r} compares route {self.baseline!r} with itself")
        return self
