"""How a command reaches what it is about: the running instance over HTTP, or the data itself when nobody serves it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from spanwise.serve import ENDPOINTS_FILE, open_store
from spanwise.settings import Settings
from storage.client import Store
from storage.errors import DataDirectoryBusyError, PermanentError, RetryableError

KEY_VARIABLE = "SPANWISE_API_KEY"


class NoInstanceError(PermanentError):
    """No running instance was found where it should be."""


class InstanceError(RetryableError):
    """The instance did not answer, or answered with a problem."""


def api_url(settings: Settings, url: str | None = None) -> str:
    """Where the API is: `url`, else what the instance on the data directory announced, else the configured port."""
    if url:
        return url.rstrip("/")
    announced = _announced(settings)
    return str(announced["api"]) if "api" in announced else f"http://{settings.host}:{settings.http_port}"


def otlp_http_url(settings: Settings) -> str:
    """Where the running instance takes OTLP over HTTP."""
    announced = _announced(settings)
    if "otlp_http" not in announced:
        raise NoInstanceError(f"no running instance on {settings.data_dir}; start one with `spanwise serve`")
    return str(announced["otlp_http"])


@contextmanager
def api(settings: Settings, url: str | None = None, key: str | None = None) -> Iterator[httpx.Client]:
    """
    A client of the API; the key comes from `key`, else from SPANWISE_API_KEY.

    Raises:
        InstanceError: it cannot be reached, or answers with a problem document, whose text is the message.
    """
    secret = key or os.environ.get(KEY_VARIABLE, "")
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    base = api_url(settings, url)

    def raise_problem(response: httpx.Response) -> None:
        if response.is_error:
            response.read()
            raise InstanceError(_problem(response))

    hooks = {"response": [raise_problem]}
    try:
        with httpx.Client(base_url=base, headers=headers, timeout=60, event_hooks=hooks) as client:
            yield client
    except httpx.TransportError as error:
        raise InstanceError(f"no answer from {base}: {error}; is `spanwise serve` running? another address: --url") from error


@contextmanager
def own_store(settings: Settings) -> Iterator[Store | None]:
    """The store, opened by this command; None when a running instance owns the data directory, which then is to be asked."""
    try:
        store = open_store(settings)
    except DataDirectoryBusyError:
        yield None
        return
    try:
        yield store
    finally:
        store.close()


def _announced(settings: Settings) -> dict[str, object]:
    try:
        announced: dict[str, object] = json.loads((settings.data_dir / ENDPOINTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return announced if _is_alive(announced.get("pid")) else {}


def _is_alive(pid: object) -> bool:
    return isinstance(pid, int) and Path(f"/proc/{pid}").exists()


def _problem(response: httpx.Response) -> str:
    try:
        document = response.json()
    except ValueError:
        return f"{response.request.url} answered {response.status_code}"
    return str(document.get("detail") or document.get("title") or response.status_code)
