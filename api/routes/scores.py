"""Evaluations and feedback, posted."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from api.dependencies import Sender, ServicesDep
from api.documents import to_json
from api.problems import absent_role

router = APIRouter(tags=["scores"])

_EXAMPLE: JsonDict = {
    "scores": [
        {"trace_id": "0af7651916cd43dd8448eb211c80319c", "name": "TaskCompletion", "passed": False, "annotator_kind": "model"},
        {"session_id": "session-17", "name": "thumbs", "label": "down", "annotator_kind": "user"},
    ]
}


class Scores(BaseModel):
    """A batch of judgements; `collector/scores.py` says what one may hold."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    scores: Annotated[
        list[dict[str, Any]],
        Field(min_length=1, max_length=10_000, description="judgements of spans, traces, sessions or responses"),
    ]


class RejectedScore(BaseModel):
    """Which score was refused, by position, and why."""

    index: int
    errors: list[str]


class ScoreReceipt(BaseModel):
    """What became of a batch."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"n_received": 2, "n_accepted": 2, "rejected": []}]})

    n_received: int
    n_accepted: int
    rejected: list[RejectedScore]


@router.post(
    "/scores", summary="Post scores", response_model=ScoreReceipt, responses={422: {"description": "None of them was accepted"}}
)
def scores(services: ServicesDep, key: Sender, batch: Scores, response: Response) -> Any:
    """
    Durable when this answers. A score is refused alone, never its neighbours; 422 when all of them were. The same target,
    name and `identifier` replace the earlier score; without identifier the same judgement twice in a minute is one.
    """
    if services.collector is None:
        raise absent_role("collector", "taking scores")
    receipt = to_json(services.collector.accept_scores(batch.scores, key.key_id))
    response.status_code = 422 if receipt["n_accepted"] == 0 else 200
    return receipt
