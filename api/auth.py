"""Who is calling: bearer keys on every door, a signed cookie for browsers, loopback only while no key exists."""

from __future__ import annotations

import base64
import hmac
import ipaddress
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import structlog
from fastapi import Request

from api.problems import ProblemError
from storage.api_keys import ANONYMOUS, ApiKey, AuthenticationError, TooManyFailuresError, read_keys, secret_hash
from storage.client import Store
from storage.clock import Clock
from storage.errors import StoreUnavailableError

if TYPE_CHECKING:
    from api.services import Services

log = structlog.get_logger(__name__)

COOKIE = "spanwise_session"
_MAX_PEERS = 10_000
_MINUTE = timedelta(minutes=1)
# between asking whether a call would wait and making it
_SOON = timedelta(seconds=0.5)


@dataclass
class _Failures:
    since: datetime
    count: int


class KeyAuthenticator:
    """
    Turns a secret into a key, for every door of the process: HTTP, pages and OTLP.

    Keys are read from the store at most every `cache_seconds`, so a revoked key is refused that much later. While no key
    has ever been made, callers from loopback need none; once one was made, even if revoked since, everyone needs one. While
    the store cannot answer, the keys last read stay good, so that ingestion goes on.
    Thread-safe.
    """

    def __init__(self, store: Store, clock: Clock, *, cache_seconds: float = 5.0, failures_per_minute: int = 20) -> None:
        self._store = store
        self._clock = clock
        self._cache = timedelta(seconds=cache_seconds)
        self._limit = failures_per_minute
        self._lock = threading.Lock()
        self._keys: dict[str, ApiKey] = {}
        self._read_at: datetime | None = None
        self._generation = 0
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    @property
    def keys_exist(self) -> bool:
        return bool(self._current())

    @property
    def must_read(self) -> bool:
        """Whether the next call reads the keys, or may do so if it is not made at once."""
        with self._lock:
            return not self._is_current(self._clock.now() + _SOON)

    def authenticate(self, secret: str | None, peer: str) -> ApiKey:
        """The key of `secret`; `peer` is an address as gRPC or ASGI gives it. Raises as the class says in `storage.api_keys`."""
        keys = self._current()
        if not keys:
            if is_loopback(peer):
                return ANONYMOUS
            raise AuthenticationError(
                "no API key exists yet, so only this machine may call; make one there: spanwise key create --scope admin NAME"
            )
        host = peer_host(peer)
        self._refuse_if_noisy(host)
        if not secret:
            raise AuthenticationError("an API key is needed: send `Authorization: Bearer KEY`")
        found = _match(keys, secret_hash(secret))
        if found is None or found.revoked_at is not None:
            self._count_failure(host)
            log.warning("key_refused", peer=host, key_id=found.key_id if found else "", reason="revoked" if found else "unknown")
            raise AuthenticationError("this API key is unknown or revoked")
        return found

    def by_id(self, key_id: str) -> ApiKey | None:
        """An unrevoked key by its id."""
        return next((key for key in self._current().values() if key.key_id == key_id and key.revoked_at is None), None)

    def forget(self) -> None:
        """Read the keys again at the next call."""
        with self._lock:
            self._read_at = None
            self._generation += 1

    def _current(self) -> dict[str, ApiKey]:
        now = self._clock.now()
        with self._lock:
            is_known, generation = self._read_at is not None, self._generation
            if self._is_current(now):
                return self._keys
            if is_known:
                # callers meanwhile go on with what is known: a store that hangs must not close the doors
                self._read_at = now
        try:
            keys = read_keys(self._store)
        except StoreUnavailableError as error:
            if not is_known:
                raise
            log.warning("keys_not_read", error=str(error))
            return self._keys
        with self._lock:
            if generation == self._generation:
                self._keys, self._read_at = keys, now
        return keys

    def _is_current(self, now: datetime) -> bool:
        return self._read_at is not None and timedelta(0) <= now - self._read_at < self._cache

    def _refuse_if_noisy(self, host: str) -> None:
        now = self._clock.now()
        with self._lock:
            seen = self._failures.get(host)
            if seen is None or seen.count < self._limit:
                return
            left = seen.since + _MINUTE - now
            if left <= timedelta(0):
                del self._failures[host]
                return
        raise TooManyFailuresError(left.total_seconds())

    def _count_failure(self, host: str) -> None:
        now = self._clock.now()
        with self._lock:
            seen = self._failures.get(host)
            if seen is None or now - seen.since >= _MINUTE:
                self._failures[host] = _Failures(now, 1)
            else:
                seen.count += 1
            self._failures.move_to_end(host)
            while len(self._failures) > _MAX_PEERS:
                self._failures.popitem(last=False)


def _match(keys: dict[str, ApiKey], digest: str) -> ApiKey | None:
    """Every stored hash is compared, each in constant time: how long it takes says nothing about what is stored."""
    found = None
    for known, key in keys.items():
        if hmac.compare_digest(known, digest):
            found = key
    return found


def peer_host(peer: str) -> str:
    """The address in `127.0.0.1`, `ipv4:127.0.0.1:5000`, `ipv6:[::1]:5000`, `ipv6:%5B::1%5D:5000`; `unix:` as it is."""
    text = unquote(peer)
    if text.startswith("unix:"):
        return "unix:"
    text = text.removeprefix("ipv4:").removeprefix("ipv6:")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if text.count(":") == 1 else text


def is_loopback(peer: str) -> bool:
    host = peer_host(peer)
    if host == "unix:":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


class Sessions:
    """Signs and reads browser sessions: the cookie holds a key's id and an end, never a secret."""

    def __init__(self, secret: str | None, hours: float) -> None:
        self._secret = (secret or secrets.token_urlsafe(32)).encode()
        self.length = timedelta(hours=hours)

    def issue(self, key: ApiKey, now: datetime) -> str:
        text = f"{key.key_id}.{int((now + self.length).timestamp())}"
        return f"{text}.{self._sign(text)}"

    def read(self, cookie: str, now: datetime) -> str | None:
        """The key id of a session that is ours and has not ended, else None."""
        text, _, signature = cookie.rpartition(".")
        if not text or not hmac.compare_digest(self._sign(text).encode(), signature.encode("utf-8", "replace")):
            return None
        key_id, _, ends = text.rpartition(".")
        return key_id if now.timestamp() < int(ends) else None

    def _sign(self, text: str) -> str:
        digest = hmac.digest(self._secret, text.encode("utf-8", "replace"), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def bearer(request: Request) -> str | None:
    """The secret in `Authorization: Bearer …`."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def caller(request: Request, services: Services) -> ApiKey:
    """The key behind a request: its bearer secret, else its session cookie, else nobody (who may be welcome on loopback)."""
    secret = bearer(request)
    cookie = request.cookies.get(COOKIE)
    if secret is None and cookie is not None:
        sessions: Sessions = request.app.state.sessions
        key_id = sessions.read(cookie, services.wall_clock.now())
        key = services.authenticator.by_id(key_id) if key_id else None
        if key is not None:
            return key
    key = services.authenticator.authenticate(secret, request.client.host if request.client else "unix:")
    if key == ANONYMOUS and not _is_called_by_our_name(request, services):
        # a page elsewhere whose name was made to lead to this machine (DNS rebinding) is no visitor from this machine
        name = request.headers.get("host", "")[:200]
        do = "call it localhost or by its address, add the name to api.trusted_hosts, or make an API key"
        raise ProblemError(421, "unknown-host", "unknown host", f"without API keys this machine is not called {name!r}", do)
    return key


def _is_called_by_our_name(request: Request, services: Services) -> bool:
    name = request.url.hostname or ""
    config = services.config
    return is_local_name(name) or name in config.trusted_hosts or name == urlsplit(config.public_url).hostname


def is_local_name(name: str) -> bool:
    """A name nobody else's DNS can point here: `localhost`, or an address written out."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
