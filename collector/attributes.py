"""
The vocabulary: which attribute key means what, in every dialect. Data only; `normalise.py` turns it into SQL.

To add a dialect, add its keys to `FIELDS` where they rank, its markers to `DIALECTS`, and a case to the tests. Never remove
a key: old spans are still sent, and stored ones are normalised again.

A key written `metadata{}.route` is the member `route` of the JSON object in attribute `metadata`; `usage{}.input` and the
like are what a usage document says once its shape is known (see `DOCUMENTS`).

Source: keys as read from released packages. docs/semantics.md, "From attributes to columns", says how they rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reading(StrEnum):
    """How a field's text is read before keys are ranked; what cannot be read counts as missing."""

    TEXT = "text"
    COUNT = "count"
    KIND = "kind"
    PROVIDER = "provider"
    ROUTE = "route"
    SHORT_NAME = "short_name"
    MONEY = "money"


@dataclass(frozen=True)
class Field:
    """
    Something a span can say.

    Args:
        keys: attribute keys, best first.
        zero_is_weak: a zero gives way to a positive value of a lower-ranked key.
    """

    keys: tuple[str, ...]
    reading: Reading = Reading.TEXT
    zero_is_weak: bool = False


_CONTAINERS = (
    "metadata.{}",
    "metadata{{}}.{}",
    "traceloop.association.properties.{}",
    "langfuse.observation.metadata.{}",
    "langfuse.observation.metadata{{}}.{}",
    "langfuse.trace.metadata.{}",
    "langfuse.trace.metadata{{}}.{}",
    "ai.telemetry.metadata.{}",
    "ai.settings.context.{}",
    "trace.metadata.{}",
    "litellm.metadata.{}",
)


def _in_containers(*names: str) -> tuple[str, ...]:
    """The places where applications put a value of their own, best first."""
    return tuple(container.format(name) for container in _CONTAINERS for name in names)


COUNTS = {
    "input_tokens": Field(
        (
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.prompt_tokens",
            "llm.token_count.prompt",
            "usage{}.input",
            "ai.usage.inputTokens",
            "ai.usage.promptTokens",
            "ai.usage.tokens",
            "llm.usage.prompt_tokens",
            "decision.token_count.input",
            "usage.raw{}.input",
        ),
        Reading.COUNT,
    ),
    "output_tokens": Field(
        (
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.completion_tokens",
            "llm.token_count.completion",
            "usage{}.output",
            "ai.usage.outputTokens",
            "ai.usage.completionTokens",
            "llm.usage.completion_tokens",
            "decision.token_count.output",
            "usage.raw{}.output",
        ),
        Reading.COUNT,
    ),
    "total_tokens": Field(
        (
            "gen_ai.usage.total_tokens",
            "llm.token_count.total",
            "llm.usage.total_tokens",
            "ai.usage.totalTokens",
            "usage{}.total",
            "usage.raw{}.total",
        ),
        Reading.COUNT,
    ),
    "cache_read_tokens": Field(
        (
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "gen_ai.usage.cache_read_tokens",
            "gen_ai.usage.input_tokens.cache_read",
            "gen_ai.usage.input_tokens.cached",
            "gen_ai.usage.details.cache_read_tokens",
            "llm.token_count.prompt_details.cache_read",
            "ai.usage.inputTokenDetails.cacheReadTokens",
            "ai.usage.cachedInputTokens",
            "usage{}.cache_read",
            "gen_ai.usage.prompt_tokens_details.cached_tokens",
            "gen_ai.usage.prompt_tokens_details.cache_read",
            "usage.raw{}.cache_read",
            "llm.token_count.prompt_details.cache_input",
            "gen_ai.usage.input_tokens.cache_input",
        ),
        Reading.COUNT,
        zero_is_weak=True,
    ),
    "cache_write_tokens": Field(
        (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "gen_ai.usage.cache_write_tokens",
            "gen_ai.usage.input_tokens.cache_write",
            "gen_ai.usage.details.cache_write_tokens",
            "llm.token_count.prompt_details.cache_write",
            "ai.usage.inputTokenDetails.cacheWriteTokens",
            "usage{}.cache_write",
            "gen_ai.usage.prompt_tokens_details.cache_write",
            "usage.raw{}.cache_write",
            "provider{}.cache_write",
        ),
        Reading.COUNT,
        zero_is_weak=True,
    ),
    "reasoning_tokens": Field(
        (
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "gen_ai.usage.output_tokens.reasoning",
            "gen_ai.usage.details.reasoning_tokens",
            "gen_ai.usage.details.thoughts_tokens",
            "llm.token_count.completion_details.reasoning",
            "ai.usage.outputTokenDetails.reasoningTokens",
            "ai.usage.reasoningTokens",
            "llm.usage.reasoning_tokens",
            "usage{}.reasoning",
            "gen_ai.usage.completion_tokens_details.reasoning_tokens",
            "gen_ai.usage.completion_tokens_details.reasoning",
            "usage.raw{}.reasoning",
        ),
        Reading.COUNT,
        zero_is_weak=True,
    ),
    "audio_input_tokens": Field(
        (
            "gen_ai.usage.audio.input_tokens",
            "gen_ai.usage.input_tokens.audio",
            "gen_ai.usage.details.input_audio_tokens",
            "llm.token_count.prompt_details.audio",
            "usage{}.audio_input",
            "gen_ai.usage.prompt_tokens_details.audio_tokens",
        ),
        Reading.COUNT,
        zero_is_weak=True,
    ),
    "audio_output_tokens": Field(
        (
            "gen_ai.usage.audio.output_tokens",
            "gen_ai.usage.output_tokens.audio",
            "gen_ai.usage.details.output_audio_tokens",
            "llm.token_count.completion_details.audio",
            "usage{}.audio_output",
            "gen_ai.usage.completion_tokens_details.audio_tokens",
        ),
        Reading.COUNT,
        zero_is_weak=True,
    ),
}
"""Token counts. Two keys that disagree are a conflict: the better one counts, the others are kept in `metadata`."""

_ROUTE_NAMES = ("route", "model_route", "model.route")

TEXTS = {
    "model_route": Field(
        (
            "rollout.route",
            "model.route",
            "model_route",
            "llm.route",
            "gen_ai.route",
            "route",
            *_in_containers(*_ROUTE_NAMES),
            "litellm.routing.routed_model",
            "litellm.model_group",
        ),
        Reading.ROUTE,
    ),
    "cohort": Field(("rollout.cohort", "cohort", *_in_containers("cohort"))),
    "prompt_name": Field(
        (
            "gen_ai.prompt.name",
            "langfuse.observation.prompt.name",
            "traceloop.prompt.key",
            "prompt.id",
            "gen_ai.prompt.id",
            "gen_ai.prompt.template.label",
            "llm.prompt_template.label",
            *_in_containers("prompt_name"),
        )
    ),
    # holds the template's text as often as its name
    "prompt_template": Field(("gen_ai.prompt.template.name", "llm.prompt_template.name"), Reading.SHORT_NAME),
    "prompt_version": Field(
        (
            "rollout.prompt_version",
            "gen_ai.prompt.version",
            "langfuse.observation.prompt.version",
            "llm.prompt_template.version",
            "gen_ai.prompt.template.version",
            "traceloop.prompt.version",
            "traceloop.prompt.version_hash",
            "prompt.version",
            "prompt_version",
            *_in_containers("prompt_version"),
        )
    ),
    "kind": Field(
        (
            "langfuse.observation.type",
            "openinference.span.kind",
            "gen_ai.span.kind",
            "fi.span.kind",
            "gen_ai.operation.name",
            "traceloop.span.kind",
            "ai.operationId",
            "llm.request.type",
        ),
        Reading.KIND,
    ),
    "operation": Field(("gen_ai.operation.name", "ai.operationId")),
    "request_model": Field(
        (
            # beside it, LiteLLM writes the name of a model group to `gen_ai.request.model`
            "litellm.provider.model",
            "gen_ai.request.model",
            "llm.request.model_name",
            "ai.model.id",
            "langfuse.observation.model.name",
            "llm.request.model",
            "llm.model",
            "decision.request.model_name",
            # Pydantic AI, on the agent: `fallback:first,second`
            "model_name",
        )
    ),
    "model_group": Field(("gen_ai.request.model",)),
    "response_model": Field(
        (
            "gen_ai.response.model",
            "llm.response.model_name",
            "ai.response.model",
            "langfuse.observation.model.name",
            "llm.model_name",
            "embedding.model_name",
            "reranker.model_name",
            "decision.response.model_name",
            "llm.openai.model",
        )
    ),
    "parameters": Field(("llm.invocation_parameters", "gen_ai.request.parameters")),
    "provider": Field(
        (
            "gen_ai.provider.name",
            "gen_ai.system",
            "llm.provider",
            "llm.system",
            "ai.model.provider",
            "trace.metadata.openrouter.provider_slug",
        ),
        Reading.PROVIDER,
    ),
    "environment": Field(("langfuse.environment", "deployment.environment.name", "deployment.environment")),
    "session_id": Field(
        (
            "langfuse.session.id",
            "session.id",
            "gen_ai.conversation.id",
            "langfuse.trace.metadata.session_id",
            "traceloop.association.properties.session_id",
            "ai.telemetry.metadata.sessionId",
            "metadata.langfuse_session_id",
            "metadata.session_id",
            "metadata{}.session_id",
            "metadata.conversation_id",
            "metadata{}.conversation_id",
            "metadata.thread_id",
            "metadata{}.thread_id",
        )
    ),
    "user_id": Field(
        (
            "langfuse.user.id",
            "user.id",
            "enduser.id",
            "traceloop.association.properties.user_id",
            "gen_ai.user",
            "gen_ai.request.user",
            "llm.user",
            "litellm.end_user.id",
            "metadata.user_api_key_end_user_id",
            "ai.telemetry.metadata.userId",
            "metadata.user_id",
            "metadata{}.user_id",
        )
    ),
    "tags": Field(("tag.tags", "langfuse.trace.tags", "ai.telemetry.metadata.tags", "trace.metadata.tags")),
    "cost": Field(
        (
            "cost{}.total",
            "litellm.cost.total",
            "gen_ai.cost.total",
            "gen_ai.cost.total_cost",
            "gen_ai.usage.total_cost",
            "gen_ai.usage.cost",
            "operation.cost",
            "llm.cost.total",
            "x-litellm-response-cost",
            "x-agentcc-cost",
        ),
        Reading.MONEY,
    ),
    "first_token_seconds": Field(
        (
            "gen_ai.response.time_to_first_chunk",
            "gen_ai.client.operation.time_to_first_chunk",
            "gen_ai.latency.time_to_first_token",
        )
    ),
    "first_token_either": Field(("gen_ai.server.time_to_first_token",)),
    "first_token_ms": Field(("ai.response.msToFirstChunk", "ai.stream.msToFirstChunk")),
    "first_token_at": Field(("langfuse.observation.completion_start_time",)),
    "is_streaming": Field(
        (
            "gen_ai.request.stream",
            "gen_ai.is_streaming",
            "llm.is_streaming",
            "litellm.request.streaming",
            "gen_ai.request.is_stream",
            "agentcc.is_stream",
        )
    ),
    "level": Field(("langfuse.observation.level",)),
    "level_message": Field(("langfuse.observation.status_message",)),
    "error_type": Field(("error.type",)),
    "error_code": Field(("litellm.provider.error.code", "error.code")),
    "http_status": Field(("http.response.status_code", "http.status_code")),
    "finish_reasons": Field(
        (
            "gen_ai.response.finish_reasons",
            "gen_ai.response.finish_reason",
            "llm.finish_reason",
            "llm.response.finish_reason",
            "ai.response.finishReason",
            "gen_ai.response.stop_reason",
        )
    ),
    "tool_name": Field(("gen_ai.tool.name", "tool.name", "ai.toolCall.name")),
    "entity_name": Field(("traceloop.entity.name",)),
    "tool_call_id": Field(("gen_ai.tool.call.id", "ai.toolCall.id", "tool.id")),
    "response_id": Field(("gen_ai.response.id", "llm.response.id", "ai.response.id")),
    "call_group": Field(("litellm.call_id",)),
    "attempt_index": Field(("rollout.attempt.index", "pydantic_ai.model_request.attempt")),
    "attempt_kind": Field(("rollout.attempt.kind",)),
    "fallback_from": Field(("rollout.fallback.from",)),
    "mirror_role": Field(("rollout.mirror.role",)),
    "silent_experiment": Field(("metadata.is_silent_experiment", "metadata{}.is_silent_experiment")),
    "mirror_group": Field(
        (
            "rollout.mirror.group",
            *_in_containers("mirror_group"),
            *_in_containers("request_id"),
            *_in_containers("prompt_hash"),
            "agentcc.request_id",
            "x-request-id",
        )
    ),
    "evaluation_sampled": Field(("rollout.evaluation.sampled",)),
    "evaluation_rule": Field(("rollout.evaluation.rule",)),
    "output_messages": Field(("gen_ai.output.messages", "ai.response.toolCalls")),
}

FIELDS = COUNTS | TEXTS

COST_SOURCES = ("langfuse", "litellm", "gen_ai", "litellm", "gen_ai", "gen_ai", "operation", "openinference", "header", "header")
"""Who said the cost, in the order of `FIELDS["cost"].keys`."""

SERVICE_KEYS = ("service.name", "openinference.project.name", "project_name")
"""Resource attributes; `service.name` gives way when it is the SDK's `unknown_service`."""
RELEASE_KEYS = ("service.version", "langfuse.release", "project_version_name")
ENVIRONMENT_KEYS = ("langfuse.environment", "deployment.environment.name", "deployment.environment")

METADATA_PREFIXES = (
    "metadata.",
    "langfuse.observation.metadata.",
    "langfuse.trace.metadata.",
    "traceloop.association.properties.",
    "ai.telemetry.metadata.",
    "ai.settings.context.",
    "trace.metadata.",
    "litellm.metadata.",
)
"""Attributes whose remainder is a key of `metadata`; of two with one remainder the first prefix wins, then the flat key."""

MISSING = ("", "None", "null", "undefined", "NaN", "nan", "inf", "-inf", "Infinity", "-Infinity")
"""Texts that mean "not set", whoever wrote them."""
SCRUBBED = "[Scrubbed due to "
"""What Logfire leaves of a value it took for a secret starts so (`session` in the key is enough); it means "not set" too."""

MEMBERS = "{}."
"""Between the key of a document and the key of its member."""

USAGE_DOCUMENT = "langfuse.observation.usage_details"
COST_DOCUMENT = "langfuse.observation.cost_details"
RAW_USAGE_DOCUMENTS = ("gen_ai.usage.raw", "llm.openai.usage", "metadata.usage_object")
"""A provider's own usage object, as JSON or as Python literals."""
PROVIDER_DOCUMENT = "ai.response.providerMetadata"
METADATA_DOCUMENTS = ("metadata", "langfuse.observation.metadata", "langfuse.trace.metadata")
"""Attributes that hold a JSON object whose members become `<key>{}.<member>`."""

DOCUMENT_BYTES = 65_536
"""Longer JSON documents are kept as they are and not read."""
