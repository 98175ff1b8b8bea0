"""What every form shares: it must come from our own page, and it ends in a redirect so that a reload sends nothing twice."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse

from api.problems import ProblemError


def same_origin(request: Request) -> None:
    """
    Refuse a form that another site made the browser send.

    Browsers say where a request comes from (`Sec-Fetch-Site`, `Origin`) and no page can forge it, so no token is needed; a
    client that sends neither is not a browser and carries no cookie of somebody else.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    is_foreign = site not in (None, "same-origin", "none") or (
        origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    )
    if is_foreign:
        raise ProblemError(
            403, "cross-site-form", "refused", "this form was sent by another site", "open the page and send it from there"
        )


SameOrigin = Annotated[None, Depends(same_origin)]


def see(path: str) -> RedirectResponse:
    """Answer a form: go and look there."""
    return RedirectResponse(path, status_code=303)
