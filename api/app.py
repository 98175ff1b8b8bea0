"""The FastAPI application: JSON and tables under `/api/v1`, pages at `/`, health and metrics beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles

from api import errors
from api.auth import Sessions
from api.errors import API_PREFIX
from api.guard import Guard
from api.kept import Kept, Renewals
from api.pages.router import router as pages
from api.problems import PROBLEM_SCHEMA
from api.routes import alerts, data, deliveries, health, jobs, keys, metrics, prices, rollouts, scores, session, sql, traces
from api.services import Services
from api.whole import Whole
from storage.sandbox import Sandbox

# what is kept for other readers; the page of a trace of 1,000 spans is half a megabyte
_MOST_ANSWERS = 100
_MOST_BYTES = 1_000_000
_STATIC = Path(__file__).parent / "static"
_PROBLEM = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
_DESCRIPTION = (
    "What was sent, what it cost, how it was judged, and whether the cheaper route is as good. Lists are "
    '`{"items": [...], "next": cursor or null}`. Tables also come as CSV, Arrow stream or Parquet by `Accept`. '
    "Errors are problem documents (RFC 9457) that say what to do."
)


def create_app(services: Services) -> FastAPI:
    """
    Everything HTTP on the API port.

    Pages come from `api.pages.router`, their files from `api/static` at `/static`.
    """
    config, renewals = services.config, Renewals()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        # the store is closed next
        await run_in_threadpool(renewals.close)

    app = FastAPI(
        title="Spanwise",
        lifespan=lifespan,
        version=services.version or "0",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # a slash too many is a wrong address, not another spelling of it
        redirect_slashes=False,
    )
    services = replace(
        services,
        store=services.store.limited(config.query_limits()),
        kept=Kept(config.keep_seconds),
        answers=Kept(config.keep_seconds, most=_MOST_ANSWERS, fits=_fits, later=renewals),
    )
    app.state.services = services
    app.state.sessions = Sessions(
        config.session_secret.get_secret_value() if config.session_secret else None, config.session_hours
    )
    app.state.sandbox = Sandbox(services.store, config.sql_concurrent)
    errors.install(app)
    app.include_router(health.router)
    # a process without the role still says how it is
    if "api" in services.roles:
        app.include_router(_api())
        for router in (session.router, pages):
            app.include_router(router)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.add_middleware(Guard, config=config)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    app.add_api_route(f"{API_PREFIX}/openapi.json", app.openapi, include_in_schema=False)
    return app


def _fits(answer: object) -> bool:
    """Whether an answer is whole, and small enough to be kept for others."""
    return isinstance(answer, Whole) and len(answer.body) <= _MOST_BYTES


def _api() -> APIRouter:
    router = APIRouter(prefix=API_PREFIX)
    for module in (rollouts, metrics, traces, scores, alerts, deliveries, prices, sql, data, jobs, keys):
        router.include_router(module.router)
    return router


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The description of the API, made once: FastAPI's, with keys and problems said where they hold."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = schema.setdefault("components", {})
        components.setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "an API key"}}
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                is_open = path in ("/healthz", "/readyz")
                operation["security"] = [] if is_open else [{"key": []}, {}]
                answers = operation["responses"]
                answers.setdefault(
                    "default", {"description": "A problem document saying what is wrong and what to do", **_PROBLEM}
                )
                if "422" in answers and "HTTPValidationError" in str(answers["422"]):
                    answers["422"] = {"description": "Wrong fields, each named", **_PROBLEM}
        for unused in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(unused, None)
        app.openapi_schema = schema
    return app.openapi_schema
