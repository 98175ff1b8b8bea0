"""What every request passes before a route sees it: size, origin, host; and what every answer carries."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import is_local_name
from api.config import ApiConfig
from api.errors import problem_response
from api.problems import ProblemError
from api.whole import Whole

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_TAGGED = 4 * 2**20

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_HSTS = "max-age=31536000"


class Guard:
    """
    ASGI middleware.

    Requests: bodies over the limit are refused before they are read whole; hosts that are not ours, when hosts are
    configured; anything but a read that a browser says comes from another site (the cookie would come along).
    Answers: security headers, `Cache-Control`, and an `ETag` for whole GET answers, with 304 when the caller has it.
    """

    def __init__(self, app: ASGIApp, config: ApiConfig) -> None:
        self._app = app
        self._max_bytes = config.max_request_bytes
        self._hosts = frozenset(config.trusted_hosts)
        self._public_host = urlsplit(config.public_url).netloc
        self._is_https = config.tls_certificate_file is not None or config.public_url.startswith("https://")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send, self._is_https)
        problem = self._refusal(scope)
        if problem is None and scope["method"] not in _SAFE_METHODS:
            body = await _read(receive, self._max_bytes)
            if body is None:
                problem = _too_large(self._max_bytes)
            else:
                receive = _replay(body, receive)
        if problem is not None:
            await problem_response(Request(scope), problem)(scope, receive, answer.send)
            return
        await self._app(scope, receive, answer.send)

    def _refusal(self, scope: Scope) -> ProblemError | None:
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._max_bytes:
            return _too_large(self._max_bytes)
        host = headers.get("host", "")
        if self._hosts and "*" not in self._hosts and not self._is_ours(host):
            do = "call it by a name in api.trusted_hosts, or add this one"
            return ProblemError(421, "unknown-host", "unknown host", f"host {host[:200]!r} is not one of ours", do)
        if scope["method"] not in _SAFE_METHODS and self._is_foreign(headers, host):
            detail = "a browser sent this request from another site"
            return ProblemError(403, "cross-site", "cross-site request", detail, "open the page here and send it from there")
        return None

    def _is_ours(self, host: str) -> bool:
        name = urlsplit(f"//{host}").hostname or ""
        return is_local_name(name) or name in self._hosts or host == self._public_host

    def _is_foreign(self, headers: Headers, host: str) -> bool:
        """Browsers say where a request comes from, and no page can forge it; other clients send neither header."""
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return True
        origin = headers.get("origin")
        return origin is not None and urlsplit(origin).netloc not in (host, self._public_host or host)


class _Answer:
    """Adds headers to an answer, and turns a whole one the caller already has into 304."""

    def __init__(self, scope: Scope, send: Send, is_https: bool) -> None:
        self._scope = scope
        self._send = send
        self._is_https = is_https
        self._held: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._add_headers(MutableHeaders(scope=message))
            if self._scope["method"] == "GET" and message["status"] == 200 and "etag" not in Headers(raw=message["headers"]):
                self._held = message
                return
        elif message["type"] == "http.response.body" and self._held is not None:
            start, self._held = self._held, None
            body = message.get("body", b"")
            if not message.get("more_body") and len(body) <= _MAX_TAGGED:
                start, message = Whole(start["headers"], body).messages(Headers(scope=self._scope))
            await self._send(start)
        await self._send(message)

    def _add_headers(self, headers: MutableHeaders) -> None:
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "private, no-cache")
        if self._is_https:
            headers.setdefault("Strict-Transport-Security", _HSTS)


def _too_large(limit: int) -> ProblemError:
    return ProblemError(413, "too-large", "request too large", f"the body is over {limit} bytes", "send it in several requests")


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The whole body; None when it is over `limit`."""
    parts: list[bytes] = []
    n_bytes = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        n_bytes += len(parts[-1])
        if n_bytes > limit:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    is_read = False

    async def replayed() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
