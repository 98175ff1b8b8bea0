"""
Gets notices to channels: deciding (`plan`, `triage`), keeping doubles out (a claim) and sending are three separate things.

Every step is a row of the outbox before it is taken. A crash between two steps is continued by whoever reads the rows next:
a notice without rows is planned, a planned one is sent, a claimed one whose sender fell silent is sent again. That last case is
the one in which a channel can hear a notice twice; it carries the incident's key so that the other side can tell.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Protocol

import structlog

from alerts.notify.channel import Channel, ChannelUnavailableError
from alerts.page import Message, alert_url, from_json
from storage.alerts import AlertEvent, Notice, read_notices, read_unplanned_notices
from storage.client import Store
from storage.clock import Clock
from storage.deliveries import Delivery, DeliveryState, read_open_deliveries, read_step_holders, write_deliveries
from storage.errors import PermanentError

log = structlog.get_logger(__name__)

_PARALLEL_SENDS = 4


class Outbox(Protocol):
    """Where the steps are kept."""

    def unplanned(self) -> list[AlertEvent]: ...

    def open(self) -> list[Delivery]: ...

    def holders(self, delivery_id: str, sequence: int) -> list[str]: ...

    def notices(self, event_ids: Sequence[str]) -> dict[str, AlertEvent]: ...

    def append(self, steps: Sequence[Delivery]) -> None: ...


class StoreOutbox:
    """The tables `alert_events` and `deliveries`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def unplanned(self) -> list[AlertEvent]:
        return read_unplanned_notices(self._store)

    def open(self) -> list[Delivery]:
        return read_open_deliveries(self._store)

    def holders(self, delivery_id: str, sequence: int) -> list[str]:
        return read_step_holders(self._store, delivery_id, sequence)

    def notices(self, event_ids: Sequence[str]) -> dict[str, AlertEvent]:
        return read_notices(self._store, event_ids)

    def append(self, steps: Sequence[Delivery]) -> None:
        write_deliveries(self._store, steps)


@dataclass(frozen=True)
class RetryPolicy:
    """How a message that did not go out is tried again."""

    backoff: timedelta = timedelta(seconds=5)
    backoff_max: timedelta = timedelta(minutes=10)
    deadline: timedelta = timedelta(hours=24)
    # a sender that has not reported back for this long is taken for dead
    claim_lifetime: timedelta = timedelta(minutes=2)

    def wait(self, attempt: int, draw: float) -> timedelta:
        """After the `attempt`-th failure (from 1): doubled each time, at least half of it, `draw` (0 to 1) of the rest."""
        longest = min(self.backoff_max, self.backoff * (1 << min(attempt - 1, 20)))
        return longest / 2 + longest / 2 * draw


class Step(StrEnum):
    """What is to be done with a message now."""

    SEND = "send"
    # a newer notice of the same incident says it all
    SUPERSEDE = "supersede"
    # past its deadline
    BURY = "bury"


def plan(notices: Sequence[AlertEvent], channels: Sequence[str], now: datetime, deadline: timedelta) -> list[Delivery]:
    """The first row of every (notice, channel)."""
    return [
        Delivery(
            hashlib.sha256(f"{notice.event_id}\n{channel}".encode()).hexdigest()[:16],
            0,
            notice.alert_id,
            notice.event_id,
            notice.notice,
            notice.notice_number,
            channel,
            DeliveryState.PENDING,
            0,
            "",
            now,
            now + deadline,
            "",
            now,
        )
        for notice in notices
        for channel in channels
    ]


def triage(
    deliveries: Sequence[Delivery], channels: Sequence[str], now: datetime, policy: RetryPolicy
) -> list[tuple[Delivery, Step]]:
    """
    What to do now with the open messages; one that is not mentioned waits.

    A channel hears the notices of an incident in order, one at a time: a later one waits until the earlier is done with.
    """

    def queue(delivery: Delivery) -> tuple[str, str]:
        return delivery.alert_id, delivery.channel

    steps = []
    for (_, channel), group in groupby(sorted(deliveries, key=lambda item: (*queue(item), item.notice_number)), key=queue):
        waiting = list(group)
        while len(waiting) > 1 and _superseded(waiting[0], waiting[1], now, policy):
            steps.append((waiting.pop(0), Step.SUPERSEDE))
        step = _next_step(waiting[0], channel in channels, now, policy)
        if step is not None:
            steps.append((waiting[0], step))
    return steps


def _is_claimed(delivery: Delivery, now: datetime, policy: RetryPolicy) -> bool:
    return delivery.state is DeliveryState.CLAIMED and now < delivery.recorded_at + policy.claim_lifetime


def _superseded(head: Delivery, following: Delivery, now: datetime, policy: RetryPolicy) -> bool:
    return Notice.RESOLVED not in (head.notice, following.notice) and not _is_claimed(head, now, policy)


def _next_step(delivery: Delivery, has_channel: bool, now: datetime, policy: RetryPolicy) -> Step | None:
    if _is_claimed(delivery, now, policy):
        return None
    if now >= delivery.deadline and (delivery.attempt > 0 or not has_channel):
        return Step.BURY
    return Step.SEND if has_channel and now >= delivery.not_before else None


class Dispatcher:
    """
    Plans, claims, sends.

    Args:
        outbox: where the steps are kept.
        channels: where messages go.
        public_url: says the address at which readers reach the pages.
        policy: retries.
        clock: the wall's.
        holder: a name no other dispatcher has.
    """

    def __init__(
        self,
        outbox: Outbox,
        channels: Sequence[Channel],
        public_url: Callable[[], str],
        policy: RetryPolicy,
        clock: Clock,
        holder: str,
    ) -> None:
        self._outbox = outbox
        self._channels: Mapping[str, Channel] = {channel.name: channel for channel in channels}
        self._public_url = public_url
        self._policy = policy
        self._clock = clock
        self._holder = holder
        self._random = random.Random(holder)  # noqa: S311 - jitter
        # what happened, while the store would not take it down
        self._unrecorded: list[Delivery] = []

    def run(self) -> None:
        """One round: plan what has no rows yet, then take every step that is due. Raises what the store raises."""
        if self._unrecorded:
            self._outbox.append(self._unrecorded)
            self._unrecorded = []
        self._outbox.append(plan(self._outbox.unplanned(), list(self._channels), self._clock.now(), self._policy.deadline))
        steps = triage(self._outbox.open(), list(self._channels), self._clock.now(), self._policy)
        final = {Step.SUPERSEDE: DeliveryState.SUPERSEDED, Step.BURY: DeliveryState.DEAD}
        self._outbox.append([self._after(delivery, final[step]) for delivery, step in steps if step is not Step.SEND])
        claimed = [claim for delivery, step in steps if step is Step.SEND and (claim := self._claim(delivery))]
        notices = self._outbox.notices([claim.event_id for claim in claimed])
        with ThreadPoolExecutor(_PARALLEL_SENDS, "deliver") as pool:
            self._unrecorded = list(pool.map(lambda claim: self._send(claim, notices.get(claim.event_id)), claimed))
        self._outbox.append(self._unrecorded)
        self._unrecorded = []

    def _after(self, delivery: Delivery, state: DeliveryState) -> Delivery:
        if state is DeliveryState.DEAD:
            log.error("delivery_dead", alert_id=delivery.alert_id, channel=delivery.channel, error=delivery.error)
        return replace(delivery, sequence=delivery.sequence + 1, state=state, holder=self._holder, recorded_at=self._clock.now())

    def _claim(self, delivery: Delivery) -> Delivery | None:
        claim = replace(self._after(delivery, DeliveryState.CLAIMED), attempt=delivery.attempt + 1)
        self._outbox.append([claim])
        # Of two alerters, the later reader sees both rows: at most one finds itself alone. If none does, the claim lapses.
        holders = self._outbox.holders(claim.delivery_id, claim.sequence)
        if holders == [self._holder]:
            return claim
        log.warning("claim_contested", delivery_id=claim.delivery_id, holders=holders)
        return None

    def _send(self, claim: Delivery, notice: AlertEvent | None) -> Delivery:
        try:
            if notice is None:
                raise PermanentError(f"notice {claim.event_id!r} is gone")
            self._channels[claim.channel].send(to_message(notice, self._public_url()))
        except PermanentError as error:
            return self._after(replace(claim, error=str(error)), DeliveryState.DEAD)
        except Exception as error:  # a channel's loop edge: whatever went wrong may go right later
            return self._failed(claim, error)
        log.info("delivered", alert_id=claim.alert_id, channel=claim.channel, notice=claim.notice, attempt=claim.attempt)
        return replace(self._after(claim, DeliveryState.SENT), error="")

    def _failed(self, claim: Delivery, error: Exception) -> Delivery:
        log.warning("delivery_failed", alert_id=claim.alert_id, channel=claim.channel, attempt=claim.attempt, error=str(error))
        wait = self._policy.wait(claim.attempt, self._random.random())
        if isinstance(error, ChannelUnavailableError) and error.retry_after_seconds is not None:
            wait = max(wait, timedelta(seconds=min(error.retry_after_seconds, self._policy.backoff_max.total_seconds())))
        failed = self._after(claim, DeliveryState.FAILED)
        return replace(failed, not_before=failed.recorded_at + wait, error=str(error) or type(error).__name__)


def to_message(notice: AlertEvent, public_url: str) -> Message:
    """The message of a `notified` event, which has its page."""
    return Message(
        notice.alert_id,
        notice.notice,
        notice.notice_number,
        notice.recorded_at,
        notice.reason,
        alert_url(public_url, notice.alert_id),
        from_json(notice.page),
    )
