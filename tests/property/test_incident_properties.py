"""Whatever happens, in whatever order: nobody is paged twice for one notice, and no page is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alerts.delivery import Dispatcher, RetryPolicy
from alerts.lifecycle import Policy, Signal, decide, fold, make_event
from alerts.page import Message, to_json
from storage.alerts import AlertEvent, EventKind, Notice
from storage.clock import FixedClock
from storage.deliveries import Delivery, DeliveryState
from storage.errors import StoreUnavailableError
from tests.support.incidents import ROLLOUT, T0, MemoryOutbox, RecordingChannel, make_content

STREAMS = ("a", "b", "c")
POLICY = Policy(reminder_interval=timedelta(hours=4), update_interval=timedelta(minutes=30))
RETRIES = RetryPolicy(deadline=timedelta(days=400))


class Killed(BaseException):
    """kill -9: no handler runs."""


class MortalOutbox(MemoryOutbox):
    """Dies, or loses the store, at the n-th append from now; before or after the rows are in."""

    fuse: int | None = None
    is_written_first = False
    error: BaseException = Killed()

    def append(self, steps: Sequence[Delivery]) -> None:
        if not steps:
            return
        if self.fuse == 0:
            self.fuse = None
            if self.is_written_first:
                super().append(steps)
            raise self.error
        if self.fuse is not None:
            self.fuse -= 1
        super().append(steps)


class MortalChannel(RecordingChannel):
    """Dies right before or right after the other side has taken a message."""

    dies: str = ""

    def send(self, message: Message) -> None:
        dies, self.dies = self.dies, ""
        if dies == "before":
            raise Killed
        super().send(message)
        if dies == "after":
            raise Killed


class Incidents(RuleBasedStateMachine):
    """Two alerters on one outbox, a channel that comes and goes, a person who answers, and a killer."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = MortalOutbox()
        self.channel = MortalChannel()
        # sent by one who could not write that down any more
        self.unreported: Counter[tuple[str, int]] = Counter()
        self.clock = FixedClock(T0)
        self.harmed: set[str] = set()
        self.ended = ""
        self.silenced_until: datetime | None = None
        self.n_started = 0
        self.alerters = [self._start(), self._start()]

    def _start(self) -> Dispatcher:
        self.n_started += 1
        return Dispatcher(self.outbox, [self.channel], str, RETRIES, self.clock, f"holder-{self.n_started}")

    def _events(self) -> list[AlertEvent]:
        return self.outbox.events

    def _decide(self) -> None:
        signal = Signal(ROLLOUT, "c1", "divergence", tuple(sorted(self.harmed)), self.clock.now(), ended=self.ended)
        events = decide(signal, fold(self._events()), self.silenced_until, self.clock.now(), POLICY)
        known = {event.event_id for event in self._events()}
        page = to_json(make_content())
        self._events().extend(replace(event, page=page) for event in events if event.event_id not in known)

    def _tick(self, which: int) -> None:
        try:
            self._decide()
            self.alerters[which].run()
        except Killed:
            self.alerters[which] = self._start()
            self._note_unreported()
        except StoreUnavailableError:
            self._note_unreported()

    def _note_unreported(self) -> None:
        reported = {(step.alert_id, step.notice_number) for step in self.outbox.newest() if step.state is DeliveryState.SENT}
        for key, n in Counter(self.channel.keys).items():
            if key not in reported:
                self.unreported[key] = n

    @rule(which=st.integers(0, 1))
    def tick(self, which: int) -> None:
        self._tick(which)

    @rule(which=st.integers(0, 1), fuse=st.integers(0, 4), written=st.booleans())
    def tick_and_die(self, which: int, fuse: int, written: bool) -> None:
        self.outbox.fuse, self.outbox.is_written_first, self.outbox.error = fuse, written, Killed()
        self._tick(which)
        self.outbox.fuse = None

    @rule(which=st.integers(0, 1), fuse=st.integers(0, 4))
    def tick_and_lose_the_store(self, which: int, fuse: int) -> None:
        self.outbox.fuse, self.outbox.is_written_first, self.outbox.error = fuse, False, StoreUnavailableError("gone")
        self._tick(which)
        self.outbox.fuse = None

    @rule(which=st.integers(0, 1), when=st.sampled_from(("before", "after")))
    def tick_and_die_while_sending(self, which: int, when: str) -> None:
        self.channel.dies = when
        self._tick(which)
        self.channel.dies = ""

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        if not self.alerters[which]._unrecorded:
            self.alerters[which] = self._start()

    @rule(stream=st.sampled_from(STREAMS))
    def harm(self, stream: str) -> None:
        self.harmed.add(stream)

    @rule()
    def evidence_falls(self) -> None:
        self.harmed.clear()

    @rule(minutes=st.sampled_from((1, 3, 31, 250)))
    def time_passes(self, minutes: int) -> None:
        self.clock.set(self.clock.now() + timedelta(minutes=minutes))

    @rule(down=st.booleans())
    def channel_changes(self, down: bool) -> None:
        self.channel.is_down = down

    @rule(minutes=st.sampled_from((0, 60, 300)))
    def silence(self, minutes: int) -> None:
        self.silenced_until = self.clock.now() + timedelta(minutes=minutes)

    @precondition(lambda self: any(not incident.is_closed for incident in fold(self._events())))
    @rule(kind=st.sampled_from((EventKind.ACKNOWLEDGED, EventKind.ACCEPTED)))
    def answer(self, kind: EventKind) -> None:
        [incident] = [incident for incident in fold(self._events()) if not incident.is_closed]
        event = make_event(incident, kind, self.clock.now(), actor="ana", reason="known")
        if event.event_id not in {known.event_id for known in self._events()}:
            self._events().append(event)

    @precondition(lambda self: self.n_started > 4)
    @rule()
    def roll_back(self) -> None:
        self.ended = "rolled back"

    @invariant()
    def no_notice_is_heard_twice(self) -> None:
        for key, n in Counter(self.channel.keys).items():
            # who died right after sending could not say so: then, and only then, it is said once more, under the same key
            assert n <= 1 + self.unreported[key]

    @invariant()
    def a_stream_opens_one_incident(self) -> None:
        streams = [stream for incident in fold(self._events()) for stream in incident.streams]
        assert len(streams) == len(set(streams))
        assert sum(not incident.is_closed for incident in fold(self._events())) <= 1

    def teardown(self) -> None:
        """Everything comes back: now nothing may be missing."""
        self.channel.is_down = False
        for _ in range(8):
            self.clock.set(self.clock.now() + timedelta(minutes=31))
            for which in range(2):
                self._tick(which)
        finals = {DeliveryState.SENT, DeliveryState.SUPERSEDED}
        assert {step.state for step in self.outbox.newest()} <= finals
        heard = set(self.channel.keys)
        for incident in fold(self._events()):
            told = [number for alert_id, number in heard if alert_id == incident.alert_id]
            if incident.n_notices:
                # the newest notice of an incident always arrives, and its end after its beginning
                assert max(told) == incident.n_notices
            if not incident.is_closed and (self.silenced_until is None or self.silenced_until <= self.clock.now()):
                assert incident.acknowledged_at is not None or incident.streams == incident.told_streams
            if incident.last_notice is Notice.RESOLVED:
                assert len(told) >= 2
        self.no_notice_is_heard_twice()


Incidents.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
TestIncidents = Incidents.TestCase
