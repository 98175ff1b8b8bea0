"""A whole answer as it goes out: tagged, packed for who takes that, and only its tag for who has it already."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from fastapi.responses import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

_MIN_PACKED = 4096
_TEXTS = frozenset({"text/html", "text/csv", "application/json"})

_Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True)
class _Form:
    """One way of sending an answer."""

    status: int
    headers: _Headers
    body: bytes


@dataclass(frozen=True)
class Whole:
    """
    A successful answer to a GET, its `body` complete. What is made of it (tag, packed body) is made once, however often it is
    sent; it must not be changed.
    """

    headers: _Headers
    body: bytes

    def messages(self, asked: Headers) -> tuple[Message, Message]:
        """The answer to a request with headers `asked`, as ASGI messages; the list of headers may be added to."""
        form = self._form(asked)
        start = {"type": "http.response.start", "status": form.status, "headers": list(form.headers)}
        return start, {"type": "http.response.body", "body": form.body}

    def prepare(self) -> None:
        """Make now what readers mostly ask for, in the thread of the caller."""
        _ = self._packed if self._is_worth_packing else self._plain

    def _form(self, asked: Headers) -> _Form:
        known = {part.strip().removeprefix("W/") for part in asked.get("if-none-match", "").split(",")}
        if self._tag in known or "*" in known:
            return self._known
        return self._packed if self._is_worth_packing and "gzip" in asked.get("accept-encoding", "") else self._plain

    @cached_property
    def _is_text(self) -> bool:
        return Headers(raw=list(self.headers)).get("content-type", "").partition(";")[0] in _TEXTS

    @property
    def _is_worth_packing(self) -> bool:
        return self._is_text and len(self.body) >= _MIN_PACKED

    @cached_property
    def _tag(self) -> str:
        return f'"{hashlib.blake2b(self.body, digest_size=12).hexdigest()}"'

    @cached_property
    def _plain(self) -> _Form:
        headers = MutableHeaders(raw=list(self.headers))
        headers["ETag"] = self._tag
        if self._is_text:
            headers.add_vary_header("Accept-Encoding")
        return _Form(200, headers.raw, self.body)

    @cached_property
    def _packed(self) -> _Form:
        """Gzipped: a page of 1,000 spans is half a megabyte."""
        body = gzip.compress(self.body, 4, mtime=0)
        headers = MutableHeaders(raw=list(self._plain.headers))
        headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(len(body))
        headers["ETag"] = f"W/{self._tag}"
        return _Form(200, headers.raw, body)

    @cached_property
    def _known(self) -> _Form:
        """For who has it: 304 and no body."""
        headers = MutableHeaders(raw=list(self._plain.headers))
        del headers["content-length"]
        del headers["content-type"]
        return _Form(304, headers.raw, b"")


class WholeResponse(Response):
    """What a route answers with to send a `Whole`."""

    def __init__(self, whole: Whole) -> None:
        self._whole = whole
        self.status_code = 200
        self.background = None
        self.body = whole.body
        self.raw_headers = list(whole.headers)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        for message in self._whole.messages(Headers(scope=scope)):
            await send(message)
