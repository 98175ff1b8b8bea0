"""
Scores: evaluations and feedback that people and programs post over HTTP, by trace, span, session or response id.

A score takes the way of everything else: validated, masked, kept in the spool, then written as evaluation rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Self

import polars as pl
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from collector.evaluations.posted import as_score
from collector.evaluations.shapes import finish, maps
from collector.intake import Intake
from collector.masking import Masker
from collector.records import Counts, Signal, SpoolRecord
from storage.evaluations import EVALUATION_RECORDS, AnnotatorKind, SourceForm, TargetScope

_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_INVALID = "invalid score"


def _lower_hex(n_digits: int) -> BeforeValidator:
    def check(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = value.lower()
        if len(text) != n_digits or not set(text) <= set("0123456789abcdef") or not text.strip("0"):
            raise ValueError(f"{value!r} is not {n_digits} hexadecimal digits, not all zero")
        return text

    return BeforeValidator(check)


def _annotator(value: Any) -> Any:
    return {"llm": "model"}.get(value.lower(), value.lower()) if isinstance(value, str) else value


class Score(BaseModel):
    """One judgement of a span, a trace, a session or a response."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=True)

    name: str = Field(min_length=1, max_length=200, description="evaluator or feedback kind, such as faithfulness or thumbs")
    trace_id: Annotated[str, _lower_hex(32)] | None = Field(
        default=None, validation_alias=AliasChoices("trace_id", "traceId"), description="trace judged, 32 hexadecimal digits"
    )
    span_id: Annotated[str, _lower_hex(16)] | None = Field(
        default=None,
        validation_alias=AliasChoices("span_id", "spanId", "observationId"),
        description="span judged, 16 hexadecimal digits; needs trace_id",
    )
    session_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        validation_alias=AliasChoices("session_id", "sessionId"),
        description="session judged",
    )
    response_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        validation_alias=AliasChoices("response_id", "responseId"),
        description="gen_ai.response.id of the call judged, when its span is not at hand",
    )
    dataset_run_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        validation_alias=AliasChoices("dataset_run_id", "datasetRunId"),
        description="experiment run judged as a whole; kept, but no trace's",
    )
    value: bool | float | str | None = Field(
        default=None, union_mode="smart", description="short for passed (boolean), score (number) or label (text)"
    )
    score: float | None = Field(default=None, description="a number, in the evaluator's own units")
    label: str | None = Field(default=None, max_length=500, description="a word, such as pass, fail, up or down")
    passed: bool | None = Field(default=None, description="explicit verdict; unset is unknown")
    explanation: str = Field(
        default="",
        max_length=65_536,
        validation_alias=AliasChoices("explanation", "comment"),
        description="why; or the correction",
    )
    annotator_kind: Annotated[AnnotatorKind, BeforeValidator(_annotator)] | None = Field(default=None, description="who judged")
    identifier: str = Field(
        default="",
        max_length=500,
        validation_alias=AliasChoices("identifier", "id"),
        description="the same identifier, target and name replace the earlier score",
    )
    evaluator_version: str = Field(default="", max_length=200, description="version of the evaluator")
    evaluator_error: str = Field(default="", max_length=2000, description="why the evaluator gave no verdict")
    sampling_rule: str = Field(default="", max_length=200, description="rule that chose this trace for judgement")
    evaluated_at: datetime | None = Field(
        default=None,
        validation_alias=AliasChoices("evaluated_at", "timestamp"),
        description="when it was judged; arrival when unset",
    )
    metadata: dict[str, Any] = Field(default_factory=dict, max_length=50, description="anything else, kept beside it")

    @field_validator("evaluated_at")
    @classmethod
    def _in_range(cls, moment: datetime | None) -> datetime | None:
        if moment is None:
            return None
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if not _EARLIEST <= moment < _LATEST:
            raise ValueError(f"{moment.isoformat()} is not between 1970 and 2200")
        return moment

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.trace_id or self.session_id or self.response_id or self.dataset_run_id):
            raise ValueError("name a target: trace_id (with span_id for one span), response_id or session_id")
        if self.span_id and not self.trace_id:
            raise ValueError("span_id needs trace_id")
        said = (self.value, self.score, self.label, self.passed)
        if all(part is None for part in said) and not self.explanation and not self.evaluator_error:
            raise ValueError("give a value, score, label, passed, explanation or evaluator_error")
        return self

    def document(self) -> dict[str, Any]:
        """As it is kept: `value` told apart, nothing that is unset."""
        whole = self.model_dump(mode="json", exclude={"value"}, exclude_none=True)
        if isinstance(self.value, bool):
            whole.setdefault("passed", self.value)
        elif isinstance(self.value, float):
            whole.setdefault("score", self.value)
        elif self.value is not None:
            whole.setdefault("label", self.value)
        return whole


@dataclass(frozen=True)
class RejectedScore:
    """Which of the scores was refused, by position, and what is wrong with which field."""

    index: int
    errors: tuple[str, ...]


@dataclass(frozen=True)
class ScoreReceipt:
    """What became of a batch of scores."""

    n_received: int
    n_accepted: int
    rejected: tuple[RejectedScore, ...]


def accept_scores(intake: Intake, scores: Sequence[Mapping[str, Any]], key_id: str) -> ScoreReceipt:
    """
    Keep what is valid; returns when it is durable.

    Raises:
        SpoolFullError, SpoolWriteError: nothing was kept; `retry_delay` says when to come back.
    """
    received_at_ns = intake.now_ns()
    documents, rejected = _validated(scores)
    kept = documents if intake.masker is None else [d for d in (_masked(intake.masker, d) for d in documents) if d is not None]
    masked_out = {"masking rule": len(documents) - len(kept)} if len(kept) < len(documents) else {}
    counts = Counts(len(scores), {_INVALID: len(rejected)} if rejected else {}, masked_out)
    if scores:
        payload = json.dumps({"received_at_ns": received_at_ns, "scores": kept}).encode() if kept else b""
        intake.keep(SpoolRecord(Signal.SCORES, key_id, received_at_ns, payload, counts))
    return ScoreReceipt(len(scores), len(documents), tuple(rejected))


def to_evaluations(documents: Sequence[bytes]) -> pl.DataFrame:
    """
    The rows of spooled scores.

    Args:
        documents: payloads as `accept_scores` spools them.

    Returns:
        `EVALUATION_RECORDS`, sorted.
    """
    rows = []
    for document in documents:
        batch = json.loads(document)
        rows += [{**score, "received_at_ns": batch["received_at_ns"]} for score in batch["scores"]]
    if not rows:
        return EVALUATION_RECORDS.to_frame()
    texts = (
        "name", "label", "explanation", "annotator_kind", "identifier", "evaluator_version", "evaluator_error", "sampling_rule",
        "evaluated_at", "trace_id", "span_id", "session_id", "response_id", "dataset_run_id",
    )  # fmt: skip
    frame = pl.DataFrame(
        {name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in texts}
        | {
            "score": pl.Series([row.get("score") for row in rows], dtype=pl.Float64),
            "passed": pl.Series([row.get("passed") for row in rows], dtype=pl.Boolean),
            "metadata": maps(row.get("metadata") for row in rows),
            "received_at": pl.Series([row["received_at_ns"] for row in rows], dtype=pl.Int64).cast(pl.Datetime("ns", "UTC")),
        }
    )
    run = pl.col("dataset_run_id")
    moment = pl.col("evaluated_at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ns", time_zone="UTC")
    return finish(
        frame.with_columns(
            evaluated_at=pl.coalesce(moment, "received_at"),
            target_trace_id="trace_id",
            target_span_id="span_id",
            target_session_id="session_id",
            target_response_id="response_id",
            target_scope=pl.when(run.is_not_null()).then(pl.lit(TargetScope.EXPERIMENT_ITEM.value)),
            identifier=pl.when(run.is_not_null()).then(run + "/" + pl.col("identifier").fill_null("")).otherwise("identifier"),
            source_form=pl.lit(SourceForm.API.value),
        )
    )


def _validated(scores: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[RejectedScore]]:
    documents: list[dict[str, Any]] = []
    rejected = []
    for index, score in enumerate(scores):
        try:
            documents.append(Score.model_validate(as_score(score) if isinstance(score, Mapping) else score).document())
        except ValidationError as error:
            rejected.append(RejectedScore(index, tuple(_sentence(detail) for detail in error.errors(include_url=False))))
    return documents, rejected


def _sentence(detail: Mapping[str, Any]) -> str:
    field = ".".join(str(part) for part in detail["loc"])
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{field}: {message}" if field else message


# Under which attribute key a span would have sent the same text: rules are written for those keys.
_KEYS = {
    "name": "gen_ai.evaluation.name",
    "label": "gen_ai.evaluation.score.label",
    "explanation": "gen_ai.evaluation.explanation",
    "identifier": "identifier",
    "evaluator_error": "error.type",
    "session_id": "session.id",
    "response_id": "gen_ai.response.id",
}


def _masked(masker: Masker, score: dict[str, Any]) -> dict[str, Any] | None:
    """The score as it may be stored, or None when a rule leaves it out."""
    masked = dict(score)
    for field, key in _KEYS.items():
        if field in score:
            text = masker.text(key, score[field])
            if text is None:
                return None
            masked[field] = text
    metadata = _masked_metadata(masker.text, score.get("metadata", {}))
    return None if metadata is None else {**masked, "metadata": metadata}


def _masked_metadata(mask: Callable[[str, str], str | None], metadata: Mapping[str, Any]) -> dict[str, str] | None:
    masked = {}
    for key, value in metadata.items():
        text = mask(key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        if text is None:
            return None
        if text:
            masked[key] = text
    return masked
