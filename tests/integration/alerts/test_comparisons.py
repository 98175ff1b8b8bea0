"""What a comparison freezes, and when, on a real store: with history and without, without a holdback, on golden sets."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from scipy.stats import beta

from alerts import actions, checkpoint
from alerts.alerter import Alerter
from alerts.comparison import Comparison
from alerts.config import AlertsConfig, GateConfig, MethodConfig, RolloutConfig
from alerts.evaluate import Evaluator
from alerts.state import DOLLARS
from alerts.verdict import GLOBAL, PAGING_KINDS, Outcome, VerdictKind
from spanwise.scenario import STUDENT, Cohort, Scenario
from spanwise.simulate import traces
from spanwise.simulated_rollups import metric_rows
from storage.alerts import AlertState, read_alerts
from storage.client import Store
from storage.clock import FixedClock
from storage.metrics import Grain, write_metric_rows

pytestmark = pytest.mark.integration

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
COHORTS = (Cohort("orders", 0.7, 0.05), Cohort("claims", 0.3, 0.1))
BASE = Scenario("swap", COHORTS, days=2.2, traces_per_day=1_500.0)
ROLLOUT = RolloutConfig(
    name="swap", service=BASE.service, baseline="teacher", candidate="student", gates=GateConfig(max_cost_ratio=0.5)
)
DRIFT = ROLLOUT.model_copy(update={"mode": "drift"})


def stored(store: Store, scenario: Scenario, seed: int = 3) -> pl.DataFrame:
    """The scenario's traces, with their rollup rows in the store."""
    frame = traces(scenario, seed)
    write_metric_rows(store, Grain.MINUTE, metric_rows(frame), datetime.now(UTC))
    return frame


def comparison_of(evaluator: Evaluator) -> Comparison:
    return evaluator._watched["swap"].comparison


def whole_minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def test_without_history_the_first_day_is_the_reference(store: Store) -> None:
    frame = stored(store, BASE)
    day_zero = max(whole_minute(frame.filter(route=route)["started_at"][0]) for route in ("teacher", "student"))
    first_day = frame.filter(pl.col("started_at") >= day_zero, pl.col("started_at") < day_zero + DAY)
    evaluator = Evaluator(store, MethodConfig())
    evaluator.tick([ROLLOUT], day_zero + 7 * HOUR)
    evaluator.tick([ROLLOUT], day_zero + DAY)
    early = comparison_of(evaluator)
    assert (early.reference, early.dealt_from) == (None, None)
    assert evaluator._watched["swap"].state.dollars == {}

    # 1,500 traces a day at an even split: the thousandth of the teacher's comes on the second day, and whole hours are added.
    evaluator.tick([ROLLOUT], day_zero + DAY + 5 * MINUTE)
    dealt = comparison_of(evaluator)
    assert dealt.dealt_from == early.first_day_ends
    assert {cohort for _, _, cohort, _ in dealt.dealt} == {"orders", "claims", GLOBAL}
    assert sum(weight for *_, weight in dealt.dealt) == pytest.approx(0.95)
    assert dealt.reference is None

    evaluator.tick([ROLLOUT], day_zero + 2 * DAY + 5 * MINUTE)
    frozen = comparison_of(evaluator)
    assert frozen.reference is not None
    assert frozen.reference.source == "first day"
    hours = (frozen.referenced_from - frozen.first_day_ends) / 60
    assert hours == int(hours) > 0
    teacher = frame.filter(
        pl.col("route") == "teacher", pl.col("started_at") < day_zero + DAY + hours * HOUR, pl.col("started_at") >= day_zero
    )
    assert 1_000 <= teacher.height < 1_000 + 1_500 / 24
    shares = {cohort: teacher.filter(cohort=cohort).height / teacher.height for cohort in ("orders", "claims")}
    assert frozen.reference.omega == pytest.approx(shares)

    # The first day's dollars were settled once there was a cap to hold them against.
    dollars = evaluator._watched["swap"].state.dollars
    for cohort in ("orders", "claims"):
        for arm, route in enumerate(("student", "teacher")):
            there = first_day.filter(route=route, cohort=cohort)
            counted = dict(zip(DOLLARS, dollars[cohort][arm, 0], strict=True))
            assert counted["n_value"] == there.height
            assert counted["sum"] == pytest.approx(there["cost_usd"].sum())
    evaluator.tick([ROLLOUT], day_zero + 2 * DAY + 3 * HOUR)
    again = Evaluator(store, MethodConfig())
    again.tick([ROLLOUT], day_zero + 2 * DAY + 3 * HOUR)
    assert checkpoint.to_bytes(again._watched["swap"].state) == checkpoint.to_bytes(evaluator._watched["swap"].state)


def test_over_dispersion_is_taken_from_the_history(store: Store) -> None:
    """Against the definition, block by block, in plain loops."""
    scenario = replace(BASE, history_days=9.0, days=0.3, traces_per_session=6.0, session_correlation=0.8, sticky=True)
    stored(store, scenario)
    evaluator = Evaluator(store, MethodConfig())
    sticky = ROLLOUT.model_copy(update={"sticky": True})
    evaluator.tick([sticky], scenario.start + 9 * DAY + 2 * HOUR)
    opened = comparison_of(evaluator)
    found = {(metric, judge): value for metric, judge, value in opened.phi}
    assert opened.rules().phi_of(next(iter(evaluator._watched["swap"].state.paging.index))) >= 1

    rows = metric_rows(traces(scenario, 3)).filter(metric="eval_fail")
    rows = rows.filter(pl.col("bucket") < opened.day_zero_at)
    blocks: dict[tuple[str, datetime], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for at, cohort, half, n, x in rows.select("bucket", "cohort", "aa", "n_scored_all", "n_fail_all").iter_rows():
        block = blocks[cohort, at.replace(minute=0)]
        block[2 * half] += n
        block[2 * half + 1] += x
    sums: dict[tuple[str, datetime], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for (cohort, hour), (n_s, x_s, n_t, x_t) in blocks.items():
        n, m = n_s + n_t, x_s + x_t
        if n_s and n_t and n > 1:
            batch = sums[cohort, hour.replace(hour=hour.hour // 6 * 6)]
            batch[0] += x_s - n_s * m / n
            batch[1] += n_s * n_t * m * (n - m) / (n**2 * (n - 1))
    expected = sum(value**2 for value, _ in sums.values()) / sum(variance for _, variance in sums.values())
    assert found["eval_fail", "TaskCompletion"] == pytest.approx(expected)
    assert expected > 1.5
    assert opened.routing_phi is not None
    assert opened.routing_phi > 2


def test_a_prompt_that_changed_with_the_model_is_judged_as_a_bundle(store: Store) -> None:
    worse = tuple(replace(cohort, harm=0.3) for cohort in COHORTS)
    scenario = replace(BASE, cohorts=worse, history_days=1.0, student=replace(STUDENT, prompt_version="p-15"))
    stored(store, scenario)
    start = scenario.start + DAY
    evaluator = Evaluator(store, MethodConfig())
    evaluator.tick([ROLLOUT], start + HOUR)
    [verdict] = evaluator.tick([ROLLOUT], start + 20 * HOUR)
    assert verdict.kind is VerdictKind.BUNDLE_REGRESSION
    assert verdict.gate is Outcome.UNDETERMINED
    assert {page.stream_id for page in verdict.pages} >= {"eval_fail/TaskCompletion/*#prompts-pooled"}
    bundle = evaluator._watched["swap"].bundle
    assert bundle is not None
    # It was made in the middle from what had been settled; one that is made at the end is the same.
    [later] = evaluator.tick([ROLLOUT], start + 2 * DAY)
    restarted = Evaluator(store, MethodConfig())
    [same] = restarted.tick([ROLLOUT], start + 2 * DAY)
    rebuilt = restarted._watched["swap"].bundle
    assert rebuilt is not None
    assert checkpoint.to_bytes(rebuilt) == checkpoint.to_bytes(bundle)
    assert [page.stream_id for page in same.pages] == [page.stream_id for page in later.pages]


def golden(store: Store, harm: float) -> Evaluator:
    """1,500 items, each answered by both."""
    claims = replace(COHORTS[1], harm=harm)
    scenario = replace(BASE, environment="experiment", cohorts=(COHORTS[0], claims), days=1.0, split=0.0, mirrored=1.0)
    stored(store, scenario)
    return Evaluator(store, MethodConfig())


def test_a_golden_set_fails_the_gate_by_its_pairs(store: Store) -> None:
    evaluator = golden(store, harm=0.25)
    careful = ROLLOUT.model_copy(update={"high_value_cohorts": ("claims",)})
    result = evaluator.gate(careful, BASE.start + 2 * DAY, "experiment")
    assert (result.outcome, result.on) == (Outcome.FAIL, "experiment")
    checks = {check.name: check for check in result.checks}
    claims = checks["quality TaskCompletion in claims"]
    assert claims.outcome is Outcome.FAIL
    assert claims.value == pytest.approx(0.25, abs=0.07)
    assert checks["cost"].outcome is Outcome.PASS
    # Runs of a golden set are no traffic: there is nothing to compare live.
    assert evaluator.tick([careful], BASE.start + 2 * DAY) == []


def test_a_golden_set_without_a_difference_says_what_is_missing(store: Store) -> None:
    result = golden(store, harm=0.0).gate(ROLLOUT, BASE.start + 2 * DAY, "experiment")
    assert result.outcome is not Outcome.FAIL
    check = next(check for check in result.checks if check.name == "quality TaskCompletion in all cohorts")
    assert check.interval is not None
    assert check.interval.low < 0 < check.interval.high
    if check.outcome is Outcome.UNDETERMINED:
        assert check.unknown is not None
        assert check.unknown.n_pairs_needed is not None
        assert 0 < check.unknown.n_pairs <= 1_500
        assert f"mirrored pairs, of which {check.unknown.n_pairs:,} are there" in check.reason


LATER = replace(
    BASE,
    cohorts=tuple(replace(cohort, harm=0.2) for cohort in COHORTS),
    split=1.0,
    history_days=1.0,
    days=26.0,
    harm_from_day=16.0,
    traces_per_day=300.0,
)


class Watch:
    """An established candidate without a holdback, and who is told about it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.frame = stored(store, LATER)
        self.clock = FixedClock(LATER.start + DAY + 12 * HOUR)
        self.alerter = Alerter(store, AlertsConfig(), self.clock, rollouts=(DRIFT,), wall=self.clock)
        self.alerter.evaluate()
        self.day_zero = comparison_of(self.alerter.evaluator).day_zero_at

    def comparison(self) -> Comparison:
        return comparison_of(self.alerter.evaluator)

    def go_to(self, day: float) -> None:
        self.clock.set(self.day_zero + day * DAY)
        self.alerter.evaluate()

    def alerts(self) -> list[tuple[str, AlertState, str]]:
        return [(a.alert_id, a.state, a.close_reason) for a in sorted(read_alerts(self.store, ()), key=lambda a: a.opened_at)]


def test_an_established_candidate_without_a_holdback(store: Store) -> None:
    watch = Watch(store)
    for day in (1.5, 13.9):
        watch.go_to(day)
        assert watch.comparison().frozen_rates == []
    watch.go_to(14.1)
    frozen = {(m, c): (high, rate) for m, _, c, high, rate in watch.comparison().frozen_rates}
    weeks = watch.frame.filter(
        pl.col("route") == "student",
        pl.col("started_at") >= watch.day_zero,
        pl.col("started_at") < watch.day_zero + 14 * DAY,
        pl.col("cohort") == "claims",
    )
    n, x = weeks.height, weeks["verdicts"].list.eval(~pl.element().struct.field("passed")).list.any().sum()
    high, rate = frozen["eval_fail", "claims"]
    assert rate == pytest.approx(x / n)
    assert high == pytest.approx(beta.ppf(0.99, x + 1, n - x) + 0.01)
    watch.go_to(15.9)
    assert watch.alerts() == []

    watch.go_to(20)
    [(first_id, state, _)] = watch.alerts()
    assert state is AlertState.FIRING
    before = watch.comparison()
    found = watch.alerter.evaluator.report(DRIFT)
    assert found is not None
    stream = next(row for row in found.scorecard.rows if row.stream_id == "eval_fail/TaskCompletion/*")
    assert stream.since is not None
    assert (stream.since - before.day_zero_at).days in (15, 16)

    # Somebody takes it: the detector starts again from zero, with everything that was frozen; the incident stays theirs.
    actions.acknowledge(store, first_id, "ana", "looking", watch.clock.now())
    watch.go_to(20 + 5 / 1440)
    after = watch.comparison()
    assert (after.follows, after.frozen_rates, after.dealt) == (before.comparison_id, before.frozen_rates, before.dealt)
    assert after.day_zero > before.day_zero
    assert [alert[:2] for alert in watch.alerts()] == [(first_id, AlertState.ACKNOWLEDGED)]

    # Nothing was done, so it alarms again: another incident, which takes the place of the first.
    watch.go_to(23)
    (_, old, reason), (second_id, new, _) = watch.alerts()
    assert (old, reason, new) == (AlertState.RESOLVED, "it alarmed again", AlertState.FIRING)

    # The present level is accepted: two weeks of it will be the baseline, and nobody is told again.
    actions.accept(store, second_id, "ana", "harder season", watch.clock.now())
    watch.go_to(23 + 5 / 1440)
    accepted = watch.comparison()
    assert (accepted.follows, accepted.frozen_rates, accepted.own_weeks_from) == ("", [], accepted.day_zero)
    watch.go_to(25.9)
    assert [alert[1] for alert in watch.alerts()] == [AlertState.RESOLVED, AlertState.ACCEPTED]


def imported(store: Store, *, days_later: int) -> tuple[Alerter, FixedClock]:
    """A day and a half of a much worse candidate, seen for the first time days after it began."""
    worse = tuple(replace(cohort, harm=0.3) for cohort in COHORTS)
    scenario = replace(BASE, cohorts=worse, history_days=1.0, days=1.5, traces_per_day=900.0)
    stored(store, scenario)
    clock = FixedClock(scenario.start + days_later * DAY)
    return Alerter(store, AlertsConfig(), clock, rollouts=(ROLLOUT,), wall=clock), clock


def test_history_that_is_imported_pages_nobody(store: Store) -> None:
    alerter, clock = imported(store, days_later=30)
    for _ in range(3):
        [verdict] = alerter.evaluate()
        clock.set(clock.now() + HOUR)
    assert verdict.kind in PAGING_KINDS
    assert verdict.pages
    assert read_alerts(store, ()) == []

    # The same history on the events' clock is told as it would have been.
    replayed = Alerter(store, AlertsConfig(), clock, rollouts=(ROLLOUT,), wall=clock, replays_history=True)
    replayed.evaluate()
    assert [alert.state for alert in read_alerts(store, ())] == [AlertState.FIRING]


def test_a_rollout_that_goes_on_after_its_history_was_imported_is_told(store: Store) -> None:
    alerter, clock = imported(store, days_later=2)
    [verdict] = alerter.evaluate()
    assert verdict.pages
    assert all(page.decided_at < verdict.opened_at for page in verdict.pages)
    assert read_alerts(store, ()) == []
    clock.set(clock.now() + 2 * HOUR)
    alerter.evaluate()
    assert [alert.state for alert in read_alerts(store, ())] == [AlertState.FIRING]
