"""The e-value of a block, by enumeration and against SciPy; how rows are cut into blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import comb
from scipy.stats import nchypergeom_fisher

from alerts.method import blocks
from alerts.method.blocks import Closing, block_ends

PSI = np.array([1.15, 1.3, 1.5, 1.8, 2.25, 3.0, 4.5, 8.0])
THETA = np.log(PSI)


def margins() -> list[tuple[int, int, int]]:
    return [(a, b, m) for n in range(2, 13) for a in range(1, n) for b in [n - a] for m in range(n + 1)]


@pytest.mark.parametrize("odds", [1.0, 0.8, 0.3])
def test_expectation_over_all_outcomes(odds: float) -> None:
    for n_s, n_t, m in margins():
        x = np.arange(max(0, m - n_t), min(n_s, m) + 1)
        ones = np.ones_like(x)
        log_l = blocks.log_evidence(n_s * ones, x, n_t * ones, m - x, THETA)
        weights = comb(n_s, x) * comb(n_t, m - x) * odds ** x.astype(float)
        mean = (weights / weights.sum()) @ np.exp(log_l)
        if odds == 1.0:
            np.testing.assert_allclose(mean, 1.0, rtol=0, atol=1e-12)
        else:
            assert (mean <= 1 + 1e-12).all()


def test_likelihood_ratio_of_scipy() -> None:
    for n_s, n_t, m in [(3, 5, 4), (20, 7, 9), (60, 45, 12), (5, 500, 40)]:
        x = np.arange(max(0, m - n_t), min(n_s, m) + 1)
        ones = np.ones_like(x)
        ours = np.exp(blocks.log_evidence(n_s * ones, x, n_t * ones, m - x, THETA))
        for j, psi in enumerate(PSI):
            peer = nchypergeom_fisher.pmf(x, n_s + n_t, m, n_s, psi) / nchypergeom_fisher.pmf(x, n_s + n_t, m, n_s, 1.0)
            np.testing.assert_allclose(ours[:, j], peer, rtol=1e-8)


def test_an_empty_arm_or_a_sure_outcome_says_nothing() -> None:
    n_s, x_s = np.array([0, 4, 4, 4]), np.array([0, 0, 4, 0])
    n_t, x_t = np.array([9, 0, 5, 5]), np.array([3, 0, 5, 0])
    assert (blocks.log_evidence(n_s, x_s, n_t, x_t, THETA) == 0).all()


def test_the_bound_of_long_supports_is_valid_and_close(monkeypatch: pytest.MonkeyPatch) -> None:
    args = (np.array([400]), np.array([52]), np.array([500]), np.array([48]), THETA)
    exact = blocks.log_evidence(*args)
    monkeypatch.setattr(blocks, "LONGEST_SUPPORT", 50)
    bound = blocks.log_evidence(*args)
    assert (bound <= exact + 1e-12).all()
    assert (bound[:, :4] > exact[:, :4] - 1.0).all()


def test_values_do_not_depend_on_their_neighbours() -> None:
    rng = np.random.default_rng(1)
    n_s, n_t = rng.integers(1, 30, 200), rng.integers(1, 30, 200)
    x_s, x_t = rng.binomial(n_s, 0.2), rng.binomial(n_t, 0.2)
    together = blocks.log_evidence(n_s, x_s, n_t, x_t, THETA)
    alone = np.concatenate([blocks.log_evidence(n_s[[i]], x_s[[i]], n_t[[i]], x_t[[i]], THETA) for i in range(200)])
    assert together.tobytes() == alone.tobytes()


def test_pairs_are_blocks_of_one_and_one() -> None:
    one = np.array([1, 1, 1])
    single = blocks.log_evidence(one, np.array([1, 0, 1]), one, np.array([0, 1, 1]), THETA)
    pairs = blocks.pair_evidence(np.array([1, 0, 0]), np.array([0, 1, 0]), THETA)
    np.testing.assert_allclose(single, pairs, atol=1e-12)


def test_a_block_closes_once_both_arms_have_enough() -> None:
    minute = np.arange(5)
    number, closed = block_ends(
        np.zeros(5, int), minute, np.array([3, 2, 9, 1, 4]), np.array([5, 0, 1, 4, 0]), np.full(5, 100), Closing(5, 1_440)
    )
    # 3 + 2 against 5 at minute 1; then 9 + 1 against 1 + 4 at minute 3; the last is open.
    assert number.tolist() == [0, 0, 1, 1, 2]
    assert closed.tolist() == [1, 1, 3, 3, -1]


def test_a_block_closes_of_age_whether_or_not_anything_arrives() -> None:
    rows = np.array([10, 700, 1_460])
    number, closed = block_ends(np.zeros(3, int), rows, np.ones(3, int), np.zeros(3, int), np.full(3, 1_461), Closing(5, 1_440))
    assert number.tolist() == [0, 0, 1]
    assert closed.tolist() == [1_449, 1_449, -1]
    _, closed = block_ends(np.zeros(3, int), rows, np.ones(3, int), np.zeros(3, int), np.full(3, 2_900), Closing(5, 1_440))
    assert closed.tolist() == [1_449, 1_449, 2_899]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4_000), st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=60)
)
def test_blocks_partition_the_rows_of_each_stratum(rows: list[tuple[int, int, int, int]]) -> None:
    stratum, minute, n_s, n_t = (np.array(column) for column in zip(*sorted(set(rows)), strict=True))
    number, closed = block_ends(stratum, minute, n_s, n_t, np.full(len(stratum), 5_000), Closing(5, 1_440))
    assert (np.diff(number) >= 0).all()
    for block in range(number.max() + 1):
        mine = number == block
        assert len(set(stratum[mine])) == 1
        assert len(set(closed[mine])) == 1
        if closed[mine][0] >= 0 and closed[mine][0] in minute[mine]:
            full = n_s[mine].sum() >= 5 and n_t[mine].sum() >= 5
            assert full or closed[mine][0] == minute[mine][0] + 1_439
        assert minute[mine][-1] - minute[mine][0] < 1_440
