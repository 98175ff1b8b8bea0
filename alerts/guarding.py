"""The guards of one comparison: what it cannot show, in sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alerts.config import MethodConfig
from alerts.method import differences, evidence, guards
from alerts.method.weights import StreamKey
from alerts.state import RING_HOURS, ComparisonState
from alerts.verdict import GLOBAL, GuardFinding, GuardKind

_BY_KEY = {
    "prompt_version": (GuardKind.PROMPT_CONFOUNDED, "the prompt changed with the model"),
    "evaluator_version": (GuardKind.EVALUATOR_CONFOUNDED, "the arms are judged by different versions of the evaluator"),
    "cohort": (GuardKind.COHORT_NOT_SHARED, "the arms serve different cohorts"),
    "sampling_rule": (GuardKind.SAMPLING_DIFFERS, "the arms are sampled for evaluation by different rules"),
}
OVERLAP_MIN_UNITS = 100
LATENESS_LIMIT = 0.05
MIX_LIMIT = 0.10
# these say that unpaired units are not comparable: pairs alone decide then
UNPAIRED = frozenset(
    {
        *(kind for kind, _ in _BY_KEY.values()),
        GuardKind.LITTLE_OVERLAP,
        GuardKind.SAMPLE_RATIO,
        GuardKind.COVERAGE,
        GuardKind.COVARIATE_BALANCE,
    }
)


@dataclass(frozen=True)
class Lateness:
    """Verdicts of one metric since day 0, and how many of them came after its maturity."""

    metric: str
    evaluator: str
    n_verdicts: int
    n_late: int


def guard_findings(
    state: ComparisonState, config: MethodConfig, split: float | None, routing_phi: float | None, lateness: list[Lateness]
) -> list[GuardFinding]:
    """Every guard that is active or worth knowing, in the order of the method; `routing_phi` None: sticky, and not known."""
    return [
        *_overlap(state, config),
        *_sample_ratio(state, config, split, routing_phi),
        *_balance(state, config, "eval_missing", 0.01),
        *_balance(state, config, "long_prompt", 0.02),
        *_mix(state),
        *_lateness(lateness),
    ]


def _overlap(state: ComparisonState, config: MethodConfig) -> list[GuardFinding]:
    by_metric: dict[tuple[str, str], list[guards.Traffic]] = {}
    units = np.array(list(state.recent.values())).reshape(-1, RING_HOURS, 2).sum(axis=1)
    if not ((units[:, 0] > 0) & (units[:, 1] == 0)).any():
        return []
    for key, (n_s, n_t) in zip(state.recent, units.tolist(), strict=True):
        by_metric.setdefault(key[:2], []).append(guards.Traffic(*key[2:6], n_s, n_t))
    found = []
    for (metric, evaluator), traffic in sorted(by_metric.items()):
        share, total = guards.matched_share(traffic)
        if total < OVERLAP_MIN_UNITS or share >= config.overlap_limit:
            continue
        keys = guards.culprits(traffic, config.overlap_limit)
        kinds = [_BY_KEY[key] for key in keys] or [
            (GuardKind.LITTLE_OVERLAP, "the baseline has hardly any traffic to compare with")
        ]
        for kind, why in kinds:
            sentence = (
                f"{_name(metric, evaluator)}: comparison not identified: {why} ({share:.0%} of candidate traces are matched)"
            )
            found.append(GuardFinding(kind, True, True, metric, evaluator, "", share, config.overlap_limit, sentence))
    return found


def _sample_ratio(
    state: ComparisonState, config: MethodConfig, split: float | None, routing_phi: float | None
) -> list[GuardFinding]:
    limit = float(np.log(config.guard_evidence))
    if split is None or routing_phi is None:
        why = "the configured split is not declared" if split is None else "sessions per arm cannot be told from traces yet"
        sentence = f"split unknown: {why}, so lost traffic of one arm would go unnoticed"
        return [GuardFinding(GuardKind.SPLIT_UNKNOWN, False, False, "", "", "", None, None, sentence)]
    a, n = state.routed.get(max(state.routed, default=0), (0, 0))
    log_e = guards.log_e_split(a, n, split, routing_phi)
    if log_e < limit:
        return []
    sentence = f"sample ratio mismatch: {a} of {n} traces ({a / n:.1%}) reached the candidate, configured are {split:.1%}"
    return [GuardFinding(GuardKind.SAMPLE_RATIO, True, True, "", "", "", log_e, limit, sentence)]


def _balance(state: ComparisonState, config: MethodConfig, metric: str, floor: float) -> list[GuardFinding]:
    """Verdicts that are missing, or prompts that are long, more often on one side."""
    ledger, rules = state.guarding, state.rules
    limit = float(np.log(config.guard_evidence))
    numbers = [n for key, n in ledger.index.items() if key.metric == metric and key.cohort == GLOBAL]
    if not numbers or rules.frozen_rates:
        return []
    chosen = np.array(sorted(numbers))
    phi = np.array([rules.phi_of(ledger.streams[n]) for n in chosen])
    n_days = min(int(rules.day_of(np.array([state.newest_minute()]))[0]) - state.first_day + 1, rules.n_days)
    components = evidence.log_components(ledger.sums[chosen, :n_days, ledger.unpaired], rules.log_mass()[:n_days], phi)
    log_e = evidence.log_e(components)
    n, w = ledger.get("N")[chosen].sum(axis=1), ledger.get("W")[chosen].sum(axis=1)
    d = np.divide(n, w, out=np.zeros(len(n)), where=w > 0)
    found = []
    for position in np.flatnonzero((log_e >= limit) & (np.abs(d) >= floor)):
        key = ledger.streams[chosen[position]]
        found.append(_balance_finding(key, float(d[position]), floor))
    return found


def _balance_finding(key: StreamKey, d: float, floor: float) -> GuardFinding:
    points = f"{100 * d:+.1f} pp"
    if key.metric == "eval_missing":
        kind = GuardKind.COVERAGE
        sentence = (
            f"{key.evaluator}: verdicts are missing more often on one arm ({points} on the candidate); see the worst-case bounds"
        )
    else:
        kind = GuardKind.COVARIATE_BALANCE
        sentence = f"inside cohorts the candidate gets {points} long prompts: only mirrored pairs compare like with like"
    return GuardFinding(kind, True, True, key.metric, key.evaluator, "", d, floor, sentence)


def cohort_units(state: ComparisonState) -> tuple[dict[str, float], dict[str, float]]:
    """Served traces per cohort: candidate's, baseline's."""
    ledger = state.paging
    numbers = {k.cohort: n for k, n in ledger.index.items() if k.metric == "error" and k.cohort != GLOBAL}
    rows = list(numbers.values())
    units = [ledger.get(name)[rows].sum(axis=1).tolist() for name in ("uS", "uT")]
    return dict(zip(numbers, units[0], strict=True)), dict(zip(numbers, units[1], strict=True))


def _mix(state: ComparisonState) -> list[GuardFinding]:
    candidate, baseline = cohort_units(state)
    if min(sum(candidate.values()), sum(baseline.values())) < OVERLAP_MIN_UNITS:
        return []
    distance = guards.mix_distance(candidate, baseline)
    if distance <= MIX_LIMIT:
        return []
    sentence = f"the arms serve different mixes of cohorts (distance {distance:.2f}): pooled numbers are hidden"
    return [GuardFinding(GuardKind.MIX, True, False, "", "", "", distance, MIX_LIMIT, sentence)]


def _lateness(lateness: list[Lateness]) -> list[GuardFinding]:
    found = []
    for row in lateness:
        share = row.n_late / row.n_verdicts if row.n_verdicts else 0.0
        if row.n_verdicts >= OVERLAP_MIN_UNITS and share > LATENESS_LIMIT:
            name = _name(row.metric, row.evaluator)
            sentence = f"{name}: {share:.0%} of verdicts came too late to count; the next comparison waits longer"
            found.append(
                GuardFinding(GuardKind.LATENESS, True, True, row.metric, row.evaluator, "", share, LATENESS_LIMIT, sentence)
            )
    return found


def mix_effect(state: ComparisonState, standardised: differences.Standardised, key: StreamKey, margin: float) -> str:
    """'' or the warning that the pooled difference tells another story than the standardised one."""
    number = state.paging.index[key]
    fields = [state.paging.field[name] for name in ("fS", "uS", "fT", "uT")]
    totals = state.paging.sums[number][:, fields].sum(axis=0).tolist()
    if standardised.d is None or min(totals[1], totals[3]) == 0:
        return ""
    pooled = totals[0] / totals[1] - totals[2] / totals[3]
    turns = pooled * standardised.d < 0 and max(abs(pooled), abs(standardised.d)) > margin / 10
    if turns or abs(pooled - standardised.d) > margin:
        return f"mix effect: the pooled difference is {100 * pooled:+.1f} pp, at equal mix it is {100 * standardised.d:+.1f} pp"
    return ""


def _name(metric: str, evaluator: str) -> str:
    return evaluator or metric
