"""What is known about rollouts, alerts and deliveries as Prometheus metrics, for teams that alert their own way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alerts.scorecard import Scorecard
from alerts.verdict import GLOBAL, CostFinding, Interval, StreamFinding, Verdict, VerdictKind
from storage.troubles import Trouble, TroubleKind

_STREAM = ("rollout", "metric", "evaluator", "cohort")
_LN_10 = math.log(10)


@dataclass(frozen=True)
class RolloutStatus:
    """One rollout; without a verdict or a scorecard it has no traffic in both arms yet."""

    name: str
    verdict: Verdict | None
    scorecard: Scorecard | None
    troubles: Sequence[Trouble] = ()


@dataclass(frozen=True)
class DeliveryStatus:
    """
    Alerts and their delivery.

    `alerts`: `subject_kind, subject, state: str`, `n_alerts: u64`. `deliveries`: as `storage.deliveries.read_delivery_counts`.
    `refresh_failures`: by channel, `alerting_failures`: by rollout or threshold, both since the process began.
    """

    alerts: pl.DataFrame
    deliveries: pl.DataFrame
    refresh_failures: Mapping[str, int]
    alerting_failures: Mapping[str, int]


def exposition(rollouts: Sequence[RolloutStatus], delivery: DeliveryStatus) -> str:
    """The metrics in Prometheus' text format; `cohort="*"` is all cohorts at the reference mix."""
    registry = CollectorRegistry()
    registry.register(_Once([*_rollout_metrics(rollouts), *_delivery_metrics(delivery)]))
    return generate_latest(registry).decode()


class _Once(Collector):
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


class _Stream:
    """The gauges of streams."""

    def __init__(self) -> None:
        self.difference = _gauge("difference", "candidate minus baseline failure rate since day 0; positive is harm", *_STREAM)
        self.low = _gauge("difference_low", "lower any-time bound of the difference", *_STREAM)
        self.high = _gauge("difference_high", "upper any-time bound of the difference", *_STREAM)
        self.proven = _gauge("difference_proven", "harm that is proved at level 0.05, as a failure rate", *_STREAM)
        self.evidence = _gauge("evidence_log10", "evidence against 'not worse', as a power of ten", *_STREAM)
        self.threshold = _gauge("evidence_threshold_log10", "evidence at which the stream pages, as a power of ten", *_STREAM)
        self.units = _gauge("stream_units", "scored traces", *_STREAM, "arm")
        self.state = _gauge("stream_state", "1 for the state the stream is in", *_STREAM, "state")

    def add(self, rollout: str, finding: StreamFinding) -> None:
        labels = (rollout, finding.metric, finding.evaluator, finding.cohort)
        _put(self.difference, labels, finding.difference)
        _put_range(self.low, self.high, labels, finding.interval)
        _put(self.proven, labels, finding.proven_difference)
        _put(self.evidence, labels, finding.log_evidence / _LN_10)
        _put(self.threshold, labels, finding.log_threshold / _LN_10)
        _put(self.units, (*labels, "baseline"), finding.baseline.n_units)
        _put(self.units, (*labels, "candidate"), finding.candidate.n_units)
        _put(self.state, (*labels, finding.state), 1)

    def metrics(self) -> list[Metric]:
        return list(vars(self).values())


class _Cost:
    """The gauges of cost."""

    def __init__(self) -> None:
        self.ratio = _gauge("cost_ratio", "candidate's cost per trace over the baseline's", "rollout", "cohort")
        self.low = _gauge("cost_ratio_low", "lower any-time bound of the cost ratio", "rollout", "cohort")
        self.high = _gauge("cost_ratio_high", "upper any-time bound of the cost ratio", "rollout", "cohort")
        self.certified = _gauge("cost_certified", "1 when the cost ratio is certified below the gate's target", "rollout")

    def add(self, rollout: str, cost: CostFinding) -> None:
        for part in (cost.overall, *(cohort for cohort in cost.cohorts if cohort.cohort != GLOBAL)):
            _put(self.ratio, (rollout, part.cohort), part.ratio)
            _put_range(self.low, self.high, (rollout, part.cohort), part.interval)
        _put(self.certified, (rollout,), int(cost.certified))

    def metrics(self) -> list[Metric]:
        return list(vars(self).values())


def _rollout_metrics(rollouts: Sequence[RolloutStatus]) -> list[Metric]:
    stream, cost = _Stream(), _Cost()
    kind = _gauge("verdict", "1 for the kind the verdict is, 0 for the others", "rollout", "kind")
    gate = _gauge("gate", "1 for the gate's answer", "rollout", "outcome")
    guard = _gauge("guard_active", "1 for a guard that is active", "rollout", "guard")
    stopped = _gauge("rollout_stopped", "1 for a rollout that an error of its own keeps from being judged", "rollout")
    malformed = _gauge("malformed_rows", "rollup rows left out because they say nothing sensible", "rollout", "metric")
    as_of = _gauge("verdict_as_of_timestamp_seconds", "when the verdict was last made, on the evidence's clock", "rollout")
    for status in rollouts:
        verdict, card = status.verdict, status.scorecard
        _put(stopped, (status.name,), int(any(trouble.kind is TroubleKind.STOPPED for trouble in status.troubles)))
        for metric, n_rows in _left_out(status.troubles).items():
            _put(malformed, (status.name, metric), n_rows)
        if verdict is not None:
            for possible in VerdictKind:
                _put(kind, (status.name, possible), int(verdict.kind is possible))
            _put(gate, (status.name, verdict.gate), 1)
            for active in sorted({found.kind for found in verdict.guards if found.is_active}):
                _put(guard, (status.name, active), 1)
            _put(as_of, (status.name,), verdict.as_of.timestamp())
        if card is not None:
            for finding in card.rows:
                # the same streams once more with prompt versions pooled: they would be the same series twice
                if not finding.is_bundle:
                    stream.add(status.name, finding)
            if card.cost is not None:
                cost.add(status.name, card.cost)
    return [kind, gate, guard, as_of, stopped, malformed, *cost.metrics(), *stream.metrics()]


def _left_out(troubles: Sequence[Trouble]) -> Counter[str]:
    """Rows left out, by metric, over all comparisons of a rollout."""
    counts: Counter[str] = Counter()
    for trouble in troubles:
        if trouble.kind is TroubleKind.MALFORMED_ROWS:
            counts[trouble.metric] += trouble.n_rows
    return counts


def _delivery_metrics(status: DeliveryStatus) -> list[Metric]:
    alerts = _gauge("alerts", "alerts by state", "subject_kind", "subject", "state")
    for row in status.alerts.iter_rows(named=True):
        _put(alerts, (row["subject_kind"], row["subject"], row["state"]), row["n_alerts"])
    deliveries = _gauge("deliveries", "messages by where they stand; `dead` was given up and can be retried", "channel", "state")
    attempts = CounterMetricFamily("spanwise_delivery_attempts", "times a message was tried to be sent", labels=["channel"])
    tried: dict[str, int] = {}
    for row in status.deliveries.iter_rows(named=True):
        _put(deliveries, (row["channel"], row["state"]), row["n_deliveries"])
        tried[row["channel"]] = tried.get(row["channel"], 0) + row["n_attempts"]
    for channel, n in tried.items():
        attempts.add_metric([channel], n)
    refreshes = CounterMetricFamily(
        "spanwise_alertmanager_refresh_failures", "times an Alertmanager could not be told again", labels=["channel"]
    )
    for channel, n in sorted(status.refresh_failures.items()):
        refreshes.add_metric([channel], n)
    failures = CounterMetricFamily(
        "spanwise_alerting_failures", "times an error kept a rollout's or a threshold's alert from moving on", labels=["subject"]
    )
    for subject, n in sorted(status.alerting_failures.items()):
        failures.add_metric([subject], n)
    return [alerts, deliveries, attempts, refreshes, failures]


def _gauge(name: str, what: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"spanwise_{name}", what, labels=labels)


def _put(gauge: GaugeMetricFamily, labels: Sequence[str], value: float | None) -> None:
    if value is not None:
        gauge.add_metric([str(label) for label in labels], value)


def _put_range(low: GaugeMetricFamily, high: GaugeMetricFamily, labels: Sequence[str], interval: Interval | None) -> None:
    if interval is not None:
        _put(low, labels, interval.low)
        _put(high, labels, interval.high)
