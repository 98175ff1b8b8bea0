"""What traceAI wrote before its core's 1.0, by hand: that core and the present one do not fit into one environment."""

import json
from typing import Any

import openai
from opentelemetry import trace

from tests.integration.dialects.apps.common import MESSAGES, STUDENT, TEACHER, client, tracing, work

tracer = tracing().get_tracer("traceai_openai")


def ask(ai: openai.OpenAI, model: str, **options: Any) -> None:
    """One call under a span of the first generation's vocabulary."""
    with tracer.start_as_current_span("ChatCompletion") as span:
        parameters = {"model": model, **options}
        span.set_attributes(
            {"fi.span.kind": "LLM", "llm.provider": "openai", "llm.invocation_parameters": json.dumps(parameters)}
        )
        reply: Any = ai.chat.completions.create(model=model, messages=MESSAGES, **options)
        last = list(reply)[-1] if options else reply
        span.set_attributes(
            {
                "llm.model_name": last.model,
                "llm.token_count.prompt": last.usage.prompt_tokens,
                "llm.token_count.completion": last.usage.completion_tokens,
                "llm.token_count.total": last.usage.total_tokens,
            }
        )
        span.set_status(trace.StatusCode.OK)


with client() as ai:
    with work("plain"):
        ask(ai, STUDENT)
    with work("stream"):
        ask(ai, STUDENT, stream=True, stream_options={"include_usage": True})
    with work("fallback"):
        try:
            ask(ai, STUDENT)
        except openai.InternalServerError:
            ask(ai, TEACHER)
