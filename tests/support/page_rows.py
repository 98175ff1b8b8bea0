"""Traces for pages: a losing pair, ordinary ones, one with a retry and a fallback, and one with hostile content."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from storage.client import Store
from tests.support import rollout_story as story

HOSTILE = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>\"'}}{{7*7}}<!--"
STUDENT_TRACE = "5" * 32
TEACHER_TRACE = "7" * 32
FALLBACK_TRACE = "f" * 32
HOSTILE_TRACE = "d" * 32
USER = "user-4711"
ANSWER = "You can get your money back any time, no conditions apply."
GOOD_ANSWER = "Under the terms you accepted, refunds are possible within 14 days of delivery."
START = story.AS_OF - timedelta(hours=1)
_TIME = pl.Datetime("ns", "UTC")
_MONEY = pl.Decimal(18, 9)


def write_rows(store: Store) -> tuple[str, ...]:
    """Insert every trace; returns the ids of the failing ones an alert would name."""
    spans: list[dict[str, Any]] = []
    facts: list[dict[str, Any]] = []
    outcomes: list[dict[str, Any]] = []
    evaluations: list[dict[str, Any]] = []
    for n in range(60):
        _trace(
            spans, facts, f"{n:032x}", START - timedelta(minutes=n), "student" if n % 4 == 0 else "teacher", "billing_question"
        )
    for trace_id, route, answer, passed in (
        (TEACHER_TRACE, "teacher", GOOD_ANSWER, True),
        (STUDENT_TRACE, "student", ANSWER, False),
    ):
        start = START + timedelta(minutes=1 if passed else 2)
        _trace(spans, facts, trace_id, start, route, story.LOSING, user_id=USER, answer=answer)
        _judge(outcomes, evaluations, trace_id, start, passed, "" if passed else "Invents a policy that the terms contradict.")
    _fallback(spans, facts)
    _hostile(spans, facts, outcomes, evaluations)
    store.insert("span_records", _frame(spans))
    store.insert("span_facts", _frame([_span_fact(span) for span in spans]))
    store.insert("trace_facts", _frame(facts))
    store.insert("trace_outcomes", _frame(outcomes))
    store.insert("evaluation_records", _frame(evaluations))
    _ledger(store)
    return (STUDENT_TRACE,)


def write_failure(store: Store, trace_id: str, cohort: str) -> None:
    """One more trace of the student's that failed, newer than the others."""
    spans: list[dict[str, Any]] = []
    facts: list[dict[str, Any]] = []
    outcomes: list[dict[str, Any]] = []
    evaluations: list[dict[str, Any]] = []
    start = START + timedelta(minutes=3)
    _trace(spans, facts, trace_id, start, "student", cohort)
    _judge(outcomes, evaluations, trace_id, start, False, "Wrong again.")
    for table, rows in (
        ("span_records", spans),
        ("trace_facts", facts),
        ("trace_outcomes", outcomes),
        ("evaluation_records", evaluations),
    ):
        store.insert(table, _frame(rows))


def _ledger(store: Store) -> None:
    """A day's account of two signals: `received`, how many were refused, how many were masked out."""
    minute = START.replace(second=0, microsecond=0)
    rows = []
    for signal, received, rejected, masked in (("traces", 190, 4, 0), ("logs", 62, 0, 2)):
        accepted = received - rejected
        entries = (("received", "", received), ("rejected", "bad_trace_id", rejected), ("accepted", "", accepted))
        entries += (("written", "", accepted - masked), ("masked_out", "rule drop-debug", masked))
        rows += [
            {"minute": minute, "signal": signal, "key_id": "", "entry": entry, "reason": reason, "n_items": n, "source": "1"}
            for entry, reason, n in entries
            if n
        ]
    store.insert("ingest_ledger", pl.DataFrame(rows, schema_overrides={"minute": pl.Datetime("ms", "UTC")}))


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    times = {name: _TIME for name in rows[0] if isinstance(rows[0][name], datetime)}
    money = {name: _MONEY for name in rows[0] if name.endswith("_usd")}
    maps = {name: pl.Map(pl.String, pl.String) for name in ("attributes", "resource_attributes", "metadata") if name in rows[0]}
    return pl.DataFrame(rows, schema_overrides={**times, **money, **maps}, infer_schema_length=None)


def _span(trace_id: str, span_id: str, parent: str, name: str, start: datetime, seconds: float, **fields: Any) -> dict[str, Any]:
    end = start + timedelta(seconds=seconds)
    row: dict[str, Any] = {
        "trace_id": trace_id,
        "span_id": span_id,
        "parent_span_id": parent,
        "name": name,
        "span_kind": "client",
        "start_time": start,
        "end_time": end,
        "duration_ns": int(seconds * 1e9),
        "service_name": "support-agent",
        "environment": "production",
        "kind": "chain",
        "model_route": "",
        "cohort": "",
        "request_model": "",
        "input_tokens": None,
        "output_tokens": None,
        "reported_cost_usd": None,
        "ttft_ns": None,
        "status": "ok",
        "error_type": "",
        "attempt_index": None,
        "attempt_kind": "",
        "user_id": "",
        "attributes": {},
        "resource_attributes": {"service.name": "support-agent"},
        "metadata": {},
        "received_at": end,
        "row_version": 1,
    }
    return row | fields


def _trace(
    spans: list[dict[str, Any]],
    facts: list[dict[str, Any]],
    trace_id: str,
    start: datetime,
    route: str,
    cohort: str,
    *,
    user_id: str = "user-1",
    answer: str = "Your invoice was sent on Monday.",
    name: str = "answer",
) -> None:
    model = "teacher-70b" if route == "teacher" else "student-8b-v1"
    question = [{"role": "user", "parts": [{"type": "text", "content": "May I return this after the trial?"}]}]
    reply = [{"role": "assistant", "parts": [{"type": "text", "content": answer}]}]
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": json.dumps(question),
        "gen_ai.output.messages": json.dumps(reply),
        "rollout.route": route,
    }
    ids = {"model_route": route, "cohort": cohort, "user_id": user_id}
    spans += [
        _span(trace_id, trace_id[:15] + "1", "", name, start, 1.9, kind="agent", attributes={"rollout.cohort": cohort}, **ids),
        _span(
            trace_id,
            trace_id[:15] + "2",
            trace_id[:15] + "1",
            "search terms",
            start + timedelta(seconds=0.1),
            0.3,
            kind="retriever",
        ),
        _span(
            trace_id,
            trace_id[:15] + "3",
            trace_id[:15] + "1",
            f"chat {model}",
            start + timedelta(seconds=0.45),
            1.4,
            kind="llm",
            request_model=model,
            input_tokens=1240,
            output_tokens=312,
            reported_cost_usd=Decimal("0.0184") if route == "teacher" else Decimal("0.0056"),
            ttft_ns=420_000_000,
            attributes=attributes,
            **ids,
        ),
    ]
    facts.append(_fact(trace_id, start, route, cohort, user_id, name))


def _fact(trace_id: str, start: datetime, route: str, cohort: str, user_id: str, name: str, **fields: Any) -> dict[str, Any]:
    model = "teacher-70b" if route == "teacher" else "student-8b-v1"
    row: dict[str, Any] = {
        "trace_id": trace_id,
        "started_at": start,
        "service_name": "support-agent",
        "environment": "production",
        "model_route": route,
        "model": model,
        "models": [model],
        "prompt_version": "p-14",
        "cohort": cohort,
        "session_id": "",
        "user_id": user_id,
        "mirror_role": "",
        "mirror_group": "",
        "name": name,
        "duration_ns": 1_900_000_000,
        "ttft_ns": 870_000_000,
        "n_spans": 3,
        "n_model_calls": 1,
        "n_logical_calls": 1,
        "retried": False,
        "fell_back": False,
        "fallback_to": "",
        "timed_out": False,
        "errored": False,
        "input_tokens": 1240,
        "output_tokens": 312,
        "cost_usd": Decimal("0.0184") if route == "teacher" else Decimal("0.0056"),
        "cost_source": "reported",
        "received_at": start,
        "computed_at": start,
        "is_deleted": 0,
    }
    return row | fields


def _span_fact(span: dict[str, Any]) -> dict[str, Any]:
    is_call = span["kind"] == "llm"
    is_attempt = span["attempt_kind"] != ""
    return {
        "start_hour": span["start_time"].replace(minute=0, second=0, microsecond=0),
        "trace_id": span["trace_id"],
        "span_id": span["span_id"],
        "model_route": span["model_route"],
        "cohort": span["cohort"],
        "user_id": span["user_id"],
        "is_model_call": is_call,
        "usage_scope": "own" if is_call else "none",
        "logical_call_id": (span["span_id"][:-1] + "0" if is_attempt else span["span_id"]) if is_call else "",
        "attempt_index": span["attempt_index"],
        "attempt_kind": span["attempt_kind"],
        "attempt_evidence": "explicit" if is_attempt else "",
        "cost_usd": span["reported_cost_usd"],
        "cost_source": "reported" if is_call else "",
        "computed_at": span["end_time"],
        "is_deleted": 0,
    }


def _judge(
    outcomes: list[dict[str, Any]],
    evaluations: list[dict[str, Any]],
    trace_id: str,
    start: datetime,
    passed: bool,
    explanation: str,
) -> None:
    score = 0.92 if passed else 0.21
    outcomes.append(
        {
            "trace_id": trace_id,
            "started_at": start,
            "mirror_role": "",
            "metric": "eval_fail",
            "evaluator": "TaskCompletion",
            "evaluator_version": "judge-3",
            "n_verdicts": 1,
            "failed": not passed,
            "score": score,
            "failed_matured": not passed,
            "score_matured": score,
            "n_verdicts_matured": 1,
            "computed_at": start,
            "is_deleted": 0,
        }
    )
    evaluations.append(
        {
            "target_scope": "trace",
            "target_trace_id": trace_id,
            "name": "TaskCompletion",
            "score": score,
            "label": "pass" if passed else "fail",
            "passed": passed,
            "explanation": explanation,
            "annotator_kind": "model",
            "evaluator_version": "judge-3",
            "evaluation_id": f"e-{trace_id}",
            "evaluated_at": start + timedelta(seconds=30),
            "received_at": start + timedelta(seconds=31),
            "row_version": 1,
        }
    )


def _fallback(spans: list[dict[str, Any]], facts: list[dict[str, Any]]) -> None:
    """The student times out twice, then the teacher answers."""
    start = START + timedelta(minutes=5)
    ids = {"cohort": "complaint", "user_id": "user-2"}
    root = "fa11bac000000001"
    spans.append(_span(FALLBACK_TRACE, root, "", "answer", start, 6.2, kind="agent", model_route="student", **ids))
    tries = (
        ("student", "student-8b-v1", "first", "timeout", 0.1, 2.0),
        ("student", "student-8b-v1", "retry", "timeout", 2.2, 2.0),
    )
    for index, (route, model, kind, status, offset, seconds) in enumerate(
        (*tries, ("teacher", "teacher-70b", "fallback", "ok", 4.3, 1.8))
    ):
        spans.append(
            _span(
                FALLBACK_TRACE,
                f"fa11bac00000001{index}",
                root,
                f"chat {model}",
                start + timedelta(seconds=offset),
                seconds,
                kind="llm",
                model_route=route,
                request_model=model,
                status=status,
                error_type="timeout" if status == "timeout" else "",
                attempt_index=index,
                attempt_kind=kind,
                input_tokens=900 if status == "ok" else None,
                output_tokens=210 if status == "ok" else None,
                reported_cost_usd=Decimal("0.012") if status == "ok" else None,
                **ids,
            )
        )
    facts.append(
        _fact(
            FALLBACK_TRACE,
            start,
            "student",
            "complaint",
            "user-2",
            "answer",
            retried=True,
            fell_back=True,
            timed_out=True,
            fallback_to="teacher",
            n_spans=4,
            n_model_calls=3,
            cost_usd=Decimal("0.0201"),
        )
    )


def _hostile(
    spans: list[dict[str, Any]], facts: list[dict[str, Any]], outcomes: list[dict[str, Any]], evaluations: list[dict[str, Any]]
) -> None:
    """Everything a sender controls, hostile."""
    start = START + timedelta(minutes=7)
    _trace(spans, facts, HOSTILE_TRACE, start, "student", HOSTILE, user_id=HOSTILE, answer=HOSTILE, name=HOSTILE)
    spans[-1] |= {"attributes": spans[-1]["attributes"] | {HOSTILE: HOSTILE, "input.value": HOSTILE}, "error_type": HOSTILE}
    _judge(outcomes, evaluations, HOSTILE_TRACE, start, False, HOSTILE)
    evaluations[-1] |= {"name": HOSTILE, "label": HOSTILE}
