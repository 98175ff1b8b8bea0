"""The alerter: one tick judges, moves the incidents on, and tells people."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import groupby
from typing import Literal

import structlog

from alerts.config import AlertsConfig, RolloutConfig
from alerts.delivery import Dispatcher, RetryPolicy, StoreOutbox, to_message
from alerts.evaluate import Evaluator
from alerts.exposition import DeliveryStatus, RolloutStatus, exposition
from alerts.lifecycle import Incident, Policy, Signal, decide, fold
from alerts.notify import make_channels
from alerts.notify.alertmanager import AlertmanagerChannel
from alerts.page_writer import PageWriter
from alerts.readings import read_threshold
from alerts.rollouts import Rollout, RolloutRegistry
from alerts.signals import WITHDRAWN, is_withdrawn, over_because, quiet_signal, verdict_signal
from alerts.templates import Templates
from alerts.thresholds import Judgement, comparison_id, judge
from alerts.troubles import ANY_ERROR
from alerts.verdict import Verdict
from analytics.config import MaturityRules
from storage.alerts import EventKind, SubjectKind, read_alert_counts, read_live_events, read_notices, read_silences, write_events
from storage.client import Store
from storage.clock import Clock, WallClock
from storage.deliveries import read_delivery_counts
from storage.errors import RetryableError, SpanwiseError
from storage.leases import Lease
from storage.metrics import Grain
from storage.rollouts import read_route_traffic
from storage.troubles import Trouble, read_troubles

log = structlog.get_logger(__name__)

_TRAFFIC_WINDOW = timedelta(hours=24)
_HOUR = timedelta(hours=1)


class Alerter:
    """
    Judges every rollout and threshold, keeps their incidents, delivers notices.

    Several may run; the one with the lease works, the others wait. It may be killed at any moment: what it was doing is in the
    store, and the next tick, here or elsewhere, goes on.

    Args:
        store: everything is kept there.
        config: the settings.
        clock: the evidence's; maturity, settling, verdicts and thresholds follow it.
        rollouts: those declared in the settings file.
        wall: the wall clock; leases, silences, reminders and retries follow it.
        public_url: says the address of the pages, when the settings do not; asked at each tick.
        replays_history: the evidence's clock is that of the events: what is imported pages as it would have when it happened.
        maturity: how long metrics wait for late verdicts, as the jobs count them.

    Raises:
        NotifyUrlError: a channel's URL is wrong.
        TemplateError: a template of the settings directory cannot work.
    """

    def __init__(
        self,
        store: Store,
        config: AlertsConfig,
        clock: Clock,
        *,
        rollouts: Sequence[RolloutConfig] = (),
        wall: Clock | None = None,
        public_url: Callable[[], str] = str,
        replays_history: bool = False,
        maturity: MaturityRules | None = None,
    ) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._wall = wall or WallClock()
        self.registry = RolloutRegistry(store, rollouts, clock, self._wall)
        self._replays_history = replays_history
        counts_by: Literal["wall", "event"] = "event" if replays_history else "wall"
        self.evaluator = Evaluator(store, config.method, maturity or MaturityRules(), counts_by)
        self.refresh_failures: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        templates = Templates(config.templates_directory)
        templates.check()
        self._public_url = public_url
        self._channels = make_channels(config, templates, self._wall)
        self._policy = Policy(timedelta(hours=config.reminder_hours), timedelta(minutes=config.update_minutes))
        holder = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._lease = None if store.is_embedded else Lease(store, "alerts", holder, clock=self._wall)
        self._dispatcher = Dispatcher(
            StoreOutbox(store), self._channels, self.public_url, _retry_policy(config), self._wall, holder
        )
        self._refreshed_at: datetime | None = None
        # as of the last tick: an embedded engine has one process, which needs nobody's leave
        self.is_active = store.is_embedded
        self._one_at_a_time = threading.Lock()

    def public_url(self) -> str:
        """Address of the pages for readers of an alert, without a slash at its end."""
        return (self._config.public_url or self._public_url()).rstrip("/")

    def evaluate(self) -> list[Verdict]:
        """
        One tick. Returns the present verdicts; empty for an alerter that waits for the lease.

        Raises:
            StoreUnavailableError, StoreRefusedError: the store does; the next tick does what this one could not.
        """
        with self._one_at_a_time:
            if not self._may_work():
                return []
            try:
                return self._judge()
            finally:
                self._deliver()

    def deliver(self) -> None:
        """Only send what is due; cheap, for retries between two ticks."""
        with self._one_at_a_time:
            if self._may_work():
                self._deliver()

    def exposition(self) -> str:
        """Rollouts, alerts and deliveries in Prometheus' text format; works in any process."""
        troubles = read_troubles(self._store)
        active = [rollout.config for rollout in self.registry.all() if rollout.is_active]
        rollouts = [self._status(config, [t for t in troubles if t.rollout == config.name]) for config in active]
        alerts, deliveries = read_alert_counts(self._store), read_delivery_counts(self._store)
        return exposition(rollouts, DeliveryStatus(alerts, deliveries, self.refresh_failures, self.failures))

    def _status(self, rollout: RolloutConfig, troubles: list[Trouble]) -> RolloutStatus:
        with self._apart(rollout.name):
            found = self.evaluator.report(rollout)
            if found is not None:
                return RolloutStatus(rollout.name, found.verdict, found.scorecard, troubles)
        return RolloutStatus(rollout.name, self.evaluator.verdict(rollout.name), None, troubles)

    @contextmanager
    def _apart(self, subject: str) -> Iterator[None]:
        """What goes wrong with one rollout or threshold keeps nobody else's alert back."""
        try:
            yield
        except (RetryableError, MemoryError):
            raise
        except ANY_ERROR:
            self.failures[subject] += 1
            log.exception("alerting_failed", subject=subject)

    def close(self) -> None:
        """Give the lease back and close the channels."""
        if self._lease is not None:
            self._lease.release()
        for channel in self._channels:
            channel.close()

    def _may_work(self) -> bool:
        is_active = self._lease is None or self._lease.hold()
        if self.is_active and not is_active:
            self.evaluator.stand_by()
        self.is_active = is_active
        return is_active

    def _judge(self) -> list[Verdict]:
        now = self._clock.now()
        self.registry.discover()
        rollouts = {rollout.name: rollout for rollout in self.registry.all()}
        active = [rollout for rollout in rollouts.values() if rollout.is_active]
        judged = [rollout.config for rollout in active if not rollout.unreadable]
        self._restart_detectors(judged, now)
        unreadable = {rollout.name: rollout.unreadable for rollout in active if rollout.unreadable}
        verdicts = self.evaluator.tick(judged, now, unreadable)
        withdrawn = self._withdrawn([rollouts[verdict.rollout].config for verdict in verdicts if verdict.pages], now)
        signals = {
            verdict.comparison_id: verdict_signal(
                verdict, WITHDRAWN if verdict.rollout in withdrawn else "", replays_history=self._replays_history
            )
            for verdict in verdicts
        }
        self._advance(signals, verdicts, rollouts, now)
        return verdicts

    def _restart_detectors(self, rollouts: Sequence[RolloutConfig], now: datetime) -> None:
        """Established candidates: once somebody has taken an alarm, its detector starts again from zero."""
        established = [rollout.name for rollout in rollouts if rollout.mode == "drift"]
        opened = self.evaluator.drifting(established) if established else []
        if not opened:
            return
        ids = [known for comparison in opened for known in (comparison.comparison_id, comparison.follows) if known]
        incidents = _by_comparison(fold(read_live_events(self._store, ids)))
        for comparison in opened:
            mine, before = (incidents.get(known, []) for known in (comparison.comparison_id, comparison.follows))
            if any(incident.accepted_at for incident in (*mine, *before)):
                self.evaluator.restart(comparison.rollout.name, now, is_accepted=True)
            elif any(incident.acknowledged_at for incident in mine):
                self.evaluator.restart(comparison.rollout.name, now)

    def _withdrawn(self, paging: Sequence[RolloutConfig], now: datetime) -> set[str]:
        """Those rollouts, of `paging`, whose candidate is out of traffic."""
        if not paging:
            return set()
        services = sorted({rollout.service for rollout in paging})
        traffic = read_route_traffic(self._store, Grain.HOUR, now - _TRAFFIC_WINDOW, now + _HOUR, services)
        return {rollout.name for rollout in paging if is_withdrawn(rollout, traffic)}

    def _advance(
        self, signals: dict[str, Signal], verdicts: Sequence[Verdict], rollouts: dict[str, Rollout], now: datetime
    ) -> None:
        comparisons = [*signals, *(comparison_id(rule, "") for rule in self._config.threshold)]
        incidents = _by_comparison(fold(read_live_events(self._store, comparisons)))
        judgements = self._judge_thresholds(incidents, now)
        signals |= {key: judgement.signal for key, judgement in judgements.items()}
        by_rollout = {verdict.rollout: verdict for verdict in verdicts}
        rules = {rule.name for rule in self._config.threshold}
        for key, known in incidents.items():
            if key not in signals:
                signals[key] = quiet_signal(known[-1], over_because(known[-1], rollouts, by_rollout, rules), now)
        wall = self._wall.now()
        silences = read_silences(self._store, wall)
        writer = PageWriter(self._store, self.public_url(), self._config.failure_cost_usd)
        by_comparison = {v.comparison_id: v for v in verdicts}
        written = []
        for key, signal in signals.items():
            silence = silences.get(signal.subject)
            with self._apart(signal.subject.name):
                events = decide(signal, incidents.get(key, ()), silence.until if silence else None, wall, self._policy)
                written += writer.write(events, by_comparison, rollouts, judgements)
        if written:
            write_events(self._store, written)
        for event in written:
            log.info("alert_event", alert_id=event.alert_id, alert_event=event.event, notice=event.notice, kind=event.kind)

    def _judge_thresholds(self, incidents: dict[str, list[Incident]], now: datetime) -> dict[str, Judgement]:
        judgements = {}
        for rule in self._config.threshold:
            prefix = comparison_id(rule, "")
            open_groups = {
                known[-1].comparison_id.removeprefix(prefix).strip()
                for known in incidents.values()
                if known[-1].subject.kind is SubjectKind.THRESHOLD
                and known[-1].subject.name == rule.name
                and not known[-1].is_closed
            }
            with self._apart(rule.name):
                for judgement in judge(rule, read_threshold(self._store, rule, now), open_groups, now):
                    judgements[judgement.signal.comparison_id] = judgement
        return judgements

    def _deliver(self) -> None:
        self._dispatcher.run()
        wall = self._wall.now()
        due = timedelta(seconds=self._config.alertmanager_refresh_seconds)
        managers = [channel for channel in self._channels if isinstance(channel, AlertmanagerChannel)]
        if managers and (self._refreshed_at is None or wall - self._refreshed_at >= due):
            self._refreshed_at = wall
            self._refresh(managers, wall)

    def _refresh(self, managers: Sequence[AlertmanagerChannel], wall: datetime) -> None:
        open_incidents = [i for i in fold(read_live_events(self._store, [])) if not i.is_closed and i.n_notices > 0]
        notices = read_notices(self._store, [f"{i.alert_id}/{EventKind.NOTIFIED}/{i.n_notices}" for i in open_incidents])
        messages = [to_message(notice, self.public_url()) for notice in notices.values()]
        silences = read_silences(self._store, wall)
        silenced = {i.alert_id: silences[i.subject] for i in open_incidents if i.subject in silences}
        for manager in managers:
            try:
                manager.mirror_silences(silenced)
                manager.refresh(messages)
            except SpanwiseError as error:
                self.refresh_failures[manager.name] += 1
                log.warning("alertmanager_refresh_failed", channel=manager.name, error=str(error))


def _by_comparison(incidents: Sequence[Incident]) -> dict[str, list[Incident]]:
    ordered = sorted(incidents, key=lambda incident: (incident.comparison_id, incident.opened_at))
    return {key: list(group) for key, group in groupby(ordered, key=lambda incident: incident.comparison_id)}


def _retry_policy(config: AlertsConfig) -> RetryPolicy:
    delivery = config.delivery
    return RetryPolicy(
        timedelta(seconds=delivery.backoff_seconds),
        timedelta(seconds=delivery.backoff_max_seconds),
        timedelta(hours=delivery.deadline_hours),
        timedelta(seconds=delivery.claim_seconds),
    )
