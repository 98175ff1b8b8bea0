"""What routes and pages ask for: the services, and a caller who may pass."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from api.auth import caller
from api.services import Services
from storage.api_keys import ApiKey, Scope, ScopeError


def services(request: Request) -> Services:
    """The services `create_app` was given."""
    held = request.app.state.services
    assert isinstance(held, Services)
    return held


async def _services(request: Request) -> Services:
    """As a dependency: without a thread of its own."""
    return services(request)


def require(scope: Scope) -> Callable[..., Coroutine[Any, Any, ApiKey]]:
    """A dependency that gives the caller's key, or refuses (401, 403, 429)."""

    async def checked(request: Request, services: Annotated[Services, Depends(_services)]) -> ApiKey:
        may_wait = services.authenticator.must_read
        key = await run_in_threadpool(caller, request, services) if may_wait else caller(request, services)
        if not key.allows(scope):
            raise ScopeError(scope, key)
        return key

    checked.needed_scope = scope  # type: ignore[attr-defined] # read by the OpenAPI and the authorisation tests
    return checked


ServicesDep = Annotated[Services, Depends(_services)]
Reader = Annotated[ApiKey, Depends(require(Scope.READ))]
Sender = Annotated[ApiKey, Depends(require(Scope.INGEST))]
Admin = Annotated[ApiKey, Depends(require(Scope.ADMIN))]
