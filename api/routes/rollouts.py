"""Rollouts, their scorecards and verdicts, and the gate."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import Admin, Reader, ServicesDep
from api.documents import to_json
from api.negotiate import (
    TABLE_RESPONSES,
    Format,
    FormatQuery,
    choose,
    flat_columns,
    listing,
    table,
    whole_or_rows,
    with_example,
)
from api.pairs import failing_pairs, question_of
from api.services import Document
from api.shared import SharedRoute, changing, shared
from api.times import LATEST
from storage.verdicts import read_verdict_history

router = APIRouter(route_class=SharedRoute, tags=["rollouts"])

Name = Annotated[str, Path(description="the rollout's name", max_length=200, examples=["refund-student"])]

_VERDICT = {
    "rollout": "refund-student",
    "kind": "divergence",
    "reasons": ["student is cheaper but worse on regulated_answer"],
    "streams": [],
    "cost": None,
    "guards": [],
    "unknown": [],
    "gate": "fail",
    "as_of": "2026-03-14T10:00:00.000000000Z",
}


_SIDE = {
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "model": "student-8b-v1",
    "cost_usd": 0.0056,
    "prompt": [],
    "completion": [],
}
_PAIR = {"cohort": "regulated_answer", "is_mirrored": True, "candidate": _SIDE, "baseline": _SIDE}


class ScorecardPart(StrEnum):
    """The lists of a scorecard."""

    ROWS = "rows"
    COST = "cost"
    MIX = "mix"
    GUARDS = "guards"
    LATENCY = "latency"
    SCORES = "scores"
    UNKNOWN = "unknown"
    SERIES = "series"


class Ending(BaseModel):
    """Why a rollout is over."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "promoted", "rolled_back": False}]})

    reason: str = Field("", max_length=2000, description="why")
    rolled_back: bool = Field(False, description="the candidate was taken out of traffic")


@router.get("/rollouts", summary="All rollouts", responses=TABLE_RESPONSES)
@shared
def rollouts(request: Request, services: ServicesDep, _key: Reader, _form: FormatQuery = None) -> Response:
    """Declared in the settings or over the API, or discovered from traffic; ended ones too."""
    return listing(request, services.alerts.rollouts())


@router.get(
    "/rollouts/{name}",
    summary="One rollout",
    responses={200: {"content": {"application/json": {"example": {"name": "refund-student", "service": "support-agent"}}}}},
)
def rollout(name: Name, services: ServicesDep, _key: Reader) -> dict[str, Any]:
    """What was declared: routes, gates, high-value cohorts, planned length."""
    return dict(services.alerts.rollout(name))


@router.put("/rollouts/{name}", summary="Declare a rollout")
@changing
def declare(
    name: Name,
    services: ServicesDep,
    key: Admin,
    declaration: Annotated[
        dict[str, Any],
        Body(
            description="the fields of a `[[rollout]]` entry of the settings, without the name",
            examples=[{"service": "support-agent", "baseline": "teacher", "candidate": "student"}],
        ),
    ],
) -> dict[str, Any]:
    """Declare a rollout, or change one. Changing a threshold opens a new comparison: one moved after looking is none."""
    return dict(services.alerts.declare_rollout(name, declaration, key.name))


@router.post("/rollouts/{name}/end", summary="End a rollout")
@changing
def end(name: Name, services: ServicesDep, key: Admin, ending: Ending) -> dict[str, Any]:
    """Stop judging it; its open alerts are resolved at the next tick."""
    return dict(services.alerts.end_rollout(name, key.name, ending.reason, rolled_back=ending.rolled_back))


@router.get(
    "/rollouts/{name}/scorecard",
    summary="Scorecard",
    responses=with_example({"rollout": "refund-student", "rows": []}),
)
@shared
def scorecard(request: Request, name: Name, services: ServicesDep, _key: Reader, _form: FormatQuery = None) -> Response:
    """
    Per cohort and metric: both arms, difference with its any-time range, counts, coverage, state. 404 before one began.

    CSV, Arrow and Parquet hold `rows`, with `baseline.n_units` and the like as columns of their own.
    """
    card = services.alerts.scorecard(name)
    return whole_or_rows(request, card, lambda: listing(request, [flat_columns(row) for row in card["rows"]]))


@router.get("/rollouts/{name}/scorecard/{part}", summary="One table of the scorecard", responses=TABLE_RESPONSES)
@shared
def scorecard_part(
    request: Request,
    name: Name,
    part: Annotated[ScorecardPart, Path(description="which table")],
    services: ServicesDep,
    _key: Reader,
    _form: FormatQuery = None,
) -> Response:
    """
    One list of the scorecard in every format, each as the page shows it. `cost` has the row over all cohorts first; `series` is
    every difference as it was known at the end of each day.
    """
    rows = scorecard_rows(services.alerts.scorecard(name), part)
    return listing(request, rows if choose(request) is Format.JSON else [flat_columns(row) for row in rows])


@router.get(
    "/rollouts/{name}/verdict", summary="Verdict", responses={200: {"content": {"application/json": {"example": _VERDICT}}}}
)
def verdict(name: Name, services: ServicesDep, _key: Reader) -> dict[str, Any]:
    """
    The one answer: `collecting`, `win`, `no_harm_seen`, `divergence`, `quality_regression`, `operations_regression` or
    `bundle_regression`, with what decided it and what is not known.
    """
    return dict(services.alerts.verdict(name))


@router.get("/rollouts/{name}/verdicts", summary="Verdict history", responses=TABLE_RESPONSES)
@shared
def verdicts(
    request: Request,
    name: Name,
    services: ServicesDep,
    _key: Reader,
    _form: FormatQuery = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="at most this many")] = 100,
) -> Response:
    """Each time the verdict changed, newest first."""
    services.alerts.rollout(name)
    return table(request, read_verdict_history(services.store, name, LATEST, limit))


@router.get(
    "/rollouts/{name}/pairs",
    summary="Failing pairs",
    responses={
        200: {"content": {**TABLE_RESPONSES[200]["content"], "application/json": {"example": {"items": [_PAIR], "next": None}}}}
    },
)
@shared
def pairs(
    request: Request,
    name: Name,
    services: ServicesDep,
    _key: Reader,
    _form: FormatQuery = None,
    cohort: Annotated[str | None, Query(max_length=200, description="one cohort; absent: all")] = None,
    metric: Annotated[str, Query(max_length=100, description="what the candidate failed", examples=["eval_fail"])] = "eval_fail",
    evaluator: Annotated[str, Query(max_length=200, description="by this evaluator; absent: by any")] = "",
    limit: Annotated[int, Query(ge=1, le=100, description="at most this many")] = 10,
) -> Response:
    """
    Examples of the last 14 days to be read by people: a trace of the candidate that failed, beside one of the baseline that
    passed, with prompt and completion where they are kept. Mirrored pairs had the same input and come first; the others are of
    the same cohort. They were chosen because they failed: counts are on the scorecard.
    """
    question = question_of(services.alerts.rollout(name), services, cohort, metric, evaluator)
    found = failing_pairs(services, question, limit)
    if choose(request) is not Format.JSON:
        found = [flat_columns(pair) for pair in found]
    return listing(request, found)


@router.get(
    "/gate/{name}",
    summary="Gate",
    responses={
        200: {
            "content": {
                "application/json": {
                    "example": {"rollout": "refund-student", "gate": "undetermined", "reasons": [], "checks": []}
                }
            }
        }
    },
)
@shared
def gate(
    request: Request,  # noqa: ARG001 # whose address `shared` keeps the answer by
    name: Name,
    services: ServicesDep,
    _key: Reader,
    on: Annotated[Literal["live", "experiment"], Query(description="live traffic, or paired golden-set runs")] = "live",
) -> Response:
    """`pass`, `fail` or `undetermined`, with a reason for every check. The status is 200 for all three: read `gate`."""
    return JSONResponse(to_json(services.alerts.gate(name, on)))


def scorecard_rows(card: Document, part: ScorecardPart) -> Sequence[Document]:
    """The rows of one list of a scorecard."""
    if part is ScorecardPart.COST:
        cost = card["cost"]
        return [cost["overall"], *cost["cohorts"]] if cost else []
    if part is ScorecardPart.LATENCY:
        return [_by_quantile(row) for row in card["latency"]]
    rows: Sequence[Document] = card[part.value]
    return rows


def _by_quantile(row: Document) -> Document:
    """A cohort's latency with its quantiles by name, `{"baseline": {"p50": ...}}`: what flattens to columns."""
    arms = {arm: {f"p{quantile['quantile'] * 100:g}": quantile for quantile in row[arm]} for arm in ("baseline", "candidate")}
    return {**row, **arms}
