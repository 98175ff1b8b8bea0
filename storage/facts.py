"""What analytics computes for each span and trace: shapes, readers and writers of its tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl
import polars.selectors as cs

from storage.client import Store
from storage.parameters import between
from storage.sql import load

_TIME = pl.Datetime("ns", "UTC")
_MONEY = pl.Decimal(18, 9)
_LABELS = pl.List(pl.String)

ASSEMBLY_SPANS = pl.Schema(
    {
        "trace_id": pl.String(),
        "span_id": pl.String(),
        "parent_span_id": pl.String(),
        "name": pl.String(),
        "start_time": _TIME,
        "end_time": _TIME,
        "service_name": pl.String(),
        "environment": pl.String(),
        "scope_name": pl.String(),
        "kind": pl.String(),
        "operation": pl.String(),
        "model_route": pl.String(),
        "cohort": pl.String(),
        "resource_route": pl.String(),
        "resource_cohort": pl.String(),
        "request_model": pl.String(),
        "response_model": pl.String(),
        "provider": pl.String(),
        "prompt_name": pl.String(),
        "prompt_version": pl.String(),
        "input_tokens": pl.UInt64(),
        "output_tokens": pl.UInt64(),
        "cache_read_tokens": pl.UInt64(),
        "cache_write_tokens": pl.UInt64(),
        "reasoning_tokens": pl.UInt64(),
        "audio_input_tokens": pl.UInt64(),
        "audio_output_tokens": pl.UInt64(),
        "reported_cost_usd": _MONEY,
        "cost_source": pl.String(),
        "ttft_ns": pl.UInt64(),
        "status": pl.String(),
        "error_type": pl.String(),
        "http_status": pl.UInt16(),
        "finish_reasons": _LABELS,
        "attempt_index": pl.UInt16(),
        "attempt_kind": pl.String(),
        "fallback_from": pl.String(),
        "call_group": pl.String(),
        "session_id": pl.String(),
        "user_id": pl.String(),
        "tags": _LABELS,
        "mirror_role": pl.String(),
        "mirror_group": pl.String(),
        "response_id": pl.String(),
        "evaluation_sampled": pl.Boolean(),
        "evaluation_rule": pl.String(),
        "quality_flags": _LABELS,
        "has_exception": pl.Boolean(),
        # what attributes and events say of retries and fallbacks (few spans have any)
        "hints": pl.List(pl.Struct({"key": pl.String(), "value": pl.String()})),
        # hash of the prompt, NULL when no content was sent
        "input_hash": pl.UInt64(),
        "content_hash": pl.UInt32(),
        "received_at": _TIME,
    }
)
"""Spans as the collector wrote them, as far as assembly and pricing need them; whole traces, copies of a span included."""

SPAN_FACTS = pl.Schema(
    {
        "trace_id": pl.String(),
        "span_id": pl.String(),
        "model_route": pl.String(),
        "cohort": pl.String(),
        "prompt_name": pl.String(),
        "prompt_version": pl.String(),
        "session_id": pl.String(),
        "user_id": pl.String(),
        "tags": _LABELS,
        "mirror_role": pl.String(),
        "mirror_group": pl.String(),
        "is_model_call": pl.Boolean(),
        "usage_scope": pl.String(),
        "logical_call_id": pl.String(),
        "attempt_index": pl.UInt16(),
        "attempt_kind": pl.String(),
        "fallback_from": pl.String(),
        "attempt_evidence": pl.String(),
        "is_evaluator_traffic": pl.Boolean(),
        "cost_usd": _MONEY,
        "cost_source": pl.String(),
        "computed_cost_usd": _MONEY,
        "quality_flags": _LABELS,
    }
)
"""One row per span, beside `start_hour`, `computed_at` and `is_deleted`, which the writer adds."""

TRACE_FACTS = pl.Schema(
    {
        "trace_id": pl.String(),
        "started_at": _TIME,
        "service_name": pl.String(),
        "environment": pl.String(),
        "model_route": pl.String(),
        "model": pl.String(),
        "models": _LABELS,
        "prompt_name": pl.String(),
        "prompt_version": pl.String(),
        "cohort": pl.String(),
        "session_id": pl.String(),
        "user_id": pl.String(),
        "mirror_role": pl.String(),
        "mirror_group": pl.String(),
        "name": pl.String(),
        "duration_ns": pl.UInt64(),
        "ttft_ns": pl.UInt64(),
        "n_spans": pl.UInt32(),
        "n_model_calls": pl.UInt32(),
        "n_logical_calls": pl.UInt32(),
        "n_retried_calls": pl.UInt32(),
        "n_fallback_calls": pl.UInt32(),
        "n_timed_out_calls": pl.UInt32(),
        "n_errored_calls": pl.UInt32(),
        "retried": pl.Boolean(),
        "fell_back": pl.Boolean(),
        "fallback_to": pl.String(),
        "timed_out": pl.Boolean(),
        "errored": pl.Boolean(),
        "error_type": pl.String(),
        "input_tokens": pl.UInt64(),
        "output_tokens": pl.UInt64(),
        "cache_read_tokens": pl.UInt64(),
        "cache_write_tokens": pl.UInt64(),
        "reasoning_tokens": pl.UInt64(),
        "cost_usd": _MONEY,
        "cost_source": pl.String(),
        "reported_cost_usd": _MONEY,
        "computed_cost_usd": _MONEY,
        "evaluation_cost_usd": _MONEY,
        "unpriced_calls": pl.UInt32(),
        "evaluation_sampled": pl.Boolean(),
        "sampling_rule": pl.String(),
        "quality_flags": _LABELS,
        "received_at": _TIME,
    }
)
"""One row per trace and mirror role. The table itself derives `aa`; the writer adds `computed_at` and `is_deleted`."""

EVALUATIONS = pl.Schema(
    {
        "evaluation_id": pl.String(),
        "target_trace_id": pl.String(),
        "target_span_id": pl.String(),
        "target_session_id": pl.String(),
        "target_response_id": pl.String(),
        "name": pl.String(),
        "score": pl.Float64(),
        "label": pl.String(),
        "passed": pl.Boolean(),
        "evaluator_error": pl.String(),
        "evaluator_version": pl.String(),
        "sampling_rule": pl.String(),
        # what the sender calls the type of its value, such as CORRECTION
        "data_type": pl.String(),
        "evaluated_at": _TIME,
        "received_at": _TIME,
    }
)
"""Evaluations as the collector wrote them, as far as verdicts need them."""

EVALUATION_TARGETS = pl.Schema(
    {"evaluation_id": pl.String(), "trace_id": pl.String(), "span_id": pl.String(), "resolved_by": pl.String()}
)
"""Where an evaluation's target was found; unresolved evaluations have no row."""

TRACE_OUTCOMES = pl.Schema(
    {
        "trace_id": pl.String(),
        "started_at": _TIME,
        "mirror_role": pl.String(),
        "metric": pl.String(),
        "evaluator": pl.String(),
        "evaluator_version": pl.String(),
        "sampling_rule": pl.String(),
        "n_verdicts": pl.UInt32(),
        "failed": pl.Boolean(),
        "score": pl.Float64(),
        "failed_matured": pl.Boolean(),
        "score_matured": pl.Float64(),
        "n_verdicts_matured": pl.UInt32(),
    }
)
"""One row per trace, mirror role, evaluator or feedback kind."""

_UNIT_KEY = ["trace_id", "mirror_role", "started_at"]
_OUTCOME_KEY = [*_UNIT_KEY, "metric", "evaluator", "evaluator_version", "sampling_rule"]
_SPAN_KEY = ["trace_id", "span_id", "start_hour"]


def write_span_facts(store: Store, facts: pl.DataFrame, spans: pl.DataFrame, computed_at: datetime) -> None:
    """
    Write one row per span, and take back those of copies that lost; the public view leaves these out.

    Args:
        facts: `SPAN_FACTS` and `start_time`; further columns are ignored.
        spans: `trace_id`, `span_id`, `start_time` of all copies that were read.
        computed_at: version; of two rows of a span the later counts.
    """
    hour = pl.col("start_time").dt.truncate("1h").dt.cast_time_unit("ms").alias("start_hour")
    rows = facts.select(hour, *SPAN_FACTS)
    if rows.height == spans.height:
        # no span has a copy
        _write(store, "span_facts", rows, rows[:0].select(_SPAN_KEY), computed_at)
        return
    # a copy that started in another hour may have left a row there
    lost = spans.select("trace_id", "span_id", hour).unique().join(rows, on=_SPAN_KEY, how="anti")
    _write(store, "span_facts", rows, lost, computed_at)
    _write_superseded(store, lost, rows.select(_SPAN_KEY).join(lost, on=["trace_id", "span_id"], how="semi"), computed_at)


def _write_superseded(store: Store, lost: pl.DataFrame, kept: pl.DataFrame, found_at: datetime) -> None:
    """Say which copies of some spans (`_SPAN_KEY`) do not count, and that the others do."""
    said = [
        lost.with_columns(is_deleted=pl.lit(0, pl.UInt8)),
        kept.select(lost.columns).with_columns(is_deleted=pl.lit(1, pl.UInt8)),
    ]
    store.insert("superseded_copies", pl.concat(said).with_columns(found_at=pl.lit(found_at).dt.cast_time_unit("ns")))


def write_trace_facts(store: Store, facts: pl.DataFrame, traces: pl.DataFrame, computed_at: datetime) -> None:
    """
    Write one row per trace and mirror role, and take back rows that these traces have elsewhere.

    Args:
        facts: `TRACE_FACTS`.
        traces: `trace_id`, `start_time` of all their spans, copies included: an older row lies in the hour of one of them,
            and between the first and the last of them all.
        computed_at: version; of two rows of a unit the later counts.
    """
    lost = _read_live(store, "read_live_trace_facts", traces).select(_UNIT_KEY).join(facts, on=_UNIT_KEY, how="anti")
    _write(store, "trace_facts", facts.select(list(TRACE_FACTS)), lost, computed_at)


def write_trace_outcomes(store: Store, outcomes: pl.DataFrame, traces: pl.DataFrame, computed_at: datetime) -> None:
    """
    Write all outcomes of some traces, and take back those that these traces no longer have.

    Args:
        outcomes: `TRACE_OUTCOMES`.
        traces: `trace_id`, `start_time` of the traces whose outcomes these are: every moment that an older row may lie at.
        computed_at: version; of two rows of an outcome the later counts.
    """
    lost = _read_live(store, "read_live_outcomes", traces).select(_OUTCOME_KEY).join(outcomes, on=_OUTCOME_KEY, how="anti")
    _write(store, "trace_outcomes", outcomes.select(list(TRACE_OUTCOMES)), lost, computed_at)


def write_evaluation_targets(store: Store, targets: pl.DataFrame, computed_at: datetime) -> None:
    """Write where evaluations belong (`EVALUATION_TARGETS`); a later answer for the same evaluation replaces an earlier one."""
    _write(
        store,
        "evaluation_targets",
        targets.select(list(EVALUATION_TARGETS)),
        targets.select("evaluation_id").clear(),
        computed_at,
    )


def _read_live(store: Store, query: str, traces: pl.DataFrame) -> pl.DataFrame:
    hours = traces.select(pl.col("start_time").dt.truncate("1h").dt.epoch("s").unique().sort())["start_time"].to_list()
    if not hours:
        hours = [0]
    ids: Sequence[str] = traces["trace_id"].unique().to_list()
    moments = traces["start_time"]
    frame = store.frame(load(query), {"hours": hours, "trace_ids": ids, **between(moments, moments)})
    return frame.with_columns(pl.col("started_at").cast(_TIME))


# The rows of one insert have different keys: there is nothing to look for among them.
_AS_THEY_ARE = {"optimize_on_insert": 0, "input_format_parallel_parsing": 0}
_IDS = ("trace_id", "span_id", "session_id", "user_id", "mirror_group", "logical_call_id", "evaluation_id")


def _write(store: Store, table: str, rows: pl.DataFrame, lost: pl.DataFrame, computed_at: datetime) -> None:
    """Insert rows as live and keys as deleted; what a deleted row does not say is empty."""
    version = pl.lit(computed_at).dt.cast_time_unit("ns").dt.convert_time_zone("UTC").alias("computed_at")
    # Names repeat: as numbers and a dictionary the store need not find that out row by row. One chunk has one dictionary.
    named = cs.string() - cs.by_name(*_IDS, require_all=False)
    live = rows.rechunk().with_columns(named.cast(pl.Categorical), version, is_deleted=pl.lit(0, dtype=pl.UInt8))
    store.insert(table, live, _AS_THEY_ARE)
    # A row that moved within its hour keeps its sorting key: the live row must outrank what takes the old one back.
    before = (version - pl.duration(microseconds=1, time_unit="ns")).alias("computed_at")
    store.insert(table, lost.with_columns(before, is_deleted=pl.lit(1, dtype=pl.UInt8)))
