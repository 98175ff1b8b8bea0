"""A rollout told in findings: a cheaper student that is worse for one high-value cohort and for nobody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from alerts.scorecard import LatencyRow, MixRow, Quantile, Scorecard, ScoreRow, SeriesPoint
from alerts.verdict import (
    GLOBAL,
    ArmCounts,
    CostCohort,
    CostFinding,
    GuardFinding,
    GuardKind,
    Interval,
    MetricGroup,
    Outcome,
    Page,
    StreamFinding,
    StreamState,
    Unknown,
    Verdict,
    VerdictKind,
)

AS_OF = datetime(2026, 3, 9, 14, 5, tzinfo=UTC)
DAY_ZERO = datetime(2026, 3, 1, tzinfo=UTC)
ROLLOUT = "refund-student"
LOSING = "regulated_answer"

# cohort: (share of traffic, baseline failure rate, candidate failure rate, cost ratio)
COHORTS = {
    "billing_question": (0.22, 0.08, 0.083, 0.30),
    "refund_status": (0.18, 0.06, 0.059, 0.27),
    "order_tracking": (0.15, 0.04, 0.041, 0.25),
    "account_access": (0.11, 0.09, 0.092, 0.33),
    "cancel_subscription": (0.08, 0.07, 0.066, 0.29),
    "shipping_change": (0.07, 0.05, 0.053, 0.28),
    "product_question": (0.06, 0.11, 0.112, 0.35),
    "complaint": (0.04, 0.15, 0.147, 0.41),
    "warranty": (0.03, 0.10, 0.108, 0.36),
    LOSING: (0.02, 0.099, 0.198, 0.31),
    "fraud_report": (0.02, 0.12, 0.118, 0.44),
    "bulk_order": (0.015, 0.07, 0.081, 0.52),
    "press": (0.005, 0.09, 0.10, 0.6),
}
_UNITS = 20_600


def finding(
    cohort: str, metric: str = "eval_fail", evaluator: str = "TaskCompletion", group: MetricGroup = MetricGroup.QUALITY
) -> StreamFinding:
    """One stream of the story; only `LOSING` under TaskCompletion pages."""
    share, p_baseline, p_candidate, _ = COHORTS.get(cohort, (1.0, 0.075, 0.077, 0.31))
    pages = cohort == LOSING and evaluator == "TaskCompletion"
    if not pages and cohort == LOSING:
        p_candidate = p_baseline
    n = round(_UNITS * share)
    few = n < 200
    difference = p_candidate - p_baseline
    radius = 1.9 * (p_baseline / max(1, n)) ** 0.5 * 1.6
    return StreamFinding(
        stream_id=f"{metric}/{evaluator}/{cohort}",
        metric=metric,
        evaluator=evaluator,
        cohort=cohort,
        group=group,
        is_high_value=cohort == LOSING,
        is_bundle=False,
        state=StreamState.PAGED if pages else StreamState.COLLECTING if few else StreamState.NO_HARM_SEEN,
        baseline=ArmCounts(n * 5, round(n * 5 * p_baseline), p_baseline, n * 5, 0.99),
        candidate=ArmCounts(n, round(n * p_candidate), p_candidate, n, 0.98),
        difference=difference,
        interval=None if few else Interval(difference - radius, difference + radius, 0.05),
        log_evidence=8.3 if pages else -0.4,
        log_threshold=6.62,
        paged_minute=AS_OF - timedelta(hours=3) if pages else None,
        decided_at=AS_OF - timedelta(hours=2) if pages else None,
        since=DAY_ZERO + timedelta(days=2) if pages else None,
        difference_since=0.099 if pages else None,
        baseline_since=ArmCounts(2230, 221, 0.099, 2230, 1.0) if pages else None,
        candidate_since=ArmCounts(412, 82, 0.198, 412, 1.0) if pages else None,
        proven_odds_ratio=1.3 if pages else None,
        proven_difference=0.026 if pages else None,
        n_pairs=0,
        n_discordant_worse=0,
        n_discordant_better=0,
        note=f"{min(n, 31)} of 50 units per arm" if few else "",
    )


def _cost(cohort: str) -> CostCohort:
    share, _, _, ratio = COHORTS.get(cohort, (1.0, 0, 0, 0.31))
    n = round(_UNITS * share)
    enough = n >= 200
    width = 0.02 + 0.9 / max(1.0, n) ** 0.5
    return CostCohort(
        cohort=cohort,
        n_baseline=n * 5,
        n_candidate=n,
        mean_baseline_usd=0.0182,
        mean_candidate_usd=0.0182 * ratio,
        ratio=ratio if enough else None,
        interval=Interval(ratio * (1 - width), ratio * (1 + width), 0.02) if enough else None,
        ratio_capped=ratio * 0.98 if enough else None,
        interval_capped=Interval(ratio * (1 - width) * 0.98, ratio * (1 + width) * 0.98, 0.02) if enough else None,
        tail_share_baseline=0.01,
        tail_share_candidate=0.02,
        certified_cheaper=enough,
        indicative=n < 1000,
    )


def cost() -> CostFinding:
    return CostFinding(_cost(GLOBAL), tuple(_cost(cohort) for cohort in COHORTS), 0.5, True, True, 0.29, False, "")


def _rows() -> tuple[StreamFinding, ...]:
    cohorts = (GLOBAL, *COHORTS)
    quality = [finding(cohort, evaluator=evaluator) for evaluator in ("TaskCompletion", "Groundedness") for cohort in cohorts]
    proxies = [finding(cohort, metric, "") for metric in ("thumbs_down", "escalation") for cohort in cohorts]
    flags = [
        finding(cohort, metric, "", MetricGroup.OPERATIONS) for metric in ("retry", "fallback", "timeout") for cohort in cohorts
    ]
    return (*quality, *proxies, *flags)


def _series() -> tuple[SeriesPoint, ...]:
    points = []
    for stream in (finding(LOSING), finding(GLOBAL), finding(GLOBAL, evaluator="Groundedness")):
        for day in range(9):
            radius = 0.16 / (day + 1) ** 0.7
            settled = (stream.difference or 0) * min(1.0, day / 4) + 0.01 / (day + 1)
            interval = Interval(settled - radius, settled + radius, 0.05) if day else None
            at = DAY_ZERO + timedelta(days=day + 1)
            points.append(SeriesPoint(stream.stream_id, at, settled if day else None, interval, 0.099, 0.099 + settled))
    return tuple(points)


UNKNOWNS = (
    Unknown("Groundedness in press is still collecting (31 of 50).", "eval_fail", "Groundedness", "press", 31, 50, 2.1, 900),
    Unknown(
        "Whether regulated_answer regresses by less than 1 pp on Escalations.", "escalation", "", LOSING, 412, 21_000, 31.0, 4_200
    ),
)
GUARDS = (
    GuardFinding(
        GuardKind.MIX, True, False, "", "", "", 0.14, 0.10, "The arms' cohort mixes differ by 14 %: pooled numbers are hidden."
    ),
    GuardFinding(
        GuardKind.COVERAGE, False, True, "eval_fail", "TaskCompletion", "", 0.002, 0.01, "Verdicts are missing equally often."
    ),
    GuardFinding(
        GuardKind.SPLIT_UNKNOWN, False, False, "", "", "", None, None, "No split is declared, so lost rows would not show."
    ),
)


def scorecard() -> Scorecard:
    """The whole scorecard of the story."""
    quantiles = tuple(
        Quantile(q, ms, Interval(ms * 0.97, ms * 1.04, 0.05)) for q, ms in ((0.5, 840.0), (0.95, 2100.0), (0.99, 4300.0))
    )
    return Scorecard(
        rollout=ROLLOUT,
        comparison_id="c0ffee",
        as_of=AS_OF,
        day_zero=DAY_ZERO,
        reference="history",
        rows=_rows(),
        scores=(ScoreRow("Groundedness", "judge-3", LOSING, 2230, 412, 0.91, 0.86, 0.05, Interval(0.02, 0.08, 0.05)),),
        cost=cost(),
        latency=tuple(LatencyRow(cohort, 11_000, 2_200, quantiles, quantiles, 5000.0) for cohort in list(COHORTS)[:4]),
        guards=GUARDS,
        unknown=UNKNOWNS,
        mix=tuple(MixRow(cohort, share, share, share * (0.7 if share > 0.1 else 1.4)) for cohort, (share, *_) in COHORTS.items()),
        series=_series(),
    )


def verdict(kind: VerdictKind = VerdictKind.DIVERGENCE) -> Verdict:
    """The verdict, with its page when `kind` pages."""
    losing = finding(LOSING)
    page = Page(
        stream_id=losing.stream_id,
        kind=kind,
        paged_minute=AS_OF - timedelta(hours=3),
        decided_at=AS_OF - timedelta(hours=2),
        headline=f"support-agent: student-8b-v1 is cheaper but worse on {LOSING}",
        quality="TaskCompletion failures 19.8 % vs 9.9 % teacher since 3 Mar: at least +2.6 pp (proved), best estimate +9.9 pp. "
        "412 student / 2,230 teacher traces, same prompt p-14, same evaluator judge-3.",
        cost="0.31× (0.29 to 0.33) at equal cohort mix, certified below the 0.50 target.",
        certainty="Evidence 4,100 to 1 (this stream pages at 752). If nothing were wrong, at most 1 rollout "
        "in 20 would raise any page.",
        reach="2 % of traffic, high value; about 240 student traces a day. Other 12 cohorts: no evidence of harm.",
        not_known="Groundedness in this cohort still collecting (31 of 50). No guard active.",
        action=f"Route {LOSING} back to the teacher; open 20 paired failures; gate: FAIL.",
        also_suspected=(),
        saving_usd_per_week=1840.0,
        extra_failures_per_week=166.0,
    )
    pages = kind not in (VerdictKind.COLLECTING, VerdictKind.WIN, VerdictKind.NO_HARM_SEEN)
    return Verdict(
        rollout=ROLLOUT,
        comparison_id="c0ffee",
        kind=kind,
        reasons=(page.headline,) if pages else ("No stream shows harm; the high-value gate is not decided.",),
        streams=(losing,) if pages else (finding(GLOBAL),),
        cost=cost(),
        guards=GUARDS,
        unknown=UNKNOWNS,
        pages=(page,) if pages else (),
        gate=Outcome.FAIL if pages else Outcome.UNDETERMINED,
        gate_reasons=(f"{LOSING} paged",),
        as_of=AS_OF,
        opened_at=DAY_ZERO,
        day_zero=DAY_ZERO,
        reference="history",
        baseline_route="teacher",
        baseline_model="teacher-70b",
        candidate_route="student",
        candidate_model="student-8b-v1",
        n_baseline=_UNITS * 5,
        n_candidate=_UNITS,
        late_rows=0,
    )


def gate() -> dict[str, object]:
    """The gate's document, as the API gives it."""
    checks = [
        {"name": "Global, TaskCompletion", "outcome": "pass", "reason": "−0.9 to +1.3 pp, below the 3 pp limit"},
        {"name": f"{LOSING}, TaskCompletion", "outcome": "fail", "reason": "this stream paged"},
        {"name": "Cost", "outcome": "pass", "reason": "0.29 to 0.33×, certified below 0.50×"},
        {"name": "Guards", "outcome": "undetermined", "reason": "coverage is not settled"},
    ]
    return {"rollout": ROLLOUT, "gate": "fail", "checks": checks, "reasons": [f"{LOSING} paged"]}
