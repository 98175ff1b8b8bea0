"""The application over a fresh store, at a fixed time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import uvicorn
from fastapi.testclient import TestClient

from api.app import create_app
from api.services import Services
from storage.client import Store
from storage.clock import FixedClock
from tests.support.api_client import NOW, make_client, make_services
from tests.support.facts import START, trace_row, write_traces


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def services(store: Store, clock: FixedClock) -> Iterator[Services]:
    made = make_services(store, clock)
    yield made
    assert made.jobs is not None
    made.jobs.stop()  # type: ignore[attr-defined]


@pytest.fixture
def client(services: Services) -> TestClient:
    return make_client(services)


@pytest.fixture
def address(store: Store) -> Iterator[str]:
    """A server over a few traces of two routes, all of cohort `refund`; the student's newest failed."""
    rows = [
        trace_row(
            number,
            started_at=START - timedelta(hours=number),
            model_route="student" if number % 2 else "teacher",
            cohort="refund",
        )
        for number in range(10)
    ]
    write_traces(store, [row | {"errored": number == 1} for number, row in enumerate(rows)])
    services = make_services(store, FixedClock(NOW))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(services), log_config=None, access_log=False, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()
    services.jobs.stop()  # type: ignore[union-attr]
