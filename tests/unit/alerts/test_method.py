"""Intervals, differences, lists, weights and the rest of the arithmetic, against peers, slower methods and worked numbers."""

from __future__ import annotations

from itertools import combinations
from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import beta, binom
from statsmodels.stats.contingency_tables import StratifiedTable

from alerts.ledger import is_above
from alerts.method import cost, differences, drift, ebh, evidence, guards, latency, phi
from alerts.method.differences import block_terms
from alerts.method.gates import against_limit, all_of
from alerts.method.intervals import radius, radius_of_one
from alerts.method.proven import as_difference, proven_index
from alerts.method.weights import Shares, StreamKey, deal, reserve_weights
from alerts.verdict import GLOBAL, Outcome


def test_sums_give_the_cochran_mantel_haenszel_statistic() -> None:
    rng = np.random.default_rng(2)
    n_s, n_t = rng.integers(2, 40, 25), rng.integers(2, 40, 25)
    x_s, x_t = rng.binomial(n_s, 0.3), rng.binomial(n_t, 0.2)
    terms = block_terms(n_s, x_s, n_t, x_t)
    tables = [np.array([[a, n - a], [b, m - b]]) for a, n, b, m in zip(x_s, n_s, x_t, n_t, strict=True)]
    peer = StratifiedTable(tables).test_null_odds(correction=False).statistic
    assert terms["N"].sum() ** 2 / terms["V0"].sum() == pytest.approx(peer, rel=1e-10)


def test_a_block_by_hand() -> None:
    # 2 of 4 against 1 of 5: W = 20/9, N = 2 - 4 * 3/9 = 2/3, so N / W = 0.3 = 0.5 - 0.2.
    terms = block_terms(np.array([4]), np.array([2]), np.array([5]), np.array([1]))
    assert terms["W"][0] == pytest.approx(20 / 9)
    assert terms["N"][0] / terms["W"][0] == pytest.approx(0.3)
    assert terms["V0"][0] == pytest.approx(4 * 5 * 3 * 6 / (81 * 8))


def test_radius_is_the_two_sided_normal_mixture_boundary() -> None:
    # Howard et al. 2021, eq. 14: u(V) = sqrt((V + rho) log((V + rho) / (l0^2 rho))) with l0 = alpha, rho = kappa.
    for v, level, tau in [(1e-4, 0.05, 0.024), (3e-6, 0.02, 0.14), (0.02, 0.1, 0.008)]:
        information, rho = 1 / v, 1 / tau**2
        boundary = sqrt((information + rho) * log((information + rho) / (level**2 * rho)))
        assert float(radius(v, level, tau)) == pytest.approx(boundary / information, rel=1e-12)


def test_radius_solves_the_mixture_equation() -> None:
    # The interval ends where the normal mixture of likelihood ratios reaches 1 / level.
    v, level, tau = 2e-4, 0.05, 0.024

    def mixture(x: float) -> float:
        return sqrt(v / (v + tau**2)) * exp(x**2 * tau**2 / (2 * v * (v + tau**2))) - 1 / level

    assert float(radius(v, level, tau)) == pytest.approx(brentq(mixture, 1e-6, 0.2), rel=1e-9)
    assert radius_of_one(v, level, tau) == pytest.approx(brentq(mixture, 1e-6, 0.2), rel=1e-9)
    for unusual in (0.0, float("inf"), float("nan")):
        assert radius_of_one(unusual, level, tau) == float(radius(unusual, level, tau))


@given(st.lists(st.sampled_from([0.0, 1.0, 5.0, 20.0, 60.0, 200.0, 1e4]), min_size=1, max_size=8), st.sampled_from([0.05, 0.2]))
def test_list_is_the_largest_self_consistent_set(values: list[float], level: float) -> None:
    k = len(values)
    weights = np.full(k, 1 / k)
    with np.errstate(divide="ignore"):
        chosen = ebh.selected(np.log(np.array(values)), weights, level)
    # By brute force: the largest set in which every member's K w E is at least K / (level * size).
    best = 0
    for size in range(1, k + 1):
        if any(all(v >= k / (level * size) * (1 - 1e-12) for v in members) for members in combinations(values, size)):
            best = size
    assert chosen.sum() == best
    assert best == 0 or min(np.array(values)[chosen]) >= max(np.array(values)[~chosen], default=0)


def test_start_masses_and_process_by_hand() -> None:
    mass = evidence.start_masses(3)
    np.testing.assert_allclose(np.exp(mass), [0.5, 0.25, 0.25])
    # Two days, one odds ratio: A = ((0.5) * 3 + 0.25) * 7.
    by_day = np.log(np.array([[[3.0], [7.0]]]))
    components = evidence.log_components(by_day, mass[:2], np.ones(1))
    assert float(np.exp(evidence.log_e(components)[0])) == pytest.approx((0.5 * 3 + 0.25) * 7)
    assert evidence.likeliest_start(np.log(np.array([[[0.2], [5.0], [4.0]]])), np.ones(1)).tolist() == [1]


def test_proven_minimum_by_hand() -> None:
    # One day, grid (2, 4): E_0 = w (L_2 + L_4) / 2, E_2 = w L_4 / L_2.
    by_day = np.log(np.array([[[30.0, 2_000.0]]]))
    against = np.exp(evidence.log_e_against(by_day, np.log([0.5]), np.ones(1)))
    np.testing.assert_allclose(against, [[0.5 * (30 + 2_000) / 2, 0.5 * 2_000 / 30]])
    assert proven_index(np.log(against), 0.05).tolist() == [1]
    assert proven_index(np.log(against), 0.001).tolist() == [-1]
    # Odds ratio 2 at a baseline of 10 %: 0.2 / 1.1 - 0.1.
    assert as_difference(2.0, 0.1) == pytest.approx(0.2 / 1.1 - 0.1)


def test_weights_share_alpha() -> None:
    metrics = [("eval_fail", "a"), ("eval_fail", "b"), ("retry", "")]
    weights = deal(metrics, ["x", "y", "z"], frozenset({"x"}), Shares())
    assert sum(weights.values()) == pytest.approx(0.95)
    assert weights[StreamKey("eval_fail", "a", GLOBAL)] == pytest.approx(0.95 * 0.80 / 2 * 0.25)
    assert weights[StreamKey("eval_fail", "a", "x")] == pytest.approx(0.95 * 0.80 / 2 * 0.35)
    assert weights[StreamKey("eval_fail", "a", "y")] == pytest.approx(0.95 * 0.80 / 2 * 0.40 / 2)
    assert weights[StreamKey("retry", "", GLOBAL)] == pytest.approx(0.95 * 0.20 * 0.25)
    without = deal(metrics, ["x", "y"], frozenset(), Shares())
    assert without[StreamKey("retry", "", GLOBAL)] == pytest.approx(0.95 * 0.20 * 0.40)
    assert reserve_weights(np.arange(10_000), 0.05).sum() == pytest.approx(0.05, rel=1e-3)


def test_standardised_difference() -> None:
    omega = {"a": 0.6, "b": 0.38, "c": 0.02}
    d, v = {"a": 0.01, "b": 0.05, "c": 0.5}, {"a": 1e-4, "b": 4e-4, "c": 1.0}
    units = {"a": (400.0, 400.0), "b": (200.0, 200.0), "c": (2.0, 50.0)}
    result = differences.standardised(omega, d, v, units)
    # c has too few units: the mix of a and b is renormalised.
    assert result.d == pytest.approx((0.6 * 0.01 + 0.38 * 0.05) / 0.98)
    assert result.v == pytest.approx((0.36 * 1e-4 + 0.38**2 * 4e-4) / 0.98**2)
    assert result.missing == ("c",)
    assert differences.standardised(omega, d, v, units | {"b": (1.0, 1.0)}).note.startswith("not covered: b, c")


def test_pairs_enter_the_difference_as_they_stand() -> None:
    zero = {name: np.zeros(1) for name in ("W", "N", "V0", "aS", "aT", "nS", "xS", "nT", "xT")}
    result = differences.of_rates(zero, np.array([30.0]), np.array([10.0]), np.array([400.0]), np.array([2.0]))
    # 20 of 400 more: 5 pp; variance (30 + 10) / 400^2.
    assert result.d[0] == pytest.approx(0.05)
    assert result.v[0] == pytest.approx(40 / 400**2)


def test_cost_ratio_of_equal_means_with_unequal_mixes_is_one() -> None:
    n = {"cheap": np.array([[900.0], [100.0]]), "dear": np.array([[100.0], [900.0]])}
    sums = {"cheap": n["cheap"] * 0.01, "dear": n["dear"] * 0.10}
    squares = {"cheap": n["cheap"] * 0.01**2 * 2, "dear": n["dear"] * 0.10**2 * 2}
    found = cost.ratio({"cheap": 0.5, "dear": 0.5}, n, sums, squares, 0.02, 0.14)
    assert found is not None
    assert found.ratio == pytest.approx(1.0)
    assert found.mean_baseline == pytest.approx(0.055)
    assert found.low < 1 < found.high


def test_quantile_interval_against_the_exact_order_statistic() -> None:
    rng = np.random.default_rng(3)
    values = np.sort(rng.lognormal(0, 1, 4_000))
    bins = np.floor(np.log(values) / np.log(1.02)).astype(int)
    numbers, counts = np.unique(bins, return_counts=True)
    bounds = latency.quantile_interval(counts, 1.02**numbers, 1.02 ** (numbers + 1), 0.99, 0.05)
    assert bounds is not None
    assert bounds[0] < np.quantile(values, 0.99) < bounds[1]
    # Wider than a fixed-time interval by order statistics, but of the same order.
    low, high = (beta.ppf(p, 3_960, 41) for p in (0.025, 0.975))
    assert bounds[0] < np.quantile(values, low)
    assert bounds[1] > np.quantile(values, high)
    assert bounds[1] / bounds[0] < 3
    assert latency.quantile_interval(counts[:1] * 0 + 199, 1.02 ** numbers[:1], 1.02 ** numbers[:1] + 1, 0.99, 0.05) is None


def test_over_dispersion_of_clumped_failures() -> None:
    rng = np.random.default_rng(4)
    batch = np.repeat(np.arange(400), 4)
    n = np.full(1_600, 20)
    independent = phi.from_halves(batch, n, rng.binomial(n, 0.1), n, rng.binomial(n, 0.1))
    # Sessions of five fail together: variance five times that of coin flips.
    clumped = phi.from_halves(batch, n, 5 * rng.binomial(n // 5, 0.1), n, 5 * rng.binomial(n // 5, 0.1))
    assert independent is not None
    assert clumped is not None
    assert 1.0 <= independent < 1.3
    assert 3.5 < clumped < 6.5
    assert phi.from_halves(batch[:8], n[:8], n[:8] // 10, n[:8], n[:8] // 10) is None


def test_overlap_names_the_key_that_differs() -> None:
    def row(version: str, prompt: str, s: float, t: float) -> guards.Traffic:
        return guards.Traffic(version, "all", "c", prompt, s, t)

    prompt = [row("j", "p1", 0, 500), row("j", "p2", 500, 0)]
    assert guards.matched_share(prompt) == (0.0, 500.0)
    assert guards.culprits(prompt, 0.8) == ["prompt_version"]
    assert guards.culprits([row("j1", "p", 0, 500), row("j2", "p", 500, 0)], 0.8) == ["evaluator_version"]


def test_split_evidence_finds_lost_rows_and_is_quiet_otherwise() -> None:
    assert guards.log_e_split(5_000, 10_000, 0.5) < 0
    assert guards.log_e_split(4_600, 10_000, 0.5) > log(1_000)
    # Expectation of the e-value under the split, by enumeration.
    n, split = 30, 0.3

    mean = sum(binom.pmf(a, n, split) * exp(guards.log_e_split(a, n, split)) for a in range(n + 1))
    assert mean == pytest.approx(1.0)


def test_units_needed_by_hand() -> None:
    # 10 % failures, half of the traffic, 1 pp: 0.09 / 0.25 * 350^2.
    assert guards.units_needed(0.1, 0.5, 0.01) == pytest.approx(0.36 * 350**2)
    assert guards.pairs_needed(0.06, 0.01) == pytest.approx(0.06 * 350**2)
    assert guards.mix_distance({"a": 1, "b": 1}, {"a": 1}) == pytest.approx(0.5)


def test_frozen_baseline_evidence_is_an_e_value() -> None:
    high = drift.upper_limit(50, 1_000)
    assert 0.06 < high < 0.08
    theta = np.log([1.5, 3.0])
    for p in (0.01, high):
        outcomes = np.exp(drift.frozen_evidence(np.ones(2), np.array([0.0, 1.0]), np.full(2, high), theta))
        assert (np.array([1 - p, p]) @ outcomes <= 1 + 1e-12).all()


def test_gate_outcomes() -> None:
    assert against_limit((-0.01, 0.02), 0.03) is Outcome.PASS
    assert against_limit((0.031, 0.06), 0.03) is Outcome.FAIL
    assert against_limit((0.0, 0.06), 0.03) is Outcome.UNDETERMINED
    assert against_limit(None, 0.03) is Outcome.UNDETERMINED
    assert against_limit((-0.01, 0.02), 0.03, paged=True) is Outcome.FAIL
    assert all_of([]) is Outcome.UNDETERMINED
    assert all_of([Outcome.PASS, Outcome.UNDETERMINED]) is Outcome.UNDETERMINED
    assert all_of([Outcome.PASS, Outcome.UNDETERMINED, Outcome.FAIL]) is Outcome.FAIL


def test_harm_must_exceed_the_floor_clearly() -> None:
    """
    N / W = 2.0 pp, and its standard error sqrt(V) / W: 0.4 pp leaves 2.0 - 2.5 x 0.4 = 1.0 above 0.5; 0.7 pp leaves 0.25.

    Without a floor any harm is enough, and nothing is known without weight.
    """
    n, w = np.array([2.0, 2.0, 0.0]), np.array([100.0, 100.0, 0.0])
    v = np.array([0.4**2, 0.7**2, 0.0])
    assert is_above(0.005, n, w, v).tolist() == [True, False, False]
    assert is_above(0.0, n, w, v).tolist() == [True, True, False]
    assert is_above(0.0, -n, w, v).tolist() == [False, False, False]
