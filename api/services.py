"""What the API stands on: seams to the other rooms, handed in by the composition in `spanwise/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from alerts.scorecard import Scorecard
from analytics.config import EvaluatorRules
from api.config import ApiConfig
from api.kept import Kept
from collector.spool import Waiting
from storage.api_keys import ApiKey
from storage.client import Store
from storage.clock import Clock, WallClock

Document = Mapping[str, Any]
"""An answer in the shape the API gives it (JSON values only): pages render the very documents that callers get."""


class Authenticator(Protocol):
    """Says who calls; see `api.auth.KeyAuthenticator`."""

    def authenticate(self, secret: str | None, peer: str) -> ApiKey:
        """Raises `AuthenticationError`, `TooManyFailuresError` (storage.api_keys)."""
        ...

    def by_id(self, key_id: str) -> ApiKey | None:
        """An unrevoked key, for sessions."""
        ...

    def forget(self) -> None:
        """Drop what is cached: a key was made or revoked."""
        ...

    @property
    def keys_exist(self) -> bool: ...

    @property
    def must_read(self) -> bool:
        """Whether the next call may wait for the store."""
        ...


class ScoreDoor(Protocol):
    """The collector, as the API uses it."""

    def accept_scores(self, scores: Sequence[Mapping[str, Any]], key_id: str) -> Any:
        """Durably accept scores. Returns a receipt: a dataclass with counts and, per rejected score, its reason."""
        ...

    def not_ready(self) -> str | None:
        """Why nothing can be accepted now, or None."""
        ...

    def waiting(self) -> Waiting:
        """What was accepted and is not in the store yet."""
        ...

    def flush(self) -> None:
        """Return once everything accepted so far is in the store."""
        ...

    def retry_quarantined(self, quarantine_id: str) -> int:
        """Send a held request through again. Returns its items; an unknown one raises a LookupError of ours."""
        ...

    def drop_quarantined(self, quarantine_id: str) -> int:
        """Give a held request up. Returns its items."""
        ...


class JobDesk(Protocol):
    """Jobs run in the background on a person's request; see `api.background.BackgroundJobs`."""

    @property
    def kinds(self) -> Sequence[str]: ...

    def start(self, kind: str, since: datetime | None, until: datetime | None, given: Mapping[str, Any] | None = None) -> str:
        """Queue a run and return its id; `given` says what to erase, or a backup's name. Raises ProblemError: too many wait."""
        ...

    def progress(self, run_id: str) -> Document | None:
        """`{"id", "kind", "state", "progress": 0..1, "detail", ...}`, or None: no such run; see `api.background`."""
        ...

    def not_ready(self) -> str | None: ...


@dataclass(frozen=True)
class RolloutReport:
    """
    A rollout with its verdict, scorecard and gate; None: nothing is compared yet, or no more.

    The scorecard is not written as a document: a page would only read it back, which takes longer than judging does.
    """

    rollout: Document
    verdict: Document
    scorecard: Scorecard | None = None
    gate: Document | None = None


class AlertDesk(Protocol):
    """Rollouts, verdicts and alerts, as documents; see `api.desk.Desk`. Unknown names raise a 404 `ProblemError`."""

    def rollouts(self) -> Sequence[Document]: ...

    def overview(self) -> Sequence[tuple[Document, Document]]:
        """Every rollout with its verdict."""
        ...

    def rollout(self, name: str) -> Document: ...

    def report(self, name: str) -> RolloutReport:
        """All that is known of one rollout, judged once."""
        ...

    def declare_rollout(self, name: str, declaration: Document, actor: str) -> Document: ...

    def end_rollout(self, name: str, actor: str, reason: str, *, rolled_back: bool) -> Document: ...

    def scorecard(self, name: str) -> Document: ...

    def verdict(self, name: str) -> Document: ...

    def gate(self, name: str, on: str = "") -> Document:
        """`{"rollout", "gate": pass|fail|undetermined, "checks", "reasons"}`; `on="experiment"` judges golden sets."""
        ...

    def alerts(self, states: Sequence[str], rollout: str = "") -> Sequence[Document]:
        """Newest first. `states` empty: all."""
        ...

    def alert(self, alert_id: str) -> Document: ...

    def acknowledge(self, alert_id: str, actor: str, note: str) -> Document: ...

    def silence(self, alert_id: str, actor: str, reason: str, until: datetime) -> Document: ...

    def accept(self, alert_id: str, actor: str, reason: str) -> Document: ...

    def silences(self) -> Sequence[Document]: ...

    def exposition(self) -> str:
        """Prometheus text of rollouts, verdicts and deliveries."""
        ...


class PriceDesk(Protocol):
    """The price book, as documents."""

    def prices(self, with_history: bool) -> Sequence[Document]: ...

    def set_price(self, price: Document, author: str) -> Document:
        """Raises ValueError when it is no price."""
        ...


@dataclass(frozen=True)
class Services:
    """Everything a route or page may use. A seam that is None belongs to a role this process does not run."""

    store: Store
    clock: Clock
    """The clock verdicts are made by (`--clock`); relative times such as -24h count from it."""
    config: ApiConfig
    authenticator: Authenticator
    alerts: AlertDesk
    prices: PriceDesk
    collector: ScoreDoor | None = None
    jobs: JobDesk | None = None
    standing: Callable[[], Mapping[str, str]] = dict
    """`active` or `standby` for each role of this process; a standby works as soon as it gets the lease."""
    roles: frozenset[str] = frozenset({"collector", "analytics", "alerts", "api"})
    evaluators: EvaluatorRules = field(default_factory=EvaluatorRules)
    """How evaluations become verdicts: a trace shows them as the metrics count them."""
    settings: Document = field(default_factory=dict)
    """Effective settings, secrets masked: what `GET /api/v1/settings` and the settings page show."""
    kept: Kept = field(default_factory=lambda: Kept(0))
    """Parts of answers that many readers ask for at once, `api.keep_seconds` old at most."""
    answers: Kept = field(default_factory=lambda: Kept(0))
    """Whole ones; see `api.shared`."""
    otlp_http: str = "http://127.0.0.1:4318"
    """Where OTLP over HTTP is taken in; people may reach the machine by another name."""
    version: str = ""
    started_at: datetime | None = None
    wall_clock: Clock = field(default_factory=WallClock)
    """For sessions, ages and job records."""
