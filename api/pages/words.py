"""The words and badges of the pages: what each kind, state and metric is called, never by colour alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alerts.verdict import GLOBAL, GuardKind, Outcome, StreamFinding, StreamState, VerdictKind


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

RISE = Badge("Rise, not paged", "warn", "gauge")
RISE_NOTE = "the range lies above 0, by too little to page"

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

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

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


_JUDGEMENTS = {
    "eval_fail": ("Failed", "Passed"),
    "thumbs_down": ("Thumbs down", "Thumbs up"),
    "correction": ("Corrected", "Not corrected"),
    "escalation": ("Escalated", "Not escalated"),
    "abandonment": ("Abandoned", "Not abandoned"),
    "refund": ("Refunded", "Not refunded"),
    "overturn": ("Overturned", "Upheld"),
}

_FLAGS = {
    "attempt_inferred": "A retry or fallback was concluded; nobody stated it",
    "cost_failed_free": "A refused call counts as free",
    "cost_lower_bound": "A call broke off without usage: the cost is a lower bound",
    "unpriced": "A call has no price",
    "usage_unknown": "Tokens are not known",
    "evaluation_unpriced": "An evaluator's own call has no price",
    "orphan": "A parent span is missing",
    "parent_cycle": "Spans name each other as parents",
    "no_root": "The root span is missing",
    "route_derived": "The route comes from the configured table of models",
    "model_mismatch": "Another model answered than was asked for",
    "told_twice": "Two spans tell of the same call",
    "aggregate_uncovered": "A parent span reports more tokens than its children",
    "evaluator_only": "Only an evaluator's own calls were seen",
}


def judgement_badge(metric: str, failed: bool | None, *, has_error: bool) -> Badge:
    """An evaluation or feedback, as the metrics count it."""
    if has_error:
        return Badge("Evaluator broke", "warn", "question")
    if failed is None:
        return Badge("No verdict", "note", "question")
    happened, not_happened = _JUDGEMENTS.get(metric, ("Failed", "Passed"))
    return Badge(happened, "bad", "cross") if failed else Badge(not_happened, "good", "check")


def is_no_failure(evaluation: Mapping[str, Any]) -> bool:
    """Orders evaluations: what failed is what one comes for."""
    return evaluation["failed"] is not True


def flag_text(flag: str) -> str:
    """A data-quality flag in words; one of a newer version is shown as it is."""
    return _FLAGS.get(flag, flag.replace("_", " "))


def metric_name(metric: str, evaluator: str = "") -> str:
    """What people call a failure metric: `TaskCompletion failures`, `Escalations`."""
    base = metric.removesuffix("_rate")
    if base == "eval_fail":
        return f"{evaluator} failures"
    name = _METRICS.get(base, base.replace("_", " ").capitalize())
    return f"{name} ({evaluator})" if evaluator else name


def stream_badge(stream: StreamFinding) -> Badge:
    """
    The state of a stream.

    A page needs a rise of at least `alerts.method.effect_floor`, and more evidence than a range does. A stream whose range
    lies above 0 all the same pages nobody, but "no harm seen" would be untrue of it.
    """
    is_above = stream.interval is not None and stream.interval.low > 0
    return RISE if is_above and stream.state == StreamState.NO_HARM_SEEN else STATES[stream.state]


def stream_name(stream_id: str) -> str:
    """A stream by its id (`metric/cohort` or `metric/evaluator/cohort`): `Fallbacks, all cohorts`."""
    metric, _, rest = stream_id.partition("/")
    evaluator, _, cohort = rest.rpartition("/")
    return f"{metric_name(metric, evaluator)}, {in_cohort(cohort)}"


def in_cohort(cohort: str) -> str:
    """A cohort within a sentence."""
    return "all cohorts" if cohort == GLOBAL else cohort_name(cohort)


def without_kind(headline: str, kind: str, service: str) -> str:
    """A page's headline where a badge beside it says the kind, and the page the service."""
    words = kind.replace("_", " ").upper()
    return headline.removeprefix(words).lstrip().removeprefix(f"{service}:").lstrip() or headline


def typeset(text: str) -> str:
    """A sentence that also goes into terminals and messages, with the signs that print has for it."""
    text = re.sub(r"(?<![^\s(])-(?=\d)", "\u2212", text)
    text = re.sub(r"(?<=\d)x(?=[\s,.;)]|$)", "×", text)
    text = re.sub(r"(?<=\d) (?=(%|pp)(\W|$))", "\u00a0", text)
    return re.sub(r"\b10\^(\d+)", lambda found: "10" + found[1].translate(_RAISED), text)


def cohort_name(cohort: str) -> str:
    """A cohort as shown; the stream over all cohorts and traces without one have names of their own."""
    return {GLOBAL: "All cohorts", "": "(no cohort)"}.get(cohort, cohort)


def verdict_badge(kind: str) -> Badge:
    """The badge of a verdict's kind; a kind from a newer version is shown as it is."""
    return VERDICTS.get(kind, Badge(kind, "note", "question"))


def alert_badge(state: str) -> Badge:
    """The badge of an alert's state."""
    return ALERT_STATES.get(state, Badge(state, "note", "question"))
