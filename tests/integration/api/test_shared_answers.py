"""One answer for many readers: made once, told only to those who may ask, and gone once somebody changed something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.config import ApiConfig
from api.kept import Kept
from storage.api_keys import Scope, create_key
from storage.client import Store
from storage.clock import FixedClock
from tests.support import rollout_story as story
from tests.support.api_client import NOW, make_client, make_services
from tests.support.facts import trace_row, write_traces
from tests.support.page_rows import STUDENT_TRACE, write_rows
from tests.support.page_services import ALERT_ID, story_services

pytestmark = pytest.mark.integration


def keeping(store: Store, **changes: Any) -> TestClient:
    return make_client(make_services(store, FixedClock(NOW), config=ApiConfig(keep_seconds=60), **changes))


class FixedWatch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_readers_share_an_answer_and_its_tag(store: Store) -> None:
    client = keeping(store)
    write_traces(store, [trace_row(1)])
    first = client.get("/api/v1/traces")
    write_traces(store, [trace_row(2)])
    again = client.get("/api/v1/traces")
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    assert client.get("/api/v1/traces", headers={"if-none-match": first.headers["etag"]}).status_code == 304
    # another question, another format: an answer of its own
    assert len(client.get("/api/v1/traces?limit=5").json()["items"]) == 2
    assert client.get("/api/v1/traces", headers={"accept": "text/csv"}).text.count("\n") == 3


def test_what_is_kept_is_told_to_nobody_who_may_not_ask(store: Store) -> None:
    client = keeping(store)
    reader, sender = (create_key(store, scope.value, frozenset({scope}), NOW)[1] for scope in (Scope.READ, Scope.INGEST))
    write_traces(store, [trace_row(1)])

    def status(**headers: str) -> int:
        return client.get("/api/v1/traces", headers=headers).status_code

    assert status(authorization=f"Bearer {reader}") == 200
    assert status() == 401
    assert status(authorization=f"Bearer {sender}") == 403


def test_an_answer_to_an_alert_is_seen_at_once(store: Store) -> None:
    client = make_client(replace(story_services(store), config=ApiConfig(keep_seconds=60)))
    page = {"accept": "text/html"}
    before = client.get(f"/alerts/{ALERT_ID}", headers=page).text
    client.post(f"/alerts/{ALERT_ID}/acknowledge", data={"note": "on it"})
    after = client.get(f"/alerts/{ALERT_ID}", headers=page).text
    assert ("Someone looks after it" in before, "Someone looks after it" in after) == (True, False)


def test_each_range_has_its_own_report(store: Store) -> None:
    """Two ranges a second apart are two questions."""
    client = keeping(store)
    write_traces(store, [trace_row(1)])
    begun = trace_row(1)["started_at"]

    def n_traces(start: datetime) -> list[int]:
        path, window = "/api/v1/quality/coverage", {"from": start.isoformat(), "to": (start + timedelta(minutes=10)).isoformat()}
        return [row["n_traces"] for row in client.get(path, params=window).json()["items"]]

    assert n_traces(begun) == [1]
    assert n_traces(begun + timedelta(seconds=1)) == []


def test_an_answer_is_renewed_when_who_asked_is_gone(store: Store) -> None:
    """Every page and table that is shared can be made again of what was asked alone."""
    watch, tasks = FixedWatch(), list[Callable[[], None]]()

    def later(task: Callable[[], None], /) -> bool:
        tasks.append(task)
        return True

    client = make_client(replace(story_services(store, write_rows(store)), config=ApiConfig(keep_seconds=60)))
    services = client.app.state.services  # type: ignore[attr-defined]
    kept = Kept(60, watch, fits=lambda _: True, later=later)
    client.app.state.services = replace(services, answers=kept)  # type: ignore[attr-defined]
    pages = ["/", f"/rollouts/{story.ROLLOUT}", f"/rollouts/{story.ROLLOUT}/pairs?cohort={story.LOSING}", "/traces"]
    pages += [f"/traces/{STUDENT_TRACE}", "/alerts", f"/alerts/{ALERT_ID}", "/health", "/prices", "/api/v1/traces"]
    pages += ["/api/v1/quality", "/api/v1/quality/coverage", "/api/v1/metrics/throughput", f"/api/v1/traces/{STUDENT_TRACE}"]

    def ask() -> list[str]:
        answers = [client.get(page, headers={"accept": "text/html,*/*;q=0.8"}) for page in pages]
        assert [answer.status_code for answer in answers] == [200] * len(pages)
        return [answer.text for answer in answers]

    first = ask()
    watch.now = 100.0
    assert (ask(), len(tasks)) == (first, len(pages))
    for task in tasks:
        task()
    # all of them are there: none failed, and nothing is asked for again
    assert len(kept._values) == len(pages)
    assert ask() == first
    assert len(tasks) == len(pages)
