"""The jobs end to end on the real engine: late data, reruns, faults, kill -9, backfill; equal to a clean run each time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analytics.config import AnalyticsConfig, JobRules, PriceConfig
from analytics.jobs import Jobs
from analytics.rollup import roll_up
from analytics.rollup_job import MergeJob
from analytics.runs import Recorder
from analytics.series import read_series
from api.config import ApiConfig
from storage.client import Store
from storage.clock import WallClock
from storage.errors import StoreUnavailableError
from storage.job_runs import JobState, read_job_runs, read_watermark
from storage.metrics import Grain, read_metric_rows, write_metric_rows
from storage.poisonous import read_poisonous_traces
from storage.quality import read_unattached_evaluations, read_unpriced_models
from storage.touched import read_touched_traces
from storage.whole_traces import read_whole_traces
from tests.support.merging import merge_rows
from tests.support.span_rows import START, make_evaluation, make_trace, random_story, write_evaluations, write_spans
from tests.support.units import outcomes_frame, random_units, units_frame

pytestmark = pytest.mark.integration

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SMALL = AnalyticsConfig(jobs=JobRules(window_traces=60, batch_spans=120, batch_units=60, batch_evaluations=20, retry_seconds=0))


def make_jobs(store: Store, config: AnalyticsConfig = SMALL, **others: object) -> Jobs:
    return Jobs(store, config, WallClock(), **others)  # type: ignore[arg-type]


def run_all(jobs: Jobs) -> None:
    for kind in ("assemble", "rollup", "merge"):
        run = jobs.run(kind)
        assert run.state is JobState.DONE, run.error


def rollups(store: Store, grain: Grain = Grain.MINUTE) -> pl.DataFrame:
    return read_metric_rows(store, grain, START - 24 * HOUR, START + 48 * HOUR).drop("aa")


def facts(store: Store) -> pl.DataFrame:
    return store.frame(
        "SELECT trace_id, started_at, model_route, cost_usd, cost_source, input_tokens FROM trace_facts FINAL ORDER BY trace_id"
    )


def clean_run(make_store: Callable[[], Store], spans: list[dict[str, object]], evaluations: list[dict[str, object]]) -> Store:
    from storage.migrations import migrate

    store = make_store()
    migrate(store)
    write_spans(store, spans)
    write_evaluations(store, evaluations)
    run_all(make_jobs(store, AnalyticsConfig()))
    return store


def assert_same(store: Store, clean: Store) -> None:
    assert_frame_equal(facts(store), facts(clean))
    for grain in Grain:
        assert_frame_equal(rollups(store, grain), rollups(clean, grain), rel_tol=1e-12)


def test_late_data_in_any_order_equals_a_clean_run(store: Store, make_store: Callable[[], Store]) -> None:
    spans, evaluations = random_story(100, seed=1)
    clean = clean_run(make_store, spans, evaluations)
    rng = random.Random(2)
    rng.shuffle(spans)
    rng.shuffle(evaluations)
    jobs = make_jobs(store)
    for part in range(2):
        # Evaluations first: many arrive before the trace they judge.
        write_evaluations(store, evaluations[part::2])
        run_all(jobs)
        write_spans(store, spans[part::2])
        run_all(jobs)
    assert_same(store, clean)


def test_running_again_writes_nothing(store: Store) -> None:
    write_spans(store, make_trace(1))
    jobs = make_jobs(store)
    run_all(jobs)
    before = store.frame("SELECT count() AS n, max(computed_at) AS newest FROM metric_minutes").row(0)
    run_all(jobs)
    assert store.frame("SELECT count() AS n, max(computed_at) AS newest FROM metric_minutes").row(0) == before
    # A new process looks at the overlap once more, and finds the same.
    rows = rollups(store)
    run_all(make_jobs(store))
    assert_frame_equal(rollups(store), rows)


def test_what_becomes_visible_late_is_assembled_and_takes_nothing_back(store: Store) -> None:
    now = datetime.now(UTC)
    jobs = make_jobs(store)
    write_spans(store, [span | {"written_at": now - 40 * SECOND} for span in make_trace(1)])
    assert jobs.run("assemble").detail == "1 traces assembled, 0 evaluations judged"
    watermark = read_watermark(store, "assemble")
    # one at a moment of its own before the watermark, one at a moment that was looked at already, which is looked at again
    write_spans(store, [span | {"written_at": now - 50 * SECOND} for span in make_trace(2)])
    write_spans(store, [span | {"written_at": now - 40 * SECOND} for span in make_trace(3)])
    write_evaluations(store, [make_evaluation(2) | {"written_at": now - 45 * SECOND}])
    assert jobs.run("assemble").detail == "3 traces assembled, 1 evaluations judged"
    assert facts(store).height == 3
    after = read_watermark(store, "assemble")
    assert watermark is not None
    assert after is not None
    assert after >= watermark
    assert jobs.run("assemble").detail == "nothing to do"


def test_a_window_has_so_many_rows_of_a_feed_and_every_row_is_in_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    began = datetime.now(UTC) - 50 * SECOND
    for number in range(20):
        at = {"written_at": began + number * SECOND}
        write_spans(store, [make_trace(2 * number)[0] | at, make_trace(2 * number + 1)[0] | at])
        write_evaluations(store, [make_evaluation(2 * number, name=name) | at for name in "abcde"[: number % 2 * 5]])
    windows: list[tuple[list[str], int]] = []

    def noted(store: Store, moments: pl.DataFrame) -> pl.DataFrame:
        traces = read_touched_traces(store, moments)
        windows.append((traces["trace_id"].sort().to_list(), traces.height))
        return traces

    monkeypatch.setattr("analytics.assemble_job.read_touched_traces", noted)
    run = make_jobs(store, AnalyticsConfig(jobs=JobRules(window_traces=10))).run("assemble")
    assert run.detail == "40 traces assembled, 50 evaluations judged"
    # a second has two traces, every other one five evaluations: ten evaluations are reached in four seconds, before ten traces
    assert [n for _, n in windows] == [8] * 5
    assert [trace for traces, _ in windows for trace in traces] == [f"{number:032x}" for number in range(40)]


def test_hours_and_days_are_what_adding_minutes_up_gives(store: Store) -> None:
    units, outcomes = random_units(2_000, 10)
    frame, said = units_frame(units), outcomes_frame(outcomes)
    minutes = roll_up(frame, said, frame, said)
    write_metric_rows(store, Grain.MINUTE, minutes, datetime.now(UTC))
    first, last = minutes["bucket"].min(), minutes["bucket"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    # a day without any minutes left, and a key that its hour no longer has
    gone = merge_rows(minutes.tail(1).with_columns(pl.col("bucket") + timedelta(days=30)), Grain.DAY)
    write_metric_rows(store, Grain.DAY, gone, datetime.now(UTC))
    write_metric_rows(store, Grain.HOUR, gone.with_columns(pl.lit(last).dt.truncate("1h").alias("bucket")), datetime.now(UTC))
    hours = [*minutes["bucket"].dt.truncate("1h").unique().sort(), gone["bucket"].item()]
    MergeJob(store, SMALL.jobs).merge_hours(hours, Recorder(store, "merge"))
    for grain in (Grain.HOUR, Grain.DAY):
        found = read_metric_rows(store, grain, first - timedelta(days=1), last + timedelta(days=60))
        assert_frame_equal(found, merge_rows(minutes, grain), rel_tol=1e-12)


def test_a_span_resent_twice_leaves_nothing_where_it_started_first(store: Store) -> None:
    jobs = make_jobs(store)
    first, same_hour, later = (make_trace(1, started_at=START + after)[:1] for after in (5 * MINUTE, 20 * MINUTE, 2 * HOUR))
    write_spans(store, first)
    run_all(jobs)
    assert facts(store)["started_at"].to_list() == [START + 5 * MINUTE]
    # the engine keeps one copy an hour: of the first one nothing is left but the bounds of its trace
    write_spans(store, same_hour)
    write_spans(store, later)
    store.command("OPTIMIZE TABLE span_records FINAL")
    run_all(jobs)
    assert facts(store)["started_at"].to_list() == [START + 2 * HOUR]
    assert rollups(store)["bucket"].unique().to_list() == [START + 2 * HOUR]


def test_a_verdict_is_found_whatever_the_clocks_say(store: Store) -> None:
    now = datetime.now(UTC)
    clocks = {1: datetime(1970, 1, 1, 0, 5, tzinfo=UTC), 2: now - 20 * DAY, 3: now - HOUR, 4: now + 5 * DAY}
    far_off = {1: ["time_far_off"], 4: ["time_far_off"]}
    jobs = make_jobs(store)
    for number, started_at in clocks.items():
        child = make_trace(number, started_at=started_at)[1]
        write_spans(store, [child | {"received_at": now, "quality_flags": far_off.get(number, [])}])
    write_evaluations(store, [make_evaluation(n, received_at=now, evaluated_at=now, passed=False) for n in clocks])
    run_all(jobs)
    # the root arrives in a later run
    for number, started_at in clocks.items():
        root = make_trace(number, started_at=started_at)[0]
        write_spans(store, [root | {"received_at": now, "quality_flags": far_off.get(number, [])}])
    run_all(jobs)
    found = store.frame("SELECT trace_id, n_spans FROM trace_facts FINAL ORDER BY trace_id")
    assert found.rows() == [(f"{number:032x}", 2) for number in clocks]
    judged = store.frame("SELECT trace_id, failed FROM trace_outcomes FINAL ORDER BY trace_id")
    assert judged.rows() == [(f"{number:032x}", True) for number in clocks]


def test_the_later_verdict_counts_however_late_the_older_one_is_sent_again(store: Store) -> None:
    verdict = make_evaluation(1, target_scope="session", target_trace_id="", target_session_id="s0", identifier="run-1")
    jobs = make_jobs(store)
    write_spans(store, make_trace(1))
    write_evaluations(store, [verdict | {"passed": True, "row_version": 2}])
    run_all(jobs)
    # five days later somebody exports all verdicts again, this one as it was before, and the session goes on
    later = {"received_at": START + 5 * DAY}
    older = {"passed": False, "row_version": 1, "evaluated_at": verdict["evaluated_at"] - MINUTE}
    write_evaluations(store, [verdict | older | later])
    write_spans(store, [span | later for span in make_trace(2, started_at=START + 5 * DAY, session_id="s0")])
    run_all(jobs)
    judged = store.frame("SELECT trace_id, failed FROM trace_outcomes FINAL")
    assert judged.rows() == [(f"{1:032x}", False)]


def test_facts_outlive_their_spans(store: Store) -> None:
    jobs = make_jobs(store)
    write_spans(store, make_trace(1))
    run_all(jobs)
    write_spans(store, make_trace(1))
    write_spans(store, make_trace(2))
    store.command(f"ALTER TABLE span_records DELETE WHERE trace_id = '{1:032x}' SETTINGS mutations_sync = 2")
    run_all(jobs)
    assert facts(store)["trace_id"].to_list() == [f"{1:032x}", f"{2:032x}"]


def test_a_run_that_is_stopped_ends_after_its_batch_and_the_next_process_goes_on(
    store: Store, make_store: Callable[[], Store]
) -> None:
    spans, evaluations = random_story(100, seed=5)
    clean = clean_run(make_store, spans, evaluations)
    for part in range(0, len(spans), 60):
        write_spans(store, spans[part : part + 60])
    write_evaluations(store, evaluations)
    for kind in ("assemble", "rollup"):
        jobs = make_jobs(store)
        run = jobs.run(kind, progress=lambda _, jobs=jobs: jobs.stop())  # type: ignore[misc]
        assert run.state is JobState.STOPPED
        assert "the next run goes on" in run.error
        whole = make_jobs(store).run(kind)
        assert whole.state is JobState.DONE
        assert 0 < run.rows_written < whole.rows_written + run.rows_written
        [stored] = [known for known in read_job_runs(store, kind) if known.run_id == run.run_id]
        assert (stored.state, stored.error) == (JobState.STOPPED, run.error)
    jobs = make_jobs(store)
    jobs.stop()
    assert jobs.run("merge").state is JobState.STOPPED
    run_all(make_jobs(store))
    assert_same(store, clean)
    jobs = make_jobs(store)
    backfill = jobs.run("backfill", START - HOUR, START + HOUR, lambda _: jobs.stop())
    assert backfill.state is JobState.STOPPED
    assert "ask for it again" in backfill.error
    assert "running" not in {run.state for run in read_job_runs(store)}
    run_all(make_jobs(store))
    assert_same(store, clean)


def test_an_earlier_span_moves_the_trace_to_its_minute(store: Store) -> None:
    jobs = make_jobs(store)
    request, call = make_trace(1, started_at=START + timedelta(minutes=3))
    write_spans(store, [call])
    run_all(jobs)
    write_spans(store, [request | {"start_time": START}])
    run_all(jobs)
    assert rollups(store)["bucket"].unique().to_list() == [START]
    assert rollups(store, Grain.HOUR)["n_eligible_all"].max() == 1


def test_what_an_evaluator_does_on_its_own_is_no_traffic(store: Store) -> None:
    judge = [span | {"kind": "evaluator", "model_route": "", "cohort": ""} for span in make_trace(2, kind="evaluator")]
    write_spans(store, make_trace(1) + judge)
    run_all(make_jobs(store))
    flags = store.frame("SELECT trace_id, quality_flags FROM trace_facts FINAL ORDER BY trace_id").rows()
    assert [trace_id for trace_id, names in flags if "evaluator_only" in names] == [f"{2:032x}"]
    rows = rollups(store)
    assert rows["model_route"].unique().to_list() == ["teacher"]
    assert rows.filter(metric="error")["n_eligible_all"].to_list() == [1]


def test_a_span_joins_its_trace_however_late(store: Store) -> None:
    jobs = make_jobs(store)
    request, call = make_trace(1)
    write_spans(store, [request, call])
    run_all(jobs)
    late = START + timedelta(days=9)
    write_spans(store, [call | {"span_id": "f" * 16, "start_time": late, "end_time": late + timedelta(seconds=1)}])
    run_all(jobs)
    found = store.frame("SELECT started_at, n_spans, input_tokens FROM trace_facts FINAL").rows()
    assert found == [(START, 3, 2 * call["input_tokens"])]


@pytest.mark.parametrize("first", [0, 1])
def test_of_conflicting_copies_the_last_to_end_is_shown_whichever_came_first(store: Store, first: int) -> None:
    request, call = make_trace(1)
    # the same span again, as a sender with a corrected clock tells it: an hour later, so ending later
    again = call | {"start_time": call["start_time"] + HOUR, "end_time": call["end_time"] + HOUR, "output_tokens": 7}
    copies = [call, again]
    jobs = make_jobs(store)
    write_spans(store, [request, copies[first]])
    run_all(jobs)
    write_spans(store, [copies[1 - first]])
    run_all(jobs)
    shown = "SELECT span_id, output_tokens, usage_scope FROM spans WHERE name = 'chat'"
    assert store.frame(shown).rows() == [(call["span_id"], 7, "own")]
    # the first copy once more, now ending last of all: the other one is hidden instead
    write_spans(store, [call | {"end_time": call["end_time"] + 2 * HOUR, "output_tokens": 8, "row_version": 1}])
    run_all(jobs)
    assert store.frame(shown).rows() == [(call["span_id"], 8, "own")]


def test_a_late_verdict_is_counted_but_not_as_matured(store: Store) -> None:
    jobs = make_jobs(store)
    write_spans(store, make_trace(1))
    run_all(jobs)
    write_evaluations(store, [make_evaluation(1, after=timedelta(hours=9), passed=False)])
    run_all(jobs)
    verdict = rollups(store).filter(metric="eval_fail").row(0, named=True)
    assert (verdict["n_fail_all"], verdict["n_scored_matured"], verdict["n_late"]) == (1, 0, 1)


def test_calls_nobody_can_price_are_counted_by_model_until_they_are_priced(store: Store) -> None:
    own = {"request_model": "own-1", "response_model": "own-1", "provider": "house"}
    for number in range(5):
        request, call = make_trace(number)
        write_spans(store, [request, call | (own if number < 3 else {})])
    run_all(make_jobs(store))
    (found,) = read_unpriced_models(store, START, START + HOUR).to_dicts()
    assert (found["provider"], found["model"], found["n_calls"], found["one_in_traces"]) == ("house", "own-1", 3, 1)
    jobs = make_jobs(store, prices=[PriceConfig(model="own-1", request_usd="0.5")])
    assert jobs.run("reprice", START, START + HOUR).state is JobState.DONE
    assert read_unpriced_models(store, START, START + HOUR).is_empty()


def test_very_many_calls_nobody_can_price_are_estimated(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(400):
        request, call = make_trace(number)
        write_spans(store, [request, call | {"request_model": "own-1", "response_model": "own-1"}])
    run_all(make_jobs(store))
    monkeypatch.setattr("storage.quality._MOST_UNPRICED", 100)
    (found,) = read_unpriced_models(store, START, START + HOUR).to_dicts()
    assert found["one_in_traces"] == 4
    assert found["n_calls"] % 4 == 0
    # 100 of 400 chosen by hash: five standard deviations of 4 x binomial(400, 1/4)
    assert abs(found["n_calls"] - 400) < 5 * 4 * 8.7


def test_an_evaluation_whose_target_never_comes_is_counted_and_stops_nobody(store: Store) -> None:
    write_spans(store, make_trace(1))
    lost = make_evaluation(9, target_trace_id="", target_response_id="resp-9", name="Lost")
    write_evaluations(store, [make_evaluation(1), make_evaluation(8), lost])
    run_all(make_jobs(store))
    waiting = read_unattached_evaluations(store, START, START + HOUR)
    assert waiting.select("name", "n_evaluations", "example_target").rows() == [
        ("Lost", 1, "resp-9"),
        ("TaskCompletion", 1, f"{8:032x}"),
    ]
    write_spans(store, make_trace(8) + make_trace(9))
    run_all(make_jobs(store))
    assert read_unattached_evaluations(store, START, START + HOUR).is_empty()


def test_an_evaluation_of_a_trace_of_long_ago_does_not_wait(store: Store) -> None:
    before, later = START - timedelta(days=9), timedelta(days=9)
    write_spans(store, [span | {"received_at": before} for span in make_trace(1, started_at=before)])
    write_evaluations(store, [make_evaluation(1), make_evaluation(2)])
    (waiting,) = read_unattached_evaluations(store, START, START + later).to_dicts()
    assert (waiting["n_evaluations"], waiting["example_target"]) == (1, f"{2:032x}")


def test_very_many_evaluations_may_wait(each_store: Store) -> None:
    """As readers ask, who may read no files: of 30,000, sent twice, the oldest 20,000, a fourth of them about known traces."""
    each_store.command(
        """
        INSERT INTO evaluation_records (target_scope, target_trace_id, target_response_id, name, score, evaluated_at, received_at)
        SELECT if(number % 2 = 0, 'trace', 'response'), if(number % 2 = 0, concat('t-', toString(number)), ''),
            if(number % 2 = 0, '', concat('r-', toString(number))), if(number % 2 = 0, 'Named', 'Answered'), 1, t, t
        FROM
        (
            SELECT number % 30000 AS number, {start:DateTime64(9, 'UTC')} + toIntervalMillisecond(number) AS t FROM numbers(60000)
        )
        """,
        {"start": START},
    )
    each_store.command(
        """
        INSERT INTO trace_times
        SELECT concat('t-', toString(number * 4)), {before:DateTime64(9, 'UTC')}, {before:DateTime64(9, 'UTC')},
            toDate({before:DateTime64(9, 'UTC')})
        FROM numbers(7500)
        """,
        {"before": START - timedelta(days=9)},
    )
    readers = each_store.limited(ApiConfig().query_limits())
    waiting = read_unattached_evaluations(readers, START, START + HOUR)
    # of each pair of numbers one names a trace, and of these every second one was there nine days before
    assert waiting.rows() == [
        ("Answered", "response", 10_000, START + timedelta(milliseconds=1), "r-1"),
        ("Named", "trace", 5_000, START + timedelta(milliseconds=2), "t-2"),
    ]


def test_a_session_verdict_moves_to_the_later_trace(store: Store) -> None:
    jobs = make_jobs(store)
    write_spans(store, make_trace(4))
    verdict = make_evaluation(0, target_scope="session", target_trace_id="", target_session_id="s1", after=HOUR, passed=False)
    write_evaluations(store, [verdict])
    run_all(jobs)
    write_spans(store, make_trace(5, started_at=START + timedelta(minutes=30)))
    run_all(jobs)
    judged = rollups(store).filter(metric="eval_fail")
    assert judged.select("bucket", "n_fail_all").rows() == [(START + timedelta(minutes=30), 1)]


def test_a_poisonous_trace_is_set_aside_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import analytics.assemble_job as module

    real = module.assemble_spans

    def fails_on_seven(spans: pl.DataFrame, rules: object) -> pl.DataFrame:
        if f"{7:032x}" in spans["trace_id"]:
            raise ZeroDivisionError("trace 7")
        return real(spans, rules)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "assemble_spans", fails_on_seven)
    write_spans(store, [span for number in range(20) for span in make_trace(number)])
    run_all(make_jobs(store))
    assert read_poisonous_traces(store) == {f"{7:032x}": "ZeroDivisionError: trace 7"}
    assert facts(store).height == 19
    monkeypatch.setattr(module, "assemble_spans", real)
    make_jobs(store).run("backfill", START - HOUR, START + HOUR)
    assert facts(store).height == 20
    assert read_poisonous_traces(store) == {}


def test_a_defect_that_hits_every_trace_fails_the_run_and_skips_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import analytics.assemble_job as module

    def fails(spans: pl.DataFrame, rules: object) -> pl.DataFrame:
        raise ZeroDivisionError("everything")

    write_spans(store, [span for number in range(40) for span in make_trace(number)])
    with monkeypatch.context() as patch:
        patch.setattr(module, "assemble_spans", fails)
        run = make_jobs(store).run("assemble")
    assert run.state is JobState.FAILED
    assert read_watermark(store, "assemble") is None
    run_all(make_jobs(store))
    assert facts(store).height == 40


def test_a_store_that_fails_for_a_moment_costs_an_attempt(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import analytics.assemble_job as module

    real = module.write_trace_facts
    calls = iter([StoreUnavailableError("busy")])

    def busy_once(*arguments: object) -> None:
        for error in calls:
            raise error
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "write_trace_facts", busy_once)
    write_spans(store, make_trace(1))
    run_all(make_jobs(store))
    states = [run.state for run in read_job_runs(store, "assemble")]
    assert sorted(states) == [JobState.DONE, JobState.FAILED]
    assert facts(store).height == 1


def test_backfill_gives_identical_results_with_progress(store: Store) -> None:
    spans, evaluations = random_story(60, seed=3)
    write_spans(store, spans)
    write_evaluations(store, evaluations)
    jobs = make_jobs(store)
    run_all(jobs)
    before, known = rollups(store), facts(store)
    shares: list[float] = []
    run = jobs.run("backfill", START - HOUR, START + 2 * HOUR, shares.append)
    assert run.state is JobState.DONE, run.error
    assert shares == sorted(shares)
    assert shares
    assert_frame_equal(rollups(store), before)
    assert_frame_equal(facts(store), known)


def test_backfill_takes_quiet_hours_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(6):
        write_spans(store, make_trace(n, started_at=START + n * HOUR))
    n_spans = store.frame("SELECT count() AS n FROM span_records")["n"].item()
    sizes: list[int] = []

    def counted(store: Store, times: pl.DataFrame) -> pl.DataFrame:
        spans = read_whole_traces(store, times)
        sizes.append(spans.height)
        return spans

    monkeypatch.setattr("analytics.assemble_job.read_whole_traces", counted)
    for batch_spans, expected in ((n_spans, [n_spans]), (n_spans // 2, [n_spans // 2] * 2), (1, [n_spans // 6] * 6)):
        sizes.clear()
        run = make_jobs(store, AnalyticsConfig(jobs=JobRules(batch_spans=batch_spans))).run(
            "backfill", START - HOUR, START + 7 * HOUR
        )
        assert run.state is JobState.DONE, run.error
        assert sizes == expected
        assert facts(store).height == 6


def test_a_new_price_counts_from_now_on_until_repriced(store: Store) -> None:
    jobs = make_jobs(store, prices=[PriceConfig(model="gpt-4o", request_usd="0.5")])
    write_spans(store, make_trace(1))
    run_all(jobs)
    jobs.price_book.set_price({"model": "gpt-4o", "request_usd": "2"}, "tester")
    run_all(jobs)
    assert facts(store)["cost_usd"].to_list() == [pytest.approx(0.5)]
    jobs.run("reprice", START - HOUR)
    assert [str(cost) for cost in facts(store)["cost_usd"]] == ["2.000000000"]
    frame = read_series(store, "cost_per_trace", START, START + HOUR, HOUR, ["route"]).frame
    assert frame.select("route", "value", "n_priced").rows() == [("teacher", 2.0, 1)]


def test_a_job_without_its_range_or_name_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="needs a time"):
        make_jobs(store).run("backfill")
    with pytest.raises(ValueError, match="nonsense"):
        make_jobs(store).run("nonsense")


_CHILD = """
    import sys
    from pathlib import Path
    from analytics.config import AnalyticsConfig, JobRules
    from analytics.jobs import Jobs
    from storage.client import Store
    from storage.clock import WallClock
    from storage.migrations import migrate
    from tests.integration.analytics.test_jobs import SMALL
    from tests.support.span_rows import random_story, write_evaluations, write_spans

    store = Store.embedded(Path(sys.argv[1]))
    migrate(store)
    if sys.argv[2] == "load":
        spans, evaluations = random_story(150, seed=5)
        write_spans(store, spans)
        write_evaluations(store, evaluations)
    else:
        print("started", flush=True)
        jobs = Jobs(store, SMALL, WallClock())
        for kind in ("assemble", "rollup", "merge"):
            run = jobs.run(kind)
            assert not run.error, run.error
    if sys.argv[2] == "export":
        for table in ("trace_facts", "metric_minutes", "metric_hours", "metric_days"):
            frame = store.frame(f"SELECT * EXCEPT (computed_at, is_deleted) FROM {table} FINAL ORDER BY ALL")
            frame.write_parquet(Path(sys.argv[3]) / f"{table}.parquet")
    store.close()
"""


def _child(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(_CHILD), str(directory), *arguments]
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("seed", [11])
def test_killed_in_the_middle_equals_a_clean_run(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    directory = tmp_path / "killed"
    _load(directory)
    for _ in range(2):
        child = _child(directory, "run")
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        time.sleep(rng.uniform(0.1, 1.5))  # where the blow falls is the random part of the test
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    assert _export(directory, tmp_path / "a").keys() == {"trace_facts", "metric_minutes", "metric_hours", "metric_days"}
    clean = tmp_path / "clean"
    _load(clean)
    expected = _export(clean, tmp_path / "b")
    for table, frame in _export(directory, tmp_path / "a").items():
        assert_frame_equal(frame, expected[table], rel_tol=1e-12)


def _load(directory: Path) -> None:
    child = _child(directory, "load")
    child.communicate()
    assert child.returncode == 0


def _export(directory: Path, target: Path) -> dict[str, pl.DataFrame]:
    target.mkdir(exist_ok=True)
    child = _child(directory, "export", str(target))
    child.communicate()
    assert child.returncode == 0
    return {path.stem: pl.read_parquet(path) for path in sorted(target.glob("*.parquet"))}
