"""Rollups as laws: whatever the order, however cut into windows or shards, and however often, the rows are the same."""

from __future__ import annotations

import random

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from analytics.rollup import roll_up
from storage.metrics import METRIC_KEY, Grain
from tests.support.merging import merge_rows
from tests.support.units import Row, outcomes_frame, random_units, units_frame

SIZES, SEEDS = st.integers(0, 60), st.integers(0, 10**6)
KEY = list(METRIC_KEY)


def rolled(units: list[Row], outcomes: list[Row]) -> pl.DataFrame:
    frame, said = units_frame(units), outcomes_frame(outcomes)
    return roll_up(frame, said, frame, said)


def apart(units: list[Row], outcomes: list[Row], part_of: dict[str, int]) -> list[pl.DataFrame]:
    """Rolled up part by part; partners in mirroring are looked up among everybody, as the job does."""
    everyone, said = units_frame(units), outcomes_frame(outcomes)
    parts = []
    for part in sorted(set(part_of.values())):
        mine = units_frame(unit for unit in units if part_of[unit["trace_id"]] == part)
        parts.append(roll_up(mine, said.join(mine, on=["trace_id", "mirror_role"], how="semi"), everyone, said))
    return parts


@settings(max_examples=25, deadline=None)
@given(SIZES, SEEDS)
def test_order_changes_no_byte(n: int, seed: int) -> None:
    units, outcomes = random_units(n, seed)
    expected = rolled(units, outcomes)
    random.Random(seed + 1).shuffle(units)
    random.Random(seed + 2).shuffle(outcomes)
    assert_frame_equal(rolled(units, outcomes), expected, check_exact=True)


@settings(max_examples=25, deadline=None)
@given(SIZES, SEEDS, st.integers(1, 7))
def test_windows_of_any_minutes_give_the_same_rows(n: int, seed: int, n_windows: int) -> None:
    units, outcomes = random_units(n, seed)
    window = {unit["trace_id"]: unit["started_at"].minute % n_windows for unit in units}
    parts = apart(units, outcomes, window)
    whole = rolled(units, outcomes)
    assert_frame_equal(pl.concat([whole.clear(), *parts]).sort(KEY), whole, check_exact=True)


@settings(max_examples=25, deadline=None)
@given(SIZES, SEEDS, st.integers(1, 5), st.sampled_from(list(Grain)))
def test_shards_add_up_to_the_whole(n: int, seed: int, n_shards: int, grain: Grain) -> None:
    units, outcomes = random_units(n, seed)
    shard = {unit["trace_id"]: int(unit["trace_id"], 16) % n_shards for unit in units}
    whole = rolled(units, outcomes)
    parts = pl.concat([whole.clear(), *apart(units, outcomes, shard)])
    assert_frame_equal(comparable(merge_rows(parts, grain)), comparable(merge_rows(whole, grain)), rel_tol=1e-12)


def comparable(rows: pl.DataFrame) -> pl.DataFrame:
    """Where no trace tells its time to first token there is no row, so those that could have told are not counted alike."""
    untold = pl.when(pl.col("metric") != "ttft").then(pl.col("n_eligible_all", "n_eligible_matured"))
    return rows.with_columns(untold)


@settings(max_examples=25, deadline=None)
@given(SIZES, SEEDS)
def test_merging_by_hours_first_or_again_is_the_same(n: int, seed: int) -> None:
    minutes = rolled(*random_units(n, seed))
    hours = merge_rows(minutes, Grain.HOUR)
    assert_frame_equal(merge_rows(hours, Grain.HOUR), hours, rel_tol=1e-15)
    assert_frame_equal(merge_rows(hours, Grain.DAY), merge_rows(minutes, Grain.DAY), rel_tol=1e-12)


@settings(max_examples=25, deadline=None)
@given(SIZES, SEEDS)
def test_no_count_exceeds_what_could_fail(n: int, seed: int) -> None:
    rows = rolled(*random_units(n, seed))
    for when in ("matured", "all"):
        scored, eligible, failed = (pl.col(f"{name}_{when}") for name in ("n_scored", "n_eligible", "n_fail"))
        assert rows.filter((scored > eligible) | (failed > scored)).is_empty()
    assert rows.filter(pl.col("hist_counts_all").list.len() != pl.col("hist_bins_all").list.len()).is_empty()
