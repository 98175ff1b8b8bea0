"""Data health: the ingest ledger, quarantine, what is missing or strange, values to filter by, and the settings in force."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import Admin, Reader, ServicesDep
from api.documents import to_items
from api.negotiate import TABLE_RESPONSES, Format, FormatQuery, table
from api.problems import absent_role, bad_value
from api.quality import Report, read_report
from api.services import Services
from api.shared import SharedRoute, changing, shared
from api.times import Window, parse_step, parse_window
from storage.ledger_report import read_ledger_balance, read_ledger_rows
from storage.quality import facet_names, read_facet
from storage.quarantine import read_quarantine

router = APIRouter(route_class=SharedRoute, tags=["data health"])

_ACTED: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"example": {"quarantine_id": "5b1c", "action": "retry", "n_items": 12}}}}
}


class WindowQuery(BaseModel):
    """A range of time."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: str = Field("-24h", alias="from", max_length=64, description="RFC 3339 or relative (-24h); in the range")
    end: str = Field("now", alias="to", max_length=64, description="RFC 3339 or relative; not in the range")
    format: Format | None = Field(None, description="instead of an Accept header, for links")

    def window(self, services: Services) -> Window:
        return parse_window(self.start, self.end, services.clock.now())


class LedgerQuery(WindowQuery):
    """A range of arrival time, cut into steps."""

    step: str | None = Field(None, max_length=32, description="whole minutes (1m, 1h, 1d); absent: one sum for the whole range")

    def window(self, services: Services) -> Window:
        # the ledger counts by arrival, which is on the wall clock
        return parse_window(self.start, self.end, services.wall_clock.now())


class FacetQuery(WindowQuery):
    """A dimension and a range."""

    dimension: str = Field("cohort", max_length=40, description=f"one of {', '.join(facet_names())}")


# not shared: who asks whether all is written wants to know it now
@router.get("/ledger", summary="Ingest ledger", responses=TABLE_RESPONSES)
def ledger(request: Request, services: ServicesDep, _key: Reader, query: Annotated[LedgerQuery, Query()]) -> Response:
    """
    What became of every item that arrived, per signal and API key: received = accepted + rejected, accepted = written +
    pending + quarantined + masked_out (left out by a masking rule or, for logs, as no evaluation); superseded is resent spans
    merged away. Undecodable, pushed back (come again later) and refused (no key, too large, not OTLP) are requests. `balance`
    is the same summed up per signal.
    """
    window = query.window(services)
    step = parse_step(query.step) if query.step is not None else None
    balance = to_items(read_ledger_balance(services.store, window.start, window.end))
    return table(request, read_ledger_rows(services.store, window.start, window.end, step), extra={"balance": balance})


@router.get("/quarantine", summary="Quarantined requests", responses=TABLE_RESPONSES)
def quarantine(
    request: Request,
    services: ServicesDep,
    _key: Reader,
    _form: FormatQuery = None,
    state: Annotated[str, Query(max_length=20, description="held, retried or dropped; absent: all")] = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="at most this many")] = 100,
) -> Response:
    """Requests the store refused, newest first, with the reason; their bytes are kept for `spanwise quarantine retry`."""
    return table(request, read_quarantine(services.store, state, limit))


@router.post("/quarantine/{quarantine_id}/{action}", summary="Retry or drop a quarantined request", responses=_ACTED)
@changing
def act_on_quarantined(
    quarantine_id: Annotated[str, Path(max_length=64, description="the held request's id")],
    action: Annotated[Literal["retry", "drop"], Path(description="send it through again, or give it up")],
    services: ServicesDep,
    _key: Admin,
) -> dict[str, Any]:
    """What is refused again is held again under a new id; what is dropped loses its bytes and stays counted."""
    if services.collector is None:
        raise absent_role("collector", "retrying and dropping")
    change = services.collector.retry_quarantined if action == "retry" else services.collector.drop_quarantined
    return {"quarantine_id": quarantine_id, "action": action, "n_items": change(quarantine_id)}


@router.get(
    "/quality",
    summary="Data quality",
    responses={
        200: {"content": {"application/json": {"example": {"coverage": [], "unpriced_models": [], "unmapped_attributes": []}}}}
    },
)
@shared
def quality(
    request: Request,  # noqa: ARG001 # whose address `shared` keeps the answer by
    services: ServicesDep,
    _key: Reader,
    query: Annotated[WindowQuery, Query()],
) -> JSONResponse:
    """
    Coverage by route, unpriced models, unmapped attributes (of a sample), quality flags, late verdicts, evaluations whose target
    has not arrived, traces set aside, rollouts that an error of their own keeps from being judged or counting all rows.
    """
    window = query.window(services)
    return JSONResponse({report.value: to_items(read_report(services.store, report, window)) for report in Report})


@router.get("/quality/{report}", summary="One table of data quality", responses=TABLE_RESPONSES)
@shared
def quality_report(
    request: Request,
    report: Annotated[Report, Path(description="which table")],
    services: ServicesDep,
    _key: Reader,
    query: Annotated[WindowQuery, Query()],
) -> Response:
    """One field of `GET /api/v1/quality`, in every format."""
    return table(request, read_report(services.store, report, query.window(services)))


@router.get("/facets", summary="Values to filter by", responses=TABLE_RESPONSES)
@shared
def facets(request: Request, services: ServicesDep, _key: Reader, query: Annotated[FacetQuery, Query()]) -> Response:
    """Values of one dimension that occurred in the range, most frequent first."""
    if query.dimension not in facet_names():
        raise bad_value("dimension", query.dimension, f"one of {', '.join(facet_names())}")
    window = query.window(services)
    return table(request, read_facet(services.store, query.dimension, window.start, window.end))


@router.get(
    "/settings",
    summary="Settings in force",
    responses={200: {"content": {"application/json": {"example": {"roles": ["api"], "version": "0.1.0", "settings": {}}}}}},
)
def settings(services: ServicesDep, _key: Reader) -> dict[str, Any]:
    """What this process runs with. Secrets are masked, so a key that reads may see it."""
    return {"roles": sorted(services.roles), "version": services.version, "settings": dict(services.settings)}
