"""What one tick concludes about a rollout: the verdict, the streams that decided it, and the page's text as data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import TypeAdapter

# The cohort name of a stream over all cohorts.
GLOBAL = "*"


class VerdictKind(StrEnum):
    """The one answer per rollout; the four that end in a page come in the order of severity."""

    COLLECTING = "collecting"
    WIN = "win"
    NO_HARM_SEEN = "no_harm_seen"
    DIVERGENCE = "divergence"
    QUALITY_REGRESSION = "quality_regression"
    OPERATIONS_REGRESSION = "operations_regression"
    BUNDLE_REGRESSION = "bundle_regression"


PAGING_KINDS = (
    VerdictKind.DIVERGENCE,
    VerdictKind.QUALITY_REGRESSION,
    VerdictKind.BUNDLE_REGRESSION,
    VerdictKind.OPERATIONS_REGRESSION,
)


class StreamState(StrEnum):
    """What is known about one stream."""

    COLLECTING = "collecting"
    NO_HARM_SEEN = "no_harm_seen"
    # on the list of a page of another stream: false discovery rate only, does not page by itself
    SUSPECTED = "suspected"
    PAGED = "paged"


class MetricGroup(StrEnum):
    QUALITY = "quality"
    OPERATIONS = "operations"


class GuardKind(StrEnum):
    """What a comparison cannot show."""

    PROMPT_CONFOUNDED = "prompt_confounded"
    EVALUATOR_CONFOUNDED = "evaluator_confounded"
    COHORT_NOT_SHARED = "cohort_not_shared"
    SAMPLING_DIFFERS = "sampling_differs"
    LITTLE_OVERLAP = "little_overlap"
    SAMPLE_RATIO = "sample_ratio_mismatch"
    SPLIT_UNKNOWN = "split_unknown"
    COVERAGE = "coverage"
    COVARIATE_BALANCE = "covariate_balance"
    MIX = "mix"
    LATENESS = "lateness"


class Outcome(StrEnum):
    """A gate's answer; there is no fourth."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True)
class Interval:
    """A range that is right at every look at once, with probability 1 - `level`."""

    low: float
    high: float
    level: float


@dataclass(frozen=True)
class ArmCounts:
    """One arm of one stream. `n_units`: scored (or flag-carrying) traces; `rate`: NULL without units."""

    n_units: int
    n_fail: int
    rate: float | None
    # sampled for evaluation, with or without a verdict; equals n_units where nothing can be missing
    n_eligible: int
    coverage: float | None
    # the same rate if every missing verdict had passed, or had failed
    worst_case: Interval | None = None


@dataclass(frozen=True)
class StreamFinding:
    """
    One (metric, evaluator, cohort): what both arms did, and how strong the evidence for harm is.

    Differences are candidate minus baseline failure rates (0.01 is one percentage point): positive is harm.
    """

    stream_id: str
    metric: str
    evaluator: str
    # GLOBAL for the stream over all cohorts
    cohort: str
    group: MetricGroup
    is_high_value: bool
    is_bundle: bool
    state: StreamState
    baseline: ArmCounts
    candidate: ArmCounts
    difference: float | None
    # None while collecting: fewer than 50 units an arm, or 10 failures in all
    interval: Interval | None
    # evidence against "not worse", as odds E to 1; natural logarithm, it can exceed a float
    log_evidence: float
    log_threshold: float
    # when the stream paged: the settled minute, and the moment at which that minute was mature
    paged_minute: datetime | None
    decided_at: datetime | None
    # the day (its start) since which the harm is most likely, and the difference since then, at the page or now
    since: datetime | None
    difference_since: float | None
    baseline_since: ArmCounts | None
    candidate_since: ArmCounts | None
    # proved at level 0.05, now: odds ratio at least, and the same in failure rate
    proven_odds_ratio: float | None
    proven_difference: float | None
    n_pairs: int
    n_discordant_worse: int
    n_discordant_better: int
    # a sentence: why it is collecting, or what it may not claim
    note: str


@dataclass(frozen=True)
class CostCohort:
    """Cost of one cohort, or of the whole standardised mix (`cohort` = GLOBAL). Ratios are candidate / baseline."""

    cohort: str
    n_baseline: int
    n_candidate: int
    mean_baseline_usd: float | None
    mean_candidate_usd: float | None
    ratio: float | None
    interval: Interval | None
    ratio_capped: float | None
    interval_capped: Interval | None
    # share of the arm's spend above the cap
    tail_share_baseline: float | None
    tail_share_candidate: float | None
    certified_cheaper: bool
    indicative: bool


@dataclass(frozen=True)
class CostFinding:
    """Cost at equal cohort mix. `certified`: both the raw and the capped upper bound lie below `target`."""

    overall: CostCohort
    cohorts: tuple[CostCohort, ...]
    target: float
    certified: bool
    # below 1.0: cheaper at all; what the class divergence asks
    certified_cheaper: bool
    pooled_ratio: float | None
    tail_decides: bool
    # '' or why there is no interval yet
    note: str


@dataclass(frozen=True)
class GuardFinding:
    """One guard that is active, or worth knowing; `blocks`: it keeps the gate from passing."""

    kind: GuardKind
    is_active: bool
    blocks: bool
    metric: str
    evaluator: str
    cohort: str
    value: float | None
    limit: float | None
    sentence: str


@dataclass(frozen=True)
class Unknown:
    """What is not known yet, and how long until it will be."""

    sentence: str
    metric: str
    evaluator: str
    cohort: str
    n_have: int
    n_needed: int | None
    # at the present rate; None: no traffic
    weeks: float | None
    n_pairs_needed: int | None
    n_pairs: int = 0


@dataclass(frozen=True)
class GateCheck:
    """One line of the gate's table."""

    name: str
    outcome: Outcome
    reason: str
    metric: str
    evaluator: str
    cohort: str
    value: float | None
    interval: Interval | None
    limit: float | None
    unknown: Unknown | None


@dataclass(frozen=True)
class GateResult:
    """All checks; pass only when every check passes."""

    rollout: str
    outcome: Outcome
    reasons: tuple[str, ...]
    checks: tuple[GateCheck, ...]
    as_of: datetime
    # live or experiment
    on: str


@dataclass(frozen=True)
class Page:
    """A stream that pages, with the lines of the page in their order; raised once per (comparison, stream)."""

    stream_id: str
    kind: VerdictKind
    paged_minute: datetime
    decided_at: datetime
    headline: str
    quality: str
    cost: str
    certainty: str
    reach: str
    not_known: str
    action: str
    also_suspected: tuple[str, ...]
    # dollars saved per week by the candidate at present traffic, and bad traces per week it costs; None: unknown
    saving_usd_per_week: float | None
    extra_failures_per_week: float | None
    # False: decided in history that was imported, and nothing goes on; on the wall clock nobody is told
    is_live: bool = True


@dataclass(frozen=True)
class Verdict:
    """What is known about a rollout at `as_of`. Appended to `verdicts` when anything but `as_of` and counts changes."""

    rollout: str
    comparison_id: str
    kind: VerdictKind
    reasons: tuple[str, ...]
    # the streams that decided, or, if none did, every GLOBAL stream
    streams: tuple[StreamFinding, ...]
    cost: CostFinding | None
    guards: tuple[GuardFinding, ...]
    unknown: tuple[Unknown, ...]
    pages: tuple[Page, ...]
    gate: Outcome
    gate_reasons: tuple[str, ...]
    as_of: datetime
    opened_at: datetime
    # start of day 0: the first candidate trace
    day_zero: datetime
    # history, first day, or '' before it is frozen
    reference: str
    baseline_route: str
    baseline_model: str
    candidate_route: str
    candidate_model: str
    n_baseline: int
    n_candidate: int
    # rollup rows that changed after they were settled, and those that say nothing sensible: left out
    late_rows: int
    # the comparison whose acknowledged drift alarm this one goes on after; '' otherwise
    follows: str = ""
    malformed_rows: int = 0
    # why nothing further is settled or judged; '' while all goes well
    trouble: str = ""


_VERDICT = TypeAdapter(Verdict)


def to_json(verdict: Verdict) -> str:
    """The verdict as JSON, times in RFC 3339."""
    return _VERDICT.dump_json(verdict).decode()


def from_json(text: str) -> Verdict:
    """The inverse of `to_json`."""
    return _VERDICT.validate_json(text)
