"""Cursors: where a list goes on, as a text that callers hand back and do not read."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from api.problems import bad_value

_MAX_LENGTH = 1000


def encode_cursor(position: Sequence[str | int], question: Mapping[str, Any]) -> str:
    """A cursor that goes on after `position` (the sort key of the last item) in the answer to `question` (the filters)."""
    text = json.dumps([_fingerprint(question), *position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str, question: Mapping[str, Any], kinds: Sequence[type]) -> list[Any]:
    """
    The position in `cursor`: one value per kind (`str` or `int`).

    Raises:
        ProblemError: 400; it is not a cursor of ours, or belongs to another question.
    """
    position = _read(cursor)
    if position is None or [type(value) for value in position[1:]] != list(kinds) or not _fits(position):
        raise bad_value("cursor", cursor, "a cursor this list returned as `next`")
    if position[0] != _fingerprint(question):
        raise bad_value("cursor", cursor, "a cursor of the same filters; start again without cursor after changing them")
    return position[1:]


def _read(cursor: str) -> list[Any] | None:
    if len(cursor) > _MAX_LENGTH:
        return None
    try:
        value = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and value else None


def _fits(position: list[Any]) -> bool:
    """Numbers are moments: what the store's 64 bits cannot hold was never handed out."""
    return all(0 <= value < 2**63 for value in position if isinstance(value, int))


def _fingerprint(question: Mapping[str, Any]) -> str:
    text = json.dumps(question, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
