"""The scores API's payload: what is accepted, what is said about the rest, and the rows that come of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr

from collector.config import MaskingConfig, MaskRule
from collector.records import Signal
from collector.scores import RejectedScore, accept_scores, to_evaluations
from collector.spool import SpoolFullError
from storage.evaluations import EVALUATION_RECORDS
from tests.support.frames import said
from tests.support.receivers import ListSink, make_intake

TRACE, SPAN = "ab" * 16, "cd" * 8


def rows_of(sink: ListSink) -> pl.DataFrame:
    return to_evaluations([record.payload for record in sink.records])


def accept_one(score: dict[str, Any]) -> dict[str, Any]:
    sink = ListSink()
    receipt = accept_scores(make_intake(sink), [score], "k")
    assert receipt.rejected == ()
    (row,) = said(rows_of(sink))
    return row


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            {"trace_id": TRACE.upper(), "span_id": SPAN},
            {"target_scope": "span", "target_trace_id": TRACE, "target_span_id": SPAN},
        ),
        ({"traceId": TRACE}, {"target_scope": "trace", "target_trace_id": TRACE}),
        ({"session_id": "s 1"}, {"target_scope": "session", "target_session_id": "s 1"}),
        ({"response_id": "chatcmpl-1"}, {"target_scope": "span", "target_response_id": "chatcmpl-1"}),
    ],
)
def test_targets(target: dict[str, str], expected: dict[str, str]) -> None:
    row = accept_one({"name": "faithfulness", "score": 0.5, **target})
    assert {name: value for name, value in row.items() if name.startswith("target_")} == expected
    assert (row["name"], row["score"], row["source_form"]) == ("faithfulness", 0.5, "api")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, {"passed": True}),
        (False, {"passed": False}),
        (-1, {"score": -1.0}),
        (0.5, {"score": 0.5}),
        ("down", {"label": "down"}),
    ],
)
def test_a_bare_value_is_told_apart_by_its_type(value: Any, expected: dict[str, Any]) -> None:
    row = accept_one({"name": "thumbs", "trace_id": TRACE, "value": value})
    assert {name: row[name] for name in ("passed", "score", "label") if name in row} == expected
    assert row["annotator_kind"] == "user"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        # Langfuse's own names; a boolean is 0 or 1 there
        (
            {"dataType": "BOOLEAN", "value": 0, "source": "EVAL", "observationId": SPAN, "traceId": TRACE, "environment": "prod"},
            {"label": "false", "score": 0.0, "annotator_kind": "model", "target_span_id": SPAN,
             "metadata": {"data_type": "BOOLEAN", "environment": "prod"}},
        ),
        (
            {"dataType": "NUMERIC", "value": 0.25, "comment": "why", "traceId": TRACE, "source": "API"},
            {"score": 0.25, "explanation": "why", "metadata": {"data_type": "NUMERIC"}},
        ),
        ({"dataType": "CATEGORICAL", "value": "fail", "sessionId": "s"}, {"label": "fail", "target_session_id": "s"}),
        (
            {"dataType": "CORRECTION", "value": "no, 30 days", "traceId": TRACE, "source": "ANNOTATION"},
            {"explanation": "no, 30 days", "annotator_kind": "human", "metadata": {"data_type": "CORRECTION"}},
        ),
        # Phoenix nests what was found, and writes null for what was not
        (
            {"annotator_kind": "LLM", "trace_id": TRACE, "span_id": None, "identifier": None,
             "result": {"label": "ok", "score": 1, "explanation": None}},
            {"label": "ok", "score": 1.0, "annotator_kind": "model", "target_scope": "trace"},
        ),
        ({"datasetRunId": "run-1", "value": 0.9}, {"target_scope": "experiment_item", "identifier": "run-1/", "score": 0.9}),
    ],
)  # fmt: skip
def test_items_as_other_apis_take_them(item: dict[str, Any], expected: dict[str, Any]) -> None:
    row = accept_one({"name": "quality", **item})
    found = {name: row.get(name) for name in expected}
    if "metadata" in found:
        found["metadata"] = dict(found["metadata"])
    assert found == expected


def test_everything_a_score_may_say() -> None:
    sink = ListSink()
    score = {
        "id": "run-7",
        "name": "faithfulness",
        "trace_id": TRACE,
        "score": 0.2,
        "label": "fail",
        "passed": False,
        "comment": "made up",
        "annotator_kind": "model",
        "evaluator_version": "v2",
        "evaluator_error": "",
        "sampling_rule": "5%",
        "timestamp": "2026-03-01T13:00:00.250+01:00",
        "metadata": {"judge": "m", "n": 2},
    }
    accept_scores(make_intake(sink), [score], "k")
    frame = rows_of(sink)
    assert frame.schema == EVALUATION_RECORDS
    assert frame["evaluated_at"].to_list() == [datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)]
    (row,) = said(frame)
    assert dict(row.pop("metadata")) == {"judge": "m", "n": "2"}
    assert row == {
        "target_scope": "trace",
        "target_trace_id": TRACE,
        "name": "faithfulness",
        "score": 0.2,
        "label": "fail",
        "passed": False,
        "explanation": "made up",
        "annotator_kind": "model",
        "identifier": "run-7",
        "evaluator_version": "v2",
        "sampling_rule": "5%",
        "source_form": "api",
    }


@pytest.mark.parametrize("moment", ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00", "2026-03-01T12:00:00.123456Z", 1772366400])
def test_moments_with_and_without_fraction_and_zone(moment: Any) -> None:
    sink = ListSink()
    accept_scores(make_intake(sink), [{"name": "x", "trace_id": TRACE, "value": 1, "evaluated_at": moment}], "k")
    assert rows_of(sink)["evaluated_at"][0].replace(microsecond=0) == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_without_a_moment_it_was_judged_when_it_arrived() -> None:
    sink = ListSink()
    accept_scores(make_intake(sink), [{"name": "x", "trace_id": TRACE, "value": 1}], "k")
    frame = rows_of(sink)
    assert frame["evaluated_at"].to_list() == frame["received_at"].to_list()


@pytest.mark.parametrize(
    ("score", "error"),
    [
        ({"trace_id": TRACE, "value": 1}, "name: Field required"),
        ({"name": "", "trace_id": TRACE, "value": 1}, "name: String should have at least 1 character"),
        ({"name": "x", "value": 1}, "name a target: trace_id (with span_id for one span), response_id or session_id"),
        ({"name": "x", "span_id": SPAN, "session_id": "s", "value": 1}, "span_id needs trace_id"),
        ({"name": "x", "trace_id": TRACE}, "give a value, score, label, passed, explanation or evaluator_error"),
        ({"name": "x", "trace_id": "0" * 32, "value": 1}, f"trace_id: '{'0' * 32}' is not 32 hexadecimal digits, not all zero"),
        ({"name": "x", "trace_id": "xyz", "value": 1}, "trace_id: 'xyz' is not 32 hexadecimal digits, not all zero"),
        (
            {"name": "x", "trace_id": TRACE, "score": "high"},
            "score: Input should be a valid number, unable to parse string as a number",
        ),
        ({"name": "x", "trace_id": TRACE, "score": float("nan")}, "score: Input should be a finite number"),
        ({"name": "x", "trace_id": TRACE, "value": 1, "colour": 2}, "colour: Extra inputs are not permitted"),
        (
            {"name": "x", "trace_id": TRACE, "value": 1, "evaluated_at": "1960-01-01T00:00:00Z"},
            "evaluated_at: 1960-01-01T00:00:00+00:00 is not between 1970 and 2200",
        ),
    ],
)
def test_a_wrong_score_is_refused_alone_with_its_field(score: dict[str, Any], error: str) -> None:
    sink = ListSink()
    good = {"name": "ok", "trace_id": TRACE, "value": True}
    receipt = accept_scores(make_intake(sink), [good, score, good], "k1")
    assert receipt.rejected == (RejectedScore(1, (error,)),)
    assert (receipt.n_received, receipt.n_accepted) == (3, 2)
    (record,) = sink.records
    assert (record.signal, record.key_id) == (Signal.SCORES, "k1")
    assert (record.counts.received, record.counts.accepted, dict(record.counts.rejected)) == (3, 2, {"invalid score": 1})


def test_a_batch_of_only_wrong_scores_is_counted_and_keeps_nothing() -> None:
    sink = ListSink()
    assert accept_scores(make_intake(sink), [{}, 5], "k").n_accepted == 0  # type: ignore[list-item]
    assert (sink.records[0].payload, sink.records[0].counts.received) == (b"", 2)


def test_no_scores_leave_nothing() -> None:
    sink = ListSink()
    assert accept_scores(make_intake(sink), [], "k").n_received == 0
    assert sink.records == []
    assert to_evaluations([]).schema == EVALUATION_RECORDS


def test_a_full_spool_reaches_the_caller() -> None:
    sink = ListSink(error=SpoolFullError(1, 1, 1.0))
    with pytest.raises(SpoolFullError):
        accept_scores(make_intake(sink), [{"name": "x", "trace_id": TRACE, "value": 1}], "k")


def test_scores_are_masked_like_spans() -> None:
    rules = (
        MaskRule(action="redact", patterns=("email",)),
        MaskRule(action="drop", content=("explanations",)),
        MaskRule(action="drop_item", regexes=("FORGET ME",)),
        MaskRule(action="hash", keys=("customer",)),
    )
    sink = ListSink()
    score = {
        "name": "thumbs",
        "session_id": "ann@example.com",
        "value": "down",
        "explanation": "the card was 1",
        "metadata": {"note": "ask bob@example.com", "customer": "4711", "n": 3},
    }
    masking = MaskingConfig(rules=rules, hash_key=SecretStr("s"))
    receipt = accept_scores(make_intake(sink, masking=masking), [score, {**score, "metadata": {"note": "FORGET ME"}}], "k")
    assert receipt.n_accepted == 2
    assert dict(sink.records[0].counts.masked_out) == {"masking rule": 1}
    payload = sink.records[0].payload
    assert not any(secret in payload for secret in (b"example.com", b"4711", b"the card", b"FORGET"))
    (row,) = said(rows_of(sink))
    assert (row["target_session_id"], row["label"]) == ("[redacted]", "down")
