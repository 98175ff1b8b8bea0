"""Alerts and what a person does about them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.cursor import decode_cursor, encode_cursor
from api.dependencies import Admin, Reader, ServicesDep
from api.negotiate import TABLE_RESPONSES, FormatQuery, listing
from api.problems import bad_value, not_given
from api.shared import SharedRoute, changing, shared
from api.times import parse_duration, parse_time

router = APIRouter(route_class=SharedRoute, tags=["alerts"])

AlertId = Annotated[str, Path(description="the alert's id", max_length=64, examples=["a1b2c3d4e5f60718"])]
State = Literal["pending", "firing", "acknowledged", "silenced", "accepted", "resolved", "all"]


class Note(BaseModel):
    """A word with an acknowledgement."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"note": "looking at it"}]})

    note: str = Field("", max_length=2000, description="anything worth keeping")


class Reason(BaseModel):
    """Why the harm is taken."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "known limit of the student, agreed with support"}]}
    )

    reason: str = Field(min_length=1, max_length=2000, description="why")


class Silencing(BaseModel):
    """How long nothing is to be said, and why. Either `until` or `for`."""

    model_config = ConfigDict(
        extra="forbid", populate_by_name=True, json_schema_extra={"examples": [{"for": "4h", "reason": "provider incident"}]}
    )

    reason: str = Field(min_length=1, max_length=2000, description="why")
    until: str | None = Field(None, max_length=64, description="a time (RFC 3339)")
    length: str | None = Field(None, alias="for", max_length=32, description="a duration such as 4h or 2d")


@router.get("/alerts", summary="Alerts", responses=TABLE_RESPONSES)
@shared
def alerts(
    request: Request,
    services: ServicesDep,
    _key: Reader,
    _form: FormatQuery = None,
    state: Annotated[list[State] | None, Query(description="firing and acknowledged, unless said; `all` for every state")] = None,
    rollout: Annotated[str, Query(max_length=200, description="only this rollout's")] = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="at most this many")] = 100,
    cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
) -> Response:
    """Newest first."""
    wanted = [] if state and "all" in state else list(state or ("firing", "acknowledged"))
    question = {"state": sorted(wanted), "rollout": rollout}
    found = list(services.alerts.alerts(wanted, rollout))
    if rollout and not found:
        # one that nobody knows is a misspelt one; alerts of one that is not declared any more are still found
        services.alerts.rollout(rollout)
    if cursor is not None:
        opened_at, alert_id = decode_cursor(cursor, question, (str, str))
        found = [item for item in found if (item["opened_at"], item["alert_id"]) < (opened_at, alert_id)]
    page = found[:limit]
    more = len(found) > limit
    following = encode_cursor((page[-1]["opened_at"], page[-1]["alert_id"]), question) if more else None
    return listing(request, page, next_cursor=following)


@router.get(
    "/alerts/{alert_id}",
    summary="One alert",
    responses={200: {"content": {"application/json": {"example": {"alert_id": "a1b2c3d4e5f60718", "state": "firing"}}}}},
)
def alert(alert_id: AlertId, services: ServicesDep, _key: Reader) -> dict[str, Any]:
    """What was said, to whom, and what came of it."""
    return dict(services.alerts.alert(alert_id))


@router.post("/alerts/{alert_id}/acknowledge", summary="Acknowledge")
@changing
def acknowledge(alert_id: AlertId, services: ServicesDep, key: Admin, note: Note = Note(note="")) -> dict[str, Any]:
    """Somebody is on it: no more reminders; what joins later is still told."""
    return dict(services.alerts.acknowledge(alert_id, key.name, note.note))


@router.post("/alerts/{alert_id}/silence", summary="Silence")
@changing
def silence(alert_id: AlertId, services: ServicesDep, key: Admin, silencing: Silencing) -> dict[str, Any]:
    """Say nothing about the alert's rollout or rule for a while."""
    now = services.wall_clock.now()
    if silencing.until is None and silencing.length is None:
        raise not_given("for or until", "how long nothing is to be said")
    if silencing.until is not None and silencing.length is not None:
        raise bad_value("until", silencing.until, f"given together with for={silencing.length!r}: one of the two")
    until = now + parse_duration(silencing.length, "for") if silencing.length else parse_time(str(silencing.until), now, "until")
    return dict(services.alerts.silence(alert_id, key.name, silencing.reason, until))


@router.post("/alerts/{alert_id}/accept", summary="Accept")
@changing
def accept(alert_id: AlertId, services: ServicesDep, key: Admin, reason: Reason) -> dict[str, Any]:
    """The harm is known and taken: the alert closes, and its streams never page again in this comparison."""
    return dict(services.alerts.accept(alert_id, key.name, reason.reason))


@router.get("/silences", summary="Silences in force", responses=TABLE_RESPONSES)
@shared
def silences(request: Request, services: ServicesDep, _key: Reader, _form: FormatQuery = None) -> Response:
    """Who silenced what, until when, and why."""
    return listing(request, services.alerts.silences())
