"""Errors as RFC 9457 problem documents: each says what is wrong and what to do, and names what exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

PROBLEM_TYPES = "https://spanwise.dev/problems/"
"""Prefix of every `type`; `docs/api.md` lists them. The rest of the URI is `ProblemError.kind`."""

_NAMED = 20


@dataclass
class ProblemError(Exception):
    """An answer that is not the one asked for. Raise it anywhere below a route."""

    status: int
    kind: str
    title: str
    detail: str
    do: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.detail

    def document(self, instance: str) -> dict[str, Any]:
        """The problem document (RFC 9457, section 3); `do` and the fields of `extra` are ours."""
        body: dict[str, Any] = {
            "type": PROBLEM_TYPES + self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }
        if self.do:
            body["do"] = self.do
        return body | dict(self.extra)


def not_found(what: str, name: str, known: Iterable[str] = (), do: str = "") -> ProblemError:
    """404 for an unknown `what`, naming (some of) those that exist."""
    names = list(known)
    listed = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    exists = f"; known: {listed}" if names else ""
    return ProblemError(404, f"unknown-{what}", f"unknown {what}", f"no {what} {name!r}{exists}", do, {"known": names[:_NAMED]})


def bad_value(parameter: str, value: object, expected: str) -> ProblemError:
    """400 for a parameter that cannot be read."""
    detail = f"{parameter}={str(value)[:200]!r} is not {expected}"
    return ProblemError(400, "bad-value", "bad value", detail, f"send {parameter} as {expected}", {"parameter": parameter})


def not_given(parameter: str, what: str) -> ProblemError:
    """400 for something that has to be said; `what` it is."""
    return ProblemError(
        400, "bad-value", "bad value", f"{parameter} is not given: {what}", f"send {parameter}", {"parameter": parameter}
    )


def unavailable(detail: str, do: str = "try again in a few seconds", retry_after: int = 2) -> ProblemError:
    """503 for what may work later."""
    return ProblemError(503, "unavailable", "not available now", detail, do, headers={"Retry-After": str(retry_after)})


def absent_role(role: str, what: str) -> ProblemError:
    """501: the process answering does not run the role that could do this."""
    return ProblemError(
        501,
        "role-not-here",
        f"this process does not run {role}",
        f"{what} is done by the {role} role",
        f"ask a process that runs {role}",
    )


PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. Further members depend on the type: `known`, `parameter`, `fields`, `limit`, `needed_scope`.",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "names the kind of problem; docs/api.md lists them"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong, with the value at fault"},
        "instance": {"type": "string", "description": "the path asked for"},
        "do": {"type": "string", "description": "what to do about it"},
    },
}
