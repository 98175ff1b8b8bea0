"""From exceptions to problem documents, or to problem pages where a person is reading."""

from __future__ import annotations

import json
from collections.abc import Sequence

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from api.problems import ProblemError, unavailable
from api.validation import Names, wrong_fields
from storage.api_keys import AuthenticationError, ScopeError, TooManyFailuresError, UnknownKeyError
from storage.errors import PermanentError, QueryLimitError, RetryableError, StoreRefusedError

log = structlog.get_logger(__name__)

API_PREFIX = "/api/v1"
PROBLEM_TYPE = "application/problem+json"


def install(app: FastAPI) -> None:
    """Make every failure below `app` a problem."""
    for kind in (ProblemError, PermanentError, RetryableError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer)


def problem_response(request: Request, problem: ProblemError) -> Response:
    """A problem for whoever asked: a page for a browser that reads pages, a document for everyone else."""
    if not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "") and "app" in request.scope:
        if problem.status == 401 and request.method == "GET":
            return RedirectResponse(f"/login?next={_local(request)}", status_code=303)
        from api.pages.problem import problem_page

        return problem_page(request, problem)
    body = json.dumps(problem.document(request.url.path), ensure_ascii=False)
    return Response(body, problem.status, media_type=PROBLEM_TYPE, headers=dict(problem.headers))


def to_problem(error: Exception, names: Names = lambda _where: ()) -> ProblemError:
    """What an exception means to a caller; `names` are those the request could have used."""
    match error:
        case ProblemError():
            return error
        case RequestValidationError():
            return wrong_fields(error.errors(), names)
        case HTTPException():
            return _of_status(error)
        case AuthenticationError():
            do = "send `Authorization: Bearer KEY`, or sign in at /login"
            return ProblemError(401, "unauthenticated", "who are you", str(error), do, headers={"WWW-Authenticate": "Bearer"})
        case ScopeError():
            do = f"use a key with scope {error.needed}: spanwise key create --scope {error.needed} NAME"
            return ProblemError(403, "forbidden", "not allowed", str(error), do, {"needed_scope": error.needed.value})
        case TooManyFailuresError():
            headers = {"Retry-After": str(int(error.retry_after_seconds) + 1)}
            return ProblemError(429, "too-many-failures", "too many wrong keys", str(error), "check the key", headers=headers)
        case UnknownKeyError():
            return ProblemError(
                404, "unknown-key", "unknown key", str(error), "list them: GET /api/v1/keys", {"known": error.known}
            )
        case QueryLimitError():
            do = (
                "ask for less: a later `from`, a longer `step`, fewer groups, one service; "
                "the limits are api.query_seconds and api.query_memory_bytes"
            )
            detail = f"the question went over its limit of {error.limit}: {str(error)[:300]}"
            return ProblemError(413, "query-limit", "too much at once", detail, do, {"limit": error.limit})
        case StoreRefusedError():
            return _internal()
        case RetryableError():
            return unavailable(str(error))
        case PermanentError() if isinstance(error, LookupError):
            return ProblemError(404, "unknown", "not found", str(error), extra={"known": list(getattr(error, "known", ()))[:20]})
        case PermanentError():
            return ProblemError(422, "refused", "refused", str(error))
    return _internal()


def _internal() -> ProblemError:
    return ProblemError(500, "internal", "our mistake", "something went wrong that should not", "look at the server's log")


async def _answer(request: Request, error: Exception) -> Response:
    problem = to_problem(error, _names(request))
    if problem.status >= 500 and problem.kind == "internal":
        log.error("request_failed", path=request.url.path, method=request.method, exc_info=error)
    return problem_response(request, problem)


def _names(request: Request) -> Names:
    """What the route's own description names."""

    def named(where: str) -> Sequence[str]:
        prefix = API_PREFIX if request.url.path.startswith(API_PREFIX) else ""
        path = prefix + getattr(request.scope.get("route"), "path", "")
        described = request.app.openapi()
        operation = described["paths"].get(path, {}).get(request.method.lower(), {})
        if where == "query":
            return [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        shape = str(content.get("schema", {}).get("$ref", "")).rpartition("/")[2]
        return list(described["components"]["schemas"].get(shape, {}).get("properties", ()))

    return named


def _of_status(error: HTTPException) -> ProblemError:
    if error.status_code == 404:
        return ProblemError(404, "no-such-path", "no such path", "nothing answers here", "see /api/v1/openapi.json for what does")
    if error.status_code == 405:
        do = "see /api/v1/openapi.json for what does"
        return ProblemError(
            405, "no-such-method", "no such method", "this path does not answer this method", do, headers=error.headers or {}
        )
    return ProblemError(error.status_code, "request", "request failed", str(error.detail), headers=error.headers or {})


def _local(request: Request) -> str:
    from urllib.parse import quote

    return quote(request.url.path + (f"?{request.url.query}" if request.url.query else ""), safe="")
