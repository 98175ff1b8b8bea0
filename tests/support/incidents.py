"""Notices, an outbox in memory and a channel that can be told to fail: for tests of delivery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from alerts.notify.channel import ChannelRefusedError, ChannelUnavailableError
from alerts.page import Content, Message, StreamLine, TraceLink, to_json
from storage.alerts import AlertEvent, AlertId, EventKind, Notice, Subject, SubjectKind
from storage.deliveries import FINAL_STATES, Delivery

T0 = datetime(2026, 3, 3, 12, tzinfo=UTC)
ROLLOUT = Subject(SubjectKind.ROLLOUT, "refund-student")


def make_content(**changes: object) -> Content:
    """The page of the design's example."""
    content = Content(
        SubjectKind.ROLLOUT,
        "refund-student",
        "divergence",
        "critical",
        "support-agent",
        "production",
        "teacher",
        "student",
        T0,
        "DIVERGENCE  support-agent: student-8b-v1 is cheaper but worse on regulated_answer",
        (
            StreamLine(
                "eval_fail/TaskCompletion/regulated_answer",
                "eval_fail",
                "TaskCompletion",
                "regulated_answer",
                "TaskCompletion failures 19.8 % vs 9.9 %: at least +2.6 pp (proved), best estimate +9.9 pp",
                T0,
            ),
        ),
        cost="0.31x (0.29 to 0.33) at equal cohort mix",
        certainty="Evidence 4 100 to 1 (this stream pages at 752)",
        reach="2 % of traffic, high value",
        since=T0,
        not_known="Groundedness in this cohort still collecting (31 of 50)",
        action="Route regulated_answer back to the teacher",
        exemplars=(TraceLink("ab12", "https://spanwise.example/traces/ab12"),),
        trade="saves $1,840 a week and fails about 166 more traces a week",
    )
    return replace(content, **changes)  # type: ignore[arg-type]


def make_notice(number: int = 1, notice: Notice = Notice.FIRING, alert_id: str = "a1", page: str | None = None) -> AlertEvent:
    """A `notified` event with its page."""
    return AlertEvent(
        AlertId(alert_id),
        f"{alert_id}/notified/{number}",
        EventKind.NOTIFIED,
        T0,
        T0,
        ROLLOUT,
        "c1",
        "divergence",
        ("eval_fail/TaskCompletion/regulated_answer",),
        notice,
        number,
        page=to_json(make_content()) if page is None else page,
    )


def make_message(notice: Notice = Notice.FIRING, number: int = 1, alert_id: str = "a1", **changes: object) -> Message:
    """A message on its way."""
    reason = "rolled back by ana" if notice is Notice.RESOLVED else ""
    url = f"https://spanwise.example/alerts/{alert_id}"
    return Message(AlertId(alert_id), notice, number, T0, reason, url, make_content(**changes))


class MemoryOutbox:
    """The outbox without a store."""

    def __init__(self) -> None:
        self.events: list[AlertEvent] = []
        self.steps: list[Delivery] = []

    def unplanned(self) -> list[AlertEvent]:
        planned = {step.event_id for step in self.steps}
        return [event for event in self.events if event.event is EventKind.NOTIFIED and event.event_id not in planned]

    def newest(self) -> list[Delivery]:
        newest: dict[str, Delivery] = {}
        for step in self.steps:
            if step.delivery_id not in newest or step.sequence > newest[step.delivery_id].sequence:
                newest[step.delivery_id] = step
        return list(newest.values())

    def open(self) -> list[Delivery]:
        return [step for step in self.newest() if step.state not in FINAL_STATES]

    def holders(self, delivery_id: str, sequence: int) -> list[str]:
        return [step.holder for step in self.steps if (step.delivery_id, step.sequence) == (delivery_id, sequence)]

    def notices(self, event_ids: Sequence[str]) -> dict[str, AlertEvent]:
        return {event.event_id: event for event in self.events if event.event_id in event_ids}

    def append(self, steps: Sequence[Delivery]) -> None:
        self.steps += steps


class RecordingChannel:
    """Keeps what it is given; `failures` are raised first, one a message, and `is_down` refuses all."""

    def __init__(self, name: str = "sink") -> None:
        self.name = name
        self.is_down = False
        self.failures: list[ChannelUnavailableError | ChannelRefusedError] = []
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        if self.failures:
            raise self.failures.pop(0)
        if self.is_down:
            raise ChannelUnavailableError("the sink is down")
        self.messages.append(message)

    def close(self) -> None:
        """Nothing to close."""

    @property
    def keys(self) -> list[tuple[str, int]]:
        return [(message.alert_id, message.notice_number) for message in self.messages]
