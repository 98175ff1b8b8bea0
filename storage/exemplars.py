"""Failed traces worth opening: the newest ones of one arm and cohort."""

from __future__ import annotations

from datetime import datetime

from storage.client import Store
from storage.sql import load


def read_failed_traces(
    store: Store,
    *,
    service_name: str,
    model_route: str,
    metric: str,
    evaluator: str,
    cohort: str,
    since: datetime,
    limit: int,
) -> list[str]:
    """Ids of the newest traces since `since` that failed `metric`; `cohort` '' is all, `evaluator` '' is any."""
    parameters = {
        "service": service_name,
        "route": model_route,
        "metric": metric,
        "evaluator": evaluator,
        "cohort": cohort,
        "since": since,
        "limit": limit,
    }
    ids: list[str] = store.frame(load("failed_traces"), parameters)["trace_id"].to_list()
    return ids
