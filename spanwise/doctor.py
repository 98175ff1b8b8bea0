"""What is wrong with this set-up, and what to do about it: one line per check."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx

from spanwise.instance import KEY_VARIABLE, InstanceError, api, api_url
from spanwise.opening import open_store
from spanwise.ports import PortError, ports
from spanwise.settings import Settings, masked
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
    """
    Check the disk, then the running instance: what it says of its jobs, messages, keys and settings. Where none is ready, check
    what it would need: the ports, the store, and the settings given here.
    """
    yield _disk(settings)
    instance = _instance(settings)
    yield instance
    if instance.state is State.GOOD:
        yield from _of_instance(settings)
        return
    yield from _ports(settings)
    yield from _store(settings)
    yield from _of_settings(masked(settings), len(settings.price))


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


def _of_instance(settings: Settings) -> Iterator[Check]:
    """What a running instance knows of itself; it may run with other settings than are found here."""
    try:
        with api(settings) as client:
            own = client.get("/api/v1/settings").json()["settings"]
            yield _keys(httpx.get(f"{api_url(settings)}/api/v1/settings", timeout=10).is_success)
            yield from _jobs(_items(client, "/api/v1/jobs", limit=1000))
            yield from _deliveries(_items(client, "/api/v1/deliveries", limit=1000))
            yield _quarantine(_items(client, "/api/v1/quarantine", state="held", limit=1000))
            yield from _of_settings(own, len(_items(client, "/api/v1/prices", history=False)))
    except InstanceError as error:
        yield Check("its jobs, messages, settings", State.ATTENTION, str(error), f"set {KEY_VARIABLE} to a key with scope read")


def _items(client: httpx.Client, path: str, **parameters: str | int | bool) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get(path, params=parameters).json()["items"]
    return items


def _keys(nobody_needs_one: bool) -> Check:
    if nobody_needs_one:
        return Check("API keys", State.ATTENTION, "none: only this machine may connect", "spanwise key create --scope admin NAME")
    return Check("API keys", State.GOOD, "every door asks for one")


def _jobs(runs: list[dict[str, Any]]) -> Iterator[Check]:
    """The newest run of each kind; `runs` come newest first."""
    newest: dict[str, dict[str, Any]] = {}
    for run in runs:
        newest.setdefault(run["kind"], run)
    failed = {kind: run for kind, run in newest.items() if run["state"] == "failed"}
    for kind, run in sorted(failed.items()):
        yield Check(f"job {kind}", State.BAD, f"failed at {run['started_at']}: {run['error']}", "see the log of the instance")
    if not failed:
        yield Check("jobs", State.GOOD, f"{', '.join(sorted(newest)) or 'none'} ran without an error lately")


def _deliveries(messages: list[dict[str, Any]]) -> Iterator[Check]:
    """Per channel, what it did not take: given up, or to be tried again; `messages` come newest first."""
    open_ones = [message for message in messages if message["state"] in ("dead", "failed")]
    for channel in sorted({message["channel"] for message in open_ones}):
        told = [message for message in open_ones if message["channel"] == channel]
        n_dead = sum(message["state"] == "dead" for message in told)
        finding = f"{n_dead} messages given up, {len(told) - n_dead} being tried again; newest error: {told[0]['error']}"
        yield Check(f"channel {channel}", State.BAD, finding, "mend the channel, then: spanwise alerts retry")
    if not open_ones:
        yield Check("messages", State.GOOD, f"all of the newest {len(messages)} were taken" if messages else "none so far")


def _quarantine(held: list[dict[str, Any]]) -> Check:
    if not held:
        return Check("quarantine", State.GOOD, "nothing is held")
    finding = f"{len(held)} requests the store refused; newest: {held[0]['reason']}"
    return Check("quarantine", State.ATTENTION, finding, "spanwise quarantine list; after the cause was mended, retry")


def _ports(settings: Settings) -> Iterator[Check]:
    for port in ports(settings, settings.host):
        try:
            port.try_it()
        except PortError as error:
            yield Check(port.setting, State.BAD, str(error), f"stop what uses it, or set {port.setting}")
        else:
            yield Check(port.setting, State.GOOD, f"{port.address} is free" if port.number else "any free port")


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


def _of_settings(settings: Mapping[str, Any], n_prices: int) -> Iterator[Check]:
    """Where pages go and what prices there are; `settings` as `spanwise config` shows them."""
    n = sum(len(settings["alerts"][kind]) for kind in ("alertmanager_urls", "notify_urls", "webhooks"))
    if n:
        yield Check("pages", State.GOOD, f"{n} channel{'s' if n > 1 else ''} configured")
    else:
        yield Check("pages", State.ATTENTION, "nobody is paged", "set alerts.alertmanager_urls, notify_urls or webhooks")
    if n_prices:
        yield Check("own prices", State.GOOD, f"{n_prices} in force")
    else:
        yield Check(
            "own prices",
            State.ATTENTION,
            "none: a self-hosted model has no public price, so its cost stays unknown",
            "add a [[price]] per self-hosted model, or use the prices page",
        )
