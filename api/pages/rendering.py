"""From a view model to HTML: the template environment, and what every page is given."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api import format as formats
from api.auth import COOKIE
from api.dependencies import services as services_of

_ROOM = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class NavItem:
    """One entry of the navigation."""

    path: str
    label: str


NAV = (
    NavItem("/", "Rollouts"),
    NavItem("/traces", "Traces"),
    NavItem("/alerts", "Alerts"),
    NavItem("/health", "Data health"),
    NavItem("/prices", "Prices"),
    NavItem("/settings", "Settings"),
)


def render(
    request: Request, template: str, view: object, *, active: str, live: bool = False, refresh: str = "", status: int = 200
) -> HTMLResponse:
    """
    Answer with `template`, whose `view` is the page's view model.

    Args:
        request: says where the page lives, for links to itself.
        template: file name under `api/templates`.
        view: a frozen dataclass; templates do no arithmetic on it.
        active: path of the navigation entry the page belongs to.
        live: the page has a `live` block, refreshed while someone looks.
        refresh: where the `live` block is read again, if not at the page's own address.
        status: HTTP status of the answer.
    """
    services = services_of(request)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    html = (
        environment()
        .get_template(template)
        .render(
            view=view,
            nav=NAV,
            active=active,
            live=live,
            refresh=refresh or here,
            now=services.wall_clock.now(),
            version=services.version or "(development)",
            is_signed_in=COOKIE in request.cookies,
        )
    )
    # what a page shows can be private, and is stale a second later
    return HTMLResponse(html, status_code=status, headers={"Cache-Control": "private, no-cache"})


@cache
def environment() -> Environment:
    """Templates with autoescaping on everything: span content is hostile input."""
    env = Environment(
        loader=FileSystemLoader(_ROOM / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in (
        "count",
        "plural",
        "percent",
        "points",
        "points_range",
        "ratio",
        "ratio_range",
        "money",
        "duration",
        "age",
        "ago",
        "moment",
        "day",
        "machine_time",
        "score",
        "sentence",
    ):
        env.filters[name] = getattr(formats, name)
    env.filters["with_query"] = with_query
    env.globals["static"] = static_url
    env.globals["unknown"] = formats.UNKNOWN
    return env


@cache
def static_url(name: str) -> str:
    """The address of a file under `api/static`, changing with its content so that browsers may keep it."""
    digest = hashlib.sha256((_ROOM / "static" / name).read_bytes()).hexdigest()[:10]
    return f"/static/{name}?v={digest}"


def see(path: str) -> RedirectResponse:
    """Answer a form: go and look there, so that a reload sends nothing twice."""
    return RedirectResponse(path, status_code=303)


def link(path: str, query: Mapping[str, Any] | None = None) -> str:
    """A link of our own: `path` is taken as it is, empty values of `query` are left out."""
    kept = [(name, str(value)) for name, value in (query or {}).items() if value not in (None, "")]
    return f"{path}?{urlencode(kept)}" if kept else path


def segment(text: str) -> str:
    """A name as one segment of a path, whatever it holds."""
    return quote(text, safe="")


def with_query(url: str, **changes: str) -> str:
    """`url` with some of its query replaced; an empty value removes the parameter."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True)) | changes
    kept = {name: value for name, value in query.items() if value != ""}
    return urlunsplit(parts._replace(query=urlencode(kept)))
