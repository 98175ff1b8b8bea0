"""What analytics computes for each span and trace: shapes, readers and writers of its tables."""

from __future__ import annotations

import polars as pl

_TIME = pl.Datetime("ns", "UTC")
_MONEY = pl.Decimal(18, 9)
_LABELS = pl.List(pl.String)

ASSEMBLY_SPANS = pl.Schema(
    {
        "trace_id": pl.String,
        "span_id": pl.String,
        "parent_span_id": pl.String,
        "name": pl.String,
        "start_time": _TIME,
        "end_time": _TIME,
        "service_name": pl.String,
        "environment": pl.String,
        "kind": pl.String,
        "operation": pl.String,
        "model_route": pl.String,
        "cohort": pl.String,
        "resource_route": pl.String,
        "resource_cohort": pl.String,
        "request_model": pl.String,
        "response_model": pl.String,
        "provider": pl.String,
        "prompt_name": pl.String,
        "prompt_version": pl.String,
        "input_tokens": pl.UInt64,
        "output_tokens": pl.UInt64,
        "cache_read_tokens": pl.UInt64,
        "cache_write_tokens": pl.UInt64,
        "reasoning_tokens": pl.UInt64,
        "audio_input_tokens": pl.UInt64,
        "audio_output_tokens": pl.UInt64,
        "reported_cost_usd": _MONEY,
        "cost_source": pl.String,
        "ttft_ns": pl.UInt64,
        "status": pl.String,
        "error_type": pl.String,
        "http_status": pl.UInt16,
        "finish_reasons": _LABELS,
        "attempt_index": pl.UInt16,
        "attempt_kind": pl.String,
        "fallback_from": pl.String,
        "call_group": pl.String,
        "session_id": pl.String,
        "user_id": pl.String,
        "tags": _LABELS,
        "mirror_role": pl.String,
        "mirror_group": pl.String,
        "response_id": pl.String,
        "evaluation_sampled": pl.Boolean,
        "evaluation_rule": pl.String,
        "quality_flags": _LABELS,
        "has_exception": pl.Boolean,
        # what attributes and events say of retries and fallbacks (few spans have any)
        "hints": pl.List(pl.Struct({"key": pl.String, "value": pl.String})),
        # hash of the prompt, NULL when no content was sent
        "input_hash": pl.UInt64,
        "content_hash": pl.UInt32,
        "received_at": _TIME,
    }
)
"""Spans as the collector wrote them, as far as assembly and pricing need them; whole traces, copies of a span included."""

SPAN_FACTS = pl.Schema(
    {
        "trace_id": pl.String,
        "span_id": pl.String,
        "model_route": pl.String,
        "cohort": pl.String,
        "prompt_name": pl.String,
        "prompt_version": pl.String,
        "session_id": pl.String,
        "user_id": pl.String,
        "tags": _LABELS,
        "mirror_role": pl.String,
        "mirror_group": pl.String,
        "is_model_call": pl.Boolean,
        "usage_scope": pl.String,
        "logical_call_id": pl.String,
        "attempt_index": pl.UInt16,
        "attempt_kind": pl.String,
        "fallback_from": pl.String,
        "attempt_evidence": pl.String,
        "is_evaluator_traffic": pl.Boolean,
        "cost_usd": _MONEY,
        "cost_source": pl.String,
        "computed_cost_usd": _MONEY,
        "quality_flags": _LABELS,
    }
)
"""One row per span, beside `start_hour`, `computed_at` and `is_deleted`, which the writer adds."""

TRACE_FACTS = pl.Schema(
    {
        "trace_id": pl.String,
        "started_at": _TIME,
        "service_name": pl.String,
        "environment": pl.String,
        "model_route": pl.String,
        "model": pl.String,
        "models": _LABELS,
        "prompt_name": pl.String,
        "prompt_version": pl.String,
        "cohort": pl.String,
        "session_id": pl.String,
        "user_id": pl.String,
        "mirror_role": pl.String,
        "mirror_group": pl.String,
        "name": pl.String,
        "duration_ns": pl.UInt64,
        "ttft_ns": pl.UInt64,
        "n_spans": pl.UInt32,
        "n_model_calls": pl.UInt32,
        "n_logical_calls": pl.UInt32,
        "n_retried_calls": pl.UInt32,
        "n_fallback_calls": pl.UInt32,
        "n_timed_out_calls": pl.UInt32,
        "n_errored_calls": pl.UInt32,
        "retried": pl.Boolean,
        "fell_back": pl.Boolean,
        "fallback_to": pl.String,
        "timed_out": pl.Boolean,
        "errored": pl.Boolean,
        "error_type": pl.String,
        "input_tokens": pl.UInt64,
        "output_tokens": pl.UInt64,
        "cache_read_tokens": pl.UInt64,
        "cache_write_tokens": pl.UInt64,
        "reasoning_tokens": pl.UInt64,
        "cost_usd": _MONEY,
        "cost_source": pl.String,
        "reported_cost_usd": _MONEY,
        "computed_cost_usd": _MONEY,
        "evaluation_cost_usd": _MONEY,
        "unpriced_calls": pl.UInt32,
        "evaluation_sampled": pl.Boolean,
        "sampling_rule": pl.String,
        "quality_flags": _LABELS,
        "received_at": _TIME,
    }
)
"""One row per trace and mirror role. The table itself derives `aa`; the writer adds `computed_at` and `is_deleted`."""

EVALUATION_TARGETS = pl.Schema(
    {"evaluation_id": pl.String, "trace_id": pl.String, "span_id": pl.String, "resolved_by": pl.String}
)
"""Where an evaluation's target was found; unresolved evaluations have no row."""

TRACE_OUTCOMES = pl.Schema(
    {
        "trace_id": pl.String,
        "started_at": _TIME,
        "mirror_role": pl.String,
        "metric": pl.String,
        "evaluator": pl.String,
        "evaluator_version": pl.String,
        "sampling_rule": pl.String,
        "n_verdicts": pl.UInt32,
        "failed": pl.Boolean,
        "score": pl.Float64,
        "failed_matured": pl.Boolean,
        "score_matured": pl.Float64,
        "n_verdicts_matured": pl.UInt32,
    }
)
"""One row per trace, mirror role, evaluator or feedback kind."""
