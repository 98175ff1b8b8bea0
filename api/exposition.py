"""The `/metrics` page: this process, and what the tables say of ingestion, jobs, rollouts and deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.services import Services
from storage.errors import PermanentError, RetryableError
from storage.job_runs import JobRun, JobState, read_job_runs
from storage.ledger_report import read_ledger_totals

log = structlog.get_logger(__name__)

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition(services: Services) -> str:
    """Everything in Prometheus text format. What cannot be read is left out and `spanwise_up` is 0."""
    registry = CollectorRegistry()
    registry.register(_Tables(services))
    text = generate_latest(REGISTRY).decode() + generate_latest(registry).decode()
    try:
        return text + services.alerts.exposition()
    except (PermanentError, RetryableError) as error:
        log.warning("exposition_incomplete", error=str(error))
        return text


class _Tables(Collector):
    def __init__(self, services: Services) -> None:
        self._services = services

    def describe(self) -> list[Metric]:
        return []  # registering must not query

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("spanwise_up", "1 when the store answers")
        info = GaugeMetricFamily("spanwise_info", "Version and roles of this process", labels=["version", "roles"])
        info.add_metric([self._services.version, ",".join(sorted(self._services.roles))], 1)
        yield info
        yield from self._spool()
        try:
            families = [*self._ledger(), *self._jobs()]
        except (PermanentError, RetryableError) as error:
            log.warning("exposition_incomplete", error=str(error))
            families = []
        up.add_metric([], 1 if families else 0)
        yield up
        yield from families

    def _spool(self) -> Iterator[Metric]:
        """This process's own, which is told of while the store is away, too."""
        if self._services.collector is None:
            return
        waiting = self._services.collector.waiting()
        now = self._services.wall_clock.now()
        age = 0.0 if waiting.oldest_minute is None else max(0.0, (now - waiting.oldest_minute).total_seconds())
        yield GaugeMetricFamily("spanwise_spool_bytes", "Accepted and not in the tables yet", waiting.n_bytes)
        yield GaugeMetricFamily(
            "spanwise_spool_limit_bytes", "Size of the spool at which requests are pushed back", waiting.limit_bytes
        )
        yield GaugeMetricFamily(
            "spanwise_spool_oldest_seconds", "Age of the oldest of it, to the minute; 0 when there is none", age
        )

    def _ledger(self) -> Iterator[Metric]:
        totals = read_ledger_totals(self._services.store)
        items = CounterMetricFamily("spanwise_ingest_items", "Items by what became of them", labels=["signal", "entry", "reason"])
        for row in totals.iter_rows(named=True):
            items.add_metric([row["signal"], row["entry"], row["reason"]], row["n_items"])
        yield items

    def _jobs(self) -> Iterator[Metric]:
        now = self._services.wall_clock.now()
        newest: dict[str, JobRun] = {}
        for run in read_job_runs(self._services.store, limit=200):
            if run.state is not JobState.RUNNING:
                newest.setdefault(run.kind, run)
        age = GaugeMetricFamily("spanwise_job_age_seconds", "Seconds since the last run of a job ended", labels=["kind"])
        failed = GaugeMetricFamily("spanwise_job_failed", "1 when the last run of a job failed", labels=["kind"])
        lag = GaugeMetricFamily("spanwise_job_watermark_lag_seconds", "How far behind the data the last run was", labels=["kind"])
        seconds = GaugeMetricFamily("spanwise_job_duration_seconds", "How long the last run took", labels=["kind"])
        for kind, run in sorted(newest.items()):
            ended = run.finished_at or run.started_at + timedelta(seconds=run.seconds)
            age.add_metric([kind], max(0.0, (now - ended).total_seconds()))
            failed.add_metric([kind], 1 if run.state is JobState.FAILED else 0)
            seconds.add_metric([kind], run.seconds)
            if run.watermark_lag_seconds is not None:
                lag.add_metric([kind], run.watermark_lag_seconds)
        yield from (age, failed, lag, seconds)
