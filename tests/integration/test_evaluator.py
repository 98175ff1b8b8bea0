"""The evaluator on a real store: opens, settles, judges, appends, and goes on after a restart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from alerts import checkpoint
from alerts.config import GateConfig, MethodConfig, RolloutConfig
from alerts.evaluate import Evaluator
from alerts.state import ComparisonState
from alerts.verdict import Outcome, VerdictKind, from_json
from spanwise.scenario import Cohort, Scenario
from spanwise.simulate import traces
from spanwise.simulated_rollups import metric_rows
from storage.client import Store
from storage.comparisons import read_open_comparisons
from storage.metrics import Grain, write_metric_rows
from storage.settled import read_settled
from storage.verdicts import read_latest_verdict, read_latest_verdicts, read_verdict_history

pytestmark = pytest.mark.integration

SCENARIO = Scenario(
    "swap",
    (Cohort("orders", 0.7, 0.05), Cohort("claims", 0.3, 0.1, harm=0.35)),
    days=2.0,
    traces_per_day=1_500.0,
    history_days=1.0,
)
ROLLOUT = RolloutConfig(
    name="swap", service=SCENARIO.service, baseline="teacher", candidate="student", gates=GateConfig(max_cost_ratio=0.5)
)
DAY_ZERO = SCENARIO.start + timedelta(days=1)
END = DAY_ZERO + timedelta(days=2, hours=3)
LONG_AGO = datetime(1971, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return metric_rows(traces(SCENARIO, 3))


def tick_through(evaluator: Evaluator, start: datetime, hours: int) -> datetime:
    now = start
    while now < END:
        evaluator.tick([ROLLOUT], now)
        now += timedelta(hours=hours)
    evaluator.tick([ROLLOUT], END)
    return END


def state_bytes(evaluator: Evaluator) -> bytes:
    return checkpoint.to_bytes(evaluator._watched["swap"].state)


def test_a_rollout_from_opening_to_page_and_restart(store: Store, rows: pl.DataFrame) -> None:
    write_metric_rows(store, Grain.MINUTE, rows, datetime.now(UTC))
    first = Evaluator(store, MethodConfig())
    assert first.tick([ROLLOUT], DAY_ZERO - timedelta(hours=1)) == []
    tick_through(first, DAY_ZERO + timedelta(hours=1), 7)
    latest = read_latest_verdict(store, "swap")
    assert latest is not None
    verdict = from_json(latest)
    assert verdict.kind is VerdictKind.DIVERGENCE
    assert verdict.reference == "history"
    assert verdict.gate is Outcome.FAIL
    assert any(page.stream_id == "eval_fail/TaskCompletion/claims" for page in verdict.pages)

    # A verdict that did not change is not appended again.
    assert read_latest_verdicts(store) == {"swap": latest}
    history = read_verdict_history(store, "swap", END + timedelta(hours=1), 1_000)
    first.tick([ROLLOUT], END + timedelta(seconds=1))
    assert read_verdict_history(store, "swap", END + timedelta(hours=1), 1_000).equals(history)
    assert history["as_of"].is_unique().all()
    assert history["kind"][0] == VerdictKind.DIVERGENCE

    restarted = Evaluator(store, MethodConfig())
    restarted.tick([ROLLOUT], END)
    assert state_bytes(restarted) == state_bytes(first)

    entry = first._watched["swap"]
    settled = read_settled(store, entry.comparison.comparison_id, LONG_AGO)
    rebuilt = checkpoint.replay(ComparisonState(entry.comparison.rules()), [settled], dict(entry.state.frontiers))
    assert checkpoint.to_bytes(rebuilt) == state_bytes(first)

    found = Evaluator(store, MethodConfig()).report(ROLLOUT)
    assert found is not None
    card = found.scorecard
    assert {row.cohort for row in card.rows} == {"*", "orders", "claims"}
    assert card.cost is not None
    assert card.cost.certified
    gate = first.gate(ROLLOUT, END)
    assert gate.outcome is Outcome.FAIL
    for check in gate.checks:
        # a range that holds 0 beside proved harm would puzzle
        puzzles = "harm is proved" in check.reason and check.interval is not None and check.interval.low <= 0
        assert ("the test for it is sharper than this range" in check.reason) == puzzles
    assert first.gate(ROLLOUT, END, "experiment").outcome is Outcome.UNDETERMINED

    # A threshold moved after looking is another comparison, from now on.
    moved = ROLLOUT.model_copy(update={"gates": GateConfig(max_cost_ratio=0.4)})
    restarted.tick([moved], END + timedelta(minutes=2))
    now_open = read_open_comparisons(store)
    assert now_open.height == 1
    assert now_open["comparison_id"][0] != entry.comparison.comparison_id


def test_who_only_reads_counts_late_data_as_seldom_as_who_ticks(
    store: Store, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every six hours, however often somebody looks; what it found is told each time."""
    write_metric_rows(store, Grain.MINUTE, rows, datetime.now(UTC))
    tick_through(Evaluator(store, MethodConfig()), DAY_ZERO + timedelta(hours=1), 7)
    found = iter([7, 8])
    monkeypatch.setattr("alerts.evaluate.count_late_rows", lambda *_: next(found))
    reader = Evaluator(store, MethodConfig())

    def late_rows(now: datetime) -> int:
        with reader._lock:
            entry = reader._find("swap")
            assert entry is not None
            return reader._judge(entry, now).verdict.late_rows

    assert [late_rows(END), late_rows(END)] == [7, 7]
    assert late_rows(END + timedelta(hours=6)) == 8
    assert late_rows(END + timedelta(hours=6)) == 8


def test_what_arrives_after_settling_changes_nothing(store: Store, rows: pl.DataFrame) -> None:
    write_metric_rows(store, Grain.MINUTE, rows, datetime.now(UTC))
    evaluator = Evaluator(store, MethodConfig())
    evaluator.tick([ROLLOUT], DAY_ZERO + timedelta(days=1))
    evaluator.tick([ROLLOUT], END)
    before = state_bytes(evaluator)
    failing = rows.filter(metric="error").with_columns(n_fail_matured="n_eligible_matured")
    write_metric_rows(store, Grain.MINUTE, failing, datetime.now(UTC))
    # they are counted every six hours
    verdict = evaluator.tick([ROLLOUT], END + timedelta(hours=6))[0]
    settled = read_settled(store, verdict.comparison_id, LONG_AGO).filter(metric="error")
    changed = pl.col("fail_candidate") + pl.col("fail_baseline") < pl.col("n_candidate") + pl.col("n_baseline")
    assert verdict.late_rows == settled.filter(changed).height
    assert not any(page.stream_id.startswith("error/") for page in verdict.pages)
    assert len(state_bytes(evaluator)) == len(before)
