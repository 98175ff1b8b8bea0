"""The application over a real store, called without a socket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fastapi.testclient import TestClient

from alerts.alerter import Alerter
from alerts.config import AlertsConfig
from analytics.prices import PriceHistory
from api.app import create_app
from api.auth import KeyAuthenticator
from api.background import BackgroundJobs
from api.config import ApiConfig
from api.desk import Desk
from api.services import Services
from collector.quarantine import NotInQuarantineError
from collector.scores import RejectedScore, ScoreReceipt
from collector.spool import Waiting
from storage.client import Store
from storage.clock import FixedClock

NOW = datetime(2026, 3, 1, 13, 0, tzinfo=UTC)


@dataclass
class ScoresKept:
    """A collector that keeps scores in a list; one without a name is refused."""

    taken: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    reason: str | None = None
    held: Waiting = field(default_factory=lambda: Waiting(0, 8 << 30, None))

    def accept_scores(self, scores: Sequence[Any], key_id: str) -> ScoreReceipt:
        rejected = tuple(RejectedScore(i, ("name: missing",)) for i, score in enumerate(scores) if "name" not in score)
        self.taken += [(dict(score), key_id) for score in scores if "name" in score]
        return ScoreReceipt(len(scores), len(scores) - len(rejected), rejected)

    def not_ready(self) -> str | None:
        return self.reason

    def waiting(self) -> Waiting:
        return self.held

    def flush(self) -> None:
        return

    def retry_quarantined(self, quarantine_id: str) -> int:
        raise NotInQuarantineError(quarantine_id)

    def drop_quarantined(self, quarantine_id: str) -> int:
        return 3


class NoJobs:
    """Jobs that end at once."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def run(self, kind: str, since: Any = None, until: Any = None, progress: Any = None, given: Any = None) -> None:
        self.ran.append(kind)


def make_services(store: Store, clock: FixedClock, **changes: Any) -> Services:
    """Services over `store`; the clock is both clocks."""
    alerter = Alerter(store, AlertsConfig(), clock, wall=clock)
    given: dict[str, Any] = {
        "store": store,
        "clock": clock,
        "wall_clock": clock,
        "config": ApiConfig(keep_seconds=0),
        "authenticator": KeyAuthenticator(store, clock, cache_seconds=0),
        "alerts": Desk(store, alerter, clock, clock),
        "prices": PriceHistory(store),
        "collector": ScoresKept(),
        "jobs": BackgroundJobs(NoJobs()),
        "settings": {"api": {"session_secret": "**********"}},
        "version": "0.0.test",
    }
    return Services(**(given | changes))


def make_client(services: Services, **options: Any) -> TestClient:
    """A client that calls from loopback."""
    return TestClient(create_app(services), client=("127.0.0.1", 50000), base_url="http://localhost", **options)
