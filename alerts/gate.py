"""The gate of a rollout: may the candidate be promoted, with the reason of every check and how long until it is known."""

from __future__ import annotations

from datetime import datetime
from math import ceil
from typing import Literal

from alerts.config import GateConfig
from alerts.findings import Findings
from alerts.method import guards
from alerts.method.gates import against_limit, all_of
from alerts.method.weights import StreamKey, group_of
from alerts.verdict import GLOBAL, CostFinding, GateCheck, GateResult, GuardFinding, Interval, MetricGroup, Outcome, Unknown

# one-sided 0.05, as the two-sided level of the interval
LEVEL = 0.10
MINUTES_PER_WEEK = 10_080


def gate_result(
    rollout: str,
    findings: Findings,
    cost: CostFinding | None,
    guard_list: list[GuardFinding],
    limits: GateConfig,
    as_of: datetime,
    on: str = "live",
    trouble: str = "",
) -> GateResult:
    """
    Every check of the gate.

    Quality over all cohorts and in each high-value cohort, cost, guards, and that no stream has paged: a rollout whose
    harm is proved in an ordinary cohort is not promoted either.

    Args:
        trouble: why nothing further is settled or judged.
    """
    checks = [*_quality(findings), _no_page(findings), *([_cost(cost, limits)] if cost else []), _guards(guard_list)]
    checks += [in_trouble(trouble)] if trouble else []
    outcome = all_of(check.outcome for check in checks)
    if not any(check.name.startswith("quality") for check in checks):
        checks.insert(0, _check("quality", Outcome.UNDETERMINED, "no evaluator or feedback has been seen yet"))
        outcome = all_of([Outcome.UNDETERMINED, outcome])
    decisive = [c for c in checks if c.outcome is outcome] if outcome is not Outcome.PASS else []
    reasons = tuple(c.reason for c in decisive) or ("every check passed",)
    return GateResult(rollout, outcome, reasons, tuple(checks), as_of, on)


def _quality(findings: Findings) -> list[GateCheck]:
    rules = findings.state.rules
    checks = []
    for key in findings.streams:
        if group_of(key.metric) is not MetricGroup.QUALITY:
            continue
        if key.cohort == GLOBAL or key.cohort in rules.high_value:
            checks.append(_quality_check(findings, key))
    seen = {key.cohort for key in findings.streams}
    for cohort in sorted(rules.high_value - seen):
        reason = f"{cohort}: high value, but no traffic in both arms yet"
        checks.append(_check("quality", Outcome.UNDETERMINED, reason, cohort=cohort))
    return sorted(checks, key=lambda check: (check.cohort != GLOBAL, check.metric, check.evaluator, check.cohort))


def _quality_check(findings: Findings, key: StreamKey) -> GateCheck:
    margin = findings.margin(key)
    d, _, note = findings.estimate(key)
    if key.cohort == GLOBAL and not findings.omega:
        note = note or "collecting: the baseline's reference mix is not frozen yet"
    bounds = None if note else findings.bounds(key, LEVEL)
    paged = bool(findings.paged[findings.state.paging.index[key]] >= 0)
    outcome = against_limit(bounds, margin, paged=paged)
    where = "all cohorts" if key.cohort == GLOBAL else key.cohort
    name = f"{key.evaluator or key.metric} in {where}"
    if bounds is None:
        reason = f"{name}: {'harm is proved' if paged else note}"
    else:
        reason = f"{name}: {_points(bounds[0])} to {_points(bounds[1])} against a limit of {_points(margin)}"
        # the range has to hold for the size, at every look; the test only asks whether there is any harm
        sharper = ": the test for it is sharper than this range" if bounds[0] <= 0 else ""
        reason += f"; harm is proved{sharper}" if paged else ""
    unknown = how_long(findings, key) if outcome is Outcome.UNDETERMINED else None
    if unknown is not None:
        reason += f"; {unknown.sentence}"
    interval = None if bounds is None else Interval(*bounds, LEVEL)
    return GateCheck(f"quality {name}", outcome, reason, key.metric, key.evaluator, key.cohort, d, interval, margin, unknown)


def how_long(findings: Findings, key: StreamKey) -> Unknown:
    """The data a decision on a stream needs, and how many weeks that takes at the present rate."""
    margin, finding = findings.margin(key), findings.finding(key)
    baseline, candidate = finding.baseline, finding.candidate
    n, fails = baseline.n_units + candidate.n_units, baseline.n_fail + candidate.n_fail
    rate = (fails + 0.5) / (n + 1)
    share = min(max(candidate.n_units / n if n else 0.5, 0.01), 0.99)
    needed = ceil(guards.units_needed(rate, share, margin))
    n_pairs = finding.n_pairs
    discordance = (finding.n_discordant_worse + finding.n_discordant_better) / n_pairs if n_pairs >= 50 else 2 * rate * (1 - rate)
    pairs = ceil(guards.pairs_needed(discordance, margin))
    state = findings.state
    elapsed = max(1, state.frontier_of((key.metric, key.evaluator)) - state.rules.day_zero)
    per_week = n / elapsed * MINUTES_PER_WEEK
    weeks = max(0.0, (needed - n) / per_week) if per_week > 0 else None
    there = f", of which {n_pairs:,} are there" if n_pairs else ""
    sentence = f"{n:,} of about {needed:,} scored traces ({how_much_longer(weeks)}), or about {pairs:,} mirrored pairs{there}"
    return Unknown(sentence, key.metric, key.evaluator, key.cohort, n, needed, weeks, pairs, n_pairs)


def how_much_longer(weeks: float | None) -> str:
    """A wait, no finer than it is known."""
    if weeks is None:
        return "no traffic at present"
    if weeks < 0.1:
        return "soon at the present rate"
    n, unit = (weeks * 7, "day") if weeks < 1 else (weeks, "week") if weeks < 60 else (weeks / 52.18, "year")
    return f"about {max(1, round(n)):,} more {unit}{'' if round(n) <= 1 else 's'} at the present rate"


def _no_page(findings: Findings) -> GateCheck:
    paged = [key for number, key in enumerate(findings.streams) if findings.paged[number] >= 0]
    if not paged:
        return _check("pages", Outcome.PASS, "no stream has evidence of harm")
    names = ", ".join(key.stream_id for key in paged[:5])
    return _check("pages", Outcome.FAIL, f"harm is proved in {names}")


def _cost(cost: CostFinding, limits: GateConfig) -> GateCheck:
    target, row = limits.max_cost_ratio, cost.overall
    if cost.note or row.interval is None:
        return _check("cost", Outcome.UNDETERMINED, f"cost: {cost.note or 'nothing priced yet'}", limit=target)
    reason = f"cost ratio {row.interval.low:.2f} to {row.interval.high:.2f} against a target of {target:.2f}"
    outcome = Outcome.PASS if cost.certified else Outcome.FAIL if row.interval.low > target else Outcome.UNDETERMINED
    if cost.tail_decides:
        reason += "; more than a tenth of the spend lies above the cap, the tail decides"
    return _check("cost", outcome, reason, value=row.ratio, interval=row.interval, limit=target)


def _guards(guard_list: list[GuardFinding]) -> GateCheck:
    active = [guard.sentence for guard in guard_list if guard.is_active and guard.blocks]
    if active:
        return _check("guards", Outcome.UNDETERMINED, "; ".join(active))
    return _check("guards", Outcome.PASS, "no guard is active")


def undetermined(rollout: str, reason: str, as_of: datetime, on: Literal["live", "experiment"]) -> GateResult:
    """The answer where nothing can be looked at, for one reason."""
    return GateResult(rollout, Outcome.UNDETERMINED, (reason,), (), as_of, on)


def in_trouble(trouble: str) -> GateCheck:
    """What is known is not what there is to know."""
    return _check("judging", Outcome.UNDETERMINED, f"judging has stopped: {trouble}")


def _check(
    name: str,
    outcome: Outcome,
    reason: str,
    cohort: str = "",
    value: float | None = None,
    interval: Interval | None = None,
    limit: float | None = None,
) -> GateCheck:
    return GateCheck(name, outcome, reason, "", "", cohort, value, interval, limit, None)


def _points(rate: float) -> str:
    return f"{100 * rate:+.1f} pp"
