"""`/login`: where a browser's key becomes a session; `api.routes.session` does the exchange."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import HTMLResponse

from api.pages.rendering import render


@dataclass(frozen=True)
class LoginView:
    """`next`: the page to go to afterwards."""

    next: str
    error: str


def login_page(request: Request, next_path: str, *, error: str = "", status: int = 200) -> HTMLResponse:
    """The form, with why the last try failed."""
    return render(request, "login.html", LoginView(next_path, error), active="", status=status)
