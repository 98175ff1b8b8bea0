"""`/rollouts/{name}/pairs`: what the candidate got wrong beside what the baseline got right, to be read by people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from analytics.series import read_series
from api import format as formats
from api.dependencies import Reader, ServicesDep
from api.pages.content import Conversation, conversation_of
from api.pages.rendering import link, render, segment
from api.pages.trace import Judgement, trace_view
from api.pages.words import cohort_name, metric_name
from storage.client import Store
from storage.pairs import PairQuestion, TracePair, read_failing_pairs
from storage.traces import WholeTrace, read_trace

router = APIRouter(include_in_schema=False)

_MAX_PAIRS = 10
_MAX_SPANS = 200
_WINDOW = timedelta(days=14)


@dataclass(frozen=True)
class Side:
    """One arm's trace of a pair."""

    trace_id: str
    href: str
    model: str
    started_at: datetime | None
    cost: str
    duration: str
    conversation: Conversation
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True)
class PairView:
    """One pair; `is_mirrored`: both arms had the same input."""

    cohort: str
    is_mirrored: bool
    candidate: Side
    baseline: Side


@dataclass(frozen=True)
class CohortChoice:
    """A cohort to look at."""

    name: str
    href: str
    is_current: bool


@dataclass(frozen=True)
class PairsView:
    """The pairs, mirrored first."""

    rollout: str
    rollout_href: str
    metric: str
    baseline: str
    candidate: str
    cohort: str
    choices: tuple[CohortChoice, ...]
    pairs: tuple[PairView, ...]
    failing_href: str


@router.get("/rollouts/{name:path}/pairs")
def pairs_page(
    request: Request,
    name: str,
    services: ServicesDep,
    _key: Reader,
    cohort: str | None = None,
    metric: str = "eval_fail",
    evaluator: str = "",
) -> HTMLResponse:
    """Failing pairs of one cohort (all without `cohort`) under one metric."""
    rollout = services.alerts.rollout(name)
    now = services.clock.now()
    question = PairQuestion(
        service_name=rollout["service"],
        environment=rollout.get("environment") or "",
        baseline=rollout["baseline"],
        candidate=rollout["candidate"],
        cohort=cohort,
        metric=metric.removesuffix("_rate"),
        evaluator=evaluator,
        since=now - _WINDOW,
        until=now,
    )
    found = read_failing_pairs(services.store, question, _MAX_PAIRS)
    pairs = [pair for pair in (_pair(services.store, pair) for pair in found) if pair]
    query = {"metric": metric, "evaluator": evaluator}
    path = f"/rollouts/{segment(name)}"
    cohorts = [None, *_cohorts(services.store, question)]
    view = PairsView(
        rollout=name,
        rollout_href=path,
        metric=metric_name(metric, evaluator) if evaluator or metric != "eval_fail" else "Any evaluator's failures",
        baseline=rollout["baseline"],
        candidate=rollout["candidate"],
        cohort="" if cohort is None else cohort_name(cohort),
        choices=tuple(
            CohortChoice(
                "All cohorts" if c is None else cohort_name(c), link(f"{path}/pairs", query | {"cohort": c or ""}), c == cohort
            )
            for c in cohorts
        ),
        pairs=tuple(pairs),
        failing_href=link("/traces", {"service": rollout["service"], "route": rollout["candidate"], "cohort": cohort or ""}),
    )
    return render(request, "pairs.html", view, active="/")


def _cohorts(store: Store, question: PairQuestion) -> list[str]:
    """The candidate's cohorts, by traffic."""
    filters = {"service": [question.service_name], "route": [question.candidate]}
    traffic = read_series(store, "throughput", question.since, question.until, None, ["cohort"], filters).frame
    found: list[str] = traffic.sort("n_traces", "cohort", descending=[True, False])["cohort"].to_list()
    named = [cohort for cohort in found if cohort]
    if question.cohort and question.cohort not in named:
        named.append(question.cohort)
    return named


def _pair(store: Store, pair: TracePair) -> PairView | None:
    """None when either trace is past its retention."""
    candidate = read_trace(store, pair.candidate_trace_id, _MAX_SPANS)
    baseline = read_trace(store, pair.baseline_trace_id, _MAX_SPANS)
    if candidate is None or baseline is None:
        return None
    return PairView(cohort_name(pair.cohort), pair.is_mirrored, _side(candidate), _side(baseline))


def _side(trace: WholeTrace) -> Side:
    view = trace_view(trace, "")
    fact = trace.facts.row(0, named=True) if len(trace.facts) else {}
    return Side(
        trace_id=trace.trace_id,
        href=view.base,
        model=fact.get("model", ""),
        started_at=view.started_at,
        cost=formats.money(fact.get("cost_usd")),
        duration=formats.duration(fact.get("duration_ns")),
        conversation=view.detail.conversation if view.detail else conversation_of({}),
        judgements=view.judgements,
    )
