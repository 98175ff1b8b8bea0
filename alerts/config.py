"""Settings of the alerts room."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from analytics.metrics.catalogue import METRICS


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
    # kept with what is stored of a rollout; nobody sets it
    discovered: bool = Field(
        default=False, description="found in traffic, not declared by anyone", json_schema_extra={"is_setting": False}
    )

    @model_validator(mode="after")
    def _routes_differ(self) -> Self:
        if self.baseline == self.candidate:
            raise ValueError(f"rollout {self.name!r} compares route {self.baseline!r} with itself")
        return self


class ThresholdConfig(BaseModel):
    """A plain rule on one metric; no statistics, for what has a known limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="name of the rule, unique")
    metric: str = Field(description="metric of /api/v1/metrics, e.g. error_rate, latency, cost_per_trace")
    statistic: Literal["value", "p50", "p95", "p99"] = Field(
        default="value", description="which number of latency and time_to_first_token (ms); value: their median"
    )
    above: float | None = Field(default=None, description="breached above this, in the metric's unit (a rate is 0 to 1)")
    below: float | None = Field(default=None, description="breached below this, in the metric's unit")
    window_minutes: int = Field(default=15, ge=1, le=1440, description="trailing window that is evaluated (minutes)")
    for_minutes: int = Field(
        default=0, ge=0, le=1440, description="how long the condition must last before anyone is told (minutes)"
    )
    min_traces: int = Field(default=20, ge=0, description="a window with fewer traces is no data")
    no_data: Literal["ok", "keep", "alert"] = Field(
        default="keep", description="what a window without data means: not breached, as before, or breached"
    )
    service: str = Field(default="", description="service.name; empty: all services together")
    environment: str = Field(default="", description="deployment environment; empty: all")
    route: str = Field(default="", description="model route; empty: all")
    cohort: str = Field(default="", description="cohort; empty: all")
    evaluator: str = Field(default="", description="evaluator, for eval_fail_rate and eval_score; empty: all")
    group_by: tuple[Literal["route", "cohort", "model", "prompt_version", "evaluator"], ...] = Field(
        default=(), description="one alert for each value of these"
    )
    severity: Literal["critical", "warning", "info"] = Field(default="warning", description="label of the alert")

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError(f"threshold {self.name!r} needs either above or below")
        return self

    @model_validator(mode="after")
    def _metric_exists(self) -> Self:
        metric = METRICS.get(self.metric)
        if metric is None:
            raise ValueError(f"threshold {self.name!r}: no metric {self.metric!r}; there are {', '.join(sorted(METRICS))}")
        if self.statistic != "value" and f"{self.statistic}_ms" not in metric.columns:
            raise ValueError(f"threshold {self.name!r}: {self.metric} has no {self.statistic}")
        return self


class WebhookConfig(BaseModel):
    """An endpoint that takes the JSON of docs/alerting.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: SecretStr = Field(description="http or https URL; treated as a secret, many carry a token")
    secret: SecretStr | None = Field(default=None, description="key of the HMAC-SHA256 signature; unset: not signed")

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("webhook url must start with http:// or https://")
        return value


class DeliveryConfig(BaseModel):
    """Retries of a message that did not go out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_seconds: float = Field(default=10.0, gt=0, le=120, description="longest wait for one channel's answer (seconds)")
    backoff_seconds: float = Field(
        default=5.0, gt=0, description="wait after the first failure; doubles each time, with jitter (seconds)"
    )
    backoff_max_seconds: float = Field(default=600.0, gt=0, description="longest wait between two attempts (seconds)")
    deadline_hours: float = Field(default=24.0, gt=0, description="given up, visibly, after this long (hours)")
    claim_seconds: float = Field(
        default=120.0, gt=0, description="a message whose sender did not report back within this is sent again (seconds)"
    )

    @model_validator(mode="after")
    def _claims_outlive_timeouts(self) -> Self:
        if self.claim_seconds <= 2 * self.timeout_seconds:
            raise ValueError("claim_seconds must be more than twice timeout_seconds, or a slow channel is told twice")
        return self


class AlertsConfig(BaseModel):
    """The alerts room."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    public_url: str = Field(
        default="", description="address of the pages as readers of an alert reach it; empty: the API's own address"
    )
    alertmanager_urls: tuple[str, ...] = Field(
        default=(), description="Prometheus Alertmanagers, each is told (http://host:9093)"
    )
    alertmanager_refresh_seconds: float = Field(
        default=60.0, gt=0, description="open alerts are posted again this often (seconds)"
    )
    alertmanager_hold_hours: float = Field(
        default=4.0, gt=0, description="an Alertmanager that hears nothing for this long resolves the alert (hours)"
    )
    notify_urls: tuple[SecretStr, ...] = Field(
        default=(), description="Apprise URLs: slack://, pagerduty://, mailto:// and the rest"
    )
    webhooks: tuple[WebhookConfig, ...] = Field(default=(), description="endpoints for signed JSON")
    templates_directory: Path | None = Field(default=None, description="directory whose templates replace ours of the same name")
    reminder_hours: float = Field(default=4.0, gt=0, description="an alert nobody acknowledged is told again after this (hours)")
    update_minutes: float = Field(
        default=30.0, ge=0, description="streams that joined an incident are told together after this (minutes)"
    )
    delivery: DeliveryConfig = Field(default_factory=DeliveryConfig, description="retries of messages")
    threshold: tuple[ThresholdConfig, ...] = Field(default=(), description="plain threshold rules")
    failure_cost_usd: float | None = Field(
        default=None,
        ge=0,
        description="what one failed trace costs you (US dollars); set: pages weigh the saving against the harm",
    )
    method: MethodConfig = Field(default_factory=MethodConfig, description="thresholds of the divergence method")

    @field_validator("alertmanager_urls")
    @classmethod
    def _are_http(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"alertmanager url {url!r} must start with http:// or https://")
        return tuple(url.rstrip("/") for url in value)

    @field_validator("threshold")
    @classmethod
    def _names_differ(cls, value: tuple[ThresholdConfig, ...]) -> tuple[ThresholdConfig, ...]:
        names = [rule.name for rule in value]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"threshold names are used twice: {', '.join(repeated)}")
        return value
