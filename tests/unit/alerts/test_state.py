"""State: the same bytes however the minutes were cut, and what may not change it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from alerts.checkpoint import from_bytes, pack, rebuild, replay, to_bytes, unpack
from alerts.findings import Findings
from alerts.method.weights import StreamKey
from alerts.rules import MINUTES_PER_DAY, Rules
from alerts.state import ComparisonState
from alerts.verdict import GLOBAL
from storage.settled import SETTLED
from tests.support.settled import START, Stream, advanced, rules_for, settled_rows, to_settled

STREAMS = [Stream("a", 150, 0.5, 0.1, 0.3), Stream("b", 80, 0.2), Stream("c", 4, 0.5, 0.2, 0.2)]
DAYS = 4
END = START + DAYS * MINUTES_PER_DAY


def minute_of(rows: pl.DataFrame) -> pl.Series:
    return rows["minute"].dt.epoch("s") // 60


def step_by_step(rules: Rules, rows: pl.DataFrame, step: int, *, restart_every: int = 0) -> ComparisonState:
    """Settle `step` minutes at a time, each metric at its own maturity; restart from a checkpoint every so many steps."""
    state = ComparisonState(rules)
    at = minute_of(rows).to_numpy()
    metric = rows["metric"].to_numpy()
    for count, now in enumerate([*range(START, END + 60, step), END + 60]):
        frontiers = {60: min(now - 60, END), 5: min(now - 5, END)}
        before = {group: state.frontiers.get(group, START) for group in frontiers}
        group = np.where(metric == "error", 5, 60)
        chosen = np.zeros(len(at), dtype=bool)
        for number, to in frontiers.items():
            chosen |= (group == number) & (at >= before[number]) & (at < to)
        state.advance(rows.filter(pl.Series(chosen)), {g: max(to, before[g]) for g, to in frontiers.items()})
        if restart_every and count % restart_every == 0:
            state = unpack(rules, pack(state)[0])
    return state


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    rows = settled_rows(STREAMS, 5, days=DAYS)
    pairs = pl.DataFrame(
        {
            "minute": [START + 700, START + 1_500, START + 2_900],
            "metric": "eval_fail",
            "evaluator": "judge",
            "cohort": "a",
            "prompt_version": "p",
            "n01": [9, 3, 1],
            "n10": [1, 1, 0],
            "n00": [20, 9, 4],
        }
    )
    costs = pl.DataFrame(
        {
            "minute": [START + 3, START + 2_000],
            "metric": "cost",
            "cohort": "a",
            "n_value_candidate": [3, 1],
            "sum_candidate": [0.1, 0.7],
        }
    )
    return pl.concat([rows, to_settled(pairs), to_settled(costs)]).sort("minute")


def test_any_cutting_gives_the_same_bytes(rows: pl.DataFrame) -> None:
    rules = rules_for(STREAMS)
    costless = rows.filter(pl.col("metric") != "cost")
    whole = to_bytes(advanced(rules, costless, END))
    assert to_bytes(step_by_step(rules, costless, 7)) == whole
    assert to_bytes(step_by_step(rules, costless, 601)) == whole
    assert to_bytes(step_by_step(rules, costless, 67, restart_every=9)) == whole
    assert to_bytes(rebuild(rules, costless)) == to_bytes(replay(ComparisonState(rules), [costless]))


@pytest.mark.parametrize("minutes", [700, 1_440, 2_000])
def test_a_replay_in_pieces_is_the_same(rows: pl.DataFrame, minutes: int) -> None:
    """Feedback of a piece settles after flags of the next: it must not be taken in before them."""
    thumbs = rows.filter(metric="error").with_columns(metric=pl.lit("escalation"), cohort=pl.lit("new"))
    whole = pl.concat([rows, thumbs]).sort("minute")
    rules = rules_for(STREAMS)
    at = minute_of(whole)
    pieces = [whole.filter((at >= start) & (at < start + minutes)) for start in range(START, END, minutes)]
    assert to_bytes(replay(ComparisonState(rules), pieces)) == to_bytes(rebuild(rules, whole))


def test_the_paged_minute_does_not_depend_on_the_cutting(rows: pl.DataFrame) -> None:
    rules = rules_for(STREAMS)
    state = advanced(rules, rows, END)
    number = state.paging.index[StreamKey("eval_fail", "judge", "a")]
    assert state.paging.paged[number, 0] > START
    assert (
        step_by_step(rules, rows.filter(pl.col("metric") != "cost"), 1_000).paging.paged[number, 0]
        == state.paging.paged[number, 0]
    )


def test_arrival_order_does_not_matter(rows: pl.DataFrame) -> None:
    rules = rules_for(STREAMS)
    assert to_bytes(advanced(rules, rows.sample(fraction=1.0, shuffle=True, seed=1), END)) == to_bytes(advanced(rules, rows, END))


def test_bytes_come_back_as_the_same_state(rows: pl.DataFrame) -> None:
    rules = rules_for(STREAMS)
    data = to_bytes(advanced(rules, rows, END))
    assert to_bytes(from_bytes(rules, data)) == data


def test_state_does_not_grow_with_traffic() -> None:
    sizes = []
    for factor in (1, 20):
        streams = [replace(stream, per_day=stream.per_day * factor) for stream in STREAMS]
        sizes.append(len(to_bytes(advanced(rules_for(streams), settled_rows(streams, 1, days=2), START + 2 * MINUTES_PER_DAY))))
    assert sizes[1] < 1.1 * sizes[0]


def findings(state: ComparisonState) -> Findings:
    return Findings(state, {}, (0.03, 0.01), 0.05)


def global_numbers(state: ComparisonState) -> tuple[float, float, float]:
    number = state.paging.index[StreamKey("eval_fail", "judge", GLOBAL)]
    seen = findings(state)
    return float(seen.log_e[number]), float(seen.d[number]), float(seen.v[number])


def test_relabelling_cohorts_changes_nothing(rows: pl.DataFrame) -> None:
    other = rows.with_columns(pl.col("cohort").replace({"a": "z", "b": "y", "c": "x"}))
    first = global_numbers(advanced(rules_for(STREAMS), rows, END))
    second = global_numbers(advanced(rules_for(STREAMS), other, END))
    assert second == pytest.approx(first, rel=1e-12)


def test_splitting_the_rows_of_a_minute_changes_nothing(rows: pl.DataFrame) -> None:
    counts = [name for name, kind in SETTLED.items() if kind == pl.Int64]
    halves = [rows.with_columns(pl.col(counts) // 2), rows.with_columns(pl.col(counts) - pl.col(counts) // 2)]
    split = pl.concat(halves)
    split = split.with_columns(
        *[pl.min_horizontal(f"fail_{arm}", f"n_{arm}").alias(f"fail_{arm}") for arm in ("candidate", "baseline")]
    )
    merged = split.group_by([n for n, k in SETTLED.items() if n not in counts and k != pl.Float64]).agg(
        pl.col([n for n, k in SETTLED.items() if n in counts or k == pl.Float64]).sum()
    )
    rules = rules_for(STREAMS)
    # Dollars and pairs are sums of floats: equal, but for the last digit.
    keep = (pl.col("metric") != "cost") & (pl.col("n_candidate") + pl.col("n_baseline") > 0)
    one = advanced(rules, merged.select(list(SETTLED)).filter(keep), END)
    two = advanced(rules, split.filter(keep), END)
    assert to_bytes(one) == to_bytes(two)


def test_a_cohort_without_candidate_traffic_changes_nothing(rows: pl.DataFrame) -> None:
    extra = settled_rows([Stream("teacher_only", 100, 0.0)], 9, days=DAYS)
    with_it = advanced(rules_for(STREAMS), pl.concat([rows, extra]).sort("minute"), END)
    assert global_numbers(with_it) == pytest.approx(global_numbers(advanced(rules_for(STREAMS), rows, END)), rel=1e-12)


def test_swapping_the_arms_turns_the_sign(rows: pl.DataFrame) -> None:
    names = {n: n.replace("candidate", "baseline") if "candidate" in n else n.replace("baseline", "candidate") for n in SETTLED}
    swapped = rows.rename(names).rename({"n01": "n10", "n10": "n01"}).select(list(SETTLED))
    rules = rules_for(STREAMS)
    _, d, v = global_numbers(advanced(rules, rows, END))
    _, other_d, other_v = global_numbers(advanced(rules, swapped, END))
    assert other_d == pytest.approx(-d, rel=1e-9)
    assert other_v == pytest.approx(v, rel=1e-9)


def test_scaling_the_mix_of_both_arms_leaves_the_other_cohorts_alone() -> None:
    small = [Stream("a", 150, 0.5, 0.1, 0.3), Stream("b", 20)]
    large = [Stream("a", 150, 0.5, 0.1, 0.3), Stream("b", 200)]
    key = StreamKey("eval_fail", "judge", "a")
    states = [advanced(rules_for(s), settled_rows(s, 3, days=DAYS), END) for s in (small, large)]
    numbers = [(findings(s).log_e[s.paging.index[key]], findings(s).d[s.paging.index[key]]) for s in states]
    assert numbers[0] == numbers[1]


def test_streams_without_history_live_on_the_reserve_until_alpha_is_divided(rows: pl.DataFrame) -> None:
    rules = replace(rules_for(STREAMS), dealt_from=START + MINUTES_PER_DAY)
    state = advanced(rules, rows, END)
    everyone = np.arange(len(state.paging.streams))
    early = np.exp(-state.log_threshold(everyone, np.full(len(everyone), START))) / 0.05
    late = np.exp(-state.log_threshold(everyone, np.full(len(everyone), END))) / 0.05
    assert early.sum() <= 0.025
    assert (late >= early).all()
    assert late.sum() <= 1.0 + 1e-9


def test_evidence_of_one_global_stream_by_a_slower_method(rows: pl.DataFrame) -> None:
    """The e-process step by step, as it is written down: A <- A + w at day starts, A <- A exp(log L) at blocks."""
    from alerts.method.blocks import log_evidence

    only = rows.filter((pl.col("metric") == "error") & (pl.col("cohort") == "a"))
    rules = rules_for(STREAMS)
    theta = np.log(np.array(rules.odds_ratios))
    a, day = np.full(8, 0.5), 0
    n_s = x_s = n_t = x_t = 0
    began = None
    for minute, *row in zip(minute_of(only).to_list(), *(only[c] for c in _COUNTS), strict=True):
        began = minute if began is None else began
        assert minute - began < 1_440
        n_s, x_s, n_t, x_t = (have + add for have, add in zip((n_s, x_s, n_t, x_t), row, strict=True))
        if min(n_s, n_t) >= 5:
            for _ in range(day, (minute - START) // MINUTES_PER_DAY):
                a += 0.5 / 13
            day = (minute - START) // MINUTES_PER_DAY
            a *= np.exp(log_evidence(*(np.array([v]) for v in (n_s, x_s, n_t, x_t)), theta)[0])
            n_s, x_s, n_t, x_t, began = 0, 0, 0, 0, None
    state = advanced(rules, rows, END)
    ours = findings(state).log_e[state.paging.index[StreamKey("error", "", "a")]]
    assert ours == pytest.approx(float(np.log(a.mean())), rel=1e-9)


_COUNTS = ("n_candidate", "fail_candidate", "n_baseline", "fail_baseline")
