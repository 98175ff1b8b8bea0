"""A verdict that was judged again without a change is as fresh as the tick: wherever it is told, and whoever tells it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from alerts.alerter import Alerter
from alerts.config import AlertsConfig, RolloutConfig
from api.desk import Desk
from spanwise.scenario import Cohort, Scenario
from spanwise.simulate import traces
from spanwise.simulated_rollups import metric_rows
from storage.client import Store
from storage.clock import FixedClock
from storage.metrics import Grain, write_metric_rows
from storage.verdicts import read_verdict_history
from tests.support.api_client import make_client, make_services

pytestmark = pytest.mark.integration

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SCENARIO = Scenario(
    "swap", (Cohort("orders", 0.7, 0.05), Cohort("claims", 0.3, 0.1)), history_days=1.0, days=0.25, traces_per_day=2_400.0
)
ROLLOUT = RolloutConfig(name="swap", service="swap", baseline="teacher", candidate="student")
START = SCENARIO.start + timedelta(days=1)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return metric_rows(traces(SCENARIO, 3))


def served(rows: pl.DataFrame, until: datetime) -> int:
    """The candidate's traces whose error flag has matured, five minutes after their start."""
    ripe = pl.col("bucket") <= until - 5 * MINUTE
    mine = rows.filter(ripe, metric="error", model_route="student", mirrored=0)
    return int(mine["n_scored_matured"].sum())


class Told:
    """What one process says of the rollout, everywhere it says it."""

    def __init__(self, store: Store, alerter: Alerter, clock: FixedClock) -> None:
        client = make_client(make_services(store, clock, alerts=Desk(store, alerter, clock, clock)))
        self.verdict = client.get("/api/v1/rollouts/swap/verdict").json()
        self.card = client.get("/api/v1/rollouts/swap/scorecard").json()
        self.gate = client.get("/api/v1/gate/swap").json()
        self.page = client.get("/rollouts/swap").text
        self.overview = client.get("/").text
        self.metrics = alerter.exposition()

    def as_of(self) -> set[float]:
        """Every moment it claims to be of: one, if nothing contradicts itself."""
        documents = [datetime.fromisoformat(told["as_of"]) for told in (self.verdict, self.card, self.gate)]
        settled = re.search(r'Settled up to\s*<time [^>]*datetime="([^"]+)"', self.page)
        assert settled
        exposed = re.search(r'spanwise_verdict_as_of_timestamp_seconds\{rollout="swap"\} (\S+)', self.metrics)
        assert exposed
        moments = [*documents, datetime.fromisoformat(settled[1])]
        return {round(moment.timestamp()) for moment in moments} | {round(float(exposed[1]))}

    def candidates(self) -> tuple[int, set[int]]:
        """The verdict's count of the candidate's traces, and those of flags every trace carries, of scorecard and metrics."""
        rows = [row for row in self.card["rows"] if row["metric"] == "error" and row["cohort"] == "*"]
        flags = {row["candidate"]["n_units"] for row in rows}
        series = r'spanwise_stream_units\{arm="candidate",cohort="\*",evaluator="",metric="error",rollout="swap"\} (\S+)'
        flags |= {int(float(n)) for n in re.findall(series, self.metrics)}
        return self.verdict["n_candidate"], flags


def test_everything_told_is_as_of_the_last_tick(store: Store, rows: pl.DataFrame) -> None:
    write_metric_rows(store, Grain.MINUTE, rows.with_columns(service_name=pl.lit("swap")), datetime.now(UTC))
    clock = FixedClock(START + HOUR)

    def process() -> Alerter:
        return Alerter(store, AlertsConfig(), clock, rollouts=[ROLLOUT], wall=clock)

    ticking, reading = process(), process()
    ticking.evaluate()
    n_before = Told(store, ticking, clock).verdict["n_candidate"]
    # ten minutes at a time: no turn of the hour at which an unchanged verdict is stored again
    for _ in range(3):
        n_stored = read_verdict_history(store, "swap", START + 9 * HOUR, 100).height
        clock.set(clock.now() + 10 * MINUTE)
        ticking.evaluate()
        if read_verdict_history(store, "swap", START + 9 * HOUR, 100).height == n_stored:
            break
    else:
        pytest.fail("the verdict was stored at every tick")
    judged_at = clock.now()
    # nobody ticks for an hour: what is told does not get younger by being asked for
    clock.set(judged_at + HOUR)
    own, other = Told(store, ticking, clock), Told(store, reading, clock)
    for told in (own, other):
        assert told.as_of() == {round(judged_at.timestamp())}
        n, flags = told.candidates()
        assert n > n_before
        assert flags == {n} == {served(rows, judged_at)}
        assert f"{n:,} candidate and {told.verdict['n_baseline']:,} baseline traces" in told.page
    assert own.verdict == other.verdict
    of_both = own.verdict["n_candidate"] + own.verdict["n_baseline"]
    assert f"{of_both:,} traces" in own.overview
    # all rollouts at once, by who does not tick: as stored, and it says as of when
    [(_, stored)] = Desk(store, reading, clock, clock).overview()
    assert (stored["kind"], stored["n_candidate"] < own.verdict["n_candidate"]) == (own.verdict["kind"], True)
    assert judged_at - HOUR <= datetime.fromisoformat(stored["as_of"]) < judged_at

    # Who ticked and does not any more has it from the store, as every process has.
    reading.evaluate()
    ticking.evaluator.stand_by()
    assert Told(store, ticking, clock).as_of() == {round(clock.now().timestamp())}
    ticking.close()
    reading.close()


def test_who_ticks_again_after_somebody_else_goes_on_from_the_store(store: Store, rows: pl.DataFrame) -> None:
    """A process that slept through the loss of its lease does not know of it."""
    write_metric_rows(store, Grain.MINUTE, rows.with_columns(service_name=pl.lit("swap")), datetime.now(UTC))
    clock = FixedClock(START + HOUR)
    first, second = (Alerter(store, AlertsConfig(), clock, rollouts=[ROLLOUT], wall=clock) for _ in range(2))
    first.evaluate()
    held = first.evaluator._watched["swap"]
    clock.set(clock.now() + HOUR)
    second.evaluate()
    clock.set(clock.now() + MINUTE)
    first.evaluate()
    assert first.evaluator._watched["swap"] is not held
    # its own ticks are no reason
    held = first.evaluator._watched["swap"]
    clock.set(clock.now() + MINUTE)
    first.evaluate()
    assert first.evaluator._watched["swap"] is held
    first.close()
    second.close()
