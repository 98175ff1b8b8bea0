"""Settings of analytics: how traces are assembled, how verdicts are read, when jobs run."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

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


class AnalyticsConfig(BaseModel):
    """The analytics section of the settings tree."""

    model_config = _FROZEN

    assembly: AssemblyRules = Field(default_factory=AssemblyRules, description="how the spans of a trace become facts")
    evaluation: EvaluatorRules = Field(default_factory=EvaluatorRules, description="how evaluations become verdicts")
