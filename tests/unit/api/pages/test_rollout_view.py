from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from alerts.gate import how_much_longer
from alerts.scorecard import Scorecard
from alerts.verdict import GuardFinding, GuardKind, Interval, MetricGroup, StreamState, Unknown, VerdictKind
from api.documents import to_json
from api.pages.rollout import rollout_view
from api.pages.rollout_lines import unknown_line
from api.pages.rollouts import VERDICT, rollout_line
from api.pages.scorecard_view import metric_tables
from tests.support import rollout_story as story

ROLLOUT: dict[str, Any] = {
    "name": story.ROLLOUT,
    "service": "support-agent",
    "baseline": "teacher",
    "candidate": "student",
    "gates": {"max_regression": 0.03},
}


def view(kind: VerdictKind = VerdictKind.DIVERGENCE, plane: str = "") -> Any:
    return rollout_view(ROLLOUT, story.verdict(kind), story.scorecard(), story.gate(), plane)


def test_documents_are_read_back_as_the_findings_they_were_made_of() -> None:
    assert VERDICT.validate_python(to_json(story.verdict())) == story.verdict()
    assert TypeAdapter(Scorecard).validate_python(to_json(story.scorecard())) == story.scorecard()


def test_the_headline_says_its_lines_in_order() -> None:
    assert [fact.label for fact in view().facts] == ["Quality", "Cost", "Certainty", "Reach", "Not known", "Do"]
    assert [fact.label for fact in view(VerdictKind.NO_HARM_SEEN).facts] == ["Quality", "Cost", "Certainty", "Not known", "Gate"]


def test_without_a_page_every_difference_comes_with_its_range_and_counts() -> None:
    quality = view(VerdictKind.NO_HARM_SEEN).facts[0].text
    assert re.search(
        r"TaskCompletion failures: −0\.\d+ to \+0\.\d+\u00a0pp, best estimate \+0\.20\u00a0pp \(20,600 candidate", quality
    )


def test_an_active_guard_is_said_before_anything_else() -> None:
    assert view().warning == ""
    guard = GuardFinding(GuardKind.PROMPT_CONFOUNDED, True, True, "", "", "", 0.2, 0.8, "prompt changed with the model")
    told = rollout_view(ROLLOUT, replace(story.verdict(), guards=(guard,)), story.scorecard(), story.gate(), "")
    assert told.warning == "prompt changed with the model"


def test_the_plane_opens_on_the_metric_that_does_harm_and_takes_another() -> None:
    assert view().plane_metric == "TaskCompletion failures"
    assert view(plane="escalation").plane_metric == "Escalations"
    assert view(plane="nonsense").plane_metric == "TaskCompletion failures"


def test_harm_is_listed_first_and_a_proved_minimum_before_the_estimate() -> None:
    tables = metric_tables(story.ROLLOUT, "support-agent", "student", story.scorecard().rows)
    assert tables[0].name == "TaskCompletion failures"
    assert tables[0].is_open
    first, second = tables[0].lines[:2]
    assert first.is_global
    assert second.cohort == story.LOSING
    assert second.difference_range == "at least +2.6\u00a0pp"
    assert second.difference_point == "proved; best estimate +9.9\u00a0pp since 3 Mar 2026"
    assert second.traces_href.startswith("/traces?service=support-agent&route=student&cohort=regulated_answer")
    assert "evaluator=TaskCompletion" in second.traces_href


def test_what_is_collecting_shows_no_number_of_its_own() -> None:
    tables = metric_tables(story.ROLLOUT, "support-agent", "student", story.scorecard().rows)
    press = next(line for line in tables[0].lines if line.cohort == "press")
    assert (press.difference_range, press.difference_point) == ("collecting", "")
    assert press.note == "31 of 50 units per arm"


def test_a_range_above_zero_that_pages_nobody_is_not_called_harmless() -> None:
    steady = replace(
        story.finding("billing_question", "fallback", "", MetricGroup.OPERATIONS), interval=Interval(-0.002, 0.004, 0.05)
    )
    rising = replace(
        story.finding("billing_question", "retry", "", MetricGroup.OPERATIONS), interval=Interval(0.001, 0.004, 0.05)
    )
    tables = {table.name: table for table in metric_tables(story.ROLLOUT, "support-agent", "student", (steady, rising))}
    assert (tables["Fallbacks"].badge.text, tables["Fallbacks"].lines[0].badge.text) == ("No harm seen", "No harm seen")
    assert (tables["Retries"].badge.text, tables["Retries"].lines[0].badge.text) == ("Rise, not paged", "Rise, not paged")
    assert tables["Retries"].lines[0].note == "the range lies above 0, by too little to page"


def test_a_line_of_the_list_names_the_worst_cohort() -> None:
    line = rollout_line(ROLLOUT, to_json(story.verdict()))
    assert line.badge.text == "Divergence"
    assert line.worst_range == "at least +2.6\u00a0pp (proved)"
    assert line.worst_name == "regulated_answer, TaskCompletion failures"
    waiting = rollout_line(ROLLOUT, {"kind": "collecting"})
    assert waiting.headline == "Waiting for the first candidate trace."
    assert waiting.as_of is None


def test_nothing_is_collecting_only_where_nothing_is() -> None:
    card = replace(story.scorecard(), unknown=())
    rows = tuple(replace(row, state=StreamState.NO_HARM_SEEN) for row in card.rows)
    decided = {**story.gate(), "gate": "pass"}
    verdict = story.verdict(VerdictKind.NO_HARM_SEEN)
    told = rollout_view(ROLLOUT, verdict, replace(card, rows=rows), decided, "")
    assert not told.is_collecting
    first = replace(rows[0], state=StreamState.COLLECTING)
    assert rollout_view(ROLLOUT, verdict, replace(card, rows=(first, *rows[1:])), decided, "").is_collecting
    assert rollout_view(ROLLOUT, verdict, replace(card, rows=rows), {**decided, "gate": "undetermined"}, "").is_collecting


def test_reasons_and_unknowns_are_told_apart() -> None:
    verdict = replace(story.verdict(VerdictKind.NO_HARM_SEEN), gate_reasons=("no evaluator yet", "cost: collecting"))
    facts = {fact.label: fact.text for fact in rollout_view(ROLLOUT, verdict, story.scorecard(), story.gate(), "").facts}
    assert facts["Gate"] == "no evaluator yet; cost: collecting"
    assert facts["Not known"].startswith("Groundedness failures in press: ")


@pytest.mark.parametrize(
    ("weeks", "told"),
    [
        (None, "no traffic at present"),
        (0.05, "soon at the present rate"),
        (0.15, "about 1 more day at the present rate"),
        (0.5, "about 4 more days at the present rate"),
        (1.4, "about 1 more week at the present rate"),
        (59.0, "about 59 more weeks at the present rate"),
        (491.4, "about 9 more years at the present rate"),
    ],
)
def test_a_wait_is_no_finer_than_it_is_known(weeks: float | None, told: str) -> None:
    assert how_much_longer(weeks) == told


def test_pairs_that_are_there_are_counted() -> None:
    wanted = Unknown("", "eval_fail", "TaskCompletion", "*", 300, 9_000, 3.0, 1_200, 60)
    assert unknown_line(wanted).wait == "about 3 more weeks at the present rate, or 1,200 mirrored pairs, of which 60 are there"
    assert unknown_line(replace(wanted, n_pairs=0)).wait.endswith("or 1,200 mirrored pairs")
