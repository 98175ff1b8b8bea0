"""The alerter on a real store: from verdicts to messages, with people answering, restarts and rivals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from alerts import actions
from alerts.alerter import Alerter
from alerts.config import AlertsConfig, MethodConfig, RolloutConfig, ThresholdConfig, WebhookConfig
from alerts.evaluate import Evaluator
from alerts.verdict import Outcome, Verdict, VerdictKind
from api.desk import Desk
from storage.alerts import (
    AlertRow,
    AlertState,
    Subject,
    SubjectKind,
    UnknownAlertError,
    read_alert,
    read_alert_events,
    read_alerts,
)
from storage.client import Store
from storage.clock import FixedClock
from storage.deliveries import DeliveryState, UnknownDeliveryError, read_deliveries
from tests.support.api_client import make_client, make_services
from tests.support.peers import HttpSink, http_sink
from tests.support.rollout_story import AS_OF, LOSING, ROLLOUT, finding, verdict

pytestmark = pytest.mark.integration

DECLARED = RolloutConfig(name=ROLLOUT, service="support-agent", baseline="teacher", candidate="student")
# the wall clock is weeks ahead of the evidence, as it is when history is replayed
WALL = datetime(2026, 4, 1, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class StoryEvaluator:
    """Concludes what the test says."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []

    def tick(self, rollouts: Sequence[RolloutConfig], now: datetime, stopped: Mapping[str, str] | None = None) -> list[Verdict]:
        names = {rollout.name for rollout in rollouts}
        return [verdict for verdict in self.verdicts if verdict.rollout in names]

    def report(self, rollout: RolloutConfig) -> None:
        """Nothing is compared."""

    def verdict(self, rollout: str) -> Verdict | None:
        return next((verdict for verdict in self.verdicts if verdict.rollout == rollout), None)

    def stand_by(self) -> None:
        """It holds nothing."""


class Scene:
    """A store, a webhook, two clocks and any number of alerters."""

    def __init__(self, store: Store, sink: HttpSink) -> None:
        self.store, self.sink = store, sink
        self.clock, self.wall = FixedClock(AS_OF), FixedClock(WALL)
        self.evaluator = StoryEvaluator()
        self.rules: tuple[ThresholdConfig, ...] = ()
        self._alerters: list[Alerter] = []

    def start(self, rollouts: Sequence[RolloutConfig] = (DECLARED,), *, with_lease: bool = False) -> Alerter:
        config = AlertsConfig(webhooks=(WebhookConfig(url=SecretStr(self.sink.url)),), threshold=self.rules)
        alerter = Alerter(
            self.store, config, self.clock, rollouts=rollouts, wall=self.wall, public_url=lambda: "https://s.example"
        )
        if not with_lease:
            alerter._lease = None
        alerter.evaluator = self.evaluator  # type: ignore[assignment]
        self._alerters.append(alerter)
        return alerter

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in self.sink.requests]

    def notices(self) -> list[str]:
        return [message["notice"] for message in self.told()]

    def wait(self, duration: timedelta) -> None:
        self.clock.set(self.clock.now() + duration)
        self.wall.set(self.wall.now() + duration)

    def alert(self) -> AlertRow:
        [row] = read_alerts(self.store, ())
        return read_alert(self.store, row.alert_id)

    def close(self) -> None:
        for alerter in self._alerters:
            alerter.close()


@pytest.fixture
def scene(store: Store) -> Iterator[Scene]:
    with http_sink() as sink:
        scene = Scene(store, sink)
        yield scene
        scene.close()


def with_second_stream(known: Verdict) -> Verdict:
    complaint = finding("complaint")
    page = replace(known.pages[0], stream_id=complaint.stream_id, quality="complaint: at least +1.1 pp (proved)")
    return replace(known, streams=(*known.streams, complaint), pages=(*known.pages, page))


def test_a_divergence_is_told_once_with_its_page(scene: Scene) -> None:
    scene.evaluator.verdicts = [verdict(VerdictKind.NO_HARM_SEEN)]
    alerter = scene.start()
    alerter.evaluate()
    assert scene.told() == []
    scene.evaluator.verdicts = [verdict()]
    for _ in range(3):
        alerter.evaluate()
        scene.wait(MINUTE)
    [message] = scene.told()
    alert = scene.alert()
    assert message["dedup_key"] == alert.alert_id
    assert message["url"] == f"https://s.example/alerts/{alert.alert_id}"
    assert message["alert"]["what"] == verdict().pages[0].headline
    assert [line["cohort"] for line in message["alert"]["streams"]] == [LOSING]
    assert "$11.08" in message["alert"]["trade"]  # 1840 dollars saved / 166 more failures
    assert (alert.state, alert.kind, alert.subject.name) == (AlertState.FIRING, "divergence", ROLLOUT)


def test_a_restart_does_not_page_again(scene: Scene) -> None:
    scene.evaluator.verdicts = [verdict()]
    scene.start().evaluate()
    scene.start().evaluate()
    assert scene.notices() == ["firing"]


def test_people_answer(scene: Scene) -> None:
    scene.evaluator.verdicts = [verdict()]
    alerter = scene.start()
    alerter.evaluate()
    alert_id = scene.alert().alert_id
    acknowledged = actions.acknowledge(scene.store, alert_id, "ana", "on it", scene.wall.now())
    assert (acknowledged.state, acknowledged.acknowledged_by) == (AlertState.ACKNOWLEDGED, "ana")
    scene.wait(9 * HOUR)
    alerter.evaluate()
    assert scene.notices() == ["firing"]
    accepted = actions.accept(scene.store, alert_id, "ana", "known and cheap enough", scene.wall.now())
    assert (accepted.state, accepted.closed_by, accepted.close_reason) == (AlertState.ACCEPTED, "ana", "known and cheap enough")
    alerter.evaluate()
    alerter.evaluate()
    assert scene.notices() == ["firing", "resolved"]
    assert scene.told()[1]["close_reason"] == "known and cheap enough"
    with pytest.raises(actions.AlertClosedError, match="is accepted already"):
        actions.acknowledge(scene.store, alert_id, "bob", "", scene.wall.now())
    told = [event.event for event in read_alert_events(scene.store, alert_id)]
    assert told == ["opened", "fired", "notified", "acknowledged", "accepted", "notified"] or set(told) >= {
        "accepted",
        "acknowledged",
    }


def test_a_silence_on_the_wall_clock(scene: Scene) -> None:
    scene.evaluator.verdicts = [verdict()]
    subject = Subject(SubjectKind.ROLLOUT, ROLLOUT)
    actions.silence_subject(scene.store, subject, WALL + HOUR, "ana", "migration", WALL)
    alerter = scene.start()
    alerter.evaluate()
    assert scene.notices() == []
    scene.wait(HOUR)
    alerter.evaluate()
    assert scene.notices() == ["firing"]
    alert_id = scene.alert().alert_id
    now = scene.wall.now()
    with pytest.raises(actions.ActionError, match="until: must lie in the next 90 days"):
        actions.silence(scene.store, alert_id, now, "ana", "why", now)
    with pytest.raises(actions.ActionError, match="reason"):
        actions.silence(scene.store, alert_id, now + HOUR, "ana", " ", now)


def test_later_streams_join_the_incident(scene: Scene) -> None:
    scene.evaluator.verdicts = [verdict()]
    alerter = scene.start()
    alerter.evaluate()
    scene.evaluator.verdicts = [with_second_stream(verdict())]
    scene.wait(5 * MINUTE)
    alerter.evaluate()
    assert scene.notices() == ["firing"]
    assert len(scene.alert().streams) == 2
    scene.wait(25 * MINUTE)
    alerter.evaluate()
    assert scene.notices() == ["firing", "update"]
    assert [line["cohort"] for line in scene.told()[1]["alert"]["streams"]] == [LOSING, "complaint"]


@pytest.mark.parametrize("end", ["rolled back", "redeclared", "removed", "another comparison"])
def test_how_an_incident_ends(scene: Scene, end: str) -> None:
    scene.evaluator.verdicts = [verdict()]
    alerter = scene.start()
    alerter.evaluate()
    scene.wait(MINUTE)
    if end == "rolled back":
        alerter.registry.end(ROLLOUT, "ana", "regulated answers", rolled_back=True)
        expected = "rolled back by ana: regulated answers"
    elif end == "redeclared":
        alerter.registry.end(ROLLOUT, "ana")
        expected = "rollout ended by ana"
    elif end == "removed":
        alerter = scene.start(rollouts=())
        expected = f"rollout {ROLLOUT!r} is no longer declared"
    else:
        scene.evaluator.verdicts = [replace(verdict(VerdictKind.COLLECTING), comparison_id="beef")]
        expected = "comparison ended: a model, a threshold or a route of the rollout changed"
    alerter.evaluate()
    alerter.evaluate()
    assert scene.notices() == ["firing", "resolved"]
    assert scene.told()[1]["close_reason"] == expected
    assert scene.alert().state is AlertState.RESOLVED


def test_a_candidate_out_of_traffic_was_rolled_back(scene: Scene) -> None:
    scene.evaluator.verdicts = [verdict()]
    alerter = scene.start()
    insert = """
        INSERT INTO metric_hours (bucket, service_name, metric, model_route, n_eligible_all, computed_at)
        SELECT toStartOfHour({at:DateTime('UTC')}), 'support-agent', 'error', {route:String}, 100, now64(9)
    """
    for hours, route in ((0, "teacher"), (0, "student"), (25, "teacher")):
        scene.store.command(insert, {"at": AS_OF + hours * HOUR, "route": route})
    alerter.evaluate()
    scene.wait(23 * HOUR)
    alerter.evaluate()
    assert scene.alert().state is AlertState.FIRING
    scene.wait(2 * HOUR)
    alerter.evaluate()
    assert scene.alert().close_reason == "rolled back: no candidate traffic for 24 h"


def test_a_verdict_missing_for_a_tick_closes_nothing(scene: Scene) -> None:
    scene.evaluator.verdicts = [verdict()]
    alerter = scene.start()
    alerter.evaluate()
    scene.evaluator.verdicts = []
    alerter.evaluate()
    assert scene.alert().state is AlertState.FIRING


def test_what_is_due_is_sent_even_when_judging_fails(scene: Scene) -> None:
    scene.evaluator.verdicts = [verdict()]
    alerter = scene.start()
    scene.sink.stop()
    alerter.evaluate()
    scene.sink.start()
    scene.wait(MINUTE)

    def broken(rollouts: Sequence[RolloutConfig], now: datetime, stopped: Mapping[str, str] | None = None) -> list[Verdict]:
        raise ArithmeticError("judging failed")

    scene.evaluator.tick = broken  # type: ignore[method-assign]
    with pytest.raises(ArithmeticError):
        alerter.evaluate()
    assert scene.notices() == ["firing"]


def test_only_the_holder_of_the_lease_works_and_the_next_takes_over(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.evaluator.verdicts = [verdict()]
    # an embedded engine has one owner and needs no lease; the store drops leases that are days old by its own clock
    monkeypatch.setattr(scene.store, "is_embedded", False)
    scene.wall.set(datetime.now(UTC))
    first, second = scene.start(with_lease=True), scene.start(with_lease=True)
    assert [known.rollout for known in first.evaluate()] == [ROLLOUT]
    assert second.evaluate() == []
    first.close()
    scene.wait(MINUTE)
    assert [known.rollout for known in second.evaluate()] == [ROLLOUT]
    assert scene.notices() == ["firing"]


def test_two_without_a_lease_still_page_once(scene: Scene) -> None:
    """The lease is the first guard, the ids of decisions and the claims are the second."""
    scene.evaluator.verdicts = [verdict()]
    first, second = scene.start(), scene.start()
    for _ in range(3):
        first.evaluate()
        second.evaluate()
        scene.wait(MINUTE)
    assert scene.notices() == ["firing"]


def test_a_dead_letter_is_seen_and_can_be_retried(scene: Scene) -> None:
    scene.evaluator.verdicts = [verdict()]
    alerter = scene.start()
    scene.sink.status = 401
    alerter.evaluate()
    [dead] = read_deliveries(scene.store, (DeliveryState.DEAD,))
    assert "401" in dead.error
    assert 'state="dead"} 1.0' in alerter.exposition()
    scene.sink.status = 200
    with pytest.raises(UnknownDeliveryError, match=dead.delivery_id):
        actions.retry_delivery(scene.store, "nobody", scene.wall.now())
    actions.retry_delivery(scene.store, dead.delivery_id, scene.wall.now())
    alerter.deliver()
    assert scene.notices() == ["firing"]
    with pytest.raises(actions.ActionError, match="is sent, not dead"):
        actions.retry_delivery(scene.store, dead.delivery_id, scene.wall.now())


def test_nobody_of_that_name(scene: Scene) -> None:
    scene.evaluator.verdicts = [verdict()]
    scene.start().evaluate()
    with pytest.raises(UnknownAlertError, match=f"open alerts: {scene.alert().alert_id}"):
        actions.acknowledge(scene.store, "nobody", "ana", "", WALL)


def traffic(store: Store, bucket: datetime, route: str, n: int, n_fail: int) -> None:
    store.command(
        """
        INSERT INTO metric_minutes
            (bucket, service_name, metric, model_route, n_eligible_all, n_scored_all, n_fail_all, computed_at)
        VALUES
            ({bucket:DateTime('UTC')}, 'support-agent', 'error', {route:String}, {n:UInt64}, {n:UInt64}, {fail:UInt64}, now64(9))
        """,
        {"bucket": bucket, "route": route, "n": n, "fail": n_fail},
    )


def test_a_threshold_lives_the_same_life(scene: Scene) -> None:
    rule = ThresholdConfig(name="errors", metric="error_rate", above=0.05, window_minutes=5, for_minutes=2, group_by=("route",))
    scene.rules = (rule,)
    alerter = scene.start(rollouts=())
    start = AS_OF.replace(second=0)
    for minute in range(-5, 20):
        # student: 10 of 100 fail until minute 5, none from then on; teacher: 1 of 100 fails
        traffic(scene.store, start + minute * MINUTE, "student", 100, 10 if minute < 5 else 0)
        traffic(scene.store, start + minute * MINUTE, "teacher", 100, 1)
    alerter.evaluate()
    assert scene.alert().state is AlertState.PENDING
    scene.wait(2 * MINUTE)
    alerter.evaluate()
    [message] = scene.told()
    assert message["alert"]["what"] == "THRESHOLD  errors: error_rate is above 0.05 for route=student"
    assert message["alert"]["streams"][0]["how_much"] == "error_rate 0.1 over the last 5 min, 500 traces"
    # the window is the five minutes before now: at minute 7 it holds 3 bad and 2 good ones, 6 %; at minute 8, 4 %
    scene.wait(5 * MINUTE)
    alerter.evaluate()
    assert scene.notices() == ["firing"]
    scene.wait(MINUTE)
    alerter.evaluate()
    assert scene.notices() == ["firing", "resolved"]
    assert scene.alert().close_reason == "condition cleared"


@pytest.mark.parametrize(("no_data", "expected"), [("ok", []), ("keep", []), ("alert", ["firing"])])
def test_a_threshold_without_data(scene: Scene, no_data: Any, expected: list[str]) -> None:
    scene.rules = (ThresholdConfig(name="errors", metric="error_rate", above=0.05, no_data=no_data),)
    scene.start(rollouts=()).evaluate()
    assert scene.notices() == expected


def test_routes_are_discovered_once_and_not_where_a_rollout_compares_them(scene: Scene) -> None:
    for route, cost in (("teacher", 0.02), ("student", 0.004), ("tiny", 0.001)):
        scene.store.command(
            """
            INSERT INTO metric_days
                (bucket, service_name, metric, model_route, n_eligible_all, n_value_all, sum_value_all, computed_at)
            VALUES ({bucket:DateTime('UTC')}, 'support-agent', 'error', {route:String}, 100, 0, 0, now64(9)),
                   ({bucket:DateTime('UTC')}, 'support-agent', 'cost', {route:String}, 100, 100, {cost:Float64}, now64(9))
            """,
            {"bucket": AS_OF.replace(hour=0, minute=0), "route": route, "cost": cost * 100},
        )
    alerter = scene.start()
    alerter.evaluate()
    alerter.evaluate()
    assert [(r.name, r.source) for r in alerter.registry.all()] == [
        ("refund-student", "settings"),
        ("support-agent.teacher.tiny", "discovered"),
    ]


def test_deliveries_and_silences_over_http(scene: Scene) -> None:
    scene.evaluator.verdicts = [verdict()]
    alerter = scene.start()
    scene.sink.status = 403
    alerter.evaluate()
    services = make_services(
        scene.store, scene.clock, alerts=Desk(scene.store, alerter, scene.clock, scene.wall), wall_clock=scene.wall
    )
    with make_client(services) as client:
        [dead] = client.get("/api/v1/deliveries", params={"state": "dead"}).json()["items"]
        assert "403" in dead["error"]
        # and wherever an operator looks: the data-health page, /metrics
        row = client.get("/health").text.split(dead["channel"], 1)[1].split("</tr>", 1)[0]
        assert "dead" in row
        told = f'spanwise_deliveries{{channel="{dead["channel"]}",state="dead"}} 1.0'
        assert told in client.get("/metrics").text
        assert client.post(f"/api/v1/deliveries/{dead['delivery_id']}/retry").json()["state"] == "pending"
        assert client.post(f"/api/v1/deliveries/{dead['delivery_id']}/retry").status_code == 422
        assert client.post("/api/v1/deliveries/nobody/retry").status_code == 404
        alert_id = scene.alert().alert_id
        client.post(f"/api/v1/alerts/{alert_id}/silence", json={"for": "4h", "reason": "moving"}).raise_for_status()
        assert [silence["reason"] for silence in client.get("/api/v1/silences").json()["items"]] == ["moving"]
        client.post(f"/api/v1/alerts/{alert_id}/unsilence").raise_for_status()
        assert client.get("/api/v1/silences").json()["items"] == []


def test_the_gates_answer_is_what_argo_reads(scene: Scene) -> None:
    """The template of docs/gate.md: its path into the document, and that its two conditions know every answer there is."""
    text = (Path(__file__).parents[3] / "docs" / "gate.md").read_text()
    [path] = re.findall(r"jsonPath: \"\{\$\.(\w+)\}\"", text)
    conditions = dict(re.findall(r"(success|failure)Condition: result == \"(\w+)\"", text))
    assert conditions == {"success": Outcome.PASS.value, "failure": Outcome.FAIL.value}
    assert set(Outcome) - set(conditions.values()) == {Outcome.UNDETERMINED}
    alerter = scene.start()
    alerter.evaluator = Evaluator(scene.store, MethodConfig())
    services = make_services(
        scene.store, scene.clock, alerts=Desk(scene.store, alerter, scene.clock, scene.wall), wall_clock=scene.wall
    )
    with make_client(services) as client:
        [url] = re.findall(r"url: \"https://spanwise\.example\.com(/api/v1/gate/\S+)\"", text)
        answer = client.get(url.replace("{{args.rollout}}", ROLLOUT))
        assert answer.status_code == 200
        assert answer.json()[path] == "undetermined"
