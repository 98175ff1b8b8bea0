"""
Power and delay of the method beside three ways in common use, on settled minutes with a known truth: every situation that the
method is specified for.

Run: `python -m tests.bench.bench_power` (all), `… --truth "+3 pp"` (those whose name begins so), `--seeds 40`.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy.stats import mannwhitneyu

from alerts.config import MethodConfig
from alerts.guarding import guard_findings
from alerts.method.guards import log_e_split
from alerts.rules import MINUTES_PER_DAY, Rules
from alerts.settler import pooled
from alerts.state import ComparisonState
from alerts.verdict import GuardKind
from tests.support.settled import START, Stream, advanced, rules_for, settled_rows, to_settled

N_SEEDS, N_NULLS, DAYS, DRIFT_DAYS = 40, 100, 14, 24
FLOOR = 0.005
Rows = pl.DataFrame


@dataclass(frozen=True)
class Truth:
    """
    What happens, and who notices.

    Args:
        rows: the settled rows of a seed. noticed: the hour in which the method pages, or its guard is active.
        harm_from: the day from which it should; None: it never should. is_guard: a guard's, which the other ways do not have.
    """

    name: str
    rows: Callable[[int], Rows]
    noticed: Callable[[Rows], int | None]
    harm_from: float | None
    n_seeds: int = N_SEEDS
    is_guard: bool = False


_PLAIN = [Stream("easy", 500, 0.5, 0.06, 0.06), Stream("middle", 300), Stream("hard", 200, 0.5, 0.2, 0.2)]
_BUSY = [replace(s, per_day=3 * s.per_day) for s in _PLAIN]
_RARE = Stream("regulated", 60, 0.5, 0.05, 0.05)
_RULES = rules_for([*_PLAIN, _RARE], effect_floor=FLOOR)


def worse(streams: list[Stream], by: float) -> list[Stream]:
    return [replace(s, candidate_rate=s.candidate_rate + by) for s in streams]


def routed(streams: list[Stream], splits: tuple[float, ...]) -> list[Stream]:
    return [replace(s, split=split) for s, split in zip(streams, splits, strict=True)]


def always(streams: list[Stream], days: int = DAYS) -> Callable[[int], Rows]:
    return lambda seed: settled_rows(streams, seed, days)


def between(usual: list[Stream], then: list[Stream], start: float, end: float, days: int = DAYS) -> Callable[[int], Rows]:
    """`then` from one day to another."""

    def rows(seed: int) -> Rows:
        at = (pl.col("minute").dt.epoch("s") // 60 - START) / MINUTES_PER_DAY
        inside = (at >= start) & (at < end)
        return pl.concat([settled_rows(usual, seed, days).filter(~inside), settled_rows(then, seed + 1, days).filter(inside)])

    return rows


def other_version(rows: Callable[[int], Rows], column: str) -> Callable[[int], Rows]:
    """The candidate's units under another prompt or evaluator version: the arms share no stratum."""

    def changed(seed: int) -> Rows:
        whole = rows(seed)
        mine = whole.with_columns(n_baseline=pl.lit(0), fail_baseline=pl.lit(0)).with_columns(pl.lit("other").alias(column))
        theirs = whole.with_columns(n_candidate=pl.lit(0), fail_candidate=pl.lit(0))
        return pl.concat([mine.cast(whole.schema), theirs.cast(whole.schema)]).sort("minute", column)

    return changed


def sticky(seed: int) -> Rows:
    """Sessions of five traces within ten minutes on one arm, half of whose failures come all together."""
    rng = np.random.default_rng(seed)
    parts = []
    for stream in _PLAIN:
        n = rng.poisson(stream.per_day / 5 * DAYS)
        start, is_candidate = rng.integers(0, DAYS * MINUTES_PER_DAY - 10, n), rng.random(n) < 0.5
        bad_day = rng.random(n) < stream.baseline_rate / 2
        fails = bad_day[:, None] | (rng.random((n, 5)) < stream.baseline_rate / 2)
        minute = (START + start[:, None] + np.sort(rng.integers(0, 10, (n, 5)), axis=1)).ravel()
        arm, failed = np.repeat(is_candidate, 5), fails.ravel()
        units = pl.DataFrame(
            {
                "minute": minute,
                "n_candidate": arm.astype(int),
                "n_baseline": (~arm).astype(int),
                "fail_candidate": (arm & failed).astype(int),
                "fail_baseline": (~arm & failed).astype(int),
            }
        )
        labels = [pl.lit(v).alias(k) for k, v in (("metric", "eval_fail"), ("evaluator", "judge"), ("cohort", stream.cohort))]
        parts.append(units.group_by("minute").sum().with_columns(*labels, prompt_version=pl.lit("p")))
    return to_settled(pl.concat(parts))


def pages(rules: Rules = _RULES, days: int = DAYS, *, pool: bool = False) -> Callable[[Rows], int | None]:
    """The hour of the first page: noted at every closed block, so it is what looking every minute finds."""

    def noticed(rows: Rows) -> int | None:
        state = advanced(rules, pooled(rows) if pool else rows, START + days * MINUTES_PER_DAY)
        paged = state.paging.paged[:, 0]
        return int((paged[paged >= 0].min() - START) // 60) if (paged >= 0).any() else None

    return noticed


def rules_of(streams: list[Stream]) -> Rules:
    return rules_for(streams, effect_floor=FLOOR)


def guard(kind: GuardKind, metric: str) -> Callable[[Rows], int | None]:
    """The hour at which a guard is active first, looked at four times a day; the judged metric stands for the guarded one."""

    def noticed(rows: Rows) -> int | None:
        name = pl.when(pl.col("metric") == "eval_fail").then(pl.lit(metric)).otherwise("metric")
        evaluator = pl.when(pl.col("metric") == "long_prompt").then(pl.lit("")).otherwise("evaluator")
        renamed = rows.with_columns(metric=name).with_columns(evaluator=evaluator)
        hour_of = (pl.col("minute").dt.epoch("s") // 60 - START) // 60
        state = ComparisonState(replace(_RULES, maturity_minutes={(metric, "judge"): 60, (metric, ""): 60, ("error", ""): 60}))
        for hour in range(6, DAYS * 24 + 1, 6):
            reached = START + hour * 60
            groups = {60: reached, -60: reached}
            state.advance(renamed.filter(hour_of >= hour - 6, hour_of < hour), groups)
            found = guard_findings(state, MethodConfig(), None, None, [])
            if any(g.kind is kind and g.is_active for g in found):
                return hour
        return None

    return noticed


def lost(rows: Rows) -> int | None:
    """A fifth of the candidate's traces never arrive, at a declared split of a half."""
    n_s, _, n_t, _ = np.cumsum(hourly(rows)[-1], axis=1)
    values = [log_e_split(s, s + t, 0.5) for s, t in zip(n_s, n_t, strict=True)]
    return next((hour for hour, value in enumerate(values) if value >= np.log(1_000)), None)


_DRIFT = replace(_RULES, is_drift=True)
_TAIL = [Stream("easy", 500, 0.5, 0.01, 0.03), Stream("middle", 300, 0.5, 0.01, 0.03), Stream("hard", 200, 0.5, 0.01, 0.03)]
_MOSTLY_EASY, _MOSTLY_HARD = (0.8, 0.3, 0.1), (0.1, 0.3, 0.8)
_FLOORED = [Stream("a", 20_000, 0.5, 0.010, 0.013)]
_HOLDBACK = [replace(s, split=0.95) for s in _PLAIN]
_HARDER = [replace(s, baseline_rate=s.baseline_rate + 0.15, candidate_rate=s.candidate_rate + 0.15) for s in _HOLDBACK]
_WORSE = always(worse(_PLAIN, 0.08))
_UNSCORED = [replace(s, baseline_rate=0.02, candidate_rate=0.08) for s in _PLAIN]
_EASIER = [replace(s, baseline_rate=0.5, candidate_rate=0.4) for s in _PLAIN]
_RARELY = [Stream("a", 200, 0.5, 0.005, 0.005), Stream("b", 60, 0.5, 0.005, 0.005)]
_TINY = [Stream(f"c{i}", 3, 0.5, 0.3, 0.3) for i in range(25)]
_UNEVEN = [Stream("a", 120, 0.05, 0.2, 0.2), Stream("b", 60, 0.05)]

TRUTHS = [
    Truth("null: nothing differs", always(_PLAIN), pages(rules_for(_PLAIN)), None, N_NULLS),
    Truth("null: 5 % split", always(_UNEVEN), pages(rules_for(_UNEVEN)), None, N_NULLS),
    Truth("null: failures of 0.5 %", always(_RARELY), pages(rules_for(_RARELY)), None, N_NULLS),
    Truth("null: 25 cohorts of 3 traces a day", always(_TINY), pages(rules_for(_TINY)), None, N_NULLS),
    Truth("easy cohorts only, no difference", always(routed(_PLAIN, _MOSTLY_EASY)), pages(), None),
    Truth("hard cohorts only, no difference", always(routed(_PLAIN, _MOSTLY_HARD)), pages(), None),
    # sessions of five, correlated at 0.49 inside: a design effect of 1 + 4 x 0.49, which history shows and the default does not
    Truth("sticky sessions, phi 2.9 as history gives it", sticky, pages(replace(_RULES, default_phi=2.9)), None),
    Truth("sticky sessions, no history (phi 2)", sticky, pages(replace(_RULES, default_phi=2.0)), None),
    Truth("+0.3 pp, 20,000 traces a day", always(_FLOORED), pages(rules_of(_FLOORED)), None),
    Truth("evaluator changed on one arm, +8 pp", other_version(_WORSE, "evaluator_version"), pages(), None),
    Truth("both get worse (holdback)", between(_HOLDBACK, _HARDER, 14, 99, DRIFT_DAYS), pages(_DRIFT, DRIFT_DAYS), None),
    Truth("+4 pp in every cohort, pooled better", always(worse(routed(_PLAIN, _MOSTLY_EASY), 0.04)), pages(), 0),
    Truth("+10 pp in one cohort of 2 %", always([*_BUSY, *worse([_RARE], 0.10)]), pages(), 0),
    Truth("+3 pp everywhere", always(worse(_PLAIN, 0.03)), pages(), 0),
    Truth("+3 pp everywhere, three times the traffic", always(worse(_BUSY, 0.03)), pages(), 0),
    Truth("latency: 3 % over the objective instead of 1 %", always(_TAIL), pages(), 0),
    Truth("prompt changed too, +8 pp (pooled)", other_version(_WORSE, "prompt_version"), pages(pool=True), 0),
    Truth("incident of 90 minutes, +85 pp", between(_BUSY, worse(_BUSY, 0.79), 5.4, 5.4625), pages(), 5.4),
    Truth("+8 pp everywhere from day 8", between(_PLAIN, worse(_PLAIN, 0.08), 8, 99), pages(), 8),
    Truth("stale from day 14, +10 pp (holdback)", between(_HOLDBACK, worse(_HOLDBACK, 0.10), 14, 99, DRIFT_DAYS),
          pages(_DRIFT, DRIFT_DAYS), 14),
    Truth("a fifth of the student's rows lost", always([replace(s, split=0.8 / 1.8) for s in _PLAIN]), lost, 0, is_guard=True),
    Truth("failures unscored: 8 % missing instead of 2 %", always(_UNSCORED),
          guard(GuardKind.COVERAGE, "eval_missing"), 0, is_guard=True),
    Truth("easier items: 40 % long prompts instead of 50 %", always(_EASIER),
          guard(GuardKind.COVARIATE_BALANCE, "long_prompt"), 0, is_guard=True),
]  # fmt: skip


def hourly(rows: Rows) -> list[np.ndarray]:
    """Per stream (each cohort, then all together), shape (4, hours): units and failures of candidate and baseline."""
    judged = rows.filter(metric="eval_fail").with_columns(hour=(pl.col("minute").dt.epoch("s") // 60 - START) // 60)
    names = ["n_candidate", "fail_candidate", "n_baseline", "fail_baseline"]
    n_hours = max(judged["hour"].to_list(), default=0) + 1
    found = []
    for (_cohort,), part in judged.group_by(["cohort"], maintain_order=True):
        counts = np.zeros((4, n_hours))
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
    for hour in range(24, counts.shape[1], 6):
        student, teacher = (r[hour - 24 : hour][~np.isnan(r[hour - 24 : hour])] for r in rates)
        if min(len(student), len(teacher)) >= 12 and mannwhitneyu(student, teacher, alternative="greater").pvalue < 0.01:
            return hour
    return None


PEERS: dict[str, Callable[[np.ndarray], int | None]] = {
    "fixed threshold": fixed_threshold,
    "repeated z-test": repeated_z,
    "Mann-Whitney": mann_whitney,
}


def first_hours(truth: Truth, seed: int) -> dict[str, int | None]:
    """When each way notices, in hours from day 0."""
    rows = truth.rows(seed)
    hours = {"Spanwise": truth.noticed(rows)}
    for name, peer in ({} if truth.is_guard else PEERS).items():
        found = [hour for counts in hourly(rows) if (hour := peer(counts)) is not None]
        hours[name] = min(found, default=None)
    return hours


def line(truth: Truth, way: str, found: list[int | None]) -> str:
    """A row of the table; with harm, what came before it is counted apart."""
    noticed = [hour for hour in found if hour is not None]
    if truth.harm_from is None:
        return f"| {truth.name} | {way} | {len(noticed) / len(found):.0%} | | |"
    start = truth.harm_from * 24
    true = [(hour + 1 - start) / 24 for hour in noticed if hour + 1 >= start]
    delay = f"{statistics.median(true):.1f}" if true else ""
    early = sum(hour + 1 < start for hour in noticed) / len(found)
    return f"| {truth.name} | {way} | {early:.0%} | {len(true) / len(found):.0%} | {delay} |"


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--truth", nargs="*", default=[""], help="only those whose name begins with one of these")
    parser.add_argument("--seeds", type=int, default=0, help="instead of each truth's own number")
    chosen = parser.parse_args()
    print("| truth | way | false or too early | detected | median delay, days |\n|---|---|---|---|---|")
    for number, truth in enumerate(TRUTHS):
        if truth.name.startswith(tuple(chosen.truth)):
            n_seeds = chosen.seeds or truth.n_seeds
            by_seed = [first_hours(truth, 100_000 * number + 100 * seed) for seed in range(n_seeds)]
            for way in by_seed[0]:
                print(line(truth, way, [hours[way] for hours in by_seed]), flush=True)


if __name__ == "__main__":
    main()
