"""The present values of a threshold rule's metric, read from the rollups."""

from __future__ import annotations

from datetime import datetime, timedelta

from alerts.config import ThresholdConfig
from alerts.thresholds import Reading
from analytics.series import read_series
from storage.client import Store

# What a value rests on, by the name the metric has for it.
_COUNTS = ("denominator", "n_priced", "n", "n_traces")


def read_threshold(store: Store, rule: ThresholdConfig, now: datetime) -> list[Reading]:
    """One reading per group that had traffic in the window of whole minutes that ends at `now`."""
    until = now.replace(second=0, microsecond=0)
    filters = {
        "service": rule.service,
        "environment": rule.environment,
        "route": rule.route,
        "cohort": rule.cohort,
        "evaluator": rule.evaluator,
    }
    series = read_series(
        store,
        rule.metric,
        until - timedelta(minutes=rule.window_minutes),
        until,
        None,
        rule.group_by,
        {name: [value] for name, value in filters.items() if value},
    )
    value = series.metric.headline if rule.statistic == "value" else f"{rule.statistic}_ms"
    count = next(name for name in _COUNTS if name in series.frame.columns)
    return [Reading(_group(row, rule.group_by), row[value], row[count] or 0) for row in series.frame.iter_rows(named=True)]


def _group(row: dict[str, object], names: tuple[str, ...]) -> str:
    return ", ".join(f"{name}={row[name]}" for name in names)
