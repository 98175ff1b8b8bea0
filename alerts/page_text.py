"""The lines of a page: ranges and proven minimum before best estimates, never a bare p-value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alerts.rules import Stratum
from alerts.verdict import (
    GLOBAL,
    ArmCounts,
    CostFinding,
    GuardFinding,
    Outcome,
    Page,
    StreamFinding,
    StreamState,
    Unknown,
    VerdictKind,
)

_DAYS_PER_WEEK = 7.0


@dataclass(frozen=True)
class Context:
    """What the lines of every page of a verdict share."""

    rollout: str
    service: str
    baseline_route: str
    candidate_model: str
    baseline_model: str
    cost: CostFinding | None
    guards: tuple[GuardFinding, ...]
    unknown: tuple[Unknown, ...]
    gate: Outcome
    # everything known, GLOBAL streams included
    streams: tuple[StreamFinding, ...]
    days: float
    alpha: float
    n_candidate: int
    # an established candidate: mean days to a false alarm, and whether the baseline still answers a part
    drift_days: float | None = None
    has_holdback: bool = True
    # in which both arms had traffic in the last 24 hours
    strata: tuple[Stratum, ...] = ()


def page(
    finding: StreamFinding, kind: VerdictKind, also_suspected: tuple[str, ...], context: Context, *, is_live: bool = True
) -> Page:
    """The page of a stream that has evidence enough."""
    assert finding.paged_minute is not None
    assert finding.decided_at is not None
    return Page(
        stream_id=finding.stream_id,
        kind=kind,
        paged_minute=finding.paged_minute,
        decided_at=finding.decided_at,
        headline=_headline(finding, kind, context),
        quality=_quality(finding, context.strata),
        cost=cost_line(context.cost),
        certainty=_certainty(finding, context),
        reach=_reach(finding, context),
        not_known=_not_known(finding, context),
        action=_action(finding, kind, context),
        also_suspected=also_suspected,
        saving_usd_per_week=_saving(finding, context),
        extra_failures_per_week=_extra_failures(finding, context),
        is_live=is_live,
    )


def _where(finding: StreamFinding) -> str:
    return "all cohorts together" if finding.cohort == GLOBAL else finding.cohort


def _name(finding: StreamFinding) -> str:
    return finding.evaluator or {"slow": "latency objective"}.get(finding.metric, finding.metric.replace("_", " "))


def _headline(finding: StreamFinding, kind: VerdictKind, context: Context) -> str:
    candidate = context.candidate_model or context.rollout
    guard = next((g for g in context.guards if g.is_active and g.blocks), None)
    prefix = f"{guard.sentence}: " if guard else ""
    what = {
        VerdictKind.DIVERGENCE: "is cheaper but worse on",
        VerdictKind.QUALITY_REGRESSION: "is worse on",
        VerdictKind.OPERATIONS_REGRESSION: f"has a worse {_name(finding)} on",
        VerdictKind.BUNDLE_REGRESSION: "together with its prompt is worse (cause not identified) on",
    }[kind]
    return f"{kind.value.replace('_', ' ').upper()}  {context.service}: {prefix}{candidate} {what} {_where(finding)}"


def _quality(finding: StreamFinding, strata: tuple[Stratum, ...]) -> str:
    now, was = finding.candidate_since or finding.candidate, finding.baseline_since or finding.baseline
    since = f" since {finding.since:%-d %b}" if finding.since else ""
    proved = finding.proven_difference
    at_least = f"at least {100 * proved:+.1f} pp (proved)" if proved else "worse by some amount (proved)"
    best = "" if finding.difference_since is None else f", best estimate {100 * finding.difference_since:+.1f} pp"
    counts = f"{now.n_units:,} candidate / {was.n_units:,} baseline traces"
    if finding.n_pairs:
        worse, better = finding.n_discordant_worse, finding.n_discordant_better
        counts += f", {finding.n_pairs:,} mirrored pairs (only candidate failed {worse}, only baseline {better})"
    counts += _alike(finding, strata)
    before = f"{_rate(was)} baseline"
    if was.rate is None and now.rate is not None and finding.difference_since is not None:
        # no holdback: its own weeks before
        before = f"{100 * (now.rate - finding.difference_since):.1f} % before"
    return f"{_name(finding)} failures {_rate(now)} vs {before}{since}: {at_least}{best}. {counts}."


def _alike(finding: StreamFinding, strata: tuple[Stratum, ...]) -> str:
    """Under which prompt and evaluator the traces were compared with each other."""
    mine = [s for s in strata if s[:2] == (finding.metric, finding.evaluator) and finding.cohort in (GLOBAL, s[4])]
    prompts, versions = ({str(s[position]) for s in mine if s[position]} for position in (5, 2))
    told = [] if finding.is_bundle else [_same("prompt", prompts)]
    return "".join(f", {text}" for text in (*told, _same("evaluator", versions)) if text)


def _same(what: str, names: set[str]) -> str:
    return f"same {what} {names.pop()}" if len(names) == 1 else f"{what}s compared each with itself" if names else ""


def _rate(arm: ArmCounts) -> str:
    return "unknown" if arm.rate is None else f"{100 * arm.rate:.1f} %"


def cost_line(cost: CostFinding | None) -> str:
    """The cost ratio with its range, or why there is none yet."""
    if cost is None or cost.overall.interval is None or cost.overall.ratio is None:
        return f"Not known: {cost.note if cost and cost.note else 'no cost yet'}."
    low, high = cost.overall.interval.low, cost.overall.interval.high
    state = (
        f"certified below the {cost.target:.2f} target" if cost.certified else f"not certified below the {cost.target:.2f} target"
    )
    tail = " The most expensive traces decide: over a tenth of the spend lies above the cap." if cost.tail_decides else ""
    return f"{cost.overall.ratio:.2f}x ({low:.2f} to {high:.2f}) at equal cohort mix, {state}.{tail}"


def _certainty(finding: StreamFinding, context: Context) -> str:
    text = f"Evidence {_odds(finding.log_evidence)} to 1 (this stream pages at {_odds(finding.log_threshold)}). "
    if context.drift_days is None:
        return f"{text}If nothing were wrong, at most 1 rollout in {round(1 / context.alpha)} would raise any page at all."
    text += f"If nothing were wrong, all streams together would give a false alarm once in {context.drift_days:,.0f} days."
    if not context.has_holdback:
        text += " There is no holdback: harder requests look the same as a worse candidate."
    return text


def _odds(log_value: float) -> str:
    if log_value > np.log(1e9):
        return f"10^{log_value / np.log(10):.0f}"
    return f"{round(float(np.exp(log_value)), -max(0, int(log_value / np.log(10)) - 2)):,.0f}"


def _reach(finding: StreamFinding, context: Context) -> str:
    share = 100 * finding.candidate.n_units / context.n_candidate if context.n_candidate else 0.0
    told = f"{share:.0f}" if share >= 1 else f"{share:.1f}" if share >= 0.1 else "under 0.1"
    per_day = finding.candidate.n_units / context.days
    value = ", high value" if finding.is_high_value else ""
    text = f"{told} % of candidate traffic{value}; about {per_day:,.0f} candidate traces a day."
    mine = [
        s
        for s in context.streams
        if (s.metric, s.evaluator) == (finding.metric, finding.evaluator) and s.cohort != finding.cohort
    ]
    quiet = [s for s in mine if s.cohort != GLOBAL and s.state not in (StreamState.PAGED, StreamState.SUSPECTED)]
    collecting = sum(s.state is StreamState.COLLECTING for s in quiet)
    over_all = next((s for s in mine if s.cohort == GLOBAL and s.interval is not None), None)
    if quiet:
        text += f" Other {len(quiet)} cohorts: no evidence of harm"
        text += f", {collecting} of them still collecting" if collecting else ""
        if over_all is not None and over_all.interval is not None and over_all.difference is not None:
            low, high = (100 * bound for bound in (over_all.interval.low, over_all.interval.high))
            text += f" (global {low:+.1f} to {high:+.1f} pp, best estimate {100 * over_all.difference:+.1f})"
        text += "."
    return text


def _not_known(finding: StreamFinding, context: Context) -> str:
    here = [s for s in context.streams if s.cohort == finding.cohort and s.state is StreamState.COLLECTING]
    parts = [f"{_name(s)} in {_where(s)} still {s.note or 'collecting'}" for s in here[:3]]
    guards = [guard.sentence for guard in context.guards if guard.is_active]
    parts.append("; ".join(guards) if guards else "no guard active")
    return ". ".join(part[0].upper() + part[1:] for part in parts) + "."


def _action(finding: StreamFinding, kind: VerdictKind, context: Context) -> str:
    if kind is VerdictKind.BUNDLE_REGRESSION:
        first = "Serve the old prompt with the new model to a part of the traffic, so that the cause shows"
    elif finding.cohort == GLOBAL:
        first = f"Route back to {context.baseline_route}"
    else:
        first = f"Route {finding.cohort} back to {context.baseline_route}"
    return f"{first}; open 20 failures of the candidate; gate: {context.gate.value.upper()}."


def _saving(finding: StreamFinding, context: Context) -> float | None:
    """Dollars a week saved on the affected cohort, or on everything."""
    if context.cost is None:
        return None
    rows = {row.cohort: row for row in (*context.cost.cohorts, context.cost.overall)}
    row = rows.get(finding.cohort)
    if row is None or row.mean_baseline_usd is None or row.mean_candidate_usd is None:
        return None
    return (row.mean_baseline_usd - row.mean_candidate_usd) * row.n_candidate / context.days * _DAYS_PER_WEEK


def _extra_failures(finding: StreamFinding, context: Context) -> float | None:
    if finding.difference_since is None:
        return None
    return finding.difference_since * finding.candidate.n_units / context.days * _DAYS_PER_WEEK
