"""Is it alive, can it work, and numbers for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from api.dependencies import Reader, ServicesDep
from api.exposition import CONTENT_TYPE, exposition
from api.services import Services
from storage.errors import PermanentError, RetryableError

router = APIRouter(tags=["health"])


@router.get(
    "/healthz", summary="Alive", response_class=PlainTextResponse, responses={200: {"content": {"text/plain": {"example": "ok"}}}}
)
async def healthz() -> str:
    """Answers as long as the process can answer anything. Open to all."""
    return "ok"


@router.get(
    "/readyz",
    summary="Ready to work",
    responses={
        200: {
            "content": {
                "application/json": {
                    "example": {"ready": True, "reasons": {}, "roles": {"analytics": "active", "alerts": "standby"}}
                }
            }
        },
        503: {
            "description": "Not ready; says what is not and why",
            "content": {
                "application/json": {
                    "example": {"ready": False, "reasons": {"collector": "the spool is full"}, "roles": {"collector": "active"}}
                }
            },
        },
    },
)
def readyz(services: ServicesDep) -> Response:
    """
    200 when the store answers and every role of this process can work, else 503 with what is not ready. Open to all.

    `roles` tells the one analytics and the one alerter at work (`active`) from those that wait for the lease (`standby`).
    These are ready too: they take over by themselves.
    """
    reasons = not_ready(services)
    answer = {"ready": not reasons, "reasons": reasons, "roles": dict(services.standing())}
    return JSONResponse(answer, 503 if reasons else 200, headers={"Cache-Control": "no-store"})


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"example": "spanwise_up 1\n"}}}},
)
def metrics(services: ServicesDep, _key: Reader) -> Response:
    """Process, ingest ledger, spool, jobs, verdicts and deliveries in Prometheus text format. Scope `read` once keys exist."""
    return Response(exposition(services), media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})


def not_ready(services: Services) -> dict[str, str]:
    """What cannot work now, and why."""
    reasons: dict[str, str | None] = {"store": _store(services)}
    if services.collector is not None:
        reasons["collector"] = services.collector.not_ready()
    if services.jobs is not None:
        reasons["jobs"] = services.jobs.not_ready()
    return {name: reason for name, reason in reasons.items() if reason}


def _store(services: Services) -> str | None:
    try:
        services.store.frame("SELECT 1 AS one", settings={"max_execution_time": 5})
    except (PermanentError, RetryableError) as error:
        return str(error)
    return None
