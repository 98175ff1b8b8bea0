"""Every route, with every scope and without any key; sessions; loopback; who is told to wait."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from api.app import create_app
from api.auth import KeyAuthenticator
from api.services import Services
from storage.api_keys import Scope, create_key, revoke_key
from storage.client import Store
from storage.clock import FixedClock
from tests.support.api_client import NOW, make_client, make_services

pytestmark = pytest.mark.integration

OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("POST", "/logout"),
    ("GET", "/api/v1/openapi.json"),
}
ADMIN = {
    ("PUT", "/api/v1/rollouts/{name}"),
    ("POST", "/api/v1/rollouts/{name}/end"),
    ("POST", "/api/v1/alerts/{alert_id}/acknowledge"),
    ("POST", "/api/v1/alerts/{alert_id}/silence"),
    ("POST", "/api/v1/alerts/{alert_id}/accept"),
    ("POST", "/api/v1/alerts/{alert_id}/unsilence"),
    ("POST", "/api/v1/deliveries/{delivery_id}/retry"),
    ("PUT", "/api/v1/prices"),
    ("POST", "/api/v1/jobs/{kind}"),
    ("GET", "/api/v1/keys"),
    ("POST", "/api/v1/keys"),
    ("DELETE", "/api/v1/keys/{key_id}"),
    ("POST", "/api/v1/quarantine/{quarantine_id}/{action}"),
    ("POST", "/alerts/{alert_id}/acknowledge"),
    ("POST", "/alerts/{alert_id}/silence"),
    ("POST", "/alerts/{alert_id}/accept"),
    ("POST", "/prices"),
}
INGEST = {("POST", "/api/v1/scores")}
REFUSED = {401, 403}


def needed(method: str, path: str) -> Scope | None:
    if (method, path) in OPEN:
        return None
    if (method, path) in INGEST:
        return Scope.INGEST
    return Scope.ADMIN if (method, path) in ADMIN else Scope.READ


def routes(services: Services) -> Iterator[tuple[str, str]]:
    for route in _flat(create_app(services).routes):
        for method in sorted(route.methods - {"HEAD"}):
            yield method, route.path


def _flat(found: Any) -> Iterator[APIRoute]:
    for route in found:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "effective_route_contexts"):
            yield from (context for context in route.effective_route_contexts())


@pytest.fixture
def secrets(store: Store) -> dict[str, str]:
    made = {scope.value: create_key(store, scope.value, frozenset({scope}), NOW)[1] for scope in Scope}
    key, secret = create_key(store, "old", frozenset(Scope), NOW)
    revoke_key(store, key.key_id, NOW)
    return made | {"revoked": secret, "wrong": "sw_wrong"}


def call(client: TestClient, method: str, path: str, secret: str | None) -> int:
    filled = re.sub(r"\{[^}]+\}", "x", path)
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return client.request(method, filled, headers=headers, follow_redirects=False).status_code


def test_every_route_against_every_key(services: Services, secrets: dict[str, str], store: Store, clock: FixedClock) -> None:
    client = make_client(
        make_services(store, clock, authenticator=KeyAuthenticator(store, FixedClock(NOW), failures_per_minute=10**6))
    )
    mistakes = []
    seen = set(routes(services))
    assert len(seen) > 40
    assert (OPEN | ADMIN | INGEST) - {("GET", "/api/v1/openapi.json")} <= seen | {("GET", "/api/v1/openapi.json")}
    with client:
        for method, path in sorted(seen - {("POST", "/login")}):
            scope = needed(method, path)
            for name in (None, "ingest", "read", "admin", "revoked", "wrong"):
                status = call(client, method, path, secrets[name] if name else None)
                may = scope is None or name in (scope.value, "admin")
                if may == (status in REFUSED):
                    mistakes.append((method, path, name, status))
    assert mistakes == []


def test_without_any_key_loopback_may_and_others_may_not(services: Services) -> None:
    assert make_client(services).get("/api/v1/metrics").status_code == 200
    stranger = TestClient(create_app(services), client=("10.0.0.7", 4000), base_url="http://localhost")
    assert stranger.get("/api/v1/metrics").status_code == 401


def test_without_any_key_a_foreign_name_for_this_machine_is_refused(services: Services) -> None:
    """DNS rebinding: a page on evil.example whose name now leads to 127.0.0.1 is no visitor from this machine."""
    client = make_client(services)
    assert client.get("/api/v1/metrics", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/api/v1/metrics", headers={"Host": "127.0.0.1:8080"}).status_code == 200


def test_once_a_key_was_made_everyone_needs_one(services: Services, store: Store) -> None:
    client = make_client(services)
    made = client.post("/api/v1/keys", json={"name": "first", "scopes": ["admin"]})
    assert made.status_code == 201
    secret = made.json()["secret"]
    assert client.get("/api/v1/metrics").status_code == 401
    mine = {"Authorization": f"Bearer {secret}"}
    assert client.get("/api/v1/metrics", headers=mine).status_code == 200
    listed = client.get("/api/v1/keys", headers=mine).json()["items"]
    assert [item["name"] for item in listed] == ["first"]
    assert secret not in str(listed)
    assert "hash" not in listed[0]
    assert client.delete(f"/api/v1/keys/{listed[0]['key_id']}", headers=mine).json()["revoked_at"]
    # the last key is revoked: the door stays shut
    assert client.get("/api/v1/metrics", headers=mine).status_code == 401
    assert client.get("/api/v1/metrics").status_code == 401


def test_the_first_key_is_an_admins_or_nobody_could_make_the_next(services: Services) -> None:
    client = make_client(services)
    refused = client.post("/api/v1/keys", json={"name": "collector", "scopes": ["ingest", "read"]})
    assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (400, "first-key")
    assert client.get("/api/v1/metrics").status_code == 200
    secret = client.post("/api/v1/keys", json={"name": "me", "scopes": ["admin"]}).json()["secret"]
    mine = {"Authorization": f"Bearer {secret}"}
    second = client.post("/api/v1/keys", json={"name": "collector", "scopes": ["ingest"]}, headers=mine)
    assert second.status_code == 201


def test_the_secret_is_not_stored(store: Store) -> None:
    _, secret = create_key(store, "k", frozenset({Scope.READ}), NOW)
    assert secret.removeprefix("sw_") not in str(store.frame("SELECT * FROM api_keys").to_dicts())


def test_many_wrong_keys_have_to_wait_and_the_right_one_too(store: Store, clock: FixedClock, secrets: dict[str, str]) -> None:
    client = make_client(make_services(store, clock))
    wrong = {"Authorization": "Bearer sw_guess"}
    statuses = [client.get("/api/v1/metrics", headers=wrong).status_code for _ in range(25)]
    assert statuses[:20] == [401] * 20
    assert statuses[20:] == [429] * 5
    answer = client.get("/api/v1/metrics", headers={"Authorization": f"Bearer {secrets['read']}"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "61")
    clock.set(clock.now() + timedelta(seconds=61))
    assert client.get("/api/v1/metrics", headers={"Authorization": f"Bearer {secrets['read']}"}).status_code == 200


def test_a_browser_exchanges_a_key_for_a_session(store: Store, clock: FixedClock, secrets: dict[str, str]) -> None:
    client = make_client(make_services(store, clock), follow_redirects=False)
    sent = client.get("/alerts?state=firing", headers={"Accept": "text/html"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=%2Falerts%3Fstate%3Dfiring")
    assert client.post("/login", data={"key": "sw_wrong", "next": "/alerts"}).status_code == 401
    answer = client.post("/login", data={"key": secrets["read"], "next": "/alerts"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/alerts")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert secrets["read"] not in cookie
    assert client.get("/api/v1/metrics").status_code == 200
    assert client.post("/api/v1/jobs/merge", json={}).status_code == 403
    clock.set(NOW + timedelta(hours=13))
    assert client.get("/api/v1/metrics").status_code == 401


def test_a_session_ends_with_its_key(store: Store, clock: FixedClock, secrets: dict[str, str]) -> None:
    client = make_client(make_services(store, clock))
    key, secret = create_key(store, "leaver", frozenset({Scope.READ}), NOW)
    client.post("/login", data={"key": secret})
    assert client.get("/api/v1/metrics").status_code == 200
    revoke_key(store, key.key_id, NOW)
    assert client.get("/api/v1/metrics").status_code == 401


def test_a_forged_session_is_none(store: Store, clock: FixedClock, secrets: dict[str, str]) -> None:
    client = make_client(make_services(store, clock))
    for forged in ("x", "a.b.c", "..", f"{'a' * 12}.99999999999.AAAA", "%C3%A9.1.x"):
        client.cookies.set("spanwise_session", forged)
        assert client.get("/api/v1/metrics").status_code == 401, forged


def test_signing_in_leads_nowhere_else(store: Store, clock: FixedClock, secrets: dict[str, str]) -> None:
    client = make_client(make_services(store, clock), follow_redirects=False)
    for target in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\r\nX: y"):
        assert client.post("/login", data={"key": secrets["read"], "next": target}).headers["location"] == "/"


def test_another_site_cannot_use_the_session(services: Services) -> None:
    client = make_client(services)
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = client.post("/api/v1/jobs/merge", json={}, headers=headers)
        assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]) == (403, "cross-site")


def test_our_own_pages_can(services: Services) -> None:
    headers = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert make_client(services).post("/api/v1/jobs/merge", json={}, headers=headers).status_code == 202


def test_log_lines_name_keys_and_never_hold_secrets(store: Store, clock: FixedClock, secrets: dict[str, str]) -> None:
    client = make_client(make_services(store, clock))
    with structlog.testing.capture_logs() as lines:
        client.get("/api/v1/metrics", headers={"Authorization": f"Bearer {secrets['revoked']}"})
        client.post("/login", data={"key": secrets["read"]})
        client.post(
            "/api/v1/keys", json={"name": "new", "scopes": ["read"]}, headers={"Authorization": f"Bearer {secrets['admin']}"}
        )
    assert [line["event"] for line in lines] == ["key_refused", "signed_in", "key_created"]
    assert not any(secret.removeprefix("sw_") in str(lines) for secret in secrets.values())
