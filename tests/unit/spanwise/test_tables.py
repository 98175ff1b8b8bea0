"""Tables of commands in a terminal of 80 columns: what is to be copied or decided by is whole."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from spanwise.commands import alerts, scorecard, traces

TRACE_ID = "0123456789abcdef0123456789abcdef"
SENTENCE = "harm of 12.3 pp is proved in cohort regulated_answer of the rollout"
TRACE = {
    "started_at": "2026-03-01T10:11:12.123456Z", "trace_id": TRACE_ID, "service_name": "support", "model_route": "student",
    "cohort": "a rather long cohort", "duration_ns": 1_500_000_000, "cost_usd": "0.000637", "errored": False, "timed_out": True,
    "fell_back": True, "retried": False,
}  # fmt: skip
ALERT: dict[str, Any] = {
    "alert_id": "0f1e2d3c4b5a6978", "state": "acknowledged", "subject_kind": "rollout", "subject": "refund-student",
    "kind": "divergence", "opened_at": "2026-03-01T10:11:12.123456Z", "page": {"what": SENTENCE},
}  # fmt: skip
STREAM: dict[str, Any] = {
    "evaluator": "", "metric": "eval_fail_rate", "cohort": "regulated_answer", "interval": {"low": -0.068, "high": 0.552},
    "difference": 0.1, "baseline": {"rate": 0.1, "n_units": 12_497}, "candidate": {"rate": None, "n_units": 0},
    "state": "no_harm_seen",
}  # fmt: skip


def lines(table: Table, width: int) -> list[str]:
    screen = io.StringIO()
    Console(file=screen, width=width).print(table)
    found = screen.getvalue().splitlines()
    assert max(len(line) for line in found) <= width
    return found


@pytest.mark.parametrize("width", [80, 200])
def test_a_trace_id_is_whole(width: int) -> None:
    shown = lines(traces.table([TRACE], width), width)
    row = next(line for line in shown if TRACE_ID in line)
    assert "10:11:12" in row
    assert "0.00064" in row
    assert all(word in " ".join(" ".join(shown).split()) for word in ("student", "timed out"))


@pytest.mark.parametrize("width", [80, 200])
def test_an_alert_is_read_in_lines_and_not_in_words(width: int) -> None:
    shown = lines(alerts.table([ALERT], width), width)
    assert any(ALERT["alert_id"] in line and "acknowledged" in line for line in shown)
    assert any(SENTENCE in line for line in shown)
    assert "refund-student" in " ".join(shown)


@pytest.mark.parametrize("width", [80, 200])
def test_a_row_of_the_scorecard_is_whole(width: int) -> None:
    shown = lines(scorecard.streams([STREAM], width), width)
    (row,) = [line for line in shown if "regulated_answer" in line]
    assert all(part in row for part in ("eval_fail_rate", "-6.8 to +55.2", "10.0 %", "no harm seen"))


@pytest.mark.parametrize(
    ("cost", "shown"),
    [(0, "0.0000"), (3e-6, "0.0000030"), (0.000637, "0.00064"), (0.001, "0.0010"), (0.0012, "0.0012"), (1.23456, "1.2346")],
)
def test_what_costs_something_is_not_shown_as_nothing(cost: float, shown: str) -> None:
    assert traces.usd(cost) == shown
