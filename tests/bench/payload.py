"""The measured payload: 15 attributes a span (GenAI and OpenInference keys), one evaluation event, about 740 bytes."""

from __future__ import annotations

import random

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_MODELS = ("teacher-70b", "student-8b", "gpt-4o-mini")
_COHORTS = ("regulated_answer", "chitchat", "refund", "other")


def make_request(n_spans: int, seed: int, start_ns: int, text_bytes: int = 0) -> bytes:
    """A serialised request of `n_spans` distinct spans, eight to a trace; `text_bytes` of prompt text a span."""
    rng = random.Random(seed)
    request = ExportTraceServiceRequest()
    scope_spans = request.resource_spans.add()
    for key, value in (("service.name", "support-agent"), ("deployment.environment.name", "prod"), ("service.version", "1.4.2")):
        scope_spans.resource.attributes.add(key=key).value.string_value = value
    scope = scope_spans.scope_spans.add()
    scope.scope.name = "openinference.instrumentation.openai"
    scope.scope.version = "0.1.66"
    trace_id = root = b""
    for n in range(n_spans):
        if n % 8 == 0:
            trace_id, root = rng.randbytes(16), b""
        span = scope.spans.add(trace_id=trace_id, span_id=rng.randbytes(8), parent_span_id=root)
        root = root or span.span_id
        _fill(span, rng, start_ns + n * 1_000_000, text_bytes)
    return request.SerializeToString()


def _fill(span: Span, rng: random.Random, start_ns: int, text_bytes: int) -> None:
    model = rng.choice(_MODELS)
    n_in, n_out = rng.randrange(50, 4000), rng.randrange(1, 900)
    span.name = f"chat {model}"
    span.kind = Span.SPAN_KIND_CLIENT
    span.start_time_unix_nano = start_ns
    span.end_time_unix_nano = start_ns + rng.randrange(50_000_000, 5_000_000_000)
    span.status.code = 1
    for key, value in (
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", model),
        ("gen_ai.response.model", model),
        ("gen_ai.response.id", f"chatcmpl-{rng.getrandbits(48):012x}"),
        ("openinference.span.kind", "LLM"),
        ("session.id", f"s{rng.randrange(100000)}"),
        ("user.id", f"u{rng.randrange(9999)}"),
        ("rollout.route", model.split("-")[0]),
        ("rollout.cohort", rng.choice(_COHORTS)),
    ):
        span.attributes.add(key=key).value.string_value = value
    for key, number in (
        ("gen_ai.usage.input_tokens", n_in),
        ("gen_ai.usage.output_tokens", n_out),
        ("llm.token_count.total", n_in + n_out),
    ):
        span.attributes.add(key=key).value.int_value = number
    span.attributes.add(key="gen_ai.request.temperature").value.double_value = 0.2
    span.attributes.add(key="gen_ai.response.finish_reasons").value.array_value.values.add(string_value="stop")
    if text_bytes:
        words = " ".join(f"{rng.getrandbits(24):06x}" for _ in range(text_bytes // 7 + 1))
        span.attributes.add(key="input.value").value.string_value = words[:text_bytes]
    event = span.events.add(name="gen_ai.evaluation.result", time_unix_nano=span.end_time_unix_nano)
    event.attributes.add(key="gen_ai.evaluation.name").value.string_value = "relevance"
    event.attributes.add(key="gen_ai.evaluation.score.value").value.double_value = rng.random()
    event.attributes.add(key="gen_ai.evaluation.score.label").value.string_value = rng.choice(("pass", "fail"))
