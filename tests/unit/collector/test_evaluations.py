"""Every form of evaluation, in the shape that released packages send it."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from collector.evaluations import CANDIDATE_KEYS, CANDIDATE_SPANS, EVENTS, LOG_RECORDS, from_events, from_logs, from_spans
from storage.errors import FrameShapeError
from storage.evaluations import EVALUATION_RECORDS
from tests.support.frames import ARRIVED, AT, PARENT, SPAN, TRACE, events, logs, said, spans

ON_SPAN = {"target_scope": "span", "target_trace_id": TRACE, "target_span_id": SPAN}
LINKED_TRACE, LINKED_SPAN = "d" * 32, "e" * 16


def test_a_span_event_judges_its_span() -> None:
    frame = from_events(
        events(
            {
                "attributes": {
                    "gen_ai.evaluation.name": "faithfulness",
                    "gen_ai.evaluation.score.value": 0.25,
                    "gen_ai.evaluation.score.label": "fail",
                    "gen_ai.evaluation.explanation": "made up",
                    "rollout.evaluation.version": "v3",
                    "rollout.evaluation.rule": "5%",
                }
            }
        )
    )
    assert said(frame) == [
        {
            **ON_SPAN,
            "name": "faithfulness",
            "score": 0.25,
            "label": "fail",
            "explanation": "made up",
            "annotator_kind": "unknown",
            "evaluator_version": "v3",
            "sampling_rule": "5%",
            "source_dialect": "genai",
            "source_form": "span_event",
        }
    ]
    assert frame["evaluated_at"].to_list() == [AT]
    assert frame["received_at"].to_list() == [ARRIVED]
    assert frame.schema == EVALUATION_RECORDS


def test_a_high_hallucination_score_is_no_verdict_here() -> None:
    """Nobody said which direction is good."""
    frame = from_events(
        events({"attributes": {"gen_ai.evaluation.name": "HallucinationScore", "gen_ai.evaluation.score.value": 0.9}})
    )
    assert frame["passed"].to_list() == [None]


@pytest.mark.parametrize(
    ("sent", "score"),
    [("0.5", 0.5), (" 1 ", 1.0), ("true", 1.0), ("False", 0.0), ("NaN", None), ("inf", None), ("good", None), ("", None)],
)
def test_scores_as_they_come(sent: str, score: float | None) -> None:
    frame = from_events(events({"attributes": {"gen_ai.evaluation.name": "x", "gen_ai.evaluation.score.value": sent}}))
    assert frame["score"].to_list() == [score]


@pytest.mark.parametrize("sent", ["", "None", "null", "undefined"])
def test_what_means_not_set_is_unknown(sent: str) -> None:
    frame = from_events(events({"attributes": {"gen_ai.evaluation.name": sent, "gen_ai.evaluation.score.label": sent}}))
    assert said(frame)[0] == {
        **ON_SPAN,
        "name": "unnamed",
        "annotator_kind": "unknown",
        "source_dialect": "genai",
        "source_form": "span_event",
    }


def test_openlit_sends_one_result_twice_under_one_identifier() -> None:
    attributes = {
        "gen_ai.evaluation.name": "toxicity",
        "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.score.label": "true",
        "openlit.score.idempotency_key": "k1",
    }
    event = from_events(events({"attributes": attributes, "scope_name": "openlit.evals"}))
    record = from_logs(logs({"attributes": attributes, "trace_id": TRACE, "span_id": SPAN, "scope_name": "openlit.evals"}))
    key = ["target_scope", "target_trace_id", "target_span_id", "name", "identifier"]
    assert event.select(key).equals(record.select(key))
    assert event["source_dialect"].to_list() == record["source_dialect"].to_list() == ["olt"]


@pytest.mark.parametrize(
    "record",
    [
        {"event_name": "gen_ai.evaluation.result"},
        {"event_name": "", "event.name": "gen_ai.evaluation.result"},
        {"event_name": "", "microsoft.custom_event.name": "gen_ai.evaluation.result"},
        {"event_name": "", "body": "gen_ai.evaluation.result"},
    ],
)
def test_the_name_of_the_event_is_found_wherever_sdks_put_it(record: dict[str, str]) -> None:
    row = {name: record.pop(name) for name in ("event_name", "body") if name in record}
    attributes = {"gen_ai.evaluation.name": "x", "gen_ai.response.id": "r1", **record}
    assert said(from_logs(logs({**row, "attributes": attributes})))[0]["target_response_id"] == "r1"


def test_other_log_records_yield_nothing() -> None:
    frame = from_logs(
        logs(
            {"event_name": "gen_ai.client.inference.operation.details", "attributes": {"gen_ai.evaluation.name": "x"}},
            {"event_name": "", "body": "hello", "attributes": {}},
        )
    )
    assert frame.is_empty()
    assert frame.schema == EVALUATION_RECORDS


@pytest.mark.parametrize(
    ("row", "attributes", "target"),
    [
        ({"trace_id": TRACE, "span_id": SPAN}, {"gen_ai.response.id": "r", "session.id": "s"}, ON_SPAN),
        ({"trace_id": TRACE}, {"gen_ai.response.id": "r"}, {"target_scope": "span", "target_response_id": "r"}),
        ({"trace_id": TRACE}, {"session.id": "s"}, {"target_scope": "trace", "target_trace_id": TRACE}),
        ({}, {"gen_ai.conversation.id": "s"}, {"target_scope": "session", "target_session_id": "s"}),
        ({}, {}, {}),
    ],
)
def test_exactly_one_target_the_nearest(row: dict[str, str], attributes: dict[str, str], target: dict[str, str]) -> None:
    (found,) = said(from_logs(logs({**row, "attributes": {"gen_ai.evaluation.name": "x", **attributes}})))
    assert {name: value for name, value in found.items() if name.startswith("target_")} == target


def test_azure_flags_thresholds_and_the_evaluators_own_tokens() -> None:
    internal = {
        "gen_ai.evaluation.passed": "false",
        "gen_ai.evaluation.threshold": "3",
        "gen_ai.evaluation.desirable_direction": "increase",
        "gen_ai.evaluation.usage.input_tokens": "812",
    }
    attributes = {
        "gen_ai.evaluation.name": "coherence",
        "gen_ai.evaluation.score.value": 2,
        "microsoft.custom_event.name": "gen_ai.evaluation.result",
        "gen_ai.response.id": "resp_1",
        "internal_properties": json.dumps(internal),
    }
    (row,) = said(from_logs(logs({"event_name": "", "attributes": attributes})))
    assert row["passed"] is False
    assert row["source_dialect"] == "az"
    assert dict(row["metadata"]) == internal or row["metadata"] == [{"key": k, "value": v} for k, v in internal.items()]


def test_azures_own_failure_is_the_evaluators_not_the_models() -> None:
    attributes = {
        "gen_ai.evaluation.name": "coherence",
        "gen_ai.response.id": "r",
        "internal_properties": '{"gen_ai.evaluation.status": "error"}',
    }
    with_message = {**attributes, "error.type": "the judge was rate limited"}
    frame = from_logs(logs({"attributes": attributes}, {"attributes": with_message}))
    assert sorted(frame["evaluator_error"]) == ["error", "the judge was rate limited"]
    assert frame["passed"].to_list() == [None, None]


@pytest.mark.parametrize("text", ["{", "[]", "3", "{'a': 1}"])
def test_unreadable_internal_properties_are_left_alone(text: str) -> None:
    attributes = {"gen_ai.evaluation.name": "x", "gen_ai.response.id": "r", "internal_properties": text}
    assert from_logs(logs({"attributes": attributes}))["passed"].to_list() == [None]


def test_azure_human_feedback_says_who() -> None:
    attributes = {
        "gen_ai.evaluation.name": "task_completion",
        "gen_ai.evaluation.score.label": "pass",
        "gen_ai.response.id": "r",
        "microsoft.gen_ai.human_evaluation.source": "end_user",
        "microsoft.gen_ai.evaluation.actor.type": "human",
    }
    assert from_logs(logs({"attributes": attributes}))["annotator_kind"].to_list() == ["user"]


def test_openinference_inline_annotations_with_gaps_and_scopes() -> None:
    attributes = {
        "openinference.span.kind": "LLM",
        "session.id": "s1",
        "annotations.0.annotation.name": "relevance",
        "annotations.0.annotation.score": 0.5,
        "annotations.0.annotation.annotator_kind": "LLM",
        "annotations.0.annotation.metadata": '{"model": "judge", "n": 2}',
        "annotations.7.annotation.name": "tone",
        "annotations.7.annotation.label": "rude",
        "annotations.7.annotation.identifier": "reviewer-1",
        "trace.evaluations.0.evaluation.name": "helpful",
        "trace.evaluations.0.evaluation.label": "yes",
        "session.annotations.0.annotation.name": "resolved",
        "session.annotations.0.annotation.score": 1,
    }
    rows = {row["name"]: row for row in said(from_spans(spans({"attributes": attributes})))}
    base = {"annotator_kind": "unknown", "source_dialect": "oi", "source_form": "attribute"}
    metadata = rows["relevance"].pop("metadata")
    assert dict(metadata) == {"model": "judge", "n": "2"}
    assert rows == {
        "relevance": {**base, **ON_SPAN, "name": "relevance", "score": 0.5, "annotator_kind": "model"},
        "tone": {**base, **ON_SPAN, "name": "tone", "label": "rude", "identifier": "reviewer-1"},
        "helpful": {**base, "target_scope": "trace", "target_trace_id": TRACE, "name": "helpful", "label": "yes"},
        "resolved": {**base, "target_scope": "session", "target_session_id": "s1", "name": "resolved", "score": 1.0},
    }


@pytest.mark.parametrize(
    ("links", "target"),
    [
        (
            [{"trace_id": LINKED_TRACE, "span_id": LINKED_SPAN}],
            {"target_scope": "span", "target_trace_id": LINKED_TRACE, "target_span_id": LINKED_SPAN},
        ),
        ([], {}),
        ([{"trace_id": LINKED_TRACE, "span_id": LINKED_SPAN}, {"trace_id": TRACE, "span_id": SPAN}], {}),
    ],
)
def test_an_openinference_evaluator_span_judges_its_one_link_never_its_parent(
    links: list[dict[str, str]], target: dict[str, str]
) -> None:
    attributes = {"openinference.span.kind": "evaluator", "annotations.0.annotation.name": "x"}
    (row,) = said(from_spans(spans({"attributes": attributes, "links": links})))
    assert {name: value for name, value in row.items() if name.startswith("target_")} == target
    assert row["source_form"] == "carrier_span"


@pytest.mark.parametrize(
    ("extra", "target", "form"),
    [
        ({"gen_ai.span.kind": "EVALUATOR", "gen_ai.evaluation.target_span_id": LINKED_SPAN.upper()}, LINKED_SPAN, "carrier_span"),
        ({"gen_ai.span.kind": "EVALUATOR"}, PARENT, "carrier_span"),
        ({}, SPAN, "attribute"),
    ],
)
def test_traceai_names_its_target_else_judges_its_parent(extra: dict[str, str], target: str, form: str) -> None:
    attributes = {"gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.value": 0.9, **extra}
    (row,) = said(from_spans(spans({"attributes": attributes})))
    assert (row["target_trace_id"], row["target_span_id"], row["source_form"]) == (TRACE, target, form)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (True, {"passed": True}),
        (False, {"passed": False}),
        (0.1, {"score": 0.1}),
        (3, {"score": 3.0}),
        ("true", {"label": "true"}),
    ],
)
def test_logfire_feedback_is_read_by_the_type_of_its_value(value: Any, read: dict[str, Any]) -> None:
    attributes = {
        "logfire.span_type": "annotation",
        "logfire.feedback.name": "factuality",
        "factuality": value,
        "logfire.feedback.comment": "the agent lied",
    }
    (row,) = said(from_spans(spans({"attributes": attributes, "scope_name": "logfire.feedback"})))
    assert row == {
        "target_scope": "span",
        "target_trace_id": TRACE,
        "target_span_id": PARENT,
        "name": "factuality",
        "explanation": "the agent lied",
        "annotator_kind": "unknown",
        "source_dialect": "pai",
        "source_form": "child_span",
        **read,
    }


@pytest.mark.parametrize(
    ("attributes", "passed", "error"),
    [
        ({"gen_ai.guardrail.status": "PASSED", "gen_ai.guardrail.name": "pii"}, True, ""),
        ({"gen_ai.guardrail.status": "FAILED", "gen_ai.guardrail.name": "pii"}, False, ""),
        ({"litellm.guardrail.name": "pii", "litellm.guardrail.status": "success"}, True, ""),
        ({"litellm.guardrail.name": "pii", "litellm.guardrail.status": "guardrail_intervened"}, False, ""),
        (
            {"litellm.guardrail.name": "pii", "litellm.guardrail.status": "guardrail_failed_to_respond"},
            None,
            "guardrail_failed_to_respond",
        ),
    ],
)
def test_guardrails_carry_an_explicit_flag(attributes: dict[str, str], passed: bool | None, error: str) -> None:
    frame = from_spans(spans({"attributes": attributes}))
    assert frame.select("name", "passed", "evaluator_error", "annotator_kind").rows() == [("pii", passed, error, "code")]


def test_a_persons_decision_in_a_graph_is_a_review() -> None:
    attributes = {"langgraph.human.decision": "modified", "langgraph.human.feedback": "wrong amount"}
    frame = from_spans(spans({"attributes": attributes}))
    assert frame.select("name", "label", "passed", "annotator_kind", "explanation").rows() == [
        ("human_review", "modified", None, "human", "wrong amount")
    ]


def test_a_span_that_speaks_two_forms_yields_both() -> None:
    attributes = {"gen_ai.guardrail.status": "PASSED", "annotations.0.annotation.name": "x"}
    assert sorted(from_spans(spans({"attributes": attributes}))["name"]) == ["guardrail", "x"]


def test_spans_without_evaluations_yield_nothing() -> None:
    assert from_spans(spans({"attributes": {"gen_ai.request.model": "m", "annotations": "x"}})).is_empty()


@pytest.mark.parametrize("name", ["Thumbs", "user-feedback", "correction"])
def test_feedback_names_say_that_a_user_spoke(name: str) -> None:
    frame = from_events(events({"attributes": {"gen_ai.evaluation.name": name}}))
    assert frame.select("name", "annotator_kind").rows() == [(name, "user")]


@pytest.mark.parametrize(("read", "schema"), [(from_events, EVENTS), (from_logs, LOG_RECORDS), (from_spans, CANDIDATE_SPANS)])
def test_empty_in_empty_out_and_shapes_are_checked(read: Any, schema: pl.Schema) -> None:
    assert read(schema.to_frame()).schema == EVALUATION_RECORDS
    with pytest.raises(FrameShapeError, match="attributes"):
        read(schema.to_frame().drop("attributes"))


def test_row_order_does_not_matter() -> None:
    rows = [{"attributes": {"gen_ai.evaluation.name": f"n{n}", "gen_ai.evaluation.score.value": n}} for n in range(6)]
    assert from_events(events(*rows)).equals(from_events(events(*reversed(rows))))


def test_the_candidate_pattern_knows_every_form() -> None:
    matching = [
        "gen_ai.evaluation.name",
        "gen_ai.guardrail.status",
        "litellm.guardrail.status",
        "logfire.feedback.name",
        "langgraph.human.decision",
        "annotations.12.annotation.label",
        "trace.evaluations.0.evaluation.score",
        "session.annotations.0.annotation.name",
    ]
    others = ["annotations", "gen_ai.usage.input_tokens", "my.annotations.0.annotation.name", "evaluations.x.evaluation.score"]
    keys = pl.Series(matching + others)
    assert keys.str.contains(CANDIDATE_KEYS).to_list() == [True] * len(matching) + [False] * len(others)


def test_many_spans_are_read_like_few() -> None:
    """More rows than one morsel of the engine, in one form and in all at once."""
    inline = {"annotations.0.annotation.name": "x"}
    many = spans(*[{"span_id": f"{n:016x}", "attributes": inline} for n in range(5000)])
    assert len(from_spans(many)) == 5000
    feedback = {"attributes": {"logfire.feedback.name": "thumbs", "thumbs": True}}
    assert len(from_spans(pl.concat([many, spans(feedback, {"attributes": {"gen_ai.guardrail.status": "PASSED"}})]))) == 5002
    assert len(from_events(events(*[{"attributes": {"gen_ai.evaluation.name": f"n{n}"}} for n in range(5000)]))) == 5000
    assert len(from_logs(logs(*[{"attributes": {"gen_ai.evaluation.name": f"n{n}"}} for n in range(5000)]))) == 5000
