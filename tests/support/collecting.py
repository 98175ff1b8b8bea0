"""A whole collector on free ports over a test's store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector.config import CollectorConfig
from collector.service import Collector, Endpoints
from storage.client import Store
from storage.clock import WallClock
from tests.support.receivers import OpenDoor


@dataclass(frozen=True)
class Running:
    """A started collector and where its doors are."""

    collector: Collector
    endpoints: Endpoints


@contextmanager
def collecting(store: Store, directory: Path, config: Mapping[str, Any] | None = None) -> Iterator[Running]:
    """Start a collector; on leaving it drains and stops."""
    settings = CollectorConfig.model_validate(config or {})
    collector = Collector(settings, store, directory, WallClock(), OpenDoor(), host="127.0.0.1", grpc_port=0, http_port=0)
    endpoints = collector.start()
    assert endpoints is not None
    try:
        yield Running(collector, endpoints)
    finally:
        collector.stop()
