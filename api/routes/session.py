"""Signing a browser in and out."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from api.auth import COOKIE, Sessions
from api.dependencies import ServicesDep
from api.pages.login import login_page
from storage.api_keys import AuthenticationError, TooManyFailuresError

log = structlog.get_logger(__name__)

router = APIRouter(include_in_schema=False)


@router.get("/login")
def show(request: Request, next: str = "/") -> Response:
    """Where a key is pasted."""
    return login_page(request, local_path(next))


@router.post("/login")
def sign_in(
    request: Request,
    services: ServicesDep,
    key: Annotated[str, Form(max_length=200)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:
    """Exchange a key for a cookie that scripts cannot read and other sites cannot send."""
    peer = request.client.host if request.client else "unix:"
    try:
        found = services.authenticator.authenticate(key.strip() or None, peer)
    except (AuthenticationError, TooManyFailuresError) as error:
        return login_page(request, local_path(next), error=str(error), status=401)
    log.info("signed_in", key_id=found.key_id, peer=peer)
    sessions: Sessions = request.app.state.sessions
    response = RedirectResponse(local_path(next), status_code=303)
    response.set_cookie(
        COOKIE,
        sessions.issue(found, services.wall_clock.now()),
        max_age=int(sessions.length.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https" or services.config.public_url.startswith("https://"),
        path="/",
    )
    return response


@router.post("/logout")
def sign_out() -> Response:
    """Forget the session in this browser."""
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    return response


def local_path(path: str) -> str:
    """`path` if it leads to a page here, else the first page: a login link must not send people elsewhere."""
    parts = urlsplit(path)
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return path if is_ours and "\\" not in path and path.isprintable() else "/"
