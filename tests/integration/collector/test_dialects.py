"""Spans as released packages send them, dialect by dialect, through the real engine; expectations worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from storage.client import Store
from storage.migrations import migrate
from tests.support.segments import load_spans, make_span, read_spans, resource_spans

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Case:
    """One span and what some of its columns must be."""

    name: str
    attributes: dict[str, Any]
    expected: dict[str, Any]
    scope: str = ""
    resource: dict[str, Any] = field(default_factory=dict)
    span: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case(
        "genai: current names, cache inside input",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "teacher-70b",
            "gen_ai.response.model": "teacher-70b-2026-01-01",
            "gen_ai.response.id": "chatcmpl-1",
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.usage.input_tokens": 300,
            "gen_ai.usage.output_tokens": 50,
            "gen_ai.usage.cache_read.input_tokens": 40,
            "gen_ai.usage.cache_write.input_tokens": 10,
            "gen_ai.response.time_to_first_chunk": 0.25,
            "gen_ai.request.stream": True,
        },
        {
            "dialects": ["genai"],
            "kind": "llm",
            "operation": "chat",
            "provider": "openai",
            "request_model": "teacher-70b",
            "response_model": "teacher-70b-2026-01-01",
            "response_id": "chatcmpl-1",
            "finish_reasons": ["stop"],
            "input_tokens": 300,
            "output_tokens": 50,
            "total_tokens": 350,
            "cache_read_tokens": 40,
            "cache_write_tokens": 10,
            "reasoning_tokens": None,
            "token_quality": "derived_total",
            "ttft_ns": 250_000_000,
            "is_streaming": True,
            "status": "unset",
        },
        scope="opentelemetry.instrumentation.openai_v2",
    ),
    Case(
        "genai: names of 2025, cache creation",
        {
            "gen_ai.system": "az.ai.openai",
            "gen_ai.usage.prompt_tokens": 12,
            "gen_ai.usage.completion_tokens": 3,
            "gen_ai.usage.cache_creation.input_tokens": 5,
        },
        {"provider": "azure.ai.openai", "input_tokens": 12, "output_tokens": 3, "cache_write_tokens": 5},
    ),
    Case(
        "oi: OpenAI instrumentor writes the answering model, the request hides in the parameters",
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "teacher-70b-2026-01-01",
            "llm.provider": "OpenAI",
            "llm.invocation_parameters": '{"model": "teacher-70b", "stream": true}',
            "llm.token_count.prompt": 40,
            "llm.token_count.completion": 20,
            "llm.token_count.total": 60,
            "llm.cost.total": 0.0012,
            "session.id": "s1",
            "user.id": "u1",
            "metadata": '{"route": "teacher", "cohort": "vip", "plan": "gold"}',
            "tag.tags": ["a", "b"],
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "refund",
            "llm.output_messages.0.message.tool_calls.1.tool_call.function.name": "lookup",
        },
        {
            "dialects": ["oi"],
            "kind": "llm",
            "request_model": "teacher-70b",
            "response_model": "teacher-70b-2026-01-01",
            "provider": "openai",
            "input_tokens": 40,
            "output_tokens": 20,
            "total_tokens": 60,
            "token_quality": "reported",
            "reported_cost_usd": Decimal("0.0012"),
            "cost_source": "openinference",
            "model_route": "teacher",
            "cohort": "vip",
            "session_id": "s1",
            "user_id": "u1",
            "tags": ["a", "b"],
            "is_streaming": True,
            "metadata": {"route": "teacher", "cohort": "vip", "plan": "gold"},
            "tool_call_names": ["refund", "lookup"],
        },
        scope="openinference.instrumentation.openai",
        span={"events": {"First Token Stream Event": (0.5, {})}},
    ),
    Case(
        "oi: LiteLLM instrumentor writes the request with a prefix",
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "openai/teacher-70b",
            "llm.invocation_parameters": '{"model": "teacher-70b"}',
        },
        {"request_model": "teacher-70b", "response_model": ""},
        scope="openinference.instrumentation.litellm",
    ),
    Case(
        "oll: before 0.5",
        {
            "llm.request.type": "chat",
            "gen_ai.system": "OpenAI",
            "gen_ai.usage.prompt_tokens": 7,
            "gen_ai.usage.completion_tokens": 2,
            "llm.usage.total_tokens": 9,
            "gen_ai.usage.cache_read_input_tokens": 3,
            "llm.is_streaming": "False",
            "traceloop.association.properties.route": "student",
            "traceloop.association.properties.user_id": "u9",
            "traceloop.prompt.key": "greeting",
            "traceloop.prompt.version": 4,
            "gen_ai.completion.0.tool_calls.0.name": "search",
        },
        {
            "dialects": ["oll"],
            "kind": "llm",
            "provider": "openai",
            "input_tokens": 7,
            "output_tokens": 2,
            "total_tokens": 9,
            "cache_read_tokens": 3,
            "is_streaming": False,
            "model_route": "student",
            "user_id": "u9",
            "prompt_name": "greeting",
            "prompt_version": "4",
            "tool_call_names": ["search"],
            "metadata": {"route": "student", "user_id": "u9"},
        },
        scope="opentelemetry.instrumentation.openai.v1",
    ),
    Case(
        "pai: Logfire scrubbed the session; Pydantic AI lists a fallback chain on the agent",
        {
            "gen_ai.operation.name": "invoke_agent",
            "model_name": "fallback:student-8b,teacher-70b",
            "session.id": "[Scrubbed due to 'session']",
        },
        {"session_id": "", "request_model": "fallback:student-8b,teacher-70b", "kind": "agent"},
        scope="pydantic-ai",
    ),
    Case(
        "ll1: an asynchronous call",
        {"llm.request.type": "acompletion", "gen_ai.request.model": "student-8b", "litellm.call_id": "c1", "hidden_params": "{}"},
        {"kind": "llm", "request_model": "student-8b", "call_group": "c1"},
    ),
    Case(
        "ll2: a failed attempt of a model group; zeros are no counts",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "student",
            "gen_ai.usage.input_tokens": 0,
            "gen_ai.usage.output_tokens": 0,
            "gen_ai.usage.total_tokens": 0,
            "litellm.call_type": "acompletion",
            "litellm.cost.total": 0.0,
            "litellm.provider.model": "openai/student-8b",
            "error.type": "InternalServerError",
            "litellm.provider.error.code": "500",
        },
        {
            "model_route": "student",
            "request_model": "openai/student-8b",
            "input_tokens": None,
            "output_tokens": None,
            "total_tokens": None,
            "token_quality": "",
            "reported_cost_usd": None,
            "cost_source": "",
            "http_status": 500,
            "status": "error",
        },
        span={"code": 2},
    ),
    Case(
        "ll2: without a router the model's name is no route",
        {"gen_ai.request.model": "gpt-4o", "litellm.provider.model": "openai/gpt-4o", "litellm.call_type": "acompletion"},
        {"model_route": "", "request_model": "openai/gpt-4o"},
    ),
    Case(
        "ll2: the proxy answers with the group's name",
        {
            "gen_ai.request.model": "student",
            "gen_ai.response.model": "student",
            "litellm.provider.model": "openai/student-8b",
            "litellm.call_type": "acompletion",
        },
        {"model_route": "student", "request_model": "openai/student-8b", "response_model": ""},
    ),
    Case(
        "fi0: a call that failed says only what was asked",
        {
            "fi.span.kind": "LLM",
            "llm.invocation_parameters": '{"model": "student-8b"}',
            "llm.input_messages.0.message.role": "user",
        },
        {"dialects": ["fi0"], "kind": "llm", "request_model": "student-8b", "status": "error", "input_tokens": None},
        scope="traceai_openai",
        span={"code": 2},
    ),
    Case(
        "oll: a tool span",
        {"traceloop.span.kind": "tool", "traceloop.entity.name": "search"},
        {"kind": "tool", "operation": "tool", "tool_name": "search", "dialects": ["oll"]},
    ),
    Case(
        "fi0: first generation",
        {
            "fi.span.kind": "LLM",
            "llm.model_name": "student-8b",
            "llm.token_count.prompt": 5,
            "llm.token_count.completion": 6,
            "llm.prompt_template.name": "You are {role}",
            "llm.prompt_template.label": "production",
        },
        {
            "dialects": ["fi0"],
            "kind": "llm",
            "response_model": "student-8b",
            "input_tokens": 5,
            "output_tokens": 6,
            "prompt_name": "production",
        },
        scope="traceai_openai",
    ),
    Case(
        "fi1: the same row from the second generation; the request's model hides in its parameters",
        {
            "gen_ai.span.kind": "LLM",
            "gen_ai.request.model": "teacher-70b-2026-01-01",
            "gen_ai.request.parameters": '{"model": "teacher-70b"}',
            "gen_ai.usage.input_tokens": 5,
            "gen_ai.usage.output_tokens": 6,
            "gen_ai.usage.input_tokens.cache_read": 2,
            "gen_ai.usage.output_tokens.reasoning": 1,
            "gen_ai.cost.total": 0.5,
            "gen_ai.server.time_to_first_token": 120.0,
        },
        {
            "dialects": ["fi1"],
            "kind": "llm",
            "request_model": "teacher-70b",
            "response_model": "teacher-70b-2026-01-01",
            "input_tokens": 5,
            "output_tokens": 6,
            "cache_read_tokens": 2,
            "reasoning_tokens": 1,
            "reported_cost_usd": Decimal("0.5"),
            "cost_source": "gen_ai",
            "ttft_ns": 120_000_000,
            "service_name": "my-project",
        },
        scope="traceai_openai",
        resource={"service.name": "unknown_service", "project_name": "my-project", "project_type": "observe"},
    ),
    Case(
        "fi1: Anthropic without cache counts cannot be repaired",
        {
            "gen_ai.span.kind": "LLM",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.usage.input_tokens": 5,
            "gen_ai.usage.output_tokens": 6,
            "gen_ai.usage.total_tokens": 11,
        },
        {"token_quality": "suspect_undercount", "input_tokens": 5},
        scope="traceai_anthropic",
    ),
    Case(
        "cc: gateway span in lower case, first token in seconds",
        {
            "agentcc.request_id": "r1",
            "gen_ai.span.kind": "llm",
            "gen_ai.server.time_to_first_token": 0.3,
            "agentcc.is_stream": True,
        },
        {"dialects": ["fi1", "cc"], "kind": "llm", "ttft_ns": 300_000_000, "is_streaming": True, "mirror_group": "r1"},
        span={"name": "chat_completion"},
    ),
    Case(
        "lf: native usage has disjoint buckets",
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": "claude-x",
            "langfuse.session.id": "s7",
            "langfuse.observation.usage_details": '{"input": 100, "input_cached_tokens": 30, "cache_creation_input_tokens": 20, "output": 50, "output_reasoning_tokens": 8, "total": 208}',
            "langfuse.observation.cost_details": '{"input": 0.1, "output": 0.25}',
            "langfuse.observation.metadata.route": '"student"',
            "langfuse.trace.tags": ["cohort:vip"],
            "langfuse.observation.prompt.version": 3,
            "langfuse.environment": "prod",
            "langfuse.observation.completion_start_time": '"2025-11-21T04:40:00.500000Z"',
        },
        {
            "dialects": ["lf"],
            "kind": "llm",
            "request_model": "claude-x",
            "response_model": "claude-x",
            "input_tokens": 150,
            "output_tokens": 58,
            "total_tokens": 208,
            "cache_read_tokens": 30,
            "cache_write_tokens": 20,
            "reasoning_tokens": 8,
            "reported_cost_usd": Decimal("0.35"),
            "cost_source": "langfuse",
            "model_route": "student",
            "cohort": "vip",
            "session_id": "s7",
            "prompt_version": "3",
            "environment": "prod",
            "ttft_ns": 500_000_000,
            "metadata": {"route": "student"},
        },
        scope="langfuse-sdk",
    ),
    Case(
        "lf: usage in OpenAI's chat shape",
        {
            "langfuse.observation.usage_details": '{"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, '
            '"prompt_tokens_details": {"cached_tokens": 6}, "completion_tokens_details": {"reasoning_tokens": 2}}'
        },
        {
            "input_tokens": 10,
            "output_tokens": 4,
            "total_tokens": 14,
            "cache_read_tokens": 6,
            "reasoning_tokens": 2,
            "token_quality": "reported",
        },
    ),
    Case(
        "lf: usage in OpenAI's responses shape",
        {
            "langfuse.observation.usage_details": '{"input_tokens": 10, "output_tokens": 4, "total_tokens": 14, '
            '"input_tokens_details": {"cached_tokens": 6}, "output_tokens_details": {"reasoning_tokens": 2}}'
        },
        {"input_tokens": 10, "output_tokens": 4, "total_tokens": 14, "cache_read_tokens": 6, "reasoning_tokens": 2},
    ),
    Case(
        "lf: usage in Anthropic's shape is exclusive",
        {
            "langfuse.observation.usage_details": '{"input_tokens": 10, "output_tokens": 4, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 5}'
        },
        {"input_tokens": 105, "output_tokens": 4, "cache_read_tokens": 90, "cache_write_tokens": 5, "total_tokens": 109},
    ),
    Case(
        "lf: an embedding has input alone",
        {"langfuse.observation.type": "embedding", "langfuse.observation.usage_details": '{"input": 9}'},
        {"kind": "embedding", "input_tokens": 9, "output_tokens": None, "total_tokens": 9},
    ),
    Case(
        "lf: an error is said by the level",
        {"langfuse.observation.level": "ERROR", "langfuse.observation.status_message": "Request timed out."},
        {"status": "timeout", "status_message": "Request timed out."},
    ),
    Case(
        "ll1: callback on the application's span, empty strings, list as text, no price",
        {
            "litellm.call_id": "c1",
            "hidden_params": "{}",
            "gen_ai.system": "openai",
            "gen_ai.request.model": "student-8b",
            "gen_ai.response.finish_reasons": "['stop']",
            "gen_ai.usage.input_tokens": 6,
            "gen_ai.usage.output_tokens": 2,
            "gen_ai.cost.total_cost": 0.0,
            "llm.is_streaming": "True",
            "llm.user": "",
            "litellm.model_group": "student",
            "metadata.user_api_key_request_route": "/chat/completions",
            "metadata.is_silent_experiment": "True",
            "litellm.request.route": "/chat/completions",
            "error.type": "InternalServerError",
        },
        {
            "dialects": ["ll1"],
            "call_group": "c1",
            "finish_reasons": ["stop"],
            "is_streaming": True,
            "user_id": "",
            "model_route": "student",
            "cost_source": "zero_unpriced",
            "reported_cost_usd": Decimal(0),
            "status": "ok",
            "error_type": "InternalServerError",
            "mirror_role": "shadow",
            "metadata": {"user_api_key_request_route": "/chat/completions", "is_silent_experiment": "True"},
        },
        span={"name": "app", "code": 1},
    ),
    Case(
        "ll1: raw child with usage as Python literals",
        {
            "llm.openai.model": "student-8b-0101",
            "llm.openai.usage": "{'prompt_tokens': 40, 'completion_tokens': 20, 'total_tokens': 60, "
            "'prompt_tokens_details': None, 'service_tier': None}",
        },
        {"kind": "llm", "response_model": "student-8b-0101", "input_tokens": 40, "output_tokens": 20, "total_tokens": 60},
        span={"name": "raw_gen_ai_request"},
    ),
    Case(
        "ll2: cost and route of the auto-router",
        {
            "litellm.call_type": "acompletion",
            "litellm.cost.total": 0.002,
            "litellm.routing.routed_model": "student-8b",
            "litellm.model_group": "auto",
            "gen_ai.operation.name": "litellm.moderation",
            "litellm.request.streaming": False,
        },
        {
            "dialects": ["ll2"],
            "reported_cost_usd": Decimal("0.002"),
            "cost_source": "litellm",
            "model_route": "student-8b",
            "operation": "litellm.moderation",
            "is_streaming": False,
        },
        scope="litellm",
    ),
    Case(
        "ai: outer span",
        {
            "ai.operationId": "ai.streamText",
            "ai.model.id": "gpt-x",
            "ai.model.provider": "openai.chat",
            "ai.usage.inputTokens": 6,
            "ai.usage.outputTokens": 20,
            "ai.telemetry.metadata.route": "student",
            "ai.telemetry.metadata.sessionId": "s3",
        },
        {
            "dialects": ["ai"],
            "kind": "chain",
            "operation": "ai.streamText",
            "provider": "openai",
            "input_tokens": 6,
            "output_tokens": 20,
            "model_route": "student",
            "session_id": "s3",
            "metadata": {"route": "student", "sessionId": "s3"},
        },
        scope="ai",
    ),
    Case(
        "ai: inner span, milliseconds, tool calls, NaN",
        {
            "ai.operationId": "ai.streamText.doStream",
            "ai.response.msToFirstChunk": 250.5,
            "ai.response.finishReason": "tool-calls",
            "ai.response.toolCalls": '[{"toolCallId": "1", "toolName": "weather"}]',
            "ai.usage.tokens": float("nan"),
            "ai.response.providerMetadata": '{"anthropic": {"cacheCreationInputTokens": 11}}',
            "ai.usage.inputTokens": 20,
        },
        {
            "kind": "llm",
            "is_streaming": True,
            "ttft_ns": 250_500_000,
            "finish_reasons": ["tool-calls"],
            "tool_call_names": ["weather"],
            "input_tokens": 20,
            "cache_write_tokens": 11,
        },
        scope="ai",
    ),
    Case(
        "pai: the same counts twice agree",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "google",
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 5,
            "gen_ai.usage.cache_read.input_tokens": 4,
            "gen_ai.usage.details.cache_read_tokens": 4,
            "gen_ai.usage.details.thoughts_tokens": 3,
            "operation.cost": 0.25,
            "gen_ai.agent.call.id": "a",
            "pydantic_ai.decision.route": "not-a-route",
            "gen_ai.usage.total_tokens": 18,
            "gen_ai.aggregated_usage.input_tokens": 999,
            "logfire.msg": "chat",
        },
        {
            "dialects": ["genai", "pai"],
            "provider": "gcp.gen_ai",
            "input_tokens": 10,
            "output_tokens": 8,
            "total_tokens": 18,
            "cache_read_tokens": 4,
            "reasoning_tokens": 3,
            "cost_source": "operation",
            "model_route": "",
            "token_quality": "reported",
        },
        scope="pydantic-ai",
    ),
    Case(
        "pai: a failed try",
        {"pydantic_ai.model_request.attempt": 0, "gen_ai.operation.name": "chat"},
        {"kind": "attempt", "attempt_index": 0, "status": "error", "error_type": "ModelHTTPError"},
        scope="pydantic-ai",
        span={
            "name": "model request attempt student-8b",
            "code": 2,
            "events": {"exception": (1, {"exception.type": "ModelHTTPError"})},
        },
    ),
    Case(
        "olt: empty strings, details of the prompt",
        {
            "gen_ai.usage.cost": 0.01,
            "gen_ai.sdk.version": "",
            "gen_ai.usage.prompt_tokens_details.cache_read": 2,
            "gen_ai.usage.input_tokens": 4,
            "gen_ai.request.is_stream": False,
            "gen_ai.server.time_to_first_token": 0.5,
        },
        {"dialects": ["olt"], "cost_source": "gen_ai", "cache_read_tokens": 2, "is_streaming": False, "ttft_ns": 500_000_000},
        scope="openlit.otel.tracing",
    ),
    Case(
        "or: broadcast over JSON",
        {
            "gen_ai.provider.name": "openrouter",
            "trace.metadata.openrouter.provider_slug": "deepinfra",
            "gen_ai.usage.total_cost": 0.003,
            "trace.metadata.route": "student",
            "session.id": "s5",
            "gen_ai.usage.input_tokens": 1,
        },
        {"dialects": ["or"], "provider": "deepinfra", "model_route": "student", "cost_source": "gen_ai", "session_id": "s5"},
        scope="openrouter",
        span={"name": "LLM Generation"},
    ),
    Case(
        "or: an attempt",
        {},
        {"kind": "attempt", "dialects": ["or"]},
        scope="openrouter",
        span={"name": "provider attempt 2: deepinfra"},
    ),
    Case(
        "env: numeric error type",
        {"error.type": "429", "gen_ai.operation.name": "chat"},
        {"dialects": ["env"], "status": "error", "http_status": 429},
        scope="envoyproxy/ai-gateway",
        span={"code": 2},
    ),
]
TRAPS = [
    Case(
        "1: two vocabularies on one span count once",
        {"gen_ai.usage.input_tokens": 40, "llm.token_count.prompt": 40, "gen_ai.usage.output_tokens": 2, "llm.token_count.completion": 2},
        {"input_tokens": 40, "output_tokens": 2, "token_quality": "derived_total", "quality_flags": []},
    ),
    Case(
        "2: both names of cache writing are one field",
        {"gen_ai.usage.cache_write.input_tokens": 5, "gen_ai.usage.cache_creation.input_tokens": 5, "gen_ai.usage.input_tokens": 9},
        {"cache_write_tokens": 5, "input_tokens": 9, "quality_flags": []},
    ),
    Case(
        "a disagreement: the better key wins, the loser is kept",
        {"gen_ai.usage.input_tokens": 40, "llm.token_count.prompt": 41},
        {"input_tokens": 40, "token_quality": "conflict", "metadata": {"conflict.llm.token_count.prompt": "41"}, "quality_flags": ["token_conflict"]},
    ),
    Case(
        "a better-ranked zero beside a positive count is not believed for subsets",
        {"gen_ai.usage.input_tokens": 40, "gen_ai.usage.cache_read.input_tokens": 0, "gen_ai.usage.cache_read_input_tokens": 20},
        {"cache_read_tokens": 20, "token_quality": "conflict"},
    ),
    Case("a zero alone is a zero", {"gen_ai.usage.cache_read.input_tokens": 0}, {"cache_read_tokens": 0}),
    Case(
        "9: zero cost with tokens is no price",
        {"llm.cost.total": 0.0, "gen_ai.usage.input_tokens": 4},
        {"cost_source": "zero_unpriced", "reported_cost_usd": Decimal(0), "quality_flags": ["zero_unpriced"]},
    ),
    Case(
        "10: exclusive input is told by the total",
        {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5, "gen_ai.usage.total_tokens": 55, "gen_ai.usage.cache_read_input_tokens": 40},
        {"input_tokens": 50, "output_tokens": 5, "total_tokens": 55, "token_quality": "converted_exclusive"},
    ),
    Case(
        "10: exclusive input is told by more cache than input",
        {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.cache_read_input_tokens": 40},
        {"input_tokens": 50, "token_quality": "converted_exclusive"},
    ),
    Case(
        "10: cache, thought and gap the same: cannot tell",
        {"gen_ai.usage.input_tokens": 50, "gen_ai.usage.output_tokens": 50, "gen_ai.usage.total_tokens": 110,
         "gen_ai.usage.cache_read_input_tokens": 10, "gen_ai.usage.reasoning_tokens": 10},
        {"input_tokens": 50, "output_tokens": 50, "total_tokens": 110, "token_quality": "conflict"},
    ),
    Case(
        "a total no reading explains is kept as sent",
        {"gen_ai.usage.input_tokens": 50, "gen_ai.usage.output_tokens": 50, "gen_ai.usage.total_tokens": 117},
        {"total_tokens": 117, "input_tokens": 50, "output_tokens": 50, "token_quality": "reported"},
    ),
    Case(
        "counts as texts and doubles; what is no count is none",
        {"gen_ai.usage.input_tokens": "12", "gen_ai.usage.output_tokens": 12.0, "gen_ai.usage.cache_read.input_tokens": -1,
         "gen_ai.usage.cache_write.input_tokens": True, "gen_ai.usage.reasoning_tokens": 1.5, "gen_ai.usage.total_tokens": "None"},
        {"input_tokens": 12, "output_tokens": 12, "cache_read_tokens": None, "cache_write_tokens": None, "reasoning_tokens": None,
         "total_tokens": 24, "quality_flags": ["bad_count"]},
    ),
    Case("17: status unset stays unset", {}, {"status": "unset"}),
    Case(
        "18: what is not a model route",
        {"litellm.request.route": "/a", "pydantic_ai.decision.route": "b", "http.route": "/c", "route": "/d", "metadata.user_api_key_request_route": "/e"},
        {"model_route": ""},
    ),
    Case("our own keys come first", {"rollout.route": "student", "route": "x", "metadata": '{"route": "y"}', "litellm.model_group": "z"}, {"model_route": "student"}),
    Case("the flat key wins over the document", {"metadata.route": "a", "metadata": '{"route": "b"}'}, {"model_route": "a", "metadata": {"route": "a"}}),
    Case("a template's text is no name", {"gen_ai.prompt.template.name": "You are {role}.\nAnswer."}, {"prompt_name": ""}),
    Case("a short template name is one", {"gen_ai.prompt.template.name": "refund-v2"}, {"prompt_name": "refund-v2"}),
    Case("a framework gives way to the provider", {"gen_ai.provider.name": "langchain", "gen_ai.system": "Anthropic"}, {"provider": "anthropic"}),
    Case("a framework alone is kept", {"gen_ai.provider.name": "langchain"}, {"provider": "langchain"}),
    Case("first token later than the end is dropped", {"gen_ai.latency.time_to_first_token": 90.0}, {"ttft_ns": 90_000_000, "quality_flags": []}),
    Case("first token in no unit is dropped", {"gen_ai.latency.time_to_first_token": 9000.0}, {"ttft_ns": None, "quality_flags": ["first_token_dropped"]}),
    Case("a timeout by its type", {"error.type": "openai.APITimeoutError"}, {"status": "timeout"}, span={"code": 2}),
    Case("a timeout by its code", {"http.response.status_code": 504}, {"status": "timeout", "http_status": 504}, span={"code": 2}),
    Case("cancelled", {"error.type": "asyncio.CancelledError"}, {"status": "cancelled"}, span={"code": 2}),
    Case("an error type on a good span is no failure", {"error.type": "Timeout"}, {"status": "ok", "error_type": "Timeout"}, span={"code": 1}),
    Case("end before start", {}, {"duration_ns": 0, "quality_flags": ["end_before_start"]}, span={"seconds": -1}),
    Case("dropped attributes are said", {}, {"quality_flags": ["dropped_attributes"]}, span={"dropped_attributes_count": 3}),
    Case("a document that is none", {"metadata": "{broken"}, {"metadata": {}, "quality_flags": ["unread_document"]}),
    Case("a document without anything to read", {"metadata": "{}", "ai.response.providerMetadata": '{"openai": {}}'}, {"quality_flags": []}),
    Case("a stream that nobody reads any more", {"error.type": "GeneratorExit"}, {"status": "cancelled"}, span={"code": 2}),
    Case("a session in flat metadata", {"metadata.thread_id": "t-1", "metadata.user_id": "u-1"}, {"session_id": "t-1", "user_id": "u-1"}),
    Case("a service without a name", {}, {"service_name": "unknown_service"}, resource={"service.name": "unknown_service"}),
    Case(
        "evaluation is to be expected",
        {"rollout.evaluation.sampled": True, "rollout.evaluation.rule": "tenth", "rollout.attempt.index": 2, "rollout.attempt.kind": "retry",
         "rollout.fallback.from": "teacher", "rollout.mirror.role": "shadow", "rollout.mirror.group": "g"},
        {"evaluation_sampled": True, "evaluation_rule": "tenth", "attempt_index": 2, "attempt_kind": "retry", "fallback_from": "teacher",
         "mirror_role": "shadow", "mirror_group": "g"},
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def rows(
    engine_directory: Path, _engine_owner: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, Any]]]:
    """Every case in one segment, so that the long statement is read once; by the name of the case."""
    store = Store({"interface": "chdb", "path": str(engine_directory / "clickhouse")}, "test_dialects", owner=None)
    migrate(store)
    cases = [*CASES, *TRAPS]
    ids = {f"{n:016x}": case.name for n, case in enumerate(cases, start=1)}
    groups = [
        resource_spans(
            [make_span(case.attributes, **case.span, trace_id=bytes(15) + b"\x01", span_id=bytes.fromhex(span_id))],
            case.scope,
            case.resource,
        )
        for span_id, case in zip(ids, cases, strict=True)
    ]
    load_spans(store, tmp_path_factory.mktemp("segments"), groups)
    yield {ids[span_id]: row for span_id, row in read_spans(store).items()}
    store.command("DROP DATABASE test_dialects")
    store.close()


@pytest.mark.parametrize("case", [*CASES, *TRAPS], ids=lambda case: case.name)
def test_columns(case: Case, rows: dict[str, dict[str, Any]]) -> None:
    row = rows[case.name]
    found = {name: dict(row[name]) if name == "metadata" else row[name] for name in case.expected}
    assert found == case.expected
