"""
What the programs here share: where to send, whom to ask, and the span of the application's own work.

Each program is a service as its owner would write it. It runs in a process of its own, because instrumentations keep global
state and some flush only at exit. `tests/integration/dialects/conftest.py` starts it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

OTLP_GRPC = os.environ["CAPTURE_OTLP_GRPC"]
OTLP_HTTP = os.environ["CAPTURE_OTLP_HTTP"]
MODELS = os.environ["CAPTURE_MODELS"]
STUDENT, TEACHER = "student-8b", "teacher-70b"
MESSAGES: Any = [{"role": "user", "content": "May I have a refund?"}]


def exporting() -> BatchSpanProcessor:
    """A processor that sends to the door under test."""
    return BatchSpanProcessor(OTLPSpanExporter(endpoint=OTLP_GRPC, insecure=True))


def tracing(provider: TracerProvider | None = None) -> TracerProvider:
    """A provider, now the global one, whose spans go to the door under test; it drains when the program ends."""
    made = provider or TracerProvider()
    made.add_span_processor(exporting())
    trace.set_tracer_provider(made)
    return made


def client() -> openai.OpenAI:
    return openai.OpenAI(base_url=MODELS, api_key="x", max_retries=0)


@contextmanager
def work(name: str, route: str = "student") -> Iterator[None]:
    """The application's own request span: it knows the route and the cohort."""
    attributes = {"rollout.route": route, "rollout.cohort": "refund", "session.id": "s1"}
    with trace.get_tracer("shop").start_as_current_span(name, attributes=attributes):
        yield


def tell_three_stories() -> None:
    """A plain answer, a streamed one, and one by the teacher after the student failed, by the OpenAI client."""
    with client() as ai:
        with work("plain"):
            ai.chat.completions.create(model=STUDENT, messages=MESSAGES)
        with work("stream"):
            options = {"stream": True, "stream_options": {"include_usage": True}}
            list(ai.chat.completions.create(model=STUDENT, messages=MESSAGES, **options))
        with work("fallback"):
            try:
                ai.chat.completions.create(model=STUDENT, messages=MESSAGES)
            except openai.InternalServerError:
                ai.chat.completions.create(model=TEACHER, messages=MESSAGES)
