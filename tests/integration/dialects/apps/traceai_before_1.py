"""traceAI of the first generation on the OpenAI client, by a provider of our own: its `register` knows no other exporter."""

from traceai_openai import OpenAIInstrumentor

from tests.integration.dialects.apps.common import tell_three_stories, tracing

OpenAIInstrumentor().instrument(tracer_provider=tracing())
tell_three_stories()
