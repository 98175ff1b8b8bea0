"""Settings of analytics: how traces are assembled, how verdicts are read, when jobs run."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class AssemblyRules(BaseModel):
    """How the spans of a trace become facts."""

    model_config = _FROZEN

    retry_gap_seconds: float = Field(
        60.0,
        gt=0,
        description="longest pause between a failed call and the sibling call that may be its retry or fallback, seconds",
    )
    shadow_routes: frozenset[str] = Field(
        frozenset(), description="routes whose traffic is mirrored and never served: their spans are shadow even if unmarked"
    )
    routes_by_model: dict[str, str] = Field(
        default_factory=dict,
        description="route of a model call that neither it nor an ancestor names, by requested or answering model",
    )


class Direction(StrEnum):
    """Which end of an evaluator's score is good."""

    HIGHER_IS_BETTER = "higher_is_better"
    LOWER_IS_BETTER = "lower_is_better"


class EvaluatorRule(BaseModel):
    """How one evaluator's score and labels are read."""

    model_config = _FROZEN

    direction: Direction | None = Field(None, description="which end of the score is good; without it a score gives no verdict")
    threshold: float | None = Field(
        None, description="score that just passes, in the evaluator's own unit; without it a score gives no verdict"
    )
    pass_labels: frozenset[str] | None = Field(None, description="labels that pass, instead of the default set; case is ignored")
    fail_labels: frozenset[str] | None = Field(None, description="labels that fail, instead of the default set; case is ignored")

    @model_validator(mode="after")
    def _threshold_needs_direction(self) -> Self:
        if (self.threshold is None) != (self.direction is None):
            raise ValueError("threshold and direction are given together or not at all")
        return self


class EvaluatorRules(BaseModel):
    """How evaluations become verdicts."""

    model_config = _FROZEN

    pass_labels: frozenset[str] = Field(
        frozenset({"pass", "passed", "true", "yes", "correct", "relevant", "grounded", "factual", "success", "approved", "safe"}),
        description="labels that pass; case is ignored",
    )
    fail_labels: frozenset[str] = Field(
        frozenset(
            {"fail", "failed", "false", "no", "incorrect", "irrelevant", "hallucinated", "ungrounded", "rejected", "unsafe"}
        ),
        description="labels that fail; case is ignored",
    )
    evaluators: dict[str, EvaluatorRule] = Field(
        default_factory=dict, description="how single evaluators are read, by name; case is ignored"
    )
    signed_feedback: frozenset[str] = Field(
        frozenset(), description="thumbs names whose score runs from -1 to 1, so that 0 is neutral instead of down"
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_MILLION = Field(None, ge=0, le=1_000_000, description="USD per million tokens of this class")


class PriceConfig(BaseModel):
    """
    What one model costs from a moment on: any sum of token rates, a fee per request, and a share of a GPU's time.

    A token class without a rate falls back to the class that contains it (cached and audio input to input, reasoning and audio
    output to output). All rates 0 means free. Rates absent and nothing else given is refused.
    """

    model_config = _FROZEN

    model: str = Field(min_length=1, description="model as requested or as answering; case is ignored")
    provider: str = Field("", description="provider this price is for; empty for any")
    aliases: frozenset[str] = Field(frozenset(), description="further names of the same model")
    effective_from: AwareDatetime = Field(_EPOCH, description="calls that started at or after this moment have this price")
    input_usd_per_mtok: Decimal | None = _PER_MILLION
    output_usd_per_mtok: Decimal | None = _PER_MILLION
    cache_read_usd_per_mtok: Decimal | None = _PER_MILLION
    cache_write_usd_per_mtok: Decimal | None = _PER_MILLION
    reasoning_usd_per_mtok: Decimal | None = _PER_MILLION
    audio_input_usd_per_mtok: Decimal | None = _PER_MILLION
    audio_output_usd_per_mtok: Decimal | None = _PER_MILLION
    request_usd: Decimal | None = Field(None, ge=0, le=1_000_000, description="USD per call")
    gpu_hour_usd: Decimal | None = Field(None, ge=0, le=1_000_000, description="USD per hour of the GPUs that serve one call")
    concurrent_requests: Decimal | None = Field(
        None,
        gt=0,
        description="calls that share those GPUs at a time; without it a call pays for all the time it keeps them busy",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.concurrent_requests is not None and self.gpu_hour_usd is None:
            raise ValueError("concurrent_requests needs gpu_hour_usd")
        rates = (self.input_usd_per_mtok, self.output_usd_per_mtok, self.request_usd, self.gpu_hour_usd)
        if all(rate is None for rate in rates):
            raise ValueError("a price needs a token rate, request_usd or gpu_hour_usd")
        return self

    @property
    def names(self) -> frozenset[str]:
        """Every name of the model, in lower case."""
        return frozenset(name.lower() for name in {self.model, *self.aliases})

    @property
    def price_id(self) -> str:
        """The same model, provider and moment is the same entry: putting it again replaces it."""
        text = "\0".join((self.model.lower(), self.provider.lower(), self.effective_from.astimezone(UTC).isoformat()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class JobRules(BaseModel):
    """How much a job takes on at a time, and how far back it looks again."""

    model_config = _FROZEN

    overlap_seconds: float = Field(
        60.0, ge=0, description="seconds before its watermark a job looks again: longer than an insert takes to become visible"
    )
    window_traces: int = Field(50_000, gt=0, description="touched traces, and touched evaluations, that are listed at a time")
    batch_spans: int = Field(60_000, gt=0, description="spans that are assembled at a time")
    batch_evaluations: int = Field(20_000, gt=0, description="evaluations whose traces are judged at a time")
    batch_units: int = Field(100_000, gt=0, description="traces that are rolled up at a time")
    retry_attempts: int = Field(3, ge=1, description="how often a run is tried before it waits for the next one")
    retry_seconds: float = Field(0.5, ge=0, description="pause before a run is tried again, seconds, doubled each time")


class MaturityRules(BaseModel):
    """How long after a trace's start each metric is read for it, where no history says better."""

    model_config = _FROZEN

    evaluators_seconds: int = Field(3_600, gt=0, description="evaluators' verdicts, seconds")
    thumbs_seconds: int = Field(6 * 3_600, gt=0, description="thumbs, seconds")
    feedback_seconds: int = Field(
        24 * 3_600, gt=0, description="escalations, corrections, abandonments, refunds and overturned reviews, seconds"
    )
    traces_seconds: int = Field(300, gt=0, description="what is known with the trace: flags, cost, latency, tokens, seconds")
    shortest_seconds: int = Field(600, gt=0, description="shortest maturity that history may give, seconds")
    longest_seconds: int = Field(72 * 3_600, gt=0, description="longest maturity that history may give, seconds")
    history_days: int = Field(14, gt=0, description="days of the baseline's verdicts that maturity is estimated from")
    least_verdicts: int = Field(100, gt=0, description="verdicts below which there is no history to estimate from")


class AnalyticsConfig(BaseModel):
    """The analytics section of the settings tree."""

    model_config = _FROZEN

    assembly: AssemblyRules = Field(default_factory=AssemblyRules, description="how the spans of a trace become facts")
    evaluation: EvaluatorRules = Field(default_factory=EvaluatorRules, description="how evaluations become verdicts")
    jobs: JobRules = Field(default_factory=JobRules, description="how much a job takes on at a time")
    maturity: MaturityRules = Field(default_factory=MaturityRules, description="how long a metric waits for late verdicts")
