"""One process per role on one ClickHouse (the embedded engine behind its HTTP interface), each killed in turn under load."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.e2e.test_serve import send_traces
from tests.support.peers import http_sink
from tests.support.server import ROOT, Server, running, wait_for

pytestmark = pytest.mark.e2e
# Ticks of a process come later on a machine that is busy with other tests.
_LOAD_SECONDS = 10


class ClickHouse:
    """The HTTP front in a process of its own, which can be told to fail."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "-m", "tests.support.clickhouse_http", str(directory)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().split()[1])
        self.url = f"clickhouse://default:@127.0.0.1:{self.port}"

    def fail(self, fault: str, pattern: str = "") -> None:
        httpx.post(f"http://127.0.0.1:{self.port}/fault", json={"fault": fault, "pattern": pattern}).raise_for_status()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def clickhouse(tmp_path: Path) -> Iterator[ClickHouse]:
    server = ClickHouse(tmp_path / "clickhouse")
    yield server
    server.stop()


@pytest.fixture
def start(clickhouse: ClickHouse, tmp_path: Path) -> Iterator[object]:
    """Starts a process of the given roles; all are stopped at the end."""
    with ExitStack() as stack:
        count = iter(range(100))

        def begin(role: str, **more: str) -> Server:
            environment = {"SPANWISE_CLICKHOUSE_URL": clickhouse.url} | more
            return stack.enter_context(running(tmp_path / f"{next(count)}-{role}", "--role", role, environment=environment))

        yield begin


def standing(server: Server) -> list[str]:
    """What a process with both roles says of analytics and alerter."""
    roles = httpx.get(f"{server.api}/readyz", timeout=10).raise_for_status().json()["roles"]
    return [roles["analytics"], roles["alerts"]]


def spans_by_trace(api: Server) -> dict[str, int]:
    return {row[0]: row[1] for row in api.sql("SELECT trace_id, count() FROM spans GROUP BY trace_id")}


def test_two_roles_share_nothing_but_tables(start, clickhouse: ClickHouse) -> None:  # type: ignore[no-untyped-def]
    collector = start("collector")
    rest = start("analytics,alerts,api")
    ids = send_traces(collector, 20)
    wait_for(lambda: spans_by_trace(rest) == dict.fromkeys(ids, 2), 60, "all spans")
    wait_for(lambda: rest.sql("SELECT count() FROM trace_facts FINAL")[0][0] == 20, 90, "all facts")
    assert httpx.get(f"{collector.api}/healthz", timeout=10).status_code == 200
    assert httpx.get(f"{collector.api}/api/v1/rollouts", timeout=10).status_code == 404


def test_nothing_acknowledged_is_lost_when_roles_are_killed(start, clickhouse: ClickHouse, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    collector, analytics, alerts, api = (start(role) for role in ("collector", "analytics", "alerts", "api"))
    ids = send_traces(collector, 50)
    collector.kill()
    with ExitStack() as restarted:
        again = restarted.enter_context(started_again(collector, "collector", clickhouse))
        ids += send_traces(again, 50)
        analytics.kill()
        start("analytics")
        ids += send_traces(again, 50)
        alerts.kill()
        start("alerts")
        score = {"trace_id": ids[0], "name": "user_feedback", "label": "down", "annotator_kind": "user"}
        httpx.post(f"{api.api}/api/v1/scores", json={"scores": [score]}, timeout=30).raise_for_status()
        api.kill()
        seen_by = restarted.enter_context(started_again(api, "api", clickhouse))
        wait_for(lambda: spans_by_trace(seen_by) == dict.fromkeys(ids, 2), 90, "every acknowledged span, once")
        wait_for(lambda: facts(seen_by) == 150, 120, "every trace's facts")
        # one verdict in an event of each trace, and the score
        wait_for(lambda: seen_by.sql("SELECT count() FROM evaluations")[0][0] == 151, 60, "every acknowledged evaluation, once")


def test_the_spool_bridges_a_dead_clickhouse(start, clickhouse: ClickHouse) -> None:  # type: ignore[no-untyped-def]
    collector, api = start("collector"), start("api")
    clickhouse.fail("error", "span_records")
    ids = send_traces(collector, 30)
    clickhouse.fail("none")
    wait_for(lambda: spans_by_trace(api) == dict.fromkeys(ids, 2), 90, "what came while the store failed")


def test_a_second_process_stands_by_takes_over_in_time_and_pages_nobody_again(start, clickhouse: ClickHouse) -> None:  # type: ignore[no-untyped-def]
    """Analytics and alerter of one process are killed after they paged; those of another one go on where they were."""
    rule = {"name": "silence", "metric": "error_rate", "above": 0.5, "no_data": "alert"}
    collector, api = start("collector"), start("api")
    with http_sink() as sink:
        paging = {
            "SPANWISE_ALERTS__THRESHOLD": json.dumps([rule]),
            "SPANWISE_ALERTS__WEBHOOKS": json.dumps([{"url": sink.url}]),
        }
        first = start("analytics,alerts", **paging)
        ids = send_traces(collector, 5)
        wait_for(lambda: facts(api) == 5 and len(sink.requests) == 1, 90, "the first one's work and its page")
        second = start("analytics,alerts", **paging)
        before = leases(api)["analytics"][0].expires
        wait_for(lambda: leases(api)["analytics"][0].expires > before, 60, "the first one's renewal beside the second one")
        assert {name: len(holders) for name, holders in leases(api).items() if name != "migration"} == {
            "analytics": 1,
            "alerts": 1,
        }
        assert (standing(first), standing(second)) == (["active"] * 2, ["standby"] * 2)
        ids += send_traces(collector, 5)
        first.kill()
        wait_for(lambda: [len(leases(api)[name]) for name in ("analytics", "alerts")] == [2, 2], 90, "both leases' takeover")
        for name in ("analytics", "alerts"):
            lapsed, taken = leases(api)[name]
            # what the docs state: 30 s from the last renewal, 2 s of settling, one attempt every 10 s (analytics) or tick
            assert timedelta(0) <= taken.began - lapsed.expires <= timedelta(seconds=2 + 10 + _LOAD_SECONDS)
        wait_for(lambda: spans_by_trace(api) == dict.fromkeys(ids, 2) and facts(api) == 10, 90, "the second one's work")
        ended = leases(api)["alerts"][1].expires
        wait_for(lambda: leases(api)["alerts"][1].expires > ended, 60, "another tick of the second alerter")
        wait_for(lambda: standing(second) == ["active"] * 2, 60, "the second one to say that it is at work")
        assert [json.loads(request.body)["notice"] for request in sink.requests] == ["firing"]


@dataclass(frozen=True)
class Held:
    """One holder's time with a lease."""

    began: datetime
    expires: datetime


def leases(api: Server) -> dict[str, list[Held]]:
    """Who held each lease, one after the other."""
    columns = "name, toString(min(changed_at)), toString(max(expires_at))"
    sql = f"SELECT {columns} FROM leases GROUP BY name, term, holder ORDER BY name, term"
    found: dict[str, list[Held]] = {}
    for name, began, expires in api.sql(sql):
        found.setdefault(name, []).append(Held(instant(began), instant(expires)))
    return found


def instant(text: str) -> datetime:
    """Of ClickHouse's text: nine digits of a second, of which Python keeps six."""
    return datetime.fromisoformat(text[:26]).replace(tzinfo=UTC)


def facts(api: Server) -> int:
    return int(api.sql("SELECT count() FROM trace_facts FINAL")[0][0])


def test_concurrent_starts_make_one_schema(clickhouse: ClickHouse, tmp_path: Path) -> None:
    servers: list[Server] = []
    errors: list[BaseException] = []

    def begin(number: int) -> None:
        try:
            environment = {"SPANWISE_CLICKHOUSE_URL": clickhouse.url}
            servers.append(Server(tmp_path / str(number), "--role", "api", environment=environment))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert servers[0].sql("SELECT count() = uniqExact(number) FROM schema_migrations FINAL")[0][0] in (1, True)
    for server in servers:
        server.stop()


def started_again(killed: Server, role: str, clickhouse: ClickHouse) -> AbstractContextManager[Server]:
    """The same role on the same directory, as a supervisor would start it."""
    return running(killed.data_dir, "--role", role, environment={"SPANWISE_CLICKHOUSE_URL": clickhouse.url})
