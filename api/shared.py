"""Whole answers that readers share: a page that fifty people look at is made for one of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from fastapi.routing import APIRoute

from api.auth import COOKIE, caller
from api.services import Services
from api.whole import Whole, WholeResponse
from storage.api_keys import ApiKey

P = ParamSpec("P")
R = TypeVar("R")


class SharedRoute(APIRoute):
    """
    The class of routes in a router with `shared` ones: what is kept is given without the threads, parameters and dependencies
    that making it takes, once it is known who asks.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        make = super().get_route_handler()
        if not getattr(self.endpoint, "is_shared", False):
            return make

        async def answer(request: Request) -> Response:
            return _kept(request) or await make(request)

        return answer


def shared(endpoint: Callable[P, Response]) -> Callable[P, Response]:
    """
    Decorates a route that reads: the same question of callers with the same rights is answered once, and that kept
    (`api.kept`). Whether a caller may ask has been decided before. A route that answers with a problem keeps nothing.

    The route is called again, when nobody waits, to renew the answer: it may read of its `request` what was asked (address,
    headers, cookies, the application), and nothing of the connection.
    """

    @wraps(endpoint)
    def answered(*args: P.args, **given: P.kwargs) -> Response:
        found: dict[str, Any] = dict(given)
        request, services, key = found["request"], found["services"], found.get("key") or found["_key"]

        def make() -> Whole | Response:
            return _whole(endpoint(*args, **given))

        def renew() -> Whole | Response:
            again: Any = {**given, "request": Request(request.scope)}
            return _whole(endpoint(*args, **again))

        answer = services.answers.get(_question(request, key), make, renew)
        return WholeResponse(answer) if isinstance(answer, Whole) else answer

    answered.is_shared = True  # type: ignore[attr-defined] # read by `SharedRoute`
    return answered


def changing(endpoint: Callable[P, R]) -> Callable[P, R]:
    """Decorates a route that changes what pages show: whoever looks next, sees it."""

    @wraps(endpoint)
    def changed(*args: P.args, **given: P.kwargs) -> R:
        found: dict[str, Any] = dict(given)
        try:
            return endpoint(*args, **given)
        finally:
            found["services"].answers.forget()

    return changed


def _question(request: Request, key: ApiKey) -> Hashable:
    """What was asked, and with which rights: an answer to it is for everybody who asks the same."""
    return str(request.url), request.headers.get("accept"), COOKIE in request.cookies, key.scopes


def _kept(request: Request) -> WholeResponse | None:
    """
    The answer that is kept for whoever has the caller's rights: an equal key passed every check when it was made.

    Raises what `api.auth.caller` does. None also while that would wait for the store: this runs where nothing may wait.
    """
    services: Services = request.app.state.services
    if services.authenticator.must_read:
        return None
    whole = services.answers.held(_question(request, caller(request, services)))
    return WholeResponse(whole) if isinstance(whole, Whole) else None


def _whole(answer: Response) -> Whole | Response:
    """What can be kept: a success that is not sent in pieces."""
    if isinstance(answer, StreamingResponse) or answer.status_code != 200:
        return answer
    whole = Whole(tuple(answer.raw_headers), bytes(answer.body))
    whole.prepare()
    return whole
