"""OpenLLMetry on the OpenAI client."""

from opentelemetry.instrumentation.openai import OpenAIInstrumentor

from tests.integration.dialects.apps.common import tell_three_stories, tracing

OpenAIInstrumentor().instrument(tracer_provider=tracing())
tell_three_stories()
