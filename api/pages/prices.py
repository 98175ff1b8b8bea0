"""`/prices`: the user's own prices with their history, and a form that adds one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import TypeAdapter, ValidationError

from api import format as formats
from api.dependencies import Admin, Reader, ServicesDep
from api.pages.rendering import render, see
from api.services import Document, Services
from api.shared import SharedRoute, changing, shared
from api.validation import wrong_fields
from storage.api_keys import Scope

router = APIRouter(route_class=SharedRoute, include_in_schema=False)

_TIME: TypeAdapter[datetime | None] = TypeAdapter(datetime | None)
_RATES = {
    "input_usd_per_mtok": "input",
    "output_usd_per_mtok": "output",
    "cache_read_usd_per_mtok": "cache read",
    "cache_write_usd_per_mtok": "cache write",
    "reasoning_usd_per_mtok": "reasoning",
    "audio_input_usd_per_mtok": "audio in",
    "audio_output_usd_per_mtok": "audio out",
}


@dataclass(frozen=True)
class PriceLine:
    """One entry of the history."""

    model: str
    provider: str
    effective_from: datetime | None
    rates: tuple[str, ...]
    author: str
    recorded_at: datetime | None
    is_current: bool


@dataclass(frozen=True)
class PricesView:
    """The history, newest entry of each model first; `form`: what was typed, when it was refused."""

    lines: tuple[PriceLine, ...]
    can_add: bool
    message: str
    error: str
    form: dict[str, str]


@router.get("/prices")
@shared
def prices_page(request: Request, services: ServicesDep, key: Reader, done: str = "") -> HTMLResponse:
    """The price history."""
    message = "The price is in the book; it counts for calls from its start on." if done else ""
    return _page(request, services, key.allows(Scope.ADMIN), message=message)


@router.post("/prices")
@changing
def add_price(
    request: Request,
    services: ServicesDep,
    key: Admin,
    model: Annotated[str, Form(max_length=200)] = "",
    provider: Annotated[str, Form(max_length=200)] = "",
    effective_from: Annotated[str, Form(max_length=40)] = "",
    input_usd_per_mtok: Annotated[str, Form(max_length=30)] = "",
    output_usd_per_mtok: Annotated[str, Form(max_length=30)] = "",
    cache_read_usd_per_mtok: Annotated[str, Form(max_length=30)] = "",
    request_usd: Annotated[str, Form(max_length=30)] = "",
    gpu_hour_usd: Annotated[str, Form(max_length=30)] = "",
    concurrent_requests: Annotated[str, Form(max_length=30)] = "",
) -> Response:
    """Add a price; what is no price comes back with what was typed."""
    typed = {
        "model": model,
        "provider": provider,
        "effective_from": effective_from,
        "input_usd_per_mtok": input_usd_per_mtok,
        "output_usd_per_mtok": output_usd_per_mtok,
        "cache_read_usd_per_mtok": cache_read_usd_per_mtok,
        "request_usd": request_usd,
        "gpu_hour_usd": gpu_hour_usd,
        "concurrent_requests": concurrent_requests,
    }
    try:
        services.prices.set_price(_price(typed, services.wall_clock.now()), key.name)
    except ValueError as error:
        return _page(request, services, True, error=_reason(error), form=typed, status=422)
    return see("/prices?done=added")


def _page(
    request: Request,
    services: Services,
    can_add: bool,
    *,
    message: str = "",
    error: str = "",
    form: dict[str, str] | None = None,
    status: int = 200,
) -> HTMLResponse:
    lines = price_lines(services.prices.prices(with_history=True), services.wall_clock.now())
    view = PricesView(lines, can_add, message, error, form or {})
    return render(request, "prices.html", view, active="/prices", live=True, status=status)


def price_lines(prices: Any, now: datetime) -> tuple[PriceLine, ...]:
    """The history as lines: by model, newest first; the newest that has begun is the current one."""
    lines: list[PriceLine] = []
    seen: set[tuple[str, str]] = set()
    ordered = sorted(prices, key=lambda price: _since(price), reverse=True)
    for price in sorted(ordered, key=lambda price: (price["model"].lower(), price.get("provider", ""))):
        key = (price["model"].lower(), price.get("provider", ""))
        is_current = key not in seen and _since(price) <= now
        if is_current:
            seen.add(key)
        lines.append(_line(price, is_current))
    return tuple(lines)


def _line(price: Document, is_current: bool) -> PriceLine:
    since = _since(price)
    return PriceLine(
        model=price["model"],
        provider=price.get("provider", ""),
        effective_from=since if since.year > 1970 else None,
        rates=_rates(price),
        author=str(price.get("author", "")),
        recorded_at=_TIME.validate_python(price.get("recorded_at")),
        is_current=is_current,
    )


def _since(price: Document) -> datetime:
    return _TIME.validate_python(price.get("effective_from")) or datetime(1970, 1, 1, tzinfo=UTC)


def _rates(price: Document) -> tuple[str, ...]:
    rates = [f"{_rate(price[key])} per million {word} tokens" for key, word in _RATES.items() if price.get(key) is not None]
    if price.get("request_usd") is not None:
        rates.append(f"{_rate(price['request_usd'])} per request")
    if price.get("gpu_hour_usd") is not None:
        shared = f", shared by {price['concurrent_requests']} requests" if price.get("concurrent_requests") else ""
        rates.append(f"{_rate(price['gpu_hour_usd'])} per GPU hour{shared}")
    return tuple(rates)


def _rate(value: Any) -> str:
    """Dollars as they were typed, with cents at least."""
    whole, _, fraction = format(Decimal(str(value)), ",f").partition(".")
    return f"${whole}.{fraction.rstrip('0'):0<2}"


def _price(typed: dict[str, str], now: datetime) -> dict[str, str]:
    """What was typed as a price document; an empty start means from now on, times without a zone are UTC."""
    price = {name: text.strip() for name, text in typed.items() if text.strip()}
    since = datetime.fromisoformat(price["effective_from"]) if "effective_from" in price else now
    return price | {"effective_from": formats.machine_time(since.replace(tzinfo=since.tzinfo or UTC))}


def _reason(error: ValueError) -> str:
    """The complaint without the machinery around it."""
    return wrong_fields(error.errors()).detail if isinstance(error, ValidationError) else str(error)
