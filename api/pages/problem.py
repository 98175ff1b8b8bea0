"""A problem as a page, for people: the same words as the problem document."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import HTMLResponse

from api.pages.rendering import render
from api.problems import ProblemError


@dataclass(frozen=True)
class ProblemView:
    """What is wrong, and what to do."""

    status: int
    title: str
    detail: str
    do: str


def problem_page(request: Request, error: ProblemError) -> HTMLResponse:
    """The answer to a page that cannot be shown."""
    view = ProblemView(error.status, error.title, error.detail, error.do)
    response = render(request, "problem.html", view, active="", status=error.status)
    response.headers.update(error.headers)
    return response
