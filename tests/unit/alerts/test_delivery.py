"""Planning, claiming, sending, retrying: one message at a time, none lost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from alerts.delivery import Dispatcher, RetryPolicy, Step, plan, triage
from alerts.notify.channel import ChannelRefusedError, ChannelUnavailableError
from storage.alerts import AlertEvent, Notice
from storage.clock import FixedClock
from storage.deliveries import Delivery, DeliveryState
from storage.errors import StoreUnavailableError
from tests.support.incidents import T0, MemoryOutbox, RecordingChannel, make_notice

POLICY = RetryPolicy(
    backoff=timedelta(seconds=4),
    backoff_max=timedelta(seconds=60),
    deadline=timedelta(hours=1),
    claim_lifetime=timedelta(minutes=2),
)


class Scene:
    """One outbox, one channel, any number of dispatchers on one clock."""

    def __init__(self) -> None:
        self.outbox = MemoryOutbox()
        self.channel = RecordingChannel()
        self.clock = FixedClock(T0)

    def dispatcher(self, holder: str = "one", outbox: MemoryOutbox | None = None) -> Dispatcher:
        return Dispatcher(outbox or self.outbox, [self.channel], lambda: "https://s.example", POLICY, self.clock, holder)

    def states(self) -> list[DeliveryState]:
        return [step.state for step in self.outbox.newest()]

    def wait(self, seconds: float) -> None:
        self.clock.set(self.clock.now() + timedelta(seconds=seconds))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_notice_is_written_down_before_it_is_sent_and_sent_once(scene: Scene) -> None:
    scene.outbox.events.append(make_notice())
    dispatcher = scene.dispatcher()
    dispatcher.run()
    dispatcher.run()
    assert scene.channel.keys == [("a1", 1)]
    assert [step.state for step in scene.outbox.steps] == [DeliveryState.PENDING, DeliveryState.CLAIMED, DeliveryState.SENT]
    assert scene.channel.messages[0].url == "https://s.example/alerts/a1"


def test_a_channel_that_is_down_is_tried_again_with_growing_waits(scene: Scene) -> None:
    scene.outbox.events.append(make_notice())
    scene.channel.is_down = True
    dispatcher = scene.dispatcher()
    waits = []
    for _ in range(6):
        dispatcher.run()
        [step] = scene.outbox.newest()
        assert step.state is DeliveryState.FAILED
        waits.append((step.not_before - scene.clock.now()).total_seconds())
        scene.wait(waits[-1])
    # 4 s doubled each time, at most 60 s, between half and all of it
    for wait, full in zip(waits, [4, 8, 16, 32, 60, 60], strict=True):
        assert full / 2 <= wait <= full
    scene.channel.is_down = False
    dispatcher.run()
    assert scene.channel.keys == [("a1", 1)]
    assert scene.states() == [DeliveryState.SENT]
    assert scene.outbox.newest()[0].attempt == 7


def test_before_its_time_nothing_is_tried(scene: Scene) -> None:
    scene.outbox.events.append(make_notice())
    scene.channel.is_down = True
    dispatcher = scene.dispatcher()
    dispatcher.run()
    scene.wait(1.9)
    dispatcher.run()
    assert scene.outbox.newest()[0].attempt == 1


def test_a_channel_may_ask_for_more_time(scene: Scene) -> None:
    scene.outbox.events.append(make_notice())
    scene.channel.failures = [ChannelUnavailableError("HTTP 429", retry_after_seconds=45)]
    scene.dispatcher().run()
    assert scene.outbox.newest()[0].not_before == T0 + timedelta(seconds=45)


def test_a_refusal_is_a_dead_letter_at_once(scene: Scene) -> None:
    scene.outbox.events.append(make_notice())
    scene.channel.failures = [ChannelRefusedError("HTTP 401 Unauthorized")]
    scene.dispatcher().run()
    [step] = scene.outbox.newest()
    assert (step.state, step.error) == (DeliveryState.DEAD, "HTTP 401 Unauthorized")


def test_past_the_deadline_it_is_a_dead_letter_but_never_untried(scene: Scene) -> None:
    scene.outbox.events.append(make_notice())
    scene.outbox.append(plan(scene.outbox.unplanned(), ["sink"], T0, POLICY.deadline))
    scene.channel.is_down = True
    scene.wait(5 * 3600)
    dispatcher = scene.dispatcher()
    dispatcher.run()
    assert scene.states() == [DeliveryState.FAILED]
    dispatcher.run()
    assert scene.states() == [DeliveryState.DEAD]


def test_a_dead_letter_does_not_hold_up_the_next_notice(scene: Scene) -> None:
    scene.outbox.events.append(make_notice())
    scene.channel.failures = [ChannelRefusedError("HTTP 400")]
    dispatcher = scene.dispatcher()
    dispatcher.run()
    scene.outbox.events.append(make_notice(2, Notice.RESOLVED))
    dispatcher.run()
    assert scene.channel.keys == [("a1", 2)]


def test_firing_is_heard_before_resolved(scene: Scene) -> None:
    scene.outbox.events += [make_notice(2, Notice.RESOLVED), make_notice(1)]
    dispatcher = scene.dispatcher()
    dispatcher.run()
    dispatcher.run()
    assert scene.channel.keys == [("a1", 1), ("a1", 2)]


def test_after_an_outage_the_newest_notice_says_it_all(scene: Scene) -> None:
    scene.channel.is_down = True
    dispatcher = scene.dispatcher()
    for number, kind in enumerate((Notice.FIRING, Notice.UPDATE, Notice.REMINDER), start=1):
        scene.outbox.events.append(make_notice(number, kind))
        dispatcher.run()
    scene.channel.is_down = False
    scene.wait(60)
    dispatcher.run()
    assert scene.channel.keys == [("a1", 3)]
    assert sorted(scene.states()) == [DeliveryState.SENT, DeliveryState.SUPERSEDED, DeliveryState.SUPERSEDED]


def test_one_incidents_trouble_is_not_anothers(scene: Scene) -> None:
    scene.channel.failures = [ChannelUnavailableError("busy")]
    scene.outbox.events += [make_notice(alert_id="a1"), make_notice(alert_id="a2")]
    scene.dispatcher().run()
    assert len(scene.channel.messages) == 1
    assert sorted(scene.states()) == [DeliveryState.FAILED, DeliveryState.SENT]


class RacingOutbox(MemoryOutbox):
    """Lets a rival claim at the same moment, before either reads."""

    def __init__(self, shared: MemoryOutbox, rival: str) -> None:
        super().__init__()
        self.events, self.steps, self._rival = shared.events, shared.steps, rival

    def append(self, steps: Sequence[Delivery]) -> None:
        super().append(steps)
        for step in steps:
            if step.state is DeliveryState.CLAIMED and self._rival:
                self.steps.append(Delivery(**{**vars(step), "holder": self._rival}))
                self._rival = ""


def test_two_that_claim_at_once_both_yield_and_one_sends_later(scene: Scene) -> None:
    scene.outbox.events.append(make_notice())
    first = scene.dispatcher("one", RacingOutbox(scene.outbox, "two"))
    first.run()
    assert scene.channel.messages == []
    scene.wait(119)
    first.run()
    assert scene.channel.messages == []
    scene.wait(2)
    first.run()
    assert scene.channel.keys == [("a1", 1)]


def test_a_claim_by_another_is_left_alone_until_it_lapses(scene: Scene) -> None:
    """The other was killed between claim and send: nobody knows whether it sent, so it is sent again, under the same key."""
    scene.outbox.events.append(make_notice())
    scene.outbox.append(plan(scene.outbox.unplanned(), ["sink"], T0, POLICY.deadline))
    [planned] = scene.outbox.newest()
    killed = {"sequence": 1, "state": DeliveryState.CLAIMED, "attempt": 1, "holder": "killed"}
    scene.outbox.append([Delivery(**{**vars(planned), **killed})])
    dispatcher = scene.dispatcher()
    dispatcher.run()
    assert scene.channel.messages == []
    scene.wait(120)
    dispatcher.run()
    assert scene.channel.keys == [("a1", 1)]
    assert scene.outbox.newest()[0].attempt == 2


class FailingOutbox(MemoryOutbox):
    """Loses the store right after a message went out."""

    is_down = False

    def append(self, steps: Sequence[Delivery]) -> None:
        if self.is_down or any(step.state is DeliveryState.SENT for step in steps):
            self.is_down = True
            raise StoreUnavailableError("gone")
        super().append(steps)


def test_what_was_sent_while_the_store_was_gone_is_not_sent_again(scene: Scene) -> None:
    outbox = FailingOutbox()
    outbox.events.append(make_notice())
    dispatcher = scene.dispatcher(outbox=outbox)
    with pytest.raises(StoreUnavailableError):
        dispatcher.run()
    scene.wait(600)
    with pytest.raises(StoreUnavailableError):
        dispatcher.run()
    outbox.__class__ = MemoryOutbox
    dispatcher.run()
    assert scene.channel.keys == [("a1", 1)]
    assert [step.state for step in outbox.newest()] == [DeliveryState.SENT]


def test_a_broken_page_is_not_a_crash(scene: Scene) -> None:
    scene.outbox.events.append(make_notice(page="{"))
    scene.dispatcher().run()
    assert scene.states() == [DeliveryState.FAILED]


def test_a_channel_taken_out_of_the_settings_waits_for_its_deadline() -> None:
    [step] = plan([make_notice()], ["gone"], T0, POLICY.deadline)
    assert triage([step], ["other"], T0, POLICY) == []
    assert triage([step], ["other"], T0 + POLICY.deadline, POLICY) == [(step, Step.BURY)]


def test_planning_twice_is_the_same_delivery() -> None:
    notices: list[AlertEvent] = [make_notice()]
    later = T0 + timedelta(seconds=9)
    assert [step.delivery_id for step in plan(notices, ["x", "y"], T0, POLICY.deadline)] == [
        step.delivery_id for step in plan(notices, ["x", "y"], later, POLICY.deadline)
    ]
