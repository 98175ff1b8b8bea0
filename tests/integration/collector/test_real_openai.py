"""Released OpenAI instrumentations calling a server whose counts are known: what they really send, through the real door."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openinference.instrumentation.openai import OpenAIInstrumentor as OpenInference
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.openai import OpenAIInstrumentor as OpenLLMetry
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from storage.client import Store
from tests.support.collecting import collecting
from tests.support.openai_server import Answer, OpenAIServer
from tests.support.receivers import ListSink, grpc_door, make_intake

pytestmark = pytest.mark.integration

MESSAGES: Any = [{"role": "user", "content": "hi"}]


@contextmanager
def calling(instrumentor: Any, address: str) -> Iterator[tuple[openai.OpenAI, OpenAIServer]]:
    """An instrumented client and the server it calls; its spans are at `address` once the block ends."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address, insecure=True)))
    with OpenAIServer() as server:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            instrumentor.instrument(tracer_provider=provider)
        try:
            with openai.OpenAI(base_url=server.url, api_key="x", max_retries=1) as client:
                yield client, server
        finally:
            instrumentor.uninstrument()
            provider.shutdown()


@contextmanager
def instrumented(instrumentor: Any, sink: ListSink) -> Iterator[tuple[openai.OpenAI, OpenAIServer]]:
    """The same with a sink behind the door."""
    with grpc_door(make_intake(sink)) as address, calling(instrumentor, address) as pair:
        yield pair


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
    with instrumented(instrumentor(), sink) as (client, _server):
        ask(client)
    (span,) = sink.spans()
    found = attributes(span)
    assert (found[INPUT[instrumentor]], found[OUTPUT[instrumentor]]) == (40, 12)
    assert any(value == "teacher-70b-2026-01-01" for value in found.values())


@both
def test_a_stream_with_usage_tells_the_same(instrumentor: Callable[[], Any]) -> None:
    sink = ListSink()
    with instrumented(instrumentor(), sink) as (client, _server):
        for _ in ask(client, stream=True, stream_options={"include_usage": True}):
            pass
    (span,) = sink.spans()
    assert attributes(span)[INPUT[instrumentor]] == 40


@both
def test_a_broken_stream_tells_no_usage(instrumentor: Callable[[], Any]) -> None:
    """What it cost is not known, and no zero stands for it."""
    sink = ListSink()
    with instrumented(instrumentor(), sink) as (client, server):
        server.then(Answer(broken_after=1))
        with pytest.raises(openai.APIError):
            for _ in ask(client, stream=True, stream_options={"include_usage": True}):
                pass
    assert [attributes(span).get(INPUT[instrumentor]) for span in sink.spans()] in ([None], [])


@both
def test_a_retry_inside_the_sdk_is_invisible(instrumentor: Callable[[], Any]) -> None:
    """Two requests were served, one span tells of them, and nothing on it says so."""
    sink = ListSink()
    with instrumented(instrumentor(), sink) as (client, server):
        server.then(Answer(status=429, error="rate_limit"))
        ask(client)
        assert len(server.served) == 2
    (span,) = sink.spans()
    assert span.status.code != 2
    assert attributes(span)[OUTPUT[instrumentor]] == 12


@both
def test_a_failed_call_has_an_error_and_no_usage(instrumentor: Callable[[], Any]) -> None:
    sink = ListSink()
    with instrumented(instrumentor(), sink) as (client, server):
        server.then(Answer(status=400, error="bad"))
        with pytest.raises(openai.BadRequestError):
            ask(client)
    (span,) = sink.spans()
    assert span.status.code == 2
    assert INPUT[instrumentor] not in attributes(span)


@both
def test_what_was_served_is_what_is_stored(instrumentor: Callable[[], Any], store: Store, tmp_path: Path) -> None:
    """Plain, streamed, failed and embedded calls: the columns of `span_records` against the server's own account."""
    with collecting(store, tmp_path) as running:
        address = running.endpoints.otlp_grpc
        with calling(instrumentor(), address) as (client, server):
            ask(client)
            for _ in ask(client, stream=True, stream_options={"include_usage": True}):
                pass
            server.then(Answer(status=400, error="bad"))
            with pytest.raises(openai.BadRequestError):
                ask(client)
        running.collector.flush()
        served = [(s.answer.status, s.answer.input_tokens, s.answer.output_tokens, s.response_id) for s in server.served]
    rows = store.frame(
        "SELECT kind, status, request_model, response_model, input_tokens, output_tokens, cache_read_tokens "
        "FROM span_records FINAL ORDER BY start_time"
    )
    assert [(status, n_in, n_out) for status, n_in, n_out, _ in served] == [(200, 40, 12), (200, 40, 12), (400, 40, 12)]
    assert rows["kind"].to_list() == ["llm"] * 3
    assert rows["input_tokens"].to_list() == [40, 40, None]
    assert rows["output_tokens"].to_list() == [12, 12, None]
    assert rows["request_model"].to_list() == ["teacher-70b"] * 3
    assert rows["response_model"].to_list()[:2] == ["teacher-70b-2026-01-01"] * 2
    assert [status == "error" for status in rows["status"]] == [False, False, True]
