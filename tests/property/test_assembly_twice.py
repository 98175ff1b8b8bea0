"""The assembler against a second, plain implementation, and against itself on the same spans in other shapes."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from analytics.assembly import assemble_spans, summarise_traces
from analytics.config import AssemblyRules
from tests.support import slow_assembly
from tests.support.generated import trace, with_copies
from tests.support.traces import frame, priced, span

RULES = AssemblyRules()
SPAN_COLUMNS = [
    "model_route", "cohort", "session_id", "mirror_role", "is_model_call", "usage_scope", "is_evaluator_traffic",
    "logical_call_id", "attempt_kind", "attempt_index", "is_answer",
]  # fmt: skip
TRACE_COLUMNS = [
    "n_spans", "started_at", "n_model_calls", "n_logical_calls", "n_errored_calls", "n_timed_out_calls", "n_retried_calls",
    "input_tokens", "output_tokens", "unpriced_calls", "cost_usd", "duration_ns", "model_route", "model", "models", "ttft_ns",
    "errored", "fell_back", "quality_flags",
]  # fmt: skip


def facts_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return summarise_traces(priced(assemble_spans(frame(rows), RULES)))


def generated(seed: int, n_traces: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [row for n in range(n_traces) for row in trace(rng, f"{n:05d}")]


@pytest.mark.parametrize("seed", range(2))
def test_equals_the_plain_implementation(seed: int) -> None:
    rows = with_copies(random.Random(seed), generated(seed, 1000))
    random.Random(seed).shuffle(rows)
    assembled = priced(assemble_spans(frame(rows), RULES))
    expected = slow_assembly.assemble(rows)
    spans = assembled.to_dicts()
    assert len(spans) == len(expected)
    for row in spans:
        key = row["trace_id"], row["span_id"]
        assert {name: row[name] for name in SPAN_COLUMNS} == {name: expected[key][name] for name in SPAN_COLUMNS}, key
    units = slow_assembly.summarise(spans, expected)
    facts = summarise_traces(assembled).to_dicts()
    assert [(row["trace_id"], row["mirror_role"]) for row in facts] == sorted(units)
    for row in facts:
        unit = units[row["trace_id"], row["mirror_role"]]
        assert {name: row[name] for name in TRACE_COLUMNS} == {name: unit[name] for name in TRACE_COLUMNS}, row["trace_id"]


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32), order=st.randoms(use_true_random=False))
def test_order_copies_and_batches_change_nothing(seed: int, order: random.Random) -> None:
    rows = generated(seed, 60)
    whole = facts_of(rows)
    shuffled = with_copies(order, rows)
    order.shuffle(shuffled)
    assert_frame_equal(facts_of(shuffled), whole)
    first = {f"{n:05d}" for n in order.sample(range(60), 20)}
    batches = [[row for row in shuffled if (row["trace_id"] in first) is wanted] for wanted in (True, False)]
    assert_frame_equal(pl.concat(map(facts_of, batches)).sort("trace_id", "mirror_role"), whole)


@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**32), extra=st.integers(0, 100))
def test_an_aggregating_parent_changes_no_total(seed: int, extra: int) -> None:
    rows = [row | {"mirror_role": ""} for row in generated(seed, 60)]
    # raw requests and attempts right below a span with usage repeat that span: they are no part of this property
    below = {"parent_span_id": "agent", "name": "step"}
    rows = [row if row["parent_span_id"] else row | below | ({"kind": "llm"} if row["kind"] == "attempt" else {}) for row in rows]
    names = sorted({row["trace_id"] for row in rows})
    plain = [span("agent", "", -1, 99, trace_id=name, kind="agent", operation="invoke_agent") for name in names]
    usage = {"input_tokens": 10**6 + extra, "output_tokens": 7, "reported_cost_usd": Decimal(5)}
    aggregating = [row | usage for row in plain]
    spans = assemble_spans(frame([*rows, *aggregating]), RULES)
    aggregates = spans.filter(span_id="agent", usage_scope="aggregate")["trace_id"]
    assert len(aggregates) > 10
    columns = ["trace_id", "input_tokens", "output_tokens", "cost_usd", "n_model_calls", "n_logical_calls", "n_retried_calls"]
    after, before = (
        facts_of([*rows, *agents]).filter(pl.col("trace_id").is_in(aggregates.implode())).select(columns)
        for agents in (aggregating, plain)
    )
    assert_frame_equal(after, before)
