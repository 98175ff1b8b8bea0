"""The rules one by one: inheritance, labels, mirroring, bills, and what bad trees come to."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from analytics.assembly import ASSEMBLED, PRICED, assemble_spans, summarise_traces
from analytics.config import AssemblyRules, PriceConfig
from analytics.price_book import PriceBook
from storage.errors import FrameShapeError
from storage.facts import ASSEMBLY_SPANS, TRACE_FACTS
from tests.support.traces import frame, llm, priced, span

Rows = list[dict[str, Any]]


def spans_of(rows: Rows, **rules: Any) -> dict[str, dict[str, Any]]:
    return {row["span_id"]: row for row in assemble_spans(frame(rows), AssemblyRules(**rules)).to_dicts()}


def facts_of(rows: Rows, **rules: Any) -> list[dict[str, Any]]:
    return summarise_traces(priced(assemble_spans(frame(rows), AssemblyRules(**rules)))).to_dicts()


def column(rows: Rows, name: str, **rules: Any) -> dict[str, Any]:
    return {span_id: row[name] for span_id, row in spans_of(rows, **rules).items()}


# --- inheritance ------------------------------------------------------------------------------------------------------


def test_nearest_ancestor_wins_over_root_and_own_value_over_all() -> None:
    rows = [
        span("root", "", 0, 9, model_route="student", cohort="vip", session_id="s"),
        span("step", "root", 1, 8, cohort="refund"),
        llm("leaf", "step", 2, 3, model_route="teacher"),
        llm("other", "step", 4, 5),
    ]
    spans = spans_of(rows)
    assert [spans[name]["model_route"] for name in ("step", "leaf", "other")] == ["student", "teacher", "student"]
    assert [spans[name]["cohort"] for name in ("root", "leaf", "other")] == ["vip", "refund", "refund"]
    assert spans["other"]["session_id"] == "s"
    [facts] = facts_of(rows)
    assert (facts["model_route"], facts["cohort"]) == ("student", "vip")


def test_model_tokens_and_status_are_never_inherited() -> None:
    rows = [llm("root", "", 0, 9, request_model="m", status="error"), span("child", "root", 1, 2)]
    child = spans_of(rows)["child"]
    assert (child["request_model"], child["status"], child["input_tokens"]) == ("", "unset", None)


def test_an_ancestors_word_beats_the_resource() -> None:
    rows = [
        span("root", "", 0, 9, model_route="teacher"),
        llm("leaf", "root", 1, 2, model_route="student", resource_route="student"),
        llm("alone", "", 3, 4, trace_id="u", resource_route="student"),
    ]
    assert column(rows, "model_route") == {"root": "teacher", "leaf": "teacher", "alone": "student"}


def test_an_orphan_takes_what_the_root_says() -> None:
    rows = [span("root", "", 0, 9, model_route="student"), llm("lost", "never came", 1, 2, tokens=(1, 1))]
    spans = spans_of(rows)
    assert spans["lost"]["model_route"] == "student"
    assert spans["lost"]["quality_flags"] == ["orphan"]
    [facts] = facts_of(rows)
    assert facts["input_tokens"] == 1
    assert facts["quality_flags"] == ["orphan"]


def test_a_cycle_is_cut_and_what_hangs_on_it_stays() -> None:
    rows = [
        llm("a", "b", 0, 1, tokens=(1, 1)),
        llm("b", "a", 0, 2, tokens=(2, 2)),
        llm("self", "self", 0, 2, tokens=(8, 8)),
        llm("leaf", "b", 1, 2, tokens=(4, 4)),
    ]
    spans = spans_of(rows)
    assert {name for name, row in spans.items() if "parent_cycle" in row["quality_flags"]} == {"a", "b", "self"}
    assert column(rows, "usage_scope") == {"a": "own", "b": "aggregate", "self": "own", "leaf": "own"}


def test_a_chain_as_deep_as_it_is_long_is_fine() -> None:
    rows = [span(f"{n:05}", f"{n - 1:05}" if n else "", n, 4000, model_route="student" if n == 0 else "") for n in range(3000)]
    rows.append(llm("leaf", "02999", 3001, 3002, tokens=(1, 1)))
    assert spans_of(rows)["leaf"]["model_route"] == "student"


def test_of_copies_the_one_that_ended_last_counts() -> None:
    rows = [llm("a", "", 0, 2, tokens=(5, 5)), llm("a", "", 0, 3, tokens=(7, 7)), llm("a", "", 0, 1, tokens=(9, 9))]
    [facts] = facts_of(rows)
    assert (facts["n_spans"], facts["input_tokens"]) == (1, 7)


def test_the_route_table_speaks_last() -> None:
    rows = [llm("a", "", 0, 1, request_model="s-8b"), llm("b", "", 0, 1, trace_id="u", request_model="s-8b", model_route="x")]
    spans = spans_of(rows, routes_by_model={"s-8b": "student"})
    assert (spans["a"]["model_route"], spans["a"]["quality_flags"]) == ("student", ["route_derived"])
    assert (spans["b"]["model_route"], spans["b"]["quality_flags"]) == ("x", [])


def test_without_a_root_the_first_call_says_the_route_and_the_extent_is_the_duration() -> None:
    rows = [
        llm("b", "gone", 5, 7, model_route="teacher", status="ok"),
        llm("a", "gone", 1, 2, model_route="student", status="error"),
    ]
    [facts] = facts_of(rows)
    assert (facts["model_route"], facts["duration_ns"], facts["fell_back"]) == ("student", 6_000_000_000, True)
    assert facts["quality_flags"] == ["attempt_inferred", "cost_lower_bound", "no_root", "orphan", "unpriced", "usage_unknown"]


# --- attempts ---------------------------------------------------------------------------------------------------------


def siblings(*calls: dict[str, Any]) -> Rows:
    return [span("app", "", 0, 500, status="ok"), *calls]


def kinds(rows: Rows, **rules: Any) -> list[str]:
    return [row["attempt_kind"] for row in spans_of(rows, **rules).values() if row["kind"] == "llm"]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ({"start": 3.0, "request_model": "s"}, "retry"),
        ({"start": 3.0, "request_model": "t"}, "fallback"),
        ({"start": 3.0, "request_model": "s", "model_route": "teacher"}, "fallback"),
        ({"start": 3.0, "request_model": "openai/s-2026-01-01"}, "retry"),
        ({"start": 1.5, "request_model": "t"}, "first"),  # overlapping: 11.15
        ({"start": 62.1, "request_model": "s"}, "first"),  # more than 60 s after the failure ended
        ({"start": 62.0, "request_model": "s"}, "retry"),
        ({"start": 3.0, "request_model": "s", "input_hash": 8}, "first"),  # another prompt
        ({"start": 3.0, "request_model": "s", "input_hash": 7}, "retry"),
        ({"start": 3.0, "request_model": "s", "attempt_kind": "first"}, "first"),  # its own word
    ],
)
def test_what_follows_a_failed_sibling(second: dict[str, Any], expected: str) -> None:
    start = second.pop("start")
    rows = siblings(
        llm("one", "app", 1, 2, request_model="s", status="error", input_hash=7),
        llm("two", "app", start, start + 1, **{"tokens": (1, 1), **second}),
    )
    assert kinds(rows) == ["first", expected]


def test_a_success_in_between_ends_the_search() -> None:
    rows = siblings(
        llm("one", "app", 1, 2, request_model="s", status="error"),
        llm("two", "app", 2.5, 3, request_model="s", attempt_kind="first"),
        llm("three", "app", 4, 5, request_model="s"),
    )
    assert kinds(rows) == ["first", "first", "first"]


def test_parallel_failures_each_find_their_own_retry() -> None:
    rows = siblings(
        llm("a1", "app", 1, 2, request_model="s", status="error"),
        llm("b1", "app", 1.1, 2.2, request_model="s", status="timeout"),
        llm("a2", "app", 3, 5, request_model="s", tokens=(1, 1)),
        llm("b2", "app", 3.1, 4, request_model="s", tokens=(1, 1)),
    )
    [facts] = facts_of(rows)
    assert (facts["n_logical_calls"], facts["n_retried_calls"], facts["n_errored_calls"]) == (2, 2, 0)
    assert (facts["n_timed_out_calls"], facts["timed_out"]) == (1, True)


def test_a_thousand_parallel_failures_each_find_their_own_retry() -> None:
    """What took a minute when every failure was compared with every success: the count alone would not show it."""
    n = 1000
    rows = [span("app", "", 0, 500, status="ok")]
    rows += [llm(f"a{at:04}", "app", 1 + at / n, 3 + at / n, request_model="s", status="error") for at in range(n)]
    rows += [llm(f"b{at:04}", "app", 10 + at / n, 12 + at / n, request_model="s", tokens=(1, 1)) for at in range(n)]
    began = time.process_time()
    [facts] = facts_of(rows)
    assert (facts["n_logical_calls"], facts["n_retried_calls"], facts["n_errored_calls"]) == (n, n, 0)
    assert time.process_time() - began < 10


def test_calls_of_one_group_that_overlap_are_hedged() -> None:
    rows = siblings(
        llm("a", "app", 1, 4, request_model="s", call_group="g", status="cancelled"),
        llm("b", "app", 2, 3, request_model="s", call_group="g", tokens=(1, 1)),
    )
    assert kinds(rows) == ["first", "hedge"]
    [facts] = facts_of(rows)
    assert (facts["n_logical_calls"], facts["retried"], facts["fell_back"]) == (1, False, False)


def test_a_call_group_is_one_call_under_different_parents_too() -> None:
    rows = [
        span("server"),
        span("route student", "server", 0, 1),
        span("route teacher", "server", 1, 3),
        llm("a", "route student", 0, 1, request_model="s", call_group="g", status="error"),
        llm("b", "route teacher", 1, 3, request_model="t", call_group="g", tokens=(1, 1)),
    ]
    assert kinds(rows) == ["first", "fallback"]


def test_retries_are_seen_through_nested_instrumentors() -> None:
    rows = siblings(
        llm("outer1", "app", 1, 2, request_model="s", status="error"),
        llm("inner1", "outer1", 1.1, 1.9, request_model="s", status="error", http_status=500),
        llm("outer2", "app", 3, 4, request_model="s", tokens=(1, 1)),
        llm("inner2", "outer2", 3.1, 3.9, request_model="s", tokens=(1, 1)),
    )
    [facts] = facts_of(rows)
    assert (facts["n_logical_calls"], facts["n_model_calls"], facts["n_retried_calls"], facts["errored"]) == (1, 2, 1, False)


def test_a_failed_fallback_answered_nothing() -> None:
    rows = [
        span("app", status="error", error_type="ValueError"),
        llm("one", "app", 0, 1, request_model="s", status="error"),
        llm("two", "app", 2, 3, request_model="t", status="error"),
    ]
    [facts] = facts_of(rows)
    assert (facts["fell_back"], facts["errored"], facts["n_errored_calls"], facts["error_type"]) == (False, True, 1, "ValueError")


@pytest.mark.parametrize(
    ("hints", "retried", "fell_back"),
    [
        ({"retry.count": "2"}, True, False),
        ({"retry.count": "0"}, False, False),
        ({"x-litellm-attempted-retries": "1"}, True, False),
        ({"http.response.header.x-agentcc-fallback-used": '["true"]'}, False, True),
        ({"x-litellm-attempted-fallbacks": "0"}, False, False),
        ({"metadata.fallback_model": "t-70b"}, False, True),
        ({"fallback": "False"}, False, False),
        ({"orq.fallback.used": "true"}, False, True),
        ({"litellm.routing.retry": "1"}, True, False),
        ({"fallback.used": "true", "retry_count": "1"}, True, True),
        ({"unrelated": "1"}, False, False),
    ],
)
@pytest.mark.parametrize("carrier", ["call", "app", "http"])
def test_hints(hints: dict[str, str], retried: bool, fell_back: bool, carrier: str) -> None:
    rows = [span("app", "", 0, 5), llm("call", "app", 1, 4, tokens=(1, 1)), span("http", "call", 1, 3), llm("later", "app", 4, 5)]
    for row in rows:
        if row["span_id"] == carrier:
            row["hints"] = [{"key": key, "value": value} for key, value in hints.items()]
    [facts] = facts_of(rows)
    assert (facts["retried"], facts["fell_back"]) == (retried, fell_back)
    assert (facts["n_retried_calls"], facts["n_fallback_calls"]) == (int(retried), int(fell_back))


def test_an_answer_by_another_model_is_flagged_not_assumed() -> None:
    rows = [llm("a", "", 0, 1, request_model="gpt-4o", response_model="gpt-4o-mini-2024-07-18", status="ok")]
    assert spans_of(rows)["a"]["quality_flags"] == ["model_mismatch"]
    assert facts_of(rows)[0]["fell_back"] is False
    rows = [llm("a", "", 0, 1, request_model="azure/gpt-4o", response_model="gpt-4o-2024-08-06", status="ok")]
    assert spans_of(rows)["a"]["quality_flags"] == []


@pytest.mark.parametrize(
    ("fields", "timed_out"),
    [
        ({"status": "timeout"}, True),
        ({"status": "error", "error_type": "APITimeoutError"}, True),
        ({"status": "error", "error_type": "litellm.exceptions.Timeout"}, True),
        ({"status": "error", "error_type": "DEADLINE_EXCEEDED"}, True),
        ({"status": "error", "error_type": "ETIMEDOUT"}, True),
        ({"status": "error", "http_status": 504}, True),
        ({"status": "ok", "http_status": 504}, False),
        ({"status": "cancelled", "error_type": "AbortError"}, False),
        ({"status": "error", "error_type": "APIConnectionError"}, False),
    ],
)
def test_timeouts(fields: dict[str, Any], timed_out: bool) -> None:
    assert facts_of([llm("a", "", 0, 1, **fields)])[0]["timed_out"] is timed_out


@pytest.mark.parametrize(
    ("root", "last", "errored"),
    [
        ("unset", "unset", False),  # 11.17
        ("unset", "error", True),
        ("ok", "error", False),
        ("error", "ok", True),
        ("timeout", "ok", True),
        ("cancelled", "ok", False),
    ],
)
def test_errored_is_what_the_answer_was(root: str, last: str, errored: bool) -> None:
    rows = [span("app", "", 0, 9, status=root), llm("one", "app", 1, 2, tokens=(1, 1)), llm("two", "app", 3, 4, status=last)]
    assert facts_of(rows)[0]["errored"] is errored


# --- mirroring --------------------------------------------------------------------------------------------------------


def test_a_trace_with_both_roles_is_two_units() -> None:
    rows = [
        span("app", "", 0, 9, model_route="teacher"),
        llm("served", "app", 1, 3, tokens=(10, 5), request_model="t"),
        llm("copy", "app", 1, 8, tokens=(10, 4), request_model="s", model_route="student", mirror_role="shadow", status="error"),
    ]
    primary, shadow = facts_of(rows)
    assert (primary["mirror_role"], primary["model_route"], primary["n_spans"], primary["errored"]) == (
        "primary",
        "teacher",
        2,
        False,
    )
    assert (shadow["mirror_role"], shadow["model_route"], shadow["n_spans"], shadow["errored"]) == ("shadow", "student", 1, True)
    assert shadow["duration_ns"] == 7_000_000_000
    assert shadow["cost_usd"] == Decimal("0.000014000")
    assert primary["mirror_group"] == shadow["mirror_group"] == "t"
    assert column(rows, "mirror_group") == {"app": "t", "served": "t", "copy": "t"}
    rows[2]["mirror_group"] = "request-7"
    assert column(rows, "mirror_group") == {"app": "request-7", "served": "request-7", "copy": "request-7"}


def test_a_shadow_call_makes_its_whole_trace_a_shadow() -> None:
    rows = [span("replay", "", 0, 9), llm("copy", "replay", 1, 8, mirror_role="shadow", mirror_group="g")]
    [facts] = facts_of(rows)
    assert (facts["mirror_role"], facts["n_spans"], facts["mirror_group"]) == ("shadow", 2, "g")


def test_a_shadow_without_a_pairing_key_is_kept() -> None:
    [facts] = facts_of([llm("a", "", 0, 1, mirror_role="shadow", model_route="student")])
    assert (facts["mirror_role"], facts["mirror_group"]) == ("shadow", "")


def test_a_route_can_be_configured_as_shadow() -> None:
    rows = [span("app", "", 0, 9, model_route="student-shadow"), llm("a", "app", 0, 1)]
    assert column(rows, "mirror_role", shadow_routes={"student-shadow"}) == {"app": "shadow", "a": "shadow"}


# --- the bill ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "cost", "unpriced", "flags"),
    [
        ({"status": "error", "http_status": 429}, "0.000015", 0, ["attempt_inferred", "cost_failed_free"]),
        ({"status": "error", "error_type": "InternalServerError"}, "0.000015", 0, ["attempt_inferred", "cost_failed_free"]),
        ({"status": "timeout"}, "0.000015", 0, ["attempt_inferred", "cost_lower_bound", "usage_unknown"]),
        ({"status": "error", "http_status": 504}, "0.000015", 0, ["attempt_inferred", "cost_lower_bound", "usage_unknown"]),
        ({"status": "ok", "finish_reasons": ["error"]}, "0.000015", 0, ["cost_lower_bound", "usage_unknown"]),
        ({"status": "ok"}, None, 1, ["unpriced", "usage_unknown"]),
        ({"status": "error", "http_status": 429, "tokens": (1, 1)}, "0.000017", 0, ["attempt_inferred"]),
    ],
)
def test_calls_without_usage(failure: dict[str, Any], cost: str | None, unpriced: int, flags: list[str]) -> None:
    rows = [
        span("app", "", 0, 9),
        llm("one", "app", 1, 2, request_model="s", **failure),
        llm("two", "app", 3, 4, request_model="s", tokens=(10, 5)),
    ]
    [facts] = facts_of(rows)
    assert facts["cost_usd"] == (None if cost is None else Decimal(cost))
    assert facts["unpriced_calls"] == unpriced
    assert facts["quality_flags"] == flags
    assert (facts["input_tokens"] is None) == ("usage_unknown" in flags)


def test_a_call_whose_price_nobody_knows_makes_the_cost_unknown() -> None:
    assembled = priced(
        assemble_spans(frame([llm("a", "", 0, 1, tokens=(1, 1)), llm("b", "", 2, 3, tokens=(2, 2))]), AssemblyRules())
    )
    is_a = pl.col("span_id") == "a"
    half = assembled.with_columns(
        cost_usd=pl.when(is_a).then("cost_usd"), cost_source=pl.when(is_a).then("cost_source").otherwise(pl.lit("unpriced"))
    )
    [facts] = summarise_traces(half).to_dicts()
    assert (facts["cost_usd"], facts["unpriced_calls"], facts["input_tokens"], facts["cost_source"]) == (None, 1, 3, "")


def test_an_agent_that_owns_the_usage_covers_calls_without() -> None:
    rows = [span("agent", "", 0, 9, kind="agent", tokens=(50, 5)), llm("chat", "agent", 1, 2, status="ok")]
    [facts] = facts_of(rows)
    assert (facts["input_tokens"], facts["cost_usd"], facts["unpriced_calls"]) == (50, Decimal("0.000055000"), 0)


def test_reported_cost_is_known_only_if_all_of_it_is() -> None:
    rows = [llm("a", "", 0, 1, tokens=(1, 1), cost="0.5"), llm("b", "", 2, 3, tokens=(2, 2))]
    [facts] = facts_of(rows)
    assert (facts["reported_cost_usd"], facts["cost_source"]) == (None, "mixed")
    assert facts["cost_usd"] == Decimal("0.500004000")
    assert facts["computed_cost_usd"] == Decimal("0.000006000")


def test_a_call_that_broke_on_a_machine_paid_by_the_second_is_in_both_costs_but_its_tokens_are_unknown() -> None:
    rows = [
        span("app", "", 0, 9),
        llm("slow", "app", 1, 4, request_model="student-8b", status="timeout"),
        llm("made good", "app", 4, 5, request_model="teacher", tokens=(10, 5)),
    ]
    book = PriceBook(
        [
            PriceConfig(model="student-8b", gpu_hour_usd="3.6"),
            PriceConfig(model="teacher", input_usd_per_mtok="10", output_usd_per_mtok="20"),
        ]
    )
    [facts] = summarise_traces(book.price(assemble_spans(frame(rows), AssemblyRules()))).to_dicts()
    # 3 s of 3.60 an hour, and 10 x 10 + 5 x 20 millionths
    assert facts["cost_usd"] == facts["computed_cost_usd"] == Decimal("0.0032")
    assert (facts["input_tokens"], facts["output_tokens"]) == (None, None)
    assert facts["quality_flags"] == ["attempt_inferred", "usage_unknown"]


def test_a_trace_without_model_calls_has_no_known_cost() -> None:
    [facts] = facts_of([span("app", "", 0, 1, model_route="student")])
    assert (facts["cost_usd"], facts["input_tokens"], facts["unpriced_calls"], facts["errored"]) == (None, None, 0, False)


def test_an_evaluators_own_trace_belongs_to_no_route() -> None:
    rows = [span("judge", "", 0, 9, kind="evaluator", model_route="student"), llm("call", "judge", 1, 2, tokens=(10, 5))]
    [facts] = facts_of(rows)
    assert (facts["model_route"], facts["n_model_calls"], facts["cost_usd"]) == ("", 0, None)
    assert facts["evaluation_cost_usd"] == Decimal("0.000015000")
    assert "evaluator_only" in facts["quality_flags"]


def test_evaluation_sampled_and_its_rule() -> None:
    rows = [span("app", "", 0, 9), llm("a", "app", 1, 2, evaluation_sampled=True, evaluation_rule="one in ten")]
    assert [(f["evaluation_sampled"], f["sampling_rule"]) for f in facts_of(rows)] == [(True, "one in ten")]
    assert facts_of([llm("a", "", 0, 1, evaluation_sampled=False)])[0]["evaluation_sampled"] is False
    assert facts_of([llm("a", "", 0, 1)])[0]["evaluation_sampled"] is None


# --- frames -----------------------------------------------------------------------------------------------------------


def test_empty_in_empty_out() -> None:
    assembled = assemble_spans(ASSEMBLY_SPANS.to_frame(), AssemblyRules())
    assert assembled.is_empty()
    assert dict(assembled.schema).items() >= dict(ASSEMBLED).items()
    assert summarise_traces(PRICED.to_frame()).schema == TRACE_FACTS


def test_schemas_are_what_is_promised() -> None:
    assembled = assemble_spans(frame([llm("a", "", 0, 1, tokens=(1, 1)), span("b", "a")]), AssemblyRules())
    assert {name: assembled.schema[name] for name in ASSEMBLED} == dict(ASSEMBLED)
    assert summarise_traces(priced(assembled)).schema == TRACE_FACTS


def test_a_frame_of_another_shape_is_refused_with_all_reasons() -> None:
    broken = frame([llm("a")]).drop("kind").with_columns(input_tokens=pl.lit("1"))
    with pytest.raises(FrameShapeError) as caught:
        assemble_spans(broken, AssemblyRules())
    assert caught.value.problems == ["kind: missing", "input_tokens: String instead of UInt64"]
