"""What pydantic says of a request, in words for who sent it: which field, its value, and what would have been right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from api.problems import ProblemError

_MAX_WRONG = 20
_MAX_SHOWN = 100

Names = Callable[[str], Sequence[str]]
"""The names a request may use: of its parameters (`query`), of its body's fields (`body`)."""


def wrong_fields(errors: Sequence[Any], names: Names = lambda _where: (), title: str = "wrong fields") -> ProblemError:
    """
    422 for fields that cannot be read, each with its problem.

    Args:
        errors: as pydantic lists them; a location that starts with `query`, `path`, `header` or `body` is FastAPI's.
        names: what exists, for a name that does not.
    """
    said = [_said(error, names) for error in errors[:_MAX_WRONG]]
    wrong = [{"field": field, "problem": problem} for field, problem in said]
    detail = "; ".join(f"{field}: {problem}" if field else problem for field, problem in said)
    return ProblemError(422, "wrong-fields", title, detail, _what_to_do(errors), {"fields": wrong})


def _said(error: Mapping[str, Any], names: Names) -> tuple[str, str]:
    where, path = _place(error["loc"])
    kind, value = error["type"], error.get("input")
    if kind == "json_invalid":
        return "body", f"is not JSON: {error['ctx']['error']} at character {error['loc'][-1]}"
    if path == [] and where == "body":
        return "body", _of_the_body(kind, value, error)
    # a parameter that may be given several times has no positions for who writes `a=1&a=2`
    field = ".".join(str(part) for part in path if where != "query" or not isinstance(part, int))
    match kind:
        case "extra_forbidden":
            what = "parameter" if where == "query" else "field"
            known = names(where) if len(path) == 1 else ()
            return field, f"no such {what}" + (f"; there are {', '.join(known)}" if known else "")
        case "missing":
            return field, "is not given"
        case "literal_error" | "enum":
            # '' means that nothing was said
            known = str(error["ctx"]["expected"]).replace(" or ", ", ").removeprefix("'', ")
            return field, f"{_shown(value)} is none of {known}"
    expected = str(error["msg"]).removeprefix("Value error, ").replace("Input should be ", "should be ")[:300]
    return field, f"{_shown(value)} {expected}" if expected.startswith("should be ") and _is_scalar(value) else expected


def _place(location: Iterable[Any]) -> tuple[str, list[Any]]:
    where, *path = [*location] or [""]
    return (where, path) if where in ("query", "path", "header", "cookie", "body") else ("", [where, *path] if where else [])


def _of_the_body(kind: str, value: object, error: Mapping[str, Any]) -> str:
    if isinstance(value, bytes):
        return "was not sent as JSON"
    if kind == "missing":
        return "is empty; a JSON object is wanted"
    return f"is a JSON {type(value).__name__}, not an object" if kind.endswith("_type") else str(error["msg"])[:300]


def _what_to_do(errors: Sequence[Any]) -> str:
    if any(error["loc"] == ("body",) and isinstance(error.get("input"), bytes) for error in errors):
        return "send the header `Content-Type: application/json`"
    return "see /api/v1/openapi.json for the shape"


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
