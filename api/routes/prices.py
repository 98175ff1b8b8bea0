"""The price book."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import ValidationError

from analytics.config import PriceConfig
from api.dependencies import Admin, Reader, ServicesDep
from api.documents import to_json
from api.negotiate import TABLE_RESPONSES, FormatQuery, listing
from api.shared import SharedRoute, changing, shared
from api.validation import wrong_fields

router = APIRouter(route_class=SharedRoute, tags=["prices"])


@router.get("/prices", summary="Prices", responses=TABLE_RESPONSES)
@shared
def prices(
    request: Request,
    services: ServicesDep,
    _key: Reader,
    _form: FormatQuery = None,
    history: Annotated[bool, Query(description="every entry, not only those in force")] = True,
) -> Response:
    """The user's own prices; what they do not name is priced by what was charged, then by public list prices."""
    return listing(request, services.prices.prices(with_history=history))


@router.put("/prices", summary="Set a price")
@changing
def set_price(
    services: ServicesDep,
    key: Admin,
    price: Annotated[
        dict[str, Any],
        Body(
            description="the fields of a `[[price]]` entry of the settings",
            examples=[{"model": "llama-4-8b-distilled", "gpu_hour_usd": 2.10, "concurrent_requests": 24}],
        ),
    ],
) -> dict[str, Any]:
    """Put a price into the history from its `effective_from` on. The past is not rewritten unless `reprice` is run."""
    try:
        return dict(to_json(services.prices.set_price(price, key.name)))
    except ValidationError as error:
        raise wrong_fields(error.errors(), lambda _where: list(PriceConfig.model_fields), "no price") from error
