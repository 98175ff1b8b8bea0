"""The rollup equals a plain loop over the traces, whatever the order and however the work is cut."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analytics.eligibility import complete
from analytics.histograms import RELATIVE_ERROR, quantile
from analytics.rollup import roll_up, roll_up_verdicts
from storage.errors import FrameShapeError
from storage.metrics import METRIC_KEY, METRIC_ROWS, Grain
from tests.support.merging import merge_rows
from tests.support.units import (
    KEY,
    START,
    Row,
    make_outcome,
    make_unit,
    nearest_rank,
    outcomes_frame,
    random_units,
    slow_pairs,
    slow_rollup,
    units_frame,
)

_COUNTS = [f"{name}_all" for name in ("n_eligible", "n_fail", "n_value", "n_sampled")]


def rolled(units: list[Row], outcomes: list[Row]) -> pl.DataFrame:
    frame, said = units_frame(units), outcomes_frame(outcomes)
    return roll_up(frame, said, frame, said)


def where(row: dict[str, Any]) -> tuple[Any, ...]:
    verdict = (row["evaluator"], row["evaluator_version"], row["sampling_rule"])
    return (row["bucket"], *(row[name] for name in KEY), row["mirrored"], row["metric"], *verdict)


@pytest.mark.parametrize("seed", [1, 2])
def test_equals_the_plain_loop(seed: int) -> None:
    units, outcomes = random_units(3_000, seed)
    expected = slow_rollup(units, outcomes)
    rows = rolled(units, outcomes).filter(pl.col("pair_route") == "")
    assert {where(row) for row in rows.iter_rows(named=True)} == set(expected)
    for row in rows.iter_rows(named=True):
        cell = expected[where(row)]
        for name in _COUNTS:
            assert row[name] == cell[name], (name, where(row))
        # Added as integers; dividing by the unit rounds once.
        assert row["sum_value_all"] == pytest.approx(float(cell["sum_value_all"]), rel=1e-15)
        assert row["sum_squares_all"] == pytest.approx(float(cell["sum_squares_all"]), rel=1e-15)
        if row["metric"] in ("eval_fail", "thumbs_down"):
            matured = {name: value for name, value in cell.items() if name.endswith("_matured")}
            assert {name: row[name] for name in matured} == pytest.approx({n: float(v) for n, v in matured.items()}, rel=1e-15)
            assert (row["n_scored_all"], row["n_late"]) == (cell["n_scored_all"], cell["n_late"])
        values = cell["values"] or []
        assert sum(row["hist_counts_all"]) == len(values)
        for q in (0.5, 0.95, 0.99) if values else ():
            exact = nearest_rank(values, q)
            assert quantile(row["hist_bins_all"], row["hist_counts_all"], q) == pytest.approx(exact, rel=RELATIVE_ERROR)


def test_pairs_equal_the_plain_loop() -> None:
    units, outcomes = random_units(2_000, 3)
    expected = slow_pairs(units, outcomes)
    rows = rolled(units, outcomes).filter(pl.col("pair_route") != "")
    cells = ["n11", "n10", "n01", "n00", "n_incomplete"]
    found = {
        (
            row["bucket"],
            *(row[k] for k in KEY),
            *(row[k] for k in ("pair_route", "pair_model", "metric", "evaluator", "evaluator_version")),
        ): {cell: row[f"{cell}_all"] for cell in cells}
        for row in rows.iter_rows(named=True)
    }
    assert found == {key: {cell: value[cell] for cell in cells} for key, value in expected.items()}


def test_a_pair_is_told_from_both_sides() -> None:
    teacher = make_unit(1, mirror_role="primary", mirror_group="g")
    student = make_unit(2, mirror_role="shadow", mirror_group="g", model_route="student", model="small")
    outcomes = [make_outcome(teacher), make_outcome(student, failed=True, failed_matured=True)]
    rows = rolled([teacher, student], outcomes).filter(pl.col("metric") == "eval_fail", pl.col("pair_route") != "")
    cells = rows.select("model_route", "pair_route", "n10_matured", "n01_matured").rows()
    assert cells == [("student", "teacher", 0, 1), ("teacher", "student", 1, 0)]


def test_a_verdict_of_another_judge_completes_no_pair() -> None:
    teacher = make_unit(1, mirror_role="primary", mirror_group="g")
    student = make_unit(2, mirror_role="shadow", mirror_group="g", model_route="student")
    outcomes = [make_outcome(teacher), make_outcome(student, evaluator_version="2")]
    rows = rolled([teacher, student], outcomes).filter(pl.col("metric") == "eval_fail", pl.col("pair_route") == "teacher")
    assert rows.select("evaluator_version", "n_incomplete_all", "n00_all").rows() == [("1", 1, 0), ("2", 1, 0)]


def test_a_golden_set_pairs_runs_of_any_time_and_the_last_one_counts() -> None:
    golden = {"environment": "experiment", "mirror_group": "item-7"}
    first = make_unit(1, **golden, model_route="student", errored=True)
    again = make_unit(2, **golden, model_route="student", started_at=START.replace(minute=58))
    teacher = make_unit(3, **golden, started_at=START.replace(hour=1))
    rows = rolled([first, again, teacher], []).filter(pl.col("metric") == "error", pl.col("pair_route") == "student")
    assert rows.select("n00_all", "n10_all").rows() == [(1, 0)]


def test_a_shadow_costs_but_is_no_user() -> None:
    rows = rolled([make_unit(1, mirror_role="shadow")], [])
    assert rows.select("metric", "mirrored", "n_eligible_all").rows() == [("cost", 1, 1)]


def test_order_changes_nothing() -> None:
    units, outcomes = random_units(500, 4)
    expected = rolled(units, outcomes)
    random.Random(5).shuffle(units)
    random.Random(6).shuffle(outcomes)
    assert_frame_equal(rolled(units, outcomes), expected)


def test_minutes_rolled_up_apart_are_the_same_rows() -> None:
    units, outcomes = random_units(500, 7)
    everyone, said = units_frame(units), outcomes_frame(outcomes)
    parts = [
        roll_up(part, said.join(part, on=["trace_id", "mirror_role"], how="semi"), everyone, said)
        for part in everyone.with_columns(m=pl.col("started_at").dt.truncate("1m")).partition_by("m", include_key=False)
    ]
    assert_frame_equal(pl.concat(parts).sort(list(METRIC_KEY)), rolled(units, outcomes))


def test_verdicts_alone_give_the_verdict_rows() -> None:
    units, outcomes = random_units(500, 8)
    frame, said = units_frame(units), outcomes_frame(outcomes)
    ids = {outcome["trace_id"] for outcome in outcomes}
    judged = units_frame(unit for unit in units if unit["trace_id"] in ids or unit["mirror_group"])
    whole = roll_up(frame, said, frame, said).filter(pl.col("metric").is_in(["eval_fail", "thumbs_down"]))
    assert_frame_equal(roll_up_verdicts(judged, said, frame, said), whole)


def test_merging_shards_and_hours_is_adding() -> None:
    units, outcomes = random_units(800, 9)
    # Shards by trace; mirror groups stay whole by leaving pairs out.
    plain = [unit | {"mirror_role": "none", "mirror_group": "", "environment": "production"} for unit in units]
    said = [outcome | {"mirror_role": "none"} for outcome in outcomes]
    halves = [[unit for unit in plain if int(unit["trace_id"], 16) % 2 == half] for half in (0, 1)]
    ids = [{unit["trace_id"] for unit in half} for half in halves]
    parts = [rolled(half, [o for o in said if o["trace_id"] in some]) for half, some in zip(halves, ids, strict=True)]
    for grain in (Grain.MINUTE, Grain.HOUR, Grain.DAY):
        merged = merge_rows(pl.concat(parts), grain)
        assert_frame_equal(merged, merge_rows(rolled(plain, said), grain), rel_tol=1e-12)
    hours = merge_rows(rolled(plain, said), Grain.HOUR)
    assert_frame_equal(merge_rows(hours, Grain.DAY), merge_rows(rolled(plain, said), Grain.DAY), rel_tol=1e-12)
    assert hours["bucket"].unique().sort().dt.to_string("%m-%d %H").to_list() == ["02-29 23", "03-01 00"]


def test_completed_rows_count_everyone_served() -> None:
    units = [make_unit(n, aa=0, evaluation_sampled=True, sampling_rule="tenth") for n in range(4)]
    outcomes = [
        make_outcome(units[0], metric="thumbs_down", evaluator="", evaluator_version="", failed=True, failed_matured=True),
        make_outcome(units[1]),
    ]
    rows = complete(rolled(units, outcomes), ["thumbs_down", "refund"])
    seen = {row["metric"]: (row["n_eligible_matured"], row["n_fail_matured"], row["n_value_matured"]) for row in rows.to_dicts()}
    assert seen["thumbs_down"] == (4, 1, 1)
    assert seen["refund"] == (4, 0, 0)
    # Sampled four, judged one: three verdicts are missing.
    assert seen["eval_missing"] == (4, 3, 0)


def test_nothing_in_nothing_out() -> None:
    assert rolled([], []).equals(METRIC_ROWS.to_frame())
    assert merge_rows(METRIC_ROWS.to_frame(), Grain.DAY).is_empty()


def test_a_wrong_frame_is_named() -> None:
    empty = units_frame([])
    with pytest.raises(FrameShapeError, match="duration_ns: missing"):
        roll_up(empty.drop("duration_ns"), outcomes_frame([]), empty, outcomes_frame([]))
