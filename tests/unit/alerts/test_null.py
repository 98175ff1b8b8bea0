"""With nothing wrong, and a look at every block, at most one comparison in twenty pages."""

from __future__ import annotations

from math import sqrt

import pytest

from alerts.rules import MINUTES_PER_DAY
from tests.support.settled import START, Stream, advanced, rules_for, settled_rows

N_EACH = 100
TRAFFIC = {
    "plain": [Stream("a", 60), Stream("b", 40, 0.5, 0.25, 0.25), Stream("c", 20)],
    "five per cent split": [Stream("a", 120, 0.05, 0.2, 0.2), Stream("b", 60, 0.05)],
    "rare failures": [Stream("a", 200, 0.5, 0.005, 0.005), Stream("b", 60, 0.5, 0.005, 0.005)],
    "tiny cohorts": [Stream(f"c{i}", 3, 0.5, 0.3, 0.3) for i in range(25)],
}


@pytest.fixture(scope="module")
def share_with_a_page() -> dict[str, float]:
    """Pages are noted at every closed block, with no floor on the harm: the strictest reading."""
    shares = {}
    for number, (name, streams) in enumerate(TRAFFIC.items()):
        rules = rules_for(streams)
        n_paged = 0
        for seed in range(N_EACH):
            rows = settled_rows(streams, 10_000 * number + seed)
            state = advanced(rules, rows, START + 14 * MINUTES_PER_DAY)
            n_paged += bool((state.paging.paged[:, 0] >= 0).any())
        shares[name] = n_paged / N_EACH
    return shares


def test_share_of_comparisons_with_any_page(share_with_a_page: dict[str, float]) -> None:
    overall = sum(share_with_a_page.values()) / len(share_with_a_page)
    assert overall <= 0.05 + 2 * sqrt(0.05 * 0.95 / (N_EACH * len(TRAFFIC)))


@pytest.mark.parametrize("name", TRAFFIC)
def test_share_in_each_kind_of_traffic(share_with_a_page: dict[str, float], name: str) -> None:
    assert share_with_a_page[name] <= 0.05 + 3 * sqrt(0.05 * 0.95 / N_EACH)
