"""What each emitter's span tree adds up to. Every expected number is worked by hand from the spans above it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from analytics.assembly import assemble_spans, summarise_traces
from analytics.config import AssemblyRules
from tests.support.traces import frame, llm, priced, span

Rows = list[dict[str, Any]]
RATE_LIMITED = {"status": "error", "http_status": 429, "error_type": "RateLimitError"}

# name: (spans, usage scope per span, expected columns of the one trace row)
CASES: dict[str, tuple[Rows, dict[str, str], dict[str, Any]]] = {
    # 5.1: the agent repeats its children: 6+8 in, 20+30 out; only the leaves count
    "otel agent over chats": (
        [
            span("agent", "", 0, 10, kind="agent", operation="invoke_agent", tokens=(14, 50)),
            llm("chat1", "agent", 1, 3, tokens=(6, 20)),
            llm("chat2", "agent", 4, 9, tokens=(8, 30)),
        ],
        {"agent": "aggregate", "chat1": "own", "chat2": "own"},
        {"input_tokens": 14, "output_tokens": 50, "n_model_calls": 2, "n_logical_calls": 2, "quality_flags": []},
    ),
    # 11.7: 6/20, not 12/40
    "vercel outer and inner": (
        [
            span("outer", "", 0, 5, name="ai.generateText", kind="llm", operation="ai.generateText", tokens=(6, 20)),
            span("inner", "outer", 1, 4, name="ai.generateText.doGenerate", kind="llm", operation="chat", tokens=(6, 20)),
        ],
        {"outer": "aggregate", "inner": "own"},
        {"input_tokens": 6, "output_tokens": 20, "n_model_calls": 1, "n_logical_calls": 1},
    ),
    "vercel 7": (
        [
            span("agent", "", 0, 9, name="invoke_agent m", operation="invoke_agent", kind="agent", tokens=(6, 20)),
            span("step", "agent", 1, 8, name="agent_step", operation="agent_step", tokens=(6, 20)),
            llm("chat", "step", 2, 7, name="chat m", tokens=(6, 20)),
            span("tool", "step", 7, 8, kind="tool", operation="execute_tool"),
        ],
        {"agent": "aggregate", "step": "aggregate", "chat": "own", "tool": "none"},
        {"input_tokens": 6, "output_tokens": 20, "n_spans": 4, "n_model_calls": 1},
    ),
    # each ask has an outer span of its own: the tries are cousins, not siblings
    "vercel 6, fallback by the application": (
        [
            span("app", "", 0, 9, model_route="student"),
            span("outer 1", "app", 1, 3, name="ai.generateText", kind="chain", operation="ai.generateText", status="error"),
            span("call 1", "outer 1", 1, 3, name="ai.generateText.doGenerate", kind="llm", request_model="s-8b", **RATE_LIMITED),
            span("outer 2", "app", 3, 6, name="ai.generateText", kind="chain", operation="ai.generateText", tokens=(60, 30)),
            span(
                "call 2", "outer 2", 4, 5, name="ai.generateText.doGenerate", kind="llm", request_model="t-70b", tokens=(60, 30)
            ),
        ],
        {"app": "none", "outer 1": "none", "call 1": "none", "outer 2": "aggregate", "call 2": "own"},
        {"n_model_calls": 2, "n_logical_calls": 1, "n_fallback_calls": 1, "fallback_to": "t-70b", "input_tokens": 60},
    ),
    "vercel 7, retry by the application": (
        [
            span("app", "", 0, 9, model_route="student"),
            span("agent 1", "app", 1, 3, kind="agent", operation="invoke_agent", status="error"),
            span("step 1", "agent 1", 1, 3, kind="agent", operation="agent_step", status="error"),
            llm("call 1", "step 1", 1, 3, request_model="s-8b", **RATE_LIMITED),
            span("agent 2", "app", 3, 6, kind="agent", operation="invoke_agent", tokens=(60, 30)),
            span("step 2", "agent 2", 3, 6, kind="agent", operation="agent_step"),
            llm("call 2", "step 2", 4, 5, request_model="s-8b", tokens=(60, 30)),
        ],
        {
            "app": "none",
            "agent 1": "none",
            "step 1": "none",
            "call 1": "none",
            "agent 2": "aggregate",
            "step 2": "none",
            "call 2": "own",
        },
        {"n_model_calls": 2, "n_logical_calls": 1, "n_retried_calls": 1, "fell_back": False},
    ),
    "an agent that answers although its call failed is not tried again": (
        [
            span("app", "", 0, 9, model_route="student"),
            span("agent 1", "app", 1, 3, kind="agent", operation="invoke_agent"),
            llm("call 1", "agent 1", 1, 3, request_model="s-8b", **RATE_LIMITED),
            span("agent 2", "app", 3, 6, kind="agent", operation="invoke_agent"),
            llm("call 2", "agent 2", 4, 5, request_model="s-8b", tokens=(60, 30)),
        ],
        {"app": "none", "agent 1": "none", "call 1": "none", "agent 2": "none", "call 2": "own"},
        {"n_model_calls": 2, "n_logical_calls": 2, "n_retried_calls": 0},
    ),
    # nested instrumentors: both LLM spans tell the same call
    "langchain over openai": (
        [llm("outer", "", 0, 5, tokens=(40, 7)), llm("inner", "outer", 1, 4, tokens=(40, 7))],
        {"outer": "aggregate", "inner": "own"},
        {"input_tokens": 40, "output_tokens": 7, "n_model_calls": 1, "n_logical_calls": 1},
    ),
    # LangChain's callbacks do not make their span the current one: what the client tells is a sibling
    "langchain beside openai": (
        [
            span("app", "", 0, 9),
            llm("outer", "app", 1, 5, scope_name="langchain", request_model="s-8b", tokens=(40, 7)),
            llm("inner", "app", 2, 4, scope_name="openai", request_model="openai/s-8b", tokens=(40, 7)),
        ],
        {"app": "none", "outer": "duplicate", "inner": "own"},
        {"input_tokens": 40, "output_tokens": 7, "n_model_calls": 1, "n_logical_calls": 1, "quality_flags": ["told_twice"]},
    ),
    "langchain beside openai, fallback": (
        [
            span("app", "", 0, 9, model_route="student"),
            span("chain", "app", 0, 9, kind="chain", scope_name="langchain"),
            llm("outer 1", "chain", 1, 3, scope_name="langchain", request_model="s-8b", status="error"),
            llm("inner 1", "app", 1.5, 2.5, scope_name="openai", request_model="s-8b", **RATE_LIMITED),
            llm("outer 2", "chain", 3, 6, scope_name="langchain", request_model="t-70b", tokens=(60, 30)),
            llm("inner 2", "app", 4, 5, scope_name="openai", request_model="t-70b", tokens=(60, 30)),
        ],
        {"app": "none", "chain": "none", "outer 1": "duplicate", "inner 1": "none", "outer 2": "duplicate", "inner 2": "own"},
        {"input_tokens": 60, "n_model_calls": 2, "n_logical_calls": 1, "n_fallback_calls": 1, "fallback_to": "t-70b"},
    ),
    # the outer one was not told its usage; a second call alike within its time is a call of its own
    "langchain beside openai, stream": (
        [
            llm("outer", "", 1, 7, scope_name="langchain", request_model="s-8b"),
            llm("inner", "", 2, 4, scope_name="openai", request_model="s-8b", tokens=(40, 7)),
            llm("outer 2", "", 1, 6, scope_name="langchain", request_model="s-8b", tokens=(41, 7)),
        ],
        {"outer": "duplicate", "inner": "own", "outer 2": "own"},
        {"input_tokens": 81, "n_model_calls": 2},
    ),
    "one instrumentation, calls within calls' time": (
        [
            llm("long", "", 1, 7, scope_name="openai", request_model="s-8b", tokens=(40, 7)),
            llm("short", "", 2, 4, scope_name="openai", request_model="s-8b", tokens=(40, 7)),
            llm("other", "", 2, 4, scope_name="anthropic", request_model="c", tokens=(40, 7)),
        ],
        {"long": "own", "short": "own", "other": "own"},
        {"input_tokens": 120, "n_model_calls": 3},
    ),
    # the log comes right after the end of the stream
    "logfire stream": (
        [
            span("app", "", 0, 9),
            llm("opened", "app", 1, 1.1, scope_name="logfire.openai", request_model="s-8b"),
            llm(
                "log",
                "app",
                2,
                2,
                scope_name="logfire.openai",
                request_model="s-8b",
                tokens=(50, 20),
                name="streaming response from x",
            ),
            llm("next", "app", 3, 4, scope_name="logfire.openai", request_model="s-8b", tokens=(1, 2)),
        ],
        {"app": "none", "opened": "duplicate", "log": "own", "next": "own"},
        {"input_tokens": 51, "output_tokens": 22, "n_model_calls": 2, "n_logical_calls": 2},
    ),
    # 5.3.6: nothing below has usage: the agent's count is all there is
    "uninstrumented client": (
        [span("agent", "", 0, 5, kind="agent", tokens=(100, 10)), span("tool", "agent", 1, 2, kind="tool")],
        {"agent": "own", "tool": "none"},
        {"input_tokens": 100, "n_model_calls": 0, "n_logical_calls": 0},
    ),
    # 5.3.5: 10+3 of 14+6 tokens are explained; the rest is not invented
    "children sampled out": (
        [span("agent", "", 0, 5, kind="agent", tokens=(14, 6)), llm("chat", "agent", 1, 2, tokens=(10, 3))],
        {"agent": "aggregate", "chat": "own"},
        {"input_tokens": 10, "output_tokens": 3, "quality_flags": ["aggregate_uncovered"]},
    ),
    # 4.6, 5.3.7: the parent lost its attributes; its error was made good by the raw child
    "litellm callback, lost parent": (
        [
            llm("app", "", 0, 5, status="error", error_type="InternalServerError"),
            span("raw", "app", 3, 4.9, name="raw_gen_ai_request", response_model="t-70b", tokens=(20, 4), status="ok"),
        ],
        {"app": "none", "raw": "own"},
        {"input_tokens": 20, "n_logical_calls": 1, "n_retried_calls": 1, "retried": True, "errored": False, "models": ["t-70b"]},
    ),
    # the parent asked the student, the teacher's answer is in the raw child: no retry
    "litellm callback, fallback": (
        [
            llm("app", "", 0, 5, status="error", error_type="InternalServerError", request_model="s-8b"),
            span("raw", "app", 3, 4.9, name="raw_gen_ai_request", response_model="t-70b-2026-01-01", tokens=(20, 4), status="ok"),
        ],
        {"app": "none", "raw": "own"},
        {"retried": False, "fell_back": True, "fallback_to": "t-70b-2026-01-01", "model": "s-8b", "n_logical_calls": 1},
    ),
    # a stream whose parent ended first: a call of which only the model is known
    "litellm callback, stream": (
        [
            span("app", "", 0, 5, model_route="student"),
            llm("raw", "app", 3, 4.9, name="raw_gen_ai_request", response_model="s-8b", status="ok"),
        ],
        {"app": "none", "raw": "none"},
        {"n_model_calls": 1, "n_logical_calls": 1, "input_tokens": None, "quality_flags": ["unpriced", "usage_unknown"]},
    ),
    "litellm callback, parent with usage": (
        [
            llm("app", "", 0, 5, status="ok", tokens=(20, 4)),
            span("raw", "app", 3, 4.9, name="raw_gen_ai_request", tokens=(20, 4)),
        ],
        {"app": "own", "raw": "duplicate"},
        {"input_tokens": 20, "n_model_calls": 1, "n_logical_calls": 1, "retried": False},
    ),
    # 3.8: status OK and error.type: one try inside failed before
    "litellm callback, retry on one span": (
        [llm("call", "", 0, 5, status="ok", error_type="InternalServerError", has_exception=True, tokens=(20, 4))],
        {"call": "own"},
        {"retried": True, "errored": False, "n_retried_calls": 1, "timed_out": False},
    ),
    "litellm v2 siblings share a call id": (
        [
            span("server", "", 0, 9, model_route="student", status="unset"),
            llm("first", "server", 1, 2, call_group="c1", request_model="openai/s-8b", status="error", http_status=500),
            llm("second", "server", 2.1, 3, call_group="c1", request_model="s-8b", status="error", http_status=500),
            llm("third", "server", 3.1, 4, call_group="c1", request_model="t-70b", tokens=(5, 5)),
        ],
        {"server": "none", "first": "none", "second": "none", "third": "own"},
        {
            "n_logical_calls": 1,
            "n_model_calls": 3,
            "n_retried_calls": 1,
            "n_fallback_calls": 1,
            "fell_back": True,
            "fallback_to": "t-70b",
            "model": "openai/s-8b",
            "models": ["t-70b"],
            "errored": False,
            "cost_usd": Decimal("0.000010000"),
        },
    ),
    # 6.1 OpenInference LiteLLM: only the order and the error say it
    "openinference litellm retry": (
        [
            span("app", "", 0, 9, model_route="student"),
            llm("one", "app", 1, 2, request_model="s-8b", **RATE_LIMITED),
            llm("two", "app", 2.5, 4, request_model="s-8b-2026-01-01", tokens=(3, 4)),
        ],
        {"app": "none", "one": "none", "two": "own"},
        {
            "retried": True,
            "fell_back": False,
            "n_logical_calls": 1,
            "cost_usd": Decimal("0.000007000"),
            "quality_flags": ["attempt_inferred", "cost_failed_free"],
        },
    ),
    # without attempt spans the list of models on the agent says who was asked first
    "pydantic ai fallback, before attempt spans": (
        [
            span("agent", "", 0, 9, kind="agent", operation="invoke_agent", request_model="fallback:s-8b,t-70b"),
            llm("chat", "agent", 1, 8, request_model="t-70b", response_model="t-70b-2026-01-01", tokens=(60, 30)),
        ],
        {"agent": "none", "chat": "own"},
        {"fell_back": True, "retried": False, "model": "s-8b", "fallback_to": "t-70b-2026-01-01", "n_fallback_calls": 1},
    ),
    "pydantic ai fallback model, first answers": (
        [
            span("agent", "", 0, 9, kind="agent", operation="invoke_agent", request_model="fallback:s-8b,t-70b"),
            llm("chat", "agent", 1, 8, request_model="s-8b", response_model="s-8b-2026-01-01", tokens=(60, 30)),
        ],
        {"agent": "none", "chat": "own"},
        {"fell_back": False, "retried": False, "model": "s-8b", "n_fallback_calls": 0},
    ),
    # 5.3.8: the rejected answer's 7+1 tokens were billed too; the chat span is the winner
    "pydantic ai fallback": (
        [
            span("agent", "", 0, 9, kind="agent", operation="invoke_agent", model_route="student"),
            llm("chat", "agent", 1, 8, request_model="t-70b", response_model="t-70b", tokens=(10, 2), ttft_ns=3),
            span(
                "try",
                "chat",
                1,
                3,
                kind="attempt",
                name="model request attempt s-8b",
                request_model="s-8b",
                status="error",
                attempt_index=0,
                tokens=(7, 1),
            ),
        ],
        {"agent": "none", "chat": "own", "try": "attempt"},
        {
            "input_tokens": 17,
            "output_tokens": 3,
            "n_model_calls": 1,
            "n_logical_calls": 1,
            "n_fallback_calls": 1,
            "n_retried_calls": 0,
            "fallback_to": "t-70b",
            "model": "s-8b",
            "ttft_ns": 3,
            "errored": False,
        },
    ),
    # 4.9: the root repeats what the attempt that answered says
    "openrouter attempts": (
        [
            llm("generation", "", 0, 9, name="LLM Generation", request_model="x/m", tokens=(9, 1)),
            span(
                "p1",
                "generation",
                0.1,
                3,
                name="provider attempt 1: a",
                kind="attempt",
                request_model="x/m",
                status="error",
                http_status=502,
            ),
            span(
                "p2",
                "generation",
                3,
                9,
                name="provider attempt 2: b",
                kind="attempt",
                request_model="x/m",
                status="ok",
                tokens=(9, 1),
            ),
        ],
        {"generation": "own", "p1": "none", "p2": "duplicate"},
        {"input_tokens": 9, "n_logical_calls": 1, "n_model_calls": 1, "retried": True, "fell_back": False},
    ),
    # provider SDK: invisible but for the HTTP spans below
    "http spans below the call": (
        [
            llm("call", "", 0, 5, tokens=(1, 1)),
            span("post1", "call", 0.1, 1, http_status=503, status="error"),
            span("post2", "call", 1.5, 5, http_status=200),
        ],
        {"call": "own", "post1": "none", "post2": "none"},
        {"retried": True, "n_retried_calls": 1, "errored": False},
    ),
    "client over gateway in two services": (
        [
            llm("client", "", 0, 5, tokens=(30, 3), service_name="support"),
            span("gateway", "client", 1, 4, kind="llm", operation="chat", tokens=(30, 3), service_name="envoy"),
        ],
        {"client": "aggregate", "gateway": "own"},
        {"input_tokens": 30, "service_name": "support", "n_logical_calls": 1},
    ),
    # 5.3.4: the same call twice, side by side; the inner one in time is nearest the provider
    "told by two siblings": (
        [
            span("app", "", 0, 9),
            llm("sdk", "app", 1, 5, tokens=(30, 3), response_id="chatcmpl-9fK2xLq81ZbVn0wT", service_name="support"),
            llm("proxy", "app", 1.2, 4.8, tokens=(30, 3), response_id="chatcmpl-9fK2xLq81ZbVn0wT", service_name="proxy"),
        ],
        {"app": "none", "sdk": "duplicate", "proxy": "own"},
        {"input_tokens": 30, "n_model_calls": 1, "quality_flags": ["told_twice"]},
    ),
    "a stub's constant id": (
        [
            span("app", "", 0, 9),
            llm("one", "app", 1, 2, tokens=(30, 3), response_id="chatcmpl-stub-0001-abcdef"),
            llm("two", "app", 1.5, 3, tokens=(30, 3), response_id="chatcmpl-stub-0001-abcdef"),
        ],
        {"app": "none", "one": "own", "two": "own"},
        {"input_tokens": 60, "n_model_calls": 2},
    ),
    "a repeated id, one service, one after the other": (
        [
            span("app", "", 0, 9),
            llm("one", "app", 1, 2, tokens=(30, 3), response_id="chatcmpl-9fK2xLq81ZbVn0wT"),
            llm("two", "app", 3, 4, tokens=(30, 3), response_id="chatcmpl-9fK2xLq81ZbVn0wT"),
        ],
        {"app": "none", "one": "own", "two": "own"},
        {"input_tokens": 60, "n_model_calls": 2},
    ),
    # 8.4.4
    "inline evaluator": (
        [
            span("app", "", 0, 9, model_route="student"),
            llm("chat", "app", 1, 2, tokens=(10, 5), request_model="s-8b", ttft_ns=9),
            span("judge", "chat", 2, 5, kind="evaluator", tokens=(500, 1)),
            llm("judge call", "judge", 3, 5, tokens=(500, 1), request_model="judge", status="error"),
        ],
        {"app": "none", "chat": "own", "judge": "aggregate", "judge call": "own"},
        {
            "input_tokens": 10,
            "n_model_calls": 1,
            "models": ["s-8b"],
            "errored": False,
            "cost_usd": Decimal("0.000015000"),
            "evaluation_cost_usd": Decimal("0.000501000"),
            "n_spans": 4,
        },
    ),
    "router's classifier is billed but nobody's call": (
        [
            span("app", "", 0, 9),
            llm(
                "classify",
                "app",
                1,
                2,
                tokens=(5, 1),
                request_model="tiny",
                model_route="router",
                hints={"litellm.request.purpose": "autorouter_classifier"},
            ),
            llm("chat", "app", 2, 3, tokens=(10, 5), request_model="s-8b", model_route="student"),
        ],
        {"app": "none", "classify": "own", "chat": "own"},
        {"n_model_calls": 1, "n_logical_calls": 1, "model_route": "student", "model": "s-8b", "input_tokens": 15},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_tree(name: str) -> None:
    rows, scopes, expected = CASES[name]
    assembled = assemble_spans(frame(rows), AssemblyRules())
    assert dict(assembled.select("span_id", "usage_scope").iter_rows()) == scopes
    [facts] = summarise_traces(priced(assembled)).to_dicts()
    assert {column: facts[column] for column in expected} == expected


def test_labels_of_a_retry_and_a_fallback() -> None:
    rows = CASES["litellm v2 siblings share a call id"][0]
    labels = assemble_spans(frame(rows), AssemblyRules()).filter(pl.col("kind") == "llm")
    assert labels.select(
        "span_id", "logical_call_id", "attempt_index", "attempt_kind", "attempt_evidence", "fallback_from"
    ).rows() == [
        ("first", "first", 0, "first", "", ""),
        ("second", "first", 1, "retry", "call_group", ""),
        ("third", "first", 2, "fallback", "call_group", "openai/s-8b"),
    ]
