"""How a command reaches what it is about: the running instance over HTTP, or the data itself when nobody serves it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from spanwise.endpoints import announced
from spanwise.settings import Settings
from storage.errors import DataDirectoryBusyError, PermanentError, RetryableError

if TYPE_CHECKING:
    from spanwise.progress import Update
    from storage.client import Store

KEY_VARIABLE = "SPANWISE_API_KEY"


class NoInstanceError(PermanentError):
    """No running instance was found where it should be."""


class InstanceError(RetryableError):
    """The instance did not answer, or answered with a problem."""


def api_url(settings: Settings, url: str | None = None) -> str:
    """Where the API is: `url`, else what the instance on the data directory announced, else the configured port."""
    if url:
        return url.rstrip("/")
    found = announced(settings.data_dir)
    return str(found["api"]) if "api" in found else f"http://{settings.host}:{settings.http_port}"


def otlp_http_url(settings: Settings) -> str:
    """Where the running instance takes OTLP over HTTP."""
    found = announced(settings.data_dir)
    if "otlp_http" not in found:
        raise NoInstanceError(f"no running instance on {settings.data_dir}; start one with `spanwise serve`")
    return str(found["otlp_http"])


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
            raise InstanceError(problem(response))

    hooks = {"response": [raise_problem]}
    try:
        with httpx.Client(base_url=base, headers=headers, timeout=60, event_hooks=hooks) as client:
            yield client
    except httpx.TransportError as error:
        raise InstanceError(f"no answer from {base}: {error}; is `spanwise serve` running? another address: --url") from error


def run_job(client: httpx.Client, kind: str, wish: Mapping[str, Any], update: Update) -> dict[str, Any]:
    """Have the instance run a job, and wait for its end. Raises `PermanentError` with its reason when it fails."""
    run_id = client.post(f"/api/v1/jobs/{kind}", json=dict(wish)).json()["id"]
    while True:
        run: dict[str, Any] = client.get(f"/api/v1/jobs/{run_id}").json()
        if run["state"] in ("failed", "stopped"):
            raise PermanentError(f"{kind} {run['state']}: {run.get('error') or 'see the log of the instance'}")
        if run["state"] == "done":
            return run
        update(run["progress"], "")
        time.sleep(0.2)


@contextmanager
def own_store(settings: Settings) -> Iterator[Store | None]:
    """The store, opened by this command; None when a running instance owns the data directory, which then is to be asked."""
    # the engine is large; a command that only asks an instance never loads it
    from spanwise.opening import open_store

    try:
        store = open_store(settings)
    except DataDirectoryBusyError:
        yield None
        return
    try:
        yield store
    finally:
        store.close()


def problem(response: httpx.Response) -> str:
    """What an answer that is none says is wrong, and, where it is about the key, where keys come from."""
    try:
        document = response.json()
        told = str(document.get("detail") or document.get("title") or response.status_code)
    except (ValueError, AttributeError):
        told = f"{response.request.url} answered {response.status_code}"
    return with_key_advice(response, told)


def with_key_advice(response: httpx.Response, told: str) -> str:
    """What was told, and what to do about the key where it was refused."""
    if response.status_code == httpx.codes.UNAUTHORIZED:
        given = "check" if "authorization" in response.request.headers else "put a key in"
        return f"{told}; {given} {KEY_VARIABLE} (no key left: stop the instance, then `spanwise key create` works on its data)"
    if response.status_code == httpx.codes.FORBIDDEN:
        return f"{told}; put such a key in {KEY_VARIABLE}"
    return told
