"""`spanwise doctor` beside a running instance: what that one knows of itself, asked with the key of the environment."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn
from typer.testing import CliRunner

from api.app import create_app
from spanwise.cli import app
from spanwise.doctor import Check, State, examine
from spanwise.settings import Settings, load, masked
from storage.alerts import AlertId, Notice
from storage.api_keys import Scope, create_key
from storage.client import Store
from storage.clock import FixedClock, WallClock
from storage.deliveries import Delivery, DeliveryState, write_deliveries
from storage.job_runs import JobRun, JobState, write_job_run
from tests.support.api_client import NOW, make_services
from tests.support.peers import until

pytestmark = pytest.mark.integration

HOUR = timedelta(hours=1)


@pytest.fixture
def here(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings that lead to an instance; the instance itself pages a webhook that these do not know."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPANWISE_API_KEY", raising=False)
    listener = socket.create_server(("127.0.0.1", 0))
    settings = load(None, {"data_dir": tmp_path / "data", "http_port": listener.getsockname()[1]})
    own = masked(settings)
    own["alerts"]["webhooks"] = [{"url": "**********"}]
    services = make_services(store, FixedClock(NOW), settings=own)
    server = uvicorn.Server(uvicorn.Config(create_app(services), log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    until(lambda: server.started, "the API to be up")
    yield settings
    server.should_exit = True
    thread.join()
    listener.close()


def found(settings: Settings) -> dict[str, Check]:
    return {check.name: check for check in examine(settings)}


def test_it_judges_the_instance_and_not_what_is_configured_here(here: Settings, store: Store) -> None:
    assert found(here)["pages"].state is State.GOOD
    assert found(here)["jobs"].state is State.GOOD
    assert found(here)["API keys"].state is State.ATTENTION
    now = WallClock().now()  # runs of long ago expire
    failed = JobRun("1", "rollup", now - HOUR, now, JobState.FAILED, error="disk full")
    done = JobRun("2", "assemble", now - HOUR, now, JobState.DONE)
    mended = [JobRun("3", "merge", now - 2 * HOUR, now, JobState.FAILED), JobRun("4", "merge", now - HOUR, now, JobState.DONE)]
    for run in (failed, done, *mended):
        write_job_run(store, run)
    dead = Delivery(
        "d1", 1, AlertId("a1"), "e1", Notice.FIRING, 1, "webhook-1", DeliveryState.DEAD, 3, "", NOW, NOW, "answered 500", NOW
    )
    write_deliveries(store, [dead])
    checks = found(here)
    assert (checks["job rollup"].state, "disk full" in checks["job rollup"].finding) == (State.BAD, True)
    assert not {"jobs", "job assemble", "job merge"} & set(checks)
    assert checks["channel webhook-1"].finding == "1 messages given up, 0 being tried again; newest error: answered 500"


def test_it_sends_the_key(here: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = create_key(store, "me", frozenset({Scope.READ}), NOW)
    told = found(here)["its jobs, messages, settings"]
    assert (told.state, "SPANWISE_API_KEY" in told.fix) == (State.ATTENTION, True)
    monkeypatch.setenv("SPANWISE_API_KEY", secret)
    checks = found(here)
    assert (checks["API keys"].state, checks["pages"].state) == (State.GOOD, State.GOOD)


def test_what_to_do_is_whole_in_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spanwise.commands import setup

    price = Check(
        "own prices", State.ATTENTION, "none", "add a [[price]] per model; set alerts.alertmanager_urls, notify_urls or more"
    )
    monkeypatch.setattr(setup, "examine", lambda _: [price])
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "40"})
    assert price.fix in told.stdout
