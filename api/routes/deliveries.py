"""Messages to channels: where each stands, and dead letters taken up again; the end of a silence."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from alerts import actions
from api.cursor import decode_cursor, encode_cursor
from api.dependencies import Admin, Reader, ServicesDep
from api.documents import to_json
from api.negotiate import TABLE_RESPONSES, FormatQuery, listing
from api.routes.alerts import AlertId, Note
from api.shared import changing
from api.times import LATEST, parse_time
from storage.deliveries import DeliveryState, read_deliveries

router = APIRouter(tags=["alerts"])


@router.get("/deliveries", summary="Messages to channels", responses=TABLE_RESPONSES)
def deliveries(
    request: Request,
    services: ServicesDep,
    _key: Reader,
    _form: FormatQuery = None,
    state: Annotated[list[DeliveryState] | None, Query(description="all, unless said; `dead` was given up")] = None,
    alert: Annotated[str, Query(max_length=64, description="only this alert's")] = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="at most this many")] = 100,
    cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
) -> Response:
    """Newest first; one row per notice and channel."""
    question = {"state": sorted(state or ()), "alert": alert}
    before = None
    if cursor is not None:
        recorded_at, delivery_id = decode_cursor(cursor, question, (str, str))
        before = parse_time(recorded_at, LATEST, "cursor"), delivery_id
    found = [
        dict(to_json(step))
        for step in read_deliveries(services.store, state or (), alert_id=alert, before=before, limit=limit + 1)
    ]
    page = found[:limit]
    more = len(found) > limit
    following = encode_cursor((page[-1]["recorded_at"], page[-1]["delivery_id"]), question) if more else None
    return listing(request, page, next_cursor=following)


@router.post("/deliveries/{delivery_id}/retry", summary="Retry a dead letter")
@changing
def retry(
    delivery_id: Annotated[str, Path(description="the message's id", max_length=64, examples=["0f1e2d3c4b5a6978"])],
    services: ServicesDep,
    _key: Admin,
) -> dict[str, Any]:
    """It is sent with the alerter's next tick, and tried for another 24 h."""
    return dict(to_json(actions.retry_delivery(services.store, delivery_id, services.wall_clock.now())))


@router.post("/alerts/{alert_id}/unsilence", summary="End a silence")
@changing
def unsilence(alert_id: AlertId, services: ServicesDep, key: Admin, note: Note = Note(note="")) -> dict[str, Any]:
    """Lift the silence of the alert's rollout or rule; what still fires is told at the next tick."""
    actions.unsilence(services.store, alert_id, key.name, note.note, services.wall_clock.now())
    return dict(services.alerts.alert(alert_id))
