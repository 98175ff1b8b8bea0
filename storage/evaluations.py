"""Evaluations as sent (`evaluation_records`, the collector's), and the public view that adds where their targets are."""

from __future__ import annotations

from enum import StrEnum

import polars as pl

from storage.client import Store

_TIME = pl.Datetime("ns", "UTC")

EVALUATION_RECORDS = pl.Schema(
    {
        "target_scope": pl.String(),
        "target_trace_id": pl.String(),
        "target_span_id": pl.String(),
        "target_session_id": pl.String(),
        "target_response_id": pl.String(),
        "name": pl.String(),
        "score": pl.Float64(),
        "label": pl.String(),
        "passed": pl.Boolean(),
        "explanation": pl.String(),
        "annotator_kind": pl.String(),
        "identifier": pl.String(),
        "evaluator_error": pl.String(),
        "evaluator_version": pl.String(),
        "sampling_rule": pl.String(),
        "source_dialect": pl.String(),
        "source_form": pl.String(),
        "metadata": pl.Map(pl.String, pl.String),
        "evaluated_at": _TIME,
        "received_at": _TIME,
    }
)
"""
What a writer sends. `score` and `passed` may be null, strings are '' when unknown. Exactly one target is named: trace and
span, trace, session or response. The table itself derives `evaluation_id`, `row_version` and `written_at`.
"""


_SETTINGS = {"insert_deduplicate": 1, "optimize_on_insert": 0, "deduplicate_blocks_in_dependent_materialized_views": 1}


class TargetScope(StrEnum):
    """What was judged. A response id names a span, so its scope is `SPAN`; `UNKNOWN` names nothing at all."""

    SPAN = "span"
    TRACE = "trace"
    SESSION = "session"
    EXPERIMENT_ITEM = "experiment_item"
    UNKNOWN = ""


class AnnotatorKind(StrEnum):
    """Who judged: a model, a program, a person reviewing, the end user."""

    HUMAN = "human"
    MODEL = "model"
    CODE = "code"
    USER = "user"
    UNKNOWN = "unknown"


class SourceForm(StrEnum):
    """How it arrived."""

    ATTRIBUTE = "attribute"
    SPAN_EVENT = "span_event"
    LOG_RECORD = "log_record"
    CARRIER_SPAN = "carrier_span"
    CHILD_SPAN = "child_span"
    API = "api"


def write_evaluations(store: Store, evaluations: pl.DataFrame, token: str) -> None:
    """
    Append evaluations; the same `token` again changes nothing.

    Args:
        evaluations: `EVALUATION_RECORDS`.
        token: names the batch, such as the spool segment it came from.
    """
    store.insert("evaluation_records", evaluations, _SETTINGS | {"insert_deduplication_token": token})


def insert_evaluations(store: Store, select: str, token: str) -> None:
    """The same for the rows of a SELECT with the columns of `EVALUATION_RECORDS`; they never leave the engine."""
    own = ", ".join(f"{name} = {value!r}" for name, value in {**_SETTINGS, "insert_deduplication_token": token}.items())
    store.command(f"INSERT INTO evaluation_records ({', '.join(EVALUATION_RECORDS.names())}) SETTINGS {own} {select}")
