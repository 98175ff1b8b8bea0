"""The Langfuse SDK and its OpenAI wrapper, sent to our OTLP/HTTP door instead of Langfuse's server."""

import openai as plain_openai
from langfuse import Langfuse
from langfuse.openai import openai
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from tests.integration.dialects.apps.common import MESSAGES, MODELS, OTLP_HTTP, STUDENT, TEACHER

langfuse = Langfuse(
    public_key="pk",
    secret_key="sk",
    base_url="http://127.0.0.1:1",
    span_exporter=OTLPSpanExporter(endpoint=f"{OTLP_HTTP}/v1/traces"),
)
ai = openai.OpenAI(base_url=MODELS, api_key="x", max_retries=0)


def work(name):
    return langfuse.start_as_current_observation(name=name, as_type="span", metadata={"route": "student", "cohort": "refund"})


with work("plain"):
    ai.chat.completions.create(model=STUDENT, messages=MESSAGES)
with work("stream"):
    list(ai.chat.completions.create(model=STUDENT, messages=MESSAGES, stream=True, stream_options={"include_usage": True}))
with work("fallback"):
    try:
        ai.chat.completions.create(model=STUDENT, messages=MESSAGES)
    except plain_openai.InternalServerError:
        ai.chat.completions.create(model=TEACHER, messages=MESSAGES)
langfuse.flush()
langfuse.shutdown()
