"""The words and badges of the pages: what each kind, state and metric is called, never by colour alone."""

from __future__ import annotations

from dataclasses import dataclass

from alerts.verdict import GLOBAL, GuardKind, Outcome, StreamState, VerdictKind


@dataclass(frozen=True)
class Badge:
    """`tone`: good, bad, warn or note; `icon`: a name in `macros.html`."""

    text: str
    tone: str
    icon: str


VERDICTS: dict[str, Badge] = {
    VerdictKind.COLLECTING: Badge("Collecting", "note", "wait"),
    VerdictKind.WIN: Badge("Win", "good", "check"),
    VerdictKind.NO_HARM_SEEN: Badge("No harm seen", "good", "shield"),
    VerdictKind.DIVERGENCE: Badge("Divergence", "bad", "alert"),
    VerdictKind.QUALITY_REGRESSION: Badge("Quality regression", "bad", "cross"),
    VerdictKind.OPERATIONS_REGRESSION: Badge("Operations regression", "warn", "gauge"),
    VerdictKind.BUNDLE_REGRESSION: Badge("Bundle regression", "bad", "question"),
}

MEANINGS = {
    VerdictKind.COLLECTING: "Too few settled traces to say anything yet.",
    VerdictKind.WIN: "Cheaper, and every gate check passes.",
    VerdictKind.NO_HARM_SEEN: "No stream shows harm so far; not every check is decided.",
    VerdictKind.DIVERGENCE: "Cheaper, but worse for someone.",
    VerdictKind.QUALITY_REGRESSION: "Worse for someone, and not shown to be cheaper.",
    VerdictKind.OPERATIONS_REGRESSION: "Slower or less reliable; quality shows no harm.",
    VerdictKind.BUNDLE_REGRESSION: "Users are worse off, but the prompt changed with the model: the cause is not identified.",
}

OUTCOMES = {
    Outcome.PASS: Badge("Pass", "good", "check"),
    Outcome.FAIL: Badge("Fail", "bad", "cross"),
    Outcome.UNDETERMINED: Badge("Undetermined", "note", "question"),
}

STATES = {
    StreamState.COLLECTING: Badge("Collecting", "note", "wait"),
    StreamState.NO_HARM_SEEN: Badge("No harm seen", "good", "shield"),
    StreamState.SUSPECTED: Badge("Suspected", "warn", "question"),
    StreamState.PAGED: Badge("Worse", "bad", "alert"),
}

GUARDS = {
    GuardKind.PROMPT_CONFOUNDED: "Prompt changed with the model",
    GuardKind.EVALUATOR_CONFOUNDED: "Evaluator differs between the arms",
    GuardKind.COHORT_NOT_SHARED: "Cohorts not shared by the arms",
    GuardKind.SAMPLING_DIFFERS: "Sampling rule differs between the arms",
    GuardKind.LITTLE_OVERLAP: "Little overlap",
    GuardKind.SAMPLE_RATIO: "Traffic split is not the declared one",
    GuardKind.SPLIT_UNKNOWN: "Traffic split not declared",
    GuardKind.COVERAGE: "Verdicts missing unevenly",
    GuardKind.COVARIATE_BALANCE: "Router picks easier items",
    GuardKind.MIX: "Cohort mixes differ",
    GuardKind.LATENESS: "Verdicts arrive late",
}

ALERT_STATES = {
    "pending": Badge("Pending", "note", "wait"),
    "firing": Badge("Firing", "bad", "alert"),
    "acknowledged": Badge("Acknowledged", "warn", "person"),
    "silenced": Badge("Silenced", "note", "mute"),
    "accepted": Badge("Accepted", "note", "check"),
    "resolved": Badge("Resolved", "good", "check"),
}

_METRICS = {
    "thumbs_down": "Thumbs down",
    "correction": "Corrections",
    "escalation": "Escalations",
    "abandonment": "Abandoned",
    "refund": "Refunds",
    "overturn": "Overturned",
    "retry": "Retries",
    "fallback": "Fallbacks",
    "timeout": "Timeouts",
    "error": "Errors",
    "slow": "Slower than the objective",
    "latency_objective": "Slower than the objective",
}


def metric_name(metric: str, evaluator: str = "") -> str:
    """What people call a failure metric: `TaskCompletion failures`, `Escalations`."""
    base = metric.removesuffix("_rate")
    if base == "eval_fail":
        return f"{evaluator} failures"
    name = _METRICS.get(base, base.replace("_", " ").capitalize())
    return f"{name} ({evaluator})" if evaluator else name


def cohort_name(cohort: str) -> str:
    """A cohort as shown; the stream over all cohorts and traces without one have names of their own."""
    return {GLOBAL: "All cohorts", "": "(no cohort)"}.get(cohort, cohort)


def verdict_badge(kind: str) -> Badge:
    """The badge of a verdict's kind; a kind from a newer version is shown as it is."""
    return VERDICTS.get(kind, Badge(kind, "note", "question"))


def alert_badge(state: str) -> Badge:
    """The badge of an alert's state."""
    return ALERT_STATES.get(state, Badge(state, "note", "question"))
