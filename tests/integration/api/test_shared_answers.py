"""One answer for many readers: made once, told only to those who may ask, and gone once somebody changed something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import pages, routes
from api.auth import KeyAuthenticator
from api.config import ApiConfig
from api.kept import Kept
from api.shared import SharedRoute
from storage.api_keys import ApiKey, Scope, create_key, revoke_key
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


class Reads(KeyAuthenticator):
    """Counts who is asked for a key."""

    n_calls = 0

    def authenticate(self, secret: str | None, peer: str) -> ApiKey:
        self.n_calls += 1
        return super().authenticate(secret, peer)


def test_a_kept_answer_is_given_at_once_to_those_who_may_ask_and_to_nobody_else(store: Store) -> None:
    """Without the threads and dependencies of a route: who asks is looked up once, where making an answer does it again."""
    clock = FixedClock(NOW)
    reader, other, sender = (
        create_key(store, name, frozenset({scope}), NOW)
        for name, scope in (("reader", Scope.READ), ("other", Scope.READ), ("sender", Scope.INGEST))
    )
    door = Reads(store, clock, cache_seconds=5, failures_per_minute=3)
    client = keeping(store, authenticator=door)
    write_traces(store, [trace_row(1)])

    def ask(secret: str, **headers: str) -> tuple[int, int]:
        before = door.n_calls
        status = client.get("/api/v1/traces", headers={"authorization": f"Bearer {secret}", **headers}).status_code
        return status, door.n_calls - before

    # the first reads the keys where it may wait, the second finds nothing kept for its rights
    assert ask(sender[1]) == (403, 1)
    assert ask(reader[1]) == (200, 2)
    assert (ask(reader[1]), ask(other[1])) == ((200, 1), (200, 1))
    assert ask(sender[1])[0] == 403
    # another form is another question
    assert ask(reader[1], accept="text/csv") == (200, 2)
    # a wrong key is one failure, however far it came
    assert [ask("sw_wrong")[0] for _ in range(4)] == [401, 401, 401, 429]
    assert ask(reader[1]) == (429, 1)
    clock.set(NOW + timedelta(minutes=2))
    assert ask(reader[1]) == (200, 1)
    revoke_key(store, reader[0].key_id, clock.now())
    clock.set(NOW + timedelta(minutes=3))
    assert (ask(reader[1])[0], ask(other[1])) == (401, (200, 1))


def test_a_kept_answer_is_told_to_no_name_of_somebody_elses(store: Store) -> None:
    """Without keys, a page elsewhere whose name leads here is no visitor from here: also not to what others looked at."""
    client = keeping(store, authenticator=KeyAuthenticator(store, FixedClock(NOW), cache_seconds=5))
    assert [client.get("/traces", headers={"host": host}).status_code for host in ("localhost", "localhost", "evil.example")] == [
        200,
        200,
        421,
    ]


def test_every_shared_route_gives_what_is_kept(store: Store) -> None:
    """A router that forgets its class still answers, only slowly."""

    def is_shared(route: object) -> bool:
        return getattr(getattr(route, "endpoint", None), "is_shared", False)

    routers = [module.router for package in (routes, pages) for module in vars(package).values() if hasattr(module, "router")]
    found = [route for router in routers for route in router.routes if is_shared(route)]
    assert len(found) > 20
    assert [route for route in found if not isinstance(route, SharedRoute)] == []


def test_a_kept_answer_goes_out_packed_or_as_it_is_or_not_at_all(store: Store) -> None:
    client = make_client(replace(story_services(store, write_rows(store)), config=ApiConfig(keep_seconds=60)))
    forms = [{"accept-encoding": "gzip"}, {"accept-encoding": "identity"}]
    # made, then kept
    (packed, plain), again = ([client.get("/traces", headers=form) for form in forms] for _ in range(2))
    assert (packed.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
    assert packed.text == plain.text
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert [answer.headers for answer in again] == [packed.headers, plain.headers]
    assert [answer.text for answer in again] == [plain.text] * 2
    tag = packed.headers["etag"]
    assert (tag, packed.headers["vary"]) == (f"W/{plain.headers['etag']}", "Accept-Encoding")
    known = client.get("/traces", headers={"if-none-match": tag})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", plain.headers["etag"])
    assert known.headers["content-security-policy"] == plain.headers["content-security-policy"]


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
