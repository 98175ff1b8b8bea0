"""The life of an incident, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerts.lifecycle import Incident, Policy, Signal, decide, fold, make_event
from storage.alerts import AlertEvent, AlertState, EventKind, Notice, Subject, SubjectKind

T0 = datetime(2026, 3, 3, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SUBJECT = Subject(SubjectKind.ROLLOUT, "refund-student")
POLICY = Policy(reminder_interval=4 * HOUR, update_interval=30 * MINUTE)


class Story:
    """Plays signals against the life cycle and keeps what happened."""

    def __init__(self) -> None:
        self.events: list[AlertEvent] = []

    def incidents(self) -> list[Incident]:
        return fold(self.events)

    def tell(self, signal: Signal, at: datetime, silenced_until: datetime | None = None) -> list[AlertEvent]:
        new = decide(signal, self.incidents(), silenced_until, at, POLICY)
        self.events += new
        return new

    def act(self, kind: EventKind, at: datetime) -> None:
        self.events.append(make_event(self.incidents()[-1], kind, at, actor="ana", reason="looking"))

    def state(self, at: datetime, silenced_until: datetime | None = None) -> AlertState:
        return self.incidents()[-1].state(silenced_until, at)


def signal(*streams: str, at: datetime = T0, ended: str = "", comparison: str = "c1") -> Signal:
    return Signal(SUBJECT, comparison, "divergence", streams, at, ended=ended)


def threshold(*streams: str, at: datetime = T0, hold: timedelta = timedelta(0), latched: bool = False) -> Signal:
    return Signal(Subject(SubjectKind.THRESHOLD, "slow"), "threshold slow", "threshold", streams, at, hold, latched)


def notices(events: Sequence[AlertEvent]) -> list[Notice]:
    return [event.notice for event in events if event.event is EventKind.NOTIFIED]


def test_nothing_to_page_is_nothing() -> None:
    assert Story().tell(signal(), T0) == []


def test_the_first_stream_opens_fires_and_tells() -> None:
    story = Story()
    events = story.tell(signal("TaskCompletion/regulated"), T0)
    assert [event.event for event in events] == [EventKind.OPENED, EventKind.FIRED, EventKind.NOTIFIED]
    assert notices(events) == [Notice.FIRING]
    assert events[-1].streams == ("TaskCompletion/regulated",)
    assert story.state(T0) is AlertState.FIRING


def test_the_same_signal_again_says_nothing() -> None:
    story = Story()
    story.tell(signal("a"), T0)
    assert story.tell(signal("a"), T0 + MINUTE) == []


def test_a_decision_taken_twice_has_the_same_ids() -> None:
    one, other = Story(), Story()
    one.tell(signal("a"), T0)
    other.tell(signal("a"), T0 + timedelta(seconds=3))
    assert [event.event_id for event in one.events] == [event.event_id for event in other.events]
    merged = fold([*one.events, *other.events])
    assert [(incident.n_notices, incident.opened_at) for incident in merged] == [(1, T0)]


def test_later_streams_join_and_are_told_together() -> None:
    story = Story()
    story.tell(signal("a"), T0)
    assert notices(story.tell(signal("a", "b"), T0 + 5 * MINUTE)) == []
    assert notices(story.tell(signal("a", "b", "c"), T0 + 10 * MINUTE)) == []
    [update] = story.tell(signal("a", "b", "c"), T0 + 30 * MINUTE)
    assert (update.notice, update.notice_number, update.streams) == (Notice.UPDATE, 2, ("a", "b", "c"))
    assert len(story.incidents()) == 1


def test_falling_evidence_closes_nothing() -> None:
    story = Story()
    story.tell(signal("a"), T0)
    assert story.tell(signal(), T0 + HOUR) == []
    assert story.state(T0 + HOUR) is AlertState.FIRING


def test_nobody_answers_so_it_is_said_again_until_somebody_does() -> None:
    story = Story()
    story.tell(signal("a"), T0)
    assert notices(story.tell(signal("a"), T0 + 4 * HOUR - MINUTE)) == []
    assert notices(story.tell(signal("a"), T0 + 4 * HOUR)) == [Notice.REMINDER]
    assert notices(story.tell(signal("a"), T0 + 5 * HOUR)) == []
    assert notices(story.tell(signal("a"), T0 + 8 * HOUR)) == [Notice.REMINDER]
    story.act(EventKind.ACKNOWLEDGED, T0 + 8 * HOUR)
    assert notices(story.tell(signal("a"), T0 + 20 * HOUR)) == []
    assert story.state(T0 + 20 * HOUR) is AlertState.ACKNOWLEDGED


def test_new_harm_is_told_even_when_acknowledged() -> None:
    story = Story()
    story.tell(signal("a"), T0)
    story.act(EventKind.ACKNOWLEDGED, T0 + MINUTE)
    assert notices(story.tell(signal("a", "b"), T0 + HOUR)) == [Notice.UPDATE]
    assert story.state(T0 + HOUR) is AlertState.ACKNOWLEDGED


def test_a_silence_holds_the_first_notice_back_until_it_ends() -> None:
    story = Story()
    until = T0 + 2 * HOUR
    assert notices(story.tell(signal("a"), T0, until)) == []
    assert story.state(T0, until) is AlertState.SILENCED
    assert story.tell(signal("a"), T0 + HOUR, until) == []
    assert notices(story.tell(signal("a"), until, until)) == [Notice.FIRING]


def test_a_silence_stops_reminders_and_updates() -> None:
    story = Story()
    story.tell(signal("a"), T0)
    until = T0 + 9 * HOUR
    assert notices(story.tell(signal("a", "b"), T0 + 5 * HOUR, until)) == []
    assert notices(story.tell(signal("a", "b"), until, until)) == [Notice.UPDATE]


@pytest.mark.parametrize("silenced_until", [None, T0 + 9 * HOUR])
def test_the_comparisons_end_closes_and_says_so(silenced_until: datetime | None) -> None:
    story = Story()
    story.tell(signal("a"), T0)
    events = story.tell(signal("a", ended="rolled back by ana"), T0 + HOUR, silenced_until)
    assert [event.event for event in events] == [EventKind.RESOLVED, EventKind.NOTIFIED]
    assert (events[-1].notice, events[-1].reason) == (Notice.RESOLVED, "rolled back by ana")
    assert story.state(T0 + HOUR) is AlertState.RESOLVED
    assert story.tell(signal("a", ended="rolled back by ana"), T0 + 2 * HOUR) == []


def test_an_incident_nobody_was_told_of_closes_in_silence() -> None:
    story = Story()
    story.tell(signal("a"), T0, T0 + 9 * HOUR)
    assert notices(story.tell(signal("a", ended="over"), T0 + HOUR, T0 + 9 * HOUR)) == []


def test_accepted_harm_never_pages_again_but_new_harm_opens_a_new_incident() -> None:
    story = Story()
    story.tell(signal("a"), T0)
    first = story.incidents()[0].alert_id
    story.act(EventKind.ACCEPTED, T0 + MINUTE)
    assert notices(story.tell(signal("a"), T0 + 2 * MINUTE)) == [Notice.RESOLVED]
    assert story.state(T0 + 2 * MINUTE) is AlertState.ACCEPTED
    assert story.tell(signal("a"), T0 + HOUR) == []
    events = story.tell(signal("a", "b"), T0 + 2 * HOUR)
    assert notices(events) == [Notice.FIRING]
    assert {event.alert_id for event in events} != {first}
    assert events[0].streams == ("b",)


def test_acknowledging_and_joining_at_once_loses_neither() -> None:
    story = Story()
    story.tell(signal("a"), T0)
    before = story.incidents()
    story.act(EventKind.ACKNOWLEDGED, T0 + MINUTE)
    # decided from what was read before the acknowledgement was written
    story.events += decide(signal("a", "b"), before, None, T0 + MINUTE, POLICY)
    [incident] = story.incidents()
    assert incident.acknowledged_at == T0 + MINUTE
    assert incident.streams == {"a", "b"}


def test_the_order_of_events_does_not_matter() -> None:
    story = Story()
    story.tell(signal("a"), T0)
    story.tell(signal("a", "b"), T0 + HOUR)
    story.act(EventKind.ACKNOWLEDGED, T0 + HOUR)
    assert fold(reversed(story.events)) == fold(story.events)


def test_a_threshold_waits_for_its_duration_in_event_time() -> None:
    story = Story()
    hold = 10 * MINUTE
    assert [e.event for e in story.tell(threshold("p99", at=T0, hold=hold), T0)] == [EventKind.OPENED]
    assert story.state(T0) is AlertState.PENDING
    # the wall clock does not count, the evidence's does
    assert story.tell(threshold("p99", at=T0 + 9 * MINUTE, hold=hold), T0 + HOUR) == []
    assert notices(story.tell(threshold("p99", at=T0 + 10 * MINUTE, hold=hold), T0 + 2 * HOUR)) == [Notice.FIRING]


def test_a_threshold_that_clears_while_pending_is_nobodys_news() -> None:
    story = Story()
    story.tell(threshold("p99", hold=10 * MINUTE), T0)
    events = story.tell(threshold(at=T0 + MINUTE, hold=10 * MINUTE), T0 + MINUTE)
    assert [event.event for event in events] == [EventKind.RESOLVED]


def test_a_threshold_resolves_by_itself_and_fires_again() -> None:
    story = Story()
    story.tell(threshold("p99"), T0)
    assert notices(story.tell(threshold(at=T0 + MINUTE), T0 + MINUTE)) == [Notice.RESOLVED]
    assert notices(story.tell(threshold("p99", at=T0 + HOUR), T0 + HOUR)) == [Notice.FIRING]
    assert len(story.incidents()) == 2


def test_no_data_that_means_as_before_changes_nothing_and_lets_no_time_pass() -> None:
    story = Story()
    hold = 10 * MINUTE
    story.tell(threshold("p99", hold=hold), T0)
    assert story.tell(threshold(at=T0 + HOUR, hold=hold, latched=True), T0 + HOUR) == []
    assert story.state(T0 + HOUR) is AlertState.PENDING


def test_an_incident_may_be_silenced_before_it_fires() -> None:
    story = Story()
    story.tell(threshold("p99", hold=10 * MINUTE), T0)
    assert story.state(T0, T0 + HOUR) is AlertState.PENDING


def test_two_comparisons_of_one_rollout_have_different_incidents() -> None:
    first, second = Story(), Story()
    first.tell(signal("a"), T0)
    second.tell(replace(signal("a"), comparison_id="c2"), T0)
    assert first.incidents()[0].alert_id != second.incidents()[0].alert_id
