"""A real Alertmanager takes, groups, de-duplicates, silences and resolves what we post."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from alerts.notify.alertmanager import AlertmanagerChannel
from alerts.notify.channel import ChannelRefusedError, ChannelUnavailableError
from alerts.page import StreamLine
from alerts.templates import Templates
from storage.alerts import AlertId, Notice, Silence
from storage.clock import WallClock
from tests.support.incidents import ROLLOUT, make_content, make_message
from tests.support.peers import HttpSink, free_port, http_sink, peer, until

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = [pytest.mark.integration, pytest.mark.skipif(PROGRAM is None, reason="no Alertmanager on this machine")]

# group_wait and group_interval are short so that the test is; `rollout` and `incident` are what the documentation groups by
CONFIG = """
route:
  receiver: sink
  group_by: [alertname, rollout, incident]
  group_wait: 500ms
  group_interval: 300ms
  repeat_interval: 1h
receivers:
  - name: sink
    webhook_configs:
      - url: {url}/page
        send_resolved: true
"""
HOUR = timedelta(hours=1)


@dataclass
class Manager:
    """An Alertmanager and what it tells."""

    url: str
    sink: HttpSink
    channel: AlertmanagerChannel

    def alerts(self, **query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/api/v2/alerts", params=query).raise_for_status().json()
        return found

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in self.sink.requests]


@contextmanager
def running(tmp_path: Path) -> Iterator[Manager]:
    assert PROGRAM is not None
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with http_sink() as sink:
        (tmp_path / "alertmanager.yml").write_text(CONFIG.format(url=sink.url))
        command = [
            PROGRAM,
            f"--config.file={tmp_path / 'alertmanager.yml'}",
            f"--storage.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]
        with peer(command, f"{url}/-/ready", tmp_path / "alertmanager.log"):
            channel = AlertmanagerChannel(url, HOUR, Templates(), WallClock(), 5)
            yield Manager(url, sink, channel)
            channel.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with running(tmp_path) as started:
        yield started


def now_message(notice: Notice = Notice.FIRING, number: int = 1, n_streams: int = 1) -> Any:
    """The example, beginning now: Alertmanager drops alerts that ended long ago."""
    cohorts = ("regulated_answer", "complaint", "press")[:n_streams]
    streams = tuple(StreamLine(f"eval_fail/Judge/{c}", "eval_fail", "Judge", c, f"{c}: at least +2.6 pp", None) for c in cohorts)
    now = datetime.now(UTC)
    message = make_message(notice, number, streams=streams)
    return replace(message, recorded_at=now, content=replace(message.content, evidence_at=now - timedelta(minutes=1)))


def test_it_is_taken_with_labels_to_route_by_and_a_link(manager: Manager) -> None:
    manager.channel.send(now_message())
    [alert] = manager.alerts()
    assert alert["labels"] == {
        "alertname": "SpanwiseRollout",
        "rollout": "refund-student",
        "incident": "a1",
        "severity": "critical",
        "kind": "divergence",
        "service": "support-agent",
        "environment": "production",
        "baseline": "teacher",
        "candidate": "student",
        "stream": "eval_fail/Judge/regulated_answer",
        "metric": "eval_fail",
        "evaluator": "Judge",
        "cohort": "regulated_answer",
    }
    assert alert["generatorURL"] == "https://spanwise.example/alerts/a1"
    assert alert["annotations"]["summary"] == make_content().what
    assert "at least +2.6 pp" in alert["annotations"]["how_much"]
    ends_at = datetime.fromisoformat(alert["endsAt"])
    assert timedelta(minutes=55) < ends_at - datetime.now(UTC) < timedelta(minutes=65)


def test_streams_of_one_incident_are_one_page_and_posting_again_is_not_another(manager: Manager) -> None:
    manager.channel.send(now_message(n_streams=2))
    until(lambda: len(manager.told()) == 1, "the page")
    [page] = manager.told()
    assert page["status"] == "firing"
    began = {alert["startsAt"] for alert in manager.alerts()}
    assert {alert["labels"]["cohort"] for alert in page["alerts"]} == {"regulated_answer", "complaint"}
    for _ in range(3):
        manager.channel.refresh([now_message(n_streams=2)])
    assert {alert["startsAt"] for alert in manager.alerts()} == began
    # a stream that joins is the next thing that is said: had the refreshes been pages, they would have come before it
    manager.channel.send(now_message(Notice.UPDATE, 2, n_streams=3))
    until(lambda: len(manager.told()) > 1, "the update")
    assert [len(page["alerts"]) for page in manager.told()] == [2, 3]


def test_the_end_is_told(manager: Manager) -> None:
    manager.channel.send(now_message())
    until(lambda: len(manager.told()) == 1, "the page")
    manager.channel.send(now_message(Notice.RESOLVED, 2))
    until(lambda: len(manager.told()) == 2, "the end")
    assert [page["status"] for page in manager.told()] == ["firing", "resolved"]
    until(lambda: manager.alerts(active="true") == [], "no alert to be left")


def test_our_silences_appear_there_move_and_go(manager: Manager) -> None:
    manager.channel.send(now_message())
    until(lambda: len(manager.told()) == 1, "the page")
    now = datetime.now(UTC)
    silence = Silence("s1", ROLLOUT, "a1", now + HOUR, "ana", "known, fix on Monday", now)
    manager.channel.mirror_silences({AlertId("a1"): silence})
    manager.channel.mirror_silences({AlertId("a1"): silence})
    [there] = httpx.get(f"{manager.url}/api/v2/silences").json()
    assert there["comment"] == "ana: known, fix on Monday"
    until(lambda: manager.alerts()[0]["status"]["state"] == "suppressed", "the alert to be suppressed")
    manager.channel.mirror_silences({AlertId("a1"): replace(silence, until=now + 2 * HOUR)})
    states = [s["status"]["state"] for s in httpx.get(f"{manager.url}/api/v2/silences").json()]
    assert states.count("active") == 1
    manager.channel.mirror_silences({})
    until(lambda: manager.alerts()[0]["status"]["state"] == "active", "the alert to be active again")


def test_somebody_elses_silences_are_left_alone(manager: Manager) -> None:
    now = datetime.now(UTC)
    body = {
        "matchers": [{"name": "incident", "value": "a1", "isRegex": False, "isEqual": True}],
        "startsAt": now.isoformat(),
        "endsAt": (now + HOUR).isoformat(),
        "createdBy": "bob",
        "comment": "mine",
    }
    httpx.post(f"{manager.url}/api/v2/silences", json=body).raise_for_status()
    manager.channel.mirror_silences({})
    [there] = httpx.get(f"{manager.url}/api/v2/silences").json()
    assert there["status"]["state"] == "active"


def test_after_its_restart_the_refresh_brings_the_alert_back(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        first.channel.send(now_message())
        assert len(first.alerts()) == 1
    with running(tmp_path) as second:
        assert second.alerts() == []
        second.channel.refresh([now_message()])
        assert len(second.alerts()) == 1


def test_an_absent_manager_is_unavailable_and_a_wrong_address_refuses() -> None:
    absent = AlertmanagerChannel(f"http://127.0.0.1:{free_port()}", HOUR, Templates(), WallClock(), 2)
    with pytest.raises(ChannelUnavailableError):
        absent.send(now_message())
    absent.close()
    with http_sink() as sink:
        sink.status = 404
        wrong = AlertmanagerChannel(sink.url, HOUR, Templates(), WallClock(), 2)
        with pytest.raises(ChannelRefusedError, match="404"):
            wrong.send(now_message())
        wrong.close()
