"""What is wrong with one rollout stays its own: the others are judged, and people are told which one is not."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from alerts import checkpoint
from alerts.alerter import Alerter
from alerts.config import AlertsConfig, GateConfig, MethodConfig, RolloutConfig
from alerts.evaluate import Evaluator
from alerts.state import DOLLARS, ComparisonState
from alerts.verdict import Outcome, Verdict
from alerts.watched import row_of
from api.desk import Desk
from spanwise.scenario import Cohort, Scenario
from spanwise.simulate import traces
from spanwise.simulated_rollups import metric_rows
from storage.client import Store
from storage.clock import FixedClock
from storage.comparisons import write_comparison
from storage.metrics import Grain, write_metric_rows
from storage.rollouts import read_rollouts, write_rollout
from storage.troubles import TroubleKind, read_troubles
from tests.support.api_client import make_client, make_services

pytestmark = pytest.mark.integration

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
COHORTS = (Cohort("orders", 0.7, 0.05), Cohort("claims", 0.3, 0.1))
BASE = Scenario("left", COHORTS, history_days=1.0, days=0.25, traces_per_day=2_400.0)
START = BASE.start + timedelta(days=1)


def rollout(name: str) -> RolloutConfig:
    gates = GateConfig(max_cost_ratio=0.5)
    return RolloutConfig(name=name, service=name, baseline="teacher", candidate="student", gates=gates)


ROLLOUTS = [rollout("left"), rollout("right")]


def stored(store: Store, *, malformed: str = "") -> pl.DataFrame:
    """The same traffic for two services; of one of them the histogram of one row of dollars lacks a count. Returns the row."""
    rows = metric_rows(traces(BASE, 3))
    student = rows.with_row_index("n").filter(
        pl.col("metric") == "cost", pl.col("model_route") == "student", pl.col("bucket") >= START + HOUR
    )
    at = student["n"][0]
    for service in ("left", "right"):
        mine = rows.with_columns(service_name=pl.lit(service))
        if service == malformed:
            short = pl.col("hist_counts_all").list.slice(1)
            index = pl.int_range(pl.len())
            mine = mine.with_columns(hist_counts_all=pl.when(index == at).then(short).otherwise("hist_counts_all"))
        write_metric_rows(store, Grain.MINUTE, mine, datetime.now(UTC))
    return student.head(1)


def by_name(verdicts: list[Verdict]) -> dict[str, Verdict]:
    return {verdict.rollout: verdict for verdict in verdicts}


def dollars(evaluator: Evaluator, name: str) -> Any:
    """Number and sum of the candidate's dollars, over all cohorts."""
    total = sum(evaluator._watched[name].state.dollars.values())
    return total[0].sum(axis=0)[[DOLLARS.index("n_value"), DOLLARS.index("sum")]]  # type: ignore[index]


def test_a_malformed_row_is_left_out_and_told(store: Store) -> None:
    row = stored(store, malformed="left")
    clock = FixedClock(START + 4 * HOUR)
    alerter = Alerter(store, AlertsConfig(), clock, rollouts=ROLLOUTS, wall=clock)
    found = by_name(alerter.evaluate())
    assert {name: (v.malformed_rows, v.trouble) for name, v in found.items()} == {"left": (1, ""), "right": (0, "")}
    assert "1 malformed rollup row left out, see data health" in found["left"].reasons

    # Only that row is missing.
    lacking = dollars(alerter.evaluator, "right") - dollars(alerter.evaluator, "left")
    assert lacking == pytest.approx([row["n_value_matured"][0], row["sum_value_matured"][0]])

    # It is in the table, on the page and in the metrics, and another process knows it too.
    [trouble] = read_troubles(store)
    assert (trouble.rollout, trouble.kind, trouble.metric, trouble.n_rows) == ("left", TroubleKind.MALFORMED_ROWS, "cost", 1)
    where = f"cost of student, {row['cohort'][0]}, {row['bucket'][0]:%Y-%m-%dT%H:%MZ}"
    assert trouble.detail == f"{where}: the lists of its histogram differ in length"
    page = make_client(make_services(store, clock)).get("/health").text
    assert "1 row left out" in page
    assert where in page
    assert 'spanwise_malformed_rows{metric="cost",rollout="left"} 1.0' in alerter.exposition()
    [again] = [v for v in Evaluator(store, MethodConfig()).tick(ROLLOUTS, clock.now() + MINUTE) if v.rollout == "left"]
    assert again.malformed_rows == 1
    alerter.close()


class Fault:
    """Breaks the advance of one comparison in the middle."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.comparison_id = ""
        sound = ComparisonState._spend

        def spend(state: ComparisonState, table: Any) -> None:
            if self.comparison_id and self.comparison_id in table._rows["comparison_id"].unique():
                raise ZeroDivisionError("a row nobody thought of")
            sound(state, table)

        monkeypatch.setattr(ComparisonState, "_spend", spend)


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    return Fault(monkeypatch)


def test_one_that_cannot_be_settled_holds_up_nobody(store: Store, fault: Fault) -> None:
    stored(store)
    clock = FixedClock(START + 2 * HOUR)
    alerter = Alerter(store, AlertsConfig(), clock, rollouts=ROLLOUTS, wall=clock)
    before = by_name(alerter.evaluate())
    fault.comparison_id = before["left"].comparison_id
    # what was settled and not taken in fails again when it is read again
    for doing in ("settling", "restoring the state"):
        clock.set(clock.now() + 30 * MINUTE)
        found = by_name(alerter.evaluate())
        assert found["right"].n_candidate > before["right"].n_candidate
        assert (found["left"].n_candidate, found["right"].trouble) == (before["left"].n_candidate, "")
        assert found["left"].trouble == f"{doing}: ZeroDivisionError: a row nobody thought of"
        assert found["left"].gate is Outcome.UNDETERMINED
    assert 'spanwise_rollout_stopped{rollout="left"} 1.0' in alerter.exposition()
    assert 'spanwise_rollout_stopped{rollout="right"} 0.0' in alerter.exposition()
    client = make_client(make_services(store, clock, alerts=Desk(store, alerter, clock, clock)))
    page = client.get("/health").text
    assert "Not judged" in page
    assert "a row nobody thought of" in page
    assert "Judging has stopped" in client.get("/rollouts/left").text
    assert "Judging has stopped" not in client.get("/rollouts/right").text

    # It is over: nothing was lost, and the state is that of a rollout that was never stopped.
    fault.comparison_id = ""
    clock.set(clock.now() + 30 * MINUTE)
    found = by_name(alerter.evaluate())
    assert {v.trouble for v in found.values()} == {""}
    assert read_troubles(store) == []
    assert found["left"].n_candidate == found["right"].n_candidate
    states = [alerter.evaluator._watched[name].state for name in ("left", "right")]
    assert checkpoint.to_bytes(states[0]) == checkpoint.to_bytes(states[1])
    alerter.close()


def test_one_that_cannot_be_read_keeps_its_comparison(store: Store) -> None:
    stored(store)
    first = Evaluator(store, MethodConfig())
    before = by_name(first.tick(ROLLOUTS, START + 2 * HOUR))
    sound = row_of(first._watched["left"].comparison)
    write_comparison(store, sound.with_columns(detail=pl.lit('{"day_zero": "a newer release wrote this"}')))

    second = Evaluator(store, MethodConfig())
    for hour in (3, 4):
        found = by_name(second.tick(ROLLOUTS, START + hour * HOUR))
        assert found["right"].n_candidate > before["right"].n_candidate
        assert (found["left"].n_candidate, found["right"].trouble) == (before["left"].n_candidate, "")
        assert "comparison: ValidationError" in found["left"].trouble
        assert [trouble.rollout for trouble in read_troubles(store)] == ["left"]
    gate = Evaluator(store, MethodConfig()).gate(ROLLOUTS[0], START + 4 * HOUR)
    assert gate.outcome is Outcome.UNDETERMINED
    assert "judging has stopped: ValidationError" in gate.reasons[0]

    write_comparison(store, sound)
    found = by_name(second.tick(ROLLOUTS, START + 5 * HOUR))
    assert found["left"].comparison_id == before["left"].comparison_id
    assert found["left"].n_candidate == found["right"].n_candidate
    assert read_troubles(store) == []


def test_a_declaration_of_a_later_release_stops_only_its_own(store: Store) -> None:
    stored(store)
    clock = FixedClock(START + 2 * HOUR)
    alerter = Alerter(store, AlertsConfig(), clock, rollouts=[], wall=clock)
    for config in ROLLOUTS:
        alerter.registry.declare(config.model_dump(), "a person")
    before = by_name(alerter.evaluate())
    [row] = [row for row in read_rollouts(store, clock.now()) if row.name == "left"]
    clock.set(START + 3 * HOUR)
    newer = json.dumps({**json.loads(row.declaration), "canary_zone": "eu"})
    write_rollout(store, replace(row, declaration=newer, effective_from=clock.now(), recorded_at=clock.now()))

    # by the process that saw it come, and by one that begins with it
    for evaluating in (alerter, Alerter(store, AlertsConfig(), clock, rollouts=[], wall=clock)):
        clock.set(clock.now() + HOUR)
        found = by_name(evaluating.evaluate())
        assert found["right"].n_candidate > before["right"].n_candidate
        assert (found["left"].comparison_id, found["left"].n_candidate) == (
            before["left"].comparison_id,
            before["left"].n_candidate,
        )
        assert "its declaration cannot be read (canary_zone: Extra inputs are not permitted)" in found["left"].trouble
        assert (found["left"].gate, found["right"].trouble) == (Outcome.UNDETERMINED, "")
        assert [trouble.rollout for trouble in read_troubles(store)] == ["left"]
    desk = Desk(store, alerter, clock, clock)
    shown = desk.rollout("left")
    assert (shown["service"], shown["baseline"], shown["candidate"]) == ("left", "teacher", "student")
    assert "canary_zone" in shown["unreadable"]
    # its limits for promotion are not known: those that nobody declared must let nothing pass
    for judged in ("live", "experiment"):
        answer = desk.gate("left", judged)  # type: ignore[arg-type]
        assert answer["gate"] == "undetermined"
        assert "judging has stopped: its declaration cannot be read" in answer["reasons"][0]

    alerter.registry.declare(ROLLOUTS[0].model_dump(), "a person")
    clock.set(clock.now() + HOUR)
    found = by_name(alerter.evaluate())
    assert found["left"].comparison_id == before["left"].comparison_id
    assert (found["left"].n_candidate, found["left"].trouble) == (found["right"].n_candidate, "")
    assert read_troubles(store) == []
    alerter.close()
