"""The FastAPI application: JSON and tables under `/api/v1`, pages at `/`, health and metrics beside them."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from api.auth import Sessions
from api.services import Services

API_PREFIX = "/api/v1"
_STATIC = Path(__file__).parent / "static"


def create_app(services: Services) -> FastAPI:
    """Everything HTTP on the API port. Pages come from `api.pages.router`, their files from `api/static` at `/static`."""
    app = FastAPI(
        title="Spanwise", version=services.version or "0", docs_url=None, redoc_url=None, openapi_url=f"{API_PREFIX}/openapi.json"
    )
    app.state.services = services
    secret = services.config.session_secret
    app.state.sessions = Sessions(secret.get_secret_value() if secret else None, services.config.session_hours)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    return app
