"""One answer for many readers: made once, told only to those who may ask, and gone once somebody changed something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.config import ApiConfig
from storage.api_keys import Scope, create_key
from storage.client import Store
from storage.clock import FixedClock
from tests.support.api_client import NOW, make_client, make_services
from tests.support.facts import trace_row, write_traces
from tests.support.page_services import ALERT_ID, story_services

pytestmark = pytest.mark.integration


def keeping(store: Store, **changes: Any) -> TestClient:
    return make_client(make_services(store, FixedClock(NOW), config=ApiConfig(keep_seconds=60), **changes))


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
