"""Services whose rollouts, alerts and prices are told by `rollout_story`, for pages to be looked at without the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from alerts.page import Content, StreamLine, TraceLink
from alerts.verdict import VerdictKind
from api.config import ApiConfig
from api.documents import to_json
from api.problems import not_found
from api.services import Document, RolloutReport, Services
from storage.alerts import SubjectKind
from storage.api_keys import ANONYMOUS, ApiKey
from storage.client import Store
from storage.clock import FixedClock
from tests.support import rollout_story as story

NOW = story.AS_OF + timedelta(minutes=3)
ALERT_ID = "a1b2c3d4e5f60718"


class OpenDoor:
    """Lets everybody in as the administrator of a fresh install."""

    keys_exist = False
    must_read = False

    def authenticate(self, secret: str | None, peer: str) -> ApiKey:
        return ANONYMOUS

    def by_id(self, key_id: str) -> ApiKey | None:
        return None

    def forget(self) -> None:
        return


class StoryDesk:
    """The rollouts, verdicts and the one alert of the story; remembers what was answered."""

    def __init__(self, trace_ids: Sequence[str] = ()) -> None:
        self.verdict_of = {
            story.ROLLOUT: story.verdict(),
            "search-rerank": replace(story.verdict(VerdictKind.NO_HARM_SEEN), rollout="search-rerank"),
        }
        self._alert: dict[str, Any] = _alert(trace_ids)
        self._silences: list[Document] = []

    def rollouts(self) -> Sequence[Document]:
        return [self.rollout(name) for name in (*self.verdict_of, "summarizer")]

    def overview(self) -> Sequence[tuple[Document, Document]]:
        return [(rollout, self.verdict(rollout["name"])) for rollout in self.rollouts()]

    def report(self, name: str) -> RolloutReport:
        rollout, verdict = self.rollout(name), self.verdict(name)
        if not verdict.get("comparison_id"):
            return RolloutReport(rollout, verdict)
        return RolloutReport(rollout, verdict, story.scorecard(), self.gate(name))

    def rollout(self, name: str) -> Document:
        if name not in (*self.verdict_of, "summarizer"):
            raise not_found("rollout", name, self.verdict_of)
        return {
            "name": name,
            "service": "support-agent",
            "baseline": "teacher",
            "candidate": "student",
            "discovered": name == "search-rerank",
            "gates": {"max_cost_ratio": 0.5, "max_regression": 0.03, "max_high_value_regression": 0.01},
        }

    def declare_rollout(self, name: str, declaration: Document, actor: str) -> Document:
        return declaration

    def scorecard(self, name: str) -> Document:
        return dict(to_json(story.scorecard()))

    def verdict(self, name: str) -> Document:
        self.rollout(name)
        if name not in self.verdict_of:
            return {"rollout": name, "kind": "collecting", "reasons": [], "streams": []}
        return dict(to_json(self.verdict_of[name]))

    def gate(self, name: str, on: str = "") -> Document:
        return story.gate()

    def alerts(self, states: Sequence[str], rollout: str = "") -> Sequence[Document]:
        matches = (not states or self._alert["state"] in states) and rollout in ("", self._alert["subject"])
        return [self._alert] if matches else []

    def alert(self, alert_id: str) -> Document:
        if alert_id != ALERT_ID:
            raise not_found("alert", alert_id, [ALERT_ID])
        return self._alert

    def acknowledge(self, alert_id: str, actor: str, note: str) -> Document:
        self._alert |= {"state": "acknowledged", "acknowledged_at": to_json(NOW), "acknowledged_by": actor}
        return self.alert(alert_id)

    def silence(self, alert_id: str, actor: str, reason: str, until: datetime) -> Document:
        self._alert |= {"state": "silenced", "silenced_until": to_json(until), "silenced_by": actor, "silence_reason": reason}
        self._silences.append({"subject": story.ROLLOUT, "until": to_json(until)})
        return self.alert(alert_id)

    def accept(self, alert_id: str, actor: str, reason: str) -> Document:
        self._alert |= {"state": "accepted", "accepted_at": to_json(NOW), "closed_by": actor, "close_reason": reason}
        return self.alert(alert_id)

    def silences(self) -> Sequence[Document]:
        return self._silences

    def exposition(self) -> str:
        return ""


class StoryPrices:
    """A price book in a list."""

    def __init__(self) -> None:
        self._prices: list[Document] = [
            {"model": "teacher-70b", "provider": "", "effective_from": "1970-01-01T00:00:00Z", "input_usd_per_mtok": 3.0}
            | {"output_usd_per_mtok": 15.0, "author": "settings", "recorded_at": None},
            {"model": "student-8b-v1", "provider": "self", "effective_from": "2026-02-01T00:00:00Z", "gpu_hour_usd": 2.1}
            | {"concurrent_requests": 24, "author": "ops", "recorded_at": "2026-02-01T09:30:00Z"},
        ]

    def prices(self, with_history: bool) -> Sequence[Document]:
        return self._prices

    def set_price(self, price: Document, author: str) -> Document:
        if not any(key.endswith(("_mtok", "_usd")) for key in price):
            raise ValueError("a price needs a token rate, request_usd or gpu_hour_usd")
        self._prices.append({**price, "author": author, "recorded_at": to_json(NOW)})
        return price


def story_services(store: Store, trace_ids: Sequence[str] = ()) -> Services:
    """Services over `store`, at a time shortly after the story's verdict."""
    return Services(
        store=store,
        clock=FixedClock(NOW),
        config=ApiConfig(keep_seconds=0),
        authenticator=OpenDoor(),
        alerts=StoryDesk(trace_ids),
        prices=StoryPrices(),
        settings={
            "data_dir": "spanwise-data",
            "api": {"public_url": "", "session_secret": "**********"},
            "alerts": {"reminder_hours": 4},
        },
        version="0.1.0",
        wall_clock=FixedClock(NOW),
    )


def _alert(trace_ids: Sequence[str]) -> dict[str, Any]:
    page = story.verdict().pages[0]
    content = Content(
        subject_kind=SubjectKind.ROLLOUT,
        subject=story.ROLLOUT,
        kind=page.kind,
        severity="critical",
        service="support-agent",
        environment="production",
        baseline="teacher",
        candidate="student-8b-v1",
        evidence_at=page.decided_at,
        what=page.headline,
        streams=(
            StreamLine(
                page.stream_id, "eval_fail", "TaskCompletion", story.LOSING, page.quality, story.finding(story.LOSING).since
            ),
        ),
        cost=page.cost,
        certainty=page.certainty,
        reach=page.reach,
        not_known=page.not_known,
        action=page.action,
        exemplars=tuple(TraceLink(trace_id, f"/traces/{trace_id}") for trace_id in trace_ids),
    )
    return {
        "alert_id": ALERT_ID,
        "subject_kind": "rollout",
        "subject": story.ROLLOUT,
        "comparison_id": "c0ffee",
        "kind": page.kind.value,
        "state": "firing",
        "streams": [page.stream_id],
        "opened_at": to_json(page.decided_at),
        "evidence_at": to_json(page.paged_minute),
        "fired_at": to_json(page.decided_at),
        "acknowledged_at": None,
        "silenced_until": None,
        "accepted_at": None,
        "resolved_at": None,
        "n_notices": 1,
        "last_notified_at": to_json(page.decided_at),
        "page": to_json(content),
        "deliveries": [
            {
                "channel": "slack",
                "state": "sent",
                "notice": "firing",
                "attempt": 1,
                "recorded_at": to_json(page.decided_at),
                "error": "",
            },
            {
                "channel": "webhook",
                "state": "dead",
                "notice": "firing",
                "attempt": 9,
                "recorded_at": to_json(NOW),
                "error": "HTTP 500",
            },
        ],
    }
