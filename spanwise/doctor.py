"""What is wrong with this set-up, and what to do about it: one line per check."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import httpx

from spanwise.instance import api_url
from spanwise.opening import open_store
from spanwise.settings import Settings
from storage.api_keys import read_keys
from storage.errors import DataDirectoryBusyError, SpanwiseError

_LEAST_FREE_BYTES = 2 * 2**30


class State(StrEnum):
    """How a check came out."""

    GOOD = "good"
    ATTENTION = "attention"
    BAD = "bad"


@dataclass(frozen=True)
class Check:
    """One finding; `fix` says what to do and is empty when all is well."""

    name: str
    state: State
    finding: str
    fix: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """Check the disk, the store, the doors, the running instance, and where pages would go."""
    yield _disk(settings)
    instance = _instance(settings)
    yield instance
    if instance.state is State.GOOD:
        yield from _health(settings)
    else:
        yield from _ports(settings)
        yield from _store(settings)
    yield _channels(settings)
    yield _prices(settings)


def _disk(settings: Settings) -> Check:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(settings.data_dir).free
    except OSError as error:
        return Check("data directory", State.BAD, f"{settings.data_dir}: {error.strerror}", "choose a directory you may write")
    text = f"{settings.data_dir}, {free / 2**30:.1f} GiB free"
    if free < _LEAST_FREE_BYTES:
        return Check("data directory", State.ATTENTION, text, "free some disk, or lower the retention settings")
    return Check("data directory", State.GOOD, text)


def _instance(settings: Settings) -> Check:
    url = api_url(settings)
    try:
        answer = httpx.get(f"{url}/readyz", timeout=5)
    except httpx.TransportError:
        return Check("running instance", State.ATTENTION, f"none answers on {url}", "start one: spanwise serve")
    if answer.is_success:
        return Check("running instance", State.GOOD, f"ready on {url}")
    return Check("running instance", State.BAD, f"{url} is not ready: {answer.text.strip()[:300]}", "see its log")


def _health(settings: Settings) -> Iterator[Check]:
    """What a running instance says of itself in its metrics; open while no key exists."""
    answer = httpx.get(f"{api_url(settings)}/metrics", timeout=10)
    if not answer.is_success:
        yield Check(
            "metrics", State.ATTENTION, f"/metrics answers {answer.status_code}", "set SPANWISE_API_KEY to a key that may read"
        )
        return
    yield Check("metrics", State.GOOD, f"{len(answer.text.splitlines()):,} lines")


def _ports(settings: Settings) -> Iterator[Check]:
    for name in ("otlp_grpc_port", "otlp_http_port", "http_port"):
        port: int = getattr(settings, name)
        try:
            socket.create_server((settings.host, port)).close()
        except OSError as error:
            yield Check(name, State.BAD, f"{settings.host}:{port}: {error.strerror}", f"stop what uses it, or set {name}")
        else:
            yield Check(name, State.GOOD, f"{settings.host}:{port} is free" if port else "any free port")


def _store(settings: Settings) -> Iterator[Check]:
    name = "ClickHouse server" if settings.clickhouse_url else "embedded ClickHouse"
    try:
        store = open_store(settings)
    except DataDirectoryBusyError as error:
        yield Check(name, State.BAD, str(error), "the process that owns it does not answer: see its log")
        return
    except SpanwiseError as error:
        yield Check(name, State.BAD, str(error)[:300], "check clickhouse_url, user and password")
        return
    version = store.frame("SELECT version() AS v")["v"].item()
    yield Check(name, State.GOOD, f"version {version}, schema up to date")
    keys = [key for key in read_keys(store).values() if key.revoked_at is None]
    if keys:
        yield Check("API keys", State.GOOD, f"{len(keys)} in force")
    else:
        yield Check("API keys", State.ATTENTION, "none: only this machine may connect", "spanwise key create --scope admin NAME")
    store.close()


def _channels(settings: Settings) -> Check:
    alerts = settings.alerts
    n = len(alerts.alertmanager_urls) + len(alerts.notify_urls) + len(alerts.webhooks)
    if n == 0:
        return Check("pages", State.ATTENTION, "nobody is paged", "set alerts.alertmanager_urls, notify_urls or webhooks")
    return Check("pages", State.GOOD, f"{n} channel{'s' if n > 1 else ''} configured")


def _prices(settings: Settings) -> Check:
    if settings.price:
        return Check("own prices", State.GOOD, f"{len(settings.price)} configured")
    return Check(
        "own prices",
        State.ATTENTION,
        "none: a self-hosted model has no public price, so its cost stays unknown",
        "add a [[price]] per self-hosted model, or use the prices page",
    )
