"""
Power and delay of the method beside three ways in common use, on settled minutes with a known truth.

Run: `python -m tests.bench.bench_power`
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy.stats import mannwhitneyu

from alerts.rules import MINUTES_PER_DAY
from tests.support.settled import START, Stream, advanced, rules_for, settled_rows

N_SEEDS, DAYS = 40, 14
HOURS = DAYS * 24


@dataclass(frozen=True)
class Truth:
    """Streams before and after a day from which on harm is done; None: no harm."""

    name: str
    streams: list[Stream]
    worse: list[Stream]
    from_day: int | None


_PLAIN = [Stream("easy", 500, 0.5, 0.06, 0.06), Stream("middle", 300), Stream("hard", 200, 0.5, 0.2, 0.2)]
_RARE = Stream("regulated", 60, 0.5, 0.05, 0.05)


def _worse(streams: list[Stream], by: float) -> list[Stream]:
    return [replace(s, candidate_rate=s.candidate_rate + by) for s in streams]


TRUTHS = [
    Truth("nothing differs", _PLAIN, _PLAIN, None),
    Truth("nothing differs, 5 % split", [replace(s, split=0.05) for s in _PLAIN], _PLAIN, None),
    Truth("+3 pp everywhere", _PLAIN, _worse(_PLAIN, 0.03), 0),
    Truth("+10 pp in one cohort of 2 %", [*[replace(s, per_day=s.per_day * 3) for s in _PLAIN], _RARE],
          [*[replace(s, per_day=s.per_day * 3) for s in _PLAIN], *_worse([_RARE], 0.10)], 0),
    Truth("+8 pp everywhere from day 8", _PLAIN, _worse(_PLAIN, 0.08), 8),
]  # fmt: skip


def rows_of(truth: Truth, seed: int) -> pl.DataFrame:
    if truth.from_day is None:
        return settled_rows(truth.streams, seed)
    turn = pl.from_epoch(pl.lit((START + truth.from_day * MINUTES_PER_DAY) * 60), "s").dt.replace_time_zone("UTC")
    before = settled_rows(truth.streams, seed).filter(pl.col("minute") < turn)
    return pl.concat([before, settled_rows(truth.worse, seed + 1).filter(pl.col("minute") >= turn)])


def hourly(rows: pl.DataFrame) -> list[np.ndarray]:
    """Per stream (each cohort, then all together), shape (4, hours): units and failures of candidate and baseline."""
    judged = rows.filter(metric="eval_fail").with_columns(hour=(pl.col("minute").dt.epoch("s") // 60 - START) // 60)
    names = ["n_candidate", "fail_candidate", "n_baseline", "fail_baseline"]
    found = []
    for (_cohort,), part in judged.group_by(["cohort"], maintain_order=True):
        counts = np.zeros((4, HOURS))
        for i, name in enumerate(names):
            np.add.at(counts[i], part["hour"].to_numpy(), part[name].to_numpy())
        found.append(counts)
    return [*found, np.sum(found, axis=0)]


def fixed_threshold(counts: np.ndarray) -> int | None:
    """Candidate's rate over 6 hours at least 5 pp above the baseline's, with 20 traces an arm."""
    window = np.cumsum(counts, axis=1)
    window[:, 6:] = window[:, 6:] - window[:, :-6]
    n_s, x_s, n_t, x_t = window
    with np.errstate(divide="ignore", invalid="ignore"):
        over = (x_s / n_s - x_t / n_t >= 0.05) & (np.minimum(n_s, n_t) >= 20)
    return int(np.argmax(over)) if over.any() else None


def repeated_z(counts: np.ndarray) -> int | None:
    """One-sided z-test at 5 % on everything so far, looked at every hour."""
    n_s, x_s, n_t, x_t = np.cumsum(counts, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = (x_s + x_t) / (n_s + n_t)
        z = (x_s / n_s - x_t / n_t) / np.sqrt(p * (1 - p) * (1 / n_s + 1 / n_t))
    over = (z > 1.645) & (np.minimum(n_s, n_t) >= 20)
    return int(np.argmax(over)) if over.any() else None


def mann_whitney(counts: np.ndarray) -> int | None:
    """Kayenta's manner: hourly rates of the last 24 hours compared at 98 % confidence, looked at every 6 hours."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = counts[1] / counts[0], counts[3] / counts[2]
    for hour in range(24, HOURS, 6):
        student, teacher = (r[hour - 24 : hour][~np.isnan(r[hour - 24 : hour])] for r in rates)
        if min(len(student), len(teacher)) >= 12 and mannwhitneyu(student, teacher, alternative="greater").pvalue < 0.01:
            return hour
    return None


def ours(truth: Truth, rows: pl.DataFrame) -> int | None:
    state = advanced(rules_for(truth.streams, effect_floor=0.005), rows, START + DAYS * MINUTES_PER_DAY)
    paged = state.paging.paged[:, 0]
    return int((paged[paged >= 0].min() - START) // 60) if (paged >= 0).any() else None


def main() -> None:
    warnings.simplefilter("ignore")
    peers: dict[str, Callable[[np.ndarray], int | None]] = {
        "fixed threshold": fixed_threshold, "repeated z-test": repeated_z, "Mann-Whitney": mann_whitney,
    }  # fmt: skip
    print("| truth | way | share that pages | too early | median delay, days |\n|---|---|---|---|---|")
    for truth in TRUTHS:
        hours: dict[str, list[int | None]] = {name: [] for name in ("Spanwise", *peers)}
        for seed in range(N_SEEDS):
            rows = rows_of(truth, 100 * seed)
            hours["Spanwise"].append(ours(truth, rows))
            for name, peer in peers.items():
                first = [h for counts in hourly(rows) if (h := peer(counts)) is not None]
                hours[name].append(min(first, default=None))
        for name, found in hours.items():
            start = (truth.from_day or 0) * 24
            pages = [h for h in found if h is not None]
            true = [(h - start) / 24 for h in pages if h >= start]
            early = sum(h < start for h in pages) / N_SEEDS
            delay = f"{statistics.median(true):.1f}" if true and truth.from_day is not None else ""
            print(f"| {truth.name} | {name} | {len(pages) / N_SEEDS:.0%} | {early:.0%} | {delay} |", flush=True)


if __name__ == "__main__":
    main()
