"""Whole answers that readers share: a page that fifty people look at is made for one of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from fastapi import Request
from fastapi.responses import Response

from api.auth import COOKIE

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A", bound=Response)


def shared(endpoint: Callable[P, A]) -> Callable[P, A]:
    """
    Decorates a route that reads: the same question of callers with the same rights is answered once, and that kept
    (`api.kept`). Whether a caller may ask has been decided before. A route that answers with a problem keeps nothing.

    The route is called again, when nobody waits, to renew the answer: it may read of its `request` what was asked (address,
    headers, cookies, the application), and nothing of the connection.
    """

    @wraps(endpoint)
    def answered(*args: P.args, **given: P.kwargs) -> A:
        found: dict[str, Any] = dict(given)
        request, services, key = found["request"], found["services"], found.get("key") or found["_key"]
        asked = (str(request.url), request.headers.get("accept"), COOKIE in request.cookies, key.scopes)

        def make() -> A:
            return endpoint(*args, **given)

        def renew() -> A:
            again: Any = {**given, "request": Request(request.scope)}
            return endpoint(*args, **again)

        answer: A = services.answers.get(asked, make, renew)
        return _copy(answer)

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


def _copy(answer: A) -> A:
    """Headers are added to an answer on its way out."""
    copied = type(answer).__new__(type(answer))
    vars(copied).update(vars(answer))
    copied.raw_headers = list(answer.raw_headers)
    return copied
