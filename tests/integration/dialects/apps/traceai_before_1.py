"""What traceAI-openai 0.1.9 on core 0.1.16 writes, by hand: they do not fit into one environment with the present ones."""

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
        span.set_attributes({"fi.span.kind": "LLM", "llm.system": "openai", "llm.invocation_parameters": json.dumps(parameters)})
        reply: Any = ai.chat.completions.create(model=model, messages=MESSAGES, **options)
        last = list(reply)[-1] if options else reply
        if not options:
            span.set_attribute("llm.model_name", reply.model)
        span.set_attributes(
            {
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
