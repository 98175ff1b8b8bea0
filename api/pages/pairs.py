"""`/rollouts/{name}/pairs`: what the candidate got wrong beside what the baseline got right, to be read by people."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import TypeAdapter

from api import format as formats
from api.dependencies import Reader, ServicesDep
from api.pages.rendering import link, render, segment
from api.pages.waterfall import bounded_money
from api.pages.words import Badge, cohort_name, is_no_failure, judgement_badge, metric_name
from api.pairs import failing_pairs, question_of
from api.services import Document
from api.shared import SharedRoute, shared
from storage.pairs import read_cohorts

router = APIRouter(route_class=SharedRoute, include_in_schema=False)

# both conversations of a pair are long: a few are read first
_FIRST_PAIRS, _MAX_PAIRS = 5, 20
_TIME: TypeAdapter[datetime | None] = TypeAdapter(datetime | None)


@dataclass(frozen=True)
class Judgement:
    """One evaluation of a side, as the metrics count it."""

    name: str
    badge: Badge
    score: str
    explanation: str


@dataclass(frozen=True)
class Side:
    """One arm's trace of a pair."""

    trace_id: str
    href: str
    model: str
    started_at: datetime | None
    cost: str
    duration: str
    conversation: tuple[tuple[str, tuple[str, ...]], ...]
    has_words: bool
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
    """The pairs, mirrored first; `is_outdated`: a reader who looks at others should know of these."""

    rollout: str
    rollout_href: str
    metric: str
    baseline: str
    candidate: str
    cohort: str
    choices: tuple[CohortChoice, ...]
    pairs: tuple[PairView, ...]
    # '': there are no more, or no more are shown
    more_href: str
    failing_href: str
    href: str
    is_outdated: bool
    api: str


@router.get("/rollouts/{name:path}/pairs")
@shared
def pairs_page(
    request: Request,
    name: str,
    services: ServicesDep,
    _key: Reader,
    cohort: str | None = None,
    metric: str = "eval_fail",
    evaluator: str = "",
    shown: str = "",
    most: Annotated[int, Query(ge=1, le=_MAX_PAIRS)] = _FIRST_PAIRS,
) -> HTMLResponse:
    """At most so many failing pairs of one cohort or all, under one metric; `shown` is the `_digest` of what a reader sees."""
    rollout = services.alerts.rollout(name)
    question = question_of(rollout, services, cohort, metric, evaluator)
    query = {"metric": metric, "evaluator": evaluator}
    path = f"/rollouts/{segment(name)}"
    key = ("cohorts", question.service_name, question.candidate)
    with ThreadPoolExecutor(1) as beside:
        found = beside.submit(services.kept.get, key, lambda: read_cohorts(services.store, question))
        pairs = failing_pairs(services, question, most)
        cohorts: list[str | None] = [None, *found.result()]
    if cohort and cohort not in cohorts:
        cohorts.append(cohort)
    few = query | {"cohort": cohort}
    here, digest = few if most == _FIRST_PAIRS else few | {"most": most}, _digest(pairs)
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
        pairs=tuple(_pair(pair) for pair in pairs),
        # each of them is shown unless a trace of it is gone
        more_href=link(f"{path}/pairs", few | {"most": _MAX_PAIRS}) if most < _MAX_PAIRS and len(pairs) == most else "",
        api=link(f"/api/v1{path}/pairs", query | {"cohort": cohort}),
        failing_href=link("/traces", {"service": rollout["service"], "route": rollout["candidate"], "cohort": cohort or ""}),
        href=link(f"{path}/pairs", here),
        is_outdated=shown not in ("", digest),
    )
    # what somebody reads is not moved away: the page says that there are newer ones
    refresh = link(f"{path}/pairs", here | {"shown": shown or digest})
    return render(request, "pairs.html", view, active="/", live=True, refresh=refresh)


def _digest(pairs: Sequence[Document]) -> str:
    """Tells one set of pairs from another."""
    ids = " ".join(sorted(f"{pair['candidate']['trace_id']} {pair['baseline']['trace_id']}" for pair in pairs))
    return hashlib.sha256(ids.encode()).hexdigest()[:16]


def _pair(pair: Document) -> PairView:
    return PairView(cohort_name(pair["cohort"]), pair["is_mirrored"], _side(pair["candidate"]), _side(pair["baseline"]))


def _side(side: Document) -> Side:
    return Side(
        trace_id=side["trace_id"],
        href=f"/traces/{segment(side['trace_id'])}",
        model=side["model"],
        started_at=_TIME.validate_python(side["started_at"]),
        cost=bounded_money(side),
        duration=formats.duration(side["duration_ns"]),
        conversation=tuple(
            (title, tuple(message["text"] for message in side[part]))
            for title, part in (("Prompt", "prompt"), ("Completion", "completion"))
        ),
        has_words=bool(side["prompt"] or side["completion"]),
        judgements=tuple(_judgement(evaluation) for evaluation in sorted(side["evaluations"], key=is_no_failure)),
    )


def _judgement(row: Document) -> Judgement:
    return Judgement(
        name=row["name"],
        badge=judgement_badge(row["metric"] or "", row["failed"], has_error=bool(row["evaluator_error"])),
        score=formats.score(row["score"]) if row["score"] is not None else "",
        explanation=row["explanation"] or row["evaluator_error"],
    )
