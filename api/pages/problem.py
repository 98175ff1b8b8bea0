"""A problem as a page, for people: the same words as the problem document."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import HTMLResponse

from api.pages.rendering import NAV, NavItem, render
from api.problems import ProblemError


@dataclass(frozen=True)
class ProblemView:
    """What is wrong, what to do, and the part of the pages it happened in."""

    status: int
    title: str
    detail: str
    do: str
    back: NavItem


def problem_page(request: Request, error: ProblemError) -> HTMLResponse:
    """The answer to a page that cannot be shown."""
    back = next((item for item in NAV[1:] if request.url.path.startswith(item.path)), NAV[0])
    view = ProblemView(error.status, error.title, error.detail, error.do, back)
    response = render(request, "problem.html", view, active="", status=error.status)
    response.headers.update(error.headers)
    return response
