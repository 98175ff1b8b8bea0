"""The columnar SQL gives what the slow, obvious twin gives, for spans that mix every dialect's keys and every kind of value."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.attributes import COUNTS, FIELDS, METADATA_PREFIXES
from collector.dialects import DIALECTS, FIRST_TOKEN_EVENTS, KINDS, PROVIDERS, TIMEOUTS
from storage.client import Store
from tests.support.normalise_twin import normalise
from tests.support.segments import load_spans, make_span, read_spans, resource_spans

pytestmark = pytest.mark.integration

_DOCUMENTS = ("parameters", "output_messages", "first_token_at", "level", "level_message", "model_route")
_KEYS = sorted({key for name, field in FIELDS.items() if name not in _DOCUMENTS for key in field.keys if "{}" not in key})
_MARKERS = sorted(
    {m.replace("*", "x") for d in DIALECTS.values() for group in d.markers for m in group if "usage_details" not in m}
)
_OTHERS = ("", "http.route", "input.value", "ключ", *(prefix + "note" for prefix in METADATA_PREFIXES))

counts = st.integers(0, 60)
eighths = st.integers(-80, 8000).map(lambda n: n / 8)
words = st.one_of(
    st.sampled_from(
        ["", "None", "null", "12", "12.0", "-1", "1.5", "true", '"quoted"', '"broken', "x y", "/path", "a{b}", "7" * 16, "é\n"]
    ),
    st.sampled_from(sorted({*KINDS, *PROVIDERS, *TIMEOUTS, "OpenAI", "langchain", "azure.openai.chat", "LLM", "408"})),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=6),
)
values = st.one_of(
    counts,
    st.sampled_from([-1, -(2**63), 2**63 - 1, 2**53]),
    st.booleans(),
    eighths,
    st.sampled_from([float("nan"), float("inf")]),
    words,
    st.binary(max_size=3),
    st.lists(st.sampled_from(["stop", "cohort:vip", 'a"b', ""]), max_size=4),
    st.none(),
)
keys = st.one_of(st.sampled_from(sorted(COUNT for field in COUNTS.values() for COUNT in field.keys if "{}" not in COUNT)),
                 st.sampled_from(_KEYS), st.sampled_from(_MARKERS), st.sampled_from(_OTHERS))  # fmt: skip
pairs = st.one_of(st.tuples(keys, values), st.tuples(keys, counts))
events = st.tuples(
    st.sampled_from([*FIRST_TOKEN_EVENTS, "exception", "x"]), st.integers(-1, 20), st.sampled_from(["A.Timeout", "E"])
)
scopes = st.sampled_from(["", *(scope + "x" for d in DIALECTS.values() for scope in d.scopes)])
names = st.sampled_from(["chat", "raw_gen_ai_request", "provider attempt 1: x", "chat_completion", "agent_step"])


@st.composite
def spans(draw: st.DrawFn) -> tuple[Span, str]:
    span = make_span({}, name=draw(names), seconds=draw(st.sampled_from([-1, 0, 2, 2.5])), code=draw(st.sampled_from([0, 1, 2])))
    span.status.message = draw(st.sampled_from(["", "Request timed out", "boom"]))
    for key, value in draw(st.lists(pairs, max_size=14)):
        if not key.startswith(("langfuse.observation.usage_details", "gen_ai.usage.raw")):
            span.attributes.extend(make_span({key: value}).attributes)
    for name, tenths, kind in draw(st.lists(events, max_size=3)):
        added = span.events.add(name=name, time_unix_nano=span.start_time_unix_nano + tenths * 100_000_000)
        added.attributes.add(key="exception.type").value.string_value = kind
    return span, draw(scopes)


@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")  # the repr of forty spans is long
@settings(
    max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(batch=st.lists(spans(), min_size=40, max_size=40))
def test_sql_equals_twin(store: Store, tmp_path: Path, batch: list[tuple[Span, str]]) -> None:
    store.command("TRUNCATE TABLE span_records")
    trace_id = uuid.uuid4().bytes
    for number, (span, _) in enumerate(batch, start=1):
        span.trace_id, span.span_id = trace_id, number.to_bytes(8, "big")
    load_spans(store, tmp_path, [resource_spans([span], scope) for span, scope in batch])
    stored = read_spans(store)
    assert len(stored) == len(batch)
    for span, scope in batch:
        expected = normalise(span, scope)
        row = stored[span.span_id.hex()]
        found: dict[str, Any] = {name: row[name] for name in expected}
        found |= {name: dict(row[name]) for name in ("attributes", "metadata")} | {"quality_flags": sorted(row["quality_flags"])}
        assert found == expected, span
