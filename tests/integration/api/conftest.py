"""The application over a fresh store, at a fixed time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from api.services import Services
from storage.client import Store
from storage.clock import FixedClock
from tests.support.api_client import NOW, make_client, make_services


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
