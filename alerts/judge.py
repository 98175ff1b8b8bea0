"""The verdict of a comparison: a pure function of its state and what was frozen for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from alerts.comparison import Comparison
from alerts.costs import cost_finding
from alerts.findings import Findings
from alerts.gate import gate_result
from alerts.guarding import UNPAIRED, Lateness, cohort_units, guard_findings, mix_effect
from alerts.method.ebh import selected
from alerts.method.weights import StreamKey, group_of
from alerts.page_text import Context, page
from alerts.rules import MINUTES_PER_DAY, Floats
from alerts.state import ComparisonState
from alerts.verdict import (
    GLOBAL,
    PAGING_KINDS,
    CostFinding,
    GateResult,
    GuardFinding,
    GuardKind,
    MetricGroup,
    Outcome,
    Page,
    StreamFinding,
    StreamState,
    Unknown,
    Verdict,
    VerdictKind,
)

MAX_STREAMS = 60


@dataclass(frozen=True)
class Judged:
    """All that one look at a state gives; the verdict is its summary, the scorecard shows the rest."""

    verdict: Verdict
    findings: Findings
    cost: CostFinding
    guards: tuple[GuardFinding, ...]
    gate: GateResult


def judge(
    comparison: Comparison,
    state: ComparisonState,
    as_of: datetime,
    lateness: list[Lateness] | None = None,
    late_rows: int = 0,
    bundle: ComparisonState | None = None,
    malformed_rows: int = 0,
    trouble: str = "",
) -> Judged:
    """
    Judge one comparison.

    Args:
        state: of the comparison's streams. bundle: the same with prompt versions pooled, once the prompt is confounded.
        lateness: verdicts that came too late, per metric. late_rows: rows that changed after they were settled.
        malformed_rows: rows that were left out. trouble: why nothing further is settled.
    """
    rollout, method = comparison.rollout, comparison.method
    omega = comparison.reference.omega if comparison.reference else {}
    split = comparison.splits[-1][1] if comparison.splits else None
    routing_phi = comparison.routing_phi if rollout.sticky else 1.0
    guards = tuple(guard_findings(state, method, split, routing_phi, lateness or []))
    pairs_only = any(guard.is_active and guard.kind in UNPAIRED for guard in guards)
    margins = (rollout.gates.max_regression, rollout.gates.max_high_value_regression)
    findings = Findings(state, omega, margins, method.interval_level, pairs_only=pairs_only)
    cost = cost_finding(state.dollars, omega, rollout.gates.max_cost_ratio, method)
    gate = gate_result(rollout.name, findings, cost, list(guards), rollout.gates, as_of, trouble=trouble)
    streams = _streams(findings, method.list_level)
    pooled = _bundle_streams(bundle, findings, guards)
    unknown = _unknown(findings, gate)
    context = Context(
        rollout.name,
        rollout.service,
        rollout.baseline,
        comparison.candidate_model or rollout.candidate,
        comparison.baseline_model or rollout.baseline,
        cost,
        guards,
        unknown,
        gate.outcome,
        tuple(streams),
        max(1.0, (state.newest_minute() - comparison.day_zero) / MINUTES_PER_DAY),
        method.alpha,
        int(sum(cohort_units(state)[0].values())),
        method.drift_days if rollout.mode == "drift" else None,
        not comparison.frozen_rates,
        tuple(sorted(key for key, counts in state.recent.items() if counts.any(axis=0).all())),
    )
    goes_on = state.has_candidate_traffic_since(int(comparison.opened_at.timestamp()) // 60)
    pages = _pages([*streams, *pooled], cost, context, comparison.opened_at, goes_on=goes_on)
    kind = _kind(pages, gate, streams)
    deciding = [s for s in [*streams, *pooled] if s.state in (StreamState.PAGED, StreamState.SUSPECTED)]
    shown = deciding or [s for s in streams if s.cohort == GLOBAL]
    candidate, baseline = cohort_units(state)
    verdict = Verdict(
        rollout=rollout.name,
        comparison_id=comparison.comparison_id,
        kind=kind,
        reasons=(*_reasons(kind, pages, cost, gate, findings), *_left_out(malformed_rows)),
        streams=tuple(shown[:MAX_STREAMS]),
        cost=cost,
        guards=guards,
        unknown=unknown,
        pages=pages,
        gate=gate.outcome,
        gate_reasons=gate.reasons,
        as_of=as_of,
        opened_at=comparison.opened_at,
        day_zero=comparison.day_zero_at,
        reference=comparison.reference.source if comparison.reference else "",
        baseline_route=rollout.baseline,
        baseline_model=comparison.baseline_model,
        candidate_route=rollout.candidate,
        candidate_model=comparison.candidate_model,
        n_baseline=int(sum(baseline.values())),
        n_candidate=int(sum(candidate.values())),
        late_rows=late_rows,
        follows=comparison.follows,
        malformed_rows=malformed_rows,
        trouble=trouble,
    )
    return Judged(verdict, findings, cost, guards, gate)


def _streams(findings: Findings, list_level: float) -> list[StreamFinding]:
    """Streams that paged, those on their list, every GLOBAL one, and the cohorts of metrics that paged."""
    paged = findings.paged >= 0
    on_list = np.zeros(len(paged), dtype=bool)
    if paged.any():
        weights = np.array([findings.weight(number) for number in range(len(paged))])
        on_list = _listed(findings, weights / max(1.0, float(weights.sum())), list_level) & ~paged
    paged_metrics = {findings.streams[n].metric for n in np.flatnonzero(paged)}
    paged_cohorts = {findings.streams[n].cohort for n in np.flatnonzero(paged)}
    found = []
    for number, key in enumerate(findings.streams):
        if paged[number] or on_list[number] or key.cohort == GLOBAL or key.metric in paged_metrics or key.cohort in paged_cohorts:
            found.append(findings.finding(key, StreamState.SUSPECTED if on_list[number] else None))
    # GLOBAL first among those that paged, cohorts join; then by evidence.
    return sorted(
        found,
        key=lambda s: (s.state is not StreamState.PAGED, s.group is not MetricGroup.QUALITY, s.cohort != GLOBAL, -s.log_evidence),
    )


def _listed(findings: Findings, weights: Floats, level: float) -> NDArray[np.bool_]:
    """
    e-BH over the streams whose harm reaches the floor of a page.

    A stream below the floor counts as without evidence: a smaller e-value is one too, so the list's guarantee holds.
    """
    log_e = findings.log_e.copy()
    while True:
        listed = selected(log_e, weights, level)
        small = [n for n in np.flatnonzero(listed & (findings.paged < 0)) if not findings.is_above_floor(int(n))]
        if not small:
            return listed
        log_e[small] = -np.inf


def _bundle_streams(bundle: ComparisonState | None, findings: Findings, guards: tuple[GuardFinding, ...]) -> list[StreamFinding]:
    """What only pooling prompt versions shows, under an alpha of its own."""
    if bundle is None or not any(guard.kind is GuardKind.PROMPT_CONFOUNDED and guard.is_active for guard in guards):
        return []
    pooled = Findings(bundle, findings.omega, findings.margins, findings.level)
    found = []
    for number in np.flatnonzero(pooled.paged >= 0):
        key = pooled.streams[number]
        mine = findings.state.paging.index.get(key)
        if mine is None or findings.paged[mine] < 0:
            found.append(pooled.finding(key, is_bundle=True))
    return found


def _pages(
    streams: list[StreamFinding], cost: CostFinding, context: Context, opened_at: datetime, *, goes_on: bool
) -> tuple[Page, ...]:
    """`goes_on`: the candidate has had traffic since the comparison was opened."""
    suspected = tuple(s.stream_id for s in streams if s.state is StreamState.SUSPECTED)
    pages = []
    for stream in (s for s in streams if s.state is StreamState.PAGED):
        # Decided before anyone looked: history that was imported, unless the harm goes on now.
        lasts = goes_on and stream.log_evidence >= stream.log_threshold
        is_live = lasts or (stream.decided_at is not None and stream.decided_at >= opened_at)
        pages.append(page(stream, _page_kind(stream, cost), suspected, context, is_live=is_live))
    return tuple(pages)


def _page_kind(stream: StreamFinding, cost: CostFinding) -> VerdictKind:
    if stream.is_bundle:
        return VerdictKind.BUNDLE_REGRESSION
    if stream.group is MetricGroup.OPERATIONS:
        return VerdictKind.OPERATIONS_REGRESSION
    cheaper = cost.certified_cheaper or any(row.certified_cheaper for row in cost.cohorts if row.cohort == stream.cohort)
    return VerdictKind.DIVERGENCE if cheaper else VerdictKind.QUALITY_REGRESSION


def _kind(pages: tuple[Page, ...], gate: GateResult, streams: list[StreamFinding]) -> VerdictKind:
    kinds = {p.kind for p in pages}
    for kind in PAGING_KINDS:
        if kind in kinds:
            return kind
    if gate.outcome is Outcome.PASS:
        return VerdictKind.WIN
    quality = [s for s in streams if s.cohort == GLOBAL and group_of(s.metric) is MetricGroup.QUALITY]
    known = [s for s in quality if s.interval is not None]
    return VerdictKind.NO_HARM_SEEN if known else VerdictKind.COLLECTING


def _reasons(
    kind: VerdictKind, pages: tuple[Page, ...], cost: CostFinding, gate: GateResult, findings: Findings
) -> tuple[str, ...]:
    reasons = [f"{p.stream_id}: {p.quality}" for p in pages] or list(gate.reasons)
    if cost.overall.interval is not None:
        low, high = cost.overall.interval.low, cost.overall.interval.high
        reasons.append(f"cost ratio {low:.2f} to {high:.2f} at equal cohort mix, target {cost.target:.2f}")
    elif kind is not VerdictKind.COLLECTING:
        reasons.append(f"cost: {cost.note}")
    for key in findings.streams:
        if key.cohort == GLOBAL and findings.omega and group_of(key.metric) is MetricGroup.QUALITY:
            standardised = findings.standardised(key.metric, key.evaluator)
            warning = mix_effect(findings.state, standardised, key, findings.margin(key))
            reasons += [f"{key.stream_id}: {warning}"] if warning else []
    return tuple(reasons)


def _left_out(n_rows: int) -> tuple[str, ...]:
    return (f"{n_rows:,} malformed rollup row{'s' if n_rows > 1 else ''} left out, see data health",) if n_rows else ()


def _unknown(findings: Findings, gate: GateResult) -> tuple[Unknown, ...]:
    """What keeps the gate open, and high-value cohorts first."""
    open_checks = [check.unknown for check in gate.checks if check.unknown is not None]
    keys = [StreamKey(u.metric, u.evaluator, u.cohort) for u in open_checks]
    rules = findings.state.rules
    order = sorted(range(len(keys)), key=lambda i: (keys[i].cohort not in rules.high_value, keys[i]))
    return tuple(open_checks[i] for i in order)
