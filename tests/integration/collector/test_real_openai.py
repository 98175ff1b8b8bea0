"""Released OpenAI instrumentations calling a server whose counts are known: what they really send, through the real door."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest
from openinference.instrumentation.openai import OpenAIInstrumentor as OpenInference
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.openai import OpenAIInstrumentor as OpenLLMetry
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.support.openai_server import Answer, OpenAIServer
from tests.support.receivers import ListSink, grpc_door, make_intake

pytestmark = pytest.mark.integration

MESSAGES: Any = [{"role": "user", "content": "hi"}]


@contextmanager
def instrumented(instrumentor: Any, sink: ListSink) -> Iterator[openai.OpenAI]:
    """A client whose calls become spans in `sink` once the block ends."""
    provider = TracerProvider()
    with grpc_door(make_intake(sink)) as address, OpenAIServer() as server:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address, insecure=True)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            instrumentor.instrument(tracer_provider=provider)
        try:
            with openai.OpenAI(base_url=server.url, api_key="x", max_retries=1) as client:
                client.stub = server  # type: ignore[attr-defined]
                yield client
        finally:
            instrumentor.uninstrument()
            provider.shutdown()


def attributes(span: Span) -> dict[str, Any]:
    found = {}
    for item in span.attributes:
        kind = item.value.WhichOneof("value")
        found[item.key] = getattr(item.value, kind) if kind else None
    return found


def ask(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(model="teacher-70b", messages=MESSAGES, **options)


INPUT = {OpenInference: "llm.token_count.prompt", OpenLLMetry: "gen_ai.usage.input_tokens"}
OUTPUT = {OpenInference: "llm.token_count.completion", OpenLLMetry: "gen_ai.usage.output_tokens"}
both = pytest.mark.parametrize("instrumentor", [OpenInference, OpenLLMetry])


@both
def test_a_plain_call_tells_what_was_served(instrumentor: Callable[[], Any]) -> None:
    sink = ListSink()
    with instrumented(instrumentor(), sink) as client:
        ask(client)
    (span,) = sink.spans()
    found = attributes(span)
    assert (found[INPUT[instrumentor]], found[OUTPUT[instrumentor]]) == (40, 12)
    assert any(value == "teacher-70b-2026-01-01" for value in found.values())


@both
def test_a_stream_with_usage_tells_the_same(instrumentor: Callable[[], Any]) -> None:
    sink = ListSink()
    with instrumented(instrumentor(), sink) as client:
        for _ in ask(client, stream=True, stream_options={"include_usage": True}):
            pass
    (span,) = sink.spans()
    assert attributes(span)[INPUT[instrumentor]] == 40


@both
def test_a_broken_stream_tells_no_usage(instrumentor: Callable[[], Any]) -> None:
    """What it cost is not known, and no zero stands for it."""
    sink = ListSink()
    with instrumented(instrumentor(), sink) as client:
        client.stub.then(Answer(broken_after=1))  # type: ignore[attr-defined]
        with pytest.raises(openai.APIError):
            for _ in ask(client, stream=True, stream_options={"include_usage": True}):
                pass
    assert [attributes(span).get(INPUT[instrumentor]) for span in sink.spans()] in ([None], [])


@both
def test_a_retry_inside_the_sdk_is_invisible(instrumentor: Callable[[], Any]) -> None:
    """Two requests were served, one span tells of them, and nothing on it says so."""
    sink = ListSink()
    with instrumented(instrumentor(), sink) as client:
        client.stub.then(Answer(status=429, error="rate_limit"))  # type: ignore[attr-defined]
        ask(client)
        assert len(client.stub.served) == 2  # type: ignore[attr-defined]
    (span,) = sink.spans()
    assert span.status.code != 2
    assert attributes(span)[OUTPUT[instrumentor]] == 12


@both
def test_a_failed_call_has_an_error_and_no_usage(instrumentor: Callable[[], Any]) -> None:
    sink = ListSink()
    with instrumented(instrumentor(), sink) as client:
        client.stub.then(Answer(status=400, error="bad"))  # type: ignore[attr-defined]
        with pytest.raises(openai.BadRequestError):
            ask(client)
    (span,) = sink.spans()
    assert span.status.code == 2
    assert INPUT[instrumentor] not in attributes(span)
