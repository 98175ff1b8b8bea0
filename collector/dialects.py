"""
How a dialect is recognised, and what the values it sends are called here. Data only, like `attributes.py`.

Source: scope names and values as read from released packages. docs/semantics.md, "From attributes to columns", says what for.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """
    A span speaks it when its scope's name starts with one of `scopes`, or is called one of `names`, or has every key of
    one of the groups in `markers`. A key that ends in `*` stands for every key with that prefix.
    """

    scopes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    markers: tuple[tuple[str, ...], ...] = ()


DIALECTS = {
    "genai": Dialect(
        scopes=(
            "opentelemetry.instrumentation.openai_v2",
            "opentelemetry.instrumentation.genai.",
            "opentelemetry.util.genai.handler",
        ),
        markers=(("gen_ai.operation.name", "gen_ai.provider.name"),),
    ),
    "oi": Dialect(scopes=("openinference.instrumentation.", "@arizeai/openinference-"), markers=(("openinference.span.kind",),)),
    "oll": Dialect(
        scopes=(
            "opentelemetry.instrumentation.openai.v1",
            "opentelemetry.instrumentation.anthropic",
            "opentelemetry.instrumentation.langchain",
            "traceloop.tracer",
        ),
        markers=(("traceloop.*",), ("llm.request.type",), ("gen_ai.is_streaming",)),
    ),
    # a call that failed has neither tokens nor the model that answered
    "fi0": Dialect(
        markers=(
            ("fi.span.kind", "llm.token_count.*"),
            ("fi.span.kind", "llm.model_name"),
            ("fi.span.kind", "llm.invocation_parameters"),
            ("fi.span.kind", "llm.input_messages.*"),
        )
    ),
    "fi1": Dialect(markers=(("gen_ai.span.kind",), ("fi.span.kind", "gen_ai.*"))),
    "cc": Dialect(names=("chat_completion",), markers=(("agentcc.request_id",),)),
    "lf": Dialect(scopes=("langfuse-sdk",), markers=(("langfuse.*",),)),
    "ll1": Dialect(markers=(("litellm.call_id", "hidden_params"), ("litellm.call_id", "metadata.user_api_key_*"))),
    "ll2": Dialect(markers=(("litellm.call_type",), ("litellm.cost.*",))),
    "ai": Dialect(markers=(("ai.operationId",), ("ai.model.id",), ("ai.usage.*",))),
    "pai": Dialect(scopes=("pydantic-ai", "logfire"), markers=(("pydantic_ai.*",), ("logfire.*",), ("gen_ai.agent.call.id",))),
    "olt": Dialect(scopes=("openlit.",), markers=(("gen_ai.usage.cost",), ("gen_ai.sdk.version",))),
    "or": Dialect(scopes=("openrouter",), markers=(("trace.metadata.openrouter.*",),)),
    "env": Dialect(scopes=("envoyproxy/ai-gateway",)),
}

KINDS = {
    "generation": "llm",
    "llm": "llm",
    "chat": "llm",
    "completion": "llm",
    "text_completion": "llm",
    "acompletion": "llm",
    "atext_completion": "llm",
    "generate_content": "llm",
    "decision": "llm",
    "ai.generatetext.dogenerate": "llm",
    "ai.streamtext.dostream": "llm",
    "ai.generateobject.dogenerate": "llm",
    "ai.streamobject.dostream": "llm",
    "embedding": "embedding",
    "embeddings": "embedding",
    "aembedding": "embedding",
    "ai.embed.doembed": "embedding",
    "ai.embedmany.doembed": "embedding",
    "ai.rerank.dorerank": "rerank",
    "rerank": "rerank",
    "reranker": "rerank",
    "arerank": "rerank",
    "agent": "agent",
    "invoke_agent": "agent",
    "create_agent": "agent",
    "agent_step": "agent",
    "chain": "chain",
    "workflow": "chain",
    "task": "chain",
    "conversation": "chain",
    "invoke_workflow": "chain",
    "plan": "chain",
    "ai.generatetext": "chain",
    "ai.streamtext": "chain",
    "ai.generateobject": "chain",
    "ai.streamobject": "chain",
    "ai.embed": "chain",
    "ai.embedmany": "chain",
    "ai.rerank": "chain",
    "tool": "tool",
    "execute_tool": "tool",
    "ai.toolcall": "tool",
    "retriever": "retriever",
    "retrieval": "retriever",
    "vector_db": "retriever",
    "guardrail": "guardrail",
    "evaluator": "evaluator",
    "prompt": "prompt",
}
"""Lower-case value of a kind key to kind. A value that is not here says nothing; the next key is asked."""

KIND_BY_NAME = (
    ("model request attempt ", "attempt"),
    ("provider attempt ", "attempt"),
    ("Received Proxy Server Request", "gateway"),
)
"""Starts of span names that decide the kind, whatever the attributes say."""

KIND_BY_NAME_ALONE = (("raw_gen_ai_request", "llm"), ("litellm_request", "llm"), ("agent_step", "agent"))
"""Starts of span names that decide the kind when no attribute does."""

_PROVIDER_SPELLINGS = {
    "openai": ("openai",),
    "azure.ai.openai": ("azure.ai.openai", "az.ai.openai", "azure.openai", "azure", "azure_openai", "azure-openai"),
    "azure.ai.inference": ("azure.ai.inference", "az.ai.inference"),
    "anthropic": ("anthropic",),
    "aws.bedrock": ("aws.bedrock", "bedrock", "aws", "aws.anthropic", "amazon-bedrock"),
    "gcp.vertex_ai": ("gcp.vertex_ai", "vertex_ai", "vertexai", "gcp.anthropic"),
    "gcp.gemini": ("gcp.gemini", "gemini"),
    "gcp.gen_ai": ("gcp.gen_ai", "google", "google.generative-ai"),
    "mistral_ai": ("mistral_ai", "mistralai", "mistral"),
    "x_ai": ("x_ai", "xai", "x-ai"),
    "cohere": ("cohere",),
    "deepseek": ("deepseek",),
    "groq": ("groq",),
    "perplexity": ("perplexity",),
    "ibm.watsonx.ai": ("ibm.watsonx.ai",),
    "moonshot_ai": ("moonshot_ai",),
    "together_ai": ("together_ai",),
    "fireworks": ("fireworks",),
    "ollama": ("ollama",),
    "replicate": ("replicate",),
    "hugging_face": ("hugging_face",),
    "openrouter": ("openrouter",),
}

PROVIDERS = {spelling: name for name, spellings in _PROVIDER_SPELLINGS.items() for spelling in spellings}
"""Lower-case spelling to canonical id. One with a suffix (`openai.chat`) is read up to its first dot; others stay as they are."""

FRAMEWORKS = ("langchain", "crewai", "portkey", "litellm", "openrouter")
"""Not the ones who answer: they give way to any real provider."""

TIMEOUTS = (
    "Timeout",
    "TimeoutError",
    "APITimeoutError",
    "APIConnectionTimeoutError",
    "ReadTimeout",
    "ConnectTimeout",
    "litellm.exceptions.Timeout",
    "asyncio.TimeoutError",
    "DEADLINE_EXCEEDED",
    "DeadlineExceeded",
    "ETIMEDOUT",
    "timeout",
    "408",
    "504",
    "524",
)
"""Error types that are a timeout; also with a module in front. Tested before anything else about an error."""

CANCELLATIONS = ("CancelledError", "AbortError", "APIUserAbortError", "GeneratorExit", "499")
"""`GeneratorExit` is how a stream in Python learns that its reader left."""

TIMEOUT_WORDS = ("timeout", "timed out", "deadline_exceeded", "deadline exceeded", "deadlineexceeded", "etimedout")
"""What a status message of a timeout contains, in lower case."""

FIRST_TOKEN_EVENTS = (
    "ai.stream.firstChunk",
    "First Token Stream Event",
    "gen_ai.content.completion.chunk",
    "llm.content.completion.chunk",
)
"""Span events whose time is that of the first token."""
